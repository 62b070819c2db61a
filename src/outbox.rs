//! The bound on what waits to be sent, and what becomes of it.
//!
//! Whoever emits takes a [`Permit`] first, on its own thread and without waiting; it rides with the
//! event through every queue and gives its room back when it is dropped: written to the
//! connection, or discarded. So one bound holds for mailboxes, buffers and queues together, no path
//! can leak room, and no event can vanish uncounted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Room for outgoing events, in number and in bytes.
#[derive(Debug)]
pub(crate) struct Outbox {
    items: AtomicUsize,
    bytes: AtomicUsize,
    /// Of `items`, those that the connection has and has not written.
    handed: AtomicUsize,
    /// Those that wait for an answer.
    asks: AtomicUsize,
    /// Events that were taken and never sent.
    discarded: AtomicU64,
    limits: Limits,
}

/// How much there is room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) asks: usize,
}

impl Outbox {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            handed: AtomicUsize::new(0),
            asks: AtomicUsize::new(0),
            discarded: AtomicU64::new(0),
            limits,
        })
    }

    /// Takes room for one event of `bytes`, or `None` if there is not enough left. An event
    /// larger than the whole outbox goes into an empty one: it could never be sent otherwise.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let Limits { items: max_items, bytes: max_bytes, .. } = self.limits;
        let items = take(&self.items, 1, |sum| sum <= max_items)?;
        let alone = items == 0;
        if take(&self.bytes, bytes, |sum| alone || sum <= max_bytes).is_none() {
            self.items.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit {
            outbox: Arc::clone(self),
            bytes,
            stage: Stage::Waiting,
            end: Settled::Discarded,
            fate: None,
        })
    }

    /// Takes room for an answer to the server, which nobody counts as discarded.
    pub(crate) fn reserve_answer(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut permit = self.reserve(bytes)?;
        permit.stage = Stage::Settled;
        Some(permit)
    }

    /// Takes room for one who waits for an answer.
    pub(crate) fn ask(self: &Arc<Self>) -> Option<Asking> {
        take(&self.asks, 1, |sum| sum <= self.limits.asks)?;
        Some(Asking { outbox: Arc::clone(self) })
    }

    /// How many events hold room now.
    pub(crate) fn waiting(&self) -> usize {
        self.items.load(Ordering::Acquire)
    }

    /// How many bytes of them.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// How many events were taken and never sent.
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Ordering::Acquire)
    }
}

/// Adds to a counter if the sum `fits`. Gives what it was before.
fn take(counter: &AtomicUsize, amount: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let add = |now: usize| now.checked_add(amount).filter(|&sum| fits(sum));
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()
}

/// Room taken in an [`Outbox`], given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    outbox: Arc<Outbox>,
    bytes: usize,
    stage: Stage,
    /// What its end means for the event.
    end: Settled,
    fate: Option<Arc<Fate>>,
}

/// How far an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The connection has it.
    Handed,
    /// It was sent, or it is known otherwise what became of it.
    Settled,
}

impl Permit {
    /// How many events the connection has and has not written.
    pub(crate) fn handed(&self) -> usize {
        self.outbox.handed.load(Ordering::Acquire)
    }

    /// What becomes of the event, for who wants to wait for it.
    pub(crate) fn fate(&mut self) -> Arc<Fate> {
        Arc::clone(self.fate.get_or_insert_default())
    }

    /// The connection has the event.
    pub(crate) fn hand(&mut self) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Handed;
            self.outbox.handed.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The connection has given the event back.
    pub(crate) fn take_back(&mut self) {
        self.leave(Stage::Waiting);
    }

    /// Its namespace has ended, and the event waits for somebody to join it again: nobody else need
    /// wait for that.
    pub(crate) fn strand(&self) {
        if let Some(fate) = &self.fate {
            fate.settle(Settled::Stranded);
        }
    }

    /// The event has been written.
    pub(crate) fn written(mut self) {
        self.end = Settled::Written;
        self.leave(Stage::Settled);
    }

