//! The options, by topic.

#[cfg(unix)]
use std::path::PathBuf;
use std::{fmt, net::IpAddr, time::Duration};

use serde::Serialize;

#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::{
    actor::subscribers::policy::Overflow,
    backpressure::receive_window::Load,
    client::{builder::ClientBuilder, credentials::Auth},
    middleware::Middleware,
    proto::{
        emit::Offline, engine::Protocol, packet::Parser, reconnect::Reconnect,
        ticket::SessionTicket, transports::Transport,
    },
    runtime::provider::{DialContext, JoinContext, Provider},
    tap::Tap,
    transport::{Dialer, IpFamily, Proxy, Subprotocols, Through, basic_credentials},
};

/// How many entries of a list are read. There are only two transports, and repeats have no effect.
const MAX_TRANSPORTS: usize = 16;

/// # The server
impl ClientBuilder {
    /// The name of the client, with which each of its [lines in the log](crate#logging) begins, such as
    /// `upstream-7`: 1 to 64 bytes without control characters. Default: the `host:port` of the URL.
    ///
    /// Set it where a process has several clients of one server. The name is not sent to the server.
    ///
    /// ```
    /// use actix_socketio::Client;
    ///
    /// // Logs lines such as `upstream-7/shop: joined`.
    /// let builder = Client::builder("http://localhost:3000").name("upstream-7");
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another server of the same service, such as a standby: `http://host:port`. It is dialled when there is
    /// no connection to those before it. Call it again for more, in order of preference: up to 15. Default:
    /// none.
    ///
    /// * **When a connection cannot be made**, the next server is dialled at once, and the client waits only
    ///   when all have failed. Each server has delays of its own, by the policy of
    ///   [`reconnect`](Self::reconnect); one that has failed is not dialled before its delay is over. The policy
    ///   is asked about each failure by itself: [`Retry::Stop`](crate::Retry::Stop) ends it for all servers.
    ///   [`attempts`](Reconnect::attempts) is for each of them, not counting the dials that come at once. For
    ///   [`ready`](crate::Socket::ready), an attempt has failed when the client has to wait again, however
    ///   many servers it has dialled since the last wait.
    /// * **When a connection is lost**, the client goes back to the same server first, after the delay: no
    ///   other server can [recover](crate::Ready::recovered) the session, unless all share an adapter with
    ///   recovery. Another server begins a new session. Events that wait, and those with retries, are sent
    ///   there. A server that takes connections and loses them before the longest delay has passed is treated
    ///   like one that cannot be reached.
    /// * **It does not leave a working connection** to return to a preferred server: that one is dialled
    ///   first only when the server in use has failed, or when the client connects anew after
    ///   [`disconnect`](crate::Socket::disconnect).
    ///
    /// [`Client::endpoint`](crate::Client::endpoint) is the server in use. If none can be reached, the failure is
    /// a [`ConnectFailure::Endpoints`](crate::ConnectFailure::Endpoints), which names each with its reason.
    ///
    /// All other options hold for all servers: the path, the query, headers (also a `Host` that is set) and
    /// credentials, TLS with the name of [`Tls::server_name`](crate::tls::Tls::server_name), if that is set.
    /// The `Host` header is that of each server otherwise. A [`Dialer`] gets the host and port
    /// of the server to dial; `NO_PROXY` is looked up for each.
    ///
    /// [`start`](Self::start) refuses ([`BuildError::Fallback`](crate::BuildError::Fallback)) a URL that cannot
    /// be used, that has a query, or another namespace or other TLS than the first (`http` beside `https`), and a
    /// server that is there twice. It also refuses fallbacks together with a `unix_socket`.
    ///
    /// ```
    /// use actix_socketio::Client;
    ///
    /// let builder = Client::builder("https://realtime.example/shop")
    ///     .fallback("https://standby.example")
    ///     .fallback("https://realtime.other-region.example:8443");
    /// ```
    #[must_use]
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.fallbacks.push(url.into());
        self
    }

    /// The path of the server's HTTP endpoint. Default: `/socket.io/`, like the server's. A slash
    /// is added at its end if there is none; see [`add_trailing_slash`](Self::add_trailing_slash).
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Whether the [path](Self::path) is requested with a slash at its end. Default: `true`, as
    /// servers expect. With `false`, a slash is removed, for a server that sets its own
    /// `addTrailingSlash` to `false`.
    #[must_use]
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.trailing_slash = add;
        self
    }

    /// Adds a parameter to the query of the request, for the server's `socket.handshake.query`. A
    /// name that is added twice is sent twice, in this order. It replaces parameters of the same
    /// name in the URL.
    ///
    /// `EIO`, `transport` and `sid` belong to the protocol and are refused
    /// ([`BuildError::Query`](crate::BuildError::Query)).
    #[must_use]
    pub fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Adds a header to the request, for the server's `socket.handshake.headers`. A name that is added twice
    /// is sent twice, except `Host` and `Origin`.
    ///
    /// [`start`](Self::start) refuses ([`BuildError::Header`](crate::BuildError::Header)) a header that HTTP does
    /// not allow, that belongs to the websocket handshake, a `Host` that is not `host` or `host:port`, and an
    /// `Origin` that is not one, such as `https://example.com/` with its slash.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds the header `Authorization: Bearer <token>`. For a token that has to be fetched anew, there is
    /// [`headers_with`](Self::headers_with).
    #[must_use]
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds the header `Authorization: Basic …` with this user and password, such as a proxy in front of the server may
    /// want. The user must have no colon: the other side takes the first one for the end of the name (RFC 7617).
    #[must_use]
    pub fn basic_auth(self, user: impl fmt::Display, password: impl fmt::Display) -> Self {
        let (user, password) = (user.to_string(), password.to_string());
        let credentials = basic_credentials(user.as_bytes(), password.as_bytes());
        self.header("authorization", format!("Basic {credentials}"))
    }

    /// The subprotocols of the websocket that are offered to the server (`Sec-WebSocket-Protocol`), in order of
    /// preference: up to 16. Socket.IO needs none, but a gateway on the way may choose by them, or take a
    /// token from there: they are not shown by `Debug`. Default: none. With polling, they are not sent.
    ///
    /// A server may choose one of them, or none: see [`Client::subprotocol`](crate::Client::subprotocol). If it names one that was not offered, the failure is a
    /// [`ConnectFailure::Handshake`](crate::ConnectFailure::Handshake). A name that is not a token of HTTP, or is
    /// there twice, is refused by [`start`](Self::start).
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = Subprotocols::new(names.into_iter().map(Into::into));
        self
    }

    /// Insists on a protocol revision. Default: find out which one the server speaks.
    ///
    /// Rarely needed. It saves the detection: with servers 3.0 to 4.4, about 150 milliseconds at
    /// the first connection, and with 3.1 to 4.4 a second connection. Some servers answer a
    /// client's ping although they speak Engine.IO 4 (netty-socketio 2.x in Java, think-swoole).
    /// The client takes these for old servers at first, for half of the
    /// [`join_timeout`](Self::join_timeout); for them, [`Protocol::Eio4`] saves 10 seconds.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The transports that may be used, in order of preference. Default: `[WebSocket, Polling]`, which costs
    /// nothing where websockets work.
    ///
    /// | transports | |
    /// |---|---|
    /// | `[WebSocket]` | a websocket, or no connection |
    /// | `[WebSocket, Polling]` | a websocket; HTTP long-polling where none can be opened, for instance because a proxy does not let it pass |
    /// | `[Polling, WebSocket]` | polling first, and from there an upgrade to a websocket, as the official client does |
    /// | `[Polling]` | polling alone |
    ///
    /// Polling is tried right after a websocket that was refused, closed or not answered. It is not tried
    /// where it would end in the same way: the server cannot be reached, its certificate is no good, or it
    /// lets nobody in (HTTP status 401, 403, 407, 429, 503, 504, or a redirect).
    ///
    /// With both, a connection that begins with polling becomes a websocket as soon as the server answers on
    /// one. Nothing is lost or reordered by that, and if it does not work, polling goes on. Once a websocket
    /// has worked, the next connection begins with one; see [`remember_upgrade`](Self::remember_upgrade).
    ///
    /// An empty list is refused by [`start`](Self::start).
    ///
    /// ```
    /// use actix_socketio::{Client, ClientBuilder, Transport};
    ///
    /// fn as_the_official_client(url: &str) -> ClientBuilder {
    ///     Client::builder(url).transports([Transport::Polling, Transport::WebSocket])
    /// }
    /// ```
    #[must_use]
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().take(MAX_TRANSPORTS).collect();
        self
    }

    /// Whether a connection begins with a websocket once an upgrade from polling to one has worked: that saves the
    /// requests before it. Default: `true`; for the official client it is `false`.
    ///
    /// It matters only where polling is the first of the [`transports`](Self::transports). If the websocket
    /// does not work any more, polling is tried right after it.
    #[must_use]
    pub fn remember_upgrade(mut self, remember: bool) -> Self {
        self.remember_upgrade = remember;
        self
    }

    /// The parser that the server is configured with. Default: [`Parser::Json`], like the server's.
    ///
    /// `Parser::Msgpack` exists only with the cargo feature `msgpack` of this crate, which is off by default:
    ///
    /// ```toml
    /// actix-socketio = { version = "0.1", features = ["msgpack"] }
    /// ```
    #[must_use]
    pub fn parser(mut self, parser: Parser) -> Self {
        self.parser = parser;
        self
    }
}

