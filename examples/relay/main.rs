//! A relay as a daemon.

#![allow(clippy::print_stdout, reason = "it prints where its pages are")]

mod config;
mod daemon;
mod demo;
mod pages;
mod reading;
mod secret;
mod server;
mod standin;

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
    let folder = path.parent().unwrap_or(Path::new(""));
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
