//! The options, by topic.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    actor::subscribers::policy::Overflow,
    backpressure::receive_window::Load,
    client::{builder::ClientBuilder, credentials::Auth},
    middleware::Middleware,
    proto::{
        emit::Offline, engine::Protocol, packet::Parser, reconnect::Reconnect,
        ticket::SessionTicket,
    },
    runtime::provider::{DialContext, JoinContext, Provider},
};

/// # The server
impl ClientBuilder {
    /// The path of the server's HTTP endpoint. Default: `/socket.io/`, like the server's. A slash is
    /// added at its end where there is none: see [`add_trailing_slash`](Self::add_trailing_slash).
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Whether the [path](Self::path) is requested with a slash at its end. Default: `true`, as
    /// servers want it. With `false` a slash is taken away, for a server that has its own
    /// `addTrailingSlash` set so.
    #[must_use]
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.trailing_slash = add;
        self
    }

    /// Adds a parameter to the query of the request, for the server's `socket.handshake.query`. One
    /// that is added twice is sent twice, in this order; it replaces one of the same name in the URL.
    ///
    /// `EIO`, `transport` and `sid` belong to the protocol and are refused
    /// ([`BuildError::Query`](crate::BuildError::Query)).
    #[must_use]
    pub fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Adds a header to the request, for the server's `socket.handshake.headers`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Insists on a protocol revision. Default: find out which one the server speaks.
    ///
    /// Rarely needed. It saves the detection: for servers 3.0 to 4.4 some 150 milliseconds at the
    /// first connection, and with 3.1 to 4.4 a second connection. Servers that
    /// answer a client's ping although they speak Engine.IO 4 (netty-socketio 2.x in Java,
    /// think-swoole) are taken for old ones first, for half of the
    /// [`join_timeout`](Self::join_timeout): with these, [`Protocol::Eio4`] saves 10 seconds.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The parser that the server is configured with. Default: [`Parser::Json`], like the server's.
    #[must_use]
    pub fn parser(mut self, parser: Parser) -> Self {
        self.parser = parser;
        self
    }
}

