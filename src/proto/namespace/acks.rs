//! The emits that wait for an answer.
//!
//! Ids count up as long as the namespace lives, across sessions, so a late answer can never be taken for the
//! answer to another event. Each entry leaves the table exactly once: answered, expired or failed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, hash_map::Entry},
    time::Instant,
};

use crate::proto::fast_map::FastMap;

/// The pending acks. `W` is the waiter, which the core does not look into.
#[derive(Debug)]
pub(crate) struct Acks<W> {
    next: u64,
    waiting: FastMap<u64, Waiting<W>>,
    /// Deadlines, the earliest first. Some may be left over from events that were answered: it is cheaper to
    /// remove many of them at once, or each when it is over.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
}

/// How many more left-over deadlines than waiters there may be.
const SPARE: usize = 64;

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    sent: Option<Instant>,
}

/// A waiter that has left the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left<W> {
    pub(crate) id: u64,
    pub(crate) waiter: W,
    /// When its event was sent, if it was.
    pub(crate) sent: Option<Instant>,
}

impl<W> Default for Acks<W> {
    fn default() -> Self {
        Self { next: 0, waiting: FastMap::default(), deadlines: BinaryHeap::new() }
    }
}

impl<W> Acks<W> {
    /// A new id for an event that asks for an answer.
    pub(crate) fn id(&mut self) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        id
    }

    /// Adds a waiter, under an id that was reserved before.
    pub(crate) fn insert(&mut self, id: u64, waiter: W, deadline: Instant) {
        self.enter(id, waiter, deadline, None);
    }

    /// The same for a waiter whose event is sent now.
    pub(crate) fn insert_sent(&mut self, id: u64, waiter: W, deadline: Instant, now: Instant) {
        self.enter(id, waiter, deadline, Some(now));
    }

    fn enter(&mut self, id: u64, waiter: W, deadline: Instant, sent: Option<Instant>) {
        self.waiting.insert(id, Waiting { waiter, sent });
        self.deadlines.push(Reverse((deadline, id)));
    }

    /// Notes that the event is on its way.
    pub(crate) fn sent(&mut self, id: u64, now: Instant) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.sent = Some(now);
        }
    }

    /// Notes that the event was not sent after all. `false` if nobody waits for it (any more).
    pub(crate) fn unsent(&mut self, id: u64) -> bool {
        self.waiting.get_mut(&id).is_some_and(|waiting| {
            waiting.sent = None;
            true
        })
    }

    /// Gives back the room, if nobody waits.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.waiting.shrink_to_fit();
            self.deadlines.shrink_to_fit();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number of waiters whose event was sent.
    #[cfg(test)]
    pub(crate) fn sent_len(&self) -> usize {
        self.waiting.values().filter(|waiting| waiting.sent.is_some()).count()
    }

    /// The waiter that an answer is for, and when its event was sent. `None` if it was not sent: then the
    /// server answers something else, or at random.
    pub(crate) fn answered(&mut self, id: u64) -> Option<(W, Instant)> {
        let Entry::Occupied(entry) = self.waiting.entry(id) else { return None };
        let sent = entry.get().sent?;
        let Waiting { waiter, .. } = entry.remove();
        self.tidy();
        Some((waiter, sent))
    }

    /// Removes a waiter: there will be no answer, or nobody wants it.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Left<W>> {
        let Waiting { waiter, sent } = self.waiting.remove(&id)?;
        self.tidy();
        Some(Left { id, waiter, sent })
    }

    /// Removes the left-over deadlines if there are too many.
    fn tidy(&mut self) {
        let Self { waiting, deadlines, .. } = self;
        if waiting.is_empty() {
            deadlines.clear();
        } else if deadlines.len() > waiting.len().saturating_mul(2).saturating_add(SPARE) {
            deadlines.retain(|Reverse((_, id))| waiting.contains_key(id));
        }
    }

    /// The earliest deadline, or one before it.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.peek().map(|&Reverse((deadline, _))| deadline)
    }

    /// Takes out a waiter whose deadline is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Left<W>> {
        while let Some(&Reverse((deadline, id))) = self.deadlines.peek()
            && deadline <= now
        {
            self.deadlines.pop();
            if let Some(left) = self.remove(id) {
                return Some(left);
            }
        }
        None
    }

    /// Takes out every waiter whose event was sent, in the order of the emits.
    pub(crate) fn fail(&mut self) -> Vec<W> {
        let failed = self.waiting.iter().filter(|(_, waiting)| waiting.sent.is_some());
        let mut ids: Vec<u64> = failed.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| Some(self.remove(id)?.waiter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_waiter_leaves_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut acks = Acks::default();
        let ids: Vec<u64> = ["a", "b", "c", "d"]
            .iter()
            .zip([4, 2, 3, 9])
            .map(|(w, s)| {
                let id = acks.id();
                acks.insert(id, *w, at(s));
                id
            })
            .collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert_eq!(acks.poll_timeout(), Some(at(2)));

        let left = |id, waiter, sent| Left { id, waiter, sent };
        assert_eq!(acks.answered(2), None, "it was not sent");
        acks.sent(2, at(1));
        assert_eq!(acks.answered(2), Some(("c", at(1))));
        assert_eq!(acks.answered(2), None, "a second answer finds nobody");
        assert_eq!(acks.expired(at(1)), None);
        assert_eq!(acks.expired(at(2)), Some(left(1, "b", None)));
        assert_eq!(acks.expired(at(2)), None);
        assert_eq!(acks.answered(1), None, "nor does a late one");

        acks.sent(0, at(1));
        acks.sent(3, at(1));
        assert!(acks.unsent(3));
        assert_eq!(acks.fail(), ["a"]);
        assert_eq!(acks.remove(3), Some(left(3, "d", None)));
        assert_eq!(acks.poll_timeout(), None);
        assert_eq!(acks.id(), 4, "ids are not used again");
    }

    #[test]
    fn the_deadlines_of_who_is_gone_are_forgotten_however_they_go() {
        let start = Instant::now();
        let mut acks = Acks::default();
        // One that waits for longest, and all others behind it or before it in vain.
        acks.insert(0, (), start + Duration::from_secs(1));
        for id in 1..10_000 {
            acks.insert(id, (), start + Duration::from_secs(1 + id % 3));
            if id > 100 {
                assert!(acks.remove(id - 100).is_some());
            }
            assert_eq!(acks.poll_timeout(), Some(start + Duration::from_secs(1)));
            assert!(acks.deadlines.len() <= 2 * 101 + SPARE + 1, "{}", acks.deadlines.len());
        }
        assert!(acks.remove(0).is_some());
        let later = start + Duration::from_secs(5);
        let mut expired = 0;
        while acks.expired(later).is_some() {
            expired += 1;
        }
        assert_eq!((expired, acks.poll_timeout(), acks.deadlines.len()), (100, None, 0));
    }

    #[test]
    fn a_left_over_deadline_goes_when_it_is_over_and_takes_nobody_with_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut acks = Acks::default();
        for id in 0..4 {
            acks.insert_sent(id, id, at(id), start);
        }
        assert!(acks.answered(0).is_some() && acks.answered(1).is_some());
        assert_eq!(acks.expired(at(1)), None);
        assert_eq!((acks.deadlines.len(), acks.poll_timeout()), (2, Some(at(2))));
        assert_eq!(acks.expired(at(2)).map(|left| left.id), Some(2));
        assert!(acks.answered(3).is_some());
        assert_eq!((acks.deadlines.len(), acks.poll_timeout()), (0, None), "nobody is left");
    }

    #[test]
    fn left_over_deadlines_are_looked_through_only_when_there_are_many() {
        let start = Instant::now();
        let mut acks = Acks::default();
        for id in 0..1_001 {
            acks.insert(id, (), start + Duration::from_secs(id));
        }
        assert!(acks.remove(500).is_some());
        assert_eq!(acks.deadlines.len(), 1_001, "one is not many");
        for id in (1..1_001).filter(|&id| id != 500) {
            assert!(acks.remove(id).is_some());
        }
        assert!(acks.deadlines.len() <= 2 + SPARE, "{}", acks.deadlines.len());
    }

    #[test]
    fn waiters_fail_in_the_order_of_the_emits() {
        let now = Instant::now();
        let mut acks = Acks::default();
        for id in 0..200 {
            acks.insert_sent(id, id, now, now);
        }
        assert!(acks.fail().into_iter().eq(0..200));
    }
}
