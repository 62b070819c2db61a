//! Checks that the placeholders of a packet name attachments that it has, and that nothing else looks like one.
//!
//! The text is scanned, not parsed: closing the connection over faults that only a parser notices would
//! help nobody.

use super::tokens::{Token, Tokens, unquoted};

/// The error for arguments that are not sent.
pub(crate) const AMBIGUOUS: &str = "an object with `\"_placeholder\":true` is beside an attachment, \
    and the server would take it for the place of one";

macro_rules! escaped {
    () => {
        r#""\u005fplaceholder""#
    };
}

/// The spelling of a placeholder's key in an object that is known to be data. It decodes to the same key,
/// and [`has_escaped`] finds it.
#[cfg(feature = "msgpack")]
pub(crate) const ESCAPED: &str = escaped!();

/// A level of the scan: an object, or (at the bottom) none.
#[derive(Default)]
struct Object {
    /// Whether the next string is a key.
    expects_key: bool,
    key: Key,
    is_placeholder: bool,
    in_range: bool,
    /// How many arrays are open inside it.
    arrays: usize,
}

#[derive(Default, Clone, Copy)]
enum Key {
    Placeholder,
    Number,
    #[default]
    Other,
}

impl Object {
    fn key(&mut self, quoted: &str) {
        self.expects_key = false;
        self.key = match &*unquoted(quoted) {
            "_placeholder" => Key::Placeholder,
            "num" => Key::Number,
            _ => Key::Other,
        };
    }

    /// A value that is neither an object nor an array.
    fn value(&mut self, text: &str, count: usize) {
        if self.arrays > 0 {
            return;
        }
        self.expects_key = true;
        match self.key {
            Key::Placeholder => self.is_placeholder = text == "true",
            Key::Number => self.in_range = text.parse().is_ok_and(|number: usize| number < count),
            Key::Other => {}
        }
    }
}

/// Whether every placeholder in `json`, which is JSON, names one of `count` attachments.
pub(crate) fn check_placeholders(json: &str, count: usize) -> bool {
    placeholders(json, count, |in_range| in_range)
}

/// How many placeholders there are in `json`, which is JSON.
pub(super) fn count_placeholders(json: &str) -> usize {
    let mut count = 0_usize;
    placeholders(json, 0, |_| {
        count = count.saturating_add(1);
        true
    });
    count
}

/// Whether there is an object that would be a placeholder, were it not [`ESCAPED`].
pub(super) fn has_escaped(json: &str) -> bool {
    json.contains(concat!(escaped!(), ":true"))
}

/// Calls `found` for each placeholder, with whether it names one of `count` attachments, as long as it
/// returns `true`. Returns the last result.
fn placeholders(json: &str, count: usize, mut found: impl FnMut(bool) -> bool) -> bool {
    let mut outer = Vec::new();
    let mut object = Object::default();
    for token in Tokens::of(json) {
        match token {
            Token::Object => {
                let inside = Object { expects_key: true, ..Object::default() };
                outer.push(std::mem::replace(&mut object, inside));
            }
            Token::Array => object.arrays = object.arrays.saturating_add(1),
            Token::End if object.arrays > 0 => {
                object.arrays = object.arrays.saturating_sub(1);
                object.expects_key = object.arrays == 0;
            }
            Token::End => {
                if object.is_placeholder && !found(object.in_range) {
                    return false;
                }
                object = outer.pop().unwrap_or_default();
                object.expects_key = object.arrays == 0;
            }
            Token::Text(text) if object.expects_key => object.key(text),
            Token::Text(text) | Token::Plain(text) => object.value(text, count),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_wherever_they_are() {
        for (json, valid) in [
            (r#"["e"]"#, true),
            (r#"["e",{"_placeholder":true,"num":1}]"#, true),
            (r#"["e",{"num":1,"_placeholder":true}]"#, true),
            (r#"["e",{"_placeholder":true,"num":2}]"#, false),
            (r#"["e",{"_placeholder":true,"num":-1}]"#, false),
            (r#"["e",{"_placeholder":true,"num":0.5}]"#, false),
            (r#"["e",{"_placeholder":true,"num":"0"}]"#, false),
            (r#"["e",{"_placeholder":true,"num":[0]}]"#, false),
            (r#"["e",{"_placeholder":true}]"#, false),
            (r#"["e",{"_placeholder":"true","num":7}]"#, true),
            (r#"["e",{"_placeholder":false,"num":7}]"#, true),
            (r#"["e",[[{"a":[{ "b" : { "_placeholder" : true , "num" : 9 } }]}]]]"#, false),
            (r#"["e",{"a":"\"_placeholder\":true","num":9}]"#, true),
            (r#"["e",["_placeholder",true,"num",9]]"#, true),
            (r#"["e",{"x":["_placeholder"],"y":true,"num":9}]"#, true),
            (r#"["\\",{"_placeholder":true,"num":9}]"#, false),
            (r#"["é\ud800",{"_placeholder":true,"num":0}]"#, true),
            (r#"["e",{"\u005fplaceholder":true,"\u006eum":2}]"#, false),
            (r#"["e",{"\u005fplaceholder":true,"\u006eum":1}]"#, true),
            (r#"["e",{"\ud800":1,"_placeholder":true,"num":2}]"#, false),
            (r#"["e",{"a":[1,[]],"_placeholder":true,"num":9}]"#, false),
            (r#"["e",{"a":[1],"_placeholder":true,"num":9}]"#, false),
            // Of two members with one name, the last counts.
            (r#"["e",{"_placeholder":true,"num":0,"num":"0"}]"#, false),
            (r#"["e",{"_placeholder":true,"_placeholder":"true","num":9}]"#, true),
        ] {
            assert_eq!(check_placeholders(json, 2), valid, "{json}");
        }
    }
}
