//! What the application asks of a namespace, and what the namespace reports.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::retries::Message;
use crate::{
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        error::{AckError, EmitError, Unsendable},
        reason::Reason,
        refusal::Refusal,
        round_trips::NewTrips,
    },
};

/// An event to be sent.
#[derive(Debug)]
pub(crate) struct Request<W> {
    pub(crate) emit: Emit,
    pub(crate) permit: Option<SendPermit>,
    pub(crate) offline: Offline,
    /// After this, it must not be sent.
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
    /// The id by which the server recognises repeats, in JSON.
    pub(crate) id: Option<String>,
}

/// What a namespace reports.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<W> {
    /// `recovered`: the server continues the previous session.
    Ready { sid: ByteString, recovered: bool },
    /// `is_recoverable`: it has an offset.
    Received { id: Option<u64>, payload: Payload, is_recoverable: bool },
    /// It was not joined. Unless another attempt follows, it stays so.
    ConnectError(Reason),
    /// It was joined, and is no longer.
    Disconnected(Reason),
    /// An emit got its outcome.
    Answered(W, Result<Payload, AckError>),
    /// Attempt number `attempt` to join is made after `delay`, because of `reason`.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// As many attempts to join were made as are allowed.
    GaveUp { attempts: u32, reason: Reason },
    /// It needs a connection, the current one or a new one.
    Rejoin,
    /// There may be credentials, and the server does not accept any here.
    AuthUnused,
    /// The server has joined it twice on the connection with that number, which must be replaced.
    JoinedTwice { epoch: u64 },
    /// The server reported an error, and the namespace stays joined.
    ServerError(Refusal),
    /// The connection was lost right after this event.
    Suspected(Unsendable),
    /// An event is not sent any more, since the connection is lost each time.
    Unsendable(Unsendable),
    /// An event or an answer was not sent, because the server would close the connection over it.
    TooLarge { size: u64, limit: u64 },
}

/// What happened since the counts were last taken.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events that came.
    pub(crate) received: u64,
    /// Events that came again after a session was recovered, and were dropped.
    pub(crate) repeated: u64,
    /// Answers that nobody waited for any more.
    pub(crate) late: u64,
    /// Events that a later one has replaced.
    pub(crate) replaced: u64,
    /// Events that were sent again.
    pub(crate) resent: u64,
    /// Emits that were sent, but whose answer never came.
    pub(crate) unanswered: u64,
    /// Answers,
    pub(crate) acked: u64,
    /// and how long they took.
    pub(crate) round_trips: NewTrips,
}

/// What a namespace reports, in order.
#[derive(Debug)]
pub(super) struct Reports<W> {
    pub(super) events: VecDeque<Event<W>>,
    pub(super) tally: Tally,
}

impl<W> Reports<W> {
    pub(super) fn new() -> Self {
        Self { events: VecDeque::new(), tally: Tally::default() }
    }

    #[inline]
    pub(super) fn tell(&mut self, event: Event<W>) {
        self.events.push_back(event);
    }

    /// An emit fails: either it was sent and not answered (`Ok`), or it was not sent (`Err`).
    pub(super) fn fail(&mut self, waiter: W, error: Result<AckError, EmitError>) {
        let error = match error {
            Ok(error) => {
                self.tally.unanswered = self.tally.unanswered.saturating_add(1);
                error
            }
            Err(error) => AckError::NeverSent(error),
        };
        self.tell(Event::Answered(waiter, Err(error)));
    }

    /// The same for an emit with retries.
    pub(super) fn fail_message(&mut self, message: Message<W>, sent: AckError, unsent: EmitError) {
        let was_sent = message.was_sent();
        let Message { waiter, permit, .. } = message;
        match permit {
            // It is counted as unanswered, not as discarded.
            Some(permit) if was_sent => permit.settled(),
            Some(permit) => permit.refuse(&unsent),
            None => {}
        }
        self.fail(waiter, if was_sent { Ok(sent) } else { Err(unsent) });
    }
}
