//! The only code that touches awc: dialling, and a websocket as whole messages.

mod dial;
mod guard;
mod websocket;

pub(crate) use dial::{Dialler, Target, reserved_header};
pub(crate) use websocket::{Incoming, WebSocket};
