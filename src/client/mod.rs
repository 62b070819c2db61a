//! The handles of the application: of a connection, of a namespace, of a subscription.

mod address;
pub(crate) mod builder;
mod credentials;
mod emitting;
pub(crate) mod error;
mod hearing;
mod lifeline;
pub(crate) mod listen;
pub(crate) mod namespace_builder;
pub(crate) mod request;
pub(crate) mod socket;
pub(crate) mod state;
pub(crate) mod subscription;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::ArbiterHandle;
use bytestring::ByteString;

use crate::{
    actor::{
        messages::FromClient,
        namespace::Namespace,
        namespace_ref::NamespaceRef,
        settings::Settings,
        shutdown::{Ending, ShutdownRequests},
        status::ConnectionStatus,
    },
    backpressure::receive_window::Load,
    client::{
        address::namespace_name,
        builder::ClientBuilder,
        error::{MAX_NAMESPACES, NamespaceError},
        lifeline::Lifeline,
        namespace_builder::NamespaceBuilder,
        socket::{Defaults, Socket},
    },
    proto::{
        deadline::deadline_after, engine::Protocol, name_map::NameMap, reason::Reason,
        ticket::SessionTicket, transports::Transport,
    },
    runtime::{clock, task},
    stats::Stats,
    transport::Targets,
};

/// A connection to a Socket.IO server, and all namespaces on it.
///
/// It is cheap to clone and may be used from any thread. The connection lives until
/// [`shutdown`](Self::shutdown), or until the last handle is dropped, `Client`s and [`Socket`]s
/// alike. In the latter case, emitted events are still sent, within five seconds, if the actix
/// system runs on that long. So call `shutdown` at the end of `main`.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    lifeline: Arc<Lifeline>,
    default: Socket,
}

struct Inner {
    shutdown_requests: Arc<ShutdownRequests>,
    arbiter: ArbiterHandle,
    status: Arc<ConnectionStatus>,
    settings: Settings,
    targets: Targets,
    defaults: Defaults,
    namespaces: Mutex<Namespaces>,
}

struct Namespaces {
    by_name: NameMap<Known>,
    /// Tickets for namespaces that have not been created yet.
    tickets: HashMap<String, SessionTicket>,
    closed: bool,
}

impl Namespaces {
    /// Checks that there is room for one more namespace.
    fn admit(&self) -> Result<(), NamespaceError> {
        if self.by_name.len() < MAX_NAMESPACES { Ok(()) } else { Err(NamespaceError::TooMany) }
    }
}

/// An existing namespace, and the defaults of its handles.
struct Known {
    namespace_ref: Arc<NamespaceRef>,
    defaults: Defaults,
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
    /// Begins the options of a client for the server at `url`: `http://host:port`.
    ///
    /// A path in the URL is the default namespace, as it is for the official client. (The path of
    /// the HTTP request is [`path`](ClientBuilder::path).) A query in the URL is sent to the
    /// server. A host name may have letters beyond ASCII.
    ///
    /// [`start`](ClientBuilder::start) reports a URL that cannot be used. Nothing is guessed: the
    /// URL needs a scheme, and what a browser would repair is refused (spaces, backslashes, an IPv4
    /// address that is not four decimal numbers).
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// The default namespace: the one in the URL, or `/`.
    pub fn socket(&self) -> &Socket {
        &self.default
    }

    /// A namespace on this connection, with the options of the [`ClientBuilder`]. It is joined now,
    /// unless it was joined before.
    ///
    /// The leading slash may be left out. The same name always gives a handle to the same
    /// namespace. A namespace that has ended (left, refused or lost) is not joined again by this;
    /// use [`Socket::connect`]. For a namespace with credentials, middleware or other options of
    /// its own, see [`namespace`](Self::namespace).
    ///
    /// # Errors
    ///
    /// The name is not allowed, the client has 4096 namespaces already, or it has been shut down.
    pub fn of(&self, namespace: &str) -> Result<Socket, NamespaceError> {
        let name = namespace_name(namespace)?;
        self.inner.of(name, &self.lifeline)
    }

