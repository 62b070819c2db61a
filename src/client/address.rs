//! The URL of a server: its address, the default namespace, and the query of the request.
//!
//! A URL that could lead to a different server than its author meant is refused, even if a browser would
//! repair it. An error names the part and the remedy. It never repeats the URL, which may have a secret
//! in it.

use awc::http::uri::PathAndQuery;
use bytestring::ByteString;
use url::{Host, ParseError, Url};

use crate::{
    client::error::{BuildError, NamespaceError},
    proto::{packet::root, peer_text::MAX_NAMESPACE},
    transport::{Endpoint, Pairs, is_of_the_protocol},
};

/// The parts of a URL.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    pub(crate) namespace: ByteString,
    /// Percent-encoded.
    pub(crate) query: Pairs,
}

impl Address {
    /// `request_path` and `trailing_slash` are options: the path in the URL is a namespace.
    pub(crate) fn parse(
        text: &str,
        request_path: &str,
        trailing_slash: bool,
    ) -> Result<Self, BuildError> {
        let (authority, path) = written(text).map_err(refuse)?;
        let url = Url::parse(text).map_err(|error| refuse(fault(error, authority)))?;
        let is_secure = match url.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(refuse("its scheme is none of http, ws, https, wss")),
        };
        let host = url.host().ok_or_else(|| refuse(NO_HOST))?;
        check_host(&host, authority).map_err(refuse)?;
        if authority.ends_with(':') || url.port() == Some(0) {
            return Err(refuse(PORT));
        }
        let namespace = namespace_name(path).map_err(|_| {
            refuse("its path cannot be a namespace: it has a comma or more than 512 bytes")
        })?;
        if let Some((key, _)) = url.query_pairs().find(|(key, _)| is_of_the_protocol(key)) {
            return Err(BuildError::Query(key.into_owned()));
        }
        let query = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Ok(Self {
            endpoint: Endpoint::new(
                is_secure,
                host.to_owned(),
                url.port(),
                &path_of_request(request_path, trailing_slash)?,
            ),
            namespace,
            query: query
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        })
    }
}

/// The path of the request, with or without a trailing slash, by the rule of the official client.
///
/// Errors do not quote it: a query in the wrong place may have a token in it.
fn path_of_request(path: &str, slash: bool) -> Result<String, BuildError> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    let whole = [bare, if slash || bare.is_empty() { "/" } else { "" }].concat();
    // What is not ASCII would have to be percent-encoded.
    let is_path = path.starts_with('/') && path.is_ascii() && !path.contains(['?', '#']);
    if !is_path || PathAndQuery::try_from(whole.as_str()).is_err() {
        let expected = "a slash first, and then only what a URL's path can have";
        return Err(BuildError::Option { name: "path", expected });
    }
    Ok(whole)
}

const NO_HOST: &str = "it has no host: write http://host:port";
const PORT: &str = "its port is not a number from 1 to 65535: write http://host:port";

fn refuse(error: &str) -> BuildError {
    BuildError::Url(error.to_owned())
}

/// The authority and the path as they are written. `url` would change only these: it takes
/// out tabs and line breaks, turns backslashes into slashes, adds slashes, and encodes and shortens paths.
fn written(text: &str) -> Result<(&str, &str), &'static str> {
    if text.is_empty() {
        return Err("it is empty: write http://host:port");
    }
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("it has a space or a control character: take it out; a query can have %20");
    }
    let before = before_query(text);
    if before.contains('\\') {
        return Err("it has a backslash: write a slash");
    }
    let Some((_, rest)) = before.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        let known = ["http", "https", "ws", "wss"];
        let scheme = before.split(':').next().unwrap_or_default();
        return Err(if known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            "its scheme and its host are not two slashes apart: write http://host:port"
        } else {
            "it has no scheme: write http:// before the host"
        });
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let path = rest.strip_prefix(authority).unwrap_or_default();
    if authority.is_empty() {
        return Err(NO_HOST);
    }
    if authority.contains('@') {
        return Err("a user and password in it would not be sent: use basic_auth");
    }
    Ok((authority, path))
}

