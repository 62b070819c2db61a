//! The handle of one connection, and everything that can be set for it.

mod address;
pub(crate) mod socket;
pub(crate) mod subscription;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, Arbiter, ArbiterHandle};
use awc::http::Uri;
use bytestring::ByteString;
use serde::Serialize;
use serde_json::Value;

use crate::{
    actor::{
        connection::{Abandoned, BeginShutdown, Connection, SharedStatus},
        namespace::{AuthProvider, Namespace, Settings, Way},
        namespace_ref::NamespaceRef,
        waiters::Patience,
    },
    backpressure::{
        receive_window::{Load, ReceiveWindow},
        send_quota,
    },
    client::{
        address::{Address, before_query, namespace_name, shown_url},
        socket::{Defaults, Socket},
    },
    error::{BuildError, NamespaceError, Reason, StartError, brief},
    middleware::{List, Middleware},
    proto::{
        config::Config,
        emit::Offline,
        engine::Protocol,
        namespace::{self, Credentials},
        packet::{Limits, MAX_ATTACHMENTS, Parser},
        reconnect::{Range, Reconnect},
        ticket::SessionTicket,
    },
    runtime::{
        guard,
        provider::{Dial, Join, Provider},
    },
    stats::Stats,
    transport::{Headers, Pairs, PairsProvider, Query, Target},
};

/// A connection to a Socket.IO server, and all namespaces on it.
///
/// Cheap to clone, and usable from any thread. The connection lives until
/// [`shutdown`](Self::shutdown), or until the last handle is dropped: every `Client` and every
/// [`Socket`]. Then what was emitted is still sent, within five seconds.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    lifeline: Arc<Lifeline>,
    default: Socket,
}

struct Inner {
    connection: Addr<Connection>,
    arbiter: ArbiterHandle,
    knowledge: Arc<SharedStatus>,
    settings: Settings,
    /// `http://host:port/path/`
    url: String,
    defaults: Defaults,
    ports: Mutex<Ports>,
}

struct Ports {
    by_name: HashMap<ByteString, Arc<NamespaceRef>>,
    /// For namespaces that are not joined yet.
    tickets: HashMap<String, SessionTicket>,
    closed: bool,
}

/// Shared by all handles; when it goes, the connection goes.
#[derive(Debug)]
pub(crate) struct Lifeline {
    connection: Addr<Connection>,
    ids: Option<MessageIds>,
}

impl Lifeline {
    /// The argument that tells a message from all others, if they are to have one.
    pub(crate) fn message_id(&self) -> Option<String> {
        self.ids.as_ref().map(MessageIds::next)
    }
}

/// Ids for messages, different for all clients.
#[derive(Debug)]
struct MessageIds {
    client: String,
    last: AtomicU64,
}

