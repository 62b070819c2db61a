//! Threads that call the handles of one namespace without end: the other namespaces of the client get their turn, and
//! what waits for the busy one is bounded.

// A test fails by panicking, and this one prints what it has measured.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use actix::{Arbiter, dev::SendError};
use actix_socketio::{Emit, Socket};
use futures::{FutureExt, future::join_all};
use support::{eventually, every::within, oxide, resident};
use tokio::sync::Mutex;

/// The threads give up after this time. What the test awaits comes much earlier.
const LONG: Duration = Duration::from_secs(120);
/// The questions that are answered while the threads run.
const QUESTIONS: usize = 20;
/// What the process may hold more than before, in bytes.
const LIMIT: u64 = 96 << 20;

/// They measure what the process holds: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Goes round on the arbiter, and notes the longest time between two rounds.
#[derive(Debug, Default)]
struct Ticker {
    rounds: AtomicU64,
    gap: AtomicU64,
}

impl Ticker {
    async fn run(self: Arc<Self>) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = Instant::now();
            let gap = u64::try_from((now - last).as_millis()).unwrap();
            self.gap.fetch_max(gap, Relaxed);
            self.rounds.fetch_add(1, Relaxed);
            last = now;
        }
    }
}

/// Calls `hammer` on as many threads, with the socket of a namespace that is joined and of one that is never joined,
/// until another namespace of the same client has become ready and got its answers.
async fn attack(
    name: &str,
    threads: usize,
    hammer: impl Fn(&Socket, usize) + Send + Sync + 'static,
) {
    let _turn = TURN.lock().await;
    let server = oxide::start();
    let (arbiter, ticker) = (Arbiter::new(), Arc::<Ticker>::default());
    arbiter.spawn(Arc::clone(&ticker).run());
    let client =
        support::client(server.url()).join_timeout(4 * LONG).start_in(&arbiter.handle()).unwrap();
    let joined = client.socket().clone();
    within(joined.ready()).await.unwrap();
    let away =
        client.namespace("/never").auth_with(async |_| pending::<Result<(), String>>().await);
    let away = away.join().unwrap();
    let before = resident();

    let (stop, hammer) = (Arc::new(AtomicBool::new(false)), Arc::new(hammer));
    let begun = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (stop, hammer, sockets) =
                (Arc::clone(&stop), Arc::clone(&hammer), [away.clone(), joined.clone()]);
            thread::spawn(move || {
                let mut calls = 0;
                while !stop.load(Relaxed) && begun.elapsed() < LONG {
                    hammer(&sockets[(calls + thread) % 2], calls / 2);
                    calls += 1;
                }
                (calls, stop.load(Relaxed))
            })
        })
        .collect();

    eventually("the arbiter is awake", || ticker.rounds.load(Relaxed) > 10).await;
    let other = client.of("/foo").unwrap();
    let outcome = async {
        within(other.ready()).await.unwrap();
        for _ in 0..QUESTIONS {
            let seven: u64 = within(other.emit_with_ack("number", ())).await.unwrap();
            assert_eq!(seven, 7);
        }
    };
    outcome.await;
    let (took, held) = (begun.elapsed(), resident());
    stop.store(true, Relaxed);
    let (mut calls, mut is_hammered) = (0, true);
    for thread in threads {
        let (made, was_stopped) = thread.join().unwrap();
        calls += made;
        is_hammered &= was_stopped;
    }
    let more = held.zip(before).map_or(0, |(held, before)| held.saturating_sub(before));
    println!(
        "{name}: {calls} calls in {took:?}; longest gap of the arbiter {} ms; {} MiB more",
        ticker.gap.load(Relaxed),
        more >> 20
    );
    assert!(is_hammered, "{name}: the other namespace got its answers while the threads ran");
    assert!(more < LIMIT, "{name}: {} MiB more than before", more >> 20);
    drop((client, joined, away, other));
    arbiter.stop();
    within(async { drop(tokio::task::spawn_blocking(|| arbiter.join()).await) }).await;
}

fn emit_latest(socket: &Socket, calls: usize) {
    drop(socket.send(Emit::new("count", ("hammer",)).unwrap().latest(format!("{}", calls % 10))));
}

