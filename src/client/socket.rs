//! The handle of one namespace.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::{Actor, Addr, Handler, Message, Recipient, dev::ToEnvelope};
use bytestring::ByteString;
use futures::channel::oneshot;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::{
        namespace::{
            Asker, AwaitReady, Disconnect, GiveTicket, Question, Rejoin, Subscribe, SubscribeOnce,
            TakeUnsent, Waiter,
        },
        namespace_ref::{Admitted, NamespaceRef},
        subscribers::{
            listener::{Answering, Events, Filter, FilteredListener, Function, Listener, Typed},
            policy::{Overflow, SubscriptionId},
            subscriber::{Interests, Owner, Subscribable, interests},
        },
    },
    backpressure::send_quota::{WriteOutcome, WriteStatus},
    client::{Lifeline, subscription::Subscription},
    error::{AckError, EmitError, ReadyError, Reason},
    message::{
        Disconnected, Event, Ready,
        contract::{Answer, Call, NamedEvent},
    },
    middleware::Middleware,
    payload::{Payload, Reply},
    proto::{
        emit::{Emit, Offline},
        ticket::SessionTicket,
    },
    runtime::guard::{self, Teller},
};

/// A handle to one namespace of one connection.
///
/// Cheap to clone, and usable from any thread: from actors of any arbiter, from plain async code,
/// from none. All handles of a [`Client`](crate::Client) together keep its connection alive.
///
/// The namespace is joined as soon as there is a handle. Nothing has to be waited for: what is
/// emitted before it is joined waits in a buffer, in order.
#[derive(Clone)]
pub struct Socket {
    port: Arc<NamespaceRef>,
    lifeline: Arc<Lifeline>,
    defaults: Defaults,
}

/// What holds where the call does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) ack_timeout: Duration,
    pub(crate) ready_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) offline: Offline,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}

impl Socket {
    pub(crate) fn new(
        port: Arc<NamespaceRef>,
        lifeline: Arc<Lifeline>,
        defaults: Defaults,
    ) -> Self {
        Self { port, lifeline, defaults }
    }

    pub(crate) fn port(&self) -> &Arc<NamespaceRef> {
        &self.port
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The namespace's name, with its slash.
    pub fn namespace(&self) -> &str {
        &self.port.name.namespace
    }

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

    /// Adds a middleware to the namespace, for all its handles; see
    /// [`middleware`](crate::middleware).
    ///
    /// It sees what comes and goes from now on. So that it misses nothing, add it right behind
    /// [`Client::of`](crate::Client::of) on the arbiter of the client, or to all namespaces with
    /// [`ClientBuilder::middleware`](crate::ClientBuilder::middleware). It stays as long as the
    /// client.
    pub fn middleware(&self, middleware: impl Middleware) {
        self.port.chain.push(middleware);
    }

    /// Emits an event that has a type of its own; see [`contract`](crate::message::contract).
    ///
    /// # Errors
    ///
    /// As for [`emit`](Self::emit).
    pub fn send_event<E: NamedEvent + Serialize>(
        &self,
        event: &E,
    ) -> Result<Written<'_>, EmitError> {
        self.emit(E::NAME, event)
    }

    /// Asks the server, and waits for the answer that belongs to the question; see
    /// [`contract`](crate::message::contract), and [`emit_with_ack`](Self::emit_with_ack) for what it returns.
    pub fn call<C>(&self, call: C) -> AckRequest<C::Reply>
    where
        C: Call + Serialize,
        C::Reply: Reply,
    {
        self.emit_with_ack(C::NAME, call)
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

    /// A handle to the same namespace, by which events are treated so while it is not joined.
    ///
    /// ```
    /// use actix_socketio::{Offline, Socket};
    ///
    /// # fn example(socket: &Socket) -> Result<(), actix_socketio::EmitError> {
    /// let live = socket.with_offline(Offline::Fail);
    /// live.emit("key", "w")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_offline(&self, offline: Offline) -> Self {
        Self { defaults: Defaults { offline, ..self.defaults }, ..self.clone() }
    }

