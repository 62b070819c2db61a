//! Consumers of a relay's log, and commands by way of it, with a server that recovers sessions. The engine is in memory, and,
//! where it is installed, NATS.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{future::IntoFuture, ops::Range, time::Duration};

use actix::{Actor, Context, Handler, Message};
use actix_socketio::{
    Call, NamedEvent,
    relay::{
        Begin, CallError, Caller, Engine, InProcessOptions, LogEntry, LogStream, MarkKind,
        NatsOptions, Reader, Relay, Sent, Upstream,
    },
};
use futures::{
    StreamExt,
    future::{join, join_all},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{
    eventually,
    every::within,
    nats::Nats,
    node::{self, Config, Line, Server},
};
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(30);

/// Runs a test with each engine.
macro_rules! with_each_engine {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(#[actix::test]
            async fn $test() {
                super::$test(super::Engine::in_process()).await;
            })*
        }

        mod on_nats {
            $(#[actix::test]
            async fn $test() {
                let Some(nats) = super::Nats::one().await else { return };
                let options = super::NatsOptions::default();
                let engine = super::Engine::nats(&nats.client().await, options).await.unwrap();
                super::$test(engine).await;
            })*
        }
    };
}

with_each_engine! {
    a_consumer_gets_what_the_server_emits_once_and_in_order_whoever_holds_the_upstream,
    an_actor_reads_the_log_by_contract,
    a_command_is_answered_by_the_server_of_the_upstream,
    each_command_ends_while_the_holder_changes,
}

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

async fn a_consumer_gets_what_the_server_emits_once_and_in_order_whoever_holds_the_upstream(
    engine: Engine,
) {
    let server = server();
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

async fn an_actor_reads_the_log_by_contract(engine: Engine) {
    let server = server();
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

async fn a_command_is_answered_by_the_server_of_the_upstream(engine: Engine) {
    let server = server();
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

async fn each_command_ends_while_the_holder_changes(engine: Engine) {
    let server = server();
    let mut relay = joined(&engine, "worker-0", &server).await;
    let caller = Caller::new(engine.clone());
    let call = || caller.call("shop", &Number).timeout(Duration::from_secs(3));
    let (mut answered, mut refused) = (0, 0);
    for number in 1..5 {
        let next = self::relay(&engine, &format!("worker-{number}"), &server);
        let calls = (0..50).map(|_| call().into_future());
        let (outcomes, ()) = within(join(join_all(calls), relay.shutdown(LONG))).await;
        relay = next;
        for outcome in outcomes {
            match outcome {
                Ok(answer) => answered += answer / 7,
                Err(error) => {
                    assert!(matches!(error.sent(), Sent::No | Sent::Maybe), "{error}");
                    refused += 1;
                }
            }
        }
        while call().await != Ok(7) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(answered + refused, 4 * 50);
    within(relay.shutdown(LONG)).await;
}
