//! The headers and the query of the request to connect: those that are set for the client, and those that
//! its providers give for each dial.

use std::fmt;

use awc::http::{
    header::{self, HeaderName, HeaderValue},
    uri::Authority,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::{
    display::{Excerpt, brief},
    proto::{namespace::escape, reason::Reason},
    runtime::provider::{DialContext, Provider},
};

/// Something that cannot be sent with the request. Its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    #[error("header {} cannot be sent: {error}", Excerpt(name))]
    Header { name: String, error: &'static str },
    /// A parameter of the query that belongs to the protocol.
    #[error("parameter {} of the query belongs to the protocol: leave it out", crate::display::Excerpt(.0))]
    Query(String),
}

/// A user and a password in the form of Basic authentication, as it follows `Basic ` (RFC 7617).
pub(crate) fn basic_credentials(user: &[u8], password: &[u8]) -> String {
    STANDARD.encode([user, b":", password].concat())
}

/// Names and values.
pub(crate) type Pairs = Vec<(String, String)>;

/// A function of the application that gives headers or a query for a dial.
pub(crate) type PairsProvider = Provider<DialContext, Pairs>;

/// The headers that a client has set. Their values may be secrets.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    pairs: Vec<(HeaderName, HeaderValue)>,
    provider: Option<PairsProvider>,
}

/// Shows no values.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, provider } = self;
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Headers").field("names", &names).field("provider", provider).finish()
    }
}

impl Headers {
    pub(crate) fn new(pairs: Pairs, provider: Option<PairsProvider>) -> Result<Self, RequestError> {
        let pairs = pairs.into_iter().map(header).collect::<Result<Vec<_>, _>>()?;
        check_once(&pairs)?;
        Ok(Self { pairs, provider })
    }

    /// All headers for this dial. A header of the provider replaces those of the same name.
    pub(super) async fn of(
        self,
        dial: DialContext,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Reason> {
        let Self { mut pairs, provider } = self;
        if let Some(provider) = provider {
            let given = provider.ask(dial).await.map_err(Reason::Provider)?.into_iter().map(header);
            let given: Vec<(HeaderName, HeaderValue)> =
                given.collect::<Result<_, _>>().map_err(|error| Reason::Provider(brief(&error)))?;
            check_once(&given).map_err(|error| Reason::Provider(brief(&error)))?;
            pairs.retain(|(name, _)| given.iter().all(|(other, _)| other != name));
            pairs.extend(given);
        }
        Ok(pairs)
    }
}

const BAD_NAME: &str = "its name is empty or has characters that HTTP does not allow there";
const BAD_VALUE: &str = "its value has characters that HTTP does not allow there";
const RESERVED: &str = "the websocket handshake sets it";
const BAD_HOST: &str = "its value is not a host, or host:port";
const BAD_ORIGIN: &str =
    "its value is not an origin, such as https://example.com, without a path, or null";
const TWICE: &str = "it is set twice";

fn header((name, value): (String, String)) -> Result<(HeaderName, HeaderValue), RequestError> {
    let refused = |error| RequestError::Header { name: name.clone(), error };
    let parsed = HeaderName::try_from(name.as_str()).map_err(|_| refused(BAD_NAME))?;
    if is_reserved(&parsed) {
        return Err(refused(RESERVED));
    }
    let value = HeaderValue::from_str(&value).map_err(|_| refused(BAD_VALUE))?;
    match parsed {
        header::HOST if !is_host(&value) => Err(refused(BAD_HOST)),
        header::ORIGIN if !is_origin(&value) => Err(refused(BAD_ORIGIN)),
        _ => Ok((parsed, value)),
    }
}

/// Servers refuse a request that has one of these twice.
fn check_once(pairs: &[(HeaderName, HeaderValue)]) -> Result<(), RequestError> {
    let is_twice =
        |sought: &HeaderName| pairs.iter().filter(|(name, _)| name == sought).count() > 1;
    match [header::HOST, header::ORIGIN].into_iter().find(is_twice) {
        None => Ok(()),
        Some(name) => Err(RequestError::Header { name: name.to_string(), error: TWICE }),
    }
}

/// RFC 9110, section 7.2.
fn is_host(value: &HeaderValue) -> bool {
    let authority = value.to_str().ok().and_then(|value| value.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let has_user = authority.as_str().contains('@');
        let has_port = authority.as_str().len() > authority.host().len();
        !has_user && !authority.host().is_empty() && (!has_port || authority.port_u16().is_some())
    })
}

