//! Namespaces and the life of a connection: joining, refusal, leaving, joining again, the end.

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

use actix::Arbiter;
use actix_socketio::{
    AckError, AnswerError, BuildError, Client, ConnectFailure, EmitError, Filter, Initiator,
    NamespaceError, Protocol, ReadyError, Reason, Reconnect, Refusal, Socket, SocketState,
    StartError,
};
use futures::{StreamExt, future::join};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{thread, time::Duration};
use support::{
    PATIENCE, eventually,
    every::{Target, official, on_every_server, on_official_servers, unique, within},
    logged,
    node::{self, Config, Line, Middleware},
    recorder::{Fact, Recorder},
    reserved::Port,
    scripted::{self, Scripted},
};

on_every_server!(
    the_sid_is_the_id_that_the_server_knows,
    namespaces_come_and_go_on_one_connection,
    the_same_name_is_the_same_namespace,
    the_leading_slash_may_be_left_out,
    the_path_of_the_url_is_the_default_namespace,
    a_refusal_is_told_with_what_the_server_said,
    an_unknown_namespace_is_refused,
    a_namespace_that_takes_its_time_is_joined,
    leaving_by_the_server_ends_that_namespace_only,
    leaving_by_the_client_is_seen_by_the_server,
    what_is_emitted_right_before_a_disconnect_arrives,
    leaving_and_coming_back_at_once_loses_nothing,
    what_is_emitted_right_before_a_shutdown_arrives,
    what_is_emitted_right_before_the_last_handle_goes_arrives,
    a_namespace_is_joined_again_after_each_way_to_leave,
    a_refused_namespace_may_be_tried_again,
    joining_twice_is_joining_once,
    query_and_headers_reach_the_handshake,
    auth_reaches_the_handshake,
    a_shutdown_ends_all_namespaces,
    dropping_every_handle_closes_the_connection,
    a_socket_alone_keeps_the_connection,
    a_client_serves_plain_threads,
    a_client_runs_beside_a_runtime_of_another_kind,
    a_client_runs_on_another_arbiter,
    a_server_that_dies_is_told_to_every_namespace_and_may_come_back,
);

on_official_servers!(
    every_namespace_is_joined_once,
    a_request_to_join_that_is_never_answered_is_made_again,
    who_connects_again_asks_again,
    // socketioxide has no middleware for all that would refuse "/" here.
    a_refused_root_fails_to_connect,
    // socketioxide leaves the namespace only.
    kicked_out_means_all_namespaces_end,
    root_is_joined_again,
);

/// A namespace, joined, and what it hears.
async fn joined(client: &Client, namespace: &str) -> (Socket, Recorder) {
    let socket = client.of(namespace).unwrap();
    let mut recorder = Recorder::of(&socket);
    recorder.next_ready().await;
    (socket, recorder)
}

async fn a_request_to_join_that_is_never_answered_is_made_again(server: &Target) {
    let server = server.fresh();
    let builder = server.builder().reconnect(Reconnect::default());
    let client = builder.join_timeout(Duration::from_secs(1)).start().unwrap();
    let (root, mut on_root) = joined(&client, "/").await;
    let sulky = client.of("/sulky").unwrap();
    within(sulky.ready()).await.unwrap();
    is_alive(&sulky).await;
    is_alive(&root).await;
    assert!(on_root.rest().is_empty(), "nobody else is disturbed");
    assert_eq!((server.connections("/"), server.connections("/sulky")), (1, 1));
}

async fn who_connects_again_asks_again(server: &Target) {
    let server = server.fresh();
    let client = server.builder().join_timeout(Duration::from_secs(1)).start().unwrap();
    let (_root, mut on_root) = joined(&client, "/").await;
    let sulky = client.of("/sulky").unwrap();
    let mut recorder = Recorder::of(&sulky);
    assert_eq!(recorder.next_connect_error().await, Reason::JoinTimeout);
    sulky.connect();
    within(sulky.ready()).await.unwrap();
    assert!(on_root.rest().is_empty(), "nobody else is disturbed");
    assert_eq!(server.connections("/sulky"), 1);
}

async fn is_alive(socket: &Socket) {
    assert_eq!(within(socket.emit_with_ack("number", ())).await, Ok(7_u8));
}

#[actix::test]
async fn a_refusal_has_a_message_and_all_that_goes_with_it() {
    let why =
        json!({ "message": "jwt expired", "code": "invalid_token", "type": "UnauthorizedError" });
    for line in [Line::V1_7_4, Line::V2_5_1, Line::V4] {
        let client = support::builder(node::server(line).url()).start().unwrap();
        let mut recorder = Recorder::of(&client.of("/jwt").unwrap());
        let reason = recorder.next_connect_error().await;
        assert_eq!(refused(&reason).message(), "jwt expired", "{line:?}");
        assert_eq!(refused(&reason).decode::<Value>().unwrap(), why, "{line:?}");
    }
}

