//! One namespace: joining and leaving it, its buffer, its acks.
//!
//! ```text
//!            handle_open            reply
//!  Waiting ──────────────▶ Joining ────────▶ Joined
//!   ▲   ▲                     │                 │
//!   │   └─────────────────────┤◀────────────────┤ lost, and the connection is tried again
//!   │ join                    │                 │
//!   └──────────── Ended ◀─────┴─────────────────┘ refused, disconnected, lost, left, timed out
//! ```
//!
//! What is emitted while waiting or joining is buffered, in order; what comes in while joining is
//! passed on (servers replay a recovered session before they answer, and some let their connect
//! handler speak first).

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

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

/// The credentials, a JSON object.
#[derive(Clone)]
pub(crate) struct Auth(pub(crate) ByteString);

/// Shows nothing of them.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Auth").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Socket<W> {
    namespace: ByteString,
    auth: Option<Auth>,
    join_timeout: Duration,
    state: State,
    /// The connection on which the namespace was given up while the server still owes the answer to
    /// the request to join. A second request would join it twice, and a disconnect before the
    /// answer would be taken for an error, by which servers close the connection.
    unanswered: Option<Session>,
    /// How often the namespace was joined, or tried to be.
    visits: u64,
    buffer: VecDeque<Outgoing>,
    acks: Acks<W>,
    transmit: VecDeque<Outgoing>,
    farewells: VecDeque<(u64, Packet)>,
    events: VecDeque<Event<W>>,
}

#[derive(Debug)]
enum State {
    /// To be joined as soon as there is a connection.
    Waiting,
    /// The deadline is for the answer to a request; where there is none, the connection has it.
    Joining {
        session: Session,
        deadline: Option<Instant>,
    },
    Joined {
        session: Session,
    },
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
    /// A namespace that waits for a connection.
    pub(crate) fn new(namespace: ByteString, auth: Option<Auth>, join_timeout: Duration) -> Self {
        Self {
            namespace,
            auth,
            join_timeout,
            state: State::Waiting,
            unanswered: None,
            visits: 0,
            buffer: VecDeque::new(),
            acks: Acks::default(),
            transmit: VecDeque::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The connection that the namespace is joined, or being joined, on.
    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Joining { session, .. } | State::Joined { session } => Some(session),
            State::Waiting | State::Ended(_) => None,
        }
    }

