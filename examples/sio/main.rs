//! A terminal client for any Socket.IO server.
//!
//! ```sh
//! cargo install --path . --example sio     # or: cargo run --example sio -- …
//!
//! sio listen http://localhost:3000                        # prints what comes, until Ctrl-C
//! sio listen http://localhost:3000/shop price --json      # one event, one JSON a line: for scripts
//! sio emit http://localhost:3000 add 1 2 --ack            # prints the answer
//! sio emit http://localhost:3000 photo cat @cat.jpeg      # a file is an attachment
//! printf '["a",1]\n["b",2]\n' | sio pipe http://localhost:3000
//! sio listen http://localhost:3000 --record wire.jsonl    # what went over the wire, in a file
//! sio completions bash > ~/.local/share/bash-completion/completions/sio
//! ```
//!
//! It ends with 0; with 1 if the server could not be reached, refused, or did not answer; with 2 if the
//! arguments are wrong. With `-v` it logs to standard error.

#![allow(clippy::print_stdout, reason = "it prints what it was asked for")]

mod options;
mod show;

use std::{error::Error, fs, io, process::ExitCode, thread, time::Duration};

use actix_socketio::{
    Args, ConnectError, Disconnected, Filter, Ready, Reconnecting, Socket, Upgraded, Value,
};
use clap::{CommandFactory as _, Parser as _};
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::{Either, select},
    pin_mut, stream,
};
use options::{Command, Connection, Emitting, Listening, Sio};
use show::{Show, notice};
use tokio::sync::mpsc;

type Outcome = Result<(), Box<dyn Error>>;

/// The time for emitted events to be sent at the end.
const FLUSH: Duration = Duration::from_secs(10);

#[actix::main]
async fn main() -> ExitCode {
    let Sio { command, verbose } = Sio::parse();
    let level = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
    let outcome = match command {
        Command::Listen(listening) => listen(listening).await,
        Command::Emit(emitting) => emit(emitting).await,
        Command::Pipe { connection, events } => pipe(connection, events).await,
        Command::Completions { shell } => {
            let mut command = Sio::command();
            clap_complete::generate(shell, &mut command, "sio", &mut io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what comes, until Ctrl-C, until enough has come, or until the connection is lost for good.
async fn listen(listening: Listening) -> Outcome {
    let Listening { connection, names, count, answer } = listening;
    let show = Show::new(connection.json);
    let client = connection.client()?.start()?;
    let socket = client.socket();
    let wanted = socket.listen(Filter::all()).stream().filter(move |event| {
        let is_wanted = names.is_empty() || names.iter().any(|name| name == event.name());
        async move { is_wanted }
    });
    let wanted = wanted.take(count.unwrap_or(usize::MAX));
    let events = wanted.for_each(|event| {
        show.event(&event);
        if event.wants_ack()
            && let Some(answer) = &answer
            && let Err(error) = event.ack(answer)
        {
            notice(&format_args!("not answered: {error}"));
        }
        async {}
    });
    let outcome = until(events, socket).await;
    client.shutdown(FLUSH).await;
    outcome.map(drop)
}

/// Emits one event.
async fn emit(emitting: Emitting) -> Outcome {
    let Emitting { connection, name, arguments, ack, timeout } = emitting;
    let show = Show::new(connection.json);
    let client = connection.client()?.connect().await?;
    let socket = client.socket();
    let emitted = if ack {
        let answer = socket.emit_with_ack::<Args>(&name, Args(arguments));
        let answer = answer.timeout(Duration::from_secs_f64(timeout)).await;
        answer.map(|answer| show.answer(&answer)).map_err(Box::from)
    } else {
        socket.emit(&name, Args(arguments))?.await.map_err(Box::from)
    };
    client.shutdown(FLUSH).await;
    emitted
}

/// Emits each line of the standard input, and prints what comes in the meantime.
async fn pipe(connection: Connection, prints: bool) -> Outcome {
    let show = Show::new(connection.json);
    let client = connection.client()?.connect().await?;
    let socket = client.socket();
    if prints {
        let show = show.clone();
        socket.listen(Filter::all()).call(move |event| show.event(&event));
    }
    let emitting = async {
        let mut lines = lines();
        while let Some(line) = lines.recv().await {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let (name, arguments) = options::event_of(&line)?;
            // Awaiting slows down a fast input.
            socket.emit(&name, Args(arguments))?.await?;
        }
        Outcome::Ok(())
    };
    let outcome = until(emitting, socket).await;
    let report = client.shutdown(FLUSH).await;
    if report.dropped > 0 {
        notice(&format_args!("{} events were not sent", report.dropped));
    }
    outcome?.unwrap_or(Ok(()))
}

/// The lines of the standard input. A thread reads them, so that the program can end without waiting for the next one.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(16);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Awaits this, and reports the state of the connection in the meantime. Ends early at Ctrl-C with `None`,
/// and with an error if the namespace has ended.
async fn until<F: Future>(future: F, socket: &Socket) -> Result<Option<F::Output>, Box<dyn Error>> {
    let fate = async {
        let changes = changes(socket);
        pin_mut!(changes);
        while let Some(change) = changes.next().await {
            notice(&change);
            if let Some(reason) = socket.state().reason() {
                return reason.to_string();
            }
        }
        "the client has ended".to_owned()
    };
    let interrupted = actix_rt::signal::ctrl_c().map(|_| String::new());
    pin_mut!(future, fate, interrupted);
    match select(future, select(fate, interrupted)).await {
        Either::Left((output, _)) => Ok(Some(output)),
        Either::Right((Either::Left((reason, _)), _)) => Err(reason.into()),
        Either::Right((Either::Right(_), _)) => Ok(None),
    }
}

/// The changes of the connection, in words.
fn changes(socket: &Socket) -> impl Stream<Item = String> + use<> {
    let ready = socket.listen_to::<Ready>().stream().map(|ready| {
        let recovered = if ready.recovered() { ", session recovered" } else { "" };
        format!("joined {}, {}{recovered}", ready.namespace(), ready.protocol())
    });
    let gone = socket.listen_to::<Disconnected>().stream();
    let gone = gone.map(|gone| format!("disconnected: {}", gone.reason()));
    let failed = socket.listen_to::<ConnectError>().stream();
    let failed = failed.map(|failed| format!("not joined: {}", failed.reason()));
    let again = socket.listen_to::<Reconnecting>().stream().map(|again| {
        format!("attempt {} in {:.1?}: {}", again.attempt(), again.delay(), again.reason())
    });
    let upgraded = socket.listen_to::<Upgraded>().stream();
    let upgraded = upgraded.map(|upgraded| format!("upgraded to {}", upgraded.transport()));
    let streams = [ready.boxed_local(), gone.boxed_local(), failed.boxed_local()];
    let more = [again.boxed_local(), upgraded.boxed_local()];
    stream::select_all(streams.into_iter().chain(more))
}

/// An argument of an event, as typed: a file, JSON, or otherwise a text.
fn argument(text: &str) -> Result<Value, io::Error> {
    if let Some(path) = text.strip_prefix('@') {
        let data = fs::read(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{path} cannot be read: {error}"))
        })?;
        return Ok(Value::Bytes(data.into()));
    }
    Ok(serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.into(), Value::from))
}
