//! What waits to be written to the connection, and what was not written when the connection ended.
//!
//! A packet becomes messages when its turn comes: until then it can be replaced, or given back.

use std::collections::{HashMap, HashSet, VecDeque};

use bytestring::ByteString;

use crate::{
    backpressure::send_quota::SendPermit,
    proto::{
        engine::{self, Message, Protocol},
        error::EmitError,
        outgoing::Outgoing,
        packet::Parser,
        room::give_back,
        suspect::Suspect,
    },
};

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<Waiting>,
    /// How many packets have left the front, so that each keeps its number while it waits.
    left: u64,
    /// `None` until a packet is in one of them.
    indexes: Option<Box<Indexes>>,
    /// The packet of which only some messages are written yet, and how many. The server has the packet
    /// only when it has all of them.
    writing: Option<Box<(Outgoing, usize)>>,
    /// A buffer for the beginning of messages.
    head: String,
    /// The number of the last ping of the websocket layer, over all connections,
    last_ping: u64,
    /// and of the last one that was written.
    written_ping: u64,
    /// What is written before everything else.
    first: Option<First>,
    unwritten: Vec<Outgoing>,
}

#[derive(Debug, Default)]
struct Indexes {
    /// The numbers of the events that a later one with the same key may replace, by namespace and key.
    replaceable: HashMap<(ByteString, ByteString), u64>,
    /// The waiting copies of messages that are sent until they are answered, by namespace and ack id.
    copies: HashSet<(ByteString, u64)>,
}

#[derive(Debug)]
struct First {
    /// The server's ping is to be answered. One answer is enough for any number of pings, and
    /// needs no queue that a flood of them could fill.
    pong: bool,
    hold: Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    No,
    /// After the pong, everything else waits for the answer to this ping, which must be written,
    Begin(u64),
    /// or has been written.
    Until(u64),
}

#[derive(Debug)]
enum Waiting {
    Packet(Outgoing),
    Ping(u64),
    /// A ping of revision 3.
    Heartbeat,
}

/// What was written.
pub(super) enum Written<'a> {
    /// A ping of the websocket layer.
    Ping(u64),
    /// The first message of a packet; `ping` was the last ping before it.
    Packet { outgoing: &'a Outgoing, ping: u64 },
}

impl SendQueue {
    /// Queues a packet, or puts it in the place of an event with the same key. An event whose answer
    /// somebody waits for is not replaced. `true` if it replaced one.
    #[inline]
    pub(super) fn push(&mut self, outgoing: Outgoing) -> bool {
        if is_unindexed(&outgoing) {
            self.waiting.push_back(Waiting::Packet(outgoing));
            return false;
        }
        self.push_indexed(outgoing)
    }

    fn push_indexed(&mut self, outgoing: Outgoing) -> bool {
        if let Some(copy) = copy(&outgoing)
            && !self.indexes.get_or_insert_default().copies.insert(copy)
        {
            return false;
        }
        if outgoing.key().is_some() {
            return self.push_latest(outgoing);
        }
        self.waiting.push_back(Waiting::Packet(outgoing));
        false
    }

