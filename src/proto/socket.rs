//! One namespace: joining and leaving it, its buffer, its acks.
//!
//! ```text
//!            handle_open            reply
//!  Waiting ──────────────▶ Joining ────────▶ Joined
//!     ▲                       │                 │
//!     │ join / handle_lost(again)               │ refused, disconnected, lost, left, timed out
//!     └────────── Ended ◀─────┴─────────────────┘
//! ```
//!
//! What is emitted while waiting or joining is buffered, in order; what comes in while joining is
//! passed on (servers replay a recovered session before they answer, and some let their connect
//! handler speak first).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::Value;

use super::{
    acks::Acks,
    connection::{Outgoing, Session},
    engine::{Protocol, later},
    packet::{Body, Packet},
};
use crate::{
    error::{AckError, ConnectFailure, EmitError, Reason, Refusal},
    outbox::Permit,
    payload::Payload,
};

#[derive(Debug)]
pub(crate) struct Socket<W> {
    namespace: ByteString,
    auth: Option<ByteString>,
    join_timeout: Duration,
    state: State,
    /// The connection that the state refers to; `None` while waiting.
    session: Option<Session>,
    buffer: VecDeque<Outgoing>,
    acks: Acks<W>,
    transmit: VecDeque<Outgoing>,
    events: VecDeque<Event<W>>,
}

#[derive(Debug)]
enum State {
    /// To be joined as soon as there is a connection.
    Waiting,
    Joining {
        deadline: Instant,
    },
    Joined,
    /// Neither joined nor to be joined.
    Ended(Reason),
}

/// What a namespace tells.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<W> {
    Ready {
        sid: ByteString,
    },
    Received {
        id: Option<u64>,
        name: ByteString,
        payload: Payload,
    },
    /// It was not joined, and will not be.
    ConnectError(Reason),
    /// It was joined, and is not any more.
    Disconnected(Reason),
    /// An emit got its outcome.
    Answered(W, Result<Payload, AckError>),
}

impl<W> Socket<W> {
    /// A namespace that waits for a connection. `auth` is a JSON object.
    pub(crate) fn new(
        namespace: ByteString,
        auth: Option<ByteString>,
        join_timeout: Duration,
    ) -> Self {
        Self {
            namespace,
            auth,
            join_timeout,
            state: State::Waiting,
            session: None,
            buffer: VecDeque::new(),
            acks: Acks::default(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Why this namespace is neither joined nor to be joined, if so.
    pub(crate) fn ended(&self) -> Option<&Reason> {
        match &self.state {
            State::Ended(reason) => Some(reason),
            State::Waiting | State::Joining { .. } | State::Joined => None,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined)
    }

    /// The number of the connection that this namespace is joined, or being joined, on.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.epoch)
    }

    /// Whether nothing waits to be sent that still can be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.buffer.is_empty() || self.ended().is_some()
    }

    /// How many events wait to be sent.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    // What the application wants.

    /// Joins again after an end. `false` if that goes on already.
    pub(crate) fn join(&mut self) -> bool {
        let ended = self.ended().is_some();
        if ended {
            self.state = State::Waiting;
        }
        ended
    }

    /// Leaves. Gives the packet that says so to the server, if it has to be told.
    pub(crate) fn leave(&mut self, reason: Reason) -> Option<Packet> {
        let farewell =
            self.session.as_ref().map(|_| Packet::new(self.namespace.clone(), Body::Disconnect));
        self.end(reason);
        farewell
    }

    /// Sends an event, or buffers it. With a waiter comes the deadline for its answer.
    ///
    /// # Errors
    ///
    /// The namespace has ended. The waiter, if any, has been told.
    pub(crate) fn emit(
        &mut self,
        name: ByteString,
        payload: Payload,
        permit: Option<Permit>,
        waiter: Option<(W, Instant)>,
    ) -> Result<(), Reason> {
        if let State::Ended(reason) = &self.state {
            let reason = reason.clone();
            if let Some((waiter, _)) = waiter {
                let error = AckError::NeverSent(EmitError::Closed(reason.clone()));
                self.events.push_back(Event::Answered(waiter, Err(error)));
            }
            return Err(reason);
        }
        let id = waiter.map(|(waiter, deadline)| self.acks.insert(waiter, deadline));
        let packet = Packet::new(self.namespace.clone(), Body::Event { id, name, payload });
        self.push(Outgoing { packet, permit });
        Ok(())
    }

    /// Answers an event of the session `epoch`. `false` if that session has ended.
    pub(crate) fn answer(
        &mut self,
        epoch: u64,
        id: u64,
        payload: Payload,
        permit: Option<Permit>,
    ) -> bool {
        let current = self.epoch() == Some(epoch);
        if current {
            let packet = Packet::new(self.namespace.clone(), Body::Ack { id, payload });
            self.push(Outgoing { packet, permit });
        }
        current
    }

    fn push(&mut self, outgoing: Outgoing) {
        if self.is_joined() {
            self.transmit(outgoing);
        } else {
            self.buffer.push_back(outgoing);
        }
    }

    fn transmit(&mut self, outgoing: Outgoing) {
        if let Body::Event { id: Some(id), .. } = outgoing.packet.body {
            // Nobody waits any more: the emit has been reported as failed, so it must not happen.
            if !self.acks.sent(id) {
                return;
            }
        }
        self.transmit.push_back(outgoing);
    }

    // What happened.

    /// There is a connection, and it takes requests to join.
    pub(crate) fn handle_open(&mut self, now: Instant, session: Session) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        if let Some(packet) = self.request(session.protocol) {
            self.transmit.push_back(Outgoing { packet, permit: None });
        }
        self.session = Some(session);
        self.state = State::Joining { deadline: later(now, self.join_timeout) };
    }

