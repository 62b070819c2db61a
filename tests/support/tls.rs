//! Certificates of an authority that each test makes for itself, and a server that terminates TLS in front of
//! another one.

use actix_socketio::tls::rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version,
};
use futures::future::select;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Signs certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and addresses, or for a client.
    pub fn sign(&self, names: &[&str]) -> Certificate {
        self.sign_with(names, |_| {})
    }

    /// A certificate that expired at the beginning of 2020.
    pub fn sign_expired(&self, names: &[&str]) -> Certificate {
        self.sign_with(names, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    /// A certificate that becomes valid at the beginning of 2999.
    pub fn sign_for_later(&self, names: &[&str]) -> Certificate {
        self.sign_with(names, |params| params.not_before = date_time_ymd(2999, 1, 1))
    }

    fn sign_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = params(names, "signed");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate { chain: signed.pem(), key: key.serialize_pem() }
    }
}

fn params(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

impl Certificate {
    /// The options of a server of Node.js with this certificate.
    pub fn node(&self) -> Value {
        json!({ "cert": self.chain, "key": self.key })
    }

    /// The same, for a server that accepts only clients with a certificate of this authority.
    pub fn node_asking(&self, authority: &Authority, version: &str) -> Value {
        json!({
            "cert": self.chain,
            "key": self.key,
            "ca": authority.pem,
            "requestCert": true,
            "rejectUnauthorized": true,
            "minVersion": version,
            "maxVersion": version,
        })
    }
}

/// Terminates TLS, and passes on what is in it.
pub struct Front {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Starts in front of this port of this machine.
    pub fn start(upstream: u16, certificate: &Certificate) -> Self {
        Self::start_with(upstream, certificate, &[&version::TLS13, &version::TLS12], None)
    }

    /// The same, for clients with a certificate of this authority and in this version.
    pub fn asking(
        upstream: u16,
        certificate: &Certificate,
        version: &'static SupportedProtocolVersion,
        clients: &Authority,
    ) -> Self {
        Self::start_with(upstream, certificate, &[version], Some(clients))
    }

    fn start_with(
        upstream: u16,
        certificate: &Certificate,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("a version");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                let pem = CertificateDer::from_pem_slice(clients.pem.as_bytes());
                roots.add(pem.expect("a certificate")).expect("an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let config = config.with_single_cert(chain, key).expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        listener.set_nonblocking(true).expect("a listener for tokio");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // The connections end with the runtime.
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let serve = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(pass_on(acceptor.clone(), stream, upstream));
                    }
                };
                select(pin!(serve), stopped).await;
            });
        });
        Self { port, stop: Some(stop), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, upstream: u16) {
    // Clients that do not trust the certificate hang up.
    if let Ok(mut outer) = acceptor.accept(stream).await
        && let Ok(mut inner) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await
    {
        tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
