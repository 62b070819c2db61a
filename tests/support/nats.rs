//! NATS servers with JetStream: one, or three in a cluster, each a process of its own.
//!
//! Needs nothing but `reserved`, because unit tests of the library include it, too.

// Not all that include it use all of it.
#![allow(dead_code, unreachable_pub)]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used
)]

use super::reserved::Port;
use serde_json::Value;
use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long servers may take to be ready, or to agree on something.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    config: PathBuf,
    child: Child,
    port: u16,
    monitor: u16,
}

/// Running servers; they are killed, and their files removed, when dropped.
pub struct Nats {
    program: PathBuf,
    directory: PathBuf,
    nodes: Vec<Node>,
    /// Of all of them, for clients, for each other and for their monitors.
    _ports: [Vec<Port>; 3],
}

/// What is asked for is not there: says so, or fails, with `REQUIRE_NATS`.
fn skip(why: &str) {
    assert!(env::var_os("REQUIRE_NATS").is_none(), "{why}");
    eprintln!("{why}: skipped");
}

/// The server's program: what `NATS_SERVER` names, or the first in the `PATH` and where Debian has it.
fn program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("NATS_SERVER") {
        return Some(program.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|place| place.join("nats-server")).find(|program| program.is_file());
    if found.is_none() {
        skip("nats-server is not installed, and NATS_SERVER names none");
    }
    found
}

/// Whether servers of this version, as they tell it, fence in a cluster: 2.10 and later do.
fn fences(version: &str) -> bool {
    let numbers = version.trim().rsplit('v').next().unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(10))
}

