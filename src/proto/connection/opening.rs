//! From the dial to the session: the websocket, the handshake, and the probe of a server whose
//! handshake does not tell its revision.
//!
//! ```text
//!  Dialling ──▶ Greeting ──▶ (session)
//!      ▲          │   │          ▲
//!      └──────────┘   └──▶ Undecided
//!   second offer
//! ```

use std::time::Instant;

use super::{
    reader::{Input, Reader},
    revision::{
        Greeting, Offer, PROBE_AFTER, PROBE_TIMEOUT, Probe, Revision, SECOND_TIMEOUT,
        of_first_packet,
    },
    send_queue::SendQueue,
    timers::{Timer, Timers},
};
use crate::proto::{
    deadline::deadline_after,
    engine::{self, EnginePacket, Frame, Handshake, Protocol},
    packet::{ProtocolError, Refused},
    reason::Reason,
};

#[derive(Debug)]
pub(super) struct Opening {
    offer: Offer,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// [`Timer::Connect`].
    Dialling,
    /// There is a websocket, but no handshake yet: [`Timer::Connect`].
    Greeting,
    /// [`Timer::Probe`].
    Undecided { handshake: Handshake, probe: Option<Probe> },
}

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    Wait,
    /// The server's ping must be answered.
    Pong,
    /// There is a session. `is_doubtful`: the only sign that the server is an old one is that it has
    /// answered a ping.
    Open {
        protocol: Protocol,
        handshake: Handshake,
        is_doubtful: bool,
    },
    /// The server is dialled again, with the revision that is known now.
    Redial,
    /// The connection ended before the handshake.
    Cut(Reason),
    /// The connection was lost, or ended by the server.
    Lost(Reason),
}

impl Opening {
    pub(super) fn new(offer: Offer) -> Self {
        Self { offer, stage: Stage::Dialling }
    }

