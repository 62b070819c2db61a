//! Socket.IO client for actix applications.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        clippy::format_collect,
        clippy::needless_pass_by_value,
        clippy::string_slice,
        reason = "a test fails by panicking, and starts its virtual clock somewhere"
    )
)]

mod alarm;
mod client;
mod connection;
mod driver;
pub mod error;
pub mod message;
mod namespace;
mod outbox;
pub mod payload;
mod proto;
mod socket;
mod subscriber;
mod transport;

pub use client::{Client, ClientBuilder, ShutdownReport};
pub use error::{
    AckError, AnswerError, BuildError, ConnectFailure, DecodeError, EmitError, Initiator,
    NamespaceError, ReadyError, Reason, Refusal, StartError,
};
pub use message::{ConnectError, Disconnected, Emit, Event, Lagged, Ready};
pub use payload::Payload;
pub use proto::{ProtocolError, engine::Protocol};
pub use socket::{Ack, AckRequest, ReadyRequest, Socket, WhenReady};
pub use subscriber::Subscribable;
