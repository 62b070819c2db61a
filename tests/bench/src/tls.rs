//! TLS on both sides, with a certificate that the server makes when it starts.

use std::{env, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// The environment variable with the certificate of the server, in hexadecimal digits.
pub const CERTIFICATE: &str = "BENCH_CERTIFICATE";

/// The acceptor of connections, and the certificate for [`CERTIFICATE`].
pub fn server() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a good name");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let hex = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they are a pair");
    (TlsAcceptor::from(Arc::new(config)), hex)
}

/// Trusts the server and nobody else.
pub fn client_config() -> ClientConfig {
    let hex = env::var(CERTIFICATE).expect("the certificate of the server");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits");
    let certificate: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate)).expect("a certificate");
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A connection to the server.
pub async fn connect(port: u16) -> TlsStream<TcpStream> {
    thread_local! {
        static CONNECTOR: TlsConnector = TlsConnector::from(Arc::new(client_config()));
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let handshake = CONNECTOR.with(|connector| connector.connect(name, stream));
    handshake.await.expect("the stub server takes all")
}
