//! A connection that is lost, or cannot be made, comes back by itself, or does not where it should not.

// A test fails by panicking, and measures by the real clock; and a namespace of the servers is
// called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_names,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix_socketio::{
    AckError, Client, ConnectFailure, DialLimiter, ReadyError, Reason, Reconnect, SocketState,
    StartError,
};
use futures::FutureExt;
use std::time::{Duration, Instant};
use support::{
    eventually,
    every::{Target, on_every_server, on_official_servers, socketioxide, within},
    recorder::{Fact, Recorder},
    reserved::Port,
    scripted::Scripted,
};

on_every_server!(
    a_server_that_is_restarted_finds_us_again,
    a_server_that_comes_later_is_found,
    who_is_patient_waits_for_a_server_that_comes_later,
);
on_official_servers!(a_connection_that_is_cut_comes_back, what_the_server_has_ended_stays_ended,);

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(50), Duration::from_millis(200))
}

async fn a_server_that_is_restarted_finds_us_again(server: &Target) {
    let port = Port::reserve();
    let mortal = server.fresh_on(port.number());
    let client = mortal.builder().reconnect(quick()).start().unwrap();
    let foo = client.of("/foo").unwrap();
    let mut on_root = Recorder::of(client.socket());
    let mut on_foo = Recorder::of(&foo);
    let first = on_root.next_ready().await;
    on_foo.next_ready().await;
    let open = client.socket().emit_with_ack::<u8>("silent", ()).send();
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));

    if let Some(official) = mortal.official() {
        official.kill();
    }
    drop(mortal);
    let reason = on_root.next_disconnected().await;
    assert_eq!(client.socket().state(), SocketState::Joining);
    assert_eq!(on_foo.next_disconnected().await, reason);
    assert_eq!(within(open).await, Err(AckError::Disconnected(reason.clone())));
    let next = on_root.next_reconnecting().await;
    assert_eq!((next.attempt(), next.reason()), (1, &reason));
    // Events emitted in the meantime wait, in order, and so do callers that want an answer.
    for number in 0..100 {
        foo.emit("echo", number).unwrap();
    }
    let asked = client.socket().emit_with_ack::<u8>("number", ()).send();

    let reborn = server.fresh_on(port.number());
    let second = on_root.ready_after_attempts().await;
    assert_ne!(first.sid(), second.sid());
    on_foo.ready_after_attempts().await;
    for number in 0..100 {
        assert_eq!(on_foo.next_event("echo").await.args::<u32>().unwrap(), number);
    }
    assert_eq!(within(asked).await, Ok(7));
    assert_eq!((reborn.connections("/"), reborn.connections("/foo")), (1, 1));
    assert_eq!(within(client.shutdown(Duration::from_secs(5))).await.dropped, 0);
}

async fn a_server_that_comes_later_is_found(server: &Target) {
    let port = Port::reserve();
    let client = support::client(port.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    client.socket().emit("echo", "early").unwrap();
    let next = recorder.next_reconnecting().await;
    assert!(
        matches!(next.reason(), Reason::Connect(ConnectFailure::Unreachable(_))),
        "{:?}",
        next.reason()
    );
    let soon = within(client.socket().ready().timeout(Duration::from_millis(10))).await;
    let Err(ReadyError::TimedOut { last: Some(last) }) = soon else { panic!("{soon:?}") };
    assert_eq!(&last, next.reason());

    let _late = server.fresh_on(port.number());
    recorder.ready_after_attempts().await;
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "early");
}

async fn who_is_patient_waits_for_a_server_that_comes_later(server: &Target) {
    let port = Port::reserve();
    let builder = support::client(port.url());
    let client = builder.reconnect(quick().patient()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let ready = tokio::task::spawn_local(client.socket().ready());
    for number in 1..=5 {
        assert_eq!(recorder.next_reconnecting().await.attempt(), number);
    }
    let _late = server.fresh_on(port.number());
    assert_eq!(recorder.ready_after_attempts().await, within(ready).await.unwrap().unwrap());
}

async fn a_connection_that_is_cut_comes_back(server: &Target) {
    let server = server.fresh();
    let client = server.builder().reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    for _ in 0..5 {
        recorder.ready_after_attempts().await;
        client.socket().emit("cut", ()).unwrap();
        recorder.next_disconnected().await;
    }
    recorder.ready_after_attempts().await;
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));
    assert_eq!(server.connections("/"), 6);
}

