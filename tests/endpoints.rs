//! Several servers of one service: which one is dialled when another one is down, refuses or comes back, and
//! what becomes of events on the way.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_socketio::{
    BuildError, Client, ClientBuilder, ConnectFailure, ReadyError, Reason, Reconnect, StartError,
    Transport,
};
use futures::future::join_all;
use serde_json::json;
use support::{
    eventually,
    every::{unique, within},
    logged,
    node::{self, Config, Line},
    proxy::Proxy,
    recorder::Recorder,
    reserved::Port,
    scripted::Scripted,
};

const OFFICIAL: [Line; 3] = [Line::V2_5_1, Line::V3_1_2, Line::V4];
const TRANSPORTS: [&[Transport]; 3] =
    [&[Transport::WebSocket], &[Transport::Polling], &[Transport::Polling, Transport::WebSocket]];

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(50), Duration::from_millis(200))
}

fn of(urls: &[&str]) -> ClientBuilder {
    let builder = support::client(urls[0]).reconnect(quick());
    urls[1..].iter().fold(builder, |builder, url| builder.fallback(*url))
}

/// The URL of the server in use, as it was set.
fn endpoint(client: &Client) -> String {
    let url = client.endpoint().unwrap();
    url.strip_suffix("/socket.io/").unwrap().to_owned()
}

#[actix::test]
async fn the_first_server_that_can_be_reached_is_used() {
    for line in OFFICIAL {
        for transports in TRANSPORTS {
            let server = node::server(line);
            let (first, last) = (Port::reserve(), Port::reserve());
            let builder =
                of(&[&first.url(), &server.url(), &last.url()]).reconnect(Reconnect::never());
            let client = builder.transports(transports.iter().copied()).start().unwrap();
            assert_eq!(client.endpoint(), None);
            within(client.socket().ready()).await.unwrap();
            assert_eq!(endpoint(&client), server.url());
            let answer = within(client.socket().emit_with_ack::<u8>("number", ())).await;
            assert_eq!(answer, Ok(7));
            within(client.shutdown(Duration::from_secs(5))).await;
            assert_eq!(endpoint(&client), server.url(), "it was the last one");
        }
    }
}

#[actix::test]
async fn a_server_that_refuses_is_passed_with_a_line_in_the_log() {
    logged::start();
    let busy = Scripted::start();
    busy.refuse_next_with(503, &[("retry-after", "3600")], "busy");
    let server = node::server(Line::V4);
    let dialled = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&dialled);
    let builder = of(&[&busy.url(), &server.url()]).headers_with(move |dial| {
        noted.lock().unwrap().push(dial.endpoint().to_owned());
        std::future::ready(Ok::<_, String>(Vec::new()))
    });
    let client = within(builder.connect()).await.unwrap();
    assert_eq!(endpoint(&client), server.url());
    let expected = [&busy.url(), &server.url()].map(|url| format!("{url}/socket.io/"));
    assert_eq!(*dialled.lock().unwrap(), expected);
    // By default, a client has the name of its first server, whichever is in use.
    let joined = format!("{}/: joined", busy.url().replace("http://", ""));
    eventually("it is logged", || logged::lines().iter().any(|line| line.starts_with(&joined)))
        .await;
    let lines = logged::lines();
    let line = lines.iter().find(|line| line.contains("HTTP status 503")).unwrap();
    for part in [&*busy.url(), "(it says \"busy\")", "the next server is tried"] {
        assert!(line.contains(part), "{line}");
    }
    let to = format!("connected to 127.0.0.1:{}", server.port());
    assert!(lines.iter().any(|line| line.contains(&to)), "{lines:?}");
    assert_eq!(busy.requests(), 1);
}

