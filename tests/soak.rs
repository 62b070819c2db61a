//! A long run: the memory of a client does not grow with time, however often its connection
//! fails. In a process of its own, since memory is that of the process.
//!
//! ```text
//! SOAK_SECONDS=180 cargo test --test soak -- --ignored --nocapture
//! ```

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod support;

use std::{
    env,
    time::{Duration, Instant},
};

use serde_json::json;
use support::{
    node::{Config, Line},
    resident,
    storm::Storm,
};

/// How long it goes on where `SOAK_SECONDS` does not say.
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
/// From one fault to the next; most of it there is nothing but the heartbeat.
const ROUND: Duration = Duration::from_secs(3);
/// What memory may differ by for reasons that have nothing to do with time.
const SLACK: u64 = 4 << 20;

#[actix::test]
#[ignore = "takes half an hour"]
async fn memory_does_not_grow_in_half_an_hour_of_faults() {
    let time = env::var("SOAK_SECONDS").ok().map_or(HALF_AN_HOUR, |seconds| {
        Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number"))
    });
    let options = json!({ "pingInterval": 500 });
    let config = Config { options, ..Config::default() };
    let mut storm = Storm::start(Line::V4, &config, 4).await;
    let start = Instant::now();
    let (mut faults, mut emitted, mut answered) = (0, 0, 0);
    let mut memory = Vec::new();
    while start.elapsed() < time || faults < 3 {
        let next = Instant::now() + ROUND;
        for outcomes in storm.blow(&format!("round-{faults}"), 1, 4_000).await {
            emitted += outcomes.emitted;
            answered += outcomes.answered.len();
        }
        faults += 1;
        tokio::time::sleep_until(next.into()).await;
        memory.extend(resident());
    }
    let counts = storm.proxy.counts();
    storm.end().await;

    let third = memory.len() / 3;
    if third == 0 {
        return println!("soak: {faults} faults; this system does not tell of memory");
    }
    let settled = memory[third - 1];
    let last = memory[memory.len() - third..].iter().copied().max().expect("not empty");
    println!(
        "soak: {} s, {faults} faults, {} connections, {emitted} questions emitted and {answered} \
         answered, {} bytes up and {} down; resident: {} KiB at first, {} KiB after a third, at \
         most {} KiB in the last third",
        start.elapsed().as_secs(),
        counts.connections,
        counts.to_server,
        counts.to_client,
        memory[0] >> 10,
        settled >> 10,
        last >> 10,
    );
    assert!(last <= settled + settled / 4 + SLACK, "from {settled} to {last} bytes");
}
