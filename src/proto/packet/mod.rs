//! Socket.IO packets in their text form, and the attachments that follow them.
//!
//! ```text
//! packet = type [ count "-" ] [ namespace "," ] [ id ] [ json ]
//!
//! type   0 connect      1 disconnect   2 event   3 ack   4 connect error
//!        5 event and 6 ack with `count` attachments, each a message of its own right after it
//! ```
//!
//! The comma after a namespace may be missing at the end of a packet. Ids exist on types 2, 3, 5
//! and 6 only. The JSON is checked here and kept as text.
//!
//! The decoder is stricter than the official one where that one lets nonsense through
//! ([`ProtocolError`] has the list), and more lenient where servers in the field differ: any JSON
//! is taken as the data of a connect error, anything at all after a disconnect, and an event may
//! have any name. The official client reserves some names for its own life cycle; here only the
//! type of a packet can mean that.

use std::{fmt, ops::Range};

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::{
    engine::{Message, Protocol, binary_prefix},
    json::Outline,
    peer_text::{self, MAX_NAMESPACE},
};
use crate::{
    display::brief,
    payload::{Name, Payload, check_placeholders, text::Text, unquoted},
};

/// The most attachments of one packet that the official parsers take.
pub(crate) const MAX_ATTACHMENTS: usize = 10;

/// Stands for an id that does not fit in a `u64`, or for that of an ack without one. Ours count up from 0
/// and never reach it; an event of the server with it cannot be answered.
pub(crate) const FOREIGN_ID: u64 = u64::MAX;

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
/// | an unknown packet type | 2.x ignores it | it is the only sign that the server has another [`Parser`] |
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
    /// [parser](Parser).
    #[error("malformed msgpack packet: {0}")]
    Msgpack(String),
}

/// How packets are encoded: the server's `parser` option. It must be the same on both ends.
///
/// It is not negotiated. A server with another parser closes the connection over the first packet,
/// which is [`ConnectFailure::Parser`](crate::ConnectFailure::Parser) from the second time on; or
/// (1.x and 2.x) it sends something first that ends the connection with
/// [`Reason::Protocol`](crate::Reason::Protocol). Events and answers are the same with each parser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parser {
    /// JSON, with attachments as messages of their own: the servers' default.
    #[default]
    Json,
    /// Msgpack, as in the npm package `socket.io-msgpack-parser` and in socketioxide: each packet
    /// is one binary message, with its attachments inside. With the cargo feature `msgpack`.
    ///
    /// Values that JSON lacks become their JSON counterparts: `undefined`, NaN and infinities
    /// become null; a `Date` becomes the text of `toISOString`; an integer key becomes text. An
    /// unknown extension type becomes `[type, attachment]`. Other kinds of keys, and nesting deeper
    /// than 128, end the connection with [`ProtocolError::Msgpack`].
    ///
    /// The limits are the same as for JSON: at most
    /// [`max_attachments`](crate::ClientBuilder::max_attachments) attachments (the official parser
    /// takes any number), and both the message and its JSON form are at most
    /// [`max_message_size`](crate::ClientBuilder::max_message_size) bytes.
    #[cfg(feature = "msgpack")]
    Msgpack,
}