/// # Credentials
impl ClientBuilder {
    /// The credentials: an object, sent with the request to join each namespace of the client, for
    /// the server's `socket.handshake.auth`. A namespace can have
    /// [others](crate::NamespaceBuilder::auth), or [none](crate::NamespaceBuilder::without_auth).
    ///
    /// A server 1.x or 2.x has no such thing. It gets the fields as a query behind the namespace
    /// (`socket.handshake.query`), but for `/`, which it joins by itself: use
    /// [`query`](Self::query) or [`header`](Self::header) there. A warning in the log says so.
    #[must_use]
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = Auth::fixed(auth);
        self
    }

    /// The credentials, asked for anew before each request to join a namespace, such as a token that
    /// expires. A namespace can have a [provider](crate::NamespaceBuilder::auth_with) of its own.
    ///
    /// The provider runs on the arbiter of the client and must not block it. It has
    /// [`join_timeout`](Self::join_timeout). If it fails, or gives what is not an object, that is
    /// [`Reason::Provider`](crate::Reason::Provider), which is tried again like a lost connection. Its error is logged. One that
    /// panics has failed.
    ///
    /// A server that refuses a client is not asked again by default. Where the provider would give
    /// other credentials the next time, say so in the policy:
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

    /// Asks `provider` before each dial for headers, for instance for a token that has to be fresh.
    /// They come in the place of those of the same name that [`header`](Self::header) has set. A
    /// second provider replaces the first.
    ///
    /// It is told which [attempt](DialContext::attempt) this is, and why the last connection
    /// [ended](DialContext::reason). It runs on the arbiter of the client, within the time for
    /// [connecting](Self::connect_timeout), and is dropped when nobody wants the connection any
    /// more. Looking for the protocol revision of the server may take a second dial, for which it
    /// is asked again.
    ///
    /// If it fails, or gives what is not allowed in a header or is the websocket's own, nothing is
    /// dialled. That is [`Reason::Provider`](crate::Reason::Provider), and is tried again like any failure. **The text of its
    /// error is shown and logged.**
    ///
    /// ```no_run
    /// use actix_socketio::{Client, ConnectFailure, DialContext, Reason};
    ///
    /// # struct Tokens;
    /// # impl Tokens { async fn get(anew: bool) -> Result<String, std::io::Error> { todo!() } }
    /// async fn headers(dial: DialContext) -> Result<Vec<(String, String)>, std::io::Error> {
    ///     let refused = matches!(
    ///         dial.reason(),
    ///         Some(Reason::Connect(ConnectFailure::Status(401 | 403)))
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

    /// Asks `provider` before each dial for parameters of the query. They come in the place of those
    /// of the same name that [`query`](Self::query) or the URL has set; all else is as for
    /// [`headers_with`](Self::headers_with). Both are asked at the same time.
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
    /// When, and how often, a connection is tried again that could not be made or was lost; see
    /// [`Reconnect`]. Default: for ever, with growing delays, the first connection included.
    ///
    /// A namespace that the server disconnected or refused is not joined again by itself, as for
    /// the official client, unless the [policy](Reconnect::retry) says so: [`Socket::connect`](crate::Socket::connect) does
    /// that.
    #[must_use]
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.reconnect = policy;
        self
    }

    /// How long connecting may take, up to the server's handshake; more than zero. Default: 20 seconds.
    ///
    /// Together with [`join_timeout`](Self::join_timeout) it is the time for [`Socket::ready`](crate::Socket::ready) and
    /// [`connect`](Self::connect), where the call sets none.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer the request to join a namespace, which it may have to
    /// authenticate. It counts from when there is a connection; see
    /// [`connect_timeout`](Self::connect_timeout). More than zero. Default: 20 seconds.
    ///
    /// An answer that comes later is taken, too. The server is asked again when twice this time, and
    /// four seconds at least, have passed, or when [`Socket::connect`](crate::Socket::connect) is called.
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = timeout;
        self
    }

    /// Goes on with the session of another client, in the namespace of the ticket; see
    /// [`SessionTicket`]. Whether it worked is in [`Ready::recovered`](crate::Ready::recovered).
    #[must_use]
    pub fn resume(mut self, ticket: SessionTicket) -> Self {
        self.tickets.push(ticket);
        self
    }
}

/// # Events
impl ClientBuilder {
    /// Adds a middleware, which all namespaces share: it sees events both ways and requests to join,
    /// and may change, drop or answer them; see [`middleware`](crate::middleware). A namespace can have
    /// [more](crate::NamespaceBuilder::middleware).
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(middleware);
        self
    }

    /// What to do when events come too fast for a subscriber, where the
    /// [handle](crate::Socket::with_overflow) does not say. Default: [`Overflow::Pause`].
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// What becomes of events that are emitted while their namespace is not joined. Default: they
    /// wait in the [buffer](Self::send_buffer).
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// How long [`Socket::emit_with_ack`](crate::Socket::emit_with_ack) waits for the answer where the call sets no time.
    /// More than zero. Default: 30 seconds.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// How often an event that asks for an answer is sent again until it comes, where the call does
    /// not say; see [`AckRequest::retries`](crate::AckRequest::retries). Default: 0, each is sent
    /// once.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many events with [retries](Self::retries) may be under way at a time in each namespace.
    /// At least 1. Default: 1, as for the official client. More is faster, and keeps the order as well, if the
    /// server drops repeats.
    #[must_use]
    pub fn retry_window(mut self, events: usize) -> Self {
        self.retry_window = events;
        self
    }

    /// Whether an event with [retries](Self::retries) gets one more argument, behind all others:
    /// an object such as `{"messageId":"8f3…-17"}`, the same each time it is sent, and different
    /// for each event of all clients. By it a server can drop repeats; see the
    /// [page on delivery](crate::guide::delivery#at-least-once) for how. Default: no.
    #[must_use]
    pub fn message_ids(mut self, wanted: bool) -> Self {
        self.message_ids = wanted;
        self
    }
}

