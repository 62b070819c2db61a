//! Numbers that flow in both directions in two namespaces while the connection fails again and again, and
//! what must be true of them afterwards.

use super::PATIENCE;
use super::every::within;
use super::faults::{Dice, delay};
use super::node::{self, Config, Line};
use super::proxy::Proxy;
use super::recorder::{Fact, Recorder};
use actix::Arbiter;
use actix_socketio::{AckError, Client, EmitError, Reconnect, Socket};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::mem;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// Delays so short that a test can afford a thousand of them.
pub fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(1), Duration::from_millis(5))
}

/// How many questions are open at a time.
const WINDOW: usize = 32;
/// Less than what is emitted while there is no connection, so that some events are refused.
const BUFFER: usize = 48;

/// The numbers that were emitted, by outcome.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub emitted: u64,
    pub answered: BTreeSet<u64>,
    pub disconnected: BTreeSet<u64>,
    pub timed_out: BTreeSet<u64>,
    pub never_sent: BTreeSet<u64>,
    /// Refused events that ask for no answer.
    pub refused: BTreeSet<u64>,
}

impl Outcomes {
    fn note(&mut self, number: u64, outcome: Result<u64, AckError>) {
        let first = match outcome {
            Ok(answer) => {
                assert_eq!(answer, number, "the answer to another question");
                self.answered.insert(number)
            }
            Err(AckError::Disconnected(_)) => self.disconnected.insert(number),
            Err(AckError::TimedOut) => self.timed_out.insert(number),
            Err(AckError::NeverSent(EmitError::Full(_) | EmitError::Expired)) => {
                self.never_sent.insert(number)
            }
            other => panic!("{number}: {other:?}"),
        };
        assert!(first, "{number} has two outcomes");
    }

    /// Checks what the server got and must not have got, of the questions (`asked`) and of plain events (`told`).
    fn check(&self, asked: &[u64], told: &[u64]) {
        let classes = [&self.answered, &self.disconnected, &self.timed_out, &self.never_sent];
        let all: u64 = classes.iter().map(|class| u64::try_from(class.len()).unwrap()).sum();
        assert_eq!(all, self.emitted, "each has one outcome");
        for recorded in [asked, told] {
            assert_increasing(recorded);
            assert!(recorded.last().is_none_or(|last| *last < self.emitted));
        }
        let arrived: BTreeSet<u64> = asked.iter().copied().collect();
        let missing: Vec<_> = self.answered.difference(&arrived).collect();
        assert!(missing.is_empty(), "answered, and not at the server: {missing:?}");
        let surplus: Vec<_> = self.never_sent.intersection(&arrived).collect();
        assert!(surplus.is_empty(), "never sent, and at the server: {surplus:?}");
        let arrived: BTreeSet<u64> = told.iter().copied().collect();
        let surplus: Vec<_> = self.refused.intersection(&arrived).collect();
        assert!(surplus.is_empty(), "refused, and at the server: {surplus:?}");
    }
}

#[track_caller]
fn assert_increasing(numbers: &[u64]) {
    for pair in numbers.windows(2) {
        assert!(pair[0] < pair[1], "{} after {}", pair[1], pair[0]);
    }
}

/// A client and its server, with a proxy between them, and two namespaces.
pub struct Storm {
    server: node::Server,
    pub proxy: Proxy,
    pub client: Client,
    lanes: [Lane; 2],
    dice: Dice,
    /// The number that the server emits next.
    next: u64,
    arbiter: Arbiter,
}

/// One namespace.
struct Lane {
    socket: Socket,
    recorder: Recorder,
    joined: bool,
}

impl Storm {
    pub async fn start(line: Line, config: &Config, seed: u64) -> Self {
        let server = node::start(line, config);
        let proxy = Proxy::start(server.port());
        // A thread of its own, so that it does not run in step with the test.
        let arbiter = Arbiter::new();
        let builder = super::client(proxy.url()).reconnect(quick()).send_buffer(BUFFER, 1 << 20);
        // The timeout must not hide a question that was forgotten.
        let builder = builder.ack_timeout(2 * PATIENCE);
        let client = builder.start_in(&arbiter.handle()).unwrap();
        let lanes = [client.socket().clone(), client.of("/foo").unwrap()].map(|socket| {
            let recorder = Recorder::of(&socket);
            Lane { socket, recorder, joined: false }
        });
        proxy.until("a connection", |counts| counts.open == 1).await;
        Self { server, proxy, client, lanes, dice: Dice::new(seed), next: 0, arbiter }
    }

