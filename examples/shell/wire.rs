//! The events between client and server. `server.js` uses the same.
//!
//! ```text
//! client                                                  server
//!   join, with Hello  ───────────────────────────────────▶  opens a shell, or finds the one of this session
//!   ◀──────────────────────────── "output" (from, bytes)    from: the number of the first of these bytes
//!   the number of the next byte ── as the answer ────────▶  forgets what the terminal has shown, sends more
//!   "input" (from, bytes)  ──────────────────────────────▶  drops what it has got before
//!   ◀───────────────────── an answer, once it is written
//!   "resize" (rows, columns)  ───────────────────────────▶
//!   ◀─────────────────────────────────────── "exit" (code)  when all output was answered
//! ```
//!
//! Bytes are numbered in each direction, from 0. After a lost connection, the client says in its `Hello` from
//! which byte of the output it continues, and repeats the input that was not answered. So nothing comes
//! twice, and nothing is lost, as long as the server keeps the session.

use serde::{Deserialize, Serialize};

pub(crate) const OUTPUT: &str = "output";
pub(crate) const INPUT: &str = "input";
pub(crate) const RESIZE: &str = "resize";
pub(crate) const EXIT: &str = "exit";

/// The longest piece of input or output in one event, in bytes.
pub(crate) const PIECE: usize = 32 << 10;

/// The credentials to join with. They have a secret, so they have no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) token: String,
    /// The name of the session, which nobody else can guess.
    pub(crate) session: String,
    /// Whether the client has not been in the session yet. Otherwise the server does not open another one.
    pub(crate) is_new: bool,
    /// The number of the output's next byte.
    pub(crate) from: u64,
    pub(crate) size: Size,
    /// The kind of terminal, as in `TERM`.
    pub(crate) term: String,
    /// A line for the shell. Without one, it reads its input.
    pub(crate) command: Option<String>,
}

/// The size of the terminal, in characters: rows and columns.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size(pub(crate) u16, pub(crate) u16);
