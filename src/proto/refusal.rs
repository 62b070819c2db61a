//! The text of a refusal.

use std::fmt;

use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{error::Refusal, payload};

/// `{"message":…,"data":…}` from servers since 3.0. From older ones it is a string, or whatever the
/// application put there: where that has a message, alone at its head or as a member, all of it is
/// the data. Servers in Python send a string, or a list of it and more.
///
/// The data stays text: what nobody asks for is not parsed, nor kept as a tree.
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
    if let Ok(message) = payload::read(json) {
        return Refusal::new(message, None);
    }
    // To serde, an array would do for the fields.
    if json.starts_with('[') {
        return Refusal::new(first(json).unwrap_or_default(), Some(json));
    }
    if let Ok(Official { message, data }) = serde_json::from_str(json)
        && let Ok(message) = payload::read(message.get())
    {
        return Refusal::new(message, data.map(RawValue::get));
    }
    let other = serde_json::from_str(json).ok();
    let message = other.and_then(|Other { message }| payload::read(message.get()).ok());
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
        // Of these, the message is a part.
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
