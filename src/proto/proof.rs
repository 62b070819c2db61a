//! How many of the events that were written the server is known to have read.
//!
//! An event that asks for no answer leaves no trace. But a server answers a ping of the websocket
//! layer behind all that came before it, so one ping now and then, while something is unproven, says
//! how much of it has been read. What has not when the connection is lost may have arrived or not.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::deadline::deadline_after;

/// How long an event may go without proof before the server is pinged, and how far apart such pings
/// are: a connection on which nothing is emitted has none.
const INTERVAL: Duration = Duration::from_secs(1);

/// Of one connection.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    written: u64,
    read: u64,
    /// When to ping.
    due: Option<Instant>,
    /// The ping that is to be answered before there is another.
    asked: Option<u64>,
    /// The pings that were written, and how many events before each of them.
    pings: VecDeque<(u64, u64)>,
}

impl Unconfirmed {
    /// An event is on its way to the connection.
    pub(crate) fn expect(&mut self, now: Instant) {
        if self.due.is_none() && self.asked.is_none() {
            self.due = Some(deadline_after(now, INTERVAL));
        }
    }

    /// It was written.
    pub(crate) fn note_written(&mut self) {
        self.written = self.written.saturating_add(1);
    }

    /// A ping was written, for whatever purpose.
    pub(crate) fn note_ping(&mut self, ping: u64) {
        self.pings.push_back((ping, self.written));
    }

    /// The answer to a ping, and so to all before it.
    pub(crate) fn handle_pong(&mut self, now: Instant, ping: u64) {
        while let Some(&(before, written)) = self.pings.front()
            && before <= ping
        {
            self.read = written;
            self.pings.pop_front();
        }
        if self.asked.take_if(|asked| *asked <= ping).is_some() && self.written > self.read {
            self.expect(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is time for a ping, which goes behind all that is on its way.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// This is the ping.
    pub(crate) fn ask(&mut self, ping: u64) {
        self.asked = Some(ping);
    }

    /// How many events may have arrived or not, now that the connection is gone.
    pub(crate) fn in_doubt(&self) -> u64 {
        self.written.saturating_sub(self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_ping_is_read_when_that_is_answered() {
        let now = Instant::now();
        let mut proof = Unconfirmed::default();
        assert_eq!(proof.poll_timeout(), None);
        proof.expect(now);
        proof.note_written();
        proof.note_written();
        assert_eq!((proof.in_doubt(), proof.poll_timeout()), (2, Some(now + INTERVAL)));
        assert!(!proof.is_due(now));
        let now = now + INTERVAL;
        assert!(proof.is_due(now));
        proof.ask(1);
        proof.note_ping(1);
        proof.expect(now);
        proof.note_written();
        assert_eq!((proof.in_doubt(), proof.poll_timeout()), (3, None), "one at a time");
        proof.handle_pong(now, 1);
        // What was written meanwhile is next.
        assert_eq!((proof.in_doubt(), proof.poll_timeout()), (1, Some(now + INTERVAL)));
        // A ping that is there anyway proves as much.
        proof.note_ping(2);
        proof.note_ping(3);
        proof.handle_pong(now, 3);
        assert_eq!(proof.in_doubt(), 0);
        assert!(proof.is_due(now + INTERVAL));
        proof.ask(4);
        proof.note_ping(4);
        proof.handle_pong(now + INTERVAL, 4);
        assert_eq!(proof.poll_timeout(), None, "there is nothing left to ask for");
    }
}
