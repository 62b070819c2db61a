//! The Connection actor: owns one connection, routes its packets to the Namespaces.
//!
//! It wraps [`proto::connection`](crate::proto::connection); its one future, the
//! [`Driver`], moves the bytes.
//!
//! # The window
//!
//! Packets that have been read and that subscribers have not taken yet are counted, and bounded: beyond
//! [`receive_window`](crate::ClientBuilder::receive_window) the driver stops reading, and flow control makes
//! the server hold back. But the server's pings arrive after everything that has piled up. So the pause must
//! end before the server gives up on this client. After half of the time for a ping, if the connection has
//! not been read to the end since, stuck subscribers no longer hold it back; after three quarters, neither do
//! subscribers with more than their share of what waits. A server restarts its clock with our pong, so the
//! time since the last ping shows how far behind this side is, however steadily the subscribers work.
//!
//! Such a subscriber keeps the events that wait for it, outside of the window, and misses new events until
//! it has handled something: these are read only to reach the pings. All kept events of the connection
//! together are bounded by the size of the window; when that is full, the newest of the waiting events are
//! dropped as well. So at most twice the window waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use bytestring::ByteString;

use crate::{
    actor::{
        driver::Driver,
        held::Held,
        journal::Journal,
        messages::{FromClient, FromConnection, FromNamespace, lend_packets, take_back_batch},
        shutdown::{Ending, Shutdown, ShutdownInbox, ShutdownLatch, ShutdownWaiters},
        status::ConnectionStatus,
    },
    backpressure::receive_window::{Load, ReceiveWindow},
    display::Name,
    logs::{repeated, say},
    proto::{
        config::Config,
        connection::{self as proto, Admission, Event},
        deadline::deadline_after,
        name_map::NameMap,
        outgoing::Outgoing,
        packet::{Body, Packet, Parser},
    },
    runtime::clock,
    stats::Counters,
    tap::{Tap, Tapped},
    transport::Targets,
};

/// The fraction of the time for a ping after which stuck subscribers no longer hold the connection back,
const STRAINED: f64 = 0.5;
/// and the fraction after which slow subscribers no longer do.
const DESPERATE: f64 = 0.75;

/// The interval of checks from then on. A subscriber that handles nothing in this time is stuck.
const SHED_EVERY: Duration = Duration::from_millis(100);

/// The deadline of the shutdown after the last handle was dropped.
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

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) core: proto::Connection,
    targets: Targets,
    pub(crate) journal: Journal,
    pub(crate) tap: Tapped,
    status: Arc<ConnectionStatus>,
    counters: Arc<Counters>,
    children: NameMap<Child>,
    window: Arc<ReceiveWindow>,
    /// Packets that have been read and not been sent to the Namespaces yet.
    read: Load,
    /// Whether the answer to a request to join is among them.
    has_joined: bool,
    /// The earliest time at which slow subscribers may be made to miss events: set as long as
    /// there was no room for something, and the connection has not been read to the end since.
    behind: Option<Instant>,
    shutdown_inbox: ShutdownInbox,
    shutdown: Option<Box<Shutdown>>,
}

/// A namespace, as its Connection sees it.
#[derive(Debug)]
struct Child {
    addr: Recipient<FromConnection>,
    /// Whether it is joined or will be, and so needs a connection.
    wanted: bool,
    /// Packets to be routed.
    batch: Vec<Packet>,
    /// How many there were last time.
    last: usize,
    batch_load: Load,
    /// Whether it has nothing left to send.
    finished: bool,
    activity: Activity,
}

/// When packets of a namespace have come or gone, by the looks of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Since the last look.
    Now,
    /// Before it.
    Before,
    /// Longer ago.
    Past,
}

impl Activity {
    /// The driver looks. `true` if it is the first look after one without activity.
    fn age(&mut self) -> bool {
        let next = if *self == Self::Now { Self::Before } else { Self::Past };
        std::mem::replace(self, next) == Self::Before
    }
}

