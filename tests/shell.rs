//! The example `shell`, as its users run it: a program in a terminal, which is the test's; its servers; and a network
//! that fails between the two.
//!
//! `cargo test` builds the example first; with `--test shell` it is as `cargo build --examples` has left it.

// Pseudo terminals, and `/proc`.
#![cfg(target_os = "linux")]
// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, atomic::AtomicU32, atomic::Ordering},
    thread,
    time::Instant,
};

use bytes::Bytes;
use pty_process::blocking::{Command as TerminalCommand, Pts, Pty};
use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, Termios, tcgetattr};
use socketioxide::{SocketIo, extract::SocketRef};
use support::{
    PATIENCE, eventually,
    example::program,
    node,
    proxy::{Direction, Proxy},
    reserved::Port,
};

const TOKEN: &str = "correct horse battery staple";

/// The code of the example itself, when there is none of a shell.
const NO_SHELL: i32 = 255;

/// More than the programs hold by themselves, in bytes, and less than all that goes through them.
const RUST_MEMORY: u64 = 48 << 20;
const NODE_MEMORY: u64 = 160 << 20;

/// How many servers on Node.js this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A server of shells; it is killed when dropped.
struct Server {
    child: Child,
    url: String,
    memory: u64,
}

impl Server {
    /// The example itself.
    fn rust() -> Self {
        Self::rust_with(&["--listen", "127.0.0.1:0"])
    }

    fn rust_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(program("shell"));
        command.arg("serve").args(arguments);
        Self::start(&mut command, RUST_MEMORY)
    }

    /// The official one, which takes its terminals from Python. None, with a message, where that is not.
    fn node() -> Option<Self> {
        let python = Command::new("python3").arg("--version").output();
        if !python.is_ok_and(|output| output.status.success()) {
            // Not by a macro: what those print is shown of tests that fail only.
            writeln!(std::io::stderr(), "skipped: this test needs Python 3").ok();
            return None;
        }
        node::install();
        // It asks for `socket.io`, which has another name there.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let modules = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("shell-{}-{number}", std::process::id()));
        fs::remove_dir_all(&modules).ok();
        fs::create_dir_all(&modules).unwrap();
        let installed = node::directory().join("node_modules/sio-4.8.4");
        symlink(installed, modules.join("socket.io")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shell/server.js");
        let mut command = Command::new("node");
        command.arg(script).env("NODE_PATH", &modules).env("PORT", "0");
        let server = Self::start(&mut command, NODE_MEMORY);
        // It has loaded them.
        fs::remove_dir_all(modules).unwrap();
        Some(server)
    }

    fn start(command: &mut Command, memory: u64) -> Self {
        let command = command.env("SHELL_TOKEN", TOKEN).env("SHELL", "/bin/sh");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:") && !url.contains('#'), "{url:?}");
        Self { child, url: url.trim().to_owned(), memory }
    }

    fn port(&self) -> u16 {
        self.url.trim_end_matches('/').rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn proxy(&self) -> Proxy {
        Proxy::start(self.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The output of a program so far.
#[derive(Clone, Default)]
struct Written(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Written {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let written = Self::default();
        let also = written.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let (bytes, changed) = &*also.0;
                bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
                changed.notify_all();
            }
        });
        written
    }

    /// Waits until this is written, and gives all before it and with it.
    #[track_caller]
    fn until(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let (bytes, changed) = &*self.0;
        let mut bytes = bytes.lock().unwrap();
        loop {
            let shown = String::from_utf8_lossy(&bytes);
            if let Some((before, rest)) = shown.split_once(text) {
                let (before, rest) = (format!("{before}{text}"), rest.as_bytes().to_vec());
                *bytes = rest;
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {shown:?}");
            bytes = changed.wait_timeout(bytes, left).unwrap().0;
        }
    }
}

struct Reader(Arc<Pty>);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

type Modes = (InputModes, OutputModes, ControlModes, LocalModes);

fn modes(pts: &Pts) -> Modes {
    let Termios { input_modes, output_modes, control_modes, local_modes, .. } =
        tcgetattr(pts).unwrap();
    (input_modes, output_modes, control_modes, local_modes)
}

/// The example in a terminal of the test; it is killed when dropped.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    pts: Pts,
    /// Before the example was started.
    modes: Modes,
    shown: Written,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(24, 80)).unwrap();
        let mut command = TerminalCommand::new(program("shell"))
            .args(arguments)
            .env("SHELL_TOKEN", TOKEN)
            .env("SHELL", "/bin/sh")
            .env("PS1", "ready> ")
            .env_remove("ENV");
        let modes = modes(&pts);
        let child = command.spawn_borrowed(&pts).unwrap();
        let pty = Arc::new(pty);
        let shown = Written::read(Reader(Arc::clone(&pty)));
        Self { child, pty, pts, modes, shown }
    }

    fn type_in(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    /// Whether the terminal has the modes that it began with, and not those of the example.
    fn is_restored(&self) -> bool {
        modes(&self.pts) == self.modes
    }

    fn end(mut self) -> i32 {
        wait(&mut self.child)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn wait(child: &mut Child) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| panic!("{status}"));
        }
        assert!(Instant::now() < deadline, "it runs on after {PATIENCE:?}");
        thread::sleep(PATIENCE / 1500);
    }
}

