//! How long the server took to answer.

use std::{fmt, ops::Range, time::Duration};

/// One bucket for each power of two, in microseconds, up to half an hour.
const BUCKETS: usize = 32;

/// The bucket of a time. Bucket `n` counts the times below 2^n microseconds that no smaller bucket counts.
fn bucket(time: Duration) -> usize {
    let bits = u128::BITS.saturating_sub(time.as_micros().leading_zeros());
    usize::try_from(bits).unwrap_or(usize::MAX).min(BUCKETS.saturating_sub(1))
}

/// The upper bound of the times in this bucket, except for the last bucket, which has none.
fn bound(bucket: u32) -> Duration {
    Duration::from_micros(1_u64.checked_shl(bucket).unwrap_or(u64::MAX))
}

/// How long the server took to answer: a histogram with a bucket for each power of two.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// `None` before the first answer: most connections of a program with many get none.
    kept: Option<Box<Kept>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Kept {
    counts: [u64; BUCKETS],
    total: Duration,
}

/// The times of one turn, which are few.
#[derive(Debug, Default)]
pub(crate) struct NewTrips {
    trips: RoundTrips,
    /// The buckets that have some.
    buckets: Range<usize>,
}

impl NewTrips {
    pub(crate) fn note(&mut self, trip: Duration) {
        self.trips.note(trip);
        let (bucket, Range { start, end }) = (bucket(trip), self.buckets.clone());
        let start = if self.buckets.is_empty() { bucket } else { start.min(bucket) };
        self.buckets = start..end.max(bucket.saturating_add(1));
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.trips.count()
    }
}

impl RoundTrips {
    pub(crate) fn note(&mut self, trip: Duration) {
        let Kept { counts, total } = &mut **self.kept.get_or_insert_default();
        if let Some(count) = counts.get_mut(bucket(trip)) {
            *count = count.saturating_add(1);
        }
        *total = total.saturating_add(trip);
    }

    /// Moves new times here.
    pub(crate) fn take(&mut self, new: &mut NewTrips) {
        let buckets = std::mem::take(&mut new.buckets);
        let Some(more) = new.trips.kept.as_mut().filter(|_| !buckets.is_empty()) else { return };
        let Kept { counts, total } = &mut **self.kept.get_or_insert_default();
        *total = total.saturating_add(std::mem::take(&mut more.total));
        let more = more.counts.get_mut(buckets.clone()).into_iter().flatten();
        for (count, more) in counts.get_mut(buckets).into_iter().flatten().zip(more) {
            *count = count.saturating_add(std::mem::take(more));
        }
    }

    fn counts(&self) -> &[u64; BUCKETS] {
        const NONE: &[u64; BUCKETS] = &[0; BUCKETS];
        self.kept.as_ref().map_or(NONE, |kept| &kept.counts)
    }

    /// The number of answers.
    pub fn count(&self) -> u64 {
        self.counts().iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The sum of all times.
    pub fn total(&self) -> Duration {
        self.kept.as_ref().map_or(Duration::ZERO, |kept| kept.total)
    }

    /// The bounds of the buckets, each with the number of times below it; without the last bucket, which has no bound.
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut shorter = 0_u64;
        let last = BUCKETS.saturating_sub(1);
        self.counts().iter().take(last).zip(0_u32..).map(move |(&count, bucket)| {
            shorter = shorter.saturating_add(count);
            (bound(bucket), shorter)
        })
    }

    /// An upper bound for this fraction (0.0 to 1.0) of the times: less than twice the exact
    /// quantile. Times beyond 35 minutes count as 35 minutes. `None` if there were no answers.
    ///
    /// `quantile(0.5)` is near the median, `quantile(1.0)` near the longest.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let total = self.count();
        let mut seen = 0_u64;
        self.counts().iter().zip(0_u32..).find_map(|(&count, bucket)| {
            seen = seen.saturating_add(count);
            let reached = count > 0 && share(seen, total) >= part.clamp(0.0, 1.0);
            reached.then(|| bound(bucket))
        })
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "it is a ratio")]
fn share(part: u64, total: u64) -> f64 {
    part as f64 / total as f64
}

impl fmt::Debug for RoundTrips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundTrips")
            .field("count", &self.count())
            .field("median", &self.quantile(0.5))
            .field("max", &self.quantile(1.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_times_are_moved_once() {
        let (mut new, mut all) = <(NewTrips, RoundTrips)>::default();
        let times = [3, 3, 5_000, 1].map(Duration::from_millis);
        for (number, time) in (1_u64..).zip(times) {
            new.note(time);
            all.take(&mut new);
            assert_eq!(all.count(), number);
            let mut later = RoundTrips::default();
            later.take(&mut new);
            assert_eq!(later, RoundTrips::default(), "there are no new ones");
        }
        assert_eq!(all.total(), times.iter().sum::<Duration>());
    }
}
