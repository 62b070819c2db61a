//! Balancers in front of several servers: nginx and haproxy, where they are installed.

// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use actix_socketio::{
    Ack, Client, ClientBuilder, ConnectFailure, DialLimiter, EngineRefusal, Reason, Reconnect,
    Transport, tls::Tls,
};
use serde_json::{Value, json};
use support::{
    eventually,
    every::{unique, within},
    installed::Installed,
    logged,
    node::{self, Config, Line, Server},
    recorder::{Fact, Recorder},
    tls::{Authority, Certificate},
};

const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const POLLING: &[Transport] = &[Transport::Polling];
const UPGRADE: &[Transport] = &[Transport::Polling, Transport::WebSocket];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Nginx,
    Haproxy,
}

use Program::{Haproxy, Nginx};

const PROGRAMS: [Program; 2] = [Nginx, Haproxy];

/// How a balancer chooses the server for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Each request goes to the next server.
    InTurn,
    /// The server for the client's address.
    ByAddress,
    /// The server that a cookie of the balancer names.
    ByCookie,
    /// By cookie; but requests for a websocket, and only these, go to the last server.
    WebsocketsApart,
}

/// A balancer, as it is configured.
struct Setup<'a> {
    choice: Choice,
    ports: &'a [u16],
    /// The certificate with which the balancer terminates TLS, if it does.
    certificate: Option<&'a Certificate>,
    /// How long a connection may be idle.
    idle: &'a str,
    /// Whether requests to upgrade are passed on. nginx does so only if it is told to.
    passes_upgrades: bool,
}

impl<'a> Setup<'a> {
    fn new(choice: Choice, ports: &'a [u16]) -> Self {
        Self { choice, ports, certificate: None, idle: "60s", passes_upgrades: true }
    }

    async fn start(&self, program: Program) -> Option<Installed> {
        let name = if program == Nginx { "nginx" } else { "haproxy" };
        let arguments = |port: u16, directory: &Path| {
            let file = path(directory, "configuration");
            let text = match program {
                Nginx => self.nginx(port, directory),
                Haproxy => self.haproxy(port, directory),
            };
            fs::write(&file, text).unwrap();
            match program {
                Nginx => vec!["-e".to_owned(), path(directory, "errors"), "-c".to_owned(), file],
                Haproxy => vec!["-db".to_owned(), "-f".to_owned(), file],
            }
        };
        Installed::start(name, "REQUIRE_BALANCERS", arguments).await
    }

    fn nginx(&self, port: u16, directory: &Path) -> String {
        let Self { choice, ports, certificate, idle, passes_upgrades } = self;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", path(directory, kind)))
            .concat();
        let server = |port: &u16| format!("server 127.0.0.1:{port};\n");
        let (first, apart) = match (choice, ports.split_last()) {
            (Choice::WebsocketsApart, Some((last, rest))) => (rest, last),
            (_, Some((last, _))) => (*ports, last),
            (_, None) => panic!("no servers"),
        };
        let servers: String = first.iter().map(server).collect();
        let how = match choice {
            Choice::InTurn => "",
            Choice::ByAddress => "ip_hash;",
            Choice::ByCookie | Choice::WebsocketsApart => "hash $node;",
        };
        let websockets = match choice {
            Choice::WebsocketsApart => "websockets",
            _ => "nodes",
        };
        let cookie = match choice {
            Choice::ByCookie | Choice::WebsocketsApart => {
                "add_header Set-Cookie \"node=$node; Path=/; HttpOnly\" always;"
            }
            _ => "",
        };
        let headers = if *passes_upgrades {
            "proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $for_upgrade;"
        } else {
            ""
        };
        let mut ssl = "";
        let mut keys = String::new();
        if let Some(Certificate { chain, key }) = certificate {
            ssl = " ssl";
            let [chain_file, key_file] = ["chain.pem", "key.pem"].map(|name| path(directory, name));
            fs::write(&chain_file, chain).unwrap();
            fs::write(&key_file, key).unwrap();
            keys = format!("ssl_certificate {chain_file};\nssl_certificate_key {key_file};\n");
        }
        format!(
            "daemon off;\nmaster_process off;\npid {pid};\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}\
             map $http_upgrade $for_upgrade {{ default upgrade; '' ''; }}\n\
             map $http_upgrade $pool {{ default {websockets}; '' nodes; }}\n\
             map $cookie_node $node {{ default $cookie_node; '' $request_id; }}\n\
             upstream nodes {{\n{how}\n{servers}keepalive 16;\n}}\n\
             upstream websockets {{\n{apart}}}\n\
             server {{\nlisten 127.0.0.1:{port}{ssl};\n{keys}\
             location / {{\nproxy_pass http://$pool;\nproxy_http_version 1.1;\n\
             proxy_buffering off;\nproxy_read_timeout {idle};\nproxy_set_header Host $host;\n\
             {headers}\n{cookie}\n}}\n}}\n}}\n",
            pid = path(directory, "pid"),
            apart = server(apart),
        )
    }