/// The example between pipes; it is killed when dropped.
struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    told: Written,
}

impl Piped {
    fn start(url: &str, command: &str) -> Self {
        Self::start_with(TOKEN, url, command)
    }

    fn start_with(token: &str, url: &str, command: &str) -> Self {
        let mut child = Command::new(program("shell"))
            .args([url, "--", command])
            .env("SHELL_TOKEN", token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let told = Written::read(child.stderr.take().unwrap());
        Self { child, input, told }
    }

    /// All its output, and its code.
    fn end(mut self) -> (Vec<u8>, i32) {
        let mut output = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        (output, wait(&mut self.child))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A file with as many bytes, of all values; it is removed when dropped.
struct Sample(PathBuf, Vec<u8>);

impl Sample {
    fn new(name: &str, length: usize) -> Self {
        let mut state = 7_u64;
        let bytes = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        let bytes: Vec<u8> = bytes.take(length).collect();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("shell-{name}-{}", std::process::id()));
        fs::write(&path, &bytes).unwrap();
        Self(path, bytes)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// The most memory that a process has held, in bytes.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

fn is_running(process: &str) -> bool {
    Path::new("/proc").join(process).exists()
}

/// Runs each scenario with the server in Rust, and with the official one on Node.js.
macro_rules! with_each_server {
    ($($scenario:ident,)*) => {
        mod rust {
            $(#[actix::test] async fn $scenario() {
                super::$scenario(super::Server::rust()).await;
            })*
        }
        mod official {
            $(#[actix::test] async fn $scenario() {
                let Some(server) = super::Server::node() else { return };
                super::$scenario(server).await;
            })*
        }
    };
}

with_each_server!(
    a_command_has_its_output_and_its_exit_code,
    the_shell_has_the_size_of_the_terminal,
    keys_go_to_the_shell,
    a_tilde_and_a_dot_end_it,
    binary_output_is_intact,
    binary_input_is_intact,
    output_is_complete_after_lost_connections,
    input_is_complete_after_lost_connections,
    a_slow_reader_holds_the_shell_back,
    a_lot_of_output_takes_little_memory,
    a_wrong_token_is_refused,
    an_ended_client_ends_its_shell,
    a_stopped_server_ends_its_shells_and_clients,
);

async fn a_command_has_its_output_and_its_exit_code(server: Server) {
    let piped = Piped::start(&server.url, "echo out; echo err >&2; test -t 0 && exit 7");
    assert_eq!(piped.end(), (b"out\r\nerr\r\n".to_vec(), 7));
    // As shells count signals, and without the token of the server.
    let piped = Piped::start(&server.url, "echo \"[$SHELL_TOKEN]\"; kill -9 $$");
    assert_eq!(piped.end(), (b"[]\r\n".to_vec(), 128 + 9));
}

async fn the_shell_has_the_size_of_the_terminal(server: Server) {
    let again = "stty size; until [ \"$(stty size)\" = '40 100' ]; do :; done; echo resized";
    let terminal = Terminal::start(&[&server.url, "--", again]);
    terminal.shown.until("24 80");
    terminal.pty.resize(pty_process::Size::new(40, 100)).unwrap();
    terminal.shown.until("resized");
    assert_eq!(terminal.end(), 0);
}

async fn keys_go_to_the_shell(server: Server) {
    let terminal = Terminal::start(&[&server.url]);
    terminal.shown.until("~.");
    terminal.type_in("trap 'echo ca''ught' INT; (echo rea''dy; exec cat)\r");
    terminal.shown.until("ready");
    terminal.type_in("\u{3}");
    terminal.shown.until("caught");
    // It is no escape in the middle of a line, nor twice.
    terminal.type_in("echo a~.b\r");
    terminal.shown.until("a~.b\r\n");
    terminal.type_in("~~.c\r");
    terminal.shown.until("~.c");
    assert!(!terminal.is_restored());
    terminal.type_in("exit 5\r");
    assert_eq!(terminal.end(), 5);
}

async fn a_tilde_and_a_dot_end_it(server: Server) {
    let terminal = Terminal::start(&[&server.url, "--", "echo \"pid=$$.\"; exec sleep 1000"]);
    let shown = terminal.shown.until("pid=");
    assert!(shown.contains("whoever has the token"), "{shown}");
    let process = terminal.shown.until(".").trim_end_matches('.').to_owned();
    terminal.type_in("\r~.");
    terminal.shown.until("ended by ~.");
    eventually("the shell ends", || !is_running(&process)).await;
    assert!(terminal.is_restored());
    assert_eq!(terminal.end(), NO_SHELL);
}

async fn binary_output_is_intact(server: Server) {
    let sample = Sample::new(&format!("out-{}", server.port()), 1_000_000);
    let command = format!("stty raw; cat {}", sample.0.display());
    let (output, code) = Piped::start(&server.url, &command).end();
    assert_eq!(code, 0);
    assert!(output == sample.1, "{} bytes", output.len());
}

async fn binary_input_is_intact(server: Server) {
    let sample = Sample::new(&format!("in-{}", server.port()), 300_000);
    let command =
        format!("stty raw -echo; echo ready >&2; cmp - {} && echo same", sample.0.display());
    let command = command.replace("cmp -", "head -c 300000 | cmp -");
    let mut piped = Piped::start(&server.url, &command);
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    piped.input.as_mut().unwrap().write_all(&sample.1).unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "same\n");
    assert_eq!(wait(&mut piped.child), 0);
}

async fn output_is_complete_after_lost_connections(server: Server) {
    let proxy = server.proxy();
    proxy.cut_after(200_000, Direction::ToClient);
    // More than passes before each cut, and it goes on when the next cut is prepared.
    let command = "stty -opost -echo; seq 1 75000
        for last in 150000 225000 300000; do read line; seq $((last - 74999)) $last; done; exit 3";
    let mut piped = Piped::start(&proxy.url(), command);
    let (told, mut input) = (piped.told.clone(), piped.input.take().unwrap());
    let reading = thread::spawn(|| piped.end());
    for bytes in [1, 70_000, 400_000] {
        told.until("connected again");
        proxy.cut_after(bytes, Direction::ToClient);
        input.write_all(b"\n").unwrap();
    }
    told.until("connected again");
    let (output, code) = reading.join().unwrap();
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(code, 3);
    assert!(output == expected.as_bytes(), "{} of {} bytes", output.len(), expected.len());
}

async fn input_is_complete_after_lost_connections(server: Server) {
    let proxy = server.proxy();
    let sample = Sample::new(&format!("cut-{}", server.port()), 300_000);
    let command = format!(
        "stty raw -echo; echo ready; head -c 300000 | cmp - {}; echo end $?",
        sample.0.display()
    );
    let mut piped = Piped::start(&proxy.url(), &command);
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let cuts =
        [(Direction::ToServer, 50_000), (Direction::ToClient, 40), (Direction::ToServer, 50_000)];
    for ((direction, count), part) in cuts.into_iter().zip(sample.1.chunks(100_000)) {
        proxy.cut_after(count, direction);
        piped.input.as_mut().unwrap().write_all(part).unwrap();
        piped.told.until("connected again");
    }
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "end 0\n");
    assert_eq!(wait(&mut piped.child), 0);
}