impl Connection {
    pub(crate) fn new(
        config: Arc<Config>,
        seed: u64,
        targets: Targets,
        window: Arc<ReceiveWindow>,
        status: Arc<ConnectionStatus>,
        counters: Arc<Counters>,
        shutdown_inbox: ShutdownInbox,
    ) -> Self {
        Self {
            journal: Journal::new(config.name.clone(), targets.at(0)),
            core: proto::Connection::new(config, seed),
            tap: Tapped::default(),
            targets,
            status,
            counters,
            children: NameMap::default(),
            window,
            read: Load::default(),
            has_joined: false,
            behind: None,
            shutdown_inbox,
            shutdown: None,
        }
    }

    /// The same, with a tap.
    pub(crate) fn tapped(self, tap: Option<Tap>, parser: Parser) -> Self {
        let client = self.journal.client().clone();
        Self { tap: Tapped::new(tap, &client, parser), ..self }
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

    /// When slow subscribers begin to miss new events.
    fn shed_at(&self) -> Option<Instant> {
        let behind = self.behind?;
        self.core.strain(STRAINED).map(|strain| strain.max(behind))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref().map(|shutdown| shutdown.until);
        [self.core.poll_timeout(), self.shed_at(), shutdown].into_iter().flatten().min()
    }

    /// The transport is open, with the subprotocol at this place among those that were offered.
    pub(crate) fn handle_dialled(&mut self, now: Instant, subprotocol: Option<usize>) {
        self.status.set_subprotocol(subprotocol);
        self.core.handle_dialled(now);
    }

    /// A websocket has taken the place of polling.
    pub(crate) fn handle_upgraded(&mut self, subprotocol: Option<usize>) {
        self.status.set_subprotocol(subprotocol);
        self.core.handle_upgraded();
        self.status.set_transport(self.core.transport());
        self.journal.upgraded();
        self.tap.upgraded();
        self.dispatch();
        self.tell(|| FromConnection::Upgraded { transport: self.core.transport() });
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // This comes first: the server may have pinged long ago.
        if self.shed_at().is_some_and(|at| at <= now) {
            self.behind = Some(deadline_after(now, SHED_EVERY));
            let all = self.core.strain(DESPERATE).is_some_and(|at| at <= now);
            let share = self.window.holding().divided_by(self.children.len());
            self.tell(|| FromConnection::Shed { all, share });
        }
        self.core.handle_timeout(now);
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.until <= now
        {
            // The time of namespaces that have not finished by now is over.
            shutdown.until = deadline_after(now, FAREWELL);
            self.children.values_mut().for_each(|child| child.finished = true);
            self.core.close(now);
            self.core.handle_timeout(now);
        }
    }

    /// Handles the events of the core. Packets are collected for [`dispatch`](Self::dispatch).
    pub(crate) fn route(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Packet(packet) => self.collect(packet),
                Event::Unreadable(error) => {
                    repeated!(
                        log::Level::Warn,
                        self.journal.client(),
                        "the server sent a broken event: {error}"
                    );
                }
                Event::Greeted(session) => {
                    self.journal.greeted();
                    self.tap.opened();
                    self.status.set_protocol(self.core.protocol());
                    if let Some(root) = self.children.get("/") {
                        root.addr.do_send(FromConnection::Opened { session });
                    }
                }
                Event::Opened(session) => {
                    let target = self.targets.at(self.core.endpoint());
                    self.journal.connected(target, session.protocol, self.core.transport());
                    self.tap.opened();
                    self.counters.connects.add(1);
                    self.status.set_protocol(self.core.protocol());
                    self.status.set_transport(self.core.transport());
                    self.status.set_endpoint(self.core.endpoint());
                    self.dispatch();
                    self.tell(|| FromConnection::Opened { session: session.clone() });
                }
                Event::Refused(reason) => {
                    self.dispatch();
                    self.tell(|| FromConnection::Refused { reason: reason.clone() });
                }
                Event::Lost { reason, again, suspect } => {
                    self.journal.lost(&reason, again);
                    self.tap.lost(&reason);
                    self.counters.ended(&reason);
                    self.dispatch();
                    self.give_back();
                    for (namespace, child) in self.children.iter() {
                        // A namespace that has ended is not affected; it may be about to join again.
                        let again = again || !child.wanted;
                        let suspect = suspect.clone().filter(|one| one.is_of(namespace));
                        let reason = reason.clone();
                        child.addr.do_send(FromConnection::Lost { reason, again, suspect });
                    }
                }
                Event::Passed { endpoint, reason } => {
                    self.journal.passed(self.targets.at(endpoint), &reason);
                    self.tap.lost(&reason);
                }
                Event::Retrying { attempt, delay, reason } => {
                    self.journal.retrying(attempt, delay, &reason);
                    self.tap.retrying(attempt, delay);
                    self.counters.attempts.add(1);
                    self.tell(|| FromConnection::Retrying {
                        attempt,
                        delay,
                        reason: reason.clone(),
                    });
                }
                Event::GaveUp { attempts, reason } => {
                    self.journal.gave_up(attempts, &reason);
                    self.tap.gave_up(&reason);
                    for child in self.children.values().filter(|child| child.wanted) {
                        let reason = reason.clone();
                        child.addr.do_send(FromConnection::GaveUp { attempts, reason });
                    }
                }
            }
        }
    }

    fn collect(&mut self, packet: Packet) {
        let Some(child) = self.children.get_mut(&packet.namespace) else {
            // Old servers join every client to "/", wanted or not.
            say!(
                log::Level::Debug,
                self.journal.client(),
                "a packet for a namespace that is not joined"
            );
            return;
        };
        let load = Load { items: 1, bytes: packet.size() };
        child.batch_load = child.batch_load.plus(load);
        child.activity = Activity::Now;
        self.has_joined |= matches!(packet.body, Body::Connect(_));
        self.read = self.read.plus(load);
        if child.batch.capacity() == 0 {
            child.batch = lend_packets();
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

    /// Sends each Namespace the packets that were collected for it.
    pub(crate) fn dispatch(&mut self) {
        self.window.add(std::mem::take(&mut self.read));
        let epoch = self.core.epoch();
        for child in self.children.values_mut().filter(|child| !child.batch.is_empty()) {
            let packets = std::mem::take(&mut child.batch);
            child.last = packets.len();
            let held = Held::added(&self.window, std::mem::take(&mut child.batch_load));
            child.addr.do_send(FromConnection::Routed { epoch, packets, held });
        }
        if std::mem::take(&mut self.has_joined) {
            // Many connections do nothing for a long time after this.
            self.core.rest();
        }
    }

    /// Gives room back that a burst has left. Called a few times in the time that a ping may take.
    pub(crate) fn rest(&mut self) {
        self.core.rest();
        for child in self.children.values_mut() {
            if child.activity.age() {
                child.addr.do_send(FromConnection::Rest);
            }
        }
    }

    /// Gives the namespaces their unwritten packets back, for the next session.
    fn give_back(&mut self) {
        let all = self.core.take_unwritten();
        if all.is_empty() {
            return;
        }
        let mut unwritten: HashMap<ByteString, Vec<Outgoing>> = HashMap::new();
        for outgoing in all {
            unwritten.entry(outgoing.packet.namespace.clone()).or_default().push(outgoing);
        }
        for (namespace, batch) in unwritten {
            if let Some(child) = self.children.get(&namespace) {
                child.addr.do_send(FromConnection::Unwritten { batch });
            }
        }
    }

    /// A dead namespace gets no more messages, and needs no connection.
    fn let_the_dead_go(&mut self) {
        let before = self.children.len();
        self.children.retain(|name, child| {
            let lives = child.addr.connected();
            if !lives {
                let (client, namespace) = (self.journal.client().clone(), name.clone());
                say!(log::Level::Debug, Name { client, namespace }, "its actor has ended");
            }
            lives
        });
        if self.children.len() < before {
            self.core.set_wanted(self.children.values().any(|child| child.wanted));
        }
    }

    /// Adds the counts of the core to the shared counters.
    pub(crate) fn account(&mut self) {
        self.counters.add_connection(self.core.tally());
    }

    fn tell(&self, message: impl Fn() -> FromConnection) {
        for child in self.children.values() {
            child.addr.do_send(message());
        }
    }

    fn begin_shutdown(&mut self, until: Instant, ending: Ending, waiters: ShutdownWaiters) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = shutdown.until.min(until);
            shutdown.latch.add(waiters);
        } else {
            let mut latch = ShutdownLatch::default();
            latch.add(waiters);
            self.shutdown = Some(Box::new(Shutdown { until, ending, latch }));
            self.tell(|| FromConnection::Finish { ending });
        }
    }

    /// Continues a shutdown as far as possible. `true` when it is done.
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
        if let Some(shutdown) = self.shutdown.take() {
            let latch = Arc::new(shutdown.latch);
            self.tell(|| FromConnection::End { latch: Arc::clone(&latch) });
        }
        true
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Driver::new(self.targets.clone()));
    }
}

