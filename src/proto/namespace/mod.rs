//! One namespace: joining and leaving it, its buffer, its acks.
//!
//! ```text
//!                handle_open             credentials          reply
//!  Waiting ──────────────────▶ Asking ─────────────▶ Joining ───────▶ Joined
//!   ▲   ▲                        │                      │                │
//!   │   └────────────────────────┴──────────────────────┤◀───────────────┤ lost, and tried again
//!   │ ▲                                                 │                │
//!   │ └── Pausing ◀── by the policy for the reason ─────┤◀───────────────┤ refused, disconnected,
//!   │ join                                              │                │ timed out
//!   └──── Ended ◀─── otherwise, or left ────────────────┴────────────────┘
//! ```
//!
//! What is emitted while it is not joined is buffered, in order; what comes in while joining is
//! passed on (servers replay a recovered session before they answer, and some let their connect
//! handler speak first).

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{
    acks::{Acks, Left},
    config::Config,
    deadline::deadline_after,
    engine::{Protocol, session_id},
    outgoing::Outgoing,
    packet::{Body, Packet},
    reconnect::{Jitter, Retry},
    recovery::Recovery,
    retries::{Message, Retries},
    round_trips::RoundTrips,
    session::Session,
    suspect::Suspect,
};
use crate::{
    backpressure::send_quota::SendPermit,
    error::{AckError, ConnectFailure, EmitError, Reason, Refusal, Unsendable},
    payload::{self, Payload},
    proto::emit::{Emit, Offline},
};

/// Volatile events are dropped when more than this wait to be written.
const CONGESTED: usize = 64;
/// The least time for a try of an event that is sent until it is answered.
const MIN_TRY: Duration = Duration::from_millis(1);
/// What has expired is dropped within this time.
const SWEEP: Duration = Duration::from_millis(100);

/// The credentials, a JSON object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Auth(pub(crate) ByteString);

/// Shows nothing of them.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Auth").finish_non_exhaustive()
    }
}

/// Where the credentials come from.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Fixed(Option<Auth>),
    /// The application is asked each time.
    Provided,
}

/// What a namespace is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) namespace: ByteString,
    pub(crate) credentials: Credentials,
    pub(crate) recovery: Option<Recovery>,
    /// For the jitter.
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Namespace<W> {
    setup: Setup,
    state: State,
    /// The namespace was given up while the server still owes the answer to the request to join.
    unanswered: Option<Owed>,
    /// The connection on which the server was asked a second time, since it did not answer the first
    /// one.
    repeated: Option<u64>,
    /// The connection on which it was left: what the server said to the visit before may still come.
    left: Option<u64>,
    /// How often the namespace was joined, or tried to be.
    visits: u64,
    /// Attempts in a row to join after the server has ended it.
    attempts: u32,
    /// How often the application was asked for the credentials.
    asked: u64,
    draws: Jitter,
    /// Counts what is sent.
    emitted: u64,
    buffer: VecDeque<Outgoing>,
    /// When to look for what has expired.
    sweep: Option<Instant>,
    acks: Acks<Asker<W>>,
    retries: Retries<W>,
    recovery: Option<Recovery>,
    transmit: VecDeque<Outgoing>,
    farewells: VecDeque<(u64, Packet)>,
    events: VecDeque<Event<W>>,
    tally: Tally,
}

#[derive(Debug)]
enum State {
    /// To be joined as soon as there is a connection.
    Waiting,
    /// To be joined after a while: the server has ended it, or not let it begin.
    Pausing {
        until: Instant,
    },
    /// The application is to give the credentials. Counts how often it was asked.
    Asking {
        session: Session,
        deadline: Instant,
        number: u64,
    },
    /// The deadline is for the answer to the request that was made at `since`, and may not be the first
    /// one; where there is none, the connection has it. `has_begun`: events came before the answer, so
    /// the server has let this client in.
    Joining {
        session: Session,
        since: Instant,
        deadline: Option<Instant>,
        has_begun: bool,
    },
    Joined {
        session: Session,
        since: Instant,
    },
    /// Neither joined nor to be joined.
    Ended(Reason),
}

/// The answer to a request to join that a server still owes, on this connection.
///
/// It may be slow, so a second request might join the namespace twice, and a disconnect before the
/// answer would be taken for an error, by which servers close the connection. So the answer is waited
/// for, for twice the [time to join](Config::join_timeout) and [`LATE`] at least; then the server is
/// asked again. Should it answer both requests, the connection is replaced.
#[derive(Debug)]
struct Owed {
    session: Session,
    /// When it was asked.
    since: Instant,
}

/// An answer that comes within this time is taken, however short the time to join is.
const LATE: Duration = Duration::from_secs(4);

/// Who waits for an answer.
#[derive(Debug)]
enum Asker<W> {
    Application(W),
    /// A message of [`Retries`].
    Retries,
}

