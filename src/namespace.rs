//! The Namespace actor: one namespace, its subscribers, its acks.
//!
//! It wraps [`proto::socket`](crate::proto::socket): messages of the Connection and of the handles
//! go in, what comes out goes to the subscribers and, in one batch for each time the actor wakes,
//! to the Connection. Its mailbox has no bound of its own: what comes from the handles holds room
//! in the [`Outbox`], what comes from the Connection is held to its window. Only [`Emit`] takes its
//! room when it is handled; who sends it in a hurry has to wait for the outcome.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};
use bytestring::ByteString;
use futures::channel::oneshot;

use crate::{
    alarm::{self, Alarm},
    connection::{self, Connection, Load},
    error::{AckError, EmitError, ReadyError, Reason},
    message::{ConnectError, Disconnected, Emit, Event, GaveUp, Ready, Reconnecting, Responder},
    outbox::{Outbox, Permit},
    payload::Payload,
    port::{Port, Status},
    proto::{
        connection::Session,
        engine::{Protocol, later},
        packet::Packet,
        socket,
    },
    subscriber::{Ears, Fact, Subscriber},
};

/// Events that come before anybody has subscribed are kept, up to this many.
const MAX_UNHEARD: usize = 1_024;
/// The same in bytes.
const MAX_UNHEARD_BYTES: usize = 1 << 20;

pub(crate) type AckSender = oneshot::Sender<Result<Payload, AckError>>;
type ReadySender = oneshot::Sender<Result<Ready, ReadyError>>;

/// What a namespace is made of.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) namespace: ByteString,
    pub(crate) auth: Option<socket::Auth>,
    pub(crate) join_timeout: Duration,
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Namespace {
    core: socket::Socket<AckSender>,
    port: Arc<Port>,
    connection: Addr<Connection>,
    subscribers: Vec<Subscriber>,
    /// What the last [`socket::Event::Ready`] said, while it holds.
    ready: Option<Ready>,
    protocol: Option<Protocol>,
    waiting: Vec<(Instant, ReadySender)>,
    unheard: Unheard,
    /// The last mark of a handle whose message has come.
    marks: u64,
    /// Why there is no connection, while it is tried again.
    failure: Option<Reason>,
    /// The Connection believes that this namespace is joined or to be joined.
    is_wanted: bool,
    /// Told to leave as soon as all is sent.
    finishing: bool,
    /// Packets handled since the Connection was last told.
    taken: Load,
    reported: Load,
}