/// # TLS
#[cfg(feature = "rustls")]
impl ClientBuilder {
    /// The options of TLS, for a URL with `https` or `wss`: which authorities are trusted, a
    /// certificate of the client, and so on; see [`Tls`]. Default: [`Tls::new`], which trusts what
    /// the system trusts. They have no effect with `http` and `ws`.
    ///
    /// Needs the cargo feature `rustls`, which is on by default. Without it, a URL with `https` is
    /// refused.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

/// # The way to the server
///
/// Of `proxy`, `unix_socket` and `dialer`, the one that is set last counts. `ip_family` and
/// `local_address` are about TCP connections, to the server or to its proxy.
impl ClientBuilder {
    /// A proxy that all connections of the client pass: by HTTP with `CONNECT`, or by SOCKS 5; see
    /// [`Proxy`]. Default: none. The environment is looked at only with [`Proxy::from_env`].
    ///
    /// ```
    /// use actix_socketio::{Client, Proxy};
    ///
    /// let builder = Client::builder("https://realtime.example")
    ///     .proxy(Proxy::new("socks5://user:password@proxy.example:1080"));
    /// ```
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.through = Through::Proxy(proxy);
        self
    }

    /// The path of the unix domain socket on which the server listens. The URL of the client then only says
    /// what is sent (the `Host` header, the namespace) and whether there is TLS, and with whom. Default:
    /// none.
    ///
    /// [`start`](Self::start) refuses a path that no socket can have. If nothing listens there, the
    /// attempt fails with [`ConnectFailure::Unreachable`](crate::ConnectFailure::Unreachable), which names
    /// the path.
    ///
    /// ```
    /// use actix_socketio::Client;
    ///
    /// let builder = Client::builder("http://localhost/admin").unix_socket("/run/realtime.sock");
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.through = Through::Unix(path.into());
        self
    }

    /// Code of the application that opens the connections, in place of TCP: see [`Dialer`]. Default:
    /// none.
    #[must_use]
    pub fn dialer(mut self, dialer: impl Dialer) -> Self {
        self.through = Through::dialer(dialer);
        self
    }

    /// The local IP address that TCP connections come from, on a machine with several. Default: the
    /// system chooses. Only addresses of the server of the same family are used. An address that
    /// this machine does not have fails with each attempt, as
    /// [`ConnectFailure::Unreachable`](crate::ConnectFailure::Unreachable).
    #[must_use]
    pub fn local_address(mut self, address: impl Into<IpAddr>) -> Self {
        self.tcp.local = Some(address.into());
        self
    }

    /// Which addresses of a host are used. Default: [`IpFamily::Any`]: the families take turns,
    /// beginning with the one that the system prefers, and an address that has not answered within
    /// 250 milliseconds competes with the next one (RFC 8305). So a broken IPv6 does not delay the
    /// connection by more. Up to 16 addresses are tried.
    #[must_use]
    pub fn ip_family(mut self, family: IpFamily) -> Self {
        self.tcp.family = family;
        self
    }
}

