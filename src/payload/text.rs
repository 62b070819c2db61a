//! A text, or the rest of one.

use std::ops::{Deref, Range};

use bytestring::ByteString;

/// The most bytes that a part of a text may keep in memory beside itself. A part that keeps more is copied:
/// the rest of a message, such as an id of a million digits, is counted nowhere.
const MAX_BESIDE: usize = 1 << 10;

/// A text without its beginning. A second [`ByteString`] for the rest would count references, which
/// would be a large part of the cost of a message.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    whole: Whole,
    begin: usize,
}

#[derive(Debug, Clone)]
enum Whole {
    /// A part of what was read from the server.
    Read(ByteString),
    /// Written on this side, and never split. So it need not be shared, which would cost an
    /// allocation.
    Written(String),
}

impl Text {
    /// Skips the first `bytes` bytes. Leaves nothing if there are fewer, or if that is inside a
    /// character.
    pub(crate) fn skip(mut self, bytes: usize) -> Self {
        self.begin = self.begin.saturating_add(bytes);
        self
    }

    /// Its length in bytes, without looking at the text.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.whole.len().saturating_sub(self.begin)
    }

    /// Its last bytes.
    #[inline]
    pub(crate) fn last(self, bytes: usize) -> Self {
        let rest = self.size().saturating_sub(bytes);
        let last = self.skip(rest);
        if last.begin > MAX_BESIDE { last.detach() } else { last }
    }

    /// A copy in memory of its own.
    #[cold]
    fn detach(self) -> Self {
        String::from(&*self).into()
    }

    /// The part at this place.
    pub(crate) fn part(&self, place: &Range<usize>) -> Option<&str> {
        let [start, end] = [place.start, place.end].map(|at| at.saturating_add(self.begin));
        self.whole.get(start..end)
    }

    /// A part of it as a text of its own.
    pub(crate) fn slice_ref(&self, part: &str) -> ByteString {
        match &self.whole {
            Whole::Read(text) if text.len().saturating_sub(part.len()) <= MAX_BESIDE => {
                text.slice_ref(part)
            }
            Whole::Read(_) | Whole::Written(_) => part.into(),
        }
    }
}

impl From<ByteString> for Text {
    fn from(text: ByteString) -> Self {
        Self { whole: Whole::Read(text), begin: 0 }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { whole: Whole::Written(text), begin: 0 }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        ByteString::from(text).into()
    }
}

impl Deref for Whole {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Read(text) => text,
            Self::Written(text) => text,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.whole.get(self.begin..).unwrap_or_default()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_text_is_what_comes_behind() {
        let text = Text::from("4é2");
        assert_eq!(&*text, "4é2");
        let rest = text.skip(1);
        assert_eq!((&*rest, rest == Text::from("é2")), ("é2", true));
        assert!(rest != Text::from("é3"));
        assert_eq!(rest.slice_ref(&rest[2..]), "2");
        assert_eq!((rest.part(&(0..2)), rest.part(&(0..1))), (Some("é"), None));
        assert_eq!((&*rest.clone().last(1), &*rest.clone().last(9)), ("2", "é2"));
        assert_eq!(&*rest.clone().skip(1), "");
        assert_eq!(&*rest.clone().skip(3), "");
        assert_eq!(&*rest.skip(usize::MAX), "");
    }

    #[test]
    fn a_part_that_would_keep_much_beside_it_is_copied() {
        for (beside, is_copied) in [(MAX_BESIDE, false), (MAX_BESIDE + 1, true)] {
            let text = Text::from(format!("{}end", "x".repeat(beside)).as_str());
            let last = text.clone().last(3);
            assert_eq!((&*last, last.size()), ("end", 3));
            assert_eq!(last.begin, if is_copied { 0 } else { beside });
            let part = text.slice_ref(&text[beside..]);
            assert_eq!((&*part, part.as_ptr() != text[beside..].as_ptr()), ("end", is_copied));
        }
    }
}
