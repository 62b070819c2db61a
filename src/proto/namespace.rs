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
    backoff::{Draws, Reconnect, Retry},
    connection::{Outgoing, Session},
    engine::{Protocol, later, session_id},
    packet::{Body, Packet, Parser},
    recovery::Recovery,
    retries::{Message, Retries},
    suspect::Suspect,
};
use crate::{
    backpressure::send_quota::Permit,
    error::{AckError, ConnectFailure, EmitError, Reason, Refusal, Unsendable},
    message::emit::{Emit, Offline},
    payload::{self, Payload},
    stats::RoundTrips,
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

/// How a namespace is joined, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) namespace: ByteString,
    pub(crate) parser: Parser,
    pub(crate) credentials: Credentials,
    /// For the credentials, and then for the server's answer.
    pub(crate) join_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    /// The largest message to send, in bytes, whatever the server says.
    pub(crate) max_payload: Option<u64>,
    /// How many emits with retries may be unanswered at a time.
    pub(crate) retry_window: usize,
    pub(crate) recovery: Option<Recovery>,
    /// For the jitter.
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Namespace<W> {
    config: Config,
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
    draws: Draws,
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
    pub(crate) permit: Option<Permit>,
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
    pub(crate) fn new(config: Config) -> Self {
        Self {
            state: State::Waiting,
            unanswered: None,
            repeated: None,
            left: None,
            visits: 0,
            attempts: 0,
            asked: 0,
            draws: Draws::new(config.seed),
            emitted: 0,
            buffer: VecDeque::new(),
            sweep: None,
            acks: Acks::default(),
            retries: Retries::new(config.retry_window),
            recovery: config.recovery.clone(),
            transmit: VecDeque::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
            config,
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
        self.config.max_payload.or(session.max_payload)
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
        self.come_back(now, self.config.join_timeout)
    }

    /// The same, if the server had so much time for an answer that it owes.
    fn come_back(&mut self, now: Instant, patience: Duration) -> bool {
        if !matches!(self.state, State::Ended(_) | State::Pausing { .. }) {
            return false;
        }
        self.state = State::Waiting;
        if let Some(owed) = self.unanswered.take_if(|owed| later(owed.since, patience) > now) {
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
        let packet = Packet::new(self.config.namespace.clone(), Body::Disconnect);
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
                let (id, deadline) = (self.acks.id(), later(since, timeout));
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
        Packet::new(self.config.namespace.clone(), body)
    }

    /// Why an event is not taken.
    fn refusal(&self, request: &Request<W>) -> Option<EmitError> {
        let Request { emit, permit, offline, .. } = request;
        match &self.state {
            State::Ended(reason) => Some(EmitError::Closed(reason.clone())),
            State::Joined { .. } => {
                let handed = permit.as_ref().map_or(0, Permit::handed);
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
        permit: Option<Permit>,
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
        let size = packet.exceeds(self.config.parser, protocol, limit)?;
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
            let deadline = later(now, message.timeout);
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
        let needs_none = session.protocol == Protocol::Eio3 && self.config.namespace == *"/";
        if needs_none && !matches!(self.config.credentials, Credentials::Fixed(None)) {
            self.events.push_back(Event::AuthUnused);
        }
        match self.config.credentials.clone() {
            Credentials::Provided if !needs_none => {
                let deadline = later(now, self.config.join_timeout);
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
        match std::mem::replace(&mut self.config.credentials, Credentials::Provided) {
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
        let namespace = self.config.namespace.clone();
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
        let unasked = session.protocol == Protocol::Eio3 && self.config.namespace == *"/";
        let deadline = (!unasked).then(|| later(now, self.config.join_timeout));
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
            Protocol::Eio3 if self.config.namespace == *"/" => session.sid.clone(),
            Protocol::Eio3 => format!("{}#{}", self.config.namespace, session.sid).into(),
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
            return self.retries.send_one_by_one();
        }
        let Suspect { id, event, .. } = suspect;
        if let Some(id) = id {
            let left = self.acks.answered(id);
            let error = AckError::Unsendable(event.clone());
            if let Some(Message { waiter, permit, .. }) = self.retries.remove(id) {
                permit.into_iter().for_each(Permit::settled);
                self.fail(waiter, Ok(error));
            } else if let Some(Left { waiter: Asker::Application(waiter), .. }) = left {
                self.fail(waiter, Ok(error));
            }
        }
        self.events.push_back(Event::Unsendable(event));
    }

    /// A session that has lasted begins the count of attempts anew.
    fn note_success(&mut self, now: Instant) {
        let proof = self.config.reconnect.proof();
        if matches!(self.state, State::Joined { since, .. } if later(since, proof) <= now) {
            self.attempts = 0;
        }
    }

    /// An old server let nobody into `/`, and with it not into this namespace.
    pub(crate) fn handle_refused(&mut self, now: Instant, reason: Reason) {
        if self.ended().is_none() {
            self.stop(now, reason);
        }
    }

    /// The server has ended this namespace, or did not let it begin. It is tried again if the
    /// policy says so.
    fn stop(&mut self, now: Instant, reason: Reason) {
        self.note_success(now);
        let policy = self.config.reconnect.clone();
        let verdict = policy.verdict(&reason);
        let wanted = match verdict {
            Retry::Again => true,
            Retry::WithNewAuth => matches!(self.config.credentials, Credentials::Provided),
            Retry::Stop => false,
        };
        let attempt = self.attempts.saturating_add(1);
        let owed = if reason == Reason::JoinTimeout { self.owed() } else { None };
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
        self.state = State::Pausing { until: later(now, delay) };
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
        self.strand();
        self.tell_end(&reason);
        self.attempts = 0;
        self.state = State::Ended(reason);
    }

    /// What waits now may wait for ever.
    fn strand(&self) {
        self.buffer.iter().filter_map(|waiting| waiting.permit.as_ref()).for_each(Permit::strand);
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
                let patience = self.config.join_timeout.saturating_mul(2).max(LATE);
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
        self.sweep = next.map(|next| next.max(later(now, SWEEP)));
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
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        backpressure::send_quota::{Limits, Outbox},
        payload::{encode_event, encode_reply},
        proto::{engine::Frame, packet::root},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn outbox(items: usize) -> Arc<Outbox> {
        Outbox::new(Limits { items, bytes: 100_000, asks: 0 })
    }

    fn session(protocol: Protocol) -> Session {
        Session { epoch: 1, protocol, sid: "S".into(), max_payload: None }
    }

    fn config(namespace: &str) -> Config {
        let auth = json!({ "token": "a b", "n": 1 }).to_string();
        Config {
            namespace: namespace.into(),
            parser: Parser::default(),
            credentials: Credentials::Fixed(Some(Auth(auth.into()))),
            join_timeout: 20 * SECOND,
            reconnect: Reconnect::never(),
            max_payload: None,
            retry_window: 2,
            recovery: None,
            seed: 7,
        }
    }

    fn socket(namespace: &str) -> Namespace<&'static str> {
        Namespace::new(config(namespace))
    }

    /// A namespace that is joined.
    fn joined() -> Namespace<&'static str> {
        let mut socket = socket("/");
        socket.handle_open(Instant::now(), session(Protocol::Eio4));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(socket.poll_event(), Some(ready("id")));
        assert_eq!(written(&mut socket).len(), 1);
        socket
    }

    fn ready<W>(sid: &'static str) -> Event<W> {
        Event::Ready { sid: sid.into(), recovered: false }
    }

    fn receive(socket: &mut Namespace<&'static str>, body: Body) {
        socket.handle_packet(Instant::now(), 1, Packet::new(root(), body));
    }

    fn request<W>(name: &'static str) -> Request<W> {
        let emit = Emit::new(name, ()).unwrap();
        Request { emit, permit: None, offline: Offline::Buffer, expires: None, ask: None }
    }

    fn emit(
        socket: &mut Namespace<&'static str>,
        name: &'static str,
        ask: Option<Ask<&'static str>>,
    ) -> Result<(), EmitError> {
        socket.emit(Request { ask, ..request(name) })
    }

    /// Somebody waits for a second.
    #[expect(clippy::unnecessary_wraps, reason = "it is given to what takes an option")]
    fn ask<W>(waiter: W, since: Instant) -> Option<Ask<W>> {
        Some(Ask { waiter, since, timeout: SECOND, retries: 0, id: None })
    }

    fn written(socket: &mut Namespace<&'static str>) -> Vec<String> {
        let mut texts = Vec::new();
        for outgoing in socket.take_transmit() {
            outgoing.packet.encode(Protocol::Eio4, |frame| {
                if let Frame::Text(text) = frame {
                    texts.push(text.to_string());
                }
            });
        }
        texts
    }

    fn events(socket: &mut Namespace<&'static str>) -> Vec<Event<&'static str>> {
        std::iter::from_fn(|| socket.poll_event()).collect()
    }

    #[test]
    fn who_is_not_to_wait_waits_for_the_answer_where_events_come_before_it() {
        let now = Instant::now();
        let request = |name, ask| Request { offline: Offline::Fail, ask, ..request(name) };
        let mut socket = socket("/");
        socket.handle_open(now, session(Protocol::Eio4));
        written(&mut socket);
        assert_eq!(socket.emit(request("a", None)), Err(EmitError::Offline));
        let early = || Body::Event { id: None, payload: encode_event("early", &()).unwrap() };
        receive(&mut socket, early());
        socket.emit(request("b", None)).unwrap();
        socket.emit(request("c", ask("c", now))).unwrap();
        let volatile = Emit::new("d", ()).unwrap().volatile();
        let volatile = Request { emit: volatile, ..request("d", None) };
        assert_eq!(socket.emit(volatile), Err(EmitError::Offline));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(written(&mut socket), [r#"42["b"]"#, r#"420["c"]"#]);

        // It does not wait for the next session, nor for another attempt.
        for ends in [false, true] {
            let mut socket = self::socket("/");
            socket.handle_open(now, session(Protocol::Eio4));
            written(&mut socket);
            receive(&mut socket, early());
            socket.emit(request("b", None)).unwrap();
            socket.emit(request("c", ask("c", now))).unwrap();
            events(&mut socket);
            if ends {
                receive(&mut socket, Body::ConnectError(None));
            } else {
                socket.handle_lost(now, Reason::PingTimeout, true);
            }
            assert_eq!((socket.buffered(), socket.has_begun()), (0, false));
            let offline = Err(AckError::NeverSent(EmitError::Offline));
            assert_eq!(socket.poll_event(), Some(Event::Answered("c", offline)));
        }
    }

    #[test]
    fn what_is_emitted_early_goes_out_in_order_when_the_namespace_is_joined() {
        let now = Instant::now();
        let mut socket = socket("/");
        emit(&mut socket, "a", None).unwrap();
        socket.handle_open(now, session(Protocol::Eio4));
        emit(&mut socket, "b", ask("b", now)).unwrap();
        assert_eq!(written(&mut socket), [r#"40{"n":1,"token":"a b"}"#]);
        assert!(!socket.is_done());
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id","more":1}"#.into())));
        emit(&mut socket, "c", None).unwrap();
        assert_eq!(written(&mut socket), [r#"42["a"]"#, r#"420["b"]"#, r#"42["c"]"#]);
        assert!(!socket.is_done(), "somebody waits for an answer");
        receive(&mut socket, Body::Ack { id: 0, payload: encode_reply(&()).unwrap() });
        assert!(socket.is_done());
    }

    #[test]
    fn an_old_server_joins_the_root_by_itself_and_gets_auth_as_a_query_elsewhere() {
        let mut root = socket("/");
        root.handle_open(Instant::now(), session(Protocol::Eio3));
        assert!(written(&mut root).is_empty());
        receive(&mut root, Body::Connect(None));
        assert_eq!(events(&mut root), [Event::AuthUnused, ready("S")]);

        let mut foo = socket("/foo");
        foo.handle_open(Instant::now(), session(Protocol::Eio3));
        assert_eq!(written(&mut foo), ["40/foo?n=1&token=a%20b,"]);
        foo.handle_packet(Instant::now(), 1, Packet::new("/foo".into(), Body::Connect(None)));
        assert_eq!(foo.poll_event(), Some(ready("/foo#S")));
    }

    #[test]
    fn a_reply_without_an_id_is_not_one_of_revision_4() {
        let mut socket = socket("/");
        socket.handle_open(Instant::now(), session(Protocol::Eio4));
        receive(&mut socket, Body::Connect(None));
        assert!(matches!(
            socket.poll_event(),
            Some(Event::ConnectError(Reason::Connect(ConnectFailure::Unsupported { .. })))
        ));
    }

    #[test]
    fn refusals_of_all_servers_are_understood() {
        let refused = |data: Option<&str>| {
            let refusal = refusal(data);
            (refusal.message().to_owned(), refusal.decode::<Value>().ok())
        };
        assert_eq!(refused(Some(r#"{"message":"no"}"#)), ("no".into(), None));
        let data = Some(json!({ "code": 42 }));
        assert_eq!(
            refused(Some(r#"{"message":"no","data":{"code":42}}"#)),
            ("no".into(), data.clone())
        );
        assert_eq!(refused(Some(r#"{"code":42}"#)), (String::new(), data));
        assert_eq!(refused(Some(r#""no""#)), ("no".into(), None));
        let cut = "cut \u{fffd}";
        assert_eq!(refused(Some(r#""cut \ud83d""#)), (cut.into(), None));
        assert_eq!(
            refused(Some(r#"{"message":"cut \ud83d","data":"\ude00"}"#)),
            (cut.into(), Some(json!("\u{fffd}")))
        );
        assert_eq!(refused(Some("7")), (String::new(), Some(json!(7))));
        for unspoken in ["[]", "[7]", r#"[{"message":"no"}]"#, r#"[["no"],"no"]"#] {
            let data = serde_json::from_str(unspoken).ok();
            assert_eq!(refused(Some(unspoken)), (String::new(), data));
        }
        // Of these, the message is a part.
        for whole in [
            json!(["no", { "code": 7 }]),
            json!(["no"]),
            json!({ "message": "no", "code": "invalid_token", "type": "UnauthorizedError" }),
            json!({ "message": "no", "data": 1, "code": 7 }),
        ] {
            assert_eq!(refused(Some(&whole.to_string())), ("no".into(), Some(whole)));
        }
        let odd = json!({ "message": 7, "data": 1 });
        assert_eq!(refused(Some(&odd.to_string())), (String::new(), Some(odd)));
        assert_eq!(refused(Some(r#"{"message":"no","data":null}"#)), ("no".into(), None));
        assert_eq!(refused(Some(" null")), (String::new(), None));
        assert_eq!(refused(None), (String::new(), None));
    }

    #[test]
    fn the_data_of_a_refusal_may_be_nested_as_deep_as_the_server_likes() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let said = refusal(Some(&format!(r#"{{"message":"no","data":{deep}}}"#)));
        assert_eq!((said.message(), said.json()), ("no", Some(&*deep)));
        said.decode::<Value>().unwrap_err();
        let list = format!(r#"["no",{deep}]"#);
        for (json, message) in [(&deep, ""), (&list, "no")] {
            let said = refusal(Some(json));
            assert_eq!((said.message(), said.json()), (message, Some(&**json)));
        }
    }

    #[test]
    fn a_namespace_that_is_not_answered_ends() {
        let now = Instant::now();
        let mut socket = socket("/");
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(socket.poll_timeout(), Some(now + 20 * SECOND));
        socket.handle_timeout(now + 20 * SECOND);
        assert_eq!(socket.poll_event(), Some(Event::ConnectError(Reason::JoinTimeout)));
        let closed = EmitError::Closed(Reason::JoinTimeout);
        assert_eq!(emit(&mut socket, "e", None), Err(closed));
    }

    #[test]
    fn answers_find_their_question_in_any_order() {
        let now = Instant::now();
        let mut socket = joined();
        for name in ["a", "b", "c"] {
            emit(&mut socket, name, ask(name, now)).unwrap();
        }
        for id in [2, 0, 0, 7, 1] {
            receive(&mut socket, Body::Ack { id, payload: encode_reply(&id).unwrap() });
        }
        let answered: Vec<_> = events(&mut socket)
            .into_iter()
            .map(|event| match event {
                Event::Answered(waiter, Ok(payload)) => (waiter, payload.decode::<u64>().unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(answered, [("c", 2), ("a", 0), ("b", 1)]);
        assert_eq!(socket.poll_timeout(), None);
    }

    #[test]
    fn an_emit_that_timed_out_before_it_was_sent_is_not_sent() {
        let now = Instant::now();
        let outbox = outbox(10);
        let mut socket = socket("/");
        let permit = outbox.reserve(10);
        socket.emit(Request { permit, ask: ask("a", now), ..request("a") }).unwrap();
        emit(&mut socket, "b", None).unwrap();
        socket.handle_timeout(now + SECOND);
        let never = AckError::NeverSent(EmitError::Expired);
        assert_eq!(events(&mut socket), [Event::Answered("a", Err(never))]);
        assert_eq!(outbox.waiting(), 0, "its room is given back");
        socket.handle_open(now, session(Protocol::Eio4));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(written(&mut socket)[1..], [r#"42["b"]"#]);
    }

    #[test]
    fn a_lost_session_fails_what_was_sent_and_keeps_what_was_not() {
        let now = Instant::now();
        let mut socket = joined();
        emit(&mut socket, "sent", ask("sent", now)).unwrap();
        assert_eq!(written(&mut socket).len(), 1);
        let reason = Reason::PingTimeout;
        socket.handle_lost(now, reason.clone(), true);
        emit(&mut socket, "kept", ask("kept", now)).unwrap();
        socket.handle_lost(now, reason.clone(), true);
        let failed = Event::Answered("sent", Err(AckError::Disconnected(reason.clone())));
        assert_eq!(events(&mut socket), [failed, Event::Disconnected(reason.clone())]);

        socket.handle_lost(now, reason.clone(), false);
        let closed = EmitError::Closed(reason.clone());
        let never = AckError::NeverSent(closed.clone());
        assert_eq!(
            events(&mut socket),
            [Event::Answered("kept", Err(never)), Event::ConnectError(reason)]
        );
        assert_eq!(emit(&mut socket, "late", ask("late", now)), Err(closed));
        assert!(matches!(events(&mut socket)[..], [Event::Answered("late", Err(_))]));
    }

    /// Joins again, over connection number `epoch`, and gives what is sent then.
    fn rejoin(socket: &mut Namespace<&'static str>, now: Instant, epoch: u64) -> Vec<String> {
        socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
        let reply = Body::Connect(Some(r#"{"sid":"x"}"#.into()));
        socket.handle_packet(now, epoch, Packet::new(root(), reply));
        written(socket).split_off(1)
    }

    #[test]
    fn what_was_not_written_before_the_session_ended_goes_into_the_next() {
        let now = Instant::now();
        let mut socket = joined();
        emit(&mut socket, "a", None).unwrap();
        emit(&mut socket, "b", ask("b", now)).unwrap();
        let on_the_way = socket.take_transmit();
        emit(&mut socket, "c", None).unwrap();
        socket.take_back(on_the_way);
        socket.handle_lost(now, Reason::PingTimeout, true);
        emit(&mut socket, "d", None).unwrap();
        assert!(written(&mut socket).is_empty());
        assert_eq!(events(&mut socket), [Event::Disconnected(Reason::PingTimeout)]);
        assert_eq!(
            rejoin(&mut socket, now, 2),
            [r#"42["a"]"#, r#"420["b"]"#, r#"42["c"]"#, r#"42["d"]"#]
        );
    }

    #[test]
    fn what_comes_back_late_finds_its_place_but_nobody_who_waits() {
        let now = Instant::now();
        let mut socket = joined();
        emit(&mut socket, "a", None).unwrap();
        emit(&mut socket, "b", ask("b", now)).unwrap();
        let on_the_way = socket.take_transmit();
        emit(&mut socket, "c", None).unwrap();
        socket.handle_lost(now, Reason::PingTimeout, true);
        assert!(matches!(
            events(&mut socket)[..],
            [Event::Answered("b", Err(AckError::Disconnected(_))), Event::Disconnected(_)]
        ));
        socket.take_back(on_the_way);
        assert_eq!(rejoin(&mut socket, now, 2), [r#"42["a"]"#, r#"42["c"]"#]);
    }

    #[test]
    fn emits_may_be_now_or_never() {
        let now = Instant::now();
        let mut socket = socket("/");
        let volatile =
            |ask| Request { emit: Emit::new("v", ()).unwrap().volatile(), ask, ..request("v") };
        assert_eq!(socket.emit(volatile(None)), Err(EmitError::Offline));
        assert_eq!(socket.emit(volatile(ask("v", now))), Err(EmitError::Offline));
        let failing = Request { offline: Offline::Fail, ..request("f") };
        assert_eq!(socket.emit(failing), Err(EmitError::Offline));
        let never = AckError::NeverSent(EmitError::Offline);
        assert_eq!(events(&mut socket), [Event::Answered("v", Err(never))]);

        let mut socket = joined();
        let outbox = outbox(1_000);
        let waiting: Vec<_> = (0..=CONGESTED).map(|_| outbox.reserve(1)).collect();
        socket.emit(Request { permit: outbox.reserve(1), ..volatile(None) }).unwrap();
        assert_eq!(written(&mut socket).len(), 1, "nothing has been handed to the connection");
        let hand = |mut permit: Option<Permit>| {
            permit.iter_mut().for_each(Permit::hand);
            permit
        };
        let waiting: Vec<_> = waiting.into_iter().map(hand).collect();
        assert_eq!(socket.emit(Request { permit: outbox.reserve(1), ..volatile(None) }), {
            Err(EmitError::Discarded)
        });
        drop(waiting);
        socket.emit(Request { permit: outbox.reserve(1), ..volatile(None) }).unwrap();
        assert_eq!(written(&mut socket), [r#"42["v"]"#]);
    }

    #[test]
    fn of_what_is_buffered_under_one_key_the_last_counts() {
        let now = Instant::now();
        let mut socket = socket("/");
        let latest =
            |name, key| Request { emit: Emit::new(name, ()).unwrap().latest(key), ..request(name) };
        socket.emit(Request { ask: ask("a1", now), ..latest("a1", "a") }).unwrap();
        emit(&mut socket, "x", None).unwrap();
        socket.emit(latest("b1", "b")).unwrap();
        socket.emit(latest("a2", "a")).unwrap();
        let discarded = AckError::NeverSent(EmitError::Discarded);
        assert_eq!(events(&mut socket), [Event::Answered("a1", Err(discarded))]);
        assert_eq!(socket.tally().replaced, 1);
        assert_eq!(rejoin(&mut socket, now, 1), [r#"42["a2"]"#, r#"42["x"]"#, r#"42["b1"]"#]);
    }

    #[test]
    fn what_waits_for_too_long_is_not_sent() {
        let now = Instant::now();
        let outbox = outbox(10);
        let mut socket = socket("/");
        let retries = |waiter| Ask { waiter, since: now, timeout: SECOND, retries: 1, id: None };
        let end = Some(now + 5 * SECOND);
        for request in [
            Request { expires: end, permit: outbox.reserve(1), ..request("a") },
            Request { expires: end, ask: Some(retries("b")), ..request("b") },
            Request { expires: Some(now + 9 * SECOND), ..request("c") },
            request("d"),
        ] {
            socket.emit(request).unwrap();
        }
        assert_eq!(socket.poll_timeout(), end);
        socket.handle_timeout(now + 5 * SECOND);
        let expired = AckError::NeverSent(EmitError::Expired);
        assert_eq!(events(&mut socket), [Event::Answered("b", Err(expired))]);
        assert_eq!((outbox.waiting(), outbox.discarded()), (0, 1));
        assert_eq!(socket.poll_timeout(), Some(now + 9 * SECOND));
        // Whether or not anybody has looked in time.
        assert_eq!(rejoin(&mut socket, now + 9 * SECOND, 1), [r#"42["d"]"#]);
    }

    #[test]
    fn what_the_server_would_not_take_is_not_sent() {
        let now = Instant::now();
        let mut socket = socket("/");
        socket.emit(Request { ask: ask("big", now), ..request("big") }).unwrap();
        emit(&mut socket, "a", None).unwrap();
        let limited = Session { max_payload: Some(8), ..session(Protocol::Eio4) };
        socket.handle_open(now, limited);
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(written(&mut socket)[1..], [r#"42["a"]"#]);
        let (size, limit) = (r#"420["big"]"#.len().try_into().unwrap(), 8);
        let error = AckError::NeverSent(EmitError::PayloadTooLarge { size, limit });
        assert_eq!(
            events(&mut socket),
            [Event::TooLarge { size, limit }, Event::Answered("big", Err(error)), ready("id")]
        );
    }

    #[test]
    fn what_was_not_sent_can_be_taken_back() {
        let now = Instant::now();
        let mut socket = socket("/");
        emit(&mut socket, "a", None).unwrap();
        emit(&mut socket, "b", ask("b", now)).unwrap();
        let retries = Ask { waiter: "c", since: now, timeout: SECOND, retries: 1, id: None };
        emit(&mut socket, "c", Some(retries)).unwrap();
        let names: Vec<_> = socket
            .take_unsent(&EmitError::Discarded)
            .iter()
            .map(|emit| emit.name().to_owned())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(events(&mut socket).len(), 2);
        assert!(rejoin(&mut socket, now, 1).is_empty());
    }

    /// Emits with two retries.
    fn emit_surely(socket: &mut Namespace<&'static str>, name: &'static str, now: Instant) {
        let ask = Ask { waiter: name, since: now, timeout: SECOND, retries: 2, id: None };
        emit(socket, name, Some(ask)).unwrap();
    }

    fn answer(socket: &mut Namespace<&'static str>, id: u64) {
        receive(socket, Body::Ack { id, payload: encode_reply(&()).unwrap() });
    }

    #[test]
    fn what_must_arrive_is_sent_until_it_is_answered() {
        let now = Instant::now();
        let mut socket = joined();
        for name in ["a", "b", "c"] {
            emit_surely(&mut socket, name, now);
        }
        emit(&mut socket, "x", None).unwrap();
        assert_eq!(written(&mut socket), [r#"420["a"]"#, r#"421["b"]"#, r#"42["x"]"#]);
        answer(&mut socket, 1);
        assert_eq!(written(&mut socket), [r#"422["c"]"#]);
        assert!(matches!(events(&mut socket)[..], [Event::Answered("b", Ok(_))]));
        // The time for a try is over: again, under the same id, so that a late answer counts.
        socket.handle_timeout(now + SECOND);
        assert_eq!(written(&mut socket)[0], r#"420["a"]"#);
        answer(&mut socket, 0);
        assert!(matches!(events(&mut socket)[..], [Event::Answered("a", Ok(_))]));
        assert_eq!(socket.tally().late, 0);
        // A lost session takes no retry, and goes in the order of the emits.
        for epoch in 2..10 {
            socket.handle_lost(now, Reason::PingTimeout, true);
            events(&mut socket);
            assert_eq!(rejoin(&mut socket, now + SECOND, epoch), [r#"422["c"]"#]);
        }
        for seconds in 2..6 {
            socket.handle_timeout(now + seconds * SECOND);
        }
        let timed_out = Event::Answered("c", Err(AckError::TimedOut));
        assert_eq!(events(&mut socket).last(), Some(&timed_out));
        assert!(socket.is_done());
    }

    #[test]
    fn what_must_arrive_fails_with_its_namespace() {
        let now = Instant::now();
        let mut socket = joined();
        for name in ["a", "b", "c"] {
            emit_surely(&mut socket, name, now);
        }
        written(&mut socket);
        socket.leave(Reason::ClientDisconnect);
        let sent = || Err(AckError::Disconnected(Reason::ClientDisconnect));
        let unsent = AckError::NeverSent(EmitError::Closed(Reason::ClientDisconnect));
        assert_eq!(
            events(&mut socket)[..3],
            [
                Event::Answered("a", sent()),
                Event::Answered("b", sent()),
                Event::Answered("c", Err(unsent)),
            ]
        );
    }

    #[test]
    fn an_event_that_the_server_closes_the_connection_over_is_not_sent_for_ever() {
        let now = Instant::now();
        let mut socket = joined();
        emit_surely(&mut socket, "a", now);
        for epoch in 2..=3 {
            written(&mut socket);
            socket.handle_lost(now, Reason::TooLargeForServer, true);
            assert_eq!(rejoin(&mut socket, now, epoch), [r#"420["a"]"#]);
        }
        events(&mut socket);
        socket.handle_lost(now, Reason::TooLargeForServer, true);
        let failed = AckError::Disconnected(Reason::TooLargeForServer);
        assert_eq!(events(&mut socket)[0], Event::Answered("a", Err(failed)));
    }

    #[test]
    fn what_was_sent_is_never_said_to_be_never_sent() {
        let now = Instant::now();
        let mut socket = joined();
        emit_surely(&mut socket, "a", now);
        assert_eq!(written(&mut socket).len(), 1);
        socket.handle_lost(now, Reason::PingTimeout, true);
        events(&mut socket);
        // The next server takes less.
        socket.handle_open(now, Session { max_payload: Some(3), ..session(Protocol::Eio4) });
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        let failed = Event::Answered("a", Err(AckError::TimedOut));
        assert!(events(&mut socket).contains(&failed));
        assert_eq!((socket.tally().unanswered, socket.is_done()), (1, true));
    }

    #[test]
    fn what_must_arrive_expires_even_if_it_was_under_way() {
        let now = Instant::now();
        let mut socket = joined();
        let expires = Some(now + 5 * SECOND);
        let ask = Ask { waiter: "a", since: now, timeout: 9 * SECOND, retries: 9, id: None };
        socket.emit(Request { expires, ask: Some(ask), ..request("a") }).unwrap();
        socket.handle_timeout(now + 5 * SECOND);
        assert!(events(&mut socket).is_empty(), "it may be answered yet");
        socket.handle_lost(now, Reason::PingTimeout, true);
        assert_eq!(socket.poll_timeout(), expires);
        socket.handle_timeout(now + 5 * SECOND);
        let failed = Event::Answered("a", Err(AckError::TimedOut));
        assert_eq!(events(&mut socket).last(), Some(&failed));
    }

    #[test]
    fn what_is_not_to_wait_does_not_wait_for_the_next_session_either() {
        let now = Instant::now();
        let outbox = outbox(10);
        let mut socket = joined();
        let volatile = Emit::new("v", ()).unwrap().volatile();
        let permit = || outbox.reserve(1);
        socket.emit(Request { emit: volatile, permit: permit(), ..request("v") }).unwrap();
        let offline = Offline::Fail;
        socket.emit(Request { offline, permit: permit(), ..request("f") }).unwrap();
        socket.emit(Request { permit: permit(), ..request("w") }).unwrap();
        socket.handle_lost(now, Reason::PingTimeout, true);
        assert_eq!((outbox.waiting(), outbox.discarded()), (1, 2));
        assert_eq!(rejoin(&mut socket, now, 2), [r#"42["w"]"#]);
    }

    #[test]
    fn of_what_comes_back_under_one_key_the_last_counts_too() {
        let now = Instant::now();
        let mut socket = joined();
        let latest =
            |name| Request { emit: Emit::new(name, ()).unwrap().latest("a"), ..request(name) };
        socket.emit(latest("a1")).unwrap();
        emit(&mut socket, "x", None).unwrap();
        let on_the_way = socket.take_transmit();
        socket.handle_lost(now, Reason::PingTimeout, true);
        socket.emit(latest("a2")).unwrap();
        socket.take_back(on_the_way);
        assert_eq!(rejoin(&mut socket, now, 2), [r#"42["x"]"#, r#"42["a2"]"#]);
        assert_eq!(socket.tally().replaced, 1);
    }

    #[test]
    fn what_was_said_to_the_visit_before_does_not_end_the_next() {
        let now = Instant::now();
        let mut socket = joined();
        socket.leave(Reason::ClientDisconnect);
        assert!(socket.join(now));
        socket.handle_open(now, session(Protocol::Eio4));
        events(&mut socket);
        // The server's own disconnect has crossed ours.
        receive(&mut socket, Body::Disconnect);
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(events(&mut socket), [ready("id")]);
        receive(&mut socket, Body::Disconnect);
        assert_eq!(events(&mut socket), [Event::Disconnected(Reason::ServerDisconnect)]);
    }

    #[test]
    fn a_session_is_gone_on_with_behind_the_last_event() {
        let now = Instant::now();
        let mut socket = Namespace::<&'static str>::new(Config {
            credentials: Credentials::Fixed(Some(Auth("{}".into()))),
            ..config("/")
        });
        let event = |offset: &'static str, id| {
            let payload = encode_event("e", &(1, offset)).unwrap();
            Body::Event { id, payload }
        };
        let mut epoch = 0;
        let mut reconnect = |socket: &mut Namespace<&'static str>, replay: &[&'static str], pid| {
            socket.handle_lost(now, Reason::PingTimeout, true);
            events(socket);
            epoch += 1;
            socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
            let request = written(socket).remove(0);
            for offset in replay {
                socket.handle_packet(now, epoch, Packet::new(root(), event(offset, None)));
            }
            let reply = Body::Connect(Some(format!(r#"{{"sid":"s","pid":"{pid}"}}"#).into()));
            socket.handle_packet(now, epoch, Packet::new(root(), reply));
            let mut came = events(socket);
            let Some(Event::Ready { recovered, .. }) = came.pop() else { panic!("not ready") };
            (request, came.len(), recovered, epoch)
        };
        let (request, _, recovered, epoch) = reconnect(&mut socket, &[], "P");
        assert_eq!((&*request, recovered), ("40{}", false));
        for (offset, id) in [("o1", None), ("o2", None), ("no", Some(5))] {
            socket.handle_packet(now, epoch, Packet::new(root(), event(offset, id)));
        }
        let (request, came, recovered, _) = reconnect(&mut socket, &["o2", "o3", "o4"], "P");
        assert_eq!(request, r#"40{"offset":"o2","pid":"P"}"#);
        assert_eq!((came, recovered), (2, true), "o2 came before");
        assert_eq!(socket.tally().repeated, 1);
        // A new session: what came in the old one says nothing.
        let (request, came, recovered, epoch) = reconnect(&mut socket, &["o5"], "Q");
        assert_eq!(request, r#"40{"offset":"o4","pid":"P"}"#);
        assert_eq!((came, recovered), (1, false));
        assert_eq!(socket.recovery().unwrap().point(), None);
        socket.handle_packet(now, epoch, Packet::new(root(), event("p1", None)));
        assert_eq!(socket.recovery().unwrap().point(), Some(("Q", "p1")));
        // No server goes on with a session that was left, or that it has ended.
        let mut left = socket;
        left.leave(Reason::ClientDisconnect);
        assert_eq!(left.recovery(), None);
    }

    #[test]
    fn credentials_come_before_those_that_recover_a_session() {
        let mut socket = socket("/");
        socket.recovery = Some(Recovery::new("P".into(), "o\"1".into()));
        socket.handle_open(Instant::now(), session(Protocol::Eio4));
        let connect = r#"40{"offset":"o\"1","pid":"P","n":1,"token":"a b"}"#;
        assert_eq!(written(&mut socket), [connect]);
    }

    /// A namespace whose application gives the credentials, and that tries again when refused.
    fn provided() -> Namespace<&'static str> {
        let retry = |reason: &Reason| match reason {
            Reason::Refused(_) => Retry::WithNewAuth,
            other => Retry::default_for(other),
        };
        Namespace::new(Config {
            credentials: Credentials::Provided,
            reconnect: Reconnect::default().jitter(0.0).attempts(2).retry(retry),
            ..config("/")
        })
    }

    #[test]
    fn the_application_is_asked_for_credentials_before_each_request() {
        let now = Instant::now();
        let mut socket = provided();
        assert_eq!(socket.wants_auth(), None);
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(socket.wants_auth(), Some(1));
        assert!(written(&mut socket).is_empty());
        // The connection is gone before there is an answer: the question is another one then.
        socket.handle_lost(now, Reason::PingTimeout, true);
        assert_eq!(socket.wants_auth(), None);
        socket.handle_auth(now, Ok(Some(Auth("{}".into()))));
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(socket.wants_auth(), Some(2));
        socket.handle_auth(now, Ok(Some(Auth(r#"{"a":1}"#.into()))));
        assert_eq!(written(&mut socket), [r#"40{"a":1}"#]);
        // An old server takes none for `/`.
        let mut socket = provided();
        socket.handle_open(now, session(Protocol::Eio3));
        assert_eq!(socket.wants_auth(), None);
        assert_eq!(events(&mut socket), [Event::AuthUnused]);
    }

    #[test]
    fn a_refused_namespace_is_tried_again_if_the_policy_says_so() {
        let mut now = Instant::now();
        let mut socket = provided();
        emit(&mut socket, "kept", None).unwrap();
        for number in 1..=2 {
            socket.handle_open(now, session(Protocol::Eio4));
            socket.handle_auth(now, Ok(Some(Auth("{}".into()))));
            assert_eq!(written(&mut socket), ["40{}"]);
            socket.handle_packet(now, 1, Packet::new(root(), Body::ConnectError(None)));
            let reason = Reason::Refused(refusal(None));
            // The first one at once, as the credentials are new.
            let delay = (number - 1) * SECOND;
            assert_eq!(
                events(&mut socket),
                [
                    Event::ConnectError(reason.clone()),
                    Event::Retrying { attempt: number, delay, reason }
                ]
            );
            assert_eq!(socket.ended(), None);
            // It joins when its time has come, and not with the connection.
            socket.handle_open(now, session(Protocol::Eio4));
            assert_eq!(socket.poll_timeout(), Some(now + delay));
            now += delay;
            socket.handle_timeout(now);
            assert_eq!(events(&mut socket), [Event::Rejoin]);
        }
        socket.handle_open(now, session(Protocol::Eio4));
        socket.handle_auth(now, Err(Reason::Provider("no token".to_owned())));
        let reason = Reason::Provider("no token".to_owned());
        assert_eq!(
            events(&mut socket),
            [Event::ConnectError(reason.clone()), Event::GaveUp { attempts: 2, reason }]
        );
        assert!(socket.join(now), "whoever wants it can have it tried again");
        assert_eq!(rejoin_with(&mut socket, now), [r#"42["kept"]"#]);
    }

    fn rejoin_with(socket: &mut Namespace<&'static str>, now: Instant) -> Vec<String> {
        socket.handle_open(now, session(Protocol::Eio4));
        socket.handle_auth(now, Ok(Some(Auth("{}".into()))));
        receive(socket, Body::Connect(Some(r#"{"sid":"x"}"#.into())));
        written(socket).split_off(1)
    }

    #[test]
    fn credentials_have_a_deadline() {
        let now = Instant::now();
        let mut socket = provided();
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(socket.poll_timeout(), Some(now + 20 * SECOND));
        socket.handle_timeout(now + 20 * SECOND);
        assert!(matches!(
            events(&mut socket)[..],
            [Event::ConnectError(Reason::Provider(_)), Event::Retrying { attempt: 1, .. }]
        ));
    }

    #[test]
    fn an_answer_that_comes_while_it_is_tried_again_is_taken() {
        let now = Instant::now();
        let mut socket = Namespace::<&'static str>::new(Config {
            reconnect: Reconnect::default(),
            ..config("/")
        });
        socket.handle_open(now, session(Protocol::Eio4));
        written(&mut socket);
        socket.handle_timeout(now + 20 * SECOND);
        assert!(matches!(
            events(&mut socket)[..],
            [Event::ConnectError(Reason::JoinTimeout), Event::Retrying { .. }]
        ));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(events(&mut socket), [ready("id")]);
    }

    #[test]
    fn answers_to_the_server_stay_in_their_session() {
        let mut socket = joined();
        let reply = || encode_reply(&1).unwrap();
        assert!(socket.answer(1, 5, reply(), None));
        assert_eq!(written(&mut socket), ["435[1]"]);
        assert!(!socket.answer(2, 5, reply(), None));
        socket.handle_lost(Instant::now(), Reason::PingTimeout, true);
        assert!(!socket.answer(1, 5, reply(), None));
        assert!(written(&mut socket).is_empty());
    }

    #[test]
    fn answers_to_the_server_stay_in_their_visit_of_one_connection() {
        let mut socket = joined();
        let reply = || encode_reply(&1).unwrap();
        socket.leave(Reason::ClientDisconnect);
        assert!(!socket.answer(1, 5, reply(), None));
        assert!(socket.join(Instant::now()));
        socket.handle_open(Instant::now(), session(Protocol::Eio4));
        assert!(!socket.answer(1, 5, reply(), None));
        assert!(socket.answer(2, 5, reply(), None));
    }

    #[test]
    fn an_old_server_may_report_an_error_to_whoever_is_joined() {
        let mut socket = socket("/foo");
        socket.handle_open(Instant::now(), session(Protocol::Eio3));
        receive(&mut socket, Body::Connect(None));
        events(&mut socket);
        receive(&mut socket, Body::ConnectError(Some(r#""no""#.into())));
        let error = Refusal::new("no".to_owned(), None);
        assert_eq!(events(&mut socket), [Event::ServerError(error)]);
        assert!(socket.is_joined());

        let mut socket = joined();
        receive(&mut socket, Body::ConnectError(Some(r#""no""#.into())));
        assert_eq!(events(&mut socket), []);
    }

    #[test]
    fn packets_of_an_older_session_and_after_the_end_are_ignored() {
        let mut socket = joined();
        let event = || {
            let payload = encode_event("e", &()).unwrap();
            Packet::new(root(), Body::Event { id: None, payload })
        };
        socket.handle_packet(Instant::now(), 0, event());
        assert_eq!(socket.poll_event(), None);
        receive(&mut socket, Body::Disconnect);
        assert_eq!(socket.poll_event(), Some(Event::Disconnected(Reason::ServerDisconnect)));
        socket.handle_packet(Instant::now(), 1, event());
        receive(&mut socket, Body::Disconnect);
        assert_eq!(socket.poll_event(), None);
    }

    #[test]
    fn leaving_tells_the_server_only_if_it_knows_us() {
        let mut joined = joined();
        joined.leave(Reason::ClientDisconnect);
        assert_eq!(joined.poll_farewell(), Some((1, Packet::new(root(), Body::Disconnect))));
        joined.leave(Reason::ClientDisconnect);
        assert_eq!(joined.poll_farewell(), None);
        let mut waiting = socket("/");
        waiting.leave(Reason::ClientDisconnect);
        assert_eq!(waiting.poll_farewell(), None);
        let now = Instant::now();
        assert!(joined.join(now));
        assert!(!joined.join(now), "that goes on already");
    }

    /// A namespace that was given up while it was being joined.
    fn given_up(now: Instant) -> Namespace<&'static str> {
        let mut socket = socket("/");
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(written(&mut socket).len(), 1);
        socket.leave(Reason::ClientDisconnect);
        assert_eq!(socket.poll_farewell(), None, "the server does not know us yet");
        events(&mut socket);
        socket
    }

    #[test]
    fn who_leaves_too_early_for_the_server_says_so_when_it_answers() {
        let mut socket = given_up(Instant::now());
        let payload = encode_event("e", &()).unwrap();
        receive(&mut socket, Body::Event { id: None, payload });
        assert_eq!(socket.poll_farewell(), None);
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert!(socket.poll_farewell().is_some());
        assert_eq!(socket.poll_event(), None);

        let mut socket = given_up(Instant::now());
        receive(&mut socket, Body::ConnectError(None));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(socket.poll_farewell(), None);
    }

    #[test]
    fn who_comes_back_before_the_answer_takes_it_for_its_own() {
        let now = Instant::now();
        let mut socket = given_up(now);
        assert!(!socket.join(now), "the request is out already");
        assert!(written(&mut socket).is_empty());
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(socket.poll_event(), Some(ready("id")));

        // And after the time for the answer was over, too.
        let mut socket =
            Namespace::<&'static str>::new(Config { join_timeout: SECOND, ..config("/") });
        socket.handle_open(now, session(Protocol::Eio4));
        written(&mut socket);
        socket.handle_timeout(now + SECOND);
        assert!(socket.join(now + SECOND), "it had its time: the server is asked again");
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(events(&mut socket).last(), Some(&ready("id")), "it answers after all");
        socket.handle_open(now, session(Protocol::Eio4));
        assert!(written(&mut socket).is_empty());
    }

    #[test]
    fn a_request_that_is_never_answered_is_made_again() {
        let mut now = Instant::now();
        let mut socket = Namespace::<&'static str>::new(Config {
            join_timeout: SECOND,
            reconnect: Reconnect::default().delay(SECOND, SECOND).jitter(0.0),
            ..config("/")
        });
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(written(&mut socket).len(), 1);
        // At first the server may just be slow.
        for asked_again in [false, true] {
            now += SECOND;
            socket.handle_timeout(now);
            assert!(matches!(
                events(&mut socket)[..],
                [Event::ConnectError(Reason::JoinTimeout), Event::Retrying { .. }]
            ));
            now += SECOND;
            socket.handle_timeout(now);
            assert_eq!(events(&mut socket).contains(&Event::Rejoin), asked_again);
            assert!(written(&mut socket).is_empty());
        }
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(written(&mut socket).len(), 1);
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"first"}"#.into())));
        assert_eq!(events(&mut socket), [ready("first")]);
        // It was slow, and answers the second request, too.
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"second"}"#.into())));
        assert_eq!(events(&mut socket), [Event::JoinedTwice { epoch: 1 }]);
    }

    mod operations {
        //! Random operations: every waiter has exactly one outcome, and nothing follows an end.

        use std::collections::HashMap;

        use proptest::prelude::*;

        use super::*;

        #[derive(Debug, Clone)]
        enum Operation {
            Emit,
            Ask {
                retries: u32,
            },
            Open,
            Auth(bool),
            Reply,
            Refuse,
            Disconnect,
            Ack(u64),
            Event,
            /// What is on the way to the connection comes back, or not.
            Lost {
                again: bool,
                unwritten: bool,
            },
            Join,
            Leave,
            TakeUnsent,
            Pass(u64),
        }

        fn operation() -> impl Strategy<Value = Operation> {
            prop_oneof![
                Just(Operation::Emit),
                (0..3_u32).prop_map(|retries| Operation::Ask { retries }),
                (0..3_u32).prop_map(|retries| Operation::Ask { retries }),
                Just(Operation::Open),
                any::<bool>().prop_map(Operation::Auth),
                Just(Operation::Reply),
                Just(Operation::Reply),
                Just(Operation::Refuse),
                Just(Operation::Disconnect),
                (0..20_u64).prop_map(Operation::Ack),
                Just(Operation::Event),
                any::<(bool, bool)>()
                    .prop_map(|(again, unwritten)| Operation::Lost { again, unwritten }),
                Just(Operation::Join),
                Just(Operation::Leave),
                Just(Operation::TakeUnsent),
                (0..15_000_u64).prop_map(Operation::Pass),
            ]
        }

        proptest! {
            #[test]
            fn no_order_of_events_breaks_the_rules(
                operations in prop::collection::vec(operation(), 0..100),
                provided in any::<bool>(),
                patient in any::<bool>(),
            ) {
                let mut now = Instant::now();
                let fixed = Credentials::Fixed(None);
                let retry = |reason: &Reason| match reason {
                    Reason::Refused(_) => Retry::WithNewAuth,
                    _ => Retry::Again,
                };
                let mut socket: Namespace<usize> = Namespace::new(Config {
                    credentials: if provided { Credentials::Provided } else { fixed },
                    reconnect: Reconnect::default().attempts(if patient { 3 } else { 0 }).retry(retry),
                    ..config("/")
                });
                let (mut epoch, mut asked) = (0, 0_usize);
                let mut outcomes: HashMap<usize, u32> = HashMap::new();
                let mut ready = false;
                let outbox = outbox(1_000);
                let mut on_the_way = Vec::new();
                // Requests to join on this connection.
                let mut requests = 0;
                // At the end, time runs out for whoever still waits.
                let end = [Operation::Leave, Operation::Pass(100_000)];
                for operation in operations.into_iter().chain(end) {
                    let packet = |body| Packet::new(root(), body);
                    let was_over = socket.ended().is_some();
                    match operation {
                        Operation::Emit => {
                            let permit = outbox.reserve(5);
                            let taken = socket.emit(Request { permit, ..request("e") });
                            prop_assert_eq!(taken.is_err(), was_over);
                        }
                        Operation::Ask { retries } => {
                            asked += 1;
                            let timeout = 10 * SECOND;
                            let ask = Ask { waiter: asked, since: now, timeout, retries, id: None };
                            let permit = outbox.reserve(5);
                            let request = Request { permit, ask: Some(ask), ..request("e") };
                            prop_assert_eq!(socket.emit(request).is_err(), was_over);
                        }
                        Operation::Open => {
                            if socket.session().is_none() {
                                epoch += 1;
                                requests = 0;
                                on_the_way.clear();
                            }
                            socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
                        }
                        Operation::Auth(works) => {
                            let auth = if works { Ok(Some(Auth("{}".into()))) } else { Err(Reason::Provider("no".into())) };
                            socket.handle_auth(now, auth);
                        }
                        Operation::Reply => {
                            let reply = Some(r#"{"sid":"x","pid":"p"}"#.into());
                            socket.handle_packet(now, epoch, packet(Body::Connect(reply)));
                        }
                        Operation::Refuse => {
                            socket.handle_packet(now, epoch, packet(Body::ConnectError(None)));
                        }
                        Operation::Disconnect => {
                            socket.handle_packet(now, epoch, packet(Body::Disconnect));
                        }
                        Operation::Ack(id) => {
                            let payload = encode_reply(&()).unwrap();
                            socket.handle_packet(now, epoch, packet(Body::Ack { id, payload }));
                        }
                        Operation::Event => {
                            let payload = encode_event("e", &"offset").unwrap();
                            let body = Body::Event { id: None, payload };
                            socket.handle_packet(now, epoch, packet(body));
                        }
                        Operation::Lost { again, unwritten } => {
                            if unwritten {
                                socket.take_back(on_the_way.drain(..));
                            }
                            socket.handle_lost(now, Reason::PingTimeout, again);
                        }
                        Operation::Join => drop(socket.join(now)),
                        Operation::Leave => socket.leave(Reason::ClientDisconnect),
                        Operation::TakeUnsent => drop(socket.take_unsent(&EmitError::Discarded)),
                        Operation::Pass(millis) => {
                            now += Duration::from_millis(millis);
                            socket.handle_timeout(now);
                        }
                    }
                    while let Some(event) = socket.poll_event() {
                        match event {
                            Event::Answered(waiter, _) => *outcomes.entry(waiter).or_default() += 1,
                            Event::Received { .. } => prop_assert!(!was_over, "after the end"),
                            Event::Ready { .. } => {
                                prop_assert!(!ready, "ready twice");
                                ready = true;
                            }
                            Event::Disconnected(_) => {
                                prop_assert!(ready, "disconnected, and never was connected");
                                ready = false;
                            }
                            Event::ConnectError(_) => prop_assert!(!ready),
                            Event::Retrying { attempt, .. } => prop_assert!(!ready && attempt <= 3),
                            Event::GaveUp { attempts, .. } => {
                                prop_assert!(!ready && attempts <= 3 && socket.ended().is_some());
                            }
                            Event::Rejoin => prop_assert!(!ready && socket.ended().is_none()),
                            Event::AuthUnused => {}
                            Event::JoinedTwice { epoch: on } => {
                                prop_assert!(ready && on == epoch && requests > 1);
                            }
                            Event::ServerError(_) => prop_assert!(false, "it is a new server"),
                            Event::TooLarge { .. } | Event::Unsendable(_) => {
                                prop_assert!(false, "nothing is too large");
                            }
                        }
                    }
                    for outgoing in socket.take_transmit() {
                        let early = matches!(outgoing.packet.body, Body::Connect(_));
                        prop_assert!(early || ready, "sent before the namespace was joined");
                        if early {
                            requests += 1;
                            on_the_way.clear();
                        } else {
                            on_the_way.push(outgoing);
                        }
                    }
                    prop_assert_eq!(socket.is_joined(), ready);
                    let held = socket.buffered() + socket.retries.len() + on_the_way.len();
                    prop_assert!(outbox.waiting() <= held, "room is lost");
                    if let Some(timeout) = socket.poll_timeout() {
                        prop_assert!(timeout < now + 86_401 * SECOND);
                    }
                }
                prop_assert_eq!(outcomes.len(), asked, "a waiter has no outcome");
                prop_assert!(outcomes.values().all(|&count| count == 1), "a waiter has two");
            }

            /// Whatever has happened, and then the server says nothing: attempts that are announced go
            /// out, apart from those for which it may answer what went out before.
            #[test]
            fn what_is_announced_goes_out(
                operations in prop::collection::vec(operation(), 0..60),
                provided in any::<bool>(),
                comes_back in any::<bool>(),
            ) {
                let mut now = Instant::now();
                let fixed = Credentials::Fixed(None);
                let mut socket: Namespace<usize> = Namespace::new(Config {
                    credentials: if provided { Credentials::Provided } else { fixed },
                    reconnect: Reconnect::default().retry(|_| Retry::Again),
                    ..config("/")
                });
                let packet = |body| Packet::new(root(), body);
                let mut epoch = 0;
                for operation in operations {
                    match operation {
                        Operation::Open => {
                            epoch += u64::from(socket.session().is_none());
                            socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
                        }
                        Operation::Auth(_) => socket.handle_auth(now, Ok(None)),
                        Operation::Reply => {
                            let body = Body::Connect(Some(r#"{"sid":"x"}"#.into()));
                            socket.handle_packet(now, epoch, packet(body));
                        }
                        Operation::Refuse => {
                            socket.handle_packet(now, epoch, packet(Body::ConnectError(None)));
                        }
                        Operation::Disconnect => {
                            socket.handle_packet(now, epoch, packet(Body::Disconnect));
                        }
                        Operation::Lost { again, .. } => {
                            socket.handle_lost(now, Reason::PingTimeout, again);
                        }
                        Operation::Join => drop(socket.join(now)),
                        Operation::Leave => socket.leave(Reason::ClientDisconnect),
                        Operation::Pass(millis) => {
                            now += Duration::from_millis(millis);
                            socket.handle_timeout(now);
                        }
                        _ => {}
                    }
                    while socket.poll_event().is_some() {}
                    drop(socket.take_transmit());
                }
                if comes_back && socket.join(now) {
                    socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
                }
                let (mut announced, mut went_out) = (0, 0);
                for _ in 0..40 {
                    while let Some(event) = socket.poll_event() {
                        match event {
                            Event::Rejoin => {
                                let session = Session { epoch, ..session(Protocol::Eio4) };
                                socket.handle_open(now, session);
                            }
                            Event::Retrying { .. } => announced += 1,
                            _ => {}
                        }
                    }
                    if socket.wants_auth().is_some() {
                        socket.handle_auth(now, Ok(None));
                    }
                    went_out += socket.take_transmit().len();
                    let Some(timeout) = socket.poll_timeout() else { break };
                    now = timeout;
                    socket.handle_timeout(now);
                }
                prop_assert!(announced <= 3 * (went_out + 1), "{} went out: {}", announced, went_out);
            }
        }
    }
}
