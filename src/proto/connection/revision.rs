//! Finds out which protocol revision the server speaks.
//!
//! The client speaks to servers of both protocol revisions. On a websocket it always asks for
//! revision 4, which servers of either revision take, and then:
//!
//! 1. `maxPayload` in the handshake: revision 4 (servers since 4.5). Decided at once.
//! 2. Otherwise the client stays silent, since a request to join `/` would make a server 2.x join it
//!    twice. A Socket.IO packet that comes unasked is from a server 1.x or 2.x, unless it
//!    has a socket id, as the answer to a request does in revision 4; a ping is from a server
//!    3.0 to 4.4.
//! 3. After [`PROBE_AFTER`] of silence it sends a ping. A server 1.x or 2.x answers it. A server 3.1
//!    to 4.4 hangs up, and its application does not notice; it is dialled again at once, and now
//!    known. A server 3.0 stays silent. After the ping goes one of the websocket layer, whose pong
//!    shows that the server has read both: it then has [`PONG_SLACK`] for its answer, or twice the
//!    time that the pong took, and without a pong [`PROBE_TIMEOUT`].
//! 4. The answer to a ping is weak evidence: some servers of revision 4 answer one, too. If nothing
//!    follows it for half of the time to join, the server is dialled again and taken for one of
//!    revision 4. If it is an old, slow one after all, its next packet
//!    shows that.
//!
//! A server that refuses with HTTP status 400, or ends the connection before its handshake, is asked
//! once more, for revision 3: some servers that know only that one do one or the other. The revision, once
//! known, is kept for the next connection. One handshake that was cut short does not change it; a
//! second one in a row does.

use std::time::{Duration, Instant};

use crate::{
    display::brief,
    proto::{
        deadline::deadline_after,
        engine::{Handshake, Protocol},
        engine_refusal::EngineRefusal,
        packet::{Body, Packet},
        reason::{ConnectFailure, Reason},
    },
};

/// How long a server of unknown revision may be silent before it is probed,
pub(super) const PROBE_AFTER: Duration = Duration::from_millis(50);
/// how long it then has for an answer,
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// and the least time once it is known to have read the probe.
pub(super) const PONG_SLACK: Duration = Duration::from_millis(100);
/// How long a server that did not take revision 4 has for the handshake of revision 3. An old one
/// sends it at once; some new ones never say a word.
pub(super) const SECOND_TIMEOUT: Duration = Duration::from_secs(2);
/// How often in a row a server that turned out to be of another revision is dialled again at once.
const MAX_MISTAKES: u32 = 2;

/// What is known about the revision of the server.
#[derive(Debug)]
pub(super) struct Revision {
    /// The revision that the application insists on.
    pin: Option<Protocol>,
    known: Option<Protocol>,
    /// Handshakes that were cut short, in a row.
    cut_short: u32,
    /// Times in a row that the server turned out to be of another revision than assumed.
    mistakes: u32,
}

/// The revision that a dial asks for.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) asked: Protocol,
    /// Why the server refused revision 4, if this is the second offer.
    first: Option<Reason>,
}

impl Offer {
    pub(super) fn is_second(&self) -> bool {
        self.first.is_some()
    }
}

/// The result of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The server is known to speak this revision.
    Known(Protocol),
    Unknown,
    /// The server takes both revisions: the first offer was cut short by chance, and is made again.
    Misjudged,
}

/// The ping to a server whose handshake does not tell its revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    since: Instant,
    /// The ping of the websocket layer after it.
    ping: u64,
}

impl Probe {
    pub(super) fn new(since: Instant, ping: u64) -> Self {
        Self { since, ping }
    }

    /// When the answer must be here, if the server is now known to have read the probe.
    pub(super) fn handle_pong(&self, now: Instant, ping: u64) -> Option<Instant> {
        // With a round trip this long, the answer may still be on its way.
        let trip = now.saturating_duration_since(self.since);
        let slack = trip.saturating_mul(2).max(PONG_SLACK);
        (self.ping == ping).then(|| deadline_after(now, slack))
    }
}