    /// Emits an event: a tuple for several arguments, `()` for none, anything else for one.
    ///
    /// Returns at once. The event is sent in the order of the calls, as soon as the namespace is
    /// joined; until it is written to the connection it holds room in the namespace's buffer.
    /// Whether it arrives is not told; see [`emit_with_ack`](Self::emit_with_ack).
    ///
    /// Who produces more than the connection takes can await what it returns, and is held back.
    ///
    /// ```
    /// # async fn example(socket: &actix_socketio::Socket) -> Result<(), actix_socketio::EmitError> {
    /// socket.emit("hello", "world")?;
    /// socket.emit("book", ("JFK", 2))?;
    /// socket.emit("ping", ())?;
    /// socket.emit("photo", (7, bytes::Bytes::from_static(b"\xFF\xD8")))?;
    /// for line in 0..1_000_000 {
    ///     socket.emit("line", line)?.await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The event was not taken, and never will be; see [`EmitError`]. When the buffer is full, the
    /// error has the event.
    pub fn emit(&self, name: &str, arguments: impl Serialize) -> Result<Written<'_>, EmitError> {
        self.send(Emit::new(name, arguments)?)
    }

    /// Emits an event that is serialised already, and may have terms of its own; see [`Emit`].
    ///
    /// # Errors
    ///
    /// As for [`emit`](Self::emit), but for those of serialising.
    pub fn send(&self, emit: Emit) -> Result<Written<'_>, EmitError> {
        let written = |write_status| Written { port: &self.port, write_status };
        let Admitted::Room(emit, mut permit) = self.port.take(emit, self.defaults.offline)? else {
            return Ok(written(WriteStatus::written()));
        };
        let write_status = permit.write_status();
        self.port.post(emit, permit, self.defaults.offline, None)?;
        Ok(written(write_status))
    }

    fn question(
        &self,
        emit: Emit,
        sender: Teller<Result<Payload, AckError>>,
        timeout: Duration,
        retries: u32,
    ) -> Result<(), EmitError> {
        let Some(room) = self.port.send_quota.reserve_ack() else {
            return Err(EmitError::Full(emit));
        };
        let (emit, permit) = match self.port.take(emit, self.defaults.offline)? {
            Admitted::Room(emit, permit) => (emit, permit),
            Admitted::Answered(payload) => {
                sender.tell(Ok(payload.to_reply()));
                return Ok(());
            }
        };
        let id = (retries > 0).then(|| self.lifeline.message_id()).flatten();
        let waiter = Asker::new(Waiter::Handle(sender), room);
        let question = Question { waiter, timeout, retries, id };
        self.port.post(emit, permit, self.defaults.offline, Some(question))
    }

    /// Emits an event and waits for the server's answer.
    ///
    /// Like any future it does nothing before it is awaited (or [sent](AckRequest::send)). The
    /// answer comes as a tuple for several arguments, `()` for none, anything else for the first
    /// one. Every call has an outcome, within
    /// [`ack_timeout`](crate::ClientBuilder::ack_timeout) unless it sets a time of its own:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(socket: &actix_socketio::Socket) -> Result<(), actix_socketio::AckError> {
    /// let room: String = socket
    ///     .emit_with_ack("book", ("JFK", 2))
    ///     .timeout(Duration::from_secs(1))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<R: Reply>(&self, name: &str, arguments: impl Serialize) -> AckRequest<R> {
        self.ask(Emit::new(name, arguments))
    }

    /// The same for an event that is serialised already, and may have terms of its own; see
    /// [`Emit`].
    pub fn send_with_ack<R: Reply>(&self, emit: Emit) -> AckRequest<R> {
        self.ask(Ok(emit))
    }

    fn ask<R>(&self, emit: Result<Emit, EmitError>) -> AckRequest<R> {
        AckRequest {
            socket: self.clone(),
            emit,
            timeout: self.defaults.ack_timeout,
            retries: self.defaults.retries,
            reply: PhantomData,
        }
    }

    /// Waits until the namespace is joined.
    ///
    /// Nothing depends on it: emits wait by themselves. It tells whether joining worked.
    ///
    /// The wait ends at once when there is no sense in it
    /// ([`ReadyError::Failing`]): the host is not known; or the server
    /// answers the request to connect with a status that will not change by itself, such as 401, 403,
    /// 404 or 410 (but for 401 and 403 where [headers](crate::ClientBuilder::headers_with) or the query
    /// are asked for anew each time). And it ends when three attempts have failed in a row, for
    /// instance because nothing listens there. The client goes on trying by its policy, and
    /// [`Reconnect::patient`](crate::Reconnect::patient) makes `ready` go on waiting as well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(socket: &actix_socketio::Socket) -> Result<(), actix_socketio::ReadyError> {
    /// let ready = socket.ready().timeout(Duration::from_secs(5)).await?;
    /// println!("joined {} as {}", ready.namespace(), ready.sid());
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready(&self) -> ReadyRequest {
        ReadyRequest { port: Arc::clone(&self.port), timeout: self.defaults.ready_timeout }
    }

    /// Joins again after the namespace was left, refused or lost. Does nothing if it is joined or
    /// being joined.
    ///
    /// If there is no connection, one is made. On a server 1.x or 2.x that `/` was left on, or that
    /// refused it, joining anything takes a new connection, and so all namespaces through it: they
    /// get `Disconnected` with [`Reason::Reconnect`], and `Ready`.
    pub fn connect(&self) {
        if self.port.ended() == Some(Reason::Shutdown) {
            return;
        }
        let intent_seq = self.port.note_intent(None);
        if !self.port.tell(Rejoin { intent_seq }) {
            self.port.note_intent(Some(&Reason::Shutdown));
        }
    }

    /// Leaves the namespace, behind all that was emitted before.
    ///
    /// Subscribers get [`Disconnected`]; who waits for an answer gets
    /// [`AckError::Disconnected`], or [`AckError::NeverSent`] if the event still waited. Events that
    /// still wait and ask for no answer are kept for [`connect`](Self::connect), and can be
    /// [taken back](Self::take_unsent). The connection stays, for the other namespaces too.
    pub fn disconnect(&self) {
        if self.port.ended().is_none() {
            let intent_seq = self.port.note_intent(Some(&Reason::ClientDisconnect));
            self.port.tell(Disconnect { intent_seq });
        }
    }

    /// Whether the namespace is joined, as far as is known. That may be over in a moment, and what is
    /// emitted meanwhile waits: to act when it changes, subscribe to [`Ready`] and
    /// [`Disconnected`], or wait with [`ready`](Self::ready).
    pub fn is_joined(&self) -> bool {
        self.port.ended().is_none() && self.port.is_joined()
    }

    /// Why the namespace is neither joined nor being joined, if that is so.
    pub fn ended(&self) -> Option<Reason> {
        self.port.ended()
    }

    /// How many emitted events hold room in the buffer: they have not been written to the connection
    /// yet or, with [retries](AckRequest::retries), not been answered.
    pub fn unsent(&self) -> usize {
        self.port.send_quota.waiting()
    }

    /// Their bytes.
    pub fn unsent_bytes(&self) -> usize {
        self.port.send_quota.waiting_bytes()
    }

    /// Takes the events out of the buffer that wait for the namespace to be joined: to look at
    /// them, to drop them, or to [send](Self::send) them otherwise. They are not sent by
    /// themselves any more, and who waits for an answer to one gets [`EmitError::Discarded`].
    ///
    /// What has been handed to the connection, or was sent before (with
    /// [retries](AckRequest::retries)), is not among them.
    pub async fn take_unsent(&self) -> Vec<Emit> {
        let (waiter, unsent) = guard::channel();
        self.port.tell(TakeUnsent { waiter });
        // If the actor is gone, so is what it had.
        unsent.await.unwrap_or_default()
    }

    /// What it takes to go on with this session elsewhere, as of now. `None` if there is no session
    /// that could be gone on with; see [`SessionTicket`].
    pub async fn session_ticket(&self) -> Option<SessionTicket> {
        let (waiter, ticket) = guard::channel();
        self.port.tell(GiveTicket { waiter });
        ticket.await.ok().flatten()
    }

    /// An address for [`Emit`] messages, for actors that must know nothing of sockets.
    ///
    /// It does not keep the connection alive. The bound of the buffer is checked when the message
    /// is handled, and the outcome is the message's result: only [`Recipient::send`] gives it, and
    /// only who waits for it is held back. With `do_send`, an event that is not taken is lost.
    ///
    /// Messages are sent in their order. What is emitted with the socket itself behind one of them may
    /// come before it: who needs the order of all uses one of the two.
    pub fn recipient(&self) -> Recipient<Emit> {
        self.port.address().recipient()
    }
}

