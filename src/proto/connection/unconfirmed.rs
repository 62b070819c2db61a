//! Counts the written events that the server may not have read.
//!
//! An event that asks for no answer leaves no trace. But a server answers a ping of the websocket
//! layer after everything that came before it: a ping now and then, while something is unconfirmed,
//! shows how much has been read. What is unconfirmed when the connection is lost may have
//! arrived or not.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::timers::{Timer, Timers};
use crate::proto::deadline::deadline_after;

/// How long an event may be unconfirmed before the server is pinged, and the time between such pings.
/// A connection on which nothing is emitted has none.
const INTERVAL: Duration = Duration::from_secs(1);

/// The unconfirmed events of one connection.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    written: u64,
    confirmed: u64,
    /// The ping that must be answered before the next one is sent.
    asked: Option<u64>,
    /// The pings that were written, and how many events before each of them.
    pings: VecDeque<(u64, u64)>,
}

impl Unconfirmed {
    /// An event has been queued for the connection.
    #[inline]
    pub(super) fn expect(&mut self, now: Instant, timers: &mut Timers) {
        if self.asked.is_none() {
            timers.start(Timer::Confirm, || deadline_after(now, INTERVAL));
        }
    }

    /// An event was written.
    pub(super) fn note_written(&mut self) {
        self.written = self.written.saturating_add(1);
    }

    /// The time is over: this ping has been queued after everything else.
    pub(super) fn ask(&mut self, ping: u64) {
        self.asked = Some(ping);
    }

    /// A ping was written, for whatever purpose.
    pub(super) fn note_ping(&mut self, ping: u64) {
        self.pings.push_back((ping, self.written));
    }

    /// The answer to a ping, and so to all before it. `true` if more was written since the server
    /// was asked, which must be [expected](Self::expect) next.
    pub(super) fn handle_pong(&mut self, ping: u64) -> bool {
        while let Some(&(before, written)) = self.pings.front()
            && before <= ping
        {
            self.confirmed = written;
            self.pings.pop_front();
        }
        self.asked.take_if(|asked| *asked <= ping).is_some() && self.written > self.confirmed
    }

    /// How many events may have arrived or not, now that the connection is gone.
    pub(super) fn in_doubt(&self) -> u64 {
        self.written.saturating_sub(self.confirmed)
    }
}

#[cfg(test)]
impl Unconfirmed {
    /// Whether a ping is under way whose answer will confirm what was written before.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_ping_is_read_when_that_is_answered() {
        let now = Instant::now();
        let mut unconfirmed = Unconfirmed::default();
        let mut timers = Timers::default();
        unconfirmed.expect(now, &mut timers);
        unconfirmed.note_written();
        unconfirmed.note_written();
        assert_eq!((unconfirmed.in_doubt(), timers.earliest()), (2, Some(now + INTERVAL)));
        assert_eq!(timers.expire(now, None), None);
        let now = now + INTERVAL;
        assert_eq!(timers.expire(now, None), Some(Timer::Confirm));
        unconfirmed.ask(1);
        unconfirmed.note_ping(1);
        unconfirmed.expect(now, &mut timers);
        unconfirmed.note_written();
        assert_eq!((unconfirmed.in_doubt(), timers.earliest()), (3, None), "one at a time");
        // What was written in the meantime is next.
        assert!(unconfirmed.handle_pong(1));
        unconfirmed.expect(now, &mut timers);
        assert_eq!((unconfirmed.in_doubt(), timers.earliest()), (1, Some(now + INTERVAL)));
        // A ping that is sent for another purpose confirms as much.
        unconfirmed.note_ping(2);
        unconfirmed.note_ping(3);
        assert!(!unconfirmed.handle_pong(3));
        assert_eq!(unconfirmed.in_doubt(), 0);
        assert_eq!(timers.expire(now + INTERVAL, None), Some(Timer::Confirm));
        unconfirmed.ask(4);
        unconfirmed.note_ping(4);
        assert!(!unconfirmed.handle_pong(4), "there is nothing left to ask for");
    }
}
