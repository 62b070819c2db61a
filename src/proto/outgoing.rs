//! A packet on its way out.

use std::time::Instant;

use bytestring::ByteString;

use super::{
    emit::Terms,
    packet::{Body, Packet},
};
use crate::backpressure::send_quota::SendPermit;

/// A packet to be sent, with what belongs to it on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) packet: Packet,
    /// The room in the buffer that it holds until it is written.
    pub(crate) permit: Option<SendPermit>,
    /// How it may wait.
    pub(crate) terms: Option<Box<Terms>>,
    /// When it stops waiting for its namespace.
    pub(crate) expires: Option<Instant>,
    /// Its number among the packets of its namespace, so that one that is given back finds its place.
    pub(crate) number: u64,
}

/// It is moved often. A larger value is moved by a call of memcpy, which would cost as much as most of what
/// is done with an event.
const _: () = assert!(size_of::<Outgoing>() <= 128);

impl Outgoing {
    /// A packet of the protocol itself.
    pub(crate) fn bare(packet: Packet) -> Self {
        Self { packet, permit: None, terms: None, expires: None, number: 0 }
    }

    /// Whether it is a copy of a message that is sent until it is answered. The message holds the
    /// room in the buffer.
    pub(super) fn is_copy(&self) -> bool {
        self.permit.is_none() && self.is_event()
    }

    /// Whether it is sent now or never.
    pub(crate) fn is_volatile(&self) -> bool {
        self.terms.as_deref().is_some_and(Terms::are_volatile)
    }

    pub(super) fn is_event(&self) -> bool {
        matches!(self.packet.body, Body::Event { .. })
    }

    /// Whether it is an event that asks for no answer.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.packet.body, Body::Event { id: None, .. })
    }

    /// The id of its ack, if it is an event that asks for an answer.
    pub(super) fn ack_id(&self) -> Option<u64> {
        match self.packet.body {
            Body::Event { id, .. } => id,
            _ => None,
        }
    }

    /// Its key: of the waiting events with one key, only the last is sent.
    pub(crate) fn key(&self) -> Option<&ByteString> {
        self.terms.as_deref().and_then(Terms::key)
    }
}