impl MessageIds {
    fn new() -> Self {
        Self { client: format!("{:016x}{:016x}", seed(), seed()), last: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        format!(r#"{{"messageId":"{}-{number}"}}"#, self.client)
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.connection.do_send(Abandoned {});
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("namespace", &self.default.namespace())
            .field("protocol", &self.protocol())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a client for the server at `url`: `http://host:port`.
    ///
    /// A path in the URL is the default namespace, just as it is written, as for the official client;
    /// it is not the path of the request, which is [`path`](ClientBuilder::path). A query in it is
    /// sent to the server. A host name may have letters beyond ASCII.
    ///
    /// What is wrong with a URL is told by [`start`](ClientBuilder::start). Nothing of it is guessed:
    /// it needs a scheme, and what a browser would mend (spaces, backslashes, an IPv4 address that is
    /// not four decimal numbers) is refused.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// The default namespace: the one in the URL, or `/`.
    pub fn socket(&self) -> &Socket {
        &self.default
    }

    /// A namespace on this connection, joined now if it was not joined before.
    ///
    /// The leading slash may be left out. The same name gives a handle to the same namespace. One
    /// that has ended (left, refused or lost) is not joined again by this:
    /// [`Socket::connect`] does that.
    ///
    /// # Errors
    ///
    /// The name cannot be one, or the client has been shut down.
    pub fn of(&self, namespace: &str) -> Result<Socket, NamespaceError> {
        let name = namespace_name(namespace)?;
        self.inner.socket(name, &self.lifeline)
    }

    /// What the server speaks, as soon as that is known. It is kept when the connection ends.
    pub fn protocol(&self) -> Option<Protocol> {
        self.inner.knowledge.protocol()
    }

    /// Ends the connection cleanly: sends what was emitted (and waits for a namespace that is still
    /// being joined, if something is to be sent there), waits for the answers that were asked for,
    /// leaves all namespaces, closes.
    ///
    /// What is not done when `deadline` has passed is left undone. From the call on, nothing can
    /// be emitted. It may be called from any handle, and more than once. What has come by then is
    /// still delivered to the subscribers, also to those that are slow; nobody waits for them.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let (report, _) = self.end(deadline, Way::Leave).await;
        report
    }

    /// Ends the client like [`shutdown`](Self::shutdown), but so that another one can go on with
    /// its sessions: the connection is closed without leaving the namespaces, and the server waits
    /// for it to come back.
    ///
    /// There is a ticket for each namespace whose session can be gone on with; see
    /// [`SessionTicket`]. What has come is not sent again to the next client: subscribers should
    /// have handled it before this process ends.
    pub async fn hand_over(&self, deadline: Duration) -> (ShutdownReport, Vec<SessionTicket>) {
        self.end(deadline, Way::HandOver).await
    }

    async fn end(&self, deadline: Duration, way: Way) -> (ShutdownReport, Vec<SessionTicket>) {
        let before = self.stats();
        for port in self.inner.close() {
            port.note_intent(Some(&Reason::Shutdown));
        }
        let (waiter, done) = guard::channel();
        self.inner.connection.do_send(BeginShutdown { deadline, way, waiter });
        // If the client has ended before, there is nothing left to do.
        let tickets = done.await.unwrap_or_default();
        (ShutdownReport::between(&before, &self.stats()), tickets)
    }

    /// Counters of what this client did, and how it is now. Cheap, and from any thread.
    pub fn stats(&self) -> Stats {
        let (waiting, discarded) = self.inner.outgoing();
        let settings = &self.inner.settings;
        settings.counters.snapshot(waiting, settings.window.waiting(), discarded)
    }
}

/// What became of what was emitted, from when the shutdown was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Events that were handed to the connection.
    pub sent: u64,
    /// Events that the server answered.
    pub acked: u64,
    /// Events that were sent, and asked for an answer that did not come: whether the server saw
    /// them is not known.
    pub unknown: u64,
    /// Events that were never sent.
    pub dropped: u64,
}

impl ShutdownReport {
    fn between(before: &Stats, after: &Stats) -> Self {
        Self {
            sent: after.events_out.saturating_sub(before.events_out),
            acked: after.acked.saturating_sub(before.acked),
            unknown: after.unknown.saturating_sub(before.unknown),
            dropped: after.discarded.saturating_sub(before.discarded),
        }
    }
}

impl Inner {
    fn ports(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self, name: ByteString, lifeline: &Arc<Lifeline>) -> Result<Socket, NamespaceError> {
        let mut ports = self.ports();
        if ports.closed {
            return Err(NamespaceError::Closed(Reason::Shutdown));
        }
        Ok(self.open(&mut ports, name, lifeline))
    }

    /// A namespace that there is already, or that is joined from now on.
    fn open(&self, ports: &mut Ports, name: ByteString, lifeline: &Arc<Lifeline>) -> Socket {
        let Ports { by_name, tickets, .. } = ports;
        let port = by_name.entry(name).or_insert_with_key(|name| {
            let settings = self.settings.of(name, tickets.remove(&**name).as_ref());
            Arc::new(Namespace::start_on(&self.arbiter, &self.connection, settings))
        });
        Socket::new(Arc::clone(port), Arc::clone(lifeline), self.defaults)
    }

    /// What waits to be sent, and how many events never were.
    fn outgoing(&self) -> (Load, u64) {
        let ports = self.ports();
        let quotas = ports.by_name.values().map(|port| &port.send_quota);
        quotas.fold((Load::default(), 0), |(load, discarded), send_quota| {
            let more = Load { items: send_quota.waiting(), bytes: send_quota.waiting_bytes() };
            (load.plus(more), discarded.saturating_add(send_quota.discarded()))
        })
    }

