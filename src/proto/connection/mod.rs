//! One connection: which server it is, whether it is alive, what goes out and what came in.
//!
//! ```text
//!        connect                handshake, known revision
//!   Idle ───────────▶ Opening ─────────────────────────────▶ Open
//!    ▲                 ▲   │                                   │
//!    │       Queued ───┘   ▼                                   ▼
//!    │         ▲      lost, refused, timed out ◀── Closing ◀── close
//!    │      Waiting        │
//!    │         ▲           │
//!    │         └─────┬─────┘
//!    └───────────────┘ nobody wants it, or not again
//! ```
//!
//! After a loss, if a namespace still wants the connection and the policy allows it, the client waits and
//! dials again. For that it queues with all clients that share its limiter. Attempts in a row are counted; a
//! session that lasts resets the count. When no namespace wants the connection any more, nothing waits,
//! queues or dials.
//!
//! If the service has several servers, [`Endpoints`] chooses among them.
//!
//! The parts: [`opening`] gets from the dial to a session; [`revision`] knows the protocol revision of the
//! server; [`reader`] turns messages into packets, and [`writer`] packets into messages; [`open`] is a
//! session with its heartbeat; [`mod@root`] follows what a server of revision 3 does about `/`; and
//! [`parser_mismatch`] sees that the server has another parser. All deadlines are in one table of [`timers`].

mod events;
mod leaving;
mod open;
mod opening;
mod parser_mismatch;
mod reader;
mod revision;
mod root;
mod send_queue;
mod timers;
mod unconfirmed;
mod writer;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::events::{Action, Admission, Event, Tally};
use self::{
    open::Open,
    opening::{Opening, Step},
    parser_mismatch::ParserMismatch,
    reader::{Input, Reader},
    revision::Revision,
    root::{Change, Root},
    timers::{Timer, Timers},
    writer::Writer,
};
use super::{
    config::Config,
    deadline::deadline_after,
    endpoints::{Endpoints, Next},
    engine::{Due, Frame, Handshake, Message, Protocol},
    outgoing::Outgoing,
    packet::{Body, Packet, ProtocolError, Refused, root},
    reconnect::Retry,
    room::give_back,
    session::Session,
    transports::{Allowed, Transport, Transports},
};
use crate::proto::reason::{ConnectFailure, Reason};

/// The longest wait that a server can ask for. The request may be a mistake, or come from something on the
/// way, and must not stop a client for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<Config>,
    state: State,
    timers: Timers,
    revision: Revision,
    transports: Transports,
    endpoints: Endpoints,
    reader: Reader,
    writer: Writer,
    epoch: u64,
    /// Whether a namespace wants a connection.
    wanted: bool,
    parser_mismatch: ParserMismatch,
    /// Why the last connection ended, or could not be made.
    last_reason: Option<Box<Reason>>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    tally: Tally,
}

/// The states, each with its timers.
#[derive(Debug)]
enum State {
    Idle,
    /// Until the delay before the next attempt is over: [`Timer::Delay`].
    Waiting,
    /// Until it is this client's turn: [`Timer::Dial`].
    Queued,
    /// [`Timer::Connect`], [`Timer::Probe`].
    Opening(Opening),
    /// All others.
    Open(Open),
    /// [`Timer::Close`].
    Closing {
        protocol: Protocol,
    },
}

impl Connection {
    /// `seed` is for the jitter.
    pub(crate) fn new(config: Arc<Config>, seed: u64) -> Self {
        let Config { pin, parser, transports, endpoints, limits, reconnect, .. } = &*config;
        Self {
            state: State::Idle,
            timers: Timers::default(),
            revision: Revision::new(*pin),
            transports: Transports::new(*transports),
            endpoints: Endpoints::new(reconnect.clone(), seed, endpoints.len()),
            reader: Reader::new(*parser, *limits),
            writer: Writer::new(*parser),
            epoch: 0,
            wanted: false,
            parser_mismatch: ParserMismatch::new(*parser),
            last_reason: None,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
            config,
        }
    }

