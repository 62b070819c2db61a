//! How actors end: emitted events are sent first, as far as the deadline allows.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{proto::ticket::SessionTicket, runtime::task::Teller};

/// How a namespace is ended by a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server is told.
    Leave,
    /// The server is not told: it takes the connection for lost, and waits for another one.
    HandOver,
}

/// The stages of the end of a Namespace.
#[derive(Debug)]
pub(crate) enum Stage {
    Open,
    /// It ends in this way as soon as everything is sent and answered.
    Finishing(Ending),
    /// It has ended for good, and stops as soon as its subscribers have got everything. The latch is
    /// dropped when all that was asked of the actor has been handled.
    Over(Option<Arc<ShutdownLatch>>),
}

/// A shutdown of a Connection that is under way.
#[derive(Debug)]
pub(crate) struct Shutdown {
    pub(crate) until: Instant,
    pub(crate) ending: Ending,
    pub(crate) latch: ShutdownLatch,
}

/// Shared by all parts that must end first. The last one to drop it wakes the caller that waits.
#[derive(Debug)]
pub(crate) struct ShutdownLatch {
    waiters: Vec<ShutdownSender>,
    tickets: Mutex<Vec<SessionTicket>>,
}

pub(crate) type ShutdownSender = Teller<Vec<SessionTicket>>;

impl ShutdownLatch {
    pub(crate) fn new(waiter: Option<ShutdownSender>) -> Self {
        Self { waiters: waiter.into_iter().collect(), tickets: Mutex::default() }
    }

    /// Another caller waits.
    pub(crate) fn add(&mut self, waiter: Option<ShutdownSender>) {
        self.waiters.extend(waiter);
    }

    /// A namespace has ended, and may be gone on with.
    pub(crate) fn hand_over(&self, ticket: SessionTicket) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }
}

impl Drop for ShutdownLatch {
    fn drop(&mut self) {
        let tickets =
            std::mem::take(self.tickets.get_mut().unwrap_or_else(PoisonError::into_inner));
        for waiter in self.waiters.drain(..) {
            waiter.tell(tickets.clone());
        }
    }
}
