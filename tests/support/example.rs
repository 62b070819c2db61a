//! Examples, run as programs of their own.

use super::PATIENCE;
use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// The program of an example, as `cargo build --examples` has left it.
pub fn program(name: &str) -> PathBuf {
    // The test is in the directory next to that of the examples.
    let mut path = env::current_exe().expect("the path of this test");
    path.pop();
    path.set_file_name("examples");
    path.push(name);
    assert!(path.is_file(), "{name} is not built: run `cargo build --examples`");
    path
}

/// A running example; it is killed when dropped.
pub struct Example {
    name: &'static str,
    child: Child,
    printed: mpsc::Receiver<String>,
}

impl Example {
    /// Starts it with these arguments, and on any port if it listens on one.
    pub fn start<A: AsRef<OsStr>>(
        name: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::start_with(("PORT", "0"), name, arguments)
    }

    /// Starts it with this variable in its environment.
    pub fn start_with<A: AsRef<OsStr>>(
        (key, value): (&str, &str),
        name: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut child = Command::new(program(name))
            .args(arguments)
            .env_remove("TOKEN")
            .env(key, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, printed) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test may have ended.
                lines.send(line).ok();
            }
        });
        Self { name, child, printed }
    }

    /// The next line that it prints.
    pub fn line(&self) -> String {
        let line = self.printed.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("{}: no line: {error}", self.name))
    }

    /// Waits until it has printed these lines, in any order and with any others between them.
    pub fn until<const N: usize>(&self, lines: [&str; N]) {
        let deadline = Instant::now() + PATIENCE;
        let mut missing = lines.to_vec();
        let mut others = Vec::new();
        while !missing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) => match missing.iter().position(|wanted| *wanted == line) {
                    Some(at) => drop(missing.remove(at)),
                    None => others.push(line),
                },
                Err(error) => panic!("{}: {error}: no {missing:?} in {others:#?}", self.name),
            }
        }
    }

    /// Interrupts it, like Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it ends with success, and returns what it printed.
    pub fn end(self) -> Vec<String> {
        let name = self.name;
        let (status, lines) = self.end_somehow();
        assert!(status.success(), "{name}: {status}: {lines:#?}");
        lines
    }

    /// Waits until it ends, with success or not.
    pub fn end_somehow(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} runs on: {lines:#?}", self.name),
            }
        }
        (self.child.wait().unwrap(), lines)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
