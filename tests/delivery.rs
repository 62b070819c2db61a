//! What arrives when connections fail: each event at most once and in order, and every question has
//! one outcome, which is true.

// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix::{Actor, Arbiter, ArbiterHandle, Context, Handler};
use actix_socketio::{Ack, AckError, ConnectFailure, EmitError, Event, Reason, Socket};
use serde_json::json;
use support::{
    every::within,
    faults::{Dice, Fault},
    node::{self, Config, Line},
    proxy::{Direction, Proxy},
    recorder::{Fact, Recorder},
    reserved::Port,
    resident,
    storm::{Outcomes, Storm, quick},
};
use tokio::sync::mpsc;

/// Numbers flow both ways while the connection fails this often, and all is as it must be.
async fn survives(line: Line, faults: u64, seed: u64) -> Vec<Outcomes> {
    let mut storm = Storm::start(line, &Config::default(), seed).await;
    let outcomes = storm.blow("storm", faults, 100).await;
    storm.end().await;
    outcomes
}

#[actix::test]
async fn a_thousand_faults_repeat_nothing_and_every_question_has_one_true_outcome() {
    for outcomes in survives(Line::V4, 1_000, 1).await {
        // Otherwise the test covers less than it says.
        let Outcomes { emitted: _, answered, disconnected, timed_out, never_sent, refused } =
            outcomes;
        for class in [answered, disconnected, timed_out, never_sent, refused] {
            assert!(class.len() > 10, "{}", class.len());
        }
    }
}

#[actix::test]
async fn neither_do_fifty_with_server_2_5_1() {
    survives(Line::V2_5_1, 50, 2).await;
}

#[actix::test]
async fn neither_do_fifty_with_server_3_1_2() {
    survives(Line::V3_1_2, 50, 3).await;
}

#[actix::test]
async fn what_is_emitted_while_a_killed_server_is_away_arrives_in_order() {
    let port = Port::reserve();
    let config = Config { port: port.number(), ..Config::default() };
    let mut server = node::start(Line::V4, &config);
    let client = support::client(server.url()).reconnect(quick()).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    for _ in 0..3 {
        let open = socket.emit_with_ack::<u64>("silent", ()).send();
        assert!(within(socket.emit_with_ack::<String>("id", ())).await.is_ok());
        server.kill();
        let reason = recorder.next_disconnected().await;
        assert_eq!(within(open).await, Err(AckError::Disconnected(reason)));
        let mut questions = Vec::new();
        for number in 0..200_u64 {
            if number % 2 == 0 {
                socket.emit("record", ("numbers", number)).unwrap();
            } else {
                questions.push(socket.emit_with_ack("record", ("numbers", number)).send());
            }
        }
        server = node::start(Line::V4, &config);
        recorder.ready_after_attempts().await;
        for (number, question) in (0..200).filter(|number| number % 2 == 1).zip(questions) {
            assert_eq!(within(question).await, Ok(number));
        }
        assert_eq!(server.recorded("numbers"), (0..200).collect::<Vec<u64>>());
    }
}

#[actix::test]
async fn while_a_server_is_away_for_long_the_buffer_fills_and_nothing_grows() {
    const ROOM: u64 = 1_000;
    let port = Port::reserve();
    let config = Config { port: port.number(), ..Config::default() };
    let server = node::start(Line::V4, &config);
    let builder = support::client(server.url()).reconnect(quick());
    let client = builder.send_buffer(1_000, 1 << 20).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    server.kill();
    recorder.next_disconnected().await;
    for number in 0..ROOM {
        socket.emit("record", ("numbers", number)).unwrap();
    }
    let kilobyte = "x".repeat(1_000);
    let before = resident();
    for attempt in 1..=300 {
        assert_eq!(recorder.next_reconnecting().await.attempt(), attempt);
        for _ in 0..200 {
            let refused = socket.emit("record", ("numbers", &kilobyte));
            assert!(matches!(refused, Err(EmitError::Full(_))), "{refused:?}");
        }
        assert_eq!(socket.unsent(), 1_000);
    }
    // 60 MB were not taken.
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after < before + (16 << 20), "from {before} to {after} bytes");
    }
    let server = node::start(Line::V4, &config);
    recorder.ready_after_attempts().await;
    assert!(within(socket.emit_with_ack::<String>("id", ())).await.is_ok());
    assert_eq!(server.recorded("numbers"), (0..ROOM).collect::<Vec<u64>>());
    assert_eq!(socket.unsent(), 0);
}

