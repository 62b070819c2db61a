//! Arguments of events and answers: the JSON text of a packet as it is on the wire, and its attachments.
//!
//! Arguments are decoded only on request, and directly into the requested type. A received payload is a
//! slice of its message, so passing it on costs nothing. Keeping a part of it, such as one attachment of a
//! msgpack message, may keep all of that message; [`Payload::detach`] copies it out. With [another parser](crate::Parser), the JSON text is
//! made from the message, and attachments are slices.
//!
//! This is how arguments map to Rust types, in both directions:
//!
//! | Rust | arguments |
//! |---|---|
//! | `()`, a unit struct | none |
//! | a tuple, an array `[T; N]`, a tuple struct | one for each element |
//! | [`Args`](crate::Args) | as many as there are in the list |
//! | anything else (a struct, a `Vec`, a `String`, a [`Value`](crate::Value) …) | one |
//! | [`Bytes`] or [`Attachment`](crate::Attachment) anywhere inside | an attachment |
//!
//! This is what each type reads from the arguments of an event or an answer:
//!
//! | Rust | reads | of `[]` | of `[1]` | of `[1,2]` | of `[[1,2]]` |
//! |---|---|---|---|---|---|
//! | `()` | nothing | `()` | `()` | `()` | `()` |
//! | `u8`, and any type that is not in this table | the first argument | error | `1` | `1` | error |
//! | `Vec<u8>` | the first one, an array | error | error | error | `[1, 2]` |
//! | `((u8, u8),)` | the first one, an array of two | error | error | error | `((1, 2),)` |
//! | `Option<u8>` | the first one, if there is one and it is not null | `None` | `Some(1)` | `Some(1)` | error |
//! | `(u8, u8)`, `[u8; 2]`, a tuple struct | the first two | error | error | `(1, 2)` | error |
//! | `(u8, Option<u8>)` | the first, and the second if there is one | error | `(1, None)` | `(1, Some(2))` | error |
//! | `Args<u8>` | all | `[]` | `[1]` | `[1, 2]` | error |
//! | [`Value`](crate::Value) | the first one, whatever it is | error | `1` | `1` | `[1, 2]` |
//! | `Args`, a list of `Value` | all, whatever they are | `[]` | `[1]` | `[1, 2]` | `[[1, 2]]` |
//! | [`Payload`], for answers | all, as they came | | | | |
//!
//! To emit a single null, use `None` of any type, or `(Value::Null,)`. serde cannot tell a bare
//! [`Value::Null`](serde_json::Value::Null) from `()`, which is no argument at all.
//!
//! In the text of a packet, a placeholder stands for each attachment: `{"_placeholder":true,"num":0}`. An
//! object of the application with `"_placeholder":true` is data like any other, unless the same event or
//! answer has attachments. Servers would take it for a placeholder then, and put in other bytes or end the
//! connection. The protocol cannot tell the two apart, so this is refused
//! ([`EmitError::Encode`](crate::EmitError::Encode), [`AnswerError::Encode`](crate::AnswerError::Encode))
//! with every parser. Servers 1.x, and others from before the end of 2022, accept any truthy value for
//! `true`; objects that only those would mistake are not refused.
//!
//! A string of JavaScript may contain half of a surrogate pair, for instance after it was cut. Rust has no
//! such text: the half is decoded as U+FFFD (�), also in the name of an event. The original text is
//! available ([`Payload::to_json`]) and can be passed on ([`Event::to_emit`](crate::Event::to_emit)). With
//! msgpack, it is replaced on arrival.
//!
//! When decoding, `Bytes` and `Attachment` cannot be read behind `#[serde(flatten)]`, `#[serde(tag = …)]` and
//! `#[serde(untagged)]`: there, serde reads into a buffer of its own first, which has no place for
//! attachments. They are an error there; a [`Value`](crate::Value) is the placeholder. Encoding works.

pub(crate) mod attachment;
mod de;
pub(crate) mod error;
mod placeholder;
mod plain;
mod ser;
pub(crate) mod text;
mod tokens;
pub(crate) mod value;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::payload::{error::DecodeError, text::Text};

#[cfg(feature = "msgpack")]
pub(crate) use placeholder::ESCAPED;
pub(crate) use placeholder::{AMBIGUOUS, check_placeholders};
#[cfg(test)]
pub(crate) use plain::BLOCK;
pub(crate) use plain::plain_end;
pub(crate) use ser::{encode_event, encode_reply};
use tokens::mended;
pub(crate) use tokens::{Token, Tokens, read, unquoted};