    /// From here on, there are no new namespaces. Gives those that there are.
    fn close(&self) -> Vec<Arc<NamespaceRef>> {
        let mut ports = self.ports();
        ports.closed = true;
        ports.by_name.values().cloned().collect()
    }
}

/// Everything that can be set for a [`Client`]. Checked in [`start`](Self::start).
///
/// What is set here is for the whole connection: [`auth`](Self::auth) too goes to every namespace
/// that is joined over it. Namespaces that must not see each other's credentials need clients of
/// their own.
///
/// No time is unlimited. One that is beyond what the clock can tell, such as [`Duration::MAX`],
/// counts as one day.
///
/// ```no_run
/// use std::time::Duration;
/// use actix_socketio::Client;
/// use serde_json::json;
///
/// # async fn example() -> Result<(), actix_socketio::StartError> {
/// let client = Client::builder("http://localhost:3000")
///     .path("/realtime/")
///     .auth(json!({ "token": "s3cret" }))
///     .header("x-tenant", "acme")
///     .query("version", "2")
///     .ack_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientBuilder {
    url: String,
    path: String,
    trailing_slash: bool,
    query: Pairs,
    query_with: Option<PairsProvider>,
    headers: Pairs,
    headers_with: Option<PairsProvider>,
    auth: Auth,
    protocol: Option<Protocol>,
    parser: Parser,
    reconnect: Reconnect,
    connect_timeout: Duration,
    join_timeout: Duration,
    ack_timeout: Duration,
    attachment_timeout: Duration,
    max_message_size: usize,
    max_attachments: usize,
    max_payload: Option<u64>,
    retries: u32,
    retry_window: usize,
    message_ids: bool,
    offline: Offline,
    outgoing: Load,
    pending_acks: usize,
    receive_window: Load,
    middleware: List,
    tickets: Vec<SessionTicket>,
}

#[derive(Clone)]
enum Auth {
    None,
    Fixed(Result<Value, String>),
    Provided(AuthProvider),
}

/// Shows nothing of it.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed",
            Self::Provided(_) => "Provided",
        })
    }
}

/// Shows no values of the query, the headers or `auth`: they may be secrets.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            path,
            trailing_slash,
            query,
            query_with,
            headers,
            headers_with,
            auth,
            protocol,
            parser,
            reconnect,
            connect_timeout,
            join_timeout,
            ack_timeout,
            attachment_timeout,
            max_message_size,
            max_attachments,
            max_payload,
            retries,
            retry_window,
            message_ids,
            offline,
            outgoing,
            pending_acks,
            receive_window,
            middleware,
            tickets,
        } = self;
        let keys = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(key, _)| key.clone()).collect()
        };
        f.debug_struct("ClientBuilder")
            .field("url", &shown_url(url))
            // It is not checked yet, and may have a query in it.
            .field("path", &before_query(path))
            .field("add_trailing_slash", trailing_slash)
            .field("query", &keys(query))
            .field("query_with", &query_with.is_some())
            .field("headers", &keys(headers))
            .field("headers_with", &headers_with.is_some())
            .field("auth", auth)
            .field("protocol", protocol)
            .field("parser", parser)
            .field("reconnect", reconnect)
            .field("connect_timeout", connect_timeout)
            .field("join_timeout", join_timeout)
            .field("ack_timeout", ack_timeout)
            .field("attachment_timeout", attachment_timeout)
            .field("max_message_size", max_message_size)
            .field("max_attachments", max_attachments)
            .field("max_payload", max_payload)
            .field("retries", retries)
            .field("retry_window", retry_window)
            .field("message_ids", message_ids)
            .field("offline", offline)
            .field("outgoing", outgoing)
            .field("pending_acks", pending_acks)
            .field("receive_window", receive_window)
            .field("middleware", &middleware.len())
            .field("tickets", tickets)
            .finish()
    }
}

impl ClientBuilder {
    fn new(url: String) -> Self {
        Self {
            url,
            path: "/socket.io/".to_owned(),
            trailing_slash: true,
            query: Vec::new(),
            query_with: None,
            headers: Vec::new(),
            headers_with: None,
            auth: Auth::None,
            protocol: None,
            parser: Parser::default(),
            reconnect: Reconnect::default(),
            connect_timeout: Duration::from_secs(20),
            join_timeout: Duration::from_secs(20),
            ack_timeout: Duration::from_secs(30),
            attachment_timeout: Duration::from_secs(30),
            max_message_size: 16 << 20,
            max_attachments: MAX_ATTACHMENTS,
            max_payload: None,
            retries: 0,
            retry_window: 1,
            message_ids: false,
            offline: Offline::Buffer,
            outgoing: Load { items: 10_000, bytes: 16 << 20 },
            pending_acks: 65_536,
            receive_window: Load { items: 4_096, bytes: 4 << 20 },
            middleware: List::default(),
            tickets: Vec::new(),
        }
    }

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
    /// ([`BuildError::Query`]).
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

