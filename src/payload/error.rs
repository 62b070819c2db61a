//! Arguments that cannot be read.

use std::{error::Error, fmt};

use crate::{display::brief, guard::Panicked};

/// Why arguments do not fit a type.
///
/// The text is serde's, of at most 200 characters. It may quote values: be careful with it in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub(crate) fn from_serde(error: serde_json::Error) -> Self {
        Self(brief(&error))
    }

    pub(crate) fn panicked(panicked: &Panicked) -> Self {
        Self(format!("{PANICKED} {panicked}"))
    }

    /// The text for the log: without the values that it quotes.
    pub(crate) fn without_values(&self) -> String {
        without_values(&self.0)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for DecodeError {}

/// How the text of an error begins if the application's own code has panicked.
const PANICKED: &str = "reading it";

/// An error of this crate, not of serde. It quotes nothing.
const OWN: [&str; 5] = [
    "there are no arguments",
    "there are fewer arguments than that",
    "an argument was asked for twice",
    "no such attachment",
    "an attachment is named too often",
];

/// The part of serde's text that quotes no value: the kind of value found, and what was expected. The text
/// may have been cut. An error of the type's own, which may say anything, is not shown.
fn without_values(text: &str) -> String {
    if text.starts_with(&format!("{PANICKED} panicked")) || text.starts_with("missing field `") {
        return text.to_owned();
    }
    if OWN.contains(&text.split(" at line ").next().unwrap_or_default()) {
        return text.to_owned();
    }
    let starts = ["invalid type: ", "invalid value: ", "invalid length ", "unknown "];
    if !starts.iter().any(|start| text.starts_with(start)) {
        return "the error may quote it, and is in `Undecodable` only".to_owned();
    }
    // A value is quoted, and stands before what was expected. It may have the same words in it.
    let found = text.split(['"', '`', ',', '…']).next().unwrap_or_default().trim_end();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if !text.ends_with('…') => format!("{found}, expected {expected}"),
        _ => found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_log_has_what_was_found_and_expected_but_no_value() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase", deny_unknown_fields)]
        enum Kind {
            Tea,
            Cup { _size: u8 },
        }

        fn logged<T: DeserializeOwned + fmt::Debug>(json: &Value) -> String {
            let error = serde_json::from_str::<T>(&json.to_string()).unwrap_err();
            DecodeError::from_serde(error).without_values()
        }

        let place = |text: &str| text.split(" at line ").next().unwrap().to_owned();
        for secret in [
            "s3cret",
            "a \", expected s3cret",
            "a`, expected `s3cret",
            &"s3cret ".repeat(99),
            &"a, expected s3cret".repeat(99),
        ] {
            let secret = &json!(secret);
            let is_cut = secret.to_string().len() > 200;
            let expected = |text: &str, expected: &str| {
                if is_cut { text.to_owned() } else { format!("{text}, expected {expected}") }
            };
            assert_eq!(place(&logged::<u8>(secret)), expected("invalid type: string", "u8"));
            let unknown = expected("unknown variant", "`tea` or `cup`");
            assert_eq!(place(&logged::<Kind>(secret)), unknown);
            let name = secret.as_str().unwrap();
            let unknown = expected("unknown field", "`_size`");
            assert_eq!(place(&logged::<Kind>(&json!({ "cup": { name: 1 } }))), unknown);
            let own = DecodeError::from_serde(serde::de::Error::custom(format!("bad {secret}")));
            assert!(!own.without_values().contains("s3cret"), "{own}");
        }
        let number = "invalid value: integer, expected u8";
        assert_eq!(place(&logged::<u8>(&json!(300))), number);
        assert_eq!(place(&logged::<Kind>(&json!({ "cup": {} }))), "missing field `_size`");
        assert!(logged::<(u8, u8)>(&json!([1])).starts_with("invalid length 1, expected a tuple"));
    }
}
