//! How long a holder may act on its lease.

use std::time::{Duration, Instant};

use crate::proto::deadline::deadline_after;

/// The lifetime of a lease by the holder's own clock.
///
/// The engine forgets a lease when it was not renewed for the lease time. It counts from a moment that the holder does not know: from
/// somewhere between the beginning and the end of the last good call. So the holder counts from the beginning, and
/// stops at four fifths of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    time: Duration,
    /// When the last good call was begun.
    since: Instant,
    /// When the last call was begun.
    tried: Instant,
}

impl Lifetime {
    /// `time` is that of the engine, `began` when the lease was asked for.
    pub(crate) fn new(time: Duration, began: Instant) -> Self {
        Self { time, since: began, tried: began }
    }

    /// A renewal is asked for.
    pub(crate) fn note_try(&mut self, now: Instant) {
        self.tried = now;
    }

    /// The renewal that was asked for last was granted.
    pub(crate) fn renewed(&mut self) {
        self.since = self.tried;
    }

    /// From here on the holder must not act on it any more.
    pub(crate) fn end(&self) -> Instant {
        deadline_after(self.since, self.time.mul_f64(0.8))
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.end()
    }

    /// When to ask for a renewal: after a third of the time, and after one that failed a fifteenth later.
    pub(crate) fn renew_at(&self) -> Instant {
        let step = if self.tried == self.since { self.time / 3 } else { self.time / 15 };
        deadline_after(self.tried, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_before_the_engine_forgets_it() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut life = Lifetime::new(15 * second, start);
        assert_eq!((life.renew_at(), life.end()), (start + 5 * second, start + 12 * second));
        life.note_try(start + 5 * second);
        assert_eq!(life.renew_at(), start + 6 * second, "if that fails");
        assert_eq!(life.end(), start + 12 * second, "it has not been granted");
        life.renewed();
        assert_eq!((life.renew_at(), life.end()), (start + 10 * second, start + 17 * second));
        assert!(!life.is_over(start + 16 * second) && life.is_over(start + 17 * second));
    }
}
