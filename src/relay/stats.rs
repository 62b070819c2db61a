//! How the upstreams of a relay fare, and the numbers for Prometheus.

use std::time::Duration;

use crate::{
    relay::engine::EngineError,
    stats::prometheus::{Kind, Number, families},
};

const PREFIX: &str = "actix_socketio_relay";

/// How an upstream fares, as far as this worker knows; see [`Relay::state`](crate::relay::Relay::state).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamState {
    /// The name of the worker that holds it; `None` if nobody does, or if it is not known yet.
    pub holder: Option<String>,
    /// Whether this worker holds it.
    pub held_here: bool,
    /// Whether this worker has joined the namespace.
    pub joined: bool,
    /// The sequence of the last record that this worker has stored.
    pub sequence: Option<u64>,
    /// How long ago the last event came to this worker.
    pub last_event: Option<Duration>,
    /// The last error of the engine, until what had failed succeeds again.
    pub error: Option<EngineError>,
}

/// What this worker has done for an upstream since the relay was started, and what waits now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamStats {
    /// Events that were stored.
    pub events: u64,
    /// Records that were stored.
    pub batches: u64,
    /// Marks of gaps: each time that events are missing in the log.
    pub gaps: u64,
    /// Leases that were taken.
    pub takeovers: u64,
    /// Leases that were handed over in order.
    pub handed_over: u64,
    /// Leases that were lost.
    pub lost: u64,
    /// Questions to the engine that failed.
    pub failures: u64,
    /// Events that wait to be stored.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Whether this worker holds the upstream.
    pub held_here: bool,
    /// Whether this worker has joined the namespace.
    pub joined: bool,
}

/// The numbers of a relay; see [`Relay::stats`](crate::relay::Relay::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// The name of the worker.
    pub worker: String,
    /// Its upstreams by name, in the order in which they were added.
    pub upstreams: Vec<(String, UpstreamStats)>,
}

fn numbers(stats: &UpstreamStats) -> [Number; 11] {
    use Kind::{Counter, Gauge};
    let UpstreamStats {
        events,
        batches,
        gaps,
        takeovers,
        handed_over,
        lost,
        failures,
        waiting,
        waiting_bytes,
        held_here,
        joined,
    } = stats;
    [
        ("events", Counter, "Events stored.", *events),
        ("batches", Counter, "Records stored.", *batches),
        ("gaps", Counter, "Times that events are missing in the log.", *gaps),
        ("takeovers", Counter, "Leases taken.", *takeovers),
        ("handed_over", Counter, "Leases handed over in order.", *handed_over),
        ("lost", Counter, "Leases lost.", *lost),
        ("failures", Counter, "Questions to the engine that failed.", *failures),
        ("waiting", Gauge, "Events that wait to be stored.", *waiting),
        ("waiting_bytes", Gauge, "Bytes of the events that wait.", *waiting_bytes),
        ("held", Gauge, "1 if this worker holds the upstream.", u64::from(*held_here)),
        ("joined", Gauge, "1 if this worker has joined the namespace.", u64::from(*joined)),
    ]
}

impl RelayStats {
    /// The numbers in the text format of Prometheus (version 0.0.4), for the body of an answer with
    /// `Content-Type: text/plain; version=0.0.4`.
    ///
    /// All metrics begin with `actix_socketio_relay_` and have the labels `worker` and `upstream`. Those that only grow end in
    /// `_total`; `waiting`, `waiting_bytes`, `held` and `joined` are gauges. The sum of `held` over all workers is 1 for each
    /// upstream that somebody holds.
    pub fn prometheus(&self) -> String {
        let Self { worker, upstreams } = self;
        // The names were checked: nothing in them has to be escaped.
        let label = |upstream: &String| format!("worker=\"{worker}\",upstream=\"{upstream}\"");
        let labels: Vec<_> = upstreams.iter().map(|(upstream, _)| label(upstream)).collect();
        let numbers = upstreams.iter().map(|(_, stats)| numbers(stats));
        let all: Vec<_> = labels.iter().map(String::as_str).zip(numbers).collect();
        let mut text = String::new();
        // A string takes all that is written.
        families(&mut text, PREFIX, &all).ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn stats() -> RelayStats {
        let shop = UpstreamStats { events: 7, waiting: 3, joined: true, ..Default::default() };
        let upstreams =
            vec![("shop".to_owned(), shop), ("prices".to_owned(), UpstreamStats::default())];
        RelayStats { worker: "w-1".to_owned(), upstreams }
    }

    #[test]
    fn each_family_stands_together_with_its_head() {
        let text = stats().prometheus();
        let (mut heads, mut family) = (HashSet::new(), "");
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# ") {
                let words: Vec<_> = head.splitn(3, ' ').collect();
                assert!(words.len() == 3 && heads.insert((words[0], words[1])), "{line}");
                family = words[1];
            } else {
                assert!(line.starts_with(&format!("{family}{{")), "{line} in {family}");
            }
        }
        for line in [
            r#"actix_socketio_relay_events_total{worker="w-1",upstream="shop"} 7"#,
            r#"actix_socketio_relay_events_total{worker="w-1",upstream="prices"} 0"#,
            r#"actix_socketio_relay_waiting{worker="w-1",upstream="shop"} 3"#,
            r#"actix_socketio_relay_joined{worker="w-1",upstream="shop"} 1"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert_eq!(RelayStats::default().prometheus(), "");
    }

    #[test]
    fn every_number_is_another_one() {
        let numbers = numbers(&UpstreamStats::default());
        let names: HashSet<&str> = numbers.iter().map(|(name, ..)| *name).collect();
        let texts: HashSet<&str> = numbers.iter().map(|(_, _, help, _)| *help).collect();
        assert_eq!((names.len(), texts.len()), (numbers.len(), numbers.len()));
    }
}
