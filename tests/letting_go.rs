//! Sessions that are let go for a subscriber that is too slow, and continued when it has caught up; and
//! where in a session its events stand.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix_socketio::{
    Client, ClientBuilder, Disconnected, Event, Messages, Overflow, Ready, Reason, Reconnect,
    SessionTicket, SocketState, Transport,
};
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    PATIENCE, eventually,
    every::within,
    node::{self, Config, How, Line},
    recorder::{Fact, Recorder},
};

fn server(options: Value) -> node::Server {
    node::start(Line::V4, &Config { options, ..Config::default() })
}

fn recovering() -> node::Server {
    server(json!({ "connectionStateRecovery": {} }))
}

/// Short delays, so that the tests are quick.
fn builder(server: &node::Server) -> ClientBuilder {
    let policy = Reconnect::default().delay(Duration::from_millis(20), Duration::from_millis(100));
    support::client(server.url()).reconnect(policy)
}

async fn next(stream: &mut Messages<Event>) -> u64 {
    within(stream.next()).await.unwrap().args().unwrap()
}

/// What a fast subscriber gets up to the end of the session.
async fn up_to_the_end(recorder: &mut Recorder, numbers: &mut Vec<u64>) {
    loop {
        match within(recorder.next()).await {
            Fact::Event(event) => numbers.push(event.args().unwrap()),
            Fact::Disconnected(gone) => {
                break assert_eq!(*gone.reason(), Reason::SlowSubscriber);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// And up to the next one, which must be the same.
async fn up_to_ready(recorder: &mut Recorder, numbers: &mut Vec<u64>) {
    loop {
        match within(recorder.next()).await {
            Fact::Event(event) => numbers.push(event.args().unwrap()),
            Fact::Ready(ready) => break assert!(ready.recovered()),
            other => panic!("{other:?}"),
        }
    }
}

async fn who_is_too_slow_gets_all_in_the_end(transport: Transport) {
    let server = recovering();
    let client = builder(&server).transports([transport]).start().unwrap();
    let socket = client.socket();
    let mut slow = socket.listen("n").overflow(Overflow::LetGo { waiting: 20 }).stream();
    let mut quick = Recorder::of(socket);
    quick.next_ready().await;
    // So that there is an offset.
    server.publish("/", "n", 0..1);
    assert_eq!(next(&mut slow).await, 0);
    server.publish("/", "n", 1..500);
    let mut heard = Vec::new();
    up_to_the_end(&mut quick, &mut heard).await;
    assert!(heard.len() < 500, "it is let go of in the middle");
    eventually("the server sees it", || server.disconnections("/") == 1).await;
    assert_eq!(socket.state(), SocketState::Joining);

    // Meanwhile, both sides have something to say.
    server.publish("/", "n", 500..600);
    socket.emit("record", ("meanwhile", 1)).unwrap();
    // Another call to join does not hurry the one who is slow.
    socket.connect();
    for number in 1..600 {
        assert_eq!(next(&mut slow).await, number);
    }
    // It may be let go several times: the repeated events are too many, too.
    while heard.len() < 600 {
        match within(quick.next()).await {
            Fact::Event(event) => heard.push(event.args().unwrap()),
            Fact::Ready(ready) => assert!(ready.recovered()),
            Fact::Disconnected(gone) => assert_eq!(*gone.reason(), Reason::SlowSubscriber),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, (0..600).collect::<Vec<u64>>());
    within(socket.ready()).await.unwrap();
    eventually("it arrives", || server.recorded("meanwhile") == [1]).await;
    let stats = client.stats();
    assert_eq!((stats.missed, stats.repeated, stats.discarded), (0, 0, 0));
    within(client.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn who_is_too_slow_gets_all_in_the_end_by_websocket() {
    who_is_too_slow_gets_all_in_the_end(Transport::WebSocket).await;
}

#[actix::test]
async fn who_is_too_slow_gets_all_in_the_end_by_polling() {
    who_is_too_slow_gets_all_in_the_end(Transport::Polling).await;
}

#[actix::test]
async fn other_namespaces_go_on_without_the_one_that_is_let_go_of() {
    let server = recovering();
    let client = builder(&server).start().unwrap();
    let foo = client.of("/foo").unwrap();
    let mut slow = client.socket().listen("n").overflow(Overflow::LetGo { waiting: 0 }).stream();
    let (mut on_root, mut on_foo) = (Recorder::of(client.socket()), Recorder::of(&foo));
    on_root.next_ready().await;
    on_foo.next_ready().await;
    server.publish("/", "n", 0..200);
    let mut heard = Vec::new();
    up_to_the_end(&mut on_root, &mut heard).await;
    assert_eq!(on_foo.next_disconnected().await, Reason::Reconnect);
    on_foo.ready_after_attempts().await;
    server.publish("/foo", "n", 0..1);
    on_foo.next_event("n").await;
    assert_eq!((server.connections("/"), server.disconnections("/")), (1, 1), "it rests");
    for number in 0..200 {
        assert_eq!(next(&mut slow).await, number);
    }
    within(client.socket().ready()).await.unwrap();
    // It came back on the connection that there was.
    assert_eq!(server.engines(), 1);
    within(client.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn what_would_be_missed_for_the_heartbeat_is_let_go_of() {
    let options =
        json!({ "pingInterval": 500, "pingTimeout": 1_500, "connectionStateRecovery": {} });
    let server = server(options);
    let client = builder(&server).receive_window(100, 1 << 20).start().unwrap();
    let waiting = usize::MAX;
    let mut slow = client.socket().listen("n").overflow(Overflow::LetGo { waiting }).stream();
    let mut ended = client.socket().listen_to::<Disconnected>().stream();
    within(client.socket().ready()).await.unwrap();
    server.publish("/", "n", 0..1_000);
    let end = within(ended.next()).await.unwrap();
    assert_eq!(*end.reason(), Reason::SlowSubscriber);
    for number in 0..1_000 {
        assert_eq!(next(&mut slow).await, number);
    }
    assert_eq!(client.stats().missed, 0);
    within(client.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn who_never_catches_up_does_not_keep_the_client_from_ending() {
    let server = recovering();
    let client = builder(&server).start().unwrap();
    let slow = client.socket().listen("n").overflow(Overflow::LetGo { waiting: 0 }).stream();
    let mut quick = Recorder::of(client.socket());
    quick.next_ready().await;
    server.publish("/", "n", 0..100);
    up_to_the_end(&mut quick, &mut Vec::new()).await;
    within(client.shutdown(PATIENCE)).await;
    drop(slow);

    // One that goes away is waited for no longer.
    let client = builder(&server).start().unwrap();
    let slow = client.socket().listen("n").overflow(Overflow::LetGo { waiting: 0 }).stream();
    let mut quick = Recorder::of(client.socket());
    quick.next_ready().await;
    server.publish("/", "n", 0..100);
    let mut heard = Vec::new();
    up_to_the_end(&mut quick, &mut heard).await;
    drop(slow);
    up_to_ready(&mut quick, &mut heard).await;
    // And one that is left is not joined again.
    client.socket().disconnect();
    within(client.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn a_namespace_that_is_let_go_of_can_be_left() {
    let server = recovering();
    let client = builder(&server).start().unwrap();
    let mut slow = client.socket().listen("n").overflow(Overflow::LetGo { waiting: 0 }).stream();
    let mut quick = Recorder::of(client.socket());
    quick.next_ready().await;
    server.publish("/", "n", 0..100);
    let mut heard = Vec::new();
    up_to_the_end(&mut quick, &mut heard).await;
    client.socket().disconnect();
    eventually("it is left", || {
        client.socket().state() == SocketState::Ended(Reason::ClientDisconnect)
    })
    .await;
    for number in heard {
        assert_eq!(next(&mut slow).await, number);
    }
    // It is joined when that is wanted, in another session.
    client.socket().connect();
    let ready: Ready = within(client.socket().ready()).await.unwrap();
    assert!(!ready.recovered());
    within(client.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn a_session_is_continued_behind_any_event() {
    let server = recovering();
    let old = builder(&server).start().unwrap();
    let mut recorder = Recorder::of(old.socket());
    recorder.next_ready().await;
    server.publish("/", "n", 0..10);
    let mut offsets = Vec::new();
    for _ in 0..10 {
        offsets.push(recorder.next_event("n").await.offset().unwrap().to_owned());
    }
    // Events with a question have none.
    server.emit("/", How::Asking, &json!(["asked", "a"]));
    assert_eq!(recorder.next_event("asked").await.offset(), None);
    let ticket = within(old.socket().session_ticket()).await.unwrap().unwrap();
    assert_eq!(ticket.offset(), offsets[9]);
    within(old.hand_over(Duration::ZERO)).await;
    eventually("the server sees it", || server.disconnections("/") == 1).await;

    let parts = SessionTicket::from_parts("/", ticket.pid(), &*offsets[3]);
    assert_eq!(parts, ticket.with_offset(&*offsets[3]));
    let new: Client = builder(&server).resume(parts).start().unwrap();
    let mut recorder = Recorder::of(new.socket());
    for number in 4..10_u64 {
        let event = recorder.next_event("n").await;
        assert_eq!(event.args(), Ok(number));
        assert_eq!(event.offset(), Some(&*offsets[usize::try_from(number).unwrap()]));
    }
    assert!(recorder.next_ready().await.recovered());
    within(new.shutdown(PATIENCE)).await;
}

#[actix::test]
async fn without_recovery_no_event_has_an_offset() {
    let server = server(Value::Null);
    let client = builder(&server).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    client.socket().emit("say", ("said", "like-an-offset")).unwrap();
    assert_eq!(recorder.next_event("said").await.offset(), None);
    within(client.shutdown(PATIENCE)).await;
}
