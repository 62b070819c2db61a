//! The Namespace actor: one namespace, its subscribers, its acks.
//!
//! It wraps [`proto::namespace`](crate::proto::namespace). Messages of the Connection and commands of the handles
//! go in. The core's output goes to the subscribers and, in one batch each time the actor wakes, to the
//! Connection.
//!
//! Its mailbox is [bounded](MAX_MESSAGES) for events that come as messages of the application; packets from
//! the Connection are bounded by the window. The commands of the handles wait in a bounded
//! [queue](crate::actor::command_queue), from which each turn takes [a few](commands): then everything else
//! on the arbiter gets its turn. The [`journal`] writes the lines of the log.

mod commands;
mod journal;

use std::{
    collections::VecDeque,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Recipient,
    dev::channel::channel,
};
use bytestring::ByteString;

use self::journal::Journal;
use crate::{
    actor::{
        command_queue::Command,
        credentials::Credentials,
        failure::Failure,
        held::Held,
        messages::{FromConnection, FromNamespace, take_back_batch, take_back_packets},
        namespace_ref::{Admitted, NamespaceRef},
        publisher::Publisher,
        question::Asker,
        responder::Responder,
        settings::Settings,
        shutdown::{Ending, ShutdownLatch, Stage},
        start,
        subscribers::policy::Overrun,
        waiters::{ReadyError, Waiters},
    },
    backpressure::{receive_window::Load, send_quota::SendPermit},
    message::{Event, Ready, answer::Respond},
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        engine::Protocol,
        error::EmitError,
        namespace,
        packet::{FOREIGN_ID, Packet},
        reason::Reason,
        room::give_back,
        session::Session,
        suspect::Suspect,
        ticket::SessionTicket,
    },
    runtime::{
        clock::{self, Timer},
        provider::JoinContext,
        task::poll_again,
    },
};

/// The messages in the mailbox beyond which `send` waits and `try_send` fails.
const MAX_MESSAGES: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Namespace {
    core: namespace::Namespace<Asker>,
    reference: Served,
    /// Commands of the handles that were taken from the queue.
    commands: VecDeque<Command>,
    connection: Recipient<FromNamespace>,
    publisher: Publisher,
    journal: Journal,
    protocol: Option<Protocol>,
    /// How long the server bears it that this client says nothing.
    max_silence: Option<Duration>,
    waiters: Waiters,
    /// The number of the last intent of a handle whose command has been reached.
    intent_seq: u64,
    failure: Failure,
    credentials: Credentials,
    offline: Offline,
    /// What the Connection was last told: whether this namespace is joined or will be.
    is_wanted: bool,
    stage: Stage,
    /// Its share of the window: the packets that came since the last report, and what waited for
    /// the subscribers then.
    held: Held,
}

impl Namespace {
    /// A new namespace: the reference to it, and the function that starts its actor, for the thread of its
    /// arbiter.
    pub(crate) fn prepare(
        connection: Recipient<FromNamespace>,
        settings: Settings,
    ) -> (Arc<NamespaceRef>, impl FnOnce() + Send + use<>) {
        let (sender, mailbox) = channel(MAX_MESSAGES);
        let reference = Arc::new(NamespaceRef::new(&settings, Addr::new(sender)));
        let served = Served(Arc::clone(&reference));
        let start = move || start(mailbox, Self::of(served, connection, settings));
        (reference, start)
    }

    fn of(reference: Served, connection: Recipient<FromNamespace>, settings: Settings) -> Self {
        let Settings { mut core, provider, offline, overflow, patience, .. } = settings;
        let Settings { counters, window, .. } = settings;
        // A middleware must see the credentials, so the core asks for them even if they are fixed.
        let fixed = if provider.is_none() && !reference.chain.is_empty() {
            core.credentials.take_fixed()
        } else {
            None
        };
        let publisher = Publisher::new(Arc::clone(&reference.name), counters, overflow);
        let journal = Journal::new(Arc::clone(&reference.name));
        Self {
            core: namespace::Namespace::new(core),
            reference,
            commands: VecDeque::new(),
            connection,
            publisher,
            journal,
            protocol: None,
            max_silence: None,
            waiters: Waiters::new(patience),
            intent_seq: 0,
            failure: Failure::default(),
            credentials: Credentials::new(provider, fixed),
            offline,
            is_wanted: true,
            stage: Stage::Open,
            held: Held::new(window),
        }
    }

    fn name(&self) -> &ByteString {
        &self.reference.name.namespace
    }

