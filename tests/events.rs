//! Events in both directions: what they carry, in which order, and to whom.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use actix::{
    Actor, ActorContext, Addr, Arbiter, AtomicResponse, Context, Handler, Recipient, WrapFuture,
};
use actix_socketio::{
    AckError, Disconnected, Emit, EmitError, Event, Lagged, NamedEvent, Ready, Reason, Socket,
    SocketState,
    middleware::{Flow, outgoing},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{
    eventually,
    every::{self, Target, on_every_server, on_every_server_in_both_parsers, within},
    logged,
    node::{self, Config, Line},
    recorder::{Fact, Recorder},
    scripted,
    scripted::Scripted,
};
use tokio::sync::{Semaphore, mpsc};

on_every_server!(
    what_is_emitted_before_ready_arrives_in_order,
    an_event_without_arguments_has_none_both_ways,
    several_arguments_keep_their_kinds_and_places,
    text_beyond_ascii_survives_as_argument_key_and_name,
    binary_arrives_nested_and_between_text,
    binary_sent_deep_in_a_struct_comes_back_as_bytes,
    a_large_event_arrives_whole,
    a_hundred_thousand_events_reach_an_actor_with_a_default_mailbox,
    a_hundred_thousand_events_reach_an_actor_on_another_arbiter,
    a_subscriber_with_an_async_handler_gets_everything,
    a_subscriber_that_is_stuck_for_a_while_gets_everything,
    two_subscribers_each_get_everything,
    a_subscriber_that_stopped_does_not_hurt_the_others,
    a_subscriber_that_dies_full_does_not_hurt_the_others,
    a_late_subscriber_gets_ready_at_once,
    events_that_nobody_heard_are_kept_for_the_first_subscriber,
    an_actor_emits_through_a_recipient,
    a_full_buffer_hands_the_event_back_and_has_room_again_later,
    emitting_after_disconnect_is_an_error_at_once,
    emitting_after_shutdown_is_an_error_at_once,
);

on_every_server_in_both_parsers!(events_named_like_a_life_cycle_are_ordinary_events);

/// Nobody may emit these, but servers may send them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

fn json_of(event: &Event) -> String {
    event.payload().to_json()
}

async fn what_is_emitted_before_ready_arrives_in_order(server: &Target) {
    let client = server.client();
    for number in 0..50 {
        client.socket().emit("echo", number).unwrap();
    }
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    for number in 0..50 {
        assert_eq!(recorder.next_event("echo").await.args::<u32>().unwrap(), number);
    }
}

async fn an_event_without_arguments_has_none_both_ways(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    client.socket().emit("noargs", ()).unwrap();
    let event = recorder.next_event("noargs").await;
    assert_eq!(json_of(&event), "[]");
    event.args::<()>().unwrap();
    assert_eq!(event.args::<Option<String>>().unwrap(), None);
    assert!(!event.wants_ack());

    client.socket().emit("echo", ()).unwrap();
    assert_eq!(json_of(&recorder.next_event("echo").await), "[]");
}

async fn several_arguments_keep_their_kinds_and_places(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let sent = (1, None::<u8>, false, "two", [0.5, -4.0], json!({ "k": null, "l": [true, {}] }));
    client.socket().emit("echo", sent).unwrap();
    let event = recorder.next_event("echo").await;
    let (one, null, no, two, list, map) =
        event.args::<(u8, Option<u8>, bool, String, [f64; 2], serde_json::Value)>().unwrap();
    assert_eq!((one, null, no, two.as_str()), (1, None, false, "two"));
    assert_eq!((list, map), ([0.5, -4.0], json!({ "k": null, "l": [true, {}] })));

    // One argument, and it is what a careless client takes for none.
    // (`Value::Null` says the same as `()` to serde, so null is asked for with its place.)
    client.socket().emit("echo", (json!(null),)).unwrap();
    assert_eq!(json_of(&recorder.next_event("echo").await), "[null]");
    for lonely in [json!(false), json!(0), json!(""), json!([]), json!({})] {
        client.socket().emit("echo", &lonely).unwrap();
        assert_eq!(json_of(&recorder.next_event("echo").await), format!("[{lonely}]"));
    }
}

async fn text_beyond_ascii_survives_as_argument_key_and_name(server: &Target) {
    const NAME: &str = "žluť😀\u{2028},[1]";
    let (client, mut recorder) = Recorder::joined(server).await;
    let mut text = "Čeština, 日本語, עברית, 👩‍👩‍👧 \u{2028}\u{2029} \u{fffd} /".to_owned();
    // socketioxide cannot read a key with an escape in it.
    if !server.is_oxide() {
        text.push_str("\u{0}\"\\\n");
    }
    client.socket().emit("say", (NAME, &text, json!({ &text: 1 }))).unwrap();
    let event = recorder.next_event(NAME).await;
    let (argument, keyed) = event.args::<(String, serde_json::Value)>().unwrap();
    assert_eq!((&argument, keyed), (&text, json!({ &text: 1 })));
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Nested {
    id: u32,
    body: Bytes,
    tail: String,
}

async fn binary_arrives_nested_and_between_text(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    for event in ["nested", "bintext", "twobufs"] {
        client.socket().emit(event, ()).unwrap();
    }
    let nested = recorder.next_event("nested").await.args::<Nested>().unwrap();
    assert_eq!(
        nested,
        Nested { id: 42, body: Bytes::from_static(&[1, 2, 3]), tail: "text".to_owned() }
    );
    let (before, binary, after) =
        recorder.next_event("bintext").await.args::<(String, Bytes, String)>().unwrap();
    assert_eq!((before.as_str(), &binary[..], after.as_str()), ("extra", &[4, 5][..], "after"));
    let (first, second) = recorder.next_event("twobufs").await.args::<(Bytes, Bytes)>().unwrap();
    assert_eq!((&first[..], &second[..]), (&[1][..], &[2, 3][..]));
}

async fn binary_sent_deep_in_a_struct_comes_back_as_bytes(server: &Target) {
    #[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
    struct Album {
        title: String,
        cover: Option<Bytes>,
        shots: Vec<Nested>,
    }
    let (client, mut recorder) = Recorder::joined(server).await;
    let shot = |id: u8| Nested {
        id: id.into(),
        body: Bytes::from(vec![id; usize::from(id) * 1000]),
        tail: format!("shot {id}"),
    };
    let album = Album {
        title: "flight".to_owned(),
        cover: Some(Bytes::from_static(b"\x00\xFF")),
        shots: vec![shot(1), shot(2), shot(3)],
    };
    client.socket().emit("echo", ("before", &album, 7)).unwrap();
    let event = recorder.next_event("echo").await;
    let (before, back, seven) = event.args::<(String, Album, u8)>().unwrap();
    assert_eq!((before.as_str(), back, seven), ("before", album, 7));
    assert_eq!(event.payload().attachments().len(), 4);
}

async fn a_large_event_arrives_whole(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    // Just below what the current servers take; socketioxide has 100 kB as its default.
    let size = if server.is_oxide() { 90_000 } else { 900_000 };
    // Base64 makes four bytes of three.
    let size = if support::begins_with_polling() { size / 2 } else { size };
    let text = "é".repeat(size / 2);
    client.socket().emit("echo", &text).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), text);
    let binary = Bytes::from(vec![0xA5; size]);
    client.socket().emit("echo", &binary).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<Bytes>().unwrap(), binary);
}

