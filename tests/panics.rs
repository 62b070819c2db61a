//! Code of the application that panics: it costs a subscription, a question or an attempt, and neither
//! the connection, nor its namespace, nor another one.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    fmt,
    panic::panic_any,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    task::{Context as TaskContext, Wake, Waker},
    time::Duration,
};

use actix::prelude::*;
use actix_socketio::{
    Bridge, Call, Client, ClientBuilder, Emit, EmitError, Event, Filter, NamedEvent, Reason,
    Reconnect, Retry, Route, Socket, SocketState,
    middleware::{Flow, Middleware},
};
use futures::{FutureExt, Stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use support::{
    eventually,
    every::{self, Target, on_every_server, within},
    logged,
    node::Line,
    recorder::Recorder,
    scripted::{Received, Scripted},
};

on_every_server!(
    what_panics_when_it_is_read_is_undecodable,
    what_panics_when_it_is_answered_is_answered_with_an_error,
    functions_that_panic_and_all_that_they_hold_are_forgotten,
    a_middleware_that_panics_drops_what_it_was_asked_about,
);

/// Panics when it is dropped, and what it panics with does as well.
#[derive(Clone, Default)]
struct Bomb {
    drops: Arc<AtomicUsize>,
}

struct Payload(u32);

impl Drop for Payload {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        panic_any(Payload(3));
    }
}

impl Bomb {
    /// One, and how often it was dropped.
    fn new() -> (Self, Arc<AtomicUsize>) {
        let drops = Arc::<AtomicUsize>::default();
        (Self { drops: Arc::clone(&drops) }, drops)
    }
}

/// A value whose `Display` panics.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words\nfor it");
    }
}

/// A value whose `Display` fails, which makes the caller of `to_string` panic.
#[derive(Debug)]
struct Speechless;

impl fmt::Display for Speechless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

/// Two namespaces of a connection: one in which things happen, and its neighbour.
struct Bench {
    client: Client,
    foo: Socket,
    on_foo: Recorder,
    on_root: Recorder,
}

impl Bench {
    async fn of(builder: ClientBuilder) -> Self {
        logged::start();
        let client = builder.start().unwrap();
        let foo = client.of("/foo").unwrap();
        let mut on_root = Recorder::of(client.socket());
        let mut on_foo = Recorder::of(&foo);
        on_root.next_ready().await;
        on_foo.next_ready().await;
        Self { client, foo, on_foo, on_root }
    }

    /// Has the server emit an event with an argument.
    async fn say(&mut self, name: &'static str, argument: impl Serialize) {
        self.foo.emit("say", (name, argument)).unwrap();
        self.on_foo.next_event(name).await;
    }

    /// The connection and both namespaces are as they were.
    async fn holds(&mut self) {
        for (socket, recorder) in
            [(&self.foo, &mut self.on_foo), (self.client.socket(), &mut self.on_root)]
        {
            assert_eq!(socket.state().reason(), None);
            socket.emit("echo", 7).unwrap();
            assert_eq!(recorder.next_event("echo").await.args(), Ok(7));
            assert_eq!(within(socket.emit_with_ack::<u8>("number", ())).await, Ok(7));
        }
        assert_eq!(self.client.stats().connects, 1);
    }
}

fn has_logged(parts: &[&str]) -> bool {
    logged::lines().iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// Gets everything here.
#[derive(Default)]
struct Desk {
    heard: Arc<AtomicUsize>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

macro_rules! event {
    ($name:ident, $event:literal, $reply:ty, $result:ty, $handle:expr) => {
        impl NamedEvent for $name {
            const NAME: &'static str = $event;
        }

        impl Message for $name {
            type Result = $result;
        }

        impl Call for $name {
            type Reply = $reply;
        }

        impl Handler<$name> for Desk {
            type Result = MessageResult<$name>;

            fn handle(&mut self, _: $name, _: &mut Context<Self>) -> Self::Result {
                self.heard.fetch_add(1, Ordering::SeqCst);
                let handle: fn() -> $result = $handle;
                MessageResult(handle())
            }
        }
    };
}

macro_rules! reads {
    ($($name:ident),*) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u32::deserialize(deserializer).map(|_| Self)
            }
        }
    )* };
}

