//! How much memory a server can make the client use: bounded, whatever it sends. Each test runs in a
//! process of its own, since the peak is that of the process.

#![allow(clippy::arithmetic_side_effects, clippy::disallowed_methods)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use std::{process::Command, time::Duration};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_socketio::{
    Client, ClientBuilder, ConnectError, Disconnected, Event, Lagged, ProtocolError, Ready, Reason,
    tap::Recording,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::join};
use support::{
    PATIENCE,
    scripted::{Peer, Received, Scripted},
    watch::{Heard, Watch},
};
use tokio::sync::{mpsc, oneshot};

/// What the whole process may have used at its peak: the client, the server that attacks it, and
/// the test.
const LIMIT_KIB: u64 = 64 << 10;
const MIB: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
/// An attack takes as long as it takes to send some hundred MB, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The peak of the process's resident set so far, in KiB, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The header of a websocket frame, with its length in the form that takes most bytes.
fn header(first: u8, length: usize) -> Bytes {
    let mut header = BytesMut::from(&[first, 127][..]);
    header.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
    header.freeze()
}

/// A whole websocket frame.
fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(&header(first, payload.len())[..]);
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// Sends `chunk` again and again, up to so many bytes, or as many as the client takes.
async fn pour(peer: &Peer, chunk: Bytes, bytes: usize) {
    for _ in 0..bytes.div_ceil(chunk.len()) {
        if !peer.send_raw(chunk.clone()).await {
            return;
        }
    }
}

fn letters(letter: u8) -> Bytes {
    Bytes::from(vec![letter; CHUNK])
}

async fn joined(
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ping_interval: Duration,
    ping_timeout: Duration,
) -> (Scripted, Peer, Client) {
    let server = Scripted::start();
    let client = configure(support::builder(server.url())).start().unwrap();
    let mut peer = server.accept().await;
    peer.open_with(ping_interval, ping_timeout).await;
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    client.socket().ready().timeout(PATIENCE).await.unwrap();
    (server, peer, client)
}

/// The same with a heartbeat that no test lives to see.
async fn quiet() -> (Scripted, Peer, Client) {
    joined(|builder| builder, Duration::from_secs(250), Duration::from_secs(200)).await
}

