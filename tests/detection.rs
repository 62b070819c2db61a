//! Which protocol a server speaks: found out by itself, insisted on, and kept.

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

use actix_socketio::{
    Client, ClientBuilder, ConnectFailure, Protocol, ReadyError, Reason, SocketState,
};
use serde_json::{Value, json};
use support::{
    PATIENCE,
    node::{self, Config, Line, Middleware},
    scripted::{Peer, Received, Scripted},
    watch::{Heard, Watch},
};

/// An open packet of a server that does not say `maxPayload`: any before 4.5.
const OPEN: &str =
    r#"0{"sid":"scripted-session","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn start(builder: ClientBuilder) -> (Client, Watch) {
    let client = builder.start().unwrap();
    let watch = Watch::on(client.socket());
    (client, watch)
}

async fn echo(client: &Client) {
    let echoed: String =
        client.socket().emit_with_ack("echo", "hello").timeout(PATIENCE).await.unwrap();
    assert_eq!(echoed, "hello");
}

/// What the application of a server of this kind sees of a client that does not know it.
async fn detects(line: Line, options: Value, middleware: Middleware, expected: Protocol) {
    let server = node::start(line, &Config { options, middleware, ..Config::default() });
    let (client, mut watch) = start(support::builder(server.url()));
    if matches!(middleware, Middleware::Refuse) {
        let reason = watch.connect_error().await;
        let Reason::Refused(refusal) = &reason else { panic!("{reason:?}") };
        if !line.is_old() {
            assert_eq!(refusal.message(), "denied");
        }
        assert_eq!(refusal.decode::<Value>().unwrap(), json!({ "code": 42 }));
        let ready = client.socket().ready().timeout(PATIENCE).await;
        assert_eq!(ready, Err(ReadyError::Ended(reason)));
        assert_eq!(server.connections("/"), 0);
    } else {
        assert_eq!(watch.ready().await.protocol(), expected);
        echo(&client).await;
        assert_eq!(server.connections("/"), 1);
        assert_eq!(server.disconnections("/"), 0);
    }
    assert_eq!(client.protocol(), Some(expected));
    assert!(watch.try_next().is_none(), "one outcome is enough");
}

macro_rules! detected {
    ($($name:ident: $line:ident, $options:expr, $protocol:ident;)*) => {
        $(
            mod $name {
                use super::*;

                #[actix::test]
                async fn is_detected() {
                    detects(Line::$line, $options, Middleware::None, Protocol::$protocol).await;
                }

                #[actix::test]
                async fn is_detected_when_it_is_slow() {
                    detects(Line::$line, $options, Middleware::Slow, Protocol::$protocol).await;
                }

                #[actix::test]
                async fn is_detected_when_it_refuses() {
                    detects(Line::$line, $options, Middleware::Refuse, Protocol::$protocol).await;
                }
            }
        )*
    };
}

detected! {
    server_1_7_4: V1_7_4, json!({}), Eio3;
    server_2_5_1: V2_5_1, json!({}), Eio3;
    server_3_0_5: V3_0_5, json!({}), Eio4;
    server_3_1_2: V3_1_2, json!({}), Eio4;
    server_4_0_2: V4_0_2, json!({}), Eio4;
    server_4_4_1: V4_4_1, json!({}), Eio4;
    server_4_8_4: V4, json!({}), Eio4;
    server_4_8_4_with_allow_eio3: V4, json!({ "allowEIO3": true }), Eio4;
}

/// A client that insists on a protocol, and does not wait long for it.
async fn pinned(line: Line, protocol: Protocol) -> Result<Client, ReadyError> {
    let client = support::builder(node::server(line).url())
        .protocol(protocol)
        .connect_timeout(Duration::from_secs(2))
        .join_timeout(Duration::from_secs(2))
        .start()
        .unwrap();
    client.socket().ready().timeout(PATIENCE).await?;
    Ok(client)
}

async fn right(line: Line, protocol: Protocol) {
    let client = pinned(line, protocol).await.unwrap();
    assert_eq!(client.protocol(), Some(protocol));
    echo(&client).await;
}

