//! The request to join a namespace, and the credentials in it.

use std::fmt;

use bytestring::ByteString;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::proto::{
    engine::Protocol,
    packet::{Body, Packet},
    recovery::Recovery,
};

/// The credentials, a JSON object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Auth(pub(crate) ByteString);

/// Shows nothing of the credentials.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Auth").finish_non_exhaustive()
    }
}

/// Where the credentials come from.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Fixed(Option<Auth>),
    /// The application is asked each time.
    Provided,
}

impl Credentials {
    /// From now on, the application is asked. Returns the fixed credentials, if there were any.
    pub(crate) fn take_fixed(&mut self) -> Option<Auth> {
        match std::mem::replace(self, Self::Provided) {
            Self::Fixed(auth) => auth,
            Self::Provided => None,
        }
    }
}

/// The packet that asks a server to join this namespace. `None` if the server does so by itself.
pub(super) fn request(
    protocol: Protocol,
    namespace: &ByteString,
    auth: Option<&Auth>,
    recovery: Option<&Recovery>,
) -> Option<Packet> {
    match protocol {
        Protocol::Eio4 => {
            let body = Body::Connect(connect(auth, recovery));
            Some(Packet::new(namespace.clone(), body))
        }
        // A server of revision 3 joins `/` by itself, and takes the credentials for other namespaces
        // as a query after the name.
        Protocol::Eio3 if *namespace == *"/" => None,
        Protocol::Eio3 => {
            let query = auth.map(|auth| query(&auth.0)).unwrap_or_default();
            let namespace = ByteString::from(format!("{namespace}{query}"));
            Some(Packet::new(namespace, Body::Connect(None)))
        }
    }
}

/// The data of the request: where the last session was lost, and the credentials.
fn connect(auth: Option<&Auth>, recovery: Option<&Recovery>) -> Option<Box<str>> {
    let Some((pid, offset)) = recovery.and_then(Recovery::point) else {
        return auth.map(|auth| (*auth.0).into());
    };
    let point = serde_json::json!({ "pid": pid, "offset": offset }).to_string();
    let Some(fields) = auth.and_then(|auth| auth.0.strip_prefix('{')) else {
        return Some(point.into());
    };
    let point = point.trim_end_matches('}');
    let comma = if fields.starts_with('}') { "" } else { "," };
    Some(format!("{point}{comma}{fields}").into())
}

/// `{"a":"x","b":1}` as `?a=x&b=1`.
fn query(auth: &str) -> String {
    let Ok(Value::Object(auth)) = serde_json::from_str(auth) else { return String::new() };
    let mut query = String::new();
    for (key, value) in &auth {
        query.push(if query.is_empty() { '?' } else { '&' });
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        query.push_str(&escape(key));
        query.push('=');
        query.push_str(&escape(&value));
    }
    query
}

/// Characters that never have a meaning in a URL stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encoded, for a query.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_where_the_revision_has_a_place_for_them() {
        let auth = Auth(r#"{"n":1,"token":"a b"}"#.into());
        let recovery = Recovery::new("P".into(), "O".to_owned());
        let body = |protocol, auth, recovery| {
            let packet = request(protocol, &"/a".into(), auth, recovery);
            packet.map(|Packet { namespace, body }| match body {
                Body::Connect(data) => format!("{namespace} {}", data.unwrap_or_default()),
                other => panic!("{other:?}"),
            })
        };
        for (protocol, auth, recovery, expected) in [
            (Protocol::Eio4, None, None, "/a "),
            (Protocol::Eio4, Some(&auth), None, r#"/a {"n":1,"token":"a b"}"#),
            (Protocol::Eio4, None, Some(&recovery), r#"/a {"offset":"O","pid":"P"}"#),
            (
                Protocol::Eio4,
                Some(&auth),
                Some(&recovery),
                r#"/a {"offset":"O","pid":"P","n":1,"token":"a b"}"#,
            ),
            (Protocol::Eio3, None, Some(&recovery), "/a "),
            (Protocol::Eio3, Some(&auth), None, "/a?n=1&token=a%20b "),
        ] {
            assert_eq!(body(protocol, auth, recovery).as_deref(), Some(expected));
        }
        assert_eq!(request(Protocol::Eio3, &"/".into(), Some(&auth), None), None);
    }

    #[test]
    fn credentials_that_were_fixed_are_taken_once() {
        let auth = Auth("{}".into());
        let mut credentials = Credentials::Fixed(Some(auth.clone()));
        assert_eq!(credentials.take_fixed(), Some(auth));
        assert!(matches!(credentials, Credentials::Provided));
        assert_eq!(credentials.take_fixed(), None);
    }
}
