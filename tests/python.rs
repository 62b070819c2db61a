//! Servers in Python: python-socketio, old and current, and Flask-SocketIO with and without websockets.
//! They run where the variable `PYTHON_SERVERS` names a directory with a virtual environment for each list
//! of packages in `tests/support/python`, by its name.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use actix_socketio::{Client, Protocol, Reason, Transport};
use bytes::Bytes;
use serde_json::Value;
use support::{
    builder, client, eventually, every::within, proxy::Proxy, recorder::Recorder, storm::quick,
};

const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const POLLING: &[Transport] = &[Transport::Polling];
const UPGRADE: &[Transport] = &[Transport::Polling, Transport::WebSocket];

/// It is killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// With the packages of this list; none, with a message, where they are not there.
    fn start(packages: &str, kind: &str) -> Option<Self> {
        let Some(place) = env::var_os("PYTHON_SERVERS") else {
            eprintln!("PYTHON_SERVERS is not set: skipped");
            return None;
        };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python");
        let mut child = Command::new(Path::new(&place).join(packages).join("bin/python"))
            .args(["server.py", kind])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Some(Self { child, port })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Everything that a client does, once, with numbers both ways.
async fn main_job(client: &Client, recorder: &mut Recorder, stream: &str) {
    const COUNT: u64 = 300;
    let socket = client.socket();
    let data = Bytes::from_static(&[0, 255, 30, 4]);
    let echoed = within(socket.emit_with_ack("echo", ("€😀\u{1e}", &data))).await;
    let (text, back): (String, Bytes) = echoed.unwrap();
    assert_eq!((text.as_str(), &back), ("€😀\u{1e}", &data));
    // The other way round.
    socket.emit("ask", ("what", &data)).unwrap();
    let question = recorder.next_event("question").await;
    assert_eq!(question.args::<(String, Bytes)>().unwrap(), ("what".to_owned(), data.clone()));
    question.ack(("this", &data)).unwrap();
    let answered = recorder.next_event("answered").await;
    assert_eq!(answered.args::<(String, Bytes)>().unwrap(), ("this".to_owned(), data));
    let other = client.of("/foo").unwrap();
    other.connect();
    let there: Value = within(other.emit_with_ack("echo", "there")).await.unwrap();
    assert_eq!(there, "there");
    other.disconnect();
    socket.emit("burst", COUNT).unwrap();
    for number in 0..COUNT {
        socket.emit("record", (stream, number)).unwrap();
    }
    recorder.burst(COUNT).await;
    // A server may handle events at the same time, so in any order.
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 300 {
        numbers = within(socket.emit_with_ack("recorded", stream)).await.unwrap();
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

/// The main job, a lost connection, and the same again.
async fn works(server: &Server, transports: &[Transport], protocol: Protocol) {
    let proxy = Proxy::start(server.port);
    let builder = client(proxy.url()).transports(transports.iter().copied()).reconnect(quick());
    let client = builder.start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    assert_eq!(client.protocol(), Some(protocol));
    let name = format!("{}-{}", transports.len(), proxy.port());
    main_job(&client, &mut recorder, &format!("{name}-before")).await;
    let last = transports.last().copied();
    eventually("the last transport", || client.transport() == last).await;
    let reason = proxy.cut_until(recorder.next_disconnected()).await;
    let expected = matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_));
    assert!(expected, "{reason:?}");
    recorder.ready_after_attempts().await;
    main_job(&client, &mut recorder, &format!("{name}-after")).await;
}

#[actix::test]
async fn python_socketio_works_over_each_transport() {
    let Some(server) = Server::start("current", "aiohttp") else { return };
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        works(&server, transports, Protocol::Eio4).await;
    }
}

#[actix::test]
async fn python_socketio_4_works_over_each_transport() {
    let Some(server) = Server::start("old", "aiohttp") else { return };
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        works(&server, transports, Protocol::Eio3).await;
    }
}

#[actix::test]
async fn flask_socketio_works_over_each_transport() {
    let Some(server) = Server::start("current", "flask") else { return };
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        works(&server, transports, Protocol::Eio4).await;
    }
}

#[actix::test]
async fn flask_socketio_without_websockets_works_by_polling_which_is_found_by_default() {
    let Some(server) = Server::start("polling", "flask") else { return };
    works(&server, POLLING, Protocol::Eio4).await;
    // By default, and where the order is the other one.
    for builder in
        [Client::builder(server.url()), builder(server.url()).transports(UPGRADE.to_vec())]
    {
        let client = builder.start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        main_job(&client, &mut recorder, &support::every::unique("default")).await;
        assert_eq!(client.transport(), Some(Transport::Polling));
    }
    let client = builder(server.url()).transports([Transport::WebSocket]).start().unwrap();
    let reason = Recorder::of(client.socket()).next_connect_error().await;
    assert!(reason.to_string().contains("option transports"), "{reason}");
}
