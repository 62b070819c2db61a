//! The other parser: the same events, answers and namespaces, in msgpack, with the official servers
//! and socketioxide.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use actix_socketio::{
    AckError, ConnectFailure, DialLimiter, Emit, EmitError, Event, Parser, Payload, Protocol,
    ReadyError, Reason, Reconnect, StartError, Transport,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    eventually,
    every::{self, Target, on_every_server_in_msgpack, within},
    node::{self, Config, Line},
    recorder::Recorder,
    reserved::Port,
};

on_every_server_in_msgpack!(
    what_json_knows_goes_both_ways,
    binary_goes_both_ways_at_any_depth,
    questions_are_answered_both_ways,
    namespaces_are_joined_refused_and_left,
    auth_reaches_the_handshake,
    a_large_event_arrives_whole,
    a_server_that_is_restarted_finds_us_again,
    a_server_with_the_other_parser_is_not_joined,
    a_server_with_the_other_parser_is_told_by_the_second_time,
);

fn json_of(event: &Event) -> Value {
    serde_json::from_str(&event.payload().to_json()).unwrap()
}

async fn what_json_knows_goes_both_ways(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let expected = if server.is_old() { Protocol::Eio3 } else { Protocol::Eio4 };
    assert_eq!(client.protocol(), Some(expected));

    let numbers = json!([
        0,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        4_294_967_295_u64,
        4_294_967_296_u64,
        9_007_199_254_740_991_u64,
        -1,
        -32,
        -33,
        -128,
        -129,
        -32_768,
        -32_769,
        -2_147_483_648_i64,
        -2_147_483_649_i64,
        -9_007_199_254_740_991_i64,
        0.5,
        -1e-300,
        5e-324
    ]);
    let texts: Vec<String> =
        [0, 1, 31, 32, 255, 256, 65_536].map(|length| "x".repeat(length)).into();
    let lists: Vec<Vec<u8>> = [0, 15, 16, 300].map(|length| vec![7; length]).into();
    let map: Value =
        (0..20).map(|number| (format!("é{number}\n\"\\\u{0}"), json!(number))).collect();
    let sent = (numbers, texts, lists, json!({ "map": map, "none": null, "yes": [true, false] }));
    client.socket().emit("echo", &sent).unwrap();
    let event = recorder.next_event("echo").await;
    assert!(json_of(&event) == serde_json::to_value(&sent).unwrap(), "it is {}", json_of(&event));

    client.socket().emit("noargs", ()).unwrap();
    assert_eq!(json_of(&recorder.next_event("noargs").await), json!([]));
    client.socket().emit("say", ("žluť😀,[1]", (json!(null),))).unwrap();
    assert_eq!(json_of(&recorder.next_event("žluť😀,[1]").await), json!([[null]]));
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Nested {
    id: u32,
    body: Bytes,
    tail: String,
}

async fn binary_goes_both_ways_at_any_depth(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let nested = Nested { id: 42, body: Bytes::from_static(&[1, 2, 3]), tail: "text".to_owned() };
    client.socket().emit("nested", ()).unwrap();
    assert_eq!(recorder.next_event("nested").await.args::<Nested>().unwrap(), nested);
    client.socket().emit("bintext", ()).unwrap();
    let event = recorder.next_event("bintext").await;
    let args = event.args::<(String, Bytes, String)>().unwrap();
    assert_eq!(args, ("extra".to_owned(), Bytes::from_static(&[4, 5]), "after".to_owned()));

    let sizes = [0, 1, 255, 256, 65_536].map(|size| Bytes::from(vec![0xA5; size]));
    let sent = (nested, json!({ "deep": [[[1]]] }), vec![vec![Bytes::from_static(b"x")]], sizes);
    client.socket().emit("echo", &sent).unwrap();
    let event = recorder.next_event("echo").await;
    let args = event.args::<(Nested, Value, Vec<Vec<Bytes>>, [Bytes; 5])>().unwrap();
    assert_eq!(args, sent);
}

async fn questions_are_answered_both_ways(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    assert_eq!(within(socket.emit_with_ack::<u8>("number", ())).await, Ok(7));
    let several = within(socket.emit_with_ack::<(u8, String, [u8; 1])>("several", ())).await;
    assert_eq!(several, Ok((1, "two".to_owned(), [3])));
    assert_eq!(within(socket.emit_with_ack::<()>("none", ())).await, Ok(()));
    let data = Bytes::from_static(&[0, 255]);
    let echo = socket.emit_with_ack::<(u8, [Bytes; 1])>("echo", (1, [&data]));
    assert_eq!(within(echo).await, Ok((1, [data.clone()])));
    let silent = socket.emit_with_ack::<u8>("silent", ()).timeout(Duration::from_millis(50));
    assert_eq!(within(silent).await, Err(AckError::TimedOut));

    socket.emit("ask", ("question", "what?")).unwrap();
    let event = recorder.next_event("question").await;
    assert!(event.wants_ack());
    event.ack(("that", [&data])).unwrap();
    let answered = recorder.next_event("answered").await.args::<(String, [Bytes; 1])>().unwrap();
    assert_eq!(answered, ("that".to_owned(), [data]));
}

async fn namespaces_are_joined_refused_and_left(server: &Target) {
    let (client, mut on_root) = Recorder::joined(server).await;
    let (foo, late) = (client.of("/foo").unwrap(), client.of("/late").unwrap());
    let (mut on_foo, mut on_late) = (Recorder::of(&foo), Recorder::of(&late));
    on_foo.next_ready().await;
    on_late.next_ready().await;
    foo.emit("echo", "foo").unwrap();
    late.emit("echo", "late").unwrap();
    client.socket().emit("echo", "root").unwrap();
    assert_eq!(on_foo.next_event("echo").await.args::<String>().unwrap(), "foo");
    assert_eq!(on_late.next_event("echo").await.args::<String>().unwrap(), "late");
    assert_eq!(on_root.next_event("echo").await.args::<String>().unwrap(), "root");

    let no = client.of("/no").unwrap();
    let Err(ReadyError::Ended(Reason::Refused(refusal))) = within(no.ready()).await else {
        panic!("it is joined");
    };
    if server.is_old() {
        // The data of the error is all that there is.
        assert_eq!(refusal.decode::<Value>().unwrap(), json!({ "code": 42, "why": "no" }));
    } else {
        assert_eq!(refusal.message(), "auth failed");
    }
    if !server.is_old() && !server.is_oxide() {
        assert_eq!(refusal.decode::<Value>().unwrap(), json!({ "code": 42, "why": "no" }));
    }
    let unknown = client.of("/unknown").unwrap();
    let Err(ReadyError::Ended(Reason::Refused(refusal))) = within(unknown.ready()).await else {
        panic!("it is joined");
    };
    assert_eq!(refusal.message(), "Invalid namespace");

    foo.emit("leave", ()).unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);
    foo.connect();
    on_foo.next_ready().await;
    foo.disconnect();
    assert_eq!(on_foo.next_disconnected().await, Reason::ClientDisconnect);
    eventually("both partings are seen", || server.disconnections("/foo") == 2).await;
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));
    within(client.shutdown(Duration::from_secs(5))).await;
    eventually("the client is gone", || server.disconnections("/") == 1).await;
}

