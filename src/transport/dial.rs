//! Dialling: from a URL and headers to an open websocket.

use std::{fmt, time::Duration};

use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::{
    ConnectError as TcpConnectError, ConnectInfo, Connection as TcpConnection,
};
use awc::{
    Client, Connector,
    error::{ConnectError, SendRequestError, WsClientError},
    http::{
        Uri,
        header::{self, HeaderName, HeaderValue},
    },
};

use super::WebSocket;
use crate::{
    error::{ConnectFailure, brief},
    proto::engine::Protocol,
};

/// Where to dial, and with what.
#[derive(Clone)]
pub(crate) struct Target {
    /// `http://host:port/path/`
    pub(crate) base: String,
    /// `&key=value…`, percent-encoded. May hold secrets.
    pub(crate) query: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The largest message to take in, in bytes.
    pub(crate) max_message: usize,
}

/// Shows no query and no header values: they may be secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, query: _, headers, max_message } = self;
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Target")
            .field("base", base)
            .field("headers", &names)
            .field("max_message", max_message)
            .finish_non_exhaustive()
    }
}

/// Whether a header belongs to the websocket handshake, which sets it.
pub(crate) fn reserved_header(name: &HeaderName) -> bool {
    [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

/// Longer than any deadline of the core.
const FOREVER: Duration = Duration::from_secs(86_400);

pub(crate) struct Dialler {
    client: Client,
    target: Target,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Dialler {
    /// Must be made on the thread that dials: awc's client belongs to one.
    pub(crate) fn new(target: Target) -> Self {
        // One client for each connection: awc allows 100 websockets on one.
        let connector = Connector::new().timeout(FOREVER).connector(NoDelay::default());
        // The connection's core has the only deadline.
        let client =
            Client::builder().connector(connector).disable_timeout().disable_redirects().finish();
        Self { client, target }
    }

    pub(crate) fn dial(
        &self,
        protocol: Protocol,
    ) -> impl Future<Output = Result<WebSocket, ConnectFailure>> + use<> {
        let Target { base, query, headers, max_message } = &self.target;
        let url = format!("{base}?EIO={}&transport=websocket{query}", protocol.number());
        let mut request = self.client.ws(url);
        for (name, value) in headers {
            request = request.header(name.clone(), value.clone());
        }
        let max_message = *max_message;
        async move {
            let (_, framed) = request.connect().await.map_err(failure)?;
            Ok(WebSocket::new(framed, max_message))
        }
    }
}

/// awc's own TCP connector, and then `TCP_NODELAY`, for which awc has no switch: small events must
/// not wait for the acknowledgement of earlier ones.
#[derive(Clone, Default)]
struct NoDelay {
    inner: actix_tls::connect::ConnectorService,
}

impl Service<ConnectInfo<Uri>> for NoDelay {
    type Response = TcpConnection<Uri, TcpStream>;
    type Error = TcpConnectError;
    type Future = futures::future::LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let connecting = self.inner.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            if let Err(error) = connection.io_ref().set_nodelay(true) {
                log::debug!("TCP_NODELAY cannot be set: {error}");
            }
            Ok(connection)
        })
    }
}

/// awc's errors cannot leave this thread, so they become words.
fn failure(error: WsClientError) -> ConnectFailure {
    match error {
        WsClientError::InvalidResponseStatus(status) => ConnectFailure::Status(status.as_u16()),
        WsClientError::SendRequest(
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout,
        ) => ConnectFailure::TimedOut,
        WsClientError::SendRequest(SendRequestError::Response(error)) => {
            ConnectFailure::Handshake(brief(&error))
        }
        WsClientError::SendRequest(error) => ConnectFailure::Unreachable(brief(&error)),
        error => ConnectFailure::Handshake(brief(&error)),
    }
}
