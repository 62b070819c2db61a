//! How actors end: what was emitted is sent first, as far as the deadline allows.

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
    /// The server is to believe that the connection is lost, and to wait for another one.
    HandOver,
}

/// How far a Namespace is with ending.
#[derive(Debug)]
pub(crate) enum Stage {
    Open,
    /// It ends so as soon as all is sent and answered.
    Finishing(Ending),
    /// It has ended for good, and stops as soon as its subscribers have got everything. The latch is
    /// dropped when all that was asked of the actor has been handled.
    Over(Option<Arc<ShutdownLatch>>),
}

/// The shutdown of a Connection that goes on.
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

    /// Somebody else waits.
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
