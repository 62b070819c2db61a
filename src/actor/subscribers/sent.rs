//! The outcome of handing a message to its listener.

use actix::MailboxError;

use crate::{message::Undecodable, runtime::task::Task};

/// Resolves when the subscriber has handled the message that filled its mailbox, and so all messages before
/// it. That may be a message of the application.
pub(crate) type Fence = Task<Result<(), MailboxError>>;

/// The outcome of handing over a message.
pub(crate) enum Sent {
    Taken,
    /// It filled the mailbox.
    Full(Fence),
    /// It is being handled; the future resolves when it is answered.
    Asked(Fence),
    /// It does not fit the type that was asked for.
    Undecodable(Undecodable),
    /// The receiver is dead, and has not taken it.
    Gone,
    /// The receiver panicked, and is removed. The log says so.
    Failed,
}
