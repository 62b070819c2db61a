use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{
    outbox::{CONGESTED, SWEEP},
    *,
};
use crate::{
    backpressure::send_quota::{Limits, SendQuota, WriteStatus},
    payload::{encode_event, encode_reply},
    proto::{
        emit::Offline,
        engine::Frame,
        error::AckError,
        packet::{self, Parser, root},
        reconnect::{Reconnect, Retry},
        refusal::Refusal,
        suspect::Suspects,
        transports::Allowed,
    },
};

const SECOND: Duration = Duration::from_secs(1);

fn send_quota(items: usize) -> Arc<SendQuota> {
    SendQuota::new(Limits { items, bytes: 100_000, acks: 0 })
}

fn session(protocol: Protocol) -> Session {
    let max_silence = Duration::from_secs(45);
    Session {
        epoch: 1,
        protocol,
        sid: "S".into(),
        max_payload: None,
        has_base64: false,
        max_silence,
    }
}

fn config() -> Config {
    Config {
        name: "client".into(),
        pin: None,
        parser: Parser::default(),
        limits: packet::Limits { attachments: 10, bytes: 1_000 },
        max_payload: None,
        connect_timeout: 20 * SECOND,
        join_timeout: 20 * SECOND,
        attachment_timeout: 30 * SECOND,
        reconnect: Reconnect::never(),
        retry_window: 2,
        transports: Allowed::WebSocket,
        endpoints: Vec::new(),
    }
}

fn setup(namespace: &str, config: Config) -> Setup {
    let auth = json!({ "token": "a b", "n": 1 }).to_string();
    Setup {
        config: Arc::new(config),
        namespace: namespace.into(),
        credentials: Credentials::Fixed(Some(Auth(auth.into()))),
        recovery: None,
        seed: 7,
    }
}

fn socket(namespace: &str) -> Namespace<&'static str> {
    Namespace::new(setup(namespace, config()))
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
    Request { emit, permit: None, offline: Offline::Buffer, expires: None, ack: None }
}

fn emit(
    socket: &mut Namespace<&'static str>,
    name: &'static str,
    ask: Option<PendingAck<&'static str>>,
) -> Result<(), EmitError> {
    socket.emit(Request { ack: ask, ..request(name) })
}