/// Events that came when nobody had subscribed. The first subscriber gets them, so that it does
/// not have to be there before the connection is.
#[derive(Debug)]
enum Unheard {
    Kept {
        events: VecDeque<Event>,
        bytes: usize,
        /// How many of them came before the last [`Ready`].
        before_ready: usize,
    },
    /// Somebody has subscribed, or there were too many.
    Over,
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
    ) -> Port {
        let outbox = Outbox::new(settings.max_items, settings.max_bytes);
        let status = Arc::new(Status::default());
        let namespace = settings.namespace.clone();
        let (inner_outbox, inner_status) = (Arc::clone(&outbox), Arc::clone(&status));
        let inner_connection = connection.clone();
        let addr = Self::start_in_arbiter(arbiter, move |ctx| {
            let Settings { namespace, auth, join_timeout, .. } = settings;
            let port = Port {
                namespace: namespace.clone(),
                outbox: inner_outbox,
                status: inner_status,
                addr: ctx.address(),
            };
            Self {
                core: socket::Socket::new(namespace, auth, join_timeout),
                port: Arc::new(port),
                connection: inner_connection,
                subscribers: Vec::new(),
                ready: None,
                protocol: None,
                waiting: Vec::new(),
                unheard: Unheard::Kept { events: VecDeque::new(), bytes: 0, before_ready: 0 },
                marks: 0,
                failure: None,
                is_wanted: true,
                finishing: false,
                taken: Load::default(),
                reported: Load::default(),
            }
        });
        let port = Port { namespace, outbox, status, addr };
        port.join(connection);
        port
    }

    fn name(&self) -> &ByteString {
        &self.port.namespace
    }

    /// Passes on what the core has to tell.
    fn publish(&mut self) {
        self.port.update(self.core.visit(), self.core.ended(), self.marks);
        let wanted = self.core.ended().is_none();
        if self.is_wanted != wanted {
            self.is_wanted = wanted;
            let namespace = self.name().clone();
            self.connection.do_send(connection::Wanted { namespace, wanted });
        }
        while let Some(event) = self.core.poll_event() {
            match event {
                socket::Event::Received { id, name, payload } => self.received(id, name, payload),
                socket::Event::Answered(waiter, outcome) => {
                    // Nobody minds an answer that nobody waits for any more.
                    drop(waiter.send(outcome));
                }
                socket::Event::Ready { sid } => self.is_ready(sid),
                socket::Event::ConnectError(reason) => {
                    log::warn!("{}: not joined: {reason}", self.name());
                    self.refuse_waiting(&reason);
                    let namespace = self.name().clone();
                    self.tell(&Fact::ConnectError(ConnectError { namespace, reason }));
                }
                socket::Event::Disconnected(reason) => {
                    log::info!("{}: disconnected: {reason}", self.name());
                    self.ready = None;
                    if self.core.ended().is_some() {
                        self.refuse_waiting(&reason);
                    }
                    let namespace = self.name().clone();
                    self.tell(&Fact::Disconnected(Disconnected { namespace, reason }));
                }
            }
        }
    }

    fn is_ready(&mut self, sid: ByteString) {
        let Some(protocol) = self.protocol else { return };
        log::info!("{}: joined", self.name());
        self.failure = None;
        let ready = Ready { namespace: self.name().clone(), sid, protocol };
        for (_, waiter) in self.waiting.drain(..) {
            drop(waiter.send(Ok(ready.clone())));
        }
        if let Unheard::Kept { events, before_ready, .. } = &mut self.unheard {
            *before_ready = events.len();
        }
        self.ready = Some(ready.clone());
        self.tell(&Fact::Ready(ready));
    }

    fn refuse_waiting(&mut self, reason: &Reason) {
        for (_, waiter) in self.waiting.drain(..) {
            drop(waiter.send(Err(ReadyError::Ended(reason.clone()))));
        }
    }

    fn received(&mut self, id: Option<u64>, name: ByteString, payload: Payload) {
        // It may be over already, if the server left right after it.
        let visit = self.core.visits();
        let answer = id.map(|id| {
            let port = Arc::clone(&self.port);
            Arc::new(Responder { port, visit, id, used: AtomicBool::new(false) })
        });
        let event = Event { namespace: self.name().clone(), name, payload, answer };
        match &mut self.unheard {
            Unheard::Over => self.tell_event(event),
            Unheard::Kept { events, bytes, .. } => {
                *bytes = bytes.saturating_add(event.payload.size());
                events.push_back(event);
                if events.len() > MAX_UNHEARD || *bytes > MAX_UNHEARD_BYTES {
                    let lost = events.len();
                    self.unheard = Unheard::Over;
                    log::warn!("{}: nobody has subscribed; {lost} events discarded", self.name());
                }
            }
        }
    }

    /// To all subscribers, and the last one without a copy.
    fn tell_event(&mut self, event: Event) {
        let mut listening = self.subscribers.iter_mut().filter(|one| one.wants_events()).peekable();
        let mut event = Some(event);
        while let Some(subscriber) = listening.next() {
            let copy = if listening.peek().is_some() { event.clone() } else { event.take() };
            if let Some(event) = copy {
                subscriber.offer(Fact::Event(event));
            }
        }
    }

    fn tell(&mut self, fact: &Fact) {
        for subscriber in &mut self.subscribers {
            subscriber.offer(fact.clone());
        }
    }

    /// Hands the Connection what is to be sent.
    fn transmit(&mut self) {
        if let Some(epoch) = self.core.epoch() {
            let batch: Vec<_> = std::iter::from_fn(|| self.core.poll_transmit()).collect();
            if !batch.is_empty() {
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
        let waiting = self.waiting.iter().map(|&(deadline, _)| deadline).min();
        waiting.into_iter().chain(self.core.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now);
        let (due, waiting) = self.waiting.drain(..).partition(|&(deadline, _)| deadline <= now);
        self.waiting = waiting;
        for (_, waiter) in due {
            drop(waiter.send(Err(ReadyError::TimedOut { last: self.failure.clone() })));
        }
        self.publish();
    }

    /// Runs behind the messages each time the actor wakes.
    fn pump(&mut self, cx: &mut TaskContext<'_>, alarm: &mut Alarm) {
        while let Poll::Ready(now) = alarm.poll(cx, self.poll_timeout()) {
            self.handle_timeout(now);
        }
        if self.finishing && self.core.is_flushed() {
            self.finishing = false;
            self.leave(Reason::Shutdown);
            self.connection.do_send(connection::Finished { namespace: self.name().clone() });
        }
        self.transmit();
        for subscriber in &mut self.subscribers {
            subscriber.poll(cx, &self.port.namespace);
        }
        let name = &self.port.namespace;
        self.subscribers.retain(|subscriber| {
            if subscriber.is_gone() {
                log::debug!("{name}: a subscriber is gone");
            }
            !subscriber.is_gone()
        });
        self.report();
    }

    /// Tells the Connection how far this namespace is, for its window.
    fn report(&mut self) {
        let backlog = self.subscribers.iter().fold(Load::default(), |load, subscriber| {
            let (items, bytes) = subscriber.backlog();
            load.plus(Load { items, bytes })
        });
        if self.taken == Load::default() && backlog == self.reported {
            return;
        }
        self.reported = backlog;
        let taken = std::mem::take(&mut self.taken);
        let namespace = self.name().clone();
        self.connection.do_send(connection::Progress { namespace, taken, backlog });
    }
}

impl Actor for Namespace {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Pump::default());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let lost = self.core.buffered();
        if lost > 0 {
            log::warn!("{}: {lost} buffered events were never sent", self.name());
        }
    }
}

