//! HTTP long-polling and the upgrade to a websocket, with official servers.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_socketio::{
    AckError, Client, ConnectFailure, EmitError, Protocol, ReadyError, Reason, Reconnect,
    Transport, Upgraded,
};
use actix_web::{App, HttpServer, web};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use support::{
    PATIENCE, builder, eventually,
    every::within,
    node::{self, Config, Line},
    proxy::Proxy,
    raw,
    recorder::Recorder,
    storm::quick,
};
use tokio::sync::Mutex;

const POLLING: [Transport; 1] = [Transport::Polling];
const UPGRADE: [Transport; 2] = [Transport::Polling, Transport::WebSocket];

/// Tests that hold much, or measure what the process holds: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Everything that a client does, once.
async fn main_job(client: &Client, server: &node::Server) {
    let socket = client.socket();
    within(socket.ready()).await.unwrap();
    let data = Bytes::from_static(&[0, 255, 30, 4]);
    let (text, back): (String, Bytes) =
        within(socket.emit_with_ack("echo", ("€😀\u{1e}", &data))).await.unwrap();
    assert_eq!((text.as_str(), back), ("€😀\u{1e}", data), "{:?}", server.line());
    let other = client.of("/foo").unwrap();
    other.connect();
    let seven: u64 = within(other.emit_with_ack("number", ())).await.unwrap();
    assert_eq!(seven, 7);
    other.disconnect();
    eventually("the server sees it leave", || {
        server.disconnections("/foo") == server.connections("/foo")
    })
    .await;
    let _: Value = within(socket.emit_with_ack("echo", "still there")).await.unwrap();
}

#[actix::test]
async fn the_main_job_works_by_polling_alone() {
    for line in Line::ALL {
        let server = node::start(line, &Config::default());
        let client = builder(server.url()).transports(POLLING).start().unwrap();
        main_job(&client, &server).await;
        assert_eq!(client.transport(), Some(Transport::Polling), "{line:?}");
        client.socket().emit("record", ("end", 1)).unwrap();
        let report = within(client.shutdown(PATIENCE)).await;
        assert_eq!((report.sent, report.dropped), (1, 0), "{line:?}");
        assert_eq!(server.recorded("end"), [1], "{line:?}");
        eventually("the server sees the end", || server.disconnections("/") == 1).await;
    }
}

#[actix::test]
async fn polling_becomes_a_websocket() {
    for line in Line::ALL {
        let server = node::start(line, &Config::default());
        let client = builder(server.url()).transports(UPGRADE).start().unwrap();
        main_job(&client, &server).await;
        eventually("an upgrade", || client.transport() == Some(Transport::WebSocket)).await;
        main_job(&client, &server).await;
        assert_eq!(server.connections("/"), 1, "{line:?}: it is the same session");
    }
}

#[actix::test]
async fn subscribers_who_ask_are_told_of_the_upgrade() {
    let server = node::server(Line::V4);
    let client = builder(server.url()).transports(UPGRADE).start().unwrap();
    let mut upgrades = client.socket().listen_to::<Upgraded>().stream();
    let upgraded = within(upgrades.next()).await.unwrap();
    assert_eq!((upgraded.namespace(), upgraded.transport()), ("/", Transport::WebSocket));
    assert_eq!(client.transport(), Some(Transport::WebSocket));
}

#[actix::test]
async fn a_request_that_reaches_another_server_says_so_and_the_client_begins_again() {
    let line = Line::V2_5_1;
    let [first, second] = [(); 2].map(|()| node::start(line, &Config::default()));
    let proxy = Proxy::start(first.port());
    let client = support::client(proxy.url()).transports(POLLING).reconnect(quick());
    let client = client.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    // The poll waits on the first connection, and an event goes through another one.
    proxy.lead_to(second.port());
    client.socket().emit("record", ("lost", 1)).unwrap();
    assert_eq!(recorder.next_disconnected().await, Reason::SessionUnknown);
    recorder.next_reconnecting().await;
    recorder.next_ready().await;
    let _: Value = within(client.socket().emit_with_ack("echo", "there")).await.unwrap();
    assert_eq!((first.connections("/"), second.connections("/")), (1, 1));
}

#[actix::test]
async fn a_session_that_is_given_up_is_closed_at_the_server() {
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let server = node::start(line, &Config::default());
        let proxy = Proxy::start(server.port());
        let client = support::client(proxy.url()).transports(POLLING).reconnect(quick());
        let client = client.start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        // The server reads on, and learns nothing of it.
        proxy.half_close_to_client();
        recorder.next_disconnected().await;
        recorder.next_reconnecting().await;
        recorder.next_ready().await;
        eventually("the server knows", || server.disconnections("/") == 1).await;
    }
}

