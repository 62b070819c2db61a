//! A server that does not let this client in.

use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    display::Excerpt,
    payload::{error::DecodeError, read},
};

/// The server's answer to a client that it does not let in.
///
/// Cheap to clone, however much the server said: everybody who waits for something gets one.
/// Neither `Display` nor `Debug` shows the data, in which the server may repeat credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal(Arc<Said>);

#[derive(PartialEq, Eq)]
struct Said {
    message: String,
    /// JSON text. It is parsed when asked for: as a value it would take many times the memory.
    data: Option<Box<str>>,
}

impl Refusal {
    /// `data` is JSON.
    pub(crate) fn new(message: String, data: Option<&str>) -> Self {
        Self(Arc::new(Said { message, data: data.map(Box::from) }))
    }

    /// What the server said, for instance `Invalid namespace` or the message of the error that
    /// its middleware passed on. Empty where it said nothing, or nothing that is a text.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The data that the server's middleware put on its error (`error.data`), if any, as JSON
    /// text.
    ///
    /// An error of an old server (1.x, 2.x), or of one in Python, may be an object of another shape or
    /// a list: then the data is the whole of it, its message included.
    pub fn json(&self) -> Option<&str> {
        self.0.data.as_deref()
    }

    /// The same data in a type of the application, such as [`serde_json::Value`].
    ///
    /// # Errors
    ///
    /// There is no data, or it has another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let data = self.json().ok_or_else(|| DecodeError::new("the refusal has no data"))?;
        read(data).map_err(DecodeError::from_serde)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message(), self.json()) {
            ("", None) => f.write_str("no reason given"),
            ("", Some(_)) => f.write_str("it gave data, but no message (see Refusal::json)"),
            (message, _) => Excerpt(message).fmt(f),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { message, data } = &*self.0;
        f.debug_struct("Refusal")
            .field("message", &format_args!("{}", Excerpt(message)))
            .field("bytes_of_data", &data.as_ref().map_or(0, |data| data.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::reason::Reason;

    #[test]
    fn a_refusal_is_shared_by_all_who_are_told() {
        let refusal = Refusal::new("no".to_owned(), Some(r#"{"code":42}"#));
        let copy = Reason::Refused(refusal.clone()).clone();
        let Reason::Refused(copy) = copy else { panic!("{copy:?}") };
        assert!(Arc::ptr_eq(&copy.0, &refusal.0));
        assert_eq!(copy, refusal);
        assert_eq!(copy.json(), Some(r#"{"code":42}"#));
        assert_eq!(copy.decode::<Value>().unwrap(), json!({ "code": 42 }));
        Refusal::new("no".to_owned(), None).decode::<Value>().unwrap_err();
        let cut = Refusal::new("no".to_owned(), Some(r#""\ud83d""#));
        assert_eq!(
            (cut.decode::<String>(), cut.json()),
            (Ok("\u{fffd}".into()), Some(r#""\ud83d""#))
        );
    }

    #[test]
    fn what_a_server_says_is_shown_escaped_and_cut_and_its_data_never() {
        let data = Some(r#""s3cret""#);
        let table = [
            ("", "the server refused: it gave data, but no message (see Refusal::json)".to_owned()),
            (
                "no\nroot logged in\u{1b}[2J",
                r#"the server refused: "no\nroot logged in\u{1b}[2J""#.to_owned(),
            ),
            (&"ä".repeat(200), format!("the server refused: \"{}\"", "ä".repeat(200))),
            (&"ä".repeat(400_000), format!("the server refused: \"{}\"…", "ä".repeat(200))),
        ];
        for (message, shown) in table {
            let reason = Reason::Refused(Refusal::new(message.to_owned(), data));
            assert_eq!(reason.to_string(), shown);
            let debug = format!("{reason:?}");
            assert!(!debug.contains("s3cret") && debug.len() < 600, "{debug}");
        }
        let nothing = Reason::Refused(Refusal::new(String::new(), None));
        assert_eq!(nothing.to_string(), "the server refused: no reason given");
    }
}