/// The arguments of an event or of an answer. Cheap to clone.
#[derive(Clone)]
pub struct Payload {
    /// Behind one pointer, since payloads are moved often.
    inner: Arc<Inner>,
}

struct Inner {
    /// A JSON array: the event's name, if there is one, and the arguments.
    json: Text,
    name: Name,
    /// Where the first argument starts in `json`; at the closing bracket if there is none.
    arguments: usize,
    attachments: Vec<Bytes>,
    /// What all of this holds in memory, in bytes.
    held: usize,
}

/// The name of an event.
#[derive(Debug)]
pub(crate) enum Name {
    /// It stands here in the text. Nowhere, if it is an answer.
    At(Range<usize>),
    /// The text spells it in another way.
    Escaped(Box<str>),
}

impl Name {
    /// The name of an event whose text begins with it, without spaces.
    fn first_in(json: &str, name: &str) -> Self {
        let place = 2..name.len().saturating_add(2);
        if json.get(place.clone()) == Some(name) {
            Self::At(place)
        } else {
            Self::Escaped(name.into())
        }
    }
}

impl Payload {
    /// An answer; `json` is a checked JSON array.
    pub(crate) fn answer(json: impl Into<Text>, attachments: Vec<Bytes>) -> Self {
        Self::event(json, Name::At(0..0), 1, attachments)
    }

    /// An event; `json` is a checked JSON array that begins with its name, and whose first argument
    /// starts at `arguments`.
    #[inline]
    pub(crate) fn event(
        json: impl Into<Text>,
        name: Name,
        arguments: usize,
        attachments: Vec<Bytes>,
    ) -> Self {
        let json = json.into();
        let mut held = json.size();
        if let Name::Escaped(name) = &name {
            held = held.saturating_add(name.len());
        }
        if !attachments.is_empty() {
            held = held.saturating_add(size_of_val(&*attachments));
            held = attachments.iter().fold(held, |sum, data| sum.saturating_add(data.len()));
        }
        Self { inner: Arc::new(Inner { json, name, arguments, attachments, held }) }
    }

