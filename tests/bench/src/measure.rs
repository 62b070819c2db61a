//! What a process has used, as the operating system reports it.

use std::{
    fs,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use nix::sys::{
    resource::{self, Resource, UsageWho},
    time::TimeValLike,
};
use serde::{Deserialize, Serialize};

/// Round trips, in nanoseconds.
pub type Latencies = Histogram<u64>;

/// No round trips yet.
pub fn latencies() -> Latencies {
    Histogram::new(3).expect("three digits are allowed")
}

/// Records how long something took.
pub fn note(latencies: &mut Latencies, took: Duration) {
    latencies.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)).expect("it grows");
}

/// The cost of one run: a line of JSON, the same from clients in any language.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub messages: u64,
    pub cpu_us: f64,
    pub wall_us: f64,
    /// Resident memory when the measurement began.
    pub base_kib: u64,
    /// Resident memory when it ended.
    pub rss_kib: u64,
    /// The 50th, 99th and 99.9th percentile.
    pub latency_us: Option<[f64; 3]>,
}

impl Report {
    pub fn cpu(&self) -> f64 {
        self.cpu_us / self.messages as f64
    }

    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.wall_us * 1e6
    }

    /// The memory that each message, here a connection, has added.
    pub fn kib_each(&self) -> f64 {
        self.rss_kib.saturating_sub(self.base_kib) as f64 / self.messages as f64
    }

    pub fn mib(&self) -> f64 {
        self.rss_kib as f64 / 1024.0
    }
}

/// The beginning of a measurement.
pub struct Mark {
    cpu_us: i64,
    wall: Instant,
    base_kib: u64,
}

impl Mark {
    pub fn start() -> Self {
        Self { base_kib: rss_kib(), wall: Instant::now(), cpu_us: cpu_us() }
    }

    /// Ends the measurement.
    pub fn stop(self, messages: u64, latencies: Option<&Latencies>) -> Report {
        let cpu_us = cpu_us() - self.cpu_us;
        let wall = self.wall.elapsed();
        Report {
            messages,
            cpu_us: cpu_us as f64,
            wall_us: wall.as_secs_f64() * 1e6,
            base_kib: self.base_kib,
            rss_kib: rss_kib(),
            latency_us: latencies.map(|latencies| {
                [0.5, 0.99, 0.999].map(|part| latencies.value_at_quantile(part) as f64 / 1e3)
            }),
        }
    }
}

/// User and system time of all threads of this process.
fn cpu_us() -> i64 {
    let usage = resource::getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for itself");
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

/// Resident memory of this process, as Linux counts it.
pub fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("VmRSS is a number of kB")
}

/// Ten thousand connections need as many files, and the soft limit is often 1024.
pub fn allow_many_files() {
    let (_, hard) = resource::getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    resource::setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a soft limit may be raised");
}