fn spawn(program: &Path, config: &Path) -> Child {
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Nats {
    /// One server.
    pub async fn one() -> Option<Self> {
        Self::start::<1>("").await
    }

    /// One server with more lines in its configuration.
    pub async fn one_with(lines: &str) -> Option<Self> {
        Self::start::<1>(lines).await
    }

    /// One server that keeps nothing.
    pub async fn one_without_jetstream() -> Option<Self> {
        Self::start::<1>("jetstream: false").await
    }

    /// Three servers in a cluster, of version 2.10 or later: what a relay demands.
    pub async fn cluster() -> Option<Self> {
        let program = program()?;
        let version = Command::new(&program).arg("--version").output();
        let version = version.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let version = String::from_utf8_lossy(&version.stdout);
        if !fences(&version) {
            let (program, version) = (program.display(), version.trim());
            skip(&format!("{program} ({version}) is too old for a cluster, see CONTRIBUTING.md"));
            return None;
        }
        Self::start::<3>("").await
    }

    async fn start<const N: usize>(lines: &str) -> Option<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let program = program()?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("actix-socketio-nats-{}-{serial}", id()));
        fs::create_dir_all(&directory).unwrap();
        let ports = [(); 3].map(|()| (0..N).map(|_| Port::reserve()).collect::<Vec<_>>());
        let [clients, routes, monitors] =
            ports.each_ref().map(|row| row.iter().map(Port::number).collect::<Vec<_>>());
        let others: Vec<String> =
            routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let mut nats = Self { program, directory, nodes: Vec::new(), _ports: ports };
        for number in 0..N {
            let (port, route, monitor) = (clients[number], routes[number], monitors[number]);
            let store = nats.directory.join(format!("store-{number}")).display().to_string();
            let mut text = format!(
                "server_name: n{number}\nlisten: 127.0.0.1:{port}\nhttp: 127.0.0.1:{monitor}\n\
                 jetstream {{ store_dir: {store:?}, max_file_store: 4G, max_memory_store: 256M }}\n{lines}\n"
            );
            if N > 1 {
                let routes = format!("listen: 127.0.0.1:{route}, routes: {others:?}");
                text = format!("{text}cluster {{ name: test, {routes} }}\n");
            }
            let config = nats.directory.join(format!("{number}.conf"));
            fs::write(&config, text).unwrap();
            let child = spawn(&nats.program, &config);
            nats.nodes.push(Node { config, child, port, monitor });
        }
        nats.ready().await;
        Some(nats)
    }

    /// Waits until every server is there, and in a cluster has a leader.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for number in 0..self.nodes.len() {
            while !self.is_ready(number).await {
                let ended = self.nodes[number].child.try_wait().unwrap();
                assert!(ended.is_none(), "nats-server does not run: {ended:?}");
                assert!(Instant::now() < deadline, "nats-server {number} is not ready");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn is_ready(&self, number: usize) -> bool {
        let is_well = self.monitor(number, "/healthz").await.is_some_and(|it| it["status"] == "ok");
        if !is_well || self.nodes.len() == 1 {
            return is_well;
        }
        let state = self.monitor(number, "/jsz").await.unwrap_or_default();
        let meta = &state["meta_cluster"];
        let is_led = meta["leader"].is_string() && meta["cluster_size"] == self.nodes.len();
        // The leader places streams, and for a while after its election it takes others for offline.
        if !is_led || meta["leader"] != format!("n{number}") {
            return is_led;
        }
        let others = meta["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_there = |peer: &Value| peer["current"] == true && peer["offline"] != true;
        others.len() == self.nodes.len() - 1 && others.iter().all(is_there)
    }

    /// What a server's monitor says; `None` if it says nothing.
    async fn monitor(&self, number: usize, path: &str) -> Option<Value> {
        let port = self.nodes[number].monitor;
        let ask = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let (_, body) = answer.split_once("\r\n\r\n")?;
            serde_json::from_str(body).ok()
        };
        timeout(Duration::from_secs(1), ask).await.ok()?
    }

    /// Where clients connect: all servers.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port)).collect()
    }

    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// A client that tries all servers again and again.
    pub async fn client(&self) -> async_nats::Client {
        client(&self.urls()).await
    }

    /// Which server leads a stream, once they agree on one.
    pub async fn leader(&self, stream: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for number in 0..self.nodes.len() {
                let state = self.monitor(number, "/jsz?streams=1").await.unwrap_or_default();
                let accounts = state["account_details"].as_array();
                let mut streams = accounts
                    .into_iter()
                    .flatten()
                    .filter_map(|account| account["stream_detail"].as_array())
                    .flatten();
                let leader = streams
                    .find(|detail| detail["name"] == stream)
                    .and_then(|detail| detail["cluster"]["leader"].as_str())
                    .and_then(|name| name.strip_prefix('n')?.parse().ok());
                if let Some(leader) = leader {
                    return leader;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads {stream}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends a server at once (SIGKILL).
    pub fn kill(&mut self, number: usize) {
        let child = &mut self.nodes[number].child;
        child.kill().ok();
        child.wait().unwrap();
    }

    /// Starts all servers of a cluster again but the first, and waits for a leader: one that has never heard of the first.
    pub async fn restart_without_first(&mut self) {
        let all = 0..self.nodes.len();
        all.clone().for_each(|number| self.kill(number));
        all.clone().skip(1).for_each(|number| self.restart(number));
        let deadline = Instant::now() + PATIENCE;
        loop {
            for number in all.clone().skip(1) {
                let state = self.monitor(number, "/jsz").await.unwrap_or_default();
                if state["meta_cluster"]["leader"] == format!("n{number}") {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads the cluster");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a server again that was killed, with its files.
    pub fn restart(&mut self, number: usize) {
        let child = spawn(&self.program, &self.nodes[number].config);
        self.nodes[number].child = child;
    }

    /// Stops a server where it is (SIGSTOP).
    pub fn pause(&self, number: usize) {
        signal("STOP", self.nodes[number].child.id());
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self, number: usize) {
        signal("CONT", self.nodes[number].child.id());
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.child.kill().ok();
            node.child.wait().ok();
        }
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// A client that tries these servers again and again, with a short pause.
pub async fn client(urls: &[String]) -> async_nats::Client {
    let urls: Vec<async_nats::ServerAddr> = urls.iter().map(|url| url.parse().unwrap()).collect();
    async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        // There may be a proxy before each, and they tell each other's addresses.
        .ignore_discovered_servers()
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(1))
        .reconnect_delay_callback(|_| Duration::from_millis(100))
        .connect(urls)
        .await
        .unwrap()
}

/// Sends a signal to a process, by its name without `SIG`. After `STOP`, waits until the process has stopped, or ended: the
/// thread that gets the signal stops the others, and on a busy machine they may do a lot before it has its turn.
pub fn signal(name: &str, pid: u32) {
    let pid = pid.to_string();
    let status = Command::new("kill").arg(format!("-{name}")).arg(&pid).status();
    assert!(status.unwrap().success(), "no signal {name} for {pid}");
    let runs = || {
        let output = Command::new("ps").args(["-o", "stat=", "-p", &pid]).output().unwrap();
        matches!(output.stdout.first(), Some(b'R' | b'S' | b'D' | b'I'))
    };
    while name == "STOP" && runs() {}
}
