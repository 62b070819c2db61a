//! Credentials that the application gives anew, and namespaces that are tried again for them.

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

use actix::{Actor, Context, Handler};
use actix_socketio::{
    AckError, Client, ClientBuilder, DialLimiter, Disconnected, EmitError, Event, JoinContext,
    Ready, ReadyError, Reason, Reconnect, Retry, Socket, SocketState,
};
use futures::future::join;
use serde_json::{Value, json};
use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{
    eventually,
    every::{Target, on_every_server, within},
    logged,
    node::{self, Line},
    proxy::Proxy,
    recorder::{Fact, Recorder},
    scripted::{Peer, Received, Scripted},
};
use tokio::sync::{Semaphore, watch};

on_every_server!(
    each_namespace_asks_once_and_by_its_name,
    each_connection_asks_anew,
    a_refused_namespace_gets_in_with_new_credentials,
    credentials_are_renewed_at_once_and_then_with_patience,
    stale_credentials_are_replaced_when_the_server_refuses_them,
    without_a_provider_a_refused_namespace_stays_out,
    a_refused_namespace_may_be_tried_again_with_the_same_credentials,
    a_namespace_that_the_server_ends_is_joined_again_on_the_same_connection,
    who_hears_of_the_loss_only_hears_of_the_refusal_behind_it,
    no_secret_is_shown_or_logged,
);

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default()
        .delay(Duration::from_millis(20), Duration::from_millis(100))
        .limiter(DialLimiter::unlimited())
}

/// The same, for a server that may want other credentials.
fn with_new_auth() -> Reconnect {
    quick().retry(|reason| match reason {
        Reason::Refused(_) => Retry::WithNewAuth,
        other => Retry::default_for(other),
    })
}

/// The context that a provider got.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<JoinContext>>>);

