//! One namespace: joining and leaving it, its buffer, its acks.
//!
//! Events emitted while it is not joined are buffered, in order. Events that arrive while it is being
//! joined are passed on: servers replay a recovered session before they answer, and some let their
//! connection handler emit first.
//!
//! The parts: [`join`] decides when the namespace is joined, and [`request`] writes the request for that;
//! [`outbox`] has the events on their way out, until there is an outcome.

mod acks;
mod buffer;
mod events;
mod join;
mod outbox;
mod request;
mod retries;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::Value;

use self::{
    events::Reports,
    join::{Join, Late, Next, Overdue},
    outbox::Outbox,
};
pub(crate) use self::{
    events::{Event, PendingAck, Request, Tally},
    request::{Auth, Credentials, escape},
};
use super::{
    config::Config,
    engine::{Protocol, session_id},
    outgoing::Outgoing,
    packet::{Body, Packet},
    peer_text,
    recovery::Recovery,
    refusal::refusal,
    room::give_back,
    session::Session,
    suspect::Suspect,
};
use crate::{
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        emit::Emit,
        error::EmitError,
        reason::{ConnectFailure, Reason},
    },
};

/// The parts of a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) namespace: ByteString,
    pub(crate) credentials: Credentials,
    pub(crate) recovery: Option<Box<Recovery>>,
    /// The seed of the jitter.
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Namespace<W> {
    config: Arc<Config>,
    name: ByteString,
    credentials: Credentials,
    join: Join,
    recovery: Option<Box<Recovery>>,
    outbox: Outbox<W>,
    leaves: VecDeque<(u64, Packet)>,
    reports: Reports<W>,
}

impl<W> Namespace<W> {
    /// A new namespace, which waits for a connection.
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { config, namespace: name, credentials, recovery, seed } = setup;
        let is_root = name == *"/";
        Self {
            join: Join::new(Arc::clone(&config), is_root, seed),
            recovery,
            outbox: Outbox::new(Arc::clone(&config), name.clone()),
            leaves: VecDeque::new(),
            reports: Reports::new(),
            config,
            name,
            credentials,
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
        self.config.max_payload.or(session.max_payload)
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
        self.ended().is_some() || self.outbox.is_empty()
    }