fn refused(reason: &Reason) -> &Refusal {
    match reason {
        Reason::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn the_sid_is_the_id_that_the_server_knows(server: &Target) {
    let client = server.client();
    for namespace in ["/", "/foo"] {
        let socket = client.of(namespace).unwrap();
        let ready = within(socket.ready()).await.unwrap();
        assert_eq!(ready.namespace(), namespace);
        assert_eq!(socket.namespace(), namespace);
        let id: String = within(socket.emit_with_ack("id", ())).await.unwrap();
        assert_eq!(ready.sid(), id);
        assert!(!format!("{ready:?}").contains(&id), "it is a secret");
        let expected = if server.is_old() { Protocol::Eio3 } else { Protocol::Eio4 };
        assert_eq!(ready.protocol(), expected);
        assert_eq!(client.protocol(), Some(expected));
    }
}

async fn namespaces_come_and_go_on_one_connection(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let (bar, mut on_bar) = joined(&client, "/bar").await;
    if let Some(official) = server.official() {
        assert_eq!(official.engines(), 1);
    }
    for (socket, recorder) in [(&root, &mut on_root), (&foo, &mut on_foo), (&bar, &mut on_bar)] {
        socket.emit("echo", socket.namespace()).unwrap();
        let event = recorder.next_event("echo").await;
        assert_eq!(event.namespace(), socket.namespace());
        assert_eq!(event.args::<String>().unwrap(), socket.namespace());
    }
    foo.disconnect();
    assert_eq!(on_foo.next_disconnected().await, Reason::ClientDisconnect);
    eventually("the server sees /foo leave", || server.disconnections("/foo") == 1).await;
    is_alive(&root).await;
    is_alive(&bar).await;
    assert_eq!((server.disconnections("/"), server.disconnections("/bar")), (0, 0));
    if let Some(official) = server.official() {
        assert_eq!(official.engines(), 1);
    }
    assert!(on_root.rest().is_empty() && on_bar.rest().is_empty());
}

async fn the_same_name_is_the_same_namespace(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (first, mut on_first) = joined(&client, "/foo").await;
    let (second, mut on_second) = joined(&client, "/foo").await;
    second.emit("echo", "for both").unwrap();
    on_first.next_event("echo").await;
    on_second.next_event("echo").await;
    assert_eq!(server.connections("/foo"), 1);
    first.disconnect();
    assert_eq!(on_second.next_disconnected().await, Reason::ClientDisconnect);
    assert_eq!(second.state(), SocketState::Ended(Reason::ClientDisconnect));
    assert_eq!(client.of("foo").unwrap().state(), SocketState::Ended(Reason::ClientDisconnect));
}

async fn the_leading_slash_may_be_left_out(server: &Target) {
    let client = server.client();
    let foo = client.of("foo").unwrap();
    assert_eq!(foo.namespace(), "/foo");
    assert_eq!(client.of("").unwrap().namespace(), "/");
    let ready = within(foo.ready()).await.unwrap();
    assert_eq!(within(client.of("/foo").unwrap().ready()).await.unwrap(), ready);
}

async fn the_path_of_the_url_is_the_default_namespace(server: &Target) {
    let server = server.fresh();
    let client = support::builder(format!("{}/foo?from=url", server.url())).start().unwrap();
    assert_eq!(client.socket().namespace(), "/foo");
    assert_eq!(within(client.socket().ready()).await.unwrap().namespace(), "/foo");
    is_alive(client.socket()).await;
    let handshake = handshake(client.socket()).await;
    assert_eq!(handshake["query"]["from"], "url");
    // A server 2.x joins everyone to "/".
    assert_eq!(server.connections("/"), u64::from(server.is_old()));
}

#[derive(Deserialize, Debug, PartialEq)]
struct Why {
    code: u32,
    why: String,
}

async fn a_refusal_is_told_with_what_the_server_said(server: &Target) {
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let no = client.of("/no").unwrap();
    let mut recorder = Recorder::of(&no);
    no.emit("echo", "kept").unwrap();
    let ready = within(no.ready()).await;
    let reason = recorder.next_connect_error().await;
    assert_eq!(ready, Err(ReadyError::Ended(reason.clone())));
    assert_eq!(no.state(), SocketState::Ended(reason.clone()));
    assert_eq!(reason.initiator(), Initiator::Remote);
    let refusal = refused(&reason);
    if server.is_oxide() {
        // Its refusals carry no data.
        assert_eq!((refusal.message(), refusal.json()), ("auth failed", None));
        refusal.decode::<Why>().unwrap_err();
    } else {
        // A server 2.x sends the data and not the message.
        let message = if server.is_old() { "" } else { "auth failed" };
        assert_eq!(refusal.message(), message);
        assert_eq!(refusal.decode::<Why>().unwrap(), Why { code: 42, why: "no".to_owned() });
        refusal.decode::<u8>().unwrap_err();
    }
    // Who asks later gets the same.
    assert_eq!(within(no.ready()).await, Err(ReadyError::Ended(reason.clone())));
    assert_eq!(no.emit("echo", 1).map(drop), Err(EmitError::Closed(reason)));
    is_alive(&root).await;
    assert!(on_root.rest().is_empty() && recorder.rest().is_empty());
}

async fn an_unknown_namespace_is_refused(server: &Target) {
    let client = server.client();
    let unknown = client.of("/unknown").unwrap();
    let mut recorder = Recorder::of(&unknown);
    let reason = recorder.next_connect_error().await;
    assert_eq!(refused(&reason).message(), "Invalid namespace");
    assert_eq!(within(unknown.ready()).await, Err(ReadyError::Ended(reason)));
    is_alive(client.socket()).await;
    // A slash at the end belongs to the name, here as by `of`.
    for path in ["/unknown", "/foo/", "/socket.io/"] {
        let connecting = support::builder(format!("{}{path}", server.url())).connect();
        let Err(error) = within(connecting).await else { panic!("there is no {path}") };
        let StartError::Ready { namespace, error: ReadyError::Ended(reason), .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((namespace.as_str(), refused(reason).message()), (path, "Invalid namespace"));
        let text = error.to_string();
        let named = format!("namespace {path:?} of {}/socket.io/: ", server.url());
        assert!(text.starts_with(&named), "{text}");
        assert!(text.contains("path in the URL is a namespace"), "{text}");
        let by_name = within(client.of(path).unwrap().ready()).await;
        assert_eq!(by_name, Err(ReadyError::Ended(reason.clone())));
    }
}

async fn a_namespace_that_takes_its_time_is_joined(server: &Target) {
    let client = server.client();
    within(client.socket().ready()).await.unwrap();
    let late = client.of("/late").unwrap();
    let mut recorder = Recorder::of(&late);
    late.emit("echo", "early").unwrap();
    let soon = within(late.ready().timeout(Duration::from_millis(10))).await;
    assert_eq!(soon, Err(ReadyError::TimedOut { last: None }));
    recorder.next_ready().await;
    assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "early");

    let hurried = server.builder().join_timeout(Duration::from_millis(1_500)).start().unwrap();
    within(hurried.of("/late").unwrap().ready()).await.unwrap();
}

async fn leaving_by_the_server_ends_that_namespace_only(server: &Target) {
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let (bar, mut on_bar) = joined(&client, "/bar").await;
    foo.emit("leave", ()).unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);
    assert_eq!(foo.state(), SocketState::Ended(Reason::ServerDisconnect));
    assert_eq!(foo.state().reason().unwrap().initiator(), Initiator::Remote);
    is_alive(&root).await;
    is_alive(&bar).await;
    root.emit("leave", ()).unwrap();
    assert_eq!(on_root.next_disconnected().await, Reason::ServerDisconnect);
    is_alive(&bar).await;
    assert!(on_bar.rest().is_empty());
}

async fn kicked_out_means_all_namespaces_end(server: &Target) {
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (_foo, mut on_foo) = joined(&client, "/foo").await;
    root.emit("kick", ()).unwrap();
    for recorder in [&mut on_root, &mut on_foo] {
        let reason = recorder.next_disconnected().await;
        // Some lines say goodbye before they close, and some only close.
        assert!(
            matches!(reason, Reason::ServerDisconnect | Reason::TransportClose(_)),
            "{reason:?}"
        );
        assert_eq!(reason.initiator(), Initiator::Remote);
    }
}

async fn leaving_by_the_client_is_seen_by_the_server(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let (root, mut on_root) = joined(&client, "/").await;
    foo.disconnect();
    foo.disconnect();
    assert_eq!(foo.state(), SocketState::Ended(Reason::ClientDisconnect), "at once");
    assert_eq!(on_foo.next_disconnected().await, Reason::ClientDisconnect);
    eventually("the server sees /foo leave", || server.disconnections("/foo") == 1).await;
    is_alive(&root).await;
    root.disconnect();
    assert_eq!(on_root.next_disconnected().await, Reason::ClientDisconnect);
    eventually("the server sees / leave", || server.disconnections("/") == 1).await;
    assert!(on_foo.rest().is_empty() && on_root.rest().is_empty());
}

fn emit_500(socket: &Socket, key: &str) {
    for _ in 0..500 {
        socket.emit("count", key).unwrap();
    }
}

async fn counted_500(server: &Target, key: &str) {
    eventually("all 500 events arrive", || server.counted(key) == 500).await;
}

async fn what_is_emitted_right_before_a_disconnect_arrives(server: &Target) {
    for namespace in ["/", "/foo"] {
        let client = server.client();
        let (socket, mut recorder) = joined(&client, namespace).await;
        let key = unique("before-disconnect");
        emit_500(&socket, &key);
        socket.disconnect();
        assert_eq!(recorder.next_disconnected().await, Reason::ClientDisconnect);
        counted_500(server, &key).await;
    }
}

async fn leaving_and_coming_back_at_once_loses_nothing(server: &Target) {
    let client = server.client();
    let (foo, mut recorder) = joined(&client, "/foo").await;
    let key = unique("back-at-once");
    for round in 1..=5 {
        for _ in 0..50 {
            foo.emit("count", &key).unwrap();
        }
        foo.disconnect();
        foo.connect();
        for _ in 0..50 {
            foo.emit("count", &key).unwrap();
        }
        assert_eq!(recorder.next_disconnected().await, Reason::ClientDisconnect);
        recorder.next_ready().await;
        eventually("all events arrive", || server.counted(&key) == round * 100).await;
    }
    // Leaving is the last word.
    foo.disconnect();
    foo.connect();
    foo.disconnect();
    assert_eq!(recorder.next_disconnected().await, Reason::ClientDisconnect);
    assert_eq!(recorder.next_connect_error().await, Reason::ClientDisconnect);
    foo.connect();
    recorder.next_ready().await;
    is_alive(&foo).await;
    is_alive(client.socket()).await;
}

async fn what_is_emitted_right_before_a_shutdown_arrives(server: &Target) {
    // Joined, and not even connected yet.
    for wait in [true, false] {
        let client = server.client();
        let foo = client.of("/foo").unwrap();
        if wait {
            within(client.socket().ready()).await.unwrap();
            within(foo.ready()).await.unwrap();
        }
        let (on_root, on_foo) = (unique("before-shutdown"), unique("before-shutdown"));
        emit_500(client.socket(), &on_root);
        emit_500(&foo, &on_foo);
        assert_eq!(within(client.shutdown(PATIENCE)).await.dropped, 0);
        counted_500(server, &on_root).await;
        counted_500(server, &on_foo).await;
    }
}

async fn what_is_emitted_right_before_the_last_handle_goes_arrives(server: &Target) {
    let client = server.client();
    let key = unique("before-drop");
    emit_500(client.socket(), &key);
    drop(client);
    counted_500(server, &key).await;
}

async fn a_namespace_is_joined_again_after_each_way_to_leave(server: &Target) {
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let first = within(root.ready()).await.unwrap();

    foo.emit("leave", ()).unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ServerDisconnect);
    foo.connect();
    foo.emit("echo", "after leave").unwrap();
    let ready = on_foo.next_ready().await;
    assert_eq!(foo.state().reason(), None);
    let id: String = within(foo.emit_with_ack("id", ())).await.unwrap();
    assert_eq!(ready.sid(), id);
    assert_eq!(on_foo.next_event("echo").await.args::<String>().unwrap(), "after leave");

    foo.disconnect();
    assert_eq!(on_foo.next_disconnected().await, Reason::ClientDisconnect);
    foo.connect();
    on_foo.next_ready().await;
    is_alive(&foo).await;

    // Without waiting for anything in between.
    foo.disconnect();
    foo.connect();
    foo.emit("echo", "at once").unwrap();
    assert_eq!(on_foo.next_disconnected().await, Reason::ClientDisconnect);
    on_foo.next_ready().await;
    assert_eq!(on_foo.next_event("echo").await.args::<String>().unwrap(), "at once");

    // All on the same connection.
    assert_eq!(within(root.ready()).await.unwrap(), first);
    assert!(on_root.rest().is_empty() && on_foo.rest().is_empty());
}

