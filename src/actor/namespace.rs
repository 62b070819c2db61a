//! The Namespace actor: one namespace, its subscribers, its acks.
//!
//! It wraps [`proto::namespace`](crate::proto::namespace): messages of the Connection and of the handles
//! go in, what comes out goes to the subscribers and, in one batch for each time the actor wakes,
//! to the Connection. Its mailbox has no bound of its own: what comes from the handles holds room
//! in the [`SendQuota`], what comes from the Connection is held to its window. Only [`Emit`] takes its
//! room when it is handled; who sends it in a hurry has to wait for the outcome.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};
use bytestring::ByteString;
use futures::{TryFutureExt, future::ready};

use crate::{
    actor::{
        connection::{self, Connection, ShutdownLatch},
        emit_queue::{EmitQueue, Submission},
        namespace_ref::{Admitted, Name, NamespaceRef, Status},
        subscribers::{
            NewSubscription, Subscribers, Told,
            early_events::EarlyEvents,
            interests::Notice,
            policy::{Overflow, SubscriptionId},
        },
        waiters::{Patience, ReadySender, Waiters},
    },
    backpressure::{
        receive_window::{Backlog, Load, ReceiveWindow},
        send_quota::{AckPermit, Limits, SendPermit, SendQuota},
    },
    error::{AckError, EmitError, ReadyError, Reason},
    message::{
        ConnectError, Disconnected, Emitted, Event, GaveUp, Ready, Reconnecting, Responder,
        ServerError,
    },
    middleware::{Chain, List},
    payload::Payload,
    proto::{
        connection::{Outgoing, Session},
        emit::{Emit, Offline},
        engine::{Protocol, later},
        namespace,
        packet::{Body, FOREIGN_ID, Packet},
        suspect::Suspect,
        ticket::SessionTicket,
    },
    runtime::{
        clock::{self, Timer},
        guard::Teller,
        provider::{Join, Provided, Provider},
    },
    stats::Counters,
};

/// Who waits for an answer, and the room for that.
#[derive(Debug)]
pub(crate) struct Asker {
    waiter: Waiter,
    _room: AckPermit,
}

#[derive(Debug)]
pub(crate) enum Waiter {
    Handle(Teller<Result<Payload, AckError>>),
    Other(Box<dyn Settle>),
}

/// Somebody else who waits, such as the server on the other side of a bridge.
pub(crate) trait Settle: fmt::Debug + Send {
    fn settle(self: Box<Self>, outcome: Result<Payload, AckError>);
}

impl Asker {
    pub(crate) fn new(waiter: Waiter, room: AckPermit) -> Self {
        Self { waiter, _room: room }
    }

    fn settle(self, outcome: Result<Payload, AckError>) {
        match self.waiter {
            Waiter::Handle(sender) => sender.tell(outcome),
            Waiter::Other(other) => other.settle(outcome),
        }
    }
}

/// Gives the credentials for a request to join.
pub(crate) type AuthProvider = Provider<Join, namespace::Auth>;

/// What a namespace is made of.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) core: namespace::Config,
    /// Where the credentials come from, if not from `core`.
    pub(crate) provider: Option<AuthProvider>,
    pub(crate) middleware: List,
    pub(crate) outgoing: Limits,
    pub(crate) max_attachments: usize,
    /// For events that come as messages.
    pub(crate) offline: Offline,
    pub(crate) patience: Patience,
    pub(crate) counters: Arc<Counters>,
    pub(crate) window: Arc<ReceiveWindow>,
    /// `host:port` of the connection.
    pub(crate) link: ByteString,
}

impl Settings {
    /// The same for another namespace, which may go on with a session.
    pub(crate) fn of(&self, namespace: &ByteString, ticket: Option<&SessionTicket>) -> Self {
        let recovery = ticket.map(SessionTicket::recovery);
        let core =
            namespace::Config { namespace: namespace.clone(), recovery, ..self.core.clone() };
        Self { core, ..self.clone() }
    }
}