/// Can be read when its argument is 0.
struct Hostile;

impl<'de> Deserialize<'de> for Hostile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Ok(Self),
            1 => panic!("do not\nread me"),
            2 => panic_any(Payload(3)),
            3 => Err(serde::de::Error::custom(Unspeakable)),
            _ => Err(serde::de::Error::custom(Speechless)),
        }
    }
}

event!(Hostile, "hostile", (), (), || ());

async fn what_panics_when_it_is_read_is_undecodable(server: &Target) {
    let mut bench = Bench::of(server.builder()).await;
    let desk = Desk::default();
    let heard = Arc::clone(&desk.heard);
    bench.foo.on::<Hostile>(desk.start());
    // The log has the first, the second and the fourth that cannot be read.
    for number in [0, 1, 3, 2, 4, 0] {
        bench.say("hostile", number).await;
    }
    bench.holds().await;
    eventually("it hears what it can read", || heard.load(Ordering::SeqCst) == 2).await;
    assert_eq!(bench.client.stats().undecodable, 4);
    let wanted = r#"/foo: the event "hostile" does not fit panics::Hostile: reading it panicked"#;
    for said in ["panicked: do not\\nread me", "panicked: no words\\nfor it", "panicked"] {
        assert!(has_logged(&[wanted, said]), "{said}");
    }
}

/// The answer cannot be written.
struct Unwritable;

struct NoJson;

impl Serialize for NoJson {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("do not write me");
    }
}

event!(Unwritable, "unwritable", NoJson, NoJson, || NoJson);

/// The answer is an error that has no text.
struct Wordless;

event!(Wordless, "wordless", u8, Result<u8, Unspeakable>, || Err(Unspeakable));

struct Mute;

event!(Mute, "mute", u8, Result<u8, Speechless>, || Err(Speechless));

/// The answer is good, and panics when it is dropped.
struct Fleeting;

struct Seven(#[expect(dead_code, reason = "it is dropped")] Bomb);

impl Serialize for Seven {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(7)
    }
}

event!(Fleeting, "fleeting", Seven, Seven, || Seven(Bomb::default()));

reads!(Unwritable, Wordless, Mute, Fleeting);

async fn what_panics_when_it_is_answered_is_answered_with_an_error(server: &Target) {
    let mut bench = Bench::of(server.builder()).await;
    let desk = Desk::default().start();
    bench.foo.answer::<Unwritable>(desk.clone());
    bench.foo.answer::<Wordless>(desk.clone());
    bench.foo.answer::<Mute>(desk.clone());
    bench.foo.answer::<Fleeting>(desk);
    let failed = r#"[{"error":"the answer could not be made"}]"#;
    for (name, expected) in [
        ("unwritable", failed),
        ("wordless", failed),
        ("mute", failed),
        ("fleeting", "[7]"),
        ("unwritable", failed),
    ] {
        bench.foo.emit("ask", (name, 1)).unwrap();
        assert_eq!(bench.on_foo.next_event(name).await.args(), Ok(1));
        let answered = bench.on_foo.next_event("answered").await;
        assert_eq!(answered.payload().to_json(), expected, "{name}");
        // Nobody asks, and yet it is made and dropped.
        bench.say(name, 2).await;
    }
    bench.holds().await;
    let parts =
        ["/foo: the answer to \"unwritable\" (panics::Unwritable) panicked: do not write me"];
    assert!(has_logged(&parts));
}

