//! Middleware between the wire and the application, and subscribers to what goes out.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler, Message};
use actix_socketio::{
    AckError, Emit, EmitError, Emitted, Event, JoinContext, NamedEvent, Offline, Overflow, Reason,
    Reconnect, Retry, SocketState,
    middleware::{self, Auth, Flow, Middleware, NameList, RateLimit},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use support::{
    every::{Target, on_every_server, within},
    recorder::Recorder,
};
use tokio::sync::{mpsc, oneshot};

on_every_server!(
    events_of_the_server_are_changed_dropped_and_answered,
    emitted_events_are_changed_refused_and_answered,
    one_that_panics_has_dropped_the_event_and_nothing_else,
    lists_and_rates_hold_both_ways,
    credentials_are_changed_and_requests_to_join_stopped,
    a_refusal_hands_the_event_back_as_it_was,
    what_is_emitted_is_told_in_the_order_in_which_it_is_sent,
    who_is_slow_to_hear_what_is_emitted_holds_up_nobody,
    the_next_event_of_a_name_and_no_more,
);

type Notes = Arc<Mutex<Vec<String>>>;

/// Notes what passes.
struct Noting(&'static str, Notes);

impl Noting {
    fn note(&self, what: &str) {
        self.1.lock().unwrap().push(format!("{} {what}", self.0));
    }
}

impl Middleware for Noting {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.note(&format!("in {}", event.name()));
        Flow::Next(event)
    }

    fn outgoing(&self, namespace: &str, emit: Emit) -> Flow<Emit> {
        self.note(&format!("out {namespace} {}", emit.name()));
        Flow::Next(emit)
    }
}

async fn events_of_the_server_are_changed_dropped_and_answered(server: &Target) {
    let notes = Notes::default();
    let client = server.builder().middleware(Noting("client", Arc::clone(&notes))).start().unwrap();
    let change = middleware::incoming(|event| match event.name() {
        "change" => {
            let number = event.args::<u32>().unwrap();
            let bytes = Bytes::from_static(b"x");
            let changed = event.with_args((number + 1, bytes)).unwrap();
            Flow::Next(changed.renamed("changed"))
        }
        "gossip" => Flow::dropped("nobody is to hear it"),
        "are_you_there" => Flow::answer(("yes", 7)),
        _ => Flow::Next(event),
    });
    let last = Noting("socket", Arc::clone(&notes));
    let socket = client.namespace("/foo").middleware(change).middleware(last).join().unwrap();
    let mut recorder = Recorder::of(&socket);
    recorder.next_ready().await;
    for name in ["gossip", "change", "gossip"] {
        socket.emit("say", (name, 1)).unwrap();
    }
    let changed = recorder.next_event("changed").await;
    assert_eq!(changed.args::<(u32, Bytes)>(), Ok((2, Bytes::from_static(b"x"))));
    socket.emit("ask", ("are_you_there",)).unwrap();
    let answered = recorder.next_event("answered").await;
    assert_eq!(answered.payload().to_json(), r#"["yes",7]"#);
    // One that is changed can be answered.
    socket.emit("ask", ("change", 3)).unwrap();
    recorder.next_event("changed").await.ack("so").unwrap();
    assert_eq!(recorder.next_event("answered").await.args::<String>().unwrap(), "so");
    let stats = client.stats();
    assert_eq!((stats.filtered_in, stats.filtered_out), (2, 0));
    let notes = notes.lock().unwrap();
    // Those of the client first, and the last one does not see what was stopped.
    assert_eq!(notes.iter().filter(|note| *note == "client in gossip").count(), 2);
    assert!(!notes.iter().any(|note| note == "socket in gossip"));
    let place = |what: &str| notes.iter().position(|note| note == what).unwrap();
    assert!(place("client in change") < place("socket in changed"));
    assert!(place("socket out /foo say") < place("client out /foo say"));
}

async fn emitted_events_are_changed_refused_and_answered(server: &Target) {
    let client = server
        .builder()
        .middleware(middleware::outgoing(|namespace, emit| match emit.name() {
            "tell" => emit
                .with_args(("echo", namespace))
                .and_then(|emit| emit.renamed("say"))
                .map_or_else(Flow::failed, Flow::Next),
            "secret" => Flow::dropped("it is one"),
            "reserved" => emit.renamed("disconnect").map_or_else(Flow::failed, Flow::Next),
            "cached" => Flow::answer((1, "two")),
            _ => Flow::Next(emit),
        }))
        .start()
        .unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    socket.emit("tell", "x").unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "/");
    let stopped = EmitError::Middleware("it is one".to_owned());
    assert_eq!(socket.emit("secret", 1).unwrap_err(), stopped);
    let asked = within(socket.emit_with_ack::<()>("secret", 1)).await;
    assert_eq!(asked, Err(AckError::NeverSent(stopped.clone())));
    let sent = within(socket.recipient().send(Emit::new("secret", 1).unwrap())).await.unwrap();
    assert_eq!(sent, Err(stopped));
    let reserved = socket.emit("reserved", 1).unwrap_err();
    assert!(matches!(&reserved, EmitError::Middleware(why) if why.contains("disconnect")));
    // The server does not get it.
    let cached = within(socket.emit_with_ack::<(u32, String)>("cached", ())).await;
    assert_eq!(cached, Ok((1, "two".to_owned())));
    within(socket.emit("cached", ()).unwrap()).await.unwrap();
    within(socket.recipient().send(Emit::new("cached", ()).unwrap())).await.unwrap().unwrap();
    let stats = client.stats();
    assert_eq!((stats.filtered_in, stats.filtered_out), (0, 4));
    assert_eq!((stats.discarded, stats.waiting_out), (0, 0));
}

async fn one_that_panics_has_dropped_the_event_and_nothing_else(server: &Target) {
    let client = server
        .builder()
        .middleware(middleware::incoming(|event| {
            assert_ne!(event.name(), "bad", "for the test");
            Flow::Next(event)
        }))
        .middleware(middleware::outgoing(|_, emit| {
            assert_ne!(emit.name(), "bad", "for the test");
            Flow::Next(emit)
        }))
        .start()
        .unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    assert!(matches!(socket.emit("bad", ()).unwrap_err(), EmitError::Middleware(_)));
    for name in ["bad", "good"] {
        socket.emit("say", (name,)).unwrap();
    }
    recorder.next_event("good").await;
    let stats = client.stats();
    assert_eq!((stats.filtered_in, stats.filtered_out), (1, 1));
}

async fn lists_and_rates_hold_both_ways(server: &Target) {
    let day = Duration::from_secs(86_400);
    let client = server
        .builder()
        .middleware(NameList::outgoing(["say", "echo"]))
        .middleware(NameList::incoming(["n", "echo"]))
        .middleware(RateLimit::incoming(5, day))
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let socket = client.socket();
    assert!(matches!(socket.emit("burst", 3).unwrap_err(), EmitError::Middleware(_)));
    for number in 0..10 {
        socket.emit("say", ("other", number)).unwrap();
        socket.emit("say", ("n", number)).unwrap();
    }
    // The list lets them through first, and then the rate some of them.
    for number in 0..5_u32 {
        assert_eq!(recorder.next_event("n").await.args::<u32>(), Ok(number));
    }
    support::eventually("all have come", || client.stats().filtered_in == 10 + 5).await;
    assert!(recorder.rest().is_empty());

    let client = server.builder().middleware(RateLimit::outgoing(3, day)).start().unwrap();
    let emitted = (0..10).filter(|number| client.socket().emit("count", number).is_ok()).count();
    assert_eq!(emitted, 3);
    // The limit is one for all namespaces.
    client.of("/foo").unwrap().emit("count", 1).unwrap_err();
}

/// Shows a token to "/guarded", and lets nobody into "/foo".
struct Keys(Mutex<Vec<&'static str>>);

impl Middleware for Keys {
    fn join(&self, join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
        assert_eq!(auth.get("user"), Some(&json!("x")));
        match join.namespace() {
            "/guarded" => {
                let token = self.0.lock().unwrap().pop().unwrap_or_default();
                auth.insert("token".to_owned(), token.into());
                Ok(())
            }
            "/foo" => Err("out of bounds".to_owned()),
            "/bar" => panic!("for the test"),
            _ => Ok(()),
        }
    }
}

async fn credentials_are_changed_and_requests_to_join_stopped(server: &Target) {
    let server = server.fresh();
    server.set_token("right");
    let again = Reconnect::default().delay(Duration::from_millis(10), Duration::from_millis(10));
    let client = server
        .builder()
        .auth(json!({ "user": "x" }))
        .middleware(Keys(Mutex::new(vec!["right", "wrong", "none"])))
        .reconnect(again.retry(|reason| match reason {
            Reason::Refused(_) => Retry::WithNewAuth,
            other => Retry::default_for(other),
        }))
        .start()
        .unwrap();
    let guarded = client.of("/guarded").unwrap();
    within(guarded.ready()).await.unwrap();
    assert_eq!(server.tokens(), ["none", "wrong", "right"].map(Value::from));
    for (name, why) in [("/foo", "out of bounds"), ("/bar", "a middleware panicked: for the test")]
    {
        let stopped = client.of(name).unwrap();
        let mut recorder = Recorder::of(&stopped);
        let reason = Reason::Middleware(why.to_owned());
        assert_eq!(recorder.next_connect_error().await, reason);
        assert_eq!(stopped.state(), SocketState::Ended(reason));
        assert_eq!(server.connections(name), 0);
    }
    // Whatever the server joins by itself was never asked for.
    within(client.socket().ready()).await.unwrap();
}

async fn a_refusal_hands_the_event_back_as_it_was(server: &Target) {
    let client = server.builder().send_buffer(1, 1_000).start().unwrap();
    let rename = middleware::outgoing(|_, emit| {
        emit.renamed("renamed").map_or_else(Flow::failed, Flow::Next)
    });
    let late = client.namespace("/late").middleware(rename).join().unwrap();
    late.emit("first", ()).unwrap();
    let EmitError::Full(emit) = late.emit("second", 2).unwrap_err() else { panic!("it has room") };
    assert_eq!(emit, Emit::new("second", 2).unwrap());
    // Where nobody is there to take it, nothing passes for nothing.
    assert_eq!(late.with_offline(Offline::Fail).emit("x", ()).unwrap_err(), EmitError::Offline);
}

/// Reports what it gets to the test, and can be held up.
struct Watch {
    heard: mpsc::UnboundedSender<String>,
    held: Option<oneshot::Receiver<()>>,
}

impl Actor for Watch {
    type Context = Context<Self>;
}

impl Handler<Emitted> for Watch {
    type Result = actix::AtomicResponse<Self, ()>;

    fn handle(&mut self, emitted: Emitted, _: &mut Context<Self>) -> Self::Result {
        let ask = if emitted.wants_ack() { "?" } else { "" };
        let note = format!("{}{ask} {}", emitted.name(), emitted.payload().to_json());
        self.heard.send(note).ok();
        let held = self.held.take();
        let busy = actix::fut::wrap_future(async move {
            if let Some(held) = held {
                held.await.ok();
            }
        });
        actix::AtomicResponse::new(Box::pin(busy))
    }
}

impl Handler<actix_socketio::Lagged> for Watch {
    type Result = ();

    fn handle(&mut self, lagged: actix_socketio::Lagged, _: &mut Context<Self>) {
        self.heard.send(format!("missed {}", lagged.missed())).ok();
    }
}

async fn what_is_emitted_is_told_in_the_order_in_which_it_is_sent(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let (heard_by, mut heard) = mpsc::unbounded_channel();
    let watch = Watch { heard: heard_by, held: None }.start();
    let watching = socket.subscribe_to::<Emitted>(watch);
    // These wait for the namespace.
    for number in 0..3 {
        socket.emit("count", number).unwrap();
    }
    let answer = within(socket.emit_with_ack::<u32>("number", ())).await;
    assert_eq!(answer, Ok(7));
    for expected in ["count [0]", "count [1]", "count [2]", "number? []"] {
        assert_eq!(within(heard.recv()).await.unwrap(), expected);
    }
    let photo = (Bytes::from_static(b"x"), 1);
    socket.emit("count", photo).unwrap();
    let told = within(heard.recv()).await.unwrap();
    assert_eq!(told, r#"count [{"_placeholder":true,"num":0},1]"#);
    watching.cancel();
    within(socket.emit_with_ack::<u32>("number", ())).await.unwrap();
    assert!(heard.try_recv().is_err());
}

async fn who_is_slow_to_hear_what_is_emitted_holds_up_nobody(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let (heard_by, mut heard) = mpsc::unbounded_channel();
    let (release, held) = oneshot::channel();
    let watch = Watch { heard: heard_by, held: Some(held) }.start();
    // Full with the first message, and one more.
    socket.with_overflow(Overflow::Pause).subscribe_to::<Emitted>(watch.clone());
    socket.subscribe_to::<actix_socketio::Lagged>(watch);
    within(socket.ready()).await.unwrap();
    let stream = support::every::unique("watched");
    for number in 0..5_000_u32 {
        socket.emit("count", &stream).unwrap();
        if number % 100 == 0 {
            within(socket.emit("count", &stream).unwrap()).await.unwrap();
        }
    }
    // All of them have come to the server.
    let counted = within(socket.emit_with_ack::<u64>("counted", &stream)).await;
    assert_eq!(counted, Ok(5_050));
    release.send(()).unwrap();
    let (mut told, mut missed) = (0, 0);
    while told + missed < 5_051 {
        let note = within(heard.recv()).await.unwrap();
        match note.strip_prefix("missed ") {
            Some(number) => missed += number.parse::<u64>().unwrap(),
            None => told += 1,
        }
    }
    assert_eq!(told + missed, 5_051);
    assert!((1_024..1_100).contains(&told), "{told}");
    assert_eq!(client.stats().missed, missed);
}

#[derive(Deserialize, Message)]
#[rtype(result = "()")]
struct Number(u32);

impl NamedEvent for Number {
    const NAME: &'static str = "number";
}

struct Listener {
    heard: mpsc::UnboundedSender<String>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Number> for Listener {
    type Result = ();
    fn handle(&mut self, Number(number): Number, _: &mut Context<Self>) {
        self.heard.send(format!("Number({number})")).ok();
    }
}

impl Handler<Event> for Listener {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Context<Self>) {
        self.heard.send(format!("{}{}", event.name(), event.payload().to_json())).ok();
    }
}

async fn the_next_event_of_a_name_and_no_more(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let (heard_by, mut heard) = mpsc::unbounded_channel();
    let listener = Listener { heard: heard_by }.start();
    socket.listen_to::<Number>().once().actor(listener.clone());
    socket.listen("other").once().actor(listener.clone());
    socket.listen_to::<Number>().once().actor(listener.clone()).cancel();
    for number in 0..3 {
        for name in ["else", "number", "other"] {
            socket.emit("say", (name, number)).unwrap();
        }
    }
    for _ in 0..9 {
        recorder.next_of_any_name().await;
    }
    let mut all = [within(heard.recv()).await.unwrap(), within(heard.recv()).await.unwrap()];
    all.sort();
    assert_eq!(all, ["Number(0)", "other[0]"]);
    assert!(heard.try_recv().is_err());
    // One of another shape is the next one, too.
    socket.listen_to::<Number>().once().actor(listener);
    for value in [json!("no number"), json!(4)] {
        socket.emit("say", ("number", value)).unwrap();
        recorder.next_event("number").await;
    }
    assert!(heard.try_recv().is_err());
}
