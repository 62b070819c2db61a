//! Namespaces that are left, and perhaps joined again, on an open connection.
//!
//! ```text
//!  leave ──▶ ping ──▶ pong ──▶ disconnect ──▶ left
//!                                              │ join
//!                                              ▼
//!                        request to join ◀── pong ◀── ping
//! ```
//!
//! An official server may drop events that arrive together with a disconnect. And it handles a disconnect
//! a moment later than a request to join. If both arrive together, it takes the request for a second one,
//! and closes the connection. So each of the two waits for a pong of the websocket layer, which says that
//! everything before has been read, or for [`PONG_TIMEOUT`]. By polling, it waits for the answer to a POST,
//! without a limit.
//!
//! The namespace `/` of an old server can be joined again only on another connection. This connection is
//! replaced in the same way, when everything that was sent on it has been read.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    send_queue::SendQueue,
    timers::{Timer, Timers},
};
use crate::proto::{deadline::deadline_after, outgoing::Outgoing, packet::Packet};

/// How long a packet is held back for a pong.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Leaving {
    leaves: VecDeque<PendingLeave>,
    rejoins: VecDeque<PendingRejoin>,
    /// Namespaces that were left on this connection.
    left: HashSet<ByteString>,
    /// `Some` if the connection is to be replaced.
    replacement: Option<Pong>,
    is_replacement_due: bool,
}

/// A disconnect that is held back.
#[derive(Debug)]
struct PendingLeave {
    packet: Packet,
    pong: Pong,
    /// The request to join again, if there is one already.
    rejoin: Option<Outgoing>,
}

/// A request to join that is held back.
#[derive(Debug)]
struct PendingRejoin {
    request: Outgoing,
    pong: Pong,
}

/// A pong that is awaited, and until when.
#[derive(Debug, Clone, Copy)]
struct Pong {
    ping: u64,
    until: Instant,
}

impl Pong {
    /// Pings the server, and waits from `since`.
    fn ask(since: Instant, queue: &mut SendQueue) -> Self {
        Self { ping: queue.ping(), until: deadline_after(since, PONG_TIMEOUT) }
    }
}