/// RFC 6454, section 7. A page from a file has `file://`.
fn is_origin(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let origin = value.split_once("://").is_some_and(|(scheme, rest)| {
        let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        !scheme.is_empty()
            && scheme.bytes().all(is_of_scheme)
            && !rest.contains(|end: char| end.is_whitespace() || "/?#@\\,".contains(end))
    });
    value == "null" || origin
}

/// Whether the websocket handshake itself sets this header.
fn is_reserved(name: &HeaderName) -> bool {
    [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

/// The most subprotocols that are offered.
const MAX_SUBPROTOCOLS: usize = 16;

/// The subprotocols of the websocket (RFC 6455, section 1.9), in order of preference. Some services have tokens
/// there.
#[derive(Clone, Default)]
pub(crate) struct Subprotocols(Vec<String>);

/// Shows only how many there are.
impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subprotocols").field(&self.0.len()).finish()
    }
}

impl Subprotocols {
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Self {
        // One more is enough to see that there are too many.
        Self(names.take(MAX_SUBPROTOCOLS.saturating_add(1)).collect())
    }

    /// The names, if there are any.
    pub(super) fn offered(&self) -> Option<&[String]> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    /// The place of this subprotocol.
    pub(super) fn place(&self, chosen: &HeaderValue) -> Option<usize> {
        self.0.iter().position(|name| chosen == name)
    }

    /// The subprotocol at this place.
    pub(crate) fn at(&self, place: usize) -> Option<&str> {
        self.0.get(place).map(String::as_str)
    }

    /// Whether these are tokens of HTTP (RFC 9110, section 5.6.2), and none is repeated.
    pub(crate) fn are_possible(&self) -> bool {
        let Self(names) = self;
        let is_of_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_token = |name: &String| !name.is_empty() && name.bytes().all(is_of_token);
        let is_first = |(place, name): (usize, &String)| {
            names.iter().position(|other| other == name) == Some(place)
        };
        names.len() <= MAX_SUBPROTOCOLS
            && names.iter().all(is_token)
            && names.iter().enumerate().all(is_first)
    }
}

/// Whether the protocol sets this parameter of the query.
pub(crate) fn is_of_the_protocol(key: &str) -> bool {
    ["EIO", "transport", "sid"].contains(&key)
}

/// The query that a client has set. It may have secrets.
#[derive(Clone, Default)]
pub(crate) struct Query {
    /// Percent-encoded.
    pairs: Pairs,
    provider: Option<PairsProvider>,
}

/// Shows nothing of the query.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs: _, provider } = self;
        f.debug_struct("Query").field("provider", provider).finish_non_exhaustive()
    }
}

impl Query {
    /// The parameters of the URL are encoded and checked already.
    pub(crate) fn new(
        url: Pairs,
        options: Pairs,
        provider: Option<PairsProvider>,
    ) -> Result<Self, RequestError> {
        let mut query = Self { pairs: url, provider };
        query.set(options)?;
        Ok(query)
    }

    /// Adds parameters. They replace all earlier ones of the same names.
    fn set(&mut self, pairs: Pairs) -> Result<(), RequestError> {
        if let Some((key, _)) = pairs.iter().find(|(key, _)| is_of_the_protocol(key)) {
            return Err(RequestError::Query(key.clone()));
        }
        let encoded = pairs.into_iter().map(|(key, value)| (escape(&key), escape(&value)));
        let encoded: Pairs = encoded.collect();
        self.pairs.retain(|(key, _)| encoded.iter().all(|(other, _)| other != key));
        self.pairs.extend(encoded);
        Ok(())
    }

