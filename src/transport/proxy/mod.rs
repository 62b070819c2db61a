//! Proxies: other machines that connect to the server for this one.
//!
//! The proxy connects to the server and passes bytes on from then on, so TLS and both transports go through
//! it unchanged. It is asked with HTTP ([`http`]) or SOCKS 5 ([`socks`]). [`environment`] has the
//! rules for the variables that name proxies.

mod environment;
mod http;
mod socks;

use std::{fmt, future::poll_fn, io, pin::Pin, time::Duration};

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use self::environment::Environment;
use super::{
    Endpoint, Session,
    dial::is_end,
    stream::Wire,
    tcp::{Tcp, TcpFailure},
    tls,
};
use crate::{
    display::brief,
    proto::{proxy_failure::ProxyFailure, reason::ConnectFailure},
    runtime::clock::within,
};

/// A proxy, for [`ClientBuilder::proxy`](crate::ClientBuilder::proxy): HTTP with `CONNECT`, with or without TLS
/// to the proxy itself, or SOCKS 5.
///
/// | URL | proxy |
/// |---|---|
/// | `http://proxy.example:3128` | HTTP, asked with `CONNECT` for `http` and `https` servers alike; the default port is 80 |
/// | `http://user:password@proxy.example:3128` | the same, with Basic authentication |
/// | `https://proxy.example:3129` | the same, with TLS to the proxy; the default port is 443 |
/// | `socks5://proxy.example:1080` | SOCKS 5; the default port is 1080 |
/// | `socks5://user:password@proxy.example` | the same, with user and password |
///
/// User and password are percent-encoded: `p@ss` is `p%40ss`. They are never shown or logged. The proxy
/// resolves the name of the server; `socks5h` means the same as `socks5`. Other kinds of
/// authentication, such as NTLM and Kerberos, and SOCKS 4 are not supported.
///
/// The connection to an `https` server has TLS from end to end, with any proxy. An `https` proxy has a TLS
/// session of its own around that. It hides the name of the server, and the user and the password for the
/// proxy, from others on the way. The options of `ClientBuilder::tls` are used for both, except the name of
/// the server: the certificate of the proxy must be for the host of its URL.
///
/// The URL is checked when the client [starts](crate::ClientBuilder::start); what is wrong is a
/// [`BuildError::Proxy`](crate::BuildError::Proxy). If there is no way through the proxy, the reason is
/// [`ConnectFailure::Proxy`].
///
/// ```
/// use actix_socketio::{Client, Proxy};
///
/// let builder = Client::builder("https://realtime.example")
///     .proxy(Proxy::new("http://user:p%40ss@proxy.example:3128"));
/// let debug = format!("{builder:?}");
/// assert!(debug.contains("http://proxy.example:3128") && !debug.contains("ss@"));
/// ```
#[derive(Clone)]
pub struct Proxy(Source);

#[derive(Clone)]
enum Source {
    Url(String),
    Environment(Environment),
}