/// How a namespace is ended by a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The server is told.
    Leave,
    /// The server is to believe that the connection is lost, and to wait for another one.
    HandOver,
}

#[derive(Debug)]
pub(crate) struct Namespace {
    core: namespace::Namespace<Asker>,
    port: Arc<NamespaceRef>,
    connection: Addr<Connection>,
    subscribers: Subscribers,
    /// What the last [`namespace::Event::Ready`] said, while it holds.
    ready: Option<Ready>,
    protocol: Option<Protocol>,
    waiters: Waiters,
    early_events: EarlyEvents,
    /// The last mark of a handle whose message has come.
    marks: u64,
    /// The subscribers were told that it was lost, and that it is tried again.
    comes_back: bool,
    /// Why it is not joined, if it was tried or was once.
    failure: Option<Reason>,
    /// The same, since the application last wanted it joined.
    obstacle: Option<Reason>,
    provider: Option<AuthProvider>,
    /// The credentials where there is no provider, and yet a middleware that sees them.
    fixed: Option<namespace::Auth>,
    asking: Option<Asking>,
    offline: Offline,
    counters: Arc<Counters>,
    /// The Connection believes that this namespace is joined or to be joined.
    is_wanted: bool,
    /// To end so as soon as all is sent and answered.
    finishing: Option<Way>,
    /// It has ended for good, and stops as soon as its subscribers have got everything.
    is_over: bool,
    /// Dropped when all that was asked of the actor has been handled, for who waits for that.
    done: Option<Arc<ShutdownLatch>>,
    window: Arc<ReceiveWindow>,
    /// What of it is here: the packets that came since this was last reported, and what waited for
    /// the subscribers then.
    held: Held,
}

