//! What a caller is told of an event is what the server saw of it, or leaves that open: shown by operations at
//! random, with a record of both sides.

// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::BTreeMap,
    future::IntoFuture,
    time::{Duration, Instant},
};

use actix::Arbiter;
use actix_socketio::{AckError, Emit, EmitError, Socket, Written};
use support::{
    PATIENCE,
    every::within,
    faults::Dice,
    node::{self, Config, Line},
    proxy::Proxy,
    storm::quick,
};
use tokio::task::JoinHandle;

/// What the caller knows of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// The server has it.
    Answered,
    /// It is on its way, and arrives unless the connection is lost.
    Written,
    /// It may have arrived, or may do so yet.
    InDoubt,
    /// It has not arrived, and never will.
    Never(String),
}

impl Told {
    fn of_ack(outcome: Result<u64, AckError>, number: u64) -> Self {
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, number, "the answer to another question");
                Self::Answered
            }
            Err(AckError::NeverSent(error)) => Self::Never(error.to_string()),
            Err(AckError::Disconnected(_) | AckError::TimedOut) => Self::InDoubt,
            Err(other) => panic!("{number}: {other:?}"),
        }
    }

    fn of_emit(outcome: Result<(), EmitError>) -> Self {
        match outcome {
            Ok(()) => Self::Written,
            // It may wait for the next `connect`.
            Err(EmitError::Closed(_)) => Self::InDoubt,
            Err(error) => Self::Never(error.to_string()),
        }
    }
}

/// One number that was emitted.
struct Record {
    /// Whether the server may get it more than once.
    repeats: bool,
    told: Told,
}

/// A client, the operations on it, and what came of them.
struct Model {
    socket: Socket,
    stream: String,
    dice: Dice,
    log: Vec<String>,
    next: u64,
    records: BTreeMap<u64, Record>,
    /// Outcomes that are waited for at once, or at the end only.
    open: Vec<(u64, bool, JoinHandle<Told>)>,
    kept: Vec<(u64, Written)>,
    /// Whether a connection was lost, and with it perhaps what had been written.
    lossy: bool,
}

impl Model {
    fn note(&mut self, number: u64, repeats: bool, told: Told) {
        let before = self.records.insert(number, Record { repeats, told });
        assert!(before.is_none(), "{number} has two outcomes");
    }

    fn emit(&mut self, place: fn(Emit) -> Emit) {
        let number = self.next;
        self.next += 1;
        let emit = place(Emit::new("record", (&self.stream, number)).unwrap());
        match self.socket.send(emit) {
            Err(error) => self.note(number, false, Told::Never(error.to_string())),
            Ok(written) if self.dice.below(2) == 0 => self.kept.push((number, written)),
            Ok(written) => {
                let told = async move { Told::of_emit(written.await) };
                self.open.push((number, false, actix::spawn(told)));
            }
        }
    }

    fn ask(&mut self, retries: u32) {
        let number = self.next;
        self.next += 1;
        let question = self.socket.emit_with_ack::<u64>("record", (&self.stream, number));
        let question = if self.dice.below(6) == 0 {
            question.timeout(Duration::from_millis(self.dice.below(4)))
        } else {
            question
        };
        let answer = question.retries(retries).send();
        let told = async move { Told::of_ack(answer.await, number) };
        self.open.push((number, retries > 0, actix::spawn(told)));
    }