impl Proxy {
    /// The proxy with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(Source::Url(url.into()))
    }

    /// The proxy that the environment names for the server, if there is one; without one, the client
    /// connects directly. The variables are read now, and used when the client
    /// [starts](crate::ClientBuilder::start).
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `HTTPS_PROXY` | the proxy for `https` and `wss` |
    /// | `HTTP_PROXY` | the proxy for `http` and `ws` |
    /// | `ALL_PROXY` | the proxy for both, where the one above is not set |
    /// | `NO_PROXY` | servers without a proxy, separated by commas: a domain (`example.com` or `.example.com`, for itself and everything below it), an IP address, a network (`10.0.0.0/8`), or `*` for all |
    ///
    /// Each may be in lower case; upper case takes precedence. A proxy without a scheme is an HTTP
    /// proxy. `localhost` has a proxy like others, unless `NO_PROXY` has it. Nothing is read if
    /// `REQUEST_METHOD` is set: in a CGI program, `HTTP_PROXY` may come from the request.
    pub fn from_env() -> Self {
        let read = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Self(Source::Environment(Environment::read(read)))
    }

    /// The proxy for this server, if there is one, or what is wrong with it. `patience`: how long it may
    /// take. `tls` makes the TLS session with a proxy at this host.
    pub(super) fn of<E: From<ProxyError>>(
        &self,
        endpoint: &Endpoint,
        patience: Duration,
        tls: impl FnOnce(&Host) -> Result<Session, E>,
    ) -> Result<Option<Tunnel>, E> {
        let hop = match &self.0 {
            Source::Url(url) => Hop::to(endpoint, url),
            Source::Environment(environment) => {
                let Some((variable, url)) = environment.proxy(endpoint) else { return Ok(None) };
                let scheme = if url.contains("://") { "" } else { "http://" };
                let hop = Hop::to(endpoint, &format!("{scheme}{url}"));
                hop.map_err(|error| format!("the variable {variable}: {error}"))
            }
        };
        let hop = hop.map_err(ProxyError)?;
        let tls = match hop.kind {
            Kind::Https => Some(tls(&hop.host)?),
            Kind::Http | Kind::Socks => None,
        };
        Ok(Some(Tunnel { hop, tls, patience }))
    }
}

/// Shows no user and no password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match &self.0 {
            Source::Environment(environment) => return environment.fmt(f),
            Source::Url(url) => Hop::parse(url),
        };
        // A URL that cannot be parsed may have a password anywhere.
        let shown = shown.map_or_else(|_| "…".to_owned(), |hop| hop.url());
        f.debug_tuple("Proxy").field(&shown).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    /// The same, within TLS.
    Https,
    Socks,
}

/// What is wrong with a proxy, without its URL.
#[derive(Debug)]
pub(crate) struct ProxyError(pub(crate) String);

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// The parts of the URL of a proxy.
#[derive(Debug, Clone)]
struct Hop {
    kind: Kind,
    host: Host,
    port: u16,
    login: Option<Login>,
}

/// The way through a proxy.
#[derive(Debug, Clone)]
pub(crate) struct Tunnel {
    hop: Hop,
    /// For [`Kind::Https`].
    tls: Option<Session>,
    /// How long it may take.
    patience: Duration,
}

const FORM: &str = "write http://host:port, https://host:port or socks5://host:port";

impl Hop {
    fn to(endpoint: &Endpoint, text: &str) -> Result<Self, String> {
        let hop = Self::parse(text)?;
        match (hop.kind, &endpoint.host) {
            (Kind::Socks, Host::Domain(name)) if name.len() > MAX_TEXT => Err(format!(
                "the host of the server has more than {MAX_TEXT} bytes, which SOCKS cannot send"
            )),
            _ => Ok(hop),
        }
    }

    /// An error does not repeat the URL.
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("it has no scheme: {FORM}"))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" | "socks5h" => Kind::Socks,
            "https" => Kind::Https,
            "socks" | "socks4" | "socks4a" => {
                return Err("SOCKS 4 is not supported: write socks5://".into());
            }
            _ => return Err(format!("its scheme is none of http, https, socks5, socks5h: {FORM}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return Err("it has a path, a query or a fragment: percent-encode these characters \
                 in a user or a password (%2F, %3F, %23, %5C)"
                .into());
        }
        if rest.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err("it has a space or a control character".into());
        }
        let (login, authority) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, authority)) => (Some(Login::parse(login, kind)?), authority),
        };
        // Only with these schemes, hosts are parsed as in the URL of a server.
        let scheme = if kind == Kind::Https { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{authority}")).ok();
        let url = url.filter(|url| url.port() != Some(0) && !authority.contains('%'));
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| !port.contains(']'));
        let unreadable = || format!("its host or its port cannot be read: {FORM}");
        let url = url.filter(|_| port != Some("")).ok_or_else(unreadable)?;
        let host = url.host().ok_or_else(unreadable)?.to_owned();
        let port = match kind {
            Kind::Socks if !has_port => 1080,
            _ => url.port_or_known_default().ok_or_else(unreadable)?,
        };
        Ok(Self { kind, host, port, login })
    }

    /// `host:port`.
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Without user and password.
    fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks => "socks5",
        };
        format!("{scheme}://{}", self.authority())
    }
}