    /// Asks `provider` before each dial for headers, for instance for a token that has to be fresh.
    /// They come in the place of those of the same name that [`header`](Self::header) has set. A
    /// second provider replaces the first.
    ///
    /// It is told which [attempt](Dial::attempt) this is, and why the last connection
    /// [ended](Dial::reason). It runs on the arbiter of the client, within the time for
    /// [connecting](Self::connect_timeout), and is dropped when nobody wants the connection any
    /// more. Looking for the protocol revision of the server may take a second dial, for which it
    /// is asked again.
    ///
    /// If it fails, or gives what is not allowed in a header or is the websocket's own, nothing is
    /// dialled. That is [`Reason::Provider`], and is tried again like any failure. **The text of its
    /// error is shown and logged.**
    ///
    /// ```no_run
    /// use actix_socketio::{Client, ConnectFailure, Dial, Reason};
    ///
    /// # struct Tokens;
    /// # impl Tokens { async fn get(anew: bool) -> Result<String, std::io::Error> { todo!() } }
    /// let client = Client::builder("http://localhost:3000").headers_with(|dial: Dial| async move {
    ///     let refused = matches!(
    ///         dial.reason(),
    ///         Some(Reason::Connect(ConnectFailure::Status(401 | 403)))
    ///     );
    ///     let token = Tokens::get(refused).await?;
    ///     Ok::<_, std::io::Error>(vec![("authorization".to_owned(), format!("Bearer {token}"))])
    /// });
    /// ```
    #[must_use]
    pub fn headers_with<P, F, E>(mut self, provider: P) -> Self
    where
        P: Fn(Dial) -> F + Send + Sync + 'static,
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
        P: Fn(Dial) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<(String, String)>, E>> + 'static,
        E: fmt::Display,
    {
        self.query_with = Some(Provider::new(provider, Ok));
        self
    }