/// # Credentials
impl ClientBuilder {
    /// The credentials: an object that is sent with the request to join each namespace of the
    /// client, for the server's `socket.handshake.auth`. A namespace can have its
    /// [own](crate::NamespaceBuilder::auth) or [none](crate::NamespaceBuilder::without_auth).
    ///
    /// Servers 1.x and 2.x have no `auth`. They get the fields as a query after the namespace
    /// (`socket.handshake.query`). They join `/` by themselves, without such a query: use
    /// [`query`](Self::query) or [`header`](Self::header) there. A warning in the log says so.
    #[must_use]
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = Auth::fixed(auth);
        self
    }

    /// A provider of credentials, asked before each request to join a namespace: for instance for a
    /// token that expires. A namespace can have a [provider](crate::NamespaceBuilder::auth_with) of
    /// its own.
    ///
    /// The provider runs on the arbiter of the client, and must not block it. It has to be done
    /// within [`join_timeout`](Self::join_timeout). If it fails, panics, or gives something other
    /// than an object, the reason is [`Reason::Provider`](crate::Reason::Provider), and the client
    /// tries again as after a lost connection. **The text of its error is shown and logged.**
    ///
    /// By default, the client does not ask a server again that has refused it. If the provider
    /// would give other credentials the next time, say so in the policy:
    ///
    /// ```
    /// use actix_socketio::{Client, Reason, Reconnect, Retry};
    /// use serde_json::json;
    ///
    /// # async fn fetch_token(fresh: bool) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let client = Client::builder("http://localhost:3000")
    ///     .auth_with(async |join| {
    ///         let refused = matches!(join.reason(), Some(Reason::Refused(_)));
    ///         let token = fetch_token(refused).await?;
    ///         Ok::<_, std::io::Error>(json!({ "token": token }))
    ///     })
    ///     .reconnect(Reconnect::default().retry(|reason| match reason {
    ///         Reason::Refused(_) => Retry::WithNewAuth,
    ///         other => Retry::default_for(other),
    ///     }));
    /// ```
    #[must_use]
    pub fn auth_with<P, F, T, E>(mut self, provider: P) -> Self
    where
        P: Fn(JoinContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        self.auth = Auth::provided(provider);
        self
    }

    /// A provider of headers, asked before each dial: for instance for a token that must be fresh.
    /// Its headers replace those of the same name set with [`header`](Self::header). A second
    /// provider replaces the first.
    ///
    /// The provider gets the [server](DialContext::endpoint), the number of the
    /// [attempt](DialContext::attempt) and the [reason](DialContext::reason) for which the last connection
    /// ended. It runs on the arbiter of
    /// the client, within the time for [connecting](Self::connect_timeout), and is dropped when the
    /// connection is not wanted any more. Detecting the server's protocol revision may take a
    /// second dial, for which the provider is asked again.
    ///
    /// If it fails, or gives a header that HTTP does not allow or that belongs to the websocket
    /// handshake, nothing is dialled. The reason is [`Reason::Provider`](crate::Reason::Provider),
    /// and the client tries again as after any failure. **The text of its error is shown and
    /// logged.**
    ///
    /// ```no_run
    /// use actix_socketio::{Client, ConnectFailure, DialContext, Reason};
    ///
    /// # struct Tokens;
    /// # impl Tokens { async fn get(anew: bool) -> Result<String, std::io::Error> { todo!() } }
    /// async fn headers(dial: DialContext) -> Result<Vec<(String, String)>, std::io::Error> {
    ///     let refused = matches!(
    ///         dial.reason(),
    ///         Some(Reason::Connect(ConnectFailure::Status { status: 401 | 403, .. }))
    ///     );
    ///     let token = Tokens::get(refused).await?;
    ///     Ok(vec![("authorization".to_owned(), format!("Bearer {token}"))])
    /// }
    ///
    /// let client = Client::builder("http://localhost:3000").headers_with(headers);
    /// ```
    #[must_use]
    pub fn headers_with<P, F, E>(mut self, provider: P) -> Self
    where
        P: Fn(DialContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<(String, String)>, E>> + 'static,
        E: fmt::Display,
    {
        self.headers_with = Some(Provider::new(provider, Ok));
        self
    }

    /// A provider of query parameters, asked before each dial. They replace those of the same name
    /// set with [`query`](Self::query) or in the URL. Everything else is as for
    /// [`headers_with`](Self::headers_with); both are asked at the same time.
    #[must_use]
    pub fn query_with<P, F, E>(mut self, provider: P) -> Self
    where
        P: Fn(DialContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<(String, String)>, E>> + 'static,
        E: fmt::Display,
    {
        self.query_with = Some(Provider::new(provider, Ok));
        self
    }
}

/// # Connecting and reconnecting
impl ClientBuilder {
    /// When and how often the client tries again if a connection cannot be made or is lost; see
    /// [`Reconnect`]. Default: for ever, with growing delays, the first connection included.
    ///
    /// As with the official client, a namespace that the server disconnected or refused is not
    /// joined again, unless the [policy](Reconnect::retry) says so or
    /// [`Socket::connect`](crate::Socket::connect) is called.
    #[must_use]
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.reconnect = policy;
        self
    }

    /// How long connecting may take, including the server's handshake; more than zero. Default: 20
    /// seconds.
    ///
    /// The sum of this and [`join_timeout`](Self::join_timeout) is the default time for
    /// [`Socket::ready`](crate::Socket::ready), and the time for [`connect`](Self::connect).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer the request to join a namespace, including its
    /// authentication. It counts from when there is a connection; see
    /// [`connect_timeout`](Self::connect_timeout). More than zero. Default: 20 seconds.
    ///
    /// A later answer is accepted, too. The client asks again after twice this time (at least four
    /// seconds), or when [`Socket::connect`](crate::Socket::connect) is called.
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = timeout;
        self
    }

    /// Continues the session of another client, in the namespace of the ticket; see
    /// [`SessionTicket`]. [`Ready::recovered`](crate::Ready::recovered) tells whether that worked.
    #[must_use]
    pub fn resume(mut self, ticket: SessionTicket) -> Self {
        self.tickets.push(ticket);
        self
    }
}

