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

use std::{error::Error, fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    display::{Excerpt, brief},
    guard::Panicked,
    payload::read,
    proto::{ProtocolError, emit::Emit, engine::Protocol, packet::Parser},
};

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
/// | reason | official name | what it means | tried again by itself |
/// |---|---|---|---|
/// | [`ClientDisconnect`](Self::ClientDisconnect) | `io client disconnect` | this side left the namespace | never |
/// | [`Shutdown`](Self::Shutdown) | `forced close` | the client was shut down, or its last handle dropped | never |
/// | [`ServerDisconnect`](Self::ServerDisconnect) | `io server disconnect` | the server put this client out of the namespace | no |
/// | [`Refused`](Self::Refused) | – | the server refused to let this client in, see [`Refusal`] | no |
/// | [`JoinTimeout`](Self::JoinTimeout) | – | the server never answered the request to join | yes |
/// | [`PingTimeout`](Self::PingTimeout) | `ping timeout` | no heartbeat in time, or this machine has slept | yes |
/// | [`TransportClose`](Self::TransportClose) | `transport close` | the other side closed the connection | yes |
/// | [`ServerShutdown`](Self::ServerShutdown) | `transport close` | close code 1001 or 1012: the server goes away or restarts | yes |
/// | [`TransportError`](Self::TransportError) | `transport error` | reading or writing failed | yes |
/// | [`TooLargeForServer`](Self::TooLargeForServer) | `transport close` | close code 1009: the server's limit was exceeded | yes |
/// | [`TooLarge`](Self::TooLarge) | `transport error` | a message of the server exceeds this client's limit | yes |
/// | [`Protocol`](Self::Protocol) | `parse error` | the server sent what no Socket.IO server may send | yes |
/// | [`Connect`](Self::Connect) | – | there never was a connection | yes, but for [`Unsupported`](ConnectFailure::Unsupported) |
/// | [`Provider`](Self::Provider) | – | the application failed to give what it takes to connect or to join | yes |
/// | [`Middleware`](Self::Middleware) | – | a middleware of the application did not let the request to join pass | no |
/// | [`Reconnect`](Self::Reconnect) | `forced close` | the connection was replaced for the sake of a namespace | yes |
/// | [`SlowSubscriber`](Self::SlowSubscriber) | – | this side left, since a subscriber was too slow | never |
///
/// What is tried again is up to [`Reconnect::retry`](crate::Reconnect::retry), but for what is
/// never. What becomes of events and answers then is told on the page on
/// [delivery](crate::guide::delivery#when-something-ends).
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

/// The server's answer to a client that it does not let in.
///
/// Cheap to clone, however much the server said: everybody who waits for something gets one.
/// Neither `Display` nor `Debug` shows the data, in which the server may repeat credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal(Arc<Said>);

#[derive(PartialEq, Eq)]
struct Said {
    message: String,
    /// JSON text. It is parsed when asked for: as a value it would take many times the memory.
    data: Option<Box<str>>,
}

impl Refusal {
    /// `data` is JSON.
    pub(crate) fn new(message: String, data: Option<&str>) -> Self {
        Self(Arc::new(Said { message, data: data.map(Box::from) }))
    }

    /// What the server said, for instance `Invalid namespace` or the message of the error that
    /// its middleware passed on. Empty where it said nothing, or nothing that is a text.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The data that the server's middleware put on its error (`error.data`), if any, as JSON
    /// text.
    ///
    /// An error of an old server (1.x, 2.x), or of one in Python, may be an object of another shape or
    /// a list: then the data is the whole of it, its message included.
    pub fn json(&self) -> Option<&str> {
        self.0.data.as_deref()
    }

    /// The same data in a type of the application, such as [`serde_json::Value`].
    ///
    /// # Errors
    ///
    /// There is no data, or it has another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let data = self.json().ok_or_else(|| DecodeError::new("the refusal has no data"))?;
        read(data).map_err(DecodeError::from_serde)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message(), self.json()) {
            ("", None) => f.write_str("no reason given"),
            ("", Some(_)) => f.write_str("it gave data, but no message (see Refusal::json)"),
            (message, _) => Excerpt(message).fmt(f),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { message, data } = &*self.0;
        f.debug_struct("Refusal")
            .field("message", &format_args!("{}", Excerpt(message)))
            .field("bytes_of_data", &data.as_ref().map_or(0, |data| data.len()))
            .finish()
    }
}

