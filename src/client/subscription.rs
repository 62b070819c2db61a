//! The handle of one subscription.

use std::{fmt, sync::Arc};

use crate::actor::{
    messages::FromHandle,
    namespace_ref::NamespaceRef,
    subscribers::{NewSubscription, policy::SubscriptionId},
};

/// A handle to a subscription: what an actor, or a function, hears of one namespace.
///
/// There is no need to keep it: dropping it changes nothing. Nor does it keep anything alive. It
/// may be used on any thread.
///
/// An actor that subscribes to several things of one namespace has one subscription to them all, with
/// one order and one [`Overflow`](crate::Overflow). Only what it hears
/// [once](crate::Listen::once) is apart.
///
/// ```
/// use actix::Recipient;
/// use actix_socketio::{Event, Lagged, Socket, Subscription};
///
/// fn follow(socket: &Socket, events: Recipient<Event>, lagged: Recipient<Lagged>) -> Subscription {
///     socket.subscribe_to::<Lagged>(lagged);
///     socket.subscribe_to::<Event>(events)
/// }
///
/// fn enough(subscription: Subscription) {
///     subscription.cancel();
/// }
/// ```
#[derive(Clone)]
pub struct Subscription {
    port: Arc<NamespaceRef>,
    number: SubscriptionId,
}

impl Subscription {
    pub(super) fn begin(port: &Arc<NamespaceRef>, subscription: NewSubscription) -> Self {
        let number = subscription.number;
        if !port.tell(FromHandle::Subscribe { subscription: Box::new(subscription) }) {
            log::debug!("{}: too late to subscribe", port.name);
        }
        Self { port: Arc::clone(port), number }
    }

    /// Ends the subscription: the actor hears nothing more, once the namespace has got to this.
    /// Messages that are in its mailbox already still come, and are
    /// [answered](crate::Socket::answer); what waited for room in it does not.
    ///
    /// A handle of [`on`](crate::Socket::on), [`answer`](crate::Socket::answer) or a
    /// [`Listen`](crate::Listen) ends just that. One of [`subscribe`](crate::Socket::subscribe) or
    /// [`subscribe_to`](crate::Socket::subscribe_to) ends all that the actor has subscribed to, but for
    /// what it hears [once](crate::Listen::once).
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