/// # Events
impl ClientBuilder {
    /// Adds a middleware to all namespaces. It sees events in both directions and requests to join,
    /// and may change, drop or answer them; see [`middleware`](crate::middleware). A namespace can
    /// have [further ones](crate::NamespaceBuilder::middleware).
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(middleware);
        self
    }

    /// Gives a record of each message of the connection, and of each change of its state, to a [`Tap`]: for debugging,
    /// for a file, for the report of an error. See [`tap`](crate::tap). A second tap replaces the first. Default: none.
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// What to do when events come too fast for a subscriber, unless its
    /// [handle](crate::Socket::with_overflow) says otherwise. Default: [`Overflow::Pause`].
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// What happens to events that are emitted while their namespace is not joined. Default: they
    /// wait in the [buffer](Self::send_buffer).
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// How long [`Socket::emit_with_ack`](crate::Socket::emit_with_ack) waits for an answer, unless
    /// the call sets a time. More than zero. Default: 30 seconds.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// How often an event that asks for an answer is sent again until the answer comes, unless the
    /// call sets a number; see [`AckRequest::retries`](crate::AckRequest::retries). Default: 0,
    /// which sends each event once.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many events with [retries](Self::retries) each namespace may have under way at a time.
    /// At least 1. Default: 1, like the official client. More is faster, and still keeps the order
    /// if the server drops repeats.
    #[must_use]
    pub fn retry_window(mut self, events: usize) -> Self {
        self.retry_window = events;
        self
    }

    /// Whether an event with [retries](Self::retries) gets a last argument such as
    /// `{"messageId":"8f3…-17"}`. It is the same each time the event is sent, and different for
    /// each event of all clients, so that a server can drop repeats; see the [page on
    /// delivery](crate::guide::delivery#at-least-once). Default: `false`.
    #[must_use]
    pub fn message_ids(mut self, wanted: bool) -> Self {
        self.message_ids = wanted;
        self
    }
}

