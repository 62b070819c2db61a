//! Turns an error of rustls into one that says what to do.

use std::{
    io,
    time::{Duration, SystemTime},
};

use awc::http::header::HttpDate;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage,
    pki_types::{ServerName, UnixTime},
};

use crate::{display::brief, proto::tls_failure::TlsFailure};

/// The most names of a certificate that are kept.
const MAX_NAMES: usize = 10;

/// Why there is no TLS session with the server of this name.
pub(super) fn explain(error: &Error, name: &ServerName<'_>) -> TlsFailure {
    match error {
        Error::InvalidCertificate(error) => certificate(error, name),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFailure::NotTls,
        error => TlsFailure::Handshake(brief(error)),
    }
}

/// The alert that a peer sends after its handshake, if the error is one.
pub(in crate::transport) fn alert(error: &io::Error) -> Option<TlsFailure> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(of_alert(*alert)),
        _ => None,
    }
}

fn of_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::CertificateRequired => TlsFailure::CertificateRequired,
        alert => TlsFailure::Refused(format!("{alert:?}")),
    }
}

fn certificate(error: &CertificateError, name: &ServerName<'_>) -> TlsFailure {
    match error {
        CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
        CertificateError::NotValidForName => {
            TlsFailure::WrongName { expected: shown(name), names: Vec::new() }
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(MAX_NAMES).map(|name| plain(name)).collect();
            TlsFailure::WrongName { expected: shown(expected), names }
        }
        CertificateError::Expired => TlsFailure::Expired { since: None },
        CertificateError::ExpiredContext { not_after, .. } => {
            TlsFailure::Expired { since: date(*not_after) }
        }
        CertificateError::NotValidYet => TlsFailure::NotYetValid { from: None },
        CertificateError::NotValidYetContext { not_before, .. } => {
            TlsFailure::NotYetValid { from: date(*not_before) }
        }
        error => match brief(error) {
            text if text.contains("CaUsedAsEndEntity") => {
                TlsFailure::Certificate(OF_AUTHORITY.to_owned())
            }
            text => TlsFailure::Certificate(text),
        },
    }
}

/// The usual home-made certificate is refused even if it is trusted. The error comes from a crate below rustls.
const OF_AUTHORITY: &str = "it is one of an authority (CaUsedAsEndEntity), as `openssl req -x509` makes them: add -addext basicConstraints=critical,CA:FALSE";

/// rustls shows a name of a certificate as `DnsName("example.com")`.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    brief(&inner.unwrap_or(name).trim_matches('"'))
}

fn shown(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn date(time: UnixTime) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()))?;
    // Dates in HTTP have four digits for the year, and so does their formatter.
    let is_near = time < SystemTime::UNIX_EPOCH.checked_add(END_OF_9999)?;
    is_near.then(|| HttpDate::from(time).to_string())
}

const END_OF_9999: Duration = Duration::from_secs(253_402_300_800);

#[cfg(test)]
mod tests {
    use rustls::{OtherError, PeerIncompatible};

    use super::*;

    #[test]
    fn an_error_is_told_by_what_can_be_done_about_it() {
        let name = ServerName::try_from("a.test").unwrap();
        let certificate = Error::InvalidCertificate;
        let time = UnixTime::since_unix_epoch;
        let now = time(Duration::from_secs(1));
        let late = time(END_OF_9999);
        let wrong = |names: &[String]| TlsFailure::WrongName {
            expected: "a.test".to_owned(),
            names: names.to_vec(),
        };
        let many: Vec<String> = (0..1_000).map(|number| format!("{number}.test")).collect();
        let presented = |names: &[String]| CertificateError::NotValidForNameContext {
            expected: name.to_owned(),
            presented: names.iter().map(|name| format!("DnsName({name:?})")).collect(),
        };
        for (error, expected, words) in [
            (certificate(CertificateError::UnknownIssuer), TlsFailure::UnknownIssuer, "add it"),
            (certificate(CertificateError::NotValidForName), wrong(&[]), "has other names"),
            (certificate(presented(&[])), wrong(&[]), "has other names"),
            (
                certificate(presented(&many)),
                wrong(&many[..10]),
                r#""9.test" (see Tls::server_name)"#,
            ),
            (
                certificate(CertificateError::Expired),
                TlsFailure::Expired { since: None },
                "has expired; is the clock",
            ),
            (
                certificate(CertificateError::ExpiredContext { time: now, not_after: now }),
                TlsFailure::Expired { since: Some("Thu, 01 Jan 1970 00:00:01 GMT".to_owned()) },
                "expired on Thu, 01 Jan 1970",
            ),
            (
                certificate(CertificateError::NotValidYetContext { time: now, not_before: late }),
                TlsFailure::NotYetValid { from: None },
                "not valid yet; is the clock",
            ),
            (
                certificate(CertificateError::Other(OtherError(std::sync::Arc::new(
                    io::Error::other("CaUsedAsEndEntity"),
                )))),
                TlsFailure::Certificate(OF_AUTHORITY.to_owned()),
                "CA:FALSE",
            ),
            (
                certificate(CertificateError::Revoked),
                TlsFailure::Certificate("Revoked".to_owned()),
                "not valid: Revoked",
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                TlsFailure::Refused("ProtocolVersion".to_owned()),
                "neither TLS 1.2 nor 1.3",
            ),
            (
                Error::AlertReceived(AlertDescription::UnrecognisedName),
                TlsFailure::Refused("UnrecognisedName".to_owned()),
                "does not know this name",
            ),
            (
                Error::AlertReceived(AlertDescription::InternalError),
                TlsFailure::Refused("InternalError".to_owned()),
                "the alert InternalError",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                TlsFailure::NotTls,
                "use http://",
            ),
        ] {
            let failure = explain(&error, &name);
            assert_eq!(failure, expected, "{error:?}");
            assert!(failure.to_string().contains(words), "{failure}");
        }
        for error in [
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::Other(OtherError(std::sync::Arc::new(std::fmt::Error))),
            Error::General("x".repeat(10_000)),
        ] {
            let failure = explain(&error, &name);
            assert!(matches!(failure, TlsFailure::Handshake(_)), "{failure:?}");
            assert!(failure.to_string().len() < 300, "{failure}");
        }
    }
}
