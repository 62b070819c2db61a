//! Why an emitted event was not sent, or got no answer.

use std::fmt;

use thiserror::Error;

use super::{emit::Emit, reason::Reason};
use crate::{
    display::{Excerpt, brief},
    payload::error::DecodeError,
};

/// Why an event was not taken, or was dropped later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name is reserved by the protocol: `connect`, `connect_error`, `disconnect`,
    /// `disconnecting`, `newListener` or `removeListener`. Official servers end the connection over
    /// some of these. Choose another name.
    #[error("{} is a reserved event name", Excerpt(.0))]
    ReservedName(String),
    /// The arguments could not be serialised (the text is serde's); or they have an object that the
    /// server would take for an attachment, see [`payload`](crate::payload).
    #[error("the arguments cannot be serialised: {}", brief(.0))]
    Encode(String),
    /// The namespace's buffer for outgoing events is full, or the [most
    /// events](crate::ClientBuilder::pending_acks) that may wait for an answer do so. The error gives the
    /// event back, to be sent again with [`Socket::send`](crate::Socket::send) when there is room.
    #[error(
        "the buffer for outgoing events is full: await what emit returns, or raise send_buffer or pending_acks"
    )]
    Full(Emit),
    /// The namespace is neither joined nor being joined, for this reason.
    #[error("the namespace is closed: {}{}", .0, rejoin(.0))]
    Closed(Reason),
    /// The namespace is not joined now, and the event may not wait. With
    /// [`Offline::Fail`](crate::Offline::Fail), `emit` returns this. For a
    /// [volatile](Emit::volatile) event, the future that waits for it resolves to this.
    #[error("the namespace is not joined")]
    Offline,
    /// The event waited longer for its namespace to be joined than its [lifetime](Emit::lifetime)
    /// or [`Offline`](crate::Offline) allows.
    #[error("the event waited for too long to be sent: is the namespace joined (Socket::state)?")]
    Expired,
    /// The event waited and will not be sent: a [later one](Emit::latest) has replaced it, it was
    /// taken [out of the buffer](crate::Socket::take_unsent), or it is [volatile](Emit::volatile)
    /// and too many others wait.
    #[error("the event waited, and was discarded")]
    Discarded,
    /// A [middleware](crate::middleware) stopped the event, for this reason.
    #[error("a middleware stopped the event: {}", brief(.0))]
    Middleware(String),
    /// The event is larger than the server accepts. The server's handshake announces the limit
    /// (`maxHttpBufferSize` of official servers since 4.5; 1 MB by default), and the server would close the
    /// connection.
    #[error(
        "a message of {size} bytes, and the server takes {limit} (its maxHttpBufferSize, or option max_payload)"
    )]
    PayloadTooLarge {
        /// The size of the event's largest message (its text, or an attachment), in bytes.
        size: u64,
        /// The server's limit, in bytes.
        limit: u64,
    },
    /// The event has more attachments than
    /// [`max_attachments`](crate::ClientBuilder::max_attachments) allows. Official servers accept
    /// 10, and close the connection over more.
    #[error("{count} attachments, and option max_attachments allows {limit}")]
    TooManyAttachments {
        /// How many the event has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The connection was lost twice right after this event: the server may not accept messages of
    /// that size, or with that many attachments. The event is not sent again.
    #[error("{0}")]
    Unsendable(Unsendable),
}

/// A hint how to join a namespace again that has ended, if that is possible.
fn rejoin(reason: &Reason) -> &'static str {
    if reason.is_final() { "" } else { " (Socket::connect joins it again)" }
}

/// An event right after which the connection was lost each time. Only events of 64 KiB or more, or with
/// more than 10 attachments, are suspected of causing that.
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

/// Why an emit got no answer, or not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent and will not be.
    #[error("never sent: {0}")]
    NeverSent(EmitError),
    /// No answer came in time. The server may have seen the event. A late answer is dropped.
    #[error(
        "no answer in time; the server may have seen the event: does its handler call the callback?"
    )]
    TimedOut,
    /// The session ended before the answer came. It is not known whether the server saw the event.
    #[error("no answer, and the server may have seen the event: {0}")]
    Disconnected(Reason),
    /// The connection was lost twice right after the event, with or without
    /// [retries](crate::AckRequest::retries): the server may not accept messages of that size, or
    /// with that many attachments.
    #[error("{0}")]
    Unsendable(Unsendable),
    /// The answer came, but does not fit the type.
    #[error("unexpected answer: {0}")]
    Decode(DecodeError),
}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        Self::NeverSent(error)
    }
}
