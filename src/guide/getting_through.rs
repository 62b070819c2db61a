//! How to reach a server, and what the error says if that fails. (This module is a page to read; it has no
//! items.)
//!
//! The scheme of the URL decides: `http` and `ws` mean the same, and so do `https` and `wss`, which
//! speak TLS. A server with a public certificate needs nothing else.
//!
//! | situation | option | without it, the error says |
//! |---|---|---|
//! | the certificate comes from an authority of your own | `Tls::add_ca_file`, `Tls::add_ca_pem` | [`UnknownIssuer`](crate::TlsFailure::UnknownIssuer) |
//! | only your own authority is to be trusted | `Tls::only_added_cas` | – |
//! | the certificate has another name than the URL | `Tls::server_name` | [`WrongName`](crate::TlsFailure::WrongName), with the names in it |
//! | the server wants a certificate of the client | `Tls::client_certificate` | [`CertificateRequired`](crate::TlsFailure::CertificateRequired), or [`Refused`](crate::TlsFailure::Refused) with `HandshakeFailure` before TLS 1.3; a server on Node.js may close a certificate that it does not accept without a word ([`NoAnswer`](crate::ConnectFailure::NoAnswer)) |
//! | the certificate has expired | none: it has to be renewed | [`Expired`](crate::TlsFailure::Expired), with the date |
//! | the machine has no authorities, as in a small container | install them (`ca-certificates`), or `Tls::add_ca_file` | [`BuildError::Tls`](crate::BuildError::Tls) at the start |
//! | the URL has `https`, and the port speaks plain HTTP | `http` in the URL | [`NotTls`](crate::TlsFailure::NotTls) |
//! | the URL has `http`, and the port speaks TLS | `https` in the URL | [`NoAnswer`](crate::ConnectFailure::NoAnswer), or that the answer is not HTTP |
//! | the program was built without the cargo feature `rustls` | build with it | [`BuildError::Url`](crate::BuildError::Url) at the start |
//! | ciphers, versions or checks of your own | `Tls::from_config` | – |
//! | a proxy does not let websockets pass, or the server has none | none: the client changes to polling, unless [`transports`](crate::ClientBuilder::transports) says otherwise | [`NoAnswer`](crate::ConnectFailure::NoAnswer), an HTTP [`Status`](crate::ConnectFailure::Status), or [`NoWebsocket`](crate::ConnectFailure::NoWebsocket) |
//! | polling through a balancer ends again and again | at the balancer: sticky sessions, by cookie or address; the client sends its cookies back | [`SessionUnknown`](crate::Reason::SessionUnknown) |
//! | attachments from socketioxide 0.18 by polling | a websocket: that server joins packets without a separator | [`Protocol`](crate::Reason::Protocol), malformed JSON |
//!
//! With polling, each batch of events is an HTTP request. A request is never repeated, since its events may
//! have arrived: one that fails ends the session, and its events are in doubt.
//!
//! A failure of TLS does not go away within seconds. So the client waits for the longest
//! [delay](crate::Reconnect::delay) before each further attempt, from the first one on, and
//! [`Socket::ready`](crate::Socket::ready) and [`ClientBuilder::connect`](crate::ClientBuilder::connect)
//! end with the first failure. To give up instead, say so in the policy:
//!
//! ```
//! use actix_socketio::{ConnectFailure, Reason, Reconnect, Retry};
//!
//! let policy = Reconnect::default().retry(|reason| match reason {
//!     Reason::Connect(ConnectFailure::Tls(_)) => Retry::Stop,
//!     other => Retry::default_for(other),
//! });
//! ```
