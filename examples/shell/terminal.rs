//! The terminal of the user, or what stands in for it.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::{mpsc, oneshot};

use crate::wire::{PIECE, Size};

/// The most pieces of input that wait for the server. Beyond that, no more is read.
const WAITING: usize = 4;

/// After this time, the shell is told again that the input has ended.
const EOF_AGAIN: Duration = Duration::from_secs(1);

/// The terminal in raw mode: every key goes to the remote shell. Dropping this restores the modes.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// `None` if the input is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone has no modes to restore.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}

/// The size of the terminal, or a default.
pub(crate) fn size() -> Size {
    tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)
        .map_or(Size(24, 80), |size| Size(size.ws_row, size.ws_col))
}

/// The input. A thread reads it: nothing else waits for a key.
///
/// The escape is noticed as soon as it is read, which may be while earlier input still waits; so it has a channel of
/// its own.
pub(crate) fn input() -> (mpsc::Receiver<Bytes>, oneshot::Receiver<()>) {
    let (sender, typed) = mpsc::channel(WAITING);
    let (escape, escaped) = oneshot::channel();
    let mut filter = io::stdin().is_terminal().then(EscapeFilter::default);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        let mut is_line_open = false;
        loop {
            let count = match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let read = buffer.get(..count).unwrap_or_default();
            let mut piece = Vec::with_capacity(count + 1);
            let is_over = if let Some(filter) = &mut filter {
                filter.pass(read, &mut piece)
            } else {
                piece.extend_from_slice(read);
                false
            };
            if is_over {
                // Nobody listens when the shell has ended.
                escape.send(()).ok();
                return;
            }
            is_line_open = piece.last().map_or(is_line_open, |last| *last != b'\n');
            if !piece.is_empty() && sender.blocking_send(piece.into()).is_err() {
                return;
            }
        }
        // To a terminal, the end of a file is a control character. After an open line, the first one ends
        // only the line.
        let mut end: &[u8] = if is_line_open { b"\x04\x04" } else { b"\x04" };
        // Each one ends one reader. The first one may be lost, too: a shell that begins to edit lines forgets it.
        while sender.blocking_send(Bytes::from_static(end)).is_ok() {
            thread::sleep(EOF_AGAIN);
            end = b"\x04";
        }
    });
    (typed, escaped)
}

/// Finds `~.` and `~~` at the beginning of a line.
struct EscapeFilter {
    place: Place,
}

enum Place {
    LineBegin,
    /// After a `~` at the beginning of a line, which is held back.
    Tilde,
    Line,
}

impl Default for EscapeFilter {
    fn default() -> Self {
        Self { place: Place::LineBegin }
    }
}

impl EscapeFilter {
    /// Passes input on to the shell. `true` if `~.` was found; the input after it is dropped.
    fn pass(&mut self, typed: &[u8], piece: &mut Vec<u8>) -> bool {
        for &byte in typed {
            self.place = match (&self.place, byte) {
                (Place::LineBegin, b'~') => {
                    self.place = Place::Tilde;
                    continue;
                }
                (Place::Tilde, b'.') => return true,
                (Place::Tilde, b'~') => Place::Line,
                (Place::Tilde, _) => {
                    piece.push(b'~');
                    Place::after(byte)
                }
                _ => Place::after(byte),
            };
            piece.push(byte);
        }
        false
    }
}

impl Place {
    fn after(byte: u8) -> Self {
        if matches!(byte, b'\r' | b'\n') { Self::LineBegin } else { Self::Line }
    }
}

/// The output. A thread writes it: a terminal may be stopped for as long as the user likes.
#[derive(Clone)]
pub(crate) struct Output(mpsc::Sender<(Bytes, oneshot::Sender<io::Result<()>>)>);

impl Output {
    pub(crate) fn open() -> Self {
        let (sender, mut pieces) = mpsc::channel::<(Bytes, oneshot::Sender<_>)>(1);
        thread::spawn(move || {
            while let Some((piece, written)) = pieces.blocking_recv() {
                let mut stdout = io::stdout().lock();
                let outcome = stdout.write_all(&piece).and_then(|()| stdout.flush());
                // Nobody waits for it when the shell is left.
                written.send(outcome).ok();
            }
        });
        Self(sender)
    }

    /// Writes these bytes, and waits until the terminal has them.
    pub(crate) async fn write(&self, bytes: Bytes) -> io::Result<()> {
        let (written, outcome) = oneshot::channel();
        let gone = || io::Error::other("the thread that writes it has ended");
        self.0.send((bytes, written)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// Tells the user something, beside the output of the shell.
pub(crate) fn notice(text: &dyn std::fmt::Display) {
    // In raw mode, a new line begins where the last one ended.
    let end = if io::stdin().is_terminal() { "\r\n" } else { "\n" };
    let begin = if io::stdin().is_terminal() { "\r" } else { "" };
    // If standard error cannot be written, there is no other way to tell the user.
    write!(io::stderr(), "{begin}[shell: {text}]{end}").ok();
}
