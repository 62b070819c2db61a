//! Hearing by a filter or a kind, with properties: what [`Socket::listen`] begins.

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

/// Begins to hear messages of one kind: properties first, and at the end whoever gets them, which is
/// an actor, a function or a stream. See [`Socket::listen`] and [`Socket::listen_to`].
///
/// | property | |
/// |---|---|
/// | [`once`](Self::once) | one message, and no more |
/// | [`overflow`](Self::overflow) | what to do when events come too fast |
///
/// | end | gets the messages |
/// |---|---|
/// | [`actor`](Self::actor) | in its mailbox, in one order with all else that it hears of the namespace |
/// | [`call`](Self::call) | by a call, on the arbiter of the client |
/// | [`stream`](Self::stream) | when it is polled, on any thread |
///
/// ```
/// use actix_socketio::{Disconnected, Event, Filter, Overflow, Ready, Socket};
/// use futures::StreamExt;
///
/// async fn watch(socket: &Socket) {
///     socket.listen("price").call(|event| println!("{event:?}"));
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
/// A function or a stream is a subscriber of its own, with the bounds of an actor: events that it
/// takes too slowly wait in the namespace and hold the connection up, unless the
/// [`Overflow`](Self::overflow) says otherwise; of other messages, no more than 64 wait, and the oldest
/// one gives way.
#[must_use = "nothing is heard before it is said who hears it: `.actor(…)`, `.call(…)` or `.stream()`"]
pub struct Listen<M = Event> {
    port: Arc<NamespaceRef>,
    filter: Filter,
    is_once: bool,
    overflow: Option<Overflow>,
    kind: PhantomData<fn() -> M>,
}

impl<M: Listenable> Listen<M> {
    pub(super) fn new(socket: &Socket, filter: Filter) -> Self {
        Self {
            port: Arc::clone(&socket.port),
            filter,
            is_once: false,
            overflow: socket.overflow,
            kind: PhantomData,
        }
    }

    /// One message, and none after it.
    ///
    /// If the namespace is joined already, its [`Ready`](crate::Ready) comes at once. Of the events
    /// that came before anybody had subscribed, it takes the first one that fits; the others are kept
    /// on. An event that does not have the shape of the type that was asked for counts as well.
    ///
    /// This is a subscription of its own: an actor that has another one gets the message from both,
    /// and its place in the order of the other's is not kept. It never misses anything.
    pub fn once(mut self) -> Self {
        self.is_once = true;
        self
    }

    /// What to do when events come faster than they are taken, from the first one on. Default: what the
    /// [handle](Socket::with_overflow) says, and then [`Overflow::Pause`].
    ///
    /// Of an actor it is the property of its whole subscription to the namespace: the last call that
    /// sets one counts. It means nothing to one message.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// The messages go to an actor.
    ///
    /// What one actor hears of a namespace is one subscription, with one order, however many calls
    /// it takes: but for [`once`](Self::once), these messages come in the order of all others.
    pub fn actor(self, actor: impl Into<Recipient<M>>) -> Subscription
    where
        M: Message<Result = ()>,
    {
        let (owner, recipient) = Owner::of(actor);
        let number = SubscriptionId::next();
        let owner = if self.is_once { owner.apart(number) } else { owner };
        self.begin(number, owner, recipient)
    }

    /// A function is called with each message. It runs on the arbiter of the client, and must not
    /// block it: what takes long is for another arbiter, or the heartbeat is missed. One that panics
    /// is forgotten, and the log says which.
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
        let function = Function::new(function, self.port.name.clone(), what);
        let number = SubscriptionId::next();
        self.begin(number, Owner::alone(number), function)
    }

    /// The messages come as a stream, which ends with the client. Drop it to hear no more.
    ///
    /// ```
    /// use actix_socketio::{Event, Filter};
    /// use futures::StreamExt;
    ///
    /// # async fn example(socket: &actix_socketio::Socket) {
    /// let mut events = socket.listen(Filter::all()).stream();
    /// while let Some(event) = events.next().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub fn stream(self) -> Messages<M> {
        let (channel, messages) = Messages::new();
        let number = SubscriptionId::next();
        self.begin(number, Owner::alone(number), channel);
        messages
    }

    fn begin(
        self,
        number: SubscriptionId,
        owner: Owner,
        listener: impl Listener<M> + 'static,
    ) -> Subscription {
        let Self { port, filter, is_once, overflow, kind: _ } = self;
        let interests = M::listen(number, owner, filter, listener);
        Subscription::begin(&port, NewSubscription { number, interests, is_once, overflow })
    }
}

impl<M> fmt::Debug for Listen<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, filter, is_once, overflow, kind: _ } = self;
        f.debug_struct("Listen")
            .field("namespace", &port.name.namespace)
            .field("filter", filter)
            .field("once", is_once)
            .field("overflow", overflow)
            .finish()
    }
}
