//! One look at the JSON text of a packet: whether it is an array, and where its arguments are.
//!
//! Every packet goes through this, and most of its text is then read a second time into a type of
//! the application. So it builds nothing, and takes strings, which are most of the text, many bytes
//! at a time. What it finds is what serde would find; who wants to know what is wrong with a text
//! that it does not take asks serde.

#![expect(clippy::inline_always, reason = "without it, a text takes a third more instructions")]

use std::ops::Range;

use crate::payload::plain_end;

/// An array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline {
    /// Where its first element stands, if there is one.
    pub(super) first: Option<Range<usize>>,
    /// Where the second one starts; at the closing bracket if there is none.
    pub(super) second: usize,
}

impl Outline {
    /// `None` if `text` is not an array, or not JSON.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut scan = Scan { text: text.as_bytes(), at: 0 };
        let (outline, mut next) = scan.outline()?;
        while let Next::Element(byte) = next {
            scan.value(byte)?;
            next = scan.behind_element()?;
        }
        (behind_spaces(scan.text, scan.at) == text.len()).then_some(outline)
    }

    /// The same for a text that is known to be JSON. It is read no farther than it must be.
    #[cfg(feature = "msgpack")]
    pub(super) fn of_json(json: &str) -> Option<Self> {
        let mut scan = Scan { text: json.as_bytes(), at: 0 };
        scan.outline().map(|(outline, _)| outline)
    }
}

/// What comes in an array, behind an element.
enum Next {
    /// Another one, which begins with this byte.
    Element(u8),
    End,
}

/// What goes through a text. What is large and no part of its caller takes the place and gives it back,
/// so that it stays in a register meanwhile.
struct Scan<'a> {
    text: &'a [u8],
    /// At most the length of the text, so nothing wraps.
    at: usize,
}

impl Scan<'_> {
    /// The place of the byte that was taken last.
    fn last(&self) -> usize {
        self.at.wrapping_sub(1)
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at = self.at.wrapping_add(1);
        Some(byte)
    }

    /// The next byte that is no space.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        let byte = self.next()?;
        // Most texts have no spaces, which is seen by one comparison.
        if byte > b' ' {
            return Some(byte);
        }
        self.at = behind_spaces(self.text, self.last());
        self.next()
    }

    /// Takes this token. If it is not the next one, the text is not taken.
    #[inline]
    fn take(&mut self, token: u8) -> Option<()> {
        (self.token()? == token).then_some(())
    }

    /// Whether there is a comma, and not what ends an array or an object.
    #[inline]
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        match self.token()? {
            b',' => Some(true),
            token => (token == end).then_some(false),
        }
    }

    #[inline(always)]
    fn behind_element(&mut self) -> Option<Next> {
        Some(if self.goes_on(b']')? { Next::Element(self.token()?) } else { Next::End })
    }

    /// The array that begins here, up to its second element.
    #[inline(always)]
    fn outline(&mut self) -> Option<(Outline, Next)> {
        self.take(b'[')?;
        let byte = self.token()?;
        let begin = self.last();
        if byte == b']' {
            return Some((Outline { first: None, second: begin }, Next::End));
        }
        self.value(byte)?;
        let first = Some(begin..self.at);
        let next = self.behind_element()?;
        Some((Outline { first, second: self.last() }, next))
    }

    /// A value that begins with this byte.
    #[inline(always)]
    fn value(&mut self, byte: u8) -> Option<()> {
        match byte {
            b'{' | b'[' => {
                self.at = behind_nested(self.text, self.at, byte)?;
                Some(())
            }
            other => self.simple(other),
        }
    }

    /// One that is no object and no array.
    #[inline(always)]
    fn simple(&mut self, byte: u8) -> Option<()> {
        let rest = match byte {
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                self.at = behind_number(self.text, self.at, byte)?;
                return Some(());
            }
            b't' => &b"rue"[..],
            b'f' => b"alse",
            b'n' => b"ull",
            _ => return None,
        };
        self.word(rest)
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        let end = self.at.wrapping_add(rest.len());
        (self.text.get(self.at..end)? == rest).then(|| self.at = end)
    }

    /// The rest of a key, behind its first quote. Gives the first byte of its value.
    #[inline(always)]
    fn key(&mut self) -> Option<u8> {
        self.string()?;
        self.take(b':')?;
        self.token()
    }

    /// The rest of a string, behind its first quote.
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        self.at = plain_end(self.text, self.at);
        if self.text.get(self.at) == Some(&b'"') {
            self.at = self.at.wrapping_add(1);
        } else {
            self.at = behind_string(self.text, self.at)?;
        }
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let end = self.at.wrapping_add(4);
                let digits = self.text.get(self.at..end)?;
                self.at = end;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// At least one digit.
    fn digit(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        self.digits();
        Some(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at = self.at.wrapping_add(1);
        }
    }
}

