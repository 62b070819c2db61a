//! The Connection actor: owns one connection, routes its packets to the Namespaces.
//!
//! It wraps [`proto::connection`](crate::proto::connection); its one future, the
//! [`Driver`], moves the bytes.
//!
//! # The window
//!
//! What has been read and not yet taken by the subscribers is counted, and bounded: beyond
//! [`receive_window`](crate::ClientBuilder::receive_window) the driver stops reading, and the
//! server's kernel makes the server hold back. But pings come the same way, behind all that has
//! piled up, so that must end before the server gives us up: when half of the time for a ping is
//! over, and the connection has not been read dry since, the subscribers that are stuck hold it up
//! no more; when three quarters are over, nor do those that have more than their share of what waits.
//! A server restarts its clock with our answer to its ping, so the time since the last ping tells how
//! far we are behind, however steadily the subscribers work.
//!
//! Such a subscriber keeps what waits for it, beside the window, and misses what comes until it gets
//! something done: the newest, which is read only to reach the pings. What is kept so is bounded, by
//! as much as the window has, for all subscribers of the connection together; where that is full, the
//! newest of what waits goes as well. So no more than twice the window waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use bytestring::ByteString;

use crate::{
    actor::{
        driver::Driver,
        journal::Journal,
        namespace::{self, Held, Namespace, Way, message},
    },
    backpressure::receive_window::{Load, ReceiveWindow},
    proto::{
        config::Config,
        connection::{self as proto, Admission, Event},
        deadline::deadline_after,
        engine::Protocol,
        fast_map::FastMap,
        outgoing::Outgoing,
        packet::Packet,
        ticket::SessionTicket,
    },
    runtime::{clock, guard::Teller},
    stats::Counters,
    transport::Target,
};

/// The part of the time for a ping after which stuck subscribers hold up the connection no more,
const STRAINED: f64 = 0.5;
/// and the part after which no slow ones do.
const DESPERATE: f64 = 0.75;

/// How often, from then on. A subscriber that gets nothing done in this time is stuck.
const SHED_EVERY: Duration = Duration::from_millis(100);

/// How long the farewell may take when nobody is left to say.
const FAREWELL: Duration = Duration::from_secs(5);

/// How far the driver got with reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inflow {
    /// There is nothing more for now.
    Dry,
    /// There may be more.
    More,
    /// There may be more, and no room for it.
    NoRoom,
}

/// What the handles can know without asking the actor.
#[derive(Debug, Default)]
pub(crate) struct SharedStatus {
    /// 0 as long as it is not known.
    protocol: AtomicU8,
}

impl SharedStatus {
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self.protocol.load(Ordering::Acquire) {
            3 => Some(Protocol::Eio3),
            4 => Some(Protocol::Eio4),
            _ => None,
        }
    }

    fn set_protocol(&self, protocol: Option<Protocol>) {
        let number = match protocol {
            None => 0,
            Some(Protocol::Eio3) => 3,
            Some(Protocol::Eio4) => 4,
        };
        self.protocol.store(number, Ordering::Release);
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) core: proto::Connection,
    target: Target,
    pub(crate) journal: Journal,
    knowledge: Arc<SharedStatus>,
    counters: Arc<Counters>,
    children: FastMap<ByteString, Child>,
    window: Arc<ReceiveWindow>,
    /// What has been read, and not yet been sent to the Namespaces.
    read: Load,
    /// Since when (at the earliest) slow subscribers may be made to miss events: set as long as
    /// there was no room for something, and the connection has not been read dry since.
    behind: Option<Instant>,
    shutdown: Option<Shutdown>,
}

/// A namespace, as its Connection sees it.
#[derive(Debug)]
struct Child {
    addr: Addr<Namespace>,
    /// It is joined, or to be joined, and so needs a connection.
    wanted: bool,
    /// Packets to be routed.
    batch: Vec<Packet>,
    /// How many there were last time.
    last: usize,
    batch_load: Load,
    /// It has nothing to send any more.
    finished: bool,
}

#[derive(Debug)]
struct Shutdown {
    until: Instant,
    way: Way,
    done: ShutdownLatch,
}

