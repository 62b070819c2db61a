//! What a relay moves from servers to a consumer, beside what async-nats alone moves in messages of that size.
//!
//! Servers, workers and writers are processes of their own; the consumer is this one.

#[path = "../../support/nats.rs"]
mod nats;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use actix_rt::System;
use actix_socketio::{
    Client,
    relay::{Begin, Caller, Engine, LogEntry, MarkKind, NatsOptions, Reader, Relay, Upstream},
};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    message::PublishMessage,
};
use futures::{StreamExt, future};
use tokio::time::timeout;

use self::nats::Nats;
use crate::{
    machine,
    options::Options,
    run::{self, Killed, Server},
    spec::{Spec, Workload},
};

/// Servers whose events are relayed.
const UPSTREAMS: usize = 3;
/// A run takes seconds; this long means that it hangs.
const DEADLINE: Duration = Duration::from_secs(120);

pub fn run(options: &Options) -> Result<(), String> {
    let size = options.sizes.first().copied().unwrap_or(64);
    let spec = Spec::new(Workload::Recv, options.count.unwrap_or(200_000), size);
    println!(
        "| NATS servers | workers | relay, events/s | async-nats alone, events/s | relay ÷ alone | events in a record |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    for nodes in [1, 3] {
        for workers in [1, 3] {
            let mut runs = Vec::new();
            for _ in 0..options.rounds {
                runs.push(System::new().block_on(round(nodes, workers, spec))?);
            }
            let median = |of: fn(&Round) -> f64| {
                let mut all: Vec<f64> = runs.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            println!(
                "| {nodes} | {workers} | {:.0} | {:.0} | {:.2} | {:.1} |",
                median(|run| run.relay),
                median(|run| run.alone),
                median(|run| run.relay / run.alone),
                median(|run| run.batch),
            );
        }
    }
    println!(
        "\n{}; {UPSTREAMS} servers with {} events of {size} bytes each; medians of {}.",
        machine::describe(),
        spec.count,
        options.rounds
    );
    Ok(())
}

/// What one round has measured.
struct Round {
    /// Events a second.
    relay: f64,
    alone: f64,
    /// Events in a record of the log.
    batch: f64,
}

async fn round(nodes: usize, workers: usize, spec: Spec) -> Result<Round, String> {
    let servers = if nodes == 1 { Nats::one().await } else { Nats::cluster().await };
    let servers = servers.ok_or("nats-server is missing, or too old for a cluster")?;
    let client = servers.client().await;
    let options = NatsOptions::new().replicas(nodes);
    let engine = Engine::nats(&client, options).await.map_err(|error| error.to_string())?;
    let server = Server::start(spec)?;
    let urls = servers.urls().join(",");
    let replicas = nodes.to_string();
    let port = server.port.to_string();
    let children: Vec<Killed> = (0..workers)
        .map(|worker| start(&["relay-worker", &worker.to_string(), &urls, &replicas, &port]))
        .collect::<Result<_, _>>()?;
    let events = spec.count * UPSTREAMS as u64;
    let relay = timeout(DEADLINE, relayed(engine, events)).await.map_err(|_| "it hangs")??;
    drop(children);

    let jetstream = jetstream::new(client);
    let log = jetstream.get_stream("sio_ev").await.map_err(|error| error.to_string())?;
    let info = log.cached_info();
    let (records, bytes) = (info.state.messages, info.state.bytes);
    let mut config = info.config.clone();
    config.name = "alone".to_owned();
    config.subjects = vec!["alone.*".to_owned()];
    let stream = jetstream.create_stream(config).await.map_err(|error| error.to_string())?;
    let each = records / UPSTREAMS as u64;
    let size = bytes / records;
    let writers: Vec<Killed> = (0..workers)
        .map(|writer| {
            let share = (writer..UPSTREAMS).step_by(workers).map(|number| number.to_string());
            let share = share.collect::<Vec<_>>().join(",");
            start(&["relay-alone", &share, &urls, &each.to_string(), &size.to_string()])
        })
        .collect::<Result<_, _>>()?;
    let messages = each * UPSTREAMS as u64;
    let alone = timeout(DEADLINE, read(&stream, messages)).await.map_err(|_| "it hangs")?;
    drop(writers);
    let batch = events as f64 / records as f64;
    Ok(Round { relay, alone: alone * batch, batch })
}

fn start(arguments: &[&str]) -> Result<Killed, String> {
    let mut command = run::this(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    child.map(Killed).map_err(|error| error.to_string())
}

fn name(number: usize) -> String {
    format!("up-{number}")
}

/// The rate at which a consumer gets these events, from the first one on.
async fn relayed(engine: Engine, events: u64) -> Result<f64, String> {
    let reader = Reader::builder(engine.clone()).begin(Begin::Start).window(1_000);
    let mut log = reader.stream().map_err(|error| error.to_string())?;
    // Each is begun when somebody holds it.
    let caller = Caller::new(engine);
    let begin = async {
        for number in 0..UPSTREAMS {
            while caller.emit(&name(number), "start", ()).await.is_err() {}
        }
    };
    let read = async {
        let mut first = None;
        let mut count = 0;
        while count < events {
            match log.next().await.ok_or("the log has ended")? {
                LogEntry::Event(event) => {
                    first.get_or_insert_with(Instant::now);
                    let (message,): (serde_json::Value,) =
                        event.event().args().map_err(|error| error.to_string())?;
                    std::hint::black_box(message);
                    event.ack().await.map_err(|error| error.to_string())?;
                    count += 1;
                }
                LogEntry::Mark(mark) => {
                    if let MarkKind::Gap { .. } = mark.kind() {
                        return Err(format!("a gap: {mark:?}"));
                    }
                }
            }
        }
        let first = first.ok_or("there was none")?;
        Ok(events as f64 / first.elapsed().as_secs_f64())
    };
    future::join(begin, read).await.1
}

/// The rate at which a consumer gets these messages, and acknowledges them, from the first one on.
async fn read(stream: &jetstream::stream::Stream, messages: u64) -> f64 {
    let config = pull::Config {
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 1_000,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut incoming = consumer.messages().await.expect("messages");
    let mut first = None;
    for _ in 0..messages {
        let message = incoming.next().await.expect("a message").expect("a message");
        first.get_or_insert_with(Instant::now);
        message.ack().await.expect("it is sent");
    }
    messages as f64 / first.expect("there were some").elapsed().as_secs_f64()
}

fn urls(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// The process of a worker; it runs until it is killed.
pub fn worker(name: &str, servers: &str, replicas: &str, port: &str) -> ! {
    System::new().block_on(async {
        let client = nats::client(&urls(servers)).await;
        let options = NatsOptions::new().replicas(replicas.parse().expect("a number"));
        let engine = Engine::nats(&client, options).await.expect("an engine");
        let mut relay = Relay::builder(engine).worker(format!("worker-{name}"));
        for number in 0..UPSTREAMS {
            let server = Client::builder(format!("http://127.0.0.1:{port}"));
            // The server sends all at once, and has no recovery: what does not fit would be a gap.
            relay =
                relay.upstream(Upstream::new(self::name(number), server).buffer(1 << 22, 1 << 30));
        }
        let _relay = relay.start().expect("a relay");
        future::pending().await
    })
}

/// The process of a writer: for each of its subjects, one message after the other, fenced as those of a relay.
pub fn alone(subjects: &str, servers: &str, messages: &str, size: &str) -> ! {
    let messages: u64 = messages.parse().expect("a number");
    let body = bytes::Bytes::from(vec![b'x'; size.parse().expect("a number")]);
    System::new().block_on(async {
        let jetstream = jetstream::new(nats::client(&urls(servers)).await);
        let writers = subjects.split(',').map(async |subject| {
            let mut last = 0;
            for number in 0..messages {
                let message = PublishMessage::build()
                    .payload(body.clone())
                    .message_id(format!("{subject}-{number}"))
                    .expected_last_subject_sequence(last);
                let subject = format!("alone.{subject}");
                let sent = jetstream.send_publish(subject.clone(), message).await;
                last = match sent.expect("it is sent").await {
                    Ok(stored) => stored.sequence,
                    // A cluster may have a new leader, which has it already.
                    Err(error) => {
                        let log = jetstream.get_stream("alone").await.expect("the stream");
                        let head = log.get_last_raw_message_by_subject(&subject).await;
                        let stored = head.map_or(0, |head| head.sequence);
                        assert!(stored > last, "it is not stored: {error}");
                        stored
                    }
                };
            }
        });
        future::join_all(writers).await;
        future::pending().await
    })
}
