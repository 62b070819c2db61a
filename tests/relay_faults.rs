//! Workers of a relay that are processes of their own, servers with recovery, and three NATS servers, while any of them fails.
//! At the end a consumer has each number of each upstream once and in order, or a mark where some are missing.
//!
//! A worker is this program, started again with `RELAY_WORKER`.

// Signals.
#![cfg(unix)]
// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::BTreeMap,
    env,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix_socketio::{
    Client,
    relay::{Begin, Engine, LogEntry, MarkKind, NatsOptions, Reader, Relay, Upstream},
};
use futures::StreamExt;
use serde_json::json;
use support::{
    nats::{self, Nats, signal},
    node::{self, Config, Line, Server},
};
use tokio::time::{sleep, timeout};

/// Upstreams, each with a server of its own.
const UPSTREAMS: usize = 6;
/// Shorter than an election in a cluster may take: leases lapse then, too.
const LEASE_TIME: Duration = Duration::from_secs(3);
/// How long all may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each fault is tried: once, or as `RELAY_ROUNDS` says.
fn rounds() -> u32 {
    env::var("RELAY_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

fn options() -> NatsOptions {
    let timeout = Duration::from_millis(900);
    NatsOptions::new().replicas(3).lease_time(LEASE_TIME).ack_timeout(timeout)
}

/// Not a test of its own: a worker, in a process that a test has started.
#[actix::test]
async fn worker_process() {
    let Ok(name) = env::var("RELAY_WORKER") else { return };
    let urls: Vec<String> = serde_json::from_str(&env::var("RELAY_NATS").unwrap()).unwrap();
    let servers: Vec<String> = serde_json::from_str(&env::var("RELAY_SERVERS").unwrap()).unwrap();
    let client = nats::client(&urls).await;
    let engine = loop {
        match Engine::nats(&client, options()).await {
            Ok(engine) => break engine,
            Err(error) => eprintln!("{name}: {error}"),
        }
    };
    let mut relay = Relay::builder(engine).worker(name);
    for (number, url) in servers.into_iter().enumerate() {
        relay = relay.upstream(Upstream::new(format!("up-{number}"), Client::builder(url)));
    }
    let relay = relay.start().unwrap();
    // It ends in order when its input does, and at once when it is killed.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    ended.await.unwrap().unwrap();
    relay.shutdown(Duration::from_secs(10)).await;
}

/// A worker in a process of its own; killed when dropped.
struct Worker(Child);

impl Worker {
    fn start(name: &str, nats: &Nats, servers: &[Server]) -> Self {
        let servers: Vec<String> = servers.iter().map(Server::url).collect();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker_process", "--nocapture"])
            .env("RELAY_WORKER", name)
            .env("RELAY_NATS", json!(nats.urls()).to_string())
            .env("RELAY_SERVERS", json!(servers).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends it in order.
    async fn end(mut self) {
        drop(self.0.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the worker does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, name: &str) {
        signal(name, self.0.id());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct House {
    nats: Nats,
    servers: Vec<Server>,
    workers: Vec<Worker>,
    started: usize,
    /// Of each upstream, so far.
    published: u64,
}

impl House {
    /// All is there, each upstream is held, and the first numbers are on their way.
    async fn new() -> Option<Self> {
        let nats = Nats::cluster().await?;
        let recovery = json!({
            "connectionStateRecovery": { "maxDisconnectionDuration": 120_000 },
            "pingInterval": 500,
            "pingTimeout": 1000,
        });
        let config = Config { options: recovery, ..Config::default() };
        let servers = (0..UPSTREAMS).map(|_| node::start(Line::V4, &config)).collect();
        let mut house = Self { nats, servers, workers: Vec::new(), started: 0, published: 0 };
        // So that the streams are there before three make them at the same time.
        Engine::nats(&house.nats.client().await, options()).await.unwrap();
        for _ in 0..3 {
            house.add();
        }
        let deadline = Instant::now() + PATIENCE;
        while house.servers.iter().any(|server| server.connections("/") == 0) {
            assert!(Instant::now() < deadline, "not all are held");
            sleep(Duration::from_millis(50)).await;
        }
        house.publish(100).await;
        Some(house)
    }

    fn add(&mut self) {
        let name = format!("worker-{}", self.started);
        self.started += 1;
        self.workers.push(Worker::start(&name, &self.nats, &self.servers));
    }

    /// More numbers at all servers, a few at a time.
    async fn publish(&mut self, count: u64) {
        for _ in 0..count / 10 {
            for server in &self.servers {
                server.publish("/", "number", self.published..self.published + 10);
            }
            self.published += 10;
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Goes on for a while, so that the fault has time to do what it does.
    async fn publish_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.publish(10).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The memory of each worker, in KiB.
    fn memory(&self) -> Vec<u64> {
        let of = |worker: &Worker| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", worker.0.id())).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        self.workers.iter().filter_map(of).collect()
    }

    /// Whether a consumer has all, once and in order, or a mark for what it has not. Says how many marks there are.
    async fn check(mut self) -> usize {
        self.publish(100).await;
        let engine = Engine::nats(&self.nats.client().await, options()).await.unwrap();
        let mut log: actix_socketio::relay::LogStream =
            Reader::builder(engine).begin(Begin::Start).stream().unwrap();
        // What comes next, and whether a mark allows it to be a later one.
        let mut next: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        let mut gaps = 0;
        let all = async {
            while next.len() < UPSTREAMS || next.values().any(|(next, _)| *next < self.published) {
                match log.next().await.unwrap() {
                    LogEntry::Event(event) => {
                        let (number,): (u64,) = event.event().args().unwrap();
                        let state = next.entry(event.upstream().to_owned()).or_default();
                        let (expected, may_skip) = *state;
                        assert!(
                            number == expected || may_skip && number > expected,
                            "{number} of {}, not {expected}",
                            event.upstream()
                        );
                        *state = (number + 1, false);
                        event.ack().await.unwrap();
                    }
                    LogEntry::Mark(mark) => {
                        if let MarkKind::Gap { .. } = mark.kind() {
                            gaps += 1;
                            next.entry(mark.upstream().to_owned()).or_default().1 = true;
                        }
                    }
                }
            }
        };
        let outcome = timeout(PATIENCE, all).await;
        assert!(outcome.is_ok(), "of {} of each, there are {next:?}", self.published);
        gaps
    }
}

#[actix::test]
async fn a_worker_that_is_killed_loses_nothing() {
    for _ in 0..rounds() {
        let Some(mut house) = House::new().await else { return };
        house.workers.remove(0).kill();
        house.publish_for(LEASE_TIME * 2).await;
        assert_eq!(house.check().await, 0, "gaps");
    }
}

#[actix::test]
async fn a_worker_that_stalls_for_longer_than_its_lease_loses_nothing_silently() {
    for _ in 0..rounds() {
        let Some(mut house) = House::new().await else { return };
        house.workers[0].signal("STOP");
        house.publish_for(LEASE_TIME * 2).await;
        house.workers[0].signal("CONT");
        house.publish_for(LEASE_TIME).await;
        eprintln!("gaps: {}", house.check().await);
    }
}

#[actix::test]
async fn the_leader_of_the_log_is_killed_and_nothing_is_lost() {
    for _ in 0..rounds() {
        let Some(mut house) = House::new().await else { return };
        let leader = house.nats.leader("sio_ev").await;
        house.nats.kill(leader);
        house.publish_for(LEASE_TIME * 3).await;
        house.nats.restart(leader);
        assert_eq!(house.check().await, 0, "gaps");
    }
}

#[actix::test]
async fn two_of_three_nats_servers_stall_and_nothing_is_lost_silently() {
    for _ in 0..rounds() {
        let Some(mut house) = House::new().await else { return };
        house.nats.pause(0);
        house.nats.pause(1);
        house.publish_for(LEASE_TIME * 2).await;
        house.nats.resume(0);
        house.nats.resume(1);
        eprintln!("gaps: {}", house.check().await);
    }
}

#[actix::test]
async fn workers_come_and_go_and_nothing_is_lost() {
    for _ in 0..rounds() {
        let Some(mut house) = House::new().await else { return };
        house.add();
        house.publish_for(LEASE_TIME).await;
        for _ in 0..2 {
            let worker = house.workers.remove(0);
            worker.end().await;
            house.publish_for(LEASE_TIME / 2).await;
        }
        house.add();
        house.publish_for(LEASE_TIME).await;
        assert_eq!(house.check().await, 0, "gaps");
    }
}

/// A fault every 20 seconds, for as long as `RELAY_SOAK_SECONDS` says.
#[actix::test]
#[ignore = "for runs by hand"]
async fn a_relay_bears_one_fault_after_the_other() {
    let seconds = env::var("RELAY_SOAK_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let Some(mut house) = House::new().await else { return };
    let until = Instant::now() + Duration::from_secs(seconds);
    for fault in 0.. {
        if Instant::now() > until {
            break;
        }
        match fault % 4 {
            0 => {
                house.workers.remove(0).kill();
                house.add();
            }
            1 => {
                house.workers[0].signal("STOP");
                house.publish_for(LEASE_TIME * 2).await;
                house.workers[0].signal("CONT");
            }
            2 => {
                let leader = house.nats.leader("sio_ev").await;
                house.nats.kill(leader);
                house.publish_for(LEASE_TIME * 2).await;
                house.nats.restart(leader);
            }
            _ => {
                house.workers.remove(0).end().await;
                house.add();
            }
        }
        house.publish_for(Duration::from_secs(20)).await;
        eprintln!("{} published, workers have {:?} KiB", house.published, house.memory());
    }
    eprintln!("gaps: {}", house.check().await);
}
