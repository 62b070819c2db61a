//! Emits that are sent again until the server has answered: at least once, in order.
//!
//! ```text
//!  push ──▶ waiting ──▶ in flight ──▶ answered, or out of retries
//!             ▲            │
//!             └────────────┘ the session is lost
//! ```
//!
//! Up to `window` of them are in flight. A lost session uses up no retry: all that were in
//! flight go again on the next one, in the order in which they were emitted. As a connection keeps
//! the order, a server that drops repeats sees each once and in order, whatever the window.
//!
//! When one of them is suspected of ending connections, they are sent one at a time until there is an
//! answer, so that the culprit becomes known.
//!
//! A message keeps the id of its ack, so the answer to any of its tries is its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{backpressure::send_quota::SendPermit, payload::Payload, proto::emit::Emit};

#[derive(Debug)]
pub(crate) struct Retries<W> {
    window: usize,
    /// Send one at a time, whatever the window is.
    one_by_one: bool,
    /// By the ids of their acks, which are in the order of the emits.
    messages: BTreeMap<u64, Message<W>>,
    /// The ids of the messages that are not in flight.
    waiting: BTreeSet<u64>,
    /// When waiting messages expire, and their ids.
    expiries: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
pub(crate) struct Message<W> {
    pub(crate) emit: Emit,
    /// The argument that identifies it, in JSON, if message ids are switched on.
    pub(crate) id: Option<String>,
    pub(crate) waiter: W,
    /// The time for the answer to one try.
    pub(crate) timeout: Duration,
    /// How many retries are left.
    pub(crate) retries: u32,
    /// After this, it must not be sent any more.
    pub(crate) expires: Option<Instant>,
    /// How often it was sent: handed to a connection, now or an earlier one, and not given back unwritten.
    pub(crate) tries: u32,
    /// The room in the buffer, held until there is an outcome.
    pub(crate) permit: Option<SendPermit>,
}

impl<W> Message<W> {
    pub(crate) fn was_sent(&self) -> bool {
        self.tries > 0
    }

    /// The arguments, as they are sent.
    pub(crate) fn payload(&self) -> Payload {
        let payload = &self.emit.payload;
        self.id.as_ref().map_or_else(|| payload.clone(), |id| payload.with_argument(id))
    }
}

impl<W> Retries<W> {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            one_by_one: false,
            messages: BTreeMap::new(),
            waiting: BTreeSet::new(),
            expiries: BTreeSet::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds a message under the id of its ack, which is larger than all before.
    pub(crate) fn push(&mut self, id: u64, message: Message<W>) {
        self.wait(id, message.expires);
        self.messages.insert(id, message);
    }

    /// Puts a message that is not in flight among those that wait.
    fn wait(&mut self, id: u64, expires: Option<Instant>) {
        self.waiting.insert(id);
        self.expiries.extend(expires.map(|at| (at, id)));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.messages.len() - self.waiting.len()
    }

    /// The next message to be sent, if the window has room for it. From now on it is in flight.
    pub(crate) fn next(&mut self) -> Option<(u64, &mut Message<W>)> {
        let window = if self.one_by_one { 1 } else { self.window };
        if self.messages.len().saturating_sub(self.waiting.len()) >= window {
            return None;
        }
        let id = self.waiting.pop_first()?;
        let message = self.messages.get_mut(&id)?;
        if let Some(at) = message.expires {
            self.expiries.remove(&(at, id));
        }
        Some((id, message))
    }

    /// A message is sent. `true` if it was sent before.
    pub(crate) fn note_sent(&mut self, id: u64) -> bool {
        let Some(message) = self.messages.get_mut(&id) else { return false };
        let was_sent = message.was_sent();
        message.tries = message.tries.saturating_add(1);
        was_sent
    }

    /// A try was not written after all. `false` if the message is no longer there.
    pub(crate) fn note_unwritten(&mut self, id: u64) -> bool {
        self.messages.get_mut(&id).is_some_and(|message| {
            message.tries = message.tries.saturating_sub(1);
            true
        })
    }