#[actix::test]
async fn servers_that_cannot_be_reached_are_all_named() {
    let ports = [Port::reserve(), Port::reserve()];
    let [first, second] = ports.each_ref().map(Port::url);
    let client = of(&[&first, &second]).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let next = recorder.next_reconnecting().await;
    let Reason::Connect(ConnectFailure::Endpoints(failures)) = next.reason() else {
        panic!("{:?}", next.reason())
    };
    let names = |failures: &[(String, Reason)]| -> Vec<String> {
        failures.iter().map(|(name, _)| format!("http://{name}")).collect()
    };
    assert_eq!(names(failures), [first.clone(), second.clone()]);
    for (_, reason) in failures {
        assert!(matches!(reason, Reason::Connect(ConnectFailure::Unreachable(_))), "{reason:?}");
    }
    let builder = of(&[&first, &second]).reconnect(Reconnect::never());
    let error = within(builder.connect()).await.unwrap_err();
    let text = error.to_string();
    for url in [&first, &second] {
        assert!(text.contains(url.trim_start_matches("http://")), "{text}");
    }
    let StartError::Ready { error: ReadyError::Ended(reason), .. } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(reason, Reason::Connect(ConnectFailure::Endpoints(_))), "{reason:?}");
    // One of them comes up.
    let config = Config { port: ports[1].number(), ..Config::default() };
    let late = node::start(Line::V4, &config);
    recorder.ready_after_attempts().await;
    assert_eq!(endpoint(&client), late.url());
}

#[actix::test]
async fn a_server_that_is_killed_is_replaced_by_the_next_and_used_again_when_that_one_fails() {
    for line in OFFICIAL {
        let port = Port::reserve();
        let config = Config { port: port.number(), ..Config::default() };
        let first = node::start(line, &config);
        let second = node::start(line, &Config::default());
        let client = of(&[&first.url(), &second.url()]).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        assert_eq!(endpoint(&client), first.url());
        first.kill();
        recorder.next_disconnected().await;
        recorder.ready_after_attempts().await;
        assert_eq!(endpoint(&client), second.url());
        // The preferred server is back, but the connection works, and is kept.
        let first = node::start(line, &config);
        second.close_engines();
        recorder.next_disconnected().await;
        recorder.ready_after_attempts().await;
        assert_eq!(endpoint(&client), second.url(), "a session is looked for where it was");
        assert_eq!(first.connections("/"), 0);
        second.kill();
        recorder.next_disconnected().await;
        recorder.ready_after_attempts().await;
        assert_eq!(endpoint(&client), first.url());
    }
}

#[actix::test]
async fn who_connects_anew_begins_with_the_preferred_server() {
    let (first, second) = (node::server(Line::V4), node::server(Line::V3_1_2));
    let way = Proxy::start(first.port());
    way.refuse(true);
    let client = of(&[&way.url(), &second.url()]).start().unwrap();
    within(client.socket().ready()).await.unwrap();
    assert_eq!(endpoint(&client), second.url());
    way.refuse(false);
    client.socket().disconnect();
    second.close_engines();
    eventually("the connection is closed", || second.engines() == 0).await;
    client.socket().connect();
    within(client.socket().ready()).await.unwrap();
    eventually("the first one", || endpoint(&client) == way.url()).await;
}

/// Events with retries, across two servers that die in the middle: all arrive, in order, at one of the three.
#[actix::test]
async fn numbered_events_are_complete_across_servers_that_die() {
    const EVENTS: u64 = 3_000;
    for transports in TRANSPORTS {
        let servers: Vec<node::Server> =
            (0..3).map(|_| node::start(Line::V4, &Config::default())).collect();
        let ways: Vec<Proxy> = servers.iter().map(|server| Proxy::start(server.port())).collect();
        let urls: Vec<String> = ways.iter().map(Proxy::url).collect();
        let builder = of(&[&urls[0], &urls[1], &urls[2]]).retries(u32::MAX).retry_window(20);
        let builder = builder.transports(transports.iter().copied());
        let client = within(builder.connect()).await.unwrap();
        let stream = unique("failover");
        let mut answers = Vec::new();
        for number in 0..EVENTS {
            let ask =
                client.socket().emit_with_ack::<serde_json::Value>("record", (&stream, number));
            answers.push(ask.timeout(support::PATIENCE).send());
            if number == EVENTS / 3 || number == EVENTS * 2 / 3 {
                let place = usize::try_from(number * 3 / EVENTS).unwrap() - 1;
                let at = usize::try_from(number / 2).unwrap();
                let sofar = || servers.iter().map(|one| one.recorded(&stream).len()).sum::<usize>();
                eventually("half of it", || sofar() >= at).await;
                ways[place].refuse(true);
                ways[place].cut();
            }
        }
        for answer in within(join_all(answers)).await {
            answer.unwrap();
        }
        assert_eq!(endpoint(&client), urls[2]);
        let recorded: Vec<Vec<u64>> = servers.iter().map(|one| one.recorded(&stream)).collect();
        // Each server gets them in order, and goes on where the one before it has stopped, or before that.
        for list in &recorded {
            assert!(list.is_sorted() && !list.is_empty(), "{list:?}");
        }
        let mut all: Vec<u64> = recorded.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..EVENTS).collect::<Vec<_>>());
    }
}