impl Tunnel {
    /// A connection to the server, through the proxy.
    pub(super) async fn open(
        &self,
        tcp: Tcp,
        endpoint: &Endpoint,
        client: &str,
    ) -> Result<Wire, ConnectFailure> {
        let opened = within(self.patience, self.try_open(tcp, endpoint, client)).await;
        opened
            .unwrap_or(Err(ProxyFailure::TimedOut))
            .map_err(|failure| ConnectFailure::Proxy { proxy: self.hop.authority(), failure })
    }

    async fn try_open(
        &self,
        tcp: Tcp,
        endpoint: &Endpoint,
        client: &str,
    ) -> Result<Wire, ProxyFailure> {
        let Self { hop, tls, patience: _ } = self;
        let connected = tcp.connect(&hop.host, hop.port, client).await;
        let stream = connected.map_err(|failure| match failure {
            TcpFailure::UnknownHost(error) => ProxyFailure::UnknownHost(error),
            TcpFailure::Unreachable(error) => ProxyFailure::Unreachable(error),
        })?;
        let mut wire = Wire::Tcp(stream);
        if let Some(tls) = tls {
            wire = secured(tls, wire).await?;
        }
        let (host, port, login) = (&endpoint.host, endpoint.port(), hop.login.as_ref());
        match hop.kind {
            Kind::Http | Kind::Https => http::connect(&mut wire, host, port, login).await?,
            Kind::Socks => socks::connect(&mut wire, host, port, login).await?,
        }
        Ok(wire)
    }
}

/// Begins TLS with the proxy.
#[cfg(feature = "rustls")]
async fn secured(tls: &Session, wire: Wire) -> Result<Wire, ProxyFailure> {
    let begun = tls.clone().begin(wire).await;
    begun.map(Wire::Tls).map_err(|error| match tls.explain(&error) {
        Some(failure) => ProxyFailure::Tls(failure),
        None => failed(&error),
    })
}

/// There is none.
#[cfg(not(feature = "rustls"))]
#[expect(clippy::unused_async, reason = "the other is")]
async fn secured(tls: &Session, _: Wire) -> Result<Wire, ProxyFailure> {
    match *tls {}
}

/// The most bytes of a name, a user or a password in SOCKS.
const MAX_TEXT: usize = 255;

impl Login {
    fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let (user, password) = (decode(user), decode(password));
        match kind {
            _ if user.is_empty() => Err("its user is empty".into()),
            Kind::Http | Kind::Https if user.contains(&b':') => {
                Err("its user has a colon, which Basic authentication cannot send".into())
            }
            Kind::Socks if user.len().max(password.len()) > MAX_TEXT => {
                Err("its user or its password has more than 255 bytes".into())
            }
            _ => Ok(Self { user, password }),
        }
    }
}

/// Reads that many bytes, and no more: those after them are the server's.
async fn read_exact<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut [u8],
) -> Result<(), ProxyFailure> {
    fill(stream, &mut ReadBuf::new(buffer)).await
}

async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut ReadBuf<'_>,
) -> Result<(), ProxyFailure> {
    while buffer.remaining() > 0 {
        let before = buffer.remaining();
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await;
        read.map_err(|error| failed(&error))?;
        if buffer.remaining() == before {
            return Err(ProxyFailure::NoAnswer);
        }
    }
    Ok(())
}

