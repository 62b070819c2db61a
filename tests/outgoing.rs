//! Emitted events: whether they are accepted, whether and how long they wait, when they are
//! written, how they are counted, and what a shutdown reports about them.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::similar_names,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actix::{Actor, Arbiter, Context, Handler, System};
use actix_socketio::{
    AckError, AnswerError, Client, ClientBuilder, DialLimiter, Emit, EmitError, Event, Offline,
    Protocol, Reason, ShutdownReport, Socket, SocketState, Stats, Transport,
};
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{join, join_all},
};
use serde_json::json;
use support::{
    eventually,
    every::{self, Target, on_every_server, on_official_servers, unique, within},
    node::{self, Config, Line},
    proxy::Proxy,
    recorder::Recorder,
    scripted::{Peer, Received, Scripted},
    storm::quick,
};
use tokio::sync::oneshot;

on_every_server!(
    a_volatile_event_is_dropped_offline_and_arrives_when_joined,
    of_each_key_the_last_value_that_waited_arrives,
    who_is_not_to_wait_is_told_at_once,
    what_has_expired_is_not_sent_when_the_connection_is_back,
    handles_with_different_policies_do_not_influence_each_other,
    messages_follow_the_policy_of_the_builder,
    what_was_taken_back_is_not_sent,
    a_shutdown_waits_for_the_answers_that_come,
    a_shutdown_counts_what_was_never_sent,
);

// socketioxide does not send what does not fit in its own buffer.
on_official_servers!(
    who_awaits_each_event_needs_room_for_one,
    who_awaits_each_event_from_another_thread_needs_room_for_one,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// A client of the server that the proxy leads to, which comes back quickly.
fn by_way_of(proxy: &Proxy) -> ClientBuilder {
    support::client(proxy.url()).reconnect(quick())
}

/// Its connection is lost, and there is no other until the proxy accepts connections again.
async fn take_offline(proxy: &Proxy, recorder: &mut Recorder) {
    proxy.refuse(true);
    proxy.cut();
    recorder.next_disconnected().await;
}

/// The numbers that come back from `echo` next.
async fn echoes(recorder: &mut Recorder, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_eq!(recorder.next_event("echo").await.args::<u32>().unwrap(), number);
    }
}

// On every server.

async fn a_volatile_event_is_dropped_offline_and_arrives_when_joined(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let volatile = |number| Emit::new("echo", number).unwrap().volatile();
    socket.send(volatile(1)).unwrap();
    let asked = within(socket.send_with_ack::<u32>(volatile(2))).await;
    assert_eq!(asked, Err(AckError::NeverSent(EmitError::Offline)));
    recorder.next_ready().await;
    assert_eq!(client.stats().discarded, 2);
    socket.send(volatile(3)).unwrap();
    echoes(&mut recorder, [3]).await;
    assert_eq!(within(socket.send_with_ack::<u32>(volatile(4))).await, Ok(4));
    assert_eq!(client.stats().discarded, 2);
    assert!(recorder.rest().is_empty());
}

async fn of_each_key_the_last_value_that_waited_arrives(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let latest = |key, number| Emit::new("echo", number).unwrap().latest(key);
    let mut waiters = Vec::new();
    for number in 0..10_u32 {
        socket.send(latest("a", number)).unwrap();
        waiters.push(socket.send_with_ack::<u32>(latest("b", number)).send());
        socket.emit("echo", 100 + number).unwrap();
    }
    // Each has the place of the first one, and nothing else has moved.
    recorder.next_ready().await;
    echoes(&mut recorder, [9].into_iter().chain(100..110)).await;
    assert_eq!(within(waiters.pop().unwrap()).await, Ok(9));
    for waiter in waiters {
        assert_eq!(within(waiter).await, Err(AckError::NeverSent(EmitError::Discarded)));
    }
    let stats = client.stats();
    assert_eq!((stats.replaced, stats.discarded, stats.events_out), (18, 0, 12));
    // What does not wait is not replaced.
    socket.send(latest("a", 10)).unwrap();
    echoes(&mut recorder, [10]).await;
    socket.send(latest("a", 11)).unwrap();
    echoes(&mut recorder, [11]).await;
    assert_eq!(client.stats().replaced, 18);
}

async fn who_is_not_to_wait_is_told_at_once(server: &Target) {
    let proxy = Proxy::start(server.port());
    let client = by_way_of(&proxy).offline(Offline::Fail).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let offline = async |socket: &Socket| {
        assert_eq!(socket.emit("echo", 0).map(drop), Err(EmitError::Offline));
        let asked = socket.emit_with_ack::<u32>("echo", 0).send().now_or_never();
        assert_eq!(asked, Some(Err(AckError::NeverSent(EmitError::Offline))));
        assert_eq!((socket.unsent(), socket.unsent_bytes()), (0, 0));
    };
    offline(socket).await;
    for number in 0..2 {
        recorder.ready_after_attempts().await;
        socket.emit("echo", number).unwrap();
        echoes(&mut recorder, [number]).await;
        take_offline(&proxy, &mut recorder).await;
        offline(socket).await;
        proxy.refuse(false);
    }
    recorder.ready_after_attempts().await;
    socket.disconnect();
    let closed = EmitError::Closed(Reason::ClientDisconnect);
    assert_eq!(socket.emit("echo", 0).map(drop), Err(closed));
    assert_eq!(client.stats().events_out, 2);
}

async fn what_has_expired_is_not_sent_when_the_connection_is_back(server: &Target) {
    let proxy = Proxy::start(server.port());
    let client = by_way_of(&proxy).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    take_offline(&proxy, &mut recorder).await;
    let lifetime = |number, lifetime| Emit::new("echo", number).unwrap().lifetime(lifetime);
    let brief = Duration::from_millis(50);
    let since = Instant::now();
    socket.send(lifetime(0, brief)).unwrap();
    socket.send(lifetime(1, HOUR)).unwrap();
    let expires = socket.send_with_ack::<u32>(lifetime(2, brief)).send();
    let retried = socket.send_with_ack::<u32>(lifetime(3, brief)).retries(9).send();
    let lives = socket.send_with_ack::<u32>(lifetime(4, Duration::MAX)).send();
    socket.emit("echo", 5).unwrap();
    let expired = AckError::NeverSent(EmitError::Expired);
    assert_eq!(within(expires).await, Err(expired.clone()));
    assert_eq!(within(retried).await, Err(expired));
    assert!(since.elapsed() >= brief);
    assert_eq!(socket.unsent(), 3);

    proxy.refuse(false);
    recorder.ready_after_attempts().await;
    echoes(&mut recorder, [1, 5]).await;
    assert_eq!(within(lives).await, Ok(4));
    assert_eq!(client.stats().discarded, 3);
    assert!(recorder.rest().is_empty());
}

async fn handles_with_different_policies_do_not_influence_each_other(server: &Target) {
    let proxy = Proxy::start(server.port());
    let client = by_way_of(&proxy).start().unwrap();
    let patient = client.socket();
    let brief = patient.with_offline(Offline::BufferFor(Duration::from_millis(50)));
    let hasty = patient.with_offline(Offline::Fail);
    let mut recorder = Recorder::of(patient);
    recorder.next_ready().await;
    for socket in [patient, &brief, &hasty] {
        socket.emit("echo", 7).unwrap();
    }
    echoes(&mut recorder, [7; 3]).await;

    take_offline(&proxy, &mut recorder).await;
    for number in 0..3 {
        patient.emit("echo", number).unwrap();
        brief.emit("echo", 10).unwrap();
        assert_eq!(hasty.emit("echo", 20).map(drop), Err(EmitError::Offline));
    }
    // What an event says for itself goes before what the handle says.
    brief.send(Emit::new("echo", 3).unwrap().lifetime(HOUR)).unwrap();
    brief.with_offline(Offline::Buffer).emit("echo", 4).unwrap();
    eventually("three have expired", || patient.unsent() == 5).await;
    proxy.refuse(false);
    recorder.ready_after_attempts().await;
    echoes(&mut recorder, 0..5).await;
    assert_eq!(client.stats().discarded, 3);
}

