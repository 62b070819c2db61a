//! The only code that touches awc: dialling, and a websocket as whole messages.

mod dial;
mod endpoint;
mod frame;
mod refusal;
mod request;
mod tcp;
mod websocket;

pub(crate) use dial::{DialFailure, Dialer, Target};
pub(crate) use endpoint::Endpoint;
pub(crate) use request::{Headers, Pairs, PairsProvider, Query, RequestError, is_of_the_protocol};
pub(crate) use websocket::{Incoming, WebSocket};