/// An event that was taken. Awaited, it resolves when the event is written to the connection;
/// dropped, it does nothing.
///
/// It is an error if that does not happen: the event is dropped, for the same reasons as one that
/// [asks for an answer](Socket::emit_with_ack), or its namespace ends ([`EmitError::Closed`]). In the
/// latter case the event may still wait in the buffer, for [`Socket::connect`]; after that call, it
/// can be waited for as before.
#[derive(Debug)]
pub struct Written<'a> {
    port: &'a Arc<NamespaceRef>,
    write_status: Arc<WriteStatus>,
}

impl IntoFuture for Written<'_> {
    type Output = Result<(), EmitError>;
    type IntoFuture = WhenWritten;

    fn into_future(self) -> WhenWritten {
        WhenWritten { port: Arc::clone(self.port), write_status: self.write_status }
    }
}

/// Resolves when an event is written, or not. See [`Written`].
#[derive(Debug)]
pub struct WhenWritten {
    port: Arc<NamespaceRef>,
    write_status: Arc<WriteStatus>,
}

impl Future for WhenWritten {
    type Output = Result<(), EmitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { port, write_status } = &*self;
        loop {
            return Poll::Ready(match (ready!(write_status.poll(cx)), port.ended()) {
                (WriteOutcome::Written, _) => Ok(()),
                // Somebody has joined again, and the event waits for that.
                (WriteOutcome::Stranded, None) => {
                    write_status.resume();
                    continue;
                }
                (WriteOutcome::Stranded, Some(reason)) => Err(EmitError::Closed(reason)),
                (WriteOutcome::Discarded, ended) => Err(write_status
                    .cause()
                    .cloned()
                    .unwrap_or_else(|| ended.map_or(EmitError::Discarded, EmitError::Closed))),
            });
        }
    }
}