    /// How many events wait to be sent.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.outbox.buffer().len()
    }

    /// How to continue this session, if the server recovers sessions.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_deref()
    }

    /// Gives back the room of queues that are empty. To be called now and then.
    pub(crate) fn rest(&mut self) {
        give_back(&mut self.leaves);
        give_back(&mut self.reports.events);
        self.outbox.rest();
    }

    /// The counts, for the caller to take and reset.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.reports.tally
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
        let packet = Packet::new(self.name.clone(), Body::Disconnect);
        self.leaves.push_back((epoch, packet));
        self.join.leave(epoch);
    }

    /// Whether the request to join has gone out, if one was made.
    fn is_asked(&self) -> bool {
        !self.outbox.has_request()
    }

    /// Sends an event, or buffers it.
    ///
    /// # Errors
    ///
    /// The event is not accepted. The caller that waits for the answer, if any, has been told.
    pub(crate) fn emit(&mut self, request: Request<W>) -> Result<(), EmitError> {
        self.outbox.emit(request, &self.join, &mut self.reports)
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
            self.outbox.answer(id, payload, permit, &self.join, &mut self.reports);
        }
        is_current
    }

    /// Takes back the events that were never sent. Callers that wait are told that this is the cause.
    pub(crate) fn take_unsent(&mut self, cause: &EmitError) -> Vec<Emit> {
        self.outbox.take_unsent(cause, &mut self.reports)
    }

    /// The events that wait now may wait for ever: tells the callers that wait for them. To be called after
    /// an end, as soon as they can see it.
    pub(crate) fn strand(&self) {
        self.outbox.strand();
    }

    /// Gives a buffer for the next packets, if there is none.
    pub(crate) fn transmit_into(&mut self, buffer: impl FnOnce() -> VecDeque<Outgoing>) {
        self.outbox.transmit_into(buffer);
    }

    /// The packets for the connection.
    pub(crate) fn take_transmit(&mut self) -> VecDeque<Outgoing> {
        self.outbox.take_transmit()
    }

    /// Puts events that the connection did not write back in their places among those that wait. Events that
    /// must not wait are dropped.
    pub(crate) fn take_back(&mut self, unwritten: impl IntoIterator<Item = Outgoing>) {
        self.outbox.take_back(unwritten, &mut self.reports);
        if self.ended().is_some() {
            self.outbox.strand();
        }
    }

    // What happened.

    /// There is a connection, and it takes requests to join.
    pub(crate) fn handle_open(&mut self, now: Instant, session: Session) {
        if !self.join.is_waiting() {
            return;
        }
        let needs_none = self.join.is_implicit(&session);
        if needs_none && !matches!(self.credentials, Credentials::Fixed(None)) {
            self.reports.tell(Event::AuthUnused);
        }
        match self.credentials.clone() {
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
        let (protocol, recovery) = (session.protocol, self.recovery.as_deref());
        let packet = request::request(protocol, &self.name, auth, recovery);
        self.outbox.request(packet);
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
                self.reports.tell(Event::JoinedTwice { epoch });
            }
            Body::ConnectError(data) if self.is_old() => {
                self.reports.tell(Event::ServerError(refusal(data.as_deref())));
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
            Body::Ack { id, payload } => {
                let (join, reports) = (&self.join, &mut self.reports);
                self.outbox.handle_answer(now, id, payload, join, reports);
            }
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
                self.reports.tally.repeated = self.reports.tally.repeated.saturating_add(1);
                return;
            }
            is_recoverable = recovery.note(&payload);
        }
        self.join.handle_event();
        self.reports.tally.received = self.reports.tally.received.saturating_add(1);
        self.reports.tell(Event::Received { id, payload, is_recoverable });
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
                    Some(Box::new(Recovery::new(pid, String::new())))
                });
                sid.into_inner()
            }
            Protocol::Eio3 if self.join.is_implicit(&session) => session.sid.into_inner(),
            Protocol::Eio3 => format!("{}#{}", self.name, &*session.sid).into(),
        };
        self.join.handle_reply(now);
        self.outbox.flush(now, &self.join, &mut self.reports);
        self.reports.tell(Event::Ready { sid, recovered });
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
            self.outbox.interrupt(&reason, &mut self.reports);
            if self.is_joined() {
                self.reports.tell(Event::Disconnected(reason));
            }
            self.join.wait();
        } else if self.join.asking().is_some() {
            self.join.wait();
        }
    }

    /// The connection was lost right after an event of this namespace, over which the server may have ended
    /// it. Comes before [`handle_lost`](Self::handle_lost).
    pub(crate) fn handle_suspect(&mut self, suspect: Suspect) {
        self.outbox.handle_suspect(&suspect, &mut self.reports);
        let is_convicted = suspect.is_convicted();
        self.reports.tell(if is_convicted {
            Event::Unsendable(suspect.event)
        } else {
            Event::Suspected(suspect.event)
        });
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
        let can_renew = matches!(self.credentials, Credentials::Provided);
        match self.join.decide(now, &reason, is_asked, can_renew) {
            Next::Attempt { attempt, delay } => {
                self.outbox.interrupt(&reason, &mut self.reports);
                self.tell_end(&reason);
                self.join.pause(now, delay);
                self.reports.tell(Event::Retrying { attempt, delay, reason });
            }
            Next::End { gave_up } => {
                self.end(reason.clone());
                if let Some(attempts) = gave_up {
                    self.reports.tell(Event::GaveUp { attempts, reason });
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
        self.outbox.interrupt(&reason, &mut self.reports);
        self.outbox.end(&reason, &mut self.reports);
        self.tell_end(&reason);
        self.join.end(reason);
    }

    fn tell_end(&mut self, reason: &Reason) {
        self.reports.tell(if self.is_joined() {
            Event::Disconnected(reason.clone())
        } else {
            Event::ConnectError(reason.clone())
        });
    }

    /// It may be called early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.outbox.handle_timeout(now, &self.join, &mut self.reports);
        match self.join.handle_timeout(now) {
            None => {}
            Some(Overdue::Rejoin) => self.reports.tell(Event::Rejoin),
            Some(Overdue::Credentials) => {
                self.stop(now, Reason::Provider("no credentials in time".to_owned()));
            }
            Some(Overdue::Answer) => self.stop(now, Reason::JoinTimeout),
        }
    }

    // What there is to do.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.join.poll_timeout().into_iter().chain(self.outbox.poll_timeout()).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.reports.events.pop_front()
    }

    /// A packet that leaves the namespace on the connection with that number, to be sent after everything
    /// that waits to be transmitted.
    pub(crate) fn poll_leave(&mut self) -> Option<(u64, Packet)> {
        self.leaves.pop_front()
    }
}

#[cfg(test)]
mod tests;
