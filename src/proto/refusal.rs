//! The refusal of a server to let this client into a namespace.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer as _,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    display::Excerpt,
    payload::{error::DecodeError, read},
};

/// The server's refusal to let this client into a namespace.
///
/// It is cheap to clone. A refusal of more than 256 KiB is not kept; its message then says so. Neither
/// `Display` nor `Debug` shows the data, in which servers may repeat credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal(Arc<Said>);

#[derive(PartialEq, Eq)]
struct Said {
    message: String,
    /// JSON text, parsed only on request: as a value it would take many times the memory.
    data: Option<Box<str>>,
}

impl Refusal {
    /// `data` is JSON text.
    pub(crate) fn new(message: String, data: Option<&str>) -> Self {
        Self(Arc::new(Said { message, data: data.map(Box::from) }))
    }

    /// The memory that it holds, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.message().len().saturating_add(self.json().map_or(0, str::len))
    }

    /// The server's message: for instance `Invalid namespace`, or the message of the error that its
    /// middleware passed on. Empty if there is none.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The data that the server's middleware added to its error (`error.data`), if any, as JSON
    /// text.
    ///
    /// The error of a server 1.x or 2.x, or of one in Python, may be a list or an object of another
    /// shape. Then the data is the whole error, including its message.
    pub fn json(&self) -> Option<&str> {
        self.0.data.as_deref()
    }

    /// The same data in a type of the application, such as [`serde_json::Value`].
    ///
    /// # Errors
    ///
    /// There is no data, or it does not fit the type.
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

/// Reads `{"message":…,"data":…}` from servers since 3.0. From older ones it is a string, or whatever the
/// application put there: if that has a message, as its first item or as a member, the whole of it is
/// the data. Servers in Python send a string, or a list of it and more.
///
/// The data stays text: it is neither parsed nor kept as a tree unless the application asks for it.
pub(crate) fn refusal(data: Option<&str>) -> Refusal {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Official<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Other<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
    }

    let json = data.unwrap_or("null").trim();
    if json == "null" {
        return Refusal::new(String::new(), None);
    }
    if let Ok(message) = read(json) {
        return Refusal::new(message, None);
    }
    // serde would read an array as the fields.
    if json.starts_with('[') {
        return Refusal::new(first(json).unwrap_or_default(), Some(json));
    }
    if let Ok(Official { message, data }) = serde_json::from_str(json)
        && let Ok(message) = read(message.get())
    {
        return Refusal::new(message, data.map(RawValue::get));
    }
    let other = serde_json::from_str(json).ok();
    let message = other.and_then(|Other { message }| read(message.get()).ok());
    Refusal::new(message.unwrap_or_default(), Some(json))
}

/// The first item of an array, if that is a string.
fn first(json: &str) -> Option<String> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let first = items.next_element()?;
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_seq(First).ok().flatten()
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

    #[test]
    fn refusals_of_all_servers_are_understood() {
        let refused = |data: Option<&str>| {
            let refusal = refusal(data);
            (refusal.message().to_owned(), refusal.decode::<Value>().ok())
        };
        assert_eq!(refused(Some(r#"{"message":"no"}"#)), ("no".into(), None));
        let data = Some(json!({ "code": 42 }));
        assert_eq!(
            refused(Some(r#"{"message":"no","data":{"code":42}}"#)),
            ("no".into(), data.clone())
        );
        assert_eq!(refused(Some(r#"{"code":42}"#)), (String::new(), data));
        assert_eq!(refused(Some(r#""no""#)), ("no".into(), None));
        let cut = "cut \u{fffd}";
        assert_eq!(refused(Some(r#""cut \ud83d""#)), (cut.into(), None));
        assert_eq!(
            refused(Some(r#"{"message":"cut \ud83d","data":"\ude00"}"#)),
            (cut.into(), Some(json!("\u{fffd}")))
        );
        assert_eq!(refused(Some("7")), (String::new(), Some(json!(7))));
        for unspoken in ["[]", "[7]", r#"[{"message":"no"}]"#, r#"[["no"],"no"]"#] {
            let data = serde_json::from_str(unspoken).ok();
            assert_eq!(refused(Some(unspoken)), (String::new(), data));
        }
        // In these, the message is a part of the data.
        for whole in [
            json!(["no", { "code": 7 }]),
            json!(["no"]),
            json!({ "message": "no", "code": "invalid_token", "type": "UnauthorizedError" }),
            json!({ "message": "no", "data": 1, "code": 7 }),
        ] {
            assert_eq!(refused(Some(&whole.to_string())), ("no".into(), Some(whole)));
        }
        let odd = json!({ "message": 7, "data": 1 });
        assert_eq!(refused(Some(&odd.to_string())), (String::new(), Some(odd)));
        assert_eq!(refused(Some(r#"{"message":"no","data":null}"#)), ("no".into(), None));
        assert_eq!(refused(Some(" null")), (String::new(), None));
        assert_eq!(refused(None), (String::new(), None));
    }

    #[test]
    fn the_data_of_a_refusal_may_be_nested_as_deep_as_the_server_likes() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let said = refusal(Some(&format!(r#"{{"message":"no","data":{deep}}}"#)));
        assert_eq!((said.message(), said.json()), ("no", Some(&*deep)));
        said.decode::<Value>().unwrap_err();
        let list = format!(r#"["no",{deep}]"#);
        for (json, message) in [(&deep, ""), (&list, "no")] {
            let said = refusal(Some(json));
            assert_eq!((said.message(), said.json()), (message, Some(&**json)));
        }
    }
}