/// The application is asked for the credentials.
struct Asking {
    /// Of the question.
    number: u64,
    join: Join,
    answer: Provided<Option<namespace::Auth>>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Namespace {
    /// Starts the actor in `arbiter`, from any thread, and has it joined.
    ///
    /// The Connection is told here and not by the actor: a shutdown that is asked for next must
    /// find the namespace, whether its actor has run by then or not.
    pub(crate) fn start_on(
        arbiter: &actix::ArbiterHandle,
        connection: &Addr<Connection>,
        settings: Settings,
    ) -> NamespaceRef {
        let send_quota = SendQuota::new(settings.outgoing);
        let status = Arc::new(Status::default());
        let (link, namespace) = (settings.link.clone(), settings.core.namespace.clone());
        let (name, parser) = (Name { link, namespace }, settings.core.parser);
        let max_attachments = settings.max_attachments;
        let list = settings.middleware.clone();
        let chain = Arc::new(Chain::new(list, name.clone(), Arc::clone(&settings.counters)));
        let posts = Arc::new(EmitQueue::default());
        let (inner_quota, inner_status) = (Arc::clone(&send_quota), Arc::clone(&status));
        let (inner_chain, inner_posts) = (Arc::clone(&chain), Arc::clone(&posts));
        let (inner_connection, inner_name) = (connection.clone(), name.clone());
        let addr = Self::start_in_arbiter(arbiter, move |ctx| {
            let Settings { core, provider, offline, patience, counters, window, .. } = settings;
            let port = NamespaceRef {
                name: inner_name,
                parser,
                max_attachments,
                send_quota: inner_quota,
                status: inner_status,
                chain: inner_chain,
                posts: inner_posts,
                addr: ctx.address(),
            };
            Self {
                core: namespace::Namespace::new(core),
                port: Arc::new(port),
                connection: inner_connection,
                subscribers: Subscribers::new(Overflow::default()),
                ready: None,
                protocol: None,
                waiters: Waiters::new(patience),
                early_events: EarlyEvents::default(),
                marks: 0,
                comes_back: false,
                failure: None,
                obstacle: None,
                provider,
                fixed: None,
                asking: None,
                offline,
                counters,
                is_wanted: true,
                finishing: None,
                is_over: false,
                done: None,
                held: Held::new(Arc::clone(&window)),
                window,
            }
        });
        let port =
            NamespaceRef { name, parser, max_attachments, send_quota, status, chain, posts, addr };
        port.join(connection);
        port
    }

    /// Its name in logs.
    fn label(&self) -> &Name {
        &self.port.name
    }

    fn name(&self) -> &ByteString {
        &self.port.name.namespace
    }

    /// Passes on what the core has to tell.
    fn publish(&mut self) {
        self.port.update(&self.core, self.marks);
        let wanted = self.core.ended().is_none();
        if self.is_wanted != wanted {
            self.is_wanted = wanted;
            if !wanted {
                // Behind the status: whoever is told looks at that.
                self.core.strand();
            }
            let namespace = self.name().clone();
            self.connection.do_send(connection::Wanted { namespace, wanted });
        }
        while let Some(event) = self.core.poll_event() {
            match event {
                namespace::Event::Received { id, payload } => self.received(id, payload),
                namespace::Event::Answered(waiter, outcome) => waiter.settle(outcome),
                namespace::Event::Ready { sid, recovered } => self.is_ready(sid, recovered),
                namespace::Event::ConnectError(reason) => {
                    if matches!(reason, Reason::ClientDisconnect | Reason::Shutdown) {
                        log::debug!("{}: left before it was joined", self.label());
                    } else {
                        log::warn!("{}: not joined: {reason}", self.label());
                    }
                    self.note_failure(&reason);
                    self.tell_not_joined(reason);
                }
                namespace::Event::Disconnected(reason) => {
                    log::info!("{}: disconnected: {reason}", self.label());
                    self.ready = None;
                    self.comes_back = self.core.ended().is_none();
                    self.note_failure(&reason);
                    let namespace = self.name().clone();
                    self.subscribers
                        .tell(&Notice::Disconnected(Disconnected { namespace, reason }));
                }
                namespace::Event::Retrying { attempt, delay, reason } => {
                    log::info!("{}: attempt {attempt} to join in {delay:?}", self.label());
                    self.tell_retrying(attempt, delay, reason);
                }
                namespace::Event::GaveUp { attempts, reason } => {
                    log::warn!("{}: gave up after {attempts} attempts: {reason}", self.label());
                    let namespace = self.name().clone();
                    self.subscribers.tell(&Notice::GaveUp(GaveUp { namespace, attempts, reason }));
                }
                namespace::Event::Rejoin => self.port.join(&self.connection),
                namespace::Event::AuthUnused => self.warn_of_auth(),
                namespace::Event::JoinedTwice { epoch } => {
                    log::warn!("{}: the server has joined it twice", self.label());
                    self.connection.do_send(connection::Replace { epoch });
                }
                namespace::Event::ServerError(error) => {
                    log::warn!("{}: the server reports an error: {error}", self.label());
                    self.counters.server_errors.add(1);
                    let namespace = self.name().clone();
                    self.subscribers.tell(&Notice::ServerError(ServerError { namespace, error }));
                }
                namespace::Event::Suspected(event) => {
                    let (name, event) = (self.label(), &event.event);
                    log::warn!(
                        "{name}: lost right behind the event {event:?}, which is large: the server may not take that much (maxHttpBufferSize)"
                    );
                }
                namespace::Event::Unsendable(event) => log::warn!("{}: {event}", self.label()),
                namespace::Event::TooLarge { size, limit } => {
                    let name = self.label();
                    log::warn!("{name}: {size} bytes were not sent: the server takes {limit}");
                }
            }
        }
    }

    /// Also when there is none, the core asks for credentials where a middleware may see them.
    fn warn_of_auth(&self) {
        if self.provider.is_some() || self.fixed.is_some() || self.port.chain.is_empty() {
            log::warn!(
                "{}: auth is not sent: servers 1.x and 2.x take none for /; use `query` or `header` (or `query_with`, `headers_with`)",
                self.label()
            );
        }
    }

    /// Who was told of the loss only is told how it ends.
    fn tell_not_joined(&mut self, reason: Reason) {
        let namespace = self.name().clone();
        let gone = Disconnected { namespace: namespace.clone(), reason: reason.clone() };
        let error = Notice::ConnectError(ConnectError { namespace, reason });
        if self.core.ended().is_some() && std::mem::take(&mut self.comes_back) {
            self.subscribers.tell_or(&error, &Notice::Disconnected(gone));
        } else {
            self.subscribers.tell(&error);
        }
    }

    fn tell_retrying(&mut self, attempt: u32, delay: Duration, reason: Reason) {
        self.failure = Some(reason.clone());
        self.obstacle = Some(reason.clone());
        self.waiters.note_failed(&reason);
        let namespace = self.name().clone();
        self.subscribers.tell(&Notice::Reconnecting(Reconnecting {
            namespace,
            attempt,
            delay,
            reason,
        }));
    }

    fn is_ready(&mut self, sid: ByteString, recovered: bool) {
        let Some(protocol) = self.protocol else { return };
        log::info!(
            "{}: joined{}",
            self.label(),
            if recovered { ", session recovered" } else { "" }
        );
        self.failure = None;
        self.obstacle = None;
        self.comes_back = false;
        let ready = Ready { namespace: self.name().clone(), sid, protocol, recovered };
        self.waiters.resolve(&Ok(ready.clone()));
        self.early_events.note_ready();
        self.ready = Some(ready.clone());
        self.subscribers.tell(&Notice::Ready(ready));
    }

    /// It is not joined. Who waits for it goes on waiting if it is tried again.
    fn note_failure(&mut self, reason: &Reason) {
        self.failure = Some(reason.clone());
        self.obstacle = Some(reason.clone());
        if self.core.ended().is_none() {
            return;
        }
        self.waiters.resolve(&Err(ReadyError::Ended(reason.clone())));
    }

    fn received(&mut self, id: Option<u64>, payload: Payload) {
        // It may be over already, if the server left right after it.
        let visit = self.core.visits();
        let answer = id.filter(|&id| id != FOREIGN_ID).map(|id| {
            let port = Arc::clone(&self.port);
            Arc::new(Responder { port, visit, id, used: AtomicBool::new(false) })
        });
        let event = Event { namespace: self.name().clone(), payload, answer };
        let chain = &self.port.chain;
        let passed = if chain.is_empty() { Some(event) } else { chain.incoming(event) };
        let Some(event) = passed else { return };
        let early_events = match self.subscribers.tell_event(
            event,
            self.early_events.is_kept(),
            &self.port.name,
        ) {
            Told::Overrun => return self.leave_overrun(),
            Told::Somebody => return,
            Told::Nobody(event) => event,
        };
        self.counters.missed.add(self.early_events.keep(early_events, &self.port.name));
    }

    /// Leaves because of a subscriber that wants it so, unless that has been done: what had been
    /// read before still comes.
    fn leave_overrun(&mut self) {
        if self.core.ended().is_none() {
            log::warn!("{}: left, since a subscriber is too slow", self.label());
            self.leave(Reason::SlowSubscriber);
        }
    }

    /// Tells of the events that are handed to the Connection.
    fn tell_emitted(&mut self, batch: &VecDeque<Outgoing>) {
        for outgoing in batch {
            if let Body::Event { id, payload } = &outgoing.packet.body {
                let (payload, wants_ack) = (payload.clone(), id.is_some());
                let namespace = self.name().clone();
                self.subscribers.tell(&Notice::Emitted(Emitted { namespace, payload, wants_ack }));
            }
        }
    }

    /// Hands the Connection what is to be sent.
    fn transmit(&mut self) {
        if let Some(epoch) = self.core.epoch() {
            let mut batch = self.core.take_transmit();
            batch.iter_mut().filter_map(|one| one.permit.as_mut()).for_each(SendPermit::hand);
            if !batch.is_empty() {
                if self.subscribers.hears_emitted() {
                    self.tell_emitted(&batch);
                }
                self.connection.do_send(connection::Transmit { epoch, batch });
            }
        }
        while let Some((epoch, packet)) = self.core.poll_farewell() {
            self.connection.do_send(connection::Leave { epoch, packet });
        }
    }

    /// Leaves the namespace, behind all that is to be sent before.
    fn leave(&mut self, reason: Reason) {
        self.transmit();
        self.core.leave(reason);
        self.transmit();
        self.publish();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.waiters.poll_timeout().into_iter().chain(self.core.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now);
        self.waiters.handle_timeout(now, self.failure.as_ref());
        self.publish();
    }

    /// What it takes to go on with this session.
    fn ticket(&self) -> Option<SessionTicket> {
        SessionTicket::new(self.name(), self.core.recovery()?)
    }

    /// Nothing will be sent any more.
    fn discard_rest(&mut self) {
        let ended = self.core.ended().cloned().unwrap_or(Reason::Shutdown);
        let lost = self.core.take_unsent(&EmitError::Closed(ended)).len();
        self.publish();
        self.counters.missed.add(self.early_events.discard());
        self.counters.add_namespace(self.core.tally());
        if lost > 0 {
            log::warn!("{}: {lost} buffered events were never sent", self.label());
        }
    }

    /// Asks the application for the credentials, if it is to give them.
    fn ask(&mut self, cx: &mut TaskContext<'_>) {
        while let Some(number) = self.core.wants_auth() {
            if self.asking.as_ref().is_none_or(|asking| asking.number != number) {
                let join = Join {
                    namespace: self.name().clone(),
                    attempt: self.core.attempts(),
                    reason: self.failure.clone(),
                };
                let answer: Provided<_> = match &self.provider {
                    Some(provider) => Box::pin(provider.ask(join.clone()).map_ok(Some)),
                    None => Box::pin(ready(Ok(self.fixed.clone()))),
                };
                self.asking = Some(Asking { number, join, answer });
            }
            let Some(Asking { join, answer, .. }) = &mut self.asking else { return };
            let Poll::Ready(auth) = answer.as_mut().poll(cx) else { return };
            let chain = &self.port.chain;
            let auth = auth.map_err(Reason::Provider).and_then(|auth| {
                if chain.is_empty() {
                    return Ok(auth);
                }
                chain.connect(join, auth.as_ref()).map_err(Reason::Middleware)
            });
            self.core.handle_auth(clock::now(), auth);
            self.publish();
        }
        self.asking = None;
    }

    fn finish(&mut self, way: Way) {
        match way {
            Way::Leave => self.leave(Reason::Shutdown),
            Way::HandOver => {
                self.transmit();
                self.core.end(Reason::Shutdown);
                self.publish();
            }
        }
        self.connection.do_send(connection::Finished { namespace: self.name().clone() });
    }

    /// Runs behind the messages each time the actor wakes.
    fn pump(&mut self, cx: &mut TaskContext<'_>, timer: &mut Timer) {
        // What the application gives, or does not, sets the next deadline: the timer comes last.
        self.ask(cx);
        while let Poll::Ready(now) = timer.poll(cx, self.poll_timeout()) {
            self.handle_timeout(now);
            self.ask(cx);
        }
        if let Some(way) = self.finishing.take_if(|_| self.core.is_done()) {
            self.finish(way);
        }
        self.transmit();
        self.counters.add_namespace(self.core.tally());
        self.subscribers.poll(cx, &self.port.name, &self.counters);
        self.report();
    }

    /// Reports how far this namespace is, for the window.
    fn report(&mut self) {
        let backlog = self.subscribers.backlog();
        if self.held.turn_into(backlog) {
            self.connection.do_send(connection::Room {});
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.port.posts.close();
        // There is room for others; and who is dead is to get no more.
        self.connection.do_send(connection::Room {});
    }
}

/// What a namespace, or a message for it, has in the window. It is given back on drop, so that
/// what is for the dead takes no room.
#[derive(Debug)]
pub(crate) struct Held {
    window: Arc<ReceiveWindow>,
    backlog: Backlog,
}

impl Held {
    /// Nothing yet.
    fn new(window: Arc<ReceiveWindow>) -> Self {
        Self { window, backlog: Backlog::default() }
    }

    /// What was added to the window.
    pub(crate) fn added(window: &Arc<ReceiveWindow>, load: Load) -> Self {
        let backlog = Backlog { holding: load, ..Backlog::default() };
        Self { window: Arc::clone(window), backlog }
    }

    fn take(&mut self, mut other: Self) {
        self.backlog = self.backlog.plus(std::mem::take(&mut other.backlog));
    }

    /// `true` if the Connection is to be told that there is room enough.
    fn turn_into(&mut self, now: Backlog) -> bool {
        let before = std::mem::replace(&mut self.backlog, now);
        before != now && self.window.replace(before, now)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.turn_into(Backlog::default());
    }
}

impl Actor for Namespace {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Pump::default());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.discard_rest();
    }
}