    /// The same for an event with a key.
    fn push_latest(&mut self, outgoing: Outgoing) -> bool {
        let Some(key) = key(&outgoing) else { return false };
        let next = self.left.wrapping_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX));
        let replaceable = &mut self.indexes.get_or_insert_default().replaceable;
        let known = replaceable.get(&key).copied();
        if outgoing.is_plain() {
            replaceable.insert(key, known.unwrap_or(next));
        } else {
            replaceable.remove(&key);
        }
        let Some(place) = known.and_then(|number| self.place(number)) else {
            self.waiting.push_back(Waiting::Packet(outgoing));
            return false;
        };
        let old = std::mem::replace(place, outgoing);
        place.number = old.number;
        if let Some(permit) = old.permit {
            permit.replaced(&EmitError::Discarded);
        }
        true
    }

    /// The packet of this number.
    fn place(&mut self, number: u64) -> Option<&mut Outgoing> {
        let place = usize::try_from(number.wrapping_sub(self.left)).ok()?;
        match self.waiting.get_mut(place)? {
            Waiting::Packet(outgoing) => Some(outgoing),
            Waiting::Ping(_) | Waiting::Heartbeat => None,
        }
    }

    /// Removes a packet that has left the queue from the indexes.
    fn note_left(&mut self, outgoing: &Outgoing) {
        let Some(indexes) = &mut self.indexes else { return };
        if let Some(copy) = copy(outgoing) {
            indexes.copies.remove(&copy);
        }
        if outgoing.is_plain()
            && let Some(key) = key(outgoing)
        {
            indexes.replaceable.remove(&key);
        }
    }

    /// Takes out everything that waits.
    fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        self.indexes = None;
        self.waiting.drain(..)
    }

    /// Queues a ping of the websocket layer. Its pong shows that the server has read everything before it.
    pub(super) fn ping(&mut self) -> u64 {
        self.last_ping = self.last_ping.wrapping_add(1);
        self.waiting.push_back(Waiting::Ping(self.last_ping));
        self.last_ping
    }

    /// Queues a ping of revision 3.
    pub(super) fn heartbeat(&mut self) {
        self.waiting.push_back(Waiting::Heartbeat);
    }

    /// Answers the server's ping, before everything else.
    pub(super) fn pong(&mut self) {
        self.first.get_or_insert(First { pong: true, hold: Hold::No }).pong = true;
    }

    /// Answers the server's ping, and holds everything else back until the server has read the answer.
    pub(super) fn pong_alone(&mut self) {
        self.last_ping = self.last_ping.wrapping_add(1);
        self.first = Some(First { pong: true, hold: Hold::Begin(self.last_ping) });
    }

    /// The server has read everything before this ping of the websocket layer.
    pub(super) fn handle_pong(&mut self, ping: u64) {
        if let Some(First { pong, hold }) = &mut self.first
            && let Hold::Until(until) = *hold
            && until <= ping
        {
            *hold = Hold::No;
            if !*pong {
                self.first = None;
            }
        }
    }

    /// Gives back the room, if nothing waits.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            give_back(&mut self.waiting);
            self.indexes = None;
        }
    }

    /// Whether everything that was queued is written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes the next message with `write`, and passes what it is to `note`. `false` if there is none.
    #[inline]
    pub(super) fn transmit(
        &mut self,
        parser: Parser,
        protocol: Option<Protocol>,
        write: impl FnOnce(Message<'_>),
        note: impl FnOnce(Written<'_>),
    ) -> bool {
        if let Some(First { pong, hold }) = &mut self.first {
            if std::mem::take(pong) {
                write(engine::PONG);
                if *hold == Hold::No {
                    self.first = None;
                }
                return true;
            }
            let Hold::Begin(number) = *hold else { return false };
            *hold = Hold::Until(number);
            self.written_ping = number;
            note(Written::Ping(number));
            write(Message::Barrier(number));
            return true;
        }
        let (outgoing, n) = match self.writing.take() {
            Some(writing) => *writing,
            None => match self.waiting.pop_front() {
                None => return false,
                Some(Waiting::Packet(outgoing)) => {
                    self.left = self.left.wrapping_add(1);
                    (outgoing, 0)
                }
                Some(Waiting::Ping(number)) => {
                    self.left = self.left.wrapping_add(1);
                    self.written_ping = number;
                    note(Written::Ping(number));
                    write(Message::Barrier(number));
                    return true;
                }
                Some(Waiting::Heartbeat) => {
                    self.left = self.left.wrapping_add(1);
                    write(engine::PING);
                    return true;
                }
            },
        };
        if n == 0 && !is_unindexed(&outgoing) {
            self.note_left(&outgoing);
        }
        // No packet is queued before there is a session.
        let Some(protocol) = protocol else { return false };
        let is_more = parser.write(&outgoing.packet, n, protocol, &mut self.head, write);
        if n == 0 {
            note(Written::Packet { outgoing: &outgoing, ping: self.written_ping });
        }
        if is_more {
            self.writing = Some(Box::new((outgoing, n.saturating_add(1))));
        } else if let Some(permit) = outgoing.permit {
            permit.written();
        }
        true
    }

    /// Gives back an event that is not for this connection.
    pub(super) fn give_back(&mut self, outgoing: Outgoing) {
        self.unwritten.extend(Some(outgoing).filter(Outgoing::is_event));
    }

    /// The connection is gone. Events that were not written are given back, except for the one over
    /// which the server has ended connections. `true` if an event that asks for no answer was
    /// only partly written: the server ignores that.
    pub(super) fn end(&mut self, suspect: Option<&Suspect>) -> bool {
        let writing = self.writing.take().map(|writing| writing.0);
        let is_cut = writing.as_ref().is_some_and(Outgoing::is_plain);
        if let Some(outgoing) = writing {
            match suspect.filter(|suspect| suspect.has_ended(&outgoing)) {
                None => self.give_back(outgoing),
                Some(suspect) => give_up(outgoing, suspect),
            }
        }
        let unwritten = self.drain().filter_map(|waiting| match waiting {
            Waiting::Packet(outgoing) => Some(outgoing).filter(Outgoing::is_event),
            Waiting::Ping(_) | Waiting::Heartbeat => None,
        });
        let unwritten: Vec<Outgoing> = unwritten.collect();
        self.unwritten.extend(unwritten);
        is_cut
    }

    /// Clears the queue for a new connection. The numbers of pings go on.
    pub(super) fn clear(&mut self) {
        drop(self.drain());
        self.writing = None;
        self.first = None;
    }

    /// The events that were not written to the connection that they were for, and will not be.
    pub(super) fn take_unwritten(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.unwritten)
    }
}