impl Revision {
    pub(super) fn new(pin: Option<Protocol>) -> Self {
        Self { pin, known: pin, cut_short: 0, mistakes: 0 }
    }

    /// The revision of the server, if known.
    pub(super) fn known(&self) -> Option<Protocol> {
        self.known
    }

    /// Forgets the revision, so that it is found out anew.
    pub(super) fn forget(&mut self) {
        self.known = self.pin;
    }

    /// The revision to ask for.
    pub(super) fn offer(&self) -> Offer {
        Offer { asked: self.known.unwrap_or(Protocol::Eio4), first: None }
    }

    /// There was no websocket. Returns the offer to make next, or why there is no
    /// connection.
    pub(super) fn handle_refusal(
        &mut self,
        offer: &mut Offer,
        reason: Reason,
    ) -> Result<Offer, Reason> {
        let blames_revision = blames_revision(&reason);
        match offer.first.take() {
            None if blames_revision && self.known.is_none() => Ok(second(reason)),
            None if blames_revision && self.pin.is_some() => {
                let server = match reason {
                    Reason::Connect(ConnectFailure::Engine(
                        refusal @ EngineRefusal::UnsupportedVersion,
                    )) if offer.asked == Protocol::Eio3 => {
                        let other = Protocol::Eio4;
                        format!("the server refuses that: {refusal}; most likely it speaks {other}")
                    }
                    Reason::Connect(ConnectFailure::Engine(refusal)) => {
                        format!("the server refuses that: {refusal}")
                    }
                    _ => "the server refuses that with HTTP status 400".to_owned(),
                };
                let asked = offer.asked;
                Err(Reason::Connect(ConnectFailure::Unsupported { asked, server }))
            }
            first => {
                if blames_revision {
                    // The server no longer understands the revision that it used to understand.
                    self.forget();
                }
                Err(match first {
                    Some(first) => weightier(first, reason),
                    None => reason,
                })
            }
        }
    }

    /// The connection ended before the handshake. The same as for a refusal.
    pub(super) fn handle_cut(
        &mut self,
        offer: &mut Offer,
        reason: Reason,
    ) -> Result<Offer, Reason> {
        match offer.first.take() {
            // Perhaps because of the revision that it was asked for.
            None if self.known.is_none() && is_cut(&reason) => Ok(second(reason)),
            None => {
                // That may happen with any server. If it happens again, it may be a different server now.
                self.cut_short = self.cut_short.saturating_add(1);
                if !is_cut(&reason) || self.cut_short > 1 {
                    self.forget();
                }
                Err(self.explain_silence(offer.asked, reason))
            }
            Some(first) => Err(weightier(first, reason)),
        }
    }

    /// The reason when a server that was asked for revision `asked` gets no further.
    pub(super) fn explain_silence(&self, asked: Protocol, otherwise: Reason) -> Reason {
        if asked == Protocol::Eio4 || self.pin.is_none() {
            return otherwise;
        }
        let server = format!(
            "the server does not answer that, like one of {} without `allowEIO3`",
            Protocol::Eio4
        );
        Reason::Connect(ConnectFailure::Unsupported { asked, server })
    }

    /// The server's handshake has come.
    pub(super) fn handle_handshake(&mut self, offer: &Offer, handshake: &Handshake) -> Greeting {
        let is_new = handshake.max_payload.is_some();
        if is_new && offer.first.as_ref().is_some_and(is_cut) {
            self.known = Some(Protocol::Eio4);
            Greeting::Misjudged
        } else if offer.asked == Protocol::Eio3 || self.known.is_some() {
            Greeting::Known(offer.asked)
        } else if is_new {
            Greeting::Known(Protocol::Eio4)
        } else {
            Greeting::Unknown
        }
    }

    /// The server speaks this revision.
    pub(super) fn settle(&mut self, protocol: Protocol) {
        self.known = Some(protocol);
        self.cut_short = 0;
    }