/// How the text of an error begins where the application's own code has panicked.
const PANICKED: &str = "reading it";

/// What this crate says itself of arguments. It quotes nothing.
const OWN: [&str; 4] = [
    "there are no arguments",
    "there are fewer arguments than that",
    "an argument was asked for twice",
    "no such attachment",
];

/// What of serde's text quotes no value: what was found, by its kind, and what was expected. The text
/// may have been cut. An error of the type's own, which may say anything, is not shown.
fn without_values(text: &str) -> String {
    if text.starts_with(&format!("{PANICKED} panicked")) || text.starts_with("missing field `") {
        return text.to_owned();
    }
    if OWN.contains(&text.split(" at line ").next().unwrap_or_default()) {
        return text.to_owned();
    }
    let starts = ["invalid type: ", "invalid value: ", "invalid length ", "unknown "];
    if !starts.iter().any(|start| text.starts_with(start)) {
        return "the error may quote it, and is in `Undecodable` only".to_owned();
    }
    // A value is quoted, and stands before what was expected. It may have the same words in it.
    let found = text.split(['"', '`', ',', '…']).next().unwrap_or_default().trim_end();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if !text.ends_with('…') => format!("{found}, expected {expected}"),
        _ => found.to_owned(),
    }
}

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

/// What to do where there is no system; the docs of the crate have it too.
const RECIPE: &str = "
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let system = actix::System::new();
        tell.send(actix::System::current().arbiter().clone()).ok();
        system.run()
    });
    let client = Client::builder(url).start_in(&told.recv()?)?;
";

/// A client that cannot be built: an option does not make sense.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL cannot be used. The text says why, and does not repeat it.
    Url(String),
    /// A header's name or value is not allowed in HTTP, or it is one that the websocket handshake
    /// sets itself. Its value is not repeated here.
    Header {
        /// The header's name.
        name: String,
        /// Which of them it is.
        error: &'static str,
    },
    /// A parameter of the query, set or in the URL, has this name, which belongs to the protocol:
    /// `EIO`, `transport` or `sid`.
    Query(String),
    /// The `auth` value is not an object, or could not be serialised.
    Auth(String),
    /// An option is out of its range.
    Option {
        /// The option's name.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// There is no actix system on this thread. The text shows how to give it one, as do the docs of
    /// [the crate](crate#where-it-runs).
    NoArbiter,
}

/// Who uses `?` in `main` sees this, so what is not clear from its name has a sentence.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => f.debug_tuple("Url").field(error).finish(),
            Self::Header { name, error } => {
                f.debug_struct("Header").field("name", name).field("error", error).finish()
            }
            Self::Query(name) => f.debug_tuple("Query").field(name).finish(),
            Self::Auth(error) => f.debug_tuple("Auth").field(error).finish(),
            Self::Option { name, expected } => {
                f.debug_struct("Option").field("name", name).field("expected", expected).finish()
            }
            Self::NoArbiter => f.write_str(
                "NoArbiter: no actix system runs on this thread; use #[actix::main], or start a system on another thread and the client there with start_in (see \"Where it runs\" in the docs of the crate)",
            ),
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "unusable URL: {error}"),
            Self::Header { name, error } => {
                write!(f, "header {} cannot be sent: {error}", Excerpt(name))
            }
            Self::Query(name) => {
                write!(f, "parameter {name:?} of the query belongs to the protocol: leave it out")
            }
            Self::Auth(error) => write!(f, "unusable auth: {error}"),
            Self::Option { name, expected } => write!(f, "option {name} takes {expected}"),
            Self::NoArbiter => write!(
                f,
                "no actix system runs on this thread: start one on another, and the client there\n{RECIPE}"
            ),
        }
    }
}

impl Error for BuildError {}

/// A [`Bridge`](crate::Bridge) that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeError {
    /// Both sides are the same namespace of the same client.
    SameNamespace,
    /// A [`Route`](crate::bridge::Route) gives events this name, which belongs to the protocol's own
    /// life cycle; see [`EmitError::ReservedName`]. Choose another.
    ReservedName(String),
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameNamespace => f.write_str("a bridge needs two namespaces"),
            Self::ReservedName(name) => write!(f, "{name:?} is a reserved event name"),
        }
    }
}

impl Error for BridgeError {}

