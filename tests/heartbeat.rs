//! Whether the connection lives: heartbeats, timeouts, and the ways in which it can end.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use std::time::Duration;

use actix::{Actor, Arbiter, AsyncContext, Context, Handler, WrapFuture};
use actix_socketio::{
    AckError, Client, ClientBuilder, ConnectError, ConnectFailure, Disconnected, Event, Initiator,
    Ready, Reason, SocketState,
};
use bytes::Bytes;
use serde_json::json;
use support::{
    PATIENCE, logged,
    node::{self, Config, Line, Server},
    scripted::{self, Peer, Received, Scripted},
    watch::Watch,
};

/// Of the official servers in these tests. They end a connection whose heartbeat fails after the
/// sum of both.
const INTERVAL_MILLIS: u64 = 100;
const TIMEOUT_MILLIS: u64 = 1_400;
/// So long that a connection without a heartbeat does not live to see it.
const LONG_MILLIS: u64 = 3_000;

fn server(line: Line) -> Server {
    let options = json!({ "pingInterval": INTERVAL_MILLIS, "pingTimeout": TIMEOUT_MILLIS });
    node::start(line, &Config { options, ..Config::default() })
}

fn start(builder: ClientBuilder) -> (Client, Watch) {
    let client = builder.start().unwrap();
    let watch = Watch::on(client.socket());
    (client, watch)
}

/// A client that is joined to a scripted server with this heartbeat.
async fn joined(interval: Duration, timeout: Duration) -> (Scripted, Peer, Client, Watch) {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.open_with(interval, timeout).await;
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    watch.ready().await;
    (server, peer, client, watch)
}

/// The same with a heartbeat that no test lives to see.
async fn quiet() -> (Scripted, Peer, Client, Watch) {
    joined(Duration::from_secs(25), Duration::from_secs(20)).await
}

/// An answer that takes many heartbeats to come, with nothing else said meanwhile.
async fn outlives(client: &Client, server: &Server) {
    let answer = client.socket().emit_with_ack("later", (LONG_MILLIS, "alive")).timeout(PATIENCE);
    let answer: String = answer.await.unwrap();
    assert_eq!(answer, "alive");
    assert_eq!(server.connections("/"), 1);
    assert_eq!(server.disconnections("/"), 0);
}

/// A subscriber that is of no use after its first event.
struct Blocked {
    how: Block,
}

#[derive(Clone, Copy)]
enum Block {
    /// Waits in its handler for what never comes.
    Waits,
    /// Holds its whole thread.
    Sleeps,
}

impl Actor for Blocked {
    type Context = Context<Self>;
}

impl Handler<Ready> for Blocked {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {}
}

impl Handler<Event> for Blocked {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        // Shows that it has begun.
        event.ack("blocked").ok();
        match self.how {
            Block::Waits => ctx.wait(std::future::pending::<()>().into_actor(self)),
            Block::Sleeps => std::thread::sleep(Duration::from_millis(LONG_MILLIS)),
        }
    }
}

impl Handler<Disconnected> for Blocked {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Self::Context) {}
}

async fn lives_while_idle(line: Line) {
    let server = server(line);
    let (client, mut watch) = start(support::builder(server.url()));
    watch.ready().await;
    outlives(&client, &server).await;
    assert!(watch.try_next().is_none());
}

async fn lives_while_a_subscriber_is_blocked(line: Line, how: Block) {
    let server = server(line);
    let (client, mut watch) = start(support::builder(server.url()));
    watch.ready().await;
    let elsewhere = Arbiter::new();
    let blocked = Blocked::start_in_arbiter(&elsewhere.handle(), move |_| Blocked { how });
    client.socket().subscribe(blocked);
    client.socket().emit("ask", ("work", 1)).unwrap();
    // "work" itself, then what the server makes of the answer.
    assert_eq!(watch.event().await.name(), "work");
    assert_eq!(watch.event().await.args(), Ok("blocked".to_owned()));
    client.socket().emit("burst", 200).unwrap();
    outlives(&client, &server).await;
    elsewhere.stop();
}

macro_rules! heartbeats {
    ($($module:ident: $line:ident;)*) => {
        $(
            mod $module {
                use super::*;

                #[actix::test]
                async fn keeps_a_connection_while_it_is_idle() {
                    lives_while_idle(Line::$line).await;
                }

                #[actix::test]
                async fn keeps_a_connection_while_a_subscriber_waits_for_ever() {
                    lives_while_a_subscriber_is_blocked(Line::$line, Block::Waits).await;
                }

                #[actix::test]
                async fn keeps_a_connection_while_a_subscriber_holds_its_thread() {
                    lives_while_a_subscriber_is_blocked(Line::$line, Block::Sleeps).await;
                }
            }
        )*
    };
}