    /// The transport has found out the revision. Returns the reason to end if the application insists on
    /// another one.
    pub(super) fn handle_shown(
        &mut self,
        offer: &mut Offer,
        protocol: Protocol,
    ) -> Result<(), Reason> {
        if self.pin.is_some_and(|pin| pin != protocol) {
            let (asked, server) = (offer.asked, format!("the server speaks {protocol}"));
            return Err(Reason::Connect(ConnectFailure::Unsupported { asked, server }));
        }
        self.known = Some(protocol);
        offer.asked = protocol;
        Ok(())
    }

    /// A server that was probed has hung up, as servers 3.1 to 4.4 do.
    pub(super) fn handle_hang_up(&mut self) {
        self.known = Some(Protocol::Eio4);
    }

    /// A packet came from a server that is assumed to speak this revision. Returns the other one if it turns
    /// out to speak that. `is_sure`: the handshake has told the revision. `is_pending`: the server has not
    /// joined `/`.
    #[inline]
    pub(super) fn handle_packet(
        &mut self,
        taken_for: Protocol,
        is_sure: bool,
        is_pending: bool,
        packet: &Packet,
    ) -> Option<Protocol> {
        let Body::Connect(data) = &packet.body else { return None };
        match (taken_for, data) {
            (Protocol::Eio4, Some(_)) => {
                self.confirm();
                None
            }
            (Protocol::Eio4, None) => {
                // No server of revision 4 answers like that. If this is one all the same, the namespace ends over it.
                self.forget();
                (!is_sure && self.pin.is_none()).then_some(Protocol::Eio3)
            }
            (Protocol::Eio3, _) => {
                let is_other = is_pending && self.pin.is_none() && is_answer_of_revision_4(packet);
                is_other.then_some(Protocol::Eio4)
            }
        }
    }

    /// The assumed revision was right.
    pub(super) fn confirm(&mut self) {
        self.mistakes = 0;
    }

    /// The server speaks this revision after all. `true` if it must be dialled again at once: a server that
    /// seems to speak both would be dialled without end.
    pub(super) fn correct(&mut self, protocol: Protocol) -> bool {
        self.known = Some(protocol);
        self.mistakes = self.mistakes.saturating_add(1);
        self.mistakes <= MAX_MISTAKES
    }
}

/// The revision of a server that speaks before it was asked anything.
pub(super) fn of_first_packet(packet: Option<&Packet>) -> Protocol {
    match packet {
        Some(packet) if is_answer_of_revision_4(packet) => Protocol::Eio4,
        _ => Protocol::Eio3,
    }
}

/// Asks for revision 3, since the server did not take the other one.
fn second(first: Reason) -> Offer {
    Offer { asked: Protocol::Eio3, first: Some(first) }
}

/// Of the two reasons why a server took neither revision, the one that says more: a server that
/// does not know a revision closes the connection, or answers with HTTP status 400, whatever else
/// is wrong. If neither reason says anything, the result names both revisions.
fn weightier(first: Reason, second: Reason) -> Reason {
    match (&first, &second) {
        (_, Reason::Connect(ConnectFailure::Status { status, .. })) if *status != 400 => second,
        (_, Reason::Connect(ConnectFailure::NoWebsocket(_))) => second,
        (_, Reason::Connect(ConnectFailure::Engine(_))) if !blames_revision(&second) => second,
        _ if is_cut(&first) && is_cut(&second) => {
            let failure = format!(
                "the connection ended before the handshake, whether {} or {} was asked for ({})",
                Protocol::Eio4,
                Protocol::Eio3,
                brief(&first)
            );
            Reason::Connect(ConnectFailure::Handshake(failure))
        }
        _ => first,
    }
}

/// Whether a server may refuse a revision that it does not speak in this way. It may not say which part of
/// the request it does not understand.
fn blames_revision(reason: &Reason) -> bool {
    match reason {
        Reason::Connect(ConnectFailure::Status { status, .. }) => *status == 400,
        Reason::Connect(ConnectFailure::Engine(refusal)) => {
            !matches!(refusal, EngineRefusal::TransportUnknown | EngineRefusal::Forbidden)
        }
        _ => false,
    }
}

