//! The handle of one namespace.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    actor::{
        command_queue::{Busy, Command, Refused},
        namespace_ref::NamespaceRef,
        subscribers::policy::Overflow,
    },
    client::{lifeline::Lifeline, request::ReadyRequest, state::SocketState},
    proto::{
        emit::{Emit, Offline},
        reason::Reason,
        ticket::SessionTicket,
    },
    runtime::task::{self, Teller},
};

/// A handle to one namespace of one connection.
///
/// It is cheap to clone and may be used from any thread, inside and outside of actors. The handles
/// of a [`Client`](crate::Client) together keep its connection alive.
///
/// The namespace is joined as soon as a handle exists. There is no need to wait for it: events that
/// are emitted before wait in a buffer, in order.
#[derive(Clone)]
pub struct Socket {
    pub(super) namespace_ref: Arc<NamespaceRef>,
    pub(super) lifeline: Arc<Lifeline>,
    pub(super) defaults: Defaults,
    /// For subscriptions of this handle; `None`: that of the namespace.
    pub(super) overflow: Option<Overflow>,
}

/// The defaults for calls that set no options of their own.
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
        namespace_ref: Arc<NamespaceRef>,
        lifeline: Arc<Lifeline>,
        defaults: Defaults,
    ) -> Self {
        Self { namespace_ref, lifeline, defaults, overflow: None }
    }

    pub(crate) fn namespace_ref(&self) -> &Arc<NamespaceRef> {
        &self.namespace_ref
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }
}

/// # Life cycle
impl Socket {
    /// The namespace's name, with its slash.
    pub fn namespace(&self) -> &str {
        &self.namespace_ref.name.namespace
    }

    /// The state of the namespace, as far as it is known: joining, joined, or ended.
    ///
    /// It may change at any moment, and events that are emitted meanwhile wait. To act on a change,
    /// subscribe to [`Ready`](crate::Ready) and [`Disconnected`](crate::Disconnected), or wait with
    /// [`ready`](Self::ready).
    pub fn state(&self) -> SocketState {
        match self.namespace_ref.ended() {
            Some(reason) => SocketState::Ended(reason),
            None if self.namespace_ref.status.is_joined() => SocketState::Joined,
            None => SocketState::Joining,
        }
    }

    /// Waits until the namespace is joined.
    ///
    /// There is no need to call this before emitting. It tells whether joining worked.
    ///
    /// The wait ends early ([`ReadyError::Failing`](crate::ReadyError::Failing)) when a failure
    /// will not go away by itself:
    ///
    /// * the host is not known;
    /// * the server answers the request to connect with a status that will not change, such as 401,
    ///   403, 404 or 410 (401 and 403 only if neither [headers](crate::ClientBuilder::headers_with)
    ///   nor the query come from a provider), or with a handshake that is too large;
    /// * three attempts have failed in a row, for instance because nothing listens there. With
    ///   [fallbacks](crate::ClientBuilder::fallback), an attempt is all servers that are dialled between two
    ///   waits, and what will not change must be so for each of them.
    ///
    /// The client itself keeps trying by its policy. With
    /// [`Reconnect::patient`](crate::Reconnect::patient), `ready` keeps waiting as well.
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
        ReadyRequest::new(Arc::clone(&self.namespace_ref), self.defaults.ready_timeout)
    }

    /// Joins again after the namespace was left, refused or lost. Does nothing while it is joined
    /// or being joined.
    ///
    /// If there is no connection, one is made. A server 1.x or 2.x cannot take a client back into a
    /// `/` that was left or refused. Joining then takes a new connection for all namespaces: they
    /// get `Disconnected` with [`Reason::Reconnect`], and then `Ready`. It is made when the server has
    /// read everything that was written to the old one, or after a second.
    pub fn connect(&self) {
        if self.namespace_ref.ended() == Some(Reason::Shutdown) {
            return;
        }
        let intent_seq = self.namespace_ref.note_intent(None);
        if self.namespace_ref.tell(Command::Rejoin { intent_seq }).is_err() {
            self.namespace_ref.note_intent(Some(&Reason::Shutdown));
        }
    }

    /// Leaves the namespace, after everything that was emitted before is sent.
    ///
    /// Subscribers get [`Disconnected`](crate::Disconnected). Pending answers resolve to
    /// [`AckError::Disconnected`](crate::AckError::Disconnected), or to
    /// [`AckError::NeverSent`](crate::AckError::NeverSent) if the event was still waiting. Waiting
    /// events that ask for no answer are kept for [`connect`](Self::connect), and can be [taken
    /// back](Self::take_unsent). The connection stays open, even if no namespace is left.
    pub fn disconnect(&self) {
        if self.namespace_ref.ended().is_none() {
            let intent_seq = self.namespace_ref.note_intent(Some(&Reason::ClientDisconnect));
            // If the actor is gone, it has ended for good.
            self.namespace_ref.tell(Command::Disconnect { intent_seq }).ok();
        }
    }

    /// A ticket with which another client can continue this session, as of now; see
    /// [`SessionTicket`]. `None` if there is no session that can be continued.
    ///
    /// # Errors
    ///
    /// Too many calls wait for the namespace.
    pub async fn session_ticket(&self) -> Result<Option<SessionTicket>, Busy> {
        self.ask_namespace(Command::GiveTicket).await
    }

    /// Asks the actor. If it has stopped, what it had is gone, too.
    async fn ask_namespace<T: Default>(
        &self,
        command: impl FnOnce(Teller<T>) -> Command,
    ) -> Result<T, Busy> {
        let (waiter, outcome) = task::channel();
        match self.namespace_ref.tell(command(waiter)) {
            Err(Refused::Busy) => Err(Busy),
            Ok(()) | Err(Refused::Gone) => Ok(outcome.await.unwrap_or_default()),
        }
    }
}

/// # What waits to be sent
impl Socket {
    /// The number of emitted events in the buffer: those not yet written to the connection or, with
    /// [retries](crate::AckRequest::retries), not yet answered.
    pub fn unsent(&self) -> usize {
        self.namespace_ref.send_quota.waiting()
    }

    /// The bytes of the [unsent](Self::unsent) events.
    pub fn unsent_bytes(&self) -> usize {
        self.namespace_ref.send_quota.waiting_bytes()
    }

    /// Takes the events out of the buffer that wait for the namespace to be joined, to inspect
    /// them, drop them, or [send](Self::send) them elsewhere. The client does not send them any
    /// more. A future that waits for one resolves to
    /// [`EmitError::Discarded`](crate::EmitError::Discarded), for an answer as
    /// [`AckError::NeverSent`](crate::AckError::NeverSent).
    ///
    /// Events that have been handed to the connection, or were sent before (with
    /// [retries](crate::AckRequest::retries)), are not among them.
    ///
    /// # Errors
    ///
    /// Too many calls wait for the namespace. The events stay in the buffer.
    pub async fn take_unsent(&self) -> Result<Vec<Emit>, Busy> {
        self.ask_namespace(Command::TakeUnsent).await
    }
}
