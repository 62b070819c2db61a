//! The client side: the terminal of the user.

use std::{
    env, fs,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_rt::signal::unix::{SignalKind, signal};
use actix_socketio::{
    Client, ConnectError, Disconnected, Emit, Event, Filter, Ready, Reconnect, Socket,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use url::{Host, Url};

use crate::{
    Failure,
    terminal::{self, Output, RawMode, notice},
    wire::{EXIT, Hello, INPUT, OUTPUT, RESIZE},
};

/// The time to send the last events to the server.
const FLUSH: Duration = Duration::from_secs(2);

/// The time for the answer to a piece of input. The shell may take long to read it.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The progress of the session.
#[derive(Default)]
struct Progress {
    was_joined: AtomicBool,
    /// The number of the output's next byte.
    next: AtomicU64,
}

/// Opens a shell on the server, and returns its exit code when it ends.
pub(crate) async fn run(url: &str, token: String, command: Option<String>) -> Result<u8, Failure> {
    let progress = Arc::new(Progress::default());
    let client = connect(url, token, command, Arc::clone(&progress)).await?;
    progress.was_joined.store(true, Ordering::SeqCst);
    let raw_mode = RawMode::enter()?;
    if raw_mode.is_some() {
        notice(&"a shell for whoever has the token; ~. behind a newline ends it");
    }
    if is_open(url) {
        notice(&"the connection is not encrypted: others on the way can read along");
    }
    let outcome = attend(client.socket(), &progress).await;
    drop(raw_mode);
    client.shutdown(FLUSH).await;
    outcome
}

/// Whether the way to the server leaves this machine without TLS.
fn is_open(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => true,
        };
        matches!(url.scheme(), "http" | "ws") && !is_local
    })
}

async fn connect(
    url: &str,
    token: String,
    command: Option<String>,
    progress: Arc<Progress>,
) -> Result<Client, Failure> {
    let session = random_name()?;
    let term = env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    // Called before each request to join, so also after a lost connection.
    let hello = move || Hello {
        token: token.clone(),
        session: session.clone(),
        is_new: !progress.was_joined.load(Ordering::SeqCst),
        from: progress.next.load(Ordering::SeqCst),
        size: terminal::size(),
        term: term.clone(),
        command: command.clone(),
    };
    let client = Client::builder(url)
        .auth_with(move |_| {
            let hello = hello();
            async move { Ok::<_, std::convert::Infallible>(hello) }
        })
        // A person is waiting at the terminal, so try again quickly.
        .reconnect(Reconnect::default().delay(Duration::from_millis(200), Duration::from_secs(3)))
        .connect()
        .await?;
    Ok(client)
}

/// Passes everything on until the shell ends.
async fn attend(socket: &Socket, progress: &Progress) -> Result<u8, Failure> {
    let (typed, escaped) = terminal::input();
    let escaped = async {
        if escaped.await.is_err() {
            // The input has ended.
            futures::future::pending::<()>().await;
        }
    };
    let fate = follow_connection(socket);
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::select! {
        code = show(socket, progress) => code,
        error = send(socket, typed) => Err(error),
        error = follow_size(socket) => Err(error),
        reason = fate => Err(reason),
        () = escaped => Err("ended by ~.".into()),
        // Ctrl-C of a terminal in raw mode is a key for the shell, and no signal.
        _ = interrupts.recv() => Err("interrupted".into()),
        _ = terminations.recv() => Err("terminated".into()),
        _ = hangups.recv() => Err("the terminal is gone".into()),
    }
}

/// Shows the output of the shell, until it ends.
async fn show(socket: &Socket, progress: &Progress) -> Result<u8, Failure> {
    let output = Output::open();
    // A slow terminal holds the server back: it waits for the answers.
    let mut events = socket.listen(Filter::all()).stream();
    while let Some(event) = events.next().await {
        match event.name() {
            OUTPUT => {
                let next =
                    show_piece(&event, progress.next.load(Ordering::SeqCst), &output).await?;
                progress.next.store(next, Ordering::SeqCst);
                // If the connection is lost, the next Hello says so.
                event.ack(next).ok();
            }
            EXIT => {
                let code = event.args()?;
                event.ack(()).ok();
                return Ok(code);
            }
            _ => {}
        }
    }
    Err("the client has ended".into())
}

/// Shows those of these bytes that are new, and returns the number of the next byte.
async fn show_piece(event: &Event, next: u64, output: &Output) -> Result<u64, Failure> {
    let (from, mut bytes): (u64, Bytes) = event.args()?;
    let end = from.saturating_add(u64::try_from(bytes.len())?);
    if from > next {
        notice(&format_args!("{} bytes of output are missing here", from - next));
    }
    // The beginning may have come before the connection was lost.
    let seen = usize::try_from(next.saturating_sub(from))?.min(bytes.len());
    let new = bytes.split_off(seen);
    if !new.is_empty() {
        let written = output.write(new).await;
        written.map_err(|error| format!("the output cannot be written: {error}"))?;
    }
    Ok(end.max(next))
}

/// Sends the input, each piece after the shell has read the one before.
async fn send(socket: &Socket, mut typed: mpsc::Receiver<Bytes>) -> Failure {
    let mut from = 0_u64;
    while let Some(piece) = typed.recv().await {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        // After a lost connection it is sent again. The server recognises repeated bytes by their number.
        let taken = socket.emit_with_ack::<()>(INPUT, (from, piece));
        if let Err(error) = taken.retries(u32::MAX).timeout(HOUR).await {
            return format!("the input cannot be sent: {error}").into();
        }
        from = from.saturating_add(length);
    }
    // The shell ends when it likes.
    futures::future::pending().await
}

/// Tells the shell when the size of the terminal changes.
async fn follow_size(socket: &Socket) -> Failure {
    let mut changes = match signal(SignalKind::window_change()) {
        Ok(changes) => changes,
        Err(error) => return error.into(),
    };
    while changes.recv().await.is_some() {
        // Of several that wait for the connection, only the last one matters.
        let resize = Emit::new(RESIZE, terminal::size()).map(|resize| resize.latest("size"));
        if let Err(error) = resize.and_then(|resize| socket.send(resize)) {
            return error.into();
        }
    }
    futures::future::pending().await
}

/// Reports the state of the connection, until it is lost for good.
async fn follow_connection(socket: &Socket) -> Failure {
    let gone = socket.listen_to::<Disconnected>().stream();
    let gone = gone.map(|gone| Some(gone.reason().to_string()));
    let failed = socket.listen_to::<ConnectError>().stream();
    let failed = failed.map(|failed| Some(failed.reason().to_string()));
    let back = socket.listen_to::<Ready>().stream().map(|_| None);
    let mut changes =
        stream::select_all([gone.boxed_local(), failed.boxed_local(), back.boxed_local()]);
    let mut is_lost = false;
    while let Some(change) = changes.next().await {
        match (change, socket.state().reason()) {
            (_, Some(reason)) => return reason.to_string().into(),
            (Some(reason), None) => {
                notice(&format_args!("{reason}; connecting again"));
                is_lost = true;
            }
            // The first connection was reported before.
            (None, None) if is_lost => {
                notice(&"connected again");
                is_lost = false;
            }
            (None, None) => {}
        }
    }
    "the client has ended".into()
}

/// A name that nobody can guess.
pub(crate) fn random_name() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