/// Whether the connection ended without a reason that says more.
fn is_cut(reason: &Reason) -> bool {
    matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_))
}

/// Whether this is how a server of revision 4 answers a request to join `/`.
fn is_answer_of_revision_4(packet: &Packet) -> bool {
    matches!(&packet.body, Body::Connect(Some(_))) && packet.namespace == *"/"
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO3: Option<Protocol> = Some(Protocol::Eio3);
    const EIO4: Option<Protocol> = Some(Protocol::Eio4);

    fn handshake(max_payload: Option<u64>) -> Handshake {
        let (ping_interval, ping_timeout) = (Duration::from_secs(25), Duration::from_secs(20));
        Handshake {
            sid: "S".into(),
            ping_interval,
            ping_timeout,
            max_payload,
            has_websocket: false,
        }
    }

    fn status(status: u16) -> Reason {
        Reason::Connect(ConnectFailure::status(status))
    }

    fn connect(namespace: &'static str, data: Option<&str>) -> Packet {
        Packet::new(namespace.into(), Body::Connect(data.map(Into::into)))
    }

    #[test]
    fn the_handshake_tells_a_new_server_and_what_was_asked_for_an_old_one() {
        let mut revision = Revision::new(None);
        let offer = revision.offer();
        assert_eq!((offer.asked, offer.is_second()), (Protocol::Eio4, false));
        let new = revision.handle_handshake(&offer, &handshake(Some(1)));
        assert_eq!(new, Greeting::Known(Protocol::Eio4));
        assert_eq!(revision.handle_handshake(&offer, &handshake(None)), Greeting::Unknown);
        revision.settle(Protocol::Eio3);
        let offer = revision.offer();
        let old = revision.handle_handshake(&offer, &handshake(None));
        assert_eq!((revision.known(), old), (EIO3, Greeting::Known(Protocol::Eio3)));
        let offer = Revision::new(EIO4).offer();
        let pinned = Revision::new(EIO4).handle_handshake(&offer, &handshake(None));
        assert_eq!(pinned, Greeting::Known(Protocol::Eio4));
    }

    #[test]
    fn a_server_that_does_not_take_revision_4_is_asked_for_the_other_one_once() {
        let cut = || Reason::TransportClose(None);
        let mut revision = Revision::new(None);
        let mut offer = revision.offer();
        let mut second = revision.handle_refusal(&mut offer, status(400)).unwrap();
        assert_eq!((second.asked, second.is_second()), (Protocol::Eio3, true));
        assert_eq!(revision.handle_refusal(&mut second, status(401)).unwrap_err(), status(401));
        let mut offer = revision.offer();
        assert_eq!(revision.handle_refusal(&mut offer, status(503)).unwrap_err(), status(503));

        // The other revision may get further, unless the failure has another cause.
        for (refusal, is_asked_again) in [
            (EngineRefusal::UnsupportedVersion, true),
            (EngineRefusal::BadRequest, true),
            (EngineRefusal::Forbidden, false),
            (EngineRefusal::TransportUnknown, false),
        ] {
            let refusal = Reason::Connect(ConnectFailure::Engine(refusal));
            let mut offer = revision.offer();
            let next = revision.handle_refusal(&mut offer, refusal.clone());
            assert_eq!(next.is_ok(), is_asked_again, "{refusal}");
            let Ok(mut second) = next else { continue };
            let told = revision.handle_refusal(&mut second, refusal.clone());
            assert_eq!(told.unwrap_err(), refusal);
        }

        let mut offer = revision.offer();
        let second = revision.handle_cut(&mut offer, cut()).unwrap();
        let greeting = revision.handle_handshake(&second, &handshake(Some(1)));
        assert_eq!((greeting, revision.known()), (Greeting::Misjudged, EIO4));

        // The application insists on one revision.
        let mut pinned = Revision::new(EIO3);
        for is_400 in [true, false] {
            let mut offer = pinned.offer();
            let failed = if is_400 {
                pinned.handle_refusal(&mut offer, status(400))
            } else {
                pinned.handle_cut(&mut offer, cut())
            };
            let asked = match failed.unwrap_err() {
                Reason::Connect(ConnectFailure::Unsupported { asked, .. }) => asked,
                other => panic!("{other:?}"),
            };
            assert_eq!(asked, Protocol::Eio3);
        }
    }

    #[test]
    fn what_is_known_is_kept_until_two_handshakes_in_a_row_are_cut_short() {
        let mut revision = Revision::new(None);
        for known in [EIO3, None] {
            if known.is_some() {
                revision.settle(Protocol::Eio3);
            }
            let mut offer = revision.offer();
            assert!(revision.handle_cut(&mut offer, Reason::TransportClose(None)).is_err());
            assert_eq!(revision.known(), known);
        }
        revision.settle(Protocol::Eio3);
        let mut offer = revision.offer();
        assert!(revision.handle_refusal(&mut offer, status(400)).is_err());
        assert_eq!(revision.known(), None, "it does not understand it any more");
    }

    #[test]
    fn a_packet_shows_a_mistake() {
        let told = connect("/", Some("{}"));
        let mut revision = Revision::new(None);
        assert_eq!(of_first_packet(Some(&told)), Protocol::Eio4);
        for packet in [None, Some(&connect("/", None)), Some(&connect("/a", Some("{}")))] {
            assert_eq!(of_first_packet(packet), Protocol::Eio3);
        }
        for (taken_for, is_sure, is_pending, packet, expected) in [
            (Protocol::Eio3, false, true, &told, EIO4),
            (Protocol::Eio3, false, false, &told, None),
            (Protocol::Eio3, false, true, &connect("/", None), None),
            (Protocol::Eio4, false, false, &told, None),
            (Protocol::Eio4, false, false, &connect("/a", None), EIO3),
            (Protocol::Eio4, true, false, &connect("/a", None), None),
        ] {
            let found = revision.handle_packet(taken_for, is_sure, is_pending, packet);
            assert_eq!(found, expected, "{taken_for:?} {packet:?}");
        }
        let mut pinned = Revision::new(EIO3);
        assert_eq!(pinned.handle_packet(Protocol::Eio3, false, true, &told), None);
    }

    #[test]
    fn a_server_that_seems_to_be_both_is_dialled_again_twice() {
        let mut revision = Revision::new(None);
        for again in [true, true, false] {
            assert_eq!(revision.correct(Protocol::Eio3), again);
        }
        revision.confirm();
        assert!(revision.correct(Protocol::Eio4));
        assert_eq!(revision.known(), EIO4);
        // A packet that only a server of revision 4 sends confirms it, too.
        assert!(revision.correct(Protocol::Eio3) && !revision.correct(Protocol::Eio4));
        revision.handle_packet(Protocol::Eio4, false, false, &connect("/", Some("{}")));
        assert!(revision.correct(Protocol::Eio3) && revision.correct(Protocol::Eio4));
    }

    #[test]
    fn of_two_reasons_the_one_that_says_more_is_told() {
        let cut = || Reason::TransportClose(None);
        let none = || Reason::Connect(ConnectFailure::NoWebsocket("Not Found".to_owned()));
        for (first, second, expected) in [
            (status(400), status(401), status(401)),
            (status(400), status(400), status(400)),
            (status(400), none(), none()),
            (status(400), cut(), status(400)),
            (cut(), status(400), cut()),
            (cut(), status(503), status(503)),
            (cut(), none(), none()),
        ] {
            assert_eq!(weightier(first, second), expected);
        }
    }

    #[test]
    fn a_server_that_has_read_the_question_has_little_time_left() {
        let start = Instant::now();
        let probe = Probe::new(start, 7);
        assert_eq!(probe.handle_pong(start, 6), None);
        assert_eq!(probe.handle_pong(start, 7), Some(start + PONG_SLACK));
        let now = start + PONG_SLACK;
        assert_eq!(probe.handle_pong(now, 7), Some(now + 2 * PONG_SLACK));
    }
}