async fn functions_that_panic_and_all_that_they_hold_are_forgotten(server: &Target) {
    let mut bench = Bench::of(server.builder()).await;
    // One that panics, and again when it is dropped.
    let (bomb, drops) = Bomb::new();
    bench.foo.listen("a").call(move |_| {
        let _held = &bomb;
        panic_any(Payload(3));
    });
    bench.say("a", 1).await;
    bench.say("a", 2).await;
    eventually("it is dropped", || drops.load(Ordering::SeqCst) == 1).await;
    let parts = [
        "/foo: the function for \"a\" (panics::functions_that",
        "panicked; it is not called again",
    ];
    assert!(has_logged(&parts));
    // One that is cancelled, and one that nobody needs any more.
    let (bomb, cancelled) = Bomb::new();
    let subscription =
        bench.foo.listen("b").call(move |_| assert_eq!(bomb.drops.load(Ordering::SeqCst), 0));
    bench.say("b", 1).await;
    subscription.cancel();
    eventually("it is dropped", || cancelled.load(Ordering::SeqCst) == 1).await;
    let (bomb, left) = Bomb::new();
    bench.foo.listen("b").call(move |_| assert_eq!(bomb.drops.load(Ordering::SeqCst), 0));
    bench.holds().await;
    bench.client.shutdown(Duration::from_secs(5)).await;
    eventually("it is dropped", || left.load(Ordering::SeqCst) == 1).await;
    // It comes too late, and is dropped where it came from.
    let (bomb, late) = Bomb::new();
    bench.foo.listen("b").call(move |_| assert_eq!(bomb.drops.load(Ordering::SeqCst), 0));
    eventually("it is dropped", || late.load(Ordering::SeqCst) == 1).await;
}

/// Panics at what has its name, and when it is dropped.
struct Picky(#[expect(dead_code, reason = "it is dropped")] Bomb);

impl Middleware for Picky {
    fn incoming(&self, event: Event) -> Flow<Event> {
        match event.name() {
            "in" => panic!("not that"),
            "payload" => panic_any(Payload(3)),
            "text" => Flow::failed(Unspeakable),
            "answer" => Flow::answer(NoJson),
            _ => Flow::Next(event),
        }
    }

    fn outgoing(&self, _: &str, emit: Emit) -> Flow<Emit> {
        assert_ne!(emit.name(), "out", "not that\neither");
        Flow::Next(emit)
    }
}

async fn a_middleware_that_panics_drops_what_it_was_asked_about(server: &Target) {
    let (bomb, drops) = Bomb::new();
    let mut bench = Bench::of(server.builder().middleware(Picky(bomb))).await;
    for name in ["in", "payload", "text", "answer"] {
        bench.foo.emit("say", (name, 1)).unwrap();
    }
    let Err(EmitError::Middleware(said)) = bench.foo.emit("out", 1).map(drop) else { panic!("no") };
    assert!(
        said.starts_with("a middleware panicked") && said.contains("not that\\neither"),
        "{said}"
    );
    let refused = within(bench.foo.recipient().send(Emit::new("out", 2).unwrap())).await.unwrap();
    assert!(matches!(refused, Err(EmitError::Middleware(_))));
    bench.holds().await;
    let stats = bench.client.stats();
    assert_eq!((stats.filtered_in, stats.filtered_out), (4, 2));
    let parts = ["/foo: the middleware panics::Picky panicked: not that (event \"in\")"];
    assert!(has_logged(&parts));
    bench.client.shutdown(Duration::from_secs(5)).await;
    drop(bench);
    eventually("it is dropped", || drops.load(Ordering::SeqCst) == 1).await;
}

/// So many attempts fail, each in its way, and then one does not.
fn attempts() -> impl Fn() -> u32 + Send + Sync + 'static {
    let attempts = AtomicUsize::new(0);
    move || u32::try_from(attempts.fetch_add(1, Ordering::SeqCst)).unwrap()
}

enum Given {
    Good,
    NoJson,
}

impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Good => json!({ "token": "t" }).serialize(serializer),
            Self::NoJson => NoJson.serialize(serializer),
        }
    }
}

fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(10), Duration::from_millis(10))
}

#[actix::test]
async fn a_provider_of_credentials_that_panics_is_asked_again() {
    logged::start();
    let server = every::official(Line::V4);
    let attempt = attempts();
    let client = server.builder().reconnect(quick()).auth_with(move |_| {
        let attempt = attempt();
        assert_ne!(attempt, 0, "at once");
        let (bomb, _) = Bomb::new();
        async move {
            if attempt == 1 {
                let _held = bomb;
                return Err(Unspeakable);
            }
            std::mem::forget(bomb);
            assert_ne!(attempt, 2, "in its future");
            match attempt {
                3 => Err(Unspeakable),
                4 => Ok(Given::NoJson),
                _ => Ok(Given::Good),
            }
        }
    });
    let client = client.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    for text in ["at once", "", "in its future", "no words", "do not write me"] {
        let reason = recorder.next_connect_error().await;
        let Reason::Provider(said) = &reason else { panic!("{reason:?}") };
        assert!(said.starts_with("it panicked") && said.contains(text), "{said}");
        assert_eq!(*recorder.next_reconnecting().await.reason(), reason);
    }
    recorder.next_ready().await;
    let handshake = within(client.socket().emit_with_ack::<u8>("number", ())).await;
    assert_eq!(handshake, Ok(7));
}