async fn root_is_joined_again(server: &Target) {
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    for way in ["the server leaves", "the client leaves"] {
        let before = within(foo.ready()).await.unwrap();
        let open = foo.emit_with_ack::<u8>("silent", ()).send();
        is_alive(&foo).await;
        if way == "the server leaves" {
            root.emit("leave", ()).unwrap();
            assert_eq!(on_root.next_disconnected().await, Reason::ServerDisconnect);
        } else {
            root.disconnect();
            assert_eq!(on_root.next_disconnected().await, Reason::ClientDisconnect);
        }
        is_alive(&foo).await;
        root.connect();
        root.emit("echo", way).unwrap();
        on_root.next_ready().await;
        assert_eq!(on_root.next_event("echo").await.args::<String>().unwrap(), way);
        if server.is_old() {
            // The server keeps "/" for the life of a connection, so that it takes a new one.
            assert_eq!(on_foo.next_disconnected().await, Reason::Reconnect);
            assert_eq!(within(open).await, Err(AckError::Disconnected(Reason::Reconnect)));
            assert_ne!(on_foo.next_ready().await.sid(), before.sid());
        } else {
            drop(open);
            assert_eq!(within(foo.ready()).await.unwrap(), before);
        }
        is_alive(&foo).await;
        assert!(on_root.rest().is_empty() && on_foo.rest().is_empty());
    }
}