#[cold]
fn behind_spaces(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = text.get(at) {
        at = at.wrapping_add(1);
    }
    at
}

/// The end of a number that begins with this byte, from behind that.
fn behind_number(text: &[u8], at: usize, mut first: u8) -> Option<usize> {
    let mut scan = Scan { text, at };
    if first == b'-' {
        first = scan.next()?;
    }
    match first {
        b'0' => {}
        b'1'..=b'9' => scan.digits(),
        _ => return None,
    }
    if text.get(scan.at) == Some(&b'.') {
        scan.at = scan.at.wrapping_add(1);
        scan.digit()?;
    }
    if let Some(b'e' | b'E') = text.get(scan.at) {
        scan.at = scan.at.wrapping_add(1);
        if let Some(b'+' | b'-') = text.get(scan.at) {
            scan.at = scan.at.wrapping_add(1);
        }
        scan.digit()?;
    }
    Some(scan.at)
}

/// The end of a string that is not all plain, from somewhere inside of it.
fn behind_string(text: &[u8], at: usize) -> Option<usize> {
    let mut scan = Scan { text, at };
    loop {
        match scan.next()? {
            b'"' => return Some(scan.at),
            b'\\' => scan.escape()?,
            0..0x20 => return None,
            _ => {}
        }
        scan.at = plain_end(text, scan.at);
    }
}

/// The end of an object or an array that begins with this byte, from behind that.
#[inline(never)]
fn behind_nested(text: &[u8], at: usize, mut byte: u8) -> Option<usize> {
    let mut scan = Scan { text, at };
    let mut open = Open::default();
    loop {
        match byte {
            b'{' => {
                open.push(true);
                match scan.token()? {
                    b'"' => {
                        byte = scan.key()?;
                        continue;
                    }
                    b'}' => open.pop(),
                    _ => return None,
                }
            }
            b'[' => {
                open.push(false);
                byte = scan.token()?;
                if byte != b']' {
                    continue;
                }
                open.pop();
            }
            other => scan.simple(other)?,
        }
        // What is open now goes on or ends.
        loop {
            let Some(is_object) = open.last() else { return Some(scan.at) };
            if scan.goes_on(if is_object { b'}' } else { b']' })? {
                byte = scan.token()?;
                if is_object {
                    (byte == b'"').then_some(())?;
                    byte = scan.key()?;
                }
                break;
            }
            open.pop();
        }
    }
}

/// The objects (`true`) and arrays (`false`) that are open, from the outermost.
struct Open {
    /// The innermost of them, one bit each, below a one.
    bits: u64,
    /// The others, in full words.
    full: Vec<u64>,
}

