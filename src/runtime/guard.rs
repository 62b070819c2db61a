//! The one way into code of the application.
//!
//! Whatever the application gives may panic when it is used: its functions and futures, its
//! `Deserialize`, `Serialize` and `Display`, the wakers of its tasks, and each of its values when it is
//! dropped. A panic must take no actor of ours with it, nor anybody else's events. So all of that is
//! run, polled and dropped here, and what comes out is a value or [`Panicked`].

use std::{
    any::{Any, type_name},
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, TryFutureExt, channel::oneshot};

use crate::error::brief;

/// Code of the application panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// What it said, cut and escaped; empty if that was no text.
    text: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return f.write_str("panicked");
        }
        write!(f, "panicked: {}", self.text)
    }
}

impl Panicked {
    #[cold]
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(brief);
        let text = text.or_else(|| payload.downcast_ref::<String>().map(brief));
        // It may be any value, so it may panic when it is dropped, and so may what it panics with.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        Self { text: text.unwrap_or_default() }
    }
}

/// Runs code of the application. What it has changed when it panics must be good enough to go on with.
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(Panicked::new)
}

/// Drops a value of the application.
pub(crate) fn dispose<T>(value: T) {
    if let Err(panicked) = run(|| drop(value)) {
        log::warn!("a value of the application {panicked} (when it was dropped: {})", name::<T>());
    }
}

fn name<T>() -> String {
    brief(&type_name::<T>())
}

/// Something of the application that is kept, and dropped here.
pub(crate) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// There is always something.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            dispose(value);
        }
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").finish_non_exhaustive()
    }
}

/// Awaits a future of the application. Whoever may drop it before it is done puts it into a [`Task`].
pub(crate) fn catch<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map_err(Panicked::new)
}

/// A future that has something of the application in it: it is polled and dropped here.
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

/// Tells a task of the application something once. Its waker is woken here, also if it is told nothing.
#[derive(Debug)]
pub(crate) struct Teller<T>(Option<oneshot::Sender<T>>);

pub(crate) fn channel<T>() -> (Teller<T>, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    (Teller(Some(sender)), receiver)
}

impl<T> Teller<T> {
    /// Nobody minds if nobody waits for it any more.
    pub(crate) fn tell(mut self, what: T) {
        if let Some(sender) = self.0.take()
            && let Err(panicked) = run(|| drop(sender.send(what)))
        {
            log::warn!("a task that waits for an outcome {panicked} (its waker)");
        }
    }

    /// Nobody waits for it any more.
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
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// Panics when it is dropped, with another one of these as long as there are some.
    struct Bomb(Rc<Cell<u32>>, u32);

    struct Payload(u32);

    impl Drop for Payload {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::panic_any(Payload(self.1));
        }
    }

    #[test]
    fn what_is_said_is_told_cut_and_escaped() {
        let said = |code: fn()| run(code).unwrap_err().to_string();
        assert_eq!(run(|| 7), Ok(7));
        assert_eq!(said(|| panic!("so\n{}", 7)), "panicked: so\\n7");
        assert_eq!(said(|| panic!("plain")), "panicked: plain");
        assert_eq!(said(|| std::panic::panic_any(7)), "panicked");
        assert!(said(|| panic!("{}", "x".repeat(100_000))).len() < 1_000);
    }

    #[test]
    fn what_panics_when_it_is_dropped_is_dropped_once_and_no_more() {
        for depth in 0..4 {
            let drops = Rc::default();
            let bomb = || Bomb(Rc::clone(&drops), depth);
            drop(Kept::new(bomb()));
            assert_eq!(drops.get(), 1);
            let future = bomb();
            drop(Task::new(async move { drop(future) }));
            let future = bomb();
            let outcome = Task::new(async move { drop(future) }).now_or_never();
            assert_eq!(outcome.unwrap().unwrap_err().to_string(), "panicked");
            assert_eq!(drops.get(), 3);
            let future = bomb();
            let held = Task::new(async move {
                let _held = future;
                std::future::pending::<()>().await;
            });
            assert!(held.now_or_never().is_none());
            assert_eq!(drops.get(), 4);
            assert!(run(|| std::panic::panic_any(Payload(depth))).is_err());
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
