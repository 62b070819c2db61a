//! Records of what goes over the wire.
//!
//! A [`Tap`] is a function that gets a [`Record`] of each message of a connection, in both directions, and of
//! each change: dialling, the handshake, an upgrade, a loss with its reason, the next attempt. It only
//! observes. [`guide::wire`](crate::guide::wire) shows how it is used.
//!
//! * [`Recording`] keeps the last records in memory, and can log them when something goes wrong.
//! * [`Tap::lines`] writes them to a file or anything else, and [`read`] reads them back.
//! * The example `inspector` shows them in a browser.
//!
//! **Secrets.** Credentials, headers, queries and the ids of sessions are in no record: requests to join, the
//! consent of the server, and messages that cannot be read have no text. The text of a refusal is what the
//! server says. The arguments of events are in the text, up to its [limit](Tap::text), whatever they are.
//!
//! A client without a tap pays nothing for it; one with a tap pays for the record, some microseconds for each message.

mod lines;
mod observer;
mod record;
mod recording;

#[cfg(test)]
mod tests;

use std::{fmt, io::Write, sync::Arc};

pub(crate) use self::observer::Tapped;
pub use self::{
    lines::read,
    record::{Direction, Kind, Record},
    recording::Recording,
};
use crate::guard::Kept;

/// The longest text of a record by default, in bytes.
const TEXT: usize = 400;

type Look = Box<dyn Fn(&Record) + Send + Sync>;

/// A function that gets the records of a client; see [`ClientBuilder::tap`](crate::ClientBuilder::tap).
///
/// It is called on the arbiter of the client, for each message, before the client goes on: it must not block. If it
/// panics, it is not called again, and the log says so.
#[derive(Clone)]
pub struct Tap {
    look: Arc<Kept<Look>>,
    text: usize,
}

impl Tap {
    /// A tap that calls this function.
    ///
    /// ```
    /// use actix_socketio::{Client, tap::Tap};
    ///
    /// let builder = Client::builder("http://localhost:3000")
    ///     .tap(Tap::new(|record| println!("{record}")).text(100));
    /// ```
    pub fn new(look: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self { look: Arc::new(Kept::new(Box::new(look))), text: TEXT }
    }

    /// A tap that writes each record to `writer`, as one line of JSON that [`read`] reads back.
    ///
    /// Writing happens on the arbiter of the client, so give a writer that does not block for long: a
    /// [`BufWriter`](std::io::BufWriter) around a file, or one that hands the lines to a thread. It is
    /// flushed at each change of the connection. After an error, nothing more is written, and the log says
    /// so.
    ///
    /// ```no_run
    /// use std::{fs::File, io::BufWriter};
    ///
    /// use actix_socketio::{Client, tap::Tap};
    ///
    /// # fn example() -> std::io::Result<()> {
    /// let file = BufWriter::new(File::create("wire.jsonl")?);
    /// let builder = Client::builder("http://localhost:3000").tap(Tap::lines(file));
    /// # Ok(())
    /// # }
    /// ```
    pub fn lines(writer: impl Write + Send + 'static) -> Self {
        lines::tap(writer)
    }

    /// The longest text of a record, in bytes. Default: 400. With 0 there is none, and with `usize::MAX` all of each
    /// message is there, so that it can be replayed.
    #[must_use]
    pub fn text(mut self, bytes: usize) -> Self {
        self.text = bytes;
        self
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { look: _, text } = self;
        f.debug_struct("Tap").field("text", text).finish_non_exhaustive()
    }
}
