//! Whose certificates are accepted.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier as System;

use super::{TlsError, unusable};
use crate::logs::say;

/// Which authorities are trusted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Only these.
    Added(Vec<CertificateDer<'static>>),
    /// These, and those of the system.
    AddedAndSystem(Vec<CertificateDer<'static>>),
    /// Any certificate is accepted.
    Anything,
}

impl Trust {
    pub(super) fn verifier(
        self,
        provider: &Arc<CryptoProvider>,
        client: &str,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        match self {
            Self::Added(cas) if cas.is_empty() => {
                Err(unusable("only_added_cas", "none is added: add one (add_ca_pem, add_ca_file)"))
            }
            Self::Added(cas) => Ok(added(cas, provider)?),
            Self::AddedAndSystem(cas) if cas.is_empty() => {
                let system = system(provider).map_err(|error| {
                    unusable(
                        "tls",
                        format_args!(
                            "the authorities that the system trusts cannot be loaded ({error}): \
                             install them (on Debian, the package ca-certificates), or add those \
                             that are needed (Tls::add_ca_file)"
                        ),
                    )
                })?;
                Ok(system)
            }
            Self::AddedAndSystem(cas) => {
                let added = added(cas, provider)?;
                Ok(match system(provider) {
                    Ok(system) => Arc::new(AddedAndSystem { added, system }),
                    Err(error) => {
                        say!(
                            log::Level::Debug,
                            client,
                            "only the added authorities are trusted: {error}"
                        );
                        added
                    }
                })
            }
            Self::Anything => Ok(Arc::new(Anything { provider: Arc::clone(provider) })),
        }
    }
}

/// A verifier that trusts these authorities.
fn added(
    cas: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    // They were checked one by one when they were read.
    roots.add_parsable_certificates(cas);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable("add_ca_pem", error))
}

/// A verifier that trusts what the system trusts. Loading takes a while, so it is done once.
fn system(provider: &Arc<CryptoProvider>) -> Result<Arc<System>, Error> {
    static LOADED: OnceLock<Arc<System>> = OnceLock::new();
    if let Some(loaded) = LOADED.get() {
        return Ok(Arc::clone(loaded));
    }
    // A failure is not kept: the authorities may be installed later.
    let system = Arc::new(System::new(Arc::clone(provider))?);
    Ok(Arc::clone(LOADED.get_or_init(|| system)))
}

/// Accepts what either of the two accepts. (The system's verifier takes additions, but not on every system,
/// and would load its authorities again.)
#[derive(Debug)]
struct AddedAndSystem {
    added: Arc<WebPkiServerVerifier>,
    system: Arc<System>,
}

impl ServerCertVerifier for AddedAndSystem {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &dyn ServerCertVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        verify(&*self.added).or_else(|first| {
            verify(&*self.system).map_err(|second| match first {
                // None of the added authorities has signed it.
                Error::InvalidCertificate(CertificateError::UnknownIssuer) => second,
                first => first,
            })
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.added.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.added.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.added.supported_verify_schemes()
    }
}

/// Accepts any certificate. The server must still have the key to its certificate.
#[derive(Debug)]
struct Anything {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
