//! One namespace: joining and leaving it, its buffer, its acks.
//!
//! Events emitted while it is not joined are buffered, in order. Events that arrive while it is being
//! joined are passed on: servers replay a recovered session before they answer, and some let their
//! connection handler emit first.
//!
//! The parts: [`join`] decides when the namespace is joined, and [`request`] writes the request for that;
//! [`buffer`] holds the events that wait to be sent; [`acks`] the emits that wait for an answer, and
//! [`retries`] those that are sent again until they are answered.

mod acks;
mod buffer;
mod events;
mod join;
mod request;
mod retries;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::Value;

use self::{
    acks::{Acks, Left},
    buffer::Buffer,
    join::{Join, Late, Next, Overdue},
    retries::{Message, Retries},
};
pub(crate) use self::{
    events::{Event, PendingAck, Request, Tally},
    request::{Auth, Credentials, escape},
};
use super::{
    config::Config,
    deadline::deadline_after,
    engine::{Protocol, session_id},
    outgoing::Outgoing,
    packet::{Body, Packet},
    peer_text,
    recovery::Recovery,
    refusal::refusal,
    session::Session,
    suspect::Suspect,
};
use crate::{
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        error::{AckError, EmitError},
        reason::{ConnectFailure, Reason},
    },
};

/// Volatile events are dropped when more than this wait to be written.
const CONGESTED: usize = 64;
/// The least time for a try of an event that is sent until it is answered.
const MIN_TRY: Duration = Duration::from_millis(1);
/// Expired events are dropped within this time.
const SWEEP: Duration = Duration::from_millis(100);

/// The parts of a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) namespace: ByteString,
    pub(crate) credentials: Credentials,
    pub(crate) recovery: Option<Recovery>,
    /// The seed of the jitter.
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Namespace<W> {
    setup: Setup,
    join: Join,
    /// The number of packets that were sent.
    emitted: u64,
    buffer: Buffer,
    acks: Acks<AckOwner<W>>,
    retries: Retries<W>,
    /// When to look for expired events, in the buffer and among the retries.
    sweep: Option<Instant>,
    recovery: Option<Recovery>,
    transmit: VecDeque<Outgoing>,
    leaves: VecDeque<(u64, Packet)>,
    events: VecDeque<Event<W>>,
    tally: Tally,
}

/// An emit that waits for an answer.
#[derive(Debug)]
enum AckOwner<W> {
    Application(W),
    /// A message of [`Retries`].
    Retries,
}

impl<W> Namespace<W> {
    /// A new namespace, which waits for a connection.
    pub(crate) fn new(setup: Setup) -> Self {
        let is_root = setup.namespace == *"/";
        Self {
            join: Join::new(Arc::clone(&setup.config), is_root, setup.seed),
            emitted: 0,
            buffer: Buffer::default(),
            acks: Acks::default(),
            retries: Retries::new(setup.config.retry_window),
            sweep: None,
            recovery: setup.recovery.clone(),
            transmit: VecDeque::new(),
            leaves: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
            setup,
        }
    }

