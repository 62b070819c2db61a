//! Why there is no session, or no connection.

use std::{error::Error, fmt};

use super::{ProtocolError, engine::Protocol, packet::Parser, refusal::Refusal};
use crate::display::{Excerpt, brief};

/// Who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The application, by a call on a handle, by dropping the last one, or by a function of its own
    /// that failed.
    User,
    /// This library, because the peer fell silent or broke a rule or a limit, or because a
    /// subscriber did not keep up.
    Library,
    /// The server, or something on the way to it.
    Remote,
}

/// Why a namespace is not, or no longer, joined.
///
/// The [table](crate::error#reasons) has them all: their official names, what they mean, and what is
/// tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// [`Socket::disconnect`](crate::Socket::disconnect) was called.
    ClientDisconnect,
    /// [`Client::shutdown`](crate::Client::shutdown) was called, or every handle was dropped.
    Shutdown,
    /// The server called `socket.disconnect()` on this client.
    ServerDisconnect,
    /// A middleware of the server refused the connection, or there is no such namespace.
    Refused(Refusal),
    /// The server did not answer the request to join within
    /// [`join_timeout`](crate::ClientBuilder::join_timeout).
    JoinTimeout,
    /// The heartbeat failed: the server, or the way to it, is gone.
    PingTimeout,
    /// The other side closed the connection, with this websocket close code if it gave one.
    TransportClose(Option<u16>),
    /// The server, or a proxy before it, closed the connection because it goes away (close code 1001)
    /// or restarts (1012).
    ServerShutdown,
    /// Reading from or writing to the connection failed.
    TransportError(String),
    /// The server closed the connection because a message was larger than it takes (close code
    /// 1009; `maxHttpBufferSize` of the official server, 1 MB unless it is set).
    TooLargeForServer,
    /// The server sent a message larger than
    /// [`max_message_size`](crate::ClientBuilder::max_message_size).
    TooLarge {
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
    /// The server broke the protocol. The text of the error may quote what it sent.
    Protocol(ProtocolError),
    /// No connection could be made.
    Connect(ConnectFailure),
    /// A function of the application that gives what to send failed, with this text, or gave what
    /// cannot be sent; see [`headers_with`](crate::ClientBuilder::headers_with).
    ///
    /// The text is cut and escaped, shown and logged: it must have no secrets.
    Provider(String),
    /// A [middleware](crate::middleware::Middleware::connect) of the application did not let the
    /// request to join pass, for this reason. It is shown and logged.
    Middleware(String),
    /// The connection was replaced, because a namespace, maybe another one, could not be joined over
    /// it any more, or the server has joined it twice. That may happen with any server; with one 1.x
    /// or 2.x also when `/`, on which everything depends there, was left or refused.
    Reconnect,
    /// More events waited for a subscriber than it allows with
    /// [`Overflow::Disconnect`](crate::Overflow::Disconnect).
    SlowSubscriber,
}

impl Reason {
    /// Who ended it.
    pub fn initiator(&self) -> Initiator {
        match self {
            Self::ClientDisconnect
            | Self::Shutdown
            | Self::Provider(_)
            | Self::Middleware(_)
            | Self::Reconnect => Initiator::User,
            Self::JoinTimeout
            | Self::PingTimeout
            | Self::TooLarge { .. }
            | Self::Protocol(_)
            | Self::SlowSubscriber => Initiator::Library,
            Self::ServerDisconnect
            | Self::Refused(_)
            | Self::TransportClose(_)
            | Self::ServerShutdown
            | Self::TransportError(_)
            | Self::TooLargeForServer
            | Self::Connect(_) => Initiator::Remote,
        }
    }

    /// Whether another attempt would come to the same: the server is what it is.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Shutdown | Self::Connect(ConnectFailure::Unsupported { .. }))
    }

    /// A name for the kind of reason, for counters and metrics: lower case with underscores, such as
    /// `ping_timeout`.
    ///
    /// It is the name of the variant, has nothing in it that a server or a user chose, and does not
    /// change between versions.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::Shutdown => "shutdown",
            Self::ServerDisconnect => "server_disconnect",
            Self::Refused(_) => "refused",
            Self::JoinTimeout => "join_timeout",
            Self::PingTimeout => "ping_timeout",
            Self::TransportClose(_) => "transport_close",
            Self::ServerShutdown => "server_shutdown",
            Self::TransportError(_) => "transport_error",
            Self::TooLargeForServer => "too_large_for_server",
            Self::TooLarge { .. } => "too_large",
            Self::Protocol(_) => "protocol",
            Self::Connect(_) => "connect",
            Self::Provider(_) => "provider",
            Self::Middleware(_) => "middleware",
            Self::Reconnect => "reconnect",
            Self::SlowSubscriber => "slow_subscriber",
        }
    }

    /// The official client's name for it, where it has one.
    pub fn official_name(&self) -> Option<&'static str> {
        match self {
            Self::ClientDisconnect => Some("io client disconnect"),
            Self::ServerDisconnect => Some("io server disconnect"),
            Self::PingTimeout => Some("ping timeout"),
            Self::TransportClose(_) | Self::ServerShutdown | Self::TooLargeForServer => {
                Some("transport close")
            }
            Self::TransportError(_) | Self::TooLarge { .. } => Some("transport error"),
            Self::Protocol(_) => Some("parse error"),
            Self::Shutdown | Self::Reconnect => Some("forced close"),
            Self::Refused(_)
            | Self::JoinTimeout
            | Self::Connect(_)
            | Self::Provider(_)
            | Self::Middleware(_)
            | Self::SlowSubscriber => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientDisconnect => f.write_str("this client left the namespace"),
            Self::Shutdown => f.write_str("the client was shut down, or its last handle was dropped"),
            Self::ServerDisconnect => f.write_str("the server disconnected this client"),
            Self::Refused(refusal) => write!(f, "the server refused: {refusal}"),
            Self::JoinTimeout => {
                f.write_str("the server did not answer the request to join in time")
            }
            Self::PingTimeout => f.write_str("no heartbeat from the server in time"),
            Self::TransportClose(None) => f.write_str("the connection was closed"),
            Self::TransportClose(Some(code)) => {
                write!(f, "the connection was closed with code {code}")
            }
            Self::ServerShutdown => f.write_str("the server shuts down or restarts"),
            Self::TransportError(error) => write!(f, "the connection failed: {error}"),
            Self::TooLargeForServer => {
                f.write_str("the server refused a message as too large (close code 1009)")
            }
            Self::TooLarge { limit } => {
                write!(f, "the server sent a message of more than {limit} bytes")
            }
            Self::Protocol(error) => write!(f, "the server broke the protocol: {}", brief(error)),
            Self::Connect(failure) => write!(f, "no connection: {failure}"),
            Self::Provider(error) => write!(f, "a provider of the application failed: {error}"),
            Self::Middleware(reason) => {
                write!(f, "a middleware stopped the request to join: {}", brief(reason))
            }
            Self::Reconnect => f.write_str("the connection was replaced, because a namespace could not be joined over it, or was joined twice"),
            Self::SlowSubscriber => f.write_str("a subscriber was too slow"),
        }
    }
}

