//! The outcome that a caller gets for an event agrees with what the server saw of it, or leaves that open,
//! and so do the counters: tested with random operations, and a record of both sides.

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
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use actix::Arbiter;
use actix_socketio::{
    AckError, Emit, EmitError, Event, Payload, Socket, Stats, Subscription, Written,
    middleware::{self, Flow},
};
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
    /// With whether the event was taken.
    fn of_ack(outcome: Result<u64, AckError>, number: u64) -> (Self, Taken) {
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, number, "the answer to another question");
                (Self::Answered, Taken::Yes)
            }
            Err(AckError::NeverSent(error)) => {
                let taken = match error {
                    EmitError::Full(_) | EmitError::Middleware(_) => Taken::No,
                    EmitError::Closed(_) => Taken::Perhaps,
                    _ => Taken::Yes,
                };
                (Self::Never(error.to_string()), taken)
            }
            Err(AckError::Disconnected(_) | AckError::TimedOut) => (Self::InDoubt, Taken::Yes),
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

/// Whether an event was taken, so that it is sent or counted as something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
    /// The namespace was closed before the event came there, or after that.
    Perhaps,
}

/// How an event was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Asking,
    /// The server may get it more than once.
    Retried,
}

/// What is to be known of an event.
type Outcome = JoinHandle<(Told, Taken)>;

/// One number that was emitted.
struct Record {
    kind: Kind,
    told: Told,
    taken: Taken,
}

/// A client, the operations on it, and their outcomes.
struct Model {
    socket: Socket,
    stream: String,
    dice: Dice,
    log: Vec<String>,
    next: u64,
    records: BTreeMap<u64, Record>,
    /// Outcomes that are waited for at once, or at the end only.
    open: Vec<(u64, Kind, Outcome)>,
    kept: Vec<(u64, Written)>,
    /// Whether a connection was lost, and with it perhaps what had been written.
    lossy: bool,
    /// Whether the namespace was left.
    left: bool,
}

impl Model {
    fn note(&mut self, number: u64, kind: Kind, (told, taken): (Told, Taken)) {
        let before = self.records.insert(number, Record { kind, told, taken });
        assert!(before.is_none(), "{number} has two outcomes");
    }

    fn emit(&mut self, name: &str, place: fn(Emit) -> Emit) {
        let number = self.next;
        self.next += 1;
        let emit = place(Emit::new(name, (&self.stream, number)).unwrap());
        match self.socket.send(emit) {
            Err(error) => {
                let never = Told::Never(error.to_string());
                self.note(number, Kind::Plain, (never, Taken::No));
            }
            Ok(written) if self.dice.below(2) == 0 => self.kept.push((number, written)),
            Ok(written) => {
                let told = async move { (Told::of_emit(written.await), Taken::Yes) };
                self.open.push((number, Kind::Plain, actix::spawn(told)));
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
        let kind = if retries > 0 { Kind::Retried } else { Kind::Asking };
        self.open.push((number, kind, actix::spawn(told)));
    }

    async fn step(&mut self, proxy: &Proxy) {
        let operation = self.dice.below(26);
        self.log.push(format!("{operation} from {}", self.next));
        match operation {
            0..=5 => self.emit("record", |emit| emit),
            6..=8 => self.ask(0),
            9..=10 => self.ask(3),
            11 => self.emit("record", Emit::volatile),
            12..=14 => self.emit("record", |emit| emit.latest("key")),
            15..=16 => {
                self.left = true;
                self.socket.disconnect();
            }
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
                    let never = Told::Never("taken".to_owned());
                    self.note(u64::MAX - number, Kind::Plain, (never, Taken::Yes));
                }
            }
            22..=23 => self.emit("respond", |emit| emit),
            24 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(self.dice.below(10))).await,
        }
    }

    /// Waits for all outcomes.
    async fn settle(&mut self) {
        for (number, kind, told) in std::mem::take(&mut self.open) {
            let told = tokio::time::timeout(PATIENCE, told).await;
            let Ok(told) = told else { panic!("{number} has no outcome: {:?}", self.log) };
            self.note(number, kind, told.unwrap());
        }
        for (number, written) in std::mem::take(&mut self.kept) {
            let told = Told::of_emit(within(written).await);
            self.note(number, Kind::Plain, (told, Taken::Yes));
        }
    }

    /// How many outcomes are like that.
    fn count(&self, is_it: impl Fn(u64, &Record) -> bool) -> u64 {
        // What was taken out of the buffer has an outcome as well.
        let emitted = self.records.range(..self.next);
        narrow(emitted.filter(|(number, record)| is_it(**number, record)).count())
    }

    fn check(&self, seen: &[u64]) {
        for (&number, Record { kind, told, .. }) in &self.records {
            let number = number.min(u64::MAX - number);
            let times = seen.iter().filter(|one| **one == number).count();
            let may = match told {
                Told::Answered => 1..=times.max(1),
                Told::Written => usize::from(!self.lossy)..=1,
                Told::InDoubt => 0..=times.max(1),
                Told::Never(_) => 0..=0,
            };
            let is_true = may.contains(&times) && (*kind == Kind::Retried || times <= 1);
            let (lossy, log) = (self.lossy, &self.log);
            assert!(
                is_true,
                "{number}: {told:?}, and seen {times} times of {seen:?}; lossy: {lossy}, {log:?}"
            );
        }
    }

    /// Holds the counters, when nothing goes on any more, against the outcomes and against what the server has seen.
    /// The server answered `barriers` more.
    fn check_counters(&self, stats: &Stats, seen: &[u64], heard: u64, barriers: u64) {
        let times = |number: u64| narrow(seen.iter().filter(|one| **one == number).count());
        let holds = |name: &str, is_true: bool| {
            assert!(is_true, "{name}: {stats:?}, heard {heard}, saw {seen:?}; {:?}", self.log);
        };
        let calm = !self.lossy && !self.left;
        let equal = |name: &str, left: u64, right: u64| {
            holds(name, if calm { left == right } else { left <= right });
        };

        holds("nothing waits", (stats.waiting_out, stats.waiting_in) == (0, 0));
        // Each event that was taken was sent, discarded or replaced; or it is unknown, if it came back from
        // a connection that was lost when its namespace had been left already. A try may take the place of
        // the one before in the queue of the connection, which then is one of both that is sent.
        let settled = stats.events_out + stats.discarded + stats.replaced;
        let settled = settled - stats.resent..=settled + stats.unknown;
        let taken = self.count(|_, record| record.taken == Taken::Yes) + barriers;
        let perhaps = self.count(|_, record| record.taken == Taken::Perhaps);
        holds("taken", *settled.start() <= taken + perhaps && taken <= *settled.end());
        if !self.lossy && stats.resent == 0 {
            holds("taken, and sent once", (taken..=taken + perhaps).contains(settled.start()));
        }
        equal("events_out", narrow(seen.len()) + barriers, stats.events_out);

        let answered = self.count(|_, record| record.told == Told::Answered) + barriers;
        holds("acked", stats.acked == answered && stats.round_trips.count() == answered);
        let in_doubt = |record: &Record| record.told == Told::InDoubt;
        let unknown = self.count(|_, record| record.kind != Kind::Plain && in_doubt(record));
        holds("unknown", stats.unknown == unknown);
        let lost = |number, record: &Record| {
            let is_plain = record.kind == Kind::Plain;
            is_plain && record.told == Told::Written && times(number) == 0
        };
        holds("in_doubt", self.count(lost) <= stats.in_doubt);
        let asked = self.records.iter().filter(|(_, record)| record.kind != Kind::Plain);
        let answers = asked.map(|(number, _)| times(*number)).sum::<u64>() + barriers;
        equal("late_answers", stats.acked + stats.late_answers, answers);
        let stopped = self.count(|number, record| record.taken == Taken::No && number % 7 == 3);
        holds("filtered_out", stats.filtered_out <= stopped);

        // Of each event that came, one subscriber heard, or it was stopped or missed.
        let came = stats.events_in - stats.repeated;
        holds("events_in", came == stats.filtered_in + stats.missed + heard);
        let connections = stats.connects..=1 + stats.attempts.max(stats.connects);
        holds("endings", connections.contains(&stats.endings.values().sum()));
        let others = [stats.server_errors, stats.undecodable, stats.repeated];
        holds("what does not happen here", others == [0; 3]);
    }
}

