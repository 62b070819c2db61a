//! The call that a subscription came from, and what happens when its subscriber is too slow.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::atomic::{AtomicU64, Ordering},
};

/// Identifies a call to subscribe, among those of all threads and namespaces. What an actor subscribes
/// to in several calls is one subscription, with the numbers of all these calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(pub(crate) u64);

impl SubscriptionId {
    pub(crate) const MAX: Self = Self(u64::MAX);

    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The owner of a subscription without an actor: a number that is no actor's.
    pub(crate) fn alone(self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(("alone", self.0))
    }
}

/// What to do when events come faster than a subscriber handles them.
///
/// An actor's mailbox takes as many messages as the actor allows, plus one; and no more than 256 KiB of
/// events, and the one that exceeds that. Further events wait in
/// the namespace; these are the events that `waiting` counts. With every policy they also count for
/// the [`receive_window`](crate::ClientBuilder::receive_window). The connection pauses only when
/// that is full, so keep `waiting` well below it.
///
/// Set it before subscribing: with the handle
/// ([`Socket::with_overflow`](crate::Socket::with_overflow)), with
/// [`Listen::overflow`](crate::Listen::overflow), or as the default of a
/// [namespace](crate::NamespaceBuilder::overflow) or a [client](crate::ClientBuilder::overflow). An
/// actor has one subscription to a namespace: of several calls, the last one that sets an overflow
/// counts. Events that wait already are kept.
///
/// ```
/// use actix::Recipient;
/// use actix_socketio::{Event, Overflow, Socket};
///
/// fn follow(socket: &Socket, prices: Recipient<Event>) {
///     // A late subscriber may miss a price, and must not hold up the others.
///     let newest = Overflow::DropNewest { waiting: 100 };
///     socket.with_overflow(newest).subscribe_to::<Event>(prices);
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Hold back the server, and with it the other subscribers of the connection. If that lasts too
    /// long, keep the waiting events and miss newer ones; see [`Lagged`](crate::Lagged). A burst
    /// that fits into the [window](crate::ClientBuilder::receive_window) is not missed.
    #[default]
    Pause,
    /// Drop new events while `waiting` events wait. [`Lagged`](crate::Lagged) comes in their place.
    DropNewest {
        /// The most events that wait.
        waiting: usize,
    },
    /// Leave the namespace when more than `waiting` events wait, or when the heartbeat would force
    /// the subscriber to miss some: for a subscriber that needs every single event.
    ///
    /// The namespace is left as by [`Socket::disconnect`](crate::Socket::disconnect), after the
    /// events emitted before. All its subscribers get the events that have been read, and then
    /// [`Disconnected`](crate::Disconnected) with
    /// [`Reason::SlowSubscriber`](crate::Reason::SlowSubscriber). It stays left until
    /// [`Socket::connect`](crate::Socket::connect).
    Disconnect {
        /// The most events that wait.
        waiting: usize,
    },
    /// Close the connection when more than `waiting` events wait, or when the heartbeat would force
    /// the subscriber to miss some, and join again when the subscriber has handled what waits: for a
    /// subscriber that needs every single event of a server that [recovers](crate::Ready::recovered) sessions.
    ///
    /// The connection is closed without leaving the namespace, so that the server keeps the session, by
    /// default for two minutes. It then sends what was emitted in the meantime: nothing is missing and
    /// nothing comes twice. If the server does not recover the session, as
    /// [`Ready::recovered`](crate::Ready::recovered) shows, what was emitted in the meantime is lost; so are
    /// events without an [offset](crate::Event::offset).
    ///
    /// All subscribers of the namespace get [`Disconnected`](crate::Disconnected) with
    /// [`Reason::SlowSubscriber`](crate::Reason::SlowSubscriber), and later [`Ready`](crate::Ready). Events emitted
    /// meanwhile wait, as for any lost connection. Other namespaces of the client lose the
    /// connection, too ([`Reason::Reconnect`](crate::Reason::Reconnect)), and are joined again without this one.
    LetGo {
        /// The most events that wait, apart from those that were read together with the one that exceeds this.
        waiting: usize,
    },
}

/// What follows when events come too fast for a subscriber. The greater one prevails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Overrun {
    LetGo,
    Leave,
}