    /// Sends one at a time, until one of them has an outcome.
    pub(crate) fn send_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// Removes a message, which has an outcome.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Message<W>> {
        self.one_by_one = false;
        self.waiting.remove(&id);
        let message = self.messages.remove(&id)?;
        if let Some(at) = message.expires {
            self.expiries.remove(&(at, id));
        }
        Some(message)
    }

    /// There was no answer in time: the message waits for its next try; or is returned, if it is out
    /// of tries.
    pub(crate) fn timed_out(&mut self, id: u64) -> Option<Message<W>> {
        let message = self.messages.get_mut(&id)?;
        match message.retries.checked_sub(1) {
            Some(left) => {
                message.retries = left;
                let expires = message.expires;
                self.wait(id, expires);
                None
            }
            None => self.remove(id),
        }
    }

    /// The session is lost: all messages are sent again. Returns the ids of those that were in flight.
    pub(crate) fn lost(&mut self) -> Vec<u64> {
        let in_flight = self.messages.iter().filter(|(id, _)| !self.waiting.contains(id));
        let in_flight: Vec<_> = in_flight.map(|(&id, message)| (id, message.expires)).collect();
        in_flight
            .into_iter()
            .map(|(id, expires)| {
                self.wait(id, expires);
                id
            })
            .collect()
    }

