//! All of it in one process: a server, an engine, two workers, a reader, a caller.

use std::{collections::HashMap, error::Error, time::Duration};

use actix_socketio::{
    Client,
    relay::{
        Begin, CallError, Caller, Engine, InProcessOptions, LogEntry, LogMark, MarkKind, Reader,
        Relay, Sent, Upstream,
    },
};
use futures::StreamExt as _;
use serde_json::Value;

use crate::server;

/// Number of orders that the server takes.
const ORDERS: u64 = 1_000;

/// Time between two tries to call.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a hand-over may take.
const HAND_OVER: Duration = Duration::from_secs(5);

/// An event that the server has not emitted within this time does not come any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker with this upstream.
fn worker(engine: &Engine, name: &str, url: &str) -> Result<Relay, Box<dyn Error>> {
    let upstream = Upstream::new("shop", Client::builder(url));
    Ok(Relay::builder(engine.clone()).worker(name).upstream(upstream).start()?)
}

/// What a mark says.
fn words(mark: &LogMark) -> String {
    match mark.kind() {
        MarkKind::Holder { worker } => format!("{worker} holds the upstream {}", mark.upstream()),
        MarkKind::Left { worker } => format!("{worker} has handed it over"),
        MarkKind::Gap { gap, missed: Some(missed) } => format!("{missed} are missing: {gap:?}"),
        MarkKind::Gap { gap, missed: None } => format!("some are missing: {gap:?}"),
        other => format!("{other:?}"),
    }
}

/// Asks the server, by way of whoever holds the upstream.
async fn price(caller: &Caller) -> Result<Value, CallError> {
    loop {
        match caller.emit_with_ack("shop", "price", "tea").await {
            // While one worker takes over from the other, nobody can ask.
            Err(error) if error.sent() == Sent::No => actix::clock::sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}

/// The numbers, in words.
fn verdict(numbers: &[u64]) -> Result<String, String> {
    let is_right = numbers.iter().copied().eq(1..=ORDERS);
    let wrong = || numbers.iter().copied().zip(1..).find(|(number, expected)| number != expected);
    match (is_right, wrong()) {
        (true, _) => Ok(format!("1..{ORDERS}, once, in order")),
        (false, Some((number, expected))) => Err(format!("{number} came in place of {expected}")),
        (false, None) => Err(format!("{} of {ORDERS} came", numbers.len())),
    }
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let url = server::start(ORDERS)?;
    println!("server: takes {ORDERS} orders at {url}");
    // Short, so that nobody has to wait for the first holder.
    let options = InProcessOptions::default().lease_time(Duration::from_secs(3));
    let engine = Engine::in_process_with(options);
    let caller = Caller::new(engine.clone());
    let mut log = Reader::builder(engine.clone()).begin(Begin::Start).stream()?;
    let mut workers = HashMap::new();
    for name in ["worker-1", "worker-2"] {
        workers.insert(name.to_owned(), worker(&engine, name, &url)?);
    }

    let (mut holder, mut numbers) = (String::new(), Vec::new());
    while numbers.last() != Some(&ORDERS) {
        let next = actix::clock::timeout(PATIENCE, log.next()).await;
        let event = match next.map_err(|_| verdict(&numbers).err().unwrap_or_default())? {
            Some(LogEntry::Event(event)) => event,
            Some(LogEntry::Mark(mark)) => {
                println!("log: {}", words(&mark));
                if let MarkKind::Holder { worker } = mark.kind() {
                    holder.clone_from(worker);
                }
                continue;
            }
            None => break,
        };
        numbers.push(event.event().args::<u64>()?);
        event.ack().await?;
        match numbers.len() {
            1 => println!("reader: the first order, of {}", event.upstream()),
            250 => {
                println!("caller: the price of tea? {}", price(&caller).await?);
            }
            500 => {
                println!("reader: 500 orders; {holder} ends");
                if let Some(relay) = workers.remove(&holder) {
                    // The reader goes on meanwhile.
                    actix_rt::spawn(async move { relay.shutdown(HAND_OVER).await });
                }
            }
            _ => {}
        }
    }
    println!("reader: {}", verdict(&numbers)?);
    for relay in workers.into_values() {
        relay.shutdown(HAND_OVER).await;
    }
    Ok(())
}
