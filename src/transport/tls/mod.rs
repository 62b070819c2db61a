//! TLS, for URLs with `https` and `wss` (cargo feature `rustls`, on by default).
//!
//! Such a URL is enough for a server with a public certificate. A [`Tls`] sets more: which
//! authorities are trusted, which certificate the client has, which name the server has.
//!
//! ```no_run
//! use actix_socketio::{Client, tls::Tls};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let tls = Tls::new()
//!     .add_ca_file("/etc/acme/ca.pem")
//!     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?);
//! let client = Client::builder("https://realtime.acme.example").tls(tls).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! TLS 1.2 and 1.3 are supported, with [rustls] and the cryptography of `ring`. If there is no TLS session,
//! the reason is a [`TlsFailure`].

mod failure;
mod verifier;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, LazyLock, OnceLock},
    task::{Context, Poll},
};

use actix_codec::{AsyncRead as _, ReadBuf};
pub use rustls;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

pub(super) use self::failure::alert;
use self::verifier::Trust;
use super::{dial::is_end, stream::Wire};
use crate::{
    logs::say,
    proto::tls_failure::{Peer, TlsFailure},
};

/// The protocol that ALPN offers: with a websocket, awc speaks no other.
const HTTP: &[u8] = b"http/1.1";

/// An option of [`Tls`] that cannot be used.
#[derive(Debug)]
pub(crate) struct TlsError {
    pub(crate) option: &'static str,
    pub(crate) error: String,
}

fn unusable(option: &'static str, error: impl fmt::Display) -> TlsError {
    TlsError { option, error: error.to_string() }
}

/// The options of TLS, for [`ClientBuilder::tls`](crate::ClientBuilder::tls).
///
/// They are checked, and files are read, when the first client [starts](crate::ClientBuilder::start)
/// with them; what is wrong is a [`BuildError::Tls`](crate::BuildError::Tls). Clones share the outcome:
/// to have many clients with the same options, clone one `Tls`. It also remembers TLS sessions, which
/// makes it quicker to connect again.
#[derive(Clone)]
pub struct Tls {
    /// A configuration of the application, which is used instead of the options.
    own: Option<Arc<ClientConfig>>,
    cas: Vec<Ca>,
    only_added_cas: bool,
    identity: Option<Identity>,
    accepts_any: bool,
    server_name: Option<String>,
    /// The configuration made from the options, when it was first needed.
    made: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// The source of the certificates of authorities.
#[derive(Debug, Clone)]
enum Ca {
    Pem(Vec<u8>),
    File(PathBuf),
}

/// The client's own certificate, in PEM.
#[derive(Clone)]
struct Identity {
    chain: Vec<u8>,
    /// The private key, which is a secret.
    key: Vec<u8>,
}

/// Shows no certificate and no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, cas, only_added_cas, identity, accepts_any, server_name, made: _ } = self;
        f.debug_struct("Tls")
            .field("from_config", &own.is_some())
            .field("cas", &cas.len())
            .field("only_added_cas", only_added_cas)
            .field("client_certificate", &identity.is_some())
            .field("danger_accept_any_certificate", accepts_any)
            .field("server_name", server_name)
            .finish()
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// Trusts the authorities that the system trusts. They are loaded once for the process, when the
    /// first client that needs them starts; on Linux, the variables `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// say where from.
    pub fn new() -> Self {
        Self {
            own: None,
            cas: Vec::new(),
            only_added_cas: false,
            identity: None,
            accepts_any: false,
            server_name: None,
            made: Arc::default(),
        }
    }