async fn a_refused_namespace_may_be_tried_again(server: &Target) {
    let client = server.client();
    let no = client.of("/no").unwrap();
    let mut recorder = Recorder::of(&no);
    let first = recorder.next_connect_error().await;
    no.connect();
    assert_eq!(recorder.next_connect_error().await, first);
    no.connect();
    assert_eq!(within(no.ready()).await, Err(ReadyError::Ended(first)));
    is_alive(client.socket()).await;
}

async fn joining_twice_is_joining_once(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let foo = client.of("/foo").unwrap();
    foo.connect();
    let mut recorder = Recorder::of(&foo);
    recorder.next_ready().await;
    foo.connect();
    is_alive(&foo).await;
    assert_eq!(server.connections("/foo"), 1);
    assert!(recorder.rest().is_empty());
}

async fn every_namespace_is_joined_once(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (root, _) = joined(&client, "/").await;
    let (foo, _) = joined(&client, "/foo").await;
    is_alive(&root).await;
    is_alive(&foo).await;
    let stats = server.official().unwrap().stats();
    let expected = [("/".to_owned(), 1), ("/foo".to_owned(), 1)].into();
    assert_eq!(stats.connections, expected);
    assert!(stats.disconnections.is_empty(), "{stats:?}");
}

async fn a_refused_root_fails_to_connect(server: &Target) {
    let line = server.official().unwrap().line();
    let config = Config { middleware: Middleware::Refuse, ..Config::default() };
    let server = node::start(line, &config);
    let connecting = within(support::builder(server.url()).connect()).await;
    let Err(StartError::Ready { error: ReadyError::Ended(reason), .. }) = connecting else {
        panic!("the server refuses");
    };
    let client = support::builder(server.url()).start().unwrap();
    let mut on_root = Recorder::of(client.socket());
    let foo = client.of("/foo").unwrap();
    let mut on_foo = Recorder::of(&foo);
    assert_eq!(on_root.next_connect_error().await, reason);
    if line.is_old() {
        // The error's data is all that it sends, and without "/" there is nothing.
        assert_eq!(refused(&reason).decode::<Value>().unwrap(), json!({ "code": 42 }));
        assert_eq!(on_foo.next_connect_error().await, reason);
    } else {
        assert_eq!(refused(&reason).message(), "denied");
        assert_eq!(refused(&reason).decode::<Value>().unwrap(), json!({ "code": 42 }));
        on_foo.next_ready().await;
        is_alive(&foo).await;
    }
    client.socket().connect();
    assert_eq!(on_root.next_connect_error().await, reason);
}