#[actix::test]
async fn providers_for_a_dial_that_panic_are_asked_again() {
    logged::start();
    let server = every::official(Line::V4);
    for of_headers in [true, false] {
        let attempt = attempts();
        let provide = move |_| {
            let attempt = attempt();
            assert_ne!(attempt, 0, "at once");
            async move {
                assert_ne!(attempt, 1, "in its future");
                if attempt == 2 {
                    return Err(Unspeakable);
                }
                Ok(vec![("x-name".to_owned(), "value".to_owned())])
            }
        };
        let builder = server.builder().reconnect(quick());
        let builder =
            if of_headers { builder.headers_with(provide) } else { builder.query_with(provide) };
        let client = builder.start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        for text in ["at once", "in its future", "no words"] {
            let reason = recorder.next_reconnecting().await.reason().clone();
            let Reason::Provider(said) = &reason else { panic!("{reason:?}") };
            assert!(said.starts_with("it panicked") && said.contains(text), "{said}");
        }
        recorder.next_ready().await;
    }
}

#[actix::test]
async fn a_provider_that_is_dropped_in_the_middle_of_its_work_may_panic() {
    let server = every::official(Line::V4);
    let (bomb, drops) = Bomb::new();
    let bombs = std::sync::Mutex::new(Some(bomb));
    let builder = server.builder().join_timeout(Duration::from_millis(50));
    // On a busy machine, the server may not be in time either, and who waits would give up after a few attempts.
    let builder = builder.reconnect(quick().patient());
    let client = builder.auth_with(move |_| {
        let bomb = bombs.lock().unwrap().take();
        async move {
            if let Some(bomb) = bomb {
                std::future::pending::<()>().await;
                drop(bomb);
            }
            Ok::<_, Unspeakable>(json!({}))
        }
    });
    let client = client.start().unwrap();
    within(client.socket().ready()).await.unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_policy_that_panics_has_the_default_decide() {
    logged::start();
    let server = Scripted::start();
    let (bomb, drops) = Bomb::new();
    let policy = quick().retry(move |_| -> Retry {
        let _held = &bomb;
        panic_any(Payload(3));
    });
    let client = Client::builder(server.url()).reconnect(policy).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    server.accept().await.greet().await;
    recorder.next_ready().await;
    recorder.next_disconnected().await;
    server.accept().await.greet().await;
    recorder.next_reconnecting().await;
    recorder.next_ready().await;
    assert!(has_logged(&["the policy for reconnecting panicked; the default decides"]));
    client.shutdown(Duration::from_secs(5)).await;
    drop((client, recorder));
    eventually("it is dropped", || drops.load(Ordering::SeqCst) == 1).await;
}

#[actix::test]
async fn the_filter_of_a_bridge_that_panics_lets_nothing_pass() {
    let mut bench = Bench::of(every::official(Line::V4).builder()).await;
    let (bomb, drops) = Bomb::new();
    let route = Route::all().filter(move |event| {
        let _held = &bomb;
        if event.name() == "a" {
            panic_any(Payload(3));
        }
        true
    });
    let bar = bench.client.of("/bar").unwrap();
    let bridge = Bridge::between(&bench.foo, &bar).forward(route).back(Route::none());
    let bridge = bridge.start().unwrap();
    bench.say("a", 1).await;
    bench.say("b", 1).await;
    eventually("one passes", || bridge.stats().forward.written == 1).await;
    assert_eq!(bridge.stats().forward.filtered, 1);
    bench.holds().await;
    bridge.stop();
    drop(bridge);
    eventually("it is dropped", || drops.load(Ordering::SeqCst) == 1).await;
    bench.holds().await;
}

/// The waker of a task that panics when it is woken.
fn hostile_waker() -> (Waker, Arc<AtomicUsize>) {
    struct Hostile(Arc<AtomicUsize>);

    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic_any(Payload(3));
        }
    }

    let wakes = Arc::<AtomicUsize>::default();
    (Arc::new(Hostile(Arc::clone(&wakes))).into(), wakes)
}

