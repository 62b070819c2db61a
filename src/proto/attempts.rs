//! Counts attempts in a row, up to the number that the policy allows.

use std::time::{Duration, Instant};

use super::{
    deadline::deadline_after,
    reconnect::{Jitter, Reconnect, Retry},
};
use crate::proto::reason::Reason;

#[derive(Debug)]
pub(crate) struct Attempts {
    policy: Reconnect,
    jitter: Jitter,
    /// Attempts since the last session that lasted.
    made: u32,
}

impl Attempts {
    pub(crate) fn new(policy: Reconnect, seed: u64) -> Self {
        Self { policy, jitter: Jitter::new(seed), made: 0 }
    }

    /// The number of the attempt that is under way, or is next; 0 if there is none.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// What to do after an end with this reason.
    pub(crate) fn choose(&self, reason: &Reason, client: &str) -> Retry {
        self.policy.choose(reason, client)
    }

    /// A session that began at `since` has ended. If it lasted, the count begins anew.
    pub(crate) fn note_session(&mut self, since: Instant, now: Instant) {
        if deadline_after(since, self.policy.stable_after()) <= now {
            self.made = 0;
        }
    }

    /// Begins the count anew.
    pub(crate) fn reset(&mut self) {
        self.made = 0;
    }

    /// Counts the next attempt, and returns its number. If no more attempts are allowed, it returns
    /// an error with the number of those that were made.
    pub(crate) fn next(&mut self) -> Result<u32, u32> {
        let next = self.made.saturating_add(1);
        if !self.policy.allows(next) {
            return Err(self.made);
        }
        self.made = next;
        Ok(next)
    }

    /// The delay before an attempt.
    pub(crate) fn delay(&mut self, attempt: u32) -> Duration {
        self.policy.wait(attempt, self.jitter.next())
    }

    /// The delay before an attempt that will hardly succeed: the longest, whatever the count.
    pub(crate) fn longest_delay(&mut self) -> Duration {
        self.delay(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_until_a_session_has_lasted() {
        let second = Duration::from_secs(1);
        let policy = Reconnect::default().attempts(2).delay(second, 5 * second).jitter(0.0);
        let mut attempts = Attempts::new(policy, 7);
        assert_eq!(attempts.made(), 0);
        let now = Instant::now();
        for lasted in [Duration::ZERO, 5 * second] {
            for number in [1, 2] {
                assert_eq!(attempts.next(), Ok(number));
                assert_eq!(attempts.made(), number);
            }
            assert_eq!((attempts.next(), attempts.made()), (Err(2), 2));
            if lasted.is_zero() {
                attempts.reset();
            } else {
                attempts.note_session(now, now + lasted.mul_f64(0.99));
                assert_eq!(attempts.made(), 2, "too short");
                attempts.note_session(now, now + lasted);
                assert_eq!(attempts.made(), 0);
            }
        }
        assert_eq!([1, 2, 3, 4].map(|attempt| attempts.delay(attempt).as_secs()), [1, 2, 4, 5]);
        assert_eq!(attempts.longest_delay(), 5 * second);
    }
}
