//! What can go wrong: one small enum for each verb, and the [`Reason`] why a namespace is not joined.
//!
//! Every error is `Send + Sync + Clone + PartialEq`, so it can be part of an actor message. Errors of other
//! crates become text where they occur.
//!
//! The text of an error includes its causes, and none has a [`source`](std::error::Error::source). So
//! printing an error shows everything once. The variant has the cause as a value.
//!
//! A server's words are shown escaped and shortened. The data of a [`Refusal`] is not shown at all: servers
//! often repeat the credentials that they reject.
//!
//! The page on [troubleshooting](crate::guide::troubleshooting) says for each of them what is printed, and what to do.
//!
//! # Reasons
//!
//! | reason | official name | what it means | retried by default |
//! |---|---|---|---|
//! | [`ClientDisconnect`](Reason::ClientDisconnect) | `io client disconnect` | this side left the namespace | never |
//! | [`Shutdown`](Reason::Shutdown) | `forced close` | the client was shut down, or its last handle dropped | never |
//! | [`ServerDisconnect`](Reason::ServerDisconnect) | `io server disconnect` | the server removed this client from the namespace | no |
//! | [`Refused`](Reason::Refused) | – | the server refused this client; see [`Refusal`] | no |
//! | [`JoinTimeout`](Reason::JoinTimeout) | – | the server never answered the request to join | yes |
//! | [`PingTimeout`](Reason::PingTimeout) | `ping timeout` | no heartbeat in time, for instance after this machine was suspended | yes |
//! | [`TransportClose`](Reason::TransportClose) | `transport close` | the other side closed the connection | yes |
//! | [`ServerShutdown`](Reason::ServerShutdown) | `transport close` | close code 1001 or 1012: the server shuts down or restarts | yes |
//! | [`TransportError`](Reason::TransportError) | `transport error` | reading or writing failed | yes |
//! | [`SessionUnknown`](Reason::SessionUnknown) | `transport error` | with polling: the request reached a server that does not have the session | yes |
//! | [`TooLargeForServer`](Reason::TooLargeForServer) | `transport close` | close code 1009, or HTTP status 413 with polling: the server's limit was exceeded | yes |
//! | [`TooLarge`](Reason::TooLarge) | `transport error` | a message of the server exceeds this client's limit | yes |
//! | [`Protocol`](Reason::Protocol) | `parse error` | the server broke the protocol | yes |
//! | [`Connect`](Reason::Connect) | – | no connection could be made | yes, except [`Unsupported`](ConnectFailure::Unsupported); after [`Tls`](ConnectFailure::Tls) and many a [`Proxy`](ConnectFailure::Proxy) with the longest delay |
//! | [`Provider`](Reason::Provider) | – | a provider of the application failed | yes |
//! | [`Middleware`](Reason::Middleware) | – | a middleware of the application stopped the request to join | no |
//! | [`Reconnect`](Reason::Reconnect) | `forced close` | the connection was replaced for the sake of a namespace | yes |
//! | [`SlowSubscriber`](Reason::SlowSubscriber) | – | this client left because a subscriber was too slow | never |
//!
//! Except for "never", [`Reconnect::retry`](crate::Reconnect::retry) decides. The page on
//! [delivery](crate::guide::delivery#when-something-ends) says what happens to events and answers.

pub use crate::{
    actor::{command_queue::Busy, waiters::ReadyError},
    bridge::BridgeError,
    client::error::{BuildError, NamespaceError, StartError},
    message::answer::AnswerError,
    payload::error::DecodeError,
    proto::{
        engine_refusal::EngineRefusal,
        error::{AckError, EmitError, Unsendable},
        proxy_failure::ProxyFailure,
        reason::{ConnectFailure, Initiator, Reason},
        refusal::Refusal,
        tls_failure::TlsFailure,
    },
};

#[cfg(test)]
mod tests;