/// The one future of a Namespace.
#[derive(Debug, Default)]
struct Pump {
    timer: Timer,
}

impl ActorFuture<Namespace> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        namespace: &mut Namespace,
        ctx: &mut Context<Namespace>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        namespace.pump(cx, &mut self.timer);
        namespace.done = None;
        if namespace.is_over && !namespace.subscribers.is_behind() {
            ctx.stop();
        }
        Poll::Pending
    }
}

/// A message without a result.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Message)]
        #[rtype(result = "()")]
        pub(crate) struct $name {
            $(pub(crate) $field: $kind,)*
        }
    };
}
pub(crate) use message;

// From the Connection.

message!(
    /// There is a connection that takes requests to join.
    Opened { session: Session }
);
message!(
    /// Packets of this namespace.
    Routed { epoch: u64, packets: Vec<Packet>, held: Held }
);
message!(
    /// The connection is gone, or did not come about.
    Lost { reason: Reason, again: bool, suspect: Option<Suspect> }
);
message!(
    /// What the connection was given, and did not write.
    Unwritten { batch: Vec<Outgoing> }
);
message!(
    /// Another attempt to connect is to be made.
    Retrying { attempt: u32, delay: Duration, reason: Reason }
);
message!(
    /// No more attempts to connect are made.
    GivenUp { attempts: u32, reason: Reason }
);
message!(
    /// An old server refused `/`, and with it whoever waits.
    Refused { reason: Reason }
);
message!(
    /// Have stuck subscribers, or `all` that are slow, hold up the connection no more.
    Shed { all: bool, share: Load }
);
message!(
    /// Send what can be sent, wait for the answers, end, and report.
    Finish { way: Way }
);
message!(
    /// It is over.
    End { done: Arc<ShutdownLatch> }
);