/// An event to be sent.
#[derive(Debug)]
pub(crate) struct Request<W> {
    pub(crate) emit: Emit,
    pub(crate) permit: Option<SendPermit>,
    pub(crate) offline: Offline,
    /// When it must not be sent any more.
    pub(crate) expires: Option<Instant>,
    pub(crate) ask: Option<Ask<W>>,
}

/// Somebody who waits for the answer to an event.
#[derive(Debug)]
pub(crate) struct Ask<W> {
    pub(crate) waiter: W,
    pub(crate) since: Instant,
    pub(crate) timeout: Duration,
    /// How often the event is sent again.
    pub(crate) retries: u32,
    /// By which the server recognises it then, in JSON.
    pub(crate) id: Option<String>,
}

/// What a namespace tells.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<W> {
    /// `recovered`: the server goes on with the session before.
    Ready {
        sid: ByteString,
        recovered: bool,
    },
    Received {
        id: Option<u64>,
        payload: Payload,
    },
    /// It was not joined. Unless it is tried again, it will not be.
    ConnectError(Reason),
    /// It was joined, and is not any more.
    Disconnected(Reason),
    /// An emit got its outcome.
    Answered(W, Result<Payload, AckError>),
    /// Attempt number `attempt` to join is made after `delay`, because of `reason`.
    Retrying {
        attempt: u32,
        delay: Duration,
        reason: Reason,
    },
    /// As many attempts to join were made as are allowed.
    GaveUp {
        attempts: u32,
        reason: Reason,
    },
    /// It needs a connection, the one there is or another.
    Rejoin,
    /// There may be credentials, and the server does not take any here.
    AuthUnused,
    /// The server has joined it twice on the connection of that number, which has to be replaced.
    JoinedTwice {
        epoch: u64,
    },
    /// The server reported an error, and the namespace stays joined.
    ServerError(Refusal),
    /// The connection was lost right behind this event.
    Suspected(Unsendable),
    /// An event is not sent any more, since the connection is lost each time.
    Unsendable(Unsendable),
    /// An event or an answer was not sent, because the server would close the connection over it.
    TooLarge {
        size: u64,
        limit: u64,
    },
}

/// What happened, in numbers, since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events that came.
    pub(crate) received: u64,
    /// Events that came again after a session was recovered, and were dropped.
    pub(crate) repeated: u64,
    /// Answers that nobody waited for any more.
    pub(crate) late: u64,
    /// Events whose place another one has taken.
    pub(crate) replaced: u64,
    /// Events that were sent once more.
    pub(crate) resent: u64,
    /// Emits whose answer never came, though they were sent.
    pub(crate) unanswered: u64,
    /// Answers,
    pub(crate) acked: u64,
    /// and how long they took.
    pub(crate) round_trips: RoundTrips,
}

