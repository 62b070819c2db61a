//! Socket.IO packets in their text form, and the attachments that follow them.
//!
//! ```text
//! packet = type [ count "-" ] [ namespace "," ] [ id ] [ json ]
//!
//! type   0 connect      1 disconnect   2 event   3 ack   4 connect error
//!        5 event and 6 ack with `count` attachments, each a message of its own right behind
//! ```
//!
//! The comma after a namespace may be missing at the end of a packet. Ids exist on types 2, 3, 5
//! and 6 only. The JSON is checked here and kept as text.
//!
//! The decoder is stricter than the official one where that one lets nonsense through
//! ([`ProtocolError`] has the list), and more lenient where servers in the field differ: any JSON is
//! taken as the data of a connect error, anything at all behind a disconnect, and an event may have
//! any name. The official client needs some names for what it tells of its own life cycle; here
//! nothing but a packet's type can mean that.

use std::{fmt, ops::Range};

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::{
    engine::{Message, Protocol, binary_prefix},
    json::Outline,
};
use crate::{
    error::brief,
    payload::text::Text,
    payload::{Name, Payload, check_placeholders, unquoted},
};

/// So many attachments the official parsers take with one packet.
pub(crate) const MAX_ATTACHMENTS: usize = 10;

/// The longest namespace, in bytes.
pub(crate) const MAX_NAMESPACE: usize = 512;

/// What stands for an id that is no `u64`, or for that of an ack without one. Ours count up from 0
/// and never get here; a question of the server under it is one that cannot be answered.
pub(crate) const FOREIGN_ID: u64 = u64::MAX;