    /// The request to join. A server of revision 3 joins `/` by itself, and takes what other
    /// namespaces need to know as a query behind their name.
    fn request(&self, protocol: Protocol) -> Option<Packet> {
        let namespace = self.namespace.clone();
        match protocol {
            Protocol::Eio4 => Some(Packet::new(namespace, Body::Connect(self.auth.clone()))),
            Protocol::Eio3 if namespace == *"/" => None,
            Protocol::Eio3 => {
                let query = self.auth.as_deref().map(query).unwrap_or_default();
                let namespace = ByteString::from(format!("{namespace}{query}"));
                Some(Packet::new(namespace, Body::Connect(None)))
            }
        }
    }

    /// A packet of this namespace came.
    pub(crate) fn handle_packet(&mut self, epoch: u64, packet: Packet) {
        let joining = match self.state {
            State::Joining { .. } => true,
            State::Joined => false,
            State::Waiting | State::Ended(_) => return,
        };
        if self.epoch() != Some(epoch) {
            return;
        }
        match packet.body {
            Body::Connect(reply) if joining => self.handle_reply(reply.as_deref()),
            Body::ConnectError(data) if joining => {
                self.end(Reason::Refused(refusal(data.as_deref())));
            }
            // Once joined, neither means anything.
            Body::Connect(_) | Body::ConnectError(_) => {}
            Body::Disconnect => self.end(Reason::ServerDisconnect),
            Body::Event { id, name, payload } => {
                self.events.push_back(Event::Received { id, name, payload });
            }
            Body::Ack { id, payload } => {
                if let Some(waiter) = self.acks.answered(id) {
                    self.events.push_back(Event::Answered(waiter, Ok(payload)));
                }
            }
        }
    }

