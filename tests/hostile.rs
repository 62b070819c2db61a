//! Whatever a server sends, the connection ends with a typed reason, or not at all, and no other client is affected.

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
    AnswerError, Client, ClientBuilder, ConnectFailure, Initiator, Protocol, ProtocolError, Reason,
    Refusal, Socket,
};
use bytes::{Bytes, BytesMut};
use futures::future::join;
use serde_json::Value;
use support::{
    PATIENCE, logged,
    node::{self, Line},
    scripted::{Peer, Received, Scripted},
    watch::{Heard, Watch},
};

const DEFAULT_LIMIT: usize = 16 << 20;
const CHUNK: usize = 64 << 10;

/// The header of a websocket frame, with its length in the form that takes most bytes.
fn header(first: u8, length: u64) -> Bytes {
    let mut header = BytesMut::from(&[first, 127][..]);
    header.extend_from_slice(&length.to_be_bytes());
    header.freeze()
}

/// A websocket frame of less than 126 bytes.
fn short(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(&[first, u8::try_from(payload.len()).unwrap()][..]);
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// Sends this many bytes, or as many as the client takes.
async fn pour(peer: &Peer, byte: u8, count: usize) {
    let chunk = Bytes::from(vec![byte; CHUNK]);
    for _ in 0..count.div_ceil(CHUNK) {
        if !peer.send_raw(chunk.clone()).await {
            return;
        }
    }
}

/// A client of a well-behaved server, which must not notice anything.
struct Bystander(Client);

impl Bystander {
    fn new() -> Self {
        Self(support::builder(node::server(Line::V4).url()).start().unwrap())
    }

    async fn goes_on(&self) {
        let echo = self.0.socket().emit_with_ack("echo", "still here").timeout(PATIENCE);
        assert_eq!(echo.await, Ok("still here".to_owned()));
    }
}

/// A client of a hostile server, joined to two of its namespaces.
struct Victim {
    server: Scripted,
    peer: Peer,
    client: Client,
    foo: Socket,
    watch: Watch,
    foo_watch: Watch,
}

impl Victim {
    async fn new(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let server = Scripted::start();
        let client = configure(support::builder(server.url())).start().unwrap();
        let foo = client.of("/foo").unwrap();
        let (mut watch, mut foo_watch) = (Watch::on(client.socket()), Watch::on(&foo));
        let mut peer = server.accept().await;
        peer.open().await;
        welcome(&mut peer).await;
        watch.ready().await;
        foo_watch.ready().await;
        Self { server, peer, client, foo, watch, foo_watch }
    }

    /// The connection is alive, and the subscribers got nothing of the attack.
    async fn goes_on(&mut self) {
        self.peer.send_text(r#"42["alive"]"#).await;
        assert_eq!(self.watch.event().await.name(), "alive");
        self.peer.send_text(r#"42/foo,["alive"]"#).await;
        assert_eq!(self.foo_watch.event().await.name(), "alive");
        self.foo.emit("alive too", ()).unwrap();
        let expected = Received::Text(r#"42/foo,["alive too"]"#.to_owned());
        while self.peer.next().await != expected {}
    }
}

async fn welcome(peer: &mut Peer) {
    for _ in 0..2 {
        let reply = match peer.next().await {
            Received::Text(request) if request == "40" => r#"40{"sid":"root"}"#,
            Received::Text(request) if request == "40/foo," => r#"40/foo,{"sid":"foo"}"#,
            other => panic!("{other:?}"),
        };
        peer.send_text(reply).await;
    }
}

/// Why the connection ends under this attack.
async fn end(
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    attack: impl AsyncFnOnce(&Peer),
) -> Reason {
    let bystander = Bystander::new();
    let mut victim = Victim::new(configure).await;
    // The victim is watched while the attack goes on, which may never end by itself.
    let Victim { peer, watch, .. } = &mut victim;
    let (heard, ()) = join(watch.next_within(PATIENCE), within(attack(peer))).await;
    let Some(Heard::Disconnected(reason)) = heard else { panic!("{heard:?}") };
    assert_eq!(victim.foo_watch.disconnected().await, reason);
    bystander.goes_on().await;

    victim.client.socket().connect();
    victim.foo.connect();
    let mut peer = victim.server.accept().await;
    peer.open().await;
    welcome(&mut peer).await;
    victim.watch.ready().await;
    victim.foo_watch.ready().await;
    victim.peer = peer;
    victim.goes_on().await;
    reason
}

/// The connection survives this attack.
async fn no_end(
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    attack: impl AsyncFnOnce(&Peer),
) {
    let bystander = Bystander::new();
    let mut victim = Victim::new(configure).await;
    within(attack(&victim.peer)).await;
    bystander.goes_on().await;
    victim.goes_on().await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let deadline = PATIENCE * 3;
    tokio::time::timeout(deadline, future)
        .await
        .unwrap_or_else(|_| panic!("not done within {deadline:?}"))
}

/// The options as they are.
fn defaults(builder: ClientBuilder) -> ClientBuilder {
    builder
}

fn small(builder: ClientBuilder) -> ClientBuilder {
    builder.max_message_size(1_000)
}

const SMALL: Reason = Reason::TooLarge { limit: 1_000 };

// Size.

#[actix::test]
async fn a_frame_that_declares_8_gib_is_refused_by_its_header() {
    let reason = end(defaults, async |peer| {
        peer.send_raw(header(0x81, 8 << 30)).await;
        pour(peer, b'4', 64 << 20).await;
    })
    .await;
    assert_eq!(reason, Reason::TooLarge { limit: DEFAULT_LIMIT });
    assert_eq!(reason.initiator(), Initiator::Library);
}

#[actix::test]
async fn a_frame_that_declares_more_than_there_is_in_the_world_is_refused_by_its_header() {
    for length in [u64::MAX, 1 << 63, (1 << 63) - 1] {
        let reason = end(defaults, async |peer| {
            peer.send_raw(header(0x82, length)).await;
        })
        .await;
        assert_eq!(reason, Reason::TooLarge { limit: DEFAULT_LIMIT });
    }
}

#[actix::test]
async fn a_frame_just_above_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let event = |size: usize| format!(r#"42["x","{}"]"#, "y".repeat(size - r#"42["x",""]"#.len()));
    let reason = end(small, async |peer| {
        peer.send_text(event(1_001)).await;
    })
    .await;
    assert_eq!(reason, SMALL);

    let mut victim = Victim::new(small).await;
    victim.peer.send_text(event(1_000)).await;
    assert_eq!(victim.watch.event().await.name(), "x");
    victim.goes_on().await;
}

#[actix::test]
async fn where_any_size_is_taken_there_is_memory_for_what_comes_and_not_for_what_is_declared() {
    let unlimited = |builder: ClientBuilder| builder.max_message_size(usize::MAX);
    let mut victim = Victim::new(unlimited).await;
    let text = "y".repeat(40 << 20);
    victim.peer.send_text(format!(r#"42["x","{text}"]"#)).await;
    assert!(victim.watch.event().await.args::<String>().unwrap() == text);
    victim.goes_on().await;

    for length in [1 << 50, 1 << 63, u64::MAX] {
        let reason = end(unlimited, async |peer| {
            peer.send_raw(header(0x82, length)).await;
            peer.send_raw("some of it").await;
            peer.cut().await;
        })
        .await;
        assert!(matches!(reason, Reason::TransportError(_)), "{reason:?}");
    }
}

#[actix::test]
async fn endless_fragments_are_counted_together() {
    let reason = end(defaults, async |peer| {
        peer.send_raw(short(0x01, b"42")).await;
        let mut fragment = BytesMut::from(&header(0x00, CHUNK.try_into().unwrap())[..]);
        fragment.resize(fragment.len() + CHUNK, b'x');
        let fragment = fragment.freeze();
        for _ in 0..1_000 {
            if !peer.send_raw(fragment.clone()).await {
                return;
            }
        }
    })
    .await;
    assert_eq!(reason, Reason::TooLarge { limit: DEFAULT_LIMIT });
}

#[actix::test]
async fn endless_empty_fragments_are_too_many() {
    let reason = end(defaults, async |peer| {
        peer.send_raw(short(0x01, b"")).await;
        // An empty continuation frame is two zeroes.
        pour(peer, 0, 1 << 20).await;
    })
    .await;
    assert!(matches!(reason, Reason::Protocol(ProtocolError::WebSocket(_))), "{reason:?}");
}

#[actix::test]
async fn a_message_in_a_few_fragments_is_taken_whole() {
    let mut victim = Victim::new(defaults).await;
    // Cut inside of the letter.
    let parts = [short(0x01, b"42[\"caf\xC3"), short(0x00, b""), short(0x80, b"\xA9\"]")];
    for part in parts {
        victim.peer.send_raw(part).await;
        victim.peer.ping("in between").await;
    }
    assert_eq!(victim.watch.event().await.name(), "café");
    victim.goes_on().await;
}

#[actix::test]
async fn a_connection_that_ends_between_fragments_ends_in_the_middle_of_a_message() {
    let reason = end(defaults, async |peer| {
        peer.send_raw(short(0x01, b"42[")).await;
        peer.cut().await;
    })
    .await;
    assert!(matches!(reason, Reason::TransportError(_)), "{reason:?}");
}

/// 100 MB of one digit or letter behind `start`, as one frame and in fragments.
async fn giant(start: &str, byte: u8) {
    const SIZE: usize = 100 << 20;
    let total = u64::try_from(SIZE + start.len()).unwrap();
    let whole = end(defaults, async |peer| {
        peer.send_raw(header(0x81, total)).await;
        peer.send_raw(Bytes::copy_from_slice(start.as_bytes())).await;
        pour(peer, byte, SIZE).await;
    })
    .await;
    assert_eq!(whole, Reason::TooLarge { limit: DEFAULT_LIMIT });
    let fragmented = end(defaults, async |peer| {
        peer.send_raw(short(0x01, start.as_bytes())).await;
        for _ in 0..SIZE / CHUNK {
            peer.send_raw(header(0x00, CHUNK.try_into().unwrap())).await;
            pour(peer, byte, CHUNK).await;
        }
    })
    .await;
    assert_eq!(fragmented, Reason::TooLarge { limit: DEFAULT_LIMIT });
}

#[actix::test]
async fn a_namespace_of_100_mb_is_too_large() {
    giant("42/", b'n').await;
}

#[actix::test]
async fn an_id_of_100_mb_is_too_large() {
    giant("42", b'1').await;
}

#[actix::test]
async fn a_namespace_of_15_mb_is_within_the_limit_of_bytes_but_not_of_names() {
    let reason = end(defaults, async |peer| {
        peer.send_text(format!("42/{}", "n".repeat(15 << 20))).await;
    })
    .await;
    assert_eq!(reason, Reason::Protocol(ProtocolError::Namespace));
}

// Attachments.

#[actix::test]
async fn attachments_that_never_come_are_not_waited_for() {
    let builder = |builder: ClientBuilder| builder.attachment_timeout(Duration::from_millis(200));
    let reason = end(builder, async |peer| {
        peer.send_text(r#"452-["x",{"_placeholder":true,"num":0}]"#).await;
        peer.send_binary("one").await;
    })
    .await;
    assert_eq!(reason, Reason::Protocol(ProtocolError::AttachmentsMissing));
}

#[actix::test]
async fn text_in_the_middle_of_attachments_is_out_of_place() {
    let reason = end(defaults, async |peer| {
        peer.send_text(r#"452-["x",{"_placeholder":true,"num":0}]"#).await;
        peer.send_binary("one").await;
        peer.send_text(r#"42["y"]"#).await;
    })
    .await;
    assert_eq!(reason, Reason::Protocol(ProtocolError::UnexpectedText));
}

#[actix::test]
async fn a_ping_in_the_middle_of_attachments_is_in_place() {
    let mut victim = Victim::new(defaults).await;
    victim.peer.send_text(r#"451-["x",{"_placeholder":true,"num":0}]"#).await;
    victim.peer.send_text("2").await;
    victim.peer.expect_text("3").await;
    victim.peer.send_binary("one").await;
    let data: Bytes = victim.watch.event().await.args().unwrap();
    assert_eq!(data, "one");
    victim.goes_on().await;
}

#[actix::test]
async fn attachments_are_counted_together() {
    let reason = end(small, async |peer| {
        let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
        peer.send_text(format!(r#"452-["x",{placeholders}]"#)).await;
        peer.send_binary(vec![0; 500]).await;
        peer.send_binary(vec![0; 500]).await;
    })
    .await;
    assert_eq!(reason, SMALL);
}

#[actix::test]
async fn an_attachment_without_a_header_is_out_of_place() {
    let reason = end(defaults, async |peer| {
        peer.send_binary("lost").await;
    })
    .await;
    assert_eq!(reason, Reason::Protocol(ProtocolError::UnexpectedBinary));
}

// Frames.

#[actix::test]
async fn illegal_frames_are_a_broken_protocol() {
    let mut oversized_ping = vec![0x89, 126, 0, 126];
    oversized_ping.resize(4 + 126, b'x');
    for (what, frame) in [
        ("masked", &[0x81, 0x81, 1, 2, 3, 4, b'6' ^ 1][..]),
        ("first reserved bit", &[0xC1, 1, b'6']),
        ("second reserved bit", &[0xA1, 1, b'6']),
        ("third reserved bit", &[0x91, 1, b'6']),
        ("unknown opcode", &[0x83, 1, b'6']),
        ("unknown control opcode", &[0x8B, 0]),
        ("ping of 126 bytes", &oversized_ping),
        ("ping in fragments", &[0x09, 1, b'6']),
        ("continuation of nothing", &[0x80, 1, b'6']),
        ("message in a message", &[0x01, 1, b'4', 0x81, 1, b'6']),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        let reason = end(defaults, async |peer| {
            peer.send_raw(Bytes::copy_from_slice(frame)).await;
        })
        .await;
        let Reason::Protocol(ProtocolError::WebSocket(error)) = &reason else {
            panic!("{what}: {reason:?}");
        };
        assert!(!error.is_empty(), "{what}");
        assert_eq!(reason.initiator(), Initiator::Library);
    }
}

#[actix::test]
async fn a_close_frame_that_is_too_long_ends_the_connection_like_any_other() {
    let mut frame = vec![0x88, 126, 0, 200];
    frame.resize(4 + 200, b'x');
    let reason = end(defaults, async |peer| {
        peer.send_raw(frame).await;
    })
    .await;
    assert!(
        matches!(reason, Reason::TransportClose(_) | Reason::Protocol(ProtocolError::WebSocket(_))),
        "{reason:?}"
    );
}

#[actix::test]
async fn text_that_is_not_utf8_is_a_broken_protocol() {
    for frames in
        [vec![short(0x81, b"42[\"\xFF\"]")], vec![short(0x01, b"42[\"\xC3"), short(0x80, b"\"]")]]
    {
        let reason = end(defaults, async |peer| {
            for frame in frames {
                peer.send_raw(frame).await;
            }
        })
        .await;
        assert_eq!(reason, Reason::Protocol(ProtocolError::Utf8));
    }
}

// Packets.

#[actix::test]
async fn each_illegal_packet_has_its_reason() {
    let namespace = format!("42/{},[\"x\"]", "n".repeat(600));
    for (packet, expected) in [
        ("", ProtocolError::Empty),
        ("4", ProtocolError::Empty),
        ("7", ProtocolError::UnknownEngineType(b'7')),
        ("x", ProtocolError::UnknownEngineType(b'x')),
        ("é", ProtocolError::UnknownEngineType(0xC3)),
        ("47", ProtocolError::UnknownType(b'7')),
        ("4x", ProtocolError::UnknownType(b'x')),
        ("b?", ProtocolError::Base64),
        ("42", ProtocolError::Payload),
        ("42/foo", ProtocolError::Payload),
        ("42[]", ProtocolError::Payload),
        ("42{}", ProtocolError::Payload),
        ("42[{}]", ProtocolError::Payload),
        ("42null", ProtocolError::Payload),
        ("430{}", ProtocolError::Payload),
        ("451000000-[\"x\"]", ProtocolError::TooManyAttachments { limit: 10 }),
        ("4511-[\"x\"]", ProtocolError::TooManyAttachments { limit: 10 }),
        ("4599999999999999999999-[\"x\"]", ProtocolError::Attachments),
        ("45-[\"x\"]", ProtocolError::Attachments),
        ("451[\"x\"]", ProtocolError::Attachments),
        ("45-1-[\"x\"]", ProtocolError::Attachments),
        ("451-[\"x\",{\"_placeholder\":true,\"num\":1}]", ProtocolError::Placeholder),
        ("451-[\"x\",{\"_placeholder\":true,\"num\":-1}]", ProtocolError::Placeholder),
        (&namespace, ProtocolError::Namespace),
    ] {
        let reason = end(defaults, async |peer| {
            peer.send_text(packet).await;
        })
        .await;
        assert_eq!(reason, Reason::Protocol(expected), "{packet:?}");
    }
    for packet in ["42[\"x\",}", "42[\"x\"", "42[\"x\"]]", "42[\"x\",NaN]", "42[\"\u{1}\"]", "44{"]
    {
        let reason = end(defaults, async |peer| {
            peer.send_text(packet).await;
        })
        .await;
        assert!(
            matches!(reason, Reason::Protocol(ProtocolError::Json(_))),
            "{packet:?}: {reason:?}"
        );
    }
}

#[actix::test]
async fn what_means_nothing_is_ignored() {
    for packet in [
        "3",
        "5",
        "6",
        "43999[]",
        "43999",
        "43",
        "43[]",
        "4318446744073709551616[]",
        "461-7[]",
        "43/nowhere,1[]",
        "40{\"sid\":\"another\"}",
        "40",
        "40/nowhere,{\"sid\":\"x\"}",
        "44",
        "44\"text\"",
        "44{\"message\":\"text\"}",
        "41/nowhere,",
        "42/nowhere,[\"x\"]",
    ] {
        no_end(defaults, async |peer| {
            peer.send_text(packet).await;
            if packet.starts_with("461-") {
                peer.send_binary("x").await;
            }
        })
        .await;
    }
}

#[actix::test]
async fn an_answer_with_an_id_beyond_all_counting_is_a_late_one() {
    let mut victim = Victim::new(defaults).await;
    let answer = victim.client.socket().emit_with_ack::<u8>("question", ()).timeout(PATIENCE);
    let answer = answer.send();
    victim.peer.expect_text(r#"420["question"]"#).await;
    let ids = ["9007199254740992", "18446744073709551615", "18446744073709551616", ""];
    for id in ids.map(str::to_owned).into_iter().chain(["9".repeat(400)]) {
        victim.peer.send_text(format!("43{id}[1]")).await;
    }
    victim.peer.send_text("430[2]").await;
    assert_eq!(answer.await, Ok(2));
    assert_eq!(victim.client.stats().late_answers, 5);
}

#[actix::test]
async fn a_question_is_answered_under_its_id_if_that_is_one_that_a_server_can_count_to() {
    let mut victim = Victim::new(defaults).await;
    for id in ["9007199254740992", "18446744073709551614"] {
        victim.peer.send_text(format!(r#"42{id}["question"]"#)).await;
        victim.watch.event().await.ack("answer").unwrap();
        victim.peer.expect_text(&format!(r#"43{id}["answer"]"#)).await;
    }
    for id in ["18446744073709551616".to_owned(), "9".repeat(400)] {
        victim.peer.send_text(format!(r#"42{id}["question",1]"#)).await;
        let event = victim.watch.event().await;
        assert_eq!((event.args(), event.wants_ack()), (Ok(1), false), "{id}");
        assert_eq!(event.ack("answer"), Err(AnswerError::NotAsked));
    }
    victim.goes_on().await;
}

#[actix::test]
async fn a_second_handshake_is_a_broken_protocol() {
    let reason = end(defaults, async |peer| {
        peer.open().await;
    })
    .await;
    assert!(matches!(reason, Reason::Protocol(ProtocolError::Handshake(_))), "{reason:?}");
}

#[actix::test]
async fn a_disconnect_packet_concerns_its_namespace_only() {
    let bystander = Bystander::new();
    for packet in ["41", "41{\"message\":\"x\"}", "41garbage"] {
        let mut victim = Victim::new(defaults).await;
        victim.peer.send_text(packet).await;
        assert_eq!(victim.watch.disconnected().await, Reason::ServerDisconnect, "{packet:?}");
        victim.peer.send_text(r#"42/foo,["alive"]"#).await;
        assert_eq!(victim.foo_watch.event().await.name(), "alive");
        victim.client.socket().connect();
        victim.peer.expect_text("40").await;
        victim.peer.send_text(r#"40{"sid":"again"}"#).await;
        assert_eq!(victim.watch.ready().await.sid(), "again");
        victim.goes_on().await;
    }
    bystander.goes_on().await;
}

#[actix::test]
async fn json_that_is_nested_too_deep_for_anybody_is_an_error_for_who_decodes_it() {
    let mut victim = Victim::new(defaults).await;
    for deep in [100, 1_000, 1_000_000] {
        let json = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        victim.peer.send_text(format!(r#"42["deep",{json}]"#)).await;
        let event = victim.watch.event().await;
        let decoded = event.args::<Value>();
        assert_eq!(decoded.is_ok(), deep == 100, "{deep}");
    }
    victim.goes_on().await;
}

// Handshakes.

/// What happens to a client that gets this handshake.
async fn greeted(open: &str, reply: &str) -> Heard {
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let mut watch = Watch::on(client.socket());
    let mut peer = server.accept().await;
    peer.send_text(open).await;
    let (heard, ()) = join(watch.next_within(PATIENCE), async {
        if peer.next().await == Received::Text("40".to_owned()) {
            peer.send_text(reply).await;
        }
    })
    .await;
    heard.expect("it is not left waiting")
}

fn open(fields: &str) -> String {
    format!(r#"0{{"sid":"S","upgrades":[],"maxPayload":1000000{fields}}}"#)
}

#[actix::test]
async fn a_handshake_that_is_no_object_is_none() {
    let bystander = Bystander::new();
    for handshake in [
        "0".to_owned(),
        "0{".to_owned(),
        "0[]".to_owned(),
        "0null".to_owned(),
        open(r#","pingInterval":1e999,"pingTimeout":1"#),
        "2".to_owned(),
        "40".to_owned(),
        "hello".to_owned(),
        String::new(),
    ] {
        let heard = greeted(&handshake, "").await;
        assert!(
            matches!(heard, Heard::ConnectError(Reason::Connect(ConnectFailure::Handshake(_)))),
            "{handshake:?}: {heard:?}"
        );
    }
    bystander.goes_on().await;
}

#[actix::test]
async fn what_a_handshake_does_not_say_is_as_it_is_everywhere() {
    let welcome = r#"40{"sid":"S"}"#;
    for handshake in [
        r#"0{"maxPayload":0}"#.to_owned(),
        open(""),
        open(r#","pingInterval":"25000","pingTimeout":"20000""#),
        open(r#","pingInterval":null,"pingTimeout":null"#),
        r#"0{"sid":"","pingInterval":25000,"pingTimeout":20000,"maxPayload":"1000"}"#.to_owned(),
        r#"0{"sid":7,"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#.to_owned(),
    ] {
        let heard = greeted(&handshake, welcome).await;
        assert!(matches!(heard, Heard::Ready(_)), "{handshake:?}: {heard:?}");
    }
    let intervals = open(r#","pingInterval":25000,"pingTimeout":20000"#);
    let heard = greeted(&intervals, r#"40{"sid":17,"pid":18}"#).await;
    let Heard::Ready(ready) = heard else { panic!("{heard:?}") };
    assert_eq!(ready.sid(), "17");
}

#[actix::test]
async fn a_server_that_is_not_known_yet_is_held_to_the_same_rules() {
    let bystander = Bystander::new();
    // Nothing in it tells which protocol this server speaks.
    let open = r#"0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    let cut = "EOF while parsing an object at line 1 column 1";
    for (packet, expected) in [
        ("", Reason::Protocol(ProtocolError::Empty)),
        ("x", Reason::Protocol(ProtocolError::UnknownEngineType(b'x'))),
        ("b4AQID", Reason::Protocol(ProtocolError::UnexpectedBinary)),
        ("0{}", Reason::Protocol(ProtocolError::Handshake("a second one".to_owned()))),
        ("1", Reason::TransportClose(None)),
        ("4", Reason::Protocol(ProtocolError::Empty)),
        ("44{", Reason::Protocol(ProtocolError::Json(cut.to_owned()))),
        ("41", Reason::ServerDisconnect),
    ] {
        let server = Scripted::start();
        let client = support::builder(server.url()).start().unwrap();
        let mut watch = Watch::on(client.socket());
        let peer = server.accept().await;
        peer.send_text(open).await;
        peer.send_text(packet).await;
        assert_eq!(watch.connect_error().await, expected, "{packet:?}");
    }
    bystander.goes_on().await;
}

#[actix::test]
async fn absurd_intervals_are_held_in_bounds() {
    let welcome = r#"40{"sid":"S"}"#;
    for (interval, timeout) in [("1e300", "1e300"), ("1e18", "0"), ("0", "1e300")] {
        let open = open(&format!(r#","pingInterval":{interval},"pingTimeout":{timeout}"#));
        let heard = greeted(&open, welcome).await;
        assert!(matches!(heard, Heard::Ready(_)), "{interval} {timeout}: {heard:?}");
    }
    for millis in ["0", "-1", "-1e300", "0.000001"] {
        let server = Scripted::start();
        let client = support::builder(server.url()).start().unwrap();
        let mut watch = Watch::on(client.socket());
        let peer = server.accept().await;
        peer.send_text(open(&format!(r#","pingInterval":{millis},"pingTimeout":{millis}"#))).await;
        peer.send_text(welcome).await;
        // Whether it was joined before is a matter of milliseconds.
        let reason = loop {
            match watch.next_within(PATIENCE).await {
                Some(Heard::Ready(_)) => {}
                Some(Heard::Disconnected(reason) | Heard::ConnectError(reason)) => break reason,
                other => panic!("{millis}: {other:?}"),
            }
        };
        assert_eq!(reason, Reason::PingTimeout, "{millis}");
    }
}

type Check<'a> = Box<dyn Fn(&Reason) -> bool + 'a>;

#[actix::test]
async fn each_answer_to_the_request_to_join_has_its_outcome() {
    let open = open(r#","pingInterval":25000,"pingTimeout":20000"#);
    let unsupported = |reason: &Reason| match reason {
        Reason::Connect(ConnectFailure::Unsupported { asked, .. }) => *asked == Protocol::Eio4,
        _ => false,
    };
    let refused = |reason: &Reason, check: &dyn Fn(&Refusal) -> bool| match reason {
        Reason::Refused(refusal) => check(refusal),
        _ => false,
    };
    let says = |text: &'static str| move |refusal: &Refusal| refusal.message() == text;
    let table: Vec<(&str, Check<'_>)> = vec![
        ("44", Box::new(|reason| refused(reason, &says("")))),
        ("44\"text\"", Box::new(|reason| refused(reason, &says("text")))),
        ("44{\"message\":\"text\"}", Box::new(|reason| refused(reason, &says("text")))),
        (
            "44{\"message\":7,\"data\":1}",
            Box::new(|reason| {
                refused(reason, &|refusal| refusal.json() == Some("{\"message\":7,\"data\":1}"))
            }),
        ),
        ("44[1]", Box::new(|reason| refused(reason, &|r| r.json() == Some("[1]")))),
        ("40", Box::new(unsupported)),
        ("40{}", Box::new(unsupported)),
        ("40{\"sid\":[7]}", Box::new(unsupported)),
        ("40{\"sid\":null}", Box::new(unsupported)),
        ("40[]", Box::new(|reason| *reason == Reason::Protocol(ProtocolError::Payload))),
        ("41", Box::new(|reason| *reason == Reason::ServerDisconnect)),
    ];
    for (reply, expected) in table {
        let heard = greeted(&open, reply).await;
        let Heard::ConnectError(reason) = &heard else { panic!("{reply:?}: {heard:?}") };
        assert!(expected(reason), "{reply:?}: {reason:?}");
    }
}

// Floods.

#[actix::test]
async fn a_flood_for_namespaces_that_were_never_joined_is_ignored() {
    no_end(defaults, async |peer| {
        for number in 0..10_000 {
            peer.send_text(format!(r#"42/nowhere-{number},["x",{number}]"#)).await;
        }
    })
    .await;
}

/// Sends `frame` this many times, many at once.
async fn flood(peer: &Peer, frame: &[u8], times: usize) {
    let batch = Bytes::from(frame.repeat(CHUNK / frame.len()));
    for _ in 0..times / (CHUNK / frame.len()) {
        if !peer.send_raw(batch.clone()).await {
            return;
        }
    }
}

#[actix::test]
async fn a_flood_of_pings_from_a_server_that_does_not_read_is_survived() {
    no_end(defaults, async |peer| flood(peer, &short(0x81, b"2"), 2_000_000).await).await;
}

#[actix::test]
async fn a_flood_of_websocket_pings_from_a_server_that_does_not_read_is_survived() {
    no_end(defaults, async |peer| flood(peer, &short(0x89, &[b'x'; 125]), 200_000).await).await;
}

#[actix::test]
async fn a_flood_of_events_is_delivered_in_order() {
    const COUNT: u32 = 20_000;
    let mut victim = Victim::new(defaults).await;
    let Victim { peer, watch, .. } = &mut victim;
    join(
        async {
            for number in 0..COUNT {
                peer.send_text(format!(r#"42["n",{number}]"#)).await;
            }
        },
        async {
            for number in 0..COUNT {
                assert_eq!(watch.event().await.args(), Ok(number));
            }
        },
    )
    .await;
    victim.goes_on().await;
}

// The log.

/// No line is longer, with the name of the client before it.
const LONGEST_LINE: usize = 700;

#[derive(serde::Serialize, serde::Deserialize)]
struct Price(u32);

impl actix_socketio::NamedEvent for Price {
    const NAME: &'static str = "price";
}

/// The lines of the log that are not for debugging, as many as have this text.
fn logged(part: &str) -> usize {
    let levels = [log::Level::Error, log::Level::Warn, log::Level::Info];
    let lines = levels.into_iter().flat_map(logged::lines_at);
    lines.filter(|line| line.contains(part)).count()
}

fn each_line_is_short() {
    let lines = logged::lines();
    assert!(!lines.is_empty());
    for line in lines {
        let is_one = !line.contains(char::is_control);
        assert!(line.len() <= LONGEST_LINE && is_one, "{} bytes: {line:.1000?}", line.len());
    }
}

#[actix::test]
async fn ten_thousand_wrong_events_are_a_handful_of_lines() {
    logged::start();
    let server = Scripted::start();
    let builder = support::builder(server.url()).protocol(Protocol::Eio3);
    let client = builder.start().unwrap();
    client.socket().listen_to::<Price>().call(|_| panic!("none fits"));
    client.socket().listen("panic").call(|_| panic!("none fits"));
    let mut watch = Watch::on(client.socket());
    let peer = server.accept().await;
    peer.open().await;
    peer.send_text("40").await;
    watch.ready().await;
    let long = "\u{1}\u{1F600}".repeat(10_000);
    for packet in [
        r#"42["price","dear"]"#.to_owned(),
        "42[]".to_owned(),
        r#"44"it fails""#.to_owned(),
        r#"42["nobody",1]"#.to_owned(),
    ] {
        for number in 0..10_000 {
            peer.send_text(&packet).await;
            if number % 100 == 0 {
                peer.send_text(r#"42["alive"]"#).await;
                while watch.event().await.name() != "alive" {}
            }
        }
    }
    // Long texts wherever a server can put them.
    let quoted = Value::from(long);
    for packet in [
        format!("42[{quoted},1]"),
        format!(r#"42["price",{quoted}]"#),
        format!(r#"42["panic",{quoted}]"#),
        format!("42{quoted}"),
        format!("44{quoted}"),
        format!(r#"44{{"message":{quoted}}}"#),
    ] {
        peer.send_text(packet).await;
    }
    peer.send_text(r#"42["alive"]"#).await;
    while watch.event().await.name() != "alive" {}
    peer.send_text("41").await;
    watch.disconnected().await;

    for part in ["does not fit hostile::Price", "a broken event", "the server reports an error"] {
        let count = logged(part);
        assert!((1..=12).contains(&count), "{count} lines with {part:?}");
    }
    let all = logged("");
    assert!(all <= 60, "{all} lines: {:?}", logged::lines());
    each_line_is_short();
}

#[actix::test]
async fn long_texts_are_cut_in_the_log_and_in_each_error() {
    logged::start();
    let long = "\u{7}\u{1F600}x".repeat(5_000);
    let quoted = Value::from(long.clone());
    let welcome = r#"40{"sid":"S"}"#;
    let open_packet = open("");
    for (greeting, reply) in [
        (&*open_packet, format!("44{quoted}")),
        (&open_packet, format!(r#"44{{"message":{quoted},"data":{quoted}}}"#)),
        (&open_packet, format!(r#"40{{"sid":{quoted}}}"#)),
        (&open_packet, format!("40{quoted}")),
        (&open_packet, format!("7{long}")),
        (&open_packet, format!(r#"42["x",{long}]"#)),
        (&format!("0{long}"), welcome.to_owned()),
        (&format!(r#"0{{"sid":{quoted}}}"#), welcome.to_owned()),
        (&format!(r#"0{{"sid":"S","upgrades":[{quoted}]{long}"#), welcome.to_owned()),
        (&long, welcome.to_owned()),
    ] {
        match greeted(greeting, &reply).await {
            Heard::ConnectError(reason) | Heard::Disconnected(reason) => {
                let shown = reason.to_string();
                assert!(shown.len() <= LONGEST_LINE, "{shown}");
                assert!(format!("{reason:?}").len() <= 3 * LONGEST_LINE, "{reason:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    for status in [400, 403, 503] {
        let server = Scripted::start();
        server.refuse_next(status, &long);
        let client = support::builder(server.url()).start().unwrap();
        let mut watch = Watch::on(client.socket());
        watch.next_within(PATIENCE).await.expect("it is refused");
    }
    each_line_is_short();
}

#[actix::test]
async fn session_ids_are_kept_up_to_their_limit() {
    let sid = |length: usize| format!(r#"40{{"sid":"{}"}}"#, "s".repeat(length));
    let open = open("");
    let Heard::Ready(ready) = greeted(&open, &sid(1_024)).await else { panic!("it is welcome") };
    assert_eq!(ready.sid().len(), 1_024);
    let too_long = ProtocolError::TooLong { what: "session id", limit: 1_024 };
    let Heard::ConnectError(reason) = greeted(&open, &sid(1_025)).await else { panic!("too long") };
    assert_eq!(reason, Reason::Protocol(too_long));
    let reply = format!(r#"40{{"sid":"S","more":"{}"}}"#, "x".repeat(64 << 10));
    let Heard::ConnectError(reason) = greeted(&open, &reply).await else { panic!("too long") };
    let too_long = ProtocolError::TooLong { what: "reply to a request to join", limit: 64 << 10 };
    assert_eq!(reason, Reason::Protocol(too_long));
    let refusal = format!(r#"44{{"message":"no","data":"{}"}}"#, "x".repeat(256 << 10));
    let Heard::ConnectError(Reason::Refused(refusal)) = greeted(&open, &refusal).await else {
        panic!("it is refused all the same")
    };
    assert_eq!(refusal.json(), None);
    assert!(refusal.message().contains("is not kept"), "{refusal}");
}