/// Why the connection ends under this attack, if it does.
async fn end(attack: impl AsyncFnOnce(&Peer)) -> Option<Reason> {
    let (_server, peer, client) = quiet().await;
    let mut watch = Watch::on(client.socket());
    watch.ready().await;
    let attack = async {
        tokio::time::timeout(LONG, attack(&peer)).await.expect("the attack comes to its end");
        // If the connection lives, this is heard.
        peer.send_text(r#"42["alive"]"#).await;
    };
    let (heard, ()) = join(watch.next_within(LONG), attack).await;
    match heard {
        Some(Heard::Disconnected(reason)) => Some(reason),
        Some(Heard::Event(event)) if event.name() == "alive" => None,
        other => panic!("{other:?}"),
    }
}

const TOO_LARGE: Option<Reason> = Some(Reason::TooLarge { limit: 16 * MIB });

/// Each must be over, or have come to nothing, before the next begins.
async fn attacks() {
    let huge = end(async |peer| {
        peer.send_raw(header(0x81, 8 << 30)).await;
        pour(peer, letters(b'4'), 256 * MIB).await;
    });
    assert_eq!(huge.await, TOO_LARGE);
    report("a frame of 8 GiB");

    let largest = end(async |peer| {
        for _ in 0..16 {
            for part in for_nobody(16 * MIB) {
                peer.send_raw(part).await;
            }
        }
    });
    assert_eq!(largest.await, None);
    report("messages of the largest size");

    let fragments = end(async |peer| {
        peer.send_raw(frame(0x01, b"42")).await;
        pour(peer, frame(0x00, &[b'x'; 1_000]), 256 * MIB).await;
    });
    assert_eq!(fragments.await, TOO_LARGE);
    report("endless fragments");

    let empty = end(async |peer| {
        peer.send_raw(frame(0x01, b"")).await;
        pour(peer, letters(0), 64 * MIB).await;
    });
    assert!(matches!(empty.await, Some(Reason::Protocol(ProtocolError::WebSocket(_)))));
    report("endless empty fragments");

    for (start, letter) in [("42/", b'n'), ("42", b'1')] {
        let whole = end(async |peer| {
            peer.send_raw(header(0x81, 100 * MIB + start.len())).await;
            peer.send_raw(start).await;
            pour(peer, letters(letter), 100 * MIB).await;
        });
        assert_eq!(whole.await, TOO_LARGE);
        let fragmented = end(async |peer| {
            peer.send_raw(frame(0x01, start.as_bytes())).await;
            pour(peer, frame(0x00, &letters(letter)), 100 * MIB).await;
        });
        assert_eq!(fragmented.await, TOO_LARGE);
    }
    report("namespace and id of 100 MB");

    let many = end(async |peer| {
        peer.send_text(r#"451000000-["x"]"#).await;
        pour(peer, frame(0x82, &[0; 1_000]), 256 * MIB).await;
    });
    let limit = ProtocolError::TooManyAttachments { limit: 10 };
    assert_eq!(many.await, Some(Reason::Protocol(limit)));
    let heavy = end(async |peer| {
        peer.send_text(r#"4510-["x"]"#).await;
        for _ in 0..10 {
            peer.send_raw(header(0x82, 10 * MIB)).await;
            pour(peer, letters(0), 10 * MIB).await;
        }
    });
    assert_eq!(heavy.await, TOO_LARGE);
    report("attachments");

    let pings = end(async |peer| pour(peer, flood(&frame(0x81, b"2")), 16 * MIB).await);
    assert_eq!(pings.await, None);
    let pings = end(async |peer| pour(peer, flood(&frame(0x89, &[b'x'; 125])), 64 * MIB).await);
    assert_eq!(pings.await, None);
    report("pings");
}

/// The parts of a frame of this size, for a namespace that nobody has joined.
fn for_nobody(size: usize) -> Vec<Bytes> {
    padded(r#"42/nowhere,["x",""#, b'x', r#""]"#, size)
}

/// The parts of a text frame of this size, with so many of one letter between start and end. All of them
/// together take little memory.
fn padded(start: &'static str, letter: u8, end: &'static str, size: usize) -> Vec<Bytes> {
    let letters = letters(letter);
    let mut rest = size - start.len() - end.len();
    let mut parts = vec![header(0x81, size), Bytes::from(start)];
    while rest > 0 {
        parts.push(letters.slice(..rest.min(CHUNK)));
        rest -= rest.min(CHUNK);
    }
    parts.push(Bytes::from(end));
    parts
}

/// As many whole frames as go into a chunk.
fn flood(frame: &Bytes) -> Bytes {
    Bytes::from(frame.repeat(CHUNK / frame.len()))
}

fn report(what: &str) {
    if let Some(peak) = peak() {
        eprintln!("{what}: {} MiB at the peak so far", peak >> 10);
    }
}

/// Handles its first event when it is told to, and counts.
struct Slow {
    gate: Option<oneshot::Receiver<()>>,
    begun: mpsc::UnboundedSender<()>,
    received: u64,
    missed: u64,
    laggeds: u64,
}

impl Slow {
    fn start() -> (Addr<Self>, oneshot::Sender<()>, mpsc::UnboundedReceiver<()>) {
        let (open, gate) = oneshot::channel();
        let (begun, begins) = mpsc::unbounded_channel();
        let slow = Self { gate: Some(gate), begun, received: 0, missed: 0, laggeds: 0 };
        (slow.start(), open, begins)
    }
}

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Ready> for Slow {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {}
}

impl Handler<Event> for Slow {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        if event.name() == "x" {
            self.received += 1;
        }
        if let Some(gate) = self.gate.take() {
            self.begun.send(()).unwrap();
            ctx.wait(
                async {
                    gate.await.ok();
                }
                .into_actor(self),
            );
        }
    }
}

impl Handler<ConnectError> for Slow {
    type Result = ();

    fn handle(&mut self, _: ConnectError, _: &mut Self::Context) {}
}

impl Handler<Disconnected> for Slow {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Self::Context) {}
}

impl Handler<Lagged> for Slow {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, _: &mut Self::Context) {
        self.missed += lagged.missed();
        self.laggeds += 1;
    }
}

#[derive(Message)]
#[rtype(result = "(u64, u64, u64)")]
struct Count;

impl Handler<Count> for Slow {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult((self.received, self.missed, self.laggeds))
    }
}

