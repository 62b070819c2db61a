//! Answers to the server.

use std::fmt;

use thiserror::Error;

use crate::{display::Name, payload::Payload};

/// The right to answer one event of the server, once; shared by all subscribers that got it.
pub(crate) trait Respond: fmt::Debug + Send + Sync {
    fn answer(&self, payload: Payload) -> Result<(), AnswerError>;

    /// The namespace in which the event came.
    fn name(&self) -> &Name;
}

/// Why an answer to the server was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The server did not ask for an answer to this event.
    #[error("the server did not ask for an answer")]
    NotAsked,
    /// The event has been answered already, by this or another subscriber.
    #[error("the event has been answered")]
    AlreadyAnswered,
    /// The answer could not be serialised; see [`EmitError::Encode`](crate::EmitError::Encode).
    #[error("the answer cannot be serialised: {}", crate::display::brief(.0))]
    Encode(String),
    /// The buffer for answers is full; see [`send_buffer`](crate::ClientBuilder::send_buffer). The
    /// event can be answered later.
    #[error("the buffer for outgoing events is full")]
    Full,
    /// The session in which the event came has ended. Nobody waits for the answer.
    #[error("the session that the event came in has ended")]
    Closed,
    /// The server would close the connection over a message of this size; see
    /// [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). The event can be answered otherwise.
    #[error(
        "a message of {size} bytes, and the server takes {limit} (its maxHttpBufferSize, or option max_payload)"
    )]
    PayloadTooLarge {
        /// The size of the answer's largest message, in bytes.
        size: u64,
        /// The server's limit, in bytes.
        limit: u64,
    },
    /// The answer has more attachments than it may have; see [`EmitError::TooManyAttachments`](crate::EmitError::TooManyAttachments). The
    /// event can be answered otherwise.
    #[error("{count} attachments, and option max_attachments allows {limit}")]
    TooManyAttachments {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
}
