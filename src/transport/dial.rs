//! Dialling: from a URL and headers to an open websocket.

use std::{error::Error as _, io, time::Duration};

use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::{
    ConnectError as TcpConnectError, ConnectInfo, Connection as TcpConnection,
};
use awc::{
    Client, Connector,
    error::{ConnectError, SendRequestError, WsClientError},
    http::Uri,
    ws::WebsocketsRequest,
};
use bytestring::ByteString;
use futures::future::try_join;
use socket2::{SockRef, TcpKeepalive};

use super::{
    WebSocket,
    refusal::{ReadRefusals, Refused, Words},
    request::{Headers, Query},
};
use crate::{
    display::brief,
    logs::say,
    proto::{
        engine::Protocol,
        reason::{ConnectFailure, Reason},
    },
    runtime::provider::DialContext,
};

/// Where to dial, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `http://host:port/path/`
    pub(crate) base: String,
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

thread_local! {
    /// awc's client belongs to one thread; all connections of the thread share it. awc's limit of 100
    /// connections is lifted. They share nothing else: awc does not pool connections that become websockets.
    static CLIENT: Client = {
        let connector = Connector::new().limit(0).timeout(FOREVER).connector(Tuned::default());
        // The connection's core has the only deadline.
        Client::builder()
            .connector(connector)
            .wrap(ReadRefusals)
            .disable_timeout()
            .disable_redirects()
            .finish()
    };
}

impl Target {
    /// `host:port`, the name of the connection in logs.
    pub(crate) fn authority(&self) -> ByteString {
        let rest = self.base.split_once("://").map_or(&*self.base, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().into()
    }

    /// Dials on the current thread.
    pub(crate) fn dial(
        &self,
        protocol: Protocol,
        dial: DialContext,
    ) -> impl Future<Output = Result<WebSocket, DialFailure>> + use<> {
        let target = self.clone();
        async move {
            let max_message = target.max_message;
            let request = request(target.clone(), protocol, dial).await?;
            let connected = request.connect().await;
            let (_, framed) = connected.map_err(|error| failure(error, &target.authority()))?;
            Ok(WebSocket::new(framed, max_message))
        }
    }
}

/// Builds the request, and asks the application's providers for their part.
async fn request(
    target: Target,
    protocol: Protocol,
    dial: DialContext,
) -> Result<WebsocketsRequest, Reason> {
    let Target { base, query, headers, max_message: _ } = target;
    let (query, headers) = try_join(query.of(dial.clone()), headers.of(dial)).await?;
    let url = format!("{base}?EIO={}&transport=websocket{query}", protocol.number());
    // Options were checked at the start, and values of providers are encoded: only the length is left.
    let url = Uri::try_from(url)
        .map_err(|_| Reason::Provider("the query makes the URL too long".to_owned()))?;
    let request = CLIENT.with(|client| client.ws(url));
    Ok(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
}

/// TCP keepalive: after this idle time the system probes the other end, and from then on at this interval.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// awc's own TCP connector, plus socket options that awc has no switch for.
#[derive(Clone, Default)]
struct Tuned {
    inner: actix_tls::connect::ConnectorService,
}

impl Service<ConnectInfo<Uri>> for Tuned {
    type Response = TcpConnection<Uri, TcpStream>;
    type Error = TcpConnectError;
    type Future = futures::future::LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let connecting = self.inner.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            tune(connection.io_ref(), connection.request());
            Ok(connection)
        })
    }
}

/// Sets `TCP_NODELAY`, since small events must not wait for the acknowledgement of earlier ones; and
/// keepalive, which keeps NATs and firewalls from forgetting the connection, and notices a dead one where
/// the server's heartbeat is slow. The connection works without either.
fn tune(stream: &TcpStream, uri: &Uri) {
    let (idle, interval) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle);
    // The others have a fixed one.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_interval(interval);
    let set = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    for outcome in [stream.set_nodelay(true), set] {
        if let Err(error) = outcome {
            let link = uri.authority().map_or("", |authority| authority.as_str());
            say!(
                log::Level::Debug,
                "{link}: an option of the TCP connection cannot be set: {error}"
            );
        }
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
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_connection_has_no_delay_and_is_kept_alive() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        tune(&stream, &Uri::from_static("http://127.0.0.1"));
        assert!(SockRef::from(&stream).keepalive().unwrap());
        assert!(stream.nodelay().unwrap());
    }
}