async fn a_slow_reader_holds_the_shell_back(server: Server) {
    let zeros = "stty -opost; echo $$; exec head -c 50000000 /dev/zero";
    let mut piped = Piped::start(&server.url, zeros);
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    let mut process = String::new();
    output.read_line(&mut process).unwrap();
    let counters = format!("/proc/{}/io", process.trim());
    let written = || -> u64 {
        let counters = fs::read_to_string(&counters).unwrap();
        counters.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
    };
    // Nobody reads on. It stands still when it has written the same for a while.
    let (mut last, mut equal) = (0, 0);
    eventually("it stands still", || {
        let now = written();
        (equal, last) = if now == last { (equal + 1, last) } else { (0, now) };
        equal == 15
    })
    .await;
    assert!(last < 8 << 20, "{last} bytes");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 50_000_000);
    assert_eq!(wait(&mut piped.child), 0);
}

async fn a_lot_of_output_takes_little_memory(server: Server) {
    let mut piped = Piped::start(&server.url, "stty -opost; yes | head -c 50000000; read line");
    let mut output = piped.child.stdout.take().unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut count = 0;
    while count < 50_000_000 {
        let read = output.read(&mut buffer).unwrap();
        assert!(read > 0, "{count} bytes");
        assert!(
            buffer[..read]
                .iter()
                .enumerate()
                .all(|(at, byte)| { *byte == if (count + at) % 2 == 0 { b'y' } else { b'\n' } })
        );
        count += read;
    }
    let (client, server_peak) = (peak(piped.child.id()), peak(server.child.id()));
    assert!(client < RUST_MEMORY, "the client: {client}");
    assert!(server_peak < server.memory, "the server: {server_peak}");
    drop(piped.input.take());
    assert_eq!(wait(&mut piped.child), 1, "the end of the input");
}

