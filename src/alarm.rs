//! The clocks and the timer: the only place that reads the ones and sets the other.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use actix_rt::time::{Sleep, sleep_until};

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

/// The one timer of an actor: it goes off at whatever moment it is given next.
///
/// An actor context polls every future it holds whenever it wakes, so a timer for each deadline
/// would make each event as dear as there are deadlines.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What `sleep` is set to, while it runs.
    set: Option<Instant>,
}

impl Alarm {
    /// Ready when `at` has come, with the time it is then. `None` is never.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<Instant> {
        let Some(at) = at else {
            self.set = None;
            return Poll::Pending;
        };
        if self.set != Some(at) {
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
        self.set = None;
        Poll::Ready(now())
    }
}
