//! One look at the JSON text of a packet: whether it is an array, and where its arguments are.
//!
//! Every packet goes through this, and most of its text is then read a second time into a type of
//! the application. So it builds nothing, and takes strings, which are most of the text, many bytes
//! at a time. What it finds is what serde would find; who wants to know what is wrong with a text
//! that it does not take asks serde.

use std::ops::Range;

use crate::payload::skip_plain;

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
        let mut scan = Scan { rest: text.as_bytes() };
        scan.space();
        scan.take(b'[')?;
        scan.space();
        let begin = scan.place_in(text);
        if scan.take(b']').is_some() {
            scan.end()?;
            return Some(Self { first: None, second: begin });
        }
        scan.value()?;
        let first = Some(begin..scan.place_in(text));
        scan.space();
        let mut second = scan.place_in(text);
        let mut is_second = true;
        while scan.take(b',').is_some() {
            scan.space();
            if std::mem::take(&mut is_second) {
                second = scan.place_in(text);
            }
            scan.value()?;
            scan.space();
        }
        scan.take(b']')?;
        scan.end()?;
        Some(Self { first, second })
    }
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn place_in(&self, text: &str) -> usize {
        text.len().saturating_sub(self.rest.len())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    fn space(&mut self) {
        // Most texts have none, which is seen by one comparison.
        while let [byte @ ..=b' ', rest @ ..] = self.rest {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return;
            }
            self.rest = rest;
        }
    }

    fn end(&mut self) -> Option<()> {
        self.space();
        self.rest.is_empty().then_some(())
    }

    fn value(&mut self) -> Option<()> {
        let mut open = Open::default();
        loop {
            match self.next()? {
                b'"' => self.string()?,
                b'{' => {
                    open.push(true);
                    self.space();
                    if self.take(b'}').is_none() {
                        self.key()?;
                        continue;
                    }
                    open.pop();
                }
                b'[' => {
                    open.push(false);
                    self.space();
                    if self.take(b']').is_none() {
                        continue;
                    }
                    open.pop();
                }
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                digit => self.number(digit)?,
            }
            // What is open now goes on or ends.
            loop {
                let Some(is_object) = open.last() else { return Some(()) };
                self.space();
                match (self.next()?, is_object) {
                    (b',', true) => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    (b',', false) => {
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return None,
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.take(b'"')?;
        self.string()?;
        self.space();
        self.take(b':')?;
        self.space();
        Some(())
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(rest)?;
        Some(())
    }

    /// The rest of a number, behind its sign and its first digit.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b'.').is_some() {
            self.digit()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            if let [b'+' | b'-', rest @ ..] = self.rest {
                self.rest = rest;
            }
            self.digit()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digit(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        self.digits();
        Some(())
    }

    fn digits(&mut self) {
        while let [b'0'..=b'9', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The rest of a string, behind its first quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.rest = skip_plain(self.rest);
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.rest.split_first_chunk::<4>()?;
                self.rest = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
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
