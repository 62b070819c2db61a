//! What waits to be written to the connection, and what of it was not written when that ended.
//!
//! A packet becomes messages when its turn comes: until then it can be replaced, or given back.

use std::collections::VecDeque;

use crate::{
    backpressure::send_quota::SendPermit,
    proto::{
        engine::{self, Message, Protocol},
        error::EmitError,
        outgoing::Outgoing,
        packet::Parser,
        suspect::Suspect,
    },
};

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<Waiting>,
    /// The packet of which only the first messages are written, and how many of them. A server has
    /// it when it has all of them.
    writing: Option<(Outgoing, usize)>,
    /// A buffer for the beginning of messages.
    head: String,
    /// The number of the last ping of the websocket layer, over all connections,
    last_ping: u64,
    /// and of the last one that was written.
    written_ping: u64,
    /// The server's ping is to be answered. One answer is enough for any number of pings, and
    /// needs no queue that a flood of them could fill.
    pong: bool,
    unwritten: Vec<Outgoing>,
}

#[derive(Debug)]
enum Waiting {
    Packet(Outgoing),
    Ping(u64),
    /// A ping of revision 3.
    Heartbeat,
}

/// Something is written.
pub(super) enum Written<'a> {
    /// A ping of the websocket layer.
    Ping(u64),
    /// The first message of a packet, behind that ping.
    Packet { outgoing: &'a Outgoing, ping: u64 },
}

impl SendQueue {
    /// Queues a packet, or puts it in the place of an event with the same key. One that somebody
    /// waits for an answer to is not replaced. `true` if it replaced one.
    #[inline]
    pub(super) fn push(&mut self, outgoing: Outgoing) -> bool {
        if outgoing.is_copy() && self.has_copy_of(&outgoing) {
            return false;
        }
        let place = outgoing.key().and_then(|key| {
            self.waiting.iter_mut().rev().find_map(|waiting| match waiting {
                Waiting::Packet(other)
                    if other.key() == Some(key)
                        && other.packet.namespace == outgoing.packet.namespace
                        && other.is_plain() =>
                {
                    Some(other)
                }
                _ => None,
            })
        });
        let Some(place) = place else {
            self.waiting.push_back(Waiting::Packet(outgoing));
            return false;
        };
        let old = std::mem::replace(place, outgoing);
        place.number = old.number;
        if let Some(permit) = old.permit {
            permit.settled();
        }
        true
    }

    /// Whether an event with the same ack id waits already.
    fn has_copy_of(&self, outgoing: &Outgoing) -> bool {
        let Some(id) = outgoing.ack_id() else { return false };
        self.waiting.iter().any(|waiting| match waiting {
            Waiting::Packet(other) => {
                other.ack_id() == Some(id) && other.packet.namespace == outgoing.packet.namespace
            }
            Waiting::Ping(_) | Waiting::Heartbeat => false,
        })
    }

    /// Queues a ping of the websocket layer. Its pong tells that the server has read all before it.
    pub(super) fn ping(&mut self) -> u64 {
        self.last_ping = self.last_ping.wrapping_add(1);
        self.waiting.push_back(Waiting::Ping(self.last_ping));
        self.last_ping
    }

    /// Queues a ping of revision 3.
    pub(super) fn heartbeat(&mut self) {
        self.waiting.push_back(Waiting::Heartbeat);
    }

    /// Answers the server's ping, before all else.
    pub(super) fn pong(&mut self) {
        self.pong = true;
    }

    /// Whether all that was queued is written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has the next message written, and says what it is. `false` if there is none.
    #[inline]
    pub(super) fn transmit(
        &mut self,
        parser: Parser,
        protocol: Option<Protocol>,
        write: impl FnOnce(Message<'_>),
        note: impl FnOnce(Written<'_>),
    ) -> bool {
        if std::mem::take(&mut self.pong) {
            write(engine::PONG);
            return true;
        }
        let (outgoing, n) = match self.writing.take() {
            Some(writing) => writing,
            None => match self.waiting.pop_front() {
                None => return false,
                Some(Waiting::Packet(outgoing)) => (outgoing, 0),
                Some(Waiting::Ping(number)) => {
                    self.written_ping = number;
                    note(Written::Ping(number));
                    write(Message::Barrier(number));
                    return true;
                }
                Some(Waiting::Heartbeat) => {
                    write(engine::PING);
                    return true;
                }
            },
        };
        // No packet is queued before there is a session.
        let Some(protocol) = protocol else { return false };
        let is_more = parser.write(&outgoing.packet, n, protocol, &mut self.head, write);
        if n == 0 {
            note(Written::Packet { outgoing: &outgoing, ping: self.written_ping });
        }
        if is_more {
            self.writing = Some((outgoing, n.saturating_add(1)));
        } else if let Some(permit) = outgoing.permit {
            permit.written();
        }
        true
    }

    /// An event is not for this connection.
    pub(super) fn give_back(&mut self, outgoing: Outgoing) {
        self.unwritten.extend(Some(outgoing).filter(Outgoing::is_event));
    }

    /// The connection is gone. Events that were not written are given back, apart from the one over
    /// which the server has ended connections. `true` if an event that asks for no answer was
    /// written in part: the server does nothing with that.
    pub(super) fn end(&mut self, suspect: Option<&Suspect>) -> bool {
        let writing = self.writing.take().map(|(outgoing, _)| outgoing);
        let is_cut = writing.as_ref().is_some_and(Outgoing::is_plain);
        if let Some(outgoing) = writing {
            match suspect.filter(|suspect| suspect.has_ended(&outgoing)) {
                None => self.give_back(outgoing),
                Some(suspect) => give_up(outgoing, suspect),
            }
        }
        self.unwritten.extend(self.waiting.drain(..).filter_map(|waiting| match waiting {
            Waiting::Packet(outgoing) => Some(outgoing).filter(Outgoing::is_event),
            Waiting::Ping(_) | Waiting::Heartbeat => None,
        }));
        is_cut
    }

    /// There is a new connection, on which nothing has been said. Numbers of pings go on.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.writing = None;
        self.pong = false;
    }

    /// The events that were not written to the connection they were for, and will not be.
    pub(super) fn take_unwritten(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.unwritten)
    }
}

#[cfg(test)]
impl SendQueue {
    /// Writes all there is to a server of revision 4. Gives it as text.
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

/// An event is not sent any more, since the server ends connections over it.
fn give_up(outgoing: Outgoing, suspect: &Suspect) {
    let is_plain = outgoing.is_plain();
    let end = |permit: SendPermit| {
        if is_plain {
            permit.refuse(&EmitError::Unsendable(suspect.event.clone()));
        } else {
            // It is counted as unanswered.
            permit.settled();
        }
    };
    outgoing.permit.into_iter().for_each(end);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
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

    /// Writes one message. Gives its text, and what was noted.
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
        assert!(!queue.push(latest("a1", "a", 1)));
        assert!(!queue.push(latest("b1", "b", 2)));
        assert!(queue.push(latest("a2", "a", 3)));
        // One that is to be answered waits for itself.
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
}