    /// There is a websocket.
    pub(super) fn handle_dialled(&mut self, now: Instant, timers: &mut Timers) {
        if self.is_dialling() {
            self.stage = Stage::Greeting;
            if self.offer.is_second() {
                timers.hasten(Timer::Connect, deadline_after(now, SECOND_TIMEOUT));
            }
        }
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.stage, Stage::Dialling)
    }

    /// Whether there is a websocket, but no handshake yet.
    pub(super) fn is_greeting(&self) -> bool {
        matches!(self.stage, Stage::Greeting)
    }

    /// There was no websocket. Returns the revision to ask for next, in the time that is left, or
    /// why there is no connection.
    pub(super) fn handle_refusal(
        &mut self,
        reason: Reason,
        revision: &mut Revision,
    ) -> Result<Protocol, Reason> {
        let next = revision.handle_refusal(&mut self.offer, reason)?;
        Ok(self.dial(next))
    }

    /// The connection ended before the handshake. The same as for a refusal.
    pub(super) fn handle_cut(
        &mut self,
        reason: Reason,
        revision: &mut Revision,
    ) -> Result<Protocol, Reason> {
        let next = revision.handle_cut(&mut self.offer, reason)?;
        Ok(self.dial(next))
    }

    fn dial(&mut self, next: Offer) -> Protocol {
        *self = Self::new(next);
        self.offer.asked
    }

    /// The transport has found out the revision of the server.
    pub(super) fn handle_shown(
        &mut self,
        protocol: Protocol,
        revision: &mut Revision,
    ) -> Result<(), Reason> {
        revision.handle_shown(&mut self.offer, protocol)
    }

    /// A message came. It may have to be handled in the session that follows.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        frame: Frame,
        reader: &mut Reader,
        revision: &mut Revision,
        timers: &mut Timers,
    ) -> Result<(Step, Option<Input>), Refused> {
        match &self.stage {
            Stage::Dialling => Ok((Step::Wait, None)),
            Stage::Greeting => match engine::decode(self.offer.asked, frame)? {
                EnginePacket::Open(json) => {
                    let handshake = Handshake::parse(&json)?;
                    Ok((self.handle_handshake(now, handshake, revision, timers), None))
                }
                EnginePacket::Close => Ok((Step::Cut(Reason::TransportClose(None)), None)),
                _ => Err(ProtocolError::Handshake("no handshake".to_owned()).into()),
            },
            Stage::Undecided { handshake, probe } => {
                let input = reader.read(Protocol::Eio3, frame)?;
                let (protocol, is_doubtful) = match &input {
                    // Servers of revision 3 never ping. This one may still hang up on the probe.
                    Input::Ping if probe.is_some() => return Ok((Step::Pong, None)),
                    Input::Ping => (Protocol::Eio4, false),
                    Input::Pong => (Protocol::Eio3, true),
                    Input::Packet(packet) => (of_first_packet(packet.as_ref()), false),
                    Input::Unreadable(_) | Input::Broken(_) => (Protocol::Eio3, false),
                    Input::Close => return Ok((Step::Lost(Reason::TransportClose(None)), None)),
                    Input::Nothing => return Ok((Step::Wait, None)),
                };
                let handshake = handshake.clone();
                Ok((Step::Open { protocol, handshake, is_doubtful }, Some(input)))
            }
        }
    }

    fn handle_handshake(
        &mut self,
        now: Instant,
        handshake: Handshake,
        revision: &mut Revision,
        timers: &mut Timers,
    ) -> Step {
        match revision.handle_handshake(&self.offer, &handshake) {
            Greeting::Known(protocol) => open(protocol, handshake),
            Greeting::Misjudged => Step::Redial,
            Greeting::Unknown => {
                timers.stop(Timer::Connect);
                timers.set(Timer::Probe, deadline_after(now, PROBE_AFTER));
                self.stage = Stage::Undecided { handshake, probe: None };
                Step::Wait
            }
        }
    }

    /// The server has read everything before this ping.
    pub(super) fn handle_pong(&self, now: Instant, ping: u64, timers: &mut Timers) {
        if let Stage::Undecided { probe: Some(probe), .. } = &self.stage
            && let Some(until) = probe.handle_pong(now, ping)
        {
            timers.hasten(Timer::Probe, until);
        }
    }

    /// The websocket is gone. `is_written`: all that was queued had been written.
    pub(super) fn handle_lost(
        &self,
        reason: Reason,
        is_written: bool,
        revision: &mut Revision,
    ) -> Step {
        match &self.stage {
            Stage::Dialling => Step::Wait,
            Stage::Greeting => Step::Cut(reason),
            // It hung up on the probe, as servers 3.1 to 4.4 do.
            Stage::Undecided { probe: Some(_), .. } if is_written => {
                revision.handle_hang_up();
                Step::Redial
            }
            Stage::Undecided { .. } => Step::Lost(reason),
        }
    }

    /// The server has been silent since its handshake, or since the probe.
    pub(super) fn handle_probe(
        &mut self,
        now: Instant,
        queue: &mut SendQueue,
        timers: &mut Timers,
    ) -> Step {
        let Stage::Undecided { handshake, probe } = &mut self.stage else { return Step::Wait };
        if probe.is_some() {
            return open(Protocol::Eio4, handshake.clone());
        }
        queue.heartbeat();
        *probe = Some(Probe::new(now, queue.ping()));
        timers.set(Timer::Probe, deadline_after(now, PROBE_TIMEOUT));
        Step::Wait
    }

    /// The handshake, as long as the revision of the server is not known.
    pub(super) fn handshake(&self) -> Option<&Handshake> {
        match &self.stage {
            Stage::Dialling | Stage::Greeting => None,
            Stage::Undecided { handshake, .. } => Some(handshake),
        }
    }
}