impl Leaving {
    /// Leaves a namespace: its disconnect is sent when the server has read everything queued before it.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        packet: Packet,
        queue: &mut SendQueue,
        timers: &mut Timers,
    ) {
        let pong = Pong::ask(now, queue);
        self.leaves.push_back(PendingLeave { packet, pong, rejoin: None });
        self.set_timer(timers);
    }

    /// Sends a request to join, as soon as the server cannot take it for a second one.
    pub(super) fn join(
        &mut self,
        now: Instant,
        request: Outgoing,
        queue: &mut SendQueue,
        timers: &mut Timers,
    ) {
        let name = namespace_of(&request.packet);
        if let Some(leave) = self.leaves.iter_mut().find(|leave| leave.packet.namespace == name) {
            leave.rejoin = Some(request);
        } else if self.left.contains(&name) {
            let pong = Pong::ask(now, queue);
            self.rejoins.push_back(PendingRejoin { request, pong });
            self.set_timer(timers);
        } else {
            queue.push(request);
        }
    }

    /// Replaces the connection as soon as the server has read everything: it would drop the rest. See
    /// [`take_due_replacement`](Self::take_due_replacement).
    pub(super) fn replace(&mut self, now: Instant, queue: &mut SendQueue, timers: &mut Timers) {
        if self.replacement.is_none() {
            self.replacement = Some(Pong::ask(now, queue));
            self.set_timer(timers);
        }
    }

    /// Whether the connection is to be replaced now.
    pub(super) fn take_due_replacement(&mut self) -> bool {
        std::mem::take(&mut self.is_replacement_due)
    }

    /// The server has read everything before this ping.
    pub(super) fn handle_pong(&mut self, ping: u64, queue: &mut SendQueue, timers: &mut Timers) {
        self.send_due(|pong| pong.ping <= ping, queue, timers);
    }

    /// Nothing is held back for ever.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        queue: &mut SendQueue,
        timers: &mut Timers,
    ) {
        self.send_due(|pong| pong.until <= now, queue, timers);
    }

    /// The time is over, with polling. A request is still open then, so what is held back would only go out
    /// together with everything after it. So the wait goes on: the request is answered, or the session ends.
    pub(super) fn wait_on(&mut self, now: Instant, timers: &mut Timers) {
        let leaves = self.leaves.iter_mut().map(|leave| &mut leave.pong);
        let rejoins = self.rejoins.iter_mut().map(|rejoin| &mut rejoin.pong);
        for pong in leaves.chain(rejoins).chain(&mut self.replacement) {
            pong.until = deadline_after(now, PONG_TIMEOUT);
        }
        self.set_timer(timers);
    }

    /// Whether a disconnect is held back.
    pub(super) fn is_pending(&self) -> bool {
        !self.leaves.is_empty()
    }

    fn send_due(
        &mut self,
        is_due: impl Fn(Pong) -> bool,
        queue: &mut SendQueue,
        timers: &mut Timers,
    ) {
        while self.rejoins.front().is_some_and(|rejoin| is_due(rejoin.pong))
            && let Some(PendingRejoin { request, .. }) = self.rejoins.pop_front()
        {
            queue.push(request);
        }
        while self.leaves.front().is_some_and(|leave| is_due(leave.pong))
            && let Some(PendingLeave { packet, pong, rejoin }) = self.leaves.pop_front()
        {
            self.left.insert(packet.namespace.clone());
            queue.push(Outgoing::bare(packet));
            if let Some(request) = rejoin {
                let pong = Pong::ask(pong.until, queue);
                self.rejoins.push_back(PendingRejoin { request, pong });
            }
        }
        if self.replacement.take_if(|pong| is_due(*pong)).is_some() {
            self.is_replacement_due = true;
        }
        self.set_timer(timers);
    }

    fn set_timer(&self, timers: &mut Timers) {
        let leave = self.leaves.front().map(|leave| leave.pong.until);
        let rejoin = self.rejoins.front().map(|rejoin| rejoin.pong.until);
        let replacement = self.replacement.map(|pong| pong.until);
        match leave.into_iter().chain(rejoin).chain(replacement).min() {
            Some(until) => timers.set(Timer::Leave, until),
            None => timers.stop(Timer::Leave),
        }
    }
}

/// The namespace of a packet. In a request to join, a query may follow it.
fn namespace_of(packet: &Packet) -> ByteString {
    let full = &packet.namespace;
    full.split_once('?').map_or_else(|| full.clone(), |(name, _)| full.slice_ref(name))
}

