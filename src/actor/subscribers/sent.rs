//! What becomes of a message that is handed to its listener.

use actix::MailboxError;

use crate::{message::Undecodable, runtime::task::Task};

/// Resolves when the subscriber has handled the message that filled its mailbox, and so all before it. That
/// may be a message of the application.
pub(crate) type Fence = Task<Result<(), MailboxError>>;

/// What became of a message.
pub(crate) enum Sent {
    Taken,
    /// It filled the mailbox.
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
