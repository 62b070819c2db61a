//! What awc connects with: TCP, and TLS above it where the URL asks for it.

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures::future::LocalBoxFuture;

use super::{stream::Stream, tcp::Tcp, tls::Session};

#[derive(Clone)]
pub(super) struct Connector {
    tcp: Tcp,
    tls: Option<Session>,
}

impl Connector {
    pub(super) fn new(tls: Option<Session>) -> Self {
        Self { tcp: Tcp::default(), tls }
    }
}

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Stream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let connecting = self.tcp.connect(request);
        let tls = self.tls.clone();
        Box::pin(async move {
            let (tcp, uri) = connecting.await?.into_parts();
            let stream = match tls {
                None => Stream::Plain(tcp),
                #[cfg(feature = "rustls")]
                Some(tls) => Stream::Tls(tls.begin(tcp).await.map_err(ConnectError::Io)?),
                #[cfg(not(feature = "rustls"))]
                Some(tls) => match tls {},
            };
            Ok(Connection::new(uri, stream))
        })
    }
}