    /// Uses a configuration of the application, with its authorities, its client certificate and its
    /// cryptography. Of the other options, only [`server_name`](Self::server_name) can be set beside it.
    ///
    /// Its `alpn_protocols` must be empty, or be `http/1.1` alone: a websocket does not pass over
    /// HTTP/2.
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { own: Some(config.into()), ..Self::new() }
    }

    /// Trusts these authorities as well: one or more certificates in PEM.
    #[must_use]
    pub fn add_ca_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        self.add_ca(Ca::Pem(pem.into()))
    }

    /// Trusts the authorities in this file as well: one or more certificates in PEM.
    #[must_use]
    pub fn add_ca_file(self, path: impl AsRef<Path>) -> Self {
        self.add_ca(Ca::File(path.as_ref().to_owned()))
    }

    fn add_ca(mut self, ca: Ca) -> Self {
        self.cas.push(ca);
        self.changed()
    }

    /// Trusts only the authorities that are added, and not those of the system. For a server of your
    /// own, this is safer: no other authority can vouch for it.
    #[must_use]
    pub fn only_added_cas(mut self) -> Self {
        self.only_added_cas = true;
        self.changed()
    }

    /// Shows the server, or a proxy with TLS, this certificate if it asks for one (mutual TLS): the chain, the client's own
    /// certificate first, and its private key, both in PEM. The key must not be encrypted.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some(Identity { chain: chain_pem.into(), key: key_pem.into() });
        self.changed()
    }

    /// The name, or the IP address, that the server's certificate must be for. It is also the name
    /// that the server is asked for (SNI). Default: the host of the URL.
    ///
    /// It has no effect on where the client connects to, nor on the `Host` header, nor on a proxy with
    /// TLS: the certificate of that must be for the host of its URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts any certificate of the server, and of a proxy with TLS, for any name: **anybody on the way to
    /// the server can read and change everything.** Each client that starts so logs a warning. For a server
    /// with a certificate of its own, use [`add_ca_pem`](Self::add_ca_pem) instead.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.accepts_any = true;
        self.changed()
    }

    /// Called when an option has changed: earlier clones share nothing with this one any more.
    fn changed(mut self) -> Self {
        self.made = Arc::default();
        self
    }
}

/// The configuration of clients without options of TLS.
static DEFAULT: LazyLock<Tls> = LazyLock::new(Tls::new);

impl Tls {
    /// The session settings for this host. `client` is the name of the client in the log.
    pub(crate) fn session(
        tls: Option<Self>,
        host: &Host,
        client: &str,
    ) -> Result<Session, TlsError> {
        let tls = tls.unwrap_or_else(|| DEFAULT.clone());
        let name = tls.server_name.as_deref().map_or_else(|| name(host), given)?;
        tls.begin(name, client, Peer::Server)
    }

    /// The session settings for a proxy at this host.
    pub(crate) fn session_with_proxy(
        tls: Option<Self>,
        host: &Host,
        client: &str,
    ) -> Result<Session, TlsError> {
        let tls = tls.unwrap_or_else(|| DEFAULT.clone());
        tls.begin(name(host)?, client, Peer::Proxy)
    }

    fn begin(
        &self,
        name: ServerName<'static>,
        client: &str,
        peer: Peer,
    ) -> Result<Session, TlsError> {
        let config = if let Some(config) = self.made.get() {
            config
        } else {
            let config = self.config(client)?;
            self.made.get_or_init(|| config)
        };
        if self.accepts_any {
            say!(
                log::Level::Warn,
                client,
                "{peer}'s certificate is not checked (danger_accept_any_certificate): \
                 whoever is on the way can read and change everything"
            );
        }
        Ok(Session { connector: Arc::clone(config).into(), name })
    }

    fn config(&self, client: &str) -> Result<Arc<ClientConfig>, TlsError> {
        let Self { own, cas, only_added_cas, identity, accepts_any, server_name: _, made: _ } =
            self;
        if let Some(own) = own {
            if !cas.is_empty() || *only_added_cas || identity.is_some() || *accepts_any {
                let error =
                    "authorities and client certificates are set in the configuration itself";
                return Err(unusable("from_config", error));
            }
            return with_http(own);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let cas = cas.iter().map(Ca::read).collect::<Result<Vec<_>, _>>()?.concat();
        let trust = match (accepts_any, only_added_cas) {
            (true, _) => Trust::Anything,
            (false, true) => Trust::Added(cas),
            (false, false) => Trust::AddedAndSystem(cas),
        };
        let verifier = trust.verifier(&provider, client)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("tls", error))?
            // The interface calls all verifiers dangerous that are not a list of authorities.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => unusable(
                        CLIENT_CERTIFICATE,
                        "the key does not belong to the first certificate of the chain",
                    ),
                    error => unusable(CLIENT_CERTIFICATE, error),
                })?
            }
        };
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The name of a server from the option.
fn given(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(name).to_owned())
        .map_err(|_| unusable("server_name", "it is neither a host name nor an IP address"))
}