    /// The credentials: an object, sent with the request to join each namespace of the client, for
    /// the server's `socket.handshake.auth`.
    ///
    /// A server 1.x or 2.x has no such thing. It gets the fields as a query behind the namespace
    /// (`socket.handshake.query`), but for `/`, which it joins by itself: use
    /// [`query`](Self::query) or [`header`](Self::header) there. A warning in the log says so.
    #[must_use]
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = Auth::Fixed(serde_json::to_value(auth).map_err(|error| error.to_string()));
        self
    }

    /// The credentials, asked for anew before each request to join a namespace: of a token that
    /// expires, or of namespaces that take different ones.
    ///
    /// The provider runs on the arbiter of the client and must not block it. It has
    /// [`join_timeout`](Self::join_timeout). If it fails, or gives what is not an object, that is
    /// [`Reason::Provider`], which is tried again like a lost connection. Its error is logged. One that
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
        P: Fn(Join) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        self.auth = Auth::Provided(Provider::new(provider, |auth| {
            let auth = serde_json::to_value(auth).map_err(|error| brief(&error))?;
            auth_json(Ok(auth)).map_err(|error| error.to_string())
        }));
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

    /// When, and how often, a connection is tried again that could not be made or was lost; see
    /// [`Reconnect`]. Default: for ever, with growing delays, the first connection included.
    ///
    /// A namespace that the server disconnected or refused is not joined again by itself, as for
    /// the official client, unless the [policy](Reconnect::retry) says so: [`Socket::connect`] does
    /// that.
    #[must_use]
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.reconnect = policy;
        self
    }

    /// How long connecting may take, up to the server's handshake; more than zero. Default: 20 seconds.
    ///
    /// Together with [`join_timeout`](Self::join_timeout) it is the time for [`Socket::ready`] and
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
    /// four seconds at least, have passed, or when [`Socket::connect`] is called.
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = timeout;
        self
    }

    /// How long [`Socket::emit_with_ack`] waits for the answer where the call sets no time.
    /// More than zero. Default: 30 seconds.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// How long the attachments of a packet may take to arrive behind it; more than zero. Default: 30
    /// seconds.
    #[must_use]
    pub fn attachment_timeout(mut self, timeout: Duration) -> Self {
        self.attachment_timeout = timeout;
        self
    }

    /// The largest message to take from the server, in bytes, and the largest packet with all its
    /// attachments. A larger one ends the connection, with [`Reason::TooLarge`]. At least 1. Default:
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

    /// What becomes of events that are emitted while their namespace is not joined. Default: they
    /// wait in the [buffer](Self::send_buffer).
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// Goes on with the session of another client, in the namespace of the ticket; see
    /// [`SessionTicket`]. Whether it worked is in [`Ready::recovered`](crate::Ready::recovered).
    #[must_use]
    pub fn resume(mut self, ticket: SessionTicket) -> Self {
        self.tickets.push(ticket);
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
    /// may wait to be sent. Beyond it, [`emit_with_ack`](Socket::emit_with_ack) fails with
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

    /// Adds a middleware, which all namespaces share: it sees events both ways and requests to join,
    /// and may change, drop or answer them; see [`middleware`](crate::middleware).
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(middleware);
        self
    }

    /// Starts the client on the current arbiter, and begins to connect and to join the default
    /// namespace.
    ///
    /// # Errors
    ///
    /// An option does not make sense, or there is no arbiter on this thread: see
    /// [how to get one](crate#where-it-runs).
    pub fn start(self) -> Result<Client, BuildError> {
        let arbiter = Arbiter::try_current().ok_or(BuildError::NoArbiter)?;
        self.start_in(&arbiter)
    }

    /// Starts the client on `arbiter`, from any thread.
    ///
    /// # Errors
    ///
    /// An option does not make sense.
    pub fn start_in(self, arbiter: &ArbiterHandle) -> Result<Client, BuildError> {
        let Parts { config, target, settings, defaults, ids, tickets } = self.build()?;
        let knowledge = Arc::new(SharedStatus::default());
        let known = Arc::clone(&knowledge);
        let url = target.base.clone();
        let (counters, window) = (Arc::clone(&settings.counters), Arc::clone(&settings.window));
        let connection = Connection::start_in_arbiter(arbiter, move |_| {
            Connection::new(config, seed(), target, window, known, counters)
        });
        let lifeline = Arc::new(Lifeline { connection: connection.clone(), ids });
        let namespace = settings.core.namespace.clone();
        let tickets = tickets.into_iter().map(|ticket| (ticket.namespace.clone(), ticket));
        let ports = Ports { by_name: HashMap::new(), tickets: tickets.collect(), closed: false };
        let inner = Arc::new(Inner {
            connection,
            arbiter: arbiter.clone(),
            knowledge,
            settings,
            url,
            defaults,
            ports: Mutex::new(ports),
        });
        let default = inner.open(&mut inner.ports(), namespace, &lifeline);
        Ok(Client { inner, lifeline, default })
    }

    /// [Starts](Self::start) the client, and waits until the default namespace is joined.
    ///
    /// # Errors
    ///
    /// It could not be started, or was not joined: the server refused, or there was no connection in
    /// the time for [connecting](Self::connect_timeout) and [joining](Self::join_timeout), or it makes
    /// no sense to wait for one, as [`Socket::ready`] has it. The client is given up then. For a server
    /// that is still to come, be [patient](Reconnect::patient).
    pub async fn connect(self) -> Result<Client, StartError> {
        let client = self.start()?;
        let socket = client.socket();
        socket.ready().await.map_err(|error| {
            let (server, namespace) = (client.inner.url.clone(), socket.namespace().to_owned());
            StartError::Ready { server, namespace, error }
        })?;
        Ok(client)
    }

    fn build(self) -> Result<Parts, BuildError> {
        self.check_ranges()?;
        let Address { origin, namespace, query } = Address::parse(&self.url)?;
        // What is wrong is not repeated: a query that got into the wrong place may have a token in it.
        let base = format!("{origin}{}", endpoint(&self.path, self.trailing_slash));
        if !self.path.starts_with('/') || self.path.contains(['?', '#']) || !is_uri(&base) {
            let expected = "a slash first, and then only what a URL's path can have";
            return Err(BuildError::Option { name: "path", expected });
        }
        let query = Query::new(query, self.query, self.query_with)?;
        if !is_uri(&format!("{base}?EIO=4&transport=websocket{}", query.text())) {
            return Err(BuildError::Url("it is too long with the query".to_owned()));
        }
        // Not less, or whoever waits hears that time is up, and not why.
        let ready = self.connect_timeout.saturating_add(self.join_timeout);
        let defaults = Defaults {
            ack_timeout: self.ack_timeout,
            ready_timeout: ready,
            retries: self.retries,
            offline: self.offline,
        };
        let patience = Patience {
            is_endless: self.reconnect.is_patient(),
            has_providers: self.headers_with.is_some() || query.has_provider(),
        };
        let (credentials, provider) = match self.auth {
            Auth::None => (Credentials::Fixed(None), None),
            Auth::Fixed(auth) => (Credentials::Fixed(Some(auth_json(auth)?)), None),
            Auth::Provided(provider) => (Credentials::Provided, Some(provider)),
        };
        let headers = Headers::new(self.headers, self.headers_with)?;
        let target = Target { base, query, headers, max_message: self.max_message_size };
        let link = target.authority();
        let config = Arc::new(Config {
            pin: self.protocol,
            parser: self.parser,
            limits: Limits { attachments: self.max_attachments, bytes: self.max_message_size },
            max_payload: self.max_payload,
            connect_timeout: self.connect_timeout,
            join_timeout: self.join_timeout,
            attachment_timeout: self.attachment_timeout,
            reconnect: self.reconnect,
            retry_window: self.retry_window,
        });
        Ok(Parts {
            config: Arc::clone(&config),
            target,
            settings: Settings {
                core: namespace::Setup {
                    config,
                    namespace,
                    credentials,
                    recovery: None,
                    seed: seed(),
                },
                provider,
                middleware: self.middleware,
                outgoing: send_quota::Limits {
                    items: self.outgoing.items,
                    bytes: self.outgoing.bytes,
                    acks: self.pending_acks,
                },
                offline: self.offline,
                patience,
                counters: Arc::default(),
                window: Arc::new(ReceiveWindow::new(self.receive_window)),
                link,
            },
            defaults,
            ids: self.message_ids.then(MessageIds::new),
            tickets: self.tickets,
        })
    }

    /// What each option takes. All fields are here, so that a new one is not forgotten.
    fn check_ranges(&self) -> Result<(), BuildError> {
        let Self {
            // They are looked at where they are read.
            url: _,
            path: _,
            query: _,
            headers: _,
            auth: _,
            // They take anything.
            trailing_slash: _,
            query_with: _,
            headers_with: _,
            protocol: _,
            parser: _,
            max_attachments: _,
            retries: _,
            message_ids: _,
            offline: _,
            middleware: _,
            tickets: _,
            reconnect,
            connect_timeout,
            join_timeout,
            ack_timeout,
            attachment_timeout,
            max_message_size,
            max_payload,
            retry_window,
            outgoing,
            pending_acks,
            receive_window,
        } = self;
        let lasts = |name, time: &Duration| Range {
            name,
            is_kept: !time.is_zero(),
            expected: "more than zero",
        };
        let counts =
            |name, count: usize| Range { name, is_kept: count > 0, expected: "at least 1" };
        let ranges = [
            lasts("connect_timeout", connect_timeout),
            lasts("join_timeout", join_timeout),
            lasts("ack_timeout", ack_timeout),
            lasts("attachment_timeout", attachment_timeout),
            counts("max_message_size", *max_message_size),
            Range { name: "max_payload", is_kept: *max_payload != Some(0), expected: "at least 1" },
            counts("retry_window", *retry_window),
            counts("send_buffer", outgoing.items.min(outgoing.bytes)),
            counts("pending_acks", *pending_acks),
            counts("receive_window", receive_window.items.min(receive_window.bytes)),
        ];
        let broken = ranges.into_iter().chain(reconnect.ranges()).find(|range| !range.is_kept);
        let error =
            broken.map(|Range { name, expected, .. }| BuildError::Option { name, expected });
        error.map_or(Ok(()), Err)
    }
}

