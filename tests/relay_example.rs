//! The daemon of the example `relay`, run as its users run it.
//!
//! `cargo test` builds it first; with `--test relay_example` it is as `cargo build --examples` has left it.

// Signals.
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
    env, fs,
    io::{BufRead, BufReader, Read},
    mem,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actix_socketio::relay::{Begin, Engine, LogEntry, LogStream, NatsOptions, Reader};
use futures::StreamExt as _;
use serde_json::{Value, json};
use support::{
    PATIENCE,
    example::{Example, program},
    nats::Nats,
    nats_keys,
    node::{self, Config, Line},
    reserved::Port,
};

/// A folder of its own, deleted when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("relay-example-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file of this text.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Whether the configuration is right, and the lines about it, without the path.
fn check(path: &Path) -> (bool, Vec<String>) {
    let mut command = Command::new(program("relay"));
    command.arg("--config").arg(path).arg("--check");
    command.env("RELAY_TEST_SET", "a secret of the test").env_remove("RELAY_TEST_UNSET");
    let output = command.env("RELAY_TEST_JSON", r#"{"token":"a secret of the test"}"#).output();
    let output = output.unwrap();
    let (printed, told) = (output.stdout, output.stderr);
    let text = String::from_utf8([printed, told].concat()).unwrap();
    assert!(!text.contains("a secret"), "{text}");
    let prefix = format!("{}:", path.display());
    let lines = text.lines().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned());
    (output.status.success(), lines.collect())
}

