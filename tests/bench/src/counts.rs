//! How many instructions a message takes, counted by valgrind: the same number whatever else the
//! machine does, so that it shows the cost of a change that times would hide.
//!
//! The expected numbers are in `counts.txt`, and are changed there together with the code that
//! changes them.

use std::{env, fs, process, process::Command};

use crate::{
    peer::Peer,
    run,
    spec::{Spec, Workload},
};

const EXPECTED: &str = include_str!("../counts.txt");

/// The path of a message also depends a little on the kernel, and another compiler makes
/// other instructions.
const TOLERANCE_PERCENT: u64 = 10;

/// The number of runs, of which the least counts.
const RUNS: usize = 2;

/// Messages in the shorter of the two runs whose difference is taken, so that the start
/// does not count.
const WORKLOADS: [(Workload, u64); 6] = [
    (Workload::Recv, 10_000),
    (Workload::Emit, 10_000),
    (Workload::Pipe, 10_000),
    (Workload::Ack, 1_000),
    (Workload::Bin, 200),
    (Workload::Bridge, 10_000),
];

pub fn run() -> Result<(), String> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err("valgrind counts the instructions: install the package `valgrind`".into());
    }
    println!("| workload | instructions | expected | bare awc loop |\n|---|--:|--:|--:|");
    let mut wrong = Vec::new();
    for (workload, messages) in WORKLOADS {
        let expected = expected(workload)?;
        let ours = count(Peer::Ours, workload, messages)?;
        let bare = count(Peer::Awc, workload, messages)?;
        println!("| {workload} | {ours} | {expected} | {bare} |");
        if ours.abs_diff(expected) * 100 > expected * TOLERANCE_PERCENT {
            wrong.push(workload.name());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {TOLERANCE_PERCENT} % from what is expected: {}. If that is meant, or the compiler is \
         another one, write the new numbers into tests/bench/counts.txt.",
        wrong.join(", ")
    ))
}

fn expected(workload: Workload) -> Result<u64, String> {
    let lines = EXPECTED.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == workload.name())
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| format!("counts.txt says nothing of {workload}"))
}

/// Instructions for each message.
fn count(peer: Peer, workload: Workload, messages: u64) -> Result<u64, String> {
    let size = if workload == Workload::Bin { Spec::ATTACHMENT } else { 64 };
    let [short, long] = [1, 2].map(|times| Spec::new(workload, times * messages, size));
    let mut least = u64::MAX;
    for _ in 0..RUNS {
        let more = instructions(peer, long)?.saturating_sub(instructions(peer, short)?);
        least = least.min(more / (long.count - short.count).max(1));
    }
    Ok(least)
}

/// The instructions of a whole run.
fn instructions(peer: Peer, spec: Spec) -> Result<u64, String> {
    let log = env::temp_dir().join(format!("actix-socketio-bench-{}.log", process::id()));
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let mut client = Command::new("valgrind");
    client.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    client.arg(format!("--log-file={}", log.display())).arg(this).args(["client", peer.name()]);
    let report = run::run(client, spec);
    let said = fs::read_to_string(&log).unwrap_or_default();
    // The file may not exist.
    drop(fs::remove_file(&log));
    report?;
    let counted = said.lines().find_map(|line| line.split_once("refs:"));
    counted
        .and_then(|(_, count)| count.trim().replace(',', "").parse().ok())
        .ok_or_else(|| format!("valgrind says no number: {said}"))
}
