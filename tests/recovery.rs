//! Sessions that are continued where they were lost, by the same client or by another one.

// A test fails by panicking, and measures by the real clock; and a namespace of the servers is
// called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture};
use actix_socketio::{
    AckError, Client, ClientBuilder, Disconnected, Event, Ready, Reason, Reconnect, Retry,
    SessionTicket, Socket, Transport,
};
use bytes::Bytes;
use futures::future::join;
use serde_json::{Value, json};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{
    PATIENCE, eventually,
    every::within,
    logged,
    node::{self, Config, How, Line},
    proxy::Proxy,
    recorder::{Fact, Recorder},
    scripted::{Peer, Received, Scripted},
};
use tokio::sync::mpsc;

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(20), Duration::from_millis(100))
}

/// A server that recovers sessions, and a way to it that a test can cut.
struct Bench {
    server: node::Server,
    proxy: Proxy,
}

impl Bench {
    fn start() -> Self {
        Self::with(json!({ "connectionStateRecovery": {} }))
    }

    fn with(options: Value) -> Self {
        let server = node::start(Line::V4, &Config { options, ..Config::default() });
        let proxy = Proxy::start(server.port());
        Self { server, proxy }
    }

    fn builder(&self) -> ClientBuilder {
        support::client(self.proxy.url()).reconnect(quick())
    }

    /// Cuts the connection and refuses new ones; returns when the server has noticed.
    async fn part(&self, recorder: &mut Recorder) {
        let before = self.server.disconnections("/");
        self.proxy.refuse(true);
        self.proxy.cut();
        let reason = recorder.next_disconnected().await;
        assert!(
            matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_)),
            "{reason:?}"
        );
        eventually("the server sees it", || self.server.disconnections("/") > before).await;
    }

    fn let_back(&self) {
        self.proxy.refuse(false);
    }

    /// Publishes these numbers in "/" while the client is away, and lets it back.
    async fn publish_while_away(&self, recorder: &mut Recorder, numbers: Range<u64>) {
        self.part(recorder).await;
        self.server.publish("/", "n", numbers);
        self.let_back();
    }
}

/// What comes up to Ready, but for the attempts to get there.
async fn come_back(recorder: &mut Recorder) -> (Vec<Event>, Ready) {
    let mut events = Vec::new();
    let back = async {
        loop {
            match recorder.next().await {
                Fact::Reconnecting(_) => assert!(events.is_empty(), "one attempt is enough"),
                Fact::Event(event) => events.push(event),
                Fact::Ready(ready) => return ready,
                other => panic!("{other:?} instead of Ready"),
            }
        }
    };
    let ready = within(back).await;
    (events, ready)
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.args().unwrap()).collect()
}

/// The next things that happen must be these events.
async fn expect_numbers(recorder: &mut Recorder, numbers: Range<u64>) {
    for number in numbers {
        assert_eq!(recorder.next_event("n").await.args::<u64>().unwrap(), number);
    }
}

/// All that was sent before has been handled, on both sides.
async fn settle(socket: &Socket) {
    assert_eq!(within(socket.emit_with_ack::<u8>("number", ())).await, Ok(7));
}

#[actix::test]
async fn what_is_published_meanwhile_comes_before_ready_in_order_and_once() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let first = recorder.next_ready().await;
    assert!(!first.recovered());
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let mut next = 1;
    for count in [0, 1, 100, 2, 0] {
        bench.publish_while_away(&mut recorder, next..next + count).await;
        let (events, ready) = come_back(&mut recorder).await;
        assert_eq!(numbers(&events), (next..next + count).collect::<Vec<_>>());
        assert!(ready.recovered());
        assert_eq!(ready.sid(), first.sid());
        next += count;
        // And on as before.
        bench.server.publish("/", "n", next..next + 3);
        expect_numbers(&mut recorder, next..next + 3).await;
        next += 3;
    }
    settle(client.socket()).await;
    assert!(recorder.rest().is_empty());
    assert_eq!((client.stats().events_in, client.stats().repeated), (next, 0));
}

