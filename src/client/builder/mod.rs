//! The options of a client.

mod options;
mod parts;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Addr, Arbiter, ArbiterHandle, dev::channel::channel};

#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::{
    actor::{
        connection::Connection,
        shutdown::{ShutdownInbox, ShutdownRequests},
        start,
        status::ConnectionStatus,
        subscribers::policy::Overflow,
    },
    backpressure::receive_window::Load,
    client::{
        Client, Inner, Namespaces,
        address::{before_query, shown_url},
        builder::parts::Parts,
        credentials::Auth,
        error::{BuildError, StartError},
        lifeline::{Lifeline, seed},
    },
    logs,
    middleware::List,
    proto::{
        emit::Offline,
        engine::Protocol,
        name_map::NameMap,
        packet::{MAX_ATTACHMENTS, Parser},
        reconnect::Reconnect,
        ticket::SessionTicket,
        transports::Transport,
    },
    runtime::clock,
    tap::Tap,
    transport::{Pairs, PairsProvider, Subprotocols, Tcp, Through},
};

/// The options of a [`Client`]. [`start`](Self::start) checks them.
///
/// They apply to the connection and to every namespace on it. A namespace with options of its own,
/// such as credentials that other namespaces must not see, is joined with [`Client::namespace`].
///
/// No time is unlimited. A time beyond the range of the clock, such as [`Duration::MAX`], counts as
/// one day.
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
    name: Option<String>,
    fallbacks: Vec<String>,
    path: String,
    trailing_slash: bool,
    query: Pairs,
    query_with: Option<PairsProvider>,
    headers: Pairs,
    headers_with: Option<PairsProvider>,
    subprotocols: Subprotocols,
    auth: Auth,
    through: Through,
    tcp: Tcp,
    #[cfg(feature = "rustls")]
    tls: Option<Tls>,
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
    transports: Vec<Transport>,
    remember_upgrade: bool,
    message_ids: bool,
    offline: Offline,
    overflow: Overflow,
    outgoing: Load,
    pending_acks: usize,
    receive_window: Load,
    middleware: List,
    tap: Option<Tap>,
    tickets: Vec<SessionTicket>,
}

/// Shows no values of the query, the headers or `auth`: they may be secrets.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            name,
            fallbacks,
            path,
            trailing_slash,
            query,
            query_with,
            headers,
            headers_with,
            subprotocols,
            auth,
            through,
            tcp,
            #[cfg(feature = "rustls")]
            tls,
            protocol,
            parser,
            transports,
            remember_upgrade,
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
            overflow,
            outgoing,
            pending_acks,
            receive_window,
            middleware,
            tap,
            tickets,
        } = self;
        let keys = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(key, _)| key.clone()).collect()
        };
        let mut shown = f.debug_struct("ClientBuilder");
        #[cfg(feature = "rustls")]
        shown.field("tls", tls);
        shown
            .field("url", &shown_url(url))
            .field("name", name)
            .field("fallbacks", &fallbacks.iter().map(|url| shown_url(url)).collect::<Vec<_>>())
            // It is not checked yet, and may have a query in it.
            .field("path", &before_query(path))
            .field("add_trailing_slash", trailing_slash)
            .field("query", &keys(query))
            .field("query_with", &query_with.is_some())
            .field("headers", &keys(headers))
            .field("headers_with", &headers_with.is_some())
            .field("subprotocols", subprotocols)
            .field("auth", auth)
            .field("through", through)
            .field("tcp", tcp)
            .field("protocol", protocol)
            .field("parser", parser)
            .field("transports", transports)
            .field("remember_upgrade", remember_upgrade)
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
            .field("overflow", overflow)
            .field("outgoing", outgoing)
            .field("pending_acks", pending_acks)
            .field("receive_window", receive_window)
            .field("middleware", &middleware.len())
            .field("tap", tap)
            .field("tickets", tickets)
            .finish()
    }
}

