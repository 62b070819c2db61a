//! The event over which a server may have closed the connection.
//!
//! A server that finds a message too large closes the connection, or just cuts the line, and most do not
//! announce their limit. An event that is sent again would end the next connection as well,
//! and so on for ever. So a large event that was written, and not known to be read when the connection
//! was lost, is a suspect. After the second loss in a row it is not sent again.
//!
//! Small events are never suspected. It is nothing special that the same one is under way when a bad network
//! fails twice, and it must arrive all the same.

use bytestring::ByteString;

use super::{
    outgoing::Outgoing,
    packet::{Body, MAX_ATTACHMENTS, Parser},
};
use crate::proto::{error::Unsendable, reason::Reason};

/// Events below this size, in bytes, are not suspected, unless they have many attachments.
const LARGE: usize = 64 << 10;
/// The default limit of official servers, in bytes.
const USUAL: usize = 1_000_000;

/// An event that may be to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspect {
    namespace: ByteString,
    /// The id of its ack, if it asks for an answer.
    pub(crate) id: Option<u64>,
    /// Its number among the packets of its namespace; 0 for an event with retries.
    number: u64,
    pub(crate) event: Unsendable,
    /// How often in a row the connection was lost right after it.
    losses: u32,
}

impl Suspect {
    fn of(outgoing: &Outgoing) -> Option<Self> {
        let Body::Event { id, payload } = &outgoing.packet.body else { return None };
        Some(Self {
            namespace: outgoing.packet.namespace.clone(),
            id: *id,
            number: outgoing.number,
            event: Unsendable {
                event: payload.name().to_owned(),
                size: payload.size(),
                attachments: payload.attachments().len(),
            },
            losses: 0,
        })
    }

    /// Whether it is this event, and must not be sent again.
    pub(crate) fn has_ended(&self, outgoing: &Outgoing) -> bool {
        self.is_convicted() && Self::of(outgoing).is_some_and(|other| self.is_same(&other))
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.namespace, self.id, self.number) == (&other.namespace, other.id, other.number)
    }

    pub(crate) fn is_of(&self, namespace: &str) -> bool {
        self.namespace == *namespace
    }

    /// Whether it must not be sent again.
    pub(crate) fn is_convicted(&self) -> bool {
        self.losses > 1
    }

    /// The text of an error right after this event, with its probable cause.
    fn explain(&self, error: &str) -> Option<String> {
        let Unsendable { size, attachments, .. } = &self.event;
        let limit = if *size > USUAL {
            format!("{USUAL} bytes")
        } else if *attachments > MAX_ATTACHMENTS {
            format!("{MAX_ATTACHMENTS} attachments")
        } else {
            return None;
        };
        Some(format!(
            "{error} while an event of {size} bytes with {attachments} attachments was sent; the server announces no limit, and most take no more than {limit}"
        ))
    }
}

/// Looks for suspects, over all connections.
#[derive(Debug)]
pub(crate) struct Suspects {
    parser: Parser,
    /// The first large event that was written to this connection and is not known to be read, and the
    /// last ping before it.
    written: Option<Box<(Suspect, u64)>>,
    last: Option<Box<Suspect>>,
}

impl Suspects {
    pub(crate) fn new(parser: Parser) -> Self {
        Self { parser, written: None, last: None }
    }

    /// Whether it is large, or has more attachments than the official JSON parsers take.
    pub(crate) fn is_suspicious(&self, outgoing: &Outgoing) -> bool {
        let Body::Event { payload, .. } = &outgoing.packet.body else { return false };
        payload.size() >= LARGE
            || self.parser == Parser::Json && payload.attachments().len() > MAX_ATTACHMENTS
    }

    /// An event is written, after this ping.
    pub(crate) fn note_written(&mut self, outgoing: &Outgoing, ping: u64) {
        if self.written.is_none() && self.is_suspicious(outgoing) {
            self.written = Suspect::of(outgoing).map(|suspect| Box::new((suspect, ping)));
        }
    }