#[actix::test]
async fn what_is_emitted_meanwhile_is_sent_in_the_recovered_session() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let lost = client.socket().emit_with_ack::<u64>("silent", ()).send();
    settle(client.socket()).await;
    bench.part(&mut recorder).await;
    // The answer does not come, in this session or in its next life.
    assert!(matches!(within(lost).await, Err(AckError::Disconnected(_))));
    for number in 0..50 {
        client.socket().emit("record", ("numbers", number)).unwrap();
    }
    let asked = client.socket().emit_with_ack::<u64>("record", ("numbers", 50)).send();
    bench.let_back();
    assert!(come_back(&mut recorder).await.1.recovered());
    assert_eq!(within(asked).await, Ok(50));
    assert_eq!(bench.server.recorded("numbers"), (0..=50).collect::<Vec<u64>>());
}

/// Nothing of what is published while the client is away comes; its next session is another one.
async fn expect_nothing_recovered(bench: &Bench, client: &Client, recorder: &mut Recorder) {
    let first = within(client.socket().ready()).await.unwrap();
    bench.publish_while_away(recorder, 100..103).await;
    let (events, ready) = come_back(recorder).await;
    assert_eq!(numbers(&events), [0; 0]);
    assert!(!ready.recovered());
    assert_ne!(ready.sid(), first.sid());
    settle(client.socket()).await;
    assert!(recorder.rest().is_empty());
}

#[actix::test]
async fn nothing_is_recovered_where_the_server_does_not_do_it() {
    let bench = Bench::with(json!({}));
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    bench.server.publish("/", "n", 0..3);
    // Nor is there a ticket, whatever the last argument.
    bench.server.emit("/", How::Plain, &json!(["text", "plausible"]));
    expect_numbers(&mut recorder, 0..3).await;
    recorder.next_event("text").await;
    assert_eq!(within(client.socket().session_ticket()).await.unwrap(), None);
    expect_nothing_recovered(&bench, &client, &mut recorder).await;
    assert!(within(client.hand_over(PATIENCE)).await.1.is_empty());
}

#[actix::test]
async fn nothing_is_recovered_before_the_first_event() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    expect_nothing_recovered(&bench, &client, &mut recorder).await;
}

#[actix::test]
async fn nothing_is_recovered_when_the_client_was_away_for_too_long() {
    let bench =
        Bench::with(json!({ "connectionStateRecovery": { "maxDisconnectionDuration": 1 } }));
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    for _ in 0..2 {
        bench.server.publish("/", "n", 0..3);
        expect_numbers(&mut recorder, 0..3).await;
        assert!(within(client.socket().session_ticket()).await.unwrap().is_some());
        expect_nothing_recovered(&bench, &client, &mut recorder).await;
        // What was good for the old session is not for the new one.
        assert_eq!(within(client.socket().session_ticket()).await.unwrap(), None);
    }
}

#[actix::test]
async fn nothing_is_recovered_after_leaving() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let first = recorder.next_ready().await;
    bench.server.publish("/", "n", 0..3);
    expect_numbers(&mut recorder, 0..3).await;
    socket.disconnect();
    assert_eq!(recorder.next_disconnected().await, Reason::ClientDisconnect);
    assert_eq!(within(socket.session_ticket()).await.unwrap(), None);
    eventually("the server sees it", || bench.server.disconnections("/") == 1).await;
    bench.server.publish("/", "n", 3..6);
    socket.connect();
    let second = recorder.next_ready().await;
    assert!(!second.recovered());
    assert_ne!(first.sid(), second.sid());
    // Nor when it left while there was no connection.
    bench.server.publish("/", "n", 6..7);
    expect_numbers(&mut recorder, 6..7).await;
    bench.part(&mut recorder).await;
    recorder.next_reconnecting().await;
    socket.disconnect();
    within(async { while !matches!(recorder.next().await, Fact::ConnectError(_)) {} }).await;
    bench.server.publish("/", "n", 7..9);
    bench.let_back();
    socket.connect();
    assert!(!recorder.next_ready().await.recovered());
    settle(socket).await;
    assert!(recorder.rest().is_empty());
}

