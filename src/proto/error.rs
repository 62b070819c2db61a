//! What may become of an event that is emitted, but what was wanted.

use std::fmt;

use thiserror::Error;

use super::{emit::Emit, reason::Reason};
use crate::{display::Excerpt, payload::error::DecodeError};

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name belongs to the protocol's own life cycle: `connect`, `connect_error`,
    /// `disconnect`, `disconnecting`, `newListener` and `removeListener`. Official servers end the
    /// connection over some of them. Choose another.
    #[error("{0:?} is a reserved event name")]
    ReservedName(String),
    /// The arguments could not be serialised; the text is serde's. Or the server could not tell an
    /// object among them from an attachment; see [`payload`](crate::payload).
    #[error("the arguments cannot be serialised: {0}")]
    Encode(String),
    /// The namespace's buffer for outgoing events is full, or as many events wait for an answer as
    /// [may](crate::ClientBuilder::pending_acks). Here is the event, to be sent again
    /// with [`Socket::send`](crate::Socket::send) when there is room.
    #[error("the buffer for outgoing events is full")]
    Full(Emit),
    /// The namespace is not joined, nor being joined.
    #[error("the namespace is closed: {0}")]
    Closed(Reason),
    /// The namespace is not joined now, and the event was not to wait for it:
    /// [`Offline::Fail`](crate::Offline::Fail), or [`Emit::volatile`].
    #[error("the namespace is not joined")]
    Offline,
    /// The event waited for its namespace to be joined, until it was not to be sent any more.
    #[error("the event waited for too long")]
    Expired,
    /// The event waited, and will not be sent: a [later one](Emit::latest) has taken its place, it
    /// was taken [out of the buffer](crate::Socket::take_unsent), or it is
    /// [volatile](Emit::volatile) and too many others wait.
    #[error("the event waited, and was discarded")]
    Discarded,
    /// A [middleware](crate::middleware) did not let the event pass, for this reason.
    #[error("a middleware stopped the event: {0}")]
    Middleware(String),
    /// The server would close the connection over a message of this size. It says so in its
    /// handshake (`maxHttpBufferSize` of official servers since 4.5; 1 MB unless it is set).
    #[error("a message of {size} bytes, and the server takes {limit}")]
    PayloadTooLarge {
        /// Of the largest message that the event is sent as, its text or an attachment, in bytes.
        size: u64,
        /// The server's, in bytes.
        limit: u64,
    },
    /// The event has more attachments than
    /// [`max_attachments`](crate::ClientBuilder::max_attachments). Official servers take 10, and
    /// close the connection over more.
    #[error("{count} attachments, and option max_attachments allows {limit}")]
    TooManyAttachments {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The connection was lost twice while this event was written: the server may not take messages
    /// of that size, or with that many attachments. It is not sent again.
    #[error("{0}")]
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

/// An emit that got no answer, or not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent, and never will be.
    #[error("never sent: {0}")]
    NeverSent(EmitError),
    /// No answer in time. The server may have seen the event; an answer that still comes is
    /// dropped.
    #[error("no answer in time")]
    TimedOut,
    /// The session ended first. The event was on its way; whether the server saw it is not known.
    #[error("no answer: {0}")]
    Disconnected(Reason),
    /// The connection was lost twice right behind the event, with or without
    /// [retries](crate::AckRequest::retries): the server may not take messages of that size, or with
    /// that many attachments.
    #[error("{0}")]
    Unsendable(Unsendable),
    /// The answer came, in another shape than asked for.
    #[error("unexpected answer: {0}")]
    Decode(DecodeError),
}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        Self::NeverSent(error)
    }
}
