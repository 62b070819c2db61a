//! The state of a namespace.

use crate::proto::reason::Reason;

/// The state of a namespace; see [`Socket::state`](crate::Socket::state).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketState {
    /// It is not joined, and the client is working on that: it connects, waits for the next
    /// attempt, or waits for the server's answer. Emitted events wait.
    Joining,
    /// It is joined.
    Joined,
    /// It was left, refused or lost, for this reason. It stays so until
    /// [`Socket::connect`](crate::Socket::connect); after [`Reason::Shutdown`], for ever.
    Ended(Reason),
}

impl SocketState {
    /// Whether it is [`Joined`](Self::Joined).
    pub fn is_joined(&self) -> bool {
        *self == Self::Joined
    }

    /// Why it is [`Ended`](Self::Ended), if it is.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Ended(reason) => Some(reason),
            Self::Joining | Self::Joined => None,
        }
    }
}