impl Handler<FromNamespace> for Connection {
    type Result = ();

    fn handle(&mut self, message: FromNamespace, _: &mut Self::Context) {
        match message {
            FromNamespace::Join { namespace, addr } => self.join(namespace, &addr),
            FromNamespace::Wanted { namespace, wanted } => self.want(&namespace, wanted),
            FromNamespace::Transmit { epoch, batch } => self.transmit(epoch, batch),
            FromNamespace::Leave { epoch, packet } => self.core.leave(clock::now(), epoch, packet),
            // The message has woken the actor, so the driver reads on.
            FromNamespace::Room => self.let_the_dead_go(),
            FromNamespace::Finished { namespace } => {
                if let Some(child) = self.children.get_mut(&namespace) {
                    child.finished = true;
                }
            }
            FromNamespace::Replace { epoch } => self.core.replace(clock::now(), epoch),
        }
    }
}

/// The messages of the Namespaces.
impl Connection {
    fn join(&mut self, namespace: ByteString, addr: &Recipient<FromConnection>) {
        self.core.set_wanted(true);
        let admission = self.core.join(clock::now(), &namespace);
        if let Some(child) = self.children.get_mut(&namespace) {
            child.wanted = true;
        } else {
            let child = Child {
                addr: addr.clone(),
                wanted: true,
                batch: Vec::new(),
                last: 0,
                batch_load: Load::default(),
                finished: false,
                activity: Activity::Past,
            };
            self.children.insert(namespace, child);
        }
        if let Some(ending) = self.shutdown.as_ref().map(|shutdown| shutdown.ending) {
            // The namespace is joined all the same: events may wait for it.
            addr.do_send(FromConnection::Finish { ending });
        }
        match admission {
            Admission::Later => {}
            Admission::Now(session) => addr.do_send(FromConnection::Opened { session }),
            Admission::Joined(session) => {
                let epoch = session.epoch;
                addr.do_send(FromConnection::Opened { session });
                let packets = vec![proto::joined_root()];
                let held = Held::added(&self.window, Load::default());
                addr.do_send(FromConnection::Routed { epoch, packets, held });
            }
        }
    }

