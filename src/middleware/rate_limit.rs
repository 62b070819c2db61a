//! A middleware that lets a number of events pass in a time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Direction, Flow, Middleware};
use crate::{message::Event, proto::emit::Emit, runtime::clock};

/// Drops events beyond a rate.
///
/// A token bucket: bursts of up to `events` pass, and then events must be `per / events` apart on
/// average. All namespaces to which one limit was added share it. With 0 events, none passes; with
/// a time of 0 there is no limit.
#[derive(Debug)]
pub struct RateLimit {
    direction: Direction,
    /// The time between two events at the full rate. `None` if no event may pass.
    distance: Option<Duration>,
    /// How far ahead of the full rate events may come: the size of a burst.
    burst: Duration,
    /// When the next event is due at the full rate, unless that is in the past.
    next: Mutex<Option<Instant>>,
}

/// A duration that can be added to any other.
const FOREVER: Duration = Duration::from_secs(1 << 32);

impl RateLimit {
    fn new(direction: Direction, events: u32, per: Duration) -> Self {
        let per = per.min(FOREVER);
        let distance = per.checked_div(events);
        let burst = per.saturating_sub(distance.unwrap_or(per));
        Self { direction, distance, burst, next: Mutex::new(None) }
    }

    /// Limits incoming events to `events` in each `per`, on average.
    pub fn incoming(events: u32, per: Duration) -> Self {
        Self::new(Direction::In, events, per)
    }

    /// Limits outgoing events to `events` in each `per`, on average.
    pub fn outgoing(events: u32, per: Duration) -> Self {
        Self::new(Direction::Out, events, per)
    }

    /// Limits events in both directions, counted together, to `events` in each `per`, on average.
    pub fn both(events: u32, per: Duration) -> Self {
        Self::new(Direction::Both, events, per)
    }

    /// Whether an event may pass now.
    fn admits(&self, now: Instant) -> bool {
        let Some(distance) = self.distance else { return false };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.map_or(now, |next| next.max(now));
        let admits = due.saturating_duration_since(now) <= self.burst;
        if admits {
            *next = due.checked_add(distance);
        }
        admits
    }

    fn check<T>(&self, applies: bool) -> Option<Flow<T>> {
        (applies && !self.admits(clock::now())).then(|| Flow::dropped("too many events"))
    }
}

impl Middleware for RateLimit {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.check(self.direction.is_in()).unwrap_or(Flow::Next(event))
    }

    fn outgoing(&self, _: &str, emit: Emit) -> Flow<Emit> {
        self.check(self.direction.is_out()).unwrap_or(Flow::Next(emit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
        let second = Duration::from_secs(1);
        let limit = RateLimit::outgoing(4, second);
        let start = Instant::now();
        let passed = |at: Duration| (0..10).filter(|_| limit.admits(start + at)).count();
        assert_eq!(passed(Duration::ZERO), 4);
        assert_eq!(passed(Duration::from_millis(249)), 0);
        assert_eq!(passed(second / 4), 1);
        assert_eq!(passed(second), 3);
        assert_eq!(passed(100 * second), 4, "a longer rest is worth no more");
        for (events, per, expected) in [
            (0, second, 0),
            (0, Duration::ZERO, 0),
            (1, Duration::ZERO, 10),
            (u32::MAX, Duration::from_nanos(1), 10),
            (1, Duration::MAX, 1),
        ] {
            let limit = RateLimit::incoming(events, per);
            assert_eq!((0..10).filter(|_| limit.admits(start)).count(), expected, "{limit:?}");
        }
    }

    #[test]
    fn a_rate_holds_the_way_that_it_was_made_for() {
        let second = Duration::from_secs(1);
        let out = || Emit::new("e", ()).unwrap();
        let come_in = |limit: &RateLimit| {
            let event = Event {
                namespace: "/".into(),
                payload: out().payload,
                answer: None,
                is_recoverable: false,
            };
            matches!(limit.incoming(event), Flow::Next(_))
        };
        let go_out = |limit: &RateLimit| matches!(limit.outgoing("/", out()), Flow::Next(_));
        for (limit, expected) in [
            (RateLimit::incoming(1, second), [true, true, false]),
            (RateLimit::outgoing(1, second), [true, true, true]),
            (RateLimit::both(1, second), [true, false, false]),
        ] {
            let passed = [come_in(&limit), go_out(&limit), come_in(&limit)];
            assert_eq!(passed, expected, "{limit:?}");
        }
    }
}
