//! Workers of a relay that end, with and without handing over: another one takes over, and the log says so where events are missing. And
//! how workers share upstreams.

// A test fails by panicking.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, ops::Range, sync::mpsc, time::Duration};

use actix::Arbiter;
use actix_socketio::relay::{
    Begin, CallError, Caller, Engine, Gap, InProcessOptions, LogEntry, LogStream, MarkKind,
    NatsOptions, Reader, Relay, RelayBuilder, Sent, Takeover, Upstream,
};
use futures::StreamExt;
use serde_json::{Value, json};
use support::{
    eventually,
    every::within,
    nats::Nats,
    node::{self, Config, Line, Server},
    proxy::Proxy,
};
use tokio::time::timeout;

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
    start(engine, worker, Upstream::new("shop", support::client(server.url())))
}

fn start(engine: &Engine, worker: &'static str, upstream: Upstream) -> (Arbiter, Relay) {
    start_all(engine, worker, [upstream])
}

fn start_all(
    engine: &Engine,
    worker: &'static str,
    upstreams: impl IntoIterator<Item = Upstream>,
) -> (Arbiter, Relay) {
    let arbiter = Arbiter::new();
    let builder = Relay::builder(engine.clone()).worker(worker);
    let builder = upstreams.into_iter().fold(builder, RelayBuilder::upstream);
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

/// The server notices that a client is gone when its ping is not answered, as when its machine is lost.
struct Lost {
    server: Server,
    engine: Engine,
    log: LogStream,
    holder: Relay,
}

/// A server, and a worker that reaches it through the proxy and has stored 0..100.
async fn begun(takeover: Takeover) -> (Lost, Arbiter, Proxy) {
    let options = json!({
        "pingInterval": 4_000,
        "pingTimeout": 4_000,
        "connectionStateRecovery": {},
    });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    let (proxy, engine) = (Proxy::start(server.port()), engine());
    let mut log = log(&engine);
    let upstream = Upstream::new("shop", support::client(proxy.url())).takeover(takeover);
    let (arbiter, holder) = start(&engine, "first", upstream);
    eventually("it has joined", || holder.state("shop").unwrap().joined).await;
    server.publish("/", "n", 0..100);
    assert_eq!(numbers(&mut log, 0..100).await, []);
    (Lost { server, engine, log, holder }, arbiter, proxy)
}

/// The worker is gone without a word to its server, and another one takes over. 100..200 were emitted meanwhile.
async fn worker_lost(takeover: Takeover) -> Lost {
    let (mut lost, arbiter, proxy) = begun(takeover).await;
    proxy.stall();
    arbiter.stop();
    lost.server.publish("/", "n", 100..200);
    let shop = Upstream::new("shop", support::client(lost.server.url())).takeover(takeover);
    let (_other, second) = start(&lost.engine, "second", shop);
    lost.holder = second;
    // It begins a new session, or finds that the old one is not free yet.
    eventually("it has come", || lost.server.connections("/") > 1).await;
    std::mem::forget(proxy);
    lost
}

/// The worker has lost its connection, and the server does not know. 100..200 were emitted meanwhile.
async fn connection_lost(takeover: Takeover) -> Lost {
    let (lost, _, proxy) = begun(takeover).await;
    proxy.cut_from_clients();
    lost.server.publish("/", "n", 100..200);
    eventually("it has come again", || lost.server.connections("/") > 1).await;
    std::mem::forget(proxy);
    lost
}

#[actix::test]
async fn a_worker_that_is_lost_with_its_machine_is_taken_over_in_order_as_soon_as_the_server_knows()
{
    let Lost { server, mut log, holder, .. } = worker_lost(Takeover::Ordered).await;
    server.publish("/", "n", 200..300);
    // With the heartbeat that servers have by default, the first would come after 47 seconds.
    assert_eq!(numbers(&mut log, 100..300).await, []);
    within(holder.shutdown(LONG)).await;
}

#[actix::test]
async fn a_connection_whose_loss_the_server_does_not_know_is_a_gap_in_order() {
    let Lost { server, mut log, holder, .. } = connection_lost(Takeover::Ordered).await;
    server.publish("/", "n", 200..300);
    assert_eq!(numbers(&mut log, 200..300).await, [Gap::NewSession]);
    within(holder.shutdown(LONG)).await;
}

#[actix::test]
async fn what_a_new_session_has_missed_comes_late_once_and_says_so() {
    comes_late(worker_lost(Takeover::Now).await).await;
}

#[actix::test]
async fn what_a_connection_has_missed_whose_loss_the_server_does_not_know_comes_late() {
    comes_late(connection_lost(Takeover::Now).await).await;
}

async fn comes_late(lost: Lost) {
    let Lost { server, engine, mut log, holder } = lost;
    eventually("it has joined", || holder.state("shop").unwrap().joined).await;
    server.publish("/", "n", 200..300);
    assert_eq!(numbers(&mut log, 200..300).await, [Gap::NewSession]);
    let (mut late, mut live) = (Vec::new(), 300);
    let filled = loop {
        // What comes while the old session is read.
        server.publish("/", "n", live..live + 1);
        live += 1;
        let mut filled = None;
        while let Ok(Some(entry)) = timeout(Duration::from_millis(100), log.next()).await {
            match entry {
                LogEntry::Event(event) => {
                    event.ack().await.unwrap();
                    let number = event.event().args::<u64>().unwrap();
                    if event.is_late() {
                        late.push(number);
                    } else {
                        assert!(number >= 300, "{number} is no late one");
                    }
                }
                LogEntry::Mark(mark) => {
                    if let MarkKind::Filled { events } = mark.kind() {
                        filled = Some(*events);
                    }
                }
            }
        }
        if let Some(filled) = filled {
            break filled;
        }
    };
    assert_eq!((late, filled), ((100..200).collect(), 100));
    server.publish("/", "n", live..live + 100);
    // All of the log: nothing twice.
    let mut all = self::log(&engine);
    let mut seen = BTreeSet::new();
    let total = live + 100;
    while seen.len() < usize::try_from(total).unwrap() {
        if let LogEntry::Event(event) = within(all.next()).await.unwrap() {
            let number = event.event().args::<u64>().unwrap();
            assert!(seen.insert(number) && number < total, "{number} is there twice");
            event.ack().await.unwrap();
        }
    }
    within(holder.shutdown(LONG)).await;
}

/// Upstreams of one server with these names.
fn named(server: &Server, prefix: &str, count: usize) -> Vec<Upstream> {
    let upstream =
        |number| Upstream::new(format!("{prefix}{number}"), support::client(server.url()));
    (0..count).map(upstream).collect()
}

/// The upstreams that are joined by each worker.
fn held(workers: &[(Arbiter, Relay)]) -> Vec<BTreeSet<String>> {
    let held = |(_, relay): &(Arbiter, Relay)| {
        let upstreams = relay.stats().upstreams.into_iter();
        upstreams.filter(|(_, stats)| stats.joined).map(|(name, _)| name).collect()
    };
    workers.iter().map(held).collect()
}

fn handed_over(worker: &(Arbiter, Relay), prefix: &str) -> u64 {
    let upstreams = worker.1.stats().upstreams.into_iter();
    let of = upstreams.filter(|(name, _)| name.starts_with(prefix));
    of.map(|(_, stats)| stats.handed_over).sum()
}

#[actix::test]
async fn three_workers_share_sixty_upstreams_evenly_whoever_comes_first() {
    let server = server(&json!({}));
    let options = InProcessOptions::default().lease_time(Duration::from_secs(1));
    let engine = Engine::in_process_with(options);
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        workers.push(start_all(&engine, name, named(&server, "u", 60)));
        if workers.len() == 1 {
            eventually("the first has all", || held(&workers)[0].len() == 60).await;
        }
    }
    eventually("all are held, by the right ones", || {
        let held = held(&workers);
        held.iter().map(BTreeSet::len).sum::<usize>() == 60
            && held.iter().all(|held| held.len() <= 26)
    })
    .await;
    for (_, relay) in workers {
        within(relay.shutdown(LONG)).await;
    }
}