#[test]
fn the_configuration_of_the_example_is_right_as_it_is_and_with_all_options() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/relay/relay.toml");
    assert_eq!(check(&path), (true, vec![" nothing is wrong, 2 upstreams".to_owned()]));

    // What is commented out is right, too. Of the ways to log in, there is one.
    let others = ["token", "credentials", "nkey"];
    let mut text = String::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let option = line.strip_prefix("# ");
        let is_option = |line: &&str| {
            line.split_once(" = ").is_some_and(|(key, value)| {
                !key.contains(' ') && value.starts_with(['"', '[', '{', '1', '3', '8'])
            })
        };
        match option.filter(is_option) {
            Some(option) if !others.iter().any(|other| option.starts_with(other)) => {
                text.push_str(option);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let text = text.replace(r#"kind = "in-process""#, r#"kind = "nats""#);
    let text = text.replace("PRICES_AUTHORIZATION", "RELAY_TEST_SET");
    let folder = Folder::new();
    fs::create_dir(folder.0.join("secrets")).unwrap();
    for name in ["nats", "prices"] {
        folder.file(&format!("secrets/{name}"), "a secret\n");
    }
    let path = folder.file("all.toml", &text);
    assert_eq!(check(&path), (true, vec![" nothing is wrong, 2 upstreams".to_owned()]), "{text}");
    let options = text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    assert_eq!(options.count(), 28, "{text}");
}

#[test]
fn all_that_is_wrong_in_a_configuration_is_said_with_its_line() {
    let folder = Folder::new();
    folder.file("empty", "\n");
    let path = folder.file(
        "wrong.toml",
        r#"worker = "one two"
http = "localhost"
hand_over = -1
colour = "red"

[engine]
kind = "nats"
servers = ["nats://user:a secret@host"]
user = "me"
token = { env = "RELAY_TEST_UNSET" }
credentials = { env = "RELAY_TEST_SET" }
nkey = { file = "nowhere" }
key = "no.pem"
replicas = 7
lease = 0.5

[[upstream]]
name = "shop"
url = "localhost:3000"

[[upstream]]
name = "shop"
url = 3000
namespace = "orders"

[[upstream]]
url = "http://localhost:3000"
auth = { env = "RELAY_TEST_SET" }
headers = { a = { file = "nowhere" }, b = 7, c = { env = "A", file = "b" } }
transports = ["carrier pigeon"]
route = { name = ["a"], except = "b" }
when_full = "panic"
takeover = "later"

[[upstream]]
name = "empty"
url = "http://localhost:3000"
auth = { file = "empty" }
headers = { "not a header" = "a secret" }
"#,
    );
    let (is_right, lines) = check(&path);
    assert!(!is_right);
    let folder = folder.0.display();
    let expected = format!(
        r#"1: worker: a name has letters, digits, - and _, at most 128
2: http: an address and a port belong here: "127.0.0.1:9464"
3: hand_over: seconds, from 0 to 3600, belong here
4: colour: is no option here: worker, http, hand_over, engine, upstream
6: engine: user, password: one does not go without the other
6: engine: login: credentials: a file that begins with BEGIN NATS USER JWT belongs here
6: engine: certificate, key: one does not go without the other
8: engine: servers: a password belongs into a variable or a file: user, password
10: engine: token: the variable RELAY_TEST_UNSET is not set
12: engine: nkey: {folder}/nowhere cannot be read: No such file or directory (os error 2)
14: engine: replicas: a number from 1 to 5 belongs here
15: engine: lease: seconds, from 2 to 3600, belong here
19: upstream "shop": url: unusable URL: it has no scheme: write http:// before the host
22: upstream: name: "shop" is there already
23: upstream "shop": url: a text in quotes belongs here, not a number
24: upstream "shop": namespace: a namespace such as "/orders" belongs here
26: upstream: name: is missing
28: upstream: auth: the variable RELAY_TEST_SET has no JSON object; with key = "token", it may have any text
29: upstream: headers: a: {folder}/nowhere cannot be read: No such file or directory (os error 2)
29: upstream: headers: b: a text or {{ env = … }} or {{ file = … }} belongs here
29: upstream: headers: c: env, file: one of them belongs here
30: upstream: transports: one of these belongs here: "websocket", "polling"
31: upstream: route: except: a list of texts belongs here
31: upstream: route: name: is no option here: names, except
32: upstream: when_full: one of these belongs here: "let-go", "drop-newest", "latest"
33: upstream: takeover: one of these belongs here: "ordered", "now"
35: upstream "empty": client: header "not a header" cannot be sent: its name is empty or has characters that HTTP does not allow there
38: upstream "empty": auth: the file {folder}/empty is empty"#
    );
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[test]
fn what_is_no_toml_is_said_with_its_line() {
    let folder = Folder::new();
    let path = folder.file("no.toml", "a = 1\nb = \nc = 'x\n");
    let (is_right, lines) = check(&path);
    assert!(!is_right);
    assert_eq!(
        lines,
        [
            "2: no TOML: string values must be quoted, expected literal string",
            "3: no TOML: invalid literal string, expected `'`",
        ]
    );
    let (is_right, lines) = check(Path::new("nowhere.toml"));
    assert!(!is_right);
    assert_eq!(lines, ["nowhere.toml cannot be read: No such file or directory (os error 2)"]);
}

/// A running daemon; it is killed when dropped.
struct Daemon {
    child: Child,
    /// Where its pages are.
    url: String,
    printed: JoinHandle<String>,
    logged: JoinHandle<String>,
}

impl Daemon {
    /// Starts it with this configuration, on any port, and waits for its pages.
    fn start(folder: &Folder, name: &str, config: &str) -> Self {
        Self::start_with(folder, name, config, &[])
    }

    fn start_with(folder: &Folder, name: &str, config: &str, environment: &[(&str, &str)]) -> Self {
        let config = format!("http = \"127.0.0.1:0\"\nworker = \"{name}\"\n{config}");
        let path = folder.file(&format!("{name}.toml"), &config);
        let mut command = Command::new(program("relay"));
        command.arg("--config").arg(path).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let logged = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (first, told) = mpsc::channel();
        let printed = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_line(&mut text).unwrap();
            first.send(text.trim_end().to_owned()).ok();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let url = told.recv_timeout(PATIENCE).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url:?}");
        Self { child, url, printed, logged }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it ends, and gives what it printed and logged.
    fn end(mut self) -> (ExitStatus, String) {
        let printed = mem::replace(&mut self.printed, thread::spawn(String::new)).join().unwrap();
        let logged = mem::replace(&mut self.logged, thread::spawn(String::new)).join().unwrap();
        (self.child.wait().unwrap(), printed + &logged)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let http = awc::Client::default();
        let mut page = http.get(format!("{}{path}", self.url)).send().await.unwrap();
        let text = page.body().await.unwrap();
        (page.status().as_u16(), String::from_utf8_lossy(&text).into_owned())
    }

    async fn health(&self) -> (u16, Value) {
        let (status, text) = self.get("/health").await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Waits until the page `/health` has this status and says this of the first upstream.
    async fn until(&self, status: u16, what: impl Fn(&Value) -> bool) {
        let mut last = (0, Value::Null);
        let deadline = Instant::now() + PATIENCE;
        while last.0 != status || !what(&last.1["upstreams"][0]) {
            assert!(Instant::now() < deadline, "not {status}: {last:?}");
            last = self.health().await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An upstream of a server, with more lines.
fn upstream(server: &node::Server, lines: &str) -> String {
    format!("[[upstream]]\nname = \"shop\"\nurl = \"{}\"\n{lines}\n", server.url())
}

/// A server that recovers sessions.
fn recovering() -> node::Server {
    let options = json!({ "connectionStateRecovery": {} });
    node::start(Line::V4, &Config { options, ..Config::default() })
}

#[actix::test]
async fn the_pages_say_how_the_daemon_is_doing() {
    let (folder, port) = (Folder::new(), Port::reserve());
    let config = Config { port: port.number(), ..Config::default() };
    let server = node::start(Line::V4, &config);
    let daemon = Daemon::start(&folder, "w1", &upstream(&server, ""));
    daemon.until(200, |shop| shop["joined"] == true).await;
    server.publish("/", "n", 0..10);
    daemon.until(200, |shop| shop["last_event"].is_number()).await;
    let (_, health) = daemon.health().await;
    let shop = &health["upstreams"][0];
    assert_eq!((&health["worker"], &shop["name"]), (&json!("w1"), &json!("shop")), "{health}");
    assert_eq!((&shop["holder"], &shop["held_here"]), (&json!("w1"), &json!(true)), "{health}");
    assert!(shop["stored"].as_u64().unwrap() > 0, "{health}");
    let (status, page) = daemon.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(page.contains(r#"upstream="shop""#) && page.contains("# TYPE"), "{page}");

    // The server goes, and comes back.
    server.kill();
    daemon.until(503, |shop| shop["joined"] == false).await;
    let _server = node::start(Line::V4, &config);
    daemon.until(200, |shop| shop["joined"] == true).await;

    daemon.signal("-TERM");
    let (status, text) = daemon.end();
    assert!(status.success(), "{text}");
    assert!(text.contains("INFO  w1 ") && text.contains("shop"), "{text}");
}

#[actix::test]
async fn secrets_are_not_printed_at_any_level() {
    let folder = Folder::new();
    let server = recovering();
    server.set_token("hidden-auth");
    folder.file("token", "hidden-auth\n");
    let lines = r#"namespace = "/guarded"
auth = { file = "token", key = "token" }
headers = { authorization = { env = "RELAY_TEST_HEADER" }, cookie = "hidden-cookie" }
"#;
    let environment = [("RELAY_TEST_HEADER", "Bearer hidden-header"), ("RUST_LOG", "trace")];
    let daemon = Daemon::start_with(&folder, "w1", &upstream(&server, lines), &environment);
    daemon.until(200, |shop| shop["joined"] == true).await;
    assert_eq!(server.tokens(), ["hidden-auth"]);
    daemon.signal("-INT");
    let (status, text) = daemon.end();
    assert!(status.success() && text.contains("TRACE"), "{text}");
    let line = text.lines().find(|line| line.contains("hidden"));
    assert_eq!(line, None);
}

#[test]
fn the_demo_shows_a_complete_log_over_a_change_of_workers() {
    let printed = Example::start::<&str>("relay", ["--demo"]).end();
    let at = |line: &str| {
        let place = printed.iter().position(|printed| printed == line);
        place.unwrap_or_else(|| panic!("no {line:?} in {printed:#?}"))
    };
    // The upstream may have moved before, when the second worker came.
    at(r#"caller: the price of tea? {"cents":250,"what":"tea"}"#);
    let ways = [("worker-1", "worker-2"), ("worker-2", "worker-1")];
    let ends = |worker: &str| format!("reader: 500 orders; {worker} ends");
    let (first, second) =
        ways.into_iter().find(|(first, _)| printed.contains(&ends(first))).unwrap();
    let later = &printed[at(&ends(first))..];
    assert!(later.contains(&format!("log: {second} holds the upstream shop")), "{printed:#?}");
    assert_eq!(printed.last().unwrap(), "reader: 1..1000, once, in order");
}

/// The engine on this server, for a daemon. The lease is as short as it can be.
fn engine(nats: &Nats) -> String {
    format!("[engine]\nkind = \"nats\"\nservers = {:?}\nlease = 2\n", nats.urls())
}

/// The log on this server, from its start.
async fn log(nats: &Nats) -> LogStream {
    let options = NatsOptions::new().lease_time(Duration::from_secs(2));
    let options = options.ack_timeout(Duration::from_millis(500));
    let engine = Engine::nats(&nats.client().await, options).await.unwrap();
    Reader::builder(engine).begin(Begin::Start).stream().unwrap()
}

/// Reads numbers up to this one.
async fn numbers(log: &mut LogStream, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        match log.next().await.unwrap() {
            LogEntry::Event(event) => {
                numbers.push(event.event().args().unwrap());
                event.ack().await.unwrap();
            }
            LogEntry::Mark(mark) => eprintln!("{mark:?}"),
        }
    }
    numbers
}

#[actix::test]
async fn another_daemon_takes_over_what_a_terminated_one_hands_over() {
    let Some(nats) = Nats::one().await else { return };
    let (folder, server) = (Folder::new(), recovering());
    let config = engine(&nats) + &upstream(&server, "");
    let first = Daemon::start(&folder, "w1", &config);
    first.until(200, |shop| shop["joined"] == true).await;
    server.publish("/", "n", 0..200);
    let second = Daemon::start(&folder, "w2", &config);
    second.until(200, |shop| shop["holder"].is_string()).await;
    // It may move at any time: on a busy machine, a lease may lapse.
    let is_joined =
        async |daemon: &Daemon| daemon.health().await.1["upstreams"][0]["joined"] == true;
    let first_has_it = async {
        loop {
            for (daemon, is_first) in [(&first, true), (&second, false)] {
                if is_joined(daemon).await {
                    return is_first;
                }
            }
        }
    };
    let first_has_it = support::every::within(first_has_it).await;
    let (ends, stays) = if first_has_it { (first, second) } else { (second, first) };
    server.publish("/", "n", 200..400);
    ends.signal("-TERM");
    server.publish("/", "n", 400..600);
    let (status, text) = ends.end();
    assert!(status.success() && text.contains("handed over"), "{text}");
    assert!(!text.contains("not handed over"), "{text}");
    server.publish("/", "n", 600..800);
    stays.until(200, |shop| shop["joined"] == true).await;
    server.publish("/", "n", 800..1_000);
    let mut log = log(&nats).await;
    let came = support::every::within(numbers(&mut log, 999)).await;
    assert_eq!(came, (0..1_000).collect::<Vec<_>>());
    stays.signal("-TERM");
    assert!(stays.end().0.success());
}

#[actix::test]
async fn the_log_of_a_daemon_is_printed() {
    let Some(nats) = Nats::one().await else { return };
    let (folder, server) = (Folder::new(), recovering());
    let config = engine(&nats).replace("lease = 2\n", "") + &upstream(&server, "");
    let daemon = Daemon::start(&folder, "w1", &config);
    daemon.until(200, |shop| shop["joined"] == true).await;
    server.publish("/", "n", 0..2);
    let url = nats.urls().remove(0);
    let log = Example::start("relay_log", [url.as_str(), "shop"]);
    assert_eq!(log.line(), r#"shop 1: Holder { worker: "w1" }"#);
    // In one record or two.
    for number in 0..2 {
        let line = log.line();
        assert!(line.contains(&format!(": n [{number},")), "{line}");
    }
    daemon.signal("-TERM");
    assert!(daemon.end().0.success());
}

/// A daemon that is told to end when NATS has stopped answering. `hand_over` and `lease` are in seconds.
async fn ending_without_nats(
    nats: &Nats,
    folder: &Folder,
    server: &node::Server,
    hand_over: u32,
    lease: u32,
) -> Daemon {
    let engine = engine(nats).replace("lease = 2\n", &format!("lease = {lease}\n"));
    let config = format!("hand_over = {hand_over}\n{engine}{}", upstream(server, ""));
    let daemon = Daemon::start(folder, "w1", &config);
    daemon.until(200, |shop| shop["joined"] == true).await;
    nats.pause(0);
    daemon.signal("-TERM");
    daemon
}

#[actix::test]
async fn a_second_signal_ends_a_daemon_that_cannot_hand_over() {
    let Some(nats) = Nats::one().await else { return };
    let (folder, server) = (Folder::new(), recovering());
    // As soon as its lease has lapsed, there is nothing left to hand over.
    let daemon = ending_without_nats(&nats, &folder, &server, 3_600, 600).await;
    // It waits for an answer, and still has its pages.
    daemon.health().await;
    daemon.signal("-TERM");
    let (status, text) = daemon.end();
    nats.resume(0);
    assert!(!status.success() && text.contains("without handing over"), "{text}");
}

#[actix::test]
async fn what_a_daemon_cannot_hand_over_in_time_is_named() {
    let Some(nats) = Nats::one().await else { return };
    let (folder, server) = (Folder::new(), recovering());
    let daemon = ending_without_nats(&nats, &folder, &server, 1, 5).await;
    let (status, text) = daemon.end();
    nats.resume(0);
    assert!(status.success() && text.contains("not handed over: shop"), "{text}");
}

#[actix::test]
async fn a_daemon_waits_for_its_engine_and_says_so() {
    let Some(mut nats) = Nats::one().await else { return };
    let (folder, server) = (Folder::new(), recovering());
    nats.kill(0);
    let config = engine(&nats) + &upstream(&server, "");
    let daemon = Daemon::start(&folder, "w1", &config);
    daemon.until(503, |shop| shop["holder"].is_null()).await;
    let (_, health) = daemon.health().await;
    assert!(health["engine"].is_string(), "{health}");
    nats.restart(0);
    daemon.until(200, |shop| shop["joined"] == true).await;
    let (_, health) = daemon.health().await;
    assert!(health["engine"].is_null(), "{health}");
    daemon.signal("-INT");
    assert!(daemon.end().0.success());
}

/// A daemon that logs in with these lines joins, on a server with these.
async fn logs_in(nats: &str, folder: &Folder, login: &str) {
    let Some(nats) = Nats::one_with(nats).await else { return };
    let server = recovering();
    let config = engine(&nats) + login + &upstream(&server, "");
    let daemon = Daemon::start_with(folder, "w1", &config, &[("RUST_LOG", "trace")]);
    daemon.until(200, |shop| shop["joined"] == true).await;
    daemon.signal("-TERM");
    let (status, text) = daemon.end();
    assert!(status.success() && text.contains("TRACE"), "{text}");
    let secrets = [nats_keys::SEED, nats_keys::USER_TOKEN, "JetStream request response"];
    let line = text.lines().find(|line| secrets.iter().any(|secret| line.contains(secret)));
    assert_eq!(line, None);
}

#[actix::test]
async fn a_daemon_logs_in_with_a_key_and_answers_come_where_it_says() {
    let folder = Folder::new();
    folder.file("seed", &format!("{}\n", nats_keys::SEED));
    let allowed = "publish: \">\", subscribe: [\"sio.cmd.*\", \"own.>\"]";
    let users = format!(
        "authorization {{ users: [{{ nkey: {}, permissions: {{ {allowed} }} }}] }}",
        nats_keys::USER
    );
    logs_in(&users, &folder, "nkey = { file = \"seed\" }\ninbox = \"own\"\n").await;
}

#[actix::test]
async fn a_daemon_logs_in_with_a_credentials_file() {
    let folder = Folder::new();
    // As `nsc` writes it.
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\
         NKEYs are sensitive and should be treated as secrets.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        nats_keys::USER_TOKEN,
        nats_keys::SEED
    );
    folder.file("relay.creds", &text);
    let operator = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{ {}: \"{}\", {}: \"{}\" }}",
        nats_keys::OPERATOR,
        nats_keys::SYSTEM,
        nats_keys::ACCOUNT,
        nats_keys::ACCOUNT_TOKEN,
        nats_keys::SYSTEM,
        nats_keys::SYSTEM_TOKEN
    );
    logs_in(&operator, &folder, "credentials = { file = \"relay.creds\" }\n").await;
}