/// The name of the other side at this host.
fn name(host: &Host) -> Result<ServerName<'static>, TlsError> {
    match host {
        Host::Ipv4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| {
            unusable(
                "server_name",
                "the host of the URL cannot be the name in a certificate: set another",
            )
        }),
    }
}

const CLIENT_CERTIFICATE: &str = "client_certificate";

/// The configuration, as one that speaks HTTP/1.1.
fn with_http(config: &Arc<ClientConfig>) -> Result<Arc<ClientConfig>, TlsError> {
    match config.alpn_protocols.as_slice() {
        [only] if only == HTTP => Ok(Arc::clone(config)),
        [] => {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![HTTP.to_vec()];
            Ok(Arc::new(config))
        }
        _ => Err(unusable(
            "from_config",
            "its alpn_protocols names something other than http/1.1, over which no websocket \
             passes: leave it empty",
        )),
    }
}

impl Ca {
    fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match self {
            Self::Pem(pem) => authorities(pem).map_err(|error| unusable("add_ca_pem", error)),
            Self::File(path) => {
                let refused = |error: &dyn fmt::Display| {
                    unusable("add_ca_file", format_args!("{}: {error}", path.display()))
                };
                let pem = std::fs::read(path).map_err(|error| refused(&error))?;
                authorities(&pem).map_err(|error| refused(&error))
            }
        }
    }
}

/// The certificates in a text in PEM, if they can be certificates of authorities.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found = certificates(pem)?;
    let mut store = RootCertStore::empty();
    if found.iter().any(|found| store.add(found.clone()).is_err()) {
        return Err("a certificate in it cannot be read");
    }
    Ok(found)
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let Self { chain, key } = self;
        let chain = certificates(chain)
            .map_err(|error| unusable(CLIENT_CERTIFICATE, format_args!("the chain: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            // The text of this error might repeat a part of the key.
            let error = match error {
                pem::Error::NoItemsFound => {
                    "the key: it has no -----BEGIN PRIVATE KEY----- (nor RSA, nor EC); encrypted \
                     keys are not supported"
                }
                _ => "the key: it is not in PEM",
            };
            unusable(CLIENT_CERTIFICATE, error)
        })?;
        Ok((chain, key))
    }
}

/// The certificates in a text in PEM, or why there are none.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("it has no -----BEGIN CERTIFICATE-----, so it is not a certificate in PEM"),
        Err(_) => Err("a certificate in it is not in PEM, or cut off"),
    }
}

/// How to begin TLS with one server.
#[derive(Clone)]
pub(crate) struct Session {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connector: _, name } = self;
        f.debug_struct("Session").field("name", name).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) async fn begin(self, wire: Wire) -> io::Result<Box<TlsStream<Wire>>> {
        let Self { connector, name } = self;
        // To people, a server that closes without an answer is the same as one that resets the connection.
        let ended = |error: io::Error| {
            if is_end(&error) { io::ErrorKind::UnexpectedEof.into() } else { error }
        };
        connector.connect(name, wire).await.map(Box::new).map_err(ended)
    }

    /// What is wrong with TLS, if the error is about TLS.
    pub(super) fn explain(&self, error: &io::Error) -> Option<TlsFailure> {
        Some(failure::explain(error.get_ref()?.downcast_ref()?, &self.name))
    }
}

/// Reads from a TLS session.
///
/// Peers often close the connection without closing TLS. Whether a message was cut can be seen by its
/// length, as without TLS.
pub(super) fn poll_read(
    tls: &mut TlsStream<Wire>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match Pin::new(tls).poll_read(cx, buffer) {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Poll::Ready(Ok(()))
        }
        read => read,
    }
}