    /// The server has read everything before this ping.
    pub(crate) fn handle_pong(&mut self, ping: u64) {
        if self.written.take_if(|written| written.1 < ping).is_some() {
            self.last = None;
        }
    }

    /// The server has answered an event.
    pub(crate) fn handle_answer(&mut self, namespace: &str, id: u64) {
        let is_it = |suspect: &Suspect| suspect.id == Some(id) && suspect.is_of(namespace);
        if self.written.take_if(|written| is_it(&written.0)).is_some() {
            self.last = None;
        }
    }

    /// Whether there is a suspect to be cleared or confirmed.
    pub(crate) fn is_open(&self) -> bool {
        self.written.is_some()
    }

    /// There is a new connection.
    pub(crate) fn begin(&mut self) {
        self.written = None;
    }

    /// The server, or something on the way to it, has ended the connection. Returns the reason, with its
    /// probable cause, and the suspect. `is_limited`: the server has announced its limit.
    pub(crate) fn handle_lost(
        &mut self,
        reason: Reason,
        is_limited: bool,
    ) -> (Reason, Option<Box<Suspect>>) {
        let before = self.last.take();
        let is_sudden = matches!(
            reason,
            Reason::TransportClose(_) | Reason::TransportError(_) | Reason::TooLargeForServer
        );
        let Some(written) = self.written.take().filter(|_| is_sudden) else {
            return (reason, None);
        };
        let mut suspect = Box::new(written.0);
        let before = before.filter(|last| last.is_same(&suspect));
        suspect.losses = before.map_or(0, |last| last.losses).saturating_add(1);
        self.last = Some(suspect.clone());
        let reason = match reason {
            Reason::TransportError(error) if !is_limited => {
                Reason::TransportError(suspect.explain(&error).unwrap_or(error))
            }
            // With polling, many servers close the connection instead of answering.
            Reason::TransportClose(None) if !is_limited => {
                let explained = suspect.explain(&reason.to_string());
                explained.map_or(reason, Reason::TransportError)
            }
            reason => reason,
        };
        (reason, Some(suspect))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{payload::encode_event, proto::packet::Packet};

    fn event(name: &str, size: usize, number: u64) -> Outgoing {
        let payload = encode_event(name, &Bytes::from(vec![7; size])).unwrap();
        let packet = Packet::new("/".into(), Body::Event { id: None, payload });
        Outgoing { number, ..Outgoing::bare(packet) }
    }

    fn reset() -> Reason {
        Reason::TransportError("reset".to_owned())
    }

    /// Whether the suspect is convicted when the connection is lost.
    fn lost(suspects: &mut Suspects) -> Option<bool> {
        suspects.handle_lost(reset(), false).1.map(|suspect| suspect.is_convicted())
    }

    #[test]
    fn two_losses_in_a_row_behind_the_same_large_event_convict_it() {
        let mut suspects = Suspects::new(Parser::Json);
        suspects.note_written(&event("small", 1_000, 1), 0);
        assert_eq!(lost(&mut suspects), None);
        for convicted in [false, true] {
            suspects.note_written(&event("large", LARGE, 2), 0);
            suspects.note_written(&event("behind", LARGE, 3), 0);
            assert_eq!(lost(&mut suspects), Some(convicted));
        }
        suspects.note_written(&event("behind", LARGE, 3), 0);
        assert_eq!(lost(&mut suspects), Some(false));
        assert_eq!(lost(&mut suspects), None, "nothing was written");
        suspects.note_written(&event("behind", LARGE, 3), 7);
        suspects.handle_pong(7);
        assert!(suspects.is_open());
        suspects.handle_pong(8);
        assert_eq!(lost(&mut suspects), None, "it was read");
        suspects.note_written(&event("behind", LARGE, 3), 8);
        assert_eq!(lost(&mut suspects), Some(false), "and is innocent");
        suspects.note_written(&event("behind", LARGE, 3), 8);
        suspects.handle_pong(9);
        // Two losses with another one between them are not in a row.
        suspects.note_written(&event("large", LARGE, 2), 9);
        assert_eq!(lost(&mut suspects), Some(false));
        assert_eq!(lost(&mut suspects), None);
        suspects.note_written(&event("large", LARGE, 2), 9);
        assert_eq!(lost(&mut suspects), Some(false));
        // An answer is as good as a pong.
        let mut asking = event("asks", LARGE, 0);
        if let Body::Event { id, .. } = &mut asking.packet.body {
            *id = Some(7);
        }
        for (answered, expected) in [(6, Some(false)), (7, None)] {
            suspects.begin();
            suspects.note_written(&asking, 9);
            suspects.handle_answer("/", answered);
            assert_eq!(lost(&mut suspects), expected);
        }
        // An answer in another namespace with the same id is not its answer.
        suspects.begin();
        suspects.note_written(&asking, 9);
        suspects.handle_answer("/other", 7);
        assert!(suspects.is_open());
        suspects.begin();
        // A server that falls silent has not shown what it accepts.
        suspects.note_written(&event("behind", LARGE, 3), 8);
        assert_eq!(suspects.handle_lost(Reason::PingTimeout, false).1, None);
    }

    fn attached(count: usize, size: usize) -> Outgoing {
        let payload = encode_event("e", &vec![Bytes::from(vec![7; size]); count]).unwrap();
        let packet = Packet::new("/".into(), Body::Event { id: None, payload });
        Outgoing { number: 1, ..Outgoing::bare(packet) }
    }

    #[test]
    fn an_event_with_more_attachments_than_the_json_parser_takes_is_suspected() {
        for (parser, count, expected) in [
            (Parser::Json, MAX_ATTACHMENTS, false),
            (Parser::Json, MAX_ATTACHMENTS + 1, true),
            (Parser::Json, 3 * MAX_ATTACHMENTS, true),
            (Parser::Msgpack, 3 * MAX_ATTACHMENTS, false),
        ] {
            let mut suspects = Suspects::new(parser);
            suspects.note_written(&attached(count, 0), 0);
            assert_eq!(suspects.is_open(), expected);
            let text = suspects.handle_lost(reset(), false).0.to_string();
            assert_eq!(text.contains("10 attachments"), expected, "{text}");
        }
    }

    #[test]
    fn a_loss_behind_what_many_servers_do_not_take_says_so() {
        let said = |size, is_limited| {
            let mut suspects = Suspects::new(Parser::Json);
            suspects.note_written(&event("e", size, 1), 0);
            suspects.handle_lost(reset(), is_limited).0
        };
        let text = said(USUAL + 1, false).to_string();
        assert!(text.contains("1000000 bytes") && text.contains("reset"), "{text}");
        let Body::Event { payload, .. } = event("e", 0, 1).packet.body else { panic!("no event") };
        let just_enough = USUAL - payload.size();
        for (size, is_limited) in [(USUAL / 2, false), (just_enough, false), (USUAL + 1, true)] {
            assert_eq!(said(size, is_limited), reset());
        }
        let closed = |size| {
            let mut suspects = Suspects::new(Parser::Json);
            suspects.note_written(&event("e", size, 1), 0);
            suspects.handle_lost(Reason::TransportClose(None), false).0
        };
        let text = closed(USUAL + 1).to_string();
        assert!(text.contains("1000000 bytes") && text.contains("closed while"), "{text}");
        assert_eq!(closed(USUAL / 2), Reason::TransportClose(None));
        let mut suspects = Suspects::new(Parser::Json);
        suspects.note_written(&attached(MAX_ATTACHMENTS, LARGE / MAX_ATTACHMENTS), 0);
        assert_eq!(suspects.handle_lost(reset(), false).0, reset(), "servers take as many");
    }
}