async fn handshake(socket: &Socket) -> Value {
    within(socket.emit_with_ack("handshake", ())).await.unwrap()
}

async fn query_and_headers_reach_the_handshake(server: &Target) {
    let client = server
        .builder()
        .query("name", "a-b")
        .query("version", "1")
        .query("version", "2")
        .header("x-tenant", "acme")
        .bearer_auth("t0ken")
        .start()
        .unwrap();
    for namespace in ["/", "/foo"] {
        let handshake = handshake(&client.of(namespace).unwrap()).await;
        let (query, headers) = (&handshake["query"], &handshake["headers"]);
        assert_eq!(query["name"], "a-b");
        // Newer servers keep the last one of a name only.
        let keeps_all = server.official().is_some_and(|server| server.line() != Line::V4);
        let versions = if keeps_all { json!(["1", "2"]) } else { json!("2") };
        assert_eq!(query["version"], versions);
        let polls = support::begins_with_polling() && !server.is_oxide();
        assert_eq!(query["transport"], if polls { "polling" } else { "websocket" });
        assert_eq!(headers["x-tenant"], "acme");
        assert_eq!(headers["authorization"], "Bearer t0ken");
    }
    // socketioxide shows the query as it came.
    if !server.is_oxide() {
        let text = "a b&c=d/é+%";
        let client = server.builder().query("odd key", text).start().unwrap();
        assert_eq!(handshake(client.socket()).await["query"]["odd key"], text);
    }
}