    /// The revision of the server, if known.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.revision.known()
    }

    /// The transport that is being dialled or open, or else the last one.
    pub(crate) fn transport(&self) -> Transport {
        self.transports.current()
    }

    /// The server that is being dialled or open, or else the next one, by its place in the order of preference.
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoints.current()
    }

    /// Whether polling must not become a websocket.
    pub(crate) fn is_polling_alone(&self) -> bool {
        self.config.transports == Allowed::Polling
    }

    /// The number of the attempt to connect again that is under way, or is next; 0 if there is none.
    pub(crate) fn attempt(&self) -> u32 {
        self.endpoints.attempt()
    }

    /// Why the last connection ended, or could not be made.
    pub(crate) fn last_reason(&self) -> Option<&Reason> {
        self.last_reason.as_deref()
    }

    /// When this fraction of the heartbeat's time will have passed.
    pub(crate) fn strain(&self, part: f64) -> Option<Instant> {
        self.open().map(|open| open.strain(part))
    }

    /// How long the side that pings waits for the answer, while there is a connection.
    pub(crate) fn ping_timeout(&self) -> Option<Duration> {
        self.open().map(Open::ping_timeout)
    }

    /// The number of the current connection, or of the last one.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether all events and all output have been taken.
    pub(crate) fn is_settled(&self) -> bool {
        self.actions.is_empty() && self.events.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    fn is_current(&self, epoch: u64) -> bool {
        self.open().is_some_and(|open| open.session.epoch == epoch)
    }

    fn is_closing(&self) -> bool {
        self.open().is_some_and(|open| open.is_closing)
    }

    // What the application wants.

    /// A namespace wants to join.
    pub(crate) fn join(&mut self, now: Instant, namespace: &str) -> Admission {
        let open = match &self.state {
            State::Idle => {
                self.wanted = true;
                self.at_endpoint(Endpoints::begin);
                self.dial(now);
                return Admission::Later;
            }
            State::Open(open) if !open.is_closing => open,
            _ => return Admission::Later,
        };
        open.admit(namespace).unwrap_or_else(|| {
            self.writer.replace(now, &mut self.timers);
            Admission::Later
        })
    }

    /// Replaces the connection with this number, for all namespaces, because the server has
    /// made it unusable. It takes the usual delay, as the server may do so each time.
    pub(crate) fn replace(&mut self, now: Instant, epoch: u64) {
        if self.is_current(epoch) && !self.is_closing() {
            self.actions.push_back(Action::Drop);
            self.lost(now, Reason::Reconnect);
        }
    }

    /// Replaces the connection at once, if that is due and somebody still wants one.
    fn try_replace(&mut self, now: Instant) {
        if self.writer.take_due_replacement() && self.wanted && !self.is_closing() {
            self.endpoints.reset();
            self.tell_lost(Reason::Reconnect, true);
            self.dial(now);
        }
    }

    /// Says whether anybody wants a connection. If nobody does, there is no further attempt; a
    /// connection that is open stays open.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted && self.is_under_way() {
            self.actions.push_back(Action::Drop);
            self.endpoints.reset();
            self.enter(State::Idle);
        }
    }

    /// Whether a connection is being made, or will be.
    fn is_under_way(&self) -> bool {
        match self.state {
            State::Idle | State::Open(_) | State::Closing { .. } => false,
            State::Waiting | State::Queued | State::Opening(_) => true,
        }
    }

    /// Sends a packet of the session `epoch`. An event of an older one is
    /// [given back](Self::take_unwritten).
    pub(crate) fn send(&mut self, now: Instant, epoch: u64, outgoing: Outgoing) {
        if !self.is_current(epoch) {
            return self.writer.give_back(outgoing);
        }
        self.writer.send(now, outgoing, &mut self.timers, &mut self.tally);
    }

    /// Leaves a namespace that was joined: sends its disconnect when all before it has been read.
    pub(crate) fn leave(&mut self, now: Instant, epoch: u64, packet: Packet) {
        if let State::Open(open) = &mut self.state
            && open.session.epoch == epoch
        {
            open.leave(&packet.namespace, &mut self.timers);
            self.writer.leave(now, packet, &mut self.timers);
        }
    }

    /// Closes when everything is sent, or at `until`.
    pub(crate) fn close(&mut self, until: Instant) {
        if let State::Open(open) = &mut self.state {
            open.is_closing = true;
            self.timers.set(Timer::Close, until);
            self.try_close();
        } else if self.is_under_way() {
            self.actions.push_back(Action::Drop);
            self.end(Reason::Shutdown);
        }
    }

    fn try_close(&mut self) {
        if let State::Open(Open { is_closing: true, session, .. }) = &self.state
            && !self.writer.is_leaving()
        {
            self.state = State::Closing { protocol: session.protocol };
            self.timers.stop_all_but(Timer::Close);
            self.actions.push_back(Action::Close);
        }
    }

    /// Enters a state, without timers.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.timers.stop_all();
    }

    /// The delay is over: dials as soon as the limiter lets it.
    fn queue(&mut self, now: Instant) {
        let until = self.endpoints.reserve(now);
        if until <= now {
            self.dial(now);
        } else {
            self.enter(State::Queued);
            self.timers.set(Timer::Dial, until);
        }
    }

    /// Dials the current server.
    fn dial(&mut self, now: Instant) {
        self.reader = Reader::new(self.config.parser, self.config.limits);
        self.writer.begin();
        self.transports.begin();
        let offer = self.revision.offer();
        self.actions.push_back(Action::Dial(offer.asked));
        self.enter(State::Opening(Opening::new(offer)));
        self.timers.set(Timer::Connect, deadline_after(now, self.config.connect_timeout));
    }

    /// Events that were not written to the connection that they were meant for, and will not be.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Outgoing> {
        self.writer.take_unwritten()
    }

    /// Gives back the room of queues that are empty. To be called now and then.
    pub(crate) fn rest(&mut self) {
        give_back(&mut self.actions);
        give_back(&mut self.events);
        self.writer.queue().rest();
    }

    /// The counts, for the caller to take and reset.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    // What happened.

    /// The transport is there.
    pub(crate) fn handle_dialled(&mut self, now: Instant) {
        if let State::Opening(opening) = &mut self.state {
            opening.handle_dialled(now, &mut self.timers);
        }
    }

    /// The transport has found out which revision the server speaks.
    pub(crate) fn handle_revision(&mut self, now: Instant, protocol: Protocol) {
        if let State::Opening(opening) = &mut self.state
            && let Err(reason) = opening.handle_shown(protocol, &mut self.revision)
        {
            self.fail(now, reason);
        }
    }

    /// A websocket has taken the place of polling.
    pub(crate) fn handle_upgraded(&mut self) {
        self.transports.handle_upgraded();
    }

    /// There is no transport. `retry_after`: the server asks the client to wait this long.
    pub(crate) fn handle_dial_failed(
        &mut self,
        now: Instant,
        reason: Reason,
        retry_after: Option<Duration>,
    ) {
        if let State::Opening(opening) = &mut self.state
            && opening.is_dialling()
        {
            let next = opening.handle_refusal(reason, &mut self.revision);
            self.dial_again(now, next, retry_after.unwrap_or_default().min(LONGEST_PAUSE));
        }
    }

    /// The connection ended before the handshake.
    fn cut_short(&mut self, now: Instant, reason: Reason) {
        let reason = match reason {
            Reason::TooLarge { limit } => Reason::Connect(ConnectFailure::TooLarge { limit }),
            reason => reason,
        };
        if let State::Opening(opening) = &mut self.state {
            let next = opening.handle_cut(reason, &mut self.revision);
            self.dial_again(now, next, Duration::ZERO);
        }
    }

    /// Dials again for `next` in the time that is left, or tries the other transport, or gives up for this
    /// reason.
    fn dial_again(&mut self, now: Instant, next: Result<Protocol, Reason>, pause: Duration) {
        match next {
            Ok(protocol) => self.actions.push_back(Action::Dial(protocol)),
            Err(reason) if self.transports.handle_failure(&reason) => {
                let offer = self.revision.offer();
                self.actions.push_back(Action::Dial(offer.asked));
                self.state = State::Opening(Opening::new(offer));
                self.timers.set(Timer::Connect, deadline_after(now, self.config.connect_timeout));
            }
            Err(reason) => self.lost_for(now, reason, pause),
        }
    }

    /// Takes the next step from the dial to the session.
    fn step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Wait => {}
            Step::Pong => self.writer.queue().pong(),
            Step::Redial => self.dial(now),
            Step::Cut(reason) => self.cut_short(now, reason),
            Step::Lost(reason) => self.lost(now, reason),
            Step::Open { protocol, handshake, is_doubtful } => {
                self.opened(now, protocol, &handshake);
                if is_doubtful {
                    let half = self.config.join_timeout.checked_div(2).unwrap_or_default();
                    self.timers.set(Timer::Doubt, deadline_after(now, half));
                }
            }
        }
    }

    /// A websocket message came.
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: Frame) {
        self.tally.bytes_in = self.tally.bytes_in.saturating_add(frame.size());
        let Err(refused) = self.try_frame(now, frame) else { return };
        if matches!(&self.state, State::Opening(opening) if opening.is_greeting()) {
            let failure = match refused {
                Refused::TooLarge { limit } => Reason::TooLarge { limit },
                Refused::Protocol(ProtocolError::Handshake(error)) => {
                    Reason::Connect(ConnectFailure::Handshake(error))
                }
                Refused::Protocol(error) => {
                    Reason::Connect(ConnectFailure::Handshake(error.to_string()))
                }
            };
            self.actions.push_back(Action::Drop);
            return self.cut_short(now, failure);
        }
        let reason = self.parser_mismatch.explain_message(refused);
        self.fail(now, reason);
    }

    fn try_frame(&mut self, now: Instant, frame: Frame) -> Result<(), Refused> {
        match &mut self.state {
            State::Idle | State::Waiting | State::Queued | State::Closing { .. } => Ok(()),
            State::Opening(opening) => {
                let (reader, revision) = (&mut self.reader, &mut self.revision);
                let timers = &mut self.timers;
                let (step, input) = opening.handle_frame(now, frame, reader, revision, timers)?;
                if matches!(step, Step::Cut(_) | Step::Lost(_)) {
                    self.actions.push_back(Action::Drop);
                }
                self.step(now, step);
                input.map_or(Ok(()), |input| self.handle_input(now, input))
            }
            State::Open(open) => {
                open.handle_any(now, &mut self.timers);
                let input = self.reader.read(open.session.protocol, frame)?;
                self.handle_input(now, input)
            }
        }
    }

    /// Input of this session.
    fn handle_input(&mut self, now: Instant, input: Input) -> Result<(), Refused> {
        match input {
            Input::Packet(packet) => self.handle_packet(now, packet),
            Input::Ping => {
                let was_late = self.is_late();
                if let State::Open(open) = &mut self.state {
                    open.handle_ping(now, &mut self.timers);
                }
                // With polling, the ping may have come long ago, and the server may have given this side up
                // since. Only an answer to a request shows that it has not.
                if was_late && self.transport() == Transport::Polling {
                    self.writer.queue().pong_alone();
                } else {
                    self.writer.queue().pong();
                }
            }
            Input::Pong | Input::Nothing => {}
            Input::Unreadable(error) => self.events.push_back(Event::Unreadable(error)),
            Input::Broken(refused) => return Err(refused),
            Input::Close => {
                self.actions.push_back(Action::Drop);
                self.handle_lost(now, Reason::TransportClose(None));
            }
        }
        Ok(())
    }

    fn opened(&mut self, now: Instant, protocol: Protocol, handshake: &Handshake) {
        self.revision.settle(protocol);
        self.endpoints.begin_round();
        self.epoch = self.epoch.wrapping_add(1);
        let session = Session {
            epoch: self.epoch,
            protocol,
            sid: handshake.sid.clone(),
            max_payload: handshake.max_payload,
            has_base64: protocol == Protocol::Eio4
                && self.transports.current() == Transport::Polling,
            max_silence: handshake.max_silence(),
        };
        self.timers.stop_all();
        let open = Open::new(now, session.clone(), handshake, &mut self.timers);
        self.events.push_back(match open.root {
            Root::Free => Event::Opened(session),
            Root::Pending | Root::Joined | Root::Gone => Event::Greeted(session),
        });
        if open.root == Root::Pending {
            self.timers.set(Timer::Join, deadline_after(now, self.config.join_timeout));
        }
        self.parser_mismatch.begin();
        self.state = State::Open(open);
    }

    /// A packet is complete, or (`None`) waits for attachments.
    fn handle_packet(&mut self, now: Instant, packet: Option<Packet>) {
        let State::Open(open) = &mut self.state else { return };
        if self.reader.is_waiting() {
            let timeout = self.config.attachment_timeout;
            self.timers.start(Timer::Attachments, || deadline_after(now, timeout));
        } else {
            self.timers.stop(Timer::Attachments);
        }
        let Some(packet) = packet else { return };
        self.parser_mismatch.handle_packet();
        if let Body::Ack { id, .. } = packet.body {
            self.writer.handle_answer(&packet.namespace, id);
        }
        let is_pending = open.root == Root::Pending;
        if is_pending {
            self.timers.stop(Timer::Doubt);
        }
        let Session { protocol, max_payload, .. } = open.session;
        let is_sure = max_payload.is_some();
        if let Some(other) = self.revision.handle_packet(protocol, is_sure, is_pending, &packet) {
            return self.mistaken(now, other);
        }
        match open.root.handle_packet(&packet) {
            None => {}
            Some(change) => {
                self.timers.stop(Timer::Join);
                match change {
                    Change::Joined => {
                        self.revision.confirm();
                        self.events.push_back(Event::Opened(open.session.clone()));
                    }
                    Change::Refused(reason) => {
                        return self.events.push_back(Event::Refused(reason));
                    }
                }
            }
        }
        self.events.push_back(Event::Packet(packet));
    }

    /// The server speaks this revision after all: it answered a ping, as old servers do, or
    /// the connection was lost by chance when it was asked.
    fn mistaken(&mut self, now: Instant, protocol: Protocol) {
        let may_dial = self.revision.correct(protocol);
        let failure = format!("it was taken for one of another protocol revision than {protocol}");
        let reason = Reason::Connect(ConnectFailure::Handshake(failure));
        if self.is_closing() || !self.wanted || !may_dial {
            return self.fail(now, reason);
        }
        self.actions.push_back(Action::Drop);
        self.tell_lost(reason, true);
        self.dial(now);
    }

    /// The pong of the websocket layer to ping number `ping`.
    pub(crate) fn handle_pong(&mut self, now: Instant, ping: u64) {
        if let State::Opening(opening) = &self.state {
            opening.handle_pong(now, ping, &mut self.timers);
        }
        let is_open = self.open().is_some();
        self.writer.handle_pong(now, ping, is_open, &mut self.timers);
        if is_open {
            self.try_close();
            self.try_replace(now);
        }
    }

    /// The websocket is gone.
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: Reason) {
        match &self.state {
            State::Idle | State::Waiting | State::Queued => {}
            State::Opening(opening) => {
                let is_written = self.writer.queue().is_empty();
                let step = opening.handle_lost(reason, is_written, &mut self.revision);
                self.step(now, step);
            }
            State::Open(open) => {
                let is_limited = open.session.max_payload.is_some();
                let reason = self.writer.handle_lost(reason, is_limited);
                self.lost(now, reason);
            }
            State::Closing { .. } => self.end(Reason::Shutdown),
        }
    }

    /// The driver has woken up, or has read what there was. `is_more`: there may be more.
    pub(crate) fn note_lateness(&mut self, now: Instant, is_more: bool) {
        if let State::Open(open) = &mut self.state {
            open.note_lateness(now, is_more, &mut self.timers);
        }
    }

    /// Whether nothing may be written until everything that has come is read: the heartbeat is overdue.
    pub(crate) fn is_late(&self) -> bool {
        self.open().is_some_and(Open::is_late)
    }

    /// The machine was suspended for about `gap`, which is not in `now` and the deadlines. If
    /// the server cannot have waited that long, the connection is gone, and nothing will report it: it ends
    /// when everything that came before has been read.
    pub(crate) fn handle_suspended(&mut self, now: Instant, gap: Duration) {
        let (max_silence, reason) = match &mut self.state {
            State::Idle | State::Waiting | State::Queued | State::Closing { .. } => return,
            State::Opening(opening) => match opening.handshake() {
                Some(handshake) => (handshake.max_silence(), Reason::PingTimeout),
                None => (self.config.connect_timeout, Reason::Connect(ConnectFailure::TimedOut)),
            },
            State::Open(open) => return open.handle_suspended(now, gap, &mut self.timers),
        };
        if gap > max_silence {
            self.fail(now, reason);
        }
    }

    /// Ends the connection from this side.
    fn fail(&mut self, now: Instant, reason: Reason) {
        self.actions.push_back(Action::Drop);
        self.lost(now, reason);
    }

    /// The connection is gone: waits for the next attempt, if there is to be one.
    fn lost(&mut self, now: Instant, reason: Reason) {
        self.lost_for(now, reason, Duration::ZERO);
    }

    /// The same, with a wait of at least `pause`.
    fn lost_for(&mut self, now: Instant, reason: Reason, pause: Duration) {
        let (reason, since) = if let State::Open(open) = &self.state {
            let reason = self.parser_mismatch.explain_end(reason, open.is_closing);
            (reason, Some(open.since()))
        } else {
            (self.transports.weightier(reason), None)
        };
        if let Some(since) = since {
            self.endpoints.note_session(since, now);
        }
        let was_open = since.is_some();
        let failed = self.endpoints.current();
        // The next request has new credentials anyway, so `WithNewAuth` means nothing special here.
        if self.is_closing()
            || !self.wanted
            || self.endpoints.choose(&reason, &self.config.name) == Retry::Stop
        {
            let reason = self.told(failed, reason, was_open);
            return self.end(reason);
        }
        let next =
            self.at_endpoint(|endpoints| endpoints.handle_failure(now, &reason, pause, was_open));
        match next {
            Next::Dial => {
                self.last_reason = Some(Box::new(reason.clone()));
                self.events.push_back(Event::Passed { endpoint: failed, reason });
                self.dial(now);
            }
            Next::Wait { attempt, delay } => {
                let reason = self.told(failed, reason, was_open);
                self.enter(State::Waiting);
                self.timers.set(Timer::Delay, deadline_after(now, delay));
                self.tell_lost(reason.clone(), true);
                self.events.push_back(Event::Retrying { attempt, delay, reason });
            }
            Next::GiveUp { attempts } => {
                let reason = self.told(failed, reason, was_open);
                self.end(reason.clone());
                if attempts > 0 {
                    self.events.push_back(Event::GaveUp { attempts, reason });
                }
            }
        }
    }

    /// The reason to report for the server at this place, which has `failed`.
    fn told(&self, failed: usize, reason: Reason, was_open: bool) -> Reason {
        let names = &self.config.endpoints;
        if was_open { reason } else { self.endpoints.told(names, failed, reason) }
    }

    /// Does something that may change to another server, about which nothing is known.
    fn at_endpoint<T>(&mut self, act: impl FnOnce(&mut Endpoints) -> T) -> T {
        let before = self.endpoints.current();
        let outcome = act(&mut self.endpoints);
        if self.endpoints.current() != before {
            self.revision = Revision::new(self.config.pin);
            self.transports = Transports::new(self.config.transports);
            self.parser_mismatch = ParserMismatch::new(self.config.parser);
        }
        outcome
    }

    /// The connection is gone, and the client does not try again by itself.
    fn end(&mut self, reason: Reason) {
        self.enter(State::Idle);
        self.endpoints.reset();
        self.tell_lost(reason, false);
    }

    fn tell_lost(&mut self, reason: Reason, again: bool) {
        let suspect = self.writer.end(&mut self.tally);
        self.last_reason = Some(Box::new(reason.clone()));
        self.events.push_back(Event::Lost { reason, again, suspect });
    }

    /// It may be called early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut last = None;
        while let Some(timer) = self.timers.expire(now, last) {
            last = Some(timer);
            match timer {
                Timer::Delay => {
                    self.endpoints.begin_round();
                    self.queue(now);
                }
                Timer::Dial => self.dial(now),
                Timer::Connect => {
                    let reason = Reason::Connect(ConnectFailure::TimedOut);
                    self.actions.push_back(Action::Drop);
                    match &self.state {
                        State::Opening(opening) if opening.is_greeting() => {
                            self.cut_short(now, reason);
                        }
                        _ => {
                            self.transports.handle_failure(&reason);
                            self.lost(now, reason);
                        }
                    }
                }
                Timer::Probe => self.probe(now),
                Timer::Leave => {
                    let is_polling = self.transport() == Transport::Polling;
                    self.writer.handle_timeout(now, is_polling, &mut self.timers);
                    self.try_close();
                    self.try_replace(now);
                    if self.open().is_none() {
                        // What is queued must be written before the time to close is over.
                        return;
                    }
                }
                Timer::Confirm => self.writer.ask(),
                Timer::Heartbeat => self.beat(now),
                Timer::Attachments => {
                    self.fail(now, Reason::Protocol(ProtocolError::AttachmentsMissing));
                }
                Timer::Close => self.fail(now, Reason::Shutdown),
                Timer::Join => {
                    self.revision.forget();
                    let reason = Reason::JoinTimeout;
                    let reason = self.revision.explain_silence(Protocol::Eio3, reason);
                    self.fail(now, reason);
                }
                Timer::Doubt => self.mistaken(now, Protocol::Eio4),
            }
        }
    }

    fn probe(&mut self, now: Instant) {
        if let State::Opening(opening) = &mut self.state {
            let step = opening.handle_probe(now, self.writer.queue(), &mut self.timers);
            self.step(now, step);
        }
    }

    fn beat(&mut self, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        match open.handle_timeout(now, &mut self.timers) {
            Due::Nothing => {}
            Due::Ping => self.writer.queue().heartbeat(),
            Due::Dead => self.fail(now, Reason::PingTimeout),
        }
    }

    // What there is to do.

    /// The one moment at which [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Writes the next message. `false` if there is none.
    pub(crate) fn poll_transmit(&mut self, write: impl FnOnce(Message<'_>)) -> bool {
        let protocol = match &self.state {
            State::Open(open) => Some(open.session.protocol),
            State::Closing { protocol } => Some(*protocol),
            _ => None,
        };
        let note_request = || self.parser_mismatch.note_request();
        self.writer.transmit(protocol, &mut self.tally, write, note_request)
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// The packet with which a server of revision 3 says that `/` is joined, for a namespace that did
/// not exist when it came.
pub(crate) fn joined_root() -> Packet {
    Packet::new(root(), Body::Connect(None))
}

#[cfg(test)]
mod tests;
