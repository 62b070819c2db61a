//! How things are shown in logs and errors: the name of a namespace, and texts that somebody else chose.

use std::fmt::{self, Write as _};

use bytestring::ByteString;

/// What a namespace is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// `host:port` of its connection.
    pub(crate) link: ByteString,
    pub(crate) namespace: ByteString,
}

/// For logs: a process may have many connections, and each a `/`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, namespace } = self;
        write!(f, "{link}{namespace}")
    }
}

/// The most characters that are shown of a text that the peer chose.
const MAX_SHOWN: usize = 200;

/// A text that the peer chose, quoted: escaped, so that it cannot pass for lines of a log, and cut.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => write!(f, "{:?}…", text.get(..end).unwrap_or_default()),
            None => write!(f, "{text:?}"),
        }
    }
}

/// The text of an error that may quote the peer. It is cut, since such errors are cloned and logged.
pub(crate) fn brief(error: &impl fmt::Display) -> String {
    /// Takes this many characters, and then no more.
    struct Brief {
        text: String,
        room: usize,
    }

    impl fmt::Write for Brief {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
                if character.is_control() {
                    self.text.extend(character.escape_default());
                } else {
                    self.text.push(character);
                }
            }
            Ok(())
        }
    }

    let mut brief = Brief { text: String::new(), room: MAX_SHOWN };
    if write!(brief, "{error}").is_err() {
        brief.text.push('…');
    }
    brief.text
}