async fn auth_reaches_the_handshake(server: &Target) {
    let auth = json!({ "token": "s3cr&t é", "level": 3 });
    let client = server.builder().auth(&auth).start().unwrap();
    let on_root = handshake(client.socket()).await;
    let on_foo = handshake(&client.of("/foo").unwrap()).await;
    if server.is_old() {
        // It knows no auth: what is said behind the name of a namespace is a query, and nothing
        // is said for "/".
        assert_eq!(on_root["auth"], Value::Null);
        assert_eq!(on_root["query"].get("token"), None);
        assert_eq!(on_foo["query"]["token"], "s3cr&t é");
        assert_eq!(on_foo["query"]["level"], "3");
    } else {
        assert_eq!(on_root["auth"], auth);
        assert_eq!(on_foo["auth"], auth);
        assert_eq!(on_root["query"].get("token"), None);
    }
    // And again when it is joined again.
    let foo = client.of("/foo").unwrap();
    foo.disconnect();
    foo.connect();
    assert_eq!(handshake(&foo).await, on_foo);
}

async fn a_shutdown_ends_all_namespaces(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (_root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let clone = client.clone();
    let (report, second) =
        within(async { join(client.shutdown(PATIENCE), clone.shutdown(PATIENCE)).await }).await;
    assert_eq!((report.dropped, second.dropped), (0, 0));
    for recorder in [&mut on_root, &mut on_foo] {
        assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
    }
    eventually("the server sees both leave", || {
        server.disconnections("/") == 1 && server.disconnections("/foo") == 1
    })
    .await;
    if let Some(official) = server.official() {
        eventually("the connection is closed", || official.engines() == 0).await;
    }
    assert_eq!(within(client.shutdown(PATIENCE)).await.dropped, 0);
    assert_eq!(foo.state(), SocketState::Ended(Reason::Shutdown));
    assert_eq!(within(foo.ready()).await, Err(ReadyError::Ended(Reason::Shutdown)));
    let Err(NamespaceError::Closed(Reason::Shutdown)) = client.of("/bar") else {
        panic!("it is over");
    };
    // For good.
    foo.connect();
    assert_eq!(foo.state(), SocketState::Ended(Reason::Shutdown));
    assert_eq!(server.connections("/foo"), 1);
}

async fn dropping_every_handle_closes_the_connection(server: &Target) {
    let server = server.fresh();
    let client = server.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    drop((client, root, foo));
    for recorder in [&mut on_root, &mut on_foo] {
        assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
    }
    eventually("the server sees both leave", || {
        server.disconnections("/") == 1 && server.disconnections("/foo") == 1
    })
    .await;
    if let Some(official) = server.official() {
        eventually("the connection is closed", || official.engines() == 0).await;
    }
}

async fn a_socket_alone_keeps_the_connection(server: &Target) {
    let client = server.client();
    let (foo, mut recorder) = joined(&client, "/foo").await;
    drop(client);
    is_alive(&foo).await;
    foo.emit("echo", 1).unwrap();
    recorder.next_event("echo").await;
    drop(foo);
    assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
}

/// Runs on a thread without any actix.
fn on_a_plain_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::sync::oneshot::Receiver<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        // For the deadlines of the test; the client needs no runtime here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        done.send(runtime.unwrap().block_on(work)).ok();
    });
    outcome
}

async fn a_client_runs_beside_a_runtime_of_another_kind(server: &Target) {
    let builder = server.builder();
    let outcome = on_a_plain_thread(async move {
        let error = builder.clone().start().map(drop).unwrap_err();
        assert!(error.to_string().contains("start_in(&told.recv()?)"), "{error}");
        // As the error says.
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let system = actix::System::new();
            tell.send(actix::System::current().arbiter().clone()).ok();
            system.run()
        });
        let client = builder.start_in(&told.recv().unwrap()).unwrap();
        let mut events = client.socket().listen(Filter::all()).stream();
        client.socket().emit("echo", "from elsewhere").unwrap();
        let event = within(events.next()).await.unwrap();
        is_alive(client.socket()).await;
        let report = within(client.shutdown(Duration::from_secs(5))).await;
        (event.args::<String>().unwrap(), report.dropped)
    });
    assert_eq!(within(outcome).await.unwrap(), ("from elsewhere".to_owned(), 0));
}