impl Default for Open {
    fn default() -> Self {
        Self { bits: 1, full: Vec::new() }
    }
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.bits.leading_zeros() == 0 {
            self.full.push(std::mem::replace(&mut self.bits, 1));
        }
        self.bits = (self.bits << 1) | u64::from(is_object);
    }

    fn last(&self) -> Option<bool> {
        (self.bits > 1).then_some(self.bits & 1 == 1)
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        if self.bits == 1
            && let Some(full) = self.full.pop()
        {
            self.bits = full;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::payload::BLOCK;

    /// The same as serde sees it.
    fn outline(text: &str) -> Option<(Option<String>, bool)> {
        let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        Some((elements.first().map(|first| first.get().to_owned()), elements.len() > 1))
    }

    fn check(text: &str) {
        let seen = Outline::of(text);
        let found = seen.as_ref().map(|Outline { first, second }| {
            let rest = &text[*second..];
            assert!(!rest.starts_with([' ', '\n', '\t', '\r', ',']), "{text}: {rest}");
            (first.clone().map(|first| text[first].to_owned()), !rest.starts_with(']'))
        });
        assert_eq!(found, outline(text), "{text}");
        #[cfg(feature = "msgpack")]
        if seen.is_some() {
            assert_eq!(Outline::of_json(text), seen, "{text}");
        }
    }

    #[test]
    fn what_is_no_array_or_no_json_is_not_taken() {
        for text in [
            "",
            " ",
            "1",
            "{}",
            "null",
            "\"[]\"",
            "[",
            "]",
            "[]",
            " [ ] ",
            "[]x",
            "[],",
            "[,]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "[{]",
            "[{}",
            "[{1:2}]",
            "[{\"a\"}]",
            "[{\"a\":}]",
            "[{\"a\":1,}]",
            "[{,}]",
            "[{\"a\" : [ ] , \"b\":{ } } , 2]",
            "[[[]]]",
            "[[]]]",
            "[tru]",
            "[true,false,null]",
            "[nul]",
            "[True]",
            "[0]",
            "[00]",
            "[-0]",
            "[-]",
            "[+1]",
            "[01]",
            "[1.]",
            "[.5]",
            "[1.5e]",
            "[1.5e+]",
            "[1.5E-7,2]",
            "[1e5]",
            "[0x1]",
            "[-a]",
            "[\"]",
            "[\"a\\\"]",
            "[\"a\\x\"]",
            "[\"\\u12\"]",
            "[\"\\u12g4\"]",
            "[\"\\ud800\",1]",
            "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"]",
            "[\"a\nb\"]",
            "[\"aaaaaaaaaaaaaaa\tb\"]",
            "[\"\u{1f}\"]",
            "[\"\u{7f}\u{80}é€😀\",\"😀\"]",
            "[\u{a0}1]",
            "[1]\u{0}",
            "\u{feff}[]",
            "[\"ends here",
        ] {
            check(text);
        }
    }

    #[test]
    fn strings_end_where_they_end_however_long_they_are() {
        for length in 0..6 * BLOCK {
            for more in [0, 1, BLOCK, 5 * BLOCK] {
                let (one, two) = ("x".repeat(length), "y".repeat(more));
                for middle in ["\"", "\",\"", "\\\"", "\\", "\n", "\\u00e9", "é"] {
                    check(&format!("[\"{one}{middle}{two}\"]"));
                    check(&format!("[\"e\",[\"{one}{middle}{two}\"],1]"));
                }
            }
        }
    }

    #[test]
    fn nesting_has_no_limit_and_takes_no_stack() {
        for depth in [1, 62, 63, 64, 65, 127, 128, 1 << 20] {
            let nested = |middle: &str| {
                let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
                format!("[\"e\",{open}{middle}{close}]")
            };
            let text = nested("1");
            let outline = Outline::of(&text).unwrap();
            assert_eq!((outline.first, outline.second), (Some(1..4), 5));
            assert_eq!(Outline::of(&nested("]")), None);
        }
    }

    proptest! {
        #[test]
        fn it_sees_what_serde_sees(text in r#"( ?[\[\]{},:]| ?"(a|\\"|é|\\u0a|00|😀)*"|-|0|1|\.|e5|true|nul|l|\n){0,24}"#) {
            check(&text);
            check(&format!("[{text}]"));
            check(&format!("[\"e\",{text}]"));
            check(&format!("[\"e\",{{\"a\":{text}}}, 1 ]"));
        }

        #[test]
        fn nor_does_a_small_change_make_a_difference(
            text in r#"\["[a-zé\\"]{0,4}",(\{"k":\[1,-2\.5e3,"x\\n"\],"é":null\}|"[ -~]{0,20}")\]"#,
            place in 0..48_usize,
            other in "[\\[\\]{}\",:a1é\\\\ \n]?",
        ) {
            check(&text);
            let place = (0..=place.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            let mut changed = text.clone();
            let end = changed[place..].chars().next().map_or(place, |first| place + first.len_utf8());
            changed.replace_range(place..end, &other);
            check(&changed);
        }
    }
}