impl ClientBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            name: None,
            fallbacks: Vec::new(),
            path: "/socket.io/".to_owned(),
            trailing_slash: true,
            query: Vec::new(),
            query_with: None,
            headers: Vec::new(),
            headers_with: None,
            subprotocols: Subprotocols::default(),
            auth: Auth::None,
            through: Through::default(),
            tcp: Tcp::default(),
            #[cfg(feature = "rustls")]
            tls: None,
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
            transports: vec![Transport::WebSocket, Transport::Polling],
            remember_upgrade: true,
            message_ids: false,
            offline: Offline::Buffer,
            overflow: Overflow::Pause,
            outgoing: Load { items: 10_000, bytes: 16 << 20 },
            pending_acks: 65_536,
            receive_window: Load { items: 4_096, bytes: 4 << 20 },
            middleware: List::default(),
            tap: None,
            tickets: Vec::new(),
        }
    }
}

/// # Starting
impl ClientBuilder {
    /// Starts the client on the current arbiter. It begins to connect, and to join the default
    /// namespace.
    ///
    /// # Errors
    ///
    /// An option is invalid, or there is no arbiter on this thread: see [how to get
    /// one](crate#where-it-runs).
    pub fn start(self) -> Result<Client, BuildError> {
        let arbiter = Arbiter::try_current().ok_or(BuildError::NoArbiter)?;
        self.start_in(&arbiter)
    }

    /// Starts the client on `arbiter`, from any thread. If that has stopped, the client is over at once, as after
    /// [`shutdown`](Client::shutdown).
    ///
    /// # Errors
    ///
    /// An option is invalid.
    pub fn start_in(self, arbiter: &ArbiterHandle) -> Result<Client, BuildError> {
        let Parts { config, targets, settings, defaults, ids, tap, tickets } = self.build()?;
        logs::set_clock(clock::now);
        let status = Arc::new(ConnectionStatus::default());
        let known = Arc::clone(&status);
        let known_targets = targets.clone();
        let (counters, window) = (Arc::clone(&settings.counters), Arc::clone(&settings.window));
        let shutdown_requests = Arc::<ShutdownRequests>::default();
        let inbox = ShutdownInbox(Arc::clone(&shutdown_requests));
        let (sender, mailbox) = channel(0);
        let connection = Addr::new(sender);
        let begin = move || {
            let parser = config.parser;
            let connection =
                Connection::new(config, seed(), targets, window, known, counters, inbox);
            start(mailbox, connection.tapped(tap, parser));
        };
        let lifeline = Arc::new(Lifeline::new(connection, ids));
        let namespace = settings.core.namespace.clone();
        let tickets = tickets.into_iter().map(|ticket| (ticket.namespace.clone(), ticket));
        let namespaces =
            Namespaces { by_name: NameMap::default(), tickets: tickets.collect(), closed: false };
        let inner = Arc::new(Inner {
            shutdown_requests,
            arbiter: arbiter.clone(),
            status,
            settings,
            targets: known_targets,
            defaults,
            namespaces: Mutex::new(namespaces),
        });
        let settings = &inner.settings;
        let default =
            inner.start(&mut inner.namespaces(), namespace, settings, defaults, &lifeline, begin);
        Ok(Client { inner, lifeline, default })
    }

    /// [Starts](Self::start) the client, and waits until the default namespace is joined.
    ///
    /// # Errors
    ///
    /// The client could not be started; the server refused it; the time for
    /// [connecting](Self::connect_timeout) and [joining](Self::join_timeout) has passed; or waiting
    /// longer makes no sense (see [`Socket::ready`](crate::Socket::ready)). The client is then
    /// ended. To wait for a server that has not started yet, be [patient](Reconnect::patient).
    pub async fn connect(self) -> Result<Client, StartError> {
        let client = self.start()?;
        let socket = client.socket();
        socket.ready().await.map_err(|error| {
            let server = client.inner.targets.at(0).endpoint.url().clone();
            let namespace = socket.namespace().to_owned();
            StartError::Ready { server: server.into(), namespace, error }
        })?;
        Ok(client)
    }
}
