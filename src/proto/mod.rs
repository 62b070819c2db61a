//! The protocol, without IO: no clock, no socket, no runtime.
//!
//! Time comes in as an argument, bytes come in and go out as values, so everything here can be
//! tested to the last state without waiting for anything. The grammar is the same throughout:
//!
//! * `handle_*` takes what happened: a frame, a failure, a deadline,
//! * plain verbs say what the application wants: `join`, `emit`, `close`,
//! * `poll_*` gives what there is to do: frames to write, packets to route, actions to take,
//! * `poll_timeout` names the one moment at which `handle_timeout` must be called.
//!
//! Input that the state does not allow is a typed error or a no-op, and changes nothing.
//!
//! Layers, outermost first:
//!
//! ```text
//! websocket message ── engine ──▶ engine packet ── packet ──▶ Socket.IO packet ── namespace ──▶ event
//!                                               or msgpack
//!                        connection: what the peer is, whether it lives, who may speak
//! ```

mod attempts;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod dial_limiter;
pub(crate) mod emit;
mod endpoints;
pub(crate) mod engine;
pub(crate) mod engine_refusal;
pub(crate) mod error;
pub(crate) mod fast_map;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
pub(crate) mod name_map;
pub(crate) mod namespace;
pub(crate) mod outgoing;
pub(crate) mod packet;
pub(crate) mod peer_text;
pub(crate) mod polling;
pub(crate) mod proxy_failure;
pub(crate) mod reason;
pub(crate) mod reconnect;
pub(crate) mod recovery;
pub(crate) mod refusal;
pub(crate) mod room;
pub(crate) mod round_trips;
pub(crate) mod session;
pub(crate) mod small_texts;
pub(crate) mod suspect;
pub(crate) mod ticket;
pub(crate) mod tls_failure;
pub(crate) mod transports;

pub use packet::ProtocolError;

#[cfg(test)]
mod vectors;
