//! What a worker, a reader and a caller need to be allowed at NATS: exactly what the documentation of `NatsOptions` says.

// A test fails by panicking.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex, time::Duration};

use actix_socketio::relay::{
    Begin, Caller, Engine, LogEntry, LogStream, NatsOptions, Reader, Relay, Upstream,
};
use async_nats::{ConnectOptions, Event};
use futures::StreamExt as _;
use serde_json::{Value, json};
use support::{
    eventually,
    every::within,
    nats::Nats,
    node::{self, Config, Line},
};

const LONG: Duration = Duration::from_secs(30);

/// What servers have refused.
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What each program may publish and subscribe to, as the table has it.
fn table() -> BTreeMap<String, [Vec<String>; 2]> {
    let source = include_str!("../src/relay/engine/nats/options.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("/// | "));
    let rows = rows.filter_map(|row| {
        let mut cells = row.trim_end_matches(" |").split(" | ");
        let program = cells.next()?;
        let subjects = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let cells = [subjects(cells.next()?), subjects(cells.next()?)];
        ["setup", "worker", "reader", "caller"]
            .contains(&program)
            .then(|| (program.to_owned(), cells))
    });
    rows.collect()
}

/// A server with a user for each program of the table.
async fn server(table: &BTreeMap<String, [Vec<String>; 2]>) -> Option<Nats> {
    let mut users = String::new();
    for (name, [publish, subscribe]) in table {
        writeln!(
            users,
            "{{ user: {name}, password: {name}, permissions: {{ publish: {publish:?}, \
             subscribe: {subscribe:?} }} }}"
        )
        .unwrap();
    }
    Nats::one_with(&format!("authorization {{ users: [\n{users}] }}")).await
}

async fn engine(nats: &Nats, user: &str) -> Engine {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
    let options = options.custom_inbox_prefix(format!("_INBOX_{user}"));
    let options = options.event_callback(|event| async move {
        if let Event::ServerError(error) = event {
            ERRORS.lock().unwrap().push(error.to_string());
        }
    });
    let client = options.connect(nats.urls()[0].as_str()).await.unwrap();
    Engine::nats(&client, NatsOptions::new()).await.unwrap()
}

async fn event(log: &mut LogStream) -> u64 {
    loop {
        if let LogEntry::Event(event) = within(log.next()).await.unwrap() {
            event.ack().await.unwrap();
            return event.event().args().unwrap();
        }
    }
}

#[actix::test]
async fn the_permissions_of_the_documentation_are_enough() {
    let table = table();
    assert_eq!(table.len(), 4, "{table:?}");
    let Some(nats) = server(&table).await else { return };
    run(&nats).await;
    assert_eq!(*ERRORS.lock().unwrap(), Vec::<String>::new());
}

/// All that the programs do.
async fn run(nats: &Nats) {
    let options = json!({ "connectionStateRecovery": {} });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    engine(nats, "setup").await;
    let worker = async |name: &str| {
        let shop = Upstream::new("shop", support::client(server.url()));
        Relay::builder(engine(nats, "worker").await).worker(name).upstream(shop).start().unwrap()
    };
    let first = worker("first").await;
    eventually("it has joined", || first.state("shop").unwrap().joined).await;

    let reading = engine(nats, "reader").await;
    let reader = || Reader::builder(reading.clone()).begin(Begin::Start);
    let mut logs = [
        reader().stream().unwrap(),
        reader().upstreams(["shop"]).durable("billing").stream().unwrap(),
    ];
    server.publish("/", "n", 0..10);
    for log in &mut logs {
        for number in 0..10 {
            assert_eq!(event(log).await, number);
        }
    }

    let caller = Caller::new(engine(nats, "caller").await);
    let echo = caller.emit_with_ack::<u64>("shop", "number", ());
    assert_eq!(within(echo.timeout(LONG).into_future()).await, Ok(7));
    let order = caller.emit_with_ack::<Value>("shop", "echo", "tea").durable("order-1");
    within(order.submit()).await.unwrap();
    within(caller.result::<Value>("shop", "order-1", LONG)).await.unwrap();

    // The ticket is kept, so the next one goes on with the session.
    let second = worker("second").await;
    within(first.shutdown(LONG)).await;
    assert_eq!(first.stats().upstreams[0].1.handed_over, 1);
    eventually("it has joined", || second.state("shop").unwrap().joined).await;
    server.publish("/", "n", 10..20);
    for log in &mut logs {
        for number in 10..20 {
            assert_eq!(event(log).await, number);
        }
    }
    for relay in [&first, &second] {
        assert_eq!(
            (relay.state("shop").unwrap().error, relay.stats().upstreams[0].1.gaps),
            (None, 0)
        );
    }
    within(second.shutdown(LONG)).await;
}