async fn a_client_serves_plain_threads(server: &Target) {
    let client = server.client();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let shared = client.clone();
    let outcome = on_a_plain_thread(async move {
        let foo = shared.of("/foo").unwrap();
        within(foo.ready()).await.unwrap();
        foo.emit("noargs", ()).unwrap();
        is_alive(&foo).await;
        is_alive(shared.socket()).await;
        shared.socket().emit("echo", "from a thread").unwrap();
        // An actor is started where there is an arbiter.
        support::builder("http://127.0.0.1:1").start().map(drop)
    });
    assert_eq!(within(outcome).await.unwrap(), Err(BuildError::NoArbiter));
    let event = recorder.next_event("echo").await;
    assert_eq!(event.args::<String>().unwrap(), "from a thread");
    client.socket().emit("ask", ("question", 1)).unwrap();
    let event = recorder.next_event("question").await;
    let outcome = on_a_plain_thread(async move { event.ack("from a thread") });
    assert_eq!(within(outcome).await.unwrap(), Ok::<(), AnswerError>(()));
    recorder.next_event("answered").await;
    let shutdown = on_a_plain_thread(async move { client.shutdown(PATIENCE).await.dropped });
    assert_eq!(within(shutdown).await.unwrap(), 0);
    assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
}

async fn a_client_runs_on_another_arbiter(server: &Target) {
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    let builder = server.builder();
    let started = on_a_plain_thread(async move {
        let client = builder.start_in(&handle).unwrap();
        is_alive(client.socket()).await;
        client
    });
    let client = within(started).await.unwrap();
    // Subscribers may live here, or there.
    let mut here = Recorder::of(client.socket());
    let mut there = Recorder::on(&arbiter.handle(), client.socket());
    here.next_ready().await;
    there.next_ready().await;
    client.socket().emit("echo", 1).unwrap();
    here.next_event("echo").await;
    there.next_event("echo").await;
    let foo = client.of("/foo").unwrap();
    is_alive(&foo).await;
    // The actors end with their arbiter, and nobody waits for ever.
    let open = foo.emit_with_ack::<u8>("silent", ()).send();
    arbiter.stop();
    assert_eq!(within(open).await, Err(AckError::Disconnected(Reason::Shutdown)));
    eventually("the namespace has ended", || foo.state() == SocketState::Ended(Reason::Shutdown))
        .await;
    assert_eq!(foo.emit("echo", 1).map(drop), Err(EmitError::Closed(Reason::Shutdown)));
    assert_eq!(within(foo.ready()).await, Err(ReadyError::Ended(Reason::Shutdown)));
    within(client.shutdown(PATIENCE)).await;
}

async fn a_server_that_dies_is_told_to_every_namespace_and_may_come_back(server: &Target) {
    let port = Port::reserve();
    let mortal = server.fresh_on(port.number());
    let client = mortal.client();
    let (root, mut on_root) = joined(&client, "/").await;
    let (foo, mut on_foo) = joined(&client, "/foo").await;
    let open = [root.emit_with_ack::<u8>("silent", ()), foo.emit_with_ack::<u8>("silent", ())]
        .map(actix_socketio::AckRequest::send);
    is_alive(&root).await;
    is_alive(&foo).await;
    if let Some(official) = mortal.official() {
        official.kill();
    }
    drop(mortal);
    for (recorder, open) in [&mut on_root, &mut on_foo].into_iter().zip(open) {
        let reason = recorder.next_disconnected().await;
        assert!(
            matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_)),
            "{reason:?}"
        );
        assert_eq!(within(open).await, Err(AckError::Disconnected(reason)));
    }
    // Nobody is there yet.
    root.connect();
    let reason = on_root.next_connect_error().await;
    assert!(matches!(reason, Reason::Connect(ConnectFailure::Unreachable(_))), "{reason:?}");

    let reborn = server.fresh_on(port.number());
    root.connect();
    foo.connect();
    foo.emit("echo", "again").unwrap();
    on_root.next_ready().await;
    on_foo.next_ready().await;
    assert_eq!(on_foo.next_event("echo").await.args::<String>().unwrap(), "again");
    is_alive(&root).await;
    assert_eq!((reborn.connections("/"), reborn.connections("/foo")), (1, 1));
}