fn narrow(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

/// What the application has seen of the events that it gets.
struct Heard {
    events: Arc<AtomicU64>,
    _subscription: Subscription,
}

impl Heard {
    /// Answers all events of the server.
    fn start(socket: &Socket) -> Self {
        let events = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&events);
        let answer = move |event: Event| {
            count.fetch_add(1, SeqCst);
            let (_, number): (String, u64) = event.args().unwrap();
            // It may come too late.
            event.ack(number).ok();
        };
        Self { events, _subscription: socket.listen("said").call(answer) }
    }
}

/// Stops one in seven events to the server, and one in five from it.
fn stops(name: &str, payload: &Payload) -> bool {
    let number = || payload.decode::<(String, u64)>().unwrap().1;
    match name {
        "record" => number() % 7 == 3,
        "said" => number() % 5 == 3,
        _ => false,
    }
}

async fn one_round(server: &node::Server, arbiter: &Arbiter, seed: u64) {
    let mut dice = Dice::new(seed);
    let proxy = Proxy::start(server.port());
    let builder = support::client(proxy.url())
        .reconnect(quick())
        .ack_timeout(PATIENCE / 2)
        .middleware(middleware::outgoing(|_, emit| {
            let is_stopped = stops(emit.name(), emit.payload());
            if is_stopped { Flow::dropped("for the test") } else { Flow::Next(emit) }
        }))
        .middleware(middleware::incoming(|event| {
            let is_stopped = stops(event.name(), event.payload());
            if is_stopped { Flow::dropped("for the test") } else { Flow::Next(event) }
        }));
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
        left: false,
        dice: dice.clone(),
    };
    let heard = Heard::start(&model.socket);
    let mut barriers = 0;
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
        assert!(report.dropped <= narrow(unsent), "{:#?}", model.log);
        model.left = true;
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
        barriers = 1;
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
    // What was handed to the subscriber is heard, also after the end.
    let mut stats = client.stats();
    while stats.events_in > stats.filtered_in + stats.missed + heard.events.load(SeqCst)
        && Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stats = client.stats();
    }
    model.check_counters(&stats, &arrived, heard.events.load(SeqCst), barriers);
    // The server had no more answers than were given.
    let answers = server.recorded(&format!("{}-answers", model.stream));
    assert!(narrow(answers.len()) <= stats.answers_out, "{answers:?}, {stats:?}");
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
