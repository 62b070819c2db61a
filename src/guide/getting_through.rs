//! TLS, proxies, balancers: how to reach a server, and what the error says if that fails.
//!
//! (This module is a page to read; it has no items.)
//!
//! The scheme of the URL decides: `http` and `ws` mean the same, and so do `https` and `wss`, which
//! speak TLS. A server with a public certificate needs nothing else. Where the table says `Tls`, it is the type of that name in
//! the module `actix_socketio::tls`, for the option `ClientBuilder::tls`.
//!
//! | situation | option | without it, the error says |
//! |---|---|---|
//! | the certificate comes from an authority of your own | `Tls::add_ca_file`, `Tls::add_ca_pem` | [`UnknownIssuer`](crate::TlsFailure::UnknownIssuer) |
//! | you make a certificate for development | `openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=mine -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE`, and `Tls::add_ca_file("cert.pem")` | [`UnknownIssuer`](crate::TlsFailure::UnknownIssuer), or [`Certificate`](crate::TlsFailure::Certificate) without `CA:FALSE` |
//! | only your own authority is to be trusted | `Tls::only_added_cas` | – |
//! | the certificate has another name than the URL | `Tls::server_name` | [`WrongName`](crate::TlsFailure::WrongName), with the names in it |
//! | the server wants a certificate of the client | `Tls::client_certificate` | [`CertificateRequired`](crate::TlsFailure::CertificateRequired), or [`Refused`](crate::TlsFailure::Refused) with `HandshakeFailure` before TLS 1.3; a server on Node.js may close the connection over a certificate without a word ([`NoAnswer`](crate::ConnectFailure::NoAnswer)) |
//! | the certificate has expired | none: it has to be renewed | [`Expired`](crate::TlsFailure::Expired), with the date |
//! | the machine has no authorities, as in a small container | install them (`ca-certificates`), or `Tls::add_ca_file` | [`BuildError::Tls`](crate::BuildError::Tls) at the start |
//! | the URL has `https`, and the port speaks plain HTTP | `http` in the URL | [`NotTls`](crate::TlsFailure::NotTls) |
//! | the URL has `http`, and the port speaks TLS | `https` in the URL | [`NoAnswer`](crate::ConnectFailure::NoAnswer), or that the answer is not HTTP |
//! | the program was built without the cargo feature `rustls` | build with it | [`BuildError::Url`](crate::BuildError::Url) at the start |
//! | ciphers, versions or checks of your own | `Tls::from_config` | – |
//! | a proxy does not let websockets pass, or the server has none | none: the client changes to polling, unless [`transports`](crate::ClientBuilder::transports) says otherwise | [`NoAnswer`](crate::ConnectFailure::NoAnswer), an HTTP [`Status`](crate::ConnectFailure::Status), or [`NoWebsocket`](crate::ConnectFailure::NoWebsocket) |
//! | polling through a balancer ends again and again | at the balancer: sticky sessions, by cookie or address; the client sends its cookies back. Or no polling: `transports([Transport::WebSocket])`, since a websocket stays with its server | [`SessionUnknown`](crate::Reason::SessionUnknown), with a server 2.x, each time right after a [`Ready`](crate::Ready); the delays grow all the same |
//! | nginx in front of the server does not pass upgrades on | at nginx: `proxy_http_version 1.1`, `proxy_set_header Upgrade $http_upgrade`, `proxy_set_header Connection "upgrade"`; the client uses polling until then | [`BadRequest`](crate::EngineRefusal::BadRequest), and what may be the cause |
//! | a balancer closes connections that are idle for less than a heartbeat of the server | at the balancer: a longer time (nginx `proxy_read_timeout`; haproxy `timeout tunnel`, and `timeout server` for polling), or at the server a shorter `pingInterval` | [`TransportClose`](crate::Reason::TransportClose) again and again, or by polling [`TransportError`](crate::Reason::TransportError) with HTTP status 504 |
//! | a balancer has no server to pass requests on to | none: the client tries again | [`Status`](crate::ConnectFailure::Status) 502 or 503, with the title of its page |
//! | attachments from socketioxide 0.18 by polling | a websocket: that server joins packets without a separator | [`Protocol`](crate::Reason::Protocol), malformed JSON |
//! | the server is behind an HTTP proxy or a SOCKS proxy | [`proxy`](crate::ClientBuilder::proxy), such as `Proxy::new("http://proxy.example:3128")` | usually [`TimedOut`](crate::ConnectFailure::TimedOut), [`Unreachable`](crate::ConnectFailure::Unreachable) or [`UnknownHost`](crate::ConnectFailure::UnknownHost) |
//! | the proxy is that of `HTTPS_PROXY` and `NO_PROXY` | [`Proxy::from_env`](crate::Proxy::from_env) | the same |
//! | the proxy itself speaks TLS | `https://` in the URL of the proxy; `ClientBuilder::tls` for an authority of your own | [`Malformed`](crate::ProxyFailure::Malformed), or [`NoAnswer`](crate::ProxyFailure::NoAnswer); [`ProxyFailure::Tls`](crate::ProxyFailure::Tls) if something is wrong with its certificate |
//! | the proxy wants a user and a password | in the URL of the proxy, percent-encoded | [`CredentialsRequired`](crate::ProxyFailure::CredentialsRequired), [`CredentialsRefused`](crate::ProxyFailure::CredentialsRefused) |
//! | the proxy wants Kerberos or NTLM | none: use a local proxy that does that for its clients | [`UnsupportedAuth`](crate::ProxyFailure::UnsupportedAuth), with the kinds |
//! | the proxy does not allow the server; many allow port 443 only | `https` in the URL, or a rule at the proxy | [`Status`](crate::ProxyFailure::Status) 403 with the title of its page, or [`Socks`](crate::ProxyFailure::Socks) 2 |
//! | the proxy cannot reach the server | – | [`Status`](crate::ProxyFailure::Status) 500 to 504, [`Socks`](crate::ProxyFailure::Socks) 1 and 3 to 6 with the code in words, or [`TimedOut`](crate::ProxyFailure::TimedOut) |
//! | the proxy is of the other kind, or no proxy listens at that port | `http://` or `socks5://` in its URL | [`Malformed`](crate::ProxyFailure::Malformed), or [`ProxyFailure::NoAnswer`](crate::ProxyFailure::NoAnswer) |
//! | the server listens on a unix domain socket | `ClientBuilder::unix_socket` | [`Unreachable`](crate::ConnectFailure::Unreachable), with the path |
//! | the server is reached in another way: an SSH channel, a tunnel, memory in a test | [`dialer`](crate::ClientBuilder::dialer) with a [`Dialer`](crate::Dialer) of your own | [`Unreachable`](crate::ConnectFailure::Unreachable), with the text of its error |
//! | a name has IPv6 addresses that do not work | none: IPv4 is tried, too, after 250 milliseconds; or [`ip_family`](crate::ClientBuilder::ip_family) | – |
//! | there is a standby, or several servers in several places | [`fallback`](crate::ClientBuilder::fallback) | – |
//! | the machine has several addresses, and one of them is allowed | [`local_address`](crate::ClientBuilder::local_address) | [`TimedOut`](crate::ConnectFailure::TimedOut), [`Unreachable`](crate::ConnectFailure::Unreachable) |
//!
//! With polling, each batch of events is an HTTP request. A request is never repeated, since its events may
//! have arrived: one that fails ends the session, and its events are in doubt. A response that is cut ends the
//! session as well, even if it is cut between two packets. Only a cut in a response of HTTP/1.0 without a length
//! cannot be detected.
//!
//! All connections of a client go through its proxy: websockets, polling and, inside them, TLS, which the
//! proxy cannot read. The proxy resolves the name of the server. An error names the proxy, as in
//! "the proxy 10.0.0.1:3128 does not accept the user or the password".
//!
//! ```
//! use actix_socketio::{Client, ClientBuilder, Proxy};
//!
//! fn builder(proxy: Option<&str>) -> ClientBuilder {
//!     let proxy = proxy.map_or_else(Proxy::from_env, Proxy::new);
//!     Client::builder("https://realtime.example").proxy(proxy)
//! }
//! ```
//!
//! With fallbacks, a failure to connect goes on to the next server at once. If all fail, the error names each
//! of them, as in "a.example: the server cannot be reached: …; b.example: …".
//!
//! ```
//! use actix_socketio::Client;
//!
//! let builder = Client::builder("https://a.example").fallback("https://b.example");
//! ```
//!
//! A server on the same machine may listen on a unix domain socket. The URL then says what the `Host`
//! header has, and `https` is TLS as ever:
//!
//! ```
//! # #[cfg(unix)] {
//! use actix_socketio::Client;
//!
//! let builder = Client::builder("http://localhost").unix_socket("/run/realtime.sock");
//! # }
//! ```
//!
//! Anything that carries bytes both ways can be the way to the server. This dialer gives each connection
//! to a server in the same process, such as `axum::serve` with a listener of its own:
//!
//! ```
//! use std::io;
//!
//! use actix_socketio::{Client, Dialer};
//! use tokio::{io::DuplexStream, sync::mpsc};
//!
//! struct InMemory(mpsc::UnboundedSender<DuplexStream>);
//!
//! impl Dialer for InMemory {
//!     type Stream = DuplexStream;
//!
//!     async fn dial(&self, _host: &str, _port: u16) -> io::Result<DuplexStream> {
//!         let (here, there) = tokio::io::duplex(64 << 10);
//!         self.0.send(there).map_err(|_| io::Error::other("the server has ended"))?;
//!         Ok(here)
//!     }
//! }
//!
//! let (sender, connections) = mpsc::unbounded_channel();
//! let builder = Client::builder("http://in-memory").dialer(InMemory(sender));
//! # drop(connections);
//! ```
//!
//! A failure of TLS does not go away within seconds, nor does a proxy's refusal. So the client waits for the longest [delay](crate::Reconnect::delay) before each further
//! attempt, from the first one on, and [`Socket::ready`](crate::Socket::ready) and
//! [`ClientBuilder::connect`](crate::ClientBuilder::connect) end with the first failure. To give up
//! instead, say so in the policy:
//!
//! ```
//! use actix_socketio::{ConnectFailure, Reason, Reconnect, Retry};
//!
//! let policy = Reconnect::default().retry(|reason| match reason {
//!     Reason::Connect(ConnectFailure::Tls(_)) => Retry::Stop,
//!     other => Retry::default_for(other),
//! });
//! ```