impl Handler<Opened> for Namespace {
    type Result = ();

    fn handle(&mut self, Opened { session }: Opened, _: &mut Self::Context) {
        self.protocol = Some(session.protocol);
        if self.provider.is_none() && !self.port.chain.is_empty() {
            let fixed = self.core.ask_for_auth();
            self.fixed = fixed.or_else(|| self.fixed.take());
        }
        self.core.handle_open(clock::now(), session);
        self.publish();
    }
}

impl Handler<Routed> for Namespace {
    type Result = ();

    fn handle(&mut self, Routed { epoch, packets, held }: Routed, _: &mut Self::Context) {
        self.held.take(held);
        let now = clock::now();
        for packet in packets {
            self.core.handle_packet(now, epoch, packet);
        }
        self.publish();
    }
}

impl Handler<Lost> for Namespace {
    type Result = ();

    fn handle(&mut self, lost: Lost, _: &mut Self::Context) {
        let Lost { reason, again, suspect } = lost;
        if let Some(suspect) = suspect {
            self.core.handle_suspect(suspect);
        }
        self.core.handle_lost(clock::now(), reason, again);
        self.publish();
    }
}

impl Handler<Unwritten> for Namespace {
    type Result = ();

    fn handle(&mut self, Unwritten { batch }: Unwritten, _: &mut Self::Context) {
        self.core.take_back(batch);
    }
}

