//! The ways to receive what comes to a namespace.

use actix::{Actor, Addr, Handler, Message, Recipient, dev::ToEnvelope};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::subscribers::{
        NewSubscription,
        filter::Filter,
        interests::{Interests, Listenable, Owner, Subscribable},
        listener::Listener,
        policy::{Overflow, SubscriptionId},
        typed::Answering,
    },
    client::{listen::Listen, socket::Socket, subscription::Subscription},
    message::{
        Disconnected, Event, Ready,
        contract::{Answer, Call, NamedEvent},
    },
};

/// # Subscribing
///
/// | to receive | call |
/// |---|---|
/// | what most clients need, in one actor | [`subscribe`](Self::subscribe) |
/// | one kind of message | [`subscribe_to`](Self::subscribe_to) |
/// | events as a type of the application | [`on`](Self::on), and with their answers [`answer`](Self::answer) |
/// | events by name, in an actor, a function or a stream; all of them, or just the next one | [`listen`](Self::listen) |
/// | any kind of message, in the same ways | [`listen_to`](Self::listen_to) |
impl Socket {
    /// Subscribes an actor to [`Ready`], [`Event`] and [`Disconnected`].
    ///
    /// The messages go through the actor's mailbox, in the order in which things happened. When the
    /// mailbox is full, further messages wait, in order. When too many wait, the connection pauses,
    /// and the server has to hold back. If that lasts too long, the newest events are dropped for
    /// this actor, and [`Lagged`](crate::Lagged) says so. [`Overflow`] has alternatives. If you
    /// expect bursts, [enlarge the mailbox](actix::Context::set_mailbox_capacity).
    ///
    /// A handler that returns a future counts as busy until the future is done. Return quickly, and
    /// spawn long work. Above all, do not await an answer of the server in a handler.
    ///
    /// If the namespace is joined already, `Ready` comes at once. Some servers send events before
    /// it. `Disconnected` may come twice: when the namespace is lost, and again when the client gives
    /// up on it. For all other messages, such as the failure of the first attempt to join, use
    /// [`subscribe_to`](Self::subscribe_to).
    ///
    /// Events that come before the first subscriber are kept for it, up to 1024 events or 1 MiB.
    /// Beyond that they are discarded, logged, and counted in
    /// [`Stats::missed`](crate::Stats::missed), like all events without a subscriber.
    ///
    /// Subscribe an actor once: after two calls, each event comes twice. A subscriber that has
    /// stopped or panicked is removed. The log names it and counts the waiting events that are lost
    /// (not those in its mailbox). Like any address, a subscription keeps its actor alive until it
    /// is [cancelled](Subscription::cancel).
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_socketio::{Disconnected, Event, Ready, Socket};
    ///
    /// struct Desk;
    ///
    /// impl Actor for Desk {
    ///     type Context = Context<Self>;
    /// }
    /// # impl Handler<Ready> for Desk {
    /// #     type Result = ();
    /// #     fn handle(&mut self, _: Ready, _: &mut Context<Self>) {}
    /// # }
    /// # impl Handler<Disconnected> for Desk {
    /// #     type Result = ();
    /// #     fn handle(&mut self, _: Disconnected, _: &mut Context<Self>) {}
    /// # }
    ///
    /// impl Handler<Event> for Desk {
    ///     type Result = ();
    ///     fn handle(&mut self, event: Event, _: &mut Context<Self>) {
    ///         println!("{}", event.name());
    ///     }
    /// }
    /// // and Handler<Ready>, and Handler<Disconnected>
    ///
    /// fn open(socket: &Socket) {
    ///     let desk = Desk::create(|ctx| {
    ///         ctx.set_mailbox_capacity(256);
    ///         Desk
    ///     });
    ///     socket.subscribe(desk);
    /// }
    /// ```
    pub fn subscribe<A>(&self, addr: Addr<A>) -> Subscription
    where
        A: Actor + Handler<Ready> + Handler<Event> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Ready> + ToEnvelope<A, Event> + ToEnvelope<A, Disconnected>,
    {
        let number = SubscriptionId::next();
        self.begin(number, Interests::of_actor(number, addr))
    }

    /// Subscribes an actor to one kind of message: [`Ready`], [`Event`], [`Disconnected`],
    /// [`ConnectError`](crate::ConnectError), [`Reconnecting`](crate::Reconnecting),
    /// [`Upgraded`](crate::Upgraded), [`GaveUp`](crate::GaveUp), [`ServerError`](crate::ServerError), [`Lagged`](crate::Lagged),
    /// [`Undecodable`](crate::Undecodable) or [`Emitted`](crate::Emitted).
    ///
    /// All calls for one actor make one subscription, with one order. So its `Lagged` counts the
    /// events that this actor missed.
    ///
    /// The handle that this returns stands for everything that the actor has subscribed to in this
    /// namespace: [`cancel`](Subscription::cancel) ends all of it. To end one kind of message by itself,
    /// subscribe with [`listen_to`](Self::listen_to)`().actor(…)`.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_socketio::{ConnectError, Socket};
    ///
    /// struct Alarm;
    ///
    /// impl Actor for Alarm {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<ConnectError> for Alarm {
    ///     type Result = ();
    ///     fn handle(&mut self, error: ConnectError, _: &mut Context<Self>) {
    ///         println!("not joined: {}", error.reason());
    ///     }
    /// }
    ///
    /// fn arm(socket: &Socket) {
    ///     socket.subscribe_to::<ConnectError>(Alarm.start());
    /// }
    /// ```
    pub fn subscribe_to<M: Subscribable>(&self, actor: impl Into<Recipient<M>>) -> Subscription {
        let number = SubscriptionId::next();
        self.begin(number, Interests::of_kind(number, actor))
    }