    /// Handles the events of the core.
    fn publish(&mut self) {
        self.reference.update(&self.core, self.intent_seq);
        let is_over = self.core.ended().is_some();
        let wanted = !is_over && !self.core.is_let_go();
        if self.is_wanted != wanted {
            self.is_wanted = wanted;
            if is_over {
                // This comes after the status is updated, since callers that are woken look at it.
                self.core.strand();
            }
            let namespace = self.name().clone();
            self.connection.do_send(FromNamespace::Wanted { namespace, wanted });
        }
        while let Some(event) = self.core.poll_event() {
            match event {
                namespace::Event::Received { id, payload, is_recoverable } => {
                    self.received(id, payload, is_recoverable);
                }
                namespace::Event::Answered(waiter, outcome) => waiter.settle(outcome),
                namespace::Event::Ready { sid, recovered } => self.is_ready(sid, recovered),
                namespace::Event::ConnectError(reason) => {
                    self.journal.not_joined(&reason, self.core.ended());
                    self.note_failure(&reason);
                    self.publisher.not_joined(reason, self.core.ended().is_some());
                }
                namespace::Event::Disconnected(reason) => {
                    self.journal.disconnected(&reason, self.core.ended());
                    self.note_failure(&reason);
                    self.publisher.disconnected(reason, self.core.ended().is_none());
                }
                namespace::Event::Retrying { attempt, delay, reason } => {
                    self.journal.retrying(attempt, delay);
                    self.tell_retrying(attempt, delay, reason);
                }
                namespace::Event::GaveUp { attempts, reason } => {
                    self.journal.gave_up(attempts, &reason);
                    self.publisher.gave_up(attempts, reason);
                }
                namespace::Event::Rejoin => self.ask_to_join(),
                namespace::Event::AuthUnused => {
                    // The core asks for credentials even if there are none, if there is a middleware.
                    if self.credentials.are_known() || self.reference.chain.is_empty() {
                        self.journal.auth_unused();
                    }
                }
                namespace::Event::JoinedTwice { epoch } => {
                    self.journal.joined_twice();
                    self.connection.do_send(FromNamespace::Replace { epoch });
                }
                namespace::Event::ServerError(error) => {
                    self.journal.server_error(&error);
                    self.publisher.server_error(error);
                }
                namespace::Event::Suspected(event) => self.journal.suspected(&event),
                namespace::Event::Unsendable(event) => self.journal.unsendable(&event),
                namespace::Event::TooLarge { size, limit } => self.journal.too_large(size, limit),
            }
        }
    }

    fn tell_retrying(&mut self, attempt: u32, delay: Duration, reason: Reason) {
        self.failure.note(&reason);
        self.waiters.note_failed(&reason);
        self.publisher.retrying(attempt, delay, reason);
    }

    fn is_ready(&mut self, sid: ByteString, recovered: bool) {
        let (Some(protocol), Some(max_silence)) = (self.protocol, self.max_silence) else { return };
        self.journal.joined(recovered);
        self.failure = Failure::default();
        let namespace = self.name().clone();
        let ready = Ready { namespace, sid, protocol, recovered, max_silence };
        self.waiters.resolve(&Ok(ready.clone()));
        self.publisher.joined(ready);
        // Many namespaces do nothing for a long time after this.
        self.rest();
    }

    /// Gives back the room of queues that are empty.
    fn rest(&mut self) {
        self.core.rest();
        give_back(&mut self.commands);
        self.reference.command_queue.rest();
    }

    /// The namespace is not joined. Callers keep waiting if the client tries again.
    fn note_failure(&mut self, reason: &Reason) {
        self.failure.note(reason);
        if self.core.ended().is_none() {
            return;
        }
        self.waiters.resolve(&Err(ReadyError::Ended(reason.clone())));
    }

    fn received(&mut self, id: Option<u64>, payload: Payload, is_recoverable: bool) {
        // The session may have ended already, if the server disconnected right after the event.
        let join_id = self.core.last_join_id();
        let responder =
            |id| -> Arc<dyn Respond> { Arc::new(Responder::new(&self.reference, join_id, id)) };
        let answer = id.filter(|&id| id != FOREIGN_ID).map(responder);
        let event = Event { namespace: self.name().clone(), payload, answer, is_recoverable };
        let chain = &self.reference.chain;
        let passed = if chain.is_empty() { Some(event) } else { chain.incoming(event) };
        let Some(event) = passed else { return };
        if let Some(overrun) = self.publisher.event(event) {
            self.overrun(overrun);
        }
    }

    /// Events come too fast for a subscriber.
    fn overrun(&mut self, overrun: Overrun) {
        match overrun {
            Overrun::Leave => self.leave_overrun(),
            Overrun::LetGo => self.let_go(),
        }
    }

