//! Makes packets of messages, and keeps a packet until its attachments are there.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Body, FOREIGN_ID, Packet, Parser, ProtocolError, Refused, root,
    text::{Reader, array, checked, connect_payload, event_name, refusal},
};
use crate::payload::{Name, Payload, check_placeholders, text::Text};
#[cfg(feature = "msgpack")]
use crate::proto::msgpack;

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
    partial: Option<Box<Partial>>,
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

impl Decoder {
    pub(crate) fn new(parser: Parser, limits: Limits) -> Self {
        Self { parser, limits, partial: None }
    }

    /// Whether attachments are still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }

    /// Takes a packet in text. `None` if its attachments are still to come.
    #[inline]
    pub(crate) fn text(&mut self, text: Text) -> Result<Option<Packet>, Refused> {
        match self.parser {
            Parser::Json => self.json(text),
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => msgpack::decode_text(&text).map(Some),
        }
    }

    /// Takes a binary message: an attachment, or all of a packet. `None` if more is to come.
    #[inline]
    pub(crate) fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, Refused> {
        match self.parser {
            Parser::Json => self.attachment(data),
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => msgpack::decode(&data, self.limits).map(Some),
        }
    }

    #[inline]
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
        let partial = Partial { namespace, id, name, json, arguments, attachments, missing, bytes };
        self.partial = Some(Box::new(partial));
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
        let Partial { namespace, id, name, json, arguments, attachments, .. } = *partial;
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
