//! Socket.IO packets, and how they are written and read.
//!
//! A [`Packet`] is sent in one of two forms, which the [`parser`] chooses: the [`text`] form, with attachments
//! as messages of their own after it, or msgpack. The [`decoder`] reads both. [`error`] lists how a server can
//! break the protocol.

mod decoder;
mod error;
mod parser;
mod text;

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

#[cfg(feature = "relay")]
pub(crate) use self::text::event_name;
#[cfg(feature = "msgpack")]
pub(crate) use self::text::event_name_of_json;
#[cfg(feature = "msgpack")]
pub(super) use self::text::refusal;
pub(crate) use self::{
    decoder::{Decoder, Limits},
    error::Refused,
    text::{Head, head},
};
pub use self::{error::ProtocolError, parser::Parser};
use super::engine::Protocol;
use crate::payload::Payload;

/// The most attachments of one packet that the official parsers take.
pub(crate) const MAX_ATTACHMENTS: usize = 10;

/// Stands for an id that does not fit in a `u64`, or for that of an ack without one. Ours count up from 0
/// and never reach it; an event of the server with it cannot be answered.
pub(crate) const FOREIGN_ID: u64 = u64::MAX;

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

pub(crate) fn root() -> ByteString {
    ByteString::from_static("/")
}

#[cfg(test)]
pub(super) mod tests;