#[actix::test]
async fn nothing_is_recovered_after_the_server_has_ended_the_session() {
    let bench = Bench::start();
    let policy = quick().retry(|reason| match reason {
        Reason::ServerDisconnect => Retry::Again,
        other => Retry::default_for(other),
    });
    let client = bench.builder().reconnect(policy).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let first = recorder.next_ready().await;
    bench.server.publish("/", "n", 0..3);
    expect_numbers(&mut recorder, 0..3).await;
    socket.emit("leave", ()).unwrap();
    assert_eq!(recorder.next_disconnected().await, Reason::ServerDisconnect);
    assert_eq!(within(socket.session_ticket()).await.unwrap(), None);
    let (events, second) = come_back(&mut recorder).await;
    assert!(events.is_empty() && !second.recovered());
    assert_ne!(first.sid(), second.sid());
    let handshake: Value = within(socket.emit_with_ack("handshake", ())).await.unwrap();
    assert_eq!(handshake["auth"], json!({}), "it does not even ask");
}

#[actix::test]
async fn binary_events_are_recovered_too() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let bytes = Bytes::from_static(&[1, 2, 3]);
    let is_it = |event: &Event, number| {
        assert_eq!(event.args::<(u64, Bytes)>().unwrap(), (number, bytes.clone()));
    };
    bench.server.emit("/", How::Binary, &json!(["binary", 0]));
    is_it(&recorder.next_event("binary").await, 0);
    bench.part(&mut recorder).await;
    bench.server.publish("/", "n", 0..2);
    bench.server.emit("/", How::Binary, &json!(["binary", 1]));
    bench.server.emit("/", How::Binary, &json!(["binary", 2]));
    bench.server.publish("/", "n", 2..3);
    bench.let_back();
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["n", "n", "binary", "binary", "n"]);
    is_it(&events[2], 1);
    is_it(&events[3], 2);
    // The last one that came was binary.
    bench.server.emit("/", How::Binary, &json!(["binary", 3]));
    is_it(&recorder.next_event("binary").await, 3);
    bench.publish_while_away(&mut recorder, 3..5).await;
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [3, 4]);
}

#[actix::test]
async fn events_that_ask_for_an_answer_do_not_count() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    bench.server.publish("/", "n", 0..2);
    expect_numbers(&mut recorder, 0..2).await;
    // They have no offset; this one looks as if it had.
    client.socket().emit("ask", ("question", "plausible")).unwrap();
    let question = recorder.next_event("question").await;
    assert!(question.wants_ack());
    settle(client.socket()).await;
    bench.part(&mut recorder).await;
    bench.server.publish("/", "n", 2..4);
    // The server does not keep those.
    bench.server.emit("/", How::Asking, &json!(["lost", "plausible"]));
    bench.server.publish("/", "n", 4..5);
    bench.let_back();
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [2, 3, 4]);
    // The question went down with the connection that it came on.
    question.ack("too late").unwrap_err();
    // And those that come after the recovery are answered as any.
    client.socket().emit("ask", ("question", 1)).unwrap();
    recorder.next_event("question").await.ack("in time").unwrap();
    let answered = recorder.next_event("answered").await;
    assert_eq!(answered.args::<String>().unwrap(), "in time");
}

