//! Dialling: from a URL and headers to an open websocket.

use std::{error::Error as _, fmt, io, time::Duration};

use awc::{
    Client,
    error::{ConnectError, SendRequestError, WsClientError},
    http::header::HOST,
    ws::WebsocketsRequest,
};
use futures::future::try_join;

use super::{
    Endpoint, Session, WebSocket,
    connector::Connector,
    refusal::{ReadRefusals, Refused, Words},
    request::{Headers, Query},
};
use crate::{
    display::brief,
    proto::{
        engine::Protocol,
        reason::{ConnectFailure, Reason},
        tls_failure::TlsFailure,
    },
    runtime::provider::DialContext,
};

/// Where to dial, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// For an endpoint with TLS.
    pub(crate) tls: Option<Session>,
    pub(crate) query: Query,
    pub(crate) headers: Headers,
    /// The largest message to take in, in bytes.
    pub(crate) max_message: usize,
}

/// Why there is no websocket.
#[derive(Debug)]
pub(crate) struct DialFailure {
    pub(crate) reason: Reason,
    /// How long the server asks to wait before the next attempt (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
    /// The server's own words, shortened and escaped, if the reason does not have them.
    pub(crate) says: Option<String>,
}

impl From<Reason> for DialFailure {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None, says: None }
    }
}

/// Longer than any deadline of the core, which is the only one that counts.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Dials one server, on the thread that it was made on.
///
/// It has a client of awc to itself: awc keeps connections by host and port, and two that differ in
/// anything else, such as TLS, must not get each other's.
pub(crate) struct Dialer {
    target: Target,
    client: Client,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, client: _ } = self;
        f.debug_struct("Dialer").field("target", target).finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new(target: Target) -> Self {
        let connector = Connector::new(target.tls.clone());
        let connector = awc::Connector::new().timeout(FOREVER).connector(connector);
        // The connection's core has the only deadline.
        let client = Client::builder()
            .connector(connector)
            .wrap(ReadRefusals)
            .disable_timeout()
            .disable_redirects()
            .finish();
        Self { target, client }
    }

    /// `host:port`, the name of the connection in logs.
    pub(crate) fn authority(&self) -> String {
        self.target.endpoint.authority()
    }

    pub(crate) fn dial(
        &self,
        protocol: Protocol,
        dial: DialContext,
    ) -> impl Future<Output = Result<WebSocket, DialFailure>> + use<> {
        let (client, target) = (self.client.clone(), self.target.clone());
        async move {
            let max_message = target.max_message;
            let request = request(&client, target.clone(), protocol, dial).await?;
            let connected = request.connect().await;
            let (_, framed) = connected.map_err(|error| match tls_failure(&error, &target) {
                Some(failure) => Reason::Connect(ConnectFailure::Tls(failure)).into(),
                None => failure(error, &target.endpoint.authority()),
            })?;
            Ok(WebSocket::new(framed, max_message))
        }
    }
}

/// Builds the request, and asks the application's providers for their part.
async fn request(
    client: &Client,
    target: Target,
    protocol: Protocol,
    dial: DialContext,
) -> Result<WebsocketsRequest, Reason> {
    let Target { endpoint, tls: _, query, headers, max_message: _ } = target;
    let (query, headers) = try_join(query.of(dial.clone()), headers.of(dial)).await?;
    let query = format!("EIO={}&transport=websocket{query}", protocol.number());
    // Options were checked at the start, and values of providers are encoded: only the length is left.
    let uri = endpoint
        .uri(&query)
        .map_err(|_| Reason::Provider("the query makes the URL too long".to_owned()))?;
    let request = client.ws(uri);
    let request = match endpoint.host_header() {
        Ok(host) if headers.iter().all(|(name, _)| name != HOST) => request.header(HOST, host),
        _ => request,
    };
    Ok(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
}

/// What is wrong with TLS, if that is it. A server that misses the client's certificate may say so only
/// when the request is on its way.
fn tls_failure(error: &WsClientError, target: &Target) -> Option<TlsFailure> {
    let tls = target.tls.as_ref()?;
    let WsClientError::SendRequest(error) = error else { return None };
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) | SendRequestError::Send(error) => {
            tls.explain(error)
        }
        SendRequestError::Response(error) => tls.explain(error.source()?.downcast_ref()?),
        _ => None,
    }
}

/// awc's errors cannot leave this thread, so they become text. awc's own prefix is left out: it says
/// nothing that the variant does not say.
fn failure(error: WsClientError, server: &str) -> DialFailure {
    let failure = match error {
        WsClientError::SendRequest(SendRequestError::Custom(error, _)) => {
            match error.downcast::<Refused>() {
                Ok(refused) => return refusal(*refused),
                Err(error) => ConnectFailure::Handshake(brief(&error)),
            }
        }
        WsClientError::SendRequest(
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout,
        ) => ConnectFailure::TimedOut,
        WsClientError::SendRequest(SendRequestError::Connect(ConnectError::Disconnected)) => {
            ConnectFailure::NoAnswer
        }
        WsClientError::SendRequest(SendRequestError::Send(error)) if is_end(&error) => {
            ConnectFailure::NoAnswer
        }
        WsClientError::SendRequest(SendRequestError::Response(error)) => {
            match error.source().and_then(|source| source.downcast_ref()) {
                Some(broken) if is_end(broken) => ConnectFailure::NoAnswer,
                Some(_) => ConnectFailure::Handshake(brief(&error)),
                None => ConnectFailure::Handshake(format!(
                    "its answer is not HTTP ({}): is the port right, and is it http or https?",
                    brief(&error)
                )),
            }
        }
        WsClientError::SendRequest(SendRequestError::Connect(error)) => match error {
            ConnectError::Resolver(error) => {
                ConnectFailure::UnknownHost(brief(&format_args!("{server}: {error}")))
            }
            ConnectError::NoRecords => {
                ConnectFailure::UnknownHost(brief(&format_args!("{server}: it has no address")))
            }
            // TCP says that it is refused, or cannot be routed; only TLS is closed.
            ConnectError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ConnectFailure::NoAnswer
            }
            error => ConnectFailure::Unreachable(brief(&format_args!("{server}: {error}"))),
        },
        WsClientError::SendRequest(error) => {
            ConnectFailure::Unreachable(brief(&format_args!("{server}: {error}")))
        }
        error => ConnectFailure::Handshake(brief(&error)),
    };
    Reason::Connect(failure).into()
}

fn refusal(Refused { status, retry_after, words }: Refused) -> DialFailure {
    let Words { shown: says, no_websocket } = words;
    let (failure, says) = match says {
        Some(says) if no_websocket => (ConnectFailure::NoWebsocket(says), None),
        says => (ConnectFailure::Status(status.as_u16()), says),
    };
    DialFailure { reason: Reason::Connect(failure), retry_after, says }
}

/// Whether the other side has ended the connection, cleanly or not.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
