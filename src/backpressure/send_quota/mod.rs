//! The bound on what waits to be sent, and the outcome of each event.
//!
//! Each emit first takes a [`SendPermit`], on the caller's thread and without waiting. The permit goes with the
//! event through every queue and gives its room back when it is dropped: when the event was written to the
//! connection, or discarded. So there is one bound for mailboxes, buffers and queues together, no path
//! can leak room, and no event can vanish uncounted.

use std::{
    error::Error,
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, Waker},
};

use crate::{
    guard,
    logs::{self, repeated},
};

/// Room for outgoing events and, separately, for answers to the server: a namespace that is full of events
/// can still answer.
#[derive(Debug)]
pub(crate) struct SendQuota {
    events: Room,
    answers: Room,
    /// The events that the connection has and has not written yet.
    handed: Gauge,
    /// The events that wait for an answer.
    acks: AtomicUsize,
    /// Events that were accepted and never sent.
    discarded: AtomicU64,
    limits: Limits,
    waiters: Waiters,
}

/// The limits of a quota.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The number of events.
    pub(crate) items: usize,
    /// The bytes of events, and again of answers.
    pub(crate) bytes: usize,
    /// The number of events that wait for an answer, and again of answers.
    pub(crate) acks: usize,
}

/// The number of items in the upper bits and their bytes in the lower ones, so that both change at once.
#[derive(Debug, Default)]
struct Room(AtomicU64);

/// One item of no bytes, in a [`Room`].
const ITEM: u64 = 1 << 40;
const MAX_ITEMS: u64 = u64::MAX / ITEM;
/// More bytes than any machine has.
const MAX_BYTES: u64 = ITEM - 1;

impl Room {
    /// Takes room for one more item, unless that exceeds a limit. The first item may be larger than
    /// `max_bytes`: otherwise it could never be sent.
    fn take(&self, bytes: usize, max_items: usize, max_bytes: usize) -> Option<()> {
        let max_items = wide(max_items).min(MAX_ITEMS);
        let max_bytes = wide(max_bytes).min(MAX_BYTES);
        let add = |before: u64| {
            let sum = (before % ITEM).saturating_add(wide(bytes));
            let fits = (before < ITEM || sum <= max_bytes) && before / ITEM < max_items;
            fits.then_some(before.checked_add(ITEM)?.saturating_add(wide(bytes)))
        };
        self.0.fetch_update(SeqCst, SeqCst, add).is_ok().then_some(())
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_sub(ITEM.saturating_add(wide(bytes)), SeqCst);
    }

    /// The number of items, and their bytes.
    fn taken(&self) -> (u64, u64) {
        let taken = self.0.load(SeqCst);
        (taken / ITEM, taken % ITEM)
    }

    /// Whether it is worth while for a task that waits for room to try again: at the latest
    /// when the quota is empty.
    fn is_half_empty(&self, limits: Limits) -> bool {
        let (items, bytes) = self.taken();
        items == 0 || (items <= wide(limits.items) / 2 && bytes <= wide(limits.bytes) / 2)
    }
}

fn wide(amount: usize) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

fn narrow(amount: u64) -> usize {
    usize::try_from(amount).unwrap_or(usize::MAX)
}

impl SendQuota {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            events: Room::default(),
            answers: Room::default(),
            handed: Gauge::default(),
            acks: AtomicUsize::new(0),
            discarded: AtomicU64::new(0),
            limits,
            waiters: Waiters::default(),
        })
    }

    /// Takes room for one event of `bytes`, or `None` if there is not enough left.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<SendPermit> {
        let bytes = bytes.min(narrow(MAX_BYTES));
        self.events.take(bytes, self.limits.items, self.limits.bytes)?;
        Some(self.permit(bytes, Kind::Event, Stage::Waiting))
    }

    /// Takes room for an answer to the server, which is never counted as discarded.
    pub(crate) fn reserve_answer(self: &Arc<Self>, bytes: usize) -> Option<SendPermit> {
        let bytes = bytes.min(narrow(MAX_BYTES));
        self.answers.take(bytes, self.limits.acks, self.limits.bytes)?;
        Some(self.permit(bytes, Kind::Answer, Stage::Left))
    }

    fn permit(self: &Arc<Self>, bytes: usize, kind: Kind, stage: Stage) -> SendPermit {
        let send_quota = Arc::clone(self);
        SendPermit { send_quota, bytes, kind, stage, end: WriteOutcome::Discarded, observer: None }
    }

    /// Takes room for one pending answer.
    pub(crate) fn reserve_ack(self: &Arc<Self>) -> Option<AckPermit> {
        take(&self.acks, 1, |sum| sum <= self.limits.acks)?;
        Some(AckPermit { send_quota: Arc::clone(self) })
    }

    /// Wakes a task when it may be worth while to try again. To be called before the try that fails:
    /// room that is given back in the meantime wakes the task, too.
    pub(crate) fn await_room(&self, waker: &Waker) {
        self.waiters.add(waker);
    }

    /// Wakes all tasks that wait for room: nothing will be accepted here for the time being.
    pub(crate) fn turn_away(&self) {
        self.waiters.wake();
    }

    /// How many events hold room now.
    pub(crate) fn waiting(&self) -> usize {
        narrow(self.events.taken().0)
    }

    /// The bytes of the events that hold room now.
    pub(crate) fn waiting_bytes(&self) -> usize {
        narrow(self.events.taken().1)
    }

    /// How many events were accepted and never sent.
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Acquire)
    }
}

