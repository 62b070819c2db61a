//! Each line of the log begins with the name of its client, and of its namespace if it is about one.

#![allow(clippy::disallowed_names, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use actix_socketio::{
    Bridge, Client, NamedEvent, Reconnect, Route, Transport,
    middleware::{self, Flow},
};
use serde::Deserialize;
use serde_json::json;
use support::{
    eventually,
    every::within,
    logged,
    node::{self, Line},
    proxy::Proxy,
    recorder::Recorder,
    reserved::Port,
    scripted::Scripted,
};

#[derive(Deserialize, actix::Message)]
#[rtype(result = "()")]
struct Wrong(#[expect(dead_code, reason = "it is never read")] u8);

impl NamedEvent for Wrong {
    const NAME: &'static str = "wrong";
}

fn quick() -> Reconnect {
    Reconnect::default().delay(Duration::from_millis(20), Duration::from_millis(40))
}

/// The code of the library, without its pages: each piece of text in one line.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("guide") {
            sources(&path, text);
        } else if path.is_file() {
            let code = fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = code.split("\\\n").map(str::trim_start).collect();
            text.push_str(&lines.concat());
        }
    }
}

#[test]
fn the_page_on_troubleshooting_quotes_lines_as_they_are() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let page = fs::read_to_string(base.join("guide/troubleshooting.rs")).unwrap();
    let section = page.split("//! # ").find(|section| section.starts_with("Lines of the log\n"));
    let lines: Vec<_> =
        section.unwrap().lines().filter_map(|line| line.strip_prefix("//! | `")).collect();
    assert!(lines.len() > 10);
    let mut code = String::new();
    sources(&base, &mut code);
    for line in lines {
        let (line, _) = line.split_once('`').unwrap();
        for part in line.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(code.contains(part), "no line of the log has {part:?}");
        }
    }
}

/// Who a client and its namespaces are in the log, after all that can happen to them.
async fn lived(url: &str, name: Option<&str>) -> (String, BTreeSet<String>) {
    let before = logged::lines().len();
    let begin = name.map_or_else(|| url.trim_start_matches("http://").to_owned(), str::to_owned);
    let busy = Scripted::start();
    busy.refuse_next(503, "busy");
    let proxy = Proxy::start(node::server(Line::V4).port());
    let chain = middleware::outgoing(|_, emit| match emit.name() {
        "dropped" => Flow::dropped("for the test"),
        "panics" => panic!("for the test"),
        _ => Flow::Next(emit),
    });
    let builder = Client::builder(url).fallback(busy.url()).fallback(proxy.url());
    let builder = match name {
        Some(name) => builder.name(name),
        None => builder,
    };
    let client = builder
        .transports([Transport::Polling, Transport::WebSocket])
        .middleware(chain)
        .reconnect(quick().retry(|_| panic!("for the test")))
        .start()
        .unwrap();
    let foo = client.of("/foo").unwrap();
    let mut on_root = Recorder::of(client.socket());
    let mut on_foo = Recorder::of(&foo);
    on_root.next_ready().await;
    on_foo.next_ready().await;
    assert_eq!(client.name(), begin);
    eventually("an upgrade", || client.transport() == Some(Transport::WebSocket)).await;
    foo.emit("dropped", ()).unwrap_err();
    foo.emit("panics", ()).unwrap_err();
    foo.listen("fatal").call(|_| panic!("for the test"));
    foo.listen_to::<Wrong>().call(drop);
    let filtered = Route::all().filter(|_| panic!("for the test"));
    let bridge = Bridge::between(&foo, client.socket()).forward(filtered).start().unwrap();
    for (event, argument) in [("fatal", json!(1)), ("wrong", json!("text"))] {
        foo.emit("say", (event, argument)).unwrap();
        on_foo.next_event(event).await;
    }
    drop(bridge);
    let unknown = client.of("/unknown").unwrap();
    within(unknown.ready()).await.unwrap_err();
    unknown.emit("say", ()).unwrap_err();
    proxy.cut();
    on_root.next_disconnected().await;
    on_root.next_reconnecting().await;
    within(client.shutdown(Duration::ZERO)).await;

    let lines = logged::lines().split_off(before);
    let namespaces = lines.iter().map(|line| {
        let (who, _) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        who.strip_prefix(&begin).unwrap_or_else(|| panic!("{line}")).to_owned()
    });
    (lines.join("\n"), namespaces.collect())
}

#[actix::test]
async fn each_line_begins_with_the_name_of_its_client_and_namespace() {
    logged::start();
    let port = Port::reserve();
    let dead = port.url();
    for name in [None, Some("upstream-7")] {
        let (lines, namespaces) = lived(&dead, name).await;
        let expected = ["", "/", "/foo", "/unknown"].map(str::to_owned);
        assert_eq!(namespaces, BTreeSet::from(expected), "{lines}");
        for part in [
            // What the lines of the connection, its dialler, the namespaces, the middleware, the
            // subscribers, the bridge and the policy have in them.
            ": dialling 127.0.0.1:",
            &format!(": no connection to {dead}/socket.io/: the server cannot be reached: "),
            "HTTP status 503",
            ": connected to 127.0.0.1:",
            ": upgraded to a websocket",
            "/foo: joined",
            "/foo: the event \"dropped\" is not emitted: for the test",
            "/foo: the middleware ",
            "/foo: the function for ",
            "/foo: the event \"wrong\" does not fit logs::Wrong",
            "/foo: the filter of a bridge panicked",
            "/unknown: not joined: the server refused: \"Invalid namespace\"; no further attempt",
            ": connection ended: ",
            ": the policy for reconnecting panicked",
            "/foo: disconnected: ",
            ": retry 1 in ",
        ] {
            assert!(lines.contains(part), "no {part:?} in\n{lines}");
        }
    }
}