#[actix::test]
async fn an_upstream_is_not_handed_over_to_a_worker_that_does_not_have_it() {
    let (server, engine) = (server(&json!({})), engine());
    let list = |own: &str| [named(&server, own, 10), named(&server, "shared", 10)].concat();
    let mut workers = vec![start_all(&engine, "one", list("a"))];
    eventually("the first has its own", || held(&workers)[0].len() == 20).await;
    workers.push(start_all(&engine, "two", list("b")));
    // Hand-overs are in the order of the list: those that the other worker cannot take would come first.
    eventually("both have some", || {
        let held = held(&workers);
        held.iter().map(BTreeSet::len).sum::<usize>() == 30
            && held[1].iter().any(|name| name.starts_with("shared"))
            // A worker shows what it has handed over at the end of its turn, when the other may have it already.
            && handed_over(&workers[0], "shared") > 0
    })
    .await;
    assert_eq!([handed_over(&workers[0], "a"), handed_over(&workers[1], "b")], [0, 0]);
    for (_, relay) in workers {
        within(relay.shutdown(LONG)).await;
    }
}

#[actix::test]
async fn a_server_that_one_worker_cannot_reach_any_more_is_left_to_another() {
    let (server, engine) = (server(&json!({})), engine());
    let mut log = log(&engine);
    let road = Proxy::start(server.port());
    let upstream = Upstream::new("shop", support::client(road.url()));
    let first = start(&engine, "first", upstream);
    let is_joined = || first.1.state("shop").unwrap().joined;
    eventually("it has joined", is_joined).await;
    server.publish("/", "n", 0..100);
    assert_eq!(numbers(&mut log, 0..100).await, []);
    road.refuse(true);
    road.cut();
    eventually("it is out of reach", || !is_joined()).await;
    let second = relay(&engine, "second", &server);
    server.publish("/", "n", 100..200);
    assert_eq!(numbers(&mut log, 100..200).await, []);
    // A worker shows what it has done at the end of its turn, which may be after the record is read.
    eventually("the other has it", || {
        second.1.state("shop").unwrap().joined && handed_over(&first, "shop") == 1
    })
    .await;
    assert_eq!(handed_over(&second, "shop"), 0);
    for (_, relay) in [first, second] {
        within(relay.shutdown(LONG)).await;
    }
}