async fn messages_follow_the_policy_of_the_builder(server: &Target) {
    let emit = |number: u32| Emit::new("echo", number).unwrap();
    for offline in [Offline::Buffer, Offline::BufferFor(Duration::from_millis(1)), Offline::Fail] {
        let proxy = Proxy::start(server.port());
        let client = by_way_of(&proxy).offline(offline).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        take_offline(&proxy, &mut recorder).await;
        let outlet = client.socket().recipient();
        let other = client.socket().with_offline(Offline::Buffer).recipient();
        for recipient in [outlet, other] {
            let told = within(recipient.send(emit(1))).await.unwrap();
            let fails = offline == Offline::Fail;
            assert_eq!(told, if fails { Err(EmitError::Offline) } else { Ok(()) });
        }
        let arrive = if offline == Offline::Buffer { 2 } else { 0 };
        eventually("the others are gone", || client.socket().unsent() == arrive).await;
        proxy.refuse(false);
        recorder.ready_after_attempts().await;
        echoes(&mut recorder, vec![1; arrive]).await;
        within(client.socket().recipient().send(emit(2))).await.unwrap().unwrap();
        echoes(&mut recorder, [2]).await;
    }
}

/// Emits this many numbers, each when the one before it has been written.
async fn produce(socket: &Socket, numbers: u32) -> Result<(), EmitError> {
    for number in 0..numbers {
        socket.emit("echo", number)?.await?;
        assert_eq!(socket.unsent(), 0);
    }
    Ok(())
}

async fn who_awaits_each_event_needs_room_for_one(server: &Target) {
    let client = server.builder().send_buffer(1, 1_000).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let (produced, ()) = join(within(produce(client.socket(), 500)), async {
        recorder.next_ready().await;
        echoes(&mut recorder, 0..500).await;
    })
    .await;
    assert_eq!(produced, Ok(()));
}

async fn who_awaits_each_event_from_another_thread_needs_room_for_one(server: &Target) {
    let client = server.builder().send_buffer(1, 1_000).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let socket = client.socket().clone();
    let producer = on_a_thread(async move { produce(&socket, 2_000).await });
    recorder.next_ready().await;
    echoes(&mut recorder, 0..2_000).await;
    assert_eq!(finished(producer).await, Ok(()));
}

async fn what_was_taken_back_is_not_sent(server: &Target) {
    let client = server.builder().send_buffer(4, 1_000).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    socket.emit("echo", (1, "one")).unwrap();
    let asked = socket.emit_with_ack::<u32>("number", ()).send();
    socket.emit("echo", ("three", Bytes::from_static(b"\x03"))).unwrap();
    let retried = socket.emit_with_ack::<u32>("none", "four").retries(1).send();
    let Err(EmitError::Full(fifth)) = socket.emit("echo", 5) else { panic!("it is full") };

    let unsent = within(socket.take_unsent()).await.unwrap();
    let shown: Vec<_> = unsent.iter().map(|emit| (emit.name(), emit.payload().to_json())).collect();
    let expected = [
        ("echo", r#"[1,"one"]"#),
        ("number", "[]"),
        ("echo", r#"["three",{"_placeholder":true,"num":0}]"#),
        ("none", r#"["four"]"#),
    ];
    assert_eq!(shown, expected.map(|(name, payload)| (name, payload.to_owned())));
    assert_eq!(unsent[2].payload().attachments(), [Bytes::from_static(b"\x03")]);
    assert_eq!((socket.unsent(), socket.unsent_bytes()), (0, 0));
    let discarded = AckError::NeverSent(EmitError::Discarded);
    assert_eq!(within(asked).await, Err(discarded.clone()));
    assert_eq!(within(retried).await, Err(discarded));
    assert!(within(socket.take_unsent()).await.unwrap().is_empty());

    // The room is free; and what was taken can be sent, in another order.
    socket.send(fifth).unwrap();
    let third = unsent.into_iter().nth(2).unwrap();
    socket.send(third).unwrap();
    recorder.next_ready().await;
    echoes(&mut recorder, [5]).await;
    let third = recorder.next_event("echo").await.args::<(String, Bytes)>().unwrap();
    assert_eq!(third, ("three".to_owned(), Bytes::from_static(b"\x03")));
    assert_eq!(within(socket.emit_with_ack::<u32>("number", ())).await, Ok(7));
    assert!(recorder.rest().is_empty());
    let stats = client.stats();
    assert_eq!((stats.discarded, stats.events_out), (4, 3));
}

fn report(report: ShutdownReport) -> [u64; 4] {
    [report.sent, report.acked, report.unknown, report.dropped]
}

async fn a_shutdown_waits_for_the_answers_that_come(server: &Target) {
    let client = server.connected().await;
    let socket = client.socket();
    // What was before does not count.
    assert_eq!(within(socket.emit_with_ack::<u32>("number", ())).await, Ok(7));
    let key = unique("shutdown");
    for _ in 0..10 {
        socket.emit("count", &key).unwrap();
    }
    let answers: Vec<_> =
        (0..5_u32).map(|n| socket.emit_with_ack::<u32>("later", (50 * n, n)).send()).collect();
    let since = Instant::now();
    let told = within(client.shutdown(HOUR)).await;
    // The timers of Node.js may be early by a millisecond.
    assert!(since.elapsed() >= Duration::from_millis(190));
    assert_eq!(report(told), [15, 5, 0, 0]);
    for (number, answer) in (0..5).zip(answers) {
        assert_eq!(answer.now_or_never(), Some(Ok(number)));
    }
    eventually("all have arrived", || server.counted(&key) == 10).await;
    assert_eq!(report(within(client.shutdown(HOUR)).await), [0; 4]);
}

async fn a_shutdown_counts_what_was_never_sent(server: &Target) {
    let client = server.connected().await;
    let no = client.of("/no").unwrap();
    no.emit("echo", 1).unwrap();
    no.emit("echo", 2).unwrap();
    let asked = within(no.emit_with_ack::<u32>("echo", 3)).await;
    let Err(AckError::NeverSent(EmitError::Closed(Reason::Refused(_)))) = asked else {
        panic!("{asked:?}")
    };
    // These could have been sent if the namespace had been joined again.
    assert_eq!(no.unsent(), 2);
    client.socket().emit("echo", 4).unwrap();
    assert_eq!(report(within(client.shutdown(HOUR)).await), [1, 0, 0, 2]);
    let stats = client.stats();
    assert_eq!((stats.discarded, stats.waiting_out, stats.waiting_out_bytes), (3, 0, 0));
}

/// A thread with a runtime of its own, for this future.
fn on_a_thread<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(within(future))
    })
}

/// Waits for a thread without holding up this one.
async fn finished<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread ends", || thread.is_finished()).await;
    thread.join().unwrap()
}

// Events that are too large.

const LIMIT: usize = 1_000;

/// A server that takes messages of this size.
fn narrow(line: Line, limit: usize) -> node::Server {
    let options = json!({ "maxHttpBufferSize": limit, "allowEIO3": true });
    node::start(line, &Config { options, ..Config::default() })
}