#[actix::test]
async fn a_volatile_event_breaks_recovery_only_if_it_seems_to_have_an_offset() {
    let bench = Bench::start();
    // By polling, a server drops a volatile event between two polls.
    let client = bench.builder().transports([Transport::WebSocket]).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let mut next = 0;
    for (arguments, recovered) in [
        (json!(["text", "two words"]), true),
        (json!(["text", "caf\u{e9}"]), true),
        (json!(["text", "plausible", 1]), true),
        (json!(["text", ["plausible"]]), true),
        (json!(["text"]), true),
        // It is the last argument, it is a word: nobody can know. So it is documented.
        (json!(["text", "plausible"]), false),
    ] {
        bench.server.publish("/", "n", next..next + 1);
        expect_numbers(&mut recorder, next..next + 1).await;
        settle(client.socket()).await;
        bench.server.emit("/", How::Volatile, &arguments);
        recorder.next_event("text").await;
        bench.publish_while_away(&mut recorder, next + 1..next + 3).await;
        let (events, ready) = come_back(&mut recorder).await;
        assert_eq!(ready.recovered(), recovered, "{arguments}");
        let came: Vec<u64> = if recovered { (next + 1..next + 3).collect() } else { Vec::new() };
        assert_eq!(numbers(&events), came, "{arguments}");
        next += 3;
    }
    // It does no harm when another event has come behind it.
    bench.server.emit("/", How::Volatile, &json!(["text", "plausible"]));
    recorder.next_event("text").await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    bench.publish_while_away(&mut recorder, 1..3).await;
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [1, 2]);
}

#[actix::test]
async fn credentials_go_with_the_request_for_recovery() {
    let bench = Bench::start();
    let builders = [
        bench.builder().auth(json!({ "token": "t", "level": 3 })),
        bench.builder().auth_with(async |_| Ok::<_, String>(json!({ "token": "t", "level": 3 }))),
        bench.builder(),
    ];
    for (number, builder) in (0..).zip(builders) {
        let client = builder.start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        bench.server.publish("/", "n", 0..1);
        expect_numbers(&mut recorder, 0..1).await;
        bench.publish_while_away(&mut recorder, 1..2).await;
        let (events, ready) = come_back(&mut recorder).await;
        assert!(ready.recovered());
        assert_eq!(numbers(&events), [1]);
        let handshake: Value =
            within(client.socket().emit_with_ack("handshake", ())).await.unwrap();
        let auth = &handshake["auth"];
        assert!(auth["pid"].is_string() && auth["offset"].is_string());
        if number < 2 {
            assert_eq!((&auth["token"], &auth["level"]), (&json!("t"), &json!(3)));
        } else {
            assert_eq!(auth.as_object().unwrap().len(), 2);
        }
        within(client.shutdown(PATIENCE)).await;
    }
}

#[actix::test]
async fn a_recovery_that_is_refused_is_made_up_for_with_new_credentials() {
    // The middleware sees the credentials after the server has sent what was missed.
    let bench = Bench::with(json!({ "connectionStateRecovery": { "skipMiddlewares": false } }));
    bench.server.set_token("0");
    let known = Arc::new(AtomicU64::new(0));
    let policy = quick().retry(|reason| match reason {
        Reason::Refused(_) => Retry::WithNewAuth,
        other => Retry::default_for(other),
    });
    let builder = support::client(format!("{}/guarded", bench.proxy.url())).reconnect(policy);
    let client = builder.auth_with(move |join| {
        if matches!(join.reason(), Some(Reason::Refused(_))) {
            known.fetch_add(1, Ordering::SeqCst);
        }
        let token = known.load(Ordering::SeqCst).to_string();
        async move { Ok::<_, String>(json!({ "token": token })) }
    });
    let client = client.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let first = recorder.next_ready().await;
    bench.server.publish("/guarded", "n", 0..2);
    expect_numbers(&mut recorder, 0..2).await;
    bench.proxy.refuse(true);
    bench.proxy.cut();
    recorder.next_disconnected().await;
    eventually("the server sees it", || bench.server.disconnections("/guarded") == 1).await;
    bench.server.publish("/guarded", "n", 2..5);
    bench.server.set_token("1");
    bench.let_back();
    let (mut came, mut refusals) = (Vec::new(), 0);
    let back = async {
        loop {
            match recorder.next().await {
                Fact::Reconnecting(_) => {}
                Fact::Event(event) => came.push(event),
                Fact::ConnectError(error) => {
                    assert!(matches!(error.reason(), Reason::Refused(_)), "{error:?}");
                    refusals += 1;
                }
                Fact::Ready(ready) => return ready,
                other => panic!("{other:?} instead of Ready"),
            }
        }
    };
    let second = within(back).await;
    assert_eq!((numbers(&came), refusals), (vec![2, 3, 4], 1));
    assert!(second.recovered());
    assert_eq!(first.sid(), second.sid());
    bench.server.publish("/guarded", "n", 5..6);
    expect_numbers(&mut recorder, 5..6).await;
}

