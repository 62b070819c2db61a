//! What a connection wants done, and what it tells.

use std::time::Duration;

use crate::proto::{
    engine::Protocol,
    packet::{Packet, ProtocolError},
    reason::Reason,
    session::Session,
    suspect::Suspect,
};

/// What the driver is to do with the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Drop whatever there is, and dial.
    Dial(Protocol),
    /// Write what there is, close, and report the end as lost.
    Close,
    /// Drop it now.
    Drop,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A server of revision 3 is there. It joins `/`, or not, and may speak there before; all
    /// others wait.
    Greeted(Session),
    /// Namespaces may join.
    Opened(Session),
    /// Of the current session.
    Packet(Packet),
    /// An old server sent an event or an answer that is none. It is left out.
    Unreadable(ProtocolError),
    /// An old server let nobody into `/`, and with it into no namespace that waits.
    Refused(Reason),
    /// The connection is gone, or did not come about. `again`: another is on its way. What was not
    /// written to it is to be [taken](super::Connection::take_unwritten). `suspect`: the event over which the
    /// server may have ended it.
    Lost { reason: Reason, again: bool, suspect: Option<Box<Suspect>> },
    /// The server at this place in the order could not be connected to, and the next one is dialled at once.
    Passed { endpoint: usize, reason: Reason },
    /// Attempt number `attempt` is made after `delay`, because of `reason`.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// As many attempts were made as are allowed.
    GaveUp { attempts: u32, reason: Reason },
}

/// The answer to a namespace that wants to join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go ahead.
    Now(Session),
    /// The server has joined it already.
    Joined(Session),
    /// [`Event::Opened`] will say when.
    Later,
}

/// What happened, in numbers, since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events, handed to the transport.
    pub(crate) events: u64,
    /// Answers to the server.
    pub(crate) answers: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Events whose place another one has taken.
    pub(crate) replaced: u64,
    /// Events that were written to a connection before it was lost, and perhaps not read.
    pub(crate) in_doubt: u64,
}
