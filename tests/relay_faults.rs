//! Workers of a relay that are processes of their own, servers with recovery, and three NATS servers, while any of them fails,
//! or the network between them.
//! After each fault a consumer has each number of each upstream once and in order, without a gap. And it did happen: the
//! worker that failed held something before, and the log says who held it then.
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
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use actix_socketio::{
    Client,
    relay::{Begin, Engine, LogEntry, LogStream, MarkKind, NatsOptions, Reader, Relay, Upstream},
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{
    nats::{self, Nats, signal},
    node::{self, Config, Line, Server},
    proxy::Proxy,
};
use tokio::time::{sleep, timeout};

/// Upstreams, each with a server of its own.
const UPSTREAMS: usize = 6;
const WORKERS: usize = 3;
/// The most upstreams of one worker, when nothing has failed for a while.
const SHARE: usize = 3;
/// Shorter than an election in a cluster may take: leases lapse then, too.
const LEASE_TIME: Duration = Duration::from_secs(3);
/// How long all may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a worker's report on its standard output.
const REPORT: &str = "report: ";

/// A number of the environment, for runs by hand.
fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |number| number.parse().unwrap())
}

fn options() -> NatsOptions {
    let timeout = Duration::from_millis(900);
    NatsOptions::new().replicas(3).lease_time(LEASE_TIME).ack_timeout(timeout)
}

/// What a worker knows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    /// The upstreams that it holds, and has joined.
    joined: BTreeSet<String>,
    /// Leases that it has lost so far.
    lost: u64,
    /// Questions to NATS that have failed so far.
    failures: u64,
}

