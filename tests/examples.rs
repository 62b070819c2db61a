//! The examples as their readers run them: programs of their own, which are told by arguments and by
//! signals, and tell by what they print and show.
//!
//! `cargo test` builds them first; with `--test examples` they are as `cargo build --examples` has
//! left them.

// Signals, and shells.
#![cfg(unix)]
// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    env,
    io::Write,
    process::{Command, ExitStatus, Stdio},
};

use actix_socketio::tap::{self, Kind};
use serde_json::{Value, json};
use support::{
    browser::{Browser, Page},
    example::{Example, program},
    node::{self, Config, How, Line, Middleware},
    reserved::Port,
};

/// Waits until a condition holds for what the page of the bridge shows: `state`, its heading, and
/// `events`, its lines from the top.
#[track_caller]
fn until(browser: &mut Browser, page: &Page, condition: &str) {
    let given = r#"
      const state = document.querySelector("h1").textContent;
      const events = [...document.querySelectorAll("li")].map((line) => line.textContent);"#;
    browser.until(page, given, condition, "{ state, events }");
}

/// Waits until the page shows this.
#[track_caller]
fn until_shown(browser: &mut Browser, page: &Page, state: &str, events: &[&str]) {
    let shown = Value::from(json!([state, events]).to_string());
    until(browser, page, &format!("JSON.stringify([state, events]) === {shown}"));
}