impl Asked {
    fn note(&self, join: JoinContext) {
        self.0.lock().unwrap().push(join);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.lock().unwrap().iter().map(|join| join.namespace().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The attempts to join this namespace, and why they were made.
    fn of(&self, namespace: &str) -> Vec<(u32, Option<Reason>)> {
        let asked = self.0.lock().unwrap();
        let joins = asked.iter().filter(|join| join.namespace() == namespace);
        joins.map(|join| (join.attempt(), join.reason().cloned())).collect()
    }
}

fn token(text: &str) -> Value {
    json!({ "token": text })
}

/// The token that came with the request to join.
async fn shown(server: &Target, socket: &Socket) -> Value {
    let handshake: Value = within(socket.emit_with_ack("handshake", ())).await.unwrap();
    // An old server knows only queries.
    let place = if server.is_old() { "query" } else { "auth" };
    handshake[place]["token"].clone()
}

fn is_refusal(reason: &Reason) -> bool {
    matches!(reason, Reason::Refused(_))
}

/// Attempts to join, however many, and then Ready.
async fn ready_at_last(recorder: &mut Recorder) -> Ready {
    let ready = async {
        loop {
            match recorder.next().await {
                Fact::Ready(ready) => return ready,
                Fact::ConnectError(_) | Fact::Reconnecting(_) => {}
                other => panic!("{other:?} instead of Ready"),
            }
        }
    };
    within(ready).await
}

async fn each_namespace_asks_once_and_by_its_name(server: &Target) {
    let asked = Asked::default();
    let noted = asked.clone();
    let client = server
        .builder()
        .auth_with(move |join| {
            let auth = token(&format!("of {}", join.namespace()));
            noted.note(join);
            async move {
                tokio::task::yield_now().await;
                Ok::<_, String>(auth)
            }
        })
        .start()
        .unwrap();
    for namespace in ["/", "/foo", "/bar"] {
        let socket = client.of(namespace).unwrap();
        within(socket.ready()).await.unwrap();
        let expected = if server.is_old() && namespace == "/" {
            // The server joins it by itself.
            Value::Null
        } else {
            json!(format!("of {namespace}"))
        };
        assert_eq!(shown(server, &socket).await, expected);
    }
    let all: &[&str] = if server.is_old() { &["/bar", "/foo"] } else { &["/", "/bar", "/foo"] };
    assert_eq!(asked.names(), all);
    assert_eq!(asked.of("/foo"), [(0, None)]);
}

async fn each_connection_asks_anew(server: &Target) {
    let proxy = Proxy::start(server.port());
    let asked = Asked::default();
    let noted = asked.clone();
    let client = support::client(proxy.url())
        .reconnect(quick())
        .auth_with(move |join| {
            let number = noted.of(join.namespace()).len();
            noted.note(join);
            async move { Ok::<_, String>(token(&number.to_string())) }
        })
        .start()
        .unwrap();
    let foo = client.of("/foo").unwrap();
    let mut recorder = Recorder::of(&foo);
    recorder.next_ready().await;
    let mut reasons = vec![(0, None)];
    for number in ["0", "1", "2"] {
        assert_eq!(shown(server, &foo).await, number);
        assert_eq!(asked.of("/foo"), reasons);
        proxy.cut();
        reasons.push((0, Some(recorder.next_disconnected().await)));
        recorder.ready_after_attempts().await;
    }
    // The client left by itself, and nothing has failed since.
    foo.disconnect();
    foo.connect();
    reasons.push((0, Some(recorder.next_disconnected().await)));
    recorder.next_ready().await;
    assert_eq!(shown(server, &foo).await, "4");
    assert_eq!(asked.of("/foo"), reasons);
    assert_eq!(reasons[4].1, Some(Reason::ClientDisconnect));
    assert_eq!(asked.of("/").len(), if server.is_old() { 0 } else { 4 });
}

async fn a_refused_namespace_gets_in_with_new_credentials(server: &Target) {
    let server = server.fresh();
    server.set_token("good");
    let proxy = Proxy::start(server.port());
    let asked = Asked::default();
    let noted = asked.clone();
    let client = support::client(proxy.url())
        .reconnect(with_new_auth())
        .auth_with(move |join| {
            let known = if join.reason().is_some_and(is_refusal) { "good" } else { "bad" };
            noted.note(join);
            async move { Ok::<_, String>(token(known)) }
        })
        .start()
        .unwrap();
    within(client.socket().ready()).await.unwrap();
    let connections = proxy.counts().connections;
    let guarded = client.of("/guarded").unwrap();
    let mut recorder = Recorder::of(&guarded);
    guarded.emit("echo", "early").unwrap();
    // A caller that waits does not notice.
    let ready = guarded.ready();
    let reason = recorder.next_connect_error().await;
    assert!(is_refusal(&reason), "{reason:?}");
    assert_eq!(guarded.state().reason(), None);
    let next = recorder.next_reconnecting().await;
    assert_eq!((next.attempt(), next.reason()), (1, &reason));
    assert_eq!(next.delay(), Duration::ZERO);
    assert_eq!(recorder.next_ready().await, within(ready).await.unwrap());
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "early");
    assert_eq!(server.tokens(), ["bad", "good"]);
    assert_eq!(asked.of("/guarded"), [(0, None), (1, Some(reason))]);
    // With polling, requests may or may not share connections.
    if !support::begins_with_polling() {
        assert_eq!(proxy.counts().connections, connections, "it needs no new connection");
    }
}

async fn stale_credentials_are_replaced_when_the_server_refuses_them(server: &Target) {
    let server = server.fresh();
    server.set_token("0");
    let proxy = Proxy::start(server.port());
    let cached = Arc::new(AtomicUsize::new(0));
    let client = support::client(proxy.url())
        .reconnect(with_new_auth())
        .auth_with(move |join| {
            if join.namespace() == "/guarded" && join.reason().is_some_and(is_refusal) {
                cached.fetch_add(1, Ordering::SeqCst);
            }
            let known = cached.load(Ordering::SeqCst).to_string();
            async move { Ok::<_, String>(token(&known)) }
        })
        .start()
        .unwrap();
    let guarded = client.of("/guarded").unwrap();
    let mut recorder = Recorder::of(&guarded);
    recorder.next_ready().await;
    for number in ["1", "2"] {
        server.set_token(number);
        proxy.cut_until(recorder.next_disconnected()).await;
        recorder.next_reconnecting().await;
        ready_at_last(&mut recorder).await;
        assert_eq!(shown(&server, &guarded).await, number);
    }
    assert_eq!(server.tokens(), ["0", "0", "1", "1", "2"]);
}

async fn credentials_are_renewed_at_once_and_then_with_patience(server: &Target) {
    let server = server.fresh();
    server.set_token("3");
    let (shortest, longest) = (Duration::from_millis(20), Duration::from_millis(100));
    let client = support::client(server.url())
        .reconnect(with_new_auth().delay(shortest, longest).jitter(0.0))
        .auth_with(async |join| Ok::<_, String>(token(&join.attempt().to_string())))
        .start()
        .unwrap();
    let mut recorder = Recorder::of(&client.of("/guarded").unwrap());
    for delay in [Duration::ZERO, shortest, shortest * 2] {
        assert!(is_refusal(&recorder.next_connect_error().await));
        assert_eq!(recorder.next_reconnecting().await.delay(), delay);
    }
    recorder.next_ready().await;
    assert_eq!(server.tokens(), ["0", "1", "2", "3"]);
}

async fn without_a_provider_a_refused_namespace_stays_out(server: &Target) {
    let server = server.fresh();
    server.set_token("good");
    let builder = || support::client(server.url()).reconnect(with_new_auth());
    for builder in [builder(), builder().auth(token("bad"))] {
        let client = builder.start().unwrap();
        let guarded = client.of("/guarded").unwrap();
        let mut recorder = Recorder::of(&guarded);
        let reason = recorder.next_connect_error().await;
        assert!(is_refusal(&reason), "{reason:?}");
        assert_eq!(within(guarded.ready()).await, Err(ReadyError::Ended(reason.clone())));
        assert_eq!(guarded.state(), SocketState::Ended(reason));
        within(client.shutdown(Duration::ZERO)).await;
        assert!(recorder.rest().is_empty());
    }
    assert_eq!(server.tokens(), [Value::Null, json!("bad")]);
}

async fn a_refused_namespace_may_be_tried_again_with_the_same_credentials(server: &Target) {
    let server = server.fresh();
    server.set_token("not yet");
    let again = |reason: &Reason| match reason {
        Reason::Refused(_) => Retry::Again,
        other => Retry::default_for(other),
    };
    let client = server.builder().reconnect(quick().retry(again)).auth(token("good"));
    let client = client.start().unwrap();
    let guarded = client.of("/guarded").unwrap();
    let mut recorder = Recorder::of(&guarded);
    for attempt in 1..=3 {
        let reason = recorder.next_connect_error().await;
        assert!(is_refusal(&reason), "{reason:?}");
        assert_eq!(recorder.next_reconnecting().await.attempt(), attempt);
    }
    server.set_token("good");
    ready_at_last(&mut recorder).await;
    assert!(server.tokens().iter().all(|shown| shown == "good"));
}

async fn a_namespace_that_the_server_ends_is_joined_again_on_the_same_connection(server: &Target) {
    let proxy = Proxy::start(server.port());
    let delay = Duration::from_millis(50);
    // A session has to last for the longest delay to count as a success.
    let policy = Reconnect::default().delay(delay, Duration::from_secs(3_600)).jitter(0.0);
    let policy = policy.attempts(3).retry(|reason| match reason {
        Reason::ServerDisconnect => Retry::Again,
        other => Retry::default_for(other),
    });
    let client = support::client(proxy.url()).reconnect(policy).start().unwrap();
    let mut on_root = Recorder::of(client.socket());
    let first = on_root.next_ready().await;
    let foo = client.of("/foo").unwrap();
    let mut on_foo = Recorder::of(&foo);
    on_foo.next_ready().await;
    let connections = proxy.counts().connections;
    for attempt in 1..=3 {
        let since = Instant::now();
        foo.emit("leave", ()).unwrap();
        assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);
        let next = on_foo.next_reconnecting().await;
        assert_eq!((next.attempt(), next.reason()), (attempt, &Reason::ServerDisconnect));
        assert_eq!(next.delay(), delay * 2_u32.pow(attempt - 1));
        assert_eq!(foo.state().reason(), None);
        for number in 0..50 {
            foo.emit("echo", number).unwrap();
        }
        on_foo.next_ready().await;
        assert!(since.elapsed() >= next.delay(), "{:?}", since.elapsed());
        for number in 0..50 {
            assert_eq!(on_foo.next_event("echo").await.args::<u32>().unwrap(), number);
        }
    }
    if !support::begins_with_polling() {
        assert_eq!(proxy.counts().connections, connections);
    }
    assert_eq!(within(client.socket().ready()).await.unwrap(), first);
    assert!(on_root.rest().is_empty());

