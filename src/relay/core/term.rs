//! The time for which a worker holds an upstream.

use std::time::{Duration, Instant};

use super::{
    buffer::Batch,
    late::Late,
    lease::Lifetime,
    question::{Pid, Resume},
    writer::Writer,
};
use crate::relay::engine::{Lease, Record};

/// The end of the id of a holder's last record, if it has closed its session itself: the server knows that it is free.
const END: &str = "/end";
/// The same, if the server was out of reach.
const AWAY: &str = "/away";

#[derive(Debug)]
pub(super) struct Term {
    pub(super) lease: Lease,
    pub(super) life: Lifetime,
    pub(super) writer: Writer,
    /// Of the next record.
    pub(super) number: u64,
    pub(super) stage: Stage,
    /// How many events the record has that is being stored, and its bound for the offset.
    pub(super) batch: Option<Batch>,
    /// Is to be kept for the next holder.
    pub(super) pid: Option<Pid>,
    /// Is kept, or is being kept.
    pub(super) kept: Option<Pid>,
    pub(super) keep_at: Instant,
    /// What the session that this holder has begun has missed.
    pub(super) late: Option<Late>,
    /// The engine was away when it was to be kept. Until it is, no events are stored: the next holder could not continue behind
    /// them.
    pub(super) lacks_ticket: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Fencing,
    /// To be asked for the ticket when the time has come.
    Ticket(Instant),
    Dialling {
        resume: Option<Resume>,
        may_retry: bool,
    },
    WaitingForServer {
        until: Instant,
        resume: Resume,
    },
    Open,
    Draining {
        until: Instant,
    },
    Flushing {
        until: Instant,
    },
    Ending {
        until: Instant,
    },
    Releasing,
}

impl Stage {
    /// There is to be a connection.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self, Self::Dialling { .. } | Self::Open)
    }
}

impl Term {
    /// Its first record is the mark, which shuts out the holder before. A failed append is tried again after the pause.
    pub(super) fn new(
        now: Instant,
        upstream: &str,
        lease: Lease,
        life: Lifetime,
        mark: String,
        pause: Duration,
    ) -> Self {
        let mark = mark_record(format!("{upstream}/{}/0", lease.fence), lease.fence, mark);
        Self {
            writer: Writer::new(now, mark, pause),
            lease,
            life,
            number: 1,
            stage: Stage::Fencing,
            batch: None,
            pid: None,
            kept: None,
            keep_at: now,
            late: None,
            lacks_ticket: false,
        }
    }

    /// The holder before has let go of the session by itself, so the server knows that it is free.
    pub(super) fn went_in_order(&self) -> bool {
        self.writer.predecessor().is_some_and(|head| head.id.ends_with(END))
    }

    pub(super) fn submit(&mut self, now: Instant, upstream: &str, batch: Batch) {
        let Batch { body, count, offset } = batch;
        let record = Record {
            id: format!("{upstream}/{}/{}", self.lease.fence, self.number),
            fence: self.lease.fence,
            offset: offset.clone(),
            count,
            body: body.into(),
        };
        self.number = self.number.saturating_add(1);
        self.batch = Some(Batch { body: String::new(), count, offset });
        self.writer.submit(now, record);
    }

    /// The mark is the last record.
    pub(super) fn end(&mut self, now: Instant, upstream: &str, mark: String, is_away: bool) {
        let fence = self.lease.fence;
        let end = if is_away { AWAY } else { END };
        self.writer.submit(now, mark_record(format!("{upstream}/{fence}{end}"), fence, mark));
    }
}

fn mark_record(id: String, fence: u64, mark: String) -> Record {
    Record { id, fence, offset: None, count: 0, body: mark.into() }
}