/// Different for each client: std seeds its hashers at random.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(())
}

/// What a client is made of.
struct Parts {
    config: Arc<Config>,
    target: Target,
    settings: Settings,
    defaults: Defaults,
    ids: Option<MessageIds>,
    tickets: Vec<SessionTicket>,
}

/// Whether it can be requested. What is not ASCII would have to be percent-encoded.
fn is_uri(text: &str) -> bool {
    text.is_ascii() && text.parse::<Uri>().is_ok()
}

/// The path of the request, by the rule of the official client.
fn endpoint(path: &str, slash: bool) -> String {
    let bare = path.strip_suffix('/').unwrap_or(path);
    format!("{bare}{}", if slash || bare.is_empty() { "/" } else { "" })
}

fn auth_json(auth: Result<Value, String>) -> Result<namespace::Auth, BuildError> {
    match auth {
        Ok(auth @ Value::Object(_)) => Ok(namespace::Auth(auth.to_string().into())),
        Ok(_) => Err(BuildError::Auth("it must be an object, such as {\"token\": …}".to_owned())),
        Err(error) => Err(BuildError::Auth(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(url: &str) -> ClientBuilder {
        Client::builder(url)
    }

    fn refused(builder: ClientBuilder) -> BuildError {
        match builder.build() {
            Err(error) => error,
            Ok(_) => panic!("it is taken"),
        }
    }

    #[test]
    fn debug_of_a_builder_shows_no_secret_of_the_url() {
        for (url, shown) in [
            ("http://host:3000/shop", "http://host:3000/shop"),
            ("http://host/shop?token=s3cret", "http://host/shop"),
            ("http://host#s3cret", "http://host"),
            ("http://user:s3cret@host/shop", "http://host/shop"),
            ("http://user:s3cret@host/shop?token=s3cret#s3cret", "http://host/shop"),
            ("http://user:s3@cret@host", "http://host"),
            ("http://user:s3/cret@host", "http://host"),
            ("http://user:s3?cret@host", "http://…"),
            ("http://user:s3#cret@host/shop", "http://…"),
            ("http://user:s3@c?ret@host", "http://…"),
            ("http://host?token=a@s3cret", "http://…"),
            ("user:s3cret@host", "host"),
            ("host?next=http://s3cret", "host"),
            ("", ""),
        ] {
            let debug = format!("{:?}", builder(url));
            assert!(debug.contains(&format!("url: {shown:?},")), "{url}: {debug}");
            for part in ["s3", "cret"] {
                assert!(!debug.contains(part), "{url}: {debug}");
            }
        }
    }

    #[test]
    fn debug_of_a_builder_shows_no_secret_of_the_options() {
        let builder = builder("http://host")
            .path("/live/?token=s3cret")
            .query("key", "s3cret")
            .header("authorization", "s3cret")
            .headers_with(|_| async {
                Ok::<_, String>(vec![("a".to_owned(), "s3cret".to_owned())])
            })
            .auth(serde_json::json!({ "token": "s3cret" }));
        let debug = format!("{builder:?}");
        assert!(debug.contains("\"/live/\"") && !debug.contains("s3cret"), "{debug}");
        let debug = format!("{:?}", builder.path("/live/#s3cret"));
        assert!(debug.contains("\"/live/\"") && !debug.contains("s3cret"), "{debug}");
    }

    #[test]
    fn a_path_is_one_that_a_url_can_have() {
        for path in ["/", "/socket.io/", "/a/b", "/live%20data/", "/~x/!$&'()*+,;=:@", "//a//"] {
            assert!(builder("http://host:80").path(path).build().is_ok(), "{path}");
        }
        for path in [
            "",
            "socket.io/",
            "/s3cret?",
            "/s3cret#",
            "/s3cret s3cret/",
            "/s3cret\n",
            "/s3cret\0",
            "/s3cret<",
            "/s3cret\u{e9}",
        ] {
            let error = refused(builder("http://host").path(path));
            assert!(matches!(error, BuildError::Option { name: "path", .. }), "{path}: {error:?}");
            assert!(!format!("{error:?}{error}").contains("s3cret"), "{path}: {error}");
        }
        let long = builder("http://host").query("q", "s3cret".repeat(20_000));
        assert!(!refused(long).to_string().contains("s3cret"));
    }

    #[test]
    fn a_path_ends_in_a_slash_unless_it_is_not_to() {
        for (path, with, without) in [
            ("/socket.io/", "/socket.io/", "/socket.io"),
            ("/realtime/ws", "/realtime/ws/", "/realtime/ws"),
            ("/", "/", "/"),
            ("/a//", "/a//", "/a/"),
        ] {
            for (add, expected) in [(true, with), (false, without)] {
                let builder = builder("http://host").path(path).add_trailing_slash(add);
                let base = builder.build().map(|parts| parts.target.base).ok();
                assert_eq!(base, Some(format!("http://host{expected}")), "{path}");
            }
        }
    }

    #[test]
    fn a_url_that_is_refused_is_not_repeated() {
        for url in [
            "http://user:s3cret@host",
            "https://host/?token=s3cret",
            "s3cret",
            "http://host/s3cret,",
            "http://host/\ns3cret",
            "s3cret://host",
        ] {
            let error = refused(builder(url));
            assert!(!format!("{error:?}{error}").contains("s3cret"), "{url}: {error:?}");
        }
    }

    #[test]
    fn each_option_takes_what_its_documentation_says_and_no_more() {
        type Set = fn(ClientBuilder, usize) -> ClientBuilder;
        type SetTime = fn(ClientBuilder, Duration) -> ClientBuilder;
        let nanos = |count: usize| Duration::from_nanos(count.try_into().unwrap());
        let counts: [(&str, Set); 9] = [
            ("max_message_size", |builder, count| builder.max_message_size(count)),
            ("max_payload", |builder, count| builder.max_payload(count.try_into().unwrap())),
            ("retry_window", |builder, count| builder.retry_window(count)),
            ("send_buffer", |builder, count| builder.send_buffer(count, 1)),
            ("send_buffer", |builder, count| builder.send_buffer(1, count)),
            ("pending_acks", |builder, count| builder.pending_acks(count)),
            ("receive_window", |builder, count| builder.receive_window(count, 1)),
            ("receive_window", |builder, count| builder.receive_window(1, count)),
            ("receive_window", |builder, count| builder.receive_window(count, count)),
        ];
        for (name, set) in counts {
            let refused = BuildError::Option { name, expected: "at least 1" };
            assert_eq!(self::refused(set(builder("http://host"), 0)), refused);
            for count in [1, usize::MAX] {
                assert!(set(builder("http://host"), count).build().is_ok(), "{name}({count})");
            }
        }
        let times: [(&str, SetTime); 4] = [
            ("connect_timeout", ClientBuilder::connect_timeout),
            ("join_timeout", ClientBuilder::join_timeout),
            ("ack_timeout", ClientBuilder::ack_timeout),
            ("attachment_timeout", ClientBuilder::attachment_timeout),
        ];
        for (name, set) in times {
            let refused = BuildError::Option { name, expected: "more than zero" };
            assert_eq!(self::refused(set(builder("http://host"), Duration::ZERO)), refused);
            for time in [nanos(1), Duration::MAX] {
                assert!(set(builder("http://host"), time).build().is_ok(), "{name}({time:?})");
            }
        }
        let with = |policy: Reconnect| builder("http://host").reconnect(policy);
        let policy = Reconnect::default;
        for jitter in [-0.1, 1.1, 7.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = refused(with(policy().jitter(jitter)));
            assert!(
                matches!(error, BuildError::Option { name: "jitter", .. }),
                "{jitter}: {error}"
            );
        }
        let error = refused(with(policy().delay(nanos(2), nanos(1))));
        assert!(matches!(error, BuildError::Option { name: "delay", .. }), "{error}");
        for fine in [
            policy().jitter(0.0),
            policy().jitter(-0.0),
            policy().jitter(1.0),
            policy().delay(Duration::ZERO, Duration::ZERO),
            policy().delay(nanos(1), nanos(1)),
            policy().delay(Duration::ZERO, Duration::MAX),
            policy().attempts(0),
            policy().attempts(u32::MAX),
        ] {
            assert!(with(fine.clone()).build().is_ok(), "{fine:?}");
        }
        for fine in [
            builder("http://host").max_attachments(0),
            builder("http://host").max_attachments(usize::MAX),
            builder("http://host").retries(u32::MAX),
            builder("http://host").offline(Offline::BufferFor(Duration::ZERO)),
        ] {
            assert!(fine.build().is_ok());
        }
    }

    #[test]
    fn who_waits_for_a_namespace_waits_for_the_connection_too() {
        let ready =
            |builder: ClientBuilder| builder.build().map(|parts| parts.defaults.ready_timeout).ok();
        let seconds = Duration::from_secs;
        assert_eq!(ready(builder("http://host")), Some(seconds(40)));
        let set = builder("http://host").connect_timeout(seconds(1)).join_timeout(seconds(2));
        assert_eq!(ready(set.clone()), Some(seconds(3)));
        assert_eq!(ready(set.join_timeout(Duration::MAX)), Some(Duration::MAX));
    }
}
