//! A session, to be gone on with by another client.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proto::recovery::Recovery;

/// What it takes to take a session over: by another [`Client`](crate::Client), in this process or in
/// another, with [`ClientBuilder::resume`](crate::ClientBuilder::resume).
///
/// There is one where the server has connection state recovery (4.6 and later, if it is switched
/// on) and an event has come. It tells the server where to go on: behind the last event that had
/// come when the ticket was made. The server keeps a session for a while (two minutes unless it is
/// set) after its connection was lost, so the old client must be gone without having left:
/// [`Client::hand_over`](crate::Client::hand_over) does that.
///
/// It serialises to an object of three strings. Whoever has it can be this client: keep it like a
/// password. `Debug` shows the namespace only.
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

    /// The namespace that the session is of.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn recovery(&self) -> Recovery {
        Recovery::new(self.pid.clone().into(), self.offset.clone())
    }
}

impl fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTicket").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
