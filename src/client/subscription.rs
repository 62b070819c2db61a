//! The handle of one subscription.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    actor::namespace::{Cancel, SetOverflow},
    actor::namespace_ref::Port,
};

/// Tells calls to subscribe apart, those of all threads and namespaces. What an actor subscribes
/// to in several calls is one subscription, that goes by the numbers of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Number {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Stands for an actor where there is none: like the hash of nobody's address.
    pub(crate) fn alone(self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(("alone", self.0))
    }
}

/// What to do when events come faster than a subscriber handles them.
///
/// An actor's mailbox takes as many messages as the actor allows, and one more. Events beyond that
/// wait in the namespace, and count as waiting here. With every policy they count for
/// [`receive_window`](crate::ClientBuilder::receive_window) as well, so a connection with slow
/// subscribers only pauses where that comes first: keep `waiting` well below it.
///
/// ```
/// use actix::Recipient;
/// use actix_socketio::{Event, Overflow, Socket};
///
/// fn follow(socket: &Socket, prices: Recipient<Event>) {
///     // Who comes late for a price may miss it, and must not hold up the others.
///     socket.subscribe_to(prices).overflow(Overflow::DropNewest { waiting: 100 });
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Hold back the server, and with it the other subscribers of the connection. If that goes on
    /// for too long, keep what waits and miss what comes, as [`Lagged`](crate::Lagged) has it. A
    /// [window](crate::ClientBuilder::receive_window) that takes the largest burst has it miss nothing
    /// of that.
    #[default]
    Pause,
    /// Drop what comes while so many events wait. [`Lagged`](crate::Lagged) stands for them in
    /// their place.
    DropNewest {
        /// How many events wait at most.
        waiting: usize,
    },
    /// Leave the namespace when more events wait than so many, or when the heartbeat would have it
    /// miss some: for a subscriber that is of no use without each of them.
    ///
    /// It is left as by [`Socket::disconnect`](crate::Socket::disconnect), behind what was emitted
    /// before; all its subscribers get [`Disconnected`](crate::Disconnected) with
    /// [`Reason::SlowSubscriber`](crate::Reason::SlowSubscriber), behind the events that wait and
    /// those that had been read by then. It stays left until
    /// [`Socket::connect`](crate::Socket::connect).
    Disconnect {
        /// How many events wait at most.
        waiting: usize,
    },
}

/// A handle to a subscription: what an actor hears of one namespace.
///
/// There is no need to keep it: dropping it changes nothing. Nor does it keep anything alive. It
/// may be used on any thread.
///
/// An actor that subscribes to several things, with [`Socket::subscribe`] and
/// [`Socket::subscribe_to`], has one subscription to them all, and every one of these calls gives
/// a handle to the whole of it. [`Socket::subscribe_once`] makes another one each time.
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
/// [`Socket::subscribe_once`]: crate::Socket::subscribe_once
#[derive(Clone)]
pub struct Subscription {
    port: Arc<Port>,
    number: Number,
}

impl Subscription {
    pub(crate) fn new(port: Arc<Port>, number: Number) -> Self {
        Self { port, number }
    }

    /// Sets what to do when events come too fast. Default: [`Overflow::Pause`].
    ///
    /// It applies from then on, to the whole subscription: what waits already is not touched, but
    /// counts. Between the call that subscribes and this one a few events may come, or those that
    /// were kept for the first subscriber; they wait like all others. It means nothing to a
    /// subscription to one message.
    #[expect(clippy::return_self_not_must_use, reason = "the handle need not be kept")]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.port.tell(SetOverflow { number: self.number, overflow });
        self
    }

    /// Ends the subscription: the actor hears nothing more, once the namespace has got to this.
    /// Messages that are in its mailbox already still come, and are
    /// [answered](crate::Socket::answer); what waited for room in it does not.
    ///
    /// A handle of [`on`](crate::Socket::on) or one of its kind ends just that. One of
    /// [`subscribe`](crate::Socket::subscribe) or [`subscribe_to`](crate::Socket::subscribe_to) ends
    /// all that the actor has subscribed to, but for single messages
    /// ([`subscribe_once`](crate::Socket::subscribe_once)).
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
            .field("namespace", &port.name.namespace)
            .field("number", &number.0)
            .finish_non_exhaustive()
    }
}
