//! The handle of one subscription.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{namespace::Cancel, port::Port};

/// Tells calls to subscribe apart, those of all threads and namespaces. What an actor subscribes
/// to in several calls is one subscription, that goes by the numbers of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Number {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A handle to a subscription: what an actor hears of one namespace.
///
/// There is no need to keep it: dropping it changes nothing. Nor does it keep anything alive. It
/// may be used on any thread.
///
/// An actor that subscribes to several things, with [`Socket::subscribe`] and
/// [`Socket::subscribe_to`], has one subscription to them all, and every one of these calls gives
/// a handle to the whole of it.
///
/// ```
/// use actix::Recipient;
/// use actix_socketio::{Event, Lagged, Socket, Subscription};
///
/// fn follow(socket: &Socket, events: Recipient<Event>, lagged: Recipient<Lagged>) -> Subscription {
///     socket.subscribe_to(lagged);
///     socket.subscribe_to(events)
/// }
///
/// fn enough(subscription: Subscription) {
///     subscription.cancel();
/// }
/// ```
///
/// [`Socket::subscribe`]: crate::Socket::subscribe
/// [`Socket::subscribe_to`]: crate::Socket::subscribe_to
#[derive(Clone)]
pub struct Subscription {
    port: Arc<Port>,
    number: Number,
}

impl Subscription {
    pub(crate) fn new(port: Arc<Port>, number: Number) -> Self {
        Self { port, number }
    }

    /// Ends the subscription: the actor hears nothing more, once the namespace has got to this.
    /// Messages that are in its mailbox already still come; what waited for room in it does not.
    ///
    /// Does nothing if the subscription is over. The actor may subscribe again, which is another
    /// subscription.
    pub fn cancel(self) {
        self.port.tell(Cancel { number: self.number });
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, number } = self;
        f.debug_struct("Subscription")
            .field("namespace", &port.namespace)
            .field("number", &number.0)
            .finish_non_exhaustive()
    }
}
