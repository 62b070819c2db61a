//! One upstream in one worker: from waiting for its turn to letting go.
//!
//! ```text
//!  waiting ──► acquiring ──► fencing ──► ticket ──► dialling ──► open ──► draining ─► flushing ─► ending ─► releasing
//!     ▲                                              │   ▲                                                      │
//!     │                                              ▼   │                                                      │
//!     │                                      until the server has noticed                                       │
//!     └──── the lease was not renewed in time, or another one writes (from everywhere) ◄────────────────────────┘
//! ```
//!
//! Two questions to the engine are open at once: one about the lease, and one about the log or the ticket. An answer that does not
//! come in time is none: what was asked may have been done, or may still be.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    buffer::{Batch, Bounds, Buffer, Line, WhenFull},
    late::{Late, Step},
    lease::Lifetime,
    placement::Place,
    question::{Answer, Call, Kind, Pid, Question, Resume},
    reach::Reach,
    term::{Stage, Term},
    writer::{Ask, Progress},
};
use crate::{
    proto::deadline::deadline_after,
    relay::{
        engine::{EngineError, Lease},
        record::{Gap, Mark, mark_line},
    },
};

/// What a holder goes by.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) upstream: String,
    pub(crate) worker: String,
    pub(crate) lease_time: Duration,
    pub(crate) bounds: Bounds,
    pub(crate) when_full: WhenFull,
    /// Where a session is not recovered at once, to wait until the server has noticed that the holder before
    /// is gone, and try again. Otherwise, what was missed is fetched then.
    pub(crate) is_ordered: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Ask the engine, and bring the answer with this number.
    Ask { number: u64, question: Question },
    /// Connect to the upstream.
    Dial { resume: Option<Resume> },
    /// Listen to the commands for the upstream, with this lease.
    Serve(Lease),
    /// Take no more commands.
    StopServing,
    /// Close the connection, without leaving the namespace. With `drain`, give all that has come, and then say that it is
    /// [closed](Holder::handle_closed); or else forget it.
    Close { drain: bool },
    /// Make a second connection, to the old session, and give what comes as [old](Holder::handle_old_line).
    Fetch { resume: Resume },
    /// End that one.
    EndFetch,
    /// See whether the server can be reached, and [say it](Holder::handle_probed).
    Probe,
}

/// What a holder has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events that were stored.
    pub(crate) events: u64,
    /// Records with events or marks of gaps that were stored.
    pub(crate) batches: u64,
    /// Leases that were taken.
    pub(crate) takeovers: u64,
    /// Leases that were handed over in order.
    pub(crate) handed_over: u64,
    /// Leases that were lost.
    pub(crate) lost: u64,
    /// Questions to the engine that failed.
    pub(crate) failures: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    /// It has the lease, and is not joined yet.
    Taking,
    Open,
    Leaving,
    Stopped,
}

#[derive(Debug)]
enum Phase {
    Waiting(Waiting),
    Holding(Box<Term>),
    Stopped,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// When to ask next.
    next: Instant,
    /// Nobody was seen to hold it since then.
    free_since: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Holder {
    terms: Terms,
    phase: Phase,
    place: Option<Place>,
    reach: Reach,
    /// Not to be taken before: it was handed over.
    not_before: Instant,
    /// There is to be no next term.
    is_stopping: bool,
    buffer: Buffer,
    lease_call: Option<Call>,
    log_call: Option<Call>,
    number: u64,
    outputs: VecDeque<Output>,
    counts: Counts,
    /// The last failure, and of which question, until such a question does not fail.
    last_error: Option<(Kind, EngineError)>,
    /// A moment, and what the time of day was then, in milliseconds since 1970.
    wall: (Instant, u64),
    random: u64,
}

impl Holder {
    /// `at` is the time of day, in milliseconds since 1970.
    pub(crate) fn new(terms: Terms, now: Instant, at: u64, seed: u64) -> Self {
        let buffer = Buffer::new(terms.bounds, terms.when_full);
        let reach = Reach::new(terms.lease_time);
        Self {
            terms,
            phase: Phase::Waiting(Waiting { next: now, free_since: None }),
            place: None,
            reach,
            not_before: now,
            is_stopping: false,
            buffer,
            lease_call: None,
            log_call: None,
            number: 0,
            outputs: VecDeque::new(),
            counts: Counts::default(),
            last_error: None,
            wall: (now, at),
            random: seed,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Waiting(_) => Standing::Waiting,
            Phase::Stopped => Standing::Stopped,
            Phase::Holding(term) => match term.stage {
                Stage::Fencing
                | Stage::Ticket(_)
                | Stage::Dialling { .. }
                | Stage::WaitingForServer { .. } => Standing::Taking,
                Stage::Open => Standing::Open,
                Stage::Draining { .. }
                | Stage::Flushing { .. }
                | Stage::Ending { .. }
                | Stage::Releasing => Standing::Leaving,
            },
        }
    }

