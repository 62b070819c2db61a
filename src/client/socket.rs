//! The handle of one namespace.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    actor::{messages::FromHandle, namespace_ref::NamespaceRef, subscribers::policy::Overflow},
    client::{lifeline::Lifeline, request::ReadyRequest, state::SocketState},
    proto::{
        emit::{Emit, Offline},
        reason::Reason,
        ticket::SessionTicket,
    },
    runtime::task,
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
    pub(super) defaults: Defaults,
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
}

/// # Life cycle
impl Socket {
    /// The namespace's name, with its slash.
    pub fn namespace(&self) -> &str {
        &self.port.name.namespace
    }

    /// Whether the namespace is joined, is being joined, or has ended, as far as is known. That may be
    /// over in a moment, and what is emitted meanwhile waits: to act when it changes, subscribe to
    /// [`Ready`](crate::Ready) and [`Disconnected`](crate::Disconnected), or wait with
    /// [`ready`](Self::ready).
    pub fn state(&self) -> SocketState {
        match self.port.ended() {
            Some(reason) => SocketState::Ended(reason),
            None if self.port.status.is_joined() => SocketState::Joined,
            None => SocketState::Joining,
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
        ReadyRequest::new(Arc::clone(&self.port), self.defaults.ready_timeout)
    }

    /// Joins again after the namespace was left, refused or lost. Does nothing if it is joined or
    /// being joined.
    ///
    /// If there is no connection, one is made. On a server 1.x or 2.x that `/` was left on, or that
    /// refused it, joining anything takes a new connection, and so all namespaces through it: they
    /// get `Disconnected` with [`Reason::Reconnect`], and `Ready`. That is made when the server has read
    /// what was written to the old one, or after a second.
    pub fn connect(&self) {
        if self.port.ended() == Some(Reason::Shutdown) {
            return;
        }
        let intent_seq = self.port.note_intent(None);
        if !self.port.tell(FromHandle::Rejoin { intent_seq }) {
            self.port.note_intent(Some(&Reason::Shutdown));
        }
    }

    /// Leaves the namespace, behind all that was emitted before.
    ///
    /// Subscribers get [`Disconnected`](crate::Disconnected); who waits for an answer gets
    /// [`AckError::Disconnected`](crate::AckError::Disconnected), or
    /// [`AckError::NeverSent`](crate::AckError::NeverSent) if the event still waited. Events that
    /// still wait and ask for no answer are kept for [`connect`](Self::connect), and can be
    /// [taken back](Self::take_unsent). The connection stays, for the other namespaces too.
    pub fn disconnect(&self) {
        if self.port.ended().is_none() {
            let intent_seq = self.port.note_intent(Some(&Reason::ClientDisconnect));
            self.port.tell(FromHandle::Disconnect { intent_seq });
        }
    }

    /// What it takes to go on with this session elsewhere, as of now. `None` if there is no session
    /// that could be gone on with; see [`SessionTicket`].
    pub async fn session_ticket(&self) -> Option<SessionTicket> {
        let (waiter, ticket) = task::channel();
        self.port.tell(FromHandle::GiveTicket { waiter });
        ticket.await.ok().flatten()
    }
}

/// # What waits to be sent
impl Socket {
    /// How many emitted events hold room in the buffer: they have not been written to the connection
    /// yet or, with [retries](crate::AckRequest::retries), not been answered.
    pub fn unsent(&self) -> usize {
        self.port.send_quota.waiting()
    }

    /// Their bytes.
    pub fn unsent_bytes(&self) -> usize {
        self.port.send_quota.waiting_bytes()
    }

    /// Takes the events out of the buffer that wait for the namespace to be joined: to look at
    /// them, to drop them, or to [send](Self::send) them otherwise. They are not sent by
    /// themselves any more, and who waits for an answer to one gets [`EmitError::Discarded`](crate::EmitError::Discarded).
    ///
    /// What has been handed to the connection, or was sent before (with
    /// [retries](crate::AckRequest::retries)), is not among them.
    pub async fn take_unsent(&self) -> Vec<Emit> {
        let (waiter, unsent) = task::channel();
        self.port.tell(FromHandle::TakeUnsent { waiter });
        // If the actor is gone, so is what it had.
        unsent.await.unwrap_or_default()
    }
}
