//! The only code that touches awc: dialling, and a websocket as whole messages.

mod connector;
mod cookies;
mod dial;
mod dialer;
mod endpoint;
mod frame;
mod link;
mod polling;
mod proxy;
mod recycler;
mod refusal;
mod request;
mod stream;
mod tcp;
#[cfg(feature = "rustls")]
pub mod tls;
#[cfg(not(feature = "rustls"))]
#[path = "no_tls.rs"]
mod tls;
mod way;
mod websocket;

pub(crate) use dial::{DialFailure, LinkDialer, Target, Targets};
pub use dialer::Dialer;
pub(crate) use endpoint::Endpoint;
pub(crate) use link::Link;
pub use proxy::Proxy;
pub(crate) use proxy::ProxyError;
pub(crate) use request::{
    Headers, Pairs, PairsProvider, Query, RequestError, Subprotocols, basic_credentials,
    is_of_the_protocol,
};
pub use tcp::IpFamily;
pub(crate) use tcp::Tcp;
pub(crate) use tls::Session;
pub(crate) use way::{Through, Way};
pub(crate) use websocket::WebSocket;