async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut bytes: &[u8],
) -> Result<(), ProxyFailure> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await;
        let written = written.map_err(|error| failed(&error))?;
        if written == 0 {
            return Err(ProxyFailure::NoAnswer);
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    let flushed = poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await;
    flushed.map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> ProxyFailure {
    // A proxy that wants a client certificate may say so only now.
    if let Some(failure) = tls::alert(error) {
        return ProxyFailure::Tls(failure);
    }
    if is_end(error) { ProxyFailure::NoAnswer } else { ProxyFailure::Unreachable(brief(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Hop, String> {
        Hop::parse(url)
    }

    #[test]
    fn a_url_says_which_proxy_is_meant() {
        for (url, shown, login) in [
            ("http://p.test:3128", "http://p.test:3128", None),
            ("HTTP://P.test/", "http://p.test:80", None),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", None),
            ("https://p.test", "https://p.test:443", None),
            ("HTTPS://p.test:80/", "https://p.test:80", None),
            ("https://u:p%40@p.test:1", "https://p.test:1", Some(("u", "p@"))),
            ("socks5://p.test", "socks5://p.test:1080", None),
            ("socks5h://p.test:80", "socks5://p.test:80", None),
            ("socks5://[::1]", "socks5://[::1]:1080", None),
            ("socks5://[::1]:9", "socks5://[::1]:9", None),
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080", None),
            ("http://b\u{fc}cher.test", "http://xn--bcher-kva.test:80", None),
            ("http://u:pw@p.test:1", "http://p.test:1", Some(("u", "pw"))),
            ("http://u@p.test:1", "http://p.test:1", Some(("u", ""))),
            ("http://u:p%40%3a%2F@p.test:1", "http://p.test:1", Some(("u", "p@:/"))),
            ("http://u:a:b@c@p.test:1", "http://p.test:1", Some(("u", "a:b@c"))),
            ("socks5://a%3Ab:%C3%A9@p.test:1", "socks5://p.test:1", Some(("a:b", "\u{e9}"))),
        ] {
            let hop = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(hop.url(), shown, "{url}");
            let login = login.map(|(user, password)| (user.as_bytes(), password.as_bytes()));
            let found = hop.login.as_ref().map(|login| (&login.user[..], &login.password[..]));
            assert_eq!(found, login, "{url}");
            let debug = format!("{hop:?}{:?}", Proxy::new(url));
            assert!(debug.contains(shown) && !debug.contains("pw"), "{debug}");
        }
    }

    #[test]
    fn each_fault_of_a_url_is_named_and_the_url_is_not_repeated() {
        let long = format!("socks5://u:{}@p.test", "s3cret".repeat(50));
        for (part, url) in [
            ("no scheme", ""),
            ("no scheme", "p.test:3128"),
            ("no scheme", "u:s3cret@p.test"),
            ("none of http", "ftp://u:s3cret@p.test"),
            ("SOCKS 4", "socks4://p.test"),
            ("cannot be read", "http://"),
            ("cannot be read", "http://u:s3cret@"),
            ("cannot be read", "http://:3128"),
            ("cannot be read", "http://p.test:"),
            ("cannot be read", "http://p.test:0"),
            ("cannot be read", "socks5://u:s3cret@p.test:99999"),
            ("cannot be read", "http://p.test:a"),
            ("cannot be read", "http://::1"),
            ("cannot be read", "http://p%41.test"),
            ("path", "http://p.test/s3cret"),
            ("path", "http://p.test?s3cret"),
            ("%2F", "http://u:s3/cret@p.test"),
            ("space", "http://u:s3 cret@p.test"),
            ("user is empty", "http://:s3cret@p.test"),
            ("colon", "http://a%3ab:s3cret@p.test"),
            ("colon", "https://a%3ab:s3cret@p.test"),
            ("cannot be read", "https://u:s3cret@p.test:0"),
            ("255", &long),
        ] {
            let error = parse(url).map(|hop| hop.url()).unwrap_err();
            assert!(error.contains(part) && !error.contains("cret"), "{url}: {error}");
            let debug = format!("{:?}", Proxy::new(url));
            assert!(!debug.contains("cret"), "{url}: {debug}");
        }
    }
}
