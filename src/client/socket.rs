//! The handle of one namespace.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use actix::Recipient;
use serde::Serialize;

use crate::{
    actor::{
        namespace::{Asker, Disconnect, GiveTicket, Question, Rejoin, TakeUnsent, Waiter},
        namespace_ref::{Admitted, NamespaceRef},
        subscribers::policy::Overflow,
    },
    backpressure::send_quota::WriteStatus,
    client::{
        lifeline::Lifeline,
        request::{AckRequest, ReadyRequest, Written},
    },
    error::{AckError, EmitError, Reason},
    message::contract::{Call, NamedEvent},
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
    pub(super) port: Arc<NamespaceRef>,
    pub(super) lifeline: Arc<Lifeline>,
    defaults: Defaults,
    /// Of its subscriptions, if it is another one than that of the namespace.
    pub(super) overflow: Option<Overflow>,
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
        Self { port, lifeline, defaults, overflow: None }
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

    pub(super) fn question(
        &self,
        emit: Emit,
        sender: Teller<Result<Payload, AckError>>,
        timeout: Duration,
        retries: u32,
    ) -> Result<(), EmitError> {
        let Some(room) = self.port.send_quota.ask() else { return Err(EmitError::Full(emit)) };
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
    ///
    /// Which type reads which answer is in the [table](crate::payload). Among others, a `Vec` is one
    /// argument that is an array, [`Args`](crate::Args) is all arguments, and
    /// [`Payload`] is the answer as it came.
    ///
    /// # Answers with the error first
    ///
    /// Feathers and many other services in JavaScript call back with the error first, and the result
    /// behind it. That is a pair, in which both may be missing:
    ///
    /// ```
    /// use actix_socketio::Socket;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Failure {
    ///     message: String,
    ///     code: u16,
    /// }
    ///
    /// #[derive(Deserialize)]
    /// struct Flight {
    ///     number: u32,
    /// }
    ///
    /// async fn find(socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (error, flight): (Option<Failure>, Option<Flight>) =
    ///         socket.emit_with_ack("find", ("flights", 7)).await?;
    ///     match (error, flight) {
    ///         (Some(error), _) => println!("{}: {}", error.code, error.message),
    ///         (None, Some(flight)) => println!("flight {}", flight.number),
    ///         (None, None) => println!("done"), // callback(null)
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// | JavaScript | here |
    /// |---|---|
    /// | `callback(null, flight)` | `(None, Some(flight))` |
    /// | `callback({ message, code })` | `(Some(failure), None)` |
    /// | `callback(null)`, `callback()` | `(None, None)` |
    /// | `callback(new Error("lost"))` | an error that is an empty object: JavaScript sends no message of an `Error`. [`serde_json::Value`] reads it, or a type all of whose fields may be missing |
    ///
    /// The other way, `event.ack((None::<Failure>, flight))` answers so.
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
    /// ([`ReadyError::Failing`](crate::ReadyError::Failing)): the host is not known; or the server
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
        let mark = self.port.mark(None);
        if !self.port.tell(Rejoin { mark }) {
            self.port.mark(Some(&Reason::Shutdown));
        }
    }

    /// Leaves the namespace, behind all that was emitted before.
    ///
    /// Subscribers get [`Disconnected`](crate::Disconnected); who waits for an answer gets
    /// [`AckError::Disconnected`], or [`AckError::NeverSent`] if the event still waited. Events that
    /// still wait and ask for no answer are kept for [`connect`](Self::connect), and can be
    /// [taken back](Self::take_unsent). The connection stays, for the other namespaces too.
    pub fn disconnect(&self) {
        if self.port.ended().is_none() {
            let mark = self.port.mark(Some(&Reason::ClientDisconnect));
            self.port.tell(Disconnect { mark });
        }
    }

    /// Whether the namespace is joined, as far as is known. That may be over in a moment, and what is
    /// emitted meanwhile waits: to act when it changes, subscribe to [`Ready`](crate::Ready) and
    /// [`Disconnected`](crate::Disconnected), or wait with [`ready`](Self::ready).
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