/// # Limits
impl ClientBuilder {
    /// How much may wait to be sent in each namespace: the number of events, and their bytes. Events
    /// with [retries](Self::retries) hold room until they are answered. When it is full, emits fail
    /// with [`EmitError::Full`](crate::EmitError::Full); an event larger than all of it passes alone.
    /// Each is at least 1. Default: 10 000 events, 16 MiB. There are never more than 16 777 215 events or 1 TiB in it.
    ///
    /// Answers to the server have room of their own: as many bytes, and as many answers as
    /// [`pending_acks`](Self::pending_acks) says.
    #[must_use]
    pub fn send_buffer(mut self, events: usize, bytes: usize) -> Self {
        self.outgoing = Load { items: events, bytes };
        self
    }

    /// How many events of each namespace may wait for an answer, and how many answers to the server
    /// may wait to be sent. Beyond it, [`emit_with_ack`](crate::Socket::emit_with_ack) fails with
    /// [`EmitError::Full`](crate::EmitError::Full), and [`Event::ack`](crate::Event::ack) with
    /// [`AnswerError::Full`](crate::AnswerError::Full). At least 1. Default: 65 536. No more than 16 777 215 answers
    /// wait.
    #[must_use]
    pub fn pending_acks(mut self, events: usize) -> Self {
        self.pending_acks = events;
        self
    }

    /// How much may wait for subscribers before the connection stops reading: the number of
    /// packets, and their bytes. It reads on when half of that is free. Each is at least 1. Default:
    /// 4096 packets, 4 MiB.
    ///
    /// While it does not read, the server's pings wait too. Where that would cost the connection, it is
    /// read on, and subscribers that are too slow miss what comes, but not what waits; see
    /// [`Lagged`](crate::Lagged). So a burst comes whole, however slow a subscriber is, if it fits
    /// into the window: set it to the events and the bytes of the largest burst, which count once for
    /// each subscriber that is behind. What is kept so waits beside the window: at most twice as much
    /// is in memory, and one message more.
    #[must_use]
    pub fn receive_window(mut self, packets: usize, bytes: usize) -> Self {
        self.receive_window = Load { items: packets, bytes };
        self
    }

    /// The largest message to send, in bytes: the text of an event or an answer, or an attachment.
    /// A larger one is refused, with
    /// [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). At least 1. Default: what the server
    /// says in its handshake, if it does (official servers since 4.5).
    ///
    /// Set it for servers that mean something else by that, such as socketioxide: there it is
    /// 100 000 and for long-polling only, unless it is set, and larger messages pass over a
    /// websocket. And set it for those that do not say.
    #[must_use]
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// The largest message to take from the server, in bytes, and the largest packet with all its
    /// attachments. A larger one ends the connection, with [`Reason::TooLarge`](crate::Reason::TooLarge). At least 1. Default:
    /// 16 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The largest number of attachments of one packet, both ways; 0 is none. Default: 10, as in the
    /// official parser: a server of default settings closes the connection over more, and an event of
    /// this client that has more is refused with
    /// [`EmitError::TooManyAttachments`](crate::EmitError::TooManyAttachments). What goes to a server
    /// with [`Parser::Msgpack`](crate::Parser) may have any number.
    #[must_use]
    pub fn max_attachments(mut self, count: usize) -> Self {
        self.max_attachments = count;
        self
    }

    /// How long the attachments of a packet may take to arrive behind it; more than zero. Default: 30
    /// seconds.
    #[must_use]
    pub fn attachment_timeout(mut self, timeout: Duration) -> Self {
        self.attachment_timeout = timeout;
        self
    }
}
