//! Whether the server of an upstream can be reached from this worker. If it cannot for long, another worker is to try.

use std::time::{Duration, Instant};

use crate::proto::deadline::deadline_after;

/// The longest time for which this worker leaves an upstream to the others.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct Reach {
    /// How long it may be out of reach.
    patience: Duration,
    /// It is out of reach since then.
    lost_since: Option<Instant>,
    /// The last attempt that has failed, or the loss: the server may have taken it for a success.
    gone_at: Option<Instant>,
    /// How often it was given up in a row.
    given_up: u32,
    /// Others are to try before this one does.
    aside_until: Option<Instant>,
}

impl Reach {
    pub(super) fn new(lease_time: Duration) -> Self {
        Self {
            patience: lease_time.saturating_mul(3),
            lost_since: None,
            gone_at: None,
            given_up: 0,
            aside_until: None,
        }
    }

    /// When the server was last spoken to, if it is out of reach.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        self.gone_at
    }

    pub(super) fn found(&mut self) {
        self.pause();
        (self.given_up, self.aside_until) = (0, None);
    }

    pub(super) fn lost(&mut self, now: Instant) {
        self.lost_since.get_or_insert(now);
        self.gone_at = Some(now);
    }

    /// Nobody tries from here.
    pub(super) fn pause(&mut self) {
        (self.lost_since, self.gone_at) = (None, None);
    }

    /// When it is to be given up.
    pub(super) fn limit(&self) -> Option<Instant> {
        self.lost_since.map(|since| deadline_after(since, self.patience))
    }

    /// Leaves it to others, each time in a row for twice as long.
    pub(super) fn give_up(&mut self, now: Instant) {
        let times = 3_u32.saturating_mul(2_u32.saturating_pow(self.given_up));
        self.given_up = self.given_up.saturating_add(1);
        let aside = self.patience.saturating_mul(times).min(LONGEST);
        self.aside_until = Some(deadline_after(now, aside));
    }

    pub(super) fn aside_until(&self) -> Option<Instant> {
        self.aside_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_left_to_others_for_longer_each_time_until_it_is_reached() {
        let now = Instant::now();
        let mut reach = Reach::new(Duration::from_secs(15));
        let mut aside = |times: usize| {
            for _ in 0..times {
                reach.give_up(now);
            }
            reach.aside_until().unwrap().duration_since(now).as_secs()
        };
        assert_eq!(
            [aside(1), aside(1), aside(1), aside(1), aside(1), aside(1)],
            [135, 270, 540, 1_080, 2_160, 3_600]
        );
        assert_eq!(aside(100), 3_600);
        reach.found();
        reach.give_up(now);
        assert_eq!(reach.aside_until().unwrap().duration_since(now).as_secs(), 135);
    }

    #[test]
    fn the_time_begins_when_it_is_lost_and_not_at_each_failure() {
        let now = Instant::now();
        let mut reach = Reach::new(Duration::from_secs(15));
        assert_eq!(reach.limit(), None);
        reach.lost(now);
        reach.lost(now + Duration::from_secs(10));
        assert_eq!(reach.limit(), Some(now + Duration::from_secs(45)));
        reach.found();
        assert_eq!(reach.limit(), None);
    }
}