#[test]
fn bridge_shows_browsers_what_the_server_emits() {
    let Some(mut browser) = Browser::start() else { return };
    let port = Port::reserve();
    let config = Config { port: port.number(), ..Config::default() };
    let server = node::start(Line::V4, &config);
    let bridge = Example::start("bridge", [server.url()]);
    let url = bridge.line();

    let first = browser.open(&url);
    until_shown(&mut browser, &first, "connected to /", &[]);
    // What looks like a tag is no tag.
    server.emit("/", How::Plain, &json!(["flight", "LH400", { "to": "<b>FRA</b>", "é": 1.5 }]));
    let flight = r#"flight ["LH400",{"to":"<b>FRA</b>","é":1.5}]"#;
    until_shown(&mut browser, &first, "connected to /", &[flight]);

    // Each page has what came since it was opened, the newest on top, and no more of it than this.
    let second = browser.open(&url);
    until_shown(&mut browser, &second, "connected to /", &[]);
    server.emit("/", How::Binary, &json!(["photo"]));
    let photo = r#"photo [{"_placeholder":true,"num":0}]"#;
    until_shown(&mut browser, &first, "connected to /", &[photo, flight]);
    until_shown(&mut browser, &second, "connected to /", &[photo]);
    server.publish("/", "n", 0..150);
    let numbers: Vec<_> = (50..150).rev().map(|number| format!("n [{number}]")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    for page in [&first, &second] {
        until_shown(&mut browser, page, "connected to /", &numbers);
    }

    // The server goes and comes back, and with it what it emits.
    server.kill();
    until(&mut browser, &first, "state !== 'connected to /'");
    let server = node::start(Line::V4, &config);
    until(&mut browser, &first, "state === 'connected to /'");
    server.emit("/", How::Plain, &json!(["again"]));
    until(&mut browser, &first, "events[0] === 'again []'");

    // So does the bridge.
    bridge.interrupt();
    until(&mut browser, &first, "state === 'the bridge is gone'");
    bridge.end();
    let (_, port) = url.rsplit_once(':').unwrap();
    let bridge = Example::start_with(("PORT", port), "bridge", [server.url()]);
    assert_eq!(bridge.line(), url);
    until(&mut browser, &first, "state === 'connected to /'");
}

#[test]
fn bridge_shows_browsers_why_the_server_refuses() {
    let Some(mut browser) = Browser::start() else { return };
    // It is not there yet when the first page is opened.
    let port = Port::reserve();
    let bridge = Example::start("bridge", [port.url()]);
    let url = bridge.line();
    let early = browser.open(&url);
    until_shown(&mut browser, &early, "not connected", &[]);
    let middleware = Middleware::Refuse;
    let config = Config { middleware, port: port.number(), ..Config::default() };
    let _server = node::start(Line::V4, &config);
    until_shown(&mut browser, &early, r#"the server refused: "denied""#, &[]);
    let late = browser.open(&url);
    until_shown(&mut browser, &late, r#"the server refused: "denied""#, &[]);
}

#[actix::test]
async fn bridge_emits_what_a_page_says() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let bridge = Example::start("bridge", [server.url()]);
    let url = bridge.line();
    let (first, second) = (browser.open(&url), browser.open(&url));
    for page in [&first, &second] {
        until_shown(&mut browser, page, "connected to /", &[]);
    }
    let mut emit = |name: &str, args: &str, condition: &str| {
        let values = json!([name, args]);
        let fill = format!(
            r#"[at("name").value, at("args").value] = {values};
            at("emit").requestSubmit()"#
        );
        browser.evaluate(&first, &fill);
        until(&mut browser, &first, condition);
        // What one page emits, all show.
        until_shown(&mut browser, &second, "connected to /", &[r#"record ["page",7]"#]);
    };
    emit("record", r#""page", 7"#, r#"events[0] === 'record ["page",7]'"#);
    emit("record", r#""page", "#, r#"at("said").textContent.startsWith("the arguments are not")"#);
    emit("disconnect", "", r#"at("said").textContent.startsWith("not emitted: ")"#);
    support::eventually("it has come", || server.recorded("page") == [7]).await;

    // A filter hides, and Escape shows again.
    let shown = r#"[...document.querySelectorAll("li")].filter((row) => !row.hidden).length"#;
    for (text, count) in [("rec", 1), ("cer", 0), ("", 1)] {
        let filter = format!(r#"filter.value = "{text}"; filter.oninput(); {shown}"#);
        assert_eq!(browser.evaluate(&second, &filter), count, "{text}");
    }

    // A page of somebody else sees nothing and emits nothing.
    let host = url.strip_prefix("http://").unwrap();
    for (origin, expected) in [("http://example.com", 403), (&url, 400)] {
        let http = awc::Client::default();
        let request = http.get(format!("{url}/ws")).insert_header(("Origin", origin));
        let answer = request.insert_header(("Host", host)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{origin}");
    }
}

#[test]
fn bridge_runs_alone() {
    let Some(mut browser) = Browser::start() else { return };
    let bridge = Example::start::<&str>("bridge", []);
    let page = browser.open(&bridge.line());
    until(&mut browser, &page, r#"state === "connected to /" && events.length > 2"#);
    bridge.interrupt();
    assert_eq!(bridge.end(), [""; 0]);
}

#[actix::test]
async fn bridge_two_joins_servers_of_different_versions() {
    let first = node::start(Line::V2_5_1, &Config::default());
    let port = Port::reserve();
    let config = Config { port: port.number(), ..Config::default() };
    let second = node::start(Line::V4, &config);
    let bridge = Example::start("bridge_two", [first.url(), second.url()]);
    let joined = [
        "first: joined /, Engine.IO 3 (servers 1.x and 2.x)",
        "second: joined /, Engine.IO 4 (servers 3.x and 4.x)",
    ];
    bridge.until(joined);

    // Both ways at once. One in ten is asked for an answer.
    let sides = [(&first, &second, "there"), (&second, &first, "back")];
    for (from, _, stream) in sides {
        from.pump(stream, 100);
    }
    for (from, to, stream) in sides {
        support::eventually("all are answered", || from.pumped(stream).1.len() == 10).await;
        let answers: Vec<_> = (0..100).step_by(10).map(|number| (number, number)).collect();
        assert_eq!(from.pumped(stream), (100, answers));
        support::eventually("all have come", || to.recorded(stream).len() >= 100).await;
        assert_eq!(to.recorded(stream), (0..100).collect::<Vec<_>>());
        assert_eq!(from.recorded(stream), [0; 0], "nothing comes back");
    }
    // This stays here.
    first.emit("/", How::Plain, &json!(["debug", 1]));

    // What is emitted while a server is away waits for it.
    second.kill();
    bridge.until(["second: the connection was closed"]);
    first.emit("/", How::Plain, &json!(["record", "late", 1]));
    let second = node::start(Line::V4, &config);
    bridge.until([joined[1]]);
    support::eventually("it has come", || second.recorded("late") == [1]).await;

    bridge.interrupt();
    let printed = bridge.end();
    let [.., forward, back] = printed.as_slice() else { panic!("no counts: {printed:#?}") };
    assert_eq!(
        forward,
        "forward: 102 heard, 101 passed on, 101 written, 10 answered, 0 refused, 0 echoes"
    );
    assert_eq!(
        back,
        "back: 100 heard, 100 passed on, 100 written, 10 answered, 0 refused, 0 echoes"
    );
}

/// The types are the same on both sides.
#[test]
fn typed_shares_contracts_with_its_server() {
    let mut printed = Example::start::<&str>("typed", []).end();
    printed.sort_unstable();
    let expected = [
        "main: the inn at JFK for 240",
        r#"main: the server was told: LH400 true, BA178 false, AF23 {"error":"nobody told me of AF23"}"#,
        "traveller: joined /",
        "traveller: there is a flight BA178 to LHR",
        "traveller: there is a flight LH400 to FRA",
    ];
    assert_eq!(printed, expected);
}

#[actix::test]
async fn middleware_sees_changes_drops_and_answers() {
    let server = node::start(Line::V4, &Config::default());
    server.set_token("sesame");
    let url = format!("{}/guarded", server.url());
    let example = Example::start_with(("TOKEN", "sesame"), "middleware", [&url]);
    for line in [
        "> CONNECT /guarded with token",
        "a euro is worth 1.25 dollars",
        "debug: a middleware stopped the event: it is for nobody else",
        r#"> echo ["one",1]"#,
        r#"the server has got "one", with the number 1"#,
        r#"> echo ["two",2]"#,
        r#"the server has got "two", with the number 2"#,
        r#"> echo ["three",3]"#,
        r#"the server has got "three", with the number 3"#,
        "four: never sent: a middleware stopped the event: too many events",
    ] {
        assert_eq!(example.line(), line);
    }
    assert_eq!(server.tokens(), ["sesame"]);

    let tea = |price: i32| json!(["price", "tea", price]);
    for (how, event, seen, heard) in [
        (How::Plain, tea(3), r#"price ["tea",3]"#, Some("tea costs 3.75 dollars")),
        (How::Plain, tea(-3), r#"price ["tea",-3]"#, None),
        (How::Plain, json!(["price", "tea"]), r#"price ["tea"]"#, None),
        (How::Plain, json!(["gossip"]), "gossip []", None),
        (How::Asking, json!(["are_you_there"]), "are_you_there []", None),
        (How::Plain, json!(["notice", 1]), "notice [1]", Some("notice: [1]")),
    ] {
        server.emit("/guarded", how, &event);
        assert_eq!(example.line(), format!("< {seen}"));
        if let Some(heard) = heard {
            assert_eq!(example.line(), heard);
        }
    }
    support::eventually("it is answered", || server.answers() == ["yes"]).await;

    example.interrupt();
    assert_eq!(example.end(), ["dropped: 3 that came, 2 that were to go"]);
}

#[test]
fn middleware_does_not_join_without_a_token() {
    let server = node::start(Line::V4, &Config::default());
    let example = Example::start("middleware", [format!("{}/guarded", server.url())]);
    let (status, printed) = example.end_somehow();
    assert!(!status.success(), "{printed:#?}");
    // Who shows the requests to join has not seen one, and neither has the server.
    assert_eq!(printed, [""; 0]);
    assert!(server.tokens().is_empty());
}

/// What `sio` prints with these arguments and this input.
fn sio(arguments: &[&str], input: &str) -> (ExitStatus, String, String) {
    let mut child = Command::new(program("sio"))
        .args(arguments)
        .env_remove("SIO_AUTH")
        .env_remove("SIO_PROXY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended, and read nothing.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

#[test]
fn sio_emits_and_prints_the_answer() {
    let server = node::start(Line::V4, &Config::default());
    let file = env::temp_dir().join(format!("sio-{}", std::process::id()));
    std::fs::write(&file, [0, 255]).unwrap();
    let attachment = format!("@{}", file.display());
    let emit = ["emit", &server.url(), "echo"];
    for (more, expected) in [
        (&["1", "-2", r#"{"a":[true]}"#, "€ 5", "--ack"][..], "1 -2 {\"a\":[true]} \"€ 5\"\n"),
        (&[&attachment, "--ack"], "<2 bytes>\n"),
        (
            &[&attachment, "\u{1b}[2J\u{9b}", "--ack", "--json"],
            "[{\"hex\":\"00ff\"},\"\\u001b[2J\u{9b}\"]\n",
        ),
        (&["\u{1b}[2J\u{9b}", "--ack"], "\"\\u001b[2J\\u{9b}\"\n"),
        (&["--ack"], "\n"),
        (&["1"], ""),
    ] {
        let (status, printed, told) = sio(&[&emit, more].concat(), "");
        assert!(status.success(), "{told}");
        assert_eq!(printed, expected);
    }
    std::fs::remove_file(file).unwrap();
    let (status, printed, told) =
        sio(&["emit", &server.url(), "silent", "--ack", "--timeout", "0.1"], "");
    assert_eq!((status.code(), printed.as_str()), (Some(1), ""));
    assert!(told.contains("no answer"), "{told}");
}

#[actix::test]
async fn sio_prints_events_and_answers_them() {
    let server = node::start(Line::V4, &Config::default());
    let url = format!("{}/foo", server.url());
    let arguments = ["listen", &url, "a", "b", "--json", "-n", "2", "--answer", "[1]"];
    let example = Example::start("sio", arguments);
    support::eventually("it joins", || server.connections("/foo") == 1).await;
    server.emit("/foo", How::Plain, &json!(["other"]));
    server.emit("/foo", How::Plain, &json!(["a", "x", null]));
    server.emit("/foo", How::Asking, &json!(["b"]));
    let expected =
        [r#"{"args":["x",null],"event":"a"}"#, r#"{"args":[],"event":"b","wants_ack":true}"#];
    assert_eq!(example.end(), expected);
    support::eventually("it is answered", || server.answers() == [json!([1])]).await;

    // Until Ctrl-C.
    let example = Example::start("sio", ["listen", &url]);
    support::eventually("it joins", || server.connections("/foo") == 2).await;
    server.emit("/foo", How::Plain, &json!(["name\n", "\u{7}", 1.5]));
    assert_eq!(example.line(), r#"name\n "\u0007" 1.5"#);
    example.interrupt();
    assert_eq!(example.end(), [""; 0]);
    support::eventually("it leaves", || server.disconnections("/foo") == 2).await;
}

/// A program that was stopped for longer than the heartbeat gets what came meanwhile, and then finds that the
/// server has given it up. What the system did not take of the server is lost with the connection: the server has
/// discarded it.
async fn a_stopped_program_reads_first(line: Line) {
    let options = json!({ "pingInterval": 1_000, "pingTimeout": 2_000 });
    let server = node::start(line, &Config { options, ..Config::default() });
    let example = Example::start("sio", ["listen", &server.url(), "n", "--json"]);
    let mut discarded = 0;
    for round in 1..=2 {
        support::eventually("it joins", || server.connections("/") == round).await;
        server.publish("/", "n", 0..1);
        assert_eq!(example.line(), r#"{"args":[0],"event":"n"}"#);
        example.signal("-STOP");
        server.publish("/", "n", 0..450);
        assert_eq!(server.disconnections("/"), round - 1, "it was not lost before");
        support::eventually("it is given up", || server.disconnections("/") == round).await;
        example.signal("-CONT");
        let lost = server.discarded() - discarded;
        discarded += lost;
        for number in 0..450 - lost {
            assert_eq!(example.line(), format!(r#"{{"args":[{number}],"event":"n"}}"#));
        }
    }
    support::eventually("it joins again", || server.connections("/") == 3).await;
    example.interrupt();
    assert_eq!(example.end(), [""; 0]);
}

#[actix::test]
async fn a_program_that_was_stopped_reads_first_what_4_8_4_sent() {
    a_stopped_program_reads_first(Line::V4).await;
}

#[actix::test]
async fn a_program_that_was_stopped_reads_first_what_3_1_2_sent() {
    a_stopped_program_reads_first(Line::V3_1_2).await;
}

#[actix::test]
async fn a_program_that_was_stopped_reads_first_what_2_5_1_sent() {
    a_stopped_program_reads_first(Line::V2_5_1).await;
}

#[test]
fn sio_emits_what_it_reads() {
    let server = node::start(Line::V4, &Config::default());
    let pipe = ["pipe", &server.url()];
    let (status, printed, told) = sio(&pipe, "[\"record\",\"s\",1]\n\nrecord s 2\nrecord s 3");
    assert!(status.success() && printed.is_empty(), "{told}");
    assert_eq!(server.recorded("s"), [1, 2, 3]);
    let (status, _, told) = sio(&pipe, "record s 4\n[1]\nrecord s 5\n");
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("[1]: the first element is the name"), "{told}");
    assert_eq!(server.recorded("s"), [1, 2, 3, 4], "what was right is emitted");
}

#[test]
fn sio_records_what_goes_over_the_wire() {
    let server = node::start(Line::V4, &Config::default());
    let file = env::temp_dir().join(format!("sio-record-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let token = r#"{"token":"s3cret"}"#;
    let emit = ["emit", &server.url(), "echo", "1", "--ack", "--auth", token, "--record", path];
    let (status, printed, told) = sio(&emit, "");
    assert!(status.success(), "{told}");
    assert_eq!(printed, "1\n");
    let written = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!String::from_utf8_lossy(&written).contains("s3cret"));
    let records: Vec<_> = tap::read(&written[..]).map(Result::unwrap).collect();
    assert_eq!(records.first().unwrap().kind, Kind::Dialling);
    let answer = records.iter().find(|record| record.kind == Kind::Ack).unwrap();
    assert_eq!((answer.name.as_deref(), answer.text.as_str()), (Some("echo"), "[1]"));
    assert_eq!(records.last().unwrap().kind, Kind::Closed);
    let (status, _, told) = sio(&["listen", &server.url(), "--record", "/does/not/exist"], "");
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("/does/not/exist cannot be written"), "{told}");
}

#[test]
fn sio_says_what_is_wrong() {
    let server =
        node::start(Line::V4, &Config { middleware: Middleware::Refuse, ..Config::default() });
    let refused = sio(&["listen", &server.url(), "--no-reconnect"], "");
    assert_eq!((refused.0.code(), refused.1.as_str()), (Some(1), ""));
    assert!(refused.2.contains("denied"), "{}", refused.2);
    for arguments in [
        &["emit", &server.url()][..],
        &["listen", &server.url(), "-H", "no colon"],
        &["listen", &server.url(), "--cert", "x"],
        &["emit", &server.url(), "a", "@/does/not/exist"],
        &["emit", &server.url(), "a", "--ack", "--timeout", "-1"],
    ] {
        let (status, printed, told) = sio(arguments, "");
        assert_eq!((status.code(), printed.as_str()), (Some(2), ""), "{arguments:?}: {told}");
    }
    let (status, script, _) = sio(&["completions", "bash"], "");
    assert!(status.success() && script.contains("--no-reconnect"));
}

#[test]
fn token_fetches_a_token_when_the_server_wants_another_one() {
    let printed = Example::start::<&str>("token", []).end();
    let mut order = printed.iter().filter(|line| !line.starts_with("server: "));
    for line in [
        "tokens: 1 is at hand",
        "tokens: fetched 2",
        "tokens: fetched 3",
        "main: the work is done",
        "main: the work is done",
    ] {
        assert_eq!(order.next().map(String::as_str), Some(line), "{printed:#?}");
    }
    let joins = printed.iter().filter(|line| *line == "server: somebody has joined").count();
    assert_eq!(joins, 2, "{printed:#?}");
}

#[actix::test]
async fn web_serves_what_the_other_server_says() {
    let server = node::start(Line::V4, &Config::default());
    let web = Example::start("web", [server.url()]);
    let url = web.line();
    let http = awc::Client::default();
    let get = async |path: &str| {
        let mut answer = http.get(format!("{url}{path}")).send().await.unwrap();
        (
            answer.status().as_u16(),
            String::from_utf8_lossy(&answer.body().await.unwrap()).into_owned(),
        )
    };
    support::eventually("it joins", || server.connections("/") == 1).await;
    assert_eq!(get("/prices/tea").await.0, 404);
    server.emit("/", How::Plain, &json!(["price", "tea", 2.5]));
    server.emit("/", How::Asking, &json!(["anything"]));
    let known = async || get("/prices/tea").await == (200, "2.5".to_owned());
    support::every::within(async { while !known().await {} }).await;
    assert_eq!(get("/health").await, (200, "joined".to_owned()));
    let (_, page) = get("/metrics").await;
    assert!(page.contains("actix_socketio_events_in_total{client=\"prices\"} 2\n"), "{page}");
    web.interrupt();
    assert_eq!(web.end(), [""; 0]);
    support::eventually("it leaves", || server.disconnections("/") == 1).await;
}

#[actix::test]
async fn web_runs_alone() {
    let web = Example::start::<&str>("web", []);
    let url = web.line();
    let http = awc::Client::default();
    let mut answer = http.post(format!("{url}/orders/tea")).send().await.unwrap();
    assert_eq!(answer.body().await.unwrap(), "1");
    assert_eq!(web.line(), "server: an order of tea");
    web.interrupt();
    assert_eq!(web.end(), [""; 0]);
}

#[test]
fn tls_proxy_and_quickstart_run_alone() {
    for (name, last) in [
        ("tls", "joined /"),
        ("proxy", "joined /"),
        ("quickstart", "main: done, 0 events were not sent"),
    ] {
        let printed = Example::start::<&str>(name, []).end();
        assert!(printed.iter().any(|line| line == last), "{name}: {printed:#?}");
    }
}

#[test]
fn relay_consumer_reads_what_its_commands_have_brought_about() {
    let mut printed = Example::start::<&str>("relay_consumer", []).end();
    printed.retain(|line| !line.starts_with("billing: shop has "));
    printed.sort_unstable();
    let expected = [
        "billing: order 1 is tea",
        "billing: order 2 is milk",
        "billing: order 3 is sugar",
        "main: done",
        "main: milk is order 2",
        "main: sugar is order 3",
        "main: tea is order 1",
    ];
    assert_eq!(printed, expected);
}

#[test]
fn middleware_and_bridge_two_run_alone_until_they_are_told_to_end() {
    for (name, lines) in [
        ("middleware", ["server: are you there? yes", "tea costs 3.75 dollars"]),
        ("bridge_two", ["kitchen: tea is on its way", "kitchen: tea costs 3.00"]),
    ] {
        for signal in ["-INT", "-TERM"] {
            let example = Example::start::<&str>(name, []);
            example.until(lines);
            example.signal(signal);
            example.end();
        }
    }
}

#[test]
fn what_goes_wrong_is_printed_as_people_read_it() {
    let port = Port::reserve();
    let dead = port.url();
    let scheme = "unusable URL: it has no scheme: write http:// before the host\n";
    let refused = "Connection refused";
    for (name, url, expected) in [
        ("bridge", "localhost:3000", scheme),
        ("bridge_two", "localhost:3000", scheme),
        ("flights", "localhost:3000", scheme),
        ("middleware", "localhost:3000", scheme),
        ("middleware", &dead, refused),
        ("proxy", "localhost:3000", scheme),
        ("tls", "localhost:3000", scheme),
        ("web", "localhost:3000", scheme),
    ] {
        let mut command = Command::new(program(name));
        let output = command.args([url, url]).env("FLIGHTS_URL", url).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}: {printed}");
        assert!(printed.contains(expected) && !printed.contains("Err"), "{name}: {printed}");
        assert_eq!(printed.lines().count(), 1, "{name}: {printed}");
    }
}