    /// Subscribes an actor to events of one name as messages of a type of your own. They are
    /// decoded before they are delivered, and come in order with all other messages of the actor.
    /// See [`contract`](crate::message::contract) for an example.
    ///
    /// An event that does not fit the type goes to the subscribers of
    /// [`Undecodable`](crate::Undecodable), or else to the log. An actor may have several of these
    /// beside other subscriptions; [`cancel`](Subscription::cancel) ends this one only.
    pub fn on<E>(&self, actor: impl Into<Recipient<E>>) -> Subscription
    where
        E: NamedEvent + DeserializeOwned + Message<Result = ()> + Send + 'static,
    {
        self.listen_to::<E>().actor(actor)
    }

    /// Lets an actor answer the server's questions of one name. The answer is what its handler
    /// returns: a value, a future or an error. See [`contract`](crate::message::contract).
    ///
    /// An actor answers up to 64 questions at a time; more of them wait, with all messages behind
    /// them. Events that do not ask for an answer are handled as well.
    ///
    /// If there is no answer, the server gets the error `{"error":"…"}`: if the actor stops or
    /// panics before it has answered, or if its answer cannot be serialised or is too large for the
    /// server. After [`cancel`](Subscription::cancel), open questions are still answered.
    pub fn answer<C>(&self, actor: impl Into<Recipient<C>>) -> Subscription
    where
        C: Call + DeserializeOwned + Message + Send + 'static,
        C::Result: Answer<C::Reply> + Send,
        C::Reply: Serialize,
    {
        let (owner, recipient) = Owner::of(actor);
        self.listen(C::NAME).owned(owner, Answering(recipient))
    }

    /// Selects events by name, without a type: events of one name, of a [prefix](Filter::prefix),
    /// or [all](Filter::all). The returned [`Listen`] sets properties and the receiver: an actor, a
    /// function or a stream.
    ///
    /// ```
    /// # use actix_socketio::{Filter, Socket};
    /// # fn example(socket: &Socket) {
    /// socket.listen("price").call(|event| println!("{}", event.name()));
    /// let orders = socket.listen(Filter::prefix("order:")).stream();
    /// # drop(orders);
    /// # }
    /// ```
    pub fn listen(&self, filter: impl Into<Filter>) -> Listen {
        Listen::new(self, filter.into())
    }

    /// Like [`listen`](Self::listen), for any kind of message: every kind that can be [subscribed
    /// to](Self::subscribe_to), and every event with a [type](NamedEvent) of your own.
    ///
    /// ```
    /// # use actix_socketio::{NamedEvent, Ready, Reconnecting, Socket};
    /// #[derive(serde::Deserialize)]
    /// struct Price(String, f64);
    ///
    /// impl NamedEvent for Price {
    ///     const NAME: &'static str = "price";
    /// }
    ///
    /// # fn example(socket: &Socket) {
    /// socket.listen_to::<Reconnecting>().call(|attempt| println!("in {:?}", attempt.delay()));
    /// socket.listen_to::<Price>().call(|Price(what, price)| println!("{what} costs {price}"));
    /// let joined = socket.listen_to::<Ready>().once().stream();
    /// # drop(joined);
    /// # }
    /// ```
    ///
    /// [`Lagged`](crate::Lagged) has a special meaning here. A function, a stream or a call with
    /// `once` gets the losses of the other subscribers in the namespace that do not get a `Lagged`
    /// themselves: functions, streams, and actors that have not subscribed to it.
    pub fn listen_to<M: Listenable>(&self) -> Listen<M> {
        Listen::new(self, M::filter())
    }

    /// Returns another handle to the same namespace. Its subscriptions use `overflow`, from the
    /// first event on, when events come faster than they are handled.
    ///
    /// An actor has one subscription to a namespace: the last call that sets an [`Overflow`]
    /// counts, here or with [`Listen::overflow`]. Calls that set none change nothing.
    ///
    /// ```
    /// # use actix_socketio::{Event, Overflow, Socket};
    /// # fn example(socket: &Socket, prices: actix::Recipient<Event>) {
    /// let newest = Overflow::DropNewest { waiting: 100 };
    /// socket.with_overflow(newest).subscribe_to::<Event>(prices);
    /// # }
    /// ```
    #[must_use]
    pub fn with_overflow(&self, overflow: Overflow) -> Self {
        Self { overflow: Some(overflow), ..self.clone() }
    }

    /// Sends events to something that is not an actor.
    pub(crate) fn attach(
        &self,
        listener: impl Listener + 'static,
        overflow: Overflow,
    ) -> Subscription {
        self.listen(Filter::all()).overflow(overflow).alone(listener)
    }

    fn begin(&self, number: SubscriptionId, interests: Interests) -> Subscription {
        let overflow = self.overflow;
        let subscription = NewSubscription { number, interests, is_once: false, overflow };
        Subscription::begin(&self.namespace_ref, subscription)
    }
}
