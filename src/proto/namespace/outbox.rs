//! The emits of a namespace, from the call of the application to their outcome.
//!
//! ```text
//!  emit ──▶ buffer, or retries ──▶ transmit ──▶ (the connection)
//!             ▲                                    │
//!             └──────────── not written ◀──────────┘
//! ```
//!
//! The [`buffer`](super::buffer) holds the events that wait for the namespace to be joined, and
//! [`retries`](super::retries) those that are sent again until they are answered. [`acks`](super::acks) has the
//! callers that wait for an answer. Answers to events of the server go the same way.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    acks::{Acks, Left},
    buffer::Buffer,
    events::{Event, PendingAck, Reports, Request},
    join::Join,
    retries::{Message, Retries},
};
use crate::{
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        config::Config,
        deadline::deadline_after,
        emit::{Emit, Offline},
        error::{AckError, EmitError},
        outgoing::Outgoing,
        packet::{Body, Packet},
        reason::Reason,
        suspect::Suspect,
    },
};

/// Volatile events are dropped when more than this wait to be written.
pub(super) const CONGESTED: usize = 64;
/// The least time for a try of an event that is sent until it is answered.
const MIN_TRY: Duration = Duration::from_millis(1);
/// Expired events are dropped within this time.
pub(super) const SWEEP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Outbox<W> {
    config: Arc<Config>,
    namespace: ByteString,
    /// The number of packets that were sent.
    emitted: u64,
    buffer: Buffer,
    acks: Acks<AckOwner<W>>,
    retries: Retries<W>,
    /// When to look for expired events, in the buffer and among the retries.
    sweep: Option<Instant>,
    transmit: VecDeque<Outgoing>,
}

/// An emit that waits for an answer.
#[derive(Debug)]
pub(super) enum AckOwner<W> {
    Application(W),
    /// A message of [`Retries`].
    Retries,
}

impl<W> Outbox<W> {
    pub(super) fn new(config: Arc<Config>, namespace: ByteString) -> Self {
        Self {
            namespace,
            emitted: 0,
            buffer: Buffer::default(),
            acks: Acks::default(),
            retries: Retries::new(config.retry_window),
            sweep: None,
            transmit: VecDeque::new(),
            config,
        }
    }