/// Sends these frames over and over to a subscriber that does not finish its first event, with a
/// ping now and then, for as many rounds. `events` is how many events for it are in `frames`.
/// Gives how many it missed, as it was told.
async fn overrun(frames: &[Bytes], events: u64, rounds: usize) -> u64 {
    /// So many bytes are read in the time for a ping, without optimisation and on a busy machine.
    const PING_EVERY: usize = 4 * MIB;
    let size: usize = frames.iter().map(Bytes::len).sum();
    let mut unpinged = 0;
    let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    let (_server, mut peer, client) = joined(|builder| builder, interval, timeout).await;
    let (slow, release, mut begun) = Slow::start();
    client.socket().subscribe(slow.clone());
    client.socket().subscribe_to::<Lagged>(slow.clone());
    peer.send_text(r#"42["x"]"#).await;
    tokio::time::timeout(PATIENCE, begun.recv()).await.unwrap().unwrap();

    for _ in 0..rounds {
        for frame in frames {
            let sent = tokio::time::timeout(PATIENCE, peer.send_raw(frame.clone())).await;
            assert!(sent.expect("the pause ends"), "the connection lives");
        }
        unpinged += size;
        if unpinged >= PING_EVERY {
            unpinged = 0;
            peer.send_text("2").await;
        }
        // The answers must not fill the way back.
        while peer.next_within(Duration::ZERO).await.is_some() {}
    }
    peer.ping("the last of it").await;
    let last = Received::Pong(Bytes::from_static(b"the last of it"));
    while peer.next().await != last {}
    peer.send_text("2").await;
    peer.expect_text("3").await;

    let sent = 1 + events * u64::try_from(rounds).unwrap();
    assert_eq!(client.socket().state().reason(), None, "the heartbeat was kept");
    release.send(()).unwrap();
    let (received, missed, laggeds) = counted(&slow, sent).await;
    assert_eq!(missed > 0, laggeds > 0);

    // From here on nothing is missed.
    for _ in 0..100 {
        peer.send_text(r#"42["x"]"#).await;
    }
    assert_eq!(counted(&slow, sent + 100).await, (received + 100, missed, laggeds));
    missed
}

/// What the subscriber got, was told that it missed, and how often it was told, once that makes
/// `sent` events.
async fn counted(slow: &Addr<Slow>, sent: u64) -> (u64, u64, u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let count = tokio::time::timeout(PATIENCE, slow.send(Count)).await.unwrap().unwrap();
        let (received, missed, _) = count;
        if received + missed >= sent {
            assert_eq!(received + missed, sent);
            return count;
        }
        assert!(tokio::time::Instant::now() < deadline, "{count:?} of {sent}");
        tokio::task::yield_now().await;
    }
}

/// An event for "/" of this size.
fn event(size: usize) -> Bytes {
    frame(0x81, format!(r#"42["x","{}"]"#, "y".repeat(size)).as_bytes())
}

/// Has the allocator of the GNU C library give large blocks back at once. What it keeps for later
/// is not what this is about, and differs from run to run.
const FRUGAL: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Runs the test in another process, whose allocator is frugal.
fn again(test: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FRUGAL.0, FRUGAL.1)
        .status();
    assert!(status.unwrap().success());
}

/// Whether this is the process in which this test is to run. If not, it is run there, or left out.
fn is_alone(test: &str) -> bool {
    if peak().is_none() {
        eprintln!("skipped: this system does not tell the peak of a process's memory");
        return false;
    }
    let is_alone = std::env::var_os(FRUGAL.0).is_some();
    if !is_alone {
        again(test);
    }
    is_alone
}

fn within_limit() {
    let peak = peak().unwrap();
    assert!(peak <= LIMIT_KIB, "{peak} KiB at the peak, and {LIMIT_KIB} are allowed");
}

#[actix::test]
async fn memory_is_bounded_whatever_a_server_sends() {
    if !is_alone("memory_is_bounded_whatever_a_server_sends") {
        return;
    }
    attacks().await;

    assert!(overrun(&[event(32 << 10)], 1, 8_000).await > 0);
    report("many events for a slow subscriber");

    let small = u64::try_from(CHUNK / event(30).len()).unwrap();
    assert!(overrun(&[flood(&event(30))], small, 300).await > 0);
    report("many small events for a slow subscriber");

    for (size, rounds) in [(15 * MIB, 20), (MIB, 60), (CHUNK, 1_000)] {
        let mut frames = for_nobody(size);
        // Behind it in the same read, as likely as not.
        let last = frames.pop().unwrap();
        frames.push(Bytes::from([&last[..], &event(30)].concat()));
        overrun(&frames, 1, rounds).await;
        report("small events behind large messages for nobody");
    }

    within_limit();
}

#[actix::test]
async fn a_small_event_holds_nothing_of_what_was_read_with_it() {
    if !is_alone("a_small_event_holds_nothing_of_what_was_read_with_it") {
        return;
    }
    // As much as is read at once, of which one event is for somebody.
    let nobody = for_nobody(1_000).concat();
    let read = Bytes::from([&nobody.repeat(60)[..], &event(30)].concat());
    overrun(&[read], 1, 5_000).await;
    report("events for a slow subscriber, each of its own read");
    within_limit();
}

#[actix::test]
async fn what_comes_before_the_json_of_a_packet_is_not_kept() {
    if !is_alone("what_comes_before_the_json_of_a_packet_is_not_kept") {
        return;
    }
    overrun(&padded("42", b'9', r#"["x"]"#, MIB), 1, 200).await;
    report("events with an id of 1 MiB");
    overrun(&padded("42", b' ', r#"["x"]"#, MIB), 1, 40).await;
    report("events of 1 MiB");
    within_limit();
}

#[actix::test]
async fn a_mailbox_holds_no_more_than_one_large_event() {
    if !is_alone("a_mailbox_holds_no_more_than_one_large_event") {
        return;
    }
    let large = padded(r#"42["x",""#, b'y', r#""]"#, 15 * MIB);
    overrun(&large, 1, 20).await;
    report("events of 15 MiB for a busy actor");
    within_limit();
}

#[actix::test]
async fn a_stream_holds_no_more_than_one_large_event() {
    if !is_alone("a_stream_holds_no_more_than_one_large_event") {
        return;
    }
    let (_server, peer, client) = quiet().await;
    let mut stream = client.socket().listen("x").stream();
    let event = padded(r#"42["x",""#, b'y', r#""]"#, 15 * MIB);
    send_until_stuck(&peer, &event, 20).await;
    stream.next().await.unwrap();
    report("events of 15 MiB for a stream that is not polled");
    within_limit();
}

#[actix::test]
async fn a_tap_and_its_recording_hold_a_bounded_number_of_bytes() {
    if !is_alone("a_tap_and_its_recording_hold_a_bounded_number_of_bytes") {
        return;
    }
    let recording = Recording::new(usize::MAX, MIB);
    let times = (Duration::from_secs(250), Duration::from_secs(200));
    let tap = recording.tap().text(usize::MAX);
    let (_server, peer, client) = joined(|builder| builder.tap(tap), times.0, times.1).await;
    let mut watch = Watch::on(client.socket());
    watch.ready().await;
    let attack = async {
        // Events that ask for an answer, in namespaces that are not joined: each is remembered for a while.
        for id in 0..30_000 {
            let (namespace, name) = ("n".repeat(500), "x".repeat(1_000));
            let text = format!(r#"42/{namespace},{id}["{name}"]"#);
            peer.send_raw(frame(0x81, text.as_bytes())).await;
        }
        for part in for_nobody(8 * MIB) {
            peer.send_raw(part).await;
        }
        peer.send_text(r#"42["alive"]"#).await;
    };
    let (heard, ()) = join(watch.next_within(LONG), attack).await;
    assert!(matches!(heard, Some(Heard::Event(event)) if event.name() == "alive"));
    assert!(recording.dropped() > 29_000);
    report("events that a tap remembers");
    within_limit();
}

/// Sends these frames over and over, until the client reads no more.
async fn send_until_stuck(peer: &Peer, frames: &[Bytes], times: usize) {
    for part in frames.iter().cycle().take(frames.len() * times) {
        let sent = peer.send_raw(part.clone());
        if tokio::time::timeout(Duration::from_secs(1), sent).await.is_err() {
            return;
        }
    }
}

/// Answers no question.
struct Undecided;

impl Actor for Undecided {
    type Context = Context<Self>;
}

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[rtype(result = "()")]
struct Question(String);

impl actix_socketio::NamedEvent for Question {
    const NAME: &'static str = "x";
}

impl actix_socketio::Call for Question {
    type Reply = ();
}

impl Handler<Question> for Undecided {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, question: Question, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            futures::future::pending::<()>().await;
            drop(question);
        })
    }
}

#[actix::test]
async fn an_actor_that_answers_nothing_holds_a_bounded_number_of_bytes() {
    if !is_alone("an_actor_that_answers_nothing_holds_a_bounded_number_of_bytes") {
        return;
    }
    let (_server, peer, client) = quiet().await;
    client.socket().answer::<Question>(Undecided.start());
    let question = padded(r#"427["x",""#, b'y', r#""]"#, MIB);
    send_until_stuck(&peer, &question, 100).await;
    report("questions of 1 MiB that are not answered");
    within_limit();
}

#[actix::test]
async fn a_refusal_is_cut_before_it_is_kept() {
    if !is_alone("a_refusal_is_cut_before_it_is_kept") {
        return;
    }
    let (_server, mut peer, client) = quiet().await;
    let (slow, _release, mut begun) = Slow::start();
    let shop = client.of("/shop").unwrap();
    shop.subscribe(slow.clone());
    shop.subscribe_to::<ConnectError>(slow.clone());
    let mut failed = Watch::on(&shop);
    let welcome = r#"40/shop,{"sid":"scripted-shop"}"#;
    peer.expect_text("40/shop,").await;
    peer.send_text(welcome).await;
    failed.ready().await;
    peer.send_text(r#"42/shop,["x"]"#).await;
    tokio::time::timeout(PATIENCE, begun.recv()).await.unwrap().unwrap();
    failed.event().await;
    peer.send_text("41/shop,").await;
    failed.disconnected().await;
    for start in [r#"44/shop,{"message":""#, r#"44/shop,{"data":""#, r#"44/shop,[""#] {
        let end = if start.ends_with("[\"") { "\"]" } else { "\"}" };
        for _ in 0..15 {
            shop.connect();
            peer.expect_text("40/shop,").await;
            for part in padded(start, b'y', end, 8 * MIB) {
                peer.send_raw(part).await;
            }
            failed.connect_error().await;
        }
    }
    report("refusals of 8 MiB");
    within_limit();
}

#[actix::test]
async fn an_attachment_that_is_named_often_is_not_copied_each_time() {
    if !is_alone("an_attachment_that_is_named_often_is_not_copied_each_time") {
        return;
    }
    let (_server, peer, client) = quiet().await;
    let mut watch = Watch::on(client.socket());
    watch.ready().await;
    let places = [r#"{"_placeholder":true,"num":0}"#; 1_000].join(",");
    peer.send_text(format!(r#"451-["x",[{places}]]"#)).await;
    peer.send_binary(vec![7; MIB]).await;
    let event = watch.event().await;
    event.args::<Vec<Bytes>>().unwrap_err();
    let shared: Vec<actix_socketio::Value> = event.args().unwrap();
    assert_eq!(shared.len(), 1_000);
    report("an attachment of 1 MiB that is named 1000 times");
    within_limit();
}