#[cfg(test)]
impl SendQueue {
    /// Writes everything to a server of revision 4, and returns it as text.
    pub(super) fn written(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        let mut push = |message: Message<'_>| {
            written.push(match message {
                Message::Text(first, second) => format!("{first}{second}"),
                Message::Binary(first, second) => format!("{first:?}{second:?}"),
                Message::Barrier(number) => format!("ping {number}"),
            });
        };
        while self.transmit(Parser::Json, Some(Protocol::Eio4), &mut push, |_| ()) {}
        written
    }
}

/// Whether it has no key and is not a copy of a message that is sent until it is answered, as most are.
#[inline]
fn is_unindexed(outgoing: &Outgoing) -> bool {
    outgoing.terms.is_none() && outgoing.permit.is_some()
}

/// What identifies a copy of a message that is sent until it is answered; `None` for anything else.
fn copy(outgoing: &Outgoing) -> Option<(ByteString, u64)> {
    let id = if outgoing.is_copy() { outgoing.ack_id()? } else { return None };
    Some((outgoing.packet.namespace.clone(), id))
}

/// Its key, with the namespace.
fn key(outgoing: &Outgoing) -> Option<(ByteString, ByteString)> {
    let key = outgoing.key()?.clone();
    Some((outgoing.packet.namespace.clone(), key))
}

