//! A session that another client can continue.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proto::{peer_text, recovery::Recovery};

/// A ticket to continue a session in another [`Client`](crate::Client), in this process or another,
/// with [`ClientBuilder::resume`](crate::ClientBuilder::resume).
///
/// A session has a ticket if the server has connection state recovery (4.6 and later, if switched
/// on) and an event has come. The ticket tells the server where to continue: after the last event
/// that had come when the ticket was made. The server keeps a session for a while after its
/// connection is lost (two minutes by default). So the old client must disconnect without leaving:
/// [`Client::hand_over`](crate::Client::hand_over) does that.
///
/// It serialises to an object of three strings. Anybody who has it can act as this client: keep it
/// like a password. `Debug` shows only the namespace.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTicket {
    pub(crate) namespace: String,
    pid: String,
    offset: String,
}

impl SessionTicket {
    pub(crate) fn new(namespace: &str, recovery: &Recovery) -> Option<Self> {
        let (pid, offset) = recovery.point()?;
        let (namespace, pid, offset) = (namespace.to_owned(), pid.to_owned(), offset.to_owned());
        Some(Self { namespace, pid, offset })
    }

    /// A ticket made from stored parts: the session's namespace and private id (see [`pid`](Self::pid)), and
    /// the [offset](crate::Event::offset) of the event after which the session continues. If they cannot come
    /// from a server, or the server does not know them any more, the client begins a new session, as
    /// [`Ready::recovered`](crate::Ready::recovered) says.
    pub fn from_parts(
        namespace: impl Into<String>,
        pid: impl Into<String>,
        offset: impl Into<String>,
    ) -> Self {
        Self { namespace: namespace.into(), pid: pid.into(), offset: offset.into() }
    }

    /// The same session, to be continued after the event with this [offset](crate::Event::offset).
    #[must_use]
    pub fn with_offset(self, offset: impl Into<String>) -> Self {
        Self { offset: offset.into(), ..self }
    }

    /// The namespace of the session.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The private id that the server has given to the session. It is a secret: anybody who has it can act
    /// as this client.
    pub fn pid(&self) -> &str {
        &self.pid
    }

    /// The offset of the event after which the session is continued.
    pub fn offset(&self) -> &str {
        &self.offset
    }

    /// `None` if the parts cannot come from a server.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        let pid = peer_text::Kind::PrivateId.keep(&self.pid).ok()?;
        Some(Recovery::new(pid, self.offset.clone()))
    }
}

impl fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTicket").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
