//! Dialling: the TCP connection below everything else.

use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_service::Service as _;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, ConnectorService};
use awc::http::Uri;
use socket2::{SockRef, TcpKeepalive};

use crate::logs::say;

/// TCP keepalive: after this idle time the system probes the other end, and from then on at this interval.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// awc's own TCP connector, plus socket options that awc has no switch for.
#[derive(Clone, Default)]
pub(super) struct Tcp {
    inner: ConnectorService,
}

impl Tcp {
    pub(super) fn connect(
        &self,
        request: ConnectInfo<Uri>,
    ) -> impl Future<Output = Result<Connection<Uri, TcpStream>, ConnectError>> + use<> {
        let connecting = self.inner.call(request);
        async move {
            let connection = connecting.await?;
            tune(connection.io_ref(), connection.request());
            Ok(connection)
        }
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