/// A namespace that cannot be had from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The name has a comma, a question mark, a `#` or a control character, or is longer than 512
    /// bytes.
    Name(String),
    /// The client has ended.
    Closed(Reason),
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(
                    f,
                    "{} cannot be a namespace: it has a comma, a question mark, a #, a control character, or more than 512 bytes",
                    Excerpt(name)
                )
            }
            Self::Closed(reason) => write!(f, "the client has ended: {reason}"),
        }
    }
}

impl Error for NamespaceError {}

/// A client that was not started, or not joined to its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The options do not make sense.
    Build(BuildError),
    /// The default namespace was not joined.
    Ready {
        /// Where the request went: `http://host:port/path/`.
        server: String,
        /// Its name.
        namespace: String,
        /// Why.
        error: ReadyError,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Ready { server, namespace, error } => {
                write!(f, "namespace {} of {server}: {error}", Excerpt(namespace))?;
                let unknown = matches!(error, ReadyError::Ended(Reason::Refused(refusal))
                    if refusal.message() == "Invalid namespace");
                if unknown && namespace != "/" {
                    f.write_str(
                        " (a path in the URL is a namespace; the path of the request is the option path)",
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl Error for StartError {}

impl From<BuildError> for StartError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// A namespace that did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyError {
    /// Not within the time given. The namespace is still being joined.
    TimedOut {
        /// Why there is no connection yet, if it has been tried and is tried again.
        last: Option<Reason>,
    },
    /// There is no connection, for this reason, and no sense in waiting for one: attempts would come
    /// to the same, or three have failed; see [`Socket::ready`](crate::Socket::ready). The namespace
    /// is still being joined, by the policy of the client.
    Failing(Reason),
    /// It is not being joined (any more), for this reason.
    /// [`Socket::connect`](crate::Socket::connect) tries again.
    Ended(Reason),
}

impl fmt::Display for ReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { last: None } => f.write_str("the namespace was not ready in time"),
            Self::TimedOut { last: Some(reason) } => {
                write!(f, "the namespace was not ready in time: {reason}")
            }
            Self::Failing(reason) | Self::Ended(reason) => reason.fmt(f),
        }
    }
}

impl Error for ReadyError {}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The name belongs to the protocol's own life cycle: `connect`, `connect_error`,
    /// `disconnect`, `disconnecting`, `newListener` and `removeListener`. Official servers end the
    /// connection over some of them. Choose another.
    ReservedName(String),
    /// The arguments could not be serialised; the text is serde's. Or the server could not tell an
    /// object among them from an attachment; see [`payload`](crate::payload).
    Encode(String),
    /// The namespace's buffer for outgoing events is full, or as many events wait for an answer as
    /// [may](crate::ClientBuilder::pending_acks). Here is the event, to be sent again
    /// with [`Socket::send`](crate::Socket::send) when there is room.
    Full(Emit),
    /// The namespace is not joined, nor being joined.
    Closed(Reason),
    /// The namespace is not joined now, and the event was not to wait for it:
    /// [`Offline::Fail`](crate::Offline::Fail), or [`Emit::volatile`].
    Offline,
    /// The event waited for its namespace to be joined, until it was not to be sent any more.
    Expired,
    /// The event waited, and will not be sent: a [later one](Emit::latest) has taken its place, it
    /// was taken [out of the buffer](crate::Socket::take_unsent), or it is
    /// [volatile](Emit::volatile) and too many others wait.
    Discarded,
    /// A [middleware](crate::middleware) did not let the event pass, for this reason.
    Middleware(String),
    /// The server would close the connection over a message of this size. It says so in its
    /// handshake (`maxHttpBufferSize` of official servers since 4.5; 1 MB unless it is set).
    PayloadTooLarge {
        /// Of the largest message that the event is sent as, its text or an attachment, in bytes.
        size: u64,
        /// The server's, in bytes.
        limit: u64,
    },
    /// The event has more attachments than
    /// [`max_attachments`](crate::ClientBuilder::max_attachments). Official servers take 10, and
    /// close the connection over more.
    TooManyAttachments {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The connection was lost twice while this event was written: the server may not take messages
    /// of that size, or with that many attachments. It is not sent again.
    Unsendable(Unsendable),
}