impl Parser {
    /// Writes the `n`th of the websocket messages that `packet` is sent as, with `head` as a buffer.
    /// `true` if there are more.
    pub(crate) fn write(
        self,
        packet: &Packet,
        n: usize,
        protocol: Protocol,
        head: &mut String,
        write: impl FnOnce(Message<'_>),
    ) -> bool {
        match self {
            Self::Json => packet.write(n, protocol, head, write),
            #[cfg(feature = "msgpack")]
            Self::Msgpack => {
                write(Message::binary(protocol, &super::msgpack::encode(&packet.parts())));
                false
            }
        }
    }

    /// The size of the largest websocket message that an event or an answer is sent as, if that is
    /// beyond `limit`.
    pub(crate) fn exceeds(
        self,
        protocol: Protocol,
        namespace: &str,
        id: Option<u64>,
        payload: &Payload,
        limit: u64,
    ) -> Option<u64> {
        match self {
            Self::Json => Some(largest_message(protocol, namespace, id, payload)),
            #[cfg(feature = "msgpack")]
            Self::Msgpack => {
                let (json, attachments) = (Some(payload.json()), payload.attachments());
                let parts = Parts { namespace, kind: 2, id, json, attachments };
                // Most are far from it, and need not be written to see that.
                (super::msgpack::at_most(&parts) > limit)
                    .then(|| Message::binary(protocol, &super::msgpack::encode(&parts)).size())
            }
        }
        .filter(|&size| size > limit)
    }
}

/// A Socket.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) namespace: ByteString,
    pub(crate) body: Body,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// A JSON object: auth from the client, the socket's id from the server.
    Connect(Option<Box<str>>),
    Disconnect,
    Event {
        id: Option<u64>,
        payload: Payload,
    },
    Ack {
        id: u64,
        payload: Payload,
    },
    /// Any JSON.
    ConnectError(Option<Box<str>>),
}

/// Shows no credentials.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(_) => f.debug_tuple("Connect").finish_non_exhaustive(),
            Self::Disconnect => f.write_str("Disconnect"),
            Self::Event { id, payload } => f
                .debug_struct("Event")
                .field("id", id)
                .field("name", &payload.name())
                .field("payload", payload)
                .finish(),
            Self::Ack { id, payload } => {
                f.debug_struct("Ack").field("id", id).field("payload", payload).finish()
            }
            Self::ConnectError(_) => f.debug_tuple("ConnectError").finish_non_exhaustive(),
        }
    }
}

impl Packet {
    pub(crate) fn new(namespace: ByteString, body: Body) -> Self {
        Self { namespace, body }
    }

    /// Its size in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.body {
            Body::Event { payload, .. } | Body::Ack { payload, .. } => payload.held(),
            Body::Connect(data) | Body::ConnectError(data) => data.as_ref().map_or(0, |d| d.len()),
            Body::Disconnect => 0,
        }
    }

    /// The size of the largest websocket message that this packet is sent as, if that is beyond
    /// `limit`.
    pub(crate) fn exceeds(&self, parser: Parser, protocol: Protocol, limit: u64) -> Option<u64> {
        let (id, payload) = match &self.body {
            Body::Event { id, payload, .. } => (*id, payload),
            Body::Ack { id, payload } => (Some(*id), payload),
            Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => return None,
        };
        parser.exceeds(protocol, &self.namespace, id, payload, limit)
    }

    /// The same if binary messages are sent as base64, after a `b`; only for binary messages.
    pub(crate) fn exceeds_as_base64(&self, parser: Parser, limit: u64) -> Option<u64> {
        let fits = (limit.saturating_sub(1) / 4).saturating_mul(3);
        let data = match parser {
            Parser::Json => {
                let (Body::Event { payload, .. } | Body::Ack { payload, .. }) = &self.body else {
                    return None;
                };
                let largest = payload.attachments().iter().map(Bytes::len).max()?;
                u64::try_from(largest).ok().filter(|&size| size > fits)?
            }
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => self.exceeds(parser, Protocol::Eio4, fits)?,
        };
        Some(data.div_ceil(3).saturating_mul(4).saturating_add(1))
    }

    /// Its parts, for writing.
    pub(super) fn parts(&self) -> Parts<'_> {
        let (kind, id, json, attachments) = match &self.body {
            Body::Connect(data) => (0, None, data.as_deref(), &[][..]),
            Body::Disconnect => (1, None, None, &[][..]),
            Body::Event { id, payload, .. } => {
                (2, *id, Some(payload.json()), payload.attachments())
            }
            Body::Ack { id, payload } => {
                (3, Some(*id), Some(payload.json()), payload.attachments())
            }
            Body::ConnectError(data) => (4, None, data.as_deref(), &[][..]),
        };
        Parts { namespace: &self.namespace, kind, id, json, attachments }
    }

    /// Writes the `n`th of the websocket messages that this is sent as: a text, then its attachments.
    fn write(
        &self,
        n: usize,
        protocol: Protocol,
        head: &mut String,
        write: impl FnOnce(Message<'_>),
    ) -> bool {
        let Parts { namespace, kind, id, json, attachments } = self.parts();
        if let Some(data) = n.checked_sub(1).and_then(|n| attachments.get(n)) {
            write(Message::binary(protocol, data));
            return n < attachments.len();
        }
        head.clear();
        head.push('4');
        if attachments.is_empty() {
            push_number(head, kind.into());
        } else {
            // With attachments, an event is a 5 and an ack a 6.
            push_number(head, kind.saturating_add(3).into());
            push_number(head, u64::try_from(attachments.len()).unwrap_or(u64::MAX));
            head.push('-');
        }
        if namespace != "/" {
            head.push_str(namespace);
            head.push(',');
        }
        if let Some(id) = id {
            push_number(head, id);
        }
        write(Message::Text(head, json.unwrap_or_default()));
        !attachments.is_empty()
    }
}

