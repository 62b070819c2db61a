//! One run: a stub server and a client, each in its own process.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{measure::Report, spec::Spec, tls};

/// A run takes seconds; this long means that it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// This program, with these arguments first.
pub fn this(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this is a program"));
    command.args(arguments);
    command
}

/// Runs the client, given as a command that lacks the port and the spec, against a server of its
/// own.
pub fn run(mut client: Command, spec: Spec) -> Result<Report, String> {
    let server = Server::start(spec)?;
    client.arg(server.port.to_string()).args(spec.arguments());
    if let Some(certificate) = &server.certificate {
        client.env(tls::CERTIFICATE, certificate);
    }
    let client = client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Killed(client.spawn().map_err(|error| error.to_string())?);
    // The client prints one line, or a panic: less than a pipe holds.
    let begin = Instant::now();
    let status = loop {
        match client.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() > DEADLINE => return Err("it hangs".into()),
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.to_string()),
        }
    };
    let (mut printed, mut complaint) = (String::new(), String::new());
    if let (Some(mut stdout), Some(mut stderr)) = (client.0.stdout.take(), client.0.stderr.take()) {
        stdout.read_to_string(&mut printed).map_err(|error| error.to_string())?;
        stderr.read_to_string(&mut complaint).map_err(|error| error.to_string())?;
    }
    if !status.success() {
        let said = complaint.lines().filter(|line| !line.trim().is_empty()).take(4);
        return Err(said.collect::<Vec<_>>().join(" "));
    }
    let line = printed.lines().last().unwrap_or_default();
    let report: Report =
        serde_json::from_str(line).map_err(|error| format!("it prints {line:?}: {error}"))?;
    if report.messages == 0 { Err("nothing was measured".into()) } else { Ok(report) }
}

pub struct Server {
    pub port: u16,
    certificate: Option<String>,
    _process: Killed,
}

impl Server {
    /// Starts one, a process of its own.
    pub fn start(spec: Spec) -> Result<Self, String> {
        let mut command = this(&["server"]);
        command.args(spec.arguments()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Killed(command.spawn().map_err(|error| error.to_string())?);
        let stdout = process.0.stdout.take().ok_or("a server without an output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let mut words = line.split_whitespace();
        let port =
            words.next().and_then(|port| port.parse().ok()).ok_or("the server has no port")?;
        Ok(Self { port, certificate: words.next().map(str::to_owned), _process: process })
    }
}

/// A process that is killed when its owner is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
