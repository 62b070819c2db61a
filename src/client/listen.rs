//! Subscriptions by a filter or a kind of message, with properties: what [`Socket::listen`] begins.

use std::{fmt, marker::PhantomData, sync::Arc};

use actix::{Message, Recipient};

use crate::{
    actor::{
        namespace_ref::NamespaceRef,
        subscribers::{
            NewSubscription,
            filter::Filter,
            function::Function,
            interests::{Listenable, Owner},
            listener::Listener,
            policy::{Overflow, SubscriptionId},
            stream::Messages,
        },
    },
    client::{socket::Socket, subscription::Subscription},
    message::Event,
};

/// A subscription that is being set up: first its properties, and at the end its receiver, which is
/// an actor, a function or a stream. See [`Socket::listen`] and [`Socket::listen_to`].
///
/// | property | |
/// |---|---|
/// | [`once`](Self::once) | ends after one message |
/// | [`overflow`](Self::overflow) | what to do when events come too fast |
///
/// | end | gets the messages |
/// |---|---|
/// | [`actor`](Self::actor) | in its mailbox, in order with its other messages of the namespace |
/// | [`call`](Self::call) | as the argument of a function, on the arbiter of the client |
/// | [`stream`](Self::stream) | when it is polled, on any thread |
///
/// ```
/// use actix_socketio::{Disconnected, Event, Filter, Overflow, Ready, Socket};
/// use futures::StreamExt;
///
/// async fn watch(socket: &Socket) {
///     socket.listen("price").call(|event| println!("{}", event.name()));
///     socket.listen_to::<Disconnected>().call(|gone| println!("gone: {}", gone.reason()));
///
///     let first: Option<Ready> = socket.listen_to::<Ready>().once().stream().next().await;
///
///     let newest = Overflow::DropNewest { waiting: 100 };
///     let mut orders = socket.listen(Filter::prefix("order:")).overflow(newest).stream();
///     while let Some(order) = orders.next().await {
///         println!("{order:?}");
///     }
/// }
/// ```
///
/// A function or a stream is a subscriber of its own, with the bounds of an actor. Events that it
/// handles too slowly wait in the namespace and hold the connection back, unless
/// [`overflow`](Self::overflow) says otherwise. Of life-cycle messages, at most 64 wait; then the
/// oldest is dropped.
#[must_use = "nothing is heard before it is said who hears it: `.actor(…)`, `.call(…)` or `.stream()`"]
pub struct Listen<M = Event> {
    namespace_ref: Arc<NamespaceRef>,
    filter: Filter,
    is_once: bool,
    overflow: Option<Overflow>,
    kind: PhantomData<fn() -> M>,
}

impl<M: Listenable> Listen<M> {
    pub(super) fn new(socket: &Socket, filter: Filter) -> Self {
        Self {
            namespace_ref: Arc::clone(&socket.namespace_ref),
            filter,
            is_once: false,
            overflow: socket.overflow,
            kind: PhantomData,
        }
    }

    /// Ends the subscription after one message.
    ///
    /// If the namespace is joined already, its [`Ready`](crate::Ready) comes at once. Of the events
    /// that came before the first subscriber, this takes the first one that fits; the others are
    /// kept. An event that does not fit the type counts as well.
    ///
    /// This makes a subscription of its own. An actor that has another one gets the message from
    /// both, and the order between the two is not kept. The message is never missed.
    pub fn once(mut self) -> Self {
        self.is_once = true;
        self
    }

    /// Sets what to do when events come faster than they are handled, from the first one on.
    /// Default: that of the [handle](Socket::with_overflow), then that of the namespace, which is
    /// [`Overflow::Pause`] unless set.
    ///
    /// For an actor, it applies to its whole subscription to the namespace: the last call that sets
    /// one counts. It has no effect on [`once`](Self::once).
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Sends the messages to an actor.
    ///
    /// An actor has one subscription to a namespace, with one order, however many calls made it. So
    /// these messages come in order with all its others, except with [`once`](Self::once).
    pub fn actor(self, actor: impl Into<Recipient<M>>) -> Subscription
    where
        M: Message<Result = ()>,
    {
        let (owner, recipient) = Owner::of(actor);
        self.owned(owner, recipient)
    }

    /// Calls a function with each message. It runs on the arbiter of the client and must not block
    /// it, or heartbeats are missed: move long work to another arbiter. If the function panics, it is
    /// removed, and the log names it. (To emit an event and wait for its answer: [`Socket::call`].)
    ///
    /// ```
    /// # fn example(socket: &actix_socketio::Socket) {
    /// socket.listen("price").call(|event| {
    ///     if let Ok((what, price)) = event.args::<(String, f64)>() {
    ///         println!("{what} costs {price}");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn call<F>(self, function: F) -> Subscription
    where
        F: FnMut(M) + Send + 'static,
    {
        let what = M::what(&self.filter);
        let function = Function::new(function, Arc::clone(&self.namespace_ref.name), what);
        self.alone(function)
    }

    /// Returns the messages as a stream, which ends with the client. Dropping the stream ends the
    /// subscription.
    ///
    /// ```
    /// use actix_socketio::{Event, Filter};
    /// use futures::StreamExt;
    ///
    /// # async fn example(socket: &actix_socketio::Socket) {
    /// let mut events = socket.listen(Filter::all()).stream();
    /// while let Some(event) = events.next().await {
    ///     println!("{}", event.name());
    /// }
    /// # }
    /// ```
    pub fn stream(self) -> Messages<M> {
        let (channel, messages) = Messages::new();
        self.alone(channel);
        messages
    }

    /// The messages go to a listener of an actor.
    pub(super) fn owned(self, owner: Owner, listener: impl Listener<M> + 'static) -> Subscription {
        let number = SubscriptionId::next();
        let owner = if self.is_once { owner.apart(number) } else { owner };
        self.begin(number, owner, listener)
    }

    /// The messages go to a listener without an actor.
    pub(super) fn alone(self, listener: impl Listener<M> + 'static) -> Subscription {
        let number = SubscriptionId::next();
        self.begin(number, Owner::alone(number), listener)
    }

    fn begin(
        self,
        number: SubscriptionId,
        owner: Owner,
        listener: impl Listener<M> + 'static,
    ) -> Subscription {
        let Self { namespace_ref, filter, is_once, overflow, kind: _ } = self;
        let interests = M::listen(number, owner, filter, listener);
        Subscription::begin(
            &namespace_ref,
            NewSubscription { number, interests, is_once, overflow },
        )
    }
}

impl<M> fmt::Debug for Listen<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace_ref, filter, is_once, overflow, kind: _ } = self;
        f.debug_struct("Listen")
            .field("namespace", &namespace_ref.name.namespace)
            .field("filter", filter)
            .field("once", is_once)
            .field("overflow", overflow)
            .finish()
    }
}