    /// Whether nothing waits to be sent or answered.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.retries.is_empty() && self.acks.is_empty()
    }

    /// Gives back the room for what is not there.
    pub(super) fn rest(&mut self) {
        self.buffer.rest();
        self.acks.rest();
    }

    /// Whether a request to join waits to be transmitted.
    pub(super) fn has_request(&self) -> bool {
        self.transmit.iter().any(|one| matches!(one.packet.body, Body::Connect(_)))
    }

    /// Sends a request to join.
    pub(super) fn request(&mut self, packet: Option<Packet>) {
        self.transmit.extend(packet.map(Outgoing::bare));
    }

    /// Sends an event, or buffers it. If it is not accepted, the caller that waits for the answer has been told.
    pub(super) fn emit(
        &mut self,
        request: Request<W>,
        join: &Join,
        reports: &mut Reports<W>,
    ) -> Result<(), EmitError> {
        if let Some(error) = refusal(&request, join) {
            if let Some(PendingAck { waiter, .. }) = request.ack {
                let outcome = Err(AckError::NeverSent(error.clone()));
                reports.tell(Event::Answered(waiter, outcome));
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
                if join.is_joined() {
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
                self.send_reliable(since, join, reports);
                return Ok(());
            }
        };
        let Emit { payload, terms } = emit;
        let packet = self.packet(Body::Event { id, payload });
        self.push(Outgoing { permit, terms, expires, ..Outgoing::bare(packet) }, join, reports);
        Ok(())
    }

    /// Answers an event of this session.
    pub(super) fn answer(
        &mut self,
        id: u64,
        payload: Payload,
        permit: Option<SendPermit>,
        join: &Join,
        reports: &mut Reports<W>,
    ) {
        let packet = self.packet(Body::Ack { id, payload });
        self.push(Outgoing { permit, ..Outgoing::bare(packet) }, join, reports);
    }

    fn packet(&self, body: Body) -> Packet {
        Packet::new(self.namespace.clone(), body)
    }

    #[inline]
    fn push(&mut self, mut outgoing: Outgoing, join: &Join, reports: &mut Reports<W>) {
        self.emitted = self.emitted.wrapping_add(1);
        outgoing.number = self.emitted;
        if join.is_joined() {
            return self.hand_over(outgoing, join, reports);
        }
        self.sweep_by(outgoing.expires);
        if let Some(old) = self.buffer.push(outgoing) {
            self.replaced(old, reports);
        }
    }

    /// Another event has replaced this one.
    fn replaced(&mut self, mut old: Outgoing, reports: &mut Reports<W>) {
        reports.tally.replaced = reports.tally.replaced.saturating_add(1);
        if let Some(permit) = old.permit.take() {
            permit.replaced(&EmitError::Discarded);
        }
        self.never_sent(old, EmitError::Discarded, reports);
    }

    /// Looks for expired events at this time, at the latest.
    fn sweep_by(&mut self, expires: Option<Instant>) {
        self.sweep = self.sweep.into_iter().chain(expires).min();
    }

    /// Hands an event to the connection, unless the server would close the connection over it.
    #[inline]
    fn hand_over(&mut self, outgoing: Outgoing, join: &Join, reports: &mut Reports<W>) {
        match self.too_large(&outgoing.packet, join, reports) {
            None => self.transmit.push_back(outgoing),
            Some(error) => self.never_sent(outgoing, error, reports),
        }
    }

    #[inline]
    fn too_large(
        &self,
        packet: &Packet,
        join: &Join,
        reports: &mut Reports<W>,
    ) -> Option<EmitError> {
        let session = join.session()?;
        let limit = self.config.max_payload.or(session.max_payload)?;
        let parser = self.config.parser;
        let size = packet.exceeds(parser, session.protocol, limit).or_else(|| {
            session.has_base64.then(|| packet.exceeds_as_base64(parser, limit)).flatten()
        })?;
        reports.tell(Event::TooLarge { size, limit });
        Some(EmitError::PayloadTooLarge { size, limit })
    }

    /// This event was never sent, and will not be. Callers that wait for it, or for the answer to it, learn
    /// why.
    fn never_sent(&mut self, outgoing: Outgoing, error: EmitError, reports: &mut Reports<W>) {
        let id = outgoing.ack_id();
        if let Some(permit) = outgoing.permit {
            permit.refuse(&error);
        }
        let Some(id) = id else { return };
        if let Some(Left { waiter: AckOwner::Application(waiter), .. }) = self.acks.remove(id) {
            reports.fail(waiter, Err(error));
        }
    }

    /// Sends events with retries, as far as the window allows.
    fn send_reliable(&mut self, now: Instant, join: &Join, reports: &mut Reports<W>) {
        while join.is_joined()
            && let Some((id, message)) = self.retries.next()
        {
            let payload = message.payload();
            let deadline = deadline_after(now, message.timeout);
            let is_over = message.expires.is_some_and(|at| at <= now);
            let body = Body::Event { id: Some(id), payload };
            let packet = self.packet(body);
            let error = if is_over {
                Some(EmitError::Expired)
            } else {
                self.too_large(&packet, join, reports)
            };
            if let Some(error) = error {
                if let Some(message) = self.retries.remove(id) {
                    reports.fail_message(message, AckError::TimedOut, error);
                }
                continue;
            }
            if self.retries.note_sent(id) {
                reports.tally.resent = reports.tally.resent.saturating_add(1);
            }
            self.acks.insert_sent(id, AckOwner::Retries, deadline, now);
            self.transmit.push_back(Outgoing::bare(packet));
        }
    }

    /// Takes back the events that were never sent. Callers that wait are told that this is the cause.
    pub(super) fn take_unsent(&mut self, cause: &EmitError, reports: &mut Reports<W>) -> Vec<Emit> {
        let mut unsent = Vec::new();
        for mut outgoing in self.buffer.drain() {
            if let Body::Event { payload, .. } = &outgoing.packet.body {
                unsent.push(Emit { payload: payload.clone(), terms: outgoing.terms.take() });
                self.never_sent(outgoing, cause.clone(), reports);
            }
        }
        for message in self.retries.drain_unsent() {
            unsent.push(message.emit.clone());
            reports.fail_message(message, AckError::TimedOut, cause.clone());
        }
        unsent
    }

    /// Gives a buffer for the next packets, if there is none.
    pub(super) fn transmit_into(&mut self, buffer: impl FnOnce() -> VecDeque<Outgoing>) {
        if self.transmit.capacity() == 0 {
            self.transmit = buffer();
        }
    }

    /// The packets for the connection.
    pub(super) fn take_transmit(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.transmit)
    }

    /// The server has answered an event.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        id: u64,
        payload: Payload,
        join: &Join,
        reports: &mut Reports<W>,
    ) {
        let Some((waiter, sent)) = self.acks.answered(id) else {
            reports.tally.late = reports.tally.late.saturating_add(1);
            return;
        };
        if let Some(trip) = now.checked_duration_since(sent) {
            reports.tally.acked = reports.tally.acked.saturating_add(1);
            reports.tally.round_trips.note(trip);
        }
        match waiter {
            AckOwner::Application(waiter) => {
                reports.tell(Event::Answered(waiter, Ok(payload)));
            }
            AckOwner::Retries => {
                if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
                    if let Some(permit) = permit {
                        permit.settled();
                    }
                    reports.tell(Event::Answered(waiter, Ok(payload)));
                }
                self.send_reliable(now, join, reports);
            }
        }
    }

    /// The connection was lost right after this event. If it is not sent again, its caller is told.
    pub(super) fn handle_suspect(&mut self, suspect: &Suspect, reports: &mut Reports<W>) {
        if !suspect.is_convicted() {
            // If it is one of several events that are sent again, this shows which.
            return self.retries.send_one_by_one();
        }
        let Some(id) = suspect.id else { return };
        let left = self.acks.remove(id);
        let error = AckError::Unsendable(suspect.event.clone());
        if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
            permit.into_iter().for_each(SendPermit::settled);
            reports.fail(waiter, Ok(error));
        } else if let Some(Left { waiter: AckOwner::Application(waiter), .. }) = left {
            reports.fail(waiter, Ok(error));
        }
    }

    /// The namespace is joined: sends the waiting events.
    pub(super) fn flush(&mut self, now: Instant, join: &Join, reports: &mut Reports<W>) {
        self.drop_expired(now, reports);
        while let Some(outgoing) = self.buffer.pop() {
            if let Some(id) = outgoing.ack_id() {
                self.acks.sent(id, now);
            }
            self.hand_over(outgoing, join, reports);
        }
        self.send_reliable(now, join, reports);
    }

    /// The session is over: events that were sent have failed, or are sent again.
    pub(super) fn interrupt(&mut self, reason: &Reason, reports: &mut Reports<W>) {
        self.end_session(reports);
        for id in self.retries.lost() {
            // This may be the event that the server did not accept.
            if *reason == Reason::TooLargeForServer
                && let Some(message) = self.retries.timed_out(id)
            {
                let closed = EmitError::Closed(reason.clone());
                reports.fail_message(message, AckError::Disconnected(reason.clone()), closed);
            }
        }
        self.sweep_by(self.retries.expiry());
        for waiter in self.acks.fail() {
            if let AckOwner::Application(waiter) = waiter {
                reports.fail(waiter, Ok(AckError::Disconnected(reason.clone())));
            }
        }
    }

    /// Events that were not written before the session ended wait for the next session, if they may;
    /// answers were for this session only.
    fn end_session(&mut self, reports: &mut Reports<W>) {
        let unwritten = std::mem::take(&mut self.transmit);
        for volatile in self.buffer.end_session() {
            self.never_sent(volatile, EmitError::Offline, reports);
        }
        self.take_back(unwritten, reports);
    }

    /// Puts events that the connection did not write back in their places among those that wait. Events that
    /// must not wait are dropped.
    pub(super) fn take_back(
        &mut self,
        unwritten: impl IntoIterator<Item = Outgoing>,
        reports: &mut Reports<W>,
    ) {
        let mut returning = Vec::new();
        for mut outgoing in unwritten {
            let Body::Event { id, .. } = outgoing.packet.body else { continue };
            if let Some(permit) = &mut outgoing.permit {
                permit.take_back();
            }
            if outgoing.is_volatile() {
                self.never_sent(outgoing, EmitError::Offline, reports);
                continue;
            }
            if let Some(id) = id {
                if self.retries.note_unwritten(id) {
                    // Messages with retries have a queue of their own.
                    continue;
                }
                if !self.acks.unsent(id) {
                    // Nobody waits any more.
                    self.never_sent(outgoing, EmitError::Expired, reports);
                    continue;
                }
            }
            self.sweep_by(outgoing.expires);
            returning.push(outgoing);
        }
        for replaced in self.buffer.put_back(returning) {
            self.replaced(replaced, reports);
        }
    }

    /// The namespace is over. What is buffered and asks for no answer is kept.
    pub(super) fn end(&mut self, reason: &Reason, reports: &mut Reports<W>) {
        for outgoing in self.buffer.take_all_asking() {
            self.never_sent(outgoing, EmitError::Closed(reason.clone()), reports);
        }
        for message in self.retries.drain() {
            let closed = EmitError::Closed(reason.clone());
            reports.fail_message(message, AckError::Disconnected(reason.clone()), closed);
        }
    }

    /// The events that wait now may wait for ever: tells the callers that wait for them. To be called after
    /// an end, as soon as they can see it.
    pub(super) fn strand(&self) {
        self.buffer.strand();
    }

    /// It may be called early.
    pub(super) fn handle_timeout(&mut self, now: Instant, join: &Join, reports: &mut Reports<W>) {
        self.expire_acks(now, join, reports);
        if self.sweep.is_some_and(|at| at <= now) {
            self.drop_expired(now, reports);
        }
    }

    fn expire_acks(&mut self, now: Instant, join: &Join, reports: &mut Reports<W>) {
        while let Some(Left { id, waiter, sent }) = self.acks.expired(now) {
            match waiter {
                AckOwner::Retries => {
                    if let Some(message) = self.retries.timed_out(id) {
                        reports.fail_message(message, AckError::TimedOut, EmitError::Expired);
                    }
                }
                AckOwner::Application(waiter) => {
                    if let Some(outgoing) = self.buffer.take_asking(id) {
                        self.never_sent(outgoing, EmitError::Expired, reports);
                    }
                    let outcome = sent.map(|_| AckError::TimedOut).ok_or(EmitError::Expired);
                    reports.fail(waiter, outcome);
                }
            }
        }
        self.send_reliable(now, join, reports);
    }

    fn drop_expired(&mut self, now: Instant, reports: &mut Reports<W>) {
        self.sweep = None;
        for outgoing in self.buffer.expired(now) {
            self.never_sent(outgoing, EmitError::Expired, reports);
        }
        for message in self.retries.expired(now) {
            reports.fail_message(message, AckError::TimedOut, EmitError::Expired);
        }
        let next = self.buffer.expiry().into_iter().chain(self.retries.expiry()).min();
        self.sweep = next.map(|next| next.max(deadline_after(now, SWEEP)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.acks.poll_timeout().into_iter().chain(self.sweep).min()
    }
}

/// Why an event is not accepted, if so.
#[inline]
fn refusal<W>(request: &Request<W>, join: &Join) -> Option<EmitError> {
    let Request { emit, permit, offline, .. } = request;
    if let Some(reason) = join.ended() {
        Some(EmitError::Closed(reason.clone()))
    } else if join.is_joined() {
        let handed = permit.as_ref().map_or(0, SendPermit::handed);
        (emit.is_volatile() && handed > CONGESTED).then_some(EmitError::Discarded)
    } else {
        let is_offline = *offline == Offline::Fail && !join.has_begun();
        (emit.is_volatile() || is_offline).then_some(EmitError::Offline)
    }
}

#[cfg(test)]
impl<W> Outbox<W> {
    pub(super) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    pub(super) fn acks(&self) -> &Acks<AckOwner<W>> {
        &self.acks
    }

    pub(super) fn retries(&self) -> &Retries<W> {
        &self.retries
    }

    pub(super) fn sweep(&self) -> Option<Instant> {
        self.sweep
    }
}