    pub(crate) fn worker(&self) -> &str {
        &self.terms.worker
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    pub(crate) fn last_error(&self) -> Option<&EngineError> {
        self.last_error.as_ref().map(|(_, error)| error)
    }

    /// Sequence and offset of the last record that this holder has stored.
    pub(crate) fn end(&self) -> Option<&super::writer::End> {
        match &self.phase {
            Phase::Holding(term) => Some(term.writer.end()),
            Phase::Waiting(_) | Phase::Stopped => None,
        }
    }

    /// Whether more events are welcome.
    pub(crate) fn has_room(&self) -> bool {
        self.terms.when_full != WhenFull::Hold || self.buffer.has_room()
    }

    /// The place of this worker among those that may take the upstream. Without one it does not.
    pub(crate) fn set_place(&mut self, now: Instant, place: Option<Place>) {
        let is_first = |place: Option<Place>| place.is_some_and(|place| place.rank == 0);
        let before = std::mem::replace(&mut self.place, place);
        if let Phase::Waiting(waiting) = &mut self.phase
            && is_first(place)
            && !is_first(before)
        {
            waiting.next = now;
        }
        self.advance(now);
    }

    /// Others are to hold it, if there are any: this worker cannot reach the server.
    pub(crate) fn is_aside(&self) -> bool {
        self.reach.is_aside()
    }

    /// Whether the server was reached, after [`Output::Probe`].
    pub(crate) fn handle_probed(&mut self, now: Instant, is_reached: bool) {
        self.reach.probed(now, is_reached);
        self.advance(now);
    }

    /// Lets another worker have it, in order, within this time.
    pub(crate) fn hand_over(&mut self, now: Instant, within: Duration) {
        let until = deadline_after(now, within);
        if let Phase::Holding(term) = &mut self.phase {
            match term.stage {
                Stage::Fencing
                | Stage::Ticket(_)
                | Stage::Dialling { resume: Some(_), .. }
                | Stage::WaitingForServer { .. } => {
                    self.outputs.extend([Output::StopServing, Output::Close { drain: false }]);
                    // The session is not this one's yet: the next one has to find out for itself.
                    self.buffer.clear();
                    term.stage = Stage::Releasing;
                }
                Stage::Dialling { resume: None, .. } | Stage::Open => {
                    self.outputs.extend([Output::StopServing, Output::Close { drain: true }]);
                    self.outputs.extend(term.late.take().map(|_| Output::EndFetch));
                    term.stage = Stage::Draining { until };
                }
                Stage::Draining { .. }
                | Stage::Flushing { .. }
                | Stage::Ending { .. }
                | Stage::Releasing => {}
            }
        }
        self.advance(now);
    }

    /// Like [`hand_over`](Self::hand_over), and for good.
    pub(crate) fn stop(&mut self, now: Instant, within: Duration) {
        self.is_stopping = true;
        self.hand_over(now, within);
    }

    /// The upstream is joined. `silence` is the time after which the server notices that a client is gone.
    pub(crate) fn handle_ready(&mut self, now: Instant, recovered: bool, silence: Duration) {
        let old = if recovered { None } else { self.old_session(now, silence) };
        match old {
            Some((until, resume)) if self.terms.is_ordered => {
                let Phase::Holding(term) = &mut self.phase else { return };
                term.stage = Stage::WaitingForServer { until, resume };
                self.reach.found();
                self.outputs.push_back(Output::Close { drain: false });
            }
            old => self.join(recovered, old),
        }
        self.advance(now);
    }

    /// `old` is a session that may go on later.
    fn join(&mut self, recovered: bool, old: Option<(Instant, Resume)>) {
        let Phase::Holding(term) = &mut self.phase else { return };
        let (is_joining, goes_on) = match &term.stage {
            Stage::Dialling { resume, .. } => {
                (true, resume.is_some() || term.writer.predecessor().is_some())
            }
            Stage::Open | Stage::Draining { .. } => (false, true),
            _ => return,
        };
        if !recovered && goes_on {
            self.buffer.push_gap(Gap::NewSession, None);
            // A mark that it is filled speaks of the last gap.
            self.outputs.extend(term.late.take().map(|_| Output::EndFetch));
        }
        if term.stage.is_connecting() {
            self.reach.found();
            if let Some((until, resume)) = old {
                term.late = Some(Late::new(resume, until, self.terms.bounds));
            }
        }
        if is_joining {
            term.stage = Stage::Open;
            self.outputs.push_back(Output::Serve(term.lease.clone()));
        }
    }

    /// Until when the server may take the session for one that is connected, and where to go on with it then.
    fn old_session(&self, now: Instant, silence: Duration) -> Option<(Instant, Resume)> {
        let Phase::Holding(term) = &self.phase else { return None };
        let pid = match &term.stage {
            Stage::Dialling { resume: Some(resume), may_retry: true } => resume.pid.clone(),
            // The connection broke, and perhaps only this end knows. A new session is there, so it is not waited for.
            Stage::Open if !self.terms.is_ordered => term.pid.clone()?,
            _ => return None,
        };
        // What came before the connection broke is not to come again.
        let stored = || term.writer.end().offset.as_ref();
        let batch = || term.batch.as_ref().and_then(|batch| batch.offset.as_ref());
        let offset = self.buffer.last_offset().or_else(batch).or_else(stored)?.clone();
        let resume = Resume { pid, offset };
        let until = deadline_after(self.reach.gone_at()?, silence);
        (now < until).then_some((until, resume))
    }

    /// The upstream is not joined any more, or could not be.
    pub(crate) fn handle_gone(&mut self, now: Instant) {
        if let Phase::Holding(term) = &self.phase
            && term.stage.is_connecting()
        {
            self.reach.lost(now);
        }
    }

    /// An event came.
    pub(crate) fn handle_line(&mut self, now: Instant, line: Line) {
        if !self.takes_events() {
            return;
        }
        self.reach.heard(now);
        if let (Some(late), Some(offset)) = (self.late(), &line.offset)
            && late.handle_live(offset)
        {
            return;
        }
        self.buffer.push(line);
        self.advance(now);
    }

    /// An event of the old session came.
    pub(crate) fn handle_old_line(&mut self, line: Line) {
        if let Some(late) = self.late() {
            late.handle_line(line);
        }
    }

    /// The old session is joined; or a new one, if it is not `recovered`.
    pub(crate) fn handle_old_ready(&mut self, now: Instant, recovered: bool) {
        if let Some(late) = self.late() {
            let step = late.handle_ready(now, recovered);
            if step == Step::Nothing {
                self.outputs.push_back(Output::EndFetch);
            }
            self.take_step(step);
            self.advance(now);
        }
    }

    fn late(&mut self) -> Option<&mut Late> {
        let Phase::Holding(term) = &mut self.phase else { return None };
        term.late.as_mut()
    }

    fn take_step(&mut self, step: Step) {
        let Phase::Holding(term) = &mut self.phase else { return };
        match step {
            Step::Nothing => {}
            Step::Fetch(resume) => self.outputs.push_back(Output::Fetch { resume }),
            Step::GiveUp => {
                term.late = None;
                self.outputs.push_back(Output::EndFetch);
            }
        }
    }

    /// Gives what was missed to the log, as far as there is room.
    fn give_late(&mut self, now: Instant) {
        let at = self.at(now);
        let Some(late) = self.late() else { return };
        let step = late.handle_timeout(now);
        self.take_step(step);
        let Phase::Holding(term) = &mut self.phase else { return };
        let Some(late) = &mut term.late else { return };
        while self.buffer.has_room()
            && let Some(line) = late.next()
        {
            self.buffer.push(line);
        }
        if let Some(events) = late.filled() {
            self.buffer.push_mark(mark_line(at, &Mark::Filled { events }));
        }
        if late.is_over() {
            term.late = None;
        }
    }

    /// Events did not come, because this worker was too slow.
    pub(crate) fn handle_lagged(&mut self, now: Instant, missed: u64) {
        if self.takes_events() {
            self.buffer.push_gap(Gap::Lagged, Some(missed));
            self.advance(now);
        }
    }

    fn takes_events(&self) -> bool {
        let Phase::Holding(term) = &self.phase else { return false };
        matches!(term.stage, Stage::Dialling { .. } | Stage::Open | Stage::Draining { .. })
    }

    /// The session has this private id. To be said before its first event is given, or that may be stored before the id is kept.
    pub(crate) fn handle_pid(&mut self, now: Instant, pid: Pid) {
        let is_open = self.takes_events();
        if let Phase::Holding(term) = &mut self.phase
            && is_open
            && term.pid.as_ref() != Some(&pid)
        {
            term.pid = Some(pid);
            term.keep_at = now;
            self.advance(now);
        }
    }

    /// The connection is closed, and all that has come was given.
    pub(crate) fn handle_closed(&mut self, now: Instant) {
        if let Phase::Holding(term) = &mut self.phase
            && let Stage::Draining { until } = term.stage
        {
            term.stage = Stage::Flushing { until };
            self.advance(now);
        }
    }

    pub(crate) fn handle_answer(&mut self, now: Instant, number: u64, answer: Answer) {
        if self.lease_call.is_some_and(|call| call.number == number) {
            if let Some(call) = self.lease_call.take() {
                self.lease_answer(now, call, answer);
            }
        } else if self.log_call.is_some_and(|call| call.number == number) {
            self.log_call = None;
            self.log_answer(now, answer);
        } else if let Answer::Acquire(Ok(Some(lease))) = answer {
            // It came too late to count from when it was asked for.
            self.ask_aside(Question::Release(lease));
        }
        self.advance(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let late = |call: &mut Option<Call>, limit: Duration| {
            call.take_if(|call| deadline_after(call.began, limit) <= now)
        };
        let limit = self.call_limit();
        if let Some(call) = late(&mut self.lease_call, limit) {
            self.lease_answer(now, call, call.kind.unanswered());
        }
        if let Some(call) = late(&mut self.log_call, limit) {
            self.log_answer(now, call.kind.unanswered());
        }
        self.advance(now);
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let limit = self.call_limit();
        let calls = [&self.lease_call, &self.log_call];
        let calls = calls.into_iter().flatten().map(|call| deadline_after(call.began, limit));
        let phase = match &self.phase {
            Phase::Waiting(waiting) => {
                let is_due = self.place.is_some() && self.lease_call.is_none();
                let next = is_due.then_some(waiting.next.max(self.not_before));
                [next, self.reach.probe_at(), None, None, None, None, None]
            }
            Phase::Stopped => [None; 7],
            Phase::Holding(term) => {
                let stage = match term.stage {
                    Stage::Ticket(at) => self.log_call.is_none().then_some(at),
                    Stage::WaitingForServer { until, .. }
                    | Stage::Draining { until }
                    | Stage::Flushing { until }
                    | Stage::Ending { until } => Some(until),
                    Stage::Fencing | Stage::Dialling { .. } | Stage::Open | Stage::Releasing => {
                        None
                    }
                };
                let is_free = self.log_call.is_none() && term.stage != Stage::Releasing;
                let keep = is_free && term.writer.is_idle() && term.pid != term.kept;
                [
                    stage,
                    Some(term.life.end()),
                    self.lease_call.is_none().then(|| term.life.renew_at()),
                    term.writer.poll_timeout().filter(|_| is_free),
                    keep.then_some(term.keep_at),
                    term.late.as_ref().and_then(Late::poll_timeout),
                    self.given_up_at(term),
                ]
            }
        };
        phase.into_iter().flatten().chain(calls).min()
    }

    /// The time after which an answer does not count any more.
    fn call_limit(&self) -> Duration {
        self.terms.lease_time / 5
    }

    fn lease_answer(&mut self, now: Instant, call: Call, answer: Answer) {
        self.note(&answer);
        match (&mut self.phase, answer) {
            (Phase::Waiting(_), Answer::Holder(holder)) => self.seen(now, &holder),
            (Phase::Waiting(_), Answer::Acquire(Ok(Some(lease)))) => self.begin(now, call, lease),
            (Phase::Waiting(waiting), Answer::Acquire(Ok(None))) => {
                waiting.free_since = None;
                self.wait(now);
            }
            (Phase::Waiting(_), Answer::Acquire(Err(_))) => self.wait(now),
            (Phase::Holding(term), Answer::Renew(Ok(Some(lease)))) => {
                term.lease = lease;
                term.life.renewed();
            }
            (Phase::Holding(_), Answer::Renew(Ok(None))) => self.lose(now),
            // If the release has failed, it lapses by itself.
            (Phase::Holding(_), Answer::Release(_)) => self.released(now),
            (_, Answer::Acquire(Ok(Some(lease)))) => {
                self.ask_aside(Question::Release(lease));
            }
            _ => {}
        }
    }

    fn log_answer(&mut self, now: Instant, answer: Answer) {
        self.note(&answer);
        let Phase::Holding(term) = &mut self.phase else { return };
        let pause = self.terms.lease_time / 15;
        let progress = match answer {
            Answer::Head(head) => term.writer.handle_head(now, head),
            Answer::Append(answer) => term.writer.handle_append(now, answer),
            Answer::Ticket(ticket) => {
                // It may have been handed over meanwhile.
                if let Stage::Ticket(ask_at) = &mut term.stage {
                    *ask_at = deadline_after(now, pause);
                    if let Ok(pid) = ticket {
                        self.begin_session(now, pid);
                    }
                }
                Progress::Nothing
            }
            Answer::KeepTicket(kept) => {
                term.lacks_ticket = matches!(kept, Err(EngineError::Away(_)));
                if kept.is_err() {
                    term.kept = None;
                    term.keep_at = deadline_after(now, pause);
                }
                Progress::Nothing
            }
            Answer::Holder(_) | Answer::Acquire(_) | Answer::Renew(_) | Answer::Release(_) => {
                return;
            }
        };
        match progress {
            Progress::Nothing => {}
            Progress::Stored => self.stored(now),
            Progress::TooLarge => self.too_large(now),
            Progress::Out => self.lose(now),
        }
    }

    /// Keeps the failure for those who ask, or sees that there is none any more.
    fn note(&mut self, answer: &Answer) {
        let (kind, failure) = answer.outcome();
        if let Some(error) = failure {
            self.counts.failures = self.counts.failures.saturating_add(1);
            self.last_error = Some((kind, error.clone()));
        } else if let Phase::Waiting(_) = self.phase {
            // What failed in an earlier term is over.
            self.last_error = None;
        } else {
            self.last_error.take_if(|(failed, _)| *failed == kind);
        }
    }

    /// Somebody or nobody holds the upstream.
    fn seen(&mut self, now: Instant, holder: &Result<Option<String>, EngineError>) {
        let Phase::Waiting(waiting) = &mut self.phase else { return };
        match holder {
            Ok(None) => {
                let since = *waiting.free_since.get_or_insert(now);
                let rank = self.place.map_or(0, |place| place.rank);
                let rank = u32::try_from(rank).unwrap_or(u32::MAX);
                waiting.next =
                    deadline_after(since, self.terms.lease_time.saturating_mul(4) / 15 * rank);
            }
            Ok(Some(_)) => {
                waiting.free_since = None;
                self.wait(now);
            }
            Err(_) => self.wait(now),
        }
    }

    /// Asks again after two to four fifteenths of the lease time.
    fn wait(&mut self, now: Instant) {
        let unit = self.terms.lease_time / 15;
        let draw = u32::try_from(self.draw() >> 48).unwrap_or_default();
        let jitter = unit.saturating_mul(2).saturating_mul(draw) / (1 << 16);
        let next = deadline_after(now, unit.saturating_mul(2).saturating_add(jitter));
        if let Phase::Waiting(waiting) = &mut self.phase {
            waiting.next = next;
        }
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    /// The lease is this one's.
    fn begin(&mut self, now: Instant, call: Call, lease: Lease) {
        self.counts.takeovers = self.counts.takeovers.saturating_add(1);
        let life = Lifetime::new(self.terms.lease_time, call.began);
        let mark = mark_line(self.at(now), &Mark::Holder { worker: self.terms.worker.clone() });
        let term =
            Term::new(now, &self.terms.upstream, lease, life, mark, self.terms.lease_time / 15);
        self.phase = Phase::Holding(Box::new(term));
        self.log_call = None;
    }

    /// The record that was given to the writer is in the log.
    fn stored(&mut self, now: Instant) {
        let Phase::Holding(term) = &mut self.phase else { return };
        if let Some(batch) = term.batch.take() {
            self.counts.batches = self.counts.batches.saturating_add(1);
            self.counts.events = self.counts.events.saturating_add(u64::from(batch.count));
            return;
        }
        match term.stage {
            Stage::Fencing => term.stage = Stage::Ticket(now),
            Stage::Ending { .. } => {
                term.stage = Stage::Releasing;
                self.counts.handed_over = self.counts.handed_over.saturating_add(1);
            }
            _ => {}
        }
    }

    /// A mark says that the events of the batch are missing.
    fn too_large(&mut self, now: Instant) {
        let at = self.at(now);
        let Phase::Holding(term) = &mut self.phase else { return };
        let Some(batch) = term.batch.take().filter(|batch| batch.count > 0) else {
            return self.lose(now);
        };
        let mark = Mark::Gap { gap: Gap::TooLarge, missed: Some(u64::from(batch.count)) };
        let batch = Batch { body: mark_line(at, &mark), count: 0, offset: batch.offset };
        term.submit(now, &self.terms.upstream, batch);
    }

    /// When others are to try in place of this one, if the server stays out of reach.
    fn given_up_at(&self, term: &Term) -> Option<Instant> {
        let others = self.place.is_none_or(|place| place.is_shared);
        self.reach.limit().filter(|_| others && term.stage.is_connecting())
    }

    /// Dials for the first time in this term.
    fn begin_session(&mut self, now: Instant, pid: Option<Pid>) {
        let Phase::Holding(term) = &mut self.phase else { return };
        let resume = pid.zip(term.writer.end().offset.clone());
        let resume = resume.map(|(pid, offset)| Resume { pid, offset });
        let may_retry = !term.went_in_order();
        term.pid = resume.as_ref().map(|resume| resume.pid.clone());
        term.kept.clone_from(&term.pid);
        self.dial(now, resume, may_retry);
    }

    fn dial(&mut self, now: Instant, resume: Option<Resume>, may_retry: bool) {
        let Phase::Holding(term) = &mut self.phase else { return };
        self.reach.lost(now);
        term.stage = Stage::Dialling { resume: resume.clone(), may_retry };
        self.outputs.push_back(Output::Dial { resume });
    }

    /// The right to hold it is gone, or may be.
    fn lose(&mut self, now: Instant) {
        let Phase::Holding(term) = &self.phase else { return };
        self.counts.lost = self.counts.lost.saturating_add(1);
        let lease = term.lease.clone();
        self.outputs.extend([Output::StopServing, Output::Close { drain: false }]);
        self.outputs.extend(term.late.as_ref().map(|_| Output::EndFetch));
        self.leave(now);
        // Where it is still this one's, the others need not wait until it lapses.
        self.ask_aside(Question::Release(lease));
    }

    fn released(&mut self, now: Instant) {
        self.not_before = deadline_after(now, self.terms.lease_time);
        self.leave(now);
    }

    fn leave(&mut self, now: Instant) {
        self.reach.pause();
        if self.reach.is_aside() {
            self.not_before = deadline_after(now, self.terms.lease_time);
        }
        self.buffer.clear();
        self.lease_call = None;
        self.log_call = None;
        self.phase = Phase::Waiting(Waiting { next: now, free_since: None });
        self.wait(now);
    }

    /// Does what can be done by now.
    fn advance(&mut self, now: Instant) {
        match &self.phase {
            Phase::Waiting(_) if self.is_stopping => self.phase = Phase::Stopped,
            Phase::Waiting(waiting) => {
                let waiting = *waiting;
                if self.reach.probe_at().is_some_and(|at| at <= now) {
                    self.reach.probe();
                    self.outputs.push_back(Output::Probe);
                }
                self.ask_for_it(now, waiting);
            }
            Phase::Holding(term) if term.life.is_over(now) => {
                self.lose(now);
                if self.is_stopping {
                    self.phase = Phase::Stopped;
                }
            }
            Phase::Holding(term) if self.given_up_at(term).is_some_and(|at| at <= now) => {
                self.reach.give_up(now);
                self.hand_over(now, self.terms.lease_time);
            }
            Phase::Holding(_) => self.hold(now),
            Phase::Stopped => {}
        }
    }

    fn ask_for_it(&mut self, now: Instant, waiting: Waiting) {
        let is_due = waiting.next.max(self.not_before) <= now;
        let (Some(Place { rank, .. }), true, None) = (self.place, is_due, self.lease_call) else {
            return;
        };
        let step = self.terms.lease_time.saturating_mul(4) / 15;
        let rank_time = step.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
        let is_turn =
            waiting.free_since.is_some_and(|since| deadline_after(since, rank_time) <= now);
        let (kind, question) = if rank == 0 || is_turn {
            (Kind::Acquire, Question::Acquire)
        } else {
            (Kind::Holder, Question::Holder)
        };
        self.lease_call = Some(self.ask(now, kind, question));
    }

    fn ask(&mut self, now: Instant, kind: Kind, question: Question) -> Call {
        let number = self.ask_aside(question);
        Call { number, kind, began: now }
    }

    /// Asks for something without waiting for the answer.
    fn ask_aside(&mut self, question: Question) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.outputs.push_back(Output::Ask { number: self.number, question });
        self.number
    }

    fn hold(&mut self, now: Instant) {
        self.pass_stages(now);
        self.give_late(now);
        let Phase::Holding(term) = &mut self.phase else { return };
        if self.lease_call.is_none() {
            let (kind, question) = match term.stage {
                Stage::Releasing => (Kind::Release, Question::Release(term.lease.clone())),
                _ if term.life.renew_at() <= now => {
                    term.life.note_try(now);
                    (Kind::Renew, Question::Renew(term.lease.clone()))
                }
                _ => return self.write(now),
            };
            self.lease_call = Some(self.ask(now, kind, question));
        }
        self.write(now);
    }

    /// What only time or an empty buffer decides.
    fn pass_stages(&mut self, now: Instant) {
        let at = self.at(now);
        let Phase::Holding(term) = &mut self.phase else { return };
        match &term.stage {
            Stage::WaitingForServer { until, resume } if *until <= now => {
                let resume = Some(resume.clone());
                self.dial(now, resume, false);
            }
            Stage::Draining { until } if *until <= now => {
                self.outputs.push_back(Output::Close { drain: false });
                term.stage = Stage::Releasing;
            }
            Stage::Flushing { until } | Stage::Ending { until } if *until <= now => {
                term.stage = Stage::Releasing;
            }
            // The next holder needs the ticket, too.
            Stage::Flushing { until }
                if self.buffer.is_empty()
                    && term.writer.is_idle()
                    && self.log_call.is_none()
                    && term.pid == term.kept =>
            {
                term.stage = Stage::Ending { until: *until };
                let mark = Mark::Left { worker: self.terms.worker.clone() };
                let is_away = self.reach.gone_at().is_some();
                term.end(now, &self.terms.upstream, mark_line(at, &mark), is_away);
            }
            _ => {}
        }
    }

    /// Asks the engine about the log or the ticket.
    fn write(&mut self, now: Instant) {
        let at = self.at(now);
        let Phase::Holding(term) = &mut self.phase else { return };
        if self.log_call.is_some() {
            return;
        }
        let (kind, question) = match &term.stage {
            Stage::Releasing => return,
            Stage::Ticket(ask_at) if *ask_at <= now => (Kind::Ticket, Question::Ticket),
            _ => {
                let may_keep = term.keep_at <= now && term.writer.is_idle();
                if let Some(pid) = term.pid.clone().filter(|_| may_keep && term.pid != term.kept) {
                    term.kept = Some(pid.clone());
                    let fence = term.lease.fence;
                    (Kind::KeepTicket, Question::KeepTicket { fence, pid })
                } else {
                    if term.writer.is_idle()
                        && !term.lacks_ticket
                        && let Some(batch) = self.buffer.take(at)
                    {
                        term.submit(now, &self.terms.upstream, batch);
                    }
                    match term.writer.poll_ask(now) {
                        None => return,
                        Some(Ask::Head) => (Kind::Head, Question::Head),
                        Some(Ask::Append { behind, record }) => {
                            (Kind::Append, Question::Append { behind, record })
                        }
                    }
                }
            }
        };
        self.log_call = Some(self.ask(now, kind, question));
    }

    /// The time of day, in milliseconds since 1970.
    fn at(&self, now: Instant) -> u64 {
        let (then, at) = self.wall;
        let since = now.saturating_duration_since(then).as_millis();
        at.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}
