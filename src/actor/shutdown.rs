//! How the actors end: emitted events are sent first, as far as the deadline allows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    proto::ticket::SessionTicket,
    runtime::task::{Purge, Teller},
};

/// How a shutdown ends a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server is told.
    Leave,
    /// The server is not told: it sees a lost connection, and waits for another one.
    HandOver,
}

/// The stages of the end of a Namespace.
#[derive(Debug)]
pub(crate) enum Stage {
    Open,
    /// It ends in this way as soon as everything is sent and answered.
    Finishing(Ending),
    /// It has ended for good, and stops as soon as its subscribers have everything. The latch is
    /// dropped when all commands to the actor have been handled.
    Over(Option<Arc<ShutdownLatch>>),
}

/// A shutdown of a Connection that is under way.
#[derive(Debug)]
pub(crate) struct Shutdown {
    pub(crate) until: Instant,
    pub(crate) ending: Ending,
    pub(crate) latch: ShutdownLatch,
}

/// Shared by all parts that must end first. The last one to drop it wakes the callers that wait.
#[derive(Debug, Default)]
pub(crate) struct ShutdownLatch {
    waiters: ShutdownWaiters,
    tickets: Mutex<Vec<SessionTicket>>,
}

/// Tells a caller that a shutdown is over.
pub(crate) type ShutdownSender = Teller<Vec<SessionTicket>>;

/// Callers that wait for the end: as many as there are futures of the application.
#[derive(Debug, Default)]
pub(crate) struct ShutdownWaiters {
    all: Vec<ShutdownSender>,
    purge: Purge,
}

impl ShutdownWaiters {
    fn push(&mut self, waiter: ShutdownSender) {
        if self.purge.is_due(self.all.len()) {
            self.all.retain(|waiter| !waiter.is_canceled());
            self.purge.done(self.all.len());
        }
        self.all.push(waiter);
    }

    fn append(&mut self, other: Self) {
        other.all.into_iter().for_each(|waiter| self.push(waiter));
    }
}

/// What the handles ask the Connection for. However often they ask, only one message waits in its mailbox.
#[derive(Debug, Default)]
pub(crate) struct ShutdownRequests(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    /// The earliest deadline, and the way that was asked for first.
    wanted: Option<(Instant, Ending)>,
    waiters: ShutdownWaiters,
    /// Whether the Connection has gone, and takes no more requests.
    is_over: bool,
}

impl ShutdownRequests {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a shutdown. `true` if the Connection must be told.
    pub(crate) fn push(&self, until: Instant, ending: Ending, waiter: ShutdownSender) -> bool {
        let mut requests = self.requests();
        if requests.is_over {
            drop(requests);
            // Dropping it wakes a task, which may use this lock.
            drop(waiter);
            return false;
        }
        requests.waiters.push(waiter);
        let before = requests.wanted;
        let (earliest, first) = before.unwrap_or((until, ending));
        requests.wanted = Some((earliest.min(until), first));
        before.is_none()
    }

    /// What was asked for since this was last called.
    fn take(&self) -> Option<(Instant, Ending, ShutdownWaiters)> {
        let mut requests = self.requests();
        let (until, ending) = requests.wanted.take()?;
        Some((until, ending, std::mem::take(&mut requests.waiters)))
    }

    fn close(&self) {
        let mut requests = self.requests();
        requests.is_over = true;
        let waiters = std::mem::take(&mut requests.waiters);
        drop(requests);
        drop(waiters);
    }
}

/// The other end of [`ShutdownRequests`], which a Connection has even before it is started. When it is dropped,
/// callers stop waiting.
#[derive(Debug)]
pub(crate) struct ShutdownInbox(pub(crate) Arc<ShutdownRequests>);

impl ShutdownInbox {
    /// What was asked for since this was last called.
    pub(crate) fn take(&self) -> Option<(Instant, Ending, ShutdownWaiters)> {
        self.0.take()
    }
}

impl Drop for ShutdownInbox {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl ShutdownLatch {
    /// Adds callers that wait.
    pub(crate) fn add(&mut self, waiters: ShutdownWaiters) {
        self.waiters.append(waiters);
    }

    /// A namespace has ended, and another client may continue its session.
    pub(crate) fn hand_over(&self, ticket: SessionTicket) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }
}

impl Drop for ShutdownLatch {
    fn drop(&mut self) {
        let tickets =
            std::mem::take(self.tickets.get_mut().unwrap_or_else(PoisonError::into_inner));
        for waiter in self.waiters.all.drain(..) {
            waiter.tell(tickets.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::task;

    #[test]
    fn of_many_requests_one_is_told_and_only_callers_that_wait_are_kept() {
        let start = Instant::now();
        let requests = Arc::<ShutdownRequests>::default();
        let inbox = ShutdownInbox(Arc::clone(&requests));
        let mut latch = ShutdownLatch::default();
        let mut waiting = Vec::new();
        for number in 0..10_000_u64 {
            let (waiter, done) = task::channel();
            let until = start + Duration::from_secs(20_000 - number);
            assert_eq!(requests.push(until, Ending::Leave, waiter), number % 1_000 == 0);
            if number % 100 == 0 {
                waiting.push(done);
            }
            let waiters = requests.requests().waiters.all.len() + latch.waiters.all.len();
            assert!(waiters <= 2 * (2 * waiting.len() + task::SPARE) + 2, "{waiters}");
            if number % 1_000 == 999 {
                let (earliest, _, waiters) = inbox.take().unwrap();
                assert_eq!(earliest, until);
                latch.add(waiters);
            }
        }
        assert!(inbox.take().is_none());
        drop(latch);
        assert!(waiting.iter_mut().all(|done| done.try_recv() == Ok(Some(Vec::new()))));

        let (waiter, mut before) = task::channel();
        assert!(requests.push(start, Ending::Leave, waiter));
        drop(inbox);
        let (waiter, mut behind) = task::channel();
        assert!(!requests.push(start, Ending::Leave, waiter));
        assert!(before.try_recv().is_err() && behind.try_recv().is_err(), "nobody waits for ever");
    }
}