    fn haproxy(&self, port: u16, directory: &Path) -> String {
        let Self { choice, ports, certificate, idle, passes_upgrades } = self;
        assert!(passes_upgrades, "haproxy always does");
        let how = match choice {
            Choice::InTurn => "balance roundrobin",
            Choice::ByAddress => "balance source",
            Choice::ByCookie => "balance roundrobin\ncookie node insert indirect nocache httponly",
            Choice::WebsocketsApart => panic!("nginx does that here"),
        };
        let server = |port: &u16| format!("server s{port} 127.0.0.1:{port} cookie c{port}\n");
        let servers: String = ports.iter().map(server).collect();
        let mut ssl = String::new();
        if let Some(Certificate { chain, key }) = certificate {
            let file = path(directory, "both.pem");
            fs::write(&file, format!("{chain}{key}")).unwrap();
            ssl = format!(" ssl crt {file}");
        }
        format!(
            "defaults\nmode http\ntimeout connect 5s\n\
             timeout client {idle}\ntimeout server {idle}\ntimeout tunnel {idle}\n\
             frontend front\nbind 127.0.0.1:{port}{ssl}\ndefault_backend nodes\n\
             backend nodes\n{how}\n{servers}"
        )
    }
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().unwrap().to_owned()
}

/// Three servers of a line, which all tests use.
fn three(line: Line) -> &'static [Server; 3] {
    static NEW: OnceLock<[Server; 3]> = OnceLock::new();
    static OLD: OnceLock<[Server; 3]> = OnceLock::new();
    let place = if line == Line::V4 { &NEW } else { &OLD };
    place.get_or_init(|| [(); 3].map(|()| node::start(line, &Config::default())))
}

fn ports(servers: &[Server]) -> Vec<u16> {
    servers.iter().map(Server::port).collect()
}

fn url(balancer: &Installed) -> String {
    balancer.url("http", "")
}

fn through(url: &str, transports: &[Transport]) -> ClientBuilder {
    support::builder(url).transports(transports.iter().copied())
}

/// Quick, but slow enough for a server to see the end of a session before it is asked to continue it.
fn quick() -> Reconnect {
    let pause = Duration::from_millis(100);
    Reconnect::default().delay(pause, pause).jitter(0.0).limiter(DialLimiter::unlimited())
}