/// A string with which an event `echo` that begins like this is a message of this size.
fn text(size: usize, start: &str) -> String {
    "x".repeat(size - format!(r#"{start}["echo",""]"#).len())
}

fn too_large(size: usize) -> EmitError {
    EmitError::PayloadTooLarge { size: size.try_into().unwrap(), limit: LIMIT.try_into().unwrap() }
}

/// The limit of a websocket is that of its messages. By polling, it is that of a whole request, in which an attachment
/// is base64: `tests/polling.rs` is about that.
fn by_websocket(server: &node::Server) -> ClientBuilder {
    support::builder(server.url()).transports([Transport::WebSocket])
}

#[actix::test]
async fn what_is_as_large_as_the_server_takes_arrives_and_one_byte_more_is_refused() {
    let server = narrow(Line::V4, LIMIT);
    let client = by_websocket(&server).start().unwrap();
    let mut discarded = 0;
    for (namespace, start, question) in [("/", "42", "420"), ("/foo", "42/foo,", "42/foo,0")] {
        let socket = client.of(namespace).unwrap();
        let mut recorder = Recorder::of(&socket);
        recorder.next_ready().await;
        let fits = text(LIMIT, start);
        socket.emit("echo", &fits).unwrap();
        assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), fits);
        for size in [LIMIT + 1, LIMIT + 2, 10 * LIMIT, 1_000 * LIMIT] {
            let refused = socket.emit("echo", text(size, start)).map(drop);
            assert_eq!(refused, Err(too_large(size)));
            let asked = socket.emit_with_ack::<String>("echo", text(size, start));
            let Err(AckError::NeverSent(EmitError::PayloadTooLarge { limit: 1_000, .. })) =
                within(asked).await
            else {
                panic!("{size}")
            };
        }
        let fits = text(LIMIT, question);
        assert_eq!(within(socket.emit_with_ack("echo", &fits)).await, Ok(fits));
        // Its number has a digit, of which the handle knows nothing.
        let asked = socket.emit_with_ack::<String>("echo", text(LIMIT + 1, question));
        assert_eq!(within(asked).await, Err(AckError::NeverSent(too_large(LIMIT + 1))));
        discarded += 1;

        let blob = |size| Bytes::from(vec![7; size]);
        let echoed = within(socket.emit_with_ack("echo", blob(LIMIT))).await;
        assert_eq!(echoed, Ok(blob(LIMIT)));
        let refused = socket.emit("echo", ("small", blob(1), blob(LIMIT + 1))).map(drop);
        assert_eq!(refused, Err(too_large(LIMIT + 1)));
        let asked = socket.emit_with_ack::<Bytes>("echo", blob(LIMIT + 1));
        assert_eq!(within(asked).await, Err(AckError::NeverSent(too_large(LIMIT + 1))));

        assert_eq!(within(socket.emit_with_ack("echo", 1)).await, Ok(1));
        assert_eq!(socket.unsent(), 0);
        assert!(recorder.rest().is_empty(), "the link lives on");
    }
    assert_eq!(client.stats().connects, 1);
    assert_eq!(client.stats().discarded, discarded);
}

/// That is what the limit means: to a server that does not tell it, we send what we want.
/// What socketioxide says is its limit is that of long-polling: over a websocket it takes more. But
/// nothing tells it from a server that means what it says, so the application has to.
#[actix::test]
async fn the_limit_can_be_set_for_a_server_that_means_another_one() {
    let server = every::socketioxide();
    let client = within(server.builder().connect()).await.unwrap();
    let large = "x".repeat(200_000);
    let refused = client.socket().emit("echo", &large).map(drop);
    assert!(
        matches!(refused, Err(EmitError::PayloadTooLarge { limit: 100_000, .. })),
        "{refused:?}"
    );
    let client = within(server.builder().max_payload(1 << 20).connect()).await.unwrap();
    let echoed = within(client.socket().emit_with_ack::<String>("echo", &large)).await;
    assert_eq!(echoed.map(|text| text.len()), Ok(200_000));
    let refused = client.socket().emit("echo", "x".repeat(1 << 20)).map(drop);
    assert!(matches!(refused, Err(EmitError::PayloadTooLarge { limit: 1_048_576, .. })));
}

#[actix::test]
async fn one_byte_more_than_the_server_takes_would_end_the_connection() {
    for (line, start) in [(Line::V4_4_1, "42"), (Line::V4_4_1, "42/foo,")] {
        let server = narrow(line, LIMIT);
        let client = by_websocket(&server).start().unwrap();
        let socket = client.of(if start == "42" { "/" } else { "/foo" }).unwrap();
        let mut recorder = Recorder::of(&socket);
        recorder.next_ready().await;
        socket.emit("echo", text(LIMIT, start)).unwrap();
        recorder.next_event("echo").await;
        socket.emit("echo", text(LIMIT + 1, start)).unwrap();
        assert_eq!(recorder.next_disconnected().await, Reason::TooLargeForServer);
    }
}

/// There, an attachment is a message with one byte before it.
#[actix::test]
async fn an_attachment_is_one_byte_longer_in_the_old_protocol() {
    let server = narrow(Line::V4, LIMIT);
    let builder = by_websocket(&server).protocol(Protocol::Eio3);
    let client = within(builder.connect()).await.unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    let blob = |size| Bytes::from(vec![7; size]);
    let fits = within(socket.emit_with_ack("echo", blob(LIMIT - 1))).await;
    assert_eq!(fits, Ok(blob(LIMIT - 1)));
    let asked = within(socket.emit_with_ack::<Bytes>("echo", blob(LIMIT))).await;
    assert_eq!(asked, Err(AckError::NeverSent(too_large(LIMIT + 1))));
    let fits = text(LIMIT, "42");
    socket.emit("echo", &fits).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), fits);
    assert!(recorder.rest().is_empty(), "the link lives on");
}

#[actix::test]
async fn a_server_that_says_its_limit_is_zero_takes_everything() {
    let server = narrow(Line::V4, 0);
    let client = within(by_websocket(&server).connect()).await.unwrap();
    let long = "x".repeat(2_000_000);
    let echoed = within(client.socket().emit_with_ack::<String>("echo", &long)).await;
    assert_eq!(echoed.map(|text| text.len()), Ok(long.len()));
}

#[actix::test]
async fn what_was_too_large_before_the_limit_was_known_was_never_sent() {
    let server = narrow(Line::V4, LIMIT);
    let client = support::builder(server.url()).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let size = LIMIT + 1;
    let asked = socket.emit_with_ack::<String>("echo", text(size, "420")).send();
    let retried = socket.emit_with_ack::<String>("echo", text(size, "421")).retries(3).send();
    let told = socket.emit("echo", text(size, "42")).unwrap();
    let blob = socket.emit_with_ack::<Bytes>("echo", Bytes::from(vec![7; size])).send();
    socket.emit("echo", 1).unwrap();
    let never = AckError::NeverSent(too_large(size));
    for asked in [asked, retried] {
        assert_eq!(within(asked).await, Err(never.clone()));
    }
    assert_eq!(within(blob).await, Err(never));
    assert_eq!(within(told).await, Err(too_large(size)));
    recorder.next_ready().await;
    echoes(&mut recorder, [1]).await;
    let stats = client.stats();
    assert_eq!((stats.discarded, stats.events_out, stats.connects), (4, 1, 1));
}