async fn auth_reaches_the_handshake(server: &Target) {
    let auth = json!({ "token": "s3cr&t é", "level": 3, "more": { "list": [1, null] } });
    let client = server.builder().auth(&auth).start().unwrap();
    let socket = if server.is_old() { client.of("/foo").unwrap() } else { client.socket().clone() };
    let handshake = within(socket.emit_with_ack::<Value>("handshake", ())).await.unwrap();
    if server.is_old() {
        // What is said behind the name of a namespace is a query.
        assert_eq!(handshake["query"]["token"], "s3cr&t é");
    } else {
        assert_eq!(handshake["auth"], auth);
    }
}

async fn a_large_event_arrives_whole(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    // The limit of the server is 1 MB, also for base64, which all of it is by polling.
    let size = match (server.is_oxide(), support::begins_with_polling()) {
        (true, _) => 90_000,
        (false, true) => 700_000,
        (false, false) => 900_000,
    };
    let sent = ("é".repeat(size / 4), Bytes::from(vec![0xA5; size / 2]));
    client.socket().emit("echo", &sent).unwrap();
    assert_eq!(recorder.next_event("echo").await.args::<(String, Bytes)>().unwrap(), sent);
}

async fn a_server_that_is_restarted_finds_us_again(server: &Target) {
    let port = Port::reserve();
    let mortal = server.fresh_on(port.number());
    let quick = Reconnect::default().delay(Duration::from_millis(50), Duration::from_millis(200));
    let client = mortal.builder().reconnect(quick).start().unwrap();
    let foo = client.of("/foo").unwrap();
    let mut recorder = Recorder::of(&foo);
    recorder.next_ready().await;
    let open = foo.emit_with_ack::<u8>("silent", ()).send();
    assert_eq!(within(foo.emit_with_ack::<u8>("number", ())).await, Ok(7));
    if let Some(official) = mortal.official() {
        official.kill();
    }
    drop(mortal);
    let reason = recorder.next_disconnected().await;
    assert_eq!(within(open).await, Err(AckError::Disconnected(reason)));
    foo.emit("echo", Bytes::from_static(b"meanwhile")).unwrap();

    let _reborn = server.fresh_on(port.number());
    recorder.ready_after_attempts().await;
    let event = recorder.next_event("echo").await;
    assert_eq!(event.args::<Bytes>().unwrap(), &b"meanwhile"[..]);
}