async fn wrong(line: Line, protocol: Protocol) {
    let error = pinned(line, protocol).await.unwrap_err();
    let ReadyError::Ended(Reason::Connect(failure)) = &error else {
        panic!("{error:?}");
    };
    let ConnectFailure::Unsupported { asked, .. } = failure else { panic!("{failure:?}") };
    assert_eq!(*asked, protocol);
    let text = error.to_string();
    for side in [Protocol::Eio3, Protocol::Eio4] {
        assert!(text.contains(&side.to_string()), "{text:?} does not name {side}");
    }
}

macro_rules! pinned {
    ($($name:ident: $outcome:ident, $line:ident, $protocol:ident;)*) => {
        $(
            #[actix::test]
            async fn $name() {
                $outcome(Line::$line, Protocol::$protocol).await;
            }
        )*
    };
}

pinned! {
    revision_3_can_be_insisted_on_with_2_5_1: right, V2_5_1, Eio3;
    revision_4_can_be_insisted_on_with_3_1_2: right, V3_1_2, Eio4;
    revision_4_can_be_insisted_on_with_4_4_1: right, V4_4_1, Eio4;
    revision_4_can_be_insisted_on_with_4_8_4: right, V4, Eio4;
    insisting_on_revision_4_with_2_5_1_is_an_error_that_says_so: wrong, V2_5_1, Eio4;
    insisting_on_revision_3_with_3_0_5_is_an_error_that_says_so: wrong, V3_0_5, Eio3;
    insisting_on_revision_3_with_3_1_2_is_an_error_that_says_so: wrong, V3_1_2, Eio3;
    insisting_on_revision_3_with_4_4_1_is_an_error_that_says_so: wrong, V4_4_1, Eio3;
    insisting_on_revision_3_with_4_8_4_is_an_error_that_says_so: wrong, V4, Eio3;
}

#[actix::test]
async fn revision_3_can_be_insisted_on_with_a_new_server_that_allows_it() {
    let options = json!({ "allowEIO3": true });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    let client = support::builder(server.url()).protocol(Protocol::Eio3).start().unwrap();
    let ready = client.socket().ready().timeout(PATIENCE).await.unwrap();
    assert_eq!(ready.protocol(), Protocol::Eio3);
    echo(&client).await;
    assert_eq!(server.connections("/"), 1);
}

/// What the client asks a server that does not say what it is; the ping shows when that is read.
async fn expect_question(peer: &mut Peer) {
    peer.expect_text("2").await;
    let ping = peer.next().await;
    assert!(matches!(ping, Received::Ping(_)), "{ping:?}");
}

/// Speaks like a server 3.1 to 4.4 up to the point where it hangs up on the client's question.
async fn hang_up_on_the_question(server: &Scripted) {
    let mut peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("4"));
    peer.send_text(OPEN).await;
    peer.expect_text("2").await;
    peer.close(None).await;
}

/// A server that must not be probed: a client that comes now must join at once.
async fn join_at_once(server: &Scripted) -> Peer {
    let mut peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("4"));
    peer.send_text(OPEN).await;
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    peer
}

#[actix::test]
async fn a_server_that_hangs_up_on_the_question_is_dialled_again_without_a_word() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    hang_up_on_the_question(&server).await;
    let peer = join_at_once(&server).await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio4);
    peer.send_text(r#"42["last"]"#).await;
    assert_eq!(watch.event().await.name(), "last", "and no second Ready before it");
    assert_eq!(server.requests(), 2);
    assert_eq!(client.protocol(), Some(Protocol::Eio4));
}

#[actix::test]
async fn a_server_that_is_silent_on_the_question_is_joined_on_the_same_connection() {
    let server = Scripted::start();
    let (_client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    expect_question(&mut peer).await;
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio4);
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn a_server_that_pings_before_it_was_asked_is_a_new_one() {
    let server = Scripted::start();
    let (_client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text("2").await;
    peer.expect_text("3").await;
    peer.expect_text("40").await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio4);
}

#[actix::test]
async fn the_verdict_on_a_new_server_is_kept_for_the_next_connection() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    hang_up_on_the_question(&server).await;
    let peer = join_at_once(&server).await;
    watch.ready().await;
    peer.cut().await;
    watch.disconnected().await;
    assert_eq!(client.protocol(), Some(Protocol::Eio4));

    client.socket().connect();
    let _peer = join_at_once(&server).await;
    watch.ready().await;
    assert_eq!(server.requests(), 3);
}

