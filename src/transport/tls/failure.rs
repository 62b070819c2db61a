//! What an error of rustls means for people.

use std::time::{Duration, SystemTime};

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
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            TlsFailure::CertificateRequired
        }
        Error::AlertReceived(alert) => TlsFailure::Refused(format!("{alert:?}")),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFailure::NotTls,
        error => TlsFailure::Handshake(brief(error)),
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
        error => TlsFailure::Certificate(brief(error)),
    }
}

/// `DnsName("example.com")` is how rustls shows a name of a certificate.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    brief(&inner.unwrap_or(name).trim_matches('"'))
}

fn shown(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn date(time: UnixTime) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()))?;
    // HTTP knows four digits of a year, and its formatter no more.
    let is_near = time < SystemTime::UNIX_EPOCH.checked_add(END_OF_9999)?;
    is_near.then(|| HttpDate::from(time).to_string())
}

const END_OF_9999: Duration = Duration::from_secs(253_402_300_800);
