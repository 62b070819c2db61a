//! Workers of a relay that are processes of their own, servers with recovery, and three NATS servers; and what can fail there.
//!
//! A worker is the program of the tests, started again with `RELAY_WORKER`; it has a test `worker_process` that calls [`work`].

// Included by one test; a worker reports on its standard output.
#![allow(unreachable_pub, clippy::print_stdout)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader},
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
use tokio::time::{sleep, timeout};

use crate::support::{
    nats::{self, Nats, signal},
    node::{self, Config, Line, Server},
    proxy::Proxy,
};

/// Upstreams, each with a server of its own.
pub const UPSTREAMS: usize = 4;
const WORKERS: usize = 3;
/// The most upstreams of one worker, when nothing has failed for a while.
const SHARE: usize = 2;
/// Shorter than an election in a cluster may take: leases lapse then, too.
pub const LEASE_TIME: Duration = Duration::from_secs(3);
/// How long all may take to come to rest.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Of a worker's report on its standard output.
const REPORT: &str = "report: ";

pub fn options() -> NatsOptions {
    let timeout = Duration::from_millis(900);
    NatsOptions::new().replicas(3).lease_time(LEASE_TIME).ack_timeout(timeout)
}

/// What a worker knows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The upstreams that it holds, and has joined.
    pub joined: BTreeSet<String>,
    /// Leases that it has lost so far.
    pub lost: u64,
    /// Questions to NATS that have failed so far.
    pub failures: u64,
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

/// What a worker's process does.
pub async fn work(name: String) {
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
                println!("{REPORT}{line}");
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
pub struct Worker {
    pub name: String,
    child: Child,
    report: Arc<Mutex<Report>>,
    /// Its ways to the NATS servers, and to those of the upstreams.
    pub to_nats: Vec<Proxy>,
    pub to_servers: Vec<Proxy>,
}

impl Worker {
    pub fn start(name: String, nats: &Nats, servers: &[Server]) -> Self {
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

    pub fn report(&self) -> Report {
        self.report.lock().unwrap().clone()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    pub async fn end(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the worker does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Its memory, in KiB, where the system tells.
    pub fn memory(&self) -> Option<u64> {
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
pub struct Move {
    pub upstream: String,
    pub from: String,
    pub to: String,
    pub in_order: bool,
}

/// The log, as far as it was read.
pub struct Log {
    stream: LogStream,
    /// Of each upstream: the number that comes next, and whether a mark allows it to be a later one.
    next: BTreeMap<String, (u64, bool)>,
    /// Of each upstream: who holds it, and whether that worker has left in order.
    holders: BTreeMap<String, (String, bool)>,
    pub moves: Vec<Move>,
    pub gaps: usize,
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

pub struct House {
    pub nats: Nats,
    pub servers: Vec<Server>,
    pub workers: Vec<Worker>,
    started: usize,
    /// Of each upstream, so far.
    pub published: u64,
    pub log: Log,
}

impl House {
    /// All is there, each upstream is held, and the first numbers are on their way.
    pub async fn new() -> Option<Self> {
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

    pub fn add(&mut self) {
        let name = format!("worker-{}", self.started);
        self.started += 1;
        self.workers.push(Worker::start(name, &self.nats, &self.servers));
    }

    /// More numbers at all servers, a few at a time.
    pub async fn publish(&mut self, count: u64) {
        for _ in 0..count / 10 {
            for server in &self.servers {
                server.publish("/", "number", self.published..self.published + 10);
            }
            self.published += 10;
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Goes on publishing until this is so. Before the first number, only waits: not all would hear it.
    pub async fn until(&mut self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
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
    pub async fn settle(&mut self) {
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
    pub async fn busiest(&mut self) -> (usize, BTreeSet<String>) {
        self.settle().await;
        let held = self.workers.iter().map(|worker| worker.report().joined).enumerate();
        let (number, held) = held.max_by_key(|(_, held)| held.len()).unwrap();
        assert!(!held.is_empty());
        (number, held)
    }

    /// Until all of this is joined by others than this worker.
    pub async fn until_others_have(&mut self, held: &BTreeSet<String>, worker: Option<usize>) {
        self.until("others have taken over", async |house| {
            let others = house.workers.iter().enumerate().filter(|(it, _)| Some(*it) != worker);
            let joined: BTreeSet<_> = others.flat_map(|(_, other)| other.report().joined).collect();
            joined.is_superset(held)
        })
        .await;
    }

    /// Until the worker knows that it has lost something.
    pub async fn until_lost(&mut self, worker: usize, before: &Report) {
        self.until("the worker has lost its leases", async |house| {
            house.workers[worker].report().lost > before.lost
        })
        .await;
    }

    /// A consumer gets all that was published. Goes on publishing: behind a gap, something has to come.
    pub async fn check(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.publish(10).await;
            let read = self.log.read(self.published);
            if timeout(Duration::from_secs(1), read).await.is_ok() {
                break;
            }
            let (count, next) = (self.published, &self.log.next);
            assert!(Instant::now() < deadline, "of {count} of each, there are {next:?}");
        }
    }

    /// Whether the log says that this worker held one of these, and somebody else after it.
    pub fn check_moved(&mut self, from: &str, held: &BTreeSet<String>, in_order: bool) {
        let moves = std::mem::take(&mut self.log.moves);
        let is_it = |it: &Move| {
            it.from == from
                && it.to != from
                && held.contains(&it.upstream)
                && it.in_order == in_order
        };
        assert!(moves.iter().any(is_it), "{from} held {held:?}: {moves:?}");
    }
}
