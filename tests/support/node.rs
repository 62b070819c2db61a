//! The official Socket.IO servers, each in a Node.js process that ends with the test process.

use super::PATIENCE;
use actix_socketio::Parser;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const MISSING: &str = "these tests run against the official Socket.IO servers: \
    install Node.js 18 or newer (with npm) and run again";
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// The server lines: the last release of a line, or one whose wire behaviour differs from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    V1_7_4,
    V2_5_1,
    V3_0_5,
    V3_1_2,
    V4_0_2,
    V4_4_1,
    /// The current release, 4.8.4.
    V4,
}

impl Line {
    pub const ALL: [Self; 7] = [
        Self::V1_7_4,
        Self::V2_5_1,
        Self::V3_0_5,
        Self::V3_1_2,
        Self::V4_0_2,
        Self::V4_4_1,
        Self::V4,
    ];

    pub fn version(self) -> &'static str {
        match self {
            Self::V1_7_4 => "1.7.4",
            Self::V2_5_1 => "2.5.1",
            Self::V3_0_5 => "3.0.5",
            Self::V3_1_2 => "3.1.2",
            Self::V4_0_2 => "4.0.2",
            Self::V4_4_1 => "4.4.1",
            Self::V4 => "4.8.4",
        }
    }

    /// Whether the line speaks the old protocol: Engine.IO 3, and the server joins "/" by itself.
    pub fn is_old(self) -> bool {
        matches!(self, Self::V1_7_4 | Self::V2_5_1)
    }
}

/// What the middleware of "/" does.
#[derive(Clone, Copy, Debug, Default)]
pub enum Middleware {
    #[default]
    None,
    /// Lets everyone in after 700 ms.
    Slow,
    /// Refuses everyone: the error "denied" with the data `{"code":42}`.
    Refuse,
}

/// How the server emits; see [`Server::emit`].
#[derive(Clone, Copy, Debug)]
pub enum How {
    Plain,
    /// With an attachment as the last argument.
    Binary,
    Volatile,
    /// Asks for an answer.
    Asking,
}

#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The options of the server as its documentation names them: an object, or null for none.
    pub options: Value,
    pub middleware: Middleware,
    pub parser: Parser,
    /// Whether messages with an id are handled only once; see `dedupe` in the server.
    pub dedupe: bool,
    /// 0 for any free one.
    pub port: u16,
    /// The options of an https server, or null for http.
    pub tls: Value,
}

/// The counts of the server application since the server started, per namespace.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub connections: HashMap<String, u64>,
    pub disconnections: HashMap<String, u64>,
}

/// The default server of a line, started at its first use and shared by all tests of a process.
pub fn server(line: Line) -> &'static Server {
    static SHARED: [OnceLock<Server>; Line::ALL.len()] =
        [const { OnceLock::new() }; Line::ALL.len()];
    let index = Line::ALL.iter().position(|other| *other == line).expect("all lines are in ALL");
    SHARED[index].get_or_init(|| start(line, &Config::default()))
}

/// A server of the test's own; it stops when dropped.
pub fn start(line: Line, config: &Config) -> Server {
    install();
    let mut child = Command::new("node")
        .arg("server.js")
        .arg(argument(line, config))
        .current_dir(directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    let stdin = child.stdin.take();
    let (lines, printed) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    // Both pipes are read to their end; otherwise a server that prints a lot would block.
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Nobody receives the lines any more once the server is ready.
            lines.send(line).ok();
        }
    });
    let errors = Arc::new(Mutex::new(String::new()));
    let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let collected = Arc::clone(&errors);
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let mut text = collected.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    });
    let parser = config.parser;
    let mut server = Server {
        line,
        parser,
        port: 0,
        control: 0,
        is_secure: !config.tls.is_null(),
        child: Mutex::new(child),
        stdin,
        errors,
    };
    (server.port, server.control) = server.await_ready(&printed);
    server
}

