//! Deadlines.

use std::time::{Duration, Instant};

/// `duration` after `now`; the far future if that is beyond the range of the clock.
pub(crate) fn deadline_after(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration)
        .or_else(|| now.checked_add(Duration::from_secs(86_400)))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_what_the_clock_knows_is_in_the_far_future() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(deadline_after(now, second), now + second);
        assert!(deadline_after(now, Duration::MAX) > now + 3_600 * second);
    }
}
