//! What becomes of a message that is handed to its listener.

use actix::{
    MailboxError, Message, Recipient,
    dev::{RecipientRequest, SendError},
};

use crate::{message::Undecodable, runtime::task::Task};

/// Resolves when the subscriber has handled the message that overfilled its mailbox. That may be a
/// message of the application.
pub(crate) type Fence = Task<Result<(), MailboxError>>;

/// What became of a message.
pub(crate) enum Sent {
    Taken,
    /// It overfilled the mailbox.
    Full(Fence),
    /// It is handled, and answered when the future is done.
    Asked(Fence),
    /// It has not the shape that was asked for.
    Undecodable(Undecodable),
    /// The receiver is dead, and has not taken it.
    Gone,
    /// The receiver panicked, and is removed. The log says so.
    Failed,
}

pub(crate) fn send<M>(recipient: &Recipient<M>, message: M) -> Sent
where
    M: Message<Result = ()> + Send + 'static,
{
    match recipient.try_send(message) {
        Ok(()) => Sent::Taken,
        Err(SendError::Closed(_)) => Sent::Gone,
        Err(SendError::Full(message)) => {
            let request: RecipientRequest<M> = recipient.send(message);
            Sent::Full(Task::new(request))
        }
    }
}
