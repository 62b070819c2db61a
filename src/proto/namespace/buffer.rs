//! Events that wait to be sent while their namespace is not joined.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use bytestring::ByteString;

use crate::{
    backpressure::send_quota::SendPermit,
    proto::{fast_map::FastMap, outgoing::Outgoing, packet::Body},
};

/// Events, in the order of their numbers, and answers to the server.
///
/// There may be very many, so nothing is searched for: each property by which some are taken out
/// has an index.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The events and answers, by number.
    waiting: BTreeMap<u64, Outgoing>,
    /// The numbers of the events with a key. Applications may take keys from the network, so this needs
    /// the standard hash.
    keys: HashMap<ByteString, u64>,
    /// The numbers of the events that ask for an answer, by the ids of their acks.
    asking: FastMap<u64, u64>,
    /// The numbers of the answers and of the volatile events, which end with the session.
    fleeting: BTreeSet<u64>,
    /// When events expire, and their numbers.
    expiries: BTreeSet<(Instant, u64)>,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives back the room, if nothing waits.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.keys.shrink_to_fit();
            self.asking.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds an event, whose number is the largest, or replaces the one with the same key, which is returned.
    pub(super) fn push(&mut self, mut outgoing: Outgoing) -> Option<Outgoing> {
        let same = outgoing.key().and_then(|key| self.keys.get(key));
        let old = same.copied().and_then(|number| self.remove(number));
        if let Some(old) = &old {
            outgoing.number = old.number;
        }
        self.insert(outgoing);
        old
    }

    /// Puts events that were under way back in their places. Returns those whose place a later event
    /// with the same key has taken: only the last one is sent.
    pub(super) fn put_back(
        &mut self,
        returning: impl IntoIterator<Item = Outgoing>,
    ) -> Vec<Outgoing> {
        let mut replaced = Vec::new();
        for outgoing in returning {
            let same = outgoing.key().and_then(|key| self.keys.get(key)).copied();
            match same {
                Some(number) if number > outgoing.number => replaced.push(outgoing),
                _ => {
                    replaced.extend(same.and_then(|number| self.remove(number)));
                    self.insert(outgoing);
                }
            }
        }
        replaced
    }

    fn insert(&mut self, outgoing: Outgoing) {
        let number = outgoing.number;
        if let Some(key) = outgoing.key() {
            self.keys.insert(key.clone(), number);
        }
        if let Some(id) = outgoing.ack_id() {
            self.asking.insert(id, number);
        }
        if outgoing.is_volatile() || is_answer(&outgoing) {
            self.fleeting.insert(number);
        }
        self.expiries.extend(outgoing.expires.map(|at| (at, number)));
        self.waiting.insert(number, outgoing);
    }

    fn remove(&mut self, number: u64) -> Option<Outgoing> {
        let outgoing = self.waiting.remove(&number)?;
        self.forget(&outgoing);
        Some(outgoing)
    }

    /// Removes an event that has left from the indexes.
    fn forget(&mut self, outgoing: &Outgoing) {
        let number = outgoing.number;
        // No other waiting event has this key.
        if let Some(key) = outgoing.key() {
            self.keys.remove(key);
        }
        if let Some(id) = outgoing.ack_id() {
            self.asking.remove(&id);
        }
        self.fleeting.remove(&number);
        if let Some(at) = outgoing.expires {
            self.expiries.remove(&(at, number));
        }
    }

    /// Takes out the first one, to be sent now.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let (_, outgoing) = self.waiting.pop_first()?;
        self.forget(&outgoing);
        Some(outgoing)
    }

    /// Takes out all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Outgoing> + use<> {
        std::mem::take(self).waiting.into_values()
    }

    /// A session has ended. Its answers are dropped. Returns the events that may not wait for the next
    /// session.
    pub(super) fn end_session(&mut self) -> Vec<Outgoing> {
        let over = std::mem::take(&mut self.fleeting);
        let over = over.into_iter().filter_map(|number| self.remove(number));
        over.filter(|outgoing| !is_answer(outgoing)).collect()
    }

    /// Takes out the event with this ack id.
    pub(super) fn take_asking(&mut self, id: u64) -> Option<Outgoing> {
        let number = *self.asking.get(&id)?;
        self.remove(number)
    }

    /// Takes out all events that ask for an answer.
    pub(super) fn take_all_asking(&mut self) -> Vec<Outgoing> {
        let mut numbers: Vec<u64> = std::mem::take(&mut self.asking).into_values().collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// The earliest expiry.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|&(at, _)| at)
    }

    /// Takes out the events that have waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Outgoing> {
        let mut over = Vec::new();
        while let Some(&(at, number)) = self.expiries.first()
            && at <= now
        {
            self.expiries.pop_first();
            over.extend(self.remove(number));
        }
        over
    }

    /// The events that wait now may wait for ever: wakes the tasks that await them.
    pub(super) fn strand(&self) {
        let permits = self.waiting.values().filter_map(|waiting| waiting.permit.as_ref());
        permits.for_each(SendPermit::strand);
    }
}

