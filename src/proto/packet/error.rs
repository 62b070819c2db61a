//! How a server breaks the protocol, and why a packet is not accepted.

use thiserror::Error;

use crate::proto::peer_text::MAX_NAMESPACE;

/// How the server broke the protocol. This ends the connection.
///
/// But servers 1.x and 2.x may send an event or an answer, in JSON and without attachments, that
/// cannot be read ([`Json`](Self::Json), [`Payload`](Self::Payload)): it is skipped with a warning
/// in the log, and the connection goes on, as it does with their own client in a browser.
///
/// # Stricter than the official client
///
/// What the official clients accept is accepted, except for this, which no known server sends:
///
/// | what | the official client | why not here |
/// |---|---|---|
/// | `4` and nothing more | takes it for an answer to the request to join | it is a message without a type |
/// | broken packets of other kinds from 1.x and 2.x | in a browser, goes on | they are about joining, or attachments follow |
/// | an unknown packet type | 2.x ignores it | it is the only sign that the server has another [`Parser`](super::Parser) |
/// | `42`, an event without JSON | calls no handler | there is no event without a name |
/// | a count of attachments like `+1`, `1.0`, `0x1`, or of more than ten digits; spaces among the digits of an id; digits before the JSON of another packet than an event or an answer | accepts what JavaScript takes for a number | only digits are a number |
/// | a placeholder with a fraction as its number | puts `undefined` there | there is no such attachment |
/// | the key of a placeholder that is spelled with escapes, `"\u005fplaceholder"` | takes it for one | it is data: so an application can have a key of that name |
/// | an array as the answer to a request to join | 2.x does not look at it | newer servers mean an object |
/// | a second open packet | begins anew | the first one is in force |
/// | broken base64 | takes what it can read | an attachment would be another one |
/// | a namespace of more than 512 bytes, a session id of more than 1024, a handshake or a reply to a request to join of more than 64 KiB, any number of attachments (msgpack), attachments that never come | no limit | what a server can make the client hold has a bound |
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An empty message.
    #[error("an empty message")]
    Empty,
    /// An Engine.IO packet of a type that does not exist.
    #[error("unknown Engine.IO packet type {0:#04x}")]
    UnknownEngineType(u8),
    /// An attachment in base64 that is not base64.
    #[error("an attachment in broken base64")]
    Base64,
    /// A handshake that is not a JSON object, something else in its place, or a second one. The text
    /// may quote the server.
    #[error("unusable handshake: {0}")]
    Handshake(String),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
    /// Frames that no websocket may send.
    #[error("illegal websocket frames: {0}")]
    WebSocket(String),
    /// An invalid answer to a poll, with HTTP long-polling.
    #[error("a malformed answer to a poll: {0}")]
    Polling(&'static str),
    /// A packet of a type that does not exist.
    #[error("unknown packet type {0:#04x}")]
    UnknownType(u8),
    /// The number of attachments is missing or malformed.
    #[error("malformed number of attachments")]
    Attachments,
    /// More attachments than [`max_attachments`](crate::ClientBuilder::max_attachments).
    #[error("more than {limit} attachments")]
    TooManyAttachments {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The attachments of a packet did not come in time.
    #[error("attachments that never came")]
    AttachmentsMissing,
    /// A namespace longer than 512 bytes.
    #[error("a namespace of more than {MAX_NAMESPACE} bytes")]
    Namespace,
    /// Another text of the server is too long to be kept: such as a session id of more than 1024 bytes, or
    /// a handshake, or a reply to a request to join, of more than 64 KiB.
    #[error("a {what} of more than {limit} bytes")]
    TooLong {
        /// What the text is.
        what: &'static str,
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
    /// The payload is not JSON; the text says where, and may quote it.
    #[error("malformed JSON: {0}")]
    Json(String),
    /// The payload is missing, or JSON of a shape that this type of packet cannot have.
    #[error("a payload of the wrong shape")]
    Payload,
    /// An attachment without a packet that announced it.
    #[error("an attachment that no packet announced")]
    UnexpectedBinary,
    /// Another packet where attachments were due.
    #[error("a packet where attachments were due")]
    UnexpectedText,
    /// A placeholder that names no attachment of its packet.
    #[error("a placeholder for an attachment that does not exist")]
    Placeholder,
    /// The message is not a packet in msgpack; the text says why, and may quote it. Only with that
    /// [parser](super::Parser).
    #[error("malformed msgpack packet: {0}")]
    Msgpack(String),
}

/// Why a packet is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Protocol(ProtocolError),
    TooLarge { limit: usize },
}

impl From<ProtocolError> for Refused {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}