async fn a_wrong_token_is_refused(server: Server) {
    let piped = Piped::start_with("not the right one", &server.url, "echo no");
    let told = piped.told.clone();
    assert_eq!(piped.end(), (Vec::new(), NO_SHELL));
    let line = told.until("\n");
    assert!(line.contains("a token, which is missing or wrong"), "{line}");
    assert!(!line.contains("not the right one") && !line.contains(TOKEN), "{line}");
}

async fn an_ended_client_ends_its_shell(server: Server) {
    let mut piped = Piped::start(&server.url, "echo $$; exec sleep 1000");
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    let mut process = String::new();
    output.read_line(&mut process).unwrap();
    let client = piped.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &client]).status().unwrap().success());
    assert_eq!(wait(&mut piped.child), NO_SHELL);
    piped.told.until("terminated");
    eventually("the shell ends", || !is_running(process.trim())).await;
}

async fn a_stopped_server_ends_its_shells_and_clients(mut server: Server) {
    let mut piped = Piped::start(&server.url, "echo $$; exec sleep 1000");
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    let mut process = String::new();
    output.read_line(&mut process).unwrap();
    let id = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(wait(&mut server.child), 0);
    assert_eq!(wait(&mut piped.child), NO_SHELL);
    piped.told.until("the server disconnected this client");
    eventually("the shell ends", || !is_running(process.trim())).await;
}

