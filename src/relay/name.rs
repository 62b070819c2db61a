//! Names of upstreams, workers and consumers, and ids of commands: they become parts of subjects and labels.

/// 1 to 128 ASCII letters, digits, `-` or `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(is_part)
}

/// What is none comes back, cut, for an error.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if is_name(text) { Ok(()) } else { Err(text.chars().take(200).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_of_ascii() {
        for (text, is) in [
            ("shop", true),
            ("Shop_1-b", true),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            ("a.b", false),
            ("a*", false),
            ("é", false),
            ("a b", false),
        ] {
            assert_eq!(is_name(text), is, "{text}");
        }
    }
}
