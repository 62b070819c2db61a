//! What the application wants of a namespace, and what a namespace tells.

use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::{
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        error::{AckError, Unsendable},
        reason::Reason,
        refusal::Refusal,
        round_trips::RoundTrips,
    },
};

/// An event to be sent.
#[derive(Debug)]
pub(crate) struct Request<W> {
    pub(crate) emit: Emit,
    pub(crate) permit: Option<SendPermit>,
    pub(crate) offline: Offline,
    /// When it must not be sent any more.
    pub(crate) expires: Option<Instant>,
    pub(crate) ack: Option<PendingAck<W>>,
}

/// The wait for the answer to an event.
#[derive(Debug)]
pub(crate) struct PendingAck<W> {
    pub(crate) waiter: W,
    pub(crate) since: Instant,
    pub(crate) timeout: Duration,
    /// How often the event is sent again.
    pub(crate) retries: u32,
    /// By which the server recognises it then, in JSON.
    pub(crate) id: Option<String>,
}

/// What a namespace tells.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<W> {
    /// `recovered`: the server goes on with the session before.
    Ready { sid: ByteString, recovered: bool },
    /// `is_recoverable`: it has an offset.
    Received { id: Option<u64>, payload: Payload, is_recoverable: bool },
    /// It was not joined. Unless it is tried again, it will not be.
    ConnectError(Reason),
    /// It was joined, and is not any more.
    Disconnected(Reason),
    /// An emit got its outcome.
    Answered(W, Result<Payload, AckError>),
    /// Attempt number `attempt` to join is made after `delay`, because of `reason`.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// As many attempts to join were made as are allowed.
    GaveUp { attempts: u32, reason: Reason },
    /// It needs a connection, the one there is or another.
    Rejoin,
    /// There may be credentials, and the server does not take any here.
    AuthUnused,
    /// The server has joined it twice on the connection of that number, which has to be replaced.
    JoinedTwice { epoch: u64 },
    /// The server reported an error, and the namespace stays joined.
    ServerError(Refusal),
    /// The connection was lost right behind this event.
    Suspected(Unsendable),
    /// An event is not sent any more, since the connection is lost each time.
    Unsendable(Unsendable),
    /// An event or an answer was not sent, because the server would close the connection over it.
    TooLarge { size: u64, limit: u64 },
}

/// What happened, in numbers, since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events that came.
    pub(crate) received: u64,
    /// Events that came again after a session was recovered, and were dropped.
    pub(crate) repeated: u64,
    /// Answers that nobody waited for any more.
    pub(crate) late: u64,
    /// Events whose place another one has taken.
    pub(crate) replaced: u64,
    /// Events that were sent once more.
    pub(crate) resent: u64,
    /// Emits whose answer never came, though they were sent.
    pub(crate) unanswered: u64,
    /// Answers,
    pub(crate) acked: u64,
    /// and how long they took.
    pub(crate) round_trips: RoundTrips,
}
