//! The ways to hear what comes to a namespace.

use std::sync::Arc;

use actix::{Actor, Addr, Handler, Message, Recipient, dev::ToEnvelope};
use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::{
        namespace::{Subscribe, SubscribeOnce},
        subscribers::{
            function::Function,
            interests::{Interests, Owner, Subscribable, interests},
            listener::{Filter, FilteredListener, Listener},
            policy::{Overflow, SubscriptionId},
            stream::Events,
            typed::{Answering, Typed},
        },
    },
    client::{socket::Socket, subscription::Subscription},
    message::{
        Disconnected, Event, Ready,
        contract::{Answer, Call, NamedEvent},
    },
};

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
        self.listen(Interests::of_actor(addr))
    }

    /// Subscribes to one kind of message: [`Ready`], [`Event`], [`Disconnected`],
    /// [`ConnectError`](crate::ConnectError), [`Reconnecting`](crate::Reconnecting),
    /// [`GaveUp`](crate::GaveUp), [`ServerError`](crate::ServerError), [`Lagged`](crate::Lagged),
    /// [`Undecodable`](crate::Undecodable) or [`Emitted`](crate::Emitted).
    ///
    /// What one actor subscribes to, here and with [`subscribe`](Self::subscribe), is one
    /// subscription, with one order. So `Lagged` is of the events that the same actor missed.
    pub fn subscribe_to<M: Subscribable>(&self, recipient: Recipient<M>) -> Subscription {
        self.listen(interests(recipient))
    }

    /// Subscribes to the next message of one kind, and to none after it.
    ///
    /// If the namespace is joined already, its [`Ready`] comes at once. Of the events that came
    /// before anybody had subscribed, it takes the first; the rest is kept on.
    ///
    /// It is a subscription of its own: an actor that has another one gets the message from both,
    /// and its place in the order of the other's is not kept. It never misses anything, so there is
    /// no [`Lagged`](crate::Lagged) to be had.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_socketio::{Disconnected, Socket};
    ///
    /// struct Alarm;
    ///
    /// impl Actor for Alarm {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<Disconnected> for Alarm {
    ///     type Result = ();
    ///     fn handle(&mut self, gone: Disconnected, ctx: &mut Context<Self>) {
    ///         println!("gone for the first time: {}", gone.reason());
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// fn arm(socket: &Socket) {
    ///     socket.subscribe_once::<Disconnected>(Alarm.start().recipient());
    /// }
    /// ```
    pub fn subscribe_once<M: Subscribable>(&self, recipient: Recipient<M>) -> Subscription {
        self.listen_once(SubscriptionId::next(), interests(recipient))
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
        let (owner, recipient) = Owner::of(actor);
        self.hear(Some(owner), Filter::Name(E::NAME.into()), Typed(recipient))
    }

    /// Subscribes an actor to the next event of one name, which it gets as a message of its own type,
    /// and to none after it. One of another shape counts as well; see [`on`](Self::on).
    ///
    /// It is a subscription of its own, as [`subscribe_once`](Self::subscribe_once) has it.
    pub fn once<E>(&self, actor: impl Into<Recipient<E>>) -> Subscription
    where
        E: NamedEvent + DeserializeOwned + Message<Result = ()> + Send + 'static,
    {
        let (owner, recipient) = Owner::of(actor);
        self.hear_once(owner, Filter::Name(E::NAME.into()), Typed(recipient))
    }

    /// The same for events that have no type of their own.
    pub fn once_name(&self, name: &str, actor: impl Into<Recipient<Event>>) -> Subscription {
        let (owner, recipient) = Owner::of::<_, Event>(actor);
        self.hear_once(owner, Filter::Name(name.into()), recipient)
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
        self.hear(Some(owner), Filter::Name(C::NAME.into()), Answering(recipient))
    }

    /// Subscribes an actor to events of one name.
    pub fn on_name(&self, name: &str, actor: impl Into<Recipient<Event>>) -> Subscription {
        let (owner, recipient) = Owner::of(actor);
        self.hear(Some(owner), Filter::Name(name.into()), recipient)
    }

    /// Subscribes an actor to events whose names begin so.
    pub fn on_prefix(&self, prefix: &str, actor: impl Into<Recipient<Event>>) -> Subscription {
        let (owner, recipient) = Owner::of(actor);
        self.hear(Some(owner), Filter::Prefix(prefix.into()), recipient)
    }

    /// Calls a function with each event of one name. It runs on the arbiter of the client, and must
    /// not block it: what takes long is for another arbiter, or the heartbeat is missed. One that panics
    /// is forgotten, and the log says which.
    ///
    /// ```
    /// # fn example(socket: &actix_socketio::Socket) {
    /// socket.on_fn("price", |event| {
    ///     if let Ok((what, price)) = event.args::<(String, f64)>() {
    ///         println!("{what} costs {price}");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_fn<F>(&self, name: &str, function: F) -> Subscription
    where
        F: FnMut(Event) + Send + 'static,
    {
        let name = ByteString::from(name);
        let function = Function::new(function, self.port.name.clone(), name.clone());
        self.hear(None, Filter::Name(name), function)
    }

    /// All events from now on, as a stream; and those that came before anybody had subscribed, if
    /// this is the first to do so.
    ///
    /// ```
    /// use futures::StreamExt;
    ///
    /// # async fn example(socket: &actix_socketio::Socket) {
    /// let mut events = socket.events();
    /// while let Some(event) = events.next().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        let (channel, events) = Events::new();
        self.hear(None, Filter::All, channel);
        events
    }

    /// Has events go to something that is no actor.
    pub(crate) fn attach(
        &self,
        listener: impl Listener + 'static,
        overflow: Overflow,
    ) -> Subscription {
        self.hear(None, Filter::All, listener).overflow(overflow)
    }

    fn hear(
        &self,
        owner: Option<Owner>,
        filter: Filter,
        listener: impl Listener + 'static,
    ) -> Subscription {
        let number = SubscriptionId::next();
        let owner = owner.unwrap_or_else(|| Owner::alone(number));
        self.listen_as(
            number,
            Interests::of_named(owner, FilteredListener::new(number, filter, listener)),
        )
    }

    fn hear_once(
        &self,
        owner: Owner,
        filter: Filter,
        listener: impl Listener + 'static,
    ) -> Subscription {
        let number = SubscriptionId::next();
        let owner = owner.apart(number);
        self.listen_once(
            number,
            Interests::of_named(owner, FilteredListener::new(number, filter, listener)),
        )
    }

    fn listen_once(&self, number: SubscriptionId, interests: Interests) -> Subscription {
        let taken = self.port.tell(SubscribeOnce { number, interests });
        self.subscription(number, taken)
    }

    fn listen(&self, interests: Interests) -> Subscription {
        self.listen_as(SubscriptionId::next(), interests)
    }

    fn listen_as(&self, number: SubscriptionId, interests: Interests) -> Subscription {
        let taken = self.port.tell(Subscribe { number, interests });
        self.subscription(number, taken)
    }

    fn subscription(&self, number: SubscriptionId, taken: bool) -> Subscription {
        if !taken {
            log::debug!("{}: too late to subscribe", self.port.name);
        }
        Subscription::new(Arc::clone(&self.port), number)
    }
}