#[actix::test]
async fn tasks_that_panic_when_they_are_woken_cost_nobody_but_themselves() {
    let mut bench = Bench::of(every::official(Line::V4).builder()).await;
    let (waker, wakes) = hostile_waker();
    let mut cx = TaskContext::from_waker(&waker);
    let woken = |count: usize| {
        let wakes = &wakes;
        async move {
            eventually("it is woken", || wakes.load(Ordering::SeqCst) == count).await;
        }
    };
    let foo = bench.foo.clone();
    let mut answer = foo.emit_with_ack::<u8>("number", ()).send();
    assert!(answer.poll_unpin(&mut cx).is_pending());
    woken(1).await;
    assert_eq!(within(answer).await, Ok(7));
    let mut unsent = Box::pin(foo.take_unsent());
    assert!(unsent.poll_unpin(&mut cx).is_pending());
    woken(2).await;
    let mut written = foo.emit("silent", ()).unwrap();
    assert!(written.poll_unpin(&mut cx).is_pending());
    woken(3).await;
    assert_eq!(within(written).await, Ok(()));
    // A stream is forgotten with its task.
    let mut events = foo.listen(Filter::all()).stream();
    assert!(Pin::new(&mut events).poll_next(&mut cx).is_pending());
    bench.say("a", 1).await;
    woken(4).await;
    bench.holds().await;
    let unanswered = foo.emit_with_ack::<u8>("silent", ()).send();
    let mut unanswered = Box::pin(unanswered);
    assert!(unanswered.poll_unpin(&mut cx).is_pending());
    bench.client.shutdown(Duration::from_millis(100)).await;
    woken(5).await;
}

/// The last resort, for what should never happen: a logger that panics in the middle of a namespace's work.
#[actix::test]
async fn what_is_for_a_dead_namespace_is_let_go() {
    logged::start();
    let server = Scripted::start();
    let client = server_client(&server);
    let foo = client.of("/foo").unwrap();
    let mut recorder = Recorder::of(client.socket());
    let mut peer = server.accept().await;
    peer.open().await;
    for _ in 0..2 {
        let namespace = match peer.next().await {
            Received::Text(text) if text == "40" => "",
            Received::Text(text) if text == "40/foo," => "/foo,",
            other => panic!("{other:?}"),
        };
        peer.send_text(format!(r#"40{namespace}{{"sid":"s"}}"#)).await;
    }
    recorder.next_ready().await;
    foo.on::<Hostile>(Desk::default().start());
    within(foo.ready()).await.unwrap();
    logged::panic_at("does not fit panics::Hostile");
    // There is more behind it than the window takes.
    let many = |range: std::ops::Range<u32>| {
        range.map(|number| frame(&format!(r#"42/foo,["hostile",{number}]"#))).collect::<Vec<_>>()
    };
    peer.send_raw(many(7..40).concat()).await;
    eventually("it is dead", || foo.state() == SocketState::Ended(Reason::Shutdown)).await;
    for number in 0..100 {
        peer.send_raw(many(number..number + 10).concat()).await;
        peer.send_text(format!(r#"42["n",{number}]"#)).await;
        assert_eq!(recorder.next_event("n").await.args(), Ok(number));
    }
    let answer = client.socket().emit_with_ack::<u8>("number", ()).send();
    peer.expect_text(r#"420["number"]"#).await;
    peer.send_text("430[7]").await;
    assert_eq!(within(answer).await, Ok(7));
    assert_eq!(client.stats().waiting_in, 0);
    assert_eq!(within(client.shutdown(Duration::from_secs(5))).await.dropped, 0);
}

/// One whose window is soon full.
fn server_client(server: &Scripted) -> Client {
    support::builder(server.url()).receive_window(20, 1 << 20).start().unwrap()
}

/// A text message of the websocket.
fn frame(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}
