//! Why there is no session, or no connection.

use thiserror::Error;

use super::{
    ProtocolError,
    engine::Protocol,
    engine_refusal::EngineRefusal,
    packet::{Parser, Refused},
    proxy_failure::ProxyFailure,
    refusal::Refusal,
    tls_failure::TlsFailure,
};
use crate::display::{Excerpt, brief};

/// The side that ended the session or the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The application: by a call on a handle, by dropping the last one, or by code of its own that
    /// failed.
    User,
    /// This library: because the server fell silent, broke a rule or exceeded a limit, or because a
    /// subscriber was too slow.
    Library,
    /// The server, or something on the way to it.
    Remote,
}

/// Why a namespace is not joined, or not any more.
///
/// The [table](crate::error#reasons) lists all reasons: their official names, what they mean, and
/// whether the client tries again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// [`Socket::disconnect`](crate::Socket::disconnect) was called.
    #[error("this client left the namespace")]
    ClientDisconnect,
    /// [`Client::shutdown`](crate::Client::shutdown) was called, or every handle was dropped.
    #[error("the client was shut down, or its last handle was dropped")]
    Shutdown,
    /// The server called `socket.disconnect()` on this client.
    #[error("the server disconnected this client")]
    ServerDisconnect,
    /// A middleware of the server refused the connection, or there is no such namespace.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// The server did not answer the request to join within
    /// [`join_timeout`](crate::ClientBuilder::join_timeout).
    #[error(
        "the server did not answer the request to join in time: does its middleware call next(), and is the parser right (option parser)?"
    )]
    JoinTimeout,
    /// The heartbeat failed: the server, or the network on the way to it, is gone.
    #[error("no heartbeat from the server in time")]
    PingTimeout,
    /// The other side closed the connection, with this websocket close code if it gave one.
    #[error("the connection was closed{}", with_code(*.0))]
    TransportClose(Option<u16>),
    /// The server, or a proxy in front of it, closed the connection because it shuts down (close
    /// code 1001) or restarts (1012).
    #[error("the server shuts down or restarts")]
    ServerShutdown,
    /// Reading from or writing to the connection failed.
    #[error("the connection failed: {0}")]
    TransportError(String),
    /// With polling: the server that a request reached does not have the session. It has ended it, or it is another
    /// server than the one that began it: several servers behind one address need sticky sessions.
    #[error(
        "the server does not know the session: it has ended, or a balancer without sticky sessions is on the way"
    )]
    SessionUnknown,
    /// The server closed the connection because a message exceeded its limit (close code 1009, or HTTP
    /// status 413 with polling; `maxHttpBufferSize` of the official server, 1 MB by default).
    #[error(
        "the server refused a message as too large: raise its maxHttpBufferSize, or send smaller ones"
    )]
    TooLargeForServer,
    /// The server sent a message larger than
    /// [`max_message_size`](crate::ClientBuilder::max_message_size).
    #[error("the server sent a message of more than {limit} bytes (option max_message_size)")]
    TooLarge {
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
    /// The server broke the protocol. The text of the error may quote the server.
    #[error("the server broke the protocol: {}", brief(.0))]
    Protocol(ProtocolError),
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(ConnectFailure),
    /// A provider of the application failed, with this text, or gave something that cannot be sent;
    /// see [`headers_with`](crate::ClientBuilder::headers_with).
    ///
    /// The text is shortened and escaped, shown and logged: it must have no secrets.
    #[error("a provider of the application failed: {0}")]
    Provider(String),
    /// A [middleware](crate::middleware::Middleware::join) of the application stopped the request
    /// to join, for this reason. It is shown and logged.
    #[error("a middleware stopped the request to join: {}", brief(.0))]
    Middleware(String),
    /// The connection was replaced because of a namespace, which may be another one: it could
    /// not be joined over the old connection any more, or the server has joined it twice. With
    /// servers 1.x and 2.x, that is also so if `/` was left or refused, since everything there
    /// depends on it.
    #[error(
        "the connection was replaced, because a namespace could not be joined over it, or was joined twice"
    )]
    Reconnect,
    /// More events waited for a subscriber than it allows with
    /// [`Overflow::Disconnect`](crate::Overflow::Disconnect).
    #[error("a subscriber was too slow")]
    SlowSubscriber,
}