fn listen(socket: &Socket) {
    let captured = [0_u64; 8];
    socket.listen("hammer").call(move |_| assert_eq!(captured.len(), 8)).cancel();
}

fn wait(socket: &Socket) {
    drop(socket.ready().now_or_never());
}

fn leave(socket: &Socket) {
    socket.disconnect();
    socket.connect();
}

fn take(socket: &Socket) {
    drop(socket.take_unsent().now_or_never());
    drop(socket.session_ticket().now_or_never());
}

#[actix::test]
async fn a_thread_that_emits_without_end_keeps_nobody_waiting() {
    attack("emit", 1, emit_latest).await;
}

#[actix::test]
async fn a_thread_that_subscribes_and_cancels_without_end_keeps_nobody_waiting() {
    attack("listen and cancel", 1, |socket, _| listen(socket)).await;
}

#[actix::test]
async fn a_thread_that_waits_and_stops_waiting_without_end_keeps_nobody_waiting() {
    attack("ready", 1, |socket, _| wait(socket)).await;
}

#[actix::test]
async fn a_thread_that_leaves_and_joins_without_end_keeps_nobody_waiting() {
    attack("disconnect and connect", 1, |socket, _| leave(socket)).await;
}

#[actix::test]
async fn a_thread_that_takes_back_without_end_keeps_nobody_waiting() {
    attack("take back", 1, |socket, _| take(socket)).await;
}

#[actix::test]
async fn eight_threads_that_do_all_of_it_without_end_keep_nobody_waiting() {
    attack("all", 8, |socket, calls| match calls % 5 {
        0 => emit_latest(socket, calls),
        1 => listen(socket),
        2 => wait(socket),
        3 => leave(socket),
        _ => take(socket),
    })
    .await;
}

#[actix::test]
async fn a_call_is_heard_at_whatever_moment_it_comes() {
    let server = oxide::start();
    let client = support::client(server.url()).start().unwrap();
    let socket = client.socket();
    within(socket.ready()).await.unwrap();
    // The actor runs on this thread, and needs a turn for each of the first calls: the event loop gives it some
    // dozens before it comes back to this test.
    for turns in 0..20 {
        let mut first = join_all((0..300).map(|_| socket.take_unsent()));
        assert!((&mut first).now_or_never().is_none(), "they are asked for at the first look");
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        within(socket.take_unsent()).await.unwrap();
        within(first).await;
    }
}

#[actix::test]
async fn the_mailbox_of_a_namespace_is_bounded_for_messages_of_other_actors() {
    let server = oxide::start();
    let client = support::client(server.url()).start().unwrap();
    let socket = client.socket();
    within(socket.ready()).await.unwrap();
    let recipient = socket.recipient();
    let emit = || Emit::new("count", ("hammer",)).unwrap();
    // The actor runs on this thread, so it gets nothing done meanwhile.
    for _ in 0..3 {
        let taken = (0..100_000).take_while(|_| recipient.try_send(emit()).is_ok()).count();
        assert!((1_000..1_100).contains(&taken), "{taken}");
        let full = recipient.try_send(emit()).unwrap_err();
        assert!(matches!(full, SendError::Full(_)), "{full:?}");
        // Those that wait for room get it.
        let sent = within(join_all((0..3_000).map(|_| recipient.send(emit())))).await;
        assert!(sent.into_iter().all(|sent| sent.unwrap().is_ok()));
    }
    within(client.shutdown(LONG)).await;
}

#[actix::test]
async fn a_client_that_is_shut_down_again_and_again_ends_once_for_all_that_wait() {
    let _turn = TURN.lock().await;
    let server = oxide::start();
    let client = support::client(server.url()).start().unwrap();
    within(client.socket().ready()).await.unwrap();
    let before = resident();
    // The actor runs on this thread, so it gets nothing done meanwhile.
    for _ in 0..100_000 {
        assert_eq!(client.shutdown(LONG).now_or_never(), None);
    }
    let more = resident().zip(before).map_or(0, |(held, before)| held.saturating_sub(before));
    assert!(more < 4 << 20, "{more} bytes more than before");
    within(join_all((0..100).map(|_| client.shutdown(LONG)))).await;
    within(client.shutdown(LONG)).await;
}
