//! The way to the server below TLS.

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(unix)]
use actix_rt::net::UnixStream;

use bytestring::ByteString;
use url::Host;

use super::{
    Endpoint, Session,
    dialer::{AnyDialer, Dialer},
    proxy::{Proxy, ProxyError, Tunnel},
    stream::Wire,
    tcp::Tcp,
};
#[cfg(unix)]
use crate::display::brief;
use crate::proto::reason::ConnectFailure;

/// The options for the way to the server.
#[derive(Debug, Clone, Default)]
pub(crate) enum Through {
    /// The server is reached directly.
    #[default]
    Nothing,
    Proxy(Proxy),
    #[cfg(unix)]
    Unix(PathBuf),
    Dialer(AnyDialer),
}

impl Through {
    pub(crate) fn dialer(dialer: impl Dialer) -> Self {
        Self::Dialer(AnyDialer::new(dialer))
    }

    /// Whether it leads to any server.
    pub(crate) fn is_open_to_all(&self) -> bool {
        match self {
            Self::Nothing | Self::Proxy(_) | Self::Dialer(_) => true,
            #[cfg(unix)]
            Self::Unix(_) => false,
        }
    }

    /// Whether a unix socket can have this path, if that is the way.
    pub(crate) fn is_possible(&self) -> bool {
        match self {
            Self::Nothing | Self::Proxy(_) | Self::Dialer(_) => true,
            #[cfg(unix)]
            Self::Unix(path) => {
                let is_empty = path.as_os_str().is_empty();
                !is_empty && std::os::unix::net::SocketAddr::from_pathname(path).is_ok()
            }
        }
    }
}

/// How to get to the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    /// The name of the client in the log.
    client: ByteString,
    tcp: Tcp,
    hop: Hop,
}

/// The first hop, to which the client connects.
#[derive(Debug, Clone, Default)]
enum Hop {
    #[default]
    Server,
    Proxy(Box<Tunnel>),
    #[cfg(unix)]
    Unix(PathBuf),
    Dialer(AnyDialer),
}

impl Way {
    /// An error says what is wrong with the proxy. `patience`: how long it may take. `tls` makes the TLS
    /// session with a proxy at this host.
    pub(crate) fn new<E: From<ProxyError>>(
        client: ByteString,
        through: Through,
        tcp: Tcp,
        endpoint: &Endpoint,
        patience: Duration,
        tls: impl FnOnce(&Host) -> Result<Session, E>,
    ) -> Result<Self, E> {
        let hop = match through {
            Through::Nothing => Hop::Server,
            Through::Proxy(proxy) => proxy
                .of(endpoint, patience, tls)?
                .map_or(Hop::Server, |tunnel| Hop::Proxy(Box::new(tunnel))),
            #[cfg(unix)]
            Through::Unix(path) => Hop::Unix(path),
            Through::Dialer(dialer) => Hop::Dialer(dialer),
        };
        Ok(Self { client, tcp, hop })
    }

    pub(super) async fn open(&self, endpoint: &Endpoint) -> Result<Wire, ConnectFailure> {
        match &self.hop {
            Hop::Server => {
                let stream = self.tcp.connect(&endpoint.host, endpoint.port(), &self.client).await;
                let stream = stream.map(Wire::Tcp);
                stream.map_err(|failure| failure.of_server(endpoint.authority()))
            }
            Hop::Proxy(tunnel) => tunnel.open(self.tcp, endpoint, &self.client).await,
            #[cfg(unix)]
            Hop::Unix(path) => unix(path).await.map(Wire::Unix),
            Hop::Dialer(dialer) => dialer.dial(endpoint).await.map(Wire::Custom),
        }
    }
}

#[cfg(unix)]
async fn unix(path: &Path) -> Result<UnixStream, ConnectFailure> {
    let connected = UnixStream::connect(path).await;
    connected.map_err(|error| {
        ConnectFailure::Unreachable(brief(&format_args!("{}: {error}", path.display())))
    })
}
