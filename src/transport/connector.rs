//! The connector for awc: the way to the server, with TLS if the URL asks for it.

use std::{io, sync::Arc};

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures::future::LocalBoxFuture;

use super::{dial::Target, stream::Stream};
use crate::proto::reason::ConnectFailure;

#[derive(Clone)]
pub(super) struct Connector(pub(super) Arc<Target>);

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Stream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    /// The request says nothing that the endpoint does not.
    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let target = Arc::clone(&self.0);
        Box::pin(async move {
            let Target { endpoint, way, tls, .. } = &*target;
            let wire = way.open(endpoint).await.map_err(wrapped)?;
            let stream = match tls {
                None => Stream::Plain(wire),
                #[cfg(feature = "rustls")]
                Some(tls) => Stream::Tls(tls.clone().begin(wire).await.map_err(ConnectError::Io)?),
                #[cfg(not(feature = "rustls"))]
                Some(tls) => match *tls {},
            };
            Ok(Connection::new(request.request().clone(), stream))
        })
    }
}

/// Our own failure inside an error of awc.
fn wrapped(failure: ConnectFailure) -> ConnectError {
    ConnectError::Io(io::Error::other(failure))
}

/// Takes our failure out of the error.
pub(super) fn unwrapped(error: &io::Error) -> Option<&ConnectFailure> {
    error.get_ref()?.downcast_ref()
}