    pub(crate) fn has_provider(&self) -> bool {
        self.provider.is_some()
    }

    /// `&key=value…`, without the provider's part.
    pub(crate) fn text(&self) -> String {
        self.pairs.iter().flat_map(|(key, value)| ["&", key, "=", value]).collect()
    }

    /// `&key=value…` for this dial, with the provider's part.
    pub(super) async fn of(mut self, dial: DialContext) -> Result<String, Reason> {
        if let Some(provider) = self.provider.take() {
            let given = provider.ask(dial).await.map_err(Reason::Provider)?;
            self.set(given).map_err(|error| Reason::Provider(brief(&error)))?;
        }
        Ok(self.text())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn dial() -> DialContext {
        DialContext { endpoint: "http://a.test/socket.io/".into(), attempt: 0, reason: None }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A provider of these pairs.
    fn provider(given: &[(&str, &str)]) -> PairsProvider {
        let given = pairs(given);
        Provider::new(move |_| std::future::ready(Ok::<_, String>(given.clone())), Ok)
    }

    fn headers(
        set: &[(&str, &str)],
        given: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, Reason> {
        let headers = Headers::new(pairs(set), Some(provider(given))).unwrap();
        let all = headers.of(dial()).now_or_never().expect("it is there at once")?;
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Ok(all.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn a_header_that_is_given_replaces_all_of_its_name_that_are_set() {
        let set = [("x-a", "1"), ("x-b", "2"), ("X-A", "3")];
        for (given, expected) in [
            (&[][..], &[("x-a", "1"), ("x-b", "2"), ("x-a", "3")][..]),
            (&[("x-c", "4")], &[("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("x-c", "4")]),
            (&[("X-a", "4")], &[("x-b", "2"), ("x-a", "4")]),
            (&[("x-a", "4"), ("x-a", "5")], &[("x-b", "2"), ("x-a", "4"), ("x-a", "5")]),
        ] {
            assert_eq!(headers(&set, given).unwrap(), pairs(expected));
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_refused_wherever_it_comes_from() {
        for (name, value, error) in [
            ("upgrade", "s3cret", RESERVED),
            ("Connection", "s3cret", RESERVED),
            ("sec-websocket-key", "s3cret", RESERVED),
            ("content-length", "s3cret", RESERVED),
            ("a b", "s3cret", BAD_NAME),
            ("", "s3cret", BAD_NAME),
            ("x-token", "s3cret\n", BAD_VALUE),
            ("Host", "", BAD_HOST),
            ("host", "s3cret@a.test", BAD_HOST),
            ("host", "a.test/s3cret", BAD_HOST),
            ("host", "https://a.test", BAD_HOST),
            ("host", "a.test:", BAD_HOST),
            ("host", "a.test:99999", BAD_HOST),
            ("host", "a b", BAD_HOST),
            ("host", "::1", BAD_HOST),
            ("Origin", "", BAD_ORIGIN),
            ("origin", "a.test", BAD_ORIGIN),
            ("origin", "https://a.test/", BAD_ORIGIN),
            ("origin", "https://a.test/s3cret", BAD_ORIGIN),
            ("origin", "https://s3cret@a.test", BAD_ORIGIN),
            ("origin", "https://a.test https://b.test", BAD_ORIGIN),
            ("origin", "*", BAD_ORIGIN),
        ] {
            let refused = format!("header {name:?} cannot be sent: {error}");
            assert_eq!(headers(&[], &[(name, value)]), Err(Reason::Provider(refused)));
            let set = Headers::new(pairs(&[(name, value)]), None).unwrap_err();
            assert_eq!(set, RequestError::Header { name: name.to_owned(), error });
        }
    }

    #[test]
    fn a_host_and_an_origin_may_be_set_once() {
        for (name, value) in [
            ("host", "a.test"),
            ("host", "a.test:8080"),
            ("host", "127.0.0.1:1"),
            ("host", "[::1]"),
            ("host", "[::1]:8080"),
            ("host", "under_score"),
            ("origin", "https://a.test"),
            ("origin", "http://a.test:8080"),
            ("origin", "http://[::1]:8080"),
            ("origin", "chrome-extension://abc"),
            ("origin", "file://"),
            ("origin", "null"),
        ] {
            let expected = pairs(&[(name, value)]);
            assert_eq!(headers(&[(name, value)], &[]).unwrap(), expected);
            assert_eq!(headers(&[(name, value)], &[(name, value)]).unwrap(), expected);
            let twice = [(name, value), (name, value)];
            let refused = Headers::new(pairs(&twice), None).unwrap_err();
            assert_eq!(refused, RequestError::Header { name: name.to_owned(), error: TWICE });
            assert!(matches!(headers(&[], &twice), Err(Reason::Provider(_))), "{value}");
        }
    }

    fn query(
        url: &[(&str, &str)],
        set: &[(&str, &str)],
        given: &[(&str, &str)],
    ) -> Result<String, Reason> {
        let query = Query::new(pairs(url), pairs(set), Some(provider(given))).unwrap();
        query.of(dial()).now_or_never().expect("it is there at once")
    }

    #[test]
    fn a_query_that_is_given_replaces_what_is_set_and_that_what_is_in_the_url() {
        let url = [("tag", "0"), ("u", "%20"), ("tag", "9")];
        let set = [("tag", "1 &"), ("b=", "ä"), ("tag", "2")];
        for (url, set, given, expected) in [
            (&url[..], &[][..], &[][..], "&tag=0&u=%20&tag=9"),
            (&url, &set, &[], "&u=%20&tag=1%20%26&b%3D=%C3%A4&tag=2"),
            (&url, &set, &[("tag", "3"), ("tag", "3")], "&u=%20&b%3D=%C3%A4&tag=3&tag=3"),
            (&[], &set, &[("c", "")], "&tag=1%20%26&b%3D=%C3%A4&tag=2&c="),
            (&url, &[], &[("b=", "1")], "&tag=0&u=%20&tag=9&b%3D=1"),
        ] {
            assert_eq!(query(url, set, given).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_query_of_the_protocol_is_refused_by_name_wherever_it_comes_from() {
        for name in ["EIO", "transport", "sid"] {
            let set = Query::new(Vec::new(), pairs(&[("a", "b"), (name, "s3cret")]), None);
            assert_eq!(set.unwrap_err(), RequestError::Query(name.to_owned()));
            let refused = query(&[], &[], &[("a", "b"), (name, "s3cret")]).unwrap_err();
            let Reason::Provider(error) = &refused else { panic!("{refused:?}") };
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
        assert_eq!(query(&[], &[("eio", "3")], &[]).as_deref(), Ok("&eio=3"));
    }

    #[test]
    fn the_error_of_a_provider_is_told_cut_and_escaped() {
        let long = format!("no\n{}", "x".repeat(10_000));
        let provider = PairsProvider::new(move |_| std::future::ready(Err(long.clone())), Ok);
        let failed = provider.ask(dial()).now_or_never().expect("it fails at once");
        let Err(text) = failed else { panic!("{failed:?}") };
        assert!(text.starts_with("no\\nxxx") && text.len() < 210, "{text}");
    }

    #[test]
    fn debug_shows_no_values() {
        let given = provider(&[("x-given", "s3cret")]);
        let headers = Headers::new(pairs(&[("x-token", "s3cret")]), Some(given.clone())).unwrap();
        let query = Query::new(pairs(&[("token", "s3cret")]), Vec::new(), Some(given)).unwrap();
        let subprotocols = Subprotocols::new(["s3cret".to_owned()].into_iter());
        let debug = format!("{headers:?}{query:?}{subprotocols:?}");
        assert!(debug.contains("x-token") && !debug.contains("s3cret"), "{debug}");
    }
}
