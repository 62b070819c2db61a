//! What a connection wants done, and what it reports.

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
    /// Drop the transport, if there is one, and dial.
    Dial(Protocol),
    /// Write what is queued, close the transport, and report it as lost.
    Close,
    /// Drop the transport now.
    Drop,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A server of revision 3 has been found. It joins `/`, or not, and may send packets there before;
    /// all other namespaces wait.
    Greeted(Session),
    /// Namespaces may join.
    Opened(Session),
    /// A packet of the current session.
    Packet(Packet),
    /// An old server sent an invalid event or answer, which is skipped.
    Unreadable(ProtocolError),
    /// An old server refused `/`, and with it all namespaces that wait.
    Refused(Reason),
    /// The connection was lost, or could not be made. `again`: the client tries again. What was not
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
    /// The namespace may send its request now.
    Now(Session),
    /// The server has joined the namespace already.
    Joined(Session),
    /// The namespace waits for [`Event::Opened`].
    Later,
}

/// What happened since the counts were last taken.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events handed to the transport.
    pub(crate) events: u64,
    /// Answers handed to the transport.
    pub(crate) answers: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Events that a later one has replaced.
    pub(crate) replaced: u64,
    /// Events that were written to a connection before it was lost, and perhaps not read.
    pub(crate) in_doubt: u64,
}