#[actix::test]
async fn a_stalled_connection_is_given_up_by_its_heartbeat_and_made_again() {
    let beat = Duration::from_secs(1);
    let options = json!({ "pingInterval": 1_000, "pingTimeout": 1_000 });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    let proxy = Proxy::start(server.port());
    let builder = support::client(proxy.url()).reconnect(quick());
    let client = builder.connect_timeout(Duration::from_millis(500)).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    // On a busy machine, that is not enough each time.
    recorder.ready_after_attempts().await;

    proxy.stall();
    let since = Instant::now();
    let open = client.socket().emit_with_ack::<u64>("number", ()).send();
    assert_eq!(recorder.next_disconnected().await, Reason::PingTimeout);
    assert!(since.elapsed() >= beat, "given up after {:?}", since.elapsed());
    assert_eq!(within(open).await, Err(AckError::Disconnected(Reason::PingTimeout)));
    assert_eq!(recorder.next_reconnecting().await.reason(), &Reason::PingTimeout);
    // It accepts the connection, and sends nothing.
    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(ConnectFailure::TimedOut));

    proxy.resume();
    recorder.ready_after_attempts().await;
    assert_eq!(within(client.socket().emit_with_ack::<u64>("number", ())).await, Ok(7));
}

/// An actor that panics at a certain number.
struct Fragile {
    heard: mpsc::UnboundedSender<u64>,
    last: u64,
}

impl Actor for Fragile {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // So that most of what it does not live to get waits outside of its mailbox.
        ctx.set_mailbox_capacity(1);
    }
}

impl Handler<Event> for Fragile {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        let number = event.args().unwrap();
        assert_ne!(number, self.last, "this panic is part of the test");
        self.heard.send(number).unwrap();
    }
}

/// Subscribes an actor that panics at the number `last`, and gives what it hears.
fn fragile(arbiter: &ArbiterHandle, socket: &Socket, last: u64) -> mpsc::UnboundedReceiver<u64> {
    let (sender, heard) = mpsc::unbounded_channel();
    let actor = Fragile::start_in_arbiter(arbiter, move |_| Fragile { heard: sender, last });
    socket.subscribe_to::<Event>(actor);
    heard
}

/// A subscriber that panics is dropped, with what waits for it; all others go on.
async fn outlives_a_panic(arbiter: &ArbiterHandle) {
    // More than fits into the window, where it would stay if it waited for the dead.
    const MANY: u64 = 2_000;
    let server = node::server(Line::V4);
    let builder = support::client(server.url()).reconnect(quick());
    let client = builder.receive_window(500, 1 << 20).start().unwrap();
    let socket = client.socket();
    let mut heard = fragile(arbiter, socket, 3);
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    for _ in 0..2 {
        socket.emit("burst", MANY).unwrap();
        for number in 0..MANY {
            assert_eq!(recorder.next_event("n").await.args::<u64>().unwrap(), number);
        }
        recorder.next_event("burst_done").await;
    }
    // The actor is gone, and its end of the channel with it.
    for number in 0..3 {
        assert_eq!(within(heard.recv()).await, Some(number));
    }
    assert_eq!(within(heard.recv()).await, None);
    // Its arbiter is not.
    let mut heard = fragile(arbiter, socket, MANY);
    socket.emit("say", ("n", 5)).unwrap();
    assert_eq!(within(heard.recv()).await, Some(5));
    recorder.next_event("n").await;
    assert!(recorder.rest().is_empty(), "the link has not been lost");
}

#[actix::test]
async fn a_subscriber_that_panics_on_the_arbiter_of_the_client_is_dropped() {
    outlives_a_panic(&Arbiter::current()).await;
}

#[actix::test]
async fn a_subscriber_that_panics_on_its_own_arbiter_is_dropped() {
    let arbiter = Arbiter::new();
    outlives_a_panic(&arbiter.handle()).await;
    arbiter.stop();
}

/// The server's side of a message that is sent again: the middleware of the page on delivery.
#[actix::test]
async fn a_message_that_comes_again_is_handled_once_and_answered_each_time() {
    let config = Config { dedupe: true, ..Config::default() };
    let server = node::start(Line::V4, &config);
    let client = support::client(server.url()).start().unwrap();
    let other = support::client(server.url()).start().unwrap();
    for (socket, id, number) in [
        (client.socket(), "a", 1),
        (client.socket(), "a", 2),
        (other.socket(), "a", 3),
        (other.socket(), "b", 4),
    ] {
        let message = ("numbers", number, json!({ "messageId": id }));
        let expected = if id == "a" { 1 } else { number };
        let answer = within(socket.emit_with_ack::<u64>("record", message)).await;
        assert_eq!(answer, Ok(expected));
    }
    assert_eq!(server.recorded("numbers"), [1, 4]);
}

