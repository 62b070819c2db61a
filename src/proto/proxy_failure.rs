//! Why there is no connection through a proxy, and what can be done about it.

use thiserror::Error;

use super::tls_failure::{Peer, TlsFailure};
use crate::display::{Excerpt, brief};

/// Why there is no connection to the server through a proxy.
///
/// The text continues a sentence that begins with the name of the proxy, as in "the proxy proxy.test:3128
/// does not accept the user and the password".
///
/// Some of them do not go away by themselves: a wrong password, or a proxy that does not allow the
/// server. Then the client waits for the longest [delay](crate::Reconnect::delay) of its policy, from
/// the first attempt on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// Nothing listens at the address of the proxy, or the connection to it failed.
    #[error("cannot be reached: {}: is it running, and is its address right?", brief(.0))]
    Unreachable(String),
    /// The name of the proxy has no known address.
    #[error("has no known address: {}", brief(.0))]
    UnknownHost(String),
    /// There is no TLS session with the proxy itself (`https` in its URL).
    #[error("gives no TLS session: {}", .0.of(Peer::Proxy))]
    Tls(TlsFailure),
    /// The proxy did not connect to the server within three quarters of
    /// [`connect_timeout`](crate::ClientBuilder::connect_timeout).
    #[error("did not connect to the server in time: can it reach that server?")]
    TimedOut,
    /// The proxy closed the connection without a whole answer.
    #[error(
        "closed the connection without a whole answer: is it an HTTP proxy with TLS (https://), an HTTP proxy (http://) or a SOCKS proxy (socks5://)?"
    )]
    NoAnswer,
    /// The proxy wants a user and a password, and got none (HTTP status 407, or SOCKS).
    #[error(
        "wants a user and a password: write them into its URL, as in http://user:password@host:port"
    )]
    CredentialsRequired,
    /// The proxy does not accept the user or the password (HTTP status 407 or 401, or SOCKS).
    #[error("does not accept the user or the password")]
    CredentialsRefused,
    /// The proxy wants another kind of authentication than a user and a password; this says which ones
    /// it offers, such as `Negotiate, NTLM`, if it says so.
    #[error("wants an authentication that is not supported ({}): only Basic is, or the user and password of SOCKS5", brief(.0))]
    UnsupportedAuth(String),
    /// The HTTP proxy refused to connect to the server, with this HTTP status.
    #[error("answered with HTTP status {status}{}{}", words(says.as_deref()), hint(*status))]
    Status {
        /// The status.
        status: u16,
        /// The title of the proxy's page or its text, shortened and escaped, if there is one.
        says: Option<String>,
    },
    /// The SOCKS proxy refused to connect to the server, with this code: 1 to 8, by RFC 1928.
    #[error("did not connect to the server: {} (SOCKS code {code})", socks(*.0), code = .0)]
    Socks(u8),
    /// The answer is not that of a proxy of the kind in the URL; this text says what is wrong.
    #[error("does not answer like a proxy of its kind: {}", brief(.0))]
    Malformed(String),
}

impl ProxyFailure {
    /// Whether it stays until somebody does something about it.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Tls(_)
            | Self::CredentialsRequired
            | Self::CredentialsRefused
            | Self::UnsupportedAuth(_)
            | Self::Malformed(_) => true,
            Self::Status { status, .. } => match status {
                // Not now.
                408 | 425 | 429 => false,
                501 | 505 => true,
                status => *status < 500,
            },
            // The proxy does not allow the connection, or cannot do that.
            Self::Socks(code) => matches!(code, 2 | 7 | 8),
            Self::Unreachable(_) | Self::UnknownHost(_) | Self::TimedOut | Self::NoAnswer => false,
        }
    }
}

fn words(says: Option<&str>) -> String {
    says.map(|says| format!(" ({})", Excerpt(says))).unwrap_or_default()
}

/// What can be done about a status.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": redirects are not followed",
        403 => {
            ": it does not allow this server; many proxies connect to port 443 only, so is there an https URL?"
        }
        400 | 404 | 405 | 501 => ": is it a proxy, and does it allow CONNECT?",
        500 | 502..=504 => ": can it reach the server?",
        _ => "",
    }
}

/// The codes of RFC 1928.
fn socks(code: u8) -> &'static str {
    match code {
        1 => "general failure, such as an unknown host",
        2 => "its rules do not allow it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live has expired",
        7 => "it does not know the command",
        8 => "it does not know this kind of address",
        _ => "for a reason that is not known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_if_somebody_has_to_do_something() {
        let status = |status| ProxyFailure::Status { status, says: None };
        for failure in [
            ProxyFailure::Tls(TlsFailure::UnknownIssuer),
            ProxyFailure::CredentialsRequired,
            ProxyFailure::CredentialsRefused,
            ProxyFailure::UnsupportedAuth("NTLM".to_owned()),
            ProxyFailure::Malformed("no".to_owned()),
            status(302),
            status(400),
            status(403),
            status(404),
            status(501),
            ProxyFailure::Socks(2),
        ] {
            assert!(failure.is_lasting(), "{failure}");
        }
        for failure in [
            ProxyFailure::Unreachable("refused".to_owned()),
            ProxyFailure::UnknownHost("no".to_owned()),
            ProxyFailure::TimedOut,
            ProxyFailure::NoAnswer,
            status(429),
            status(500),
            status(503),
            ProxyFailure::Socks(1),
            ProxyFailure::Socks(5),
        ] {
            assert!(!failure.is_lasting(), "{failure}");
        }
    }

    #[test]
    fn a_refusal_is_shown_with_the_words_of_the_proxy_and_with_what_can_be_done() {
        let says = Some("Access\nDenied".to_owned());
        let text = ProxyFailure::Status { status: 403, says }.to_string();
        let begin =
            r#"answered with HTTP status 403 ("Access\nDenied"): it does not allow this server"#;
        assert!(text.starts_with(begin), "{text}");
        let codes: Vec<String> =
            (0..=9).map(|code| ProxyFailure::Socks(code).to_string()).collect();
        assert!(codes[5].contains("the connection was refused (SOCKS code 5)"), "{codes:?}");
        for (code, text) in codes.iter().enumerate() {
            assert!(codes.iter().filter(|other| *other == text).count() == 1, "{code}: {text}");
        }
    }
}
