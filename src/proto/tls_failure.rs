//! Why there is no TLS session, and what can be done about it.

use thiserror::Error;

use crate::display::{Excerpt, brief};

/// Why there is no TLS session with the server.
///
/// None of them goes away by itself soon. So from the first attempt on, the client waits for the
/// longest [delay](crate::Reconnect::delay) of its policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate of the server comes from an authority that is not trusted here, or is signed
    /// by itself.
    #[error(
        "the server's certificate comes from an authority that is not trusted here: if it is yours, add it (Tls::add_ca_file)"
    )]
    UnknownIssuer,
    /// The certificate of the server is for other names.
    #[error("the server's certificate is not for {}: {}", Excerpt(expected), names_in_words(names))]
    WrongName {
        /// The name that was asked for: the host of the URL, or `Tls::server_name`.
        expected: String,
        /// The names in the certificate, such as `*.example.com`. The first 10 at most; there is
        /// none where the system does the check.
        names: Vec<String>,
    },
    /// The certificate of the server has expired, at this time if that is known.
    #[error("the server's certificate has expired{}; is the clock of this machine right?", at(" on", since.as_deref()))]
    Expired {
        /// Such as `Wed, 01 Jan 2020 00:00:00 GMT`.
        since: Option<String>,
    },
    /// The certificate of the server is not valid yet, but from this time on if that is known.
    #[error("the server's certificate is not valid yet{}; is the clock of this machine right?", at(", but from", from.as_deref()))]
    NotYetValid {
        /// Such as `Wed, 01 Jan 2020 00:00:00 GMT`.
        from: Option<String>,
    },
    /// There is something else wrong with the certificate of the server; this text says what.
    #[error("the server's certificate is not valid: {}", brief(.0))]
    Certificate(String),
    /// The server wants a certificate of the client, and got none.
    #[error("the server wants a client certificate: set one (Tls::client_certificate)")]
    CertificateRequired,
    /// The server ended the handshake with this alert, such as `HandshakeFailure`. Before TLS 1.3,
    /// this is also the answer to a client without a certificate.
    #[error("the server ended the TLS handshake with the alert {0}{hint}", hint = hint(.0))]
    Refused(String),
    /// What the server sends is not TLS.
    #[error("the server does not speak TLS at this port: if it speaks plain HTTP, use http://")]
    NotTls,
    /// Something else; this text says what.
    #[error("the TLS handshake failed: {}", brief(.0))]
    Handshake(String),
}

fn names_in_words(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| Excerpt(name).to_string()).collect();
    match quoted.as_slice() {
        [] => "it has other names".to_owned(),
        names => format!("it has {} (see Tls::server_name)", names.join(", ")),
    }
}

fn at(word: &str, date: Option<&str>) -> String {
    date.map(|date| format!("{word} {date}")).unwrap_or_default()
}

/// What can be done about an alert.
fn hint(alert: &str) -> &'static str {
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
        "UnrecognisedName" => ": it does not know this name (see Tls::server_name)",
        _ => "",
    }
}
