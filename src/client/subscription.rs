//! The handle of one subscription.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{
    actor::{
        command_queue::{Command, Refused},
        namespace_ref::NamespaceRef,
        subscribers::{NewSubscription, policy::SubscriptionId},
    },
    logs::say,
};

/// A handle to a subscription of an actor, a function or a stream to one namespace.
///
/// It need not be kept: dropping it changes nothing. It keeps nothing alive, and may be used from
/// any thread.
///
/// All calls with which an actor subscribes to one namespace make one subscription, with one order
/// and one [`Overflow`](crate::Overflow). Only calls with [`once`](crate::Listen::once) make
/// subscriptions of their own.
///
/// If [too many calls](crate::error::Busy) wait for the namespace already, a subscription ends before it has begun:
/// the log has a warning, and a stream ends at once.
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
    namespace_ref: Arc<NamespaceRef>,
    number: SubscriptionId,
    /// It never began, or was cancelled.
    is_over: Arc<AtomicBool>,
}

impl Subscription {
    pub(super) fn begin(namespace_ref: &Arc<NamespaceRef>, subscription: NewSubscription) -> Self {
        let number = subscription.number;
        let taken = namespace_ref.tell(Command::Subscribe(Box::new(subscription)));
        match taken {
            Ok(()) => {}
            Err(Refused::Gone) => {
                say!(log::Level::Debug, namespace_ref.name, "too late to subscribe");
            }
            Err(Refused::Busy) => namespace_ref.warn_of_refused(),
        }
        let is_over = Arc::new(AtomicBool::new(taken.is_err()));
        Self { namespace_ref: Arc::clone(namespace_ref), number, is_over }
    }

    /// Ends the subscription, as soon as the namespace gets to this call. Messages that are already
    /// in the actor's mailbox still arrive, and questions among them are still
    /// [answered](crate::Socket::answer). Messages that wait for room in the mailbox are dropped.
    ///
    /// A handle of [`on`](crate::Socket::on), [`answer`](crate::Socket::answer) or
    /// [`Listen`](crate::Listen) ends just what that call began. A handle of
    /// [`subscribe`](crate::Socket::subscribe) or [`subscribe_to`](crate::Socket::subscribe_to)
    /// ends everything that the actor has subscribed to in this namespace, except for calls with
    /// [`once`](crate::Listen::once).
    ///
    /// Does nothing if the subscription is over. The actor may subscribe again; that is a new
    /// subscription.
    pub fn cancel(self) {
        if !self.is_over.swap(true, Relaxed) {
            // If the actor is gone, there is nothing to cancel.
            self.namespace_ref.tell(Command::Cancel(self.number)).ok();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace_ref, number, is_over: _ } = self;
        f.debug_struct("Subscription")
            .field("namespace", &namespace_ref.name.namespace)
            .field("number", &number.0)
            .finish_non_exhaustive()
    }
}
