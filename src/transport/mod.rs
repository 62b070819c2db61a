//! The only code that touches awc: dialling, and a websocket as whole messages.

mod connector;
mod cookies;
mod dial;
mod endpoint;
mod frame;
mod link;
mod polling;
mod refusal;
mod request;
mod stream;
mod tcp;
#[cfg(feature = "rustls")]
pub mod tls;
#[cfg(not(feature = "rustls"))]
#[path = "no_tls.rs"]
mod tls;
mod websocket;

pub(crate) use dial::{DialFailure, Dialer, Target};
pub(crate) use endpoint::Endpoint;
pub(crate) use link::Link;
pub(crate) use request::{Headers, Pairs, PairsProvider, Query, RequestError, is_of_the_protocol};
pub(crate) use tls::Session;
pub(crate) use websocket::WebSocket;