impl<W> Namespace<W> {
    /// A namespace that waits for a connection.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            state: State::Waiting,
            unanswered: None,
            repeated: None,
            left: None,
            visits: 0,
            attempts: 0,
            asked: 0,
            draws: Jitter::new(setup.seed),
            emitted: 0,
            buffer: VecDeque::new(),
            sweep: None,
            acks: Acks::default(),
            retries: Retries::new(setup.config.retry_window),
            recovery: setup.recovery.clone(),
            transmit: VecDeque::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
            setup,
        }
    }

    /// The connection that the namespace is joined, or being joined, on.
    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Joining { session, .. } | State::Joined { session, .. } => Some(session),
            State::Waiting | State::Pausing { .. } | State::Asking { .. } | State::Ended(_) => None,
        }
    }

    /// Why this namespace is neither joined nor to be joined, if so.
    pub(crate) fn ended(&self) -> Option<&Reason> {
        match &self.state {
            State::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    fn is_old(&self) -> bool {
        self.session().is_some_and(|session| session.protocol == Protocol::Eio3)
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. })
    }

    /// Whether the server has let this client in, as far as can be seen.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(self.state, State::Joined { .. } | State::Joining { has_begun: true, .. })
    }

    /// The number of the connection that this namespace is joined, or being joined, on.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.session().map(|session| session.epoch)
    }

    /// The largest message that the server takes, as far as is known.
    pub(crate) fn max_payload(&self) -> Option<u64> {
        let session = self.session()?;
        self.setup.config.max_payload.or(session.max_payload)
    }

    /// Counts the times that this namespace was joined, or tried to be. A connection may see
    /// several of them, and the server begins anew with each.
    pub(crate) fn visits(&self) -> u64 {
        self.visits
    }

    /// The number of the visit that goes on now.
    pub(crate) fn visit(&self) -> Option<u64> {
        self.session().map(|_| self.visits)
    }

    /// Whether nothing waits to be sent, or for an answer, that still can be.
    pub(crate) fn is_done(&self) -> bool {
        self.ended().is_some()
            || self.buffer.is_empty() && self.retries.is_empty() && self.acks.is_empty()
    }

    /// How many events wait to be sent.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What it takes to go on with this session, if the server lets sessions be recovered.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// For who adds it up to take from.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    // What the application wants.

    /// Joins again after an end, because the application wants it. `true` if that takes a connection
    /// to be asked for; it does not if the namespace is joined or being joined, or if the server may
    /// answer yet.
    pub(crate) fn join(&mut self, now: Instant) -> bool {
        self.come_back(now, self.setup.config.join_timeout)
    }

    /// The same, if the server had so much time for an answer that it owes.
    fn come_back(&mut self, now: Instant, patience: Duration) -> bool {
        if !matches!(self.state, State::Ended(_) | State::Pausing { .. }) {
            return false;
        }
        self.state = State::Waiting;
        if let Some(owed) =
            self.unanswered.take_if(|owed| deadline_after(owed.since, patience) > now)
        {
            self.enter(now, owed);
            return false;
        }
        true
    }

    /// Leaves. What was emitted before must have been taken with
    /// [`take_transmit`](Self::take_transmit).
    pub(crate) fn leave(&mut self, reason: Reason) {
        if let State::Joined { session, .. } = &self.state {
            let epoch = session.epoch;
            self.say_farewell(epoch);
        }
        // No server goes on with a session that its client has left.
        self.recovery = None;
        self.give_up(reason);
    }

    fn say_farewell(&mut self, epoch: u64) {
        let packet = Packet::new(self.setup.namespace.clone(), Body::Disconnect);
        self.farewells.push_back((epoch, packet));
        self.left = Some(epoch);
    }

    /// Ends from this side.
    fn give_up(&mut self, reason: Reason) {
        let owed = self.owed();
        self.end(reason);
        self.unanswered = owed;
    }

    /// The answer to a request to join that the server owes.
    fn owed(&mut self) -> Option<Owed> {
        let asked = !self.transmit.iter().any(|one| matches!(one.packet.body, Body::Connect(_)));
        match &self.state {
            State::Joining { session, since, .. } if asked => {
                Some(Owed { session: session.clone(), since: *since })
            }
            _ => self.unanswered.take(),
        }
    }

    /// Sends an event, or buffers it.
    ///
    /// # Errors
    ///
    /// It is not taken. Who waits for the answer, if anybody, has been told.
    pub(crate) fn emit(&mut self, request: Request<W>) -> Result<(), EmitError> {
        if let Some(error) = self.refusal(&request) {
            if let Some(Ask { waiter, .. }) = request.ask {
                let outcome = Err(AckError::NeverSent(error.clone()));
                self.events.push_back(Event::Answered(waiter, outcome));
            }
            if let Some(permit) = request.permit {
                permit.refuse(&error);
            }
            return Err(error);
        }
        let Request { mut emit, permit, offline, expires, ask } = request;
        if offline == Offline::Fail && emit.terms.is_none() {
            // Nor is it to wait for the next session.
            emit = emit.volatile();
        }
        let id = match ask {
            None => None,
            Some(Ask { waiter, since, timeout, retries: 0, .. }) => {
                let (id, deadline) = (self.acks.id(), deadline_after(since, timeout));
                let waiter = Asker::Application(waiter);
                if self.is_joined() {
                    self.acks.insert_sent(id, waiter, deadline, since);
                } else {
                    self.acks.insert(id, waiter, deadline);
                }
                Some(id)
            }
            Some(Ask { waiter, since, timeout, retries, id }) => {
                let timeout = timeout.max(MIN_TRY);
                let was_sent = false;
                let message =
                    Message { emit, id, waiter, timeout, retries, expires, was_sent, permit };
                self.retries.push(self.acks.id(), message);
                self.expect(expires);
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

    /// Why an event is not taken.
    fn refusal(&self, request: &Request<W>) -> Option<EmitError> {
        let Request { emit, permit, offline, .. } = request;
        match &self.state {
            State::Ended(reason) => Some(EmitError::Closed(reason.clone())),
            State::Joined { .. } => {
                let handed = permit.as_ref().map_or(0, SendPermit::handed);
                (emit.is_volatile() && handed > CONGESTED).then_some(EmitError::Discarded)
            }
            _ if emit.is_volatile() => Some(EmitError::Offline),
            _ if *offline == Offline::Fail && !self.has_begun() => Some(EmitError::Offline),
            _ => None,
        }
    }

    /// Answers an event that came in this visit. `false` if that has ended.
    pub(crate) fn answer(
        &mut self,
        visit: u64,
        id: u64,
        payload: Payload,
        permit: Option<SendPermit>,
    ) -> bool {
        let current = self.visit() == Some(visit);
        if current {
            let packet = self.packet(Body::Ack { id, payload });
            self.push(Outgoing { permit, ..Outgoing::bare(packet) });
        }
        current
    }

    fn push(&mut self, mut outgoing: Outgoing) {
        self.emitted = self.emitted.wrapping_add(1);
        outgoing.number = self.emitted;
        if self.is_joined() {
            return self.transmit(outgoing);
        }
        self.expect(outgoing.expires);
        let same = outgoing.key().and_then(|key| {
            self.buffer.iter_mut().rev().find(|waiting| waiting.key() == Some(key))
        });
        match same {
            None => self.buffer.push_back(outgoing),
            Some(same) => {
                outgoing.number = same.number;
                let old = std::mem::replace(same, outgoing);
                self.replaced(old);
            }
        }
    }

    /// Another event has taken the place of this one.
    fn replaced(&mut self, mut old: Outgoing) {
        self.tally.replaced = self.tally.replaced.saturating_add(1);
        if let Some(permit) = old.permit.take() {
            permit.settled();
        }
        self.never_sent(old, EmitError::Discarded);
    }

    /// Something expires then.
    fn expect(&mut self, expires: Option<Instant>) {
        self.sweep = self.sweep.into_iter().chain(expires).min();
    }

    /// Hands an event on to the connection, unless the server would close it over that.
    fn transmit(&mut self, outgoing: Outgoing) {
        match self.too_large(&outgoing.packet) {
            None => self.transmit.push_back(outgoing),
            Some(error) => self.never_sent(outgoing, error),
        }
    }

    fn too_large(&mut self, packet: &Packet) -> Option<EmitError> {
        let limit = self.max_payload()?;
        let protocol = self.session()?.protocol;
        let size = packet.exceeds(self.setup.config.parser, protocol, limit)?;
        self.events.push_back(Event::TooLarge { size, limit });
        Some(EmitError::PayloadTooLarge { size, limit })
    }

    /// This event was never sent, and will not be. Whoever waits for it, or for the answer to it, learns
    /// why.
    fn never_sent(&mut self, outgoing: Outgoing, error: EmitError) {
        if let Some(permit) = outgoing.permit {
            permit.refuse(&error);
        }
        let Body::Event { id: Some(id), .. } = outgoing.packet.body else { return };
        if let Some(Left { waiter: Asker::Application(waiter), .. }) = self.acks.answered(id) {
            self.fail(waiter, Err(error));
        }
    }

    /// An emit fails: it was sent, and its answer did not come, or it was not.
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

    /// The same for one with retries.
    fn fail_message(&mut self, message: Message<W>, sent: AckError, unsent: EmitError) {
        let Message { waiter, was_sent, permit, .. } = message;
        match permit {
            // It is counted as unanswered.
            Some(permit) if was_sent => permit.settled(),
            Some(permit) => permit.refuse(&unsent),
            None => {}
        }
        self.fail(waiter, if was_sent { Ok(sent) } else { Err(unsent) });
    }

    /// Sends what is to be answered for sure, as far as the window goes.
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
            self.acks.insert_sent(id, Asker::Retries, deadline, now);
            self.transmit.push_back(Outgoing::bare(packet));
        }
    }

    /// Takes back what was emitted and never sent. Who waits is told that this is the cause.
    pub(crate) fn take_unsent(&mut self, cause: &EmitError) -> Vec<Emit> {
        let mut unsent = Vec::new();
        for mut outgoing in std::mem::take(&mut self.buffer) {
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

    /// What the connection is to have.
    pub(crate) fn take_transmit(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.transmit)
    }

    // What happened.

    /// There is a connection, and it takes requests to join.
    pub(crate) fn handle_open(&mut self, now: Instant, session: Session) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        let needs_none = session.protocol == Protocol::Eio3 && self.setup.namespace == *"/";
        if needs_none && !matches!(self.setup.credentials, Credentials::Fixed(None)) {
            self.events.push_back(Event::AuthUnused);
        }
        match self.setup.credentials.clone() {
            Credentials::Provided if !needs_none => {
                let deadline = deadline_after(now, self.setup.config.join_timeout);
                self.asked = self.asked.wrapping_add(1);
                self.state = State::Asking { session, deadline, number: self.asked };
            }
            Credentials::Provided => self.request(now, session, None),
            Credentials::Fixed(auth) => self.request(now, session, auth.as_ref()),
        }
    }

    /// The number of the question to the application for the credentials, while there is one.
    pub(crate) fn wants_auth(&self) -> Option<u64> {
        match self.state {
            State::Asking { number, .. } => Some(number),
            _ => None,
        }
    }

    /// Attempts in a row to join.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// From now on the application is asked for the credentials each time. Gives what they were, if
    /// they were fixed.
    pub(crate) fn ask_for_auth(&mut self) -> Option<Auth> {
        match std::mem::replace(&mut self.setup.credentials, Credentials::Provided) {
            Credentials::Fixed(auth) => auth,
            Credentials::Provided => None,
        }
    }

    /// The application has given the credentials, or says why it does not.
    pub(crate) fn handle_auth(&mut self, now: Instant, auth: Result<Option<Auth>, Reason>) {
        let State::Asking { session, .. } = &self.state else { return };
        let session = session.clone();
        match auth {
            Ok(auth) => self.request(now, session, auth.as_ref()),
            Err(reason) => self.stop(now, reason),
        }
    }

    /// Asks the server to let this namespace in.
    fn request(&mut self, now: Instant, session: Session, auth: Option<&Auth>) {
        let namespace = self.setup.namespace.clone();
        let packet = match session.protocol {
            Protocol::Eio4 => Some(Packet::new(namespace, Body::Connect(self.connect(auth)))),
            // A server of revision 3 joins `/` by itself, and takes what other namespaces need to
            // know as a query behind their name.
            Protocol::Eio3 if namespace == *"/" => None,
            Protocol::Eio3 => {
                let query = auth.map(|auth| query(&auth.0)).unwrap_or_default();
                let namespace = ByteString::from(format!("{namespace}{query}"));
                Some(Packet::new(namespace, Body::Connect(None)))
            }
        };
        self.transmit.extend(packet.map(Outgoing::bare));
        let owed = self.unanswered.take();
        self.repeated = owed.map(|owed| owed.session.epoch).filter(|&epoch| epoch == session.epoch);
        self.enter(now, Owed { session, since: now });
    }

    /// What goes with the request: where the last session was lost, and the credentials.
    fn connect(&self, auth: Option<&Auth>) -> Option<Box<str>> {
        let Some((pid, offset)) = self.recovery.as_ref().and_then(Recovery::point) else {
            return auth.map(|auth| (*auth.0).into());
        };
        let point = serde_json::json!({ "pid": pid, "offset": offset }).to_string();
        let Some(fields) = auth.and_then(|auth| auth.0.strip_prefix('{')) else {
            return Some(point.into());
        };
        let point = point.trim_end_matches('}');
        let comma = if fields.starts_with('}') { "" } else { "," };
        Some(format!("{point}{comma}{fields}").into())
    }

    /// Waits for the answer that the server owes.
    fn enter(&mut self, now: Instant, Owed { session, since }: Owed) {
        let unasked = session.protocol == Protocol::Eio3 && self.setup.namespace == *"/";
        let deadline = (!unasked).then(|| deadline_after(now, self.setup.config.join_timeout));
        self.visits = self.visits.wrapping_add(1);
        self.state = State::Joining { session, since, deadline, has_begun: false };
    }

    /// A packet of this namespace came.
    pub(crate) fn handle_packet(&mut self, now: Instant, epoch: u64, packet: Packet) {
        if let Some(owed) = self.unanswered.take_if(|owed| owed.session.epoch == epoch) {
            if self.ended().is_some() {
                return self.handle_late(owed, &packet.body);
            }
            // Late, but it has come to what was wanted.
            self.enter(now, owed);
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
            Body::Connect(_) if self.repeated == Some(epoch) => {
                self.events.push_back(Event::JoinedTwice { epoch });
            }
            Body::ConnectError(data) if self.is_old() => {
                self.events.push_back(Event::ServerError(refusal(data.as_deref())));
            }
            // Once joined, neither means anything in revision 4.
            Body::Connect(_) | Body::ConnectError(_) => {}
            // The server put us out while we left: that was the visit before.
            Body::Disconnect if joining && self.left == Some(epoch) => {}
            Body::Disconnect => {
                // Nor does a server go on with a session that it has ended.
                self.recovery = None;
                self.stop(now, Reason::ServerDisconnect);
            }
            Body::Event { id, payload } => self.handle_event(id, payload),
            Body::Ack { id, payload } => self.handle_answer(now, id, payload),
        }
    }

    fn handle_event(&mut self, id: Option<u64>, payload: Payload) {
        if let Some(recovery) = &mut self.recovery
            && id.is_none()
        {
            if matches!(self.state, State::Joining { .. }) && recovery.has_seen(&payload) {
                self.tally.repeated = self.tally.repeated.saturating_add(1);
                return;
            }
            recovery.note(&payload);
        }
        if let State::Joining { has_begun, .. } = &mut self.state {
            *has_begun = true;
        }
        self.tally.received = self.tally.received.saturating_add(1);
        self.events.push_back(Event::Received { id, payload });
    }

    fn handle_answer(&mut self, now: Instant, id: u64, payload: Payload) {
        let Some(Left { waiter, sent, .. }) = self.acks.answered(id) else {
            self.tally.late = self.tally.late.saturating_add(1);
            return;
        };
        if let Some(trip) = sent.and_then(|sent| now.checked_duration_since(sent)) {
            self.tally.acked = self.tally.acked.saturating_add(1);
            self.tally.round_trips.note(trip);
        }
        match waiter {
            Asker::Application(waiter) => {
                self.events.push_back(Event::Answered(waiter, Ok(payload)));
            }
            Asker::Retries => {
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

    /// Something came for a namespace that was given up while it was being joined.
    fn handle_late(&mut self, owed: Owed, body: &Body) {
        match body {
            Body::Event { .. } | Body::Ack { .. } => self.unanswered = Some(owed),
            Body::Connect(_) => self.say_farewell(owed.session.epoch),
            Body::ConnectError(_) | Body::Disconnect => {}
        }
    }

    fn handle_reply(&mut self, now: Instant, reply: Option<&str>) {
        #[derive(Deserialize)]
        struct Reply {
            sid: Value,
            #[serde(default)]
            pid: Value,
        }
        let Some(session) = self.session().cloned() else { return };
        let mut recovered = false;
        let sid = match session.protocol {
            Protocol::Eio4 => {
                let reply = reply.and_then(|json| serde_json::from_str::<Reply>(json).ok());
                let reply = reply.and_then(|Reply { sid, pid }| Some((session_id(sid)?, pid)));
                let Some((sid, pid)) = reply else {
                    let failure = ConnectFailure::Unsupported {
                        asked: Protocol::Eio4,
                        server: format!("the server answers like one of {}", Protocol::Eio3),
                    };
                    return self.stop(now, Reason::Connect(failure));
                };
                let held = self.recovery.take();
                let same = held.filter(|held| pid.as_str().is_some_and(|pid| held.is_of(pid)));
                recovered = same.is_some();
                self.recovery = same
                    .or_else(|| pid.as_str().map(|pid| Recovery::new(pid.into(), String::new())));
                sid
            }
            Protocol::Eio3 if self.setup.namespace == *"/" => session.sid.clone(),
            Protocol::Eio3 => format!("{}#{}", self.setup.namespace, session.sid).into(),
        };
        self.state = State::Joined { session, since: now };
        self.flush(now);
        self.events.push_back(Event::Ready { sid, recovered });
    }

    /// Sends what has waited.
    fn flush(&mut self, now: Instant) {
        self.drop_expired(now);
        while let Some(outgoing) = self.buffer.pop_front() {
            // Nobody waits any more: the emit has been reported as failed, so it must not happen.
            let is_wanted = match outgoing.packet.body {
                Body::Event { id: Some(id), .. } => self.acks.sent(id, now),
                _ => true,
            };
            if is_wanted {
                self.transmit(outgoing);
            }
        }
        self.send_reliable(now);
    }

    /// The connection is gone, or there never was one. If it is tried `again`, this namespace
    /// waits for it; if not, it ends. What the connection did not write must have been
    /// [taken back](Self::take_back).
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: Reason, again: bool) {
        self.note_success(now);
        self.unanswered = None;
        match self.state {
            State::Ended(_) => {}
            State::Waiting | State::Pausing { .. } if again => {}
            State::Asking { .. } if again => self.state = State::Waiting,
            State::Joining { .. } | State::Joined { .. } if again => {
                self.interrupt(&reason);
                if self.is_joined() {
                    self.events.push_back(Event::Disconnected(reason));
                }
                self.state = State::Waiting;
            }
            _ => self.end(reason),
        }
    }

    /// The connection was lost behind an event of this namespace, over which the server may have ended
    /// it. Comes before [`handle_lost`](Self::handle_lost).
    pub(crate) fn handle_suspect(&mut self, suspect: Suspect) {
        if !suspect.is_convicted() {
            // If it is one of many that are sent again, it is found out which.
            self.retries.send_one_by_one();
            return self.events.push_back(Event::Suspected(suspect.event));
        }
        let Suspect { id, event, .. } = suspect;
        if let Some(id) = id {
            let left = self.acks.answered(id);
            let error = AckError::Unsendable(event.clone());
            if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
                permit.into_iter().for_each(SendPermit::settled);
                self.fail(waiter, Ok(error));
            } else if let Some(Left { waiter: Asker::Application(waiter), .. }) = left {
                self.fail(waiter, Ok(error));
            }
        }
        self.events.push_back(Event::Unsendable(event));
    }

    /// A session that has lasted begins the count of attempts anew.
    fn note_success(&mut self, now: Instant) {
        let proof = self.setup.config.reconnect.stable_after();
        if matches!(self.state, State::Joined { since, .. } if deadline_after(since, proof) <= now)
        {
            self.attempts = 0;
        }
    }

    /// An old server let nobody into `/`, and with it not into this namespace.
    pub(crate) fn handle_refused(&mut self, now: Instant, reason: Reason) {
        // That was the answer that it owed.
        self.unanswered = None;
        if self.ended().is_none() {
            self.stop(now, reason);
        }
    }

    /// The server has ended this namespace, or did not let it begin. It is tried again if the
    /// policy says so.
    fn stop(&mut self, now: Instant, reason: Reason) {
        self.note_success(now);
        let policy = self.setup.config.reconnect.clone();
        let verdict = policy.choose(&reason);
        let wanted = match verdict {
            Retry::Again => true,
            Retry::WithNewAuth => matches!(self.setup.credentials, Credentials::Provided),
            Retry::Stop => false,
        };
        let attempt = self.attempts.saturating_add(1);
        // What was asked for this time is not sent: an answer from before may come yet.
        let is_asking = matches!(self.state, State::Asking { .. });
        let owed = if is_asking || reason == Reason::JoinTimeout { self.owed() } else { None };
        if !wanted || !policy.allows(attempt) {
            let attempts = self.attempts;
            self.end(reason.clone());
            self.unanswered = owed;
            if wanted && attempts > 0 {
                self.events.push_back(Event::GaveUp { attempts, reason });
            }
            return;
        }
        self.attempts = attempt;
        self.unanswered = owed;
        self.interrupt(&reason);
        self.tell_end(&reason);
        let draw = self.draws.next();
        // New credentials mend a refusal at once. If those do not, it takes patience.
        let delay = match (&reason, verdict) {
            (Reason::Refused(_), Retry::WithNewAuth) if attempt == 1 => Duration::ZERO,
            (Reason::Refused(_), Retry::WithNewAuth) => {
                policy.wait(attempt.saturating_sub(1), draw)
            }
            _ => policy.wait(attempt, draw),
        };
        self.state = State::Pausing { until: deadline_after(now, delay) };
        self.events.push_back(Event::Retrying { attempt, delay, reason });
    }

    /// The namespace is over, until somebody joins it again. What is buffered and asks for no
    /// answer is kept for that.
    pub(crate) fn end(&mut self, reason: Reason) {
        if self.ended().is_some() {
            return;
        }
        self.interrupt(&reason);
        self.fail_acks(&reason, true);
        for message in self.retries.drain() {
            let closed = EmitError::Closed(reason.clone());
            self.fail_message(message, AckError::Disconnected(reason.clone()), closed);
        }
        self.buffer
            .retain(|waiting| !matches!(waiting.packet.body, Body::Event { id: Some(_), .. }));
        self.tell_end(&reason);
        self.attempts = 0;
        self.state = State::Ended(reason);
    }

    /// What waits now may wait for ever: whoever waits for it is told. To be called after an end, as soon
    /// as they can see it.
    pub(crate) fn strand(&self) {
        self.buffer
            .iter()
            .filter_map(|waiting| waiting.permit.as_ref())
            .for_each(SendPermit::strand);
    }

    fn tell_end(&mut self, reason: &Reason) {
        self.events.push_back(if self.is_joined() {
            Event::Disconnected(reason.clone())
        } else {
            Event::ConnectError(reason.clone())
        });
    }

    /// The session is over: what was sent has failed, or goes again.
    fn interrupt(&mut self, reason: &Reason) {
        self.forget();
        for id in self.retries.lost() {
            self.acks.answered(id);
            // It may have been this one that the server did not take.
            if *reason == Reason::TooLargeForServer
                && let Some(message) = self.retries.timed_out(id)
            {
                let closed = EmitError::Closed(reason.clone());
                self.fail_message(message, AckError::Disconnected(reason.clone()), closed);
            }
        }
        self.expect(self.retries.expiry());
        self.fail_acks(reason, false);
    }

    /// What was not written before the session ended waits for the next one, unless it is not to;
    /// answers were for this session and nobody else.
    fn forget(&mut self) {
        let unwritten = std::mem::take(&mut self.transmit);
        for waiting in std::mem::take(&mut self.buffer) {
            if waiting.is_volatile() {
                self.never_sent(waiting, EmitError::Offline);
            } else if !matches!(waiting.packet.body, Body::Ack { .. }) {
                self.buffer.push_back(waiting);
            }
        }
        self.take_back(unwritten);
    }

    /// Puts events that the connection did not write among those that wait, where they belong. What
    /// was not to wait is dropped.
    pub(crate) fn take_back(&mut self, unwritten: impl IntoIterator<Item = Outgoing>) {
        for mut outgoing in unwritten {
            let Body::Event { id, .. } = outgoing.packet.body else { continue };
            if let Some(permit) = &mut outgoing.permit {
                permit.take_back();
            }
            if outgoing.is_volatile() {
                self.never_sent(outgoing, EmitError::Offline);
            } else if id.is_none_or(|id| self.acks.unsent(id) && !self.retries.contains(id)) {
                // One with retries has a place of its own.
                self.expect(outgoing.expires);
                self.buffer.push_back(outgoing);
            }
        }
        self.buffer.make_contiguous().sort_by_key(|waiting| waiting.number);
        self.drop_older();
        if self.ended().is_some() {
            self.strand();
        }
    }

    /// Of what waits under one key, the last counts.
    fn drop_older(&mut self) {
        if self.buffer.iter().all(|waiting| waiting.key().is_none()) {
            return;
        }
        let mut keys = HashSet::new();
        let mut kept = VecDeque::new();
        for waiting in std::mem::take(&mut self.buffer).into_iter().rev() {
            if waiting.key().is_none_or(|key| keys.insert(key.clone())) {
                kept.push_front(waiting);
            } else {
                self.replaced(waiting);
            }
        }
        self.buffer = kept;
    }

    fn fail_acks(&mut self, reason: &Reason, all: bool) {
        for Left { waiter, sent, .. } in self.acks.fail(all) {
            let Asker::Application(waiter) = waiter else { continue };
            self.fail(
                waiter,
                match sent {
                    Some(_) => Ok(AckError::Disconnected(reason.clone())),
                    None => Err(EmitError::Closed(reason.clone())),
                },
            );
        }
    }

    /// Safe to call early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.expire_acks(now);
        if self.sweep.is_some_and(|at| at <= now) {
            self.drop_expired(now);
        }
        match self.state {
            State::Pausing { until } if until <= now => {
                let patience = self.setup.config.join_timeout.saturating_mul(2).max(LATE);
                let rejoin = self.come_back(now, patience).then_some(Event::Rejoin);
                self.events.extend(rejoin);
            }
            State::Asking { deadline, .. } if deadline <= now => {
                self.stop(now, Reason::Provider("no credentials in time".to_owned()));
            }
            State::Joining { deadline: Some(deadline), .. } if deadline <= now => {
                self.stop(now, Reason::JoinTimeout);
            }
            _ => {}
        }
    }

    fn expire_acks(&mut self, now: Instant) {
        let mut unsent = false;
        while let Some(Left { id, waiter, sent }) = self.acks.expired(now) {
            match waiter {
                Asker::Retries => {
                    if let Some(message) = self.retries.timed_out(id) {
                        self.fail_message(message, AckError::TimedOut, EmitError::Expired);
                    }
                }
                Asker::Application(waiter) => {
                    unsent |= sent.is_none();
                    let outcome = sent.map(|_| AckError::TimedOut).ok_or(EmitError::Expired);
                    self.fail(waiter, outcome);
                }
            }
        }
        self.expect(self.retries.expiry());
        self.send_reliable(now);
        if unsent {
            let acks = &self.acks;
            self.buffer.retain(|waiting| match waiting.packet.body {
                Body::Event { id: Some(id), .. } => acks.is_waiting(id),
                _ => true,
            });
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        self.sweep = None;
        let is_over = |waiting: &Outgoing| waiting.expires.is_some_and(|at| at <= now);
        if self.buffer.iter().any(is_over) {
            let (over, kept): (VecDeque<_>, _) =
                std::mem::take(&mut self.buffer).into_iter().partition(is_over);
            self.buffer = kept;
            for outgoing in over {
                self.never_sent(outgoing, EmitError::Expired);
            }
        }
        for message in self.retries.expired(now) {
            self.fail_message(message, AckError::TimedOut, EmitError::Expired);
        }
        let next = self.buffer.iter().filter_map(|waiting| waiting.expires).min();
        let next = next.into_iter().chain(self.retries.expiry()).min();
        self.sweep = next.map(|next| next.max(deadline_after(now, SWEEP)));
    }

    // What there is to do.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Joining { deadline, .. } => deadline,
            State::Asking { deadline, .. } => Some(deadline),
            State::Pausing { until } => Some(until),
            State::Waiting | State::Joined { .. } | State::Ended(_) => None,
        };
        state.into_iter().chain(self.acks.poll_timeout()).chain(self.sweep).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.events.pop_front()
    }

    /// A packet that leaves the namespace on the connection of that number, to be sent behind all
    /// that is to be transmitted.
    pub(crate) fn poll_farewell(&mut self) -> Option<(u64, Packet)> {
        self.farewells.pop_front()
    }
}

