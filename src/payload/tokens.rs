//! The parts that JSON text consists of.
//!
//! The text is scanned and not parsed: a parser would have to give up on nesting that is too deep
//! for it and on characters that are no Unicode.

use std::borrow::Cow;

use bytes::Bytes;

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

/// The tokens of a text that is JSON. Of any other text it gives something, and comes to an end.
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
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        let length = match text.bytes().next()? {
            b'{' | b'[' | b'}' | b']' => 1,
            b'"' => string(text),
            _ => text.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(text.len()),
        };
        // Never inside a character: what is taken is ASCII, a whole string, or up to ASCII.
        let (token, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        self.rest = rest;
        Some(match token.as_bytes() {
            b"{" => Token::Object,
            b"[" => Token::Array,
            b"}" | b"]" => Token::End,
            [b'"', ..] => Token::Text(token),
            _ => Token::Plain(token),
        })
    }
}

/// The length of the string at the start of `text`, with its quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end.saturating_add(2))
}

/// What a string in JSON says. Halves of characters, which JSON can spell, are replaced.
pub(crate) fn unquoted(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        let data = serde_json::from_str::<Bytes>(quoted).unwrap_or_default();
        return String::from_utf8_lossy(&data).into_owned().into();
    }
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().into()
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

    proptest! {
        #[test]
        fn whatever_is_no_json_comes_to_an_end_too(text in "[\\[\\]{}\",:a1é\\\\ ]{0,64}") {
            prop_assert!(Tokens::of(&text).count() <= text.len());
        }
    }
}