impl Error for Reason {}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// Nothing listens there, or there is no way to it.
    Unreachable(String),
    /// No address is known for the host's name.
    UnknownHost(String),
    /// No usable answer within [`connect_timeout`](crate::ClientBuilder::connect_timeout).
    TimedOut,
    /// The server, or something on the way to it, closed the connection without an answer. Most often
    /// the path is wrong, or the server expects `https`.
    NoAnswer,
    /// The server answered the websocket request with this HTTP status. What it says with that is
    /// logged.
    Status(u16),
    /// The server has no websockets, and says so with this text. What it may have, HTTP long-polling,
    /// this client does not support yet.
    NoWebsocket(String),
    /// The server's answer is not that of a Socket.IO server. The text may quote it.
    Handshake(String),
    /// The server closes the connection without a word as soon as a namespace asks to join, and has
    /// done so twice in a row. Most likely it has another parser than this client, which has this one.
    Parser(Parser),
    /// The server speaks another protocol revision than the one it was asked for.
    Unsupported {
        /// What this client asked for.
        asked: Protocol,
        /// What is known of the server.
        server: String,
    },
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the server cannot be reached: {error}"),
            Self::UnknownHost(error) => write!(f, "the host is not known: {error}"),
            Self::TimedOut => f.write_str("the server did not answer in time"),
            Self::NoAnswer => f.write_str("the server closed the connection without an answer: is the path right, and is it http or https?"),
            Self::NoWebsocket(says) => write!(
                f,
                "this server does not offer websockets, and HTTP long-polling is not supported yet (it says {})",
                Excerpt(says)
            ),
            Self::Status(status) => {
                write!(f, "the server answered the websocket request with HTTP status {status}")?;
                f.write_str(match status {
                    300..=399 => ": redirects are not followed",
                    401 | 403 => ": does it want a header? (options header, headers_with)",
                    200 | 404 | 405 | 426 => {
                        ": is the path right (option path), and is it a Socket.IO server?"
                    }
                    _ => "",
                })
            }
            Self::Handshake(error) => write!(f, "not a Socket.IO server: {}", brief(error)),
            Self::Parser(ours) => write!(
                f,
                "the server closes the connection on each request to join: does it have another parser? This client has Parser::{ours:?}"
            ),
            Self::Unsupported { asked, server } => {
                write!(f, "this client asked for {asked}, but {server}")
            }
        }
    }
}

impl Error for ConnectFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_counted_by_the_name_of_its_variant() {
        for reason in [
            Reason::ClientDisconnect,
            Reason::Shutdown,
            Reason::ServerDisconnect,
            Reason::Refused(Refusal::new("no".to_owned(), None)),
            Reason::JoinTimeout,
            Reason::PingTimeout,
            Reason::TransportClose(Some(4_000)),
            Reason::ServerShutdown,
            Reason::TransportError("reset".to_owned()),
            Reason::TooLargeForServer,
            Reason::TooLarge { limit: 1 },
            Reason::Protocol(ProtocolError::Utf8),
            Reason::Connect(ConnectFailure::TimedOut),
            Reason::Provider("no token".to_owned()),
            Reason::Middleware("not now".to_owned()),
            Reason::Reconnect,
        ] {
            let debug = format!("{reason:?}");
            let variant = debug.split(['(', ' ']).next().unwrap();
            let kind = reason.kind().replace('_', "");
            assert_eq!(kind, variant.to_lowercase());
            assert!(!reason.kind().contains(char::is_uppercase));
        }
    }

    #[test]
    fn a_status_is_shown_with_what_can_be_done_about_it() {
        for (statuses, remedy) in [
            (&[301, 302, 308][..], ": redirects are not followed"),
            (&[401, 403], ": does it want a header? (options header, headers_with)"),
            (
                &[200, 404, 405, 426],
                ": is the path right (option path), and is it a Socket.IO server?",
            ),
            (&[400, 429, 500, 503], ""),
        ] {
            for &status in statuses {
                let shown = ConnectFailure::Status(status).to_string();
                assert!(shown.ends_with(&format!(" HTTP status {status}{remedy}")), "{shown}");
            }
        }
    }
}