/// `{"a":"x","b":1}` as `?a=x&b=1`.
fn query(auth: &str) -> String {
    let Ok(Value::Object(auth)) = serde_json::from_str(auth) else { return String::new() };
    let mut query = String::new();
    for (key, value) in &auth {
        query.push(if query.is_empty() { '?' } else { '&' });
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        query.push_str(&escape(key));
        query.push('=');
        query.push_str(&escape(&value));
    }
    query
}

/// Percent-encodes all but the characters that a URL never gives a meaning.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let written = write!(escaped, "%{byte:02X}");
            debug_assert!(written.is_ok(), "writing to a string cannot fail");
        }
    }
    escaped
}

/// `{"message":…,"data":…}` from servers since 3.0. From older ones it is a string, or whatever the
/// application put there: where that has a message, alone at its head or as a member, all of it is
/// the data. Servers in Python send a string, or a list of it and more.
///
/// The data stays text: what nobody asks for is not parsed, nor kept as a tree.
pub(crate) fn refusal(data: Option<&str>) -> Refusal {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Official<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Other<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
    }

    let json = data.unwrap_or("null").trim();
    if json == "null" {
        return Refusal::new(String::new(), None);
    }
    if let Ok(message) = payload::read(json) {
        return Refusal::new(message, None);
    }
    // To serde, an array would do for the fields.
    if json.starts_with('[') {
        return Refusal::new(first(json).unwrap_or_default(), Some(json));
    }
    if let Ok(Official { message, data }) = serde_json::from_str(json)
        && let Ok(message) = payload::read(message.get())
    {
        return Refusal::new(message, data.map(RawValue::get));
    }
    let other = serde_json::from_str(json).ok();
    let message = other.and_then(|Other { message }| payload::read(message.get()).ok());
    Refusal::new(message.unwrap_or_default(), Some(json))
}

/// The first item of an array, if that is a string.
fn first(json: &str) -> Option<String> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let first = items.next_element()?;
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_seq(First).ok().flatten()
}

#[cfg(test)]
mod tests;
