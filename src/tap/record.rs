//! One thing that happened on a connection.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::display::Excerpt;

/// The kind of a message or of a change, in the words of the protocol.
///
/// As text, and in a file, it is in lower case with underscores: `connect_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A server is dialled. The text names it, the protocol revision that it is asked for, and the transport.
    Dialling,
    /// The server's handshake: a session begins. The text is the handshake without the session id.
    Open,
    /// Polling has become a websocket.
    Upgraded,
    /// An attempt to connect has failed, for the reason in the text.
    Failed,
    /// The next attempt to connect is made after a delay; see the text.
    Retrying,
    /// No more attempts to connect are made, for the reason in the text.
    GaveUp,
    /// The connection was lost, for the reason in the text.
    Lost,
    /// The client has ended the connection.
    Closed,
    /// A request to join a namespace, or the server's consent. It has no text: credentials are in it.
    Connect,
    /// The server refuses a namespace. The text is what it says.
    ConnectError,
    /// A namespace is left, or the server ends it.
    Disconnect,
    /// An event. The text is a JSON array: the name, and the arguments.
    Event,
    /// An answer to an event. The text is a JSON array: the arguments.
    Ack,
    /// An attachment of the packet before it. The text is in hexadecimal.
    Attachment,
    /// A ping of the heartbeat.
    Ping,
    /// The answer to a ping.
    Pong,
    /// The server closes the transport.
    Close,
    /// A packet that means nothing here, such as the server's answer to a poll that it ends early.
    Noop,
    /// A message that cannot be read. It has no text, as there may be a secret in it.
    Unreadable,
}

impl Kind {
    /// Its name, such as `connect_error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Open => "open",
            Self::Upgraded => "upgraded",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::GaveUp => "gave_up",
            Self::Lost => "lost",
            Self::Closed => "closed",
            Self::Connect => "connect",
            Self::ConnectError => "connect_error",
            Self::Disconnect => "disconnect",
            Self::Event => "event",
            Self::Ack => "ack",
            Self::Attachment => "attachment",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Close => "close",
            Self::Noop => "noop",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether something has gone wrong: [`Lost`](Self::Lost), [`GaveUp`](Self::GaveUp),
    /// [`ConnectError`](Self::ConnectError) or [`Unreadable`](Self::Unreadable).
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Lost | Self::GaveUp | Self::ConnectError | Self::Unreadable)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the server.
    In,
    /// To the server.
    Out,
}

/// One message on the wire, or one change of the connection; see [`tap`](crate::tap).
///
/// `Display` makes one line of it. `Debug` does not show the text. With serde it is a JSON object, in which times
/// are in microseconds: `time` since 1970, `latency` since the event.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The [name](crate::ClientBuilder::name) of the client.
    pub client: String,
    /// Counts the records of a client, from 0.
    pub number: u64,
    /// The time of day.
    #[serde(with = "since_1970")]
    pub time: SystemTime,
    /// Counts the sessions of the client, from 1; 0 before the first handshake. The id of the session is a secret.
    pub session: u64,
    /// The kind of the message or of the change.
    pub kind: Kind,
    /// `None` for a change of the connection, which is no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The namespace of a packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of an event, or of the event that is answered. A name of more than 256 bytes is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The size of the message in bytes, without the framing of the transport.
    #[serde(default)]
    pub size: u64,
    /// The number of attachments: separate messages that follow, or (msgpack) parts of this one.
    #[serde(default)]
    pub attachments: usize,
    /// The id that an event and its answer share, if the event asks for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<u64>,
    /// The number of the record of the event that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<u64>,
    /// The time since that event.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "micros")]
    pub latency: Option<Duration>,
    /// The data of the message, or details of the change: see [`Kind`]. It is cut to the
    /// [limit](super::Tap::text) of the tap.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Whether the text was cut.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_cut: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Record {
    /// Its size in memory, in bytes.
    pub(super) fn held(&self) -> usize {
        let Self { client, namespace, name, text, .. } = self;
        let texts = [Some(client), namespace.as_ref(), name.as_ref(), Some(text)];
        let sizes = texts.into_iter().flatten().map(String::capacity);
        sizes.fold(size_of::<Self>(), usize::saturating_add)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} session {}: ", self.number, self.session)?;
        match self.direction {
            Some(Direction::In) => f.write_str("< ")?,
            Some(Direction::Out) => f.write_str("> ")?,
            None => {}
        }
        f.write_str(self.kind.name())?;
        if let Some(namespace) = &self.namespace {
            write!(f, " {namespace}")?;
        }
        if let Some(name) = &self.name {
            write!(f, " {}", Excerpt(name))?;
        }
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        if let Some(latency) = self.latency {
            write!(f, " after {latency:?}")?;
        }
        if self.direction.is_some() {
            write!(f, ", {} bytes", self.size)?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        if self.is_cut { f.write_str("…") } else { Ok(()) }
    }
}

/// Without the text, which is data of the application.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            number,
            time,
            session,
            kind,
            direction,
            namespace,
            name,
            size,
            attachments,
            ack,
            answers,
            latency,
            text: _,
            is_cut,
        } = self;
        f.debug_struct("Record")
            .field("client", client)
            .field("number", number)
            .field("time", time)
            .field("session", session)
            .field("kind", kind)
            .field("direction", direction)
            .field("namespace", namespace)
            .field("name", name)
            .field("size", size)
            .field("attachments", attachments)
            .field("ack", ack)
            .field("answers", answers)
            .field("latency", latency)
            .field("is_cut", is_cut)
            .finish_non_exhaustive()
    }
}

/// A duration that may be missing, in microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn whole(duration: Duration) -> u64 {
        u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::ref_option, reason = "serde wants it so")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(whole).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

/// A time of day, in microseconds since 1970.
mod since_1970 {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::micros::whole(time.duration_since(UNIX_EPOCH).unwrap_or_default())
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let since = Duration::from_micros(u64::deserialize(deserializer)?);
        UNIX_EPOCH.checked_add(since).ok_or_else(|| D::Error::custom("a time beyond the clock"))
    }
}