#[actix::test]
async fn a_call_under_way_is_told_when_its_holder_goes() {
    let Some(nats) = Nats::one().await else { return };
    let server = server(&json!({}));
    let engine = async || Engine::nats(&nats.client().await, NatsOptions::new()).await.unwrap();
    let (_arbiter, relay) = relay(&engine().await, "first", &server);
    eventually("it has joined", || relay.state("shop").unwrap().joined).await;
    let caller = Caller::new(engine().await);
    let call = || {
        let call = caller.emit_with_ack::<Value>("shop", "silent", ());
        call.timeout(Duration::from_secs(3_600)).into_future()
    };
    let calls: Vec<_> = (0..50).map(|_| actix::spawn(call())).collect();
    // They are under way when this one, behind them, has its answer.
    let last = caller.emit_with_ack::<u64>("shop", "count", "calls");
    assert_eq!(within(last.into_future()).await, Ok(1));
    within(relay.shutdown(Duration::from_secs(4))).await;
    assert_eq!(relay.stats().upstreams[0].1.handed_over, 1, "in order");
    for call in calls {
        let error = within(call).await.unwrap().unwrap_err();
        assert_ne!(error, CallError::NoAnswer);
        assert_ne!(error.sent(), Sent::Yes, "{error}");
    }
}
