//! The handle of one subscription.

use std::{fmt, sync::Arc};

use crate::actor::{
    messages::FromHandle,
    namespace_ref::NamespaceRef,
    subscribers::policy::{Overflow, SubscriptionId},
};

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
    port: Arc<NamespaceRef>,
    number: SubscriptionId,
}

impl Subscription {
    pub(crate) fn new(port: Arc<NamespaceRef>, number: SubscriptionId) -> Self {
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
        self.port.tell(FromHandle::SetOverflow { number: self.number, overflow });
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
        self.port.tell(FromHandle::Cancel { number: self.number });
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