/// Gives up an event, since the server ends connections over it.
fn give_up(outgoing: Outgoing, suspect: &Suspect) {
    let is_plain = outgoing.is_plain();
    let end = |permit: SendPermit| {
        if is_plain {
            permit.refuse(&EmitError::Unsendable(suspect.event.clone()));
        } else {
            // It is counted as unanswered, not as discarded.
            permit.settled();
        }
    };
    outgoing.permit.into_iter().for_each(end);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection, option, prelude::*};

    use super::*;
    use crate::{
        backpressure::send_quota::{Limits, SendQuota},
        payload::encode_event,
        proto::{
            emit::{Place, Terms},
            packet::{Body, Packet},
        },
    };

    fn event(name: &str, id: Option<u64>) -> Outgoing {
        let payload = encode_event(name, &()).unwrap();
        Outgoing::bare(Packet::new("/".into(), Body::Event { id, payload }))
    }

    fn latest(name: &str, key: &'static str, number: u64) -> Outgoing {
        let terms = Some(Box::new(Terms { place: Place::Latest(key.into()), lifetime: None }));
        Outgoing { terms, number, ..event(name, None) }
    }

    #[test]
    fn the_room_that_a_burst_has_taken_is_given_back_when_nothing_waits() {
        let mut queue = SendQueue::default();
        for number in 0..100 {
            queue.push(latest("e", "key", number));
            queue.push(event("e", None));
        }
        queue.rest();
        assert!(queue.waiting.capacity() > 100 && queue.indexes.is_some());
        while next(&mut queue).is_some() {}
        assert!(queue.waiting.capacity() > 100);
        queue.rest();
        assert!(queue.waiting.capacity() == 0 && queue.indexes.is_none());
        queue.push(event("e", None));
        assert!(next(&mut queue).is_some());
    }

    /// Writes one message. Returns its text, and what was noted.
    fn next(queue: &mut SendQueue) -> Option<(String, String)> {
        let (mut text, mut noted) = (String::new(), String::new());
        let write = |message: Message<'_>| {
            text = match message {
                Message::Text(first, second) => format!("{first}{second}"),
                Message::Binary(..) => "binary".to_owned(),
                Message::Barrier(number) => format!("ping {number}"),
            };
        };
        let note = |written: Written<'_>| {
            noted = match written {
                Written::Ping(number) => format!("ping {number}"),
                Written::Packet { ping, .. } => format!("packet behind {ping}"),
            };
        };
        let protocol = Some(Protocol::Eio4);
        queue.transmit(Parser::Json, protocol, write, note).then_some((text, noted))
    }

    fn names(unwritten: Vec<Outgoing>) -> Vec<String> {
        let name = |outgoing: Outgoing| match outgoing.packet.body {
            Body::Event { payload, .. } => payload.name().to_owned(),
            other => panic!("{other:?}"),
        };
        unwritten.into_iter().map(name).collect()
    }

    #[test]
    fn a_pong_goes_first_and_the_rest_in_order() {
        let mut queue = SendQueue::default();
        assert!(!queue.push(event("a", None)));
        assert_eq!(queue.ping(), 1);
        queue.push(event("b", None));
        queue.heartbeat();
        queue.pong();
        queue.pong();
        let expected = [
            ("3", ""),
            (r#"42["a"]"#, "packet behind 0"),
            ("ping 1", "ping 1"),
            (r#"42["b"]"#, "packet behind 1"),
            ("2", ""),
        ];
        for (text, noted) in expected {
            assert_eq!(next(&mut queue), Some((text.to_owned(), noted.to_owned())));
        }
        assert!(queue.is_empty() && next(&mut queue).is_none());
        queue.clear();
        assert_eq!(queue.ping(), 2, "its number was never used before");
    }

    #[test]
    fn an_event_replaces_the_one_that_waits_under_its_key() {
        let mut queue = SendQueue::default();
        let send_quota = SendQuota::new(Limits { items: 10, bytes: 100, acks: 0 });
        let mut permit = send_quota.reserve(1).unwrap();
        let status = permit.write_status();
        assert!(!queue.push(Outgoing { permit: Some(permit), ..latest("a1", "a", 1) }));
        assert!(!queue.push(latest("b1", "b", 2)));
        assert!(queue.push(latest("a2", "a", 3)));
        assert_eq!(status.cause(), Some(&EmitError::Discarded));
        assert_eq!(send_quota.discarded(), 0, "it is counted as replaced");
        // An event that asks for an answer keeps its own place.
        assert!(!queue.push(Outgoing { terms: None, ..event("c", Some(7)) }));
        assert!(!queue.push(event("c", Some(7))), "a copy of what waits is left out");
        assert_eq!(queue.written(), [r#"42["a2"]"#, r#"42["b1"]"#, r#"427["c"]"#]);
    }

    #[test]
    fn what_is_not_written_is_given_back() {
        let mut queue = SendQueue::default();
        queue.push(event("a", None));
        queue.push(Outgoing::bare(Packet::new("/".into(), Body::Disconnect)));
        queue.ping();
        queue.push(event("b", Some(1)));
        queue.give_back(event("late", None));
        assert!(next(&mut queue).is_some());
        assert!(!queue.end(None));
        assert_eq!(names(queue.take_unwritten()), ["late", "b"]);
        assert!(queue.take_unwritten().is_empty() && next(&mut queue).is_none());
    }

    #[test]
    fn an_event_that_is_written_in_part_is_given_back_and_told_of() {
        for id in [None, Some(1)] {
            let payload = encode_event("e", &Bytes::from_static(b"a")).unwrap();
            let large = Packet::new("/".into(), Body::Event { id, payload });
            let mut queue = SendQueue::default();
            queue.push(Outgoing::bare(large));
            assert!(next(&mut queue).is_some());
            assert_eq!(queue.end(None), id.is_none());
            assert_eq!(names(queue.take_unwritten()), ["e"]);
        }
    }

    #[derive(Debug, Clone)]
    enum Operation {
        /// An event in one of two namespaces, perhaps with a key; a copy of a message with this ack id;
        /// or an event that a later one with its key does not replace.
        Push {
            namespace: bool,
            key: Option<bool>,
            id: Option<u64>,
            is_copy: bool,
        },
        Ping,
        Write,
        End,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let event = (any::<bool>(), option::of(any::<bool>()), option::of(0..4_u64), any::<bool>());
        prop_oneof![
            6 => event.prop_map(|(namespace, key, id, is_copy)| {
                Operation::Push { namespace, key, id, is_copy }
            }),
            1 => Just(Operation::Ping),
            3 => Just(Operation::Write),
            1 => Just(Operation::End),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_queue_does_that_is_searched(
            operations in collection::vec(operation(), 1..60),
        ) {
            // Number, namespace, key, ack id and whether it is a copy; a ping has its number alone.
            type Entry = (u64, Option<(bool, Option<bool>, Option<u64>)>);
            let send_quota = SendQuota::new(Limits { items: 1_000, bytes: 1_000_000, acks: 1 });
            let mut queue = SendQueue::default();
            let mut model = VecDeque::<Entry>::new();
            for (number, operation) in (1_000..).zip(operations) {
                match operation {
                    Operation::Push { namespace, key, id, is_copy } => {
                        // Only messages that are sent until they are answered have copies, and those
                        // have ids of their own, and no key.
                        let is_copy = is_copy && id.is_some();
                        let id = id.map(|id| if is_copy { 10 + id } else { id });
                        let key = key.filter(|_| !is_copy);
                        let place = key.map(|key| Place::Latest(if key { "a" } else { "b" }.into()));
                        let mut outgoing = event(&number.to_string(), id);
                        outgoing.packet.namespace = if namespace { "/a" } else { "/b" }.into();
                        outgoing.number = number;
                        outgoing.terms =
                            place.map(|place| Box::new(Terms { place, lifetime: None }));
                        outgoing.permit = (!is_copy).then(|| send_quota.reserve(1).unwrap());
                        let is_known = is_copy
                            && model.iter().any(|(_, one)| {
                                one.is_some_and(|one| (one.0, one.2) == (namespace, id))
                            });
                        let replaced = model.iter_mut().rev().find(|(_, one)| {
                            key.is_some() && *one == Some((namespace, key, None))
                        });
                        prop_assert_eq!(queue.push(outgoing), replaced.is_some());
                        match replaced {
                            Some((_, one)) => *one = Some((namespace, key, id)),
                            None if is_known => {}
                            None => model.push_back((number, Some((namespace, key, id)))),
                        }
                    }
                    Operation::Ping => model.push_back((queue.ping(), None)),
                    Operation::Write => {
                        prop_assert_eq!(next(&mut queue).is_some(), model.pop_front().is_some());
                    }
                    Operation::End => {
                        queue.end(None);
                        let unwritten = queue.take_unwritten();
                        let unwritten = unwritten.iter().map(|outgoing| outgoing.number);
                        let events = model.drain(..).filter(|(_, event)| event.is_some());
                        prop_assert!(unwritten.eq(events.map(|(number, _)| number)));
                    }
                }
                let waiting = queue.waiting.iter().map(|waiting| match waiting {
                    Waiting::Packet(outgoing) => outgoing.number,
                    Waiting::Ping(number) => *number,
                    Waiting::Heartbeat => 0,
                });
                prop_assert!(waiting.eq(model.iter().map(|(number, _)| *number)));
                // Nothing is left in the indexes.
                let events = || model.iter().filter_map(|(_, event)| *event);
                let plain = events().filter(|(_, key, id)| key.is_some() && id.is_none()).count();
                let copies = events().filter(|(_, _, id)| id.is_some_and(|id| id >= 10)).count();
                let indexes = queue.indexes.as_ref();
                let lengths = indexes.map(|all| (all.replaceable.len(), all.copies.len()));
                prop_assert_eq!(lengths.unwrap_or_default(), (plain, copies));
            }
        }
    }
}