/// Asks for an answer within a second.
#[expect(clippy::unnecessary_wraps, reason = "it is given to what takes an option")]
fn ask<W>(waiter: W, since: Instant) -> Option<PendingAck<W>> {
    Some(PendingAck { waiter, since, timeout: SECOND, retries: 0, id: None })
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
fn the_room_that_a_burst_has_taken_is_given_back() {
    let mut socket = joined();
    let room = |socket: &Namespace<&'static str>| socket.reports.events.capacity();
    for id in 0..100 {
        emit(&mut socket, "e", ask("waiter", Instant::now())).unwrap();
        receive(&mut socket, Body::Ack { id, payload: encode_reply(&()).unwrap() });
    }
    socket.rest();
    assert!(room(&socket) >= 100, "it is still used");
    assert_eq!(events(&mut socket).len(), 100);
    assert!(room(&socket) >= 100);
    socket.rest();
    assert_eq!(room(&socket), 0);
}

#[test]
fn who_is_not_to_wait_waits_for_the_answer_where_events_come_before_it() {
    let now = Instant::now();
    let request = |name, ask| Request { offline: Offline::Fail, ack: ask, ..request(name) };
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

    // Such an event does not wait for the next session, nor for another attempt.
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
    let send_quota = send_quota(10);
    let mut socket = socket("/");
    let permit = send_quota.reserve(10);
    socket.emit(Request { permit, ack: ask("a", now), ..request("a") }).unwrap();
    emit(&mut socket, "b", None).unwrap();
    socket.handle_timeout(now + SECOND);
    let never = AckError::NeverSent(EmitError::Expired);
    assert_eq!(events(&mut socket), [Event::Answered("a", Err(never))]);
    assert_eq!(send_quota.waiting(), 0, "its room is given back");
    socket.handle_open(now, session(Protocol::Eio4));
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(written(&mut socket)[1..], [r#"42["b"]"#]);
}

#[test]
fn a_server_cannot_answer_what_it_was_not_sent() {
    let now = Instant::now();
    let mut socket = socket("/");
    socket.handle_open(now, session(Protocol::Eio4));
    emit(&mut socket, "a", ask("a", now)).unwrap();
    let answer = || Body::Ack { id: 0, payload: encode_reply(&()).unwrap() };
    receive(&mut socket, answer());
    assert_eq!(events(&mut socket), []);
    assert_eq!(socket.tally().late, 1);
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(written(&mut socket)[1..], [r#"420["a"]"#]);
    assert_eq!(socket.poll_event(), Some(ready("id")));
    receive(&mut socket, answer());
    assert!(matches!(socket.poll_event(), Some(Event::Answered("a", Ok(_)))));
}

#[test]
fn an_event_that_asks_for_an_answer_and_is_not_written_tells_why() {
    let now = Instant::now();
    let send_quota = send_quota(10);
    let mut socket = socket("/");
    let emit = |socket: &mut Namespace<_>, name, key| {
        let mut permit = send_quota.reserve(1);
        let status = permit.as_mut().map(SendPermit::write_status).unwrap();
        let emit = Emit::new(name, ()).unwrap().latest(key);
        let request = Request { emit, permit, ack: ask(name, now), ..request(name) };
        socket.emit(request).unwrap();
        status
    };
    let why = |status: &Arc<WriteStatus>| status.cause::<EmitError>().cloned();
    let replaced = emit(&mut socket, "replaced", "key");
    let late = emit(&mut socket, "late", "key");
    assert_eq!(why(&replaced), Some(EmitError::Discarded));
    socket.handle_timeout(now + SECOND);
    assert_eq!(why(&late), Some(EmitError::Expired));

    let ended = emit(&mut socket, "ended", "key");
    socket.end(Reason::Shutdown);
    assert_eq!(why(&ended), Some(EmitError::Closed(Reason::Shutdown)));

    // The connection had the event, but did not write it before the time for the answer was over.
    let mut socket = joined();
    let given_back = emit(&mut socket, "given back", "key");
    let unwritten = socket.take_transmit();
    socket.handle_timeout(now + SECOND);
    socket.take_back(unwritten);
    assert_eq!(why(&given_back), Some(EmitError::Expired));
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

/// Joins again on connection number `epoch`, and returns what is sent.
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
        |ask| Request { emit: Emit::new("v", ()).unwrap().volatile(), ack: ask, ..request("v") };
    assert_eq!(socket.emit(volatile(None)), Err(EmitError::Offline));
    assert_eq!(socket.emit(volatile(ask("v", now))), Err(EmitError::Offline));
    let failing = Request { offline: Offline::Fail, ..request("f") };
    assert_eq!(socket.emit(failing), Err(EmitError::Offline));
    let never = AckError::NeverSent(EmitError::Offline);
    assert_eq!(events(&mut socket), [Event::Answered("v", Err(never))]);

    let mut socket = joined();
    let send_quota = send_quota(1_000);
    let waiting: Vec<_> = (0..=CONGESTED).map(|_| send_quota.reserve(1)).collect();
    socket.emit(Request { permit: send_quota.reserve(1), ..volatile(None) }).unwrap();
    assert_eq!(written(&mut socket).len(), 1, "nothing has been handed to the connection");
    let hand = |mut permit: Option<SendPermit>| {
        permit.iter_mut().for_each(SendPermit::hand);
        permit
    };
    let mut waiting: Vec<_> = waiting.into_iter().map(hand).collect();
    assert_eq!(socket.emit(Request { permit: send_quota.reserve(1), ..volatile(None) }), {
        Err(EmitError::Discarded)
    });
    waiting.pop();
    socket.emit(Request { permit: send_quota.reserve(1), ..volatile(None) }).unwrap();
    drop(waiting);
    socket.emit(Request { permit: send_quota.reserve(1), ..volatile(None) }).unwrap();
    assert_eq!(written(&mut socket), [r#"42["v"]"#, r#"42["v"]"#]);
}

#[test]
fn of_what_is_buffered_under_one_key_the_last_counts() {
    let now = Instant::now();
    let mut socket = socket("/");
    let latest =
        |name, key| Request { emit: Emit::new(name, ()).unwrap().latest(key), ..request(name) };
    socket.emit(Request { ack: ask("a1", now), ..latest("a1", "a") }).unwrap();
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
    let send_quota = send_quota(10);
    let mut socket = socket("/");
    let retries = |waiter| PendingAck { waiter, since: now, timeout: SECOND, retries: 1, id: None };
    let end = Some(now + 5 * SECOND);
    for request in [
        Request { expires: end, permit: send_quota.reserve(1), ..request("a") },
        Request { expires: end, ack: Some(retries("b")), ..request("b") },
        Request { expires: Some(now + 9 * SECOND), ..request("c") },
        request("d"),
    ] {
        socket.emit(request).unwrap();
    }
    assert_eq!(socket.poll_timeout(), end);
    socket.handle_timeout(now + 5 * SECOND);
    let expired = AckError::NeverSent(EmitError::Expired);
    assert_eq!(events(&mut socket), [Event::Answered("b", Err(expired))]);
    assert_eq!((send_quota.waiting(), send_quota.discarded()), (0, 1));
    assert_eq!(socket.poll_timeout(), Some(now + 9 * SECOND));
    // The expired event is not sent, even if `handle_timeout` was not called in time.
    assert_eq!(rejoin(&mut socket, now + 9 * SECOND, 1), [r#"42["d"]"#]);
}

#[test]
fn what_the_server_would_not_take_is_not_sent() {
    let now = Instant::now();
    let mut socket = socket("/");
    socket.emit(Request { ack: ask("big", now), ..request("big") }).unwrap();
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
fn by_polling_the_server_takes_less_of_an_attachment() {
    let now = Instant::now();
    let mut socket = socket("/");
    let polling = Session { max_payload: Some(100), has_base64: true, ..session(Protocol::Eio4) };
    socket.handle_open(now, polling);
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    written(&mut socket);
    let messages = |socket: &mut Namespace<&'static str>, size: usize| {
        let emit = Emit::new("e", Bytes::from(vec![0; size])).unwrap();
        socket.emit(Request { emit, ..request("e") }).unwrap();
        socket.take_transmit().len()
    };
    assert_eq!(messages(&mut socket, 75), 0, "101 characters");
    assert_eq!(messages(&mut socket, 72), 1);
    socket.handle_upgraded();
    assert_eq!(messages(&mut socket, 100), 1);
    assert_eq!(messages(&mut socket, 101), 0);
}

#[test]
fn what_was_not_sent_can_be_taken_back() {
    let now = Instant::now();
    let mut socket = socket("/");
    emit(&mut socket, "a", None).unwrap();
    emit(&mut socket, "b", ask("b", now)).unwrap();
    let retries = PendingAck { waiter: "c", since: now, timeout: SECOND, retries: 1, id: None };
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

/// Emits an event with two retries.
fn emit_surely(socket: &mut Namespace<&'static str>, name: &'static str, now: Instant) {
    let ask = PendingAck { waiter: name, since: now, timeout: SECOND, retries: 2, id: None };
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
    // When the time for a try is over, the event is sent again with the same id, so a late answer counts.
    socket.handle_timeout(now + SECOND);
    assert_eq!(written(&mut socket)[0], r#"420["a"]"#);
    answer(&mut socket, 0);
    assert!(matches!(events(&mut socket)[..], [Event::Answered("a", Ok(_))]));
    assert_eq!(socket.tally().late, 0);
    // A lost session uses up no retry. The events are sent again in the order of the emits.
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
    // The next session accepts smaller messages only.
    socket.handle_open(now, Session { max_payload: Some(3), ..session(Protocol::Eio4) });
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    let failed = Event::Answered("a", Err(AckError::TimedOut));
    assert!(events(&mut socket).contains(&failed));
    assert_eq!((socket.tally().unanswered, socket.is_done()), (1, true));
}

#[test]
fn a_try_that_comes_back_unwritten_was_never_sent() {
    let now = Instant::now();
    let mut socket = joined();
    emit_surely(&mut socket, "a", now);
    emit_surely(&mut socket, "b", now);
    let mut on_the_way = socket.take_transmit();
    // The connection has written the first of the two.
    on_the_way.pop_front();
    socket.handle_lost(now, Reason::PingTimeout, true);
    socket.take_back(on_the_way);
    events(&mut socket);
    assert_eq!(socket.take_unsent(&EmitError::Discarded).len(), 1);
    let taken = AckError::NeverSent(EmitError::Discarded);
    assert_eq!(events(&mut socket), [Event::Answered("b", Err(taken))]);
    rejoin(&mut socket, now, 1);
    assert_eq!((socket.tally().resent, socket.tally().unanswered), (1, 0));
}

#[test]
fn what_must_arrive_expires_even_if_it_was_under_way() {
    let now = Instant::now();
    let mut socket = joined();
    let expires = Some(now + 5 * SECOND);
    let ask = PendingAck { waiter: "a", since: now, timeout: 9 * SECOND, retries: 9, id: None };
    socket.emit(Request { expires, ack: Some(ask), ..request("a") }).unwrap();
    assert_eq!(written(&mut socket).len(), 1);
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
    let send_quota = send_quota(10);
    let mut socket = joined();
    let volatile = Emit::new("v", ()).unwrap().volatile();
    let permit = || send_quota.reserve(1);
    socket.emit(Request { emit: volatile, permit: permit(), ..request("v") }).unwrap();
    let offline = Offline::Fail;
    socket.emit(Request { offline, permit: permit(), ..request("f") }).unwrap();
    socket.emit(Request { permit: permit(), ..request("w") }).unwrap();
    socket.handle_lost(now, Reason::PingTimeout, true);
    assert_eq!((send_quota.waiting(), send_quota.discarded()), (1, 2));
    assert_eq!(rejoin(&mut socket, now, 2), [r#"42["w"]"#]);
}

#[test]
fn of_what_comes_back_under_one_key_the_last_counts_too() {
    let now = Instant::now();
    let mut socket = joined();
    let latest = |name| Request { emit: Emit::new(name, ()).unwrap().latest("a"), ..request(name) };
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
    // The server's disconnect has crossed that of the client.
    receive(&mut socket, Body::Disconnect);
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(events(&mut socket), [ready("id")]);
    receive(&mut socket, Body::Disconnect);
    assert_eq!(events(&mut socket), [Event::Disconnected(Reason::ServerDisconnect)]);
}

#[test]
fn a_session_is_gone_on_with_behind_the_last_event() {
    let now = Instant::now();
    let mut socket = Namespace::<&'static str>::new(Setup {
        credentials: Credentials::Fixed(Some(Auth("{}".into()))),
        ..setup("/", config())
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
    // In a new session, the offsets of the old one mean nothing.
    let (request, came, recovered, epoch) = reconnect(&mut socket, &["o5"], "Q");
    assert_eq!(request, r#"40{"offset":"o4","pid":"P"}"#);
    assert_eq!((came, recovered), (1, false));
    assert_eq!(socket.recovery().unwrap().point(), None);
    socket.handle_packet(now, epoch, Packet::new(root(), event("p1", None)));
    assert_eq!(socket.recovery().unwrap().point(), Some(("Q", "p1")));
    // No server continues a session that the client has left.
    let mut left = socket;
    left.leave(Reason::ClientDisconnect);
    assert_eq!(left.recovery(), None);
}

#[test]
fn credentials_come_before_those_that_recover_a_session() {
    let mut socket = socket("/");
    socket.recovery = Some(Box::new(Recovery::new("P".into(), "o\"1".into())));
    socket.handle_open(Instant::now(), session(Protocol::Eio4));
    let connect = r#"40{"offset":"o\"1","pid":"P","n":1,"token":"a b"}"#;
    assert_eq!(written(&mut socket), [connect]);
}

/// A namespace with a provider of credentials, which tries again after a refusal.
fn provided() -> Namespace<&'static str> {
    let retry = |reason: &Reason| match reason {
        Reason::Refused(_) => Retry::WithNewAuth,
        other => Retry::default_for(other),
    };
    Namespace::new(Setup {
        credentials: Credentials::Provided,
        ..setup(
            "/",
            Config {
                reconnect: Reconnect::default().jitter(0.0).attempts(2).retry(retry),
                ..config()
            },
        )
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
    // The connection is lost before the provider answers, so it is asked anew.
    socket.handle_lost(now, Reason::PingTimeout, true);
    assert_eq!(socket.wants_auth(), None);
    socket.handle_auth(now, Ok(Some(Auth("{}".into()))));
    socket.handle_open(now, session(Protocol::Eio4));
    assert_eq!(socket.wants_auth(), Some(2));
    socket.handle_auth(now, Ok(Some(Auth(r#"{"a":1}"#.into()))));
    assert_eq!(written(&mut socket), [r#"40{"a":1}"#]);
    // An old server takes no credentials for `/`.
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
        // The first of these attempts is made at once, as there will be new credentials.
        let delay = (number - 1) * SECOND;
        assert_eq!(
            events(&mut socket),
            [
                Event::ConnectError(reason.clone()),
                Event::Retrying { attempt: number, delay, reason }
            ]
        );
        assert_eq!(socket.ended(), None);
        // It joins after the delay, even if there is a connection before.
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
    let mut socket = Namespace::<&'static str>::new(setup(
        "/",
        Config { reconnect: Reconnect::default(), ..config() },
    ));
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
fn a_request_that_has_not_gone_out_is_owed_no_answer() {
    let mut now = Instant::now();
    let mut socket = Namespace::<&'static str>::new(setup(
        "/",
        Config { reconnect: Reconnect::default(), ..config() },
    ));
    socket.handle_open(now, session(Protocol::Eio4));
    now += 20 * SECOND;
    socket.handle_timeout(now);
    events(&mut socket);
    assert!(written(&mut socket).is_empty(), "nor does it go out any more");
    socket.handle_timeout(socket.poll_timeout().unwrap());
    assert_eq!(events(&mut socket), [Event::Rejoin]);
}

#[test]
fn a_server_may_put_out_whom_it_has_not_let_in() {
    let mut socket = socket("/");
    socket.handle_open(Instant::now(), session(Protocol::Eio4));
    receive(&mut socket, Body::Disconnect);
    assert_eq!(events(&mut socket), [Event::ConnectError(Reason::ServerDisconnect)]);
}

/// The suspect after the connection was lost right after this event, `losses` times in a row.
fn suspect(outgoing: &Outgoing, losses: u32) -> Suspect {
    let mut suspects = Suspects::new(Parser::Json);
    let mut suspect = None;
    for _ in 0..losses {
        suspects.note_written(outgoing, 0);
        suspect = suspects.handle_lost(Reason::TransportError("reset".to_owned()), false).1;
    }
    *suspect.unwrap()
}

#[test]
fn an_event_behind_which_the_connection_is_lost_each_time_fails() {
    let now = Instant::now();
    for retries in [0, 2] {
        let send_quota = send_quota(10);
        let mut socket = joined();
        for name in ["a", "b", "c"] {
            let emit = Emit::new(name, Bytes::from(vec![7; 70_000])).unwrap();
            let ask = PendingAck { waiter: name, since: now, timeout: SECOND, retries, id: None };
            let permit = send_quota.reserve(1);
            socket.emit(Request { emit, permit, ack: Some(ask), ..request(name) }).unwrap();
        }
        let on_the_way = socket.take_transmit();
        socket.handle_suspect(suspect(&on_the_way[0], 1));
        let [Event::Suspected(event)] = &events(&mut socket)[..] else { panic!("not suspected") };
        assert_eq!((&*event.event, event.attachments), ("a", 1));
        let told = [
            Event::Answered("a", Err(AckError::Unsendable(event.clone()))),
            Event::Unsendable(event.clone()),
        ];
        if retries > 0 {
            socket.handle_lost(now, Reason::PingTimeout, true);
            events(&mut socket);
            // Now they are sent one by one.
            assert_eq!(rejoin(&mut socket, now, 2).len(), 1);
            events(&mut socket);
        }
        socket.handle_suspect(suspect(&on_the_way[0], 2));
        assert_eq!(events(&mut socket), told);
        assert_eq!((socket.tally().unanswered, send_quota.discarded()), (1, 0));
        drop(on_the_way);
        // Nobody waits for its answer any more.
        let reply = Body::Ack { id: 0, payload: encode_reply(&()).unwrap() };
        let epoch = socket.epoch().unwrap();
        socket.handle_packet(now, epoch, Packet::new(root(), reply));
        assert_eq!(socket.tally().late, 1);
    }
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
fn a_refused_root_owes_no_answer() {
    let now = Instant::now();
    let mut socket = socket("/");
    socket.handle_open(now, session(Protocol::Eio3));
    socket.leave(Reason::ClientDisconnect);
    socket.handle_refused(now, Reason::ServerDisconnect);
    assert!(socket.join(now), "it takes another connection");
    // A namespace that has not ended ends with the refusal.
    socket.handle_refused(now, Reason::ServerDisconnect);
    assert_eq!(events(&mut socket).last(), Some(&Event::ConnectError(Reason::ServerDisconnect)));
    assert_eq!(socket.ended(), Some(&Reason::ServerDisconnect));
}

#[test]
fn an_answer_that_is_owed_is_not_forgotten_when_there_are_no_credentials() {
    let mut now = Instant::now();
    let mut socket = Namespace::<&'static str>::new(Setup {
        credentials: Credentials::Provided,
        ..setup(
            "/",
            Config {
                join_timeout: SECOND,
                reconnect: Reconnect::default().delay(SECOND, SECOND).jitter(0.0),
                ..config()
            },
        )
    });
    let ask = |socket: &mut Namespace<&'static str>, now| {
        socket.handle_open(now, session(Protocol::Eio4));
        socket.handle_auth(now, Ok(None));
        assert_eq!(written(socket).len(), 1);
    };
    ask(&mut socket, now);
    for _ in 0..4 {
        now += SECOND;
        socket.handle_timeout(now);
    }
    assert!(events(&mut socket).contains(&Event::Rejoin));
    socket.handle_open(now, session(Protocol::Eio4));
    socket.handle_auth(now, Err(Reason::Provider("no token".to_owned())));
    now += SECOND;
    socket.handle_timeout(now);
    assert!(events(&mut socket).contains(&Event::Rejoin));
    ask(&mut socket, now);
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"first"}"#.into())));
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"second"}"#.into())));
    let both = [ready("first"), Event::JoinedTwice { epoch: 1 }];
    assert_eq!(events(&mut socket), both);
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
    assert_eq!(joined.poll_leave(), Some((1, Packet::new(root(), Body::Disconnect))));
    joined.leave(Reason::ClientDisconnect);
    assert_eq!(joined.poll_leave(), None);
    let mut waiting = socket("/");
    waiting.leave(Reason::ClientDisconnect);
    assert_eq!(waiting.poll_leave(), None);
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
    assert_eq!(socket.poll_leave(), None, "the server does not know us yet");
    events(&mut socket);
    socket
}

#[test]
fn who_leaves_too_early_for_the_server_says_so_when_it_answers() {
    let mut socket = given_up(Instant::now());
    let payload = encode_event("e", &()).unwrap();
    receive(&mut socket, Body::Event { id: None, payload });
    assert_eq!(socket.poll_leave(), None);
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert!(socket.poll_leave().is_some());
    assert_eq!(socket.poll_event(), None);

    let mut socket = given_up(Instant::now());
    receive(&mut socket, Body::ConnectError(None));
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(socket.poll_leave(), None);
}

#[test]
fn who_comes_back_before_the_answer_takes_it_for_its_own() {
    let now = Instant::now();
    let mut socket = given_up(now);
    assert!(!socket.join(now), "the request is out already");
    assert!(written(&mut socket).is_empty());
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(socket.poll_event(), Some(ready("id")));

    // The same after the time for the answer is over.
    let mut socket =
        Namespace::<&'static str>::new(setup("/", Config { join_timeout: SECOND, ..config() }));
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
    let mut socket = Namespace::<&'static str>::new(setup(
        "/",
        Config {
            join_timeout: SECOND,
            reconnect: Reconnect::default().delay(SECOND, SECOND).jitter(0.0),
            ..config()
        },
    ));
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
    // The server was slow, and answers the second request, too.
    receive(&mut socket, Body::Connect(Some(r#"{"sid":"second"}"#.into())));
    assert_eq!(events(&mut socket), [Event::JoinedTwice { epoch: 1 }]);
}

mod operations {
    //! Random operations: every waiter has exactly one outcome, and nothing follows an end.

    use std::{
        collections::{HashMap, HashSet},
        task::{Context, Poll, Waker},
    };

    use proptest::{prelude::*, test_runner::TestCaseResult};

    use super::*;
    use crate::{backpressure::send_quota::WriteOutcome, fuzz::mutate, proto::emit::Place};

    #[derive(Debug, Clone)]
    enum Operation {
        /// Emits an event, which expires after this time.
        Emit {
            place: Place,
            millis: Option<u64>,
        },
        Ask {
            place: Place,
            retries: u32,
            millis: Option<u64>,
        },
        Open,
        Auth(bool),
        Reply,
        Refuse,
        Disconnect,
        Ack(u64),
        Event,
        /// `unwritten`: the packets on the way to the connection come back.
        Lost {
            again: bool,
            unwritten: bool,
        },
        LetGo,
        Wake,
        Join,
        Leave,
        TakeUnsent,
        Pass(u64),
    }

    fn place() -> impl Strategy<Value = Place> {
        prop_oneof![
            3 => Just(Place::Last),
            1 => Just(Place::Latest("a".into())),
            1 => Just(Place::None),
        ]
    }

    fn lifetime() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(0..15_000_u64)
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            2 => (place(), lifetime())
                .prop_map(|(place, millis)| Operation::Emit { place, millis }),
            2 => (place(), 0..3_u32, lifetime())
                .prop_map(|(place, retries, millis)| Operation::Ask { place, retries, millis }),
            1 => Just(Operation::Open),
            1 => any::<bool>().prop_map(Operation::Auth),
            2 => Just(Operation::Reply),
            1 => Just(Operation::Refuse),
            1 => Just(Operation::Disconnect),
            1 => (0..20_u64).prop_map(Operation::Ack),
            1 => Just(Operation::Event),
            1 => any::<(bool, bool)>()
                .prop_map(|(again, unwritten)| Operation::Lost { again, unwritten }),
            1 => Just(Operation::LetGo),
            1 => Just(Operation::Wake),
            1 => Just(Operation::Join),
            1 => Just(Operation::Leave),
            1 => Just(Operation::TakeUnsent),
            1 => (0..15_000_u64).prop_map(Operation::Pass),
        ]
    }

    /// The outcomes of the events, according to their permits.
    struct Fates {
        plain: Arc<SendQuota>,
        asking: Arc<SendQuota>,
        /// The quota of the emits with retries.
        surely: Arc<SendQuota>,
        of_plain: Vec<Arc<WriteStatus>>,
        of_asking: HashMap<usize, Arc<WriteStatus>>,
    }

    impl Fates {
        fn permit(quota: &Arc<SendQuota>) -> (Option<SendPermit>, Arc<WriteStatus>) {
            let mut permit = quota.reserve(5).unwrap();
            let status = permit.write_status();
            (Some(permit), status)
        }

        fn plain(&mut self) -> Option<SendPermit> {
            let (permit, status) = Self::permit(&self.plain);
            self.of_plain.push(status);
            permit
        }

        fn asking(&mut self, waiter: usize, retries: u32) -> Option<SendPermit> {
            let quota = if retries == 0 { &self.asking } else { &self.surely };
            let (permit, status) = Self::permit(quota);
            self.of_asking.insert(waiter, status);
            permit
        }

        fn outcome(status: &WriteStatus) -> Option<WriteOutcome> {
            match status.poll(&Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            }
        }

        /// How many events without retries were given up. Each of them says why.
        fn given_up(&self, surely: &HashSet<usize>) -> Result<u64, TestCaseError> {
            let once = self.of_asking.iter().filter(|(waiter, _)| !surely.contains(waiter));
            let statuses = self.of_plain.iter().chain(once.map(|(_, status)| status));
            let mut count = 0;
            for status in statuses {
                if Self::outcome(status) == Some(WriteOutcome::Discarded) {
                    let cause = status.cause::<EmitError>();
                    prop_assert!(cause.is_some(), "an event is given up, and nobody says why");
                    count += 1;
                }
            }
            Ok(count)
        }

        /// How many plain events have no outcome yet.
        fn open(&self) -> usize {
            self.of_plain.iter().filter(|status| Self::outcome(status).is_none()).count()
        }

        fn check(
            &self,
            socket: &mut Namespace<usize>,
            on_the_way: &[Outgoing],
            (surely_asking, never_sent): (&HashSet<usize>, u64),
        ) -> TestCaseResult {
            let Self { plain, asking, surely, .. } = self;
            let with_permit = |quota: &Arc<SendQuota>, asks: bool| {
                let is_one = |one: &&Outgoing| one.permit.is_some() && one.is_plain() != asks;
                let count = on_the_way.iter().filter(is_one).count();
                // These are with the connection, and no others.
                let probe = quota.reserve(0).unwrap();
                let handed = probe.handed();
                probe.settled();
                prop_assert_eq!(handed, count);
                Ok::<_, TestCaseError>(count)
            };
            let (plain_sent, asking_sent) =
                (with_permit(plain, false)?, with_permit(asking, true)?);
            let held = plain.waiting() + asking.waiting();
            prop_assert_eq!(held, socket.buffered() + plain_sent + asking_sent, "room is lost");
            prop_assert_eq!(surely.waiting(), socket.outbox.retries().len(), "room is lost");
            let asks = asking.waiting() - asking_sent;
            let unsent = socket.outbox.acks().len() - socket.outbox.acks().sent_len();
            prop_assert_eq!(asks, unsent, "nobody waits for what is buffered, or in vain");
            // Each event that is given up is counted once.
            let discarded = plain.discarded() + asking.discarded();
            let replaced = socket.tally().replaced;
            prop_assert_eq!(discarded + replaced, self.given_up(surely_asking)?);
            prop_assert_eq!(surely.discarded(), never_sent);
            if socket.ended().is_some() {
                prop_assert!(self.open() <= plain_sent, "somebody waits for ever");
            }
            Ok(())
        }
    }

    /// A deadline is there exactly when something is waited for.
    fn check_deadlines(
        socket: &Namespace<usize>,
        now: Instant,
        (asking, surely): (usize, usize),
    ) -> TestCaseResult {
        let Namespace { join, outbox, .. } = socket;
        let (acks, buffer, retries) = (outbox.acks(), outbox.buffer(), outbox.retries());
        prop_assert_eq!(acks.poll_timeout().is_some(), !acks.is_empty());
        let is_resting = join.is_let_go() && join.session().is_none();
        let is_away = join.is_waiting() || is_resting || join.ended().is_some();
        let is_idle = join.is_joined() || is_away;
        prop_assert_eq!(join.poll_timeout().is_none(), is_idle);
        let expiry = buffer.expiry().into_iter().chain(retries.expiry()).min();
        let is_swept =
            |at: Instant| outbox.sweep().is_some_and(|sweep| sweep <= at.max(now + SWEEP));
        prop_assert!(expiry.is_none_or(is_swept), "it would expire late");
        // Each waiter for an answer is in one table, and packets that were sent belong to a session.
        prop_assert_eq!(retries.len(), surely);
        prop_assert_eq!(acks.len(), asking + retries.in_flight());
        prop_assert!(socket.is_joined() || acks.sent_len() + retries.in_flight() == 0);
        let nothing_waits = (buffer.len(), retries.len(), acks.len()) == (0, 0, 0);
        prop_assert_eq!(socket.is_done(), nothing_waits || socket.ended().is_some());
        prop_assert!(socket.join_id().is_none_or(|id| id == socket.last_join_id()));
        prop_assert_eq!(socket.join_id().is_some(), join.is_joined() || join.is_joining());
        prop_assert!(!socket.is_joined() || socket.has_begun());
        Ok(())
    }

    fn placed(place: Place) -> Emit {
        let emit = Emit::new("e", ()).unwrap();
        match place {
            Place::Last => emit,
            Place::Latest(key) => emit.latest(key),
            Place::None => emit.volatile(),
        }
    }

    /// The connection writes all packets that it has.
    fn write(on_the_way: &mut Vec<Outgoing>) {
        on_the_way.drain(..).filter_map(|one| one.permit).for_each(SendPermit::written);
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each operation and event")]
    fn check(operations: Vec<Operation>, provided: bool, patient: bool) -> TestCaseResult {
        let mut now = Instant::now();
        let fixed = Credentials::Fixed(None);
        let retry = |reason: &Reason| match reason {
            Reason::Refused(_) => Retry::WithNewAuth,
            _ => Retry::Again,
        };
        let reconnect = Reconnect::default().attempts(if patient { 3 } else { 0 }).retry(retry);
        let mut socket: Namespace<usize> = Namespace::new(Setup {
            credentials: if provided { Credentials::Provided } else { fixed },
            ..setup("/", Config { reconnect, ..config() })
        });
        let (mut epoch, mut asked) = (0, 0_usize);
        let mut outcomes: HashMap<usize, u32> = HashMap::new();
        let mut ready = false;
        let mut fates = Fates {
            plain: send_quota(1_000),
            asking: send_quota(1_000),
            surely: send_quota(1_000),
            of_plain: Vec::new(),
            of_asking: HashMap::new(),
        };
        // The emits with retries.
        let mut surely = HashSet::new();
        let mut never_sent = 0;
        let mut on_the_way: Vec<Outgoing> = Vec::new();
        // The ids of their acks, and those of them that this session has sent.
        let mut ids: HashMap<usize, u64> = HashMap::new();
        let mut sent = HashSet::new();
        // The last connection that was lost.
        let mut gone = 0;
        // Requests to join on this connection.
        let mut requests = 0;
        // At the end, everything that still waits expires.
        let end = [Operation::Leave, Operation::Pass(100_000)];
        for operation in operations.into_iter().chain(end) {
            let packet = |body| Packet::new(root(), body);
            let was_over = socket.ended().is_some();
            match operation {
                Operation::Emit { place, millis } => {
                    let permit = fates.plain();
                    let expires = millis.map(|millis| now + Duration::from_millis(millis));
                    let is_untimely = place == Place::None && !ready;
                    let emit = placed(place);
                    let taken = socket.emit(Request { emit, permit, expires, ..request("e") });
                    prop_assert_eq!(taken.is_err(), was_over || is_untimely);
                }
                Operation::Ask { place, retries, millis } => {
                    asked += 1;
                    let timeout = 10 * SECOND;
                    let ask = PendingAck { waiter: asked, since: now, timeout, retries, id: None };
                    let permit = fates.asking(asked, retries);
                    if retries > 0 {
                        surely.insert(asked);
                    }
                    let expires = millis.map(|millis| now + Duration::from_millis(millis));
                    let is_untimely = place == Place::None && !ready;
                    let emit = placed(place);
                    let request = Request { emit, permit, expires, ack: Some(ask), ..request("e") };
                    let taken = socket.emit(request);
                    prop_assert_eq!(taken.is_err(), was_over || is_untimely);
                    if taken.is_ok() {
                        ids.insert(asked, u64::try_from(ids.len()).unwrap());
                    }
                }
                Operation::Open => {
                    if socket.epoch().is_none() {
                        epoch += 1;
                        requests = 0;
                        write(&mut on_the_way);
                    }
                    socket.handle_open(now, Session { epoch, ..session(Protocol::Eio4) });
                }
                Operation::Auth(works) => {
                    let auth = if works {
                        Ok(Some(Auth("{}".into())))
                    } else {
                        Err(Reason::Provider("no".into()))
                    };
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
                    } else {
                        write(&mut on_the_way);
                    }
                    socket.handle_lost(now, Reason::PingTimeout, again);
                    gone = epoch;
                }
                Operation::LetGo => drop(socket.let_go()),
                Operation::Wake => drop(socket.wake()),
                Operation::Join => drop(socket.join(now)),
                Operation::Leave => socket.leave(Reason::ClientDisconnect),
                Operation::TakeUnsent => drop(socket.take_unsent(&EmitError::Discarded)),
                Operation::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    socket.handle_timeout(now);
                }
            }
            if !was_over && socket.ended().is_some() {
                socket.strand();
            }
            while let Some(event) = socket.poll_event() {
                match event {
                    Event::Answered(waiter, outcome) => {
                        *outcomes.entry(waiter).or_default() += 1;
                        let is_known = || sent.contains(&ids[&waiter]);
                        prop_assert!(outcome.is_err() || is_known(), "answered, and never sent");
                        let was_sent = !matches!(outcome, Err(AckError::NeverSent(_)));
                        never_sent += u64::from(!was_sent && surely.contains(&waiter));
                        if let Some(cause) = fates.of_asking[&waiter].cause::<EmitError>() {
                            let told = Err(AckError::NeverSent(cause.clone()));
                            prop_assert_eq!(outcome, told, "two stories");
                        }
                    }
                    Event::Received { .. } => prop_assert!(!was_over, "after the end"),
                    Event::Ready { .. } => {
                        prop_assert!(!ready, "ready twice");
                        ready = true;
                    }
                    Event::Disconnected(_) => {
                        prop_assert!(ready, "disconnected, and never was connected");
                        ready = false;
                        sent.clear();
                    }
                    Event::ConnectError(_) => prop_assert!(!ready),
                    Event::Retrying { attempt, .. } => {
                        prop_assert!(!ready && attempt <= 3);
                        prop_assert_eq!(attempt, socket.attempts());
                    }
                    Event::GaveUp { attempts, .. } => {
                        prop_assert!(!ready && (1..=3).contains(&attempts));
                        prop_assert!(socket.ended().is_some());
                    }
                    Event::Rejoin => prop_assert!(!ready && socket.ended().is_none()),
                    Event::AuthUnused => {}
                    Event::JoinedTwice { epoch: on } => {
                        prop_assert!(ready && on == epoch && requests > 1);
                    }
                    Event::ServerError(_) => prop_assert!(false, "it is a new server"),
                    Event::TooLarge { .. } | Event::Unsendable(_) | Event::Suspected(_) => {
                        prop_assert!(false, "nothing is too large");
                    }
                }
            }
            for mut outgoing in socket.take_transmit() {
                let early = matches!(outgoing.packet.body, Body::Connect(_));
                prop_assert!(early || ready, "sent before the namespace was joined");
                prop_assert!(outgoing.expires.is_none_or(|at| at >= now), "it had expired");
                if early {
                    requests += 1;
                    write(&mut on_the_way);
                } else {
                    sent.extend(outgoing.ack_id());
                    outgoing.permit.iter_mut().for_each(SendPermit::hand);
                    on_the_way.push(outgoing);
                }
            }
            prop_assert_eq!(socket.is_joined(), ready);
            prop_assert!(socket.epoch().is_none_or(|on| on > gone), "that connection is lost");
            let open = || (1..=asked).filter(|waiter| !outcomes.contains_key(waiter));
            let sure = open().filter(|waiter| surely.contains(waiter)).count();
            let waiting = open().count() - sure;
            check_deadlines(&socket, now, (waiting, sure))?;
            fates.check(&mut socket, &on_the_way, (&surely, never_sent))?;
            let tally = socket.tally();
            prop_assert_eq!(tally.acked, tally.round_trips.count());
            if let Some(timeout) = socket.poll_timeout() {
                prop_assert!(timeout < now + 86_401 * SECOND);
            }
        }
        prop_assert_eq!(outcomes.len(), asked, "a waiter has no outcome");
        prop_assert!(outcomes.values().all(|&count| count == 1), "a waiter has two");
        Ok(())
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let begin = prop::sample::select(vec![
            vec![],
            vec![Operation::Open, Operation::Auth(true), Operation::Reply],
        ]);
        let operations = (begin, prop::collection::vec(operation(), 0..100));
        operations.prop_map(|(begin, rest)| [begin, rest].concat())
    }

    #[test]
    fn fuzz_orders_of_events() {
        let run = (operations(), any::<bool>(), any::<bool>());
        mutate::run("namespace", run, |(operations, provided, patient)| {
            check(operations, provided, patient)
        });
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_the_rules(
            operations in operations(),
            provided in any::<bool>(),
            patient in any::<bool>(),
        ) {
            check(operations, provided, patient)?;
        }

        /// Each attempt that is announced is made, even if the server says nothing any more. The exception is an
        /// attempt in whose place the answer to an earlier request may still come.
        #[test]
        fn what_is_announced_goes_out(
            operations in prop::collection::vec(operation(), 0..60),
            provided in any::<bool>(),
            comes_back in any::<bool>(),
        ) {
            let mut now = Instant::now();
            let fixed = Credentials::Fixed(None);
            let reconnect = Reconnect::default().retry(|_| Retry::Again);
            let mut socket: Namespace<usize> = Namespace::new(Setup {
                credentials: if provided { Credentials::Provided } else { fixed },
                ..setup("/", Config { reconnect, ..config() })
            });
            let packet = |body| Packet::new(root(), body);
            let mut epoch = 0;
            for operation in operations {
                match operation {
                    Operation::Open => {
                        epoch += u64::from(socket.epoch().is_none());
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