/// Adds to a counter if the sum `fits`. Returns the value before.
fn take(counter: &AtomicUsize, amount: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let add = |now: usize| now.checked_add(amount).filter(|&sum| fits(sum));
    counter.fetch_update(SeqCst, SeqCst, add).ok()
}

/// The tasks that wait for room.
///
/// All threads see these operations in one order (`SeqCst`): either the thread that gives room back
/// sees the waiter, or the waiter, when it looks again, sees the room.
#[derive(Debug, Default)]
struct Waiters {
    any: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Waiters {
    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, waker: &Waker) {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        drop(wakers);
        self.any.store(true, SeqCst);
    }

    fn wake_if(&self, is_time: impl Fn() -> bool) {
        if self.any.load(SeqCst) && is_time() {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.any.swap(false, SeqCst) {
            let wakers = std::mem::take(&mut *self.wakers());
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

/// A number that only one thread changes, the one with the namespace and the connection, at far
/// less cost than an atomic addition. Another thread can make it wrong only after these have ended,
/// when nobody reads it any more.
#[derive(Debug, Default)]
struct Gauge(AtomicUsize);

impl Gauge {
    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        self.0.store(to(self.get()), Relaxed);
    }
}

/// Why an event is given up, as an error of a module above this one.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// An observer gets the outcome of an event.
pub(crate) trait Observer: Debug + Send + Sync {
    /// It may come twice: a stranded event is written or given up later.
    fn settle(&self, settled: WriteOutcome);

    /// Why the event is given up, if known. It comes before the outcome.
    fn explain(&self, _cause: Cause) {}
}

/// Room taken in a [`SendQuota`], given back on drop.
#[derive(Debug)]
pub(crate) struct SendPermit {
    send_quota: Arc<SendQuota>,
    bytes: usize,
    kind: Kind,
    stage: Stage,
    /// The outcome of the event when this is dropped.
    end: WriteOutcome,
    observer: Option<Arc<dyn Observer>>,
}

/// What the permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    Answer,
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits in its namespace.
    Waiting,
    /// The connection has it.
    Handed,
    /// It was written, or dropped.
    Left,
}

impl SendPermit {
    /// How many events the connection has and has not written.
    pub(crate) fn handed(&self) -> usize {
        self.send_quota.handed.get()
    }

    /// The future outcome of the event, for a caller that waits for it.
    pub(crate) fn write_status(&mut self) -> Arc<WriteStatus> {
        let write_status = Arc::<WriteStatus>::default();
        self.set_observer(Arc::clone(&write_status));
        write_status
    }

    /// Sets the observer that gets the outcome of the event, in place of the last one.
    pub(crate) fn set_observer(&mut self, observer: Arc<impl Observer + 'static>) {
        self.observer = Some(observer);
    }

    /// The connection has the event.
    pub(crate) fn hand(&mut self) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Handed;
            self.send_quota.handed.change(|handed| handed.saturating_add(1));
        }
    }

    /// The connection has given the event back.
    pub(crate) fn take_back(&mut self) {
        self.leave(Stage::Waiting);
    }

    /// Its namespace has ended, and the event is kept for when it is joined again: tasks need not wait
    /// for that.
    pub(crate) fn strand(&self) {
        if let Some(observer) = &self.observer {
            observer.settle(WriteOutcome::Stranded);
        }
    }