    /// Why this namespace is neither joined nor to be joined, if so.
    pub(crate) fn ended(&self) -> Option<&Reason> {
        match &self.state {
            State::Ended(reason) => Some(reason),
            State::Waiting | State::Joining { .. } | State::Joined { .. } => None,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. })
    }

    /// The number of the connection that this namespace is joined, or being joined, on.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.session().map(|session| session.epoch)
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

    /// Whether nothing waits to be sent that still can be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.buffer.is_empty() || self.ended().is_some()
    }

    /// How many events wait to be sent.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    // What the application wants.

    /// Joins again after an end. `true` if that takes a connection to be asked for; it does not if
    /// the namespace is joined or being joined, or if the server owes an answer anyway.
    pub(crate) fn join(&mut self, now: Instant) -> bool {
        if self.ended().is_none() {
            return false;
        }
        self.state = State::Waiting;
        if let Some(session) = self.unanswered.take() {
            self.enter(now, session);
            return false;
        }
        true
    }

    /// Leaves. What was emitted before must have been taken with
    /// [`poll_transmit`](Self::poll_transmit).
    pub(crate) fn leave(&mut self, reason: Reason) {
        if let State::Joined { session } = &self.state {
            let epoch = session.epoch;
            self.say_farewell(epoch);
        }
        self.give_up(reason);
    }

    fn say_farewell(&mut self, epoch: u64) {
        let packet = Packet::new(self.namespace.clone(), Body::Disconnect);
        self.farewells.push_back((epoch, packet));
    }

    /// Ends from this side.
    fn give_up(&mut self, reason: Reason) {
        let asked = !self.transmit.iter().any(|one| matches!(one.packet.body, Body::Connect(_)));
        let owed = match &self.state {
            State::Joining { session, .. } if asked => Some(session.clone()),
            _ => self.unanswered.take(),
        };
        self.end(reason);
        self.unanswered = owed;
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
        self.unanswered = None;
        let request = self.request(session.protocol);
        self.transmit.extend(request.map(|packet| Outgoing { packet, permit: None }));
        self.enter(now, session);
    }

    /// The server owes an answer from now on.
    fn enter(&mut self, now: Instant, session: Session) {
        let unasked = session.protocol == Protocol::Eio3 && self.namespace == *"/";
        let deadline = (!unasked).then(|| later(now, self.join_timeout));
        self.visits = self.visits.wrapping_add(1);
        self.state = State::Joining { session, deadline };
    }

    /// The request to join. A server of revision 3 joins `/` by itself, and takes what other
    /// namespaces need to know as a query behind their name.
    fn request(&self, protocol: Protocol) -> Option<Packet> {
        let namespace = self.namespace.clone();
        match protocol {
            Protocol::Eio4 => {
                let auth = self.auth.as_ref().map(|auth| auth.0.clone());
                Some(Packet::new(namespace, Body::Connect(auth)))
            }
            Protocol::Eio3 if namespace == *"/" => None,
            Protocol::Eio3 => {
                let query = self.auth.as_ref().map(|auth| query(&auth.0)).unwrap_or_default();
                let namespace = ByteString::from(format!("{namespace}{query}"));
                Some(Packet::new(namespace, Body::Connect(None)))
            }
        }
    }

    /// A packet of this namespace came.
    pub(crate) fn handle_packet(&mut self, epoch: u64, packet: Packet) {
        if self.unanswered.as_ref().is_some_and(|session| session.epoch == epoch) {
            return self.handle_late(epoch, &packet.body);
        }
        if self.epoch() != Some(epoch) {
            return;
        }
        let joining = !self.is_joined();
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

    /// Something came for a namespace that was given up while it was being joined.
    fn handle_late(&mut self, epoch: u64, body: &Body) {
        match body {
            Body::Event { .. } | Body::Ack { .. } => return,
            Body::Connect(_) => self.say_farewell(epoch),
            Body::ConnectError(_) | Body::Disconnect => {}
        }
        self.unanswered = None;
    }

    fn handle_reply(&mut self, reply: Option<&str>) {
        #[derive(Deserialize)]
        struct Reply {
            sid: String,
        }
        let Some(session) = self.session().cloned() else { return };
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
        self.state = State::Joined { session };
        while let Some(outgoing) = self.buffer.pop_front() {
            self.transmit(outgoing);
        }
        self.events.push_back(Event::Ready { sid });
    }

    /// The connection is gone, or there never was one. If it is tried `again`, this namespace
    /// waits for it; if not, it ends.
    pub(crate) fn handle_lost(&mut self, reason: Reason, again: bool) {
        self.unanswered = None;
        match self.state {
            State::Ended(_) => {}
            State::Waiting if again => {}
            State::Joining { .. } | State::Joined { .. } if again => {
                self.fail_acks(&reason, false);
                if self.is_joined() {
                    self.events.push_back(Event::Disconnected(reason));
                }
                self.forget();
                self.state = State::Waiting;
            }
            State::Waiting | State::Joining { .. } | State::Joined { .. } => self.end(reason),
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

    /// The session is over. What was not handed on before waits for the next one; answers, and
    /// what asked for one, were for this session and nobody else.
    fn forget(&mut self) {
        let unsent = self.transmit.drain(..).rev();
        for outgoing in unsent.filter(|one| matches!(one.packet.body, Body::Event { id: None, .. }))
        {
            self.buffer.push_front(outgoing);
        }
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
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if matches!(self.state, State::Joining { deadline, .. } if due(deadline)) {
            self.give_up(Reason::JoinTimeout);
        }
    }

    // What there is to do.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let join = match self.state {
            State::Joining { deadline, .. } => deadline,
            State::Waiting | State::Joined { .. } | State::Ended(_) => None,
        };
        join.into_iter().chain(self.acks.poll_timeout()).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.events.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.transmit.pop_front()
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

/// `{"message":…,"data":…}` from servers since 3.0; a string, or the bare data, from older ones;
/// a string from servers in Python.
///
/// The data stays text: what nobody asks for is not parsed, nor kept as a tree.
pub(crate) fn refusal(data: Option<&str>) -> Refusal {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }

    let json = data.unwrap_or("null").trim();
    if json == "null" {
        return Refusal::new(String::new(), None);
    }
    if let Ok(message) = serde_json::from_str(json) {
        return Refusal::new(message, None);
    }
    // To serde, an array would do for the fields.
    let fields = json.starts_with('{').then(|| serde_json::from_str::<Fields<'_>>(json).ok());
    if let Some(Fields { message, data }) = fields.flatten()
        && let Ok(message) = serde_json::from_str(message.get())
    {
        return Refusal::new(message, data.map(RawValue::get));
    }
    Refusal::new(String::new(), Some(json))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        outbox::Outbox,
        payload::{encode_event, encode_reply},
        proto::{engine::Frame, packet::root},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn session(protocol: Protocol) -> Session {
        Session { epoch: 1, protocol, sid: "S".into() }
    }

    fn socket(namespace: &str) -> Socket<&'static str> {
        let auth = json!({ "token": "a b", "n": 1 }).to_string();
        Socket::new(namespace.into(), Some(Auth(auth.into())), 20 * SECOND)
    }

    /// A namespace that is joined.
    fn joined() -> Socket<&'static str> {
        let mut socket = socket("/");
        socket.handle_open(Instant::now(), session(Protocol::Eio4));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(socket.poll_event(), Some(Event::Ready { sid: "id".into() }));
        assert_eq!(written(&mut socket).len(), 1);
        socket
    }

    fn receive(socket: &mut Socket<&'static str>, body: Body) {
        socket.handle_packet(1, Packet::new(root(), body));
    }

    fn emit(
        socket: &mut Socket<&'static str>,
        name: &'static str,
        waiter: Option<(&'static str, Instant)>,
    ) -> Result<(), Reason> {
        socket.emit(name.into(), encode_event(name, &()).unwrap(), None, waiter)
    }

    fn written(socket: &mut Socket<&'static str>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(outgoing) = socket.poll_transmit() {
            outgoing.packet.encode(Protocol::Eio4, |frame| {
                if let Frame::Text(text) = frame {
                    texts.push(text.to_string());
                }
            });
        }
        texts
    }

    fn events(socket: &mut Socket<&'static str>) -> Vec<Event<&'static str>> {
        std::iter::from_fn(|| socket.poll_event()).collect()
    }

    #[test]
    fn what_is_emitted_early_goes_out_in_order_when_the_namespace_is_joined() {
        let now = Instant::now();
        let mut socket = socket("/");
        emit(&mut socket, "a", None).unwrap();
        socket.handle_open(now, session(Protocol::Eio4));
        emit(&mut socket, "b", Some(("b", now + SECOND))).unwrap();
        assert_eq!(written(&mut socket), [r#"40{"n":1,"token":"a b"}"#]);
        assert!(!socket.is_flushed());
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id","more":1}"#.into())));
        emit(&mut socket, "c", None).unwrap();
        assert_eq!(written(&mut socket), [r#"42["a"]"#, r#"420["b"]"#, r#"42["c"]"#]);
        assert!(socket.is_flushed());
    }

    #[test]
    fn an_old_server_joins_the_root_by_itself_and_gets_auth_as_a_query_elsewhere() {
        let mut root = socket("/");
        root.handle_open(Instant::now(), session(Protocol::Eio3));
        assert!(written(&mut root).is_empty());
        receive(&mut root, Body::Connect(None));
        assert_eq!(root.poll_event(), Some(Event::Ready { sid: "S".into() }));

        let mut foo = socket("/foo");
        foo.handle_open(Instant::now(), session(Protocol::Eio3));
        assert_eq!(written(&mut foo), ["40/foo?n=1&token=a%20b,"]);
        foo.handle_packet(1, Packet::new("/foo".into(), Body::Connect(None)));
        assert_eq!(foo.poll_event(), Some(Event::Ready { sid: "/foo#S".into() }));
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
        assert_eq!(refused(Some("7")), (String::new(), Some(json!(7))));
        assert_eq!(refused(Some(r#"["no",1]"#)), (String::new(), Some(json!(["no", 1]))));
        let odd = json!({ "message": 7, "data": 1 });
        assert_eq!(refused(Some(&odd.to_string())), (String::new(), Some(odd)));
        assert_eq!(refused(Some(r#"{"message":"no","data":null}"#)), ("no".into(), None));
        assert_eq!(refused(Some(" null")), (String::new(), None));
        assert_eq!(refused(None), (String::new(), None));
    }

    #[test]
    fn the_data_of_a_refusal_may_be_nested_as_deep_as_the_server_likes() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let refusal = refusal(Some(&format!(r#"{{"message":"no","data":{deep}}}"#)));
        assert_eq!((refusal.message(), refusal.json()), ("no", Some(&*deep)));
        refusal.decode::<Value>().unwrap_err();
    }

    #[test]
    fn a_namespace_that_is_not_answered_ends() {
        let now = Instant::now();
        let mut socket = socket("/");
        socket.handle_open(now, session(Protocol::Eio4));
        assert_eq!(socket.poll_timeout(), Some(now + 20 * SECOND));
        socket.handle_timeout(now + 20 * SECOND);
        assert_eq!(socket.poll_event(), Some(Event::ConnectError(Reason::JoinTimeout)));
        assert_eq!(emit(&mut socket, "e", None), Err(Reason::JoinTimeout));
    }

    #[test]
    fn answers_find_their_question_in_any_order() {
        let later = Instant::now() + SECOND;
        let mut socket = joined();
        for name in ["a", "b", "c"] {
            emit(&mut socket, name, Some((name, later))).unwrap();
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
        let outbox = Outbox::new(10, 1_000);
        let mut socket = socket("/");
        let permit = outbox.reserve(10);
        let payload = encode_event("a", &()).unwrap();
        socket.emit("a".into(), payload, permit, Some(("a", now + SECOND))).unwrap();
        emit(&mut socket, "b", None).unwrap();
        socket.handle_timeout(now + SECOND);
        assert_eq!(events(&mut socket), [Event::Answered("a", Err(AckError::TimedOut))]);
        assert_eq!(outbox.waiting(), 0, "its room is given back");
        socket.handle_open(now, session(Protocol::Eio4));
        receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(written(&mut socket)[1..], [r#"42["b"]"#]);
    }

    #[test]
    fn a_lost_session_fails_what_was_sent_and_keeps_what_was_not() {
        let later = Instant::now() + SECOND;
        let mut socket = joined();
        emit(&mut socket, "sent", Some(("sent", later))).unwrap();
        let reason = Reason::PingTimeout;
        socket.handle_lost(reason.clone(), true);
        emit(&mut socket, "kept", Some(("kept", later))).unwrap();
        socket.handle_lost(reason.clone(), true);
        let failed = Event::Answered("sent", Err(AckError::Disconnected(reason.clone())));
        assert_eq!(events(&mut socket), [failed, Event::Disconnected(reason.clone())]);

        socket.handle_lost(reason.clone(), false);
        let never = AckError::NeverSent(EmitError::Closed(reason.clone()));
        assert_eq!(
            events(&mut socket),
            [Event::Answered("kept", Err(never)), Event::ConnectError(reason.clone())]
        );
        assert_eq!(emit(&mut socket, "late", Some(("late", later))), Err(reason));
        assert!(matches!(events(&mut socket)[..], [Event::Answered("late", Err(_))]));
    }

    #[test]
    fn what_was_not_handed_on_before_the_session_ended_goes_into_the_next() {
        let now = Instant::now();
        let mut socket = joined();
        emit(&mut socket, "a", None).unwrap();
        emit(&mut socket, "b", Some(("b", now + SECOND))).unwrap();
        socket.handle_lost(Reason::PingTimeout, true);
        emit(&mut socket, "c", None).unwrap();
        assert!(written(&mut socket).is_empty());
        socket.handle_open(now, Session { epoch: 2, ..session(Protocol::Eio4) });
        socket.handle_packet(2, Packet::new(root(), Body::Connect(Some(r#"{"sid":"x"}"#.into()))));
        assert_eq!(written(&mut socket)[1..], [r#"42["a"]"#, r#"42["c"]"#]);
    }

    #[test]
    fn answers_to_the_server_stay_in_their_session() {
        let mut socket = joined();
        let reply = || encode_reply(&1).unwrap();
        assert!(socket.answer(1, 5, reply(), None));
        assert_eq!(written(&mut socket), ["435[1]"]);
        assert!(!socket.answer(2, 5, reply(), None));
        socket.handle_lost(Reason::PingTimeout, true);
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
    fn packets_of_an_older_session_and_after_the_end_are_ignored() {
        let mut socket = joined();
        let event = || {
            let payload = encode_event("e", &()).unwrap();
            Packet::new(root(), Body::Event { id: None, name: "e".into(), payload })
        };
        socket.handle_packet(0, event());
        assert_eq!(socket.poll_event(), None);
        receive(&mut socket, Body::Disconnect);
        assert_eq!(socket.poll_event(), Some(Event::Disconnected(Reason::ServerDisconnect)));
        socket.handle_packet(1, event());
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
    fn given_up(now: Instant) -> Socket<&'static str> {
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
        receive(&mut socket, Body::Event { id: None, name: "e".into(), payload });
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
        assert_eq!(socket.poll_event(), Some(Event::Ready { sid: "id".into() }));

        // And after the time for the answer was over, too.
        let mut socket = Socket::<&'static str>::new(root(), None, SECOND);
        socket.handle_open(now, session(Protocol::Eio4));
        written(&mut socket);
        socket.handle_timeout(now + SECOND);
        assert!(!socket.join(now));
        socket.handle_timeout(now + SECOND);
        socket.handle_lost(Reason::PingTimeout, true);
        assert!(socket.join(now), "the answer will not come any more");
    }

    mod operations {
        //! Random operations: every waiter has exactly one outcome, and nothing follows an end.

        use std::collections::HashMap;

        use proptest::prelude::*;

        use super::*;

        #[derive(Debug, Clone)]
        enum Operation {
            Emit(bool),
            Open,
            Reply,
            Refuse,
            Disconnect,
            Ack(u64),
            Event,
            Lost(bool),
            Join,
            Leave,
            Pass(u64),
        }

        fn operation() -> impl Strategy<Value = Operation> {
            prop_oneof![
                any::<bool>().prop_map(Operation::Emit),
                Just(Operation::Emit(true)),
                Just(Operation::Open),
                Just(Operation::Reply),
                Just(Operation::Refuse),
                Just(Operation::Disconnect),
                (0..20_u64).prop_map(Operation::Ack),
                Just(Operation::Event),
                any::<bool>().prop_map(Operation::Lost),
                Just(Operation::Join),
                Just(Operation::Leave),
                (0..15_000_u64).prop_map(Operation::Pass),
            ]
        }

        proptest! {
            #[test]
            fn no_order_of_events_breaks_the_rules(
                operations in prop::collection::vec(operation(), 0..100),
            ) {
                let mut now = Instant::now();
                let mut socket: Socket<usize> = Socket::new(root(), None, 20 * SECOND);
                let (mut epoch, mut asked) = (0, 0_usize);
                let mut outcomes: HashMap<usize, u32> = HashMap::new();
                let mut ready = false;
                let outbox = Outbox::new(1_000, 100_000);
                // At the end, time runs out for whoever still waits.
                let end = [Operation::Leave, Operation::Pass(100_000)];
                for operation in operations.into_iter().chain(end) {
                    let packet = |body| Packet::new(root(), body);
                    let was_over = socket.ended().is_some();
                    match operation {
                        Operation::Emit(waits) => {
                            let waiter = waits.then(|| {
                                asked += 1;
                                (asked, now + 10 * SECOND)
                            });
                            let payload = encode_event("e", &()).unwrap();
                            let taken =
                                socket.emit("e".into(), payload, outbox.reserve(5), waiter);
                            prop_assert_eq!(taken.is_err(), was_over);
                        }
                        Operation::Open => {
                            epoch += 1;
                            let protocol = Protocol::Eio4;
                            socket.handle_open(now, Session { epoch, protocol, sid: "S".into() });
                        }
                        Operation::Reply => {
                            let reply = Some(r#"{"sid":"x"}"#.into());
                            socket.handle_packet(epoch, packet(Body::Connect(reply)));
                        }
                        Operation::Refuse => {
                            socket.handle_packet(epoch, packet(Body::ConnectError(None)));
                        }
                        Operation::Disconnect => {
                            socket.handle_packet(epoch, packet(Body::Disconnect));
                        }
                        Operation::Ack(id) => {
                            let payload = encode_reply(&()).unwrap();
                            socket.handle_packet(epoch, packet(Body::Ack { id, payload }));
                        }
                        Operation::Event => {
                            let payload = encode_event("e", &()).unwrap();
                            let body = Body::Event { id: None, name: "e".into(), payload };
                            socket.handle_packet(epoch, packet(body));
                        }
                        Operation::Lost(again) => socket.handle_lost(Reason::PingTimeout, again),
                        Operation::Join => drop(socket.join(now)),
                        Operation::Leave => socket.leave(Reason::ClientDisconnect),
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
                        }
                    }
                    while let Some(outgoing) = socket.poll_transmit() {
                        let early = matches!(outgoing.packet.body, Body::Connect(_));
                        prop_assert!(early || ready, "sent before the namespace was joined");
                    }
                    prop_assert_eq!(socket.is_joined(), ready);
                    prop_assert!(outbox.waiting() <= socket.buffered(), "room is lost");
                }
                prop_assert_eq!(outcomes.len(), asked, "a waiter has no outcome");
                prop_assert!(outcomes.values().all(|&count| count == 1), "a waiter has two");
            }
        }
    }
}