/// Shared by all who have to end before the end. The last one to drop it tells who waits.
#[derive(Debug)]
pub(crate) struct ShutdownLatch {
    waiters: Vec<ShutdownSender>,
    tickets: Mutex<Vec<SessionTicket>>,
}

type ShutdownSender = Teller<Vec<SessionTicket>>;

impl ShutdownLatch {
    /// A namespace has ended, and may be gone on with.
    pub(crate) fn hand_over(&self, ticket: SessionTicket) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }
}

impl Drop for ShutdownLatch {
    fn drop(&mut self) {
        let tickets =
            std::mem::take(self.tickets.get_mut().unwrap_or_else(PoisonError::into_inner));
        for waiter in self.waiters.drain(..) {
            waiter.tell(tickets.clone());
        }
    }
}

impl Connection {
    pub(crate) fn new(
        config: Arc<Config>,
        seed: u64,
        target: Target,
        window: Arc<ReceiveWindow>,
        knowledge: Arc<SharedStatus>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            core: proto::Connection::new(config, seed),
            journal: Journal::new(&target),
            target,
            knowledge,
            counters,
            children: FastMap::default(),
            window,
            read: Load::default(),
            behind: None,
            shutdown: None,
        }
    }

    /// Whether there is room for more from the server.
    pub(crate) fn may_read(&self) -> bool {
        self.window.has_room(self.read)
    }

    /// Notes how far the driver got with reading.
    pub(crate) fn note_inflow(&mut self, now: Instant, inflow: Inflow) {
        match inflow {
            Inflow::Dry => self.behind = None,
            Inflow::More => {}
            Inflow::NoRoom => {
                self.behind.get_or_insert(now);
            }
        }
    }

    /// When slow subscribers begin to miss what comes.
    fn shed_at(&self) -> Option<Instant> {
        let behind = self.behind?;
        self.core.strain(STRAINED).map(|strain| strain.max(behind))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref().map(|shutdown| shutdown.until);
        [self.core.poll_timeout(), self.shed_at(), shutdown].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // First of all: the server may have pinged long ago.
        if self.shed_at().is_some_and(|at| at <= now) {
            self.behind = Some(deadline_after(now, SHED_EVERY));
            let all = self.core.strain(DESPERATE).is_some_and(|at| at <= now);
            let share = self.window.holding().divided_by(self.children.len());
            self.tell(|| namespace::Shed { all, share });
        }
        self.core.handle_timeout(now);
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.until <= now
        {
            // Whoever has not finished by now has had its time.
            shutdown.until = deadline_after(now, FAREWELL);
            self.children.values_mut().for_each(|child| child.finished = true);
            self.core.close(now);
            self.core.handle_timeout(now);
        }
    }

    /// Routes what the core has to tell. Packets are collected, for [`dispatch`](Self::dispatch).
    pub(crate) fn route(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Packet(packet) => self.collect(packet),
                Event::Unreadable(error) => {
                    let link = self.journal.link();
                    log::warn!("{link}: the server sent a broken event: {error}");
                }
                Event::Greeted(session) => {
                    self.journal.greeted();
                    self.knowledge.set_protocol(self.core.protocol());
                    if let Some(root) = self.children.get("/") {
                        root.addr.do_send(namespace::Opened { session });
                    }
                }
                Event::Opened(session) => {
                    self.journal.connected(session.protocol);
                    self.counters.connects.add(1);
                    self.knowledge.set_protocol(self.core.protocol());
                    self.dispatch();
                    self.tell(|| namespace::Opened { session: session.clone() });
                }
                Event::Refused(reason) => {
                    self.dispatch();
                    self.tell(|| namespace::Refused { reason: reason.clone() });
                }
                Event::Lost { reason, again, suspect } => {
                    self.journal.lost(&reason, again);
                    self.counters.ended(&reason);
                    self.dispatch();
                    self.give_back();
                    for (namespace, child) in &self.children {
                        // One that has ended does not mind; it may be on its way back already.
                        let again = again || !child.wanted;
                        let suspect = suspect.clone().filter(|one| one.is_of(namespace));
                        let reason = reason.clone();
                        child.addr.do_send(namespace::Lost { reason, again, suspect });
                    }
                }
                Event::Retrying { attempt, delay, reason } => {
                    self.journal.retrying(attempt, delay, &reason);
                    self.counters.attempts.add(1);
                    self.tell(|| namespace::Retrying { attempt, delay, reason: reason.clone() });
                }
                Event::GaveUp { attempts, reason } => {
                    self.journal.gave_up(attempts, &reason);
                    for child in self.children.values().filter(|child| child.wanted) {
                        let reason = reason.clone();
                        child.addr.do_send(namespace::GivenUp { attempts, reason });
                    }
                }
            }
        }
    }

    fn collect(&mut self, packet: Packet) {
        let Some(child) = self.children.get_mut(&packet.namespace) else {
            // Old servers put every client into "/", wanted or not.
            log::debug!("{}: a packet for a namespace that is not joined", self.journal.link());
            return;
        };
        let load = Load { items: 1, bytes: packet.size() };
        child.batch_load = child.batch_load.plus(load);
        self.read = self.read.plus(load);
        if child.batch.capacity() == 0 {
            child.batch.reserve_exact(child.last.max(1));
        }
        child.batch.push(packet);
    }

    fn note_wanted(&mut self, namespace: &str, wanted: bool) {
        if let Some(child) = self.children.get_mut(namespace) {
            child.wanted = wanted;
        }
        self.core.set_wanted(self.children.values().any(|child| child.wanted));
    }

    /// Sends each Namespace what was collected for it.
    pub(crate) fn dispatch(&mut self) {
        self.window.add(std::mem::take(&mut self.read));
        let epoch = self.core.epoch();
        for child in self.children.values_mut().filter(|child| !child.batch.is_empty()) {
            let packets = std::mem::take(&mut child.batch);
            child.last = packets.len();
            let held = Held::added(&self.window, std::mem::take(&mut child.batch_load));
            child.addr.do_send(namespace::Routed { epoch, packets, held });
        }
    }

    /// Gives the namespaces back what was not written, for the next session.
    fn give_back(&mut self) {
        let mut unwritten: HashMap<ByteString, Vec<Outgoing>> = HashMap::new();
        for outgoing in self.core.take_unwritten() {
            unwritten.entry(outgoing.packet.namespace.clone()).or_default().push(outgoing);
        }
        for (namespace, batch) in unwritten {
            if let Some(child) = self.children.get(&namespace) {
                child.addr.do_send(namespace::Unwritten { batch });
            }
        }
    }

    /// A namespace that is dead gets nothing any more, and needs no connection.
    fn let_the_dead_go(&mut self) {
        let before = self.children.len();
        self.children.retain(|name, child| {
            let lives = child.addr.connected();
            if !lives {
                log::debug!("{name}: its actor has ended");
            }
            lives
        });
        if self.children.len() < before {
            self.core.set_wanted(self.children.values().any(|child| child.wanted));
        }
    }

    /// Adds up what was counted.
    pub(crate) fn account(&mut self) {
        self.counters.add_connection(self.core.tally());
    }

    fn tell<M>(&self, message: impl Fn() -> M)
    where
        M: Message<Result = ()> + Send + 'static,
        Namespace: Handler<M>,
    {
        for child in self.children.values() {
            child.addr.do_send(message());
        }
    }

    fn begin_shutdown(&mut self, deadline: Duration, way: Way, waiter: Option<ShutdownSender>) {
        let until = deadline_after(clock::now(), deadline);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = shutdown.until.min(until);
            shutdown.done.waiters.extend(waiter);
        } else {
            let (waiters, tickets) = (waiter.into_iter().collect(), Mutex::default());
            let done = ShutdownLatch { waiters, tickets };
            self.shutdown = Some(Shutdown { until, way, done });
            self.tell(|| namespace::Finish { way });
        }
    }

    /// Goes on with a shutdown as far as it can. `true` when all is done.
    pub(crate) fn try_finish(&mut self) -> bool {
        let Some(shutdown) = &self.shutdown else { return false };
        if !self.children.values().all(|child| child.finished || !child.addr.connected()) {
            return false;
        }
        self.core.close(shutdown.until);
        if !self.core.is_idle() {
            return false;
        }
        self.account();
        if let Some(Shutdown { done, .. }) = self.shutdown.take() {
            let done = Arc::new(done);
            self.tell(|| namespace::End { done: Arc::clone(&done) });
        }
        true
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Driver::new(self.target.clone()));
    }
}