    /// The event is given up, for this reason.
    pub(crate) fn refuse(self, cause: &(impl Error + Clone + Send + Sync + 'static)) {
        if let Some(observer) = &self.observer {
            observer.explain(Box::new(cause.clone()));
        }
    }

    /// A later event has replaced it, which is counted elsewhere. `cause`: the error for callers that wait.
    pub(crate) fn replaced(mut self, cause: &(impl Error + Clone + Send + Sync + 'static)) {
        self.leave(Stage::Left);
        self.refuse(cause);
    }

    /// The event has been written.
    pub(crate) fn written(mut self) {
        self.end = WriteOutcome::Written;
        self.leave(Stage::Left);
    }

    /// The outcome of the event is known, and counted elsewhere.
    pub(crate) fn settled(mut self) {
        self.leave(Stage::Left);
    }

    fn leave(&mut self, stage: Stage) {
        if std::mem::replace(&mut self.stage, stage) == Stage::Handed {
            self.send_quota.handed.change(|handed| handed.saturating_sub(1));
        }
    }
}

impl Drop for SendPermit {
    fn drop(&mut self) {
        if self.stage != Stage::Left {
            self.send_quota.discarded.fetch_add(1, AcqRel);
            self.leave(Stage::Left);
        }
        let send_quota = &self.send_quota;
        match self.kind {
            Kind::Answer => send_quota.answers.give(self.bytes),
            Kind::Event => {
                send_quota.events.give(self.bytes);
                send_quota.waiters.wake_if(|| send_quota.events.is_half_empty(send_quota.limits));
            }
        }
        // This comes last, so that a caller that is woken by it finds room.
        if let Some(observer) = &self.observer {
            observer.settle(self.end);
        }
    }
}

/// The outcome of an event.
#[derive(Debug, Default)]
pub(crate) struct WriteStatus {
    /// One of the states below, or the number of a [`WriteOutcome`].
    state: AtomicU8,
    waiter: Waiter,
    cause: OnceLock<Cause>,
}

/// The task that waits for an event to be written, if one does.
#[derive(Debug, Default)]
struct Waiter(Mutex<Option<Waker>>);

impl Waiter {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, waker: &Waker) {
        let mut known = self.waker();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            let old = known.replace(waker.clone());
            drop(known);
            // Dropping a waker runs code of the application, which may take the lock.
            drop(old);
        }
    }

    fn take(&self) -> Option<Waker> {
        self.waker().take()
    }

    fn wake(&self) {
        let waker = self.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The outcome is open, and no task waits for it.
const OPEN: u8 = 0;
/// The outcome is open, and a task must be woken.
const AWAITED: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    Written,
    /// The event was given up.
    Discarded,
    /// The event is kept for when its namespace is joined again.
    Stranded,
}

impl WriteOutcome {
    /// Different from [`OPEN`] and [`AWAITED`].
    fn number(self) -> u8 {
        match self {
            Self::Written => 2,
            Self::Discarded => 3,
            Self::Stranded => 4,
        }
    }
}

impl WriteStatus {
    /// The outcome of an event that counts as written from the start.
    pub(crate) fn written() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(WriteOutcome::Written.number()), ..Self::default() })
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<WriteOutcome> {
        self.waiter.set(cx.waker());
        let state = self.state.compare_exchange(OPEN, AWAITED, AcqRel, Acquire);
        let settled = [WriteOutcome::Written, WriteOutcome::Discarded, WriteOutcome::Stranded];
        let settled = settled.into_iter().find(|settled| state == Err(settled.number()));
        if settled.is_some() {
            // The waker is dropped where it came from.
            drop(self.waiter.take());
        }
        settled.map_or(Poll::Pending, Poll::Ready)
    }

    /// A stranded event will be sent after all. The next poll waits for the outcome.
    pub(crate) fn resume(&self) {
        let stranded = WriteOutcome::Stranded.number();
        // If it is not stranded any more, it has an outcome.
        self.state.compare_exchange(stranded, OPEN, AcqRel, Acquire).ok();
    }

    /// Why the event was given up, if that is known.
    pub(crate) fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.cause.get()?.downcast_ref()
    }
}

impl Observer for WriteStatus {
    fn settle(&self, settled: WriteOutcome) {
        let settle = |open| {
            self.state.compare_exchange(open, settled.number(), AcqRel, Acquire).map_err(drop)
        };
        // The first outcome counts, unless it was that the event is stranded. Most of the time no task
        // waits for it.
        if settle(OPEN).is_err() && settle(AWAITED).is_ok() {
            // The waker is that of a task of the application.
            if let Err(panicked) = guard::run(|| self.waiter.wake()) {
                repeated!(
                    log::Level::Warn,
                    logs::NO_CLIENT,
                    "a task that waits for an event to be written {panicked} (its waker)"
                );
            }
        } else {
            settle(WriteOutcome::Stranded.number()).ok();
        }
    }

    fn explain(&self, cause: Cause) {
        self.cause.set(cause).ok();
    }
}

/// The room of one pending answer, given back on drop.
#[derive(Debug)]
pub(crate) struct AckPermit {
    send_quota: Arc<SendQuota>,
}

impl Drop for AckPermit {
    fn drop(&mut self) {
        let SendQuota { acks, limits, waiters, .. } = &*self.send_quota;
        acks.fetch_sub(1, SeqCst);
        waiters.wake_if(|| acks.load(SeqCst) <= limits.acks / 2);
    }
}

#[cfg(test)]
mod tests;