heartbeats! {
    server_2_5_1: V2_5_1;
    server_3_1_2: V3_1_2;
    server_4_4_1: V4_4_1;
    server_4_8_4: V4;
}

#[actix::test]
async fn a_server_that_stops_pinging_is_given_up_and_who_waits_is_told() {
    let (interval, timeout) =
        (Duration::from_millis(INTERVAL_MILLIS), Duration::from_millis(TIMEOUT_MILLIS));
    let (_server, mut peer, client, mut watch) = joined(interval, timeout).await;
    let socket = client.socket();
    let ack = socket.emit_with_ack::<()>("question", ()).timeout(PATIENCE).send();
    peer.expect_text(r#"420["question"]"#).await;
    for _ in 0..3 {
        peer.send_text("2").await;
        peer.expect_text("3").await;
    }
    let reason = watch.disconnected().await;
    assert_eq!(reason, Reason::PingTimeout);
    assert_eq!(reason.initiator(), Initiator::Library);
    assert_eq!(ack.await, Err(AckError::Disconnected(Reason::PingTimeout)));
    assert_eq!(socket.state(), SocketState::Ended(Reason::PingTimeout));
    assert_eq!(peer.next().await, Received::Close(Some(1000)));
    assert_eq!(peer.next().await, Received::Gone);
}

#[actix::test]
async fn only_pings_count_as_the_heartbeat_of_a_new_server() {
    let (interval, timeout) =
        (Duration::from_millis(INTERVAL_MILLIS), Duration::from_millis(TIMEOUT_MILLIS));
    let (_server, mut peer, _client, mut watch) = joined(interval, timeout).await;
    let chatter = actix::spawn(async move {
        let pong = Received::Pong(Bytes::from_static(b"there?"));
        while peer.send_text("6").await
            && peer.ping("there?").await
            && peer.next_within(PATIENCE).await.as_ref() == Some(&pong)
        {}
    });
    assert_eq!(watch.disconnected().await, Reason::PingTimeout);
    tokio::time::timeout(PATIENCE, chatter).await.unwrap().unwrap();
}

#[actix::test]
async fn every_ping_is_answered_whatever_it_carries() {
    let (_server, mut peer, _client, _watch) = quiet().await;
    for ping in ["2", "2probe", "2 with a payload that means nothing"] {
        peer.send_text(ping).await;
        peer.expect_text("3").await;
    }
}

#[actix::test]
async fn a_websocket_ping_is_answered_with_its_payload() {
    let (_server, mut peer, _client, _watch) = quiet().await;
    for payload in ["", "x", "a payload of the longest kind that a control frame may have........"]
    {
        peer.ping(payload).await;
        peer.expect(Received::Pong(Bytes::from_static(payload.as_bytes()))).await;
    }
}

/// A client that is joined to a scripted server of revision 3 with this heartbeat.
async fn old(interval: u64, timeout: u64) -> (Scripted, Peer, Client, Watch) {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let peer = server.accept().await;
    peer.send_text(format!(
        r#"0{{"sid":"old","upgrades":[],"pingInterval":{interval},"pingTimeout":{timeout}}}"#
    ))
    .await;
    peer.send_text("40").await;
    watch.ready().await;
    (server, peer, client, watch)
}

#[actix::test]
async fn an_old_server_is_pinged_on_schedule_and_given_up_when_it_does_not_answer() {
    let (_server, mut peer, client, mut watch) = old(INTERVAL_MILLIS, TIMEOUT_MILLIS).await;
    for _ in 0..3 {
        peer.expect_text("2").await;
        peer.send_text("3").await;
    }
    let ack = client.socket().emit_with_ack::<()>("question", ()).timeout(PATIENCE).send();
    peer.expect_text(r#"420["question"]"#).await;
    peer.expect_text("2").await;
    assert_eq!(watch.disconnected().await, Reason::PingTimeout);
    assert_eq!(ack.await, Err(AckError::Disconnected(Reason::PingTimeout)));
}

#[actix::test]
async fn anything_an_old_server_says_is_as_good_as_a_pong() {
    let (_server, mut peer, _client, mut watch) = old(100, 1_000).await;
    for number in 0..5 {
        peer.expect_text("2").await;
        peer.send_text(format!(r#"42["n",{number}]"#)).await;
        assert_eq!(watch.event().await.args(), Ok(number));
    }
    peer.cut().await;
    assert_ne!(watch.disconnected().await, Reason::PingTimeout);
}

#[actix::test]
async fn a_close_packet_ends_the_connection() {
    let (_server, mut peer, client, mut watch) = quiet().await;
    let mut foo_watch = Watch::on(&client.of("/foo").unwrap());
    peer.expect_text("40/foo,").await;
    peer.send_text(r#"40/foo,{"sid":"foo"}"#).await;
    foo_watch.ready().await;
    peer.send_text("1").await;
    let reason = watch.disconnected().await;
    assert_eq!(reason, Reason::TransportClose(None));
    assert_eq!(reason.initiator(), Initiator::Remote);
    assert_eq!(foo_watch.disconnected().await, reason);
    assert_eq!(peer.next().await, Received::Close(Some(1000)));
    assert_eq!(peer.next().await, Received::Gone);
}

#[actix::test]
async fn the_code_of_a_close_frame_is_told() {
    for (code, expected) in [
        (None, Reason::TransportClose(None)),
        (Some(1000), Reason::TransportClose(Some(1000))),
        (Some(1001), Reason::ServerShutdown),
        (Some(1009), Reason::TooLargeForServer),
        (Some(1012), Reason::ServerShutdown),
        (Some(4_321), Reason::TransportClose(Some(4_321))),
    ] {
        let (_server, mut peer, _client, mut watch) = quiet().await;
        peer.close(code).await;
        assert_eq!(watch.disconnected().await, expected, "{code:?}");
        assert_eq!(peer.next().await, Received::Close(Some(1000)), "it is answered");
        assert_eq!(peer.next().await, Received::Gone);
    }
}

#[actix::test]
async fn an_official_server_that_finds_a_message_too_large_is_understood() {
    // Later ones say what they take, and nothing larger is sent to them.
    let options = json!({ "maxHttpBufferSize": 1_000 });
    let server = node::start(Line::V4_4_1, &Config { options, ..Config::default() });
    let (client, mut watch) = start(support::builder(server.url()));
    watch.ready().await;
    client.socket().emit("silent", "x".repeat(2_000)).unwrap();
    let reason = watch.disconnected().await;
    // By polling, this one closes the connection without an answer.
    let is_unsaid = support::begins_with_polling() && reason == Reason::TransportClose(None);
    assert!(is_unsaid || reason == Reason::TooLargeForServer, "{reason:?}");
}

#[actix::test]
async fn a_connection_that_is_cut_is_told_of() {
    let (_server, peer, client, mut watch) = quiet().await;
    let ack = client.socket().emit_with_ack::<()>("question", ()).timeout(PATIENCE).send();
    peer.cut().await;
    let reason = watch.disconnected().await;
    assert!(
        matches!(reason, Reason::TransportClose(None) | Reason::TransportError(_)),
        "{reason:?}"
    );
    assert_eq!(reason.initiator(), Initiator::Remote);
    assert!(ack.await.is_err());
}

#[actix::test]
async fn a_server_whose_process_is_killed_is_told_of() {
    let server = server(Line::V4);
    let (_client, mut watch) = start(support::builder(server.url()));
    watch.ready().await;
    server.kill();
    let reason = watch.disconnected().await;
    assert!(
        matches!(reason, Reason::TransportClose(None) | Reason::TransportError(_)),
        "{reason:?}"
    );
}

#[actix::test]
async fn a_server_that_never_answers_the_request_to_join_is_not_waited_for() {
    let server = Scripted::start();
    let builder = support::builder(server.url()).join_timeout(Duration::from_secs(1));
    let (client, mut watch) = start(builder);
    let foo = client.of("/foo").unwrap();
    let mut foo_watch = Watch::on(&foo);
    let mut peer = server.accept().await;
    peer.open().await;
    for _ in 0..2 {
        match peer.next().await {
            Received::Text(request) if request == "40" => {}
            Received::Text(request) if request == "40/foo," => {
                peer.send_text(r#"40/foo,{"sid":"foo"}"#).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(watch.connect_error().await, Reason::JoinTimeout);
    // The others are not concerned.
    foo_watch.ready().await;
    foo.emit("hello", ()).unwrap();
    peer.expect_text(r#"42/foo,["hello"]"#).await;
}

/// What becomes of this client.
async fn fails(builder: ClientBuilder) -> Reason {
    let (_client, mut watch) = start(builder);
    watch.connect_error().await
}

#[actix::test]
async fn a_websocket_without_a_handshake_times_out() {
    let server = Scripted::start();
    let (_client, mut watch) =
        start(support::builder(server.url()).connect_timeout(Duration::from_millis(300)));
    let mut peer = server.accept().await;
    assert_eq!(watch.connect_error().await, Reason::Connect(ConnectFailure::TimedOut));
    assert_eq!(peer.next().await, Received::Close(Some(1000)));
    assert_eq!(peer.next().await, Received::Gone);
}

#[actix::test]
async fn a_server_that_never_says_a_word_times_out() {
    let stall = scripted::stall();
    let builder = support::builder(stall.url()).connect_timeout(Duration::from_millis(300));
    assert_eq!(fails(builder).await, Reason::Connect(ConnectFailure::TimedOut));
}

#[actix::test]
async fn where_nothing_listens_the_server_is_unreachable() {
    // Nobody has spoken tcpmux for a long time.
    let reason = fails(support::builder("http://127.0.0.1:1")).await;
    assert!(matches!(&reason, Reason::Connect(ConnectFailure::Unreachable(_))), "{reason:?}");
    assert_eq!(reason.initiator(), Initiator::Remote);
}

#[actix::test]
async fn an_http_status_is_told() {
    let server = Scripted::start();
    for status in [301, 403, 404, 500, 503] {
        server.refuse_next(status, "no");
        let before = server.requests();
        let expected = Reason::Connect(support::answered(status, "no"));
        assert_eq!(fails(support::builder(server.url())).await, expected);
        assert_eq!(server.requests(), before + 1, "once is enough");
    }
}

#[actix::test]
async fn a_connect_error_says_which_namespace_it_is_about() {
    struct Lone(tokio::sync::mpsc::UnboundedSender<ConnectError>);
    impl Actor for Lone {
        type Context = Context<Self>;
    }
    impl Handler<ConnectError> for Lone {
        type Result = ();

        fn handle(&mut self, error: ConnectError, _: &mut Self::Context) {
            self.0.send(error).ok();
        }
    }
    let server = Scripted::start();
    server.refuse_next(503, "no");
    let (sender, mut errors) = tokio::sync::mpsc::unbounded_channel();
    let client = support::builder(format!("{}/shop", server.url())).start().unwrap();
    client.socket().subscribe_to::<ConnectError>(Lone(sender).start());
    let error = tokio::time::timeout(PATIENCE, errors.recv()).await.unwrap().unwrap();
    assert_eq!(error.namespace(), "/shop");
    assert_eq!(error.reason(), &Reason::Connect(support::answered(503, "no")));
}

/// An arbiter that was blocked for longer than the heartbeat takes finds a connection that the server
/// has given up. What is emitted next must not go there.
async fn keeps_what_is_emitted_after_a_block(line: Line) {
    let options = json!({ "pingInterval": 200, "pingTimeout": 200 });
    let server = node::start(line, &Config { options, ..Config::default() });
    logged::start();
    let client = support::client(server.url()).connect().await.unwrap();
    let mut watch = Watch::on(client.socket());
    watch.ready().await;
    for round in 1..=3 {
        // All that runs on this thread, the client too, is held up.
        std::thread::sleep(Duration::from_millis(1_200));
        for _ in 0..10 {
            client.socket().emit("count", "blocked").unwrap();
        }
        watch.disconnected().await;
        watch.ready().await;
        support::eventually("all arrive", || server.counted("blocked") == 10 * round).await;
    }
    assert_eq!(client.stats().events_out, 30, "each was written once");
    let told = logged::lines().iter().filter(|line| line.contains(" was blocked for ")).count();
    assert_eq!(told, 3, "that cost a connection each time");
}

#[actix::test]
async fn nothing_is_written_to_a_connection_that_2_5_1_gave_up_while_the_arbiter_was_blocked() {
    keeps_what_is_emitted_after_a_block(Line::V2_5_1).await;
}

#[actix::test]
async fn nothing_is_written_to_a_connection_that_3_1_2_gave_up_while_the_arbiter_was_blocked() {
    keeps_what_is_emitted_after_a_block(Line::V3_1_2).await;
}

#[actix::test]
async fn nothing_is_written_to_a_connection_that_4_x_gave_up_while_the_arbiter_was_blocked() {
    keeps_what_is_emitted_after_a_block(Line::V4).await;
}

/// What runs beside the client and does not yield, here a function that hears events.
#[actix::test]
async fn an_arbiter_that_is_blocked_for_longer_than_the_heartbeat_allows_is_told_of_once() {
    logged::start();
    let timeout = Duration::from_secs(1);
    let (_server, mut peer, client, _watch) = joined(100 * timeout, timeout).await;
    client
        .socket()
        .listen("work")
        .call(move |event| std::thread::sleep(event.args::<u32>().unwrap() * timeout));
    for (times, expected) in [(0, 0), (1, 1), (0, 1), (2, 2)] {
        peer.send_text(format!(r#"42["work",{times}]"#)).await;
        let answer = client.socket().emit_with_ack::<()>("q", ()).send();
        let Received::Text(question) = peer.next().await else { panic!("no question") };
        let id = question.strip_prefix("42").and_then(|text| text.strip_suffix(r#"["q"]"#));
        peer.send_text(format!("43{}[]", id.unwrap())).await;
        answer.await.unwrap();
        let is_it = |line: &&String| {
            line.contains(": the arbiter of this client was blocked for ")
                && line.contains("Arbiter)")
        };
        let told = || logged::lines().iter().filter(is_it).count();
        support::eventually("the watch has looked", || told() >= expected).await;
        assert_eq!(told(), expected, "{times}");
    }
    assert_eq!(client.socket().state().reason(), None);
}