// From the Namespaces.

message!(
    /// A namespace wants to be joined.
    Join { namespace: ByteString, addr: Addr<Namespace> }
);
message!(
    /// A namespace is joined or to be joined, or neither.
    Wanted { namespace: ByteString, wanted: bool }
);
message!(
    /// Packets to be sent.
    Transmit { epoch: u64, batch: VecDeque<Outgoing> }
);
message!(
    /// The packet that leaves a namespace.
    Leave { epoch: u64, packet: Packet }
);
message!(
    /// There is room in the window again, or a namespace is dead.
    Room {}
);
message!(
    /// A namespace has nothing to send any more.
    Finished { namespace: ByteString }
);

message!(
    /// The connection of that number is of no use to a namespace any more.
    Replace { epoch: u64 }
);

impl Handler<Replace> for Connection {
    type Result = ();

    fn handle(&mut self, Replace { epoch }: Replace, _: &mut Self::Context) {
        self.core.replace(clock::now(), epoch);
    }
}

impl Handler<Join> for Connection {
    type Result = ();

    fn handle(&mut self, join: Join, _: &mut Self::Context) {
        let Join { namespace, addr } = join;
        self.children.entry(namespace.clone()).or_insert_with(|| Child {
            addr: addr.clone(),
            wanted: true,
            batch: Vec::new(),
            last: 0,
            batch_load: Load::default(),
            finished: false,
        });
        self.note_wanted(&namespace, true);
        if let Some(Shutdown { way, .. }) = self.shutdown {
            // It joins all the same: something may be to be sent.
            addr.do_send(namespace::Finish { way });
        }
        match self.core.join(clock::now(), &namespace) {
            Admission::Later => {}
            Admission::Now(session) => addr.do_send(namespace::Opened { session }),
            Admission::Joined(session) => {
                let epoch = session.epoch;
                addr.do_send(namespace::Opened { session });
                let packets = vec![proto::joined_root()];
                let held = Held::added(&self.window, Load::default());
                addr.do_send(namespace::Routed { epoch, packets, held });
            }
        }
    }
}