impl Reason {
    /// The side that ended the session or the connection.
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
            | Self::SessionUnknown
            | Self::TooLargeForServer
            | Self::Connect(_) => Initiator::Remote,
        }
    }

    /// The memory that it holds beside itself, in bytes. All texts except that of a refusal are short.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Refused(refusal) => refusal.held(),
            _ => 0,
        }
    }

    /// Whether another attempt would have the same result, because of what the server is.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Shutdown | Self::Connect(ConnectFailure::Unsupported { .. }))
    }

    /// Whether the client begins with the longest delay, because it takes somebody to change something.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Connect(ConnectFailure::Tls(_)) => true,
            Self::Connect(ConnectFailure::Proxy { failure, .. }) => failure.is_lasting(),
            _ => false,
        }
    }

    /// A name for the kind of reason, for counters and metrics: in lower case with underscores,
    /// such as `ping_timeout`.
    ///
    /// It is the name of the variant. It has no text of a server or a user, and does not change
    /// between versions.
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
            Self::SessionUnknown => "session_unknown",
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

    /// The official client's name for the reason, if it has one.
    pub fn official_name(&self) -> Option<&'static str> {
        match self {
            Self::ClientDisconnect => Some("io client disconnect"),
            Self::ServerDisconnect => Some("io server disconnect"),
            Self::PingTimeout => Some("ping timeout"),
            Self::TransportClose(_) | Self::ServerShutdown | Self::TooLargeForServer => {
                Some("transport close")
            }
            Self::TransportError(_) | Self::SessionUnknown | Self::TooLarge { .. } => {
                Some("transport error")
            }
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

/// A message that cannot be accepted ends the connection for this reason.
impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge { limit } => Self::TooLarge { limit },
            Refused::Protocol(error) => Self::Protocol(error),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// Nothing listens at that address, or the network has no route to it.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The name of the host has no known address.
    #[error("the host is not known: {0}")]
    UnknownHost(String),
    /// No usable answer within [`connect_timeout`](crate::ClientBuilder::connect_timeout).
    #[error(
        "the server did not answer in time: is the path right (option path), or does a firewall drop packets?"
    )]
    TimedOut,
    /// The server, or something on the way to it, closed the connection without an answer. Usually
    /// the path is wrong, or the server expects `https`.
    #[error(
        "the server closed the connection without an answer: is the path right (option path), and is it http or https?"
    )]
    NoAnswer,
    /// There is no TLS session with the server (`https`, `wss`).
    #[error("{0}")]
    Tls(TlsFailure),
    /// A proxy on the way made no connection to the server; see
    /// [`ClientBuilder::proxy`](crate::ClientBuilder::proxy).
    #[error("the proxy {proxy} {failure}")]
    Proxy {
        /// `host:port` of the proxy.
        proxy: String,
        /// What is wrong.
        failure: ProxyFailure,
    },
    /// The server, or a proxy in front of it, answered the request to connect with this HTTP status.
    #[error("the server answered the request to connect with HTTP status {status}{}{}", words(says.as_deref()), hint(*status))]
    Status {
        /// The status.
        status: u16,
        /// What the body says, if anything: of an HTML page the title or the first heading, of
        /// JSON the message, otherwise the text. It is cut to 200 characters, and control characters are
        /// escaped.
        says: Option<String>,
    },
    /// The server refused the request, for a reason that the protocol has a code for.
    #[error("the server refused the request: {0}")]
    Engine(EngineRefusal),
    /// The server does not offer websockets; this is its text. It may offer HTTP long-polling: see
    /// [`transports`](crate::ClientBuilder::transports).
    #[error("this server does not offer websockets (it says {}): allow HTTP long-polling with the option transports", Excerpt(.0))]
    NoWebsocket(String),
    /// The server's answer is not that of a Socket.IO server. The text may quote it.
    #[error("not a Socket.IO server: {}; are the port and the path right (option path)?", brief(.0))]
    Handshake(String),
    /// The handshake exceeds [`max_message_size`](crate::ClientBuilder::max_message_size).
    #[error("the handshake has more than {limit} bytes: is the option max_message_size too low?")]
    TooLarge {
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
    /// The server closes the connection without an answer on each request to join, and has done so
    /// twice in a row. Most likely its parser is not this one of the client.
    #[error(
        "the server closes the connection on each request to join: does it have another parser? This client has Parser::{0:?}"
    )]
    Parser(Parser),
    /// With several servers (see [`fallback`](crate::ClientBuilder::fallback)): those that were tried since the
    /// last wait, as `host:port` in the order of preference, and why there is no connection to them.
    ///
    /// The [policy](crate::Reconnect::retry) is asked about each of them separately, with the reason that is
    /// paired with its `host:port` here.
    #[error("{}", each(.0))]
    Endpoints(Vec<(String, Reason)>),
    /// The server speaks another protocol revision than the one it was asked for.
    #[error("this client asked for {asked}, but {server}")]
    Unsupported {
        /// The revision that this client asked for.
        asked: Protocol,
        /// What is known of the server.
        server: String,
    },
}

/// A websocket close code, if there is one.
fn with_code(code: Option<u16>) -> String {
    code.map(|code| format!(" with code {code}")).unwrap_or_default()
}