    fn want(&mut self, namespace: &str, wanted: bool) {
        self.note_wanted(namespace, wanted);
        if wanted && self.core.is_idle() {
            // The connection that it was going to be joined on is gone in the meantime.
            self.core.join(clock::now(), namespace);
        }
    }

    fn transmit(&mut self, epoch: u64, mut batch: VecDeque<Outgoing>) {
        let now = clock::now();
        let namespace = batch.front().map(|outgoing| &outgoing.packet.namespace);
        if let Some(child) = namespace.and_then(|namespace| self.children.get_mut(namespace)) {
            child.activity = Activity::Now;
        }
        while let Some(outgoing) = batch.pop_front() {
            self.core.send(now, epoch, outgoing);
        }
        take_back_batch(batch);
        self.give_back();
    }
}

impl Handler<FromClient> for Connection {
    type Result = ();

    fn handle(&mut self, message: FromClient, _: &mut Self::Context) {
        match message {
            FromClient::Shutdown => {
                if let Some((until, ending, waiters)) = self.shutdown_inbox.take() {
                    self.begin_shutdown(until, ending, waiters);
                }
            }
            FromClient::Abandoned => {
                let until = deadline_after(clock::now(), FAREWELL);
                self.begin_shutdown(until, Ending::Leave, ShutdownWaiters::default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_once_that_nothing_has_come_or_gone_for_a_while() {
        let mut activity = Activity::Past;
        assert!(!activity.age());
        for _ in 0..2 {
            activity = Activity::Now;
            assert_eq!([(); 4].map(|()| activity.age()), [false, true, false, false]);
        }
    }
}