#[actix::test]
async fn an_answer_that_is_too_large_is_not_sent_and_the_link_lives_on() {
    let server = narrow(Line::V4, LIMIT);
    let client = support::builder(server.url()).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    socket.emit("ask", ("question", 1)).unwrap();
    let question = recorder.next_event("question").await;
    let error = question.ack("x".repeat(2 * LIMIT)).unwrap_err();
    assert!(matches!(error, AnswerError::PayloadTooLarge { size, limit } if size > limit));
    question.ack("other").unwrap();
    let answered = recorder.next_event("answered").await;
    assert_eq!(answered.args::<String>().unwrap(), "other");
    socket.emit("ask", ("question", 2)).unwrap();
    recorder.next_event("question").await.ack("small").unwrap();
    let answered = recorder.next_event("answered").await;
    assert_eq!(answered.args::<String>().unwrap(), "small");
    let stats = client.stats();
    assert_eq!((stats.discarded, stats.answers_out, stats.connects), (0, 2, 1));
}

// A server that does not read.

/// A client joined to a scripted server, by way of a proxy.
struct Road {
    server: Scripted,
    proxy: Proxy,
    peer: Peer,
    client: Client,
    recorder: Recorder,
}

impl Road {
    async fn new() -> Self {
        let server = Scripted::start();
        let proxy = Proxy::start(server.port());
        // A server that is cut off before it greets, again and again, would be asked for more.
        let builder = by_way_of(&proxy).protocol(Protocol::Eio4);
        let client = builder.send_buffer(10_000, 1 << 30).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        let mut peer = server.accept().await;
        peer.greet().await;
        recorder.next_ready().await;
        Self { server, proxy, peer, client, recorder }
    }

    /// The connection is lost, and another one made, but not greeted yet.
    async fn cut(&mut self) {
        self.proxy.cut();
        self.proxy.resume();
        self.recorder.next_disconnected().await;
        self.peer = self.server.accept().await;
    }

    async fn greet(&mut self) {
        self.peer.greet().await;
        self.recorder.ready_after_attempts().await;
    }
}

/// The size of the attachment of an event `filler`.
const FILLER: usize = 900_000;

/// More events `filler` than there is room for in the sockets between a client and a proxy that
/// does not read.
fn flood() -> u32 {
    let largest = |name: &str| {
        let sizes = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
        sizes.split_whitespace().nth(2)?.parse::<usize>().ok()
    };
    let room: usize =
        ["tcp_wmem", "tcp_rmem"].into_iter().map(|name| largest(name).unwrap_or(8 << 20)).sum();
    u32::try_from(room / FILLER + 5).unwrap()
}

fn filler() -> Bytes {
    Bytes::from(vec![7; FILLER])
}

/// Emits so much that the last of it cannot be written.
fn clog(socket: &Socket) -> u32 {
    let (count, filler) = (flood(), filler());
    for number in 0..count {
        socket.emit("filler", (number, &filler)).unwrap();
    }
    count
}