#[actix::test]
async fn the_verdict_on_an_old_server_is_kept_for_the_next_connection() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("4"));
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    peer.cut().await;
    watch.disconnected().await;

    client.socket().connect();
    let mut peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("3"), "it is asked for what it speaks");
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    client.socket().emit("first", ()).unwrap();
    peer.expect_text(r#"42["first"]"#).await;
    assert_eq!(server.requests(), 2);
}

#[actix::test]
async fn a_server_that_answers_400_is_asked_for_revision_3() {
    let server = Scripted::start();
    server.refuse_next(400, "\"The client is using an unsupported version\"");
    let (client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("3"));
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    client.socket().emit("first", ()).unwrap();
    peer.expect_text(r#"42["first"]"#).await;
    assert_eq!(server.requests(), 2);
}

#[actix::test]
async fn what_is_said_to_revision_3_is_reported_if_it_says_more() {
    for (second, reported) in [(400, 400), (401, 401), (403, 403)] {
        let server = Scripted::start();
        server.refuse_next(400, "\"no\"");
        server.refuse_next(second, "\"neither\"");
        let (client, mut watch) = start(support::builder(server.url()));
        let reason = watch.connect_error().await;
        let says = if reported == 400 { "no" } else { "neither" };
        assert_eq!(reason, Reason::Connect(support::answered(reported, says)));
        assert_eq!(server.requests(), 2);
        assert_eq!(client.protocol(), None);

        // Nothing was learned, so all starts again.
        client.socket().connect();
        let mut peer = server.accept().await;
        assert_eq!(peer.parameter("EIO"), Some("4"));
        peer.greet().await;
        watch.ready().await;
    }
}

#[actix::test]
async fn a_server_that_closes_before_its_handshake_is_asked_for_revision_3() {
    // As servers in Python 2.x do on gevent-websocket: an empty close frame behind the 101.
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("4"));
    peer.close(None).await;
    let mut peer = server.accept().await;
    assert_eq!(peer.parameter("EIO"), Some("3"));
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    client.socket().emit("first", ()).unwrap();
    peer.expect_text(r#"42["first"]"#).await;
    assert_eq!(server.requests(), 2);
}

#[actix::test]
async fn a_server_that_closes_before_its_handshake_whatever_it_is_asked_for_is_told_with_both() {
    let server = Scripted::start();
    let (_client, mut watch) = start(support::builder(server.url()));
    for revision in ["4", "3"] {
        let peer = server.accept().await;
        assert_eq!(peer.parameter("EIO"), Some(revision));
        peer.close(None).await;
    }
    let text = watch.connect_error().await.to_string();
    for side in [Protocol::Eio3, Protocol::Eio4] {
        assert!(text.contains(&side.to_string()), "{text:?} does not name {side}");
    }
}

#[actix::test]
async fn a_new_server_that_answers_the_question_is_found_out_before_the_join_times_out() {
    let server = Scripted::start();
    let (client, mut watch) =
        start(support::builder(server.url()).join_timeout(Duration::from_secs(2)));
    client.socket().emit("first", ()).unwrap();
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.expect_text("2").await;
    peer.send_text("3").await;
    // It waits to be asked.
    let mut peer = join_at_once(&server).await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio4);
    peer.expect_text(r#"42["first"]"#).await;
    assert!(watch.try_next().is_none(), "nobody is told of the detour");
    assert_eq!(client.protocol(), Some(Protocol::Eio4));
    assert_eq!(server.requests(), 2);
}

#[actix::test]
async fn a_new_server_that_joins_the_client_unasked_is_a_new_one() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    let ready = watch.ready().await;
    assert_eq!((ready.protocol(), ready.sid()), (Protocol::Eio4, "scripted-socket"));
    peer.expect_text("40").await;
    client.socket().emit("first", ()).unwrap();
    peer.expect_text(r#"42["first"]"#).await;
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn an_old_server_may_emit_before_it_joins_the_client() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text(r#"421["early",1]"#).await;
    let early = watch.event().await;
    assert_eq!((early.name(), early.args().unwrap()), ("early", 1));
    // Both wait until the client is in.
    early.ack("thanks").unwrap();
    client.socket().emit("hello", ()).unwrap();
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    peer.expect_text(r#"431["thanks"]"#).await;
    peer.expect_text(r#"42["hello"]"#).await;
    peer.send_text(r#"42["late",2]"#).await;
    assert_eq!(watch.event().await.name(), "late");
}

#[actix::test]
async fn an_old_server_that_takes_its_time_is_recognised_by_its_answer() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let foo = client.of("/foo").unwrap();
    let mut foo_watch = Watch::on(&foo);
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    expect_question(&mut peer).await;
    peer.send_text("3").await;
    peer.send_text("40").await;
    assert_eq!(watch.ready().await.protocol(), Protocol::Eio3);
    peer.expect_text("40/foo,").await;
    peer.send_text("40/foo,").await;
    assert_eq!(foo_watch.ready().await.protocol(), Protocol::Eio3);
}

#[actix::test]
async fn an_old_server_that_refuses_the_root_refuses_whoever_waits_for_it() {
    let middleware = Middleware::Refuse;
    let server = node::start(Line::V2_5_1, &Config { middleware, ..Config::default() });
    let (client, mut watch) = start(support::builder(server.url()));
    let foo = client.of("/foo").unwrap();
    let mut foo_watch = Watch::on(&foo);
    let waiting = foo.emit_with_ack::<()>("silent", ()).send();

    let reason = watch.connect_error().await;
    assert!(matches!(reason, Reason::Refused(_)), "{reason:?}");
    assert_eq!(foo_watch.connect_error().await, reason);
    assert_eq!(foo.state(), SocketState::Ended(reason));
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(answer.is_err());
    assert_eq!(server.connections("/"), 0);
    assert_eq!(server.connections("/foo"), 0);
}

#[actix::test]
async fn an_old_server_that_puts_a_client_out_before_it_is_in_leaves_nobody_waiting() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let mut foo_watch = Watch::on(&client.of("/foo").unwrap());
    let peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text(r#"42["bye"]"#).await;
    assert_eq!(watch.event().await.name(), "bye");
    peer.send_text("41").await;
    assert_eq!(watch.connect_error().await, Reason::ServerDisconnect);
    assert_eq!(foo_watch.connect_error().await, Reason::ServerDisconnect);
}

/// Servers 1.x and 2.x let nobody into a namespace whose client is not in `/`, and do not say so.
#[actix::test]
async fn who_waits_while_an_old_server_puts_the_client_out_of_the_root_gets_another_connection() {
    let server = Scripted::start();
    let builder = support::client(server.url()).join_timeout(Duration::from_secs(1));
    let (client, mut watch) = start(builder);
    let mut foo_watch = Watch::on(&client.of("/foo").unwrap());
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    watch.ready().await;
    peer.expect_text("40/foo,").await;
    peer.send_text("41").await;
    assert_eq!(watch.disconnected().await, Reason::ServerDisconnect);
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.send_text("40").await;
    peer.expect_text("40/foo,").await;
    peer.send_text("40/foo,").await;
    while let Heard::ConnectError(reason) = foo_watch.next_within(PATIENCE).await.unwrap() {
        assert_eq!(reason, Reason::JoinTimeout);
    }
    assert_eq!(server.requests(), 2);
}

#[actix::test]
async fn an_undecided_server_that_closes_by_itself_is_lost() {
    let server = Scripted::start();
    let (client, mut watch) = start(support::builder(server.url()));
    let mut peer = server.accept().await;
    peer.send_text(OPEN).await;
    peer.close(Some(1001)).await;
    assert_eq!(watch.connect_error().await, Reason::ServerShutdown);
    assert_eq!(peer.next().await, Received::Close(Some(1000)));
    assert_eq!(peer.next().await, Received::Gone);
    assert_eq!(server.requests(), 1);
    assert_eq!(client.protocol(), None);
}