/// # Limits
impl ClientBuilder {
    /// The buffer of each namespace: how many events, and how many bytes of events (with their
    /// [keys](crate::Emit::latest)), may wait to be sent. Events with [retries](Self::retries) hold room until they are answered. When the
    /// buffer is full, emits fail with [`EmitError::Full`](crate::EmitError::Full). An event that
    /// is larger than the whole buffer passes alone. Each is at least 1. Default: 10 000 events, 16
    /// MiB. The buffer never holds more than 16 777 215 events or 1 TiB. What counts are the bytes of
    /// an event as it is sent; in memory, it may take twice that and about 400 bytes more.
    ///
    /// Answers to the server have a buffer of their own, with the same number of bytes, and with
    /// the number of answers set by [`pending_acks`](Self::pending_acks).
    #[must_use]
    pub fn send_buffer(mut self, events: usize, bytes: usize) -> Self {
        self.outgoing = Load { items: events, bytes };
        self
    }

    /// How many events of each namespace may wait for an answer, and how many answers to the server
    /// may wait to be sent. Beyond that, [`emit_with_ack`](crate::Socket::emit_with_ack) fails with
    /// [`EmitError::Full`](crate::EmitError::Full), and [`Event::ack`](crate::Event::ack) with
    /// [`AnswerError::Full`](crate::AnswerError::Full). At least 1. Default: 65 536. At most 16 777
    /// 215 answers wait.
    #[must_use]
    pub fn pending_acks(mut self, events: usize) -> Self {
        self.pending_acks = events;
        self
    }