    /// Closes the connection until the subscribers have caught up. The server keeps the session, which was
    /// not left.
    fn let_go(&mut self) {
        let Some(epoch) = self.core.let_go() else { return };
        self.journal.let_go();
        self.publish();
        // In this order, so that the Connection does not reconnect for this namespace.
        self.connection.do_send(FromNamespace::Replace { epoch });
    }

    /// Joins again if the subscribers have caught up for which the session was let go.
    fn try_wake(&mut self) {
        if self.core.is_let_go() && !self.publisher.hold_off() && self.core.wake() {
            self.publish();
            self.ask_to_join();
        }
    }

    /// Leaves because a subscriber is too slow and its policy says so, unless that was done: events that had
    /// been read before still come.
    fn leave_overrun(&mut self) {
        if self.core.ended().is_none() {
            self.journal.left();
            self.leave(Reason::SlowSubscriber);
        }
    }

    /// Hands the Connection the packets to be sent.
    fn transmit(&mut self) {
        if let Some(epoch) = self.core.epoch() {
            let mut batch = self.core.take_transmit();
            batch.iter_mut().filter_map(|one| one.permit.as_mut()).for_each(SendPermit::hand);
            if !batch.is_empty() {
                self.publisher.emitted(&batch);
                self.connection.do_send(FromNamespace::Transmit { epoch, batch });
            } else if batch.capacity() > 0 {
                take_back_batch(batch);
            }
        }
        while let Some((epoch, packet)) = self.core.poll_leave() {
            self.connection.do_send(FromNamespace::Leave { epoch, packet });
        }
    }

    /// Asks the Connection to join the namespace. A disconnect from before must come first: an old server
    /// joins `/` only once on each connection.
    fn ask_to_join(&mut self) {
        self.transmit();
        self.connection.do_send(self.reference.join());
    }

    /// Leaves the namespace, after everything that waits to be sent.
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
        self.waiters.handle_timeout(now, self.failure.last());
        self.publish();
    }

    /// A ticket to continue this session.
    fn ticket(&self) -> Option<SessionTicket> {
        SessionTicket::new(self.name(), self.core.recovery()?)
    }

    /// Discards what waits: nothing will be sent any more.
    fn discard_rest(&mut self) {
        let ended = self.core.ended().cloned().unwrap_or(Reason::Shutdown);
        let lost = self.core.take_unsent(&EmitError::Closed(ended.clone())).len();
        self.publish();
        self.publisher.discard_early_events();
        self.publisher.counters().add_namespace(self.core.tally());
        if lost > 0 {
            self.journal.discarded(lost, &ended);
        }
    }

    /// Asks the application for the credentials, if the core wants them.
    fn ask(&mut self, cx: &mut TaskContext<'_>) {
        while let Some(number) = self.core.wants_auth() {
            let join = || JoinContext {
                namespace: self.reference.name.namespace.clone(),
                attempt: self.core.attempts(),
                reason: self.failure.last().cloned(),
            };
            let chain = &self.reference.chain;
            let Poll::Ready(auth) = self.credentials.poll(number, join, chain, cx) else { return };
            self.core.handle_auth(clock::now(), auth);
            self.publish();
        }
        self.credentials.forget();
    }

    fn finish(&mut self, ending: Ending) {
        match ending {
            Ending::Leave => self.leave(Reason::Shutdown),
            Ending::HandOver => {
                self.transmit();
                self.core.end(Reason::Shutdown);
                self.publish();
            }
        }
        self.connection.do_send(FromNamespace::Finished { namespace: self.name().clone() });
    }

    /// Runs after the messages each time the actor wakes.
    fn pump(&mut self, cx: &mut TaskContext<'_>, timer: &mut Timer) {
        if self.obey() {
            poll_again(cx);
        }
        // The answer of the application, or its absence, sets the next deadline, so the timer comes last.
        self.ask(cx);
        while let Poll::Ready(now) = timer.poll(cx, self.poll_timeout()) {
            self.handle_timeout(now);
            self.ask(cx);
        }
        if let Stage::Finishing(ending) = self.stage
            && self.commands.is_empty()
            && self.core.is_done()
        {
            self.stage = Stage::Open;
            self.finish(ending);
        }
        self.transmit();
        self.publisher.counters().add_namespace(self.core.tally());
        self.publisher.poll(cx);
        self.try_wake();
        self.report();
    }

    /// Reports the share of this namespace in the window.
    fn report(&mut self) {
        let backlog = self.publisher.backlog();
        if self.held.turn_into(backlog) {
            self.connection.do_send(FromNamespace::Room);
        }
    }
}