/// An emit that asks for an answer of type `R`. See [`Socket::emit_with_ack`].
#[must_use = "nothing is sent before this is awaited, or sent"]
pub struct AckRequest<R> {
    socket: Socket,
    emit: Result<Emit, EmitError>,
    timeout: Duration,
    retries: u32,
    reply: PhantomData<fn() -> R>,
}

impl<R> AckRequest<R> {
    /// How long to wait for the answer. The time counts from the emit, joined or not; with
    /// [retries](Self::retries) it is the time for each try, and counts from when that is sent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the event again until the server has answered: at least once.
    ///
    /// An answer that does not come in [time](Self::timeout) takes one of so many retries; a
    /// connection that is lost takes none, and the event goes again on the next one. So it arrives,
    /// unless the namespace ends: who waits then gets [`AckError::Disconnected`], or
    /// [`AckError::NeverSent`]. Until there is an outcome the event holds room in the buffer.
    ///
    /// Such events go in order, in a lane of their own: one at a time, unless
    /// [`retry_window`](crate::ClientBuilder::retry_window) is larger; other events may overtake
    /// them. The server may get one more than once;
    /// [`message_ids`](crate::ClientBuilder::message_ids) are for servers that want to know.
    ///
    /// The default is [`ClientBuilder::retries`](crate::ClientBuilder::retries); 0 is an event that
    /// is sent once.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sends now, to be awaited later.
    pub fn send(self) -> Ack<R> {
        let (waiter, answer) = guard::channel();
        let Self { socket, emit, timeout, retries, .. } = self;
        let sent = emit.and_then(|emit| socket.question(emit, waiter, timeout, retries));
        let outcome = match sent {
            Ok(()) => Outcome::Pending { answer, _lifeline: Arc::clone(&socket.lifeline) },
            Err(error) => Outcome::NeverSent(Some(error)),
        };
        Ack { outcome, reply: PhantomData }
    }
}

impl<R: Reply> IntoFuture for AckRequest<R> {
    type Output = Result<R, AckError>;
    type IntoFuture = Ack<R>;

    fn into_future(self) -> Ack<R> {
        self.send()
    }
}

impl<R> fmt::Debug for AckRequest<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, emit, timeout, retries, reply: _ } = self;
        f.debug_struct("AckRequest")
            .field("socket", socket)
            .field("emit", emit)
            .field("timeout", timeout)
            .field("retries", retries)
            .finish()
    }
}

/// The answer of the server to an emit, when it comes. It always resolves.
#[derive(Debug)]
#[must_use = "the answer is here"]
pub struct Ack<R> {
    outcome: Outcome,
    reply: PhantomData<fn() -> R>,
}

#[derive(Debug)]
enum Outcome {
    Pending {
        answer: oneshot::Receiver<Result<Payload, AckError>>,
        /// Who waits for an answer wants the connection to live.
        _lifeline: Arc<Lifeline>,
    },
    NeverSent(Option<EmitError>),
}

impl<R: Reply> Future for Ack<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let payload = match &mut self.outcome {
            Outcome::NeverSent(error) => {
                let error = error.take().unwrap_or(EmitError::Closed(Reason::Shutdown));
                return Poll::Ready(Err(AckError::NeverSent(error)));
            }
            Outcome::Pending { answer, .. } => match ready!(Pin::new(answer).poll(cx)) {
                Ok(outcome) => outcome,
                // The actor ended, with its arbiter.
                Err(oneshot::Canceled) => Err(AckError::Disconnected(Reason::Shutdown)),
            },
        };
        Poll::Ready(payload.and_then(|payload| R::from_payload(payload).map_err(AckError::Decode)))
    }
}

/// Waits for a namespace. See [`Socket::ready`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ReadyRequest {
    port: Arc<NamespaceRef>,
    timeout: Duration,
}

impl ReadyRequest {
    /// How long to wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl IntoFuture for ReadyRequest {
    type Output = Result<Ready, ReadyError>;
    type IntoFuture = WhenReady;

    fn into_future(self) -> WhenReady {
        let (waiter, outcome) = guard::channel();
        // If the actor is gone, the waiter is dropped, and that is seen below.
        self.port.tell(AwaitReady { waiter, timeout: self.timeout });
        WhenReady { outcome }
    }
}

/// Resolves when a namespace is joined, or not. See [`Socket::ready`].
#[derive(Debug)]
pub struct WhenReady {
    outcome: oneshot::Receiver<Result<Ready, ReadyError>>,
}

impl Future for WhenReady {
    type Output = Result<Ready, ReadyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(outcome.unwrap_or(Err(ReadyError::Ended(Reason::Shutdown))))
    }
}
