//! The parts that JSON text consists of.
//!
//! The text is scanned and not parsed: a parser would have to give up on nesting that is too deep
//! for it and on characters that are no Unicode.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::plain::plain_end;

/// What stands between two commas, colons or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Object,
    Array,
    /// Of the object or array that was begun last.
    End,
    /// A string or a key, with its quotes.
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Plain(&'a str),
}

/// The tokens of a JSON text. For any other text they are arbitrary, but the iterator ends.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(json: &'a str) -> Self {
        Self { rest: json }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let is_between = |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':');
        let begin = self.rest.bytes().position(|byte| !is_between(byte))?;
        let text = self.rest.get(begin..).unwrap_or_default();
        let first = text.bytes().next()?;
        let length = match first {
            b'{' | b'[' | b'}' | b']' => 1,
            b'"' => string(text),
            _ => {
                let ends = |byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                text.bytes().position(ends).unwrap_or(text.len())
            }
        };
        // Never inside a character: what is taken is ASCII, a whole string, or up to ASCII.
        let (token, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        self.rest = rest;
        Some(match first {
            b'{' => Token::Object,
            b'[' => Token::Array,
            b'}' | b']' => Token::End,
            b'"' => Token::Text(token),
            _ => Token::Plain(token),
        })
    }
}

/// The length of the string at the start of `text`, with its quotes.
fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        at = plain_end(bytes, at);
        let skipped = match bytes.get(at..).unwrap_or_default() {
            [] => return text.len(),
            [b'"', ..] => return at.saturating_add(1),
            [b'\\', _, ..] => 2,
            [_, ..] => 1,
        };
        at = at.saturating_add(skipped);
    }
}

/// What a string in JSON says. Halves of characters, which JSON can spell, are replaced.
pub(crate) fn unquoted(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        return read::<String>(quoted).unwrap_or_default().into();
    }
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().into()
}

/// Reads JSON. Halves of characters are replaced; the text is looked through for them only where they may
/// be the reason that it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json).or_else(|error| serde_json::from_str(&mended(json).ok_or(error)?))
}

/// The same JSON with U+FFFD in the place of each half of a character, such as `\ud83d` alone. It is as
/// long as before. `None` if it has no such thing.
pub(crate) fn mended(json: &str) -> Option<String> {
    const PAIR: usize = 12;
    const HALF: usize = 6;
    const SHORT: usize = 2;

    let mut mended = String::new();
    let mut rest = json;
    let mut is_whole = true;
    while let Some((before, escape)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        mended.push_str(before);
        let (length, is_lone) = match half(escape) {
            Some(Half::First) if escape.get(HALF..).and_then(half) == Some(Half::Second) => {
                (PAIR, false)
            }
            Some(_) => (HALF, true),
            None => (SHORT, false),
        };
        let (escape, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        mended.push_str(if is_lone { "\\ufffd" } else { escape });
        is_whole &= !is_lone;
        rest = behind;
    }
    mended.push_str(rest);
    (!is_whole).then_some(mended)
}

/// Of a character that UTF-16 writes in two.
#[derive(PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// Which half of a character the text begins with.
fn half(json: &str) -> Option<Half> {
    let digits = json.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::First),
        0xDC00..=0xDFFF => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Token::*, *};

    #[test]
    fn tokens_are_told_apart_whatever_stands_between_them() {
        let json = " {\"a\\\"]\" :[1 , -2.5e3,true,\t\"\\\\\"],\r\n\"é\":{},\"n\":null}";
        let tokens: Vec<_> = Tokens::of(json).collect();
        let expected = [
            Object,
            Text(r#""a\"]""#),
            Array,
            Plain("1"),
            Plain("-2.5e3"),
            Plain("true"),
            Text(r#""\\""#),
            End,
            Text("\"é\""),
            Object,
            End,
            Text("\"n\""),
            Plain("null"),
            End,
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn strings_end_where_they_end_however_long_they_are() {
        for length in 0..100 {
            for middle in ["", r#"\""#, r"\\", r"\u00e9", "é", "\t"] {
                let text = format!("\"{}{middle}{}\"", "x".repeat(length), "y".repeat(length / 2));
                let json = format!("[{text},1]");
                let tokens: Vec<_> = Tokens::of(&json).collect();
                assert_eq!(tokens, [Array, Text(&text), Plain("1"), End]);
            }
        }
    }

    #[test]
    fn halves_of_characters_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""a\uD83Dz""#, r#""a\ufffdz""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#),
            (r#""\\\udbff\\ud83d""#, r#""\\\ufffd\\ud83d""#),
            (r#"{"é\udfff":["\ud800"]}"#, r#"{"é\ufffd":["\ufffd"]}"#),
        ] {
            assert_eq!(mended(json).as_deref(), Some(expected), "{json}");
        }
        for json in
            [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\ud7ff\ue000\u00e9""#, "[]", r#""\n""#]
        {
            assert_eq!(mended(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_mended_is_text(
            escapes in prop::collection::vec(
                prop::sample::select(vec![r"\ud83d", r"\ude00", r"\\", r"\n", "é", "u", r"\u00e9"]),
                0..12,
            ),
        ) {
            let json = format!("\"{}\"", escapes.concat());
            let whole = mended(&json).unwrap_or_else(|| json.clone());
            prop_assert_eq!(whole.len(), json.len());
            prop_assert!(serde_json::from_str::<String>(&whole).is_ok(), "{}", whole);
        }

        #[test]
        fn whatever_is_no_json_comes_to_an_end_too(text in "[\\[\\]{}\",:a1é\\\\ ]{0,64}") {
            prop_assert!(Tokens::of(&text).count() <= text.len());
        }
    }
}