#[cfg(test)]
impl Leaving {
    /// Whether anything waits for a pong.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_pending() || !self.rejoins.is_empty() || self.replacement.is_some()
    }

    /// Whether the connection could be replaced, and was not.
    pub(super) fn is_replacement_due(&self) -> bool {
        self.is_replacement_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::packet::Body;

    /// The parts that a test of leaving needs.
    struct Bench {
        leaving: Leaving,
        queue: SendQueue,
        timers: Timers,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let (leaving, queue, timers) = Default::default();
            Self { leaving, queue, timers, now: Instant::now() }
        }

        fn leave(&mut self, namespace: &'static str) {
            let packet = Packet::new(namespace.into(), Body::Disconnect);
            self.leaving.leave(self.now, packet, &mut self.queue, &mut self.timers);
        }

        fn join(&mut self, namespace: &'static str) {
            let request = Outgoing::bare(Packet::new(namespace.into(), Body::Connect(None)));
            self.leaving.join(self.now, request, &mut self.queue, &mut self.timers);
        }

        fn pong(&mut self, ping: u64) {
            self.leaving.handle_pong(ping, &mut self.queue, &mut self.timers);
        }

        /// Waits for the next deadline.
        fn wait(&mut self) {
            self.now = self.timers.earliest().expect("something is held back");
            assert_eq!(self.timers.expire(self.now, None), Some(Timer::Leave));
            self.leaving.handle_timeout(self.now, &mut self.queue, &mut self.timers);
        }
    }

    #[test]
    fn a_disconnect_waits_for_its_pong_but_not_for_ever() {
        let mut bench = Bench::new();
        bench.leave("/a");
        bench.leave("/b");
        assert_eq!(bench.queue.written(), ["ping 1", "ping 2"]);
        bench.pong(1);
        assert_eq!(bench.queue.written(), ["41/a,"]);
        assert!(bench.leaving.is_pending());
        bench.wait();
        assert_eq!(bench.queue.written(), ["41/b,"]);
        assert!(!bench.leaving.is_pending());
        assert_eq!(bench.timers.earliest(), None);
    }

    #[test]
    fn a_request_to_join_waits_until_the_disconnect_has_been_read() {
        let mut bench = Bench::new();
        bench.join("/a");
        assert_eq!(bench.queue.written(), ["40/a,"], "it was never left");
        bench.leave("/a");
        bench.join("/a?b=1");
        bench.pong(1);
        assert_eq!(bench.queue.written(), ["ping 1", "41/a,", "ping 2"]);
        bench.pong(2);
        assert_eq!(bench.queue.written(), ["40/a?b=1,"]);
        // A later request is not taken for a second one either.
        bench.join("/a");
        assert_eq!(bench.queue.written(), ["ping 3"]);
        bench.wait();
        assert_eq!(bench.queue.written(), ["40/a,"]);
        assert_eq!(bench.timers.earliest(), None);
    }

    #[test]
    fn a_connection_is_replaced_when_all_has_been_read() {
        let mut bench = Bench::new();
        bench.leave("/");
        bench.leaving.replace(bench.now, &mut bench.queue, &mut bench.timers);
        bench.leaving.replace(bench.now, &mut bench.queue, &mut bench.timers);
        assert_eq!(bench.queue.written(), ["ping 1", "ping 2"], "it is asked for once");
        bench.pong(1);
        assert!(!bench.leaving.take_due_replacement());
        bench.pong(2);
        assert!(bench.leaving.take_due_replacement() && !bench.leaving.take_due_replacement());
        assert_eq!(bench.timers.earliest(), None);
        bench.leaving.replace(bench.now, &mut bench.queue, &mut bench.timers);
        bench.wait();
        assert!(bench.leaving.take_due_replacement(), "nor does it wait for ever");
    }

    #[test]
    fn without_pongs_both_go_in_order() {
        let mut bench = Bench::new();
        bench.leave("/a");
        bench.join("/a");
        bench.wait();
        assert_eq!(bench.queue.written(), ["ping 1", "41/a,", "ping 2"]);
        bench.wait();
        assert_eq!(bench.queue.written(), ["40/a,"]);
    }

    #[test]
    fn by_polling_time_does_not_replace_an_answer() {
        let mut bench = Bench::new();
        bench.leave("/a");
        bench.leaving.replace(bench.now, &mut bench.queue, &mut bench.timers);
        assert_eq!(bench.queue.written(), ["ping 1", "ping 2"]);
        for _ in 0..100 {
            bench.now = bench.timers.earliest().expect("something is held back");
            assert_eq!(bench.timers.expire(bench.now, None), Some(Timer::Leave));
            bench.leaving.wait_on(bench.now, &mut bench.timers);
        }
        assert!(bench.queue.written().is_empty());
        bench.pong(1);
        assert_eq!(bench.queue.written(), ["41/a,"]);
        bench.pong(2);
        assert!(bench.leaving.take_due_replacement());
        assert_eq!(bench.timers.earliest(), None);
    }
}
