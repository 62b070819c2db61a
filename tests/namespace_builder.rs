//! Options that are set for one namespace, before it is joined.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Arbiter, AtomicResponse, Context, Handler};
use actix_socketio::{
    AckError, EmitError, Event, JoinContext, NamespaceError, Offline, Overflow, Reason, Reconnect,
    Socket, SocketState,
    middleware::{Auth, Flow, Middleware},
};
use serde_json::{Value, json};
use support::{
    eventually,
    every::{Target, on_every_server, within},
    proxy::Proxy,
    recorder::{Fact, Recorder},
    scripted,
};

on_every_server!(
    namespaces_of_one_client_have_credentials_of_their_own,
    a_namespace_may_have_none_of_the_credentials_of_its_client,
    the_first_request_to_join_and_the_first_event_pass_the_middleware,
    a_subscriber_that_does_not_say_overflows_as_its_namespace_or_client_does,
    what_is_set_for_a_namespace_holds_for_all_its_handles,
);

fn token(text: impl Into<String>) -> Value {
    json!({ "token": text.into() })
}

/// The token that came with the request to join.
async fn shown(server: &Target, socket: &Socket) -> Value {
    let handshake: Value = within(socket.emit_with_ack("handshake", ())).await.unwrap();
    // An old server knows only queries.
    let place = if server.is_old() { "query" } else { "auth" };
    handshake[place]["token"].clone()
}

async fn namespaces_of_one_client_have_credentials_of_their_own(server: &Target) {
    let proxy = Proxy::start(server.port());
    let quick = Duration::from_millis(20);
    let client = support::client(proxy.url())
        .reconnect(Reconnect::default().delay(quick, quick))
        .auth(token("client"))
        .start()
        .unwrap();
    let asked = AtomicU64::new(0);
    let foo = client.namespace("/foo").auth(token("foo")).join().unwrap();
    let bar = client
        .namespace("bar")
        .auth_with(move |join| {
            let (namespace, number) = (join.namespace().to_owned(), &asked);
            let number = number.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, String>(token(format!("{namespace} {number}"))) }
        })
        .join()
        .unwrap();
    let late = client.of("/late").unwrap();
    let mut recorders = [&foo, &bar, &late].map(Recorder::of);
    for recorder in &mut recorders {
        recorder.next_ready().await;
    }
    for number in 0..3 {
        assert_eq!(shown(server, &foo).await, "foo");
        assert_eq!(shown(server, &bar).await, format!("/bar {number}"));
        assert_eq!(shown(server, &late).await, "client");
        proxy.cut();
        for recorder in &mut recorders {
            recorder.next_disconnected().await;
            recorder.ready_after_attempts().await;
        }
    }
}

async fn a_namespace_may_have_none_of_the_credentials_of_its_client(server: &Target) {
    let clients = [
        server.builder().auth(token("client")),
        server.builder().auth_with(async |_| Ok::<_, String>(token("client"))),
    ];
    for client in clients {
        let client = client.start().unwrap();
        let foo = client.namespace("/foo").without_auth().join().unwrap();
        assert_eq!(shown(server, &foo).await, Value::Null);
        assert_eq!(shown(server, &client.of("/bar").unwrap()).await, "client");
    }
}

/// Notes what it sees, and gives the first event another name.
struct Watch(Arc<Mutex<Vec<String>>>);

impl Middleware for Watch {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.0.lock().unwrap().push(format!("in {}", event.name()));
        Flow::Next(event.renamed("seen"))
    }

    fn join(&self, join: &JoinContext, _: &mut Auth) -> Result<(), String> {
        self.0.lock().unwrap().push(format!("join {} {}", join.namespace(), join.attempt()));
        Ok(())
    }
}

async fn the_first_request_to_join_and_the_first_event_pass_the_middleware(server: &Target) {
    // The client is busy with it before this thread does anything else.
    let arbiter = Arbiter::new();
    let client = server.builder().start_in(&arbiter.handle()).unwrap();
    within(client.socket().ready()).await.unwrap();
    let notes = Arc::<Mutex<Vec<String>>>::default();
    let eager = client.namespace("/eager").middleware(Watch(Arc::clone(&notes))).join().unwrap();
    within(eager.ready()).await.unwrap();
    let mut recorder = Recorder::of(&eager);
    let mut facts = [recorder.next().await, recorder.next().await];
    // Some servers emit before they answer the request.
    facts.sort_by_key(|fact| matches!(fact, Fact::Event(_)));
    let [Fact::Ready(_), Fact::Event(event)] = facts else { panic!("{facts:?}") };
    assert_eq!((event.name(), event.args::<u32>()), ("seen", Ok(1)));
    assert_eq!(*notes.lock().unwrap(), ["join /eager 0", "in welcome"]);
    arbiter.stop();
}

/// Never done with the first event.
struct Stuck;

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<Event> for Stuck {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Event, _: &mut Context<Self>) -> Self::Result {
        AtomicResponse::new(Box::pin(actix::fut::wrap_future(std::future::pending())))
    }
}

async fn a_subscriber_that_does_not_say_overflows_as_its_namespace_or_client_does(server: &Target) {
    let leave = Overflow::Disconnect { waiting: 10 };
    let by_client = server.builder().overflow(leave).start().unwrap();
    let by_namespace = server.client();
    let foo = by_namespace.namespace("/foo").overflow(leave).join().unwrap();
    for socket in [by_client.socket(), &foo] {
        socket.subscribe_to::<Event>(Stuck.start().recipient());
        socket.emit("burst", 100).unwrap();
        let is_left = || socket.state() == SocketState::Ended(Reason::SlowSubscriber);
        eventually("it is left", is_left).await;
    }
    // What was said to the client is not for a namespace that has something else.
    let foo = by_client.namespace("/foo").overflow(Overflow::DropNewest { waiting: 10 });
    let foo = foo.join().unwrap();
    foo.subscribe_to::<Event>(Stuck.start().recipient());
    foo.emit("burst", 100).unwrap();
    eventually("some are dropped", || by_client.stats().missed > 0).await;
    assert_eq!(foo.state().reason(), None);
}