impl Handler<Retrying> for Namespace {
    type Result = ();

    fn handle(&mut self, retrying: Retrying, _: &mut Self::Context) {
        let Retrying { attempt, delay, reason } = retrying;
        if self.core.ended().is_none() {
            self.tell_retrying(attempt, delay, reason);
        }
    }
}

impl Handler<GivenUp> for Namespace {
    type Result = ();

    fn handle(&mut self, GivenUp { attempts, reason }: GivenUp, _: &mut Self::Context) {
        let namespace = self.name().clone();
        self.subscribers.tell(&Notice::GaveUp(GaveUp { namespace, attempts, reason }));
    }
}

impl Handler<Refused> for Namespace {
    type Result = ();

    fn handle(&mut self, Refused { reason }: Refused, _: &mut Self::Context) {
        self.core.handle_refused(clock::now(), reason);
        self.publish();
    }
}

impl Handler<Shed> for Namespace {
    type Result = ();

    fn handle(&mut self, Shed { all, share }: Shed, _: &mut Self::Context) {
        if self.subscribers.shed(all, share, self.window.room_beside(), &self.port.name) {
            self.leave_overrun();
        }
    }
}

impl Handler<Finish> for Namespace {
    type Result = ();

    fn handle(&mut self, Finish { way }: Finish, _: &mut Self::Context) {
        self.port.mark(Some(&Reason::Shutdown));
        self.finishing = Some(way);
    }
}

