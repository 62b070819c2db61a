//! The ways to hear what comes to a namespace.

use actix::{Actor, Addr, Handler, Message, Recipient, dev::ToEnvelope};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::subscribers::{
        NewSubscription,
        filter::Filter,
        interests::{Interests, Listenable, Owner, Subscribable},
        listener::{FilteredListener, Listener},
        policy::{Overflow, SubscriptionId},
        typed::{Answering, Typed},
    },
    client::{listen::Listen, socket::Socket, subscription::Subscription},
    message::{
        Disconnected, Event, Ready,
        contract::{Answer, Call, NamedEvent},
    },
};

/// # Hearing
///
/// | to hear | |
/// |---|---|
/// | what every client needs, in one actor | [`subscribe`](Self::subscribe) |
/// | one kind of message | [`subscribe_to`](Self::subscribe_to) |
/// | events as a type of the application | [`on`](Self::on), and with their answers [`answer`](Self::answer) |
/// | events by their names: in an actor, a function, a stream; or one of them | [`listen`](Self::listen) |
/// | any kind of message in these ways | [`listen_to`](Self::listen_to) |
impl Socket {
    /// Subscribes an actor to [`Ready`], [`Event`] and [`Disconnected`].
    ///
    /// It gets them in the order in which they came about, through its mailbox. When that is full,
    /// messages wait for it, in order; when too many wait, the connection pauses, and the server
    /// has to hold back; if that lasts too long, the newest events are dropped for this actor, and
    /// [`Lagged`](crate::Lagged) says so. [`Overflow`] has other ways. An actor
    /// that expects bursts does well to
    /// [enlarge its mailbox](actix::Context::set_mailbox_capacity).
    ///
    /// A handler that returns a future counts as busy until that is done: answer quickly, and spawn
    /// what takes long. Above all, do not await an answer of the server in it.
    ///
    /// If the namespace is joined already, `Ready` comes at once; some servers send events before it.
    /// `Disconnected` may come twice: when the namespace is lost, and when it is certain that it stays
    /// so. Whatever else there is to hear, such as a first attempt to join that fails, takes
    /// [`subscribe_to`](Self::subscribe_to). Events that came before anybody
    /// had subscribed are kept for the first subscriber; when there are more than 1024 of them, or
    /// 1 MiB, they are discarded, and the log says so. [`Stats::missed`](crate::Stats::missed) counts
    /// them, as all that nobody hears.
    ///
    /// Subscribe once: twice is two subscriptions, and each event comes twice. A subscriber that has
    /// stopped or panicked is forgotten: the log says which one, and how many events that waited for it
    /// are lost. (Those in its mailbox are lost as well, and nobody can count them.) A subscription keeps its actor alive, as any address does, until
    /// it is [cancelled](Subscription::cancel).
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
    ///         println!("{event:?}");
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
    /// [`GaveUp`](crate::GaveUp), [`ServerError`](crate::ServerError), [`Lagged`](crate::Lagged),
    /// [`Undecodable`](crate::Undecodable) or [`Emitted`](crate::Emitted).
    ///
    /// What one actor subscribes to, here and in the other ways, is one subscription, with one order.
    /// So `Lagged` is of the events that the same actor missed.
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

    /// Subscribes an actor to events of one name, which it gets as messages of its own type: decoded,
    /// and in one order with all else that it has subscribed to. See [`contract`](crate::message::contract)
    /// for an example.
    ///
    /// An event that does not have this shape comes as [`Undecodable`](crate::Undecodable) to who
    /// has subscribed to that, and otherwise to the log. The actor may have several of these, and
    /// other subscriptions beside them; [`cancel`](Subscription::cancel) ends this one.
    pub fn on<E>(&self, actor: impl Into<Recipient<E>>) -> Subscription
    where
        E: NamedEvent + DeserializeOwned + Message<Result = ()> + Send + 'static,
    {
        let (owner, recipient) = Owner::of::<_, E>(actor);
        self.hear(SubscriptionId::next(), owner, E::NAME, Typed::<E, _>::new(recipient))
    }

    /// Has an actor answer what the server asks with events of one name: what its handler returns
    /// is the answer, also by way of a future, also if it is an error; see
    /// [`contract`](crate::message::contract).
    ///
    /// The actor answers up to 64 of them at a time; further ones wait, and all behind them. An
    /// event that does not ask for an answer is handled as well.
    ///
    /// The server gets an error as the answer, `{"error":"…"}`, where there is no other: the actor
    /// stops or panics before it has answered, or what it returns cannot be serialised (or panics
    /// then) or is too large for the server. A subscription that is [cancelled](Subscription::cancel) still answers
    /// what it has been asked.
    pub fn answer<C>(&self, actor: impl Into<Recipient<C>>) -> Subscription
    where
        C: Call + DeserializeOwned + Message + Send + 'static,
        C::Result: Answer<C::Reply> + Send,
        C::Reply: Serialize,
    {
        let (owner, recipient) = Owner::of(actor);
        self.hear(SubscriptionId::next(), owner, C::NAME, Answering(recipient))
    }

    /// Begins to hear events by their names, without a type of their own: those of one name, of a
    /// [prefix](Filter::prefix), or [all](Filter::all). [`Listen`] has the properties, and who can get
    /// them: an actor, a function or a stream.
    ///
    /// ```
    /// # use actix_socketio::{Filter, Socket};
    /// # fn example(socket: &Socket) {
    /// socket.listen("price").call(|event| println!("{event:?}"));
    /// let orders = socket.listen(Filter::prefix("order:")).stream();
    /// # drop(orders);
    /// # }
    /// ```
    pub fn listen(&self, filter: impl Into<Filter>) -> Listen {
        Listen::new(self, filter.into())
    }

    /// Begins to hear any kind of message, in the same ways: each that can be
    /// [subscribed to](Self::subscribe_to), and each event that has a [type](NamedEvent) of its own.
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
    /// Whoever hears [`Lagged`](crate::Lagged) in this way without being an actor, or once, hears of
    /// the events that others in the namespace missed and were not told of: actors that have not
    /// subscribed to it, functions and streams.
    pub fn listen_to<M: Listenable>(&self) -> Listen<M> {
        Listen::new(self, M::filter())
    }

    /// A handle to the same namespace, whose subscriptions are treated so when events come too fast,
    /// from the first one on.
    ///
    /// What one actor hears of a namespace is one subscription: the last call that sets an
    /// [`Overflow`] counts, here or with [`Listen::overflow`]. One that sets none leaves it as it is.
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
        let mut socket = self.clone();
        socket.overflow = Some(overflow);
        socket
    }

    /// Has events go to something that is no actor.
    pub(crate) fn attach(
        &self,
        listener: impl Listener + 'static,
        overflow: Overflow,
    ) -> Subscription {
        let number = SubscriptionId::next();
        let listener = FilteredListener::new(number, Filter::all(), listener);
        let interests = Interests::of_named(Owner::alone(number), listener);
        self.with_overflow(overflow).begin(number, interests)
    }

    fn hear(
        &self,
        number: SubscriptionId,
        owner: Owner,
        name: &str,
        listener: impl Listener + 'static,
    ) -> Subscription {
        let listener = FilteredListener::new(number, name.into(), listener);
        self.begin(number, Interests::of_named(owner, listener))
    }

    fn begin(&self, number: SubscriptionId, interests: Interests) -> Subscription {
        let overflow = self.overflow;
        let subscription = NewSubscription { number, interests, is_once: false, overflow };
        Subscription::begin(&self.port, subscription)
    }
}