impl Handler<Wanted> for Connection {
    type Result = ();

    fn handle(&mut self, Wanted { namespace, wanted }: Wanted, _: &mut Self::Context) {
        self.note_wanted(&namespace, wanted);
        if wanted && self.core.is_idle() {
            // The connection that it was to be joined on is gone meanwhile.
            self.core.join(clock::now(), &namespace);
        }
    }
}

impl Handler<Transmit> for Connection {
    type Result = ();

    fn handle(&mut self, Transmit { epoch, batch }: Transmit, _: &mut Self::Context) {
        let now = clock::now();
        for outgoing in batch {
            self.core.send(now, epoch, outgoing);
        }
        self.give_back();
    }
}

impl Handler<Leave> for Connection {
    type Result = ();

    fn handle(&mut self, Leave { epoch, packet }: Leave, _: &mut Self::Context) {
        self.core.leave(clock::now(), epoch, packet);
    }
}

impl Handler<Room> for Connection {
    type Result = ();

    /// It is awake: the driver reads on.
    fn handle(&mut self, _: Room, _: &mut Self::Context) {
        self.let_the_dead_go();
    }
}

impl Handler<Finished> for Connection {
    type Result = ();

    fn handle(&mut self, Finished { namespace }: Finished, _: &mut Self::Context) {
        if let Some(child) = self.children.get_mut(&namespace) {
            child.finished = true;
        }
    }
}

// From the handles.

message!(
    /// Shut down within the deadline. The answer comes when all namespaces have ended.
    BeginShutdown { deadline: Duration, way: Way, waiter: ShutdownSender }
);
message!(
    /// The last handle was dropped.
    Abandoned {}
);

impl Handler<BeginShutdown> for Connection {
    type Result = ();

    fn handle(&mut self, shutdown: BeginShutdown, _: &mut Self::Context) {
        let BeginShutdown { deadline, way, waiter } = shutdown;
        self.begin_shutdown(deadline, way, Some(waiter));
    }
}

impl Handler<Abandoned> for Connection {
    type Result = ();

    fn handle(&mut self, _: Abandoned, _: &mut Self::Context) {
        self.begin_shutdown(FAREWELL, Way::Leave, None);
    }
}
