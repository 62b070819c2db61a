//! The records of a tap, with each server, transport and parser.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_socketio::{
    DialLimiter, Filter, Reconnect, Transport,
    tap::{self, Direction, Kind, Record, Recording, Tap},
};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use support::{
    eventually,
    every::{self, Target, on_every_server_in_both_parsers, within},
    logged,
    node::{self, Line},
    recorder::Recorder,
    scripted::Scripted,
};

on_every_server_in_both_parsers!(
    a_conversation_is_told_in_order_without_secrets,
    a_binary_event_is_told_with_its_size,
);

const SECRET: &str = "s3cret";

fn recording() -> Recording {
    Recording::new(10_000, 16 << 20)
}

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default()
        .delay(Duration::from_millis(20), Duration::from_millis(100))
        .limiter(DialLimiter::unlimited())
}

fn kinds(records: &[Record]) -> Vec<Kind> {
    records.iter().map(|record| record.kind).collect()
}

fn first(records: &[Record], kind: Kind, direction: Direction) -> &Record {
    let mut found = records.iter();
    found.find(|r| r.kind == kind && r.direction == Some(direction)).unwrap_or_else(|| {
        panic!("no {kind} {direction:?} in {records:#?}");
    })
}

async fn a_conversation_is_told_in_order_without_secrets(server: &Target) {
    let server = server.fresh();
    server.set_token(SECRET);
    let recording = recording();
    let builder = server
        .builder()
        .auth(json!({ "token": SECRET }))
        .header("x-key", SECRET)
        .query("key", SECRET)
        .tap(recording.tap().text(usize::MAX));
    let shown = format!("{builder:?}");
    let client = builder.start().unwrap();
    let guarded = client.of("/guarded").unwrap();
    within(guarded.ready()).await.unwrap();
    let answer: (String, u64) = within(guarded.emit_with_ack("echo", ("a", 1))).await.unwrap();
    assert_eq!(answer, ("a".to_owned(), 1));
    guarded.disconnect();
    within(client.shutdown(Duration::from_secs(5))).await;

    let records = recording.records();
    assert!(records.iter().zip(0..).all(|(record, number)| record.number == number));
    assert!(records.is_sorted_by_key(|record| record.session));
    assert_eq!(records[0].kind, Kind::Dialling);
    assert_eq!(records.last().unwrap().kind, Kind::Closed, "{:?}", kinds(&records));
    let open = first(&records, Kind::Open, Direction::In);
    assert!(open.text.contains("pingInterval") && !open.text.contains("sid"), "{}", open.text);
    let asked = records.iter().find(|r| r.name.as_deref() == Some("echo")).unwrap();
    assert_eq!((asked.kind, asked.direction), (Kind::Event, Some(Direction::Out)));
    assert_eq!(asked.namespace.as_deref(), Some("/guarded"));
    assert_eq!(asked.text, r#"["echo","a",1]"#);
    let answered = first(&records, Kind::Ack, Direction::In);
    assert_eq!((answered.ack, answered.answers), (asked.ack, Some(asked.number)));
    assert_eq!((answered.name.as_deref(), &*answered.text), (Some("echo"), r#"["a",1]"#));
    assert!(answered.latency.is_some() && answered.size > 8);
    let joins: Vec<_> = records.iter().filter(|r| r.kind == Kind::Connect).collect();
    assert!(joins.iter().any(|r| r.namespace.as_deref() == Some("/guarded")));
    assert!(joins.iter().all(|join| join.text.is_empty() && !join.is_cut));
    let left = first(&records, Kind::Disconnect, Direction::Out);
    assert_eq!(left.namespace.as_deref(), Some("/guarded"));

    let mut shown = vec![shown, format!("{recording:?}")];
    for record in &records {
        shown.push(format!("{record} {record:?} {}", serde_json::to_string(record).unwrap()));
    }
    for text in shown {
        assert!(!text.contains(SECRET) && !text.contains("\"sid\""), "{text}");
    }
}

async fn a_binary_event_is_told_with_its_size(server: &Target) {
    let recording = recording();
    let client = within(server.builder().tap(recording.tap()).connect()).await.unwrap();
    let data = Bytes::from(vec![0xab; 3_000]);
    let answer: Bytes = within(client.socket().emit_with_ack("echo", &data)).await.unwrap();
    assert_eq!(answer, data);
    within(client.shutdown(Duration::from_secs(5))).await;
    let records = recording.records();
    for (kind, direction) in [(Kind::Event, Direction::Out), (Kind::Ack, Direction::In)] {
        let of_both = |r: &&Record| r.direction == Some(direction) && r.name.is_some();
        let record = records.iter().filter(of_both).find(|r| r.kind == kind).unwrap();
        assert_eq!((record.name.as_deref(), record.attachments), (Some("echo"), 1));
        let behind = &records[usize::try_from(record.number).unwrap() + 1..];
        // In msgpack, it is inside.
        let whole =
            behind.iter().find(|r| r.kind == Kind::Attachment && r.direction == Some(direction));
        let size = whole.map_or(record.size, |attachment| attachment.size);
        assert!(size >= 3_000, "{size}");
        if let Some(attachment) = whole {
            assert_eq!((attachment.text.as_str(), attachment.is_cut), (&*"ab".repeat(200), true));
        }
    }
}

#[actix::test]
async fn each_transport_is_told() {
    let server = every::official(Line::V4);
    for (transports, dialled, upgrades) in [
        (vec![Transport::WebSocket], "websocket", false),
        (vec![Transport::Polling], "polling", false),
        (vec![Transport::Polling, Transport::WebSocket], "polling", true),
    ] {
        let recording = recording();
        let builder = server.builder().transports(transports).tap(recording.tap());
        let client = within(builder.connect()).await.unwrap();
        let told = || recording.records();
        if upgrades {
            eventually("it is upgraded", || kinds(&told()).contains(&Kind::Upgraded)).await;
        }
        within(client.socket().emit_with_ack::<u64>("number", ())).await.unwrap();
        within(client.shutdown(Duration::from_secs(5))).await;
        let records = told();
        assert!(records[0].text.ends_with(dialled), "{}", records[0]);
        assert_eq!(kinds(&records).contains(&Kind::Upgraded), upgrades);
        for (kind, direction) in [
            (Kind::Open, Direction::In),
            (Kind::Connect, Direction::Out),
            (Kind::Connect, Direction::In),
            (Kind::Event, Direction::Out),
            (Kind::Ack, Direction::In),
        ] {
            first(&records, kind, direction);
        }
    }
}

#[actix::test]
async fn a_loss_and_the_way_back_are_told() {
    let server = node::start(Line::V4, &node::Config::default());
    let recording = recording().dump(3);
    logged::start();
    let builder = support::client(server.url()).reconnect(quick()).tap(recording.tap());
    let client = builder.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    client.socket().emit("cut", ()).unwrap();
    recorder.next_disconnected().await;
    recorder.next_reconnecting().await;
    recorder.next_ready().await;
    within(client.shutdown(Duration::from_secs(5))).await;
    let records = recording.records();
    let changes: Vec<_> = records.iter().filter(|r| r.direction.is_none()).collect();
    let told: Vec<_> = changes.iter().map(|record| (record.session, record.kind)).collect();
    let expected = [
        (0, Kind::Dialling),
        (1, Kind::Lost),
        (1, Kind::Retrying),
        (1, Kind::Dialling),
        (2, Kind::Closed),
    ];
    let upgrades = |(_, kind): &(u64, Kind)| *kind != Kind::Upgraded;
    assert_eq!(told.into_iter().filter(upgrades).collect::<Vec<_>>(), expected);
    assert!(!changes[1].text.is_empty());
    // The records before the loss are in the log.
    let warnings = logged::warnings();
    let dumped: Vec<_> = warnings.iter().filter(|line| line.contains("session 1")).collect();
    assert_eq!(dumped.len(), 3, "{warnings:#?}");
    assert!(dumped[2].contains(": recorded: #") && dumped[2].contains("lost"), "{dumped:?}");
    assert!(dumped[..2].iter().all(|line| line.contains(": before that: #")), "{dumped:?}");
}

#[actix::test]
async fn a_server_that_spoils_everything_does_not_fill_the_log() {
    logged::start();
    let server = every::official(Line::V4);
    // Without a client, there is no clock.
    let client = within(server.builder().connect()).await.unwrap();
    let line = br#"{"client":"shop","number":0,"time":0,"session":7,"kind":"unreadable"}"#;
    let record = tap::read(&line[..]).next().unwrap().unwrap();
    let recording = recording().dump(5);
    for _ in 0..1_000 {
        recording.add(&record);
    }
    let warnings = logged::warnings();
    let count = warnings.iter().filter(|line| line.contains("#0 session 7: unreadable")).count();
    assert!((10..20).contains(&count), "{count}");
    within(client.shutdown(Duration::ZERO)).await;
}

#[actix::test]
async fn attempts_that_fail_are_told() {
    let server = Scripted::start();
    server.refuse_next(503, "away");
    server.refuse_next(503, "away");
    let recording = recording();
    let reconnect = quick().attempts(1);
    let builder = support::client(server.url()).reconnect(reconnect).tap(recording.tap());
    let client = builder.start().unwrap();
    eventually("it gives up", || kinds(&recording.records()).contains(&Kind::GaveUp)).await;
    let failed = [Kind::Dialling, Kind::Failed];
    let expected = [&failed[..], &[Kind::Retrying], &failed, &[Kind::GaveUp]].concat();
    assert_eq!(kinds(&recording.records()), expected);
    assert!(recording.records()[1].text.contains("503"));
    within(client.shutdown(Duration::ZERO)).await;
}

#[actix::test]
async fn a_refusal_is_told_with_the_words_of_the_server() {
    let config = node::Config { middleware: node::Middleware::Refuse, ..node::Config::default() };
    let server = node::start(Line::V4, &config);
    let recording = recording();
    let builder = support::builder(server.url()).tap(recording.tap());
    within(builder.connect()).await.unwrap_err();
    let records = recording.records();
    let refused = first(&records, Kind::ConnectError, Direction::In);
    assert!(refused.text.contains("denied") && refused.kind.is_bad(), "{}", refused.text);
}

#[actix::test]
async fn a_tap_that_panics_costs_nothing_but_itself() {
    logged::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let tap = Tap::new(move |record| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(record.kind != Kind::Event, "the tap of the test");
    });
    let server = every::official(Line::V4);
    let client = within(server.builder().tap(tap).connect()).await.unwrap();
    let before = calls.load(Ordering::SeqCst);
    for _ in 0..3 {
        within(client.socket().emit_with_ack::<u64>("number", ())).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), before + 1);
    let errors = logged::lines_at(log::Level::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("the tap panicked"), "{errors:?}");
    within(client.shutdown(Duration::ZERO)).await;
}

/// The message of the server of which this is the record.
fn message(record: &Record) -> Option<Result<String, Vec<u8>>> {
    let digit = match record.kind {
        Kind::Event => 2,
        Kind::Ack => 3,
        Kind::Attachment => {
            let byte = |digits: &[u8]| {
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            return Some(Err(record.text.as_bytes().chunks(2).map(byte).collect()));
        }
        _ => return None,
    };
    let head = match record.attachments {
        0 => format!("4{digit}"),
        count => format!("4{}{count}-", digit + 3),
    };
    let id = record.ack.map(|id| id.to_string()).unwrap_or_default();
    Some(Ok(format!("{head}{}{id}{}", namespace(record), record.text)))
}

fn namespace(record: &Record) -> String {
    match record.namespace.as_deref() {
        None | Some("/") => String::new(),
        Some(name) => format!("{name},"),
    }
}

#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for File {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The events of one conversation, up to the last one.
async fn heard(socket: &actix_socketio::Socket) -> Vec<String> {
    let events = socket.listen(Filter::all()).stream().map(|event| {
        format!("{} {} {}", event.name(), event.payload().to_json(), event.wants_ack())
    });
    let mut heard = Vec::new();
    let mut events = Box::pin(events);
    while let Some(event) = within(events.next()).await {
        let is_last = event.starts_with("noargs");
        heard.push(event);
        if is_last {
            break;
        }
    }
    heard
}

#[actix::test]
async fn a_written_recording_can_be_replayed() {
    let file = File::default();
    let server = every::official(Line::V4);
    let tap = Tap::lines(file.clone()).text(usize::MAX);
    let client = within(server.builder().tap(tap).connect()).await.unwrap();
    let socket = client.socket();
    for name in ["nested", "bintext", "twobufs", "exotic", "noargs"] {
        socket.emit(name, ()).unwrap();
    }
    let original = heard(socket).await;
    assert!(original.len() >= 5, "{original:?}");
    within(client.shutdown(Duration::from_secs(5))).await;

    let data = file.0.lock().unwrap().clone();
    let records: Vec<Record> = tap::read(&data[..]).map(Result::unwrap).collect();
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let replay = async {
        let mut peer = server.accept().await;
        peer.greet().await;
        for record in records.iter().filter(|r| r.direction == Some(Direction::In)) {
            match message(record) {
                Some(Ok(text)) => drop(peer.send_text(text).await),
                Some(Err(data)) => drop(peer.send_binary(data).await),
                None => {}
            }
        }
        peer
    };
    let (_peer, replayed) = futures::future::join(replay, heard(client.socket())).await;
    assert_eq!(replayed, original);
    within(client.shutdown(Duration::ZERO)).await;
}