async fn what_is_set_for_a_namespace_holds_for_all_its_handles(server: &Target) {
    let client = server.builder().retries(1).start().unwrap();
    within(client.socket().ready()).await.unwrap();
    let late = client
        .namespace("/late")
        .offline(Offline::Fail)
        .ack_timeout(Duration::from_millis(50))
        .retries(0)
        .join()
        .unwrap();
    for socket in [&late, &client.of("/late").unwrap()] {
        assert_eq!(socket.emit("echo", 1).unwrap_err(), EmitError::Offline);
    }
    within(late.ready()).await.unwrap();
    let late = client.of("/late").unwrap();
    let silence = within(late.emit_with_ack::<()>("silent", ())).await;
    assert_eq!(silence, Err(AckError::TimedOut));
    assert_eq!(client.stats().resent, 0);
    // The others have what the client has.
    client.of("/foo").unwrap().emit("echo", 1).unwrap();
    let asked = format!("{:?}", client.of("/foo").unwrap().emit_with_ack::<()>("silent", ()));
    assert!(asked.contains("timeout: 30s") && asked.contains("retries: 1"), "{asked}");
}

#[actix::test]
async fn a_namespace_that_exists_is_not_joined_a_second_time() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let foo = client.of("/foo").unwrap();
    client.namespace("/bar").join().unwrap();
    let exists = |name: &str| {
        let error = client.namespace(name).join().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Client::of") && text.contains("Client::builder"), "{text}");
        error
    };
    for name in ["/", "/foo", "/bar"] {
        assert_eq!(exists(name), NamespaceError::Exists(name.to_owned()));
        assert_eq!(exists(name.trim_start_matches('/')), NamespaceError::Exists(name.to_owned()));
    }
    foo.disconnect();
    assert_eq!(exists("/foo"), NamespaceError::Exists("/foo".to_owned()));
    assert_eq!(foo.state(), SocketState::Ended(Reason::ClientDisconnect));
    // One of two that are begun is the first.
    let (first, second) = (client.namespace("/new"), client.namespace("/new"));
    second.join().unwrap();
    assert_eq!(first.join().unwrap_err(), NamespaceError::Exists("/new".to_owned()));
    let last = client.namespace("/last");
    within(client.shutdown(Duration::ZERO)).await;
    assert_eq!(last.join().unwrap_err(), NamespaceError::Closed(Reason::Shutdown));
}

#[actix::test]
async fn what_makes_no_sense_for_a_namespace_is_refused_and_nothing_is_joined() {
    let server = scripted::stall();
    let client = support::builder(server.url()).auth(token("client")).start().unwrap();
    let begin = || client.namespace("/shop");
    let no_key = HashMap::from([(vec![1], 2)]);
    for builder in [begin().auth("s3cret"), begin().auth(json!(["s3cret"])), begin().auth(no_key)] {
        let error = builder.join().unwrap_err();
        assert!(matches!(error, NamespaceError::Auth(_)), "{error:?}");
        assert!(!format!("{error:?}{error}").contains("s3cret"), "{error:?}");
    }
    let error = begin().ack_timeout(Duration::ZERO).join().unwrap_err();
    let (name, expected) = ("ack_timeout", "more than zero");
    assert_eq!(error, NamespaceError::Option { name, expected });
    let error = client.namespace("/a,b").join().unwrap_err();
    assert_eq!(error, NamespaceError::Name("/a,b".to_owned()));
    begin().auth("overruled").without_auth().join().unwrap();
}

#[actix::test]
async fn debug_of_a_namespace_builder_shows_no_secret() {
    let server = scripted::stall();
    let client = support::builder(server.url())
        .auth(token("s3cret"))
        .header("authorization", "s3cret")
        .query("key", "s3cret")
        .start()
        .unwrap();
    let begin = || client.namespace("/shop").middleware(Watch(Arc::default()));
    for (builder, auth) in [
        (begin(), "None"),
        (begin().auth(token("s3cret")), "Some(Fixed)"),
        (begin().auth_with(async |_| Ok::<_, String>(token("s3cret"))), "Some(Provided)"),
        (begin().without_auth(), "Some(None)"),
    ] {
        let debug = format!("{builder:?}");
        assert!(debug.contains(&format!("auth: {auth},")), "{debug}");
        assert!(debug.contains("\"/shop\"") && debug.contains("middleware: 1"), "{debug}");
        assert!(!debug.contains("s3cret"), "{debug}");
    }
}

#[actix::test]
async fn a_client_has_so_many_namespaces_and_no_more() {
    // Nothing listens there.
    let client =
        support::client("http://127.0.0.1:1").reconnect(Reconnect::never()).start().unwrap();
    for number in 1..4_096 {
        client.of(&format!("/{number}")).unwrap();
    }
    for _ in 0..1_000 {
        assert_eq!(client.of("/more").err(), Some(NamespaceError::TooMany));
        assert_eq!(client.namespace("/more").join().err(), Some(NamespaceError::TooMany));
    }
    assert_eq!(client.of("/7").unwrap().namespace(), "/7", "those that there are can be had");
    within(client.shutdown(Duration::ZERO)).await;
}