/// How the peer broke the protocol. It ends the connection.
///
/// But servers 1.x and 2.x may send an event or an answer, in JSON and without attachments, that
/// cannot be read ([`Json`](Self::Json), [`Payload`](Self::Payload)): it is left out with a warning
/// in the log, and the connection goes on, as it does with their own client in a browser.
///
/// # Stricter than the official client
///
/// What the official clients take is taken, except for this, which no known server sends:
///
/// | what | the official client | why not here |
/// |---|---|---|
/// | `4` and nothing more | takes it for an answer to the request to join | it is a message without a type |
/// | broken packets of other kinds from 1.x and 2.x | in a browser, goes on | they say who is joined, or attachments follow |
/// | an unknown packet type | 2.x ignores it | it is the only sign that the server has another [`Parser`] |
/// | `42`, an event without JSON | calls nobody | an event without a name is none |
/// | a count of attachments like `+1`, `1.0`, `0x1`, or of more than ten digits; spaces among the digits of an id; digits before the JSON of another packet than an event or an answer | whatever JavaScript takes for a number | only digits are |
/// | a placeholder with a fraction as its number | puts `undefined` there | it is no attachment |
/// | an array as the answer to a request to join | 2.x does not look at it | newer servers mean an object |
/// | a second open packet | begins anew | the first one is in force |
/// | broken base64 | takes what it can read | an attachment would be another one |
/// | a namespace of more than 512 bytes, any number of attachments (msgpack), attachments that never come | no limit | what a server can make the client hold has a bound |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An empty message.
    Empty,
    /// An Engine.IO packet of a type that does not exist.
    UnknownEngineType(u8),
    /// An attachment in base64 that is not base64.
    Base64,
    /// A handshake that is no JSON object, something else in its place, or a second one. The text
    /// may quote the server.
    Handshake(String),
    /// Text that is not UTF-8.
    Utf8,
    /// Frames that no websocket may send.
    WebSocket(String),
    /// A packet of a type that does not exist.
    UnknownType(u8),
    /// The number of attachments is missing or malformed.
    Attachments,
    /// More attachments than [`max_attachments`](crate::ClientBuilder::max_attachments).
    TooManyAttachments {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The attachments of a packet did not come in time.
    AttachmentsMissing,
    /// A namespace longer than 512 bytes.
    Namespace,
    /// The payload is not JSON; the text says where, and may quote it.
    Json(String),
    /// The payload is missing, or JSON of a shape that this type of packet cannot have.
    Payload,
    /// An attachment without a packet that announced it.
    UnexpectedBinary,
    /// Another packet where attachments were due.
    UnexpectedText,
    /// A placeholder that names no attachment of its packet.
    Placeholder,
    /// What is no packet in msgpack; the text says why, and may quote it. Only with the
    /// [parser](Parser) for it.
    Msgpack(String),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty message"),
            Self::UnknownEngineType(kind) => write!(f, "unknown Engine.IO packet type {kind:#04x}"),
            Self::Base64 => f.write_str("an attachment in broken base64"),
            Self::Handshake(error) => write!(f, "unusable handshake: {error}"),
            Self::Utf8 => f.write_str("text that is not UTF-8"),
            Self::WebSocket(error) => write!(f, "illegal websocket frames: {error}"),
            Self::UnknownType(kind) => write!(f, "unknown packet type {kind:#04x}"),
            Self::Attachments => f.write_str("malformed number of attachments"),
            Self::TooManyAttachments { limit } => write!(f, "more than {limit} attachments"),
            Self::AttachmentsMissing => f.write_str("attachments that never came"),
            Self::Namespace => write!(f, "a namespace of more than {MAX_NAMESPACE} bytes"),
            Self::Json(error) => write!(f, "malformed JSON: {error}"),
            Self::Payload => f.write_str("a payload of the wrong shape"),
            Self::UnexpectedBinary => f.write_str("an attachment that no packet announced"),
            Self::UnexpectedText => f.write_str("a packet where attachments were due"),
            Self::Placeholder => f.write_str("a placeholder for an attachment that does not exist"),
            Self::Msgpack(error) => write!(f, "malformed msgpack packet: {error}"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// How packets are written: the `parser` option of the server, and the same for both ends.
///
/// There is no negotiation: a server with another one closes the connection over the first packet,
/// which is [`ConnectFailure::Parser`](crate::ConnectFailure::Parser) from the second time on, or (1.x
/// and 2.x) says something first that ends it with [`Reason::Protocol`](crate::Reason::Protocol). Events and answers are the same with each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parser {
    /// JSON, with attachments as messages of their own: what servers speak unless told otherwise.
    #[default]
    Json,
    /// Msgpack, as in the npm package `socket.io-msgpack-parser` and in socketioxide: each packet
    /// is one binary message, with its attachments inside. With the cargo feature `msgpack`.
    ///
    /// What JSON does not know comes as what JSON has for it: `undefined`, NaN and infinities as
    /// null, a `Date` as the text that `toISOString` makes of it, an integer as a key as text.
    /// An extension type that nobody knows comes as `[type, attachment]`. Other kinds of keys, and
    /// nesting deeper than 128, end the connection with [`ProtocolError::Msgpack`].
    ///
    /// The limits are the same as for JSON: there may be so many
    /// [attachments](crate::ClientBuilder::max_attachments), though the official parser takes any
    /// number, and both the message and what it is as JSON may be
    /// [so large](crate::ClientBuilder::max_message_size).
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

    /// What it counts for in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.body {
            Body::Event { payload, .. } | Body::Ack { payload, .. } => payload.size(),
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

    /// What is to be written of it.
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

/// What a packet consists of, for those who write it.
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

/// Why a packet is not taken.
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
            b'4' => {
                let json = checked(reader.rest)?;
                Body::ConnectError(json.map(Into::into))
            }
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

    /// Digits up to whatever else there is.
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
        if name.len() > MAX_NAMESPACE {
            return Err(ProtocolError::Namespace);
        }
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

fn connect_payload(json: &str) -> Result<Option<&str>, ProtocolError> {
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

/// Why a text is no array.
fn complaint(json: &str) -> ProtocolError {
    checked(json).err().unwrap_or(ProtocolError::Payload)
}

/// The name of an event, and where its first argument starts.
pub(super) fn event_name(json: &str) -> Result<(Name, usize), ProtocolError> {
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
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{super::engine::Frame, *};
    use crate::payload::event_e;

    impl Packet {
        /// The messages that it is sent as.
        pub(crate) fn encode(&self, protocol: Protocol, write: impl FnMut(Frame)) {
            Parser::Json.encode(self, protocol, write);
        }
    }

    impl Parser {
        fn encode(self, packet: &Packet, protocol: Protocol, mut write: impl FnMut(Frame)) {
            let mut whole = |message: Message<'_>| {
                write(match message {
                    Message::Text(first, second) => Frame::Text([first, second].concat().into()),
                    Message::Binary(first, second) => {
                        Frame::Binary([first, second].concat().into())
                    }
                    Message::Ping(_) => panic!("a packet is no ping"),
                });
            };
            let mut n = 0;
            while self.write(packet, n, protocol, &mut String::new(), &mut whole) {
                n += 1;
            }
        }
    }

    fn decoder() -> Decoder {
        Decoder::new(Parser::Json, Limits { attachments: 10, bytes: 1 << 20 })
    }

    fn read(text: &str) -> Result<Option<Packet>, Refused> {
        decoder().text(text.into())
    }

    fn frames(packet: Packet, protocol: Protocol) -> Vec<Frame> {
        let mut frames = Vec::new();
        packet.encode(protocol, |frame| frames.push(frame));
        frames
    }

    #[test]
    fn the_size_of_the_largest_message_is_known_before_it_is_encoded() {
        let blobs = |sizes: &[usize]| -> Vec<Bytes> {
            sizes.iter().map(|&size| Bytes::from(vec![7; size])).collect()
        };
        for (namespace, id, sizes) in [
            ("/", None, &[][..]),
            ("/", Some(0), &[]),
            ("/", Some(9), &[1]),
            ("/", Some(10), &[100]),
            ("/shop", None, &[1; 10]),
            ("/käse", Some(u64::MAX), &[0, 30, 60, 0]),
        ] {
            let payload = event_e(r#"["e","ü"]"#, blobs(sizes));
            let mut bodies = vec![Body::Event { id, payload: payload.clone() }];
            bodies.extend(id.map(|id| Body::Ack { id, payload }));
            for (body, protocol) in
                bodies.into_iter().flat_map(|b| [(b.clone(), Protocol::Eio3), (b, Protocol::Eio4)])
            {
                let packet = Packet::new(namespace.into(), body);
                let largest = frames(packet.clone(), protocol).iter().map(Frame::size).max();
                let largest = largest.unwrap();
                assert_eq!(packet.exceeds(Parser::Json, protocol, largest), None, "{packet:?}");
                assert_eq!(
                    packet.exceeds(Parser::Json, protocol, largest - 1),
                    Some(largest),
                    "{packet:?}"
                );
            }
        }
        assert_eq!(
            Packet::new(root(), Body::Disconnect).exceeds(Parser::Json, Protocol::Eio4, 0),
            None
        );
    }

    #[test]
    fn an_event_is_taken_apart_without_a_copy() {
        let text = ByteString::from("2/shop,7[ \"a\" , {\"b\":1} ]");
        let packet = decoder().text(text.clone().into()).unwrap().unwrap();
        assert_eq!(packet.namespace, "/shop");
        let Body::Event { id, payload } = packet.body else { panic!("not an event") };
        assert_eq!((id, payload.name()), (Some(7), "a"));
        assert_eq!(payload.to_json(), "[{\"b\":1} ]");
        assert!(text.as_bytes().as_ptr_range().contains(&payload.name().as_bytes().as_ptr()));
    }

    #[test]
    fn an_escaped_name_is_read_as_what_it_means() {
        let packet = read(r#"2["a\"\u00e9",1]"#).unwrap().unwrap();
        let Body::Event { payload, .. } = packet.body else { panic!("not an event") };
        assert_eq!(payload.name(), "a\"é");
        assert_eq!(payload.to_json(), "[1]");
    }

    #[test]
    fn a_name_with_half_a_character_is_no_reason_to_end_the_connection() {
        let packet = read(r#"2["a\ud83dz",1]"#).unwrap().unwrap();
        let Body::Event { payload, .. } = packet.body else { panic!("not an event") };
        assert_eq!(payload.name(), "a\u{fffd}z");
        assert_eq!(payload.json(), r#"["a\ud83dz",1]"#);
    }

    #[test]
    fn space_before_the_arguments_of_an_ack_is_no_name() {
        let packet = read("31 [1,2]").unwrap().unwrap();
        let Body::Ack { id: 1, payload } = packet.body else { panic!("not ack 1") };
        assert_eq!(payload.decode::<(u8, u8)>().unwrap(), (1, 2));
    }

    #[test]
    fn an_id_may_have_any_number_of_digits() {
        let long = "9".repeat(400);
        for (digits, id) in [
            ("9007199254740992", 1 << 53),
            ("000000000000000000000000000000007", 7),
            ("18446744073709551614", u64::MAX - 1),
            ("18446744073709551615", FOREIGN_ID),
            ("18446744073709551616", FOREIGN_ID),
            (&long, FOREIGN_ID),
        ] {
            let packet = read(&format!("2{digits}[\"e\"]")).unwrap().unwrap();
            assert!(matches!(packet.body, Body::Event { id: Some(found), .. } if found == id));
            let packet = read(&format!("3{digits}[]")).unwrap().unwrap();
            assert!(matches!(packet.body, Body::Ack { id: found, .. } if found == id), "{digits}");
        }
    }

    #[test]
    fn an_ack_without_an_id_is_nobodys() {
        let mut decoder = decoder();
        for text in ["3", "3[1]", "3/shop,[]", r#"61-[{"_placeholder":true,"num":0}]"#] {
            let packet = decoder.text(text.into()).unwrap();
            let packet = packet.or_else(|| decoder.binary(Bytes::new()).unwrap()).unwrap();
            assert!(matches!(packet.body, Body::Ack { id: FOREIGN_ID, .. }), "{text}");
        }
    }

    #[test]
    fn attachments_are_counted_in_bytes() {
        let mut decoder = Decoder::new(Parser::Json, Limits { attachments: 2, bytes: 100 });
        decoder.text(r#"52-["e",{"_placeholder":true,"num":0}]"#.into()).unwrap();
        assert!(decoder.is_waiting());
        let refused = decoder.binary(Bytes::from(vec![0; 90])).unwrap_err();
        assert_eq!(refused, Refused::TooLarge { limit: 100 });
        assert!(!decoder.is_waiting());
    }

    #[test]
    fn depth_is_nobodys_concern_before_somebody_asks_for_the_arguments() {
        for head in ["2", "51-"] {
            let deep = format!("{head}[\"e\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
            assert!(read(&deep).is_ok());
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn payload(name: Option<String>) -> impl Strategy<Value = Payload> {
        let data = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        (prop::collection::vec(json(), 0..4), prop::collection::vec(data, 0..4)).prop_map(
            move |(values, data)| match &name {
                Some(name) => crate::payload::encode_event(name, &(values, data)).unwrap(),
                None => crate::payload::encode_reply(&(values, data)).unwrap(),
            },
        )
    }

    fn id() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, Just(u64::MAX), any::<u64>()]
    }

    fn body() -> impl Strategy<Value = Body> {
        let object = || json().prop_map(|value| serde_json::json!({ "a": value }).to_string());
        prop_oneof![
            prop::option::of(object()).prop_map(|data| Body::Connect(data.map(Into::into))),
            Just(Body::Disconnect),
            prop::option::of(json())
                .prop_map(|data| Body::ConnectError(data.map(|data| data.to_string().into()))),
            (prop::option::of(id()), any::<String>()).prop_flat_map(|(id, name)| {
                payload(Some(name)).prop_map(move |payload| Body::Event { id, payload })
            }),
            (id(), payload(None)).prop_map(|(id, payload)| Body::Ack { id, payload }),
        ]
    }

    pub(in crate::proto) fn packet() -> impl Strategy<Value = Packet> {
        let namespace = prop_oneof![Just("/".to_owned()), "/[^,]{1,12}"];
        (namespace, body()).prop_map(|(namespace, body)| Packet::new(namespace.into(), body))
    }

    /// Feeds websocket messages the way a connection does.
    fn feed(
        decoder: &mut Decoder,
        protocol: Protocol,
        frame: Frame,
    ) -> Result<Option<Packet>, Refused> {
        use crate::proto::engine::{EnginePacket, decode};
        match decode(protocol, frame)? {
            EnginePacket::Message(text) => decoder.text(text),
            EnginePacket::Binary(data) => decoder.binary(data),
            _ => Ok(None),
        }
    }

    #[test]
    fn in_msgpack_a_packet_may_be_larger_than_its_parts_and_its_text() {
        let fractions = crate::payload::encode_event("e", &vec![0.5; 1_000]).unwrap();
        let data = vec![Bytes::from_static(&[0; 1_000]); 10];
        let attachments = crate::payload::encode_event("e", &data).unwrap();
        for (payload, size) in [(fractions, 9_000), (attachments, 10_000)] {
            let body = Body::Event { id: None, payload };
            let packet = Packet::new("/".into(), body);
            assert_eq!(packet.exceeds(Parser::Json, Protocol::Eio4, size), None);
            assert!(packet.exceeds(Parser::Msgpack, Protocol::Eio4, size) > Some(size));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(packet in packet(), eio3 in any::<bool>()) {
            let protocol = if eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
            let mut decoder = decoder();
            let mut decoded = Vec::new();
            for frame in frames(packet.clone(), protocol) {
                decoded.extend(feed(&mut decoder, protocol, frame).unwrap());
            }
            prop_assert_eq!(decoded, vec![packet]);
        }

        #[test]
        fn what_exceeds_a_limit_is_found_out(
            packet in packet(),
            eio3 in any::<bool>(),
            limit in 0..400_u64,
        ) {
            let protocol = if eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
            let is_bounded = matches!(packet.body, Body::Event { .. } | Body::Ack { .. });
            for parser in [Parser::Json, Parser::Msgpack] {
                let mut size = 0;
                parser.encode(&packet, protocol, |frame| size = size.max(frame.size()));
                let expected = (is_bounded && size > limit).then_some(size);
                prop_assert_eq!(packet.exceeds(parser, protocol, limit), expected);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,64}") {
            drop(read(&text));
        }

        #[test]
        fn nothing_that_looks_like_a_packet_panics(
            text in r#"[0-7]([0-9]{0,12}-)?(/[a-z,]{0,4},?)?[0-9]{0,20}[\[\]{}",:a-z0-9_ ]{0,32}"#,
        ) {
            drop(read(&text));
        }

        #[test]
        fn what_a_message_allocates_is_a_small_multiple_of_its_size(
            head in prop::sample::select(vec![
                "42", "42/", "0", "451-", "4510-[\"e\",", "4610-7[", "44", "40", "b", "42[\"\\", "",
            ]),
            body in "[\\[\\]{}\",:a0é\\\\]{0,3}",
            times in 0..2_000_usize,
        ) {
            let text = ByteString::from(format!("{head}{}", body.repeat(times)));
            let size = text.len();
            let used = allocation_counter::measure(|| {
                let mut decoder = decoder();
                for _ in 0..3 {
                    drop(feed(&mut decoder, Protocol::Eio4, Frame::Text(text.clone())));
                }
                for _ in 0..12 {
                    let data = Frame::Binary(text.as_bytes().clone());
                    drop(feed(&mut decoder, Protocol::Eio4, data));
                }
            });
            let bound = u64::try_from(size * 4 + 4_096).unwrap();
            prop_assert!(used.bytes_max <= bound, "{} bytes for {size}", used.bytes_max);
        }

        #[test]
        fn no_sequence_of_messages_panics(
            messages in prop::collection::vec(
                prop_oneof![
                    "4?[0-6]{1,2}-?[\\[\"a\\],]{0,8}".prop_map(|text| Frame::Text(text.into())),
                    prop::collection::vec(any::<u8>(), 0..8).prop_map(|data| Frame::Binary(data.into())),
                    packet().prop_map(|packet| frames(packet, Protocol::Eio4).swap_remove(0)),
                ],
                0..16,
            ),
        ) {
            let mut decoder = decoder();
            for message in messages {
                drop(feed(&mut decoder, Protocol::Eio4, message));
            }
        }
    }
}
