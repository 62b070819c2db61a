//! The bound on what waits to be sent.
//!
//! Whoever emits takes a [`Permit`] first, on its own thread and without waiting; it rides with the
//! event through every queue and gives its room back when it is dropped: written to the
//! connection, or discarded. So one bound holds for mailboxes, buffers and queues together, and
//! no path can leak room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::channel::oneshot;

/// Room for outgoing events, in number and in bytes.
#[derive(Debug)]
pub(crate) struct Outbox {
    items: AtomicUsize,
    bytes: AtomicUsize,
    max_items: usize,
    max_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(max_items: usize, max_bytes: usize) -> Arc<Self> {
        let (items, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { items, bytes, max_items, max_bytes })
    }

    /// Takes room for one event of `bytes`, or `None` if there is not enough left. An event
    /// larger than the whole outbox goes into an empty one: it could never be sent otherwise.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let take = |counter: &AtomicUsize, amount: usize, fits: &dyn Fn(usize) -> bool| {
            let add = |now: usize| now.checked_add(amount).filter(|&sum| fits(sum));
            counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()
        };
        let items = take(&self.items, 1, &|sum| sum <= self.max_items)?;
        let alone = items == 0;
        if take(&self.bytes, bytes, &|sum| alone || sum <= self.max_bytes).is_none() {
            self.items.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { outbox: Arc::clone(self), bytes, watchers: Vec::new() })
    }

    /// How many events hold room now.
    pub(crate) fn waiting(&self) -> usize {
        self.items.load(Ordering::Acquire)
    }

    /// How many bytes of them.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }
}

/// Room taken in an [`Outbox`], given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    outbox: Arc<Outbox>,
    bytes: usize,
    watchers: Vec<Watcher>,
}

/// Somebody who waits until an event is written. It is dropped if that does not happen.
pub(crate) type Watcher = oneshot::Sender<()>;

impl Permit {
    /// How many events hold room in the same outbox.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    pub(crate) fn watch(&mut self, watcher: Watcher) {
        self.watchers.push(watcher);
    }

    /// The event has been written.
    pub(crate) fn written(mut self) {
        for watcher in self.watchers.drain(..) {
            if watcher.send(()).is_err() {
                log::trace!("nobody waits any more until an event is written");
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.outbox.items.fetch_sub(1, Ordering::AcqRel);
        self.outbox.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_in_items_and_bytes_and_comes_back() {
        let outbox = Outbox::new(2, 100);
        let first = outbox.reserve(60).unwrap();
        assert!(outbox.reserve(41).is_none(), "too many bytes");
        let second = outbox.reserve(40).unwrap();
        assert!(outbox.reserve(0).is_none(), "too many items");
        assert_eq!(outbox.waiting(), 2);
        drop((first, second));
        assert_eq!(outbox.waiting(), 0);
        assert!(outbox.reserve(1_000).is_some(), "a giant passes alone");
    }
}