/// Each server, and why there is no connection to it.
fn each(failures: &[(String, Reason)]) -> String {
    let failures = failures.iter().map(|(endpoint, reason)| match reason {
        Reason::Connect(failure) => format!("{endpoint}: {failure}"),
        reason => format!("{endpoint}: {reason}"),
    });
    failures.collect::<Vec<_>>().join("; ")
}

/// What the body of an answer says, for the text of the error.
fn words(says: Option<&str>) -> String {
    says.map(|says| format!(" (it says \"{}\")", brief(&says))).unwrap_or_default()
}

/// What can be done about a status.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": redirects are not followed; use the URL that it leads to",
        401 | 403 => ": does it want a header? (options header, headers_with)",
        200 | 404 | 405 | 426 => ": is the path right (option path), and is it a Socket.IO server?",
        502..=504 => ": is the server behind the proxy or balancer up?",
        _ => "",
    }
}

#[cfg(test)]
impl ConnectFailure {
    /// An answer with this status and no text.
    pub(crate) fn status(status: u16) -> Self {
        Self::Status { status, says: None }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each variant.
    pub(crate) fn reasons() -> Vec<Reason> {
        let eio3 = Protocol::Eio3;
        let proxy =
            |failure| ConnectFailure::Proxy { proxy: "proxy.test:3128".to_owned(), failure };
        let failures = [
            ConnectFailure::Unreachable("refused".to_owned()),
            ConnectFailure::UnknownHost("no such name".to_owned()),
            ConnectFailure::TimedOut,
            ConnectFailure::NoAnswer,
            ConnectFailure::Tls(TlsFailure::UnknownIssuer),
            ConnectFailure::Tls(TlsFailure::Handshake("no".to_owned())),
            proxy(ProxyFailure::CredentialsRefused),
            proxy(ProxyFailure::Status { status: 503, says: Some("no".to_owned()) }),
            proxy(ProxyFailure::Socks(5)),
            ConnectFailure::status(301),
            ConnectFailure::status(401),
            ConnectFailure::status(404),
            ConnectFailure::status(502),
            ConnectFailure::Status { status: 502, says: Some("Bad Gateway".to_owned()) },
            ConnectFailure::Engine(EngineRefusal::Forbidden),
            ConnectFailure::NoWebsocket("no".to_owned()),
            ConnectFailure::Handshake("no".to_owned()),
            ConnectFailure::TooLarge { limit: 1 },
            ConnectFailure::Parser(Parser::Json),
            ConnectFailure::Endpoints(vec![
                ("a.test:1".to_owned(), Reason::Connect(ConnectFailure::TimedOut)),
                ("b.test".to_owned(), Reason::TransportClose(None)),
            ]),
            ConnectFailure::Unsupported { asked: eio3, server: "it is old".to_owned() },
        ];
        let mut reasons = vec![
            Reason::ClientDisconnect,
            Reason::Shutdown,
            Reason::ServerDisconnect,
            Reason::Refused(Refusal::new("denied".to_owned(), None)),
            Reason::JoinTimeout,
            Reason::PingTimeout,
            Reason::TransportClose(None),
            Reason::TransportClose(Some(4_000)),
            Reason::ServerShutdown,
            Reason::TransportError("reset".to_owned()),
            Reason::SessionUnknown,
            Reason::TooLargeForServer,
            Reason::TooLarge { limit: 1 },
            Reason::Protocol(ProtocolError::Utf8),
            Reason::Provider("no token".to_owned()),
            Reason::Middleware("not now".to_owned()),
            Reason::Reconnect,
            Reason::SlowSubscriber,
        ];
        reasons.extend(failures.map(Reason::Connect));
        reasons
    }

    #[test]
    fn a_reason_is_counted_by_the_name_of_its_variant() {
        for reason in reasons() {
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
            (&[301, 302, 308][..], ": redirects are not followed; use the URL that it leads to"),
            (&[401, 403], ": does it want a header? (options header, headers_with)"),
            (
                &[200, 404, 405, 426],
                ": is the path right (option path), and is it a Socket.IO server?",
            ),
            (&[502, 503, 504], ": is the server behind the proxy or balancer up?"),
            (&[400, 429, 500], ""),
        ] {
            for &status in statuses {
                let shown = ConnectFailure::status(status).to_string();
                assert!(shown.ends_with(&format!(" HTTP status {status}{remedy}")), "{shown}");
                let says = Some("no\nsuch place".to_owned());
                let shown = ConnectFailure::Status { status, says }.to_string();
                let end = format!(r#" HTTP status {status} (it says "no\nsuch place"){remedy}"#);
                assert!(shown.ends_with(&end), "{shown}");
            }
        }
    }
}