    /// Why this namespace has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Reason> {
        self.join.ended()
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.join.is_joined()
    }

    /// Whether the server has let this client in, as far as is known.
    pub(crate) fn has_begun(&self) -> bool {
        self.join.has_begun()
    }

    /// The number of the connection that this namespace is joined, or being joined, on.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.join.epoch()
    }

    /// The connection is a websocket now.
    pub(crate) fn handle_upgraded(&mut self) {
        self.join.handle_upgraded();
    }

    /// The largest message that the server accepts, if known.
    pub(crate) fn max_payload(&self) -> Option<u64> {
        let session = self.join.session()?;
        self.setup.config.max_payload.or(session.max_payload)
    }

    /// The number of attempts to join this namespace, successful or not. There may be several of them on one
    /// connection, and the server begins anew with each.
    pub(crate) fn last_join_id(&self) -> u64 {
        self.join.last_id()
    }

    /// The same, while it is joined or being joined.
    pub(crate) fn join_id(&self) -> Option<u64> {
        self.join.session().map(|_| self.join.last_id())
    }

    /// Whether nothing waits to be sent or answered that still can be.
    pub(crate) fn is_done(&self) -> bool {
        self.ended().is_some()
            || self.buffer.is_empty() && self.retries.is_empty() && self.acks.is_empty()
    }

    /// How many events wait to be sent.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// How to continue this session, if the server recovers sessions.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// The counts, for the caller to take and reset.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    // What the application wants.

    /// Joins again after an end, because the application wants it. `true` if a connection must be
    /// requested for that: not if the namespace is joined or being joined, or if the server may still
    /// answer.
    pub(crate) fn join(&mut self, now: Instant) -> bool {
        self.join.rejoin(now)
    }

    /// Leaves. What was emitted before must have been taken with
    /// [`take_transmit`](Self::take_transmit).
    pub(crate) fn leave(&mut self, reason: Reason) {
        if self.is_joined()
            && let Some(epoch) = self.epoch()
        {
            self.say_goodbye(epoch);
        }
        // No server continues a session that the client has left.
        self.recovery = None;
        if self.is_asked() {
            self.join.note_owed();
        }
        self.end(reason);
    }

    /// Lets go of the session, which the server may continue later: when the connection is lost, it rests until
    /// it [wakes](Self::wake). Gives the number of the connection, which is to be closed, unless that is known.
    pub(crate) fn let_go(&mut self) -> Option<u64> {
        self.join.let_go()
    }

    /// Whether it lets go of its session, or has done so.
    pub(crate) fn is_let_go(&self) -> bool {
        self.join.is_let_go()
    }

    /// Ends the rest. `true` if it rested, so that a connection must be requested.
    pub(crate) fn wake(&mut self) -> bool {
        self.join.wake()
    }

    fn say_goodbye(&mut self, epoch: u64) {
        self.leaves.push_back((epoch, self.packet(Body::Disconnect)));
        self.join.leave(epoch);
    }

    /// Whether the request to join has gone out, if one was made.
    fn is_asked(&self) -> bool {
        !self.transmit.iter().any(|one| matches!(one.packet.body, Body::Connect(_)))
    }

    /// Sends an event, or buffers it.
    ///
    /// # Errors
    ///
    /// The event is not accepted. The caller that waits for the answer, if any, has been told.
    pub(crate) fn emit(&mut self, request: Request<W>) -> Result<(), EmitError> {
        if let Some(error) = self.refusal(&request) {
            if let Some(PendingAck { waiter, .. }) = request.ack {
                let outcome = Err(AckError::NeverSent(error.clone()));
                self.events.push_back(Event::Answered(waiter, outcome));
            }
            if let Some(permit) = request.permit {
                permit.refuse(&error);
            }
            return Err(error);
        }
        let Request { mut emit, permit, offline, expires, ack } = request;
        if offline == Offline::Fail && emit.terms.is_none() {
            // It must not wait for the next session either.
            emit = emit.volatile();
        }
        let id = match ack {
            None => None,
            Some(PendingAck { waiter, since, timeout, retries: 0, .. }) => {
                let (id, deadline) = (self.acks.id(), deadline_after(since, timeout));
                let waiter = AckOwner::Application(waiter);
                if self.is_joined() {
                    self.acks.insert_sent(id, waiter, deadline, since);
                } else {
                    self.acks.insert(id, waiter, deadline);
                }
                Some(id)
            }
            Some(PendingAck { waiter, since, timeout, retries, id }) => {
                let timeout = timeout.max(MIN_TRY);
                let message =
                    Message { emit, id, waiter, timeout, retries, expires, tries: 0, permit };
                self.retries.push(self.acks.id(), message);
                self.sweep_by(expires);
                self.send_reliable(since);
                return Ok(());
            }
        };
        let Emit { payload, terms } = emit;
        let packet = self.packet(Body::Event { id, payload });
        self.push(Outgoing { permit, terms, expires, ..Outgoing::bare(packet) });
        Ok(())
    }

    fn packet(&self, body: Body) -> Packet {
        Packet::new(self.setup.namespace.clone(), body)
    }

    /// Why an event is not accepted, if so.
    fn refusal(&self, request: &Request<W>) -> Option<EmitError> {
        let Request { emit, permit, offline, .. } = request;
        if let Some(reason) = self.ended() {
            Some(EmitError::Closed(reason.clone()))
        } else if self.is_joined() {
            let handed = permit.as_ref().map_or(0, SendPermit::handed);
            (emit.is_volatile() && handed > CONGESTED).then_some(EmitError::Discarded)
        } else {
            let is_offline = *offline == Offline::Fail && !self.has_begun();
            (emit.is_volatile() || is_offline).then_some(EmitError::Offline)
        }
    }

    /// Answers an event that came in the session with this join id. `false` if that session has
    /// ended.
    pub(crate) fn answer(
        &mut self,
        join_id: u64,
        id: u64,
        payload: Payload,
        permit: Option<SendPermit>,
    ) -> bool {
        let is_current = self.join_id() == Some(join_id);
        if is_current {
            let packet = self.packet(Body::Ack { id, payload });
            self.push(Outgoing { permit, ..Outgoing::bare(packet) });
        }
        is_current
    }

    fn push(&mut self, mut outgoing: Outgoing) {
        self.emitted = self.emitted.wrapping_add(1);
        outgoing.number = self.emitted;
        if self.is_joined() {
            return self.transmit(outgoing);
        }
        self.sweep_by(outgoing.expires);
        if let Some(old) = self.buffer.push(outgoing) {
            self.replaced(old);
        }
    }

    /// Another event has replaced this one.
    fn replaced(&mut self, mut old: Outgoing) {
        self.tally.replaced = self.tally.replaced.saturating_add(1);
        if let Some(permit) = old.permit.take() {
            permit.replaced(&EmitError::Discarded);
        }
        self.never_sent(old, EmitError::Discarded);
    }

    /// Looks for expired events at this time, at the latest.
    fn sweep_by(&mut self, expires: Option<Instant>) {
        self.sweep = self.sweep.into_iter().chain(expires).min();
    }

    /// Hands an event to the connection, unless the server would close the connection over it.
    fn transmit(&mut self, outgoing: Outgoing) {
        match self.too_large(&outgoing.packet) {
            None => self.transmit.push_back(outgoing),
            Some(error) => self.never_sent(outgoing, error),
        }
    }

    fn too_large(&mut self, packet: &Packet) -> Option<EmitError> {
        let limit = self.max_payload()?;
        let session = self.join.session()?;
        let parser = self.setup.config.parser;
        let size = packet.exceeds(parser, session.protocol, limit).or_else(|| {
            session.has_base64.then(|| packet.exceeds_as_base64(parser, limit)).flatten()
        })?;
        self.events.push_back(Event::TooLarge { size, limit });
        Some(EmitError::PayloadTooLarge { size, limit })
    }

    /// This event was never sent, and will not be. Callers that wait for it, or for the answer to it, learn
    /// why.
    fn never_sent(&mut self, outgoing: Outgoing, error: EmitError) {
        let id = outgoing.ack_id();
        if let Some(permit) = outgoing.permit {
            permit.refuse(&error);
        }
        let Some(id) = id else { return };
        if let Some(Left { waiter: AckOwner::Application(waiter), .. }) = self.acks.remove(id) {
            self.fail(waiter, Err(error));
        }
    }

    /// An emit fails: either it was sent and not answered (`Ok`), or it was not sent (`Err`).
    fn fail(&mut self, waiter: W, error: Result<AckError, EmitError>) {
        let error = match error {
            Ok(error) => {
                self.tally.unanswered = self.tally.unanswered.saturating_add(1);
                error
            }
            Err(error) => AckError::NeverSent(error),
        };
        self.events.push_back(Event::Answered(waiter, Err(error)));
    }

    /// The same for an emit with retries.
    fn fail_message(&mut self, message: Message<W>, sent: AckError, unsent: EmitError) {
        let was_sent = message.was_sent();
        let Message { waiter, permit, .. } = message;
        match permit {
            // It is counted as unanswered, not as discarded.
            Some(permit) if was_sent => permit.settled(),
            Some(permit) => permit.refuse(&unsent),
            None => {}
        }
        self.fail(waiter, if was_sent { Ok(sent) } else { Err(unsent) });
    }

    /// Sends events with retries, as far as the window allows.
    fn send_reliable(&mut self, now: Instant) {
        while self.is_joined()
            && let Some((id, message)) = self.retries.next()
        {
            let payload = message.payload();
            let deadline = deadline_after(now, message.timeout);
            let is_over = message.expires.is_some_and(|at| at <= now);
            let body = Body::Event { id: Some(id), payload };
            let packet = self.packet(body);
            let error = if is_over { Some(EmitError::Expired) } else { self.too_large(&packet) };
            if let Some(error) = error {
                if let Some(message) = self.retries.remove(id) {
                    self.fail_message(message, AckError::TimedOut, error);
                }
                continue;
            }
            if self.retries.note_sent(id) {
                self.tally.resent = self.tally.resent.saturating_add(1);
            }
            self.acks.insert_sent(id, AckOwner::Retries, deadline, now);
            self.transmit.push_back(Outgoing::bare(packet));
        }
    }

    /// Takes back the events that were never sent. Callers that wait are told that this is the cause.
    pub(crate) fn take_unsent(&mut self, cause: &EmitError) -> Vec<Emit> {
        let mut unsent = Vec::new();
        for mut outgoing in self.buffer.drain() {
            if let Body::Event { payload, .. } = &outgoing.packet.body {
                unsent.push(Emit { payload: payload.clone(), terms: outgoing.terms.take() });
                self.never_sent(outgoing, cause.clone());
            }
        }
        for message in self.retries.drain_unsent() {
            unsent.push(message.emit.clone());
            self.fail_message(message, AckError::TimedOut, cause.clone());
        }
        unsent
    }

    /// The packets for the connection.
    pub(crate) fn take_transmit(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.transmit)
    }

    // What happened.

    /// There is a connection, and it takes requests to join.
    pub(crate) fn handle_open(&mut self, now: Instant, session: Session) {
        if !self.join.is_waiting() {
            return;
        }
        let needs_none = self.join.is_implicit(&session);
        if needs_none && !matches!(self.setup.credentials, Credentials::Fixed(None)) {
            self.events.push_back(Event::AuthUnused);
        }
        match self.setup.credentials.clone() {
            Credentials::Provided if !needs_none => self.join.ask(now, session),
            Credentials::Provided => self.request(now, session, None),
            Credentials::Fixed(auth) => self.request(now, session, auth.as_ref()),
        }
    }

    /// The number of the question to the application for the credentials, while there is one.
    pub(crate) fn wants_auth(&self) -> Option<u64> {
        self.join.question()
    }

    /// Attempts in a row to join.
    pub(crate) fn attempts(&self) -> u32 {
        self.join.attempts()
    }

    /// The application has given the credentials, or the reason why it does not.
    pub(crate) fn handle_auth(&mut self, now: Instant, auth: Result<Option<Auth>, Reason>) {
        let Some(session) = self.join.asking().cloned() else { return };
        match auth {
            Ok(auth) => self.request(now, session, auth.as_ref()),
            Err(reason) => self.stop(now, reason),
        }
    }

    /// Asks the server to let this namespace in.
    fn request(&mut self, now: Instant, session: Session, auth: Option<&Auth>) {
        let (protocol, recovery) = (session.protocol, self.recovery.as_ref());
        let packet = request::request(protocol, &self.setup.namespace, auth, recovery);
        self.transmit.extend(packet.map(Outgoing::bare));
        self.join.request(now, session);
    }

    /// A packet of this namespace came.
    pub(crate) fn handle_packet(&mut self, now: Instant, epoch: u64, packet: Packet) {
        let settles = !matches!(packet.body, Body::Event { .. } | Body::Ack { .. });
        if self.join.handle_late(now, epoch, settles) == Late::Ended {
            if matches!(packet.body, Body::Connect(_)) {
                self.say_goodbye(epoch);
            }
            return;
        }
        if self.epoch() != Some(epoch) {
            return;
        }
        let joining = !self.is_joined();
        match packet.body {
            Body::Connect(reply) if joining => self.handle_reply(now, reply.as_deref()),
            Body::ConnectError(data) if joining => {
                self.stop(now, Reason::Refused(refusal(data.as_deref())));
            }
            Body::Connect(_) if self.join.was_repeated_on(epoch) => {
                self.events.push_back(Event::JoinedTwice { epoch });
            }
            Body::ConnectError(data) if self.is_old() => {
                self.events.push_back(Event::ServerError(refusal(data.as_deref())));
            }
            // Once joined, neither of these means anything in revision 4.
            Body::Connect(_) | Body::ConnectError(_) => {}
            // The server ended the namespace while the client left it: this belongs to the earlier session.
            Body::Disconnect if joining && self.join.was_left_on(epoch) => {}
            Body::Disconnect => {
                // A server does not continue a session that it has ended.
                self.recovery = None;
                self.stop(now, Reason::ServerDisconnect);
            }
            Body::Event { id, payload } => self.handle_event(id, payload),
            Body::Ack { id, payload } => self.handle_answer(now, id, payload),
        }
    }

    fn is_old(&self) -> bool {
        self.join.session().is_some_and(|session| session.protocol == Protocol::Eio3)
    }

    fn handle_event(&mut self, id: Option<u64>, payload: Payload) {
        let mut is_recoverable = false;
        if let Some(recovery) = &mut self.recovery
            && id.is_none()
        {
            if self.join.is_joining() && recovery.has_seen(&payload) {
                self.tally.repeated = self.tally.repeated.saturating_add(1);
                return;
            }
            is_recoverable = recovery.note(&payload);
        }
        self.join.handle_event();
        self.tally.received = self.tally.received.saturating_add(1);
        self.events.push_back(Event::Received { id, payload, is_recoverable });
    }

    fn handle_answer(&mut self, now: Instant, id: u64, payload: Payload) {
        let Some((waiter, sent)) = self.acks.answered(id) else {
            self.tally.late = self.tally.late.saturating_add(1);
            return;
        };
        if let Some(trip) = now.checked_duration_since(sent) {
            self.tally.acked = self.tally.acked.saturating_add(1);
            self.tally.round_trips.note(trip);
        }
        match waiter {
            AckOwner::Application(waiter) => {
                self.events.push_back(Event::Answered(waiter, Ok(payload)));
            }
            AckOwner::Retries => {
                if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
                    if let Some(permit) = permit {
                        permit.settled();
                    }
                    self.events.push_back(Event::Answered(waiter, Ok(payload)));
                }
                self.send_reliable(now);
            }
        }
    }

    fn handle_reply(&mut self, now: Instant, reply: Option<&str>) {
        #[derive(Deserialize)]
        struct Reply {
            sid: Value,
            #[serde(default)]
            pid: Value,
        }
        let Some(session) = self.join.session().cloned() else { return };
        let mut recovered = false;
        let sid = match session.protocol {
            Protocol::Eio4 => {
                let reply = reply.and_then(|json| serde_json::from_str::<Reply>(json).ok());
                let reply = reply.and_then(|Reply { sid, pid }| Some((session_id(&sid)?, pid)));
                let Some((sid, pid)) = reply else {
                    let failure = ConnectFailure::Unsupported {
                        asked: Protocol::Eio4,
                        server: format!("the server answers like one of {}", Protocol::Eio3),
                    };
                    return self.stop(now, Reason::Connect(failure));
                };
                let sid = match sid {
                    Ok(sid) => sid,
                    Err(error) => return self.stop(now, Reason::Protocol(error)),
                };
                let held = self.recovery.take();
                let same = held.filter(|held| pid.as_str().is_some_and(|pid| held.is_of(pid)));
                recovered = same.is_some();
                self.recovery = same.or_else(|| {
                    // Without an offset, there is no recovery.
                    let pid = peer_text::Kind::PrivateId.keep(pid.as_str()?).ok()?;
                    Some(Recovery::new(pid, String::new()))
                });
                sid.into_inner()
            }
            Protocol::Eio3 if self.join.is_implicit(&session) => session.sid.into_inner(),
            Protocol::Eio3 => format!("{}#{}", self.setup.namespace, &*session.sid).into(),
        };
        self.join.handle_reply(now);
        self.flush(now);
        self.events.push_back(Event::Ready { sid, recovered });
    }

    /// Sends the waiting events.
    fn flush(&mut self, now: Instant) {
        self.drop_expired(now);
        while let Some(outgoing) = self.buffer.pop() {
            if let Some(id) = outgoing.ack_id() {
                self.acks.sent(id, now);
            }
            self.transmit(outgoing);
        }
        self.send_reliable(now);
    }

    /// The connection is gone, or there never was one. If it is tried `again`, this namespace
    /// waits for it; if not, it ends. What the connection did not write must have been
    /// [taken back](Self::take_back).
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: Reason, again: bool) {
        self.join.handle_lost(now);
        if !again {
            return self.end(reason);
        }
        let reason = if self.join.is_let_go() { Reason::SlowSubscriber } else { reason };
        if self.join.session().is_some() {
            self.interrupt(&reason);
            if self.is_joined() {
                self.events.push_back(Event::Disconnected(reason));
            }
            self.join.wait();
        } else if self.join.asking().is_some() {
            self.join.wait();
        }
    }

    /// The connection was lost right after an event of this namespace, over which the server may have ended
    /// it. Comes before [`handle_lost`](Self::handle_lost).
    pub(crate) fn handle_suspect(&mut self, suspect: Suspect) {
        if !suspect.is_convicted() {
            // If it is one of several events that are sent again, this shows which.
            self.retries.send_one_by_one();
            return self.events.push_back(Event::Suspected(suspect.event));
        }
        let Suspect { id, event, .. } = suspect;
        if let Some(id) = id {
            let left = self.acks.remove(id);
            let error = AckError::Unsendable(event.clone());
            if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
                permit.into_iter().for_each(SendPermit::settled);
                self.fail(waiter, Ok(error));
            } else if let Some(Left { waiter: AckOwner::Application(waiter), .. }) = left {
                self.fail(waiter, Ok(error));
            }
        }
        self.events.push_back(Event::Unsendable(event));
    }

    /// An old server refused `/`, and with it this namespace.
    pub(crate) fn handle_refused(&mut self, now: Instant, reason: Reason) {
        self.join.handle_refused();
        if self.ended().is_none() {
            self.stop(now, reason);
        }
    }

    /// The server has ended this namespace, or did not let it begin. It is tried again if the
    /// policy says so.
    fn stop(&mut self, now: Instant, reason: Reason) {
        let is_asked = self.is_asked();
        let can_renew = matches!(self.setup.credentials, Credentials::Provided);
        match self.join.decide(now, &reason, is_asked, can_renew) {
            Next::Attempt { attempt, delay } => {
                self.interrupt(&reason);
                self.tell_end(&reason);
                self.join.pause(now, delay);
                self.events.push_back(Event::Retrying { attempt, delay, reason });
            }
            Next::End { gave_up } => {
                self.end(reason.clone());
                if let Some(attempts) = gave_up {
                    self.events.push_back(Event::GaveUp { attempts, reason });
                }
            }
        }
    }

    /// The namespace is over, until somebody joins it again. What is buffered and asks for no
    /// answer is kept for that.
    pub(crate) fn end(&mut self, reason: Reason) {
        if self.ended().is_some() {
            return;
        }
        self.interrupt(&reason);
        for outgoing in self.buffer.take_all_asking() {
            self.never_sent(outgoing, EmitError::Closed(reason.clone()));
        }
        for message in self.retries.drain() {
            let closed = EmitError::Closed(reason.clone());
            self.fail_message(message, AckError::Disconnected(reason.clone()), closed);
        }
        self.tell_end(&reason);
        self.join.end(reason);
    }

    /// The events that wait now may wait for ever: tells the callers that wait for them. To be called after
    /// an end, as soon as they can see it.
    pub(crate) fn strand(&self) {
        self.buffer.strand();
    }

    fn tell_end(&mut self, reason: &Reason) {
        self.events.push_back(if self.is_joined() {
            Event::Disconnected(reason.clone())
        } else {
            Event::ConnectError(reason.clone())
        });
    }

    /// The session is over: events that were sent have failed, or are sent again.
    fn interrupt(&mut self, reason: &Reason) {
        self.end_session();
        for id in self.retries.lost() {
            // This may be the event that the server did not accept.
            if *reason == Reason::TooLargeForServer
                && let Some(message) = self.retries.timed_out(id)
            {
                let closed = EmitError::Closed(reason.clone());
                self.fail_message(message, AckError::Disconnected(reason.clone()), closed);
            }
        }
        self.sweep_by(self.retries.expiry());
        for waiter in self.acks.fail() {
            if let AckOwner::Application(waiter) = waiter {
                self.fail(waiter, Ok(AckError::Disconnected(reason.clone())));
            }
        }
    }

    /// Events that were not written before the session ended wait for the next session, if they may;
    /// answers were for this session only.
    fn end_session(&mut self) {
        let unwritten = std::mem::take(&mut self.transmit);
        for volatile in self.buffer.end_session() {
            self.never_sent(volatile, EmitError::Offline);
        }
        self.take_back(unwritten);
    }

    /// Puts events that the connection did not write back in their places among those that wait. Events that
    /// must not wait are dropped.
    pub(crate) fn take_back(&mut self, unwritten: impl IntoIterator<Item = Outgoing>) {
        let mut returning = Vec::new();
        for mut outgoing in unwritten {
            let Body::Event { id, .. } = outgoing.packet.body else { continue };
            if let Some(permit) = &mut outgoing.permit {
                permit.take_back();
            }
            if outgoing.is_volatile() {
                self.never_sent(outgoing, EmitError::Offline);
                continue;
            }
            if let Some(id) = id {
                if self.retries.note_unwritten(id) {
                    // Messages with retries have a queue of their own.
                    continue;
                }
                if !self.acks.unsent(id) {
                    // Nobody waits any more.
                    self.never_sent(outgoing, EmitError::Expired);
                    continue;
                }
            }
            self.sweep_by(outgoing.expires);
            returning.push(outgoing);
        }
        for replaced in self.buffer.put_back(returning) {
            self.replaced(replaced);
        }
        if self.ended().is_some() {
            self.strand();
        }
    }

    /// It may be called early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.expire_acks(now);
        if self.sweep.is_some_and(|at| at <= now) {
            self.drop_expired(now);
        }
        match self.join.handle_timeout(now) {
            None => {}
            Some(Overdue::Rejoin) => self.events.push_back(Event::Rejoin),
            Some(Overdue::Credentials) => {
                self.stop(now, Reason::Provider("no credentials in time".to_owned()));
            }
            Some(Overdue::Answer) => self.stop(now, Reason::JoinTimeout),
        }
    }

    fn expire_acks(&mut self, now: Instant) {
        while let Some(Left { id, waiter, sent }) = self.acks.expired(now) {
            match waiter {
                AckOwner::Retries => {
                    if let Some(message) = self.retries.timed_out(id) {
                        self.fail_message(message, AckError::TimedOut, EmitError::Expired);
                    }
                }
                AckOwner::Application(waiter) => {
                    if let Some(outgoing) = self.buffer.take_asking(id) {
                        self.never_sent(outgoing, EmitError::Expired);
                    }
                    let outcome = sent.map(|_| AckError::TimedOut).ok_or(EmitError::Expired);
                    self.fail(waiter, outcome);
                }
            }
        }
        self.send_reliable(now);
    }

    fn drop_expired(&mut self, now: Instant) {
        self.sweep = None;
        for outgoing in self.buffer.expired(now) {
            self.never_sent(outgoing, EmitError::Expired);
        }
        for message in self.retries.expired(now) {
            self.fail_message(message, AckError::TimedOut, EmitError::Expired);
        }
        let next = self.buffer.expiry().into_iter().chain(self.retries.expiry()).min();
        self.sweep = next.map(|next| next.max(deadline_after(now, SWEEP)));
    }

    // What there is to do.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let join = self.join.poll_timeout();
        join.into_iter().chain(self.acks.poll_timeout()).chain(self.sweep).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.events.pop_front()
    }

    /// A packet that leaves the namespace on the connection with that number, to be sent after everything
    /// that waits to be transmitted.
    pub(crate) fn poll_leave(&mut self) -> Option<(u64, Packet)> {
        self.leaves.pop_front()
    }
}

#[cfg(test)]
mod tests;