async fn a_server_with_the_other_parser_is_not_joined(server: &Target) {
    let ended = |outcome| match outcome {
        Err(StartError::Ready { error: ReadyError::Ended(reason), .. }) => reason,
        other => panic!("{other:?}"),
    };
    let reason = ended(within(server.builder().parser(Parser::Json).connect()).await);
    assert!(
        matches!(
            reason,
            Reason::Protocol(_)
                | Reason::TransportClose(_)
                | Reason::Connect(ConnectFailure::Parser(Parser::Json))
        ),
        "{reason:?}"
    );

    let other = match server.official() {
        Some(server) => every::official(server.line()),
        None => every::socketioxide(),
    };
    let reason = ended(within(other.builder().parser(Parser::Msgpack).connect()).await);
    assert!(matches!(reason, Reason::Protocol(_) | Reason::TransportClose(_)), "{reason:?}");
}

async fn a_server_with_the_other_parser_is_told_by_the_second_time(server: &Target) {
    if server.is_old() {
        // It says something first.
        return;
    }
    let other = match server.official() {
        Some(server) => every::official(server.line()),
        None => every::socketioxide(),
    };
    for (url, ours) in [(server.url(), Parser::Json), (other.url(), Parser::Msgpack)] {
        let delay = Duration::from_millis(20);
        let policy = Reconnect::default().delay(delay, delay).limiter(DialLimiter::unlimited());
        let mut builder = support::client(url).parser(ours).reconnect(policy);
        if server.is_oxide() {
            // By polling, it does not close the session, but forgets it.
            builder = builder.transports([Transport::WebSocket]);
        }
        let client = builder.start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        assert_eq!(recorder.next_reconnecting().await.reason(), &Reason::TransportClose(None));
        for _ in 0..2 {
            let reason = recorder.next_reconnecting().await.reason().clone();
            assert_eq!(reason, Reason::Connect(ConnectFailure::Parser(ours)));
            let text = reason.to_string();
            assert!(text.contains(&format!("This client has Parser::{ours:?}")), "{text}");
        }
    }
}

#[actix::test]
async fn what_json_does_not_know_comes_as_what_json_has_for_it() {
    for line in [Line::V2_5_1, Line::V4] {
        let server = every::official_msgpack(line);
        let (client, mut recorder) = Recorder::joined(&server).await;
        client.socket().emit("exotic", ()).unwrap();
        let event = recorder.next_event("exotic").await;
        let (date, undefined, list, data) =
            event.args::<(String, Option<u8>, [Option<u8>; 2], Bytes)>().unwrap();
        assert_eq!((&*date, undefined), ("1970-01-01T00:00:01.500Z", None));
        assert_eq!((list, data), ([None, None], Bytes::from_static(&[1, 2])));
    }
}

