//! A daemon that writes the events of Socket.IO servers to a log, and shares the servers with others of its kind: when
//! one ends or dies, another takes over.
//!
//! ```sh
//! cargo run --example relay -- --demo                                # all of it in one process, nothing installed
//!
//! cp examples/relay/relay.toml .                                     # a configuration with comments
//! cargo run --example relay -- --config relay.toml --check           # says all that is wrong in it
//! cargo run --example relay -- --config relay.toml
//!
//! curl http://127.0.0.1:9464/health
//! curl http://127.0.0.1:9464/metrics                                 # for Prometheus
//! ```
//!
//! With several workers, the engine is NATS 2.10 or later with JetStream: `kind = "nats"` and `servers` in the file. The same file is
//! good for all of them, if it gives no `worker`, and each has a machine of its own (or `http` with port 0).
//!
//! | page | content |
//! |---|---|
//! | `/health` | JSON: `worker`, and for each of `upstreams` its `name`, `holder`, `held_here`, `joined`, `stored` (sequence of the last record that this worker stored), `last_event` (its age in seconds) and `error`; `engine` has the reason while there is no engine |
//! | `/metrics` | the numbers of `actix_socketio::relay::RelayStats` |
//!
//! `/health` has status 503 while there is no engine, while an upstream has no holder, and while this worker holds one that is not
//! joined. It is for readiness; a worker that is not ready goes on trying, and a restart does not help it.
//!
//! SIGTERM and Ctrl-C hand over: what has come is stored, the sessions are left for the next worker to resume, and
//! it ends with 0. What cannot be handed over in time is named in the log, and taken over when its lease lapses. A second
//! signal ends it at once, with 1. So does what is wrong in the configuration.
//!
//! It logs to standard error, with the name of the worker in each line; `RUST_LOG` is the level, `info` by default. Secrets come from files
//! or the environment, and are not logged at any level.

#![allow(clippy::print_stdout, reason = "it prints where its pages are")]

mod config;
mod daemon;
mod demo;
mod pages;
mod reading;
mod secret;
mod server;

use std::{
    error::Error,
    fs,
    hash::{BuildHasher, RandomState},
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use clap::Parser as _;
use config::Config;
use log::debug;

/// Brings the events of Socket.IO servers into a log, with workers that take over from each other.
#[derive(clap::Parser)]
#[command(name = "relay", version)]
struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE", required_unless_present = "demo")]
    config: Option<PathBuf>,
    /// Says what is wrong in the configuration, and ends.
    #[arg(long, requires = "config")]
    check: bool,
    /// Shows it all on this machine, and ends.
    #[arg(long, conflicts_with = "config")]
    demo: bool,
}

/// The configuration, or the lines that say what is wrong with it.
fn read(path: &Path) -> Result<Config, String> {
    let shown = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    Config::read(&text, folder).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{shown}:{problem}"));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// A name that no other process has.
fn unique() -> String {
    format!("worker-{:016x}", RandomState::new().hash_one(process::id()))
}

/// Lines of the log on standard error, with the name of the worker.
fn log(worker: String, level: &str) {
    let filter = env_logger::Env::default().default_filter_or(level);
    let mut logger = env_logger::Builder::from_env(filter);
    // At finer levels it writes passwords, and the answers of NATS with the ids of sessions.
    logger.filter_module("async_nats", log::LevelFilter::Info);
    logger.format(move |line, record| {
        let (level, target) = (record.level(), record.target());
        writeln!(line, "{level:<5} {worker} {target}: {}", record.args())
    });
    logger.init();
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Some(path) = &options.config else {
        log("demo".to_owned(), "warn");
        return actix::System::new().block_on(demo::run());
    };
    let config = read(path)?;
    if options.check {
        println!("{}: nothing is wrong, {} upstreams", path.display(), config.upstreams.len());
        return Ok(());
    }
    let worker = config.worker.clone().unwrap_or_else(unique);
    log(worker.clone(), "info");
    debug!("{config:?}");
    actix::System::new().block_on(daemon::run(config, worker))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