impl Report {
    fn of(relay: &Relay) -> Self {
        let mut report = Self::default();
        for (name, stats) in relay.stats().upstreams {
            report.lost += stats.lost;
            report.failures += stats.failures;
            if stats.held_here && stats.joined {
                report.joined.insert(name);
            }
        }
        report
    }
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
    let reporting = relay.clone();
    actix::spawn(async move {
        let mut last = None;
        loop {
            let report = Report::of(&reporting);
            if last.as_ref() != Some(&report) {
                let line = serde_json::to_string(&report).unwrap();
                writeln!(std::io::stdout(), "{REPORT}{line}").unwrap();
                last = Some(report);
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    // It ends in order when its input does, and at once when it is killed.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    ended.await.unwrap().unwrap();
    relay.shutdown(Duration::from_secs(10)).await;
}

/// A worker in a process of its own, and its network; killed when dropped.
struct Worker {
    name: String,
    child: Child,
    report: Arc<Mutex<Report>>,
    /// Its ways to the NATS servers, and to those of the upstreams.
    to_nats: Vec<Proxy>,
    to_servers: Vec<Proxy>,
}

impl Worker {
    fn start(name: String, nats: &Nats, servers: &[Server]) -> Self {
        let to_nats: Vec<_> = nats.ports().into_iter().map(Proxy::start).collect();
        let to_servers: Vec<_> = servers.iter().map(|server| Proxy::start(server.port())).collect();
        let nats: Vec<_> =
            to_nats.iter().map(|way| format!("nats://127.0.0.1:{}", way.port())).collect();
        let servers: Vec<_> = to_servers.iter().map(Proxy::url).collect();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker_process", "--nocapture"])
            .env("RELAY_WORKER", &name)
            .env("RELAY_NATS", json!(nats).to_string())
            .env("RELAY_SERVERS", json!(servers).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let report = Arc::new(Mutex::new(Report::default()));
        let (told, output) = (Arc::clone(&report), BufReader::new(child.stdout.take().unwrap()));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The first one stands behind what the test runner says.
                if let Some((_, report)) = line.split_once(REPORT) {
                    *told.lock().unwrap() = serde_json::from_str(report).unwrap();
                }
            }
        });
        Self { name, child, report, to_nats, to_servers }
    }

    fn report(&self) -> Report {
        self.report.lock().unwrap().clone()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    async fn end(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the worker does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Its memory, in KiB, where the system tells.
    fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An upstream went from one worker to another.
#[derive(Debug)]
struct Move {
    upstream: String,
    from: String,
    to: String,
    in_order: bool,
}

/// The log, as far as it was read.
struct Log {
    stream: LogStream,
    /// Of each upstream: the number that comes next, and whether a mark allows it to be a later one.
    next: BTreeMap<String, (u64, bool)>,
    /// Of each upstream: who holds it, and whether that worker has left in order.
    holders: BTreeMap<String, (String, bool)>,
    moves: Vec<Move>,
    gaps: usize,
}

impl Log {
    /// Reads until there are so many numbers of each upstream, each once and in order, or a mark for what is missing.
    async fn read(&mut self, count: u64) {
        while self.next.len() < UPSTREAMS || self.next.values().any(|(next, _)| *next < count) {
            match self.stream.next().await.unwrap() {
                LogEntry::Event(event) => {
                    let (number,): (u64,) = event.event().args().unwrap();
                    let state = self.next.entry(event.upstream().to_owned()).or_default();
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
                    let upstream = mark.upstream().to_owned();
                    match mark.kind() {
                        MarkKind::Holder { worker } => {
                            let now = (worker.clone(), false);
                            let before = self.holders.insert(upstream.clone(), now);
                            if let Some((from, in_order)) = before {
                                let to = worker.clone();
                                self.moves.push(Move { upstream, from, to, in_order });
                            }
                        }
                        MarkKind::Left { worker } => {
                            let (holder, left) = self.holders.get_mut(&upstream).unwrap();
                            assert_eq!(holder, worker, "who leaves is not who holds {upstream}");
                            *left = true;
                        }
                        MarkKind::Gap { .. } => {
                            self.gaps += 1;
                            self.next.entry(upstream).or_default().1 = true;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
}

struct House {
    nats: Nats,
    servers: Vec<Server>,
    workers: Vec<Worker>,
    started: usize,
    /// Of each upstream, so far.
    published: u64,
    log: Log,
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
        // Before the workers, so that the streams are there before several make them at the same time.
        let engine = Engine::nats(&nats.client().await, options()).await.unwrap();
        let log = Log {
            stream: Reader::builder(engine).begin(Begin::Start).stream().unwrap(),
            next: BTreeMap::new(),
            holders: BTreeMap::new(),
            moves: Vec::new(),
            gaps: 0,
        };
        let mut house = Self { nats, servers, workers: Vec::new(), started: 0, published: 0, log };
        for _ in 0..WORKERS {
            house.add();
        }
        house.settle().await;
        house.publish(100).await;
        house.check().await;
        // Workers that found their places before there was anything to continue.
        (house.log.moves, house.log.gaps) = (Vec::new(), 0);
        Some(house)
    }

    fn add(&mut self) {
        let name = format!("worker-{}", self.started);
        self.started += 1;
        self.workers.push(Worker::start(name, &self.nats, &self.servers));
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

    /// Goes on publishing until this is so. Before the first number, only waits: not all would hear it.
    async fn until(&mut self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self).await {
            let reports: Vec<_> = self.workers.iter().map(|it| (&it.name, it.report())).collect();
            assert!(Instant::now() < deadline, "not so: {what}; {reports:?}");
            if self.published > 0 {
                self.publish(10).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Each upstream is joined by one worker, and no worker has more than its share.
    async fn settle(&mut self) {
        self.until("the workers have settled", async |house| {
            let reports: Vec<_> =
                house.workers.iter().map(|worker| worker.report().joined).collect();
            let all: BTreeSet<_> = reports.iter().flatten().collect();
            let counts = reports.iter().map(BTreeSet::len);
            let (count, most): (usize, _) = (counts.clone().sum(), counts.max());
            (all.len(), count) == (UPSTREAMS, UPSTREAMS) && most <= Some(SHARE)
        })
        .await;
    }

    /// The worker that holds most, and what that is.
    async fn busiest(&mut self) -> (usize, BTreeSet<String>) {
        self.settle().await;
        let held = self.workers.iter().map(|worker| worker.report().joined).enumerate();
        let (number, held) = held.max_by_key(|(_, held)| held.len()).unwrap();
        assert!(!held.is_empty());
        (number, held)
    }

    /// Until all of this is joined by others than this worker.
    async fn until_others_have(&mut self, held: &BTreeSet<String>, worker: Option<usize>) {
        self.until("others have taken over", async |house| {
            let others = house.workers.iter().enumerate().filter(|(it, _)| Some(*it) != worker);
            let joined: BTreeSet<_> = others.flat_map(|(_, other)| other.report().joined).collect();
            joined.is_superset(held)
        })
        .await;
    }

    /// Until the worker knows that it has lost something.
    async fn until_lost(&mut self, worker: usize, before: &Report) {
        self.until("the worker has lost its leases", async |house| {
            house.workers[worker].report().lost > before.lost
        })
        .await;
    }

    /// A consumer has all that was published.
    async fn check(&mut self) {
        self.publish(10).await;
        let read = timeout(PATIENCE, self.log.read(self.published)).await;
        assert!(read.is_ok(), "of {} of each, there are {:?}", self.published, self.log.next);
    }

    /// Whether the log says that this worker held one of these, and somebody else after it.
    fn check_moved(&mut self, from: &str, held: &BTreeSet<String>, in_order: bool) {
        let moves = std::mem::take(&mut self.log.moves);
        let is_it = |it: &Move| {
            it.from == from
                && it.to != from
                && held.contains(&it.upstream)
                && it.in_order == in_order
        };
        assert!(moves.iter().any(is_it), "{from} held {held:?}: {moves:?}");
    }

    async fn a_worker_is_killed(&mut self) {
        let (number, held) = self.busiest().await;
        let worker = self.workers.remove(number);
        let name = worker.name.clone();
        worker.kill();
        self.until_others_have(&held, None).await;
        self.add();
        self.check().await;
        self.check_moved(&name, &held, false);
    }

    async fn a_worker_stalls(&mut self) {
        let (number, held) = self.busiest().await;
        let before = self.workers[number].report();
        self.workers[number].signal("STOP");
        self.until_others_have(&held, Some(number)).await;
        self.workers[number].signal("CONT");
        self.until_lost(number, &before).await;
        self.check().await;
        let name = self.workers[number].name.clone();
        self.check_moved(&name, &held, false);
    }

    async fn a_worker_is_replaced(&mut self) {
        let (number, held) = self.busiest().await;
        let worker = self.workers.remove(number);
        let name = worker.name.clone();
        self.add();
        worker.end().await;
        self.until_others_have(&held, None).await;
        self.check().await;
        self.check_moved(&name, &held, true);
    }

    async fn the_leader_of_the_log_is_killed(&mut self) {
        self.settle().await;
        let leader = self.nats.leader("sio_ev").await;
        self.nats.kill(leader);
        self.until("another one leads", async |house| house.nats.leader("sio_ev").await != leader)
            .await;
        self.check().await;
        self.nats.restart(leader);
        self.nats.ready().await;
    }

    async fn two_of_three_nats_servers_stall(&mut self) {
        self.settle().await;
        self.nats.pause(0);
        self.nats.pause(1);
        self.until("nobody holds anything", async |house| {
            house.workers.iter().all(|worker| worker.report().joined.is_empty())
        })
        .await;
        self.nats.resume(0);
        self.nats.resume(1);
        self.settle().await;
        self.check().await;
    }

    async fn a_worker_does_not_hear_its_servers(&mut self) {
        let (number, held) = self.busiest().await;
        self.workers[number].to_servers.iter().for_each(Proxy::stall);
        self.until("it has noticed", async |house| {
            house.workers[number].report().joined.is_disjoint(&held)
        })
        .await;
        self.workers[number].to_servers.iter().for_each(Proxy::resume);
        self.settle().await;
        self.check().await;
    }

    async fn a_worker_does_not_hear_nats(&mut self) {
        let (number, held) = self.busiest().await;
        let before = self.workers[number].report();
        self.workers[number].to_nats.iter().for_each(Proxy::stall);
        self.until_others_have(&held, Some(number)).await;
        self.until_lost(number, &before).await;
        self.workers[number].to_nats.iter().for_each(Proxy::resume);
        self.check().await;
        let name = self.workers[number].name.clone();
        self.check_moved(&name, &held, false);
    }

    async fn a_worker_hears_nobody(&mut self) {
        let (number, held) = self.busiest().await;
        let before = self.workers[number].report();
        let Worker { to_nats, to_servers, .. } = &self.workers[number];
        to_nats.iter().chain(to_servers).for_each(Proxy::stall);
        self.until_others_have(&held, Some(number)).await;
        self.until_lost(number, &before).await;
        let Worker { name, to_nats, to_servers, .. } = &self.workers[number];
        to_nats.iter().chain(to_servers).for_each(Proxy::resume);
        let name = name.clone();
        self.check().await;
        self.check_moved(&name, &held, false);
    }
}

/// A fault, once or as often as `RELAY_ROUNDS` says; after each, nothing is missing.
async fn nothing_is_lost_when(fault: impl AsyncFn(&mut House)) {
    let Some(mut house) = House::new().await else { return };
    for round in 1..=number("RELAY_ROUNDS", 1) {
        let began = Instant::now();
        fault(&mut house).await;
        eprintln!("round {round}: {:?}, gaps: {}", began.elapsed(), house.log.gaps);
        assert_eq!(house.log.gaps, 0, "gaps");
    }
}

#[actix::test]
async fn a_worker_that_is_killed_loses_nothing() {
    nothing_is_lost_when(House::a_worker_is_killed).await;
}

#[actix::test]
async fn a_worker_that_stalls_for_longer_than_its_lease_loses_nothing() {
    nothing_is_lost_when(House::a_worker_stalls).await;
}

#[actix::test]
async fn the_leader_of_the_log_is_killed_and_nothing_is_lost() {
    nothing_is_lost_when(House::the_leader_of_the_log_is_killed).await;
}

#[actix::test]
async fn two_of_three_nats_servers_stall_and_nothing_is_lost() {
    nothing_is_lost_when(House::two_of_three_nats_servers_stall).await;
}

#[actix::test]
async fn workers_come_and_go_and_nothing_is_lost() {
    nothing_is_lost_when(House::a_worker_is_replaced).await;
}

#[actix::test]
async fn a_worker_that_does_not_hear_its_servers_for_a_while_loses_nothing() {
    nothing_is_lost_when(House::a_worker_does_not_hear_its_servers).await;
}

#[actix::test]
async fn a_worker_that_does_not_hear_nats_loses_nothing() {
    nothing_is_lost_when(House::a_worker_does_not_hear_nats).await;
}

#[actix::test]
async fn a_worker_that_hears_nobody_loses_nothing() {
    nothing_is_lost_when(House::a_worker_hears_nobody).await;
}

/// One fault after the other, for as long as `RELAY_SOAK_SECONDS` says.
#[actix::test]
#[ignore = "for runs by hand"]
async fn a_relay_bears_one_fault_after_the_other() {
    let time = Duration::from_secs(number("RELAY_SOAK_SECONDS", 60));
    let Some(mut house) = House::new().await else { return };
    let began = Instant::now();
    for fault in 0.. {
        if began.elapsed() > time {
            break;
        }
        match fault % 8 {
            0 => house.a_worker_is_killed().await,
            1 => house.a_worker_stalls().await,
            2 => house.the_leader_of_the_log_is_killed().await,
            3 => house.a_worker_is_replaced().await,
            4 => house.a_worker_does_not_hear_its_servers().await,
            5 => house.a_worker_does_not_hear_nats().await,
            6 => house.two_of_three_nats_servers_stall().await,
            _ => house.a_worker_hears_nobody().await,
        }
        let workers = house.workers.iter();
        let memory: Vec<_> = workers.map(|worker| (&worker.name, worker.memory())).collect();
        eprintln!(
            "{:?}: fault {fault}, {} published, gaps: {}, memory in KiB: {memory:?}",
            began.elapsed(),
            house.published,
            house.log.gaps
        );
        assert_eq!(house.log.gaps, 0, "gaps");
    }
}
