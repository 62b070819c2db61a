//! Events that wait to be sent while their namespace is not joined.

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

use crate::{
    backpressure::send_quota::SendPermit,
    proto::{outgoing::Outgoing, packet::Body},
};

/// Events, in the order of their numbers, and answers to the server.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    waiting: VecDeque<Outgoing>,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds an event at the end, or replaces the one with the same key, which is returned.
    pub(super) fn push(&mut self, mut outgoing: Outgoing) -> Option<Outgoing> {
        let same = outgoing.key().and_then(|key| {
            self.waiting.iter_mut().rev().find(|waiting| waiting.key() == Some(key))
        });
        let Some(same) = same else {
            self.waiting.push_back(outgoing);
            return None;
        };
        outgoing.number = same.number;
        Some(std::mem::replace(same, outgoing))
    }

    /// Puts events back that were under way, where they belong. Gives those whose place another one
    /// with the same key has taken: of those, the last one counts.
    pub(super) fn put_back(
        &mut self,
        returning: impl IntoIterator<Item = Outgoing>,
    ) -> Vec<Outgoing> {
        self.waiting.extend(returning);
        self.waiting.make_contiguous().sort_by_key(|waiting| waiting.number);
        let mut replaced = Vec::new();
        if self.waiting.iter().any(|waiting| waiting.key().is_some()) {
            let mut keys = HashSet::new();
            for waiting in std::mem::take(&mut self.waiting).into_iter().rev() {
                if waiting.key().is_none_or(|key| keys.insert(key.clone())) {
                    self.waiting.push_front(waiting);
                } else {
                    replaced.push(waiting);
                }
            }
        }
        replaced
    }

    /// The first one, to be sent now.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        self.waiting.pop_front()
    }

    /// All of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Outgoing> + use<> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// A session has ended. Its answers are dropped. Returns the events that may not wait for the next
    /// session.
    pub(super) fn end_session(&mut self) -> Vec<Outgoing> {
        let (over, kept): (VecDeque<_>, _) =
            self.drain().partition(|waiting| waiting.is_volatile() || is_answer(waiting));
        self.waiting = kept;
        over.into_iter().filter(|waiting| !is_answer(waiting)).collect()
    }

    /// Drops events for whose answers nobody waits any more.
    pub(super) fn retain_awaited(&mut self, is_awaited: impl Fn(u64) -> bool) {
        self.waiting.retain(|waiting| waiting.ack_id().is_none_or(&is_awaited));
    }

    /// When the first of them expires.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.expires).min()
    }

    /// Takes out the events that have waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> VecDeque<Outgoing> {
        let is_over = |waiting: &Outgoing| waiting.expires.is_some_and(|at| at <= now);
        if !self.waiting.iter().any(is_over) {
            return VecDeque::new();
        }
        let (over, kept) = self.drain().partition(is_over);
        self.waiting = kept;
        over
    }

    /// What waits now may wait for ever: tasks that await it are told.
    pub(super) fn strand(&self) {
        let permits = self.waiting.iter().filter_map(|waiting| waiting.permit.as_ref());
        permits.for_each(SendPermit::strand);
    }
}

fn is_answer(outgoing: &Outgoing) -> bool {
    matches!(outgoing.packet.body, Body::Ack { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        payload::{encode_event, encode_reply},
        proto::{
            emit::{Place, Terms},
            packet::Packet,
        },
    };

    fn event(number: u64, place: Place) -> Outgoing {
        let payload = encode_event("e", &()).unwrap();
        let packet = Packet::new("/".into(), Body::Event { id: None, payload });
        let terms = Some(Box::new(Terms { place, lifetime: None }));
        Outgoing { terms, number, ..Outgoing::bare(packet) }
    }

    fn latest(number: u64, key: &'static str) -> Outgoing {
        event(number, Place::Latest(key.into()))
    }

    fn asking(number: u64, ack_id: u64) -> Outgoing {
        let mut outgoing = event(number, Place::Last);
        if let Body::Event { id, .. } = &mut outgoing.packet.body {
            *id = Some(ack_id);
        }
        outgoing
    }

    fn numbers(outgoing: impl IntoIterator<Item = Outgoing>) -> Vec<u64> {
        outgoing.into_iter().map(|outgoing| outgoing.number).collect()
    }

    #[test]
    fn of_what_waits_under_one_key_the_last_counts_in_the_place_of_the_first() {
        let mut buffer = Buffer::default();
        assert!(buffer.push(latest(1, "a")).is_none());
        assert!(buffer.push(event(2, Place::Last)).is_none());
        assert!(buffer.push(latest(3, "b")).is_none());
        assert_eq!(numbers(buffer.push(latest(4, "a"))), [1]);
        assert_eq!(buffer.pop().map(|first| first.number), Some(1), "it has its number, too");
        assert_eq!((buffer.len(), numbers(buffer.drain())), (2, vec![2, 3]));
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_comes_back_goes_where_it_belongs() {
        let mut buffer = Buffer::default();
        for waiting in [event(3, Place::Last), latest(5, "a")] {
            buffer.push(waiting);
        }
        let returning = [event(2, Place::Last), latest(4, "a"), event(1, Place::Last)];
        assert_eq!(numbers(buffer.put_back(returning)), [4]);
        assert_eq!(numbers(buffer.drain()), [1, 2, 3, 5]);
    }

    #[test]
    fn the_end_of_a_session_is_that_of_its_answers_and_of_what_is_not_to_wait() {
        let mut buffer = Buffer::default();
        let answer = Body::Ack { id: 1, payload: encode_reply(&()).unwrap() };
        let answer = Outgoing { number: 2, ..Outgoing::bare(Packet::new("/".into(), answer)) };
        for waiting in [event(1, Place::None), answer, event(3, Place::Last), asking(4, 7)] {
            buffer.push(waiting);
        }
        assert_eq!(numbers(buffer.end_session()), [1]);
        buffer.retain_awaited(|id| id == 7);
        assert_eq!(buffer.len(), 2);
        buffer.retain_awaited(|_| false);
        assert_eq!(numbers(buffer.drain()), [3]);
    }

    #[test]
    fn what_has_waited_for_too_long_is_given_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut buffer = Buffer::default();
        assert_eq!(buffer.expiry(), None);
        for (number, expires) in [(1, Some(at(3))), (2, None), (3, Some(at(2)))] {
            buffer.push(Outgoing { expires, ..event(number, Place::Last) });
        }
        assert_eq!(buffer.expiry(), Some(at(2)));
        assert!(buffer.expired(start).is_empty());
        assert_eq!(numbers(buffer.expired(at(2))), [3]);
        assert_eq!(buffer.expiry(), Some(at(3)));
        assert_eq!(numbers(buffer.expired(at(9))), [1]);
        assert_eq!(numbers(buffer.drain()), [2]);
    }
}