#[actix::test]
async fn without_arguments_it_opens_a_shell_of_its_own() {
    let terminal = Terminal::start(&[]);
    terminal.shown.until("whoever has the token");
    terminal.shown.until("ready> ");
    assert!(!terminal.is_restored());
    terminal.type_in("echo $((6*7))\r");
    terminal.shown.until("\r\n42\r\n");
    terminal.type_in("exit 5\r");
    terminal.shown.until("exit 5");
    eventually("the modes are back", || terminal.is_restored()).await;
    assert_eq!(terminal.end(), 5);
}

#[actix::test]
async fn a_session_that_the_server_does_not_have_is_over() {
    let server = Server::rust_with(&["--listen", "127.0.0.1:0", "--keep", "0"]);
    let proxy = server.proxy();
    // It has no end yet when the client is back.
    let stubborn = "trap '' HUP; echo ready; exec sleep 1000";
    let mut piped = Piped::start(&proxy.url(), stubborn);
    let mut output = BufReader::new(piped.child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    proxy.cut();
    piped.told.until("the session is over: it is kept for 0 s without a client");
    assert_eq!(wait(&mut piped.child), NO_SHELL);
}

#[actix::test]
async fn missing_output_is_told() {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.emit("output", &(0, Bytes::from_static(b"abc"))).unwrap();
        // Bytes that were shown before are not shown again.
        socket.emit("output", &(1, Bytes::from_static(b"bcd"))).unwrap();
        socket.emit("output", &(9, Bytes::from_static(b"jk"))).unwrap();
        socket.emit("exit", &(0,)).unwrap();
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    actix::spawn(async move { axum::serve(listener, axum::Router::new().layer(layer)).await });
    let piped = Piped::start(&url, "");
    let told = piped.told.clone();
    let ended = tokio::task::spawn_blocking(|| piped.end()).await.unwrap();
    assert_eq!(ended, (b"abcdjk".to_vec(), 0));
    told.until("5 bytes of output are missing here");
}

#[test]
fn what_goes_wrong_is_told_in_one_line() {
    let port = Port::reserve();
    let dead = port.url();
    for (token, arguments, expected) in [
        (TOKEN, &[dead.as_str()][..], "Connection refused"),
        (TOKEN, &["localhost:3000"], "it has no scheme"),
        ("", &[&dead], "the token is missing"),
        ("", &[&dead, "--token-file", "/does/not/exist"], "cannot be read"),
        ("short", &["serve"], "the token is too short"),
        (TOKEN, &["serve", "--listen", "0.0.0.0:0"], "not on loopback"),
    ] {
        let mut command = Command::new(program("shell"));
        command.args(arguments).env("SHELL_TOKEN", token).stdin(Stdio::null());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(NO_SHELL), "{arguments:?}: {told}");
        assert!(told.contains(expected) && !told.contains("Err"), "{arguments:?}: {told}");
        assert_eq!((told.lines().count(), output.stdout.len()), (1, 0), "{arguments:?}: {told}");
    }
}

#[test]
fn beyond_loopback_it_listens_when_told_so_and_prints_a_token() {
    let mut child = Command::new(program("shell"))
        .args(["serve", "--listen", "0.0.0.0:0", "--i-know-what-this-is"])
        .env_remove("SHELL_TOKEN")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let url = url.trim().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(url.split_once('#').unwrap().1.len(), 32, "{url}");
    let mut command = Command::new(program("shell"));
    let output =
        command.args([&url, "--", "echo in"]).env_remove("SHELL_TOKEN").stdin(Stdio::null());
    let output = output.output().unwrap();
    assert!(output.stdout.ends_with(b"in\r\n"), "{output:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
