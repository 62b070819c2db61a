//! Which call a subscription came from, and what happens when its subscriber is too slow.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::atomic::{AtomicU64, Ordering},
};

/// Tells calls to subscribe apart, those of all threads and namespaces. What an actor subscribes
/// to in several calls is one subscription, that goes by the numbers of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriptionId(pub(crate) u64);

impl SubscriptionId {
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
/// It is said before anything can come: by the handle that subscribes
/// ([`Socket::with_overflow`](crate::Socket::with_overflow)), or for a function, a stream or a filter
/// by [`Listen::overflow`](crate::Listen::overflow). What one actor hears of a namespace is one
/// subscription with one of these: of several calls, the last one that sets it counts, and what
/// waits already stays.
///
/// ```
/// use actix::Recipient;
/// use actix_socketio::{Event, Overflow, Socket};
///
/// fn follow(socket: &Socket, prices: Recipient<Event>) {
///     // Who comes late for a price may miss it, and must not hold up the others.
///     let newest = Overflow::DropNewest { waiting: 100 };
///     socket.with_overflow(newest).subscribe_to::<Event>(prices);
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
