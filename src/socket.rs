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

use actix::{Actor, Addr, Handler, Recipient, dev::ToEnvelope};
use futures::channel::oneshot;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    client::Lifeline,
    error::{AckError, EmitError, ReadyError, Reason},
    message::{Disconnected, Emit, Event, Ready},
    namespace::{AwaitReady, Disconnect, Post, Rejoin, Subscribe},
    payload::Payload,
    port::Port,
    subscriber::{Ears, Subscribable, ears},
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
    port: Arc<Port>,
    lifeline: Arc<Lifeline>,
    timeouts: Timeouts,
}

/// How long things may take where the call does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) ack: Duration,
    pub(crate) ready: Duration,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}

impl Socket {
    pub(crate) fn new(port: Arc<Port>, lifeline: Arc<Lifeline>, timeouts: Timeouts) -> Self {
        Self { port, lifeline, timeouts }
    }

    /// The namespace's name, with its slash.
    pub fn namespace(&self) -> &str {
        &self.port.namespace
    }

    /// Subscribes an actor to [`Ready`], [`Event`] and [`Disconnected`].
    ///
    /// It gets them in the order in which they came about, through its mailbox. When that is full,
    /// messages wait for it, in order; when too many wait, the connection pauses, and the server
    /// has to hold back; when that goes on for too long, events are discarded, and
    /// [`Lagged`](crate::Lagged) says so. An actor that expects bursts does well to
    /// [enlarge its mailbox](actix::Context::set_mailbox_capacity).
    ///
    /// A handler that returns a future counts as busy until that is done: answer quickly, and spawn
    /// what takes long. Above all, do not await an answer of the server in it.
    ///
    /// If the namespace is joined already, `Ready` comes at once. Events that came before anybody
    /// had subscribed are kept for the first subscriber; when there are more than 1024 of them, or
    /// 1 MiB, they are discarded, and the log says so.
    ///
    /// Subscribe once: twice is two subscriptions, and each event comes twice. A subscriber that
    /// has stopped is forgotten. A subscription keeps its actor alive, as any address does.
    pub fn subscribe<A>(&self, addr: Addr<A>)
    where
        A: Actor + Handler<Ready> + Handler<Event> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Ready> + ToEnvelope<A, Event> + ToEnvelope<A, Disconnected>,
    {
        self.listen(Ears::of_actor(addr));
    }

    /// Subscribes to one kind of message: [`Ready`], [`Event`], [`Disconnected`],
    /// [`ConnectError`](crate::ConnectError) or [`Lagged`](crate::Lagged).
    ///
    /// What one actor subscribes to, here and with [`subscribe`](Self::subscribe), is one
    /// subscription, with one order. So `Lagged` is of the events that the same actor missed.
    pub fn subscribe_to<M: Subscribable>(&self, recipient: Recipient<M>) {
        self.listen(ears(recipient));
    }

    fn listen(&self, ears: Ears) {
        if !self.port.tell(Subscribe { ears }) {
            log::debug!("{}: too late to subscribe", self.namespace());
        }
    }

    /// Emits an event: a tuple for several arguments, `()` for none, anything else for one.
    ///
    /// Returns at once. The event is sent in the order of the calls, as soon as the namespace is
    /// joined; until it is written to the connection it holds room in the namespace's buffer.
    /// Whether it arrives is not told; see [`emit_with_ack`](Self::emit_with_ack).
    ///
    /// ```
    /// # fn example(socket: &actix_socketio::Socket) -> Result<(), actix_socketio::EmitError> {
    /// socket.emit("hello", "world")?;
    /// socket.emit("book", ("JFK", 2))?;
    /// socket.emit("ping", ())?;
    /// socket.emit("photo", (7, bytes::Bytes::from_static(b"\xFF\xD8")))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The event was not taken, and never will be; see [`EmitError`]. When the buffer is full, the
    /// error has the event.
    pub fn emit(&self, name: &str, arguments: impl Serialize) -> Result<(), EmitError> {
        self.send(Emit::new(name, arguments)?)
    }

    /// Emits an event that is serialised already.
    ///
    /// # Errors
    ///
    /// [`EmitError::Full`] or [`EmitError::Closed`].
    pub fn send(&self, emit: Emit) -> Result<(), EmitError> {
        self.post(emit, None)
    }