/// The size of the largest websocket message that an event or an answer is sent as.
fn largest_message(protocol: Protocol, namespace: &str, id: Option<u64>, payload: &Payload) -> u64 {
    let attachments = payload.attachments();
    let count = u64::try_from(attachments.len()).ok().filter(|&count| count > 0);
    let text = [
        "42".len(),
        count.map_or(0, |count| digits(count).saturating_add(1)),
        if namespace == "/" { 0 } else { namespace.len().saturating_add(1) },
        id.map_or(0, digits),
        payload.json().len(),
    ];
    let text = text.into_iter().fold(0, usize::saturating_add);
    let prefix = binary_prefix(protocol).len();
    let data = attachments.iter().map(|data| data.len().saturating_add(prefix));
    data.chain([text]).max().and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX)
}

fn digits(number: u64) -> usize {
    std::iter::successors(Some(number), |rest| rest.checked_div(10).filter(|&rest| rest > 0))
        .count()
}

fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    if let Ok(digit) = u8::try_from(number % 10) {
        text.push(char::from(b'0' | digit));
    }
}

/// The parts of a packet, for writing it.
pub(super) struct Parts<'a> {
    pub(super) namespace: &'a str,
    /// Its type, if it has no attachments.
    pub(super) kind: u8,
    pub(super) id: Option<u64>,
    pub(super) json: Option<&'a str>,
    pub(super) attachments: &'a [Bytes],
}

/// What one packet may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) attachments: usize,
    /// Of the text and all attachments, in bytes.
    pub(crate) bytes: usize,
}

/// Reads packets, and waits for their attachments.
#[derive(Debug)]
pub(crate) struct Decoder {
    parser: Parser,
    limits: Limits,
    partial: Option<Partial>,
}

/// A packet whose attachments are still coming.
#[derive(Debug)]
struct Partial {
    namespace: ByteString,
    id: Option<u64>,
    /// `None` for an ack.
    name: Option<Name>,
    json: Text,
    arguments: usize,
    attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
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

impl Decoder {
    pub(crate) fn new(parser: Parser, limits: Limits) -> Self {
        Self { parser, limits, partial: None }
    }

    /// Whether attachments are still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }

    /// Takes a packet in text. `None` if its attachments are still to come.
    pub(crate) fn text(&mut self, text: Text) -> Result<Option<Packet>, Refused> {
        match self.parser {
            Parser::Json => self.json(text),
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => super::msgpack::decode_text(&text).map(Some),
        }
    }

    /// Takes a binary message: an attachment, or all of a packet. `None` if more is to come.
    pub(crate) fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, Refused> {
        match self.parser {
            Parser::Json => self.attachment(data),
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => super::msgpack::decode(&data, self.limits).map(Some),
        }
    }