fn is_answer(outgoing: &Outgoing) -> bool {
    matches!(outgoing.packet.body, Body::Ack { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection, option, prelude::*};

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
        assert!(buffer.take_asking(8).is_none());
        assert_eq!(buffer.len(), 2);
        assert_eq!(numbers(buffer.take_asking(7)), [4]);
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

    /// The waiting events, in a plain list that is searched.
    #[derive(Default)]
    struct Model(Vec<Outgoing>);

    impl Model {
        fn take(&mut self, is_meant: impl Fn(&Outgoing) -> bool) -> Vec<u64> {
            numbers(self.0.extract_if(.., |outgoing| is_meant(outgoing)))
        }

        fn add(&mut self, outgoing: Outgoing) -> Vec<u64> {
            let same =
                |other: &&mut Outgoing| other.key().is_some() && other.key() == outgoing.key();
            match self.0.iter_mut().find(same) {
                None => {
                    self.0.push(outgoing);
                    self.0.sort_by_key(|outgoing| outgoing.number);
                    Vec::new()
                }
                Some(same) if same.number > outgoing.number => vec![outgoing.number],
                Some(same) => {
                    let old = std::mem::replace(same, outgoing).number;
                    self.0.sort_by_key(|outgoing| outgoing.number);
                    vec![old]
                }
            }
        }

        fn push(&mut self, mut outgoing: Outgoing) -> Vec<u64> {
            let same = |other: &&Outgoing| other.key().is_some() && other.key() == outgoing.key();
            if let Some(same) = self.0.iter().find(same) {
                outgoing.number = same.number;
            }
            self.add(outgoing)
        }
    }

    #[derive(Debug, Clone)]
    enum Operation {
        /// The kind of the event, and after how many seconds it expires.
        Push(u8, Option<u64>),
        Pop,
        /// Puts back this many of the popped events, the newest first.
        PutBack(usize),
        TakeAsking(u64),
        TakeAllAsking,
        Expire(u64),
        EndSession,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => (0..8_u8, option::of(0..20_u64)).prop_map(|(kind, expires)| Operation::Push(kind, expires)),
            3 => Just(Operation::Pop),
            2 => (0..5_usize).prop_map(Operation::PutBack),
            1 => (0..30_u64).prop_map(Operation::TakeAsking),
            1 => Just(Operation::TakeAllAsking),
            1 => (0..20_u64).prop_map(Operation::Expire),
            1 => Just(Operation::EndSession),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_does_that_is_searched(
            operations in collection::vec(operation(), 1..60),
        ) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            let (mut buffer, mut model) = (Buffer::default(), Model::default());
            let mut popped = Vec::new();
            for (number, operation) in (0..).zip(operations) {
                match operation {
                    Operation::Push(kind, expires) => {
                        let make = || Outgoing { expires: expires.map(at), ..match kind {
                            0 => event(number, Place::None),
                            1 => asking(number, number),
                            2 => {
                                let body = Body::Ack { id: 1, payload: encode_reply(&()).unwrap() };
                                Outgoing { number, ..Outgoing::bare(Packet::new("/".into(), body)) }
                            }
                            3 | 4 => latest(number, "a"),
                            5 => latest(number, "b"),
                            _ => event(number, Place::Last),
                        } };
                        prop_assert_eq!(numbers(buffer.push(make())), model.push(make()));
                    }
                    Operation::Pop => {
                        let first = (!model.0.is_empty()).then(|| model.0.remove(0));
                        let taken = buffer.pop();
                        prop_assert_eq!(
                            taken.as_ref().map(|one| one.number),
                            first.as_ref().map(|one| one.number)
                        );
                        popped.extend(taken.zip(first));
                    }
                    Operation::PutBack(most) => {
                        let from = popped.len().saturating_sub(most);
                        let (ours, theirs): (Vec<_>, Vec<_>) = popped.drain(from..).unzip();
                        let mut expected: Vec<_> =
                            theirs.into_iter().flat_map(|one| model.add(one)).collect();
                        let mut replaced = numbers(buffer.put_back(ours));
                        expected.sort_unstable();
                        replaced.sort_unstable();
                        prop_assert_eq!(replaced, expected);
                    }
                    Operation::TakeAsking(id) => {
                        let asking = model.take(|one| one.ack_id() == Some(id));
                        prop_assert_eq!(numbers(buffer.take_asking(id)), asking);
                    }
                    Operation::TakeAllAsking => {
                        let asking = model.take(|one| one.ack_id().is_some());
                        prop_assert_eq!(numbers(buffer.take_all_asking()), asking);
                    }
                    Operation::Expire(seconds) => {
                        let mut over = numbers(buffer.expired(at(seconds)));
                        over.sort_unstable();
                        let is_over =
                            |one: &Outgoing| one.expires.is_some_and(|when| when <= at(seconds));
                        prop_assert_eq!(over, model.take(is_over));
                    }
                    Operation::EndSession => {
                        model.take(is_answer);
                        let volatile = model.take(Outgoing::is_volatile);
                        prop_assert_eq!(numbers(buffer.end_session()), volatile);
                    }
                }
                let expiry = model.0.iter().filter_map(|one| one.expires).min();
                prop_assert_eq!(buffer.expiry(), expiry);
                prop_assert!(buffer.waiting.keys().eq(model.0.iter().map(|one| &one.number)));
                // Nothing is left in the indexes.
                let keys = model.0.iter().filter(|one| one.key().is_some()).count();
                let asking = model.0.iter().filter(|one| one.ack_id().is_some()).count();
                let expiries = model.0.iter().filter(|one| one.expires.is_some()).count();
                prop_assert_eq!(
                    (buffer.keys.len(), buffer.asking.len(), buffer.expiries.len()),
                    (keys, asking, expiries)
                );
                let is_fleeting = |one: &&Outgoing| one.is_volatile() || is_answer(one);
                let fleeting = model.0.iter().filter(is_fleeting);
                prop_assert!(buffer.fleeting.iter().eq(fleeting.map(|one| &one.number)));
                prop_assert_eq!(buffer.is_empty(), model.0.is_empty());
            }
        }
    }
}