async fn what_the_server_has_ended_stays_ended(server: &Target) {
    let server = server.fresh();
    let client = server.builder().reconnect(quick()).start().unwrap();
    let (foo, no) = (client.of("/foo").unwrap(), client.of("/no").unwrap());
    let mut on_root = Recorder::of(client.socket());
    let mut on_foo = Recorder::of(&foo);
    let mut on_no = Recorder::of(&no);
    on_root.next_ready().await;
    on_foo.next_ready().await;
    assert!(matches!(on_no.next_connect_error().await, Reason::Refused(_)));
    foo.emit("leave", ()).unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);

    client.socket().emit("cut", ()).unwrap();
    on_root.next_disconnected().await;
    on_root.ready_after_attempts().await;
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));
    assert_eq!(server.connections("/foo"), 1, "it was not joined again");
    assert!(on_foo.rest().is_empty() && on_no.rest().is_empty());
    foo.connect();
    on_foo.next_ready().await;
}

#[actix::test]
async fn it_gives_up_when_all_attempts_have_failed() {
    let port = Port::reserve();
    let client = support::client(port.url()).reconnect(quick().attempts(3)).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    for number in 1..=3 {
        assert_eq!(recorder.next_reconnecting().await.attempt(), number);
    }
    let reason = recorder.next_connect_error().await;
    assert!(matches!(reason, Reason::Connect(ConnectFailure::Unreachable(_))), "{reason:?}");
    let Fact::GaveUp(given_up) = recorder.next().await else { panic!("it has not given up") };
    assert_eq!((given_up.attempts(), given_up.reason()), (3, &reason));
    assert_eq!(client.socket().state(), SocketState::Ended(reason.clone()));
    assert_eq!(within(client.socket().ready()).await, Err(ReadyError::Ended(reason)));
}

