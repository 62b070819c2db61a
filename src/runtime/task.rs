//! Futures and tasks of the application: polled, woken and dropped through the [guard](crate::guard).

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use futures::{FutureExt, TryFutureExt, channel::oneshot};

use crate::{
    guard::{Panicked, dispose, run},
    logs::{self, repeated},
};

/// Awaits a future of the application. Put it into a [`Task`] if it may be dropped before it is done.
pub(crate) fn catch<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map_err(Panicked::new)
}

/// Polls the task again after all others of the arbiter have had their turn, including timers and sockets. A
/// task that wakes itself is polled up to sixty times before those.
pub(crate) fn poll_again(cx: &mut Context<'_>) {
    // It wakes the task through the event loop, even if it is dropped before.
    if pin!(actix_rt::task::yield_now()).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

/// Decides when to search a list for [tellers](Teller) whose tasks have gone: when there are twice as many
/// as the last search left, and [some more](SPARE). So the search costs little for each of them.
#[derive(Debug)]
pub(crate) struct Purge {
    /// The number at which the next search is due.
    full: usize,
}

pub(crate) const SPARE: usize = 64;

impl Default for Purge {
    fn default() -> Self {
        Self { full: SPARE }
    }
}

impl Purge {
    pub(crate) fn is_due(&self, tellers: usize) -> bool {
        tellers >= self.full
    }

    /// There was a search, which has left this many.
    pub(crate) fn done(&mut self, left: usize) {
        self.full = left.saturating_mul(2).saturating_add(SPARE);
    }
}

/// A future with code of the application in it, polled and dropped through the guard.
pub(crate) struct Task<T>(Option<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Task<T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let outcome = match run(|| future.as_mut().poll(cx)) {
            Ok(poll) => Ok(ready!(poll)),
            Err(panicked) => Err(panicked),
        };
        dispose(self.0.take());
        Poll::Ready(outcome)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            dispose(future);
        }
    }
}

/// Sends one value to a task of the application. It wakes the task, also when it is dropped unused.
#[derive(Debug)]
pub(crate) struct Teller<T>(Option<oneshot::Sender<T>>);

pub(crate) fn channel<T>() -> (Teller<T>, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    (Teller(Some(sender)), receiver)
}

impl<T> Teller<T> {
    /// Does nothing if no task waits any more.
    pub(crate) fn tell(mut self, what: T) {
        if let Some(sender) = self.0.take()
            && let Err(panicked) = run(|| drop(sender.send(what)))
        {
            repeated!(
                log::Level::Warn,
                logs::NO_CLIENT,
                "a task that waits for an outcome {panicked} (its waker)"
            );
        }
    }

    /// Whether no task waits any more.
    pub(crate) fn is_canceled(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_canceled)
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            dispose(sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::guard::tests::Bomb;

    #[test]
    fn a_future_that_panics_when_it_is_dropped_is_dropped_once_and_no_more() {
        for depth in 0..4 {
            let drops = Rc::default();
            let bomb = || Bomb(Rc::clone(&drops), depth);
            let future = bomb();
            drop(Task::new(async move { drop(future) }));
            let future = bomb();
            let outcome = Task::new(async move { drop(future) }).now_or_never();
            assert_eq!(outcome.unwrap().unwrap_err().to_string(), "panicked");
            assert_eq!(drops.get(), 2);
            let future = bomb();
            let held = Task::new(async move {
                let _held = future;
                std::future::pending::<()>().await;
            });
            assert!(held.now_or_never().is_none());
            assert_eq!(drops.get(), 3);
        }
    }

    #[test]
    fn a_waker_that_panics_costs_nobody_but_its_task() {
        struct Hostile;

        impl std::task::Wake for Hostile {
            fn wake(self: std::sync::Arc<Self>) {
                panic!("for the test");
            }
        }

        let waker = std::sync::Arc::new(Hostile).into();
        for tells in [true, false] {
            let (teller, mut told) = channel();
            assert!(told.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            if tells {
                teller.tell(7);
            } else {
                drop(teller);
            }
            assert_eq!(told.now_or_never().unwrap().ok(), tells.then_some(7));
        }
    }
}