#[actix::test]
async fn namespaces_recover_each_for_itself() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let (foo, bar) = (client.of("/foo").unwrap(), client.of("/bar").unwrap());
    let mut on_root = Recorder::of(client.socket());
    let mut on_foo = Recorder::of(&foo);
    let mut on_bar = Recorder::of(&bar);
    for recorder in [&mut on_root, &mut on_foo, &mut on_bar] {
        recorder.next_ready().await;
    }
    bench.server.publish("/", "n", 0..1);
    bench.server.publish("/foo", "n", 0..1);
    expect_numbers(&mut on_root, 0..1).await;
    expect_numbers(&mut on_foo, 0..1).await;
    // No event has come in "/bar".
    for round in 0..2 {
        bench.part(&mut on_root).await;
        on_foo.next_disconnected().await;
        on_bar.next_disconnected().await;
        eventually("the server sees all", || {
            bench.server.disconnections("/foo") == round + 1
                && bench.server.disconnections("/bar") == round + 1
        })
        .await;
        for (namespace, number) in [("/", 10), ("/foo", 20), ("/bar", 30)] {
            bench.server.publish(namespace, "n", number..number + 2);
        }
        bench.let_back();
        for (recorder, number) in [(&mut on_root, 10), (&mut on_foo, 20)] {
            let (events, ready) = come_back(recorder).await;
            assert!(ready.recovered());
            assert_eq!(numbers(&events), [number, number + 1]);
        }
        let (events, ready) = come_back(&mut on_bar).await;
        assert!(events.is_empty() && !ready.recovered());
    }
}

// From one client to another.

fn through_json(ticket: &SessionTicket) -> SessionTicket {
    serde_json::from_str(&serde_json::to_string(ticket).unwrap()).unwrap()
}

#[actix::test]
async fn there_is_a_ticket_from_the_first_event_on() {
    logged::start();
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    assert_eq!(within(socket.session_ticket()).await.unwrap(), None);
    recorder.next_ready().await;
    assert_eq!(within(socket.session_ticket()).await.unwrap(), None);
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let ticket = within(socket.session_ticket()).await.unwrap().unwrap();
    assert_eq!(ticket.namespace(), "/");
    assert_eq!(through_json(&ticket), ticket);
    bench.server.publish("/", "n", 1..2);
    expect_numbers(&mut recorder, 1..2).await;
    let later = within(socket.session_ticket()).await.unwrap().unwrap();
    assert_ne!(later, ticket, "it is of the last event");
    // It is kept while there is no connection.
    bench.part(&mut recorder).await;
    assert_eq!(within(socket.session_ticket()).await.unwrap(), Some(later.clone()));
    bench.let_back();
    come_back(&mut recorder).await;
    // Like its client, it shows no secrets.
    let Value::Object(secrets) = serde_json::to_value(&later).unwrap() else { panic!("no object") };
    assert_eq!(secrets.len(), 3);
    let shown =
        format!("{later:?}{:?}{}", bench.builder().resume(later.clone()), logged::lines().concat());
    assert!(shown.contains("session recovered"), "or nothing is logged");
    for key in ["pid", "offset"] {
        let secret = secrets[key].as_str().unwrap();
        assert!(!shown.contains(secret), "{key} in {shown}");
    }
    within(client.shutdown(PATIENCE)).await;
    assert_eq!(within(socket.session_ticket()).await.unwrap(), None, "it was left");
}

