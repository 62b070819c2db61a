//! Prints the log of a relay on NATS, from its start and as it grows, until Ctrl-C. After the address, the upstreams that are
//! wanted: all, if none is named.
//!
//! ```sh
//! cargo run --example relay_log --features relay -- nats://localhost:4222 shop
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, process::ExitCode};

use actix_socketio::{
    Args,
    relay::{Begin, Engine, LogEntry, NatsOptions, Reader},
};
use futures::StreamExt as _;
use serde_json::Value;

#[actix::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let server = arguments.next().ok_or("usage: relay_log nats://HOST:4222 [UPSTREAM]...")?;
    let client = async_nats::connect(server)
        .await
        .map_err(|error| format!("no connection to NATS: {error}"))?;
    // The options are those of the workers.
    let engine = Engine::nats(&client, NatsOptions::new()).await?;
    // With `durable("a name")`, it would go on where it was when it is started again.
    let mut log = Reader::builder(engine).upstreams(arguments).begin(Begin::Start).stream()?;
    while let Some(entry) = log.next().await {
        match entry {
            LogEntry::Event(event) => {
                let (upstream, name) = (event.upstream(), event.event().name().escape_debug());
                let arguments = match event.event().args() {
                    Ok(Args(arguments)) => Value::Array(arguments).to_string(),
                    // Attachments are no JSON.
                    Err(error) => format!("({error})"),
                };
                println!("{upstream} {}.{}: {name} {arguments}", event.sequence(), event.index());
                event.ack().await?;
            }
            LogEntry::Mark(mark) => {
                println!("{} {}: {:?}", mark.upstream(), mark.sequence(), mark.kind());
            }
        }
    }
    Ok(())
}