impl Handler<End> for Namespace {
    type Result = ();

    fn handle(&mut self, End { done }: End, _: &mut Self::Context) {
        self.core.end(Reason::Shutdown);
        self.publish();
        if let Some(ticket) = self.ticket() {
            done.hand_over(ticket);
        }
        self.is_over = true;
        // Whoever waits for the end looks at the counters next.
        self.discard_rest();
        self.done = Some(done);
    }
}

// From the handles.

message!(
    /// There is a batch of events to be sent.
    Submitted {}
);

/// Somebody waits for an answer, for so long; so often the event is sent again.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) waiter: Asker,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    /// By which the server recognises it then, in JSON.
    pub(crate) id: Option<String>,
}

message!(
    /// Give back what was not sent.
    TakeUnsent { waiter: Teller<Vec<Emit>> }
);
message!(
    /// Somebody wants to go on with this session elsewhere.
    GiveTicket { waiter: Teller<Option<SessionTicket>> }
);
message!(
    /// An answer to the server.
    Answer { visit: u64, id: u64, payload: Payload, permit: SendPermit }
);
message!(
    /// Somebody wants to hear.
    Subscribe { subscription: NewSubscription }
);
message!(
    /// Somebody wants to hear no more.
    Cancel { number: SubscriptionId }
);
message!(
    /// Somebody waits until the namespace is joined, for so long.
    AwaitReady { waiter: ReadySender, timeout: Duration }
);
message!(
    /// Join again, if that does not go on already.
    Rejoin { mark: u64 }
);
message!(
    /// Leave.
    Disconnect { mark: u64 }
);

impl Namespace {
    fn emit(
        &mut self,
        emit: Emit,
        permit: SendPermit,
        offline: Offline,
        question: Option<Box<Question>>,
    ) -> Result<(), EmitError> {
        let terms = emit.terms.as_deref();
        let lifetime = terms.and_then(|terms| terms.lifetime).or_else(|| offline.lifetime());
        let expires = lifetime.map(|lifetime| later(clock::now(), lifetime));
        let ask = question.map(|question| {
            let Question { waiter, timeout, retries, id } = *question;
            let since = clock::now();
            namespace::Ask { waiter, since, timeout, retries, id }
        });
        let permit = Some(permit);
        self.core.emit(namespace::Request { emit, permit, offline, expires, ask })
    }
}

