//! What a call of a socket returns, to be awaited.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::channel::oneshot;

use crate::{
    actor::{
        command_queue::{Command, Refused},
        namespace_ref::NamespaceRef,
        waiters::ReadyError,
    },
    backpressure::send_quota::{WriteOutcome, WriteStatus},
    client::{lifeline::Lifeline, socket::Socket},
    message::Ready,
    payload::{Payload, Reply},
    proto::{
        emit::Emit,
        error::{AckError, EmitError},
        reason::Reason,
    },
    runtime::task,
};

/// An event that was taken. It resolves when the event is written to the connection. It need not be
/// awaited: dropping it changes nothing.
///
/// It can be kept, and awaited later:
///
/// ```
/// use actix::prelude::*;
/// use actix_socketio::{EmitError, Socket};
///
/// struct Meter {
///     socket: Socket,
/// }
///
/// impl Actor for Meter {
///     type Context = Context<Self>;
///
///     fn started(&mut self, ctx: &mut Self::Context) {
///         if let Ok(written) = self.socket.emit("begin", ()) {
///             ctx.spawn(written.into_actor(self).map(|outcome: Result<(), EmitError>, _, _| {
///                 println!("written: {outcome:?}");
///             }));
///         }
///     }
/// }
/// ```
///
/// It resolves to an error if the event is dropped, for the same reasons as an event that [asks for
/// an answer](Socket::emit_with_ack), or if its namespace ends ([`EmitError::Closed`]). In the
/// latter case the event may still be in the buffer, for [`Socket::connect`]; after that call, it
/// can be awaited again.
#[derive(Debug)]
pub struct Written {
    pub(super) namespace_ref: Arc<NamespaceRef>,
    pub(super) write_status: Arc<WriteStatus>,
}

impl Future for Written {
    type Output = Result<(), EmitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { namespace_ref, write_status } = &*self;
        loop {
            return Poll::Ready(match (ready!(write_status.poll(cx)), namespace_ref.ended()) {
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
    pub(super) socket: Socket,
    pub(super) emit: Result<Emit, EmitError>,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) reply: PhantomData<fn() -> R>,
}

impl<R> AckRequest<R> {
    /// How long to wait for the answer. The time counts from the emit, even if the namespace is not
    /// joined. With [retries](Self::retries), it is the time for each try, counted from when
    /// that is sent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the event again until the server has answered: at least once.
    ///
    /// An answer that does not come in [time](Self::timeout) uses up one retry. A lost connection uses up
    /// none: the event is sent again on the next one. The page on
    /// [delivery](crate::guide::delivery#at-least-once) lists the ways in which an event ends without an
    /// answer, such as the end of its namespace. Until there is an outcome, the event holds room in the
    /// buffer.
    ///
    /// Events with retries are sent in order, one at a time unless
    /// [`retry_window`](crate::ClientBuilder::retry_window) is larger. Other events may overtake
    /// them. The server may get an event more than once;
    /// [`message_ids`](crate::ClientBuilder::message_ids) let it recognise repeats.
    ///
    /// Default: [`ClientBuilder::retries`](crate::ClientBuilder::retries). With 0, the event is
    /// sent once.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sends the event now. The answer can be awaited later.
    pub fn send(self) -> Ack<R> {
        let (waiter, answer) = task::channel();
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

/// The future answer of the server to an emit. It always resolves.
///
/// Dropping it cancels nothing: the event is still sent (and sent again, with
/// [retries](AckRequest::retries)), up to its timeout, and only the answer is ignored. Until then, it
/// counts for [`pending_acks`](crate::ClientBuilder::pending_acks). As long as it is kept, it keeps the
/// connection alive, like a [`Socket`].
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
        /// Keeps the connection alive while the caller waits for an answer.
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

/// Waits for a namespace to be joined, starting with the first poll. See [`Socket::ready`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ReadyRequest {
    namespace_ref: Arc<NamespaceRef>,
    timeout: Duration,
    /// `Some` after the first poll, which asks the namespace.
    outcome: Option<oneshot::Receiver<Result<Ready, ReadyError>>>,
}

impl ReadyRequest {
    pub(super) fn new(namespace_ref: Arc<NamespaceRef>, timeout: Duration) -> Self {
        Self { namespace_ref, timeout, outcome: None }
    }

    /// How long to wait. Default: the time for connecting and for joining together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Future for ReadyRequest {
    type Output = Result<Ready, ReadyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { namespace_ref, timeout, outcome } = &mut *self;
        if outcome.is_none() {
            let (waiter, told) = task::channel();
            let command = Command::AwaitReady { waiter, timeout: *timeout };
            if namespace_ref.tell(command) == Err(Refused::Busy) {
                return Poll::Ready(Err(ReadyError::Busy));
            }
            // If the actor is gone, the waiter is dropped, and that is seen below.
            *outcome = Some(told);
        }
        let Some(outcome) = outcome else { return Poll::Pending };
        let outcome = ready!(Pin::new(outcome).poll(cx));
        Poll::Ready(outcome.unwrap_or(Err(ReadyError::Ended(Reason::Shutdown))))
    }
}