async fn events_named_like_a_life_cycle_are_ordinary_events(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    client.socket().emit("lifecycle", ()).unwrap();
    let mut heard = Vec::new();
    let sent = loop {
        match recorder.next().await {
            Fact::Event(event) if event.name() == "lifecycle_done" => {
                break event.args::<Vec<String>>().unwrap();
            }
            Fact::Event(event) => {
                assert_eq!(event.args::<String>().unwrap(), "x");
                heard.push(event.name().to_owned());
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(heard, sent);
    // A server 2.x keeps "error" to itself.
    let expected: &[&str] = if server.is_old() {
        &["close", "open", "message"]
    } else {
        &["close", "error", "open", "message"]
    };
    assert_eq!(heard, [expected, &RESERVED].concat());

    for name in ["close", "open", "message", "ping", "pong", "reconnect"] {
        client.socket().emit(name, "x").unwrap();
    }
    client.socket().emit("echo", "alive").unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "alive");
}

async fn a_hundred_thousand_events_reach_an_actor_with_a_default_mailbox(server: &Target) {
    let server = server.patient();
    let (client, mut recorder) = Recorder::joined(&server).await;
    client.socket().emit("burst", 100_000).unwrap();
    recorder.burst(100_000).await;
}

async fn a_hundred_thousand_events_reach_an_actor_on_another_arbiter(server: &Target) {
    let server = server.patient();
    let arbiter = Arbiter::new();
    let client = server.client();
    let mut recorder = Recorder::on(&arbiter.handle(), client.socket());
    recorder.next_ready().await;
    client.socket().emit("burst", 100_000).unwrap();
    recorder.burst(100_000).await;
    arbiter.stop();
}

/// Takes its next message only when there is a permit, and tells the test of each.
struct Slow {
    permits: Arc<Semaphore>,
    heard: mpsc::UnboundedSender<u64>,
    /// What it missed, by its own account.
    missed: Arc<AtomicU64>,
}

impl Actor for Slow {
    type Context = Context<Self>;
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

impl Handler<Event> for Slow {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, event: Event, _: &mut Self::Context) -> Self::Result {
        let (permits, heard) = (Arc::clone(&self.permits), self.heard.clone());
        let work = async move {
            tokio::task::yield_now().await;
            permits.acquire().await.unwrap().forget();
            if event.name() == "n" {
                heard.send(event.args().unwrap()).ok();
            }
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

impl Handler<Lagged> for Slow {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, _: &mut Self::Context) {
        self.missed.fetch_add(lagged.missed(), Ordering::Relaxed);
    }
}

impl Slow {
    fn of(socket: &Socket, permits: usize) -> (Arc<Semaphore>, mpsc::UnboundedReceiver<u64>) {
        let (permits, numbers, _) = Self::that_counts(socket, permits);
        (permits, numbers)
    }

    /// With the count of what it missed.
    fn that_counts(
        socket: &Socket,
        permits: usize,
    ) -> (Arc<Semaphore>, mpsc::UnboundedReceiver<u64>, Arc<AtomicU64>) {
        let (heard, numbers) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(permits));
        let missed = Arc::new(AtomicU64::new(0));
        let (stop, count) = (Arc::clone(&permits), Arc::clone(&missed));
        let addr = Self { permits: stop, heard, missed: count }.start();
        socket.subscribe(addr.clone());
        socket.subscribe_to::<Lagged>(addr);
        (permits, numbers, missed)
    }
}

async fn expect_numbers(numbers: &mut mpsc::UnboundedReceiver<u64>, size: u64) {
    for expected in 0..size {
        assert_eq!(within(numbers.recv()).await, Some(expected));
    }
}

async fn a_subscriber_with_an_async_handler_gets_everything(server: &Target) {
    let server = server.patient();
    let client = server.client();
    // More than the window takes, so that the server has to hold back.
    let (_permits, mut numbers) = Slow::of(client.socket(), 30_000);
    client.socket().emit("burst", 20_000).unwrap();
    expect_numbers(&mut numbers, 20_000).await;
}

async fn a_subscriber_that_is_stuck_for_a_while_gets_everything(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let (permits, mut numbers) = Slow::of(client.socket(), 0);
    client.socket().emit("burst", 2_000).unwrap();
    recorder.burst(2_000).await;
    assert!(numbers.try_recv().is_err(), "it is stuck");
    permits.add_permits(3_000);
    expect_numbers(&mut numbers, 2_000).await;
}

async fn two_subscribers_each_get_everything(server: &Target) {
    let (client, mut first) = Recorder::joined(server).await;
    let mut second = Recorder::of(client.socket());
    second.next_ready().await;
    client.socket().emit("burst", 5_000).unwrap();
    for recorder in [&mut first, &mut second] {
        recorder.burst(5_000).await;
    }
    client.socket().emit("nested", ()).unwrap();
    for recorder in [&mut first, &mut second] {
        let nested = recorder.next_event("nested").await.args::<Nested>().unwrap();
        assert_eq!(nested.body, Bytes::from_static(&[1, 2, 3]));
    }
}

async fn a_subscriber_that_stopped_does_not_hurt_the_others(server: &Target) {
    let client = server.client();
    let first = Recorder::of(client.socket());
    let mut second = Recorder::of(client.socket());
    let third = Recorder::of(client.socket());
    second.next_ready().await;
    first.stop().await;
    third.stop().await;
    client.socket().emit("burst", 100).unwrap();
    second.burst(100).await;
}

async fn a_subscriber_that_dies_full_does_not_hurt_the_others(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let arbiter = Arbiter::new();
    let (heard, _numbers) = mpsc::unbounded_channel();
    let stuck: Addr<Slow> = Slow::start_in_arbiter(&arbiter.handle(), |_| Slow {
        permits: Arc::new(Semaphore::new(0)),
        heard,
        missed: Arc::default(),
    });
    client.socket().subscribe(stuck.clone());
    client.socket().emit("burst", 1_000).unwrap();
    recorder.burst(1_000).await;
    arbiter.stop();
    eventually("the stuck actor is gone", || !stuck.connected()).await;
    // More than what fits beside what waits for the dead.
    client.socket().emit("burst", 10_000).unwrap();
    recorder.burst(10_000).await;
}

async fn a_late_subscriber_gets_ready_at_once(server: &Target) {
    let client = server.connected().await;
    let known = within(client.socket().ready()).await.unwrap();
    let mut late = Recorder::of(client.socket());
    assert_eq!(late.next_ready().await, known);
}

async fn events_that_nobody_heard_are_kept_for_the_first_subscriber(server: &Target) {
    let client = server.client();
    client.socket().emit("noargs", ()).unwrap();
    client.socket().emit("say", ("flight", 42)).unwrap();
    client.socket().emit("nested", ()).unwrap();
    // Answers come in order with events, so that these have come when this has.
    within(client.socket().emit_with_ack::<u8>("number", ())).await.unwrap();

    let mut first = Recorder::of(client.socket());
    first.next_ready().await;
    first.next_event("noargs").await;
    assert_eq!(first.next_event("flight").await.args::<u8>().unwrap(), 42);
    first.next_event("nested").await;
    let mut second = Recorder::of(client.socket());
    second.next_ready().await;
    client.socket().emit("echo", 1).unwrap();
    first.next_event("echo").await;
    second.next_event("echo").await;
    assert!(first.rest().is_empty() && second.rest().is_empty());
}

/// Knows nothing of sockets.
struct Announcer {
    outlet: Recipient<Emit>,
}

impl Actor for Announcer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for number in 0..3 {
            self.outlet.do_send(Emit::new("echo", number).unwrap());
        }
        ctx.stop();
    }
}

async fn an_actor_emits_through_a_recipient(server: &Target) {
    let client = server.client();
    let mut recorder = Recorder::of(client.socket());
    let outlet = client.socket().recipient();
    Announcer { outlet: outlet.clone() }.start();
    recorder.next_ready().await;
    for number in 0..3 {
        assert_eq!(recorder.next_event("echo").await.args::<u32>().unwrap(), number);
    }
    within(outlet.send(Emit::new("echo", "told").unwrap())).await.unwrap().unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "told");

    client.socket().disconnect();
    let refused = within(outlet.send(Emit::new("echo", "late").unwrap())).await.unwrap();
    assert_eq!(refused, Err(EmitError::Closed(Reason::ClientDisconnect)));
}