/// An event over which the connection was lost, each time that it was sent. Only events of 64 KiB and
/// more, or with more than 10 attachments, are suspected of that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsendable {
    /// The name of the event.
    pub event: String,
    /// Its size in bytes, with all attachments.
    pub size: usize,
    /// How many attachments it has.
    pub attachments: usize,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, size, attachments } = self;
        write!(
            f,
            "the connection was lost each time that the event {} was sent, with {size} bytes and {attachments} attachments: the server may not take that",
            Excerpt(event)
        )
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedName(name) => write!(f, "{name:?} is a reserved event name"),
            Self::Encode(error) => write!(f, "the arguments cannot be serialised: {error}"),
            Self::Full(_) => f.write_str("the buffer for outgoing events is full"),
            Self::Closed(reason) => write!(f, "the namespace is closed: {reason}"),
            Self::Offline => f.write_str("the namespace is not joined"),
            Self::Expired => f.write_str("the event waited for too long"),
            Self::Discarded => f.write_str("the event waited, and was discarded"),
            Self::Middleware(reason) => write!(f, "a middleware stopped the event: {reason}"),
            Self::PayloadTooLarge { size, limit } => {
                write!(f, "a message of {size} bytes, and the server takes {limit}")
            }
            Self::TooManyAttachments { count, limit } => too_many(f, *count, *limit),
            Self::Unsendable(event) => event.fmt(f),
        }
    }
}

fn too_many(f: &mut fmt::Formatter<'_>, count: usize, limit: usize) -> fmt::Result {
    write!(f, "{count} attachments, and option max_attachments allows {limit}")
}

impl Error for EmitError {}

/// An emit that got no answer, or not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent, and never will be.
    NeverSent(EmitError),
    /// No answer in time. The server may have seen the event; an answer that still comes is
    /// dropped.
    TimedOut,
    /// The session ended first. The event was on its way; whether the server saw it is not known.
    Disconnected(Reason),
    /// The connection was lost twice right behind the event, with or without
    /// [retries](crate::AckRequest::retries): the server may not take messages of that size, or with
    /// that many attachments.
    Unsendable(Unsendable),
    /// The answer came, in another shape than asked for.
    Decode(DecodeError),
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSent(error) => write!(f, "never sent: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Disconnected(reason) => write!(f, "no answer: {reason}"),
            Self::Unsendable(event) => event.fmt(f),
            Self::Decode(error) => write!(f, "unexpected answer: {error}"),
        }
    }
}

impl Error for AckError {}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        Self::NeverSent(error)
    }
}

/// An answer to the server that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// The server did not ask for an answer to this event.
    NotAsked,
    /// It has been answered, by this or by another subscriber.
    AlreadyAnswered,
    /// The answer could not be serialised; see [`EmitError::Encode`].
    Encode(String),
    /// The buffer for outgoing events is full. The event can be answered again later.
    Full,
    /// The session that the event came in has ended, and nobody waits for the answer.
    Closed,
    /// The server would close the connection over a message of this size; see
    /// [`EmitError::PayloadTooLarge`]. The event can be answered otherwise.
    PayloadTooLarge {
        /// Of the largest message that the answer is sent as, in bytes.
        size: u64,
        /// The server's, in bytes.
        limit: u64,
    },
    /// The answer has more attachments than it may have; see [`EmitError::TooManyAttachments`]. The
    /// event can be answered otherwise.
    TooManyAttachments {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("the server did not ask for an answer"),
            Self::AlreadyAnswered => f.write_str("the event has been answered"),
            Self::Encode(error) => write!(f, "the answer cannot be serialised: {error}"),
            Self::Full => f.write_str("the buffer for outgoing events is full"),
            Self::Closed => f.write_str("the session that the event came in has ended"),
            Self::PayloadTooLarge { size, limit } => {
                write!(f, "a message of {size} bytes, and the server takes {limit}")
            }
            Self::TooManyAttachments { count, limit } => too_many(f, *count, *limit),
        }
    }
}

impl Error for AnswerError {}

/// Arguments that do not have the shape asked for.
///
/// The text is serde's, of at most 200 characters. It may quote values: mind what you log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub(crate) fn from_serde(error: serde_json::Error) -> Self {
        Self(brief(&error))
    }

    pub(crate) fn panicked(panicked: &Panicked) -> Self {
        Self(format!("{PANICKED} {panicked}"))
    }

    /// The text for the log: without the values that it quotes.
    pub(crate) fn without_values(&self) -> String {
        without_values(&self.0)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests;
