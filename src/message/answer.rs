//! Answers to the server.

use std::{error::Error, fmt};

use crate::{display::Name, payload::Payload};

/// The right to answer one event of the server, once, shared by all who got the event.
pub(crate) trait Respond: fmt::Debug + Send + Sync {
    fn answer(&self, payload: Payload) -> Result<(), AnswerError>;

    /// The namespace that asks.
    fn name(&self) -> &Name;
}

/// An answer to the server that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// The server did not ask for an answer to this event.
    NotAsked,
    /// It has been answered, by this or by another subscriber.
    AlreadyAnswered,
    /// The answer could not be serialised; see [`EmitError::Encode`](crate::EmitError::Encode).
    Encode(String),
    /// The buffer for outgoing events is full. The event can be answered again later.
    Full,
    /// The session that the event came in has ended, and nobody waits for the answer.
    Closed,
    /// The server would close the connection over a message of this size; see
    /// [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). The event can be answered otherwise.
    PayloadTooLarge {
        /// Of the largest message that the answer is sent as, in bytes.
        size: u64,
        /// The server's, in bytes.
        limit: u64,
    },
    /// The answer has more attachments than it may have; see [`EmitError::TooManyAttachments`](crate::EmitError::TooManyAttachments). The
    /// event can be answered otherwise.
    TooManyAttachments {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("the server did not ask for an answer"),
            Self::AlreadyAnswered => f.write_str("the event has been answered"),
            Self::Encode(error) => write!(f, "the answer cannot be serialised: {error}"),
            Self::Full => f.write_str("the buffer for outgoing events is full"),
            Self::Closed => f.write_str("the session that the event came in has ended"),
            Self::PayloadTooLarge { size, limit } => {
                write!(f, "a message of {size} bytes, and the server takes {limit}")
            }
            Self::TooManyAttachments { count, limit } => {
                write!(f, "{count} attachments, and option max_attachments allows {limit}")
            }
        }
    }
}

impl Error for AnswerError {}