/// The one future of a Namespace.
#[derive(Debug, Default)]
struct Pump {
    alarm: Alarm,
}

impl ActorFuture<Namespace> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        namespace: &mut Namespace,
        _: &mut Context<Namespace>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        namespace.pump(cx, &mut self.alarm);
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
    Routed { epoch: u64, packets: Vec<Packet>, load: Load }
);
message!(
    /// The connection is gone, or did not come about.
    Lost { reason: Reason, again: bool }
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
    /// Discard what waits for stuck subscribers, or for `all` that are slow.
    Shed { all: bool }
);
message!(
    /// Send what can be sent, leave, and report.
    Finish {}
);
message!(
    /// It is over.
    End {}
);

impl Handler<Opened> for Namespace {
    type Result = ();

    fn handle(&mut self, Opened { session }: Opened, _: &mut Self::Context) {
        self.protocol = Some(session.protocol);
        self.core.handle_open(alarm::now(), session);
        self.publish();
    }
}

impl Handler<Routed> for Namespace {
    type Result = ();

    fn handle(&mut self, Routed { epoch, packets, load }: Routed, _: &mut Self::Context) {
        self.taken = self.taken.plus(load);
        for packet in packets {
            self.core.handle_packet(epoch, packet);
        }
        self.publish();
    }
}

impl Handler<Lost> for Namespace {
    type Result = ();

    fn handle(&mut self, Lost { reason, again }: Lost, _: &mut Self::Context) {
        self.core.handle_lost(reason, again);
        self.publish();
    }
}

impl Handler<Retrying> for Namespace {
    type Result = ();

    fn handle(&mut self, retrying: Retrying, _: &mut Self::Context) {
        let Retrying { attempt, delay, reason } = retrying;
        if self.core.ended().is_none() {
            self.failure = Some(reason.clone());
            let namespace = self.name().clone();
            self.tell(&Fact::Reconnecting(Reconnecting { namespace, attempt, delay, reason }));
        }
    }
}

impl Handler<GivenUp> for Namespace {
    type Result = ();

    fn handle(&mut self, GivenUp { attempts, reason }: GivenUp, _: &mut Self::Context) {
        let namespace = self.name().clone();
        self.tell(&Fact::GaveUp(GaveUp { namespace, attempts, reason }));
    }
}

impl Handler<Refused> for Namespace {
    type Result = ();

    fn handle(&mut self, Refused { reason }: Refused, _: &mut Self::Context) {
        self.core.handle_lost(reason, false);
        self.publish();
    }
}

impl Handler<Shed> for Namespace {
    type Result = ();

    fn handle(&mut self, Shed { all }: Shed, _: &mut Self::Context) {
        for subscriber in &mut self.subscribers {
            let missed = subscriber.shed(all);
            if missed > 0 {
                log::warn!(
                    "{}: a subscriber is too slow; {missed} events discarded",
                    self.port.namespace
                );
            }
        }
    }
}

