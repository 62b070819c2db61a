//! Each option at 0, 1 and its maximum, alone and in pairs, against a real server: it is refused by its name, or the
//! client does its job.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use actix_socketio::{
    Bridge, BridgeBuilder, BridgeCounts, BridgeError, BuildError, Client, ClientBuilder, IpFamily,
    NamespaceBuilder, NamespaceError, Offline, Overflow, Reconnect, Route, Socket, Transport,
    tap::Tap,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{join, join_all},
};
use support::{PATIENCE, oxide};

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// The client does its job.
    Works,
    /// It is refused by its name.
    Refused,
    /// It is a limit that the job exceeds: something fails, and nothing hangs.
    Tight,
}
use Outcome::{Refused, Tight, Works};

struct Edge<B> {
    option: &'static str,
    value: String,
    outcome: Outcome,
    set: Box<dyn Fn(B) -> B>,
}

fn edges<B: 'static, T: Clone + std::fmt::Debug + 'static>(
    option: &'static str,
    set: impl Fn(B, T) -> B + Copy + 'static,
    values: impl IntoIterator<Item = (T, Outcome)>,
) -> Vec<Edge<B>> {
    let edge = |(value, outcome): (T, Outcome)| Edge {
        option,
        value: format!("{value:?}"),
        outcome,
        set: Box::new(move |builder| set(builder, value.clone())),
    };
    values.into_iter().map(edge).collect()
}

/// How long to wait for a namespace that may never be joined.
const TIGHT: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const LONG: Duration = Duration::MAX;
const TIMES: [(Duration, Outcome); 3] = [(Duration::ZERO, Refused), (NANO, Tight), (LONG, Works)];
const COUNTS: [(usize, Outcome); 3] = [(0, Refused), (1, Works), (usize::MAX, Works)];
const LOADS: [((usize, usize), Outcome); 4] =
    [((0, 1), Refused), ((1, 0), Refused), ((1, 1), Works), ((usize::MAX, usize::MAX), Works)];
const TEXTS: [(usize, Outcome); 3] = [(0, Works), (1, Works), (usize::MAX, Works)];
const REPEATS: [(u32, Outcome); 3] = [(0, Works), (1, Works), (u32::MAX, Works)];
const OFFLINE: [(Offline, Outcome); 2] = [(Offline::Buffer, Works), (Offline::Fail, Works)];

fn overflows() -> [(Overflow, Outcome); 7] {
    [
        (Overflow::Pause, Works),
        (Overflow::DropNewest { waiting: 0 }, Tight),
        (Overflow::DropNewest { waiting: 1 }, Works),
        (Overflow::DropNewest { waiting: usize::MAX }, Works),
        (Overflow::Disconnect { waiting: 0 }, Tight),
        (Overflow::Disconnect { waiting: 1 }, Works),
        (Overflow::Disconnect { waiting: usize::MAX }, Works),
    ]
}

/// Of 64 and 65 bytes.
const LONGEST: &str = TOO_LONG.split_at(64).0;
const TOO_LONG: &str = "a-name-of-sixty-five-bytes-is-one-too-many-for-the-name-of-client";

