//! Consumers of a relay's log, and commands by way of it, with a server that recovers sessions and an engine in memory.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{ops::Range, time::Duration};

use actix::{Actor, Context, Handler, Message};
use actix_socketio::{
    Call, NamedEvent,
    relay::{
        Begin, CallError, Caller, Engine, InProcessOptions, LogEntry, LogStream, MarkKind, Reader,
        Relay, Sent, Upstream,
    },
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{
    eventually,
    every::within,
    node::{self, Config, Line, Server},
};
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(30);

fn server() -> Server {
    let options = json!({ "connectionStateRecovery": {} });
    node::start(Line::V4, &Config { options, dedupe: true, ..Config::default() })
}

fn relay(engine: &Engine, worker: &str, server: &Server) -> Relay {
    let shop = Upstream::new("shop", support::client(server.url()));
    Relay::builder(engine.clone()).worker(worker).upstream(shop).start().unwrap()
}

/// Starts a relay, and waits until it has joined.
async fn joined(engine: &Engine, worker: &str, server: &Server) -> Relay {
    let before = server.connections("/");
    let relay = relay(engine, worker, server);
    eventually("it has joined", || server.connections("/") > before).await;
    relay
}

fn log(engine: &Engine) -> LogStream {
    Reader::builder(engine.clone()).durable("billing").begin(Begin::Start).stream().unwrap()
}

/// The numbers of events of this name, acked, and no gap between them.
async fn numbers(log: &mut LogStream, name: &str, range: Range<u64>) {
    for number in range {
        loop {
            match within(log.next()).await.unwrap() {
                LogEntry::Event(event) => {
                    assert_eq!(event.event().name(), name);
                    assert_eq!(event.event().args::<u64>().unwrap(), number);
                    assert!(!event.is_redelivered());
                    event.ack().await.unwrap();
                    break;
                }
                LogEntry::Mark(mark) => {
                    let is_gap =
                        matches!(mark.kind(), MarkKind::Gap { .. } | MarkKind::Unreadable(_));
                    assert!(!is_gap, "{mark:?}");
                }
            }
        }
    }
}

#[actix::test]
async fn a_consumer_gets_what_the_server_emits_once_and_in_order_whoever_holds_the_upstream() {
    let (server, engine) = (server(), Engine::in_process());
    let first = joined(&engine, "first", &server).await;
    let mut log = log(&engine);
    server.publish("/", "n", 0..500);
    numbers(&mut log, "n", 0..250).await;
    let second = relay(&engine, "second", &server);
    within(first.shutdown(LONG)).await;
    server.publish("/", "n", 500..600);
    numbers(&mut log, "n", 250..600).await;
    within(second.shutdown(LONG)).await;
    // From the start again, for somebody else.
    let reader = Reader::builder(engine).upstreams(["shop"]).begin(Begin::Start);
    numbers(&mut reader.stream().unwrap(), "n", 0..600).await;
}

#[actix::test]
async fn a_slow_consumer_loses_nothing() {
    let server = server();
    let engine = Engine::in_process_with(InProcessOptions::default().max_bytes(50_000));
    let _relay = joined(&engine, "first", &server).await;
    let mut log = log(&engine);
    server.publish("/", "n", 0..5_000);
    numbers(&mut log, "n", 0..5_000).await;
}

#[derive(Deserialize, Message)]
#[rtype(result = "()")]
struct Price(u64);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

struct Billing(mpsc::UnboundedSender<u64>);

impl Actor for Billing {
    type Context = Context<Self>;
}

impl Handler<Price> for Billing {
    type Result = ();
    fn handle(&mut self, Price(price): Price, _: &mut Context<Self>) {
        self.0.send(price).unwrap();
    }
}

#[actix::test]
async fn an_actor_reads_the_log_by_contract() {
    let (server, engine) = (server(), Engine::in_process());
    let _relay = joined(&engine, "first", &server).await;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let billing = Billing(heard).start();
    let reader = Reader::builder(engine).durable("billing").begin(Begin::Start);
    let _reader = reader.on::<Price>(billing).start().unwrap();
    server.publish("/", "other", 0..10);
    server.publish("/", "price", 0..100);
    for price in 0..100 {
        assert_eq!(within(hears.recv()).await, Some(price));
    }
}

/// The server answers with 7.
#[derive(Serialize)]
struct Number;

impl NamedEvent for Number {
    const NAME: &'static str = "number";
}

impl Call for Number {
    type Reply = u64;
}

#[derive(Serialize)]
struct Silent;

impl NamedEvent for Silent {
    const NAME: &'static str = "silent";
}

impl Call for Silent {
    type Reply = u64;
}

#[actix::test]
async fn a_command_is_answered_by_the_server_of_the_upstream() {
    let (server, engine) = (server(), Engine::in_process());
    let caller = Caller::new(engine.clone());
    assert_eq!(caller.call("shop", &Number).await, Err(CallError::Nobody));
    // It waits for somebody who holds the upstream.
    caller.call("shop", &Number).durable("order-1").submit().await.unwrap();
    let relay = joined(&engine, "first", &server).await;
    assert_eq!(caller.result("shop", "order-1", LONG).await, Ok(7));
    assert_eq!(caller.call("shop", &Number).await, Ok(7));
    let several: (u32, String, Vec<u32>) =
        caller.emit_with_ack("shop", "several", ()).await.unwrap();
    assert_eq!(several, (1, "two".to_owned(), vec![3]));
    let short = Duration::from_millis(200);
    let error = caller.call("shop", &Silent).timeout(short).await.unwrap_err();
    assert_eq!((error.sent(), error), (Sent::Maybe, CallError::NoAnswer));
    caller.emit("shop", "record", ("stream", 3)).await.unwrap();
    eventually("it is recorded", || server.recorded("stream") == [3]).await;
    within(relay.shutdown(LONG)).await;
    assert_eq!(caller.call("shop", &Number).await, Err(CallError::Nobody));
}