/// Numbers go both ways, to and from one of the servers.
async fn numbers_pass(client: &Client, servers: &[Server]) {
    const COUNT: u64 = 300;
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    let stream = unique("numbers");
    socket.emit("burst", COUNT).unwrap();
    for number in 0..COUNT {
        socket.emit("record", (&stream, number)).unwrap();
    }
    recorder.burst(COUNT).await;
    let _: Value = within(socket.emit_with_ack("echo", "last")).await.unwrap();
    let numbers: Vec<u64> = servers.iter().flat_map(|server| server.recorded(&stream)).collect();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

/// Each transport works, and stays the only session.
async fn each_transport_passes(program: Program, line: Line) {
    let servers = three(line);
    let ports = ports(servers);
    let authority = Authority::new("test");
    let certificate = authority.sign(&["127.0.0.1"]);
    let tls = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    for choice in [Choice::ByAddress, Choice::ByCookie] {
        for certificate in [None, Some(&certificate)] {
            let setup = Setup { certificate, ..Setup::new(choice, &ports) };
            let Some(balancer) = setup.start(program).await else { return };
            let scheme = if certificate.is_some() { "https" } else { "http" };
            for transports in [WEBSOCKET, POLLING, UPGRADE] {
                let builder = through(&balancer.url(scheme, ""), transports).tls(tls.clone());
                let client = builder.start().unwrap();
                numbers_pass(&client, servers).await;
                let last = transports.last().copied();
                eventually("the last transport", || client.transport() == last).await;
                numbers_pass(&client, servers).await;
                assert_eq!(client.transport(), last, "{program:?} {choice:?}");
            }
        }
    }
}

#[actix::test]
async fn each_transport_passes_a_sticky_nginx() {
    each_transport_passes(Nginx, Line::V4).await;
}

#[actix::test]
async fn each_transport_passes_a_sticky_haproxy() {
    each_transport_passes(Haproxy, Line::V4).await;
}

#[actix::test]
async fn each_transport_passes_a_sticky_nginx_to_servers_2_5_1() {
    each_transport_passes(Nginx, Line::V2_5_1).await;
}

#[actix::test]
async fn each_transport_passes_a_sticky_haproxy_to_servers_2_5_1() {
    each_transport_passes(Haproxy, Line::V2_5_1).await;
}

#[actix::test]
async fn without_sticky_sessions_polling_says_what_is_missing_and_a_websocket_works() {
    for program in PROGRAMS {
        for line in [Line::V4, Line::V2_5_1] {
            let servers = three(line);
            let ports = ports(servers);
            let setup = Setup::new(Choice::InTurn, &ports);
            let Some(balancer) = setup.start(program).await else { continue };
            let url = url(&balancer);
            let client = Client::builder(&url).start().unwrap();
            numbers_pass(&client, servers).await;
            assert_eq!(client.transport(), Some(Transport::WebSocket));
            for transports in [POLLING, UPGRADE] {
                let client = through(&url, transports).reconnect(quick()).start().unwrap();
                let mut recorder = Recorder::of(client.socket());
                // It keeps trying. A server 2.x lets it join with the very first response.
                let mut told = 0;
                while told < 3 {
                    let reason = match recorder.next().await {
                        Fact::Ready(_) if line.is_old() => continue,
                        Fact::Disconnected(disconnected) => disconnected.reason().clone(),
                        Fact::Reconnecting(next) => next.reason().clone(),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(reason, Reason::SessionUnknown, "{program:?} {line:?}");
                    assert!(reason.to_string().contains("sticky sessions"), "{reason}");
                    told += 1;
                }
            }
        }
    }
}

#[actix::test]
async fn a_probe_that_reaches_another_server_is_logged_and_polling_goes_on() {
    logged::start();
    for line in [Line::V4, Line::V2_5_1] {
        let servers = three(line);
        let ports = ports(servers);
        let setup = Setup::new(Choice::WebsocketsApart, &ports);
        let Some(balancer) = setup.start(Nginx).await else { return };
        let client = through(&url(&balancer), UPGRADE).start().unwrap();
        let before = logged::lines().len();
        let said = || {
            let lines = logged::lines().split_off(before);
            lines.iter().any(|line| line.contains("no upgrade") && line.contains("SessionUnknown"))
        };
        numbers_pass(&client, servers).await;
        eventually("the failed probe", said).await;
        numbers_pass(&client, servers).await;
        assert_eq!(client.transport(), Some(Transport::Polling));
    }
}

#[actix::test]
async fn nginx_that_passes_no_upgrades_on_lets_polling_pass() {
    for line in [Line::V4, Line::V2_5_1] {
        let servers = three(line);
        let ports = ports(servers);
        let setup = Setup { passes_upgrades: false, ..Setup::new(Choice::ByAddress, &ports) };
        let Some(balancer) = setup.start(Nginx).await else { return };
        let url = url(&balancer);
        // By default, and when it begins with polling.
        for client in [Client::builder(&url), through(&url, UPGRADE)] {
            let client = client.reconnect(Reconnect::never()).start().unwrap();
            numbers_pass(&client, servers).await;
            numbers_pass(&client, servers).await;
            assert_eq!(client.transport(), Some(Transport::Polling));
        }
        let client = through(&url, WEBSOCKET).start().unwrap();
        let reason = Recorder::of(client.socket()).next_connect_error().await;
        assert_eq!(reason, Reason::Connect(ConnectFailure::Engine(EngineRefusal::BadRequest)));
    }
}

#[actix::test]
async fn a_dead_server_behind_a_balancer_is_told_by_status_and_title() {
    logged::start();
    for (program, status, title) in [(Nginx, 502, "502 Bad Gateway"), (Haproxy, 503, "503 Service")]
    {
        for transports in [WEBSOCKET, POLLING] {
            let server = node::start(Line::V4, &Config::default());
            let ports = [server.port()];
            let setup = Setup::new(Choice::InTurn, &ports);
            let Some(balancer) = setup.start(program).await else { continue };
            let client = through(&url(&balancer), transports).reconnect(quick()).start().unwrap();
            let mut recorder = Recorder::of(client.socket());
            recorder.next_ready().await;
            let before = logged::lines().len();
            server.kill();
            let reason = recorder.next_disconnected().await;
            match program {
                Nginx if transports == POLLING => {
                    let reason = reason.to_string();
                    assert!(reason.contains("502 Bad Gateway"), "{reason}");
                }
                // haproxy closes a connection when that to the server is closed.
                _ => assert!(matches!(reason, Reason::TransportClose(_)), "{reason:?}"),
            }
            // The first reason is why there is another attempt at all.
            recorder.next_reconnecting().await;
            let next = recorder.next_reconnecting().await;
            let Reason::Connect(ConnectFailure::Status { status: found, says: Some(says) }) =
                next.reason()
            else {
                panic!("{program:?}: {next:?}")
            };
            assert_eq!((*found, says.starts_with(title)), (status, true), "{program:?}: {says}");
            assert!(next.reason().to_string().contains(title), "{next:?}");
            let lines = logged::lines().split_off(before);
            assert!(lines.iter().any(|line| line.contains(title)), "{lines:?}");
            let [port] = ports;
            let server = node::start(Line::V4, &Config { port, ..Config::default() });
            recorder.ready_after_attempts().await;
            assert_eq!(server.connections("/"), 1);
        }
    }
}

/// Numbers go both ways while the balancer cuts every connection that is idle for a moment, long before
/// the heartbeat.
async fn nothing_is_lost_by_idle_cuts(program: Program, transports: &[Transport]) {
    const COUNT: u64 = 50;
    let options = json!({ "connectionStateRecovery": {} });
    let server = node::start(Line::V4, &Config { options, dedupe: true, ..Config::default() });
    let ports = [server.port()];
    let setup = Setup { idle: "300ms", ..Setup::new(Choice::InTurn, &ports) };
    let Some(balancer) = setup.start(program).await else { return };
    let builder = through(&url(&balancer), transports).reconnect(quick());
    let client = builder.retries(9).message_ids(true).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let ask = |numbers: std::ops::Range<u64>| -> Vec<Ack<u64>> {
        numbers.map(|n| client.socket().emit_with_ack("record", ("sure", n)).send()).collect()
    };
    let (mut ticks, mut next) = (Vec::new(), 0);
    for round in 1..=2 {
        // While there is a connection.
        let mut questions = ask(next..next + COUNT);
        server.publish("/", "tick", next..next + COUNT);
        let reason = loop {
            match recorder.next().await {
                Fact::Event(event) => ticks.push(event.args::<u64>().unwrap()),
                Fact::Disconnected(disconnected) => break disconnected.reason().clone(),
                other => panic!("{other:?}"),
            }
        };
        let expected = matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_));
        assert!(expected, "{reason:?}");
        // And while there is none.
        questions.extend(ask(next + COUNT..next + 2 * COUNT));
        eventually("the server sees it", || server.disconnections("/") >= round).await;
        server.publish("/", "tick", next + COUNT..next + 2 * COUNT);
        next += 2 * COUNT;
        for question in questions {
            within(question).await.unwrap();
        }
        let mut joined = false;
        while !joined || ticks.last() != Some(&(next - 1)) {
            match recorder.next().await {
                Fact::Event(event) => ticks.push(event.args().unwrap()),
                Fact::Ready(_) => joined = true,
                Fact::Reconnecting(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let all: Vec<u64> = (0..next).collect();
    assert_eq!(ticks, all, "{program:?} {transports:?}");
    assert_eq!(server.recorded("sure"), all, "{program:?} {transports:?}");
}

#[actix::test]
async fn nothing_is_lost_where_nginx_cuts_idle_connections() {
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        nothing_is_lost_by_idle_cuts(Nginx, transports).await;
    }
}

#[actix::test]
async fn nothing_is_lost_where_haproxy_cuts_idle_connections() {
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        nothing_is_lost_by_idle_cuts(Haproxy, transports).await;
    }
}