/// Its middleware refuses an event, and says so in the namespace, which stays joined.
async fn an_old_server_tells_what_it_does_not_take(line: Line) {
    let client = official(line).client();
    for (number, namespace) in ["/", "/foo"].into_iter().enumerate() {
        let (socket, mut recorder) = joined(&client, namespace).await;
        socket.emit("unwanted", "no").unwrap();
        let Fact::ServerError(error) = recorder.next().await else { panic!("no error") };
        assert_eq!((error.namespace(), error.error().message()), (namespace, "no"));
        socket.emit("unwanted", ("no", json!({ "code": 7 }))).unwrap();
        let Fact::ServerError(error) = recorder.next().await else { panic!("no error") };
        assert_eq!(error.error().decode::<Value>().unwrap(), json!({ "code": 7 }));
        is_alive(&socket).await;
        assert_eq!(client.stats().server_errors, 2 * (u64::try_from(number).unwrap() + 1));
    }
}

#[actix::test]
async fn server_1_7_4_tells_what_it_does_not_take() {
    an_old_server_tells_what_it_does_not_take(Line::V1_7_4).await;
}

#[actix::test]
async fn server_2_5_1_tells_what_it_does_not_take() {
    an_old_server_tells_what_it_does_not_take(Line::V2_5_1).await;
}

#[actix::test]
async fn a_client_of_an_arbiter_that_stops_does_not_start_and_nobody_waits_for_it() {
    for is_over in [false, true] {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        if is_over {
            let joined = actix_rt::task::spawn_blocking(|| arbiter.join());
            within(joined).await.unwrap().unwrap();
        }
        let client = support::builder("http://127.0.0.1:1").start_in(&handle).unwrap();
        let foo = client.of("/foo").unwrap();
        for socket in [client.socket(), &foo] {
            let over = Err(ReadyError::Ended(Reason::Shutdown));
            assert_eq!(within(socket.ready()).await, over);
            let answer = within(socket.emit_with_ack::<u8>("number", ())).await;
            let closed = EmitError::Closed(Reason::Shutdown);
            assert_eq!(answer, Err(AckError::NeverSent(closed.clone())));
            assert_eq!(socket.emit("number", ()).map(drop), Err(closed));
            assert!(within(socket.take_unsent()).await.unwrap().is_empty());
            assert_eq!(socket.state(), SocketState::Ended(Reason::Shutdown));
        }
        within(client.shutdown(PATIENCE)).await;
    }
}

#[actix::test]
async fn a_name_with_a_comma_or_of_unreasonable_length_is_no_namespace() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let long = "x".repeat(600);
    for name in ["a,b", "/a,", long.as_str()] {
        let Err(error) = client.of(name) else { panic!("{name} is taken") };
        assert_eq!(error, NamespaceError::Name(name.to_owned()));
    }
    let Err(BuildError::Url(_)) = support::builder("http://localhost/a,b").start() else {
        panic!("it is taken as the default");
    };
}

#[actix::test]
async fn a_shutdown_reports_what_was_not_sent() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let foo = client.of("/foo").unwrap();
    let mut recorder = Recorder::of(&foo);
    client.socket().emit("one", ()).unwrap();
    foo.emit("two", ()).unwrap();
    foo.emit("three", ()).unwrap();
    let open = foo.emit_with_ack::<u8>("four", ()).send();
    let report = within(client.shutdown(Duration::from_millis(100))).await;
    assert_eq!(report.dropped, 4);
    let never = AckError::NeverSent(EmitError::Closed(Reason::Shutdown));
    assert_eq!(within(open).await, Err(never));
    assert_eq!(recorder.next_connect_error().await, Reason::Shutdown);
}

#[actix::test]
async fn a_shutdown_with_nothing_to_send_does_not_wait_for_a_server() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let report = within(client.shutdown(Duration::from_secs(3_600))).await;
    assert_eq!(report.dropped, 0);
}

#[actix::test]
async fn three_namespaces_share_one_websocket() {
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let mut peer = server.accept().await;
    peer.greet().await;
    for namespace in ["/foo", "/bar"] {
        let socket = client.of(namespace).unwrap();
        peer.expect_text(&format!("40{namespace},")).await;
        peer.send_text(&format!(r#"40{namespace},{{"sid":"of {namespace}"}}"#)).await;
        let ready = within(socket.ready()).await.unwrap();
        assert_eq!(ready.sid(), format!("of {namespace}"));
    }
    assert_eq!(server.requests(), 1);
}

#[actix::test]
async fn who_leaves_before_joining_is_not_warned_of_that() {
    logged::start();
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    client.socket().disconnect();
    assert_eq!(recorder.next_connect_error().await, Reason::ClientDisconnect);
    let foo = client.of("/foo").unwrap();
    let mut on_foo = Recorder::of(&foo);
    within(client.shutdown(Duration::ZERO)).await;
    assert_eq!(on_foo.next_connect_error().await, Reason::Shutdown);
    assert!(!logged::lines().is_empty());
    assert_eq!(logged::warnings(), [""; 0]);
}