    /// Decodes the arguments into a type of the application, by the rules at the [top](self).
    ///
    /// Arguments beyond those that the type asks for are ignored, as a JavaScript function ignores
    /// them; ones that are missing are `None` where the type says `Option`.
    ///
    /// An attachment can be decoded into an [`Attachment`](crate::Attachment) or a [`Value`](crate::Value), which share
    /// its memory, and with a copy into [`Bytes`], into a `Vec<u8>` with `serde_bytes`, and into any other type that
    /// asks serde for bytes. Another type that takes
    /// anything, such as [`serde_json::Value`], gets the placeholder of the attachment:
    /// `{"_placeholder":true,"num":N}`, for [`attachments`](Self::attachments)`()[N]`.
    ///
    /// # Errors
    ///
    /// The arguments have another shape; or there is an attachment in what `T` has behind
    /// `#[serde(flatten)]`, `#[serde(tag = …)]` or `#[serde(untagged)]`, where it is not found; or the text
    /// names attachments so often that they would be copied more than once.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let decoded = de::decode(self).or_else(|error| {
            // The text is looked through only where it may be the reason.
            let json = mended(self.json()).ok_or(error)?;
            de::decode(&self.with(json, self.inner.arguments, self.attachments().to_vec()))
        });
        decoded.map_err(DecodeError::from_serde)
    }

    /// The arguments as JSON text, between brackets: `[1,"two"]`. Attachments are in it as
    /// `{"_placeholder":true,"num":N}`.
    pub fn to_json(&self) -> String {
        format!("[{}", self.arguments())
    }

    /// The binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.inner.attachments
    }

    /// The length of the text and of all attachments, in bytes.
    pub fn size(&self) -> usize {
        let text = self.json().len();
        self.attachments().iter().fold(text, |sum, bytes| sum.saturating_add(bytes.len()))
    }

    /// What it holds in memory, in bytes, which may be more than its [size](Self::size).
    ///
    /// The text and the attachments are no small parts of larger allocations: each message is read into
    /// memory of its own, and a part that would keep much beside it is copied.
    pub(crate) fn held(&self) -> usize {
        self.inner.held
    }

    /// A copy with memory of its own.
    ///
    /// A payload shares the memory of its message, and each attachment that of the websocket message
    /// that it came in. That is little more than itself in JSON; in msgpack, one of several attachments
    /// keeps all of them in memory. Detach it before keeping a small piece for long.
    #[must_use]
    pub fn detach(&self) -> Self {
        let json = self.json().to_owned();
        let attachments = self.attachments().iter().map(|data| Bytes::copy_from_slice(data));
        self.with(json, self.inner.arguments, attachments.collect())
    }

    /// The same payload with another text, in which the name has the same place.
    fn with(&self, json: String, arguments: usize, attachments: Vec<Bytes>) -> Self {
        let name = match &self.inner.name {
            Name::At(place) => Name::At(place.clone()),
            Name::Escaped(name) => Name::Escaped(name.clone()),
        };
        Self::event(json, name, arguments, attachments)
    }

    /// The name of the event; empty for an answer.
    pub(crate) fn name(&self) -> &str {
        match &self.inner.name {
            Name::At(place) => self.inner.json.part(place).unwrap_or_default(),
            Name::Escaped(name) => name,
        }
    }

    /// The whole array: for an event, its name; and the arguments.
    pub(crate) fn json(&self) -> &str {
        &self.inner.json
    }

    /// The arguments, comma-separated, and the closing bracket.
    pub(crate) fn arguments(&self) -> &str {
        self.json().get(self.inner.arguments..).unwrap_or("]")
    }

    /// Whether there are attachments, and also an object, sent as data, that a reader of the text would
    /// take for the placeholder of one. Only another parser can tell them apart.
    pub(crate) fn is_ambiguous_as_text(&self) -> bool {
        !self.attachments().is_empty() && placeholder::has_escaped(self.json())
    }

    /// The same payload with one more argument, in JSON.
    pub(crate) fn with_argument(&self, json: &str) -> Self {
        let before = self.json();
        let all = before.strip_suffix(']').unwrap_or(before);
        let comma = if all == "[" { "" } else { "," };
        // Where there were no arguments, the first one comes behind the comma.
        let arguments = self
            .inner
            .arguments
            .saturating_add(usize::from(self.arguments() == "]" && !comma.is_empty()));
        let json = format!("{all}{comma}{json}]");
        self.with(json, arguments, self.attachments().to_vec())
    }

    /// The same arguments after the name of an event.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        let mut json = format!("[{}", serde_json::Value::from(name));
        if self.arguments() != "]" {
            json.push(',');
        }
        let arguments = json.len();
        json.push_str(self.arguments());
        let name = Name::first_in(&json, name);
        Self::event(json, name, arguments, self.attachments().to_vec())
    }

    /// The same arguments as an answer, which has no name before them.
    pub(crate) fn to_reply(&self) -> Self {
        if self.is_named() {
            return Self::answer(self.to_json(), self.attachments().to_vec());
        }
        self.clone()
    }

    /// Whether an event's name comes before the arguments.
    fn is_named(&self) -> bool {
        self.inner.arguments > 1
    }
}

/// An event with this text, which begins with `["e"`.
#[cfg(test)]
pub(crate) fn event_e(json: &str, attachments: Vec<Bytes>) -> Payload {
    let arguments = if json == r#"["e"]"# { 4 } else { 5 };
    Payload::event(json, Name::first_in(json, "e"), arguments, attachments)
}

/// What the answer to an emit can be read as: any type that serde can decode, or a [`Payload`], which
/// is the answer as it came.
pub trait Reply: Sized {
    /// Decodes an answer.
    ///
    /// # Errors
    ///
    /// The answer has another shape.
    fn from_payload(payload: Payload) -> Result<Self, DecodeError>;
}

impl<T: DeserializeOwned> Reply for T {
    fn from_payload(payload: Payload) -> Result<Self, DecodeError> {
        payload.decode()
    }
}

impl Reply for Payload {
    fn from_payload(payload: Payload) -> Result<Self, DecodeError> {
        Ok(payload)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        // The text says what the name is.
        self.json() == other.json()
            && self.inner.arguments == other.inner.arguments
            && self.attachments() == other.attachments()
    }
}

impl Eq for Payload {}

/// Shows the size only: the data of an application does not belong in logs.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("size", &self.size())
            .field("attachments", &self.attachments().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