    fn json(&mut self, text: Text) -> Result<Option<Packet>, Refused> {
        if self.partial.is_some() {
            return Err(ProtocolError::UnexpectedText.into());
        }
        let mut reader = Reader { rest: &text };
        let kind = reader.kind()?;
        let count = match kind {
            b'5' | b'6' => reader.count()?,
            _ => 0,
        };
        if count > self.limits.attachments {
            let limit = self.limits.attachments;
            return Err(ProtocolError::TooManyAttachments { limit }.into());
        }
        let namespace = reader.namespace()?.map_or_else(root, |name| text.slice_ref(name));
        let body = match kind {
            b'0' => Body::Connect(connect_payload(reader.rest)?.map(Into::into)),
            b'1' => Body::Disconnect,
            b'4' => Body::ConnectError(refusal(checked(reader.rest)?)),
            b'2' | b'5' => {
                let id = reader.id();
                let (name, arguments) = event_name(reader.rest)?;
                let json = reader.rest.len();
                let json = text.last(json);
                if count > 0 {
                    return self.wait(namespace, id, Some(name), json, arguments, count);
                }
                Body::Event { id, payload: Payload::event(json, name, arguments, Vec::new()) }
            }
            _ => {
                let id = reader.id().unwrap_or(FOREIGN_ID);
                let json = match reader.rest {
                    // The official decoder takes it for an answer without arguments, too.
                    "" => ByteString::from_static("[]").into(),
                    json => {
                        let json = array(json)?.len();
                        text.last(json)
                    }
                };
                if count > 0 {
                    return self.wait(namespace, Some(id), None, json, 1, count);
                }
                Body::Ack { id, payload: Payload::answer(json, Vec::new()) }
            }
        };
        Ok(Some(Packet { namespace, body }))
    }

    /// Keeps a packet until its `missing` attachments are here. Nothing is allocated for them
    /// before they come: the number is the peer's word only.
    fn wait(
        &mut self,
        namespace: ByteString,
        id: Option<u64>,
        name: Option<Name>,
        json: Text,
        arguments: usize,
        missing: usize,
    ) -> Result<Option<Packet>, Refused> {
        if !check_placeholders(&json, missing) {
            return Err(ProtocolError::Placeholder.into());
        }
        let bytes = json.len();
        let attachments = Vec::new();
        self.partial =
            Some(Partial { namespace, id, name, json, arguments, attachments, missing, bytes });
        Ok(None)
    }

    fn attachment(&mut self, data: Bytes) -> Result<Option<Packet>, Refused> {
        let Some(mut partial) = self.partial.take() else {
            return Err(ProtocolError::UnexpectedBinary.into());
        };
        partial.bytes = partial.bytes.saturating_add(data.len());
        if partial.bytes > self.limits.bytes {
            return Err(Refused::TooLarge { limit: self.limits.bytes });
        }
        partial.attachments.push(data);
        partial.missing = partial.missing.saturating_sub(1);
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { namespace, id, name, json, arguments, attachments, .. } = partial;
        let body = match name {
            Some(name) => {
                Body::Event { id, payload: Payload::event(json, name, arguments, attachments) }
            }
            None => Body::Ack {
                id: id.unwrap_or(FOREIGN_ID),
                payload: Payload::answer(json, attachments),
            },
        };
        Ok(Some(Packet { namespace, body }))
    }
}

pub(crate) fn root() -> ByteString {
    ByteString::from_static("/")
}

/// The parts of a packet's text, for observers: nothing after the id is checked.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The digit of its type.
    pub(crate) kind: u8,
    /// How many attachments follow.
    pub(crate) count: usize,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) id: Option<u64>,
    pub(crate) json: &'a str,
}

/// Takes a packet's text apart.
pub(crate) fn head(text: &str) -> Result<Head<'_>, ProtocolError> {
    let mut reader = Reader { rest: text };
    let kind = reader.kind()?;
    let count = if matches!(kind, b'5' | b'6') { reader.count()? } else { 0 };
    let namespace = reader.namespace()?;
    let id = if matches!(kind, b'0' | b'1' | b'4') { None } else { reader.id() };
    Ok(Head { kind, count, namespace, id, json: reader.rest })
}

