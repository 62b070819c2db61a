//! One shell in a pseudo-terminal, and the client that it has or waits for.

use std::{
    collections::VecDeque, env, mem, os::unix::process::ExitStatusExt as _, process::ExitStatus,
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use pty_process::{Command, OwnedReadPty, OwnedWritePty};
use serde::Serialize;
use socketioxide::{
    extract::{AckSender, SocketRef},
    socket::Sid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Failure,
    options::VARIABLE,
    wire::{EXIT, Hello, OUTPUT, PIECE, Size},
};

/// The most output that is kept until the client has shown it, in bytes. When there is more, the shell has to wait.
const KEPT: usize = 1 << 20;

/// The most events with output that wait for their answers at a time.
const UNDER_WAY: usize = 16;

/// The most input that waits for the shell, in bytes. A client has one piece under way.
const TYPED: usize = 4 * PIECE;

/// The time for an answer. The user may have stopped the terminal and gone to sleep.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time for the shell to end by itself when its terminal is gone, and for a new client to join.
const GRACE: Duration = Duration::from_secs(2);

/// A message to a session.
pub(crate) enum Order {
    /// This is the client now, and it continues from this byte.
    Attach {
        socket: SocketRef,
        from: u64,
        size: Size,
    },
    /// This client is lost.
    Detach(Sid),
    Input {
        from: u64,
        bytes: Bytes,
        ack: AckSender,
    },
    Resize(Size),
    /// The client has shown everything before this byte.
    Shown(u64),
    /// The client knows the exit code, or has left; or the server ends.
    End,
}

pub(crate) struct Session {
    reader: OwnedReadPty,
    writer: OwnedWritePty,
    child: Child,
    keep: Duration,
    output: Output,
    input: Input,
    client: Presence,
    exit: Exit,
}

/// The output that the client has not shown yet.
struct Output {
    kept: BytesMut,
    /// The number of the first byte that is kept.
    start: u64,
    /// The number of the next byte for the client.
    next: u64,
    /// The ends of the pieces that are under way to the client.
    under_way: VecDeque<u64>,
}

/// The input that the shell has not read yet.
#[derive(Default)]
struct Input {
    waiting: BytesMut,
    /// How many bytes have come.
    received: u64,
    /// Answers the client when the input is written.
    ack: Option<AckSender>,
}

enum Presence {
    Here {
        socket: SocketRef,
        /// Whether the exit code is under way to the client.
        is_told: bool,
    },
    /// The client must come back by then.
    Away { deadline: Instant },
}

/// The stages of the end of the shell.
#[derive(Clone, Copy, PartialEq)]
enum Exit {
    Running,
    /// Nobody can write to the terminal any more.
    OutputEnded,
    Code(u8),
}

impl Session {
    pub(crate) fn open(hello: &Hello, keep: Duration) -> Result<Self, Failure> {
        let (pty, pts) = pty_process::open()?;
        let Size(rows, columns) = hello.size;
        pty.resize(pty_process::Size::new(rows, columns))?;
        let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(shell)
            .env("TERM", &hello.term)
            // Programs in the shell need not know the token.
            .env_remove(VARIABLE)
            .kill_on_drop(true);
        if let Some(line) = &hello.command {
            command = command.arg("-c").arg(line);
        }
        let child = command.spawn(pts)?;
        let (reader, writer) = pty.into_split();
        let output =
            Output { kept: BytesMut::new(), start: 0, next: 0, under_way: VecDeque::new() };
        // The client is about to join.
        let client = Presence::Away { deadline: Instant::now() + keep.max(GRACE) };
        let (input, exit) = (Input::default(), Exit::Running);
        Ok(Self { reader, writer, child, keep, output, input, client, exit })
    }

    /// Runs until the client knows the exit code, or has left, or was away for too long.
    pub(crate) async fn run(
        &mut self,
        orders: mpsc::WeakSender<Order>,
        inbox: &mut mpsc::Receiver<Order>,
    ) {
        let mut buffer = vec![0; PIECE];
        loop {
            self.transmit(&orders);
            let is_running = self.exit == Exit::Running;
            let deadline = match self.client {
                Presence::Here { .. } => None,
                Presence::Away { deadline } => Some(deadline),
            };
            tokio::select! {
                order = inbox.recv() => match order {
                    None | Some(Order::End) => break,
                    Some(order) => self.obey(order),
                },
                read = self.reader.read(&mut buffer), if is_running && self.output.has_room() => {
                    // When nobody can write any more, some systems say so by an error.
                    match read {
                        Ok(count) if count > 0 => {
                            self.output.kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                        }
                        _ => self.exit = Exit::OutputEnded,
                    }
                },
                written = self.writer.write(&self.input.waiting), if is_running && !self.input.waiting.is_empty() => {
                    match written {
                        Ok(count) => self.input.written(count),
                        Err(_) => self.input.discard(),
                    }
                },
                status = self.child.wait(), if self.exit == Exit::OutputEnded => {
                    self.exit = Exit::Code(status.map_or(255, code));
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Attach { socket, from, size } => {
                let here = Presence::Here { socket, is_told: false };
                if let Presence::Here { socket, .. } = mem::replace(&mut self.client, here) {
                    // The connection of the previous client is lost, which was not noticed yet.
                    socket.disconnect().ok();
                }
                self.output.go_on(from);
                self.resize(size);
            }
            Order::Detach(sid) => {
                if matches!(&self.client, Presence::Here { socket, .. } if socket.id == sid) {
                    self.client = Presence::Away { deadline: Instant::now() + self.keep };
                }
            }
            Order::Input { from, bytes, ack } => {
                if !self.input.take(from, &bytes, ack)
                    && let Presence::Here { socket, .. } = &self.client
                {
                    socket.clone().disconnect().ok();
                }
            }
            Order::Resize(size) => self.resize(size),
            Order::Shown(next) => self.output.shown(next),
            Order::End => {}
        }
    }

    /// A terminal that is gone has no size.
    fn resize(&self, Size(rows, columns): Size) {
        self.writer.resize(pty_process::Size::new(rows, columns)).ok();
    }

    /// Sends the client what it may have now: output, and then the exit code.
    fn transmit(&mut self, orders: &mpsc::WeakSender<Order>) {
        let Presence::Here { socket, is_told } = &mut self.client else { return };
        while let Some((from, piece)) = self.output.peek() {
            let end = from + piece.len() as u64;
            if !ask(socket, OUTPUT, &(from, piece), orders, Order::Shown(end)) {
                return;
            }
            self.output.sent(end);
        }
        if let Exit::Code(code) = self.exit
            && !*is_told
            && self.output.is_empty()
        {
            *is_told = ask(socket, EXIT, &(code,), orders, Order::End);
        }
    }

    /// Closes the terminal of the shell, which ends most shells. The others are killed.
    pub(crate) async fn end(self, mut inbox: mpsc::Receiver<Order>) {
        let Self { reader, writer, mut child, client, .. } = self;
        drop((reader, writer));
        if let Presence::Here { socket, .. } = client {
            // The client may have left.
            socket.disconnect().ok();
        }
        let late = async {
            while let Some(order) = inbox.recv().await {
                // A client that comes back now is too late.
                if let Order::Attach { socket, .. } = order {
                    socket.disconnect().ok();
                }
            }
        };
        tokio::select! {
            _ = timeout(GRACE, child.wait()) => {}
            () = late => {}
        }
    }
}

/// Emits an event, and passes its answer on as an order. `false` if it cannot be sent now: then another order
/// comes soon, such as the next answer.
fn ask<T: Serialize>(
    socket: &SocketRef,
    event: &str,
    arguments: &T,
    orders: &mpsc::WeakSender<Order>,
    answered: Order,
) -> bool {
    let Ok(answer) = socket.timeout(YEAR).emit_with_ack::<_, serde_json::Value>(event, arguments)
    else {
        return false;
    };
    let orders = orders.clone();
    tokio::spawn(async move {
        // Without an answer, the connection is lost.
        if answer.await.is_ok()
            && let Some(orders) = orders.upgrade()
        {
            orders.send(answered).await.ok();
        }
    });
    true
}

impl Output {
    fn has_room(&self) -> bool {
        self.kept.len() < KEPT
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The next piece for the client, with the number of its first byte, if more may be under way.
    fn peek(&self) -> Option<(u64, Bytes)> {
        let sent = usize::try_from(self.next - self.start).ok()?;
        let rest = self.kept.get(sent..).filter(|rest| !rest.is_empty())?;
        let piece = rest.get(..PIECE).unwrap_or(rest);
        (self.under_way.len() < UNDER_WAY).then(|| (self.next, Bytes::copy_from_slice(piece)))
    }

    fn sent(&mut self, end: u64) {
        self.under_way.push_back(end);
        self.next = end;
    }

    /// Forgets what is before this byte.
    fn shown(&mut self, next: u64) {
        let shown = next.saturating_sub(self.start);
        let count = usize::try_from(shown).unwrap_or(usize::MAX).min(self.kept.len());
        self.kept.advance(count);
        self.start += count as u64;
        self.next = self.next.max(self.start);
        while self.under_way.front().is_some_and(|end| *end <= self.start) {
            self.under_way.pop_front();
        }
    }

    /// Output that was under way may be lost: continues at this byte.
    fn go_on(&mut self, from: u64) {
        self.shown(from);
        self.under_way.clear();
        self.next = self.start;
    }
}

impl Input {
    /// `false` if the client miscounts, or does not wait for answers.
    fn take(&mut self, from: u64, bytes: &Bytes, ack: AckSender) -> bool {
        let Some(known) = self.received.checked_sub(from) else { return false };
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len());
        let new = bytes.get(known..).unwrap_or_default();
        if self.waiting.len() + new.len() > TYPED {
            return false;
        }
        self.waiting.extend_from_slice(new);
        self.received += new.len() as u64;
        self.ack = Some(ack);
        self.written(0);
        true
    }

    fn written(&mut self, count: usize) {
        self.waiting.advance(count);
        if self.waiting.is_empty()
            && let Some(ack) = self.ack.take()
        {
            // The client may be lost. It sends the piece again, then.
            ack.send(&()).ok();
        }
    }

    fn discard(&mut self) {
        self.written(self.waiting.len());
    }
}

/// As in shells: a signal is a code above 128.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