fn open(protocol: Protocol, handshake: Handshake) -> Step {
    Step::Open { protocol, handshake, is_doubtful: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::ConnectFailure,
        proto::packet::{Limits, Parser},
    };

    const PLAIN: &str = r#"0{"sid":"S"}"#;

    /// The parts that a test of opening needs.
    struct Bench {
        opening: Opening,
        revision: Revision,
        reader: Reader,
        queue: SendQueue,
        timers: Timers,
        now: Instant,
    }

    impl Bench {
        /// There is a websocket.
        fn dialled() -> Self {
            let revision = Revision::new(None);
            let mut bench = Self {
                opening: Opening::new(revision.offer()),
                revision,
                reader: Reader::new(Parser::Json, Limits { attachments: 1, bytes: 100 }),
                queue: SendQueue::default(),
                timers: Timers::default(),
                now: Instant::now(),
            };
            bench.opening.handle_dialled(bench.now, &mut bench.timers);
            assert!(bench.opening.is_greeting());
            bench
        }

        fn text(&mut self, text: &str) -> Result<(Step, Option<Input>), Refused> {
            let frame = Frame::Text(text.into());
            let Self { opening, reader, revision, timers, .. } = self;
            opening.handle_frame(self.now, frame, reader, revision, timers)
        }

        /// Waits until the server has been silent for too long.
        fn wait(&mut self) -> Step {
            self.now = self.timers.earliest().expect("a deadline");
            assert_eq!(self.timers.expire(self.now, None), Some(Timer::Probe));
            self.opening.handle_probe(self.now, &mut self.queue, &mut self.timers)
        }
    }

    /// The revision of the session.
    fn opened(step: &Step) -> Option<(Protocol, bool)> {
        match step {
            Step::Open { protocol, is_doubtful, .. } => Some((*protocol, *is_doubtful)),
            _ => None,
        }
    }

    #[test]
    fn a_handshake_or_what_follows_it_opens_the_session() {
        let mut bench = Bench::dialled();
        let (step, input) = bench.text(r#"0{"maxPayload":1}"#).unwrap();
        assert_eq!((opened(&step), input), (Some((Protocol::Eio4, false)), None));
        assert!(Bench::dialled().text("40").is_err(), "it must come first");
        for (text, expected) in [
            ("40", Some((Protocol::Eio3, false))),
            ("2", Some((Protocol::Eio4, false))),
            ("3", Some((Protocol::Eio3, true))),
            ("6", None),
        ] {
            let mut bench = Bench::dialled();
            assert!(matches!(bench.text(PLAIN), Ok((Step::Wait, None))));
            let (step, input) = bench.text(text).unwrap();
            assert_eq!((opened(&step), input.is_some()), (expected, expected.is_some()), "{text}");
        }
    }

    #[test]
    fn a_server_that_stays_silent_is_asked_and_then_taken_for_a_new_one() {
        let mut bench = Bench::dialled();
        assert!(matches!(bench.text(PLAIN), Ok((Step::Wait, None))));
        assert!(matches!(bench.wait(), Step::Wait));
        assert_eq!(bench.queue.written(), ["2", "ping 1"]);
        assert!(matches!(bench.text("2"), Ok((Step::Pong, None))), "it may still hang up");
        let before = bench.timers.earliest();
        bench.opening.handle_pong(bench.now, 1, &mut bench.timers);
        assert!(bench.timers.earliest() < before, "it has read the question");
        assert_eq!(opened(&bench.wait()), Some((Protocol::Eio4, false)));
    }

    #[test]
    fn a_connection_that_is_lost_tells_something_where_the_server_was_asked() {
        let lost = |bench: &mut Bench, is_written| {
            let reason = Reason::TransportClose(None);
            bench.opening.handle_lost(reason, is_written, &mut bench.revision)
        };
        let mut bench = Bench::dialled();
        assert!(matches!(lost(&mut bench, true), Step::Cut(_)));
        assert!(matches!(bench.text(PLAIN), Ok((Step::Wait, None))));
        assert!(matches!(lost(&mut bench, true), Step::Lost(_)));
        bench.wait();
        assert!(matches!(lost(&mut bench, false), Step::Lost(_)));
        assert_eq!(bench.revision.known(), None);
        assert!(matches!(lost(&mut bench, true), Step::Redial));
        assert_eq!(bench.revision.known(), Some(Protocol::Eio4));
    }

    #[test]
    fn a_second_offer_has_little_time() {
        let mut bench = Bench::dialled();
        let late = bench.now + std::time::Duration::from_secs(20);
        bench.timers.set(Timer::Connect, late);
        let refused = Reason::Connect(ConnectFailure::status(400));
        let next = bench.opening.handle_refusal(refused, &mut bench.revision);
        assert_eq!(next, Ok(Protocol::Eio3));
        assert!(bench.opening.is_dialling());
        bench.opening.handle_dialled(bench.now, &mut bench.timers);
        assert_eq!(bench.timers.earliest(), Some(bench.now + SECOND_TIMEOUT));
    }
}