    /// Takes out those that must not be sent any more.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Message<W>> {
        let mut over = Vec::new();
        while let Some(&(at, id)) = self.expiries.first()
            && at <= now
        {
            self.expiries.pop_first();
            over.extend(self.remove(id));
        }
        over
    }

    /// The earliest expiry of the waiting messages.
    pub(crate) fn expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|&(at, _)| at)
    }

    /// Takes out all of them.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Message<W>> + use<W> {
        self.waiting.clear();
        self.expiries.clear();
        std::mem::take(&mut self.messages).into_values()
    }

    /// Takes out those that were never sent.
    pub(crate) fn drain_unsent(&mut self) -> Vec<Message<W>> {
        let waiting = self.waiting.iter().filter_map(|id| Some((*id, self.messages.get(id)?)));
        let unsent = waiting.filter(|(_, message)| !message.was_sent());
        let unsent: Vec<u64> = unsent.map(|(id, _)| id).collect();
        unsent.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, option, prelude::*};

    use super::*;

    fn message(retries: u32) -> Message<()> {
        Message {
            emit: Emit::new("e", ()).unwrap(),
            id: None,
            waiter: (),
            timeout: Duration::from_secs(1),
            retries,
            expires: None,
            tries: 0,
            permit: None,
        }
    }

    fn next(retries: &mut Retries<()>) -> Vec<u64> {
        std::iter::from_fn(|| retries.next().map(|(id, _)| id)).collect()
    }

    #[test]
    fn no_more_than_the_window_is_in_flight_and_order_is_kept() {
        let mut retries = Retries::new(2);
        for id in [3, 5, 6, 9] {
            retries.push(id, message(1));
        }
        assert_eq!(next(&mut retries), [3, 5]);
        assert!(retries.remove(5).is_some());
        assert_eq!(next(&mut retries), [6]);
        assert_eq!(retries.lost(), [3, 6]);
        assert_eq!(next(&mut retries), [3, 6], "again, the oldest first");
        assert!(retries.timed_out(3).is_none());
        assert_eq!(next(&mut retries), [3], "before those that have never gone");
        assert!(retries.timed_out(3).is_some(), "one retry, and no more");
        assert_eq!(next(&mut retries), [9]);
        assert!(retries.remove(6).is_some() && retries.remove(9).is_some());
        assert!(retries.is_empty());
    }

    #[test]
    fn whoever_may_end_connections_is_sent_alone() {
        let mut retries = Retries::new(3);
        for id in 0..4 {
            retries.push(id, message(1));
        }
        assert_eq!(next(&mut retries), [0, 1, 2]);
        assert_eq!(retries.lost(), [0, 1, 2]);
        retries.send_one_by_one();
        assert_eq!(next(&mut retries), [0]);
        assert!(retries.remove(0).is_some());
        assert_eq!(next(&mut retries), [1, 2, 3]);
    }

    #[derive(Debug, Clone)]
    enum Operation {
        /// After how many seconds it expires.
        Push(Option<u64>),
        Next,
        Remove(u64),
        TimeOut(u64),
        Lose,
        Expire(u64),
        Drain,
        DrainUnsent,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            4 => option::of(0..20_u64).prop_map(Operation::Push),
            4 => Just(Operation::Next),
            2 => (0..20_u64).prop_map(Operation::Remove),
            2 => (0..20_u64).prop_map(Operation::TimeOut),
            1 => Just(Operation::Lose),
            1 => (0..20_u64).prop_map(Operation::Expire),
            1 => Just(Operation::Drain),
            1 => Just(Operation::DrainUnsent),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_does_that_is_searched(
            operations in collection::vec(operation(), 1..60),
        ) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            // Id, expiry, whether it is in flight, whether it was ever sent.
            let mut model = Vec::<(u64, Option<Instant>, bool, bool)>::new();
            let mut retries = Retries::new(3);
            for (id, operation) in (0..).zip(operations) {
                let waits = |one: &(u64, Option<Instant>, bool, bool)| !one.2;
                match operation {
                    Operation::Push(expires) => {
                        let expires = expires.map(at);
                        retries.push(id, Message { expires, ..message(5) });
                        model.push((id, expires, false, false));
                    }
                    Operation::Next => {
                        let in_flight = model.iter().filter(|one| one.2).count();
                        let first = model.iter_mut().find(|one| !one.2 && in_flight < 3);
                        let first = first.map(|one| {
                            (one.2, one.3) = (true, true);
                            one.0
                        });
                        let next = retries.next().map(|(id, _)| id);
                        prop_assert_eq!(next, first);
                        if let Some(id) = next {
                            retries.note_sent(id);
                        }
                    }
                    Operation::Remove(id) => {
                        let known = model.extract_if(.., |one| one.0 == id).count();
                        prop_assert_eq!(retries.remove(id).is_some(), known == 1);
                    }
                    Operation::TimeOut(id) => {
                        prop_assert!(retries.timed_out(id).is_none());
                        model.iter_mut().filter(|one| one.0 == id).for_each(|one| one.2 = false);
                    }
                    Operation::Lose => {
                        let lost = model.iter_mut().filter(|one| one.2).map(|one| {
                            one.2 = false;
                            one.0
                        });
                        prop_assert!(retries.lost().into_iter().eq(lost));
                    }
                    Operation::Expire(seconds) => {
                        let now = at(seconds);
                        let is_over =
                            |one: &mut (_, Option<Instant>, _, _)| one.1.is_some_and(|at| at <= now);
                        let over = model.extract_if(.., |one| waits(one) && is_over(one)).count();
                        prop_assert_eq!(retries.expired(now).len(), over);
                    }
                    Operation::Drain => {
                        prop_assert_eq!(retries.drain().count(), model.len());
                        model.clear();
                    }
                    Operation::DrainUnsent => {
                        let unsent = model.extract_if(.., |one| !one.3).count();
                        prop_assert_eq!(retries.drain_unsent().len(), unsent);
                    }
                }
                prop_assert!(retries.messages.keys().eq(model.iter().map(|one| &one.0)));
                prop_assert_eq!(retries.is_empty(), model.is_empty());
                let waiting = || model.iter().filter(|one| waits(one));
                prop_assert!(retries.waiting.iter().eq(waiting().map(|one| &one.0)));
                prop_assert_eq!(retries.expiry(), waiting().filter_map(|one| one.1).min());
                let expire = waiting().filter(|one| one.1.is_some()).count();
                prop_assert_eq!(retries.expiries.len(), expire, "nothing is left behind");
            }
        }
    }
}
