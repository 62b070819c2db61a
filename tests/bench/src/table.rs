//! Each workload with each peer, in turns: a round has one run of each, and the median of the rounds
//! counts, so that other load on the machine affects all of them alike.

use std::{collections::HashMap, fmt::Write as _, fs};

use crate::{
    chart, machine,
    measure::Report,
    options::Options,
    peer::Peer,
    run,
    spec::{Road, Spec, Workload},
};

/// The peer with which all are compared.
const FLOOR: Peer = Peer::Awc;

/// A workload at a payload size.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub road: Road,
    pub workload: Workload,
    pub size: usize,
    pub chunk: u64,
}

impl Row {
    /// For people.
    pub fn title(self) -> String {
        self.titled(self.workload.name(), " ")
    }

    /// For people: this name of the workload, and what is special.
    pub fn titled(self, name: &str, separator: &str) -> String {
        let mut words = vec![name.to_owned()];
        if self.workload != Workload::Conns {
            words.push(size_text(self.size));
        }
        if self.chunk != Spec::usual_chunk(self.size) {
            words.push(format!("{} at a time", self.chunk));
        }
        if self.road != Road::WebSocket {
            words.push(self.road.name().to_owned());
        }
        words.join(separator)
    }
}

/// The median run of each peer that can run the workload.
pub type Cells = HashMap<(Row, Peer), Outcome>;

pub type Outcome = Result<Report, String>;

pub fn run(options: &Options) -> Result<(), String> {
    let mut caption = machine::describe();
    let mut peers = Vec::new();
    for peer in &options.peers {
        match peer.prepare() {
            Ok(version) => {
                peers.push(*peer);
                if !version.is_empty() {
                    write!(caption, ", {} {version}", peer.title()).expect("a string takes all");
                }
            }
            Err(reason) => eprintln!("{} is left out: {reason}", peer.title()),
        }
    }
    let rows = rows(options);
    let mut runs: HashMap<(Row, Peer), Vec<Outcome>> = HashMap::new();
    let mut log = String::new();
    for round in 0..options.rounds.max(options.slow_rounds) {
        eprintln!("round {}", round + 1);
        for &row in &rows {
            for &peer in &peers {
                let spec = spec(options, row, peer);
                if !peer.can(spec) {
                    continue;
                }
                let rounds = if peer.is_slow() { options.slow_rounds } else { options.rounds };
                let runs = runs.entry((row, peer)).or_default();
                // A peer that fails once is not run again.
                if round >= rounds || runs.iter().any(Result::is_err) {
                    continue;
                }
                let outcome = run::run(peer.command(), spec);
                match &outcome {
                    Ok(report) => {
                        let report = serde_json::to_string(report).expect("plain data");
                        let Row { road, workload, size, chunk } = row;
                        writeln!(
                            log,
                            r#"{{"peer":"{}","road":"{}","workload":"{workload}","size":{size},"chunk":{chunk},"report":{report}}}"#,
                            peer.name(),
                            road.name()
                        )
                        .expect("a string takes all");
                    }
                    Err(reason) => eprintln!("{} fails in {}: {reason}", peer.name(), row.title()),
                }
                runs.push(outcome);
            }
        }
    }
    let cells: Cells = runs.into_iter().map(|(cell, runs)| (cell, median(runs))).collect();
    let text = markdown(&rows, &peers, &cells, &caption);
    println!("{text}");
    let write = |path: &Option<_>, text: &str| {
        path.as_ref()
            .map_or(Ok(()), |path| fs::write(path, text))
            .map_err(|error| error.to_string())
    };
    write(&options.markdown, &text)?;
    write(&options.json, &log)?;
    if let Some(path) = &options.svg {
        chart::draw(path, &rows, &peers, &cells, &caption)?;
    }
    Ok(())
}