#[actix::test]
async fn a_session_is_recovered_by_its_own_server_and_begins_anew_at_another() {
    let config = Config { options: json!({ "connectionStateRecovery": {} }), ..Config::default() };
    let (first, second) = (node::start(Line::V4, &config), node::start(Line::V4, &config));
    let way = Proxy::start(first.port());
    let client = of(&[&way.url(), &second.url()]).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let session = recorder.next_ready().await;
    first.publish("/", "n", 0..1);
    recorder.next_event("n").await;
    way.cut();
    recorder.next_disconnected().await;
    let back = recorder.ready_after_attempts().await;
    assert!(back.recovered());
    assert_eq!((back.sid(), endpoint(&client)), (session.sid(), way.url()));
    way.refuse(true);
    way.cut();
    recorder.next_disconnected().await;
    let other = recorder.ready_after_attempts().await;
    assert!(!other.recovered());
    assert_ne!(other.sid(), session.sid());
    assert_eq!(endpoint(&client), second.url());
    // It is a session like any other.
    second.publish("/", "n", 0..1);
    recorder.next_event("n").await;
    second.close_engines();
    recorder.next_disconnected().await;
    let back = recorder.ready_after_attempts().await;
    assert_eq!((back.recovered(), back.sid()), (true, other.sid()));
}

#[actix::test]
async fn the_host_header_is_that_of_the_server_unless_it_is_set() {
    let server = Scripted::start();
    let busy = Port::reserve();
    let client = of(&[&busy.url(), &server.url()]).start().unwrap();
    let peer = within(server.accept()).await;
    assert_eq!(peer.header("host"), server.url().strip_prefix("http://"));
    drop(client);
    let server = Scripted::start();
    let client = of(&[&busy.url(), &server.url()]).header("host", "a.test").start().unwrap();
    let peer = within(server.accept()).await;
    assert_eq!(peer.header("host"), Some("a.test"));
    drop(client);
}

#[actix::test]
async fn a_fallback_that_makes_no_sense_is_refused() {
    let first = "http://a.test/shop?token=s3cret";
    for (fallback, part) in [
        ("b.test", "no scheme"),
        ("http://b.test:99999", "its port"),
        ("http://user:s3cret@b.test", "user and password"),
        ("http://b.test/admin", "another namespace"),
        ("http://b.test?token=s3cret", "option query"),
        ("https://b.test", "TLS"),
        ("http://A.test:80", "already"),
    ] {
        let builder = Client::builder(first).fallback(fallback);
        let debug = format!("{builder:?}");
        assert!(!debug.contains("s3cret"), "{debug}");
        let error = builder.start().unwrap_err();
        assert!(matches!(error, BuildError::Fallback(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("option fallback: ") && text.contains(part), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let twice = Client::builder(first).fallback("http://b.test").fallback("ws://b.test/shop");
    assert!(matches!(twice.start(), Err(BuildError::Fallback(_))));
    #[cfg(unix)]
    {
        let builder = Client::builder(first).fallback("http://b.test").unix_socket("/run/a.sock");
        let error = builder.start().unwrap_err().to_string();
        assert!(error.contains("unix_socket"), "{error}");
    }
    let many = |count: usize| {
        let urls = (0..count).map(|number| format!("http://b{number}.test"));
        urls.fold(Client::builder(first), ClientBuilder::fallback).start()
    };
    assert!(matches!(many(16), Err(BuildError::Fallback(_))));
    assert!(many(15).is_ok());
}
