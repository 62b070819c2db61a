//! Workers of a relay that end without handing over: another one takes over, and the log says so where events are missing.

// A test fails by panicking.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{ops::Range, sync::mpsc, time::Duration};

use actix::Arbiter;
use actix_socketio::relay::{
    Begin, Engine, Gap, InProcessOptions, LogEntry, LogStream, MarkKind, Reader, Relay, Upstream,
};
use futures::StreamExt;
use serde_json::{Value, json};
use support::{
    eventually,
    every::within,
    node::{self, Config, Line, Server},
};

const LONG: Duration = Duration::from_secs(30);

/// Its server notices soon that a client is gone.
fn server(recovery: &Value) -> Server {
    let mut options = json!({ "pingInterval": 500, "pingTimeout": 500 });
    if !recovery.is_null() {
        options["connectionStateRecovery"] = recovery.clone();
    }
    node::start(Line::V4, &Config { options, ..Config::default() })
}

fn engine() -> Engine {
    let options = InProcessOptions::default().lease_time(Duration::from_secs(3));
    Engine::in_process_with(options)
}

/// A worker on an arbiter of its own.
fn relay(engine: &Engine, worker: &'static str, server: &Server) -> (Arbiter, Relay) {
    let arbiter = Arbiter::new();
    let shop = Upstream::new("shop", support::client(server.url()));
    let builder = Relay::builder(engine.clone()).worker(worker).upstream(shop);
    let (tell, told) = mpsc::channel();
    arbiter.spawn_fn(move || tell.send(builder.start().unwrap()).unwrap());
    (arbiter, told.recv().unwrap())
}

async fn joined(engine: &Engine, worker: &'static str, server: &Server) -> (Arbiter, Relay) {
    let relay = relay(engine, worker, server);
    eventually("it has joined", || relay.1.state("shop").unwrap().joined).await;
    relay
}

fn log(engine: &Engine) -> LogStream {
    Reader::builder(engine.clone()).begin(Begin::Start).stream().unwrap()
}

/// Reads until the event with the last of these numbers. Gives the reasons of the gaps before it.
async fn numbers(log: &mut LogStream, range: Range<u64>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for number in range {
        loop {
            match within(log.next()).await.unwrap() {
                LogEntry::Event(event) => {
                    assert_eq!(event.event().args::<u64>().unwrap(), number);
                    event.ack().await.unwrap();
                    break;
                }
                LogEntry::Mark(mark) => {
                    if let MarkKind::Gap { gap, .. } = mark.kind() {
                        gaps.push(gap.clone());
                    }
                }
            }
        }
    }
    gaps
}

#[actix::test]
async fn a_worker_whose_arbiter_is_stopped_is_taken_over_without_loss() {
    let (server, engine) = (server(&json!({})), engine());
    let mut log = log(&engine);
    let (arbiter, _first) = joined(&engine, "first", &server).await;
    let (_other, second) = relay(&engine, "second", &server);
    server.publish("/", "n", 0..100);
    assert_eq!(numbers(&mut log, 0..100).await, []);
    arbiter.stop();
    server.publish("/", "n", 100..200);
    assert_eq!(numbers(&mut log, 100..200).await, []);
    within(second.shutdown(LONG)).await;
}

#[actix::test]
async fn a_worker_whose_arbiter_is_blocked_is_taken_over_and_writes_nothing_when_it_goes_on() {
    let (server, engine) = (server(&json!({})), engine());
    let mut log = log(&engine);
    let (arbiter, first) = joined(&engine, "first", &server).await;
    let (_other, second) = relay(&engine, "second", &server);
    server.publish("/", "n", 0..100);
    assert_eq!(numbers(&mut log, 0..100).await, []);
    let (release, blocked) = mpsc::channel::<()>();
    arbiter.spawn_fn(move || assert!(blocked.recv().is_err()));
    server.publish("/", "n", 100..200);
    assert_eq!(numbers(&mut log, 100..200).await, []);
    drop(release);
    server.publish("/", "n", 200..300);
    assert_eq!(numbers(&mut log, 200..300).await, []);
    within(first.shutdown(LONG)).await;
    server.publish("/", "n", 300..400);
    assert_eq!(numbers(&mut log, 300..400).await, []);
    within(second.shutdown(LONG)).await;
}

#[actix::test]
async fn without_recovery_the_gap_of_a_takeover_is_marked() {
    let (server, engine) = (server(&Value::Null), engine());
    let mut log = log(&engine);
    let (arbiter, first) = joined(&engine, "first", &server).await;
    server.publish("/", "n", 0..100);
    assert_eq!(numbers(&mut log, 0..100).await, []);
    arbiter.stop();
    drop(first);
    let (_other, second) = joined(&engine, "second", &server).await;
    server.publish("/", "n", 500..600);
    assert_eq!(numbers(&mut log, 500..600).await, [Gap::NewSession]);
    within(second.shutdown(LONG)).await;
}