fn rows(options: &Options) -> Vec<Row> {
    let sizes = |workload: Workload| match workload {
        Workload::Conns => vec![0],
        _ if workload.is_sized() => options.sizes.clone(),
        _ => vec![Spec::ATTACHMENT],
    };
    let chunks = |workload: Workload, size| match &options.chunks {
        Some(chunks) if workload == Workload::Emit => {
            let most = Spec::most_in_chunk(size);
            let mut chunks: Vec<u64> = chunks.iter().map(|&chunk| chunk.min(most)).collect();
            chunks.dedup();
            chunks
        }
        _ => vec![Spec::usual_chunk(size)],
    };
    let mut rows = Vec::new();
    for &workload in options.workloads.as_deref().unwrap_or(&Workload::ALL) {
        for size in sizes(workload) {
            for chunk in chunks(workload, size) {
                rows.extend(options.roads.iter().map(|&road| Row { road, workload, size, chunk }));
            }
        }
    }
    rows
}

/// About a second's worth of messages for those that are quick.
fn spec(options: &Options, Row { road, workload, size, chunk }: Row, peer: Peer) -> Spec {
    let new = |count| Spec { road, chunk, ..Spec::new(workload, count, size) };
    if workload == Workload::Conns {
        return new(options.conns);
    }
    let usual = match workload {
        Workload::Recv => 1_000_000,
        Workload::Emit => 600_000,
        Workload::Ack => 20_000,
        Workload::Busy => 40_000,
        Workload::Bridge => 400_000,
        Workload::Pipe | Workload::Mix => 200_000,
        _ => 20_000,
    };
    // A gigabyte is enough.
    let most = 1024 * 1024 * 1024 / (size as u64 + 1);
    let count = options.count.unwrap_or(usual.min(most));
    new(count / peer.slowness(workload))
}

/// The run with the median CPU time; of two, the cheaper one.
pub fn median(runs: Vec<Outcome>) -> Outcome {
    let mut reports = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
    reports.sort_by(|one, other| one.cpu().total_cmp(&other.cpu()));
    let middle = reports.len().saturating_sub(1) / 2;
    reports.into_iter().nth(middle).ok_or_else(|| "it was not run".into())
}

/// Bytes, for people.
pub fn size_text(size: usize) -> String {
    if size >= 1024 { format!("{} KiB", size / 1024) } else { format!("{size} B") }
}

/// Three digits.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn markdown(rows: &[Row], peers: &[Peer], cells: &Cells, caption: &str) -> String {
    let mut text = String::from(
        "| workload | peer | CPU µs each | × bare awc | each/s | p50 / p99 / p99.9 µs | memory |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for &row in rows {
        let floor = cells.get(&(row, FLOOR)).and_then(|outcome| outcome.as_ref().ok());
        let name = row.title();
        for &peer in peers {
            let Some(outcome) = cells.get(&(row, peer)) else { continue };
            let line = match outcome {
                Ok(report) => {
                    let ratio = floor.map_or("".into(), |floor| figure(report.cpu() / floor.cpu()));
                    let latency = report
                        .latency_us
                        .map_or(String::new(), |latency| latency.map(figure).join(" / "));
                    let memory = match row.workload {
                        Workload::Conns => format!("{:.1} KiB each", report.kib_each()),
                        _ => format!("{:.1} MiB", report.mib()),
                    };
                    let (cpu, rate) = (figure(report.cpu()), report.rate());
                    format!("{cpu} | {ratio} | {rate:.0} | {latency} | {memory} |")
                }
                Err(_) => "fails | | | | |".into(),
            };
            writeln!(text, "| {name} | {} | {line}", peer.title()).expect("a string takes all");
        }
    }
    writeln!(text, "\n{caption}; the client's own CPU time; medians.").expect("a string takes all");
    for &row in rows {
        for &peer in peers {
            if let Some(Err(reason)) = cells.get(&(row, peer)) {
                writeln!(text, "\n{} fails in {}: {reason}.", peer.title(), row.title())
                    .expect("a string takes all");
            }
        }
    }
    text
}
