//! The deadlines of a connection, in one table: `poll_timeout` names the earliest of them, and
//! `handle_timeout` takes the expired ones, so the two cannot disagree.

use std::time::Instant;

/// The timers. If several expire at once, the first one in this list is handled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The delay before the next attempt is over.
    Delay,
    /// The limiter lets this client dial.
    Dial,
    /// The handshake must have come.
    Connect,
    /// The server is silent: it is probed for its revision, or its silence is the answer.
    Probe,
    /// Packets that were held back for a pong are sent without it.
    Leave,
    /// The server is pinged, to confirm that it has read the events that were written.
    Confirm,
    Heartbeat,
    /// The attachments of a packet must have come.
    Attachments,
    /// The connection is closed, even if something is left to send.
    Close,
    /// A server of revision 3 must have joined `/`.
    Join,
    /// A server that is assumed to be of revision 3 must have sent something.
    Doubt,
}

/// The running timers, of which there are few.
#[derive(Debug, Default)]
pub(super) struct Timers {
    running: Vec<(Timer, Instant)>,
}

impl Timers {
    /// Starts a timer, or changes its deadline.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        match self.find(timer) {
            Some(running) => *running = at,
            None => self.running.push((timer, at)),
        }
    }

    /// Starts a timer unless it is running.
    #[inline]
    pub(super) fn start(&mut self, timer: Timer, at: impl FnOnce() -> Instant) {
        if self.find(timer).is_none() {
            self.running.push((timer, at()));
        }
    }

    /// Moves the deadline of a running timer to this moment, unless it is earlier.
    pub(super) fn hasten(&mut self, timer: Timer, at: Instant) {
        if let Some(running) = self.find(timer) {
            *running = at.min(*running);
        }
    }

    #[inline]
    pub(super) fn stop(&mut self, timer: Timer) {
        if let Some(place) = self.running.iter().position(|(other, _)| *other == timer) {
            self.running.swap_remove(place);
        }
    }

    pub(super) fn stop_all_but(&mut self, timer: Timer) {
        self.running.retain(|(other, _)| *other == timer);
    }

    pub(super) fn stop_all(&mut self) {
        self.running.clear();
    }

    /// The earliest deadline.
    #[inline]
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.running.iter().map(|&(_, at)| at).min()
    }

    /// Takes the first expired timer after `last` in the list: so each timer is handled only once in a
    /// turn, even if it is set again at once.
    pub(super) fn expire(&mut self, now: Instant, last: Option<Timer>) -> Option<Timer> {
        let over = self.running.iter().filter(|&&(timer, at)| at <= now && Some(timer) > last);
        let timer = over.map(|&(timer, _)| timer).min()?;
        self.stop(timer);
        Some(timer)
    }

    #[inline]
    fn find(&mut self, timer: Timer) -> Option<&mut Instant> {
        self.running.iter_mut().find(|(other, _)| *other == timer).map(|(_, at)| at)
    }
}

#[cfg(test)]
impl Timers {
    pub(super) fn runs(&self, timer: Timer) -> bool {
        self.at(timer).is_some()
    }

    /// Its deadline, if it is running.
    pub(super) fn at(&self, timer: Timer) -> Option<Instant> {
        self.running.iter().find(|(other, _)| *other == timer).map(|&(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_that_are_over_are_taken_once_and_in_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        assert_eq!((timers.earliest(), timers.expire(at(9), None)), (None, None));
        timers.set(Timer::Close, at(1));
        timers.set(Timer::Heartbeat, at(2));
        timers.set(Timer::Doubt, at(5));
        assert_eq!(timers.earliest(), Some(at(1)));
        assert_eq!(timers.expire(start, None), None);
        assert_eq!(timers.expire(at(2), None), Some(Timer::Heartbeat));
        // A timer that is set again at once is not handled twice.
        timers.set(Timer::Heartbeat, at(2));
        assert_eq!(timers.expire(at(2), Some(Timer::Heartbeat)), Some(Timer::Close));
        assert_eq!(timers.expire(at(2), Some(Timer::Close)), None);
        assert_eq!(timers.expire(at(2), None), Some(Timer::Heartbeat));
        assert_eq!(timers.earliest(), Some(at(5)));
    }

    #[test]
    fn a_timer_has_one_deadline() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.hasten(Timer::Connect, at(1));
        assert_eq!(timers.earliest(), None, "it does not run");
        for (set, expected) in [(5, 5), (7, 7), (3, 3)] {
            timers.set(Timer::Connect, at(set));
            assert_eq!(timers.earliest(), Some(at(expected)));
        }
        timers.start(Timer::Connect, || at(1));
        timers.hasten(Timer::Connect, at(4));
        assert_eq!(timers.earliest(), Some(at(3)));
        timers.hasten(Timer::Connect, at(2));
        assert_eq!(timers.earliest(), Some(at(2)));
        timers.stop(Timer::Connect);
        timers.start(Timer::Join, || at(9));
        timers.set(Timer::Doubt, at(8));
        assert_eq!(timers.earliest(), Some(at(8)));
        timers.stop_all_but(Timer::Join);
        assert_eq!(timers.earliest(), Some(at(9)));
        timers.stop_all();
        assert_eq!(timers.earliest(), None);
    }
}