/// What is wrong, in words that name the part.
fn fault(error: ParseError, authority: &str) -> &'static str {
    match error {
        _ if is_bare_ipv6(authority) => "its IPv6 address has no brackets: write http://[::1]:3000",
        ParseError::EmptyHost => NO_HOST,
        ParseError::InvalidPort => PORT,
        ParseError::InvalidIpv4Address => IPV4,
        ParseError::InvalidIpv6Address => {
            "the part in brackets is not an IPv6 address, or has a zone, which is not supported"
        }
        ParseError::IdnaError | ParseError::InvalidDomainCharacter => {
            "its host has characters that no host name can have"
        }
        ParseError::Overflow => "it is too long",
        _ => "it cannot be read: write http://host:port",
    }
}

const IPV4: &str =
    "its host is neither a host name nor an IPv4 address of four numbers from 0 to 255";

fn is_bare_ipv6(authority: &str) -> bool {
    !authority.contains('[') && authority.matches(':').count() > 1
}

/// `url` reads `010.1` as an IPv4 address, and `%61` as a letter: its author may have meant
/// another host.
fn check_host(host: &Host<&str>, authority: &str) -> Result<(), &'static str> {
    if authority.contains('%') {
        return Err("its host has a percent sign: write the name without an encoding");
    }
    let name = authority.split(':').next().unwrap_or_default();
    match host {
        Host::Ipv4(address) if name.parse() != Ok(*address) => Err(IPV4),
        _ => Ok(()),
    }
}

/// The name of a namespace with its leading slash, or an error.
///
/// A comma ends a namespace on the wire. A question mark begins a query for servers 1.x and 2.x,
/// which answer in the name of the part before it. Official clients never send one in a name,
/// nor a `#`, because they take the name from a URL.
pub(crate) fn namespace_name(name: &str) -> Result<ByteString, NamespaceError> {
    let slash = if name.starts_with('/') { "" } else { "/" };
    let full = [slash, name].concat();
    let illegal = |character: char| ",?#".contains(character) || character.is_control();
    if full.contains(illegal) || full.len() > MAX_NAMESPACE {
        return Err(NamespaceError::Name(name.to_owned()));
    }
    // Most are this one, and it needs no memory of its own.
    Ok(if full == "/" { root() } else { full.into() })
}