    /// Begins a namespace on this connection with options of its own, such as credentials or
    /// middleware; [`join`](NamespaceBuilder::join) joins it.
    ///
    /// The leading slash may be left out.
    ///
    /// ```
    /// # fn example(client: &actix_socketio::Client) -> Result<(), actix_socketio::NamespaceError> {
    /// let token = serde_json::json!({ "token": "s3cret" });
    /// let admin = client.namespace("/admin").auth(token).join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn namespace(&self, namespace: impl Into<String>) -> NamespaceBuilder {
        NamespaceBuilder::new(self.clone(), namespace.into())
    }

    /// The name of the client in the log: the option [`name`](ClientBuilder::name), or the `host:port` of its URL.
    pub fn name(&self) -> &str {
        &self.inner.settings.core.config.name
    }

    /// The protocol revision of the server, as soon as it is known. It is kept when the connection
    /// ends.
    pub fn protocol(&self) -> Option<Protocol> {
        self.inner.status.protocol()
    }

    /// The transport of the connection, or of the last one if there is none. `None` before the first.
    pub fn transport(&self) -> Option<Transport> {
        self.inner.status.transport()
    }

    /// The subprotocol that the server has chosen for the websocket of the connection, or of the last one if
    /// there is none: one of those that were [offered](ClientBuilder::subprotocols). `None` if it has chosen
    /// none, and as long as the transport is polling.
    pub fn subprotocol(&self) -> Option<&str> {
        // They are the same for all servers.
        let target = self.inner.targets.at(0);
        target.subprotocols.at(self.inner.status.subprotocol()?)
    }

    /// The server of the connection, or of the last one if there is none, as `http://host:port/path/`: of the
    /// URL of the client, or of one of its [fallbacks](ClientBuilder::fallback). `None` before the first.
    pub fn endpoint(&self) -> Option<&str> {
        let place = self.inner.status.endpoint()?;
        Some(self.inner.targets.at(place).endpoint.url())
    }

    /// Ends the connection cleanly. It sends the emitted events (and waits for a namespace that is
    /// still being joined, if events wait for it), waits for the answers that were asked for,
    /// leaves all namespaces, and closes the connection.
    ///
    /// Whatever is not done when `deadline` has passed is left undone. From the call on, nothing
    /// can be emitted. It may be called from any handle, and more than once. Events that have
    /// arrived by then are still delivered to the subscribers, slow ones included, but the shutdown
    /// does not wait for that.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let (report, _) = self.end(deadline, Ending::Leave).await;
        report
    }

    /// Ends the client like [`shutdown`](Self::shutdown), but lets another client continue its
    /// sessions: it closes the connection without leaving the namespaces, so that the server waits
    /// for it to come back.
    ///
    /// It returns a ticket for each namespace whose session can be continued; see
    /// [`SessionTicket`]. Events that have arrived are not sent again to the next client:
    /// subscribers should have handled them before this process ends.
    pub async fn hand_over(&self, deadline: Duration) -> (ShutdownReport, Vec<SessionTicket>) {
        self.end(deadline, Ending::HandOver).await
    }

    async fn end(
        &self,
        deadline: Duration,
        ending: Ending,
    ) -> (ShutdownReport, Vec<SessionTicket>) {
        let before = self.stats();
        for namespace_ref in self.inner.close() {
            namespace_ref.note_intent(Some(&Reason::Shutdown));
        }
        let (waiter, done) = task::channel();
        let until = deadline_after(clock::now(), deadline);
        if self.inner.shutdown_requests.push(until, ending, waiter) {
            self.lifeline.connection.do_send(FromClient::Shutdown);
        }
        // If the client has ended before, there is nothing left to do.
        let tickets = done.await.unwrap_or_default();
        (ShutdownReport::between(&before, &self.stats()), tickets)
    }

    /// Counts what this client has done, and what waits. Cheap; may be called from any thread.
    pub fn stats(&self) -> Stats {
        let (waiting, discarded) = self.inner.outgoing();
        let settings = &self.inner.settings;
        settings.counters.snapshot(waiting, settings.window.waiting(), discarded)
    }
}