    /// It is known what became of the event, and counted elsewhere.
    pub(crate) fn settled(mut self) {
        self.leave(Stage::Settled);
    }

    fn leave(&mut self, stage: Stage) {
        if std::mem::replace(&mut self.stage, stage) == Stage::Handed {
            self.outbox.handed.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.stage != Stage::Settled {
            self.outbox.discarded.fetch_add(1, Ordering::AcqRel);
            self.leave(Stage::Settled);
        }
        self.outbox.items.fetch_sub(1, Ordering::AcqRel);
        self.outbox.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        // Last of all: who waits for it finds room.
        if let Some(fate) = &self.fate {
            fate.settle(self.end);
        }
    }
}

/// What became of an event.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// 0 as long as that is open.
    settled: AtomicU8,
    waker: AtomicWaker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Written,
    /// It was given up.
    Discarded,
    /// It is kept for when its namespace is joined again.
    Stranded,
}

impl Fate {
    /// That of an event which was as good as written from the start.
    pub(crate) fn written() -> Arc<Self> {
        let fate = Self::default();
        fate.settle(Settled::Written);
        Arc::new(fate)
    }

    fn settle(&self, settled: Settled) {
        let number = match settled {
            Settled::Written => 1,
            Settled::Discarded => 2,
            Settled::Stranded => 3,
        };
        // The first word counts.
        let first = self.settled.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Settled> {
        self.waker.register(cx.waker());
        match self.settled.load(Ordering::Acquire) {
            0 => Poll::Pending,
            1 => Poll::Ready(Settled::Written),
            2 => Poll::Ready(Settled::Discarded),
            _ => Poll::Ready(Settled::Stranded),
        }
    }
}

/// The place of one who waits for an answer, given back on drop.
#[derive(Debug)]
pub(crate) struct Asking {
    outbox: Arc<Outbox>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.outbox.asks.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    fn outbox() -> Arc<Outbox> {
        Outbox::new(Limits { items: 2, bytes: 100, asks: 1 })
    }

    #[test]
    fn room_is_bounded_in_items_and_bytes_and_comes_back() {
        let outbox = outbox();
        let first = outbox.reserve(60).unwrap();
        assert!(outbox.reserve(41).is_none(), "too many bytes");
        let second = outbox.reserve(40).unwrap();
        assert!(outbox.reserve(0).is_none(), "too many items");
        assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (2, 100));
        drop((first, second));
        assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (0, 0));
        assert!(outbox.reserve(1_000).is_some(), "a giant passes alone");
        let asking = outbox.ask();
        assert!(asking.is_some() && outbox.ask().is_none());
        drop(asking);
        assert!(outbox.ask().is_some());
    }

    #[test]
    fn each_event_has_one_fate_and_what_is_dropped_is_counted() {
        let outbox = outbox();
        let cx = Context::from_waker(noop_waker_ref());
        let end = |end: fn(Permit)| {
            let mut permit = outbox.reserve(1).unwrap();
            let fate = permit.fate();
            assert_eq!(fate.poll(&cx), Poll::Pending);
            permit.hand();
            assert_eq!(permit.handed(), 1);
            end(permit);
            assert_eq!(outbox.handed.load(Ordering::Acquire), 0);
            let Poll::Ready(settled) = fate.poll(&cx) else { panic!("it is open") };
            settled
        };
        assert_eq!(end(Permit::written), Settled::Written);
        assert_eq!(end(Permit::settled), Settled::Discarded);
        assert_eq!(outbox.discarded(), 0);
        assert_eq!(end(drop), Settled::Discarded);
        assert_eq!(outbox.discarded(), 1);
        let stranded = end(|mut permit| {
            permit.take_back();
            permit.strand();
            permit.written();
        });
        assert_eq!(stranded, Settled::Stranded);
        drop(outbox.reserve_answer(1));
        assert_eq!((outbox.discarded(), outbox.waiting()), (1, 0));
    }
}
