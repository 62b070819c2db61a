//! How names and texts of others are shown in logs and errors.

use std::fmt::{self, Write as _};

use bytestring::ByteString;

/// The name of a client, or of a namespace of it, in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// The option `name`, or `host:port` of the server.
    pub(crate) client: ByteString,
    /// Empty for the client as a whole.
    pub(crate) namespace: ByteString,
}

/// With the client, since a process may have many connections, each with a `/`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, namespace } = self;
        f.write_str(client)?;
        Cut { out: f, characters: MAX_SHOWN, bytes: MAX_BYTES, is_over: false }.write(namespace)
    }
}

/// The most characters that are shown of a text of the peer or of the application,
const MAX_SHOWN: usize = 200;
/// and the most bytes: escaped, a character may have ten.
const MAX_BYTES: usize = 600;

/// A text of the peer, quoted, escaped so that it cannot be mistaken for lines of a log, and cut.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        let mut bytes = 0_usize;
        let end = text.char_indices().enumerate().find(|(count, (_, character))| {
            let size = character.escape_debug().map(char::len_utf8).sum();
            bytes = bytes.saturating_add(size);
            *count >= MAX_SHOWN || bytes > MAX_BYTES
        });
        match end {
            Some((_, (end, _))) => write!(f, "{:?}…", text.get(..end).unwrap_or_default()),
            None => write!(f, "{text:?}"),
        }
    }
}

/// Writes on one line, up to a number of characters and of bytes.
pub(crate) struct Cut<'a, W: ?Sized> {
    out: &'a mut W,
    characters: usize,
    bytes: usize,
    is_over: bool,
}

impl<'a, W: fmt::Write + ?Sized> Cut<'a, W> {
    /// Cuts to this many bytes.
    pub(crate) fn to(bytes: usize, out: &'a mut W) -> Self {
        Self { out, characters: usize::MAX, bytes, is_over: false }
    }

    pub(crate) fn write(mut self, what: &dyn fmt::Display) -> fmt::Result {
        let written = write!(self, "{what}");
        if self.is_over { self.out.write_char('…') } else { written }
    }

    /// Takes room for this many bytes; `None` if there is too little.
    fn room_for(&mut self, bytes: usize) -> Option<()> {
        self.characters = self.characters.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(())
    }
}

impl<W: fmt::Write + ?Sized> fmt::Write for Cut<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let escaped = character.is_control().then(|| character.escape_default());
            let size = escaped.clone().map_or_else(|| character.len_utf8(), Iterator::count);
            if self.is_over || self.room_for(size).is_none() {
                self.is_over = true;
                return Err(fmt::Error);
            }
            match escaped {
                Some(escaped) => write!(self.out, "{escaped}")?,
                None => self.out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The text of an error that may quote the peer or the application. It is cut, since such errors
/// are cloned and logged.
pub(crate) fn brief(error: &impl fmt::Display) -> String {
    let mut text = String::new();
    let cut = Cut { out: &mut text, characters: MAX_SHOWN, bytes: MAX_BYTES, is_over: false };
    if cut.write(error).is_err() {
        // The `Display` of the application may fail; writing to a string cannot.
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_over_whatever_is_in_it() {
        for text in ["x", "ä", "\n", "\u{1}", "\u{e0001}", "\u{1F600}", "\""] {
            let long = text.repeat(100_000);
            for shown in [Excerpt(&long).to_string(), brief(&long)] {
                assert!(shown.len() < MAX_BYTES + 10 && shown.ends_with('…'), "{shown}");
                assert!(!shown.contains(char::is_control), "{shown}");
            }
            let whole = text.repeat(20);
            assert_eq!(Excerpt(&whole).to_string(), format!("{whole:?}"));
            assert!(!brief(&whole).contains('…'));
        }
    }
}
