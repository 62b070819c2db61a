//! The way to the server below TLS.

use std::time::Duration;

use actix_rt::net::TcpStream;

use super::{
    Endpoint,
    proxy::{Proxy, Tunnel},
    tcp::Tcp,
};
use crate::proto::reason::ConnectFailure;

/// What the options say of the way to the server.
#[derive(Debug, Clone, Default)]
pub(crate) enum Through {
    /// It is reached directly.
    #[default]
    Nothing,
    Proxy(Proxy),
}

/// How to get to the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    tcp: Tcp,
    hop: Hop,
}

/// What is connected to.
#[derive(Debug, Clone, Default)]
enum Hop {
    #[default]
    Server,
    Proxy(Tunnel),
}

impl Way {
    /// An error says what is wrong with the proxy. It may take this long.
    pub(crate) fn new(
        through: &Through,
        tcp: Tcp,
        endpoint: &Endpoint,
        patience: Duration,
    ) -> Result<Self, String> {
        let hop = match through {
            Through::Nothing => Hop::Server,
            Through::Proxy(proxy) => proxy.of(endpoint, patience)?.map_or(Hop::Server, Hop::Proxy),
        };
        Ok(Self { tcp, hop })
    }

    pub(super) async fn open(&self, endpoint: &Endpoint) -> Result<TcpStream, ConnectFailure> {
        match &self.hop {
            Hop::Server => {
                let stream = self.tcp.connect(&endpoint.host, endpoint.port()).await;
                stream.map_err(|failure| failure.of_server(&endpoint.authority()))
            }
            Hop::Proxy(tunnel) => tunnel.open(self.tcp, endpoint).await,
        }
    }
}
