//! Tokens, and how to renew them.
//!
//! (This module is a page to read; it has no items.)
//!
//! # Where a server looks for tokens
//!
//! | the server reads | option | sent |
//! |---|---|---|
//! | `socket.handshake.auth` | [`auth`](crate::ClientBuilder::auth), [`auth_with`](crate::ClientBuilder::auth_with); for one namespace, those of [`NamespaceBuilder`](crate::NamespaceBuilder) | with each request to join a namespace |
//! | `socket.handshake.headers` | [`header`](crate::ClientBuilder::header), [`bearer_auth`](crate::ClientBuilder::bearer_auth), [`basic_auth`](crate::ClientBuilder::basic_auth), [`headers_with`](crate::ClientBuilder::headers_with) | with each request to connect |
//! | `socket.handshake.query` | [`query`](crate::ClientBuilder::query), [`query_with`](crate::ClientBuilder::query_with) | in the URL. URLs are in the logs of servers and proxies: not for secrets |
//!
//! Servers 1.x and 2.x have no `auth`: for `/` use a header or the query. For other namespaces, the fields of `auth` are sent as
//! their query.
//!
//! Credentials are never logged and never shown by `Debug`. A header or a query for `/` is read by a server once,
//! when the connection is made; `auth` each time a namespace is joined, so it suits tokens best.
//!
//! # When a token expires
//!
//! A server does one of two things: it refuses the request to join ([`Reason::Refused`](crate::Reason::Refused)), or it ends the
//! session in the middle ([`Reason::ServerDisconnect`](crate::Reason::ServerDisconnect)). After both, a client stops by default, as the official one
//! does: with the same token, it would be refused again. A provider and a policy make it go on
//! (`kept` and `fetch` are the application's own: they read the stored token, and get a new one):
//!
//! ```no_run
//! use actix_socketio::{Client, JoinContext, Reason, Reconnect, Retry};
//! use serde_json::json;
//!
//! # async fn kept() -> Option<String> { None }
//! # async fn fetch() -> Result<String, std::io::Error> { todo!() }
//! async fn auth(join: JoinContext) -> Result<serde_json::Value, std::io::Error> {
//!     let is_stale = matches!(join.reason(), Some(Reason::Refused(_) | Reason::ServerDisconnect));
//!     let token = match kept().await {
//!         Some(token) if !is_stale => token,
//!         _ => fetch().await?, // and keep it
//!     };
//!     Ok(json!({ "token": token }))
//! }
//!
//! # fn example() -> Result<(), actix_socketio::BuildError> {
//! let client = Client::builder("http://localhost:3000")
//!     .auth_with(auth)
//!     .reconnect(Reconnect::default().retry(|reason| match reason {
//!         Reason::Refused(_) | Reason::ServerDisconnect => Retry::WithNewAuth,
//!         other => Retry::default_for(other),
//!     }))
//!     .start()?;
//! # Ok(())
//! # }
//! ```
//!
//! * **The fast path.** Most connections end for other reasons, which [`JoinContext::reason`](crate::JoinContext::reason) shows: then the kept token
//!   is used, and none is fetched.
//! * **After a refusal**, the first attempt with a new token is made at once, those after it with the delays of the policy. So
//!   a server that refuses every token is not asked in a loop.
//! * **A provider that fails** is a failed attempt ([`Reason::Provider`](crate::Reason::Provider)), and the client tries again. The text of
//!   its error is shown and logged: it must have no secrets.
//! * **Time.** A provider has [`join_timeout`](crate::ClientBuilder::join_timeout) (for headers and the query:
//!   [`connect_timeout`](crate::ClientBuilder::connect_timeout)). It runs on the arbiter of the client, and must not block it.
//! * **Many namespaces** are joined at the same time, so a provider is called several times at once. If each call would
//!   fetch a token, share the request: keep a [`Shared`](futures::future::Shared) future of it.
//! * **A refusal that no token can fix**, such as a closed account: the data of the [refusal](crate::Refusal) shows it.
//!   The policy sees it and can return [`Retry::Stop`](crate::Retry::Stop).
//! * **Before it expires.** An application that knows the time can call [`disconnect`](crate::Socket::disconnect) and
//!   [`connect`](crate::Socket::connect) at a quiet moment; emitted events wait in the meantime.
//!
//! A server that checks the **header** of the request to connect answers with status 401 or 403
//! ([`ConnectFailure::Status`](crate::ConnectFailure::Status)); [`headers_with`](crate::ClientBuilder::headers_with) shows a provider that looks at that.
//!
//! The example `token` is a whole program with a server whose tokens expire.
