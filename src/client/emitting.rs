//! The ways to emit.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use actix::Recipient;
use serde::Serialize;

use crate::{
    actor::{
        namespace_ref::Admitted,
        question::{Asker, Question, Waiter},
    },
    backpressure::send_quota::WriteStatus,
    client::{
        request::{AckRequest, Written},
        socket::{Defaults, Socket},
    },
    message::contract::{Call, NamedEvent},
    payload::{Payload, Reply},
    proto::{
        emit::{Emit, Offline},
        error::{AckError, EmitError},
    },
    runtime::task::Teller,
};

/// # Emitting
impl Socket {
    /// Emits an event: a tuple for several arguments, `()` for none, anything else for one.
    ///
    /// Returns at once. Events are sent in the order of the calls, as soon as the namespace is
    /// joined. An event holds room in the namespace's buffer until it is written to the connection.
    /// `emit` does not tell whether the event arrives; [`emit_with_ack`](Self::emit_with_ack) does.
    ///
    /// A producer that is faster than the connection can await the [`Written`] that this returns,
    /// and is held back.
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
    /// The event was not taken and will not be sent; see [`EmitError`]. If the buffer is full, the
    /// error gives the event back.
    pub fn emit(&self, name: &str, arguments: impl Serialize) -> Result<Written, EmitError> {
        self.send(Emit::new(name, arguments)?)
    }

    /// Emits an event and waits for the server's answer.
    ///
    /// Like any future, it does nothing until it is awaited (or [sent](AckRequest::send)). The
    /// answer is read as a tuple for several arguments, as `()` for none, and as anything else for
    /// the first one. Every call resolves within
    /// [`ack_timeout`](crate::ClientBuilder::ack_timeout), unless it sets its own. (With
    /// [retries](AckRequest::retries), that is the time for each try.)
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
    /// If the time runs out while the event still waits in the buffer, the event is removed, and the
    /// server never gets it: [`AckError::NeverSent`] with [`EmitError::Expired`]. If the event was sent, the
    /// error is [`AckError::TimedOut`]: the server may have seen the event.
    ///
    /// A [table](crate::payload) shows which type reads which answer. For example, a `Vec` reads
    /// one argument that is an array, [`Args`](crate::Args) reads all arguments, and [`Payload`] is
    /// the answer as it came.
    ///
    /// # Answers with the error first
    ///
    /// Feathers and many other services in JavaScript call back with the error first and the result
    /// second. Read that as a pair in which both may be missing:
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
    /// To answer a server in this way, use `event.ack((None::<Failure>, flight))`.
    pub fn emit_with_ack<R: Reply>(&self, name: &str, arguments: impl Serialize) -> AckRequest<R> {
        self.ask(Emit::new(name, arguments))
    }

    /// Emits an event of a type of your own; see [`contract`](crate::message::contract).
    ///
    /// # Errors
    ///
    /// As for [`emit`](Self::emit).
    pub fn emit_event<E: NamedEvent + Serialize>(&self, event: &E) -> Result<Written, EmitError> {
        self.emit(E::NAME, event)
    }

    /// Emits an event of a type of your own that asks for an answer, and waits for the answer; see
    /// [`contract`](crate::message::contract). It returns the same as
    /// [`emit_with_ack`](Self::emit_with_ack). (To receive events in a function:
    /// [`Listen::call`](crate::Listen::call).)
    pub fn call<C>(&self, call: C) -> AckRequest<C::Reply>
    where
        C: Call + Serialize,
        C::Reply: Reply,
    {
        self.emit_with_ack(C::NAME, call)
    }

    /// Emits an event that is serialised already and may have options of its own; see [`Emit`].
    ///
    /// (`socket.send(…)` of socket.io-client is `emit("message", …)` here.)
    ///
    /// # Errors
    ///
    /// The same as those of [`emit`](Self::emit), except for those of serialising.
    pub fn send(&self, emit: Emit) -> Result<Written, EmitError> {
        let written =
            |write_status| Written { namespace_ref: Arc::clone(&self.namespace_ref), write_status };
        let Admitted::Room(emit, mut permit) =
            self.namespace_ref.take(emit, self.defaults.offline)?
        else {
            return Ok(written(WriteStatus::written()));
        };
        let write_status = permit.write_status();
        self.namespace_ref.post(emit, permit, self.defaults.offline, None)?;
        Ok(written(write_status))
    }

    /// Emits an event that is serialised already and may have options of its own, and waits for the
    /// server's answer; see [`Emit`] and [`emit_with_ack`](Self::emit_with_ack).
    pub fn send_with_ack<R: Reply>(&self, emit: Emit) -> AckRequest<R> {
        self.ask(Ok(emit))
    }

    /// Returns another handle to the same namespace, which applies `offline` to its events while
    /// the namespace is not joined.
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

    /// Returns an address for [`Emit`] messages, for actors that should not know about sockets.
    ///
    /// It does not keep the connection alive. The bound of the buffer is checked when the message
    /// is handled, and the result of the message says whether the event was taken. Only
    /// [`Recipient::send`] gives that result and holds the sender back. With `do_send`, an event
    /// that is not taken is lost.
    ///
    /// The mailbox takes 1024 messages. Beyond that, `send` waits, and `try_send` returns
    /// [`SendError::Full`](actix::dev::SendError::Full). `do_send` puts its message into the mailbox of an actor
    /// whether there is room or not: do not use it in a loop.
    ///
    /// Messages are sent in their order. An event that is emitted with the socket itself may
    /// overtake an earlier message: if the order of all events matters, use one of the two only.
    pub fn recipient(&self) -> Recipient<Emit> {
        self.namespace_ref.recipient()
    }
}

impl Socket {
    pub(super) fn question(
        &self,
        emit: Emit,
        sender: Teller<Result<Payload, AckError>>,
        timeout: Duration,
        retries: u32,
    ) -> Result<(), EmitError> {
        let Some(room) = self.namespace_ref.send_quota.reserve_ack() else {
            return Err(EmitError::Full(emit));
        };
        let (emit, permit) = match self.namespace_ref.take(emit, self.defaults.offline)? {
            Admitted::Room(emit, permit) => (emit, permit),
            Admitted::Answered(payload) => {
                sender.tell(Ok(payload.to_reply()));
                return Ok(());
            }
        };
        let id = (retries > 0).then(|| self.lifeline.message_id()).flatten();
        let waiter = Asker::new(Waiter::Handle(sender), room);
        let question = Question { waiter, timeout, retries, id };
        self.namespace_ref.post(emit, permit, self.defaults.offline, Some(question))
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
}