fn argument(line: Line, config: &Config) -> String {
    let middleware = match config.middleware {
        Middleware::None => "none",
        Middleware::Slow => "slow",
        Middleware::Refuse => "refuse",
    };
    let options = if config.options.is_null() { json!({}) } else { config.options.clone() };
    json!({
        "line": line.version(),
        "options": options,
        "middleware": middleware,
        "msgpack": config.parser == Parser::Msgpack,
        "dedupe": config.dedupe,
        "port": config.port,
        "tls": config.tls,
    })
    .to_string()
}

pub struct Server {
    line: Line,
    parser: Parser,
    port: u16,
    /// The port where the test asks what has happened: the same port, unless that speaks TLS.
    control: u16,
    is_secure: bool,
    child: Mutex<Child>,
    /// The server runs as long as this is open.
    stdin: Option<ChildStdin>,
    errors: Arc<Mutex<String>>,
}

impl Server {
    pub fn line(&self) -> Line {
        self.line
    }

    pub fn parser(&self) -> Parser {
        self.parser
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// How often the application saw a connection to and a disconnection from each namespace.
    pub fn stats(&self) -> Stats {
        let body = self.get("/stats");
        let counters = |name: &str| {
            serde_json::from_value(body[name].clone())
                .unwrap_or_else(|error| panic!("{name} in {body}: {error}"))
        };
        Stats { connections: counters("connections"), disconnections: counters("disconnections") }
    }

    pub fn connections(&self, namespace: &str) -> u64 {
        self.stats().connections.get(namespace).copied().unwrap_or(0)
    }

    pub fn disconnections(&self, namespace: &str) -> u64 {
        self.stats().disconnections.get(namespace).copied().unwrap_or(0)
    }

    /// How many `count` events with this name arrived so far, from anyone.
    pub fn counted(&self, name: &str) -> u64 {
        let body = self.get(&format!("/counted?name={name}"));
        body.as_u64().unwrap_or_else(|| panic!("a count, not {body}"))
    }

    /// The numbers of the `record` events of this stream, in the order in which they were handled,
    /// over all connections to this process.
    pub fn recorded(&self, stream: &str) -> Vec<u64> {
        let body = self.get(&format!("/recorded?stream={stream}"));
        serde_json::from_value(body).unwrap_or_else(|error| panic!("a list of numbers: {error}"))
    }

    /// Makes the server emit these numbers as events of this name, one each, to everybody in the
    /// namespace: also to clients that are away, if the server keeps their state.
    pub fn publish(&self, namespace: &str, name: &str, numbers: Range<u64>) {
        let (from, count) = (numbers.start, numbers.end - numbers.start);
        self.get(&format!("/publish?namespace={namespace}&name={name}&from={from}&count={count}"));
    }

    /// Makes the server emit an event to everybody in the namespace: an array of its name and its
    /// arguments.
    pub fn emit(&self, namespace: &str, how: How, event: &Value) {
        let how = match how {
            How::Plain => "plain",
            How::Binary => "binary",
            How::Volatile => "volatile",
            How::Asking => "asking",
        };
        let args = percent_encode(&event.to_string());
        self.get(&format!("/emit?namespace={namespace}&how={how}&args={args}"));
    }

    /// How many messages it has discarded, because they waited for a connection that was gone.
    pub fn discarded(&self) -> u64 {
        self.get("/discarded").as_u64().unwrap()
    }

    /// The first argument of each answer to events emitted as [`How::Asking`], in any order.
    pub fn answers(&self) -> Vec<Value> {
        let body = self.get("/answers");
        body.as_array().unwrap_or_else(|| panic!("a list, not {body}")).clone()
    }

    /// Makes the server emit the numbers of a stream, from 0, to all clients in "/", as `record` events;
    /// those emitted right before a connection is lost are lost. One in ten asks for an answer.
    pub fn pump(&self, stream: &str, count: u64) {
        self.get(&format!("/pump?stream={stream}&count={count}"));
    }

    /// How many numbers of the stream were emitted so far, and the answers: which number each
    /// belongs to, and its value.
    pub fn pumped(&self, stream: &str) -> (u64, Vec<(u64, u64)>) {
        let body = self.get(&format!("/pumped?stream={stream}"));
        let answers = serde_json::from_value(body["answers"].clone());
        (body["next"].as_u64().expect("a number"), answers.expect("pairs of numbers"))
    }

    /// From now on, `/guarded` accepts only this token.
    pub fn set_token(&self, token: &str) {
        self.get(&format!("/token?is={}", percent_encode(token)));
    }

    /// The tokens with which clients asked to join `/guarded`, in order.
    pub fn tokens(&self) -> Vec<Value> {
        let body = self.get("/tokens");
        body.as_array().unwrap_or_else(|| panic!("a list, not {body}")).clone()
    }

    /// How many Engine.IO connections there are now.
    pub fn engines(&self) -> u64 {
        let body = self.get("/engine");
        body.as_u64().unwrap_or_else(|| panic!("a count, not {body}"))
    }

    /// Makes the server call `io.close()`: every connection is closed and the port is given up,
    /// while the process keeps running.
    pub fn shutdown(&self) {
        self.get("/shutdown");
    }

    /// Makes the server close the Engine.IO connection of every client, without a DISCONNECT packet.
    pub fn close_engines(&self) {
        self.get("/engine?close");
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&self) {
        let mut child = self.child();
        // It may have ended by itself.
        child.kill().ok();
        child.wait().expect("the server can be waited for");
    }

    /// What the server has written to its standard error.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Blocking is fine here: the answer comes from another process and cannot depend on the caller's
    /// thread; and there is a time limit, so that a test fails instead of hanging.
    fn get(&self, path: &str) -> Value {
        let describe = |error: std::io::Error| {
            panic!("GET {path} on socket.io {}: {error}\n{}", self.line.version(), self.errors())
        };
        let text = self.fetch(path).unwrap_or_else(describe);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        assert!(head.contains(" 200 "), "GET {path}: {text}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("GET {path}: {error}: {body:?}"))
    }

    fn fetch(&self, path: &str) -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.control));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // HTTP/1.0, whose responses are never chunked.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn await_ready(&self, printed: &mpsc::Receiver<String>) -> (u16, u16) {
        let version = self.line.version();
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let line =
                match printed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(line) => line,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!(
                        "socket.io {version} was not ready after {START_DEADLINE:?}; it said:\n{}",
                        self.errors()
                    ),
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        let status = self.child().wait();
                        // The thread that collects its last lines may be a moment behind.
                        thread::sleep(Duration::from_millis(100));
                        panic!(
                            "socket.io {version} ended before it was ready ({status:?}); \
                         it said:\n{}",
                            self.errors()
                        )
                    }
                };
            let ready = serde_json::from_str::<Value>(&line).ok();
            let port = |name: &str| {
                let port = ready.as_ref()?.get(name)?.as_u64()?;
                u16::try_from(port).ok()
            };
            if let (Some(port), Some(control)) = (port("ready"), port("control")) {
                return (port, control);
            }
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let mut child = self.child();
        let deadline = Instant::now() + STOP_DEADLINE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                child.kill().ok();
                child.wait().ok();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").expect("a string takes everything");
        encoded
    })
}

/// Where the servers are installed.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/node")
}

/// Installs the servers of the lock file, unless they are installed.
pub fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        require("node");
        // Several test processes may run at the same time: the first installs, the others wait.
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(shared).expect("the directory for temporary files can be made");
        let guard = File::create(shared.join("node-servers.lock")).expect("a lock file");
        guard.lock().expect("the lock file can be locked");

        let wanted = fs::read(directory().join("package-lock.json")).expect("package-lock.json");
        // npm first removes node_modules, and the stamp is written last, so that an
        // interrupted installation has no stamp.
        let stamp = directory().join("node_modules/.installed-package-lock.json");
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return;
        }
        require(NPM);
        let output = Command::new(NPM)
            .args(["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(directory())
            .stdin(Stdio::null())
            .output()
            .expect(MISSING);
        assert!(
            output.status.success(),
            "npm could not install the Socket.IO servers ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(stamp, wanted).expect("node_modules can be written to");
    });
}

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

fn require(program: &str) {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    assert!(found.is_ok_and(|output| output.status.success()), "{MISSING}");
}