    /// Strikes with this many faults, and at most `calm` answers between two of them. Returns the outcomes of
    /// what was emitted in each namespace, checked. The server records the numbers under this `name`.
    pub async fn blow(&mut self, name: &str, faults: u64, calm: u64) -> Vec<Outcomes> {
        let stop = Rc::new(Cell::new(false));
        let answers = Rc::new(watch::Sender::new(0));
        let mut progress = answers.subscribe();
        let emitters = self.lanes.each_ref().map(|lane| {
            let dice = Dice::new(self.dice.below(u64::MAX));
            let (socket, streams) = (lane.socket.clone(), lane.streams(name));
            actix::spawn(emit(socket, streams, dice, Rc::clone(&answers), Rc::clone(&stop)))
        });
        for number in 0..faults {
            self.proxy.delay(delay(&mut self.dice));
            // Otherwise at once, while the connection is being made.
            if self.dice.below(4) > 0 {
                let wanted = *answers.borrow() + self.dice.below(calm);
                within(progress.wait_for(|answers| *answers >= wanted)).await.unwrap();
            }
            let fault = self.dice.fault();
            let count = self.dice.below(20);
            let mut ticks = self.next..self.next + count;
            self.next += count;
            // Each number once, as the emitters go on emitting.
            let talk = || self.publish(mem::take(&mut ticks));
            fault.strike(&self.proxy, talk).await;
            for lane in &self.lanes {
                let state = lane.socket.state();
                assert_eq!(state.reason(), None, "after {fault:?}, which was number {number}");
            }
        }
        self.proxy.delay(Duration::ZERO);
        stop.set(true);
        let mut all = Vec::new();
        for (lane, emitter) in self.lanes.iter().zip(emitters) {
            let outcomes = within(emitter).await.unwrap();
            lane.settle().await;
            let [asked, told] = lane.streams(name).map(|stream| self.server.recorded(&stream));
            outcomes.check(&asked, &told);
            all.push(outcomes);
        }
        let last = self.next;
        self.next += 1;
        self.publish(last..self.next);
        for lane in &mut self.lanes {
            lane.check_facts(last).await;
        }
        all
    }

    fn publish(&self, numbers: std::ops::Range<u64>) {
        for lane in &self.lanes {
            self.server.publish(lane.socket.namespace(), "tick", numbers.clone());
        }
    }

    pub async fn end(self) {
        assert_eq!(within(self.client.shutdown(PATIENCE)).await.dropped, 0);
        self.arbiter.stop();
    }
}

impl Lane {
    /// The names under which the server records the numbers: of questions, and of plain events.
    fn streams(&self, name: &str) -> [String; 2] {
        let namespace = self.socket.namespace().trim_start_matches('/');
        [format!("{name}-asked-{namespace}"), format!("{name}-told-{namespace}")]
    }

    /// Waits until the server has handled everything that was sent.
    async fn settle(&self) {
        let answer = within(self.socket.emit_with_ack::<String>("id", ())).await;
        assert!(answer.is_ok(), "{answer:?}");
    }

    /// Checks what the subscriber got, up to this number: connections that come and go, and
    /// numbers that increase.
    async fn check_facts(&mut self, last: u64) {
        let mut ticks = Vec::new();
        while ticks.last() != Some(&last) {
            match self.recorder.next().await {
                Fact::Ready(_) => assert!(!mem::replace(&mut self.joined, true)),
                Fact::Disconnected(_) => assert!(mem::replace(&mut self.joined, false)),
                Fact::Reconnecting(_) => assert!(!self.joined),
                Fact::Event(event) => {
                    assert_eq!(event.name(), "tick");
                    ticks.push(event.args().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(self.joined);
        assert_increasing(&ticks);
    }
}

/// Emits one number after the other, as a question and as a plain event, until `stop`.
async fn emit(
    socket: Socket,
    [asked, told]: [String; 2],
    mut dice: Dice,
    answers: Rc<watch::Sender<u64>>,
    stop: Rc<Cell<bool>>,
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut open = FuturesUnordered::new();
    // When the buffer is full, there may be room again with the next outcome.
    let mut full = false;
    loop {
        while open.len() < WINDOW && !stop.get() && (!full || open.is_empty()) {
            let number = outcomes.emitted;
            outcomes.emitted += 1;
            let mut question = socket.emit_with_ack::<u64>("record", (&asked, number));
            if dice.below(8) == 0 {
                question = question.timeout(Duration::from_millis(dice.below(4)));
            }
            let answer = question.send();
            open.push(async move { (number, answer.await) });
            match socket.emit("record", (&told, number)) {
                Ok(_) => {}
                Err(EmitError::Full(_)) => assert!(outcomes.refused.insert(number)),
                Err(error) => panic!("{number}: {error}"),
            }
        }
        let Some((number, outcome)) = open.next().await else { return outcomes };
        full = matches!(outcome, Err(AckError::NeverSent(_)));
        if full {
            // There was nothing to wait for; let others have their turn.
            tokio::task::yield_now().await;
        }
        if outcome.is_ok() {
            answers.send_modify(|answers| *answers += 1);
        }
        outcomes.note(number, outcome);
    }
}
