//! Whether the placeholders of a packet name attachments that it has.
//!
//! The text is scanned and not parsed: a parser would have to give up on nesting that is too deep
//! for it and on characters that are no Unicode, and with the connection closed over it, nobody
//! would be helped.

/// What the scan is in: an object, or (at the bottom) none.
#[derive(Default)]
struct Object {
    /// A string now is a key.
    expects_key: bool,
    key: Key,
    is_placeholder: bool,
    in_range: bool,
    /// How many arrays are open inside.
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
    fn key(&mut self, text: &str) {
        self.expects_key = false;
        self.key = match text {
            "_placeholder" => Key::Placeholder,
            "num" => Key::Number,
            _ => Key::Other,
        };
    }

    /// A value that is neither an object nor an array.
    fn value(&mut self, text: &str, count: usize) {
        match self.key {
            _ if self.arrays > 0 => {}
            Key::Placeholder => self.is_placeholder = text == "true",
            Key::Number => self.in_range = text.parse().is_ok_and(|number: usize| number < count),
            Key::Other => {}
        }
    }
}

/// Whether every placeholder in `json`, which is JSON, names one of `count` attachments.
pub(crate) fn check_placeholders(json: &str, count: usize) -> bool {
    let mut outer = Vec::new();
    let mut object = Object::default();
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let mut length = 1;
        match first {
            b'{' => {
                let inside = Object { expects_key: true, ..Object::default() };
                outer.push(std::mem::replace(&mut object, inside));
            }
            b'}' => {
                if object.is_placeholder && !object.in_range {
                    return false;
                }
                object = outer.pop().unwrap_or_default();
            }
            b'[' => object.arrays = object.arrays.saturating_add(1),
            b']' => object.arrays = object.arrays.saturating_sub(1),
            b',' => object.expects_key = object.arrays == 0,
            b'"' => {
                let text = string(rest);
                length = text.len().saturating_add(2);
                if object.expects_key {
                    object.key(text);
                } else {
                    // In quotes, so it is neither `true` nor a number.
                    object.value("\"", count);
                }
            }
            b'a'..=b'z' | b'-' | b'0'..=b'9' => {
                let end = rest.find([',', '}', ']', ' ', '\t', '\r', '\n']);
                length = end.unwrap_or(rest.len());
                object.value(rest.get(..length).unwrap_or_default(), count);
            }
            _ => {}
        }
        // Never inside a character: what is skipped is ASCII or a whole string.
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}

/// What is inside the quotes at the start of `text`.
fn string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let end = end.map_or(text.len(), |end| end.saturating_add(1));
    text.get(1..end).unwrap_or_default()
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
        ] {
            assert_eq!(check_placeholders(json, 2), valid, "{json}");
        }
    }
}