/// The number in the next event, and the name; attachments are skipped.
async fn next_number(peer: &mut Peer) -> (String, u32) {
    loop {
        match peer.next().await {
            Received::Text(text) => {
                let json = &text[text.find('[').unwrap()..];
                let (name, number) = match serde_json::from_str(json).unwrap() {
                    serde_json::Value::Array(list) => (list[0].clone(), list[1].clone()),
                    other => panic!("{other}"),
                };
                let number = number.as_u64().unwrap().try_into().unwrap();
                return (name.as_str().unwrap().to_owned(), number);
            }
            Received::Binary(data) => assert_eq!(data.len(), FILLER),
            // After a second, the client asks what has been read.
            Received::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn expect_numbers(peer: &mut Peer, name: &str, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_eq!(next_number(peer).await, (name.to_owned(), number));
    }
}

#[actix::test]
async fn on_a_stalled_connection_volatile_events_are_dropped_and_others_wait() {
    let mut road = Road::new().await;
    let socket = road.client.socket();
    let volatile = |number| Emit::new("volatile", number).unwrap().volatile();
    road.proxy.stall();
    let fillers = clog(socket);
    for number in 0..65_u32 {
        socket.emit("plain", number).unwrap();
    }
    assert!(within(socket.take_unsent()).await.unwrap().is_empty(), "it is joined");
    for number in 0..10_u32 {
        socket.send(volatile(number)).unwrap();
    }
    let asked = within(socket.send_with_ack::<u32>(volatile(10))).await;
    assert_eq!(asked, Err(AckError::NeverSent(EmitError::Discarded)));
    socket.emit("plain", 65).unwrap();
    assert_eq!(road.client.stats().discarded, 11);
    assert!(socket.unsent() > 66, "{}", socket.unsent());

    road.proxy.resume();
    expect_numbers(&mut road.peer, "filler", 0..fillers).await;
    expect_numbers(&mut road.peer, "plain", 0..66).await;
    socket.send(volatile(11)).unwrap();
    expect_numbers(&mut road.peer, "volatile", [11]).await;
    assert_eq!(road.client.stats().discarded, 11);
}

#[actix::test]
async fn on_a_stalled_connection_the_last_value_of_each_key_waits() {
    let mut road = Road::new().await;
    let socket = road.client.socket();
    let latest = |name, number| Emit::new(name, number).unwrap().latest(name);
    road.proxy.stall();
    let fillers = clog(socket);
    for number in 0..50_u32 {
        socket.send(latest("a", number)).unwrap();
        socket.send(latest("b", number)).unwrap();
        socket.emit("plain", number).unwrap();
    }
    assert!(within(socket.take_unsent()).await.unwrap().is_empty(), "it is joined");
    eventually("they are replaced", || road.client.stats().replaced == 98).await;
    road.proxy.resume();
    expect_numbers(&mut road.peer, "filler", 0..fillers).await;
    expect_numbers(&mut road.peer, "a", [49]).await;
    expect_numbers(&mut road.peer, "b", [49]).await;
    expect_numbers(&mut road.peer, "plain", 0..50).await;
    socket.send(latest("a", 50)).unwrap();
    expect_numbers(&mut road.peer, "a", [50]).await;
    assert_eq!(road.client.stats().replaced, 98);
    assert_eq!(road.client.stats().discarded, 0);
}

#[actix::test]
async fn producers_are_held_back_by_a_server_that_does_not_read() {
    const PRODUCERS: u32 = 3;
    let mut road = Road::new().await;
    let socket = road.client.socket();
    road.proxy.stall();
    let each = flood() / PRODUCERS + 1;
    let written = Arc::new(AtomicU64::new(0));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let (socket, written) = (socket.clone(), Arc::clone(&written));
            on_a_thread(async move {
                let filler = filler();
                for number in 0..each {
                    let event = socket.emit(&format!("filler {producer}"), (number, &filler));
                    event.unwrap().await.unwrap();
                    assert!(socket.unsent() <= usize::try_from(PRODUCERS).unwrap());
                    written.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    // There is nothing that tells that all which can be written is.
    let (mut last, mut since) = (0, Instant::now());
    eventually("they are held back", || {
        let now = written.load(Ordering::SeqCst);
        if std::mem::replace(&mut last, now) != now {
            since = Instant::now();
        }
        now > 0 && socket.unsent() > 0 && since.elapsed() > Duration::from_millis(300)
    })
    .await;
    let total = u64::from(PRODUCERS * each);
    assert!(written.load(Ordering::SeqCst) < total, "more was written than there is room for");
    assert!(producers.iter().all(|producer| !producer.is_finished()));

    road.proxy.resume();
    let mut next = [0; 3];
    for _ in 0..total {
        let (name, number) = next_number(&mut road.peer).await;
        let producer: usize = name.strip_prefix("filler ").unwrap().parse().unwrap();
        assert_eq!(number, next[producer]);
        next[producer] += 1;
    }
    for producer in producers {
        finished(producer).await;
    }
    assert_eq!(written.load(Ordering::SeqCst), total);
    assert_eq!(socket.unsent(), 0);
}

#[actix::test]
async fn what_was_not_written_goes_into_the_next_session_once_and_in_order() {
    let mut road = Road::new().await;
    road.proxy.stall();
    let socket = road.client.socket().clone();
    let fillers = clog(&socket);
    for number in fillers..fillers + 1_000 {
        socket.emit("filler", number).unwrap();
    }
    let last = within(socket.emit("filler", fillers + 1_000).unwrap());
    eventually("some is written", || road.client.stats().events_out > 0).await;
    road.cut().await;
    let stats = road.client.stats();
    let written = u32::try_from(stats.events_out).unwrap();
    assert!((1..fillers).contains(&written), "{written}");
    assert_eq!(socket.unsent(), usize::try_from(fillers + 1_001 - written).unwrap());
    assert_eq!(stats.waiting_out, socket.unsent());
    road.greet().await;
    expect_numbers(&mut road.peer, "filler", written..=fillers + 1_000).await;
    assert_eq!(last.await, Ok(()));
    socket.emit("end", 0).unwrap();
    expect_numbers(&mut road.peer, "end", [0]).await;
    let stats = road.client.stats();
    assert_eq!(stats.events_out, u64::from(fillers) + 1_002);
    assert_eq!((stats.discarded, stats.waiting_out, stats.connects), (0, 0, 2));
}

// Waiting until an event is written.

#[actix::test]
async fn who_waits_until_an_event_is_written_waits_for_the_next_session() {
    let mut road = Road::new().await;
    road.proxy.stall();
    let socket = road.client.socket().clone();
    clog(&socket);
    let mut before = socket.emit("before", 0).unwrap();
    eventually("some is written", || road.client.stats().events_out > 0).await;
    assert_eq!((&mut before).now_or_never(), None);
    road.cut().await;
    let mut after = socket.emit("after", 0).unwrap();
    let from_a_thread = on_a_thread({
        let socket = socket.clone();
        async move { socket.emit("thread", 0).unwrap().await }
    });
    for _ in 0..3 {
        assert_eq!((&mut before).now_or_never(), None);
        assert_eq!((&mut after).now_or_never(), None);
        assert!(!from_a_thread.is_finished());
        road.cut_before_greeting().await;
    }
    road.greet().await;
    while next_number(&mut road.peer).await.0 != "thread" {}
    assert_eq!(within(before).await, Ok(()));
    assert_eq!(within(after).await, Ok(()));
    assert_eq!(finished(from_a_thread).await, Ok(()));
}

impl Road {
    async fn cut_before_greeting(&mut self) {
        self.recorder.next_reconnecting().await;
        self.proxy.cut();
        self.peer = self.server.accept().await;
    }
}

/// A client whose namespace is not joined as long as the peer does not answer.
async fn waiting(
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Scripted, Peer, Client) {
    let server = Scripted::start();
    let client = configure(support::builder(server.url())).start().unwrap();
    let mut peer = server.accept().await;
    peer.open().await;
    peer.expect_text("40").await;
    (server, peer, client)
}

#[actix::test]
async fn who_waits_for_an_event_that_is_not_sent_hears_of_it() {
    let (_server, _peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let emit = |name| Emit::new(name, ()).unwrap();

    let taken = socket.emit("taken", ()).unwrap();
    assert_eq!(within(socket.take_unsent()).await.unwrap(), [emit("taken")]);
    assert_eq!(within(taken).await, Err(EmitError::Discarded));

    let replaced = socket.send(emit("old").latest("key")).unwrap();
    let latest = socket.send(emit("new").latest("key")).unwrap();
    assert_eq!(within(replaced).await, Err(EmitError::Discarded));
    assert_eq!(within(socket.take_unsent()).await.unwrap(), [emit("new").latest("key")]);
    assert_eq!(within(latest).await, Err(EmitError::Discarded));

    let brief = emit("brief").lifetime(Duration::from_millis(20));
    let expired = socket.send(brief).unwrap();
    assert_eq!(within(expired).await, Err(EmitError::Expired));
    assert_eq!(socket.unsent(), 0);
}

#[actix::test]
async fn who_waits_for_an_event_that_is_dropped_at_once_hears_of_it() {
    let (_server, _peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let volatile = Emit::new("volatile", ()).unwrap().volatile();
    let dropped = within(socket.send(volatile.clone()).unwrap()).await;
    assert_eq!(dropped, Err(EmitError::Offline));
    // Nor is what waits before it of any help.
    let waits = socket.emit("waits", ()).unwrap();
    let dropped = within(socket.send(volatile).unwrap()).await;
    assert_eq!(dropped, Err(EmitError::Offline));
    assert_eq!(waits.now_or_never(), None);
    assert_eq!(socket.unsent(), 1);
}

#[actix::test]
async fn who_waits_until_an_event_is_written_hears_when_its_namespace_ends() {
    let closed = |reason| Err(EmitError::Closed(reason));
    let (_server, peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let mut early = socket.emit("early", ()).unwrap();
    let late = socket.emit("late", ()).unwrap();
    assert_eq!((&mut early).now_or_never(), None);
    peer.send_text(r#"44{"message":"no"}"#).await;
    let refused = within(early).await;
    assert!(matches!(refused, Err(EmitError::Closed(Reason::Refused(_)))), "{refused:?}");
    assert_eq!(within(late).await, refused);
    assert_eq!(socket.unsent(), 2, "they wait for somebody to join it again");

    let (_server, _peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let waits = socket.emit("waits", ()).unwrap();
    socket.disconnect();
    assert_eq!(within(waits).await, closed(Reason::ClientDisconnect));

    let (_server, _peer, client) = waiting(|builder| builder).await;
    let waits = client.socket().emit("waits", ()).unwrap();
    let from_a_thread = on_a_thread({
        let socket = client.socket().clone();
        async move { socket.emit("thread", ()).unwrap().await }
    });
    eventually("it waits as well", || client.socket().unsent() == 2).await;
    within(client.shutdown(Duration::from_millis(10))).await;
    assert_eq!(within(waits).await, closed(Reason::Shutdown));
    assert_eq!(finished(from_a_thread).await, closed(Reason::Shutdown));
}

#[actix::test]
async fn who_waits_for_an_event_is_told_the_truth_when_its_namespace_is_joined_again() {
    let (_server, mut peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let written = socket.emit("last", 1).unwrap();
    // It has been woken, and looks when that is no longer true.
    for _ in 0..2 {
        socket.disconnect();
        socket.connect();
    }
    peer.send_text(r#"40{"sid":"x"}"#).await;
    assert_eq!(within(written).await, Ok(()));
    expect_numbers(&mut peer, "last", [1]).await;
}

#[actix::test]
async fn who_keeps_what_an_emit_gave_hears_of_it_when_all_handles_are_gone() {
    let (_server, mut peer, client) = waiting(|builder| builder).await;
    let kept = [1, 2].map(|number| client.socket().clone().emit("kept", number).unwrap());
    drop(client);
    peer.send_text(r#"40{"sid":"x"}"#).await;
    assert_eq!(within(join_all(kept)).await, [Ok(()), Ok(())]);
    expect_numbers(&mut peer, "kept", [1, 2]).await;
}

/// Each is told on a thread that looks at the namespace while that is still ending.
#[actix::test]
async fn whoever_waits_on_another_thread_hears_of_the_end() {
    for _ in 0..20 {
        let (_server, peer, client) = waiting(|builder| builder).await;
        let socket = client.socket().clone();
        let many = on_a_thread(async move {
            let waits = (0..200).map(|n| socket.emit("n", n).unwrap());
            join_all(waits.collect::<Vec<_>>()).await
        });
        eventually("all wait", || client.socket().unsent() == 200).await;
        peer.send_text(r#"44{"message":"no"}"#).await;
        for outcome in finished(many).await {
            assert!(matches!(outcome, Err(EmitError::Closed(Reason::Refused(_)))), "{outcome:?}");
        }
    }
}

#[actix::test]
async fn who_waits_for_an_event_of_the_connection_before_hears_when_it_is_written() {
    let (server, peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let written = socket.emit("last", 1).unwrap();
    peer.cut().await;
    let mut recorder = Recorder::of(socket);
    recorder.next_connect_error().await;
    socket.connect();
    let mut peer = server.accept().await;
    peer.greet().await;
    assert_eq!(within(written).await, Ok(()), "it was stranded, and is not any more");
    expect_numbers(&mut peer, "last", [1]).await;
}

#[actix::test]
async fn what_was_emitted_before_a_disconnect_is_written() {
    let (_server, peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    let mut peer = peer;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    within(socket.ready()).await.unwrap();
    let written = socket.emit("last", 1).unwrap();
    socket.disconnect();
    assert_eq!(within(written).await, Ok(()));
    expect_numbers(&mut peer, "last", [1]).await;
}

#[actix::test]
async fn who_does_not_wait_any_more_does_no_harm() {
    let (_server, mut peer, client) = waiting(|builder| builder).await;
    let socket = client.socket();
    for number in 0..100 {
        let mut written = socket.emit("n", number).unwrap();
        if number % 2 == 0 {
            assert_eq!((&mut written).now_or_never(), None);
        }
    }
    let last = socket.emit("n", 100).unwrap();
    peer.send_text(r#"40{"sid":"x"}"#).await;
    assert_eq!(within(last).await, Ok(()));
    expect_numbers(&mut peer, "n", 0..=100).await;
    assert_eq!(socket.unsent(), 0);
}

/// It emits, and waits, at the very moment at which the connection is lost.
#[actix::test]
async fn what_was_reported_as_written_is_not_written_to_the_next_session() {
    let server = Scripted::start();
    let policy = quick().limiter(DialLimiter::unlimited());
    let client = support::client(server.url()).reconnect(policy).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let mut peer = server.accept().await;
    peer.greet().await;
    recorder.next_ready().await;
    let (socket, written) = (client.socket().clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&written);
    actix::spawn(async move {
        for number in 0_u32.. {
            if socket.emit("n", number).unwrap().await != Ok(()) {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..500 {
        // Whatever is on the way when it happens.
        next_number(&mut peer).await;
        peer.cut().await;
        recorder.next_disconnected().await;
        peer = server.accept().await;
        peer.open().await;
        peer.expect_text("40").await;
        let written = written.load(Ordering::SeqCst);
        peer.send_text(r#"40{"sid":"x"}"#).await;
        recorder.ready_after_attempts().await;
        let (_, first) = next_number(&mut peer).await;
        assert!(u64::from(first) >= written, "{first} was reported as written: {written}");
    }
    client.socket().disconnect();
}

// Counters.

/// A peer whose bytes are counted.
struct Counted {
    peer: Peer,
    sent: u64,
    got: u64,
}

impl Counted {
    /// Opens the session, and lets the client join "/" when it has asked for these namespaces.
    async fn greet(peer: Peer, namespaces: &[&str]) -> Self {
        let mut counted = Self { peer, sent: 0, got: 0 };
        let intervals = r#""pingInterval":25000,"pingTimeout":20000"#;
        let open = format!(r#"0{{"sid":"s","upgrades":[],{intervals},"maxPayload":1000000}}"#);
        counted.send(&open).await;
        // They ask in no order.
        let mut missing = namespaces.to_vec();
        while !missing.is_empty() {
            let Received::Text(text) = counted.peer.next().await else { panic!("no text") };
            counted.got += u64::try_from(text.len()).unwrap();
            missing.remove(missing.iter().position(|request| *request == text).unwrap());
        }
        counted.send(r#"40{"sid":"id"}"#).await;
        counted
    }

    async fn send(&mut self, text: &str) {
        assert!(self.peer.send_text(text).await);
        self.sent += u64::try_from(text.len()).unwrap();
    }

    async fn expect(&mut self, text: &str) {
        self.peer.expect_text(text).await;
        self.got += u64::try_from(text.len()).unwrap();
    }
}

/// The counters, when they are so; from another thread.
async fn stats_when(client: &Client, what: &str, check: impl Fn(&Stats) -> bool) -> Stats {
    let mut stats = client.stats();
    eventually(what, || {
        let client = client.clone();
        stats = thread::spawn(move || client.stats()).join().unwrap();
        check(&stats)
    })
    .await;
    stats
}

#[actix::test]
async fn everything_is_counted() {
    let server = Scripted::start();
    server.refuse_next(503, "later");
    let client = support::client(server.url()).reconnect(quick()).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    let emit = |name| Emit::new(name, ()).unwrap();
    let brief = Duration::from_millis(20);

    // Nobody is there.
    socket.send(emit("volatile").volatile()).unwrap();
    socket.send(emit("old").latest("key")).unwrap();
    socket.send(emit("older").latest("key")).unwrap();
    socket.send(emit("new").latest("key")).unwrap();
    let expired = within(socket.send_with_ack::<u8>(emit("brief").lifetime(brief))).await;
    assert_eq!(expired, Err(AckError::NeverSent(EmitError::Expired)));
    socket.emit("plain", 1).unwrap();
    let mut first = Counted::greet(server.accept().await, &["40"]).await;
    recorder.ready_after_attempts().await;
    first.expect(r#"42["new"]"#).await;
    first.expect(r#"42["plain",1]"#).await;

    // Questions: one is answered, one is not in time, and one not before the end.
    let answered = socket.emit_with_ack::<u8>("a", ()).send();
    first.expect(r#"421["a"]"#).await;
    first.send("431[7]").await;
    assert_eq!(within(answered).await, Ok(7));
    let late = within(socket.emit_with_ack::<u8>("b", ()).timeout(brief)).await;
    assert_eq!(late, Err(AckError::TimedOut));
    first.expect(r#"422["b"]"#).await;
    first.send("432[7]").await;
    first.send("431[8]").await;
    let retried = socket.emit_with_ack::<u8>("c", ()).timeout(brief).retries(1).send();
    first.expect(r#"423["c"]"#).await;
    first.expect(r#"423["c"]"#).await;
    assert_eq!(within(retried).await, Err(AckError::TimedOut));
    let open = socket.emit_with_ack::<u8>("d", ()).send();
    first.expect(r#"424["d"]"#).await;

    // And the server's.
    first.send(r#"42["x"]"#).await;
    recorder.next_event("x").await;
    first.send(r#"425["y"]"#).await;
    recorder.next_event("y").await.ack("yes").unwrap();
    first.expect(r#"435["yes"]"#).await;
    first.send("2").await;
    first.expect("3").await;
    assert!(first.peer.close(Some(1001)).await);
    assert_eq!(recorder.next_disconnected().await, Reason::ServerShutdown);
    assert_eq!(within(open).await, Err(AckError::Disconnected(Reason::ServerShutdown)));

    // While it is away.
    socket.emit("waits", ()).unwrap();
    client.of("/foo").unwrap().emit("waits", (1, Bytes::from_static(b"abc"))).unwrap();
    let size = r#"["waits"]"#.len();
    let foo_size = r#"["waits",1,{"_placeholder":true,"num":0}]"#.len() + 3;
    assert_eq!((socket.unsent(), socket.unsent_bytes()), (1, size));
    let stats = stats_when(&client, "away", |stats| stats.attempts == 2).await;
    assert_eq!((stats.waiting_out, stats.waiting_out_bytes), (2, size + foo_size));

    let mut second = Counted::greet(server.accept().await, &["40", "40/foo,"]).await;
    recorder.ready_after_attempts().await;
    second.expect(r#"42["waits"]"#).await;
    let stats = stats_when(&client, "the last is written", |stats| {
        stats.waiting_out == 1 && stats.bytes_out == first.got + second.got
    })
    .await;
    assert_eq!(stats.connects, 2);
    assert_eq!(stats.attempts, 2);
    assert_eq!(
        stats.endings.into_iter().collect::<Vec<_>>(),
        [("connect", 1), ("server_shutdown", 1)]
    );
    assert_eq!(stats.bytes_in, first.sent + second.sent);
    assert_eq!(stats.bytes_out, first.got + second.got);
    assert_eq!(stats.events_in, 2);
    assert_eq!(stats.events_out, 8);
    assert_eq!(stats.answers_out, 1);
    assert_eq!(stats.acked, 1);
    assert_eq!(stats.round_trips.count(), 1);
    assert_eq!(stats.unknown, 3);
    assert_eq!(stats.late_answers, 2);
    assert_eq!(stats.resent, 1);
    assert_eq!(stats.discarded, 2);
    assert_eq!(stats.replaced, 2);
    assert_eq!((stats.repeated, stats.missed), (0, 0));
    assert_eq!((stats.waiting_out, stats.waiting_out_bytes), (1, foo_size));
    assert_eq!((stats.waiting_in, stats.waiting_in_bytes), (0, 0));
}

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Handler<Event> for Idle {
    type Result = ();

    fn handle(&mut self, _: Event, _: &mut Self::Context) {}
}

#[actix::test]
async fn what_waits_for_a_subscriber_is_counted() {
    // As many as a mailbox takes, and one more.
    const TAKEN: usize = 17;
    let (_server, peer, client) = waiting(|builder| builder).await;
    let arbiter = Arbiter::new();
    client.socket().subscribe_to::<Event>(Idle::start_in_arbiter(&arbiter.handle(), |_| Idle));
    let (go, held) = std::sync::mpsc::channel::<()>();
    let (holds, is_held) = oneshot::channel();
    arbiter.spawn_fn(move || {
        holds.send(()).unwrap();
        held.recv().ok();
    });
    within(is_held).await.unwrap();
    for number in 100..200 {
        peer.send_text(format!(r#"42["n",{number}]"#)).await;
    }
    let size = r#"["n",100]"#.len();
    let waiting = 100 - TAKEN;
    let stats = stats_when(&client, "they wait", |stats| stats.waiting_in == waiting).await;
    assert_eq!((stats.waiting_in_bytes, stats.events_in), (waiting * size, 100));
    drop(go);
    let stats = stats_when(&client, "they are taken", |stats| stats.waiting_in == 0).await;
    assert_eq!((stats.waiting_in_bytes, stats.missed), (0, 0));
    arbiter.stop();
}

// The end.

/// Answers what a client sends until it leaves: pings, and the close.
async fn say_goodbye(peer: &mut Peer) {
    loop {
        match peer.next().await {
            Received::Ping(data) => {
                peer.pong(data).await;
            }
            Received::Close(_) => {
                peer.close(None).await;
                return;
            }
            Received::Gone => return,
            _ => {}
        }
    }
}

#[actix::test]
async fn a_shutdown_waits_for_an_answer_and_then_leaves() {
    let (_server, mut peer, client) = waiting(|builder| builder).await;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    within(client.socket().ready()).await.unwrap();
    let answer = client.socket().emit_with_ack::<u8>("q", ()).send();
    let mut shutdown = Box::pin(client.shutdown(HOUR));
    assert_eq!((&mut shutdown).now_or_never(), None);
    peer.expect_text(r#"420["q"]"#).await;
    // It does not even begin to leave.
    assert_eq!(peer.next_within(Duration::from_millis(200)).await, None);
    assert_eq!((&mut shutdown).now_or_never(), None);
    peer.send_text("430[7]").await;
    let Received::Ping(data) = peer.next().await else { panic!("no ping") };
    peer.pong(data).await;
    peer.expect_text("41").await;
    say_goodbye(&mut peer).await;
    assert_eq!(report(within(shutdown).await), [1, 1, 0, 0]);
    assert_eq!(within(answer).await, Ok(7));
}

#[actix::test]
async fn a_shutdown_does_not_wait_longer_than_it_may_for_an_answer() {
    let deadline = Duration::from_millis(300);
    let (_server, mut peer, client) = waiting(|builder| builder).await;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    within(client.socket().ready()).await.unwrap();
    let late = client.of("/late").unwrap();
    peer.expect_text("40/late,").await;
    client.socket().emit("told", ()).unwrap();
    let asked = client.socket().emit_with_ack::<u8>("q", ()).send();
    let retried = client.socket().emit_with_ack::<u8>("r", ()).retries(9).send();
    let second = client.socket().emit_with_ack::<u8>("s", ()).retries(9).send();
    late.emit("late", ()).unwrap();
    let unsent = late.emit_with_ack::<u8>("late", ()).send();
    let since = Instant::now();
    let (told, ()) = join(within(client.shutdown(deadline)), async {
        peer.expect_text(r#"42["told"]"#).await;
        peer.expect_text(r#"420["q"]"#).await;
        peer.expect_text(r#"421["r"]"#).await;
        say_goodbye(&mut peer).await;
    })
    .await;
    assert!(since.elapsed() >= deadline);
    assert_eq!(report(told), [3, 0, 2, 3]);
    let unknown = AckError::Disconnected(Reason::Shutdown);
    assert_eq!(within(asked).await, Err(unknown.clone()));
    assert_eq!(within(retried).await, Err(unknown));
    let never = AckError::NeverSent(EmitError::Closed(Reason::Shutdown));
    assert_eq!(within(second).await, Err(never.clone()));
    assert_eq!(within(unsent).await, Err(never));
}

#[actix::test]
async fn a_shutdown_says_what_a_stalled_connection_did_not_take() {
    let road = Road::new().await;
    road.proxy.stall();
    let socket = road.client.socket();
    let fillers = u64::from(clog(socket));
    let asked = socket.emit_with_ack::<u8>("asked", ()).send();
    let told = report(within(road.client.shutdown(Duration::from_millis(500))).await);
    let [sent, 0, 0, dropped] = told else { panic!("{told:?}") };
    assert_eq!(sent + dropped, fillers + 1, "{told:?}");
    assert!(sent > 0 && dropped > 1, "{told:?}");
    let never = AckError::NeverSent(EmitError::Closed(Reason::Shutdown));
    assert_eq!(within(asked).await, Err(never));
    assert_eq!((socket.unsent(), socket.unsent_bytes()), (0, 0));
}

#[actix::test]
async fn of_two_shutdowns_at_once_the_shorter_deadline_counts() {
    let deadline = Duration::from_millis(300);
    for swapped in [false, true] {
        let (_server, peer, client) = waiting(|builder| builder).await;
        peer.send_text(r#"40{"sid":"x"}"#).await;
        within(client.socket().ready()).await.unwrap();
        let asked = client.socket().emit_with_ack::<u8>("q", ()).send();
        let since = Instant::now();
        let (first, second) = if swapped { (deadline, HOUR) } else { (HOUR, deadline) };
        let other = client.clone();
        // The longer one is there before the shorter one begins, or it could come after the end.
        let (begin, is_begun) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        let from_a_thread = on_a_thread(async move {
            if !swapped {
                may_go.await.unwrap();
            }
            let mut shutdown = Box::pin(other.shutdown(second));
            assert_eq!((&mut shutdown).now_or_never(), None);
            begin.send(()).unwrap();
            shutdown.await
        });
        if swapped {
            within(is_begun).await.unwrap();
        }
        let mut shutdown = Box::pin(client.shutdown(first));
        assert_eq!((&mut shutdown).now_or_never(), None);
        go.send(()).ok();
        let told = within(shutdown).await;
        assert!(since.elapsed() >= deadline);
        // What is sent before a call is not in its report.
        assert!(swapped || told.sent == 1, "{told:?}");
        for told in [told, finished(from_a_thread).await] {
            assert_eq!((told.acked, told.unknown, told.dropped), (0, 1, 0));
        }
        let unknown = AckError::Disconnected(Reason::Shutdown);
        assert_eq!(within(asked).await, Err(unknown));
        assert_eq!(report(within(client.shutdown(HOUR)).await), [0; 4]);
    }
}

#[actix::test]
async fn a_system_that_stops_without_a_shutdown_neither_hangs_nor_leaks() {
    let server = Scripted::start();
    let url = server.url();
    let (give, given) = oneshot::channel();
    let (go, stop) = oneshot::channel::<()>();
    let system = thread::spawn(move || {
        let system = System::new();
        system.block_on(async move {
            let client = support::builder(url).start().unwrap();
            let foo = client.of("/foo").unwrap();
            let recorder = Recorder::of(&foo);
            within(client.socket().ready()).await.unwrap();
            let asked = client.socket().emit_with_ack::<u8>("q", ()).send();
            let written = foo.emit("waits", Bytes::from(vec![7; 1_000])).unwrap();
            let mut ready = foo.ready();
            assert!((&mut ready).now_or_never().is_none());
            assert!(give.send((client, foo, recorder, asked, written, ready)).is_ok());
            stop.await.unwrap();
            System::current().stop();
        });
        system.run().unwrap();
    });
    let mut peer = server.accept().await;
    peer.open().await;
    while peer.next().await != Received::Text("40".to_owned()) {}
    peer.send_text(r#"40{"sid":"x"}"#).await;
    let (client, foo, mut recorder, asked, written, ready) = within(given).await.unwrap();
    while peer.next().await != Received::Text(r#"420["q"]"#.to_owned()) {}
    assert_eq!((foo.unsent(), client.socket().unsent()), (1, 0));
    go.send(()).unwrap();
    finished(system).await;

    while peer.next().await != Received::Gone {}
    assert_eq!(within(asked).await, Err(AckError::Disconnected(Reason::Shutdown)));
    assert_eq!(within(written).await, Err(EmitError::Closed(Reason::Shutdown)));
    assert!(within(ready).await.is_err());
    // The subscriber went with its arbiter, and its end of the channel with it.
    recorder.over().await;
    assert_eq!((foo.unsent(), foo.unsent_bytes()), (0, 0));
    let closed = Err(EmitError::Closed(Reason::Shutdown));
    for socket in [client.socket(), &foo] {
        assert_eq!(socket.state(), SocketState::Ended(Reason::Shutdown));
        assert_eq!(socket.emit("late", ()).map(drop), closed);
        assert!(within(socket.take_unsent()).await.unwrap().is_empty());
    }
    assert_eq!(report(within(client.shutdown(HOUR)).await), [0; 4]);
}

// What ends a connection each time that it is sent.

/// A server that says nothing of what it takes ends the connection over such an event.
async fn an_event_that_is_always_lost_is_given_up(line: Line) {
    let server = node::start(line, &Config::default());
    let client = support::client(server.url()).reconnect(quick()).retry_window(4).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    let size = 5_000_000;
    let first = socket.emit_with_ack::<String>("echo", "first").retries(3).send();
    let large = socket.emit_with_ack::<()>("silent", "x".repeat(size)).retries(3).send();
    let last = socket.emit_with_ack::<String>("echo", "last").retries(3).send();
    let Err(AckError::Unsendable(event)) = within(large).await else { panic!("it is sent") };
    assert_eq!((&*event.event, event.attachments), ("silent", 0));
    assert!(event.size > size, "{event:?}");
    for (answer, expected) in [(first, "first"), (last, "last")] {
        assert_eq!(within(answer).await, Ok(expected.to_owned()));
    }
    let reason = recorder.next_disconnected().await;
    assert!(reason.to_string().contains("1000000 bytes"), "{reason}");
    assert_eq!(client.stats().connects, 3);
}

#[actix::test]
async fn an_event_that_3_1_2_always_drops_is_given_up() {
    an_event_that_is_always_lost_is_given_up(Line::V3_1_2).await;
}

#[actix::test]
async fn an_event_that_4_0_2_always_drops_is_given_up() {
    an_event_that_is_always_lost_is_given_up(Line::V4_0_2).await;
}

#[actix::test]
async fn an_event_with_more_attachments_than_official_servers_take_is_refused() {
    let attachments: Vec<Bytes> = vec![Bytes::from_static(b"x"); 11];
    let server = node::server(Line::V4);
    let client = support::builder(server.url()).connect().await.unwrap();
    let refused = client.socket().emit("echo", (&attachments,)).unwrap_err();
    assert_eq!(refused, EmitError::TooManyAttachments { count: 11, limit: 10 });
    let asked = client.socket().emit_with_ack::<()>("echo", (&attachments,));
    assert_eq!(within(asked).await, Err(AckError::NeverSent(refused)));
    let echoed = within(client.socket().emit_with_ack("echo", (&attachments[..10],))).await;
    assert_eq!(echoed.map(|echoed: (Vec<Bytes>,)| echoed.0.len()), Ok(10));

    // If the application sets a larger limit than the server has, the error shows that.
    let builder = support::client(server.url()).reconnect(quick()).max_attachments(11);
    let client = builder.start().unwrap();
    let asked = client.socket().emit_with_ack::<()>("echo", (attachments,)).retries(3);
    let Err(AckError::Unsendable(event)) = within(asked).await else { panic!("it is taken") };
    assert_eq!(event.attachments, 11);
    assert_eq!(client.stats().connects, 2);
}

#[actix::test]
async fn what_is_emitted_in_the_handler_of_an_early_event_is_sent_when_the_namespace_is_joined() {
    let server = Scripted::start();
    let builder = support::builder(server.url()).protocol(Protocol::Eio4);
    let client = builder.offline(Offline::Fail).start().unwrap();
    let socket = client.socket().clone();
    assert_eq!(socket.emit("a", ()).map(drop), Err(EmitError::Offline));
    let (sender, outcome) = oneshot::channel();
    let mut sender = Some(sender);
    client.socket().listen("hello").call(move |event| {
        let answered = event.ack("yes");
        let outcome = (answered, socket.state().is_joined(), socket.emit("b", ()).map(drop));
        sender.take().map(|sender| sender.send(outcome));
    });
    let mut peer = server.accept().await;
    peer.open().await;
    peer.expect_text("40").await;
    peer.send_text(r#"421["hello"]"#).await;
    assert_eq!(within(outcome).await.unwrap(), (Ok(()), false, Ok(())));
    peer.send_text(r#"40{"sid":"id"}"#).await;
    peer.expect_text(r#"431["yes"]"#).await;
    peer.expect_text(r#"42["b"]"#).await;
}