#[actix::test]
async fn the_server_is_told_of_the_end_of_a_session_as_soon_as_that_is_possible() {
    let server = node::start(Line::V4, &Config::default());
    let proxy = Proxy::start(server.port());
    let client = support::client(proxy.url()).transports(POLLING).reconnect(quick());
    let client = client.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    // Nor does the first request get there that says so.
    proxy.refuse(true);
    proxy.half_close_to_client();
    recorder.next_disconnected().await;
    proxy.until("a refusal", |counts| counts.refused > 0).await;
    proxy.refuse(false);
    recorder.ready_after_attempts().await;
    eventually("the server knows", || server.disconnections("/") == 1).await;
}

#[actix::test]
async fn two_connections_are_enough_for_all_polls() {
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let server = node::start(line, &Config::default());
        let proxy = Proxy::start(server.port());
        let protocol = if line.is_old() { Protocol::Eio3 } else { Protocol::Eio4 };
        let client = builder(proxy.url()).transports(POLLING).protocol(protocol);
        let client = client.start().unwrap();
        for number in 0..50 {
            let echo = within(client.socket().emit_with_ack::<u64>("echo", number)).await;
            assert_eq!(echo, Ok(number));
        }
        assert_eq!(proxy.counts().connections, 2, "{line:?}");
    }
}

/// Numbers go both ways while the transport changes.
async fn numbers_pass(line: Line, transports: &[Transport], round: u32) {
    const COUNT: u64 = 10_000;
    let server = node::server(line);
    let stream = format!("{}-{round}", transports.len());
    let client = builder(server.url())
        .transports(transports.iter().copied())
        .send_buffer(20_000, 16 << 20)
        .start()
        .unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    socket.emit("burst", COUNT).unwrap();
    for number in 0..COUNT {
        socket.emit("record", (&stream, number)).unwrap();
    }
    recorder.burst(COUNT).await;
    let _: Value = within(socket.emit_with_ack("echo", "last")).await.unwrap();
    assert_eq!(server.recorded(&stream), (0..COUNT).collect::<Vec<_>>(), "{line:?} {transports:?}");
}

#[actix::test]
async fn ten_thousand_events_pass_each_way() {
    let _turn = TURN.lock().await;
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        numbers_pass(line, &POLLING, 0).await;
        for round in 0..3 {
            numbers_pass(line, &UPGRADE, round).await;
        }
    }
}

#[actix::test]
async fn polling_is_used_where_the_server_has_no_websocket() {
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let options = json!({ "transports": ["polling"] });
        let server = node::start(line, &Config { options, ..Config::default() });
        // By default.
        let client = Client::builder(server.url()).start().unwrap();
        main_job(&client, &server).await;
        assert_eq!(client.transport(), Some(Transport::Polling), "{line:?}");
        // A websocket alone gets nowhere, and says what would.
        let client = builder(server.url()).transports([Transport::WebSocket]).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        let reason = recorder.next_connect_error().await;
        let Reason::Connect(ConnectFailure::NoWebsocket(_)) = reason else { panic!("{reason:?}") };
        assert!(reason.to_string().contains("transports"), "{reason}");
    }
}

#[actix::test]
async fn a_session_that_the_server_ends_or_forgets_is_lost_and_regained() {
    for line in [Line::V2_5_1, Line::V4] {
        let server = node::start(line, &Config::default());
        let client = Client::builder(server.url()).transports(POLLING).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        for how in ["kick by the engine", "cut"] {
            if how == "cut" {
                client.socket().emit("cut", ()).unwrap();
            } else {
                server.close_engines();
            }
            let reason = recorder.next_disconnected().await;
            let expected = matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_));
            assert!(expected, "{line:?} {how}: {reason:?}");
            recorder.ready_after_attempts().await;
        }
    }
}

#[actix::test]
async fn heartbeats_go_both_ways() {
    let options = json!({ "pingInterval": 200, "pingTimeout": 1_000 });
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let server = node::start(line, &Config { options: options.clone(), ..Config::default() });
        let client = builder(server.url()).transports(POLLING).start().unwrap();
        let socket = client.socket();
        within(socket.ready()).await.unwrap();
        for _ in 0..5 {
            let _: Value = within(socket.emit_with_ack("later", (300, 1))).await.unwrap();
        }
        assert_eq!(server.connections("/"), 1, "{line:?}");
    }
}

#[actix::test]
async fn a_list_without_a_transport_is_refused() {
    let error = builder("http://localhost").transports([]).start().unwrap_err();
    assert!(error.to_string().contains("transports"), "{error}");
}