    async fn step(&mut self, proxy: &Proxy) {
        let operation = self.dice.below(24);
        self.log.push(format!("{operation} from {}", self.next));
        match operation {
            0..=5 => self.emit(|emit| emit),
            6..=8 => self.ask(0),
            9..=10 => self.ask(3),
            11 => self.emit(Emit::volatile),
            12..=14 => self.emit(|emit| emit.latest("key")),
            15..=16 => self.socket.disconnect(),
            17..=19 => self.socket.connect(),
            20 => {
                self.lossy = true;
                proxy.cut();
            }
            21 => {
                for emit in within(self.socket.take_unsent()).await.unwrap() {
                    let (_, number): (String, u64) = emit.payload().decode().unwrap();
                    // Whatever else is said of it, it must not arrive.
                    self.log.push(format!("took {number}"));
                    self.note(u64::MAX - number, false, Told::Never("taken".to_owned()));
                }
            }
            22 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(self.dice.below(10))).await,
        }
    }

    /// Waits for all outcomes.
    async fn settle(&mut self) {
        for (number, repeats, told) in std::mem::take(&mut self.open) {
            let told = tokio::time::timeout(PATIENCE, told).await;
            let Ok(told) = told else { panic!("{number} has no outcome: {:?}", self.log) };
            self.note(number, repeats, told.unwrap());
        }
        for (number, written) in std::mem::take(&mut self.kept) {
            let told = Told::of_emit(within(written).await);
            self.note(number, false, told);
        }
    }

    fn check(&self, seen: &[u64]) {
        for (&number, Record { repeats, told }) in &self.records {
            let number = number.min(u64::MAX - number);
            let times = seen.iter().filter(|one| **one == number).count();
            let may = match told {
                Told::Answered => 1..=times.max(1),
                Told::Written => usize::from(!self.lossy)..=1,
                Told::InDoubt => 0..=times.max(1),
                Told::Never(_) => 0..=0,
            };
            let is_true = may.contains(&times) && (*repeats || times <= 1);
            let (lossy, log) = (self.lossy, &self.log);
            assert!(
                is_true,
                "{number}: {told:?}, and seen {times} times of {seen:?}; lossy: {lossy}, {log:?}"
            );
        }
    }
}

async fn one_round(server: &node::Server, arbiter: &Arbiter, seed: u64) {
    let mut dice = Dice::new(seed);
    let proxy = Proxy::start(server.port());
    let builder = support::client(proxy.url()).reconnect(quick()).ack_timeout(PATIENCE / 2);
    let client = builder.send_buffer(24, 1 << 20).start_in(&arbiter.handle()).unwrap();
    let mut model = Model {
        socket: client.socket().clone(),
        stream: support::every::unique("model"),
        log: vec![format!("seed {seed}")],
        next: 0,
        records: BTreeMap::new(),
        open: Vec::new(),
        kept: Vec::new(),
        lossy: false,
        dice: dice.clone(),
    };
    // At once, or when it is joined.
    if dice.below(4) > 0 {
        model.log.push("joined".to_owned());
        within(model.socket.ready()).await.unwrap();
    }
    for _ in 0..10 + dice.below(40) {
        model.step(&proxy).await;
    }
    if dice.below(4) == 0 {
        let report = within(client.shutdown(Duration::from_secs(2))).await;
        model.settle().await;
        model.log.push(format!("{report:?}"));
        // Nothing is dropped in silence.
        let never = |record: &Record| matches!(record.told, Told::Never(_) | Told::InDoubt);
        let unsent = model.records.values().filter(|record| never(record)).count();
        assert!(report.dropped <= u64::try_from(unsent).unwrap(), "{:#?}", model.log);
    } else {
        model.socket.connect();
        model.log.push("connected at the end".to_owned());
        within(model.socket.ready()).await.unwrap();
        model.settle().await;
        // The server has handled what came before that.
        let barrier = model.socket.emit_with_ack::<String>("id", ()).retries(9);
        let answered = tokio::time::timeout(PATIENCE, barrier.into_future()).await;
        let Ok(answered) = answered else { panic!("the barrier is not answered: {:?}", model.log) };
        answered.unwrap();
        within(client.shutdown(PATIENCE)).await;
    }
    // The server reads on behind a connection that is gone.
    let mut arrived = server.recorded(&model.stream);
    let is_due = |arrived: &[u64]| {
        let is_sure = |record: &Record| record.told == Told::Written && !model.lossy;
        let mut sure = model.records.iter().filter(|(_, record)| is_sure(record));
        sure.all(|(number, _)| arrived.contains(number))
    };
    let until = Instant::now() + Duration::from_secs(5);
    while !is_due(&arrived) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
        arrived = server.recorded(&model.stream);
    }
    model.check(&arrived);
}

/// `OUTCOMES_SECONDS` is for how long each server is tried, 2 by default; `OUTCOMES_SEED` the first seed.
async fn holds(line: Line) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(number("OUTCOMES_SECONDS").unwrap_or(2));
    let mut seed = number("OUTCOMES_SEED").unwrap_or(1);
    let server = node::start(line, &Config::default());
    let arbiter = Arbiter::new();
    while Instant::now() < until {
        one_round(&server, &arbiter, seed).await;
        seed += 1;
    }
    arbiter.stop();
}

#[actix::test]
async fn outcomes_are_what_server_4_8_4_saw() {
    holds(Line::V4).await;
}

#[actix::test]
async fn outcomes_are_what_server_2_5_1_saw() {
    holds(Line::V2_5_1).await;
}
