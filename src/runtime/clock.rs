//! The clocks and the timer. No other module reads a clock or sets a timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use actix_rt::time::{Sleep, sleep_until, timeout};

/// The time.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub(crate) fn now() -> Instant {
    // tokio's clock, so that a test can stop it.
    actix_rt::time::Instant::now().into_std()
}

/// The time of day, which can go backwards.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The output of a future; `None` after this time, and the future is dropped.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    timeout(time, future).await.ok()
}

/// Notices that the machine was suspended: in the meantime the monotonic clock stands still, and the time of
/// day goes on.
///
/// Setting the time of day looks the same. Code that acts on a gap must cope with that.
#[derive(Debug)]
pub(crate) struct SuspendWatch {
    now: Instant,
    wall: SystemTime,
}

/// A machine takes longer than this to stop its programs, then itself, and to start again, all of which the
/// monotonic clock shows. So within this time after a reading, there is nothing new.
const AWAKE: Duration = Duration::from_millis(1);

impl SuspendWatch {
    pub(crate) fn new() -> Self {
        Self { now: now(), wall: wall() }
    }

    /// How much time has passed since the last reading that `now` does not show.
    pub(crate) fn gap(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.now) < AWAKE {
            return Duration::ZERO;
        }
        self.gap_at(now, wall())
    }

    fn gap_at(&mut self, now: Instant, wall: SystemTime) -> Duration {
        let last = std::mem::replace(self, Self { now, wall });
        let awake = now.saturating_duration_since(last.now);
        // Zero if the time of day was set back.
        wall.duration_since(last.wall).unwrap_or_default().saturating_sub(awake)
    }

    /// Acts as if the machine had been suspended for this time.
    #[cfg(test)]
    pub(crate) fn suspend(&mut self, time: Duration) {
        self.now -= AWAKE;
        self.wall -= AWAKE + time;
    }
}

/// The one timer of an actor. It goes off at the time that was set last.
///
/// An actor context polls every future it holds whenever it wakes, so a timer for each deadline
/// would make each event cost as much as there are deadlines.
///
/// Most deadlines are postponed before they come, as each message sets a new one. So the
/// timer stays as it is as long as it goes off early enough, and is set anew when it has gone off.
///
/// For a deadline that is later than the last look at the clock, it never goes off in the poll that it is set
/// in, even if the deadline has passed by then: the runtime first asks the system what has come. Code that
/// was away for a while can rely on that: it sets the timer for right after now, and when that goes off,
/// everything that came in the meantime can be read.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What `sleep` is set to, while it is running.
    set: Option<Instant>,
}

impl Timer {
    /// Ready at `at`, with the current time. `None` means never.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<Instant> {
        let Some(at) = at else {
            // It has gone off, and there may be no deadline for a long time.
            self.sleep.take_if(|_| self.set.is_none());
            return Poll::Pending;
        };
        loop {
            if self.set.is_none_or(|set| set > at) {
                let deadline = actix_rt::time::Instant::from_std(at);
                match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(deadline),
                    None => self.sleep = Some(Box::pin(sleep_until(deadline))),
                }
                self.set = Some(at);
            }
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            // If it was set for an earlier deadline, it is set again for this one, and is not ready by the clock alone.
            if self.set.take() == Some(at) {
                return Poll::Ready(now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The task was away for so long that its deadline has passed, and so has the next one when the timer is
    /// polled. What came in the meantime is noticed first.
    #[actix::test]
    async fn the_system_is_asked_before_a_late_timer_goes_off() {
        let mut timer = Timer::default();
        let first = now() + Duration::from_millis(1);
        let mut polls = 0;
        let mut second = None;
        let then = std::future::poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                return timer.poll(cx, Some(first));
            }
            // The first deadline has woken this.
            let second = *second.get_or_insert_with(|| now() + Duration::from_millis(1));
            while now() < second {}
            timer.poll(cx, Some(second))
        })
        .await;
        assert_eq!(polls, 3);
        assert!(then >= second.unwrap());
    }

    #[actix::test]
    async fn a_timer_that_has_gone_off_is_kept_for_the_next_deadline_only() {
        let mut timer = Timer::default();
        let soon = || now() + Duration::from_millis(1);
        for has_next in [true, false] {
            let at = soon();
            std::future::poll_fn(|cx| timer.poll(cx, Some(at))).await;
            assert!(timer.sleep.is_some());
            let next = has_next.then(|| now() + Duration::from_secs(1_000));
            let poll = std::future::poll_fn(|cx| Poll::Ready(timer.poll(cx, next))).await;
            assert!(poll.is_pending());
            assert_eq!(timer.sleep.is_some(), has_next);
        }
    }

    #[test]
    fn a_gap_is_looked_for_when_a_machine_can_have_been_suspended_since_the_last_look() {
        let mut clock = SuspendWatch::new();
        let before = clock.now;
        clock.wall -= Duration::from_secs(60);
        assert_eq!(clock.gap(before + AWAKE / 2), Duration::ZERO);
        let gap = clock.gap(before + AWAKE);
        assert!(gap >= Duration::from_secs(59), "{gap:?}");
    }

    #[test]
    fn a_gap_is_what_the_time_of_day_is_ahead_since_the_last_reading() {
        let seconds = Duration::from_secs;
        let (mut now, mut wall) = (Instant::now(), SystemTime::UNIX_EPOCH + seconds(1_000));
        let mut clock = SuspendWatch { now, wall };
        for (awake, ahead, gap) in [
            (0, 0, 0),
            (10, 10, 0),
            (10, 15, 5),
            // The gap before is not reported again.
            (10, 10, 0),
            (0, 3_600, 3_600),
            (60, 59, 0),
        ] {
            now += seconds(awake);
            wall += seconds(ahead);
            assert_eq!(clock.gap_at(now, wall), seconds(gap), "{awake} {ahead}");
        }
        wall -= seconds(500);
        assert_eq!(clock.gap_at(now, wall), Duration::ZERO);
        // The time of day is set back once, and goes on from there.
        wall += seconds(1);
        assert_eq!(clock.gap_at(now, wall), seconds(1));
    }
}