/// The error with which waiting for a server ends if it makes no sense.
fn failing(outcome: Result<Client, StartError>) -> Reason {
    match outcome {
        Err(StartError::Ready { error: ReadyError::Failing(reason), .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn what_will_not_change_by_itself_ends_the_wait_at_once_but_not_the_client() {
    for status in [400, 401, 403, 404, 410] {
        let server = Scripted::start();
        // With a 400 it may want the other protocol revision.
        let dials = if status == 400 { 2 } else { 1 };
        for _ in 0..2 * dials {
            server.refuse_next(status, "no");
        }
        // For longer than the test has.
        let hour = Duration::from_secs(3_600);
        let slow =
            || support::client(server.url()).reconnect(Reconnect::default().delay(hour, hour));
        let reason = Reason::Connect(support::answered(status, "no"));
        assert_eq!(failing(within(slow().connect()).await), reason);

        let client = slow().start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        let ready = client.socket().ready();
        assert_eq!(within(ready).await, Err(ReadyError::Failing(reason.clone())));
        assert_eq!(recorder.next_reconnecting().await.reason(), &reason);
        assert_eq!((client.socket().state().reason(), server.requests()), (None, 2 * dials));
        // A later caller gets the reason, too.
        let ready = client.socket().ready();
        assert_eq!(within(ready).await, Err(ReadyError::Failing(reason)));
    }
}

#[actix::test]
async fn who_connects_again_waits_for_what_comes_of_that() {
    let server = Scripted::start();
    server.refuse_next(404, "no");
    let client = support::client(server.url()).reconnect(Reconnect::never()).start().unwrap();
    let not_found = Reason::Connect(support::answered(404, "no"));
    assert_eq!(within(client.socket().ready()).await, Err(ReadyError::Ended(not_found)));
    // The server has been repaired.
    client.socket().connect();
    let mut ready = client.socket().ready();
    assert!((&mut ready).now_or_never().is_none());
    let mut peer = server.accept().await;
    peer.greet().await;
    within(ready).await.unwrap();
}

#[actix::test]
async fn a_host_that_nobody_knows_ends_the_wait_at_once() {
    let client = support::client("http://no-such-host.invalid:3000").connect();
    let reason = failing(within(client).await);
    let Reason::Connect(ConnectFailure::UnknownHost(error)) = &reason else { panic!("{reason:?}") };
    assert!(error.starts_with("no-such-host.invalid:3000: "), "{error}");
    assert!(!error.contains("Failed resolving"), "{error}");
}

#[actix::test]
async fn a_dead_port_ends_the_wait_after_a_few_attempts_but_not_the_client() {
    let port = Port::reserve();
    let link = format!("127.0.0.1:{}", port.number());
    let builder = || support::client(port.url());
    let reason = failing(within(builder().reconnect(quick()).connect()).await);
    let Reason::Connect(ConnectFailure::Unreachable(error)) = &reason else { panic!("{reason:?}") };
    assert!(error.starts_with(&format!("{link}: Connection refused")), "{error}");

    let client = builder().reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let ready = within(client.socket().ready()).await;
    assert!(matches!(ready, Err(ReadyError::Failing(Reason::Connect(_)))), "{ready:?}");
    for number in 1..=5 {
        assert_eq!(recorder.next_reconnecting().await.attempt(), number);
    }
    assert_eq!(client.socket().state().reason(), None);
}

#[actix::test]
async fn a_disconnect_ends_the_waiting() {
    let server = Scripted::start();
    for _ in 0..2 {
        server.refuse_next(503, "later");
    }
    let client = support::client(server.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(support::answered(503, "later")));
    client.socket().disconnect();
    assert_eq!(recorder.next_connect_error().await, Reason::ClientDisconnect);
    // Longer than any delay: nobody dials.
    assert!(server.accept_within(Duration::from_millis(500)).await.is_none());
    assert_eq!(server.requests(), 1);
    client.socket().connect();
    recorder.next_reconnecting().await;
    let mut peer = server.accept().await;
    peer.greet().await;
    recorder.next_ready().await;
    assert_eq!(server.requests(), 3);
}

#[actix::test]
async fn a_shutdown_ends_the_waiting() {
    let port = Port::reserve();
    let client = support::client(port.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_reconnecting().await;
    client.socket().emit("never", ()).unwrap();
    let report = within(client.shutdown(Duration::from_millis(300))).await;
    assert_eq!(report.dropped, 1);
    assert_eq!(client.socket().state(), SocketState::Ended(Reason::Shutdown));
}

/// As many clients as a process can have together with their server: a thousand, unless the system
/// allows fewer open files.
fn multitude() -> u32 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3)?.parse::<u32>().ok());
    if soft.is_some_and(|soft| soft >= 4_096) { 1_000 } else { 200 }
}

#[actix::test]
async fn the_clients_of_one_process_come_back_one_by_one() {
    const RATE: u32 = 250;
    let clients = multitude();
    let policy = quick().limiter(DialLimiter::per_second(RATE));
    let port = Port::reserve();
    let server = socketioxide().fresh_on(port.number());
    let mut all = Vec::new();
    for _ in 0..clients {
        let client = server.builder().reconnect(policy.clone()).start().unwrap();
        let recorder = Recorder::of(client.socket());
        all.push((client, recorder));
    }
    for (_, recorder) in &mut all {
        recorder.next_ready().await;
    }

    let cut = Instant::now();
    drop(server);
    let reborn = socketioxide().fresh_on(port.number());
    for (_, recorder) in &mut all {
        recorder.next_disconnected().await;
        recorder.ready_after_attempts().await;
    }
    let took = cut.elapsed();
    assert!(took >= Duration::from_secs(1) * (clients - 1) / RATE, "{took:?}");
    // The application of a server is told of a connection after the client is.
    eventually("all are back", || reborn.connections("/") == u64::from(clients)).await;
}