impl Handler<Finish> for Namespace {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Self::Context) {
        self.port.mark(Some(&Reason::Shutdown));
        self.finishing = true;
    }
}

impl Handler<End> for Namespace {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        self.core.end(Reason::Shutdown);
        self.publish();
        ctx.stop();
    }
}

// From the handles.

message!(
    /// An event to be sent, perhaps with somebody who waits for an answer, for so long.
    Post { emit: Emit, permit: Permit, waiter: Option<(AckSender, Duration)> }
);
message!(
    /// An answer to the server.
    Answer { visit: u64, id: u64, payload: Payload, permit: Permit }
);
message!(
    /// Somebody wants to hear.
    Subscribe { ears: Ears }
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

impl Handler<Post> for Namespace {
    type Result = ();

    fn handle(&mut self, Post { emit, permit, waiter }: Post, _: &mut Self::Context) {
        let Emit { name, payload } = emit;
        let waiter = waiter.map(|(waiter, timeout)| (waiter, later(alarm::now(), timeout)));
        let waits = waiter.is_some();
        if let Err(reason) = self.core.emit(name, payload, Some(permit), waiter)
            && !waits
        {
            // The namespace ended while the event was on its way here.
            log::warn!("{}: an event was not sent: {reason}", self.name());
        }
        self.publish();
    }
}

impl Handler<Emit> for Namespace {
    type Result = Result<(), EmitError>;

    fn handle(&mut self, emit: Emit, _: &mut Self::Context) -> Self::Result {
        if let Some(reason) = self.port.ended() {
            return Err(EmitError::Closed(reason));
        }
        let Some(permit) = self.port.outbox.reserve(emit.payload.size()) else {
            return Err(EmitError::Full(emit));
        };
        let Emit { name, payload } = emit;
        let taken = self.core.emit(name, payload, Some(permit), None);
        taken.map_err(EmitError::Closed)
    }
}

impl Handler<Answer> for Namespace {
    type Result = ();

    fn handle(&mut self, answer: Answer, _: &mut Self::Context) {
        let Answer { visit, id, payload, permit } = answer;
        if !self.core.answer(visit, id, payload, Some(permit)) {
            log::debug!("{}: an answer came too late for its session", self.name());
        }
    }
}

impl Handler<Subscribe> for Namespace {
    type Result = ();

    fn handle(&mut self, Subscribe { ears }: Subscribe, _: &mut Self::Context) {
        // Where little happens, this is when the dead are noticed.
        self.subscribers.iter_mut().for_each(Subscriber::check);
        // What it gets now is what it has just subscribed to, and nothing twice.
        let (events, ready) = (ears.want_events(), ears.want_ready());
        let known = self.subscribers.iter().position(|one| one.can_adopt(&ears));
        let mut subscriber = match known {
            None => Subscriber::new(ears),
            Some(known) => {
                let mut subscriber = self.subscribers.remove(known);
                subscriber.adopt(ears);
                subscriber
            }
        };
        let (mut before, mut after) = (VecDeque::new(), VecDeque::new());
        if events && let Unheard::Kept { events, before_ready, .. } = &mut self.unheard {
            after = events.split_off((*before_ready).min(events.len()));
            before = std::mem::take(events);
            self.unheard = Unheard::Over;
        }
        for event in before {
            subscriber.offer(Fact::Event(event));
        }
        if let Some(fact) = self.ready.as_ref().filter(|_| ready) {
            subscriber.offer(Fact::Ready(fact.clone()));
        }
        for event in after {
            subscriber.offer(Fact::Event(event));
        }
        self.subscribers.push(subscriber);
    }
}

impl Handler<AwaitReady> for Namespace {
    type Result = ();

    fn handle(&mut self, AwaitReady { waiter, timeout }: AwaitReady, _: &mut Self::Context) {
        let outcome = match (&self.ready, self.core.ended()) {
            (Some(ready), _) => Ok(ready.clone()),
            (None, Some(reason)) => Err(ReadyError::Ended(reason.clone())),
            (None, None) => {
                return self.waiting.push((later(alarm::now(), timeout), waiter));
            }
        };
        drop(waiter.send(outcome));
    }
}

impl Handler<Rejoin> for Namespace {
    type Result = ();

    fn handle(&mut self, Rejoin { mark }: Rejoin, _: &mut Self::Context) {
        self.marks = self.marks.max(mark);
        let unconnected = self.core.join(alarm::now());
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