#[actix::test]
async fn another_client_goes_on_with_the_sessions_of_one_that_hands_over() {
    let bench = Bench::start();
    let old = bench.builder().start().unwrap();
    let old_foo = old.of("/foo").unwrap();
    // There is no session to continue.
    let old_bar = old.of("/bar").unwrap();
    within(old_bar.ready()).await.unwrap();
    let mut on_root = Recorder::of(old.socket());
    let mut on_foo = Recorder::of(&old_foo);
    let first = [on_root.next_ready().await, on_foo.next_ready().await];
    for (namespace, recorder) in [("/", &mut on_root), ("/foo", &mut on_foo)] {
        bench.server.publish(namespace, "n", 0..3);
        expect_numbers(recorder, 0..3).await;
    }
    for number in 0..20 {
        old_foo.emit("record", ("handed-over", number)).unwrap();
    }
    let (report, mut tickets) = within(old.hand_over(PATIENCE)).await;
    assert_eq!((report.sent, report.dropped, report.unknown), (20, 0, 0));
    for recorder in [&mut on_root, &mut on_foo] {
        assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
    }
    tickets.sort_by(|a, b| a.namespace().cmp(b.namespace()));
    let names: Vec<_> = tickets.iter().map(SessionTicket::namespace).collect();
    assert_eq!(names, ["/", "/foo"]);

    bench.server.publish("/", "n", 3..6);
    bench.server.publish("/foo", "n", 3..6);
    let new = tickets.iter().map(through_json).fold(bench.builder(), ClientBuilder::resume);
    let new = new.start().unwrap();
    let new_foo = new.of("foo").unwrap();
    // What comes before anybody has subscribed waits, where it belongs.
    within(new.socket().ready()).await.unwrap();
    for (socket, first) in [(new.socket(), &first[0]), (&new_foo, &first[1])] {
        let mut recorder = Recorder::of(socket);
        let (events, ready) = come_back(&mut recorder).await;
        assert_eq!(numbers(&events), [3, 4, 5]);
        assert!(ready.recovered());
        assert_eq!(ready.sid(), first.sid());
        bench.server.publish(socket.namespace(), "n", 6..7);
        expect_numbers(&mut recorder, 6..7).await;
        settle(socket).await;
        assert!(recorder.rest().is_empty());
    }
    assert_eq!(new.stats().repeated, 0);
    assert_eq!(bench.server.recorded("handed-over"), (0..20).collect::<Vec<u64>>());
}

#[actix::test]
async fn a_client_without_a_connection_hands_over_too() {
    let bench = Bench::start();
    let old = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(old.socket());
    recorder.next_ready().await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    bench.part(&mut recorder).await;
    bench.server.publish("/", "n", 1..2);
    let (_, tickets) = within(old.hand_over(Duration::ZERO)).await;
    bench.let_back();
    let new = tickets.into_iter().fold(bench.builder(), ClientBuilder::resume).start().unwrap();
    let (events, ready) = come_back(&mut Recorder::of(new.socket())).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [1]);
}

#[actix::test]
async fn a_ticket_that_is_too_old_is_no_hindrance() {
    let bench =
        Bench::with(json!({ "connectionStateRecovery": { "maxDisconnectionDuration": 1 } }));
    let old = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(old.socket());
    let first = recorder.next_ready().await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let (_, tickets) = within(old.hand_over(PATIENCE)).await;
    assert_eq!(tickets.len(), 1);
    eventually("the server sees it", || bench.server.disconnections("/") == 1).await;
    bench.server.publish("/", "n", 1..2);
    let new = tickets.into_iter().fold(bench.builder(), ClientBuilder::resume).start().unwrap();
    let mut recorder = Recorder::of(new.socket());
    let (events, ready) = come_back(&mut recorder).await;
    assert!(events.is_empty() && !ready.recovered());
    assert_ne!(first.sid(), ready.sid());
    settle(new.socket()).await;
}

