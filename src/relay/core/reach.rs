//! Whether the server of an upstream can be reached from this worker. If it cannot for long, another worker is to try.

use std::time::{Duration, Instant};

use crate::proto::deadline::deadline_after;

/// The longest time before it is tried again.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct Reach {
    /// How long it may be out of reach.
    patience: Duration,
    /// It is out of reach since then.
    lost_since: Option<Instant>,
    /// When the server last had a connection of this holder or of the one before. It may believe that it still has.
    gone_at: Option<Instant>,
    /// Something has come since then.
    has_heard: bool,
    /// How often it was given up in a row.
    given_up: u32,
    aside: Option<Aside>,
}

/// Others are to hold the upstream, until it can be reached from here.
#[derive(Debug, Clone, Copy)]
enum Aside {
    Until(Instant),
    Probing,
}

impl Reach {
    pub(super) fn new(lease_time: Duration) -> Self {
        Self {
            patience: lease_time.saturating_mul(3),
            lost_since: None,
            gone_at: None,
            has_heard: false,
            given_up: 0,
            aside: None,
        }
    }

    /// See the field; `None` if it is joined.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        self.gone_at
    }

    pub(super) fn found(&mut self) {
        self.pause();
        (self.given_up, self.aside) = (0, None);
    }

    /// The server cannot be reached, or not any more.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost_since.get_or_insert(now);
        if std::mem::take(&mut self.has_heard) || self.gone_at.is_none() {
            self.gone_at = Some(now);
        }
    }

    /// Something came, though it is not joined yet: the server can be reached.
    pub(super) fn heard(&mut self, now: Instant) {
        if self.lost_since.is_some() {
            self.lost_since = Some(now);
            self.has_heard = true;
        }
    }

    /// This worker is not trying at present.
    pub(super) fn pause(&mut self) {
        (self.lost_since, self.gone_at, self.has_heard) = (None, None, false);
    }

    /// When it is to be given up.
    pub(super) fn limit(&self) -> Option<Instant> {
        self.lost_since.map(|since| deadline_after(since, self.patience))
    }

    /// Leaves it to others, each time in a row for twice as long.
    pub(super) fn give_up(&mut self, now: Instant) {
        let times = 3_u32.saturating_mul(2_u32.saturating_pow(self.given_up));
        self.given_up = self.given_up.saturating_add(1);
        let time = self.patience.saturating_mul(times).min(LONGEST);
        self.aside = Some(Aside::Until(deadline_after(now, time)));
    }

    /// Others are to hold it, if there are any.
    pub(super) fn is_aside(&self) -> bool {
        self.aside.is_some()
    }

    /// When to see whether it can be reached.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.aside? {
            Aside::Until(at) => Some(at),
            Aside::Probing => None,
        }
    }

    pub(super) fn probe(&mut self) {
        self.aside = Some(Aside::Probing);
    }

    pub(super) fn probed(&mut self, now: Instant, is_reached: bool) {
        match self.aside {
            Some(Aside::Probing) if is_reached => self.found(),
            Some(Aside::Probing) => self.give_up(now),
            _ => {}
        }
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
            reach.probe_at().unwrap().duration_since(now).as_secs()
        };
        assert_eq!(
            [aside(1), aside(1), aside(1), aside(1), aside(1), aside(1)],
            [135, 270, 540, 1_080, 2_160, 3_600]
        );
        assert_eq!(aside(100), 3_600);
        reach.found();
        reach.give_up(now);
        assert_eq!(reach.probe_at().unwrap().duration_since(now).as_secs(), 135);
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

    #[test]
    fn what_comes_shows_that_it_can_be_reached_and_that_the_server_may_take_it_for_connected() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut reach = Reach::new(Duration::from_secs(15));
        reach.lost(now);
        reach.lost(at(10));
        assert_eq!(reach.gone_at(), Some(now), "the server has had no connection since");
        reach.heard(at(20));
        assert_eq!((reach.gone_at(), reach.limit()), (Some(now), Some(at(65))));
        reach.lost(at(30));
        assert_eq!(reach.gone_at(), Some(at(30)));
        reach.found();
        reach.heard(at(40));
        assert_eq!((reach.gone_at(), reach.limit()), (None, None));
    }

    #[test]
    fn it_is_aside_until_a_probe_reaches_it() {
        let now = Instant::now();
        let mut reach = Reach::new(Duration::from_secs(15));
        reach.give_up(now);
        reach.probe();
        assert_eq!((reach.is_aside(), reach.probe_at()), (true, None));
        reach.probed(now, false);
        assert_eq!(reach.probe_at(), Some(now + Duration::from_secs(270)));
        reach.probe();
        reach.probed(now, true);
        assert!(!reach.is_aside());
    }
}
