//! Why there is no TLS session, and what can be done about it.

use std::fmt;

use thiserror::Error;

use crate::display::{Excerpt, brief};

/// Why there is no TLS session with the server, or with a [proxy](crate::ProxyFailure::Tls) on the way to it.
///
/// None of these goes away by itself soon. So from the first attempt on, the client waits for the
/// longest [delay](crate::Reconnect::delay) of its policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate of the server comes from an authority that is not trusted here, or is self-signed.
    UnknownIssuer,
    /// The certificate of the server is for other names.
    WrongName {
        /// The name that was asked for: the host of the URL, or `Tls::server_name`.
        expected: String,
        /// The names in the certificate, such as `*.example.com`: at most the first 10, and
        /// none if the system does the check.
        names: Vec<String>,
    },
    /// The certificate of the server expired at this time, if known.
    Expired {
        /// Such as `Wed, 01 Jan 2020 00:00:00 GMT`.
        since: Option<String>,
    },
    /// The certificate of the server is not valid yet; this is the time from which it is, if known.
    NotYetValid {
        /// Such as `Wed, 01 Jan 2020 00:00:00 GMT`.
        from: Option<String>,
    },
    /// There is something else wrong with the certificate of the server; this text says what.
    Certificate(String),
    /// The server wants a certificate of the client, and got none.
    CertificateRequired,
    /// The server ended the handshake with this alert, such as `HandshakeFailure`. Before TLS 1.3,
    /// this is also the answer to a client without a certificate.
    Refused(String),
    /// What the server sends is not TLS.
    NotTls,
    /// Something else; this text says what.
    Handshake(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of(Peer::Server).fmt(f)
    }
}

/// The other side of a TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Server,
    Proxy,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the server",
            Self::Proxy => "the proxy",
        })
    }
}

impl TlsFailure {
    /// The text of the failure, for this kind of peer.
    pub(crate) fn of(&self, peer: Peer) -> impl fmt::Display + '_ {
        Told { failure: self, peer }
    }
}

struct Told<'a> {
    failure: &'a TlsFailure,
    peer: Peer,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failure, peer } = *self;
        match failure {
            TlsFailure::UnknownIssuer => write!(
                f,
                "{peer}'s certificate comes from an authority that is not trusted here: if it is yours, add it (Tls::add_ca_file)"
            ),
            TlsFailure::WrongName { expected, names } => {
                let (expected, names) = (Excerpt(expected), names_in_words(names, peer));
                write!(f, "{peer}'s certificate is not for {expected}: {names}")
            }
            TlsFailure::Expired { since } => {
                let since = at(" on", since.as_deref());
                write!(
                    f,
                    "{peer}'s certificate has expired{since}; is the clock of this machine right?"
                )
            }
            TlsFailure::NotYetValid { from } => {
                let from = at(", but from", from.as_deref());
                write!(
                    f,
                    "{peer}'s certificate is not valid yet{from}; is the clock of this machine right?"
                )
            }
            TlsFailure::Certificate(error) => {
                write!(f, "{peer}'s certificate is not valid: {}", brief(error))
            }
            TlsFailure::CertificateRequired => {
                write!(f, "{peer} wants a client certificate: set one (Tls::client_certificate)")
            }
            TlsFailure::Refused(alert) => {
                let hint = hint(alert, peer);
                write!(f, "{peer} ended the TLS handshake with the alert {alert}{hint}")
            }
            TlsFailure::NotTls => write!(
                f,
                "{peer} does not speak TLS at this port: if it speaks plain HTTP, use http://"
            ),
            TlsFailure::Handshake(error) => write!(f, "the TLS handshake failed: {}", brief(error)),
        }
    }
}

fn names_in_words(names: &[String], peer: Peer) -> String {
    let quoted: Vec<String> = names.iter().map(|name| Excerpt(name).to_string()).collect();
    match (quoted.as_slice(), peer) {
        ([], _) => "it has other names".to_owned(),
        (names, Peer::Server) => format!("it has {} (see Tls::server_name)", names.join(", ")),
        (names, Peer::Proxy) => format!("it has {}", names.join(", ")),
    }
}

fn at(word: &str, date: Option<&str>) -> String {
    date.map(|date| format!("{word} {date}")).unwrap_or_default()
}

/// What can be done about an alert.
fn hint(alert: &str, peer: Peer) -> &'static str {
    match alert {
        "HandshakeFailure" => ": does it want a client certificate (Tls::client_certificate)?",
        "BadCertificate"
        | "CertificateExpired"
        | "CertificateRevoked"
        | "CertificateUnknown"
        | "UnknownCA"
        | "AccessDenied"
        | "UnsupportedCertificate" => {
            ": it does not accept the client certificate (Tls::client_certificate)"
        }
        "ProtocolVersion" => ": it speaks neither TLS 1.2 nor 1.3",
        "UnrecognisedName" if peer == Peer::Proxy => ": it does not know this name",
        "UnrecognisedName" => ": it does not know this name (see Tls::server_name)",
        _ => "",
    }
}
