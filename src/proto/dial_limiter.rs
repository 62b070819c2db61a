//! How fast the clients of one process reconnect.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::deadline::deadline_after;

/// Limits how many lost connections are dialled again per second, evenly spaced. All clones share
/// the limit.
///
/// The jitter of a policy spreads out the clients of many processes. The clients of one process, which
/// can be thousands, share this rate, so that they do not hit a restarted server, their own process
/// and its name server all at once.
///
/// Only attempts to connect *again* are limited. The first connection of a client, and one that the
/// application asks for, are made at once.
///
/// ```
/// use actix_socketio::{Client, DialLimiter, Reconnect};
///
/// let gentle = Reconnect::default().limiter(DialLimiter::per_second(20));
/// let clients = ["http://a:3000", "http://b:3000"]
///     .map(|url| Client::builder(url).reconnect(gentle.clone()));
/// ```
#[derive(Debug, Clone)]
pub struct DialLimiter {
    /// The time between two dials; zero if there is no limit.
    interval: Duration,
    /// The earliest time of the next dial.
    next: Arc<Mutex<Option<Instant>>>,
}

impl DialLimiter {
    /// Allows this many attempts per second; 0 counts as 1.
    pub fn per_second(rate: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate.max(1)).unwrap_or_default();
        Self { interval, next: Arc::default() }
    }

    /// A limiter without a limit.
    pub fn unlimited() -> Self {
        Self { interval: Duration::ZERO, next: Arc::default() }
    }

    /// The limiter that all clients of the process share by default.
    pub(super) fn shared() -> Self {
        static SHARED: OnceLock<DialLimiter> = OnceLock::new();
        SHARED.get_or_init(|| Self::per_second(100)).clone()
    }

    /// Whether the two are clones of each other.
    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.next, &other.next)
    }

    /// Reserves a time for one dial, not before `now`.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        if self.interval.is_zero() {
            return now;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = next.map_or(now, |next| next.max(now));
        *next = Some(deadline_after(slot, self.interval));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_limiter_spaces_dials_evenly_and_saves_no_turns_up() {
        let limiter = DialLimiter::per_second(4);
        let start = Instant::now();
        let slots = |now: Instant| [(); 3].map(|()| limiter.clone().reserve(now) - start);
        assert_eq!(slots(start), [Duration::ZERO, SECOND / 4, SECOND / 2]);
        assert_eq!(slots(start), [3 * SECOND / 4, SECOND, 5 * SECOND / 4]);
        let idle = start + 10 * SECOND;
        assert_eq!(slots(idle), [10 * SECOND, 41 * SECOND / 4, 42 * SECOND / 4]);
        // A clock that is a little slow gets a turn after all others.
        assert_eq!(slots(start)[0], 43 * SECOND / 4);
    }

    #[test]
    fn no_rate_is_one_per_second_and_no_limit_is_none() {
        let now = Instant::now();
        for (limiter, second) in [
            (DialLimiter::per_second(0), SECOND),
            (DialLimiter::per_second(1), SECOND),
            (DialLimiter::per_second(u32::MAX), Duration::ZERO),
            (DialLimiter::unlimited(), Duration::ZERO),
        ] {
            assert_eq!(limiter.reserve(now), now);
            assert_eq!(limiter.reserve(now), now + second, "{limiter:?}");
        }
    }
}