pub(crate) fn before_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// An unchecked URL without the parts that may be secret.
///
/// If an `@` comes after a `?` or a `#`, a password with a `?` in it cannot be told from a
/// query with an `@` in it, so only the scheme is shown.
pub(crate) fn shown_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), url),
    };
    let before = before_query(rest);
    let after = rest.strip_prefix(before).unwrap_or_default();
    let shown =
        if after.contains('@') { "…" } else { before.rsplit('@').next().unwrap_or_default() };
    format!("{scheme}{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, BuildError> {
        Address::parse(url, "/", true)
    }

    #[test]
    fn a_url_says_where_the_server_is_and_which_namespace_is_meant() {
        for (url, origin, namespace) in [
            ("http://host", "http://host", "/"),
            ("http://host/", "http://host", "/"),
            ("http://host:3000/shop", "http://host:3000", "/shop"),
            ("ws://host:80", "http://host", "/"),
            ("https://host", "https://host", "/"),
            ("wss://host:443/x", "https://host", "/x"),
            ("https://host:80", "https://host:80", "/"),
            ("ws://host:443", "http://host:443", "/"),
            ("HTTP://Host.Example:0080", "http://host.example", "/"),
            ("http://host:65535", "http://host:65535", "/"),
            ("http://my_service.local.", "http://my_service.local.", "/"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1", "/"),
            ("http://[::1]:3000/a", "http://[::1]:3000", "/a"),
            ("http://[0:0::1]", "http://[::1]", "/"),
            ("http://bücher.example", "http://xn--bcher-kva.example", "/"),
            ("http://é", "http://xn--9ca", "/"),
            // The namespace is what is written, as for the official client.
            ("http://host/admin/", "http://host", "/admin/"),
            ("http://host//", "http://host", "//"),
            ("http://host/é/日本", "http://host", "/é/日本"),
            ("http://host/a%20b/../c", "http://host", "/a%20b/../c"),
            ("http://host/a@b:c", "http://host", "/a@b:c"),
            ("http://host/a?x#y", "http://host", "/a"),
            ("http://host?x=/y", "http://host", "/"),
            ("http://host#/y", "http://host", "/"),
        ] {
            let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(*address.endpoint.url(), format!("{origin}/"), "{url}");
            assert_eq!(address.namespace, namespace, "{url}");
            // By its name it is the same.
            assert_eq!(namespace_name(namespace).unwrap(), address.namespace);
        }
    }

    #[test]
    fn each_fault_of_a_url_is_named_with_its_part() {
        for (part, urls) in [
            ("empty", &[""][..]),
            ("no scheme", &["localhost:3000/a", "host", "//host", "/shop", "host?next=http://x"]),
            ("two slashes", &["http:host", "http:/host", "WS:host", "https:/host"]),
            ("no host", &["http://", "http:///shop", "http://:3000", "http://?x", "http://#x"]),
            ("its scheme", &["ftp://host", "localhost://host", "httpx://host"]),
            (
                "its port",
                &[
                    "http://127.0.0.1:99999",
                    "http://host:65536",
                    "http://host:abc",
                    "http://host:-1",
                    "http://host:+1",
                    "http://host:30000x",
                    "http://host:0",
                    "http://host:",
                    "http://host:/shop",
                    "http://[::1]:x",
                ],
            ),
            ("user and password", &["http://user:pass@host", "http://user@host", "http://@host"]),
            ("brackets", &["http://::1", "http://::1:3000", "http://fe80::1/x", "http://[::g]"]),
            (
                "in brackets",
                &["http://[fe80::1%25eth0]", "http://[]", "http://[::1", "http://[::1]x"],
            ),
            ("percent", &["http://ho%73t", "http://h%C3%B6st"]),
            ("IPv4", &["http://1", "http://127.1", "http://010.0.0.1", "http://0x7f.0.0.1"]),
            ("IPv4", &["http://256.0.0.1", "http://1.2.3.4.5", "http://127.0.0.1."]),
            ("characters", &["http://ho<st", "http://a|b", "http://xn--a", "http://a^b"]),
            ("backslash", &[r"http:\\host", r"http://host\@other", r"http://host/\shop"]),
            (
                "space or a control",
                &[" http://host", "http://host\n", "http://ho\tst", "http://a b", "http://host/\0"],
            ),
            ("namespace", &["http://host/a,b"]),
        ] {
            for url in urls {
                let error = parse(url).map(|address| address.endpoint);
                let Err(BuildError::Url(error)) = error else { panic!("{url}: {error:?}") };
                assert!(error.contains(part), "{url}: {error}");
            }
        }
    }

    #[test]
    fn a_query_is_kept_in_its_order_and_has_nothing_of_the_protocol() {
        let query = |url: &str| parse(url).map(|address| address.query);
        let pairs = |pairs: &[(&str, &str)]| -> Pairs {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for (url, expected) in [
            ("http://host?b=1&a=%20+&b=2", &[("b", "1"), ("a", "%20+"), ("b", "2")][..]),
            ("http://host/x?&&a&=b&é=ü#c=d", &[("a", ""), ("", "b"), ("%C3%A9", "%C3%BC")]),
            ("http://host?a=b?c=d\"<>", &[("a", "b?c=d%22%3C%3E")]),
            ("http://host?", &[]),
        ] {
            assert_eq!(query(url).unwrap(), pairs(expected), "{url}");
        }
        for (url, name) in [
            ("http://host?sid=s3cret", "sid"),
            ("http://host?a=b&EIO=3", "EIO"),
            ("http://host?%74ransport=polling", "transport"),
        ] {
            assert_eq!(query(url), Err(BuildError::Query(name.to_owned())), "{url}");
        }
        assert!(query("http://host?eio=3&Sid=1&transports").is_ok());
    }

    #[test]
    fn a_namespace_has_no_query_no_fragment_and_no_control_characters() {
        for name in ["a,b", "/a?token=1", "/a#b", "a\nb", "a\0", "a\u{7f}", "a\u{85}", "?", ","] {
            assert_eq!(namespace_name(name), Err(NamespaceError::Name(name.to_owned())));
        }
        for (name, full) in [("", "/"), ("a", "/a"), ("/a/", "/a/"), ("a b%\u{e9}", "/a b%\u{e9}")]
        {
            assert_eq!(namespace_name(name).unwrap(), *full);
        }
        assert!(namespace_name(&"x".repeat(MAX_NAMESPACE - 1)).is_ok());
        assert!(namespace_name(&"x".repeat(MAX_NAMESPACE)).is_err());
    }
}