async fn a_full_buffer_hands_the_event_back_and_has_room_again_later(server: &Target) {
    let client = server.builder().send_buffer(2, 1_000).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    socket.emit("echo", 1).unwrap();
    socket.emit("echo", 2).unwrap();
    let Err(EmitError::Full(third)) = socket.emit("echo", 3) else { panic!("it is full") };
    assert_eq!((third.name(), third.payload().to_json().as_str()), ("echo", "[3]"));
    recorder.next_ready().await;
    for number in [1, 2] {
        assert_eq!(recorder.next_event("echo").await.args::<u32>().unwrap(), number);
    }
    assert_eq!(socket.unsent(), 0);
    socket.send(third).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<u32>().unwrap(), 3);
    // Larger than all of the buffer: it passes alone.
    let giant = "x".repeat(5_000);
    socket.emit("echo", &giant).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), giant);
}

async fn emitting_after_disconnect_is_an_error_at_once(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    assert!(client.socket().state().is_joined());
    client.socket().disconnect();
    assert!(!client.socket().state().is_joined());
    let closed = EmitError::Closed(Reason::ClientDisconnect);
    assert_eq!(client.socket().emit("echo", 1).map(drop), Err(closed.clone()));
    assert_eq!(client.socket().send(Emit::new("echo", 1).unwrap()).map(drop), Err(closed.clone()));
    let answer = within(client.socket().emit_with_ack::<u8>("number", ())).await;
    assert_eq!(answer, Err(AckError::NeverSent(closed)));
    assert_eq!(recorder.next_disconnected().await, Reason::ClientDisconnect);
    assert_eq!(client.socket().state(), SocketState::Ended(Reason::ClientDisconnect));
    client.socket().connect();
    assert_eq!(client.socket().state(), SocketState::Joining);
    recorder.next_ready().await;
    assert!(client.socket().state().is_joined());
}

