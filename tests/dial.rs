//! What a client sends to connect, where it comes from, and what it does about a refusal.

// A test fails by panicking, and measures by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix_socketio::{Client, ConnectFailure, DialLimiter, Reason, Reconnect};
use awc::http::header::HttpDate;
use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use support::{eventually, every::within, oxide, recorder::Recorder, scripted::Scripted};

/// Quick, so that tests are.
fn quick() -> Reconnect {
    Reconnect::default()
        .delay(Duration::from_millis(20), Duration::from_millis(100))
        .limiter(DialLimiter::unlimited())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[actix::test]
async fn providers_are_asked_before_each_dial_and_know_why() {
    let server = Scripted::start();
    server.refuse_next(401, "stale");
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let client = Client::builder(server.url())
        .reconnect(quick())
        .header("x-fixed", "yes")
        .header("authorization", "none")
        .query("tenant", "acme")
        .query("token", "none")
        .headers_with(move |dial| {
            noted.lock().unwrap().push((dial.attempt(), dial.reason().cloned()));
            // It may hold what cannot leave the thread.
            let attempt = Rc::new(Cell::new(dial.attempt()));
            async move {
                tokio::task::yield_now().await;
                Ok::<_, String>(vec![pair("authorization", &format!("h{}", attempt.get()))])
            }
        })
        .query_with(async |dial| {
            let token = format!("q {}", dial.attempt());
            Ok::<_, String>(vec![("token".to_owned(), token)])
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_reconnecting().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.header("x-fixed"), Some("yes"));
    assert_eq!(peer.header("authorization"), Some("h1"));
    assert_eq!(peer.parameter("tenant"), Some("acme"));
    assert_eq!(peer.parameter("token"), Some("q%201"));
    peer.greet().await;
    recorder.next_ready().await;
    peer.cut().await;
    let reason = recorder.next_disconnected().await;
    let peer = server.accept().await;
    assert_eq!(peer.parameter("token"), Some("q%202"));
    let refused = Reason::Connect(ConnectFailure::Status(401));
    let expected = [(0, None), (1, Some(refused)), (2, Some(reason))];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[actix::test]
async fn what_a_provider_cannot_give_is_not_dialled_for_and_is_tried_again() {
    let server = Scripted::start();
    let client = Client::builder(server.url())
        .reconnect(quick())
        .headers_with(async |dial| match dial.attempt() {
            0 => Err("no token yet"),
            1 => Ok(vec![pair("upgrade", "s3cret")]),
            _ => Ok(vec![pair("x-late", "yes")]),
        })
        .query_with(async |dial| match dial.attempt() {
            2 => Ok::<_, String>(vec![pair("long", &"s3cret".repeat(20_000))]),
            _ => Ok(Vec::new()),
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    for expected in
        ["no token yet", "header \"upgrade\" cannot be sent", "the query makes the URL too long"]
    {
        let reason = recorder.next_reconnecting().await.reason().clone();
        assert_eq!(reason, Reason::Provider(expected.to_owned()));
    }
    let mut peer = server.accept().await;
    assert_eq!(peer.header("x-late"), Some("yes"));
    assert_eq!(server.requests(), 1);
    peer.greet().await;
    recorder.next_ready().await;
}

/// Counts those that are dropped.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[actix::test]
async fn a_provider_that_never_answers_is_dropped() {
    let server = Scripted::start();
    let (asked, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asking, guarded) = (Arc::clone(&asked), Arc::clone(&dropped));
    let client = Client::builder(server.url())
        .reconnect(quick())
        .connect_timeout(Duration::from_millis(100))
        .headers_with(move |_| {
            asking.fetch_add(1, Ordering::SeqCst);
            let guard = Guard(Arc::clone(&guarded));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, String>(Vec::new())
            }
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    for number in 1..=2 {
        let next = recorder.next_reconnecting().await;
        assert_eq!(next.reason(), &Reason::Connect(ConnectFailure::TimedOut));
        assert!(dropped.load(Ordering::SeqCst) >= number);
    }
    eventually("it is asked again", || asked.load(Ordering::SeqCst) >= 3).await;
    within(client.shutdown(Duration::ZERO)).await;
    assert_eq!(dropped.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
    assert_eq!(server.requests(), 0);
}

#[actix::test]
async fn a_server_that_says_when_to_come_back_is_left_alone_until_then() {
    let server = Scripted::start();
    let second = Duration::from_secs(1);
    server.refuse_next_with(503, &[("retry-after", "1")], "busy");
    server.refuse_next_with(429, &[("retry-after", "whenever")], "slow down");
    let far = HttpDate::from(SystemTime::now() + 7_200 * second).to_string();
    server.refuse_next_with(503, &[("retry-after", &far)], "gone fishing");
    let began = Instant::now();
    let client = Client::builder(server.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());

    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(ConnectFailure::Status(503)));
    assert_eq!(next.delay(), second);
    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(ConnectFailure::Status(429)));
    assert!(next.delay() < second, "{:?}", next.delay());
    assert!(began.elapsed() >= second);
    // Two hours are too many.
    assert_eq!(recorder.next_reconnecting().await.delay(), 3_600 * second);
    assert_eq!(server.requests(), 3);

    // Whoever asks for it gets it at once.
    client.socket().disconnect();
    recorder.next_connect_error().await;
    client.socket().connect();
    server.accept().await.greet().await;
    recorder.next_ready().await;
}

/// awc alone would let the connections after the hundredth wait until others end.
#[actix::test]
async fn a_thread_has_as_many_connections_as_it_asks_for() {
    let server = oxide::start();
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(Client::builder(server.url()).start().unwrap());
    }
    for client in &clients {
        within(client.socket().ready()).await.unwrap();
    }
    assert!(clients.iter().all(|client| client.socket().is_joined()));
}