/// The reference, as its actor has it, or will: when that is gone, or does not start since the arbiter has stopped,
/// nobody waits for it.
#[derive(Debug)]
struct Served(Arc<NamespaceRef>);

impl Deref for Served {
    type Target = Arc<NamespaceRef>;

    fn deref(&self) -> &Arc<NamespaceRef> {
        &self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.command_queue.close();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // There is room for others now; and this namespace, which has ended, must get no more.
        self.connection.do_send(FromNamespace::Room);
    }
}

impl Actor for Namespace {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
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
    /// The waker with which commands wake the actor.
    waker: Option<Waker>,
}

impl ActorFuture<Namespace> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        namespace: &mut Namespace,
        ctx: &mut Context<Namespace>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            namespace.reference.command_queue.set_waker(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        namespace.pump(cx, &mut self.timer);
        // All commands to the actor have been handled.
        if let Stage::Over(latch) = &mut namespace.stage {
            *latch = None;
            if !namespace.publisher.is_behind() {
                ctx.stop();
            }
        }
        Poll::Pending
    }
}

impl Handler<FromConnection> for Namespace {
    type Result = ();

    fn handle(&mut self, message: FromConnection, _: &mut Self::Context) {
        // A subscriber that came before something happens must be told of it.
        self.obey();
        match message {
            FromConnection::Opened { session } => self.open(session),
            FromConnection::Routed { epoch, packets, held } => {
                self.take_packets(epoch, packets, held);
            }
            FromConnection::Upgraded { transport } => {
                self.core.handle_upgraded();
                self.publisher.upgraded(transport);
            }
            FromConnection::Lost { reason, again, suspect } => self.lose(reason, again, suspect),
            FromConnection::Unwritten { batch } => self.core.take_back(batch),
            FromConnection::Retrying { attempt, delay, reason } => {
                self.note_retry(attempt, delay, reason);
            }
            FromConnection::GaveUp { attempts, reason } => {
                self.publisher.gave_up(attempts, reason);
            }
            FromConnection::Refused { reason } => self.refuse(reason),
            FromConnection::Shed { all, share } => self.shed(all, share),
            FromConnection::Rest => self.rest(),
            FromConnection::Finish { ending } => self.begin_finish(ending),
            FromConnection::End { latch } => self.end(latch),
        }
    }
}

/// The messages of the Connection.
impl Namespace {
    fn open(&mut self, session: Session) {
        (self.protocol, self.max_silence) = (Some(session.protocol), Some(session.max_silence));
        self.core.handle_open(clock::now(), session);
        self.publish();
    }

    fn take_packets(&mut self, epoch: u64, mut packets: Vec<Packet>, held: Held) {
        self.held.take(held);
        let now = clock::now();
        for packet in packets.drain(..) {
            self.core.handle_packet(now, epoch, packet);
        }
        take_back_packets(packets);
        self.publish();
    }

    fn lose(&mut self, reason: Reason, again: bool, suspect: Option<Box<Suspect>>) {
        if let Some(suspect) = suspect {
            self.core.handle_suspect(*suspect);
        }
        self.core.handle_lost(clock::now(), reason, again);
        self.publish();
    }

    fn note_retry(&mut self, attempt: u32, delay: Duration, reason: Reason) {
        if self.core.ended().is_none() {
            self.tell_retrying(attempt, delay, reason);
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.core.handle_refused(clock::now(), reason);
        self.publish();
    }

    fn shed(&mut self, all: bool, share: Load) {
        if let Some(overrun) = self.publisher.shed(all, share, self.held.room_beside()) {
            self.overrun(overrun);
        }
    }

    fn begin_finish(&mut self, ending: Ending) {
        self.reference.note_intent(Some(&Reason::Shutdown));
        // It comes after everything that was emitted before.
        self.reference.command_queue.take(&mut self.commands);
        if !matches!(self.stage, Stage::Over(_)) {
            self.stage = Stage::Finishing(ending);
        }
    }

    fn end(&mut self, latch: Arc<ShutdownLatch>) {
        self.obey_all();
        self.core.end(Reason::Shutdown);
        self.publish();
        if let Some(ticket) = self.ticket() {
            latch.hand_over(ticket);
        }
        // Callers that wait for the end will look at the counters.
        self.discard_rest();
        self.stage = Stage::Over(Some(latch));
    }
}

impl Handler<Emit> for Namespace {
    type Result = Result<(), EmitError>;

    fn handle(&mut self, emit: Emit, _: &mut Self::Context) -> Self::Result {
        let Admitted::Room(emit, permit) = self.reference.take(emit, self.offline)? else {
            return Ok(());
        };
        let taken = self.emit(emit, permit, self.offline, None);
        self.publish();
        taken
    }
}
