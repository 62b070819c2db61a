//! The example `inspector`: its page in Chromium, and access to it.
//!
//! `cargo test` builds it first; with `--test inspector` it is as `cargo build --examples` has left it. With
//! `PICTURES=<directory>`, pictures of the page are written there.

// Signals.
#![cfg(unix)]
// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
};

use serde_json::{Value, json};
use support::{
    browser::{Browser, Page},
    example::Example,
    node::{self, Config, How, Line},
    reserved::Port,
};

/// It runs until this is dropped.
struct Inspector {
    example: Example,
    url: String,
}

impl Inspector {
    fn start<const N: usize>(arguments: [&str; N]) -> Self {
        let example = Example::start("inspector", arguments);
        let url = example.line();
        Self { example, url }
    }
}

/// Waits until this holds in the page.
#[track_caller]
fn until(browser: &mut Browser, page: &Page, condition: &str) {
    let given = r#"
      const $ = (id) => document.getElementById(id);
      const rows = () => [...document.querySelectorAll(".row")].map((row) => row.innerText.replace(/\s+/g, " "));"#;
    browser.until(page, given, condition, "{ rows: rows(), page: document.body.innerText }");
}

/// Fills the form in, and sends it.
fn emit(browser: &mut Browser, page: &Page, event: &str, arguments: &Value, ack: bool) {
    let (event, arguments) = (Value::from(event), Value::from(arguments.to_string()));
    browser.evaluate(
        page,
        &format!(
            r#"{{
              document.getElementById("emit-event").value = {event};
              document.getElementById("emit-arguments").value = {arguments};
              document.getElementById("emit-ack").checked = {ack};
              document.querySelector("form button[type=submit]").click();
            }}"#
        ),
    );
}

fn press(browser: &mut Browser, page: &Page, key: &str) {
    let pressed = json!({ "key": key, "bubbles": true, "cancelable": true });
    browser.evaluate(
        page,
        &format!(
            r#"void document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {pressed}))"#
        ),
    );
}

/// Types into the field of this id, or chooses there.
fn put(browser: &mut Browser, page: &Page, id: &str, value: &str) {
    let value = Value::from(value);
    browser.evaluate(
        page,
        &format!(
            r#"{{
              const field = document.getElementById("{id}");
              field.value = {value};
              field.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }}"#
        ),
    );
}