#[actix::test]
async fn an_event_is_passed_on_between_clients_of_both_parsers() {
    let (json, msgpack) = (every::official(Line::V4), every::official_msgpack(Line::V4));
    let (on_json, mut from_json) = Recorder::joined(&json).await;
    let (on_msgpack, mut from_msgpack) = Recorder::joined(&msgpack).await;
    let data = Bytes::from_static(b"data");
    let sent = (&data, json!({ "key": [1, 0.5, "é\n", null] }), [[&data]]);
    on_json.socket().emit("echo", sent).unwrap();
    let first = from_json.next_event("echo").await;
    on_msgpack.socket().send(first.to_emit()).unwrap();
    let second = from_msgpack.next_event("echo").await;
    assert_eq!(second.payload(), first.payload());
    on_json.socket().send(second.to_emit()).unwrap();
    assert_eq!(from_json.next_event("echo").await.payload(), first.payload());

    // A question from one is answered by the other.
    on_json.socket().emit("ask", ("question", &data)).unwrap();
    let question = from_json.next_event("question").await;
    let echo = Emit::new("echo", question.args::<Bytes>().unwrap()).unwrap();
    let answer = within(on_msgpack.socket().send_with_ack::<Payload>(echo)).await.unwrap();
    question.ack_with(&answer).unwrap();
    assert_eq!(from_json.next_event("answered").await.args::<Bytes>().unwrap(), data);
}

#[actix::test]
async fn the_largest_event_that_the_server_takes_is_sent_and_a_larger_one_is_not() {
    const LIMIT: u64 = 1_000_000;
    // `{"type":2,"data":["count",…],"nsp":"/"}` around the five bytes of its own.
    const AROUND: usize = 1 + 5 + 1 + 5 + 1 + 6 + 5 + 4 + 2;
    if support::begins_with_polling() {
        // Base64 makes it larger than the server takes. It refuses the POST, which ends the session.
        return;
    }
    let server = every::official_msgpack(Line::V4);
    let (client, _recorder) = Recorder::joined(&server).await;
    let largest = vec![b'x'; usize::try_from(LIMIT).unwrap() - AROUND];
    let binary = Bytes::from(largest.clone());
    let text = String::from_utf8(largest).unwrap();
    client.socket().emit("count", &text).unwrap();
    client.socket().emit("count", &binary).unwrap();
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));

    let refused = EmitError::PayloadTooLarge { size: LIMIT + 1, limit: LIMIT };
    assert_eq!(client.socket().emit("count", text.clone() + "x").unwrap_err(), refused);
    let binary = [&binary[..], b"x"].concat();
    assert_eq!(client.socket().emit("count", Bytes::from(binary)).unwrap_err(), refused);
    // Many small attachments are one message too.
    let half = Bytes::from(vec![0; 500_000]);
    let error = client.socket().emit("count", (&half, &half)).unwrap_err();
    assert!(matches!(error, EmitError::PayloadTooLarge { limit: LIMIT, .. }), "{error:?}");
    // And text that JSON needs far more for is not too large.
    let escaped = "\u{1}".repeat(200_000);
    let echo = client.socket().emit_with_ack::<String>("echo", &escaped);
    assert_eq!(within(echo).await, Ok(escaped));
    assert_eq!(server.disconnections("/"), 0);
}

#[actix::test]
async fn a_current_server_speaks_the_old_revision_in_msgpack_too() {
    let options = json!({ "allowEIO3": true });
    let config = Config { options, parser: Parser::Msgpack, ..Config::default() };
    let server = Target::Own(node::start(Line::V4, &config));
    let client = within(server.builder().protocol(Protocol::Eio3).connect()).await.unwrap();
    let foo = client.of("/foo").unwrap();
    let data = Bytes::from_static(b"data");
    for socket in [client.socket(), &foo] {
        let echo = socket.emit_with_ack::<Bytes>("echo", &data);
        assert_eq!(within(echo).await.as_ref(), Ok(&data));
    }
}