    fn post(
        &self,
        emit: Emit,
        waiter: Option<(oneshot::Sender<Result<Payload, AckError>>, Duration)>,
    ) -> Result<(), EmitError> {
        if let Some(reason) = self.port.ended() {
            return Err(EmitError::Closed(reason));
        }
        let Some(permit) = self.port.outbox.reserve(emit.payload.size()) else {
            return Err(EmitError::Full(emit));
        };
        let taken = self.port.tell(Post { emit, permit, waiter });
        taken.then_some(()).ok_or(EmitError::Closed(Reason::Shutdown))
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
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> AckRequest<R> {
        AckRequest {
            socket: self.clone(),
            emit: Emit::new(name, arguments),
            timeout: self.timeouts.ack,
            reply: PhantomData,
        }
    }

    /// Waits until the namespace is joined.
    ///
    /// Nothing depends on it: emits wait by themselves. It tells whether joining worked.
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
        ReadyRequest { port: Arc::clone(&self.port), timeout: self.timeouts.ready }
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
        let mark = self.port.mark(None);
        if !self.port.tell(Rejoin { mark }) {
            self.port.mark(Some(&Reason::Shutdown));
        }
    }

    /// Leaves the namespace, behind all that was emitted before.
    ///
    /// Subscribers get [`Disconnected`], who waits for an answer gets
    /// [`AckError::Disconnected`]. The connection stays, for the other namespaces and for
    /// [`connect`](Self::connect).
    pub fn disconnect(&self) {
        if self.port.ended().is_none() {
            let mark = self.port.mark(Some(&Reason::ClientDisconnect));
            self.port.tell(Disconnect { mark });
        }
    }

    /// Why the namespace is neither joined nor being joined, if that is so.
    pub fn ended(&self) -> Option<Reason> {
        self.port.ended()
    }

    /// How many emitted events have not been written to the connection yet.
    pub fn unsent(&self) -> usize {
        self.port.outbox.waiting()
    }

    /// An address for [`Emit`] messages, for actors that must know nothing of sockets.
    ///
    /// It does not keep the connection alive. The bound of the buffer is checked when the message
    /// is handled, and the outcome is the message's result: only [`Recipient::send`] gives it, and
    /// only who waits for it is held back. With `do_send`, an event that is not taken is lost.
    pub fn recipient(&self) -> Recipient<Emit> {
        self.port.address().recipient()
    }
}

/// An emit that asks for an answer of type `R`. See [`Socket::emit_with_ack`].
#[must_use = "nothing is sent before this is awaited, or sent"]
pub struct AckRequest<R> {
    socket: Socket,
    emit: Result<Emit, EmitError>,
    timeout: Duration,
    reply: PhantomData<fn() -> R>,
}

impl<R> AckRequest<R> {
    /// How long to wait for the answer. The time counts from the emit, joined or not.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends now, to be awaited later.
    pub fn send(self) -> Ack<R> {
        let (waiter, answer) = oneshot::channel();
        let Self { socket, emit, timeout, .. } = self;
        let sent = emit.and_then(|emit| socket.post(emit, Some((waiter, timeout))));
        let outcome = match sent {
            Ok(()) => Outcome::Pending { answer, _lifeline: Arc::clone(&socket.lifeline) },
            Err(error) => Outcome::NeverSent(Some(error)),
        };
        Ack { outcome, reply: PhantomData }
    }
}

impl<R: DeserializeOwned> IntoFuture for AckRequest<R> {
    type Output = Result<R, AckError>;
    type IntoFuture = Ack<R>;

    fn into_future(self) -> Ack<R> {
        self.send()
    }
}

impl<R> fmt::Debug for AckRequest<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, emit, timeout, reply: _ } = self;
        f.debug_struct("AckRequest")
            .field("socket", socket)
            .field("emit", emit)
            .field("timeout", timeout)
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

impl<R: DeserializeOwned> Future for Ack<R> {
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
        Poll::Ready(payload.and_then(|payload| payload.decode().map_err(AckError::Decode)))
    }
}

/// Waits for a namespace. See [`Socket::ready`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ReadyRequest {
    port: Arc<Port>,
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
        let (waiter, outcome) = oneshot::channel();
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
