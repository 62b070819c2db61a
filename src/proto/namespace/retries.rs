//! Emits that are sent again until the server has answered: at least once, in order.
//!
//! ```text
//!  push ──▶ waiting ──▶ in flight ──▶ answered, or out of retries
//!             ▲            │
//!             └────────────┘ the session is lost
//! ```
//!
//! Up to `window` of them are in flight. A session that is lost takes no retry: all that were in
//! flight go again on the next one, in the order in which they were emitted. As a connection keeps
//! the order, a server that drops repeats sees each once and in order, whatever the window.
//!
//! When one of them is suspected of ending connections, they go one at a time until there is an
//! answer, so that it is known which one it is.
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
    /// Whatever the window is.
    one_by_one: bool,
    /// By the ids of their acks, which is the order of the emits.
    messages: BTreeMap<u64, Message<W>>,
    /// Those that are not in flight.
    waiting: BTreeSet<u64>,
}

#[derive(Debug)]
pub(crate) struct Message<W> {
    pub(crate) emit: Emit,
    /// The argument that tells it from all others, if it has one, in JSON.
    pub(crate) id: Option<String>,
    pub(crate) waiter: W,
    /// For the answer to one try.
    pub(crate) timeout: Duration,
    /// How many are left.
    pub(crate) retries: u32,
    /// Not to be sent any more after that.
    pub(crate) expires: Option<Instant>,
    /// It has been sent, however long ago.
    pub(crate) was_sent: bool,
    /// Held until there is an outcome.
    pub(crate) permit: Option<SendPermit>,
}

impl<W> Message<W> {
    /// The arguments, as they are sent.
    pub(crate) fn payload(&self) -> Payload {
        let payload = &self.emit.payload;
        self.id.as_ref().map_or_else(|| payload.clone(), |id| payload.with_argument(id))
    }
}

impl<W> Retries<W> {
    pub(crate) fn new(window: usize) -> Self {
        Self { window, one_by_one: false, messages: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Enters a message under the id of its ack, which is larger than all before.
    pub(crate) fn push(&mut self, id: u64, message: Message<W>) {
        self.messages.insert(id, message);
        self.waiting.insert(id);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.messages.contains_key(&id)
    }

    /// The next message to be sent, if the window has room for it. From now on it is in flight.
    pub(crate) fn next(&mut self) -> Option<(u64, &mut Message<W>)> {
        let window = if self.one_by_one { 1 } else { self.window };
        if self.messages.len().saturating_sub(self.waiting.len()) >= window {
            return None;
        }
        let id = self.waiting.pop_first()?;
        let message = self.messages.get_mut(&id)?;
        Some((id, message))
    }

    /// A message is sent. `true` if not for the first time.
    pub(crate) fn note_sent(&mut self, id: u64) -> bool {
        let message = self.messages.get_mut(&id);
        message.is_some_and(|message| std::mem::replace(&mut message.was_sent, true))
    }

    /// Until one of them is over.
    pub(crate) fn send_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// It is over with a message, one way or the other.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Message<W>> {
        self.one_by_one = false;
        self.waiting.remove(&id);
        self.messages.remove(&id)
    }

    /// There was no answer in time: the message waits for its next try, or, given back here, is out
    /// of them.
    pub(crate) fn timed_out(&mut self, id: u64) -> Option<Message<W>> {
        let message = self.messages.get_mut(&id)?;
        match message.retries.checked_sub(1) {
            Some(left) => {
                message.retries = left;
                self.waiting.insert(id);
                None
            }
            None => self.remove(id),
        }
    }

    /// The session is lost: all go again. Gives the ids of those that were in flight.
    pub(crate) fn lost(&mut self) -> Vec<u64> {
        let in_flight = self.messages.keys().filter(|id| !self.waiting.contains(id));
        let in_flight: Vec<u64> = in_flight.copied().collect();
        self.waiting.extend(&in_flight);
        in_flight
    }

    /// Those that must not be sent any more.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Message<W>> {
        let is_over = |message: &Message<W>| message.expires.is_some_and(|at| at <= now);
        let over = self.waiting.iter().filter(|id| self.messages.get(id).is_some_and(is_over));
        let over: Vec<u64> = over.copied().collect();
        over.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// When the first of those that wait expires.
    pub(crate) fn expiry(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|id| self.messages.get(id)?.expires).min()
    }

    /// All of them.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Message<W>> + use<W> {
        self.waiting.clear();
        std::mem::take(&mut self.messages).into_values()
    }

    /// Those that were never sent.
    pub(crate) fn drain_unsent(&mut self) -> Vec<Message<W>> {
        let unsent = self.messages.iter().filter(|(_, message)| !message.was_sent);
        let unsent: Vec<u64> = unsent.map(|(&id, _)| id).collect();
        unsent.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(retries: u32) -> Message<()> {
        Message {
            emit: Emit::new("e", ()).unwrap(),
            id: None,
            waiter: (),
            timeout: Duration::from_secs(1),
            retries,
            expires: None,
            was_sent: false,
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
}
