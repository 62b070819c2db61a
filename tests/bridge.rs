//! Two servers and a bridge between them: what is passed on, what is not, and in which order, even
//! while both connections fail.

// A test fails by panicking; and a namespace of the servers is called "/foo".
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
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use actix::Arbiter;
use actix_socketio::{
    Bridge, BridgeCounts, BridgeError, Client, Offline, Overflow, Reconnect, Route, Transport,
    middleware::{Flow, outgoing},
};
use bytes::Bytes;
use serde_json::{Value, json};
use support::{
    PATIENCE, eventually,
    every::{self, Target, between_servers, within},
    faults::{Dice, delay},
    node::{self, Config, Line},
    proxy::Proxy,
    recorder::Recorder,
    scripted::{Peer, Scripted},
    storm::quick,
};

/// A client for each of two servers, with its recorder, and a bridge between them.
struct Crossing {
    clients: [Client; 2],
    recorders: [Recorder; 2],
    bridge: Bridge,
}

impl Crossing {
    async fn between(first: &Target, second: &Target) -> Self {
        let (one, first) = Recorder::joined(first).await;
        let (other, second) = Recorder::joined(second).await;
        let bridge = Bridge::between(one.socket(), other.socket()).start().unwrap();
        Self { clients: [one, other], recorders: [first, second], bridge }
    }

    /// Waits until these are the counts of each direction.
    async fn until(&self, what: &str, check: impl Fn(BridgeCounts, BridgeCounts) -> bool) {
        eventually(what, || {
            let stats = self.bridge.stats();
            check(stats.forward, stats.back)
        })
        .await;
    }
}

/// Servers that do what the test tells them, a client of each that is joined, and their ends of it.
async fn scripted() -> ([Scripted; 2], [Client; 2], [Peer; 2]) {
    let servers = [Scripted::start(), Scripted::start()];
    let clients = servers.each_ref().map(|server| support::builder(server.url()).start().unwrap());
    let mut peers = [servers[0].accept().await, servers[1].accept().await];
    for peer in &mut peers {
        peer.greet().await;
    }
    (servers, clients, peers)
}

between_servers!(events_come_over_and_answers_go_back, what_comes_back_is_not_passed_on_again,);

async fn events_come_over_and_answers_go_back(first: &Target, second: &Target) {
    let mut crossing = Crossing::between(first, second).await;
    let data = Bytes::from_static(b"\x00\xFF\x1E");
    let [here, there] = &crossing.clients;
    // The server emits it to the bridge, which emits it to the other server, which echoes it.
    here.socket().emit("say", ("echo", 1, &data, json!({ "a": [null, "é"] }))).unwrap();
    let [_, recorder] = &mut crossing.recorders;
    let came = recorder.next_event("echo").await.args::<(u64, Bytes, Value)>().unwrap();
    assert_eq!(came, (1, data.clone(), json!({ "a": [null, "é"] })));
    // And in the other direction.
    there.socket().emit("say", ("echo", 2, &data)).unwrap();
    let [recorder, _] = &mut crossing.recorders;
    assert_eq!(recorder.next_event("echo").await.args::<(u64,)>().unwrap().0, 1);
    assert_eq!(
        recorder.next_event("echo").await.args::<(u64, Bytes)>().unwrap(),
        (2, data.clone())
    );
    // A question is passed on, and its answer back to the server that asked, which reports it.
    here.socket().emit("ask", ("echo", 3, &data)).unwrap();
    let asked = recorder.next_event("echo").await;
    assert!(asked.wants_ack());
    let told = recorder.next_event("answered").await.args::<(u64, Bytes)>().unwrap();
    assert_eq!(told, (3, data));
    crossing.until("one answer", |forward, _| forward.asked == 1 && forward.answered == 1).await;
}

async fn what_comes_back_is_not_passed_on_again(first: &Target, second: &Target) {
    let crossing = Crossing::between(first, second).await;
    let [here, there] = &crossing.clients;
    let values = json!([1e2, -0.5, "\u{2028}\"é", { "b": 1, "a": { "c": [] } }, null, true]);
    here.socket().emit("say", ("echo", &values, &Bytes::from_static(b"abc"))).unwrap();
    crossing.until("an echo", |_, back| back.echoes == 1).await;
    there.socket().emit("say", ("echo", "x")).unwrap();
    crossing.until("another", |forward, _| forward.echoes == 1).await;
    // The same once more is another event, and has an echo of its own.
    here.socket().emit("say", ("echo", "x")).unwrap();
    crossing.until("a third", |forward, _| forward.echoes == 2).await;
}