impl Handler<Submitted> for Namespace {
    type Result = ();

    fn handle(&mut self, _: Submitted, _: &mut Self::Context) {
        let mut batch = self.port.posts.take();
        for Submission { emit, permit, offline, question } in batch.drain(..) {
            let waits = question.is_some();
            if let Err(error) = self.emit(emit, permit, offline, question)
                && !waits
            {
                // The namespace ended, or lost its connection, while the event was on its way here.
                log::debug!("{}: an event was not sent: {error}", self.label());
            }
        }
        self.port.posts.give_back(batch);
        self.publish();
    }
}

impl Handler<Emit> for Namespace {
    type Result = Result<(), EmitError>;

    fn handle(&mut self, emit: Emit, _: &mut Self::Context) -> Self::Result {
        let Admitted::Room(emit, permit) = self.port.take(emit, self.offline)? else {
            return Ok(());
        };
        let taken = self.emit(emit, permit, self.offline, None);
        self.publish();
        taken
    }
}

impl Handler<TakeUnsent> for Namespace {
    type Result = ();

    fn handle(&mut self, TakeUnsent { waiter }: TakeUnsent, _: &mut Self::Context) {
        waiter.tell(self.core.take_unsent(&EmitError::Discarded));
        self.publish();
    }
}

impl Handler<GiveTicket> for Namespace {
    type Result = ();

    fn handle(&mut self, GiveTicket { waiter }: GiveTicket, _: &mut Self::Context) {
        waiter.tell(self.ticket());
    }
}

impl Handler<Answer> for Namespace {
    type Result = ();

    fn handle(&mut self, answer: Answer, _: &mut Self::Context) {
        let Answer { visit, id, payload, permit } = answer;
        if !self.core.answer(visit, id, payload, Some(permit)) {
            log::debug!("{}: an answer came too late for its session", self.label());
        }
    }
}

impl Handler<Subscribe> for Namespace {
    type Result = ();

    fn handle(&mut self, Subscribe { subscription }: Subscribe, _: &mut Self::Context) {
        let (kept, ready) = (&mut self.early_events, self.ready.as_ref());
        self.subscribers.subscribe(subscription, kept, ready, &self.port.name);
    }
}

impl Handler<Cancel> for Namespace {
    type Result = ();

    fn handle(&mut self, Cancel { number }: Cancel, _: &mut Self::Context) {
        self.subscribers.cancel(number);
    }
}

impl Handler<AwaitReady> for Namespace {
    type Result = ();

    fn handle(&mut self, AwaitReady { waiter, timeout }: AwaitReady, _: &mut Self::Context) {
        let outcome = match (&self.ready, self.core.ended()) {
            (Some(ready), _) => Ok(ready.clone()),
            (None, Some(reason)) => Err(ReadyError::Ended(reason.clone())),
            (None, None) => {
                let deadline = later(clock::now(), timeout);
                return self.waiters.add(deadline, waiter, self.obstacle.as_ref());
            }
        };
        waiter.tell(outcome);
    }
}

impl Handler<Rejoin> for Namespace {
    type Result = ();

    fn handle(&mut self, Rejoin { mark }: Rejoin, _: &mut Self::Context) {
        self.marks = self.marks.max(mark);
        if self.core.ended().is_some() {
            self.obstacle = None;
        }
        let unconnected = self.core.join(clock::now());
        self.publish();
        if unconnected {
            self.port.join(&self.connection);
        }
    }
}

impl Handler<Disconnect> for Namespace {
    type Result = ();

    fn handle(&mut self, Disconnect { mark }: Disconnect, _: &mut Self::Context) {
        self.marks = self.marks.max(mark);
        self.leave(Reason::ClientDisconnect);
    }
}