    fn handle_reply(&mut self, reply: Option<&str>) {
        #[derive(Deserialize)]
        struct Reply {
            sid: String,
        }
        let Some(session) = &self.session else { return };
        let sid = match session.protocol {
            Protocol::Eio4 => {
                let reply = reply.and_then(|json| serde_json::from_str::<Reply>(json).ok());
                let Some(reply) = reply else {
                    return self.end(Reason::Connect(ConnectFailure::Unsupported {
                        asked: Protocol::Eio4,
                        server: format!("the server answers like one of {}", Protocol::Eio3),
                    }));
                };
                reply.sid.into()
            }
            Protocol::Eio3 if self.namespace == *"/" => session.sid.clone(),
            Protocol::Eio3 => format!("{}#{}", self.namespace, session.sid).into(),
        };
        self.state = State::Joined;
        while let Some(outgoing) = self.buffer.pop_front() {
            self.transmit(outgoing);
        }
        self.events.push_back(Event::Ready { sid });
    }

    /// The connection is gone, or there never was one. If it is tried `again`, this namespace
    /// waits for it; if not, it ends.
    pub(crate) fn handle_lost(&mut self, reason: Reason, again: bool) {
        match self.state {
            State::Ended(_) => {}
            State::Waiting if again => {}
            State::Joining { .. } | State::Joined if again => {
                self.fail_acks(&reason, false);
                if self.is_joined() {
                    self.events.push_back(Event::Disconnected(reason));
                }
                self.forget();
                self.state = State::Waiting;
            }
            State::Waiting | State::Joining { .. } | State::Joined => self.end(reason),
        }
    }

    /// The namespace is over, until somebody joins it again. What is buffered and asks for no
    /// answer is kept for that.
    pub(crate) fn end(&mut self, reason: Reason) {
        if self.ended().is_some() {
            return;
        }
        self.fail_acks(&reason, true);
        self.buffer.retain(|waiting| {
            !matches!(waiting.packet.body, Body::Event { id: Some(_), .. } | Body::Ack { .. })
        });
        self.events.push_back(if self.is_joined() {
            Event::Disconnected(reason.clone())
        } else {
            Event::ConnectError(reason.clone())
        });
        self.forget();
        self.state = State::Ended(reason);
    }

    /// Answers are for the session that asked, and nobody else.
    fn forget(&mut self) {
        self.session = None;
        self.buffer.retain(|waiting| !matches!(waiting.packet.body, Body::Ack { .. }));
    }

    fn fail_acks(&mut self, reason: &Reason, all: bool) {
        for (waiter, sent) in self.acks.fail(all) {
            let error = if sent {
                AckError::Disconnected(reason.clone())
            } else {
                AckError::NeverSent(EmitError::Closed(reason.clone()))
            };
            self.events.push_back(Event::Answered(waiter, Err(error)));
        }
    }

    /// Safe to call early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut unsent = false;
        while let Some(waiter) = self.acks.expired(now) {
            unsent = true;
            self.events.push_back(Event::Answered(waiter, Err(AckError::TimedOut)));
        }
        if unsent && !self.buffer.is_empty() {
            let acks = &mut self.acks;
            self.buffer.retain(|waiting| match waiting.packet.body {
                Body::Event { id: Some(id), .. } => acks.is_waiting(id),
                _ => true,
            });
        }
        if matches!(self.state, State::Joining { deadline } if deadline <= now) {
            self.end(Reason::JoinTimeout);
        }
    }

    // What there is to do.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let join = match self.state {
            State::Joining { deadline } => Some(deadline),
            State::Waiting | State::Joined | State::Ended(_) => None,
        };
        join.into_iter().chain(self.acks.poll_timeout()).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.events.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.transmit.pop_front()
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

/// `{"message":…,"data":…}` from servers since 3.0; a string, or the bare data, from older ones;
/// a string from servers in Python.
pub(crate) fn refusal(data: Option<&str>) -> Refusal {
    let value = data.and_then(|json| serde_json::from_str(json).ok());
    match value {
        None | Some(Value::Null) => Refusal::new(String::new(), None),
        Some(Value::String(message)) => Refusal::new(message, None),
        Some(Value::Object(mut fields)) if fields.get("message").is_some_and(Value::is_string) => {
            let data = fields.remove("data").filter(|data| !data.is_null());
            let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
            Refusal::new(message.to_owned(), data)
        }
        Some(other) => Refusal::new(String::new(), Some(other)),
    }
}
