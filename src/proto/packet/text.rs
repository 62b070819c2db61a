//! The text form of packets, and its grammar.
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

use std::ops::Range;

use serde::de::IgnoredAny;

use super::{Parts, ProtocolError};
use crate::{
    display::brief,
    payload::{Name, Payload, unquoted},
    proto::{
        engine::{Message, Protocol, binary_prefix},
        json::Outline,
        peer_text,
    },
};

/// Writes the `n`th of the websocket messages that a packet is sent as: a text, then its attachments.
/// `true` if there are more.
pub(super) fn write(
    &Parts { namespace, kind, id, json, attachments }: &Parts<'_>,
    n: usize,
    protocol: Protocol,
    head: &mut String,
    write: impl FnOnce(Message<'_>),
) -> bool {
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

/// The size of the largest websocket message that an event or an answer is sent as.
#[inline]
pub(super) fn largest_message(
    protocol: Protocol,
    namespace: &str,
    id: Option<u64>,
    payload: &Payload,
) -> u64 {
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

#[inline]
fn digits(number: u64) -> usize {
    std::iter::successors(Some(number), |rest| rest.checked_div(10).filter(|&rest| rest > 0))
        .count()
}

#[inline]
fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    if let Ok(digit) = u8::try_from(number % 10) {
        text.push(char::from(b'0' | digit));
    }
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
pub(super) struct Reader<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn kind(&mut self) -> Result<u8, ProtocolError> {
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

    #[inline]
    pub(super) fn count(&mut self) -> Result<usize, ProtocolError> {
        let digits = self.digits();
        self.rest = self.rest.strip_prefix('-').ok_or(ProtocolError::Attachments)?;
        if digits.len() > 10 {
            return Err(ProtocolError::Attachments);
        }
        digits.parse().map_err(|_| ProtocolError::Attachments)
    }

    #[inline]
    pub(super) fn namespace(&mut self) -> Result<Option<&'a str>, ProtocolError> {
        if !self.rest.starts_with('/') {
            return Ok(None);
        }
        let (name, rest) = self.rest.split_once(',').unwrap_or((self.rest, ""));
        peer_text::Kind::Namespace.check(name)?;
        self.rest = rest;
        Ok(Some(name))
    }

    #[inline]
    pub(super) fn id(&mut self) -> Option<u64> {
        let digits = self.digits();
        // Beyond the largest `u64`, it stays there.
        let id = digits
            .bytes()
            .fold(0_u64, |id, digit| id.saturating_mul(10).saturating_add(u64::from(digit & 0x0F)));
        (!digits.is_empty()).then_some(id)
    }
}

/// `json` if it is a JSON value, or `None` if it is empty.
pub(super) fn checked(json: &str) -> Result<Option<&str>, ProtocolError> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| ProtocolError::Json(brief(&error)))?;
    Ok(Some(json))
}

/// The data of a refusal. One that is too long is not kept, but the server has refused all the same.
pub(in crate::proto) fn refusal(json: Option<&str>) -> Option<Box<str>> {
    let json = json?;
    let kind = peer_text::Kind::Refusal;
    Some(if kind.fits(json) {
        json.into()
    } else {
        format!("\"(what it says has more than {} bytes, and is not kept)\"", kind.limit()).into()
    })
}

pub(super) fn connect_payload(json: &str) -> Result<Option<&str>, ProtocolError> {
    peer_text::Kind::Reply.check(json)?;
    let json = checked(json)?;
    match json.map(str::trim) {
        Some("null") => Ok(None),
        Some(object) if !object.starts_with('{') => Err(ProtocolError::Payload),
        _ => Ok(json),
    }
}

/// `json` without space before it, if it is an array.
#[inline]
pub(super) fn array(json: &str) -> Result<&str, ProtocolError> {
    Outline::of(json).map(|_| json.trim_start()).ok_or_else(|| complaint(json))
}

/// Why a text is not an array.
fn complaint(json: &str) -> ProtocolError {
    checked(json).err().unwrap_or(ProtocolError::Payload)
}

/// The name of an event, and where its first argument starts.
#[inline]
pub(crate) fn event_name(json: &str) -> Result<(Name, usize), ProtocolError> {
    name_in(json, Outline::of(json).ok_or_else(|| complaint(json))?)
}

/// The same for a text that is known to be JSON.
#[cfg(feature = "msgpack")]
pub(crate) fn event_name_of_json(json: &str) -> Result<(Name, usize), ProtocolError> {
    name_in(json, Outline::of_json(json).ok_or(ProtocolError::Payload)?)
}

#[inline]
fn name_in(json: &str, outline: Outline) -> Result<(Name, usize), ProtocolError> {
    let Outline { first, second } = outline;
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