/// The outcome of emitted events, counted from the call to shut down. [`Stats`] explains the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Events that were handed to the connection.
    pub sent: u64,
    /// Events that the server answered.
    pub acked: u64,
    /// Events that were sent and asked for an answer that did not come: it is not known whether the
    /// server saw them.
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
    fn namespaces(&self) -> MutexGuard<'_, Namespaces> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle to the namespace. Begins to join it if it does not exist yet.
    fn of(&self, name: ByteString, lifeline: &Arc<Lifeline>) -> Result<Socket, NamespaceError> {
        let mut namespaces = self.open_namespaces()?;
        if let Some(Known { namespace_ref, defaults }) = namespaces.by_name.get(&name) {
            return Ok(Socket::new(Arc::clone(namespace_ref), Arc::clone(lifeline), *defaults));
        }
        namespaces.admit()?;
        Ok(self.start(&mut namespaces, name, &self.settings, self.defaults, lifeline, || {}))
    }

    /// A new namespace; an error if it exists already.
    fn join(
        &self,
        name: ByteString,
        settings: &Settings,
        defaults: Defaults,
        lifeline: &Arc<Lifeline>,
    ) -> Result<Socket, NamespaceError> {
        let mut namespaces = self.open_namespaces()?;
        if namespaces.by_name.get(&name).is_some() {
            return Err(NamespaceError::Exists(name.to_string()));
        }
        namespaces.admit()?;
        Ok(self.start(&mut namespaces, name, settings, defaults, lifeline, || {}))
    }

    /// The namespaces, or an error if the client has been shut down.
    fn open_namespaces(&self) -> Result<MutexGuard<'_, Namespaces>, NamespaceError> {
        let namespaces = self.namespaces();
        if namespaces.closed {
            Err(NamespaceError::Closed(Reason::Shutdown))
        } else {
            Ok(namespaces)
        }
    }

    /// Starts a namespace, on its arbiter after `first`.
    ///
    /// This function tells the Connection, not the actor: a shutdown that comes next must find the
    /// namespace, even if its actor has not run yet.
    fn start(
        &self,
        namespaces: &mut Namespaces,
        name: ByteString,
        settings: &Settings,
        defaults: Defaults,
        lifeline: &Arc<Lifeline>,
        first: impl FnOnce() + Send + 'static,
    ) -> Socket {
        let settings = settings.of(&name, namespaces.tickets.remove(&*name).as_ref());
        let (namespace_ref, start) =
            Namespace::prepare(lifeline.connection.clone().recipient(), settings);
        self.arbiter.spawn_fn(move || {
            first();
            start();
        });
        lifeline.connection.do_send(namespace_ref.join());
        namespaces
            .by_name
            .insert(name, Known { namespace_ref: Arc::clone(&namespace_ref), defaults });
        Socket::new(namespace_ref, Arc::clone(lifeline), defaults)
    }

    /// What waits to be sent, and how many events were discarded.
    fn outgoing(&self) -> (Load, u64) {
        let namespaces = self.namespaces();
        let quotas = namespaces.by_name.values().map(|known| &known.namespace_ref.send_quota);
        quotas.fold((Load::default(), 0), |(load, discarded), send_quota| {
            let more = Load { items: send_quota.waiting(), bytes: send_quota.waiting_bytes() };
            (load.plus(more), discarded.saturating_add(send_quota.discarded()))
        })
    }

    /// Refuses new namespaces from here on, and returns the existing ones.
    fn close(&self) -> Vec<Arc<NamespaceRef>> {
        let mut namespaces = self.namespaces();
        namespaces.closed = true;
        namespaces.by_name.values().map(|known| Arc::clone(&known.namespace_ref)).collect()
    }
}