    foo.emit("leave", ()).unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);
    let Fact::GaveUp(given_up) = on_foo.next().await else { panic!("it has not given up") };
    assert_eq!((given_up.attempts(), given_up.reason()), (3, &Reason::ServerDisconnect));
    assert_eq!(foo.state(), SocketState::Ended(Reason::ServerDisconnect));
}

/// Subscribes to the three usual messages only.
struct Plain(tokio::sync::mpsc::UnboundedSender<Option<Reason>>);

impl Actor for Plain {
    type Context = Context<Self>;
}

impl Handler<Ready> for Plain {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {
        self.0.send(None).unwrap();
    }
}

impl Handler<Event> for Plain {
    type Result = ();

    fn handle(&mut self, _: Event, _: &mut Self::Context) {}
}

impl Handler<Disconnected> for Plain {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, _: &mut Self::Context) {
        self.0.send(Some(gone.reason().clone())).unwrap();
    }
}

async fn who_hears_of_the_loss_only_hears_of_the_refusal_behind_it(server: &Target) {
    let server = server.fresh();
    server.set_token("old");
    let proxy = Proxy::start(server.port());
    let client = support::client(proxy.url()).reconnect(quick()).auth(token("old"));
    let client = client.start().unwrap();
    let guarded = client.of("/guarded").unwrap();
    let mut recorder = Recorder::of(&guarded);
    let (sender, mut plain) = tokio::sync::mpsc::unbounded_channel();
    guarded.subscribe(Plain(sender.clone()).start());
    assert_eq!(within(plain.recv()).await, Some(None));
    recorder.next_ready().await;
    server.set_token("new");
    let lost = proxy.cut_until(recorder.next_disconnected()).await;
    let refused = loop {
        match recorder.next().await {
            Fact::ConnectError(error) => break error.reason().clone(),
            Fact::Reconnecting(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(is_refusal(&refused), "{refused:?}");
    assert_eq!(within(plain.recv()).await, Some(Some(lost)));
    assert_eq!(within(plain.recv()).await, Some(Some(refused)));
    // One that was never joined was never lost either.
    guarded.connect();
    recorder.next_connect_error().await;
    let stranger = support::client(server.url()).reconnect(quick()).auth(token("old"));
    let stranger = stranger.start().unwrap().of("/guarded").unwrap();
    stranger.subscribe(Plain(sender).start());
    within(stranger.ready()).await.unwrap_err();
    within(client.shutdown(Duration::ZERO)).await;
    assert!(recorder.rest().is_empty() && plain.try_recv().is_err());
}

async fn no_secret_is_shown_or_logged(server: &Target) {
    logged::start();
    let server = server.fresh();
    server.set_token("s3cret new");
    let asked = Asked::default();
    let noted = asked.clone();
    let builder = server.builder().reconnect(with_new_auth()).auth_with(move |join| {
        let refused = join.reason().is_some_and(is_refusal);
        noted.note(join);
        async move { Ok::<_, String>(token(if refused { "s3cret new" } else { "s3cret old" })) }
    });
    let client = builder.clone().start().unwrap();
    let guarded = client.of("/guarded").unwrap();
    let mut recorder = Recorder::of(&guarded);
    let mut shown = vec![format!("{builder:?}{:?}", server.builder().auth(token("s3cret")))];
    ready_at_last(&mut recorder).await;
    guarded.emit("leave", ()).unwrap();
    recorder.next_disconnected().await;
    shown.push(format!("{client:?}{guarded:?}{:?}{:?}", asked.0, client.stats()));
    within(client.shutdown(Duration::ZERO)).await;
    assert!(logged::lines().iter().any(|line| line.contains("/guarded")), "or nothing is logged");
    shown.extend(logged::lines());
    for text in shown {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(server.tokens(), ["s3cret old", "s3cret new"]);
}

#[actix::test]
async fn auth_that_an_old_server_does_not_take_is_warned_of_on_each_connection() {
    logged::start();
    let warnings = || {
        let lines = logged::lines_at(log::Level::Warn).into_iter();
        lines.filter(|line| line.contains("auth is not sent")).collect::<Vec<_>>()
    };
    for (line, auth, expected) in
        [(Line::V4, true, 0), (Line::V2_5_1, false, 0), (Line::V2_5_1, true, 2)]
    {
        let proxy = Proxy::start(node::server(line).port());
        let mut builder = support::client(proxy.url()).reconnect(quick());
        if auth {
            builder = builder.auth(token("s3cret"));
        }
        let client = builder.start().unwrap();
        let mut recorders = ["/", "/foo"].map(|name| Recorder::of(&client.of(name).unwrap()));
        for recorder in &mut recorders {
            recorder.next_ready().await;
        }
        proxy.cut();
        for recorder in &mut recorders {
            recorder.next_disconnected().await;
            ready_at_last(recorder).await;
        }
        assert_eq!(warnings().len(), expected, "{line:?} {:?}", warnings());
    }
    for line in warnings() {
        assert!(
            line.contains("/: auth") && line.contains("query") && line.contains("header"),
            "{line}"
        );
        assert!(!line.contains("s3cret"), "{line}");
    }
}

// Against a server that does what the test says.

/// A server, and a client of it that is asked for its credentials.
fn scripted(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Scripted, Client) {
    let server = Scripted::start();
    let client = configure(support::client(server.url()).reconnect(quick())).start().unwrap();
    (server, client)
}

async fn opened(server: &Scripted) -> Peer {
    let peer = server.accept().await;
    peer.open().await;
    peer
}

#[actix::test]
async fn a_provider_that_fails_is_asked_again_and_at_last_no_more() {
    let sealed = Arc::new(Mutex::new(true));
    let is_sealed = Arc::clone(&sealed);
    let (server, client) = scripted(|builder| {
        builder.reconnect(quick().attempts(2)).auth_with(move |_| {
            let sealed = *is_sealed.lock().unwrap();
            async move { if sealed { Err("the vault is sealed") } else { Ok(token("new")) } }
        })
    });
    let mut recorder = Recorder::of(client.socket());
    client.socket().emit("kept", ()).unwrap();
    let question = client.socket().emit_with_ack::<()>("asked", ()).send();
    let mut peer = opened(&server).await;
    let reason = Reason::Provider("the vault is sealed".to_owned());
    for attempt in 1..=2 {
        assert_eq!(recorder.next_connect_error().await, reason);
        let next = recorder.next_reconnecting().await;
        assert_eq!((next.attempt(), next.reason()), (attempt, &reason));
    }
    assert_eq!(recorder.next_connect_error().await, reason);
    let Fact::GaveUp(given_up) = recorder.next().await else { panic!("it has not given up") };
    assert_eq!((given_up.attempts(), given_up.reason()), (2, &reason));
    assert_eq!(client.socket().state(), SocketState::Ended(reason.clone()));
    let never = EmitError::Closed(reason.clone());
    assert_eq!(within(question).await, Err(AckError::NeverSent(never)));
    assert_eq!(within(client.socket().ready()).await, Err(ReadyError::Ended(reason)));

    // The application can have it tried again, on the existing connection.
    *sealed.lock().unwrap() = false;
    client.socket().connect();
    peer.expect_text(r#"40{"token":"new"}"#).await;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    peer.expect_text(r#"42["kept"]"#).await;
    recorder.next_ready().await;
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn what_is_not_an_object_is_no_credentials() {
    let given = [json!("s3cret"), json!(["s3cret"]), json!(7), Value::Null, token("fine")];
    let turn = AtomicUsize::new(0);
    let (server, client) = scripted(|builder| {
        builder.auth_with(move |_| {
            let auth = given[turn.fetch_add(1, Ordering::SeqCst)].clone();
            async move { Ok::<_, String>(auth) }
        })
    });
    let mut recorder = Recorder::of(client.socket());
    let mut peer = opened(&server).await;
    for _ in 0..4 {
        let Reason::Provider(text) = recorder.next_connect_error().await else {
            panic!("it is taken");
        };
        assert!(text.contains("must be an object") && !text.contains("s3cret"), "{text}");
        recorder.next_reconnecting().await;
    }
    peer.expect_text(r#"40{"token":"fine"}"#).await;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    recorder.next_ready().await;
}

/// Counts the futures that are alive.
struct Guard(Arc<AtomicUsize>);

impl Guard {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has the client ask a provider that never answers. Gives what it is asked, and the number of its
/// futures that have not been dropped.
fn never(builder: ClientBuilder, asked: &Asked, alive: &Arc<AtomicUsize>) -> ClientBuilder {
    let (noted, alive) = (asked.clone(), Arc::clone(alive));
    builder.auth_with(move |join| {
        noted.note(join);
        let guard = Guard::new(&alive);
        async move {
            pending::<()>().await;
            drop(guard);
            Ok::<_, String>(token("never"))
        }
    })
}

#[actix::test]
async fn a_provider_that_never_answers_has_as_long_as_joining_may_take() {
    let time = Duration::from_millis(100);
    let (asked, alive) = <(Asked, Arc<AtomicUsize>)>::default();
    let (server, client) = scripted(|builder| never(builder, &asked, &alive).join_timeout(time));
    let mut recorder = Recorder::of(client.socket());
    let since = Instant::now();
    let mut peer = opened(&server).await;
    for attempt in 1..=2 {
        eventually("it is asked", || asked.count() >= attempt).await;
        let reason = recorder.next_connect_error().await;
        assert_eq!(reason, Reason::Provider("no credentials in time".to_owned()));
        let all = time * u32::try_from(attempt).unwrap();
        assert!(since.elapsed() >= all, "{:?}", since.elapsed());
        assert_eq!(recorder.next_reconnecting().await.reason(), &reason);
        eventually("nobody waits for it", || {
            alive.load(Ordering::SeqCst) == asked.count() - attempt
        })
        .await;
    }
    assert_eq!(server.requests(), 1);
    assert_eq!(peer.next_within(Duration::from_millis(10)).await, None);
}

#[actix::test]
async fn a_disconnect_wins_over_a_provider() {
    let (asked, alive) = <(Asked, Arc<AtomicUsize>)>::default();
    let (server, client) = scripted(|builder| never(builder, &asked, &alive));
    let mut recorder = Recorder::of(client.socket());
    let mut peer = opened(&server).await;
    for times in 1..=2 {
        eventually("it is asked", || asked.count() == times).await;
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        client.socket().disconnect();
        assert_eq!(recorder.next_connect_error().await, Reason::ClientDisconnect);
        eventually("nobody waits for it", || alive.load(Ordering::SeqCst) == 0).await;
        assert_eq!(client.socket().state(), SocketState::Ended(Reason::ClientDisconnect));
        client.socket().connect();
    }
    eventually("it is asked", || asked.count() == 3).await;
    // At once, it is the same.
    client.socket().disconnect();
    client.socket().connect();
    eventually("it is asked", || asked.count() == 4).await;
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    // The server has noticed nothing of all that.
    assert_eq!(peer.next_within(Duration::from_millis(10)).await, None);
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn a_shutdown_wins_over_a_provider() {
    for emitted in [0, 1] {
        let (asked, alive) = <(Asked, Arc<AtomicUsize>)>::default();
        let (server, client) = scripted(|builder| never(builder, &asked, &alive));
        let mut recorder = Recorder::of(client.socket());
        let mut peer = opened(&server).await;
        eventually("it is asked", || asked.count() == 1).await;
        for number in 0..emitted {
            client.socket().emit("waits", number).unwrap();
        }
        // Where nothing is to be sent there is nothing to wait for.
        let deadline = Duration::from_secs(if emitted == 0 { 3_600 } else { 0 });
        let goodbye = async move {
            assert_eq!(peer.next().await, Received::Close(Some(1000)));
            drop(peer);
        };
        let (report, ()) = join(within(client.shutdown(deadline)), goodbye).await;
        assert_eq!(report.dropped, emitted);
        assert_eq!(recorder.next_connect_error().await, Reason::Shutdown);
        eventually("nobody waits for it", || alive.load(Ordering::SeqCst) == 0).await;
        assert_eq!(asked.count(), 1);
    }
}

#[actix::test]
async fn an_answer_for_a_connection_that_is_lost_is_not_used() {
    let turn = Arc::new(AtomicUsize::new(0));
    let alive = Arc::<AtomicUsize>::default();
    let asked = Arc::clone(&turn);
    let guarded = Arc::clone(&alive);
    let gate = Arc::new(Semaphore::new(0));
    let pass = Arc::clone(&gate);
    let (server, client) = scripted(|builder| {
        builder.auth_with(move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            let guard = Guard::new(&guarded);
            let pass = Arc::clone(&pass);
            async move {
                // Two at once, if they were asked side by side.
                pass.acquire().await.unwrap().forget();
                drop(guard);
                Ok::<_, String>(token(&number.to_string()))
            }
        })
    });
    let mut recorder = Recorder::of(client.socket());
    for number in 1..=3 {
        let peer = opened(&server).await;
        eventually("it is asked", || turn.load(Ordering::SeqCst) == number).await;
        assert_eq!(alive.load(Ordering::SeqCst), 1, "the one before is dropped");
        peer.cut().await;
        recorder.next_reconnecting().await;
    }
    let mut peer = opened(&server).await;
    eventually("it is asked", || turn.load(Ordering::SeqCst) == 4).await;
    gate.add_permits(4);
    peer.expect_text(r#"40{"token":"3"}"#).await;
    peer.send_text(r#"40{"sid":"x"}"#).await;
    recorder.next_ready().await;
    assert_eq!(gate.available_permits(), 3, "nobody else was let through");
    assert_eq!(peer.next_within(Duration::from_millis(10)).await, None);
}

#[actix::test]
async fn the_last_connection_counts_when_one_is_lost_and_made_while_the_answer_is_there() {
    // The answer comes at the very moment: whatever the order, no connection gets another's.
    let (give, given) = watch::channel(0);
    let turn = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&turn);
    let (server, client) = scripted(|builder| {
        builder.auth_with(move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            let mut given = given.clone();
            async move {
                given.wait_for(|&last| last >= number).await.unwrap();
                Ok::<_, String>(token(&number.to_string()))
            }
        })
    });
    let mut recorder = Recorder::of(client.socket());
    for number in 1..=20 {
        let mut peer = opened(&server).await;
        eventually("it is asked", || turn.load(Ordering::SeqCst) == number).await;
        peer.cut().await;
        give.send(number).unwrap();
        recorder.next_reconnecting().await;
        while let Received::Text(text) = peer.next().await {
            assert_eq!(text, format!(r#"40{{"token":"{number}"}}"#));
        }
    }
}

#[actix::test]
async fn a_server_that_takes_too_long_is_given_more_time() {
    let (server, client) =
        scripted(|builder| builder.join_timeout(Duration::from_millis(50)).auth(token("x")));
    let mut recorder = Recorder::of(client.socket());
    client.socket().emit("kept", ()).unwrap();
    let mut peer = opened(&server).await;
    peer.expect_text(r#"40{"token":"x"}"#).await;
    for attempt in 1..=3 {
        assert_eq!(recorder.next_connect_error().await, Reason::JoinTimeout);
        let next = recorder.next_reconnecting().await;
        assert_eq!((next.attempt(), next.reason()), (attempt, &Reason::JoinTimeout));
    }
    peer.send_text(r#"40{"sid":"late"}"#).await;
    assert_eq!(ready_at_last(&mut recorder).await.sid(), "late");
    // A second request would join it twice.
    peer.expect_text(r#"42["kept"]"#).await;
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn a_server_that_takes_too_long_is_given_up_when_all_attempts_have_failed() {
    let (server, client) = scripted(|builder| {
        builder.reconnect(quick().attempts(2)).join_timeout(Duration::from_millis(50))
    });
    let mut recorder = Recorder::of(client.socket());
    let mut peer = opened(&server).await;
    for _ in 0..2 {
        assert_eq!(recorder.next_connect_error().await, Reason::JoinTimeout);
        recorder.next_reconnecting().await;
    }
    assert_eq!(recorder.next_connect_error().await, Reason::JoinTimeout);
    let Fact::GaveUp(given_up) = recorder.next().await else { panic!("it has not given up") };
    assert_eq!((given_up.attempts(), given_up.reason()), (2, &Reason::JoinTimeout));
    // The answer is too late: it is left as soon as it may be.
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"late"}"#).await;
    let Received::Ping(ping) = peer.next().await else { panic!("it does not leave") };
    peer.pong(ping).await;
    peer.expect_text("41").await;
}