fn client_edges() -> Vec<Edge<ClientBuilder>> {
    type B = ClientBuilder;
    let attempts = |builder: B, n| builder.reconnect(Reconnect::default().attempts(n));
    let delay = |builder: B, (min, max)| builder.reconnect(Reconnect::default().delay(min, max));
    let jitter = |builder: B, part| builder.reconnect(Reconnect::default().jitter(part));
    [
        edges(
            "name",
            |builder: B, name: &'static str| builder.name(name),
            [("", Refused), ("a", Works), (LONGEST, Works), (TOO_LONG, Refused), ("a\nb", Refused)],
        ),
        edges("reconnect", attempts, REPEATS),
        edges("reconnect", delay, [((NANO, NANO), Works), ((LONG, LONG), Works)]),
        edges("reconnect", jitter, [(0.0, Works), (1.0, Works)]),
        edges("connect_timeout", B::connect_timeout, TIMES),
        edges("join_timeout", B::join_timeout, TIMES),
        edges("overflow", B::overflow, overflows()),
        edges("offline", B::offline, OFFLINE),
        edges("ack_timeout", B::ack_timeout, TIMES),
        edges("retries", B::retries, REPEATS),
        edges("retry_window", B::retry_window, COUNTS),
        // Polling alone has tests of its own: this server joins packets there that belong apart.
        edges(
            "transports",
            |builder: B, list: &'static [Transport]| builder.transports(list.iter().copied()),
            [
                (&[][..], Refused),
                (&[Transport::WebSocket], Works),
                (&[Transport::WebSocket, Transport::Polling], Works),
            ],
        ),
        edges(
            "subprotocols",
            |builder: B, names: &'static [&str]| builder.subprotocols(names.iter().copied()),
            [
                (&[][..], Works),
                (&["a"], Works),
                (&["!#$%&'*+-.^_`|~09AZaz", "b"], Works),
                (&["a", "a"], Refused),
                (&[""], Refused),
                (&["a b"], Refused),
                (&["a,b"], Refused),
                (&["a\r\nb"], Refused),
                (&["ä"], Refused),
                (&[["x"; 17]][0], Refused),
            ],
        ),
        edges("remember_upgrade", B::remember_upgrade, [(false, Works), (true, Works)]),
        edges(
            "ip_family",
            B::ip_family,
            [(IpFamily::Any, Works), (IpFamily::V4, Works), (IpFamily::V6, Tight)],
        ),
        edges(
            "local_address",
            |builder: B, address: IpAddr| builder.local_address(address),
            [
                (IpAddr::V4(Ipv4Addr::LOCALHOST), Works),
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Works),
                (IpAddr::V6(Ipv6Addr::LOCALHOST), Tight),
            ],
        ),
        edges("message_ids", B::message_ids, [(false, Works), (true, Works)]),
        edges("tap", |builder: B, text| builder.tap(Tap::new(|_| ()).text(text)), TEXTS),
        edges("send_buffer", |builder: B, (n, bytes)| builder.send_buffer(n, bytes), LOADS),
        edges("pending_acks", B::pending_acks, COUNTS),
        edges("receive_window", |builder: B, (n, bytes)| builder.receive_window(n, bytes), LOADS),
        edges("max_payload", B::max_payload, [(0, Refused), (1, Tight), (u64::MAX, Works)]),
        edges(
            "max_message_size",
            B::max_message_size,
            [(0, Refused), (1, Tight), (usize::MAX, Works)],
        ),
        edges("max_attachments", B::max_attachments, [(0, Tight), (1, Works), (usize::MAX, Works)]),
        edges("attachment_timeout", B::attachment_timeout, TIMES),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Texts, values of other types, and code: they have no edges.
const CLIENT_OTHERS: [&str; 19] = [
    "fallback",
    "proxy",
    "unix_socket",
    "dialer",
    "tls",
    "path",
    "add_trailing_slash",
    "query",
    "header",
    "bearer_auth",
    "basic_auth",
    "protocol",
    "parser",
    "auth",
    "auth_with",
    "headers_with",
    "query_with",
    "resume",
    "middleware",
];

fn namespace_edges() -> Vec<Edge<NamespaceBuilder>> {
    type B = NamespaceBuilder;
    [
        edges("overflow", B::overflow, overflows()),
        edges("offline", B::offline, OFFLINE),
        edges("ack_timeout", B::ack_timeout, TIMES),
        edges("retries", B::retries, REPEATS),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const NAMESPACE_OTHERS: [&str; 4] = ["auth", "auth_with", "without_auth", "middleware"];

fn bridge_edges() -> Vec<Edge<BridgeBuilder>> {
    type B = BridgeBuilder;
    let memories = [((0, Duration::ZERO), Works), ((1, NANO), Works), ((usize::MAX, LONG), Works)];
    [
        edges("ack_timeout", B::ack_timeout, TIMES),
        edges("overflow", B::overflow, overflows()),
        edges("echo_memory", |builder: B, (n, time)| builder.echo_memory(n, time), memories),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const BRIDGE_OTHERS: [&str; 2] = ["forward", "back"];

/// The setters that a file defines.
fn setters(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(path).unwrap();
    let setters = text.split("pub fn ").skip(1).filter(|function| {
        let head = function.split('{').next().unwrap();
        (head.contains("(mut self") || head.contains("(self")) && head.contains("-> Self")
    });
    setters.map(|setter| setter.split(['(', '<']).next().unwrap().to_owned()).collect()
}

fn names<B>(edges: &[Edge<B>], others: &[&str]) -> BTreeSet<String> {
    let others = others.iter().map(|name| (*name).to_owned());
    edges.iter().map(|edge| edge.option.to_owned()).chain(others).collect()
}

#[test]
fn each_option_is_in_the_lists() {
    assert_eq!(setters("client/builder/options.rs"), names(&client_edges(), &CLIENT_OTHERS));
    assert_eq!(
        setters("client/namespace_builder.rs"),
        names(&namespace_edges(), &NAMESPACE_OTHERS)
    );
    assert_eq!(setters("bridge/mod.rs"), names(&bridge_edges(), &BRIDGE_OTHERS));
}

/// Events in both directions, answers, attachments.
async fn work(socket: &Socket, patience: Duration) -> Result<(), String> {
    let failed =
        |step: &'static str| move |error: &dyn std::fmt::Debug| format!("{step}: {error:?}");
    let mut echoes = socket.listen("echo").stream();
    let ready = socket.ready().timeout(patience).await;
    ready.map_err(|error| failed("ready")(&error))?;
    for number in 0..2_u8 {
        let written = socket.emit("echo", number).map_err(|error| failed("emit")(&error))?;
        written.await.map_err(|error| failed("written")(&error))?;
        let echo = echoes.next().await.ok_or("no echo")?;
        assert_eq!(echo.args::<u8>(), Ok(number));
    }
    let answer = socket.emit_with_ack("echo", 7_u8).await;
    let answer: (u8,) = answer.map_err(|error| failed("answer")(&error))?;
    assert_eq!(answer, (7,));
    let data = Bytes::from_static(b"data");
    let written = socket.emit("echo", &data).map_err(|error| failed("binary")(&error))?;
    written.await.map_err(|error| failed("binary")(&error))?;
    let echo = echoes.next().await.ok_or("no binary echo")?;
    assert_eq!(echo.args::<Bytes>(), Ok(data));
    socket.disconnect();
    Ok(())
}

/// The job ends; what it comes to is that of the values.
async fn check(what: String, outcome: Outcome, client: Client, socket: Socket) {
    let worked = tokio::time::timeout(PATIENCE, async {
        // What is too tight never comes, but then the client says so.
        if outcome == Tight {
            let job = work(&socket, TIGHT);
            let end = async {
                socket.ready().timeout(TIGHT).await.ok();
                client.shutdown(Duration::from_secs(1)).await;
            };
            return join(job, end).await.0;
        }
        work(&socket, PATIENCE).await
    });
    let worked = worked.await.unwrap_or_else(|_| panic!("{what}: it hangs"));
    if outcome == Works {
        assert_eq!(worked, Ok(()), "{what}");
    }
    let shutdown = tokio::time::timeout(PATIENCE, client.shutdown(Duration::from_secs(1)));
    shutdown.await.unwrap_or_else(|_| panic!("{what}: its shutdown hangs"));
}

#[actix_web::test]
async fn an_option_at_its_edge_is_refused_by_its_name_or_works() {
    let server = oxide::start();
    for Edge { option, value, outcome, set } in client_edges() {
        let what = format!("{option} {value}");
        match set(Client::builder(server.url())).start() {
            Ok(client) => {
                assert_ne!(outcome, Refused, "{what}: it is taken");
                let socket = client.socket().clone();
                check(what, outcome, client, socket).await;
            }
            Err(BuildError::Option { name, .. }) if outcome == Refused => assert_eq!(name, option),
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

#[actix_web::test]
async fn two_options_at_their_edges_work_together() {
    let server = oxide::start();
    let mut edges = client_edges();
    edges.retain(|edge| edge.outcome == Works);
    for (n, first) in edges.iter().enumerate() {
        let others = edges[..n].iter().filter(|second| second.option != first.option);
        let jobs = others.map(|second| {
            let what =
                format!("{} {}, {} {}", first.option, first.value, second.option, second.value);
            let builder = (second.set)((first.set)(Client::builder(server.url())));
            let client = builder.start().unwrap_or_else(|error| panic!("{what}: {error}"));
            let socket = client.socket().clone();
            check(what, Works, client, socket)
        });
        join_all(jobs).await;
    }
}

#[actix_web::test]
async fn an_option_of_a_namespace_at_its_edge_is_refused_by_its_name_or_works() {
    let server = oxide::start();
    for Edge { option, value, outcome, set } in namespace_edges() {
        let what = format!("{option} {value}");
        let client = Client::builder(server.url()).start().unwrap();
        match set(client.namespace("/foo")).join() {
            Ok(socket) => {
                assert_ne!(outcome, Refused, "{what}: it is taken");
                check(what, outcome, client, socket).await;
            }
            Err(NamespaceError::Option { name, .. }) if outcome == Refused => {
                assert_eq!(name, option);
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

#[actix_web::test]
async fn two_options_of_a_namespace_or_its_client_at_their_edges_work_together() {
    let server = oxide::start();
    for first in namespace_edges().iter().filter(|edge| edge.outcome == Works) {
        let namespace = namespace_edges();
        let namespace = namespace.iter().filter(|second| second.option != first.option);
        let pairs = namespace.map(|second| {
            let client = Client::builder(server.url()).start().unwrap();
            let builder = (second.set)((first.set)(client.namespace("/foo")));
            (second.option, &second.value, second.outcome, client, builder)
        });
        let clients = client_edges();
        let with_client = clients.iter().filter(|edge| edge.outcome == Works).map(|second| {
            let client = (second.set)(Client::builder(server.url())).start().unwrap();
            let builder = (first.set)(client.namespace("/foo"));
            (second.option, &second.value, second.outcome, client, builder)
        });
        let jobs = pairs.filter(|(_, _, outcome, ..)| *outcome == Works).chain(with_client).map(
            |(option, value, outcome, client, builder)| {
                let what = format!("{} {}, {option} {value}", first.option, first.value);
                let socket = builder.join().unwrap_or_else(|error| panic!("{what}: {error}"));
                check(what, outcome, client, socket)
            },
        );
        join_all(jobs).await;
    }
}

/// A bridge from `/` to `/foo`, which sends back what comes, and there it ends.
fn bridge(client: &Client, other: &Socket) -> BridgeBuilder {
    Bridge::between(client.socket(), other).forward(Route::names(["echo"])).back(Route::none())
}

/// Events and a question go over, and the answer comes back.
async fn cross(client: &Client, other: &Socket) {
    let mut echoes = client.socket().listen("echo").stream();
    let mut back = other.listen("echo").stream();
    let mut answers = client.socket().listen("answered").stream();
    client.socket().ready().await.unwrap();
    other.ready().await.unwrap();
    for number in 0..2_u8 {
        client.socket().emit("echo", number).unwrap();
        assert_eq!(echoes.next().await.unwrap().args(), Ok(number));
        assert_eq!(back.next().await.unwrap().args(), Ok(number));
    }
    client.socket().emit("ask", ("echo", 7_u8)).unwrap();
    assert_eq!(answers.next().await.unwrap().args(), Ok(7_u8));
}

/// The bridge does its job, or ends without it; what it counts is true.
async fn check_bridge(
    what: String,
    outcome: Outcome,
    client: Client,
    other: Socket,
    bridge: Bridge,
) {
    let patience = if outcome == Works { PATIENCE } else { TIGHT };
    let crossed = tokio::time::timeout(patience, cross(&client, &other)).await;
    bridge.stop();
    let shutdown = tokio::time::timeout(PATIENCE, client.shutdown(Duration::from_secs(1)));
    shutdown.await.unwrap_or_else(|_| panic!("{what}: its shutdown hangs"));
    let counts = bridge.stats().forward;
    if outcome == Works {
        assert!(crossed.is_ok(), "{what}: it hangs: {counts:?}");
        assert_eq!((counts.passed, counts.answered, counts.missed), (3, 1, 0), "{what}");
    }
    let BridgeCounts { heard, filtered, echoes, refused, passed, .. } = counts;
    assert_eq!(heard, filtered + echoes + refused + passed, "{what}: {counts:?}");
    assert_eq!(passed, counts.written + counts.discarded, "{what}: {counts:?}");
    assert_eq!(counts.asked, counts.answered + counts.unanswered, "{what}: {counts:?}");
}

#[actix_web::test]
async fn an_option_of_a_bridge_at_its_edge_is_refused_by_its_name_or_works() {
    let server = oxide::start();
    let jobs = bridge_edges().into_iter().map(|Edge { option, value, outcome, set }| {
        let client = Client::builder(server.url()).start().unwrap();
        async move {
            let what = format!("{option} {value}");
            let other = client.of("/foo").unwrap();
            match set(bridge(&client, &other)).start() {
                Ok(bridge) => {
                    assert_ne!(outcome, Refused, "{what}: it is taken");
                    check_bridge(what, outcome, client, other, bridge).await;
                }
                Err(BridgeError::Option { name, .. }) if outcome == Refused => {
                    assert_eq!(name, option);
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    });
    join_all(jobs).await;
}

#[actix_web::test]
async fn two_options_of_a_bridge_or_its_client_at_their_edges_work_together() {
    let server = oxide::start();
    for first in bridge_edges().iter().filter(|edge| edge.outcome == Works) {
        let (bridges, namespaces, clients) = (bridge_edges(), namespace_edges(), client_edges());
        let bridges = bridges
            .iter()
            .filter(|second| second.outcome == Works && second.option != first.option);
        let bridges = bridges.map(|second| {
            let client = Client::builder(server.url()).start().unwrap();
            let other = client.of("/foo").unwrap();
            let builder = (second.set)((first.set)(bridge(&client, &other)));
            (second.option, &second.value, client, other, builder)
        });
        let namespaces = namespaces.iter().filter(|edge| edge.outcome == Works).map(|second| {
            let client = Client::builder(server.url()).start().unwrap();
            let other = (second.set)(client.namespace("/foo")).join().unwrap();
            let builder = (first.set)(bridge(&client, &other));
            (second.option, &second.value, client, other, builder)
        });
        let clients = clients.iter().filter(|edge| edge.outcome == Works).map(|second| {
            let client = (second.set)(Client::builder(server.url())).start().unwrap();
            let other = client.of("/foo").unwrap();
            let builder = (first.set)(bridge(&client, &other));
            (second.option, &second.value, client, other, builder)
        });
        let jobs = bridges.chain(namespaces).chain(clients).map(
            |(option, value, client, other, builder)| {
                let what = format!("{} {}, {option} {value}", first.option, first.value);
                let bridge = builder.start().unwrap_or_else(|error| panic!("{what}: {error}"));
                check_bridge(what, Works, client, other, bridge)
            },
        );
        join_all(jobs).await;
    }
}