async fn emitting_after_shutdown_is_an_error_at_once(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let closed = EmitError::Closed(Reason::Shutdown);
    let shutdown = client.shutdown(Duration::from_secs(5));
    let socket = client.socket().clone();
    let report = within(async {
        let report = shutdown.await;
        assert_eq!(socket.emit("echo", 1).map(drop), Err(closed.clone()));
        let answer = socket.emit_with_ack::<u8>("number", ()).await;
        assert_eq!(answer, Err(AckError::NeverSent(closed)));
        report
    })
    .await;
    assert_eq!(report.dropped, 0);
    assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
    assert!(socket.recipient().try_send(Emit::new("echo", 1).unwrap()).is_err());
}

/// Asks for another shape than the server has.
#[derive(Deserialize, actix::Message)]
#[rtype(result = "()")]
struct Price(#[expect(dead_code, reason = "only read")] u8);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

struct Desk;

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Price> for Desk {
    type Result = ();
    fn handle(&mut self, _: Price, _: &mut Context<Self>) {}
}

#[actix::test]
async fn the_log_of_events_of_another_shape_and_of_unwanted_ones_is_short_and_has_no_arguments() {
    logged::start();
    let server = Scripted::start();
    let client = support::client(server.url()).start().unwrap();
    let desk = Desk.start();
    client.socket().on::<Price>(desk);
    let mut peer = server.accept().await;
    peer.greet().await;
    for number in 0..19 {
        peer.send_text(format!(r#"42["price","Bearer s3cret {number}"]"#)).await;
        peer.send_text(r#"42["other","s3cret"]"#).await;
    }
    eventually("all are read", || client.stats().undecodable == 19).await;
    let of = |level, part: &str| {
        logged::lines_at(level).iter().filter(|line| line.contains(part)).count()
    };
    let warning =
        "the event \"price\" does not fit events::Price: invalid type: string, expected u8";
    assert_eq!(of(log::Level::Warn, warning), 10, "{:?}", logged::lines());
    // There is a listener for other events.
    let early = "no subscriber wants \"other\" yet; it is kept";
    assert_eq!(of(log::Level::Info, early), 1, "{:?}", logged::lines());
    assert!(logged::lines().iter().all(|line| !line.contains("s3cret")), "{:?}", logged::lines());
}

#[actix::test]
async fn a_subscriber_that_lost_events_is_told_how_many() {
    // A heartbeat that does not let anybody hold up the connection for long.
    let options = json!({ "pingInterval": 500, "pingTimeout": 3_000 });
    let config = Config { options, ..Config::default() };
    let server = Target::Own(node::start(Line::V3_1_2, &config));
    // So that not much is left to be read before the server gives the connection up.
    let client = server.builder().receive_window(500, 1 << 20).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let (permits, mut numbers, missed) = Slow::that_counts(client.socket(), 0);
    client.socket().emit("burst", 2_000).unwrap();
    // The stuck one holds this one up, until it loses what waits for it.
    recorder.burst(2_000).await;
    permits.add_permits(3_000);
    eventually("it is told", || missed.load(Ordering::Relaxed) > 0).await;
    client.socket().emit("say", ("n", 2_000)).unwrap();
    let mut heard = 0;
    while within(numbers.recv()).await != Some(2_000) {
        heard += 1;
    }
    // Not all that it got was a number: `burst_done` came behind them.
    assert_eq!(heard + missed.load(Ordering::Relaxed), 2_001);
}

/// The connection is never still for long, so that no heartbeat is in danger.
#[actix::test]
async fn a_steady_subscriber_that_is_slower_than_the_server_gets_everything() {
    // A busy machine may take several times as long as it should.
    let server = every::official(Line::V3_1_2).patient();
    let client = server.builder().receive_window(500, 1 << 20).start().unwrap();
    let (permits, mut numbers) = Slow::of(client.socket(), 0);
    client.socket().emit("burst", 6_000).unwrap();
    for expected in 0..6_000 {
        permits.add_permits(1);
        assert_eq!(within(numbers.recv()).await, Some(expected));
        // This sleep stands for the work.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn reserved_names_are_refused() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    for name in RESERVED {
        let refused = EmitError::ReservedName(name.to_owned());
        assert_eq!(client.socket().emit(name, 1).map(drop), Err(refused.clone()));
        assert_eq!(Emit::new(name, 1), Err(refused.clone()));
        let answer = within(client.socket().emit_with_ack::<u8>(name, 1)).await;
        assert_eq!(answer, Err(AckError::NeverSent(refused)));
    }
    assert_eq!(client.socket().unsent(), 0);
}

/// What servers call their events is up to them, and none of it is checked on its way in.
#[actix::test]
async fn an_event_of_a_reserved_name_is_not_emitted_again() {
    let server = every::socketioxide();
    // A middleware puts it in the place of another one.
    let known = Arc::<OnceLock<Event>>::default();
    let kept = Arc::clone(&known);
    let client = server.builder().middleware(outgoing(move |_, emit| match emit.name() {
        "echo" => Flow::Next(kept.get().unwrap().to_emit()),
        _ => Flow::Next(emit),
    }));
    let client = client.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    client.socket().emit("say", ("disconnect", 1)).unwrap();
    let event = recorder.next_event("disconnect").await;
    let refused = EmitError::ReservedName("disconnect".to_owned());
    assert_eq!(client.socket().send(event.to_emit()).map(drop), Err(refused.clone()));
    let asked = within(client.socket().send_with_ack::<()>(event.to_emit())).await;
    assert_eq!(asked, Err(AckError::NeverSent(refused.clone())));
    let sent = within(client.socket().recipient().send(event.to_emit())).await.unwrap();
    assert_eq!(sent, Err(refused.clone()));
    known.set(event).unwrap();
    assert_eq!(client.socket().emit("echo", 1).map(drop), Err(refused));
    client.socket().emit("say", ("alive", 1)).unwrap();
    recorder.next_event("alive").await;
}

#[actix::test]
async fn what_cannot_be_serialised_is_refused() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let list_as_key = std::collections::HashMap::from([(vec![1], 2)]);
    let Err(EmitError::Encode(_)) = client.socket().emit("map", list_as_key) else {
        panic!("JSON has no such keys");
    };
    assert_eq!(client.socket().unsent(), 0);
}

#[actix::test]
async fn a_buffer_that_cannot_be_emptied_hands_events_back() {
    let server = scripted::stall();
    let client = support::builder(server.url()).send_buffer(2, 1_000_000).start().unwrap();
    client.socket().emit("first", ()).unwrap();
    let second = client.socket().emit_with_ack::<u8>("second", ()).send();
    let third = Emit::new("third", (3, "x", Bytes::from_static(b"y"))).unwrap();
    let full = EmitError::Full(third.clone());
    assert_eq!(client.socket().send(third.clone()).map(drop), Err(full.clone()));
    let answer = client.socket().emit_with_ack::<u8>("third", (3, "x", Bytes::from_static(b"y")));
    assert_eq!(within(answer).await, Err(AckError::NeverSent(full.clone())));
    let told = within(client.socket().recipient().send(third)).await.unwrap();
    assert_eq!(told, Err(full));
    assert_eq!(client.socket().unsent(), 2);
    drop((client, second));
}

#[actix::test]
async fn a_buffer_is_bounded_in_bytes_as_well() {
    let server = scripted::stall();
    let client = support::builder(server.url()).send_buffer(100, 1_000).start().unwrap();
    client.socket().emit("half", "x".repeat(500)).unwrap();
    let Err(EmitError::Full(_)) = client.socket().emit("half", "x".repeat(500)) else {
        panic!("it is full");
    };
    client.socket().emit("small", ()).unwrap();
    let keyed = Emit::new("small", ()).unwrap().latest("x".repeat(500));
    let Err(EmitError::Full(_)) = client.socket().send(keyed) else { panic!("a key takes room") };
    assert_eq!(client.socket().unsent(), 2);
}