#[actix::test]
async fn questions_are_waited_for_before_a_client_hands_over() {
    let bench = Bench::start();
    let client = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let answered = client.socket().emit_with_ack::<u8>("later", (100, 7)).send();
    let (report, tickets) = within(client.hand_over(PATIENCE)).await;
    assert_eq!(within(answered).await, Ok(7));
    assert_eq!((report.acked, report.unknown, tickets.len()), (1, 0, 1));
}

#[actix::test]
async fn questions_that_are_not_answered_in_time_do_not_keep_a_client_from_handing_over() {
    let bench = Bench::start();
    let old = bench.builder().start().unwrap();
    let mut recorder = Recorder::of(old.socket());
    let first = recorder.next_ready().await;
    bench.server.publish("/", "n", 0..1);
    expect_numbers(&mut recorder, 0..1).await;
    let silent = old.socket().emit_with_ack::<u8>("silent", ()).send();
    let deadline = Duration::from_millis(300);
    let since = Instant::now();
    let (report, tickets) = within(old.hand_over(deadline)).await;
    assert!(since.elapsed() >= deadline, "{:?}", since.elapsed());
    assert_eq!((report.unknown, report.dropped), (1, 0));
    assert_eq!(within(silent).await, Err(AckError::Disconnected(Reason::Shutdown)));
    bench.server.publish("/", "n", 1..3);
    let new = tickets.into_iter().fold(bench.builder(), ClientBuilder::resume).start().unwrap();
    let (events, ready) = come_back(&mut Recorder::of(new.socket())).await;
    assert!(ready.recovered());
    assert_eq!((ready.sid(), numbers(&events)), (first.sid(), vec![1, 2]));
}

/// A subscriber that takes its time for its first event, and tells what it gets.
struct Slow {
    heard: mpsc::UnboundedSender<u64>,
    busy: Option<tokio::sync::oneshot::Receiver<()>>,
}

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Event> for Slow {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        self.heard.send(event.args().unwrap()).ok();
        if let Some(busy) = self.busy.take() {
            ctx.wait(async { drop(busy.await) }.into_actor(self));
        }
    }
}

impl Handler<Ready> for Slow {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {}
}

impl Handler<Disconnected> for Slow {
    type Result = ();