fn tick(browser: &mut Browser, page: &Page, name: &str) {
    browser.evaluate(page, &format!(r#"document.querySelector("input[name={name}]").click()"#));
}

/// The page of an inspector, in a wide window, when the namespace is joined.
fn joined(browser: &mut Browser, inspector: &Inspector) -> Page {
    let page = browser.open(&inspector.url);
    browser.dress(&page, (1400, 900), false);
    until(browser, &page, JOINED);
    page
}

/// Takes a picture of the page, if somebody wants to see it.
fn picture(browser: &mut Browser, page: &Page, name: &str) {
    if let Some(directory) = env::var_os("PICTURES") {
        let picture = browser.picture(page);
        fs::write(Path::new(&directory).join(format!("inspect-{name}.png")), picture).unwrap();
    }
}

const JOINED: &str = r#"$("state").textContent === "joined""#;

#[test]
fn messages_are_shown_filtered_and_searched() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url(), "--auth", r#"{"token":"s3cret"}"#]);
    let page = joined(&mut browser, &inspector);
    server.emit("/", How::Plain, &json!(["price", "tea", 2.5]));
    server.emit("/", How::Plain, &json!(["price", "coffee", 3]));
    server.emit("/", How::Binary, &json!(["picture", "cup"]));
    until(&mut browser, &page, r#"rows().some((row) => row.includes('price "tea",2.5 '))"#);
    until(&mut browser, &page, r#"rows().some((row) => row.includes("attachment 010203 3"))"#);
    // The credentials are nowhere.
    until(&mut browser, &page, r#"rows().some((row) => row.includes("connect / (not shown)"))"#);
    until(&mut browser, &page, r#"!document.documentElement.outerHTML.includes("s3cret")"#);

    press(&mut browser, &page, "/");
    until(&mut browser, &page, r#"document.activeElement === $("search")"#);
    put(&mut browser, &page, "search", "TEA price");
    until(&mut browser, &page, r#"rows().length === 1 && rows()[0].includes("tea")"#);
    until(&mut browser, &page, r#"document.querySelector(".row mark").textContent === "tea""#);
    put(&mut browser, &page, "search", "nothing like it");
    until(&mut browser, &page, r#"$("empty").textContent === "No message fits the filters.""#);
    put(&mut browser, &page, "search", "");
    put(&mut browser, &page, "direction", "out");
    until(&mut browser, &page, r#"rows().length === 1 && rows()[0].includes("connect")"#);
    put(&mut browser, &page, "direction", "");
    tick(&mut browser, &page, "change");
    until(&mut browser, &page, r#"!rows().some((row) => row.includes("dialling"))"#);
    tick(&mut browser, &page, "event");
    until(&mut browser, &page, "rows().length === 2");
    tick(&mut browser, &page, "event");

    // A message of its own, in both forms.
    put(&mut browser, &page, "search", "coffee");
    until(&mut browser, &page, "rows().length === 1");
    press(&mut browser, &page, "Escape");
    press(&mut browser, &page, "j");
    until(&mut browser, &page, r#"$("body").textContent === '[\n  "price",\n  "coffee",\n  3\n]'"#);
    press(&mut browser, &page, "x");
    let dump =
        r#"$("body").textContent.startsWith('0000  5b 22 70 72 69 63 65 22  ["price"\n0008  2c')"#;
    until(&mut browser, &page, dump);
    press(&mut browser, &page, "?");
    until(&mut browser, &page, r#"$("keys").open"#);
}

#[test]
fn the_list_is_paused_and_goes_on() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url()]);
    let page = joined(&mut browser, &inspector);
    press(&mut browser, &page, " ");
    until(&mut browser, &page, r#"$("pause").textContent === "Go on""#);
    server.emit("/", How::Plain, &json!(["late"]));
    until(&mut browser, &page, r#"$("counts").textContent.includes("1 waiting")"#);
    until(&mut browser, &page, r#"!rows().some((row) => row.includes("late"))"#);
    press(&mut browser, &page, " ");
    until(&mut browser, &page, r#"rows().some((row) => row.includes("late"))"#);
    press(&mut browser, &page, "c");
    until(&mut browser, &page, "rows().length === 0");
}

#[test]
fn events_are_emitted_and_their_answers_shown() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url()]);
    let page = joined(&mut browser, &inspector);
    emit(&mut browser, &page, "echo", &json!([1, { "a": "<i>ü</i>" }]), true);
    until(&mut browser, &page, r#"$("answer").textContent.startsWith('[1,{"a":"<i>ü</i>"}] (')"#);
    until(&mut browser, &page, r"rows().some((row) => /ack \/ echo [\d.]+ ms \[1,/.test(row))");
    picture(&mut browser, &page, "emit");
    until(&mut browser, &page, r#"/^median [\d.]+ ms/.test($("latency").textContent)"#);
    emit(&mut browser, &page, "record", &json!(["byhand", 7]), false);
    until(&mut browser, &page, r#"$("answer").textContent.startsWith("sent")"#);
    assert_eq!(server.recorded("byhand"), [7]);
    emit(&mut browser, &page, "echo", &json!({}), true);
    until(&mut browser, &page, r#"$("answer").textContent.includes("a JSON array")"#);
    emit(&mut browser, &page, "disconnect", &json!([]), true);
    until(&mut browser, &page, r#"$("answer").className === "bad""#);
    // Another namespace.
    put(&mut browser, &page, "emit-namespace", "/foo");
    emit(&mut browser, &page, "number", &json!([]), true);
    until(&mut browser, &page, r#"$("answer").textContent.startsWith("[7]")"#);
    until(
        &mut browser,
        &page,
        r#"[...$("namespace").options].some((one) => one.value === "/foo")"#,
    );
}

#[test]
fn a_loss_and_the_way_back_are_on_the_time_line() {
    let Some(mut browser) = Browser::start() else { return };
    let port = Port::reserve();
    let config = Config { port: port.number(), ..Config::default() };
    let server = node::start(Line::V4, &config);
    let inspector = Inspector::start([&server.url()]);
    let page = joined(&mut browser, &inspector);
    server.kill();
    until(&mut browser, &page, r#"$("state").dataset.state !== "open""#);
    until(&mut browser, &page, r#"$("timeline").querySelector("[data-state=wait]")"#);
    let _server = node::start(Line::V4, &config);
    until(&mut browser, &page, JOINED);
    until(
        &mut browser,
        &page,
        r#"$("timeline").querySelectorAll("[data-state=open]").length === 2"#,
    );
    until(&mut browser, &page, r#"rows().some((row) => row.includes("lost"))"#);

    picture(&mut browser, &page, "loss");

    // By hand.
    browser.evaluate(&page, r#"document.getElementById("link").click()"#);
    until(&mut browser, &page, r#"$("state").textContent === "left""#);
    browser.evaluate(&page, r#"document.getElementById("link").click()"#);
    until(&mut browser, &page, JOINED);
}

#[test]
fn markup_in_an_event_is_shown_as_text() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url()]);
    let page = joined(&mut browser, &inspector);
    let evil = "<img src=x onerror=\"document.title='run'\">";
    server.emit("/", How::Plain, &json!([evil, { evil: evil }]));
    let shown = r#"[...document.querySelectorAll(".row .name")].some((name) => name.textContent.startsWith("<img src=x"))"#;
    until(&mut browser, &page, shown);
    put(&mut browser, &page, "search", "onerror");
    press(&mut browser, &page, "Escape");
    press(&mut browser, &page, "j");
    until(&mut browser, &page, r#"$("body").textContent.includes("<img src=x")"#);
    until(
        &mut browser,
        &page,
        r#"document.querySelector("img") === null && document.title === "inspector""#,
    );
}

/// 200 000 events, as fast as the server sends them.
#[test]
fn a_flood_leaves_the_page_usable() {
    let Some(mut browser) = Browser::start() else { return };
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url()]);
    let page = joined(&mut browser, &inspector);
    for _ in 0..4 {
        emit(&mut browser, &page, "burst", &json!([50_000]), false);
    }
    until(&mut browser, &page, r#"$("counts").textContent.includes("skipped")"#);
    // It answers in the middle of it.
    until(&mut browser, &page, r#"/events in\s+1?\d\d\s\d{3}\s/.test($("stats").innerText)"#);
    browser.evaluate(&page, r#"document.getElementById("pause").click()"#);
    until(&mut browser, &page, r#"$("pause").textContent === "Go on""#);
    press(&mut browser, &page, " ");
    picture(&mut browser, &page, "flood");
    let few = r#"document.querySelectorAll("*").length < 800"#;
    until(&mut browser, &page, few);
    let all = r#"/events in\s+200\s004/.test($("stats").innerText)"#;
    until(&mut browser, &page, all);
    until(&mut browser, &page, few);
    // The newest are shown, and no more is kept than this.
    until(&mut browser, &page, r#"rows().some((row) => row.includes("burst_done"))"#);
    until(
        &mut browser,
        &page,
        r#"Number($("counts").textContent.split(" of ")[1].split("·")[0].replace(/\D/g, "")) <= 5000"#,
    );
    until(&mut browser, &page, r#"$("state").textContent === "joined""#);
}

#[test]
fn the_page_fits_into_narrow_and_wide_windows_light_and_dark() {
    let Some(mut browser) = Browser::start() else { return };
    let inspector = Inspector::start([]);
    let page = joined(&mut browser, &inspector);
    until(&mut browser, &page, r#"rows().some((row) => row.includes("order"))"#);
    until(&mut browser, &page, r#"/^median/.test($("latency").textContent)"#);
    until(&mut browser, &page, r#"/[1-9]/.test($("rate").textContent)"#);
    put(&mut browser, &page, "search", "order");
    press(&mut browser, &page, "Escape");
    press(&mut browser, &page, "j");
    put(&mut browser, &page, "search", "");
    for (name, size, is_dark) in [
        ("wide-light", (1400, 900), false),
        ("wide-dark", (1400, 900), true),
        ("narrow-light", (390, 844), false),
        ("narrow-dark", (390, 844), true),
    ] {
        browser.dress(&page, size, is_dark);
        until(&mut browser, &page, &format!("innerWidth === {}", size.0));
        until(&mut browser, &page, "document.documentElement.scrollWidth <= innerWidth");
        let scheme = if is_dark { "dark" } else { "light" };
        let back =
            format!(r#"getComputedStyle(document.documentElement).colorScheme === "{scheme}""#);
        until(&mut browser, &page, &back);
        picture(&mut browser, &page, name);
    }
    // The switch is stronger than the system.
    let dark = r#"getComputedStyle(document.documentElement).colorScheme === "dark""#;
    press(&mut browser, &page, "t");
    until(&mut browser, &page, &format!("!({dark})"));
    press(&mut browser, &page, "t");
    until(&mut browser, &page, dark);
}

/// The head of the answer to a request for this, with these headers.
fn answer(address: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\n{}\r\n", headers.concat()).unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    head.join("\n")
}

fn status(address: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let head = answer(address, path, headers);
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{head}"))
}

#[test]
fn nobody_gets_in_without_the_token_or_from_elsewhere() {
    let server = node::start(Line::V4, &Config::default());
    let inspector = Inspector::start([&server.url()]);
    let (address, path) = inspector.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (path, port) = (format!("/{path}"), address.rsplit(':').next().unwrap());
    assert_eq!(path.len(), 34, "32 digits");
    for part in ["", "page.js", "page.css"] {
        assert_eq!(status(address, &format!("{path}{part}"), &[("host", address)]), 200, "{part}");
        assert_eq!(status(address, &format!("/{part}"), &[("host", address)]), 403, "{part}");
    }
    assert_eq!(status(address, &format!("/{}/", "0".repeat(32)), &[("host", address)]), 403);
    let local = format!("localhost:{port}");
    assert_eq!(status(address, &path, &[("host", &local)]), 200);
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", "localhost:1"] {
        assert_eq!(status(address, &path, &[("host", host)]), 403, "{host}");
    }
    let websocket = [
        ("host", address),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (origin, expected) in [
        (format!("http://{address}"), 101),
        (format!("https://{address}"), 403),
        ("http://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
    ] {
        let headers = [&websocket[..], &[("origin", &origin)]].concat();
        assert_eq!(status(address, &format!("{path}ws"), &headers), expected, "{origin}");
    }
    let head = answer(address, &path, &[("host", address)]);
    assert!(
        head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
        "{head}"
    );

    // It ends with Ctrl-C.
    inspector.example.interrupt();
    inspector.example.end();
}