#[actix::test]
async fn what_a_server_with_recovery_adds_makes_no_difference_to_echoes() {
    let options = json!({ "connectionStateRecovery": {} });
    let config = Config { options, ..Config::default() };
    let recovering = Target::Own(node::start(Line::V4, &config));
    let crossing = Crossing::between(&every::official(Line::V2_5_1), &recovering).await;
    let [here, there] = &crossing.clients;
    here.socket().emit("say", ("echo", 7)).unwrap();
    crossing.until("an echo", |_, back| back.echoes == 1).await;
    there.socket().emit("say", ("echo", 8)).unwrap();
    crossing.until("another", |forward, _| forward.echoes == 1).await;
    let stats = crossing.bridge.stats();
    assert_eq!((stats.forward.passed, stats.back.passed), (1, 1));
}

#[actix::test]
async fn what_waited_for_long_is_known_when_it_comes_back() {
    let servers = [Scripted::start(), Scripted::start()];
    let clients = servers.each_ref().map(|server| support::builder(server.url()).start().unwrap());
    let (mut left, mut right) = (servers[0].accept().await, servers[1].accept().await);
    left.greet().await;
    let memory = Duration::from_secs(1);
    let bridge = Bridge::between(clients[0].socket(), clients[1].socket());
    let bridge = bridge.echo_memory(10, memory).start().unwrap();
    left.send_text(r#"42["x",1]"#).await;
    eventually("it waits", || bridge.stats().forward.passed == 1).await;
    actix::clock::sleep(memory * 2).await;
    right.greet().await;
    right.expect_text(r#"42["x",1]"#).await;
    right.send_text(r#"42["x",1]"#).await;
    eventually("an echo", || bridge.stats().back.heard == 1).await;
    assert_eq!(bridge.stats().back.echoes, 1);
}

#[actix::test]
async fn only_what_was_sent_last_and_may_come_back_is_an_echo() {
    let (_servers, clients, [mut left, mut right]) = scripted().await;
    let back = Route::names(["x"]).filter(|event| event.args::<u8>().ok() != Some(3));
    let bridge = Bridge::between(clients[0].socket(), clients[1].socket()).back(back);
    let bridge = bridge.echo_memory(1, PATIENCE * 10).start().unwrap();
    // One is remembered. What the other route does not take is not.
    for event in [r#"42["x",1]"#, r#"42["other"]"#] {
        left.send_text(event).await;
        right.expect_text(event).await;
    }
    right.send_text(r#"42["x",1]"#).await;
    eventually("it comes back", || bridge.stats().back.heard == 1).await;
    assert_eq!(bridge.stats().back.echoes, 1);
    left.send_text(r#"42["x",2]"#).await;
    right.expect_text(r#"42["x",2]"#).await;
    // Forgotten by now; and this server adds nothing of its own.
    for event in [r#"42["x",1]"#, r#"42["x",2,"y"]"#] {
        right.send_text(event).await;
        left.expect_text(event).await;
    }
    // The route comes first.
    left.send_text(r#"42["x",3]"#).await;
    right.expect_text(r#"42["x",3]"#).await;
    right.send_text(r#"42["x",3]"#).await;
    eventually("another comes back", || bridge.stats().back.heard == 4).await;
    assert_eq!((bridge.stats().back.filtered, bridge.stats().back.echoes), (1, 1));
}

#[actix::test]
async fn a_bridge_that_is_stopped_passes_nothing_on_and_one_without_memory_everything() {
    let (_servers, clients, [mut left, mut right]) = scripted().await;
    let between = || Bridge::between(clients[0].socket(), clients[1].socket());
    between().start().unwrap().stop();
    let _bridge = between().echo_memory(0, PATIENCE).start().unwrap();
    for event in [r#"42["x",1]"#, r#"42["x",2]"#, r#"42["x",3]"#] {
        left.send_text(event).await;
        right.expect_text(event).await;
        right.send_text(event).await;
        left.expect_text(event).await;
    }
}

#[actix::test]
async fn a_route_keeps_back_and_renames() {
    let server = every::official(Line::V4);
    let forward = Route::prefix("ec")
        .except(["eclipse"])
        .except(["economy"])
        .filter(|event| event.args::<u32>().is_ok_and(|number| number % 2 == 0))
        .filter(|event| event.args::<u32>().is_ok_and(|number| number != 4))
        .filter(|event| event.args::<u32>().is_ok_and(|number| number != 10 || panic!("a test")))
        .rename("echo", "count");
    let (one, other) = (server.connected().await, server.client());
    let foo = other.of("/foo").unwrap();
    let mut recorder = Recorder::of(one.socket());
    recorder.next_ready().await;
    let bridge = Bridge::between(one.socket(), &foo).forward(forward).back(Route::none());
    let bridge = bridge.start().unwrap();
    for (name, number) in [
        ("echo", 111_111),
        ("echo", 222_222),
        ("echo", 4),
        ("eclipse", 6),
        ("economy", 6),
        ("recorder", 8),
        ("echo", 10),
    ] {
        one.socket().emit("say", (name, number)).unwrap();
    }
    one.socket().emit("say", ("echo", 1_000_000)).unwrap();
    eventually("two go on", || bridge.stats().forward.written == 2).await;
    foo.emit_with_ack::<Value>("id", ()).await.unwrap();
    let counted = |name: &str| server.counted(name);
    assert_eq!((counted("222222"), counted("1000000"), counted("111111")), (1, 1, 0));
    foo.emit("say", ("echo", 2)).unwrap();
    eventually("nothing comes back", || bridge.stats().back.filtered == 1).await;
    let forward = bridge.stats().forward;
    assert_eq!((forward.heard, forward.filtered, forward.passed), (8, 6, 2));
    assert_eq!(bridge.stats().back.passed, 0);
}

#[actix::test]
async fn what_is_passed_on_is_not_decoded() {
    let (_servers, clients, [mut left, mut right]) = scripted().await;
    let bridge = Bridge::between(clients[0].socket(), clients[1].socket()).start().unwrap();
    // No type takes these numbers.
    let odd = format!("[\"e\",1{}, 1e999 ,{{\"a\":0.{}}}]", "0".repeat(400), "9".repeat(400));
    left.send_text(format!("42{odd}")).await;
    right.expect_text(&format!("42{odd}")).await;
    left.send_text(format!("4217{odd}")).await;
    right.expect_text(&format!("420{odd}")).await;
    right.send_text("430[ 1e9999 ]").await;
    left.expect_text("4317[ 1e9999 ]").await;
    // An attachment goes on as it is, and with a new name only the name is another.
    left.send_text(r#"451-["e",{"_placeholder":true,"num":0}, 1e9999 ]"#).await;
    left.send_binary(&b"\x00\xFF"[..]).await;
    right.expect_text(r#"451-["e",{"_placeholder":true,"num":0}, 1e9999 ]"#).await;
    right.expect_binary(b"\x00\xFF").await;
    bridge.stop();
    let route = Route::names(["e"]).rename("e", "\"f");
    let renaming = Bridge::between(clients[0].socket(), clients[1].socket()).forward(route);
    let renaming = renaming.start().unwrap();
    left.send_text(format!("42{odd}")).await;
    right.expect_text(&format!("42{}", odd.replacen("\"e\"", r#""\"f""#, 1))).await;
    drop(renaming);
    left.send_text(format!("42{odd}")).await;
    right.expect_text(&format!("42{}", odd.replacen("\"e\"", r#""\"f""#, 1))).await;
}

#[actix::test]
async fn a_side_that_is_away_holds_the_other_back_and_misses_nothing() {
    const COUNT: u64 = 5_000;
    let from = every::official(Line::V4).patient();
    let to = node::start(Line::V2_5_1, &Config::default());
    let proxy = Proxy::start(to.port());
    proxy.refuse(true);
    // Where only ten may wait, the others do so at the server.
    let builder = from.builder().receive_window(100, 1 << 20);
    let one = within(builder.connect()).await.unwrap();
    let other = support::client(proxy.url()).reconnect(quick()).send_buffer(10, 1 << 20);
    let other = other.start().unwrap();
    let route = Route::names(["n"]).rename("n", "count");
    let bridge = Bridge::between(one.socket(), other.socket()).forward(route).start().unwrap();
    one.socket().emit("burst", COUNT).unwrap();
    eventually("one waits for room", || bridge.stats().forward.heard == 11).await;
    let held = bridge.stats().forward;
    assert_eq!((held.passed, held.written, one.stats().missed), (10, 0, 0));
    eventually("the connection pauses", || one.stats().waiting_in >= 100).await;
    proxy.refuse(false);
    eventually("all is written", || bridge.stats().forward.written == COUNT).await;
    within(other.socket().emit_with_ack::<Value>("id", ())).await.unwrap();
    let forward = bridge.stats().forward;
    assert_eq!((forward.passed, forward.refused, forward.missed), (COUNT, 0, 0));
    for number in [0, 1, COUNT / 2, COUNT - 1] {
        assert_eq!(to.counted(&number.to_string()), 1, "{number}");
    }
}

#[actix::test]
async fn who_waits_for_room_finds_out_that_there_is_none_any_more() {
    let from = every::official(Line::V4).patient();
    let one = from.connected().await;
    let nobody = support::scripted::stall();
    let far = || {
        let builder = support::client(nobody.url()).reconnect(Reconnect::never());
        builder.send_buffer(1, 1 << 20).start().unwrap()
    };
    // It is left, stopped, or gone altogether.
    for end in [0, 1, 2] {
        let other = far();
        let route = Route::names(["n"]);
        let bridge = Bridge::between(one.socket(), other.socket()).forward(route).start().unwrap();
        one.socket().emit("burst", 2).unwrap();
        eventually("one waits", || bridge.stats().forward.heard == 2).await;
        let counts = match end {
            0 => {
                other.socket().disconnect();
                eventually("it is refused", || bridge.stats().forward.refused == 1).await;
                // So is what comes next.
                one.socket().emit("say", ("n", 3)).unwrap();
                eventually("another", || bridge.stats().forward.heard == 3).await;
                bridge.stats().forward
            }
            1 => {
                bridge.stop();
                eventually("it is refused", || bridge.stats().forward.refused == 1).await;
                bridge.stats().forward
            }
            _ => {
                within(other.shutdown(Duration::from_millis(1))).await;
                eventually("it is refused", || bridge.stats().forward.refused == 1).await;
                eventually("the other is given up", || bridge.stats().forward.discarded == 1).await;
                // The next events are not even received.
                one.socket().emit("say", ("n", 3)).unwrap();
                within(one.socket().emit_with_ack::<Value>("id", ())).await.unwrap();
                assert_eq!(bridge.stats().forward.heard, 2);
                bridge.stats().forward
            }
        };
        let others = counts.filtered + counts.refused;
        assert_eq!(counts.heard, counts.passed + others, "{end}: {counts:?}");
        assert_eq!(counts.passed, 1);
    }
}

#[actix::test]
async fn what_is_too_fast_for_the_other_side_is_dropped_if_that_is_wanted() {
    let server = Scripted::start();
    let one = support::builder(server.url()).start().unwrap();
    let mut peer = server.accept().await;
    peer.greet().await;
    let nobody = support::scripted::stall();
    for is_forward in [true, false] {
        let other = support::builder(nobody.url()).send_buffer(1, 1 << 20).start().unwrap();
        let [first, second] = if is_forward { [&one, &other] } else { [&other, &one] };
        let bridge = Bridge::between(first.socket(), second.socket());
        let bridge = bridge.overflow(Overflow::DropNewest { waiting: 2 }).start().unwrap();
        let counts = || {
            let stats = bridge.stats();
            if is_forward { stats.forward } else { stats.back }
        };
        for number in 0..10 {
            peer.send_text(format!(r#"42["x",{number}]"#)).await;
        }
        // One is taken, one waits for room, and two for that one.
        eventually("the others are missed", || counts().missed == 6).await;
        assert_eq!((counts().heard, counts().passed), (2, 1));
        bridge.stop();
    }
}

#[actix::test]
async fn a_question_that_waits_for_room_passes_the_middleware_once_and_is_left_in_peace() {
    let server = Scripted::start();
    let one = support::builder(server.url()).start().unwrap();
    let mut peer = server.accept().await;
    peer.greet().await;
    let nobody = support::scripted::stall();
    let passed = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&passed);
    let counting = outgoing(move |_, emit| {
        counter.fetch_add(1, SeqCst);
        Flow::Next(emit)
    });
    let other = support::builder(nobody.url()).send_buffer(1, 1 << 20).middleware(counting);
    let other = other.start().unwrap();
    let bridge = Bridge::between(one.socket(), other.socket()).start().unwrap();
    peer.send_text(r#"42["x"]"#).await;
    peer.send_text(r#"427["x"]"#).await;
    eventually("one waits", || bridge.stats().forward.heard == 2).await;
    // All of it runs in this thread.
    let metrics = tokio::runtime::Handle::current().metrics();
    let busy = metrics.worker_total_busy_duration(0);
    actix::clock::sleep(Duration::from_millis(400)).await;
    let busy = metrics.worker_total_busy_duration(0).saturating_sub(busy);
    assert!(busy < Duration::from_millis(200), "{busy:?}");
    // Other work does not make it try again either.
    for number in 0..10 {
        peer.send_text(format!(r#"42["y",{number}]"#)).await;
        one.socket().emit("z", number).unwrap();
        peer.expect_text(&format!(r#"42["z",{number}]"#)).await;
    }
    assert_eq!(passed.load(SeqCst), 2);
}

#[actix::test]
async fn more_questions_than_may_wait_for_an_answer_wait_for_their_turn() {
    const COUNT: u64 = 100;
    let from = node::start(Line::V2_5_1, &Config::default());
    let to = node::start(Line::V4, &Config::default());
    let one = support::client(from.url()).connect().await.unwrap();
    let other = support::client(to.url()).pending_acks(4).start().unwrap();
    let bridge = Bridge::between(one.socket(), other.socket()).start().unwrap();
    from.pump("more", COUNT * 10);
    eventually("all are answered", || bridge.stats().forward.answered == COUNT).await;
    // The last events ask for no answer, and may still be on their way.
    eventually("all have come", || to.recorded("more").len() >= 1_000).await;
    assert!(to.recorded("more").into_iter().eq(0..COUNT * 10));
    eventually("all answers are back", || from.pumped("more").1.len() == 100).await;
    let right = from.pumped("more").1.into_iter().all(|(number, answer)| number == answer);
    assert!(right, "the answer to another question");
}

#[actix::test]
async fn a_question_without_an_answer_is_counted_and_nothing_else() {
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(3_600);
    let server = every::official(Line::V4).fresh();
    // The time that the bridge gives, or else the client that asks.
    for (times, given) in [([LONG, LONG], Some(SHORT)), ([LONG, SHORT], None)] {
        let [one, other] = times.map(|time| server.builder().ack_timeout(time).start().unwrap());
        let bridge = Bridge::between(one.socket(), other.socket());
        let bridge = match given {
            Some(time) => bridge.ack_timeout(time).start().unwrap(),
            None => bridge.start().unwrap(),
        };
        one.socket().emit("ask", ("silent", 1)).unwrap();
        eventually("it is counted", || bridge.stats().forward.unanswered == 1).await;
        // A machine that is busy may take longer than that for one of them.
        eventually("another is answered", || {
            one.socket().emit("ask", ("echo", 2)).unwrap();
            bridge.stats().forward.answered > 0
        })
        .await;
    }
}

#[actix::test]
async fn what_a_middleware_does_on_the_other_side_is_counted() {
    let server = every::official(Line::V4);
    let (one, mut recorder) = Recorder::joined(&server).await;
    let knowing = outgoing(|_, emit| match emit.name() {
        "dropped" => Flow::dropped("for the test"),
        "known" => Flow::Answer(emit.payload().clone()),
        _ => Flow::Next(emit),
    });
    let other = server.builder().middleware(knowing).connect().await.unwrap();
    let route = Route::names(["dropped", "known"]);
    let bridge = Bridge::between(one.socket(), other.socket()).forward(route).start().unwrap();
    one.socket().emit("ask", ("dropped", 1)).unwrap();
    one.socket().emit("ask", ("known", 2)).unwrap();
    recorder.next_event("dropped").await;
    recorder.next_event("known").await;
    let answer = recorder.next_event("answered").await.args::<u8>().unwrap();
    assert_eq!(answer, 2, "without the name");
    let BridgeCounts { refused, passed, written, asked, answered, .. } = bridge.stats().forward;
    assert_eq!((refused, passed, written, asked, answered), (1, 1, 1, 1, 1));
}

#[actix::test]
async fn a_side_that_is_to_have_nothing_wait_refuses_while_it_is_away() {
    let server = every::official(Line::V4);
    let one = server.connected().await;
    let nobody = support::scripted::stall();
    let other = support::builder(nobody.url()).start().unwrap();
    let live = other.socket().with_offline(Offline::Fail);
    let bridge = Bridge::between(one.socket(), &live).start().unwrap();
    one.socket().emit("say", ("x", 1)).unwrap();
    eventually("it is refused", || bridge.stats().forward.refused == 1).await;
}

#[actix::test]
async fn an_event_of_a_reserved_name_does_not_go_over_and_ends_nothing() {
    // Of these servers, only the first one can emit it.
    let servers = [every::socketioxide(), every::official(Line::V4)];
    let crossing = Crossing::between(&servers[0], &servers[1]).await;
    let Crossing { clients: [here, _there], recorders: [_here, mut recorder], bridge } = crossing;
    here.socket().emit("say", ("disconnect", 1)).unwrap();
    here.socket().emit("say", ("echo", 2)).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<u32>(), Ok(2));
    let forward = bridge.stats().forward;
    assert_eq!((forward.heard, forward.refused, forward.passed), (2, 1, 1));
}

#[actix::test]
async fn what_cannot_be_a_bridge_is_said_at_once() {
    let client = every::official(Line::V4).client();
    let (root, foo) = (client.socket(), client.of("/foo").unwrap());
    let same = Bridge::between(root, &client.of("/").unwrap()).start().map(drop);
    assert_eq!(same, Err(BridgeError::SameNamespace));
    let reserved = Bridge::between(root, &foo).back(Route::all().rename("a", "disconnect"));
    let expected = BridgeError::ReservedName("disconnect".to_owned());
    assert_eq!(reserved.start().map(drop), Err(expected));
}

/// Connections that a client had and lost.
fn endings(client: &Client) -> u64 {
    let stats = client.stats();
    stats.endings.iter().filter(|(kind, _)| **kind != "connect").map(|(_, count)| count).sum()
}

/// Checks one direction when nothing happens any more, after this many connections of both sides have ended.
fn check(
    stream: &str,
    from: &node::Server,
    to: &node::Server,
    counts: BridgeCounts,
    in_doubt: u64,
    endings: u64,
) {
    let (emitted, answers) = from.pumped(stream);
    let recorded = to.recorded(stream);
    assert!(recorded.is_sorted_by(|before, after| before < after), "{stream}: {recorded:?}");
    let arrived = u64::try_from(recorded.len()).unwrap();
    let BridgeCounts { heard, filtered, echoes, refused, passed, .. } = counts;
    assert_eq!((filtered, echoes), (0, 0), "{stream}");
    assert_eq!(heard, passed + refused, "{stream}: {counts:?}");
    assert_eq!(passed, counts.written + counts.discarded, "{stream}: {counts:?}");
    assert_eq!(counts.asked, counts.answered + counts.unanswered, "{stream}: {counts:?}");
    let lost = passed - arrived;
    let accounted = counts.discarded + counts.unanswered + in_doubt;
    assert!(lost <= accounted, "{stream}: {lost} of {counts:?} are lost, {in_doubt} in doubt");
    // What the server had emitted when its connection was lost, and what was in the buffers of the
    // kernel, nobody here has heard of: no counter can hold it. But it is all that was emitted right
    // before that end, and so is what was written to the other side in vain. Nothing is lost elsewhere.
    assert!(heard + counts.missed <= emitted, "{stream}: {emitted}, {counts:?}");
    let before = [None].into_iter().chain(recorded.iter().copied().map(Some));
    let after = recorded.iter().copied().chain([emitted]);
    let gaps = before.zip(after).filter(|(before, after)| before.map_or(0, |n| n + 1) != *after);
    let gaps = u64::try_from(gaps.count()).unwrap();
    assert_eq!((counts.missed, counts.discarded, refused), (0, 0, 0), "{stream}: {counts:?}");
    assert!(gaps <= endings, "{stream}: {gaps} gaps, {endings} connections ended");
    // And most of it arrives, since not more than 200 events, 20 of them questions, are ahead of the answers.
    assert!(arrived >= emitted / 2, "{stream}: {arrived} of {emitted}");
    let answered = u64::try_from(answers.len()).unwrap();
    assert!(answered >= emitted / 10 / 2, "{stream}: {answered}");
    assert!(answers.iter().all(|(number, answer)| number == answer), "{stream}");
    assert!(answers.iter().all(|(number, _)| recorded.binary_search(number).is_ok()), "{stream}");
    assert!(answered <= counts.answered, "{stream}: {counts:?}");
}

#[actix::test]
async fn while_both_links_fail_order_holds_nothing_comes_twice_and_all_losses_are_counted() {
    storm(100_000, 60, 10_000).await;
}

/// The same where hardly anything may wait, so that each side holds back the other all the time.
#[actix::test]
async fn so_it_is_where_only_a_few_events_may_wait() {
    storm(20_000, 20, 8).await;
}

/// Makes both servers emit this many numbers, one in ten of which asks for an answer, and breaks one
/// connection or the other this many times in the meantime.
async fn storm(events: u64, faults: u64, buffer: usize) {
    let servers = [Line::V2_5_1, Line::V4].map(|line| node::start(line, &Config::default()));
    let proxies = servers.each_ref().map(|server| Proxy::start(server.port()));
    let arbiters = [Arbiter::new(), Arbiter::new()];
    let [one, other] = [0, 1].map(|side| {
        let builder = support::client(proxies[side].url()).reconnect(quick());
        // By polling, a server may take long to notice a loss, and then emits to nobody meanwhile: gaps that are
        // not ours.
        let builder = builder.transports([Transport::WebSocket]);
        let builder = builder.send_buffer(buffer, 1 << 24);
        builder.start_in(&arbiters[side].handle()).unwrap()
    });
    let bridge = Bridge::between(one.socket(), other.socket()).start().unwrap();
    for proxy in &proxies {
        proxy.until("a connection", |counts| counts.open == 1).await;
    }
    servers[0].pump("there", events);
    servers[1].pump("back", events);
    let mut dice = Dice::new(7);
    for number in 0..faults {
        let wanted = events * number / faults / 2;
        eventually("it goes on", || {
            let stats = bridge.stats();
            stats.forward.heard.min(stats.back.heard) >= wanted.min(events * 4 / 10)
        })
        .await;
        let proxy = &proxies[usize::try_from(dice.below(2)).unwrap()];
        proxy.delay(delay(&mut dice));
        dice.fault().strike(proxy, || {}).await;
        proxy.delay(Duration::ZERO);
    }
    for (server, stream) in servers.iter().zip(["there", "back"]) {
        eventually("all is emitted", || server.pumped(stream).0 == events).await;
    }
    let settled = async || {
        eventually("all is settled", || {
            let stats = bridge.stats();
            [stats.forward, stats.back].iter().all(|counts| {
                counts.heard == counts.passed + counts.refused
                    && counts.passed == counts.written + counts.discarded
                    && counts.asked == counts.answered + counts.unanswered
            })
        })
        .await;
    };
    // Once, and again when what the servers have emitted is heard and what was written has been read: the answers come
    // behind that.
    for _ in 0..2 {
        settled().await;
        for client in [&one, &other] {
            // Something may have come since, for which there is hardly any room.
            while within(client.socket().emit_with_ack::<Value>("id", ())).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
    settled().await;
    let (stats, [first, second]) = (bridge.stats(), &servers);
    let endings = endings(&one) + endings(&other);
    check("there", first, second, stats.forward, other.stats().in_doubt, endings);
    check("back", second, first, stats.back, one.stats().in_doubt, endings);
    for client in [one, other] {
        within(client.shutdown(PATIENCE)).await;
    }
    for arbiter in &arbiters {
        arbiter.stop();
    }
}
