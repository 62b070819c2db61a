//! Writes records as lines of a file, and reads them back.

use std::{
    io::{self, BufRead, Write},
    sync::{Mutex, PoisonError},
};

use super::{Record, Tap};
use crate::logs::say;

/// A tap that writes each record as one line of JSON.
pub(super) fn tap(writer: impl Write + Send + 'static) -> Tap {
    let writer = Mutex::new(Some(writer));
    Tap::new(move |record| {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = writer.as_mut()
            && let Err(error) = write(open, record)
        {
            say!(log::Level::Warn, record.client, "no more records are written: {error}");
            *writer = None;
        }
    })
}

fn write(writer: &mut impl Write, record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    // A change of the connection may be the last that is heard of it.
    if record.direction.is_none() { writer.flush() } else { Ok(()) }
}

/// Reads records that [`Tap::lines`] has written. Empty lines are skipped.
///
/// ```
/// use actix_socketio::tap::{self, Kind};
///
/// let file = br#"{"client":"shop","number":0,"time":1700000000000000,"session":1,"kind":"event","text":"[\"price\",7]"}"#;
/// for record in tap::read(&file[..]) {
///     let record = record?;
///     assert_eq!((record.kind, record.text.as_str()), (Kind::Event, r#"["price",7]"#));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// An item is an error if the line cannot be read, or is not a record.
pub fn read(lines: impl BufRead) -> impl Iterator<Item = io::Result<Record>> {
    lines.lines().filter(|line| !line.as_ref().is_ok_and(|line| line.trim().is_empty())).map(
        |line| {
            let line = line?;
            Ok(serde_json::from_str(&line)?)
        },
    )
}