/// Takes a packet's text apart, from the front.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn kind(&mut self) -> Result<u8, ProtocolError> {
        let kind = *self.rest.as_bytes().first().ok_or(ProtocolError::Empty)?;
        if !(b'0'..=b'6').contains(&kind) {
            return Err(ProtocolError::UnknownType(kind));
        }
        self.rest = self.rest.get(1..).unwrap_or_default();
        Ok(kind)
    }

    /// Digits, up to the first other character.
    fn digits(&mut self) -> &'a str {
        let end = self.rest.bytes().position(|byte| !byte.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        digits
    }

    fn count(&mut self) -> Result<usize, ProtocolError> {
        let digits = self.digits();
        self.rest = self.rest.strip_prefix('-').ok_or(ProtocolError::Attachments)?;
        if digits.len() > 10 {
            return Err(ProtocolError::Attachments);
        }
        digits.parse().map_err(|_| ProtocolError::Attachments)
    }

    fn namespace(&mut self) -> Result<Option<&'a str>, ProtocolError> {
        if !self.rest.starts_with('/') {
            return Ok(None);
        }
        let (name, rest) = self.rest.split_once(',').unwrap_or((self.rest, ""));
        peer_text::Kind::Namespace.check(name)?;
        self.rest = rest;
        Ok(Some(name))
    }

    fn id(&mut self) -> Option<u64> {
        let digits = self.digits();
        // Beyond the largest `u64`, it stays there.
        let id = digits
            .bytes()
            .fold(0_u64, |id, digit| id.saturating_mul(10).saturating_add(u64::from(digit & 0x0F)));
        (!digits.is_empty()).then_some(id)
    }
}

/// `json` if it is a JSON value, or `None` if it is empty.
fn checked(json: &str) -> Result<Option<&str>, ProtocolError> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| ProtocolError::Json(brief(&error)))?;
    Ok(Some(json))
}

/// The data of a refusal. One that is too long is not kept, but the server has refused all the same.
pub(super) fn refusal(json: Option<&str>) -> Option<Box<str>> {
    let json = json?;
    let kind = peer_text::Kind::Refusal;
    Some(if kind.fits(json) {
        json.into()
    } else {
        format!("\"(what it says has more than {} bytes, and is not kept)\"", kind.limit()).into()
    })
}

fn connect_payload(json: &str) -> Result<Option<&str>, ProtocolError> {
    peer_text::Kind::Reply.check(json)?;
    let json = checked(json)?;
    match json.map(str::trim) {
        Some("null") => Ok(None),
        Some(object) if !object.starts_with('{') => Err(ProtocolError::Payload),
        _ => Ok(json),
    }
}

/// `json` without space before it, if it is an array.
fn array(json: &str) -> Result<&str, ProtocolError> {
    Outline::of(json).map(|_| json.trim_start()).ok_or_else(|| complaint(json))
}

/// Why a text is not an array.
fn complaint(json: &str) -> ProtocolError {
    checked(json).err().unwrap_or(ProtocolError::Payload)
}

/// The name of an event, and where its first argument starts.
pub(crate) fn event_name(json: &str) -> Result<(Name, usize), ProtocolError> {
    let Outline { first, second } = Outline::of(json).ok_or_else(|| complaint(json))?;
    let Range { start, end } = first.ok_or(ProtocolError::Payload)?;
    let quoted = json.get(start..end).unwrap_or_default();
    let place = match quoted.as_bytes() {
        [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => {
            start.saturating_add(1)..end.saturating_sub(1)
        }
        [b'"', ..] => {
            return Ok((Name::Escaped(unquoted(quoted).into()), second));
        }
        [b'-' | b'0'..=b'9', ..] => start..end,
        _ => return Err(ProtocolError::Payload),
    };
    Ok((Name::At(place), second))
}

#[cfg(test)]
pub(super) mod tests;