    /// How many packets, and how many bytes of packets, may wait for subscribers (in the namespace, and in
    /// mailboxes beyond their first 256 KiB) before the
    /// connection stops reading. It reads on when half of that is free. Each is at least 1.
    /// Default: 4096 packets, 4 MiB.
    ///
    /// While the connection does not read, the server's pings wait as well. Before that costs the
    /// connection, the client reads on: slow subscribers then miss newer events, but none of those
    /// that wait already; see [`Lagged`](crate::Lagged). So a burst that fits into the window
    /// arrives whole, however slow a subscriber is. Set the window to the events and bytes of the
    /// largest burst; they count once for each subscriber that is behind. Kept events wait beside
    /// the window, so at most twice the window is in memory, plus one message.
    #[must_use]
    pub fn receive_window(mut self, packets: usize, bytes: usize) -> Self {
        self.receive_window = Load { items: packets, bytes };
        self
    }

    /// The largest message to send, in bytes: the text of an event or an answer, or one attachment.
    /// Larger ones are refused with
    /// [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). At least 1. Default: the
    /// limit in the server's handshake, if it has one (official servers since 4.5).
    ///
    /// Set it for servers that announce no limit, and for those that announce another one than they
    /// apply: socketioxide announces 100 000 by default, which applies to long-polling only; larger
    /// messages pass over a websocket. The error tells the limit that applies, and the size of the message.
    #[must_use]
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// The largest message to accept from the server, in bytes, and the largest packet with all its
    /// attachments. A larger one ends the connection with
    /// [`Reason::TooLarge`](crate::Reason::TooLarge). At least 1. Default: 16 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The largest number of attachments of one packet, in both directions; 0 allows none. Default:
    /// 10, like the official parser: a server with default settings closes the connection over
    /// more. An event with more is refused with
    /// [`EmitError::TooManyAttachments`](crate::EmitError::TooManyAttachments). Packets to a server
    /// with [`Parser::Msgpack`](crate::Parser) may have any number.
    #[must_use]
    pub fn max_attachments(mut self, count: usize) -> Self {
        self.max_attachments = count;
        self
    }

    /// How long the attachments of a packet may take to arrive after it; more than zero. Default:
    /// 30 seconds.
    #[must_use]
    pub fn attachment_timeout(mut self, timeout: Duration) -> Self {
        self.attachment_timeout = timeout;
        self
    }
}