    fn handle(&mut self, _: Disconnected, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[actix::test]
async fn what_waits_for_a_slow_subscriber_is_not_lost_between_two_clients() {
    const COUNT: u64 = 500;
    let bench = Bench::start();
    let old = bench.builder().start().unwrap();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let (done, busy) = tokio::sync::oneshot::channel();
    old.socket().subscribe(Slow { heard, busy: Some(busy) }.start());
    within(old.socket().ready()).await.unwrap();
    bench.server.publish("/", "n", 0..COUNT);
    // It is busy, and all the rest waits for it: far more than its mailbox takes.
    assert_eq!(within(hears.recv()).await, Some(0));
    eventually("all has come", || old.stats().events_in == COUNT).await;
    let (_, tickets) = within(old.hand_over(PATIENCE)).await;
    done.send(()).unwrap();
    let mut came = vec![0];
    while let Some(number) = within(hears.recv()).await {
        came.push(number);
    }
    let new = tickets.into_iter().fold(bench.builder(), ClientBuilder::resume).start().unwrap();
    let (events, ready) = come_back(&mut Recorder::of(new.socket())).await;
    assert!(ready.recovered());
    came.extend(numbers(&events));
    assert_eq!(came, (0..COUNT).collect::<Vec<_>>());
}

// Against a server that does what the test says.

/// Lets the client in, and gives what it had to say.
async fn admit(server: &Scripted, replay: &[&str], pid: &str) -> (Peer, Value) {
    let mut peer = server.accept().await;
    peer.open().await;
    let Received::Text(connect) = peer.next().await else { panic!("no request to join") };
    for event in replay {
        peer.send_text(format!("42{event}")).await;
    }
    peer.send_text(format!(r#"40{{"sid":"s","pid":"{pid}"}}"#)).await;
    let auth = connect.strip_prefix("40").unwrap();
    (peer, serde_json::from_str(auth).unwrap_or_default())
}

#[actix::test]
async fn what_a_server_repeats_is_dropped_and_counted() {
    let server = Scripted::start();
    let client = support::client(server.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let (peer, auth) = admit(&server, &[], "P").await;
    assert_eq!(auth, Value::Null);
    recorder.next_ready().await;
    for event in [r#"["n",0,"o0"]"#, r#"["n",1,"o1"]"#, r#"["n",2,"o2"]"#] {
        peer.send_text(format!("42{event}")).await;
    }
    expect_numbers(&mut recorder, 0..3).await;
    peer.cut().await;
    recorder.next_disconnected().await;
    let replay = [
        r#"["n",1,"o1"]"#,
        r#"["n",2,"o2"]"#,
        r#"["n",3,"o3"]"#,
        r#"["n",3,"o3"]"#,
        // It has no offset.
        r#"7["n",2,"o2"]"#,
    ];
    let (peer, auth) = admit(&server, &replay, "P").await;
    assert_eq!(auth, json!({ "pid": "P", "offset": "o2" }));
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [3, 2]);
    assert_eq!(client.stats().repeated, 3);
    // Once it is joined there are no repeats, and what looks like one is a new event.
    peer.send_text(r#"42["n",3,"o3"]"#).await;
    expect_numbers(&mut recorder, 3..4).await;
    assert_eq!(client.stats().repeated, 3);
    // In another session, offsets begin anew.
    peer.cut().await;
    recorder.next_disconnected().await;
    let (peer, auth) = admit(&server, &[], "Q").await;
    assert_eq!(auth, json!({ "pid": "P", "offset": "o3" }));
    let (events, ready) = come_back(&mut recorder).await;
    assert!(events.is_empty() && !ready.recovered());
    peer.cut().await;
    recorder.next_disconnected().await;
    let (_peer, auth) = admit(&server, &[r#"["n",1,"o1"]"#], "Q").await;
    assert_eq!(auth, Value::Null);
    let (events, _) = come_back(&mut recorder).await;
    assert_eq!(numbers(&events), [1]);
}

#[actix::test]
async fn what_came_before_a_ticket_was_made_is_known_to_the_next_client() {
    let server = Scripted::start();
    let old = support::client(server.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(old.socket());
    let (mut peer, _) = admit(&server, &[], "P").await;
    recorder.next_ready().await;
    peer.send_text(r#"42["n",0,"o0"]"#).await;
    expect_numbers(&mut recorder, 0..1).await;
    // It disconnects without leaving.
    let goodbye = async move {
        assert_eq!(peer.next().await, Received::Close(Some(1000)));
        // What still comes is for the next one.
        peer.send_text(r#"42["n",1,"o1"]"#).await;
        drop(peer);
    };
    let ((_, tickets), ()) = join(within(old.hand_over(PATIENCE)), goodbye).await;
    let [ticket] = &tickets[..] else { panic!("{tickets:?}") };
    let expected = json!({ "namespace": "/", "pid": "P", "offset": "o0" });
    assert_eq!(serde_json::to_value(ticket).unwrap(), expected);

    let new = support::client(server.url()).reconnect(quick()).resume(ticket.clone());
    let new = new.start().unwrap();
    let mut recorder = Recorder::of(new.socket());
    let replay = [r#"["n",0,"o0"]"#, r#"["n",1,"o1"]"#];
    let (_peer, auth) = admit(&server, &replay, "P").await;
    assert_eq!(auth, json!({ "pid": "P", "offset": "o0" }));
    let (events, ready) = come_back(&mut recorder).await;
    assert!(ready.recovered());
    assert_eq!(numbers(&events), [1]);
    assert_eq!(new.stats().repeated, 1);
}
