//! The emits that wait for an answer.
//!
//! Ids count up for as long as the namespace lives, across sessions, so a late answer can never
//! meet another question. Each entry leaves the table exactly once: answered, expired or failed.

use std::{collections::BTreeSet, time::Instant};

use crate::quick::QuickMap;

/// `W` is whatever waits: the core does not care.
#[derive(Debug)]
pub(crate) struct Acks<W> {
    next: u64,
    waiting: QuickMap<u64, Waiting<W>>,
    deadlines: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    deadline: Instant,
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
        Self { next: 0, waiting: QuickMap::default(), deadlines: BTreeSet::new() }
    }
}

impl<W> Acks<W> {
    /// An id for a question, never given before.
    pub(crate) fn id(&mut self) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        id
    }

    /// Enters a waiter, under an id that was given before.
    pub(crate) fn insert(&mut self, id: u64, waiter: W, deadline: Instant) {
        self.enter(id, waiter, deadline, None);
    }

    /// The same for one whose event is sent now.
    pub(crate) fn insert_sent(&mut self, id: u64, waiter: W, deadline: Instant, now: Instant) {
        self.enter(id, waiter, deadline, Some(now));
    }

    fn enter(&mut self, id: u64, waiter: W, deadline: Instant, sent: Option<Instant>) {
        self.waiting.insert(id, Waiting { waiter, deadline, sent });
        self.deadlines.insert((deadline, id));
    }

    /// Notes that the event is on its way. `false` if nobody waits (any more).
    pub(crate) fn sent(&mut self, id: u64, now: Instant) -> bool {
        self.waiting.get_mut(&id).is_some_and(|waiting| {
            waiting.sent = Some(now);
            true
        })
    }

    /// Notes that the event was not sent after all. `false` if nobody waits (any more).
    pub(crate) fn unsent(&mut self, id: u64) -> bool {
        self.waiting.get_mut(&id).is_some_and(|waiting| {
            waiting.sent = None;
            true
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        self.waiting.contains_key(&id)
    }

    /// The waiter that an answer is for.
    pub(crate) fn answered(&mut self, id: u64) -> Option<Left<W>> {
        let Waiting { waiter, deadline, sent } = self.waiting.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some(Left { id, waiter, sent })
    }

    /// The earliest deadline.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// A waiter whose deadline is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Left<W>> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.answered(id)
    }

    /// Every waiter whose event was sent, in the order of the emits; of the unsent ones too if
    /// `all`.
    pub(crate) fn fail(&mut self, all: bool) -> Vec<Left<W>> {
        let failed = self.waiting.iter().filter(|(_, waiting)| all || waiting.sent.is_some());
        let mut ids: Vec<u64> = failed.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.answered(id)).collect()
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
        assert_eq!(acks.answered(2), Some(left(2, "c", None)));
        assert_eq!(acks.answered(2), None, "a second answer finds nobody");
        assert_eq!(acks.expired(at(1)), None);
        assert_eq!(acks.expired(at(2)), Some(left(1, "b", None)));
        assert_eq!(acks.expired(at(2)), None);
        assert_eq!(acks.answered(1), None, "nor does a late one");

        assert!(acks.sent(0, at(1)) && acks.sent(3, at(1)));
        assert!(acks.unsent(3));
        assert_eq!(acks.fail(false), [left(0, "a", Some(at(1)))]);
        assert_eq!(acks.fail(true), [left(3, "d", None)]);
        assert_eq!(acks.poll_timeout(), None);
        assert_eq!(acks.id(), 4, "ids are not used again");
    }
}
