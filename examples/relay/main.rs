//! A relay as a daemon.

#![allow(clippy::print_stdout, reason = "it prints where its pages are")]

mod config;
mod pages;
mod reading;
mod secret;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use config::Config;

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
fn read(path: &Path) -> Result<Config, Vec<String>> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| vec![format!("{shown} cannot be read: {error}")])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Config::read(&text, folder)
        .map_err(|problems| problems.iter().map(|problem| format!("{shown}:{problem}")).collect())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(path) = &options.config else { return ExitCode::FAILURE };
    let config = match read(path) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::FAILURE;
        }
    };
    if options.check {
        println!("{}: nothing is wrong, {} upstreams", path.display(), config.upstreams.len());
        return ExitCode::SUCCESS;
    }
    ExitCode::SUCCESS
}