/// An HTTP answer with this body. The server closes the connection behind it, and says so: otherwise the
/// next request may go on a connection that is just being closed.
fn http(status: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{more}");
    format!("{head}\r\n{body}").into_bytes()
}

const OPEN: &str = r#"0{"sid":"s3cret","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

/// The reason that a client gets from a server that answers its first polls so.
async fn ending(answers: impl Fn(usize, &str) -> raw::Answer + Send + Sync + 'static) -> Reason {
    let count = AtomicUsize::new(0);
    let server = raw::start(move |head| answers(count.fetch_add(1, Ordering::SeqCst), head));
    let client = builder(server.url()).transports(POLLING).max_message_size(100_000);
    let client = client.start().unwrap();
    let reason = within(client.socket().ready()).await.unwrap_err();
    assert!(!format!("{client:?}{reason}").contains("s3cret"), "{reason}");
    let ReadyError::Ended(reason) = reason else { panic!("{reason:?}") };
    reason
}

#[actix::test]
async fn an_answer_that_is_none_ends_the_session_and_is_told() {
    use raw::Answer::Last;
    let good = || Last(http("200 OK", "", OPEN));
    // Before there is a session.
    for (answer, expected) in [
        (http("200 OK", "", "<html><title>Welcome</title></html>"), "not a Socket.IO server"),
        (http("200 OK", "", ""), "empty"),
        (http("200 OK", "", r#"0{"sid"#), "EOF while parsing"),
        (http("404 Not Found", "", "nothing"), "404"),
        (
            http("400 Bad Request", "", r#"{"code":0,"message":"Transport unknown"}"#),
            "Transport unknown",
        ),
        (http("302 Found", "location: /elsewhere\r\n", ""), "302"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n0{".to_vec(), "cut"),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let reason = ending(move |_, _| Last(answer.clone())).await.to_string();
        assert!(reason.contains(expected), "{shown}: {reason}");
    }
    // In a session.
    for (answer, expected) in [
        (
            http("400 Bad Request", "", r#"{"code":1,"message":"Session ID unknown"}"#),
            "does not know the session",
        ),
        (http("413 Payload Too Large", "", ""), "too large"),
        (http("500 Internal Server Error", "", "s3"), "500"),
        (http("200 OK", "", "42[\"a\"]\u{1e}"), "separator"),
        (http("200 OK", "", &"4".repeat(100_001)), "100000 bytes"),
    ] {
        let shown = String::from_utf8_lossy(&answer[..30]).into_owned();
        let answers = move |number, _: &str| {
            if number == 0 { good() } else { Last(answer.clone()) }
        };
        let reason = ending(answers).await.to_string();
        assert!(reason.contains(expected), "{shown}: {reason}");
    }
}

/// A balancer without sticky sessions: an old server lets the client in with its first answer, and the second
/// request reaches another one.
#[actix::test]
async fn sessions_that_are_unknown_at_once_are_begun_anew_after_growing_delays() {
    let server = raw::start(move |head| {
        raw::Answer::Last(if head.contains("sid=") {
            http("400 Bad Request", "", r#"{"code":1,"message":"Session ID unknown"}"#)
        } else {
            http("200 OK", "", &format!("{}:{OPEN}2:40", OPEN.len()))
        })
    });
    let delay = Duration::from_millis(20);
    // A session that has lasted for the longest delay would begin the count anew.
    let policy = Reconnect::default().delay(delay, 1_000 * PATIENCE).jitter(0.0);
    let builder = Client::builder(server.url()).transports(POLLING).protocol(Protocol::Eio3);
    let client = builder.reconnect(policy).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    for attempt in 1..=5 {
        recorder.next_ready().await;
        assert_eq!(recorder.next_disconnected().await, Reason::SessionUnknown);
        let next = recorder.next_reconnecting().await;
        assert_eq!((next.attempt(), next.delay()), (attempt, delay * 2_u32.pow(attempt - 1)));
    }
}

/// An HTTP answer with this body in chunks, one for each packet, without an end.
fn cut_at_a_packet(body: &str) -> Vec<u8> {
    let chunks =
        body.split_inclusive('\u{1e}').map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    [head, &chunks.collect::<String>()].concat().into_bytes()
}

#[actix::test]
async fn an_answer_in_chunks_that_is_cut_ends_the_session_however_well_its_packets_end() {
    use raw::Answer::Last;
    let whole = |body: &str| [&cut_at_a_packet(body)[..], b"0\r\n\r\n"].concat();
    for body in ["42[\"a\"]", "42[\"a\"]\u{1e}2", "6"] {
        let (cut, good) = (cut_at_a_packet(body), whole("1"));
        // The end of the last chunk may miss as well.
        let half = [&cut[..], b"0\r\n"].concat();
        for cut in [cut, half] {
            let good = good.clone();
            let polls = AtomicUsize::new(0);
            let answers = move |_, head: &str| {
                Last(match () {
                    () if head.starts_with("POST") => http("200 OK", "", "ok"),
                    () if !head.contains("sid=") => whole(OPEN),
                    () if polls.fetch_add(1, Ordering::SeqCst) == 0 => cut.clone(),
                    () => good.clone(),
                })
            };
            let reason = ending(answers).await.to_string();
            assert!(reason.contains("the answer to a poll was cut"), "{body}: {reason}");
        }
    }
    // A body that ends with the connection is not cut.
    let answers = |_, head: &str| {
        let body = if head.contains("sid=") { "1" } else { OPEN };
        Last(format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes())
    };
    assert_eq!(ending(answers).await, Reason::TransportClose(None));
}

#[actix::test]
async fn a_body_without_an_end_is_read_in_bounded_memory() {
    // Many packets in each of the first answers, with cookies to each of them, until the server has
    // enough.
    const ROUNDS: usize = 10;
    let _turn = TURN.lock().await;
    let body = "6\u{1e}".repeat(100_000) + "6";
    let cookies = "set-cookie: a=1\r\n".repeat(50);
    let before = support::resident();
    let reason = ending(move |number, head| {
        if head.starts_with("POST") {
            return raw::Answer::Last(http("200 OK", "", "ok"));
        }
        raw::Answer::Last(match number {
            0 => http("200 OK", "", OPEN),
            1..ROUNDS => http("200 OK", &cookies, &body),
            _ => http("200 OK", "", "1"),
        })
    })
    .await;
    assert_eq!(reason, Reason::TransportClose(None));
    if let Some((before, after)) = before.zip(support::resident()) {
        assert!(after.saturating_sub(before) < 64 << 20, "{before} {after}");
    }
}

#[actix::test]
async fn an_attachment_that_is_too_large_by_polling_is_refused_and_costs_nothing_else() {
    // The server takes 1 000 000 bytes, which is as much as 749 997 in base64.
    let server = node::start(Line::V4, &Config::default());
    let size = async |client: &Client, bytes: usize| {
        let data = Bytes::from(vec![7; bytes]);
        within(client.socket().emit_with_ack::<Bytes>("echo", data)).await.map(|data| data.len())
    };
    let client = builder(server.url()).transports(POLLING).start().unwrap();
    within(client.socket().ready()).await.unwrap();
    assert_eq!(size(&client, 749_997).await, Ok(749_997));
    let error = EmitError::PayloadTooLarge { size: 1_000_001, limit: 1_000_000 };
    assert_eq!(size(&client, 749_998).await, Err(AckError::NeverSent(error)));
    assert_eq!(size(&client, 1).await, Ok(1));
    assert_eq!(server.connections("/"), 1);

    let client = builder(server.url()).transports(UPGRADE).start().unwrap();
    let upgraded = client.socket().listen_to::<Upgraded>().stream().next().await;
    assert!(upgraded.is_some());
    assert_eq!(size(&client, 1_000_000).await, Ok(1_000_000));
}

#[actix::test]
async fn what_is_emitted_together_goes_in_few_requests() {
    const EVENTS: usize = 160;
    // Some servers take no more at once.
    const MOST: usize = 16;
    let posts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, polls) = (Arc::clone(&posts), Arc::new(AtomicUsize::new(0)));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = HttpServer::new(move || {
        let (seen, polls) = (Arc::clone(&seen), Arc::clone(&polls));
        let post = web::post().to(move |body: String| {
            seen.lock().unwrap().push(body.split('\u{1e}').count());
            ready("ok")
        });
        let get = web::get().to(move || {
            let poll = polls.fetch_add(1, Ordering::SeqCst);
            async move {
                match poll {
                    0 => OPEN,
                    1 => r#"40{"sid":"s"}"#,
                    _ => std::future::pending().await,
                }
            }
        });
        App::new().service(web::resource("/socket.io/").route(get).route(post))
    });
    let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
    let handle = server.handle();
    actix::spawn(server);
    let client = builder(url).transports(POLLING).start().unwrap();
    within(client.socket().ready()).await.unwrap();
    for n in 0..EVENTS {
        drop(client.socket().emit("n", n).unwrap());
    }
    // The first one joins.
    let sizes = || posts.lock().unwrap().get(1..).unwrap_or_default().to_vec();
    eventually("all get there", || sizes().iter().sum::<usize>() == EVENTS).await;
    assert_eq!(sizes(), [MOST; EVENTS / MOST]);
    drop(client);
    handle.stop(false).await;
}
