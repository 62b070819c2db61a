//! What can go wrong: one small enum per verb, and the [`Reason`] for which a namespace is not, or
//! no longer, joined.
//!
//! Errors of other crates are flattened to text where they come in, so every error here is
//! `Send + Sync + Clone + PartialEq` and can ride in an actor message.
//!
//! Each is shown with all that it was caused by, so none has a [`source`](std::error::Error::source):
//! who prints one, alone or as the last of a chain, reads everything once. The cause as a value is in
//! the variant.
//!
//! What a server says is shown escaped and cut, and the data of a [`Refusal`] not at all: servers
//! like to repeat the credentials that they do not take.
//!
//! # Reasons
//!
//! | reason | official name | what it means | tried again by itself |
//! |---|---|---|---|
//! | [`ClientDisconnect`](Reason::ClientDisconnect) | `io client disconnect` | this side left the namespace | never |
//! | [`Shutdown`](Reason::Shutdown) | `forced close` | the client was shut down, or its last handle dropped | never |
//! | [`ServerDisconnect`](Reason::ServerDisconnect) | `io server disconnect` | the server put this client out of the namespace | no |
//! | [`Refused`](Reason::Refused) | – | the server refused to let this client in, see [`Refusal`] | no |
//! | [`JoinTimeout`](Reason::JoinTimeout) | – | the server never answered the request to join | yes |
//! | [`PingTimeout`](Reason::PingTimeout) | `ping timeout` | no heartbeat in time, or this machine has slept | yes |
//! | [`TransportClose`](Reason::TransportClose) | `transport close` | the other side closed the connection | yes |
//! | [`ServerShutdown`](Reason::ServerShutdown) | `transport close` | close code 1001 or 1012: the server goes away or restarts | yes |
//! | [`TransportError`](Reason::TransportError) | `transport error` | reading or writing failed | yes |
//! | [`TooLargeForServer`](Reason::TooLargeForServer) | `transport close` | close code 1009: the server's limit was exceeded | yes |
//! | [`TooLarge`](Reason::TooLarge) | `transport error` | a message of the server exceeds this client's limit | yes |
//! | [`Protocol`](Reason::Protocol) | `parse error` | the server sent what no Socket.IO server may send | yes |
//! | [`Connect`](Reason::Connect) | – | there never was a connection | yes, but for [`Unsupported`](ConnectFailure::Unsupported) |
//! | [`Provider`](Reason::Provider) | – | the application failed to give what it takes to connect or to join | yes |
//! | [`Middleware`](Reason::Middleware) | – | a middleware of the application did not let the request to join pass | no |
//! | [`Reconnect`](Reason::Reconnect) | `forced close` | the connection was replaced for the sake of a namespace | yes |
//! | [`SlowSubscriber`](Reason::SlowSubscriber) | – | this side left, since a subscriber was too slow | never |
//!
//! What is tried again is up to [`Reconnect::retry`](crate::Reconnect::retry), but for what is
//! never. What becomes of events and answers then is told on the page on
//! [delivery](crate::guide::delivery#when-something-ends).

pub use crate::{
    actor::waiters::ReadyError,
    bridge::BridgeError,
    client::error::{BuildError, NamespaceError, StartError},
    message::answer::AnswerError,
    payload::error::DecodeError,
    proto::{
        error::{AckError, EmitError, Unsendable},
        reason::{ConnectFailure, Initiator, Reason},
        refusal::Refusal,
    },
};

#[cfg(test)]
mod tests;