/// Messages that must arrive, while the connection fails this often.
async fn all_arrive(line: Line, faults: u64, window: usize, seed: u64) {
    let server = node::start(line, &Config { dedupe: true, ..Config::default() });
    let proxy = Proxy::start(server.port());
    let arbiter = Arbiter::new();
    let client = support::client(proxy.url())
        .reconnect(quick())
        .retries(3)
        .retry_window(window)
        .message_ids(true)
        .start_in(&arbiter.handle())
        .unwrap();
    let mut dice = Dice::new(seed);
    let mut open: VecDeque<Ack<u64>> = VecDeque::new();
    let mut emitted = 0;
    let mut emit = |open: &mut VecDeque<_>| {
        open.push_back(client.socket().emit_with_ack("record", ("sure", emitted)).send());
        emitted += 1;
    };
    let mut answered = 0;
    for _ in 0..faults {
        for _ in 0..dice.below(100) {
            emit(&mut open);
        }
        while open.len() > usize::try_from(dice.below(100)).unwrap() {
            assert_eq!(within(open.pop_front().unwrap()).await, Ok(answered));
            answered += 1;
        }
        let talk = || {
            // Enough to get beyond where it may be cut, either way.
            (0..40).for_each(|_| emit(&mut open));
            server.publish("/", "tick", 0..150);
        };
        dice.fault().strike(&proxy, talk).await;
    }
    for answer in open {
        assert_eq!(within(answer).await, Ok(answered));
        answered += 1;
    }
    assert!(server.recorded("sure").into_iter().eq(0..answered), "all, once and in order");
    // An answer comes a moment before it is counted.
    support::eventually("all are counted", || client.stats().acked == answered).await;
    let stats = client.stats();
    assert_eq!((stats.unknown, stats.discarded), (0, 0));
    assert!(stats.resent > 0 && stats.waiting_out == 0, "{stats:?}");
    arbiter.stop();
}

#[actix::test]
async fn with_retries_and_ids_a_thousand_faults_lose_nothing_and_repeat_nothing() {
    all_arrive(Line::V4, 1_000, 16, 4).await;
}

#[actix::test]
async fn nor_do_fifty_one_at_a_time() {
    all_arrive(Line::V4, 50, 1, 5).await;
}

#[actix::test]
async fn nor_do_fifty_with_server_2_5_1() {
    all_arrive(Line::V2_5_1, 50, 16, 6).await;
}

#[actix::test]
async fn nor_do_fifty_with_server_3_1_2() {
    all_arrive(Line::V3_1_2, 50, 16, 7).await;
}

#[actix::test]
async fn with_recovery_a_thousand_faults_lose_nothing_and_repeat_nothing() {
    let options = json!({ "connectionStateRecovery": {} });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    let proxy = Proxy::start(server.port());
    let client = support::client(proxy.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    let first = recorder.next_ready().await;
    assert!(!first.recovered());
    let mut published = 0;
    let mut publish = |count| {
        server.publish("/", "tick", published..published + count);
        published += count;
        published
    };
    let (mut expected, mut recovered) = (0, 0);
    let mut dice = Dice::new(8);
    for _ in 0..1_000 {
        // There is a place to go on from, or nothing could be recovered.
        let last = publish(1 + dice.below(50));
        loop {
            match recorder.next().await {
                Fact::Event(event) => {
                    let number = event.args::<u64>().unwrap();
                    assert_eq!(number, expected, "after {recovered} recoveries");
                    expected += 1;
                }
                Fact::Ready(ready) => {
                    assert!(ready.recovered(), "after {recovered} recoveries");
                    assert_eq!(ready.sid(), first.sid());
                    recovered += 1;
                }
                Fact::Disconnected(_) | Fact::Reconnecting(_) => {}
                other => panic!("{other:?}"),
            }
            if expected == last {
                break;
            }
        }
        let talk = || {
            // Enough to get beyond where it may be cut, either way.
            for _ in 0..40 {
                match client.socket().emit("silent", "x".repeat(64)) {
                    // By polling, much of the last round may still wait.
                    Ok(_) | Err(EmitError::Full(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            publish(150);
        };
        // A server that does not notice the loss before the client is back has two sockets of one
        // id then, and the end of the old one takes the new one out of its rooms.
        let unnoticed = Fault::HalfClose(Direction::ToClient);
        let mut faults = std::iter::repeat_with(|| dice.fault());
        let fault = faults.find(|fault| *fault != unnoticed).unwrap();
        fault.strike(&proxy, talk).await;
    }
    // Where the client polls, between two polls, there is nothing to be cut.
    assert!(recovered >= 500, "{recovered}");
}
