//! How a namespace is.

use crate::proto::reason::Reason;

/// How a namespace is, as far as is known; see [`Socket::state`](crate::Socket::state).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketState {
    /// It is not joined yet, or not any more, and the client works on it: it connects, waits for the
    /// next attempt, or for the server's answer. What is emitted waits.
    Joining,
    /// The server has let it in.
    Joined,
    /// It was left, refused or lost, for this reason, and stays so until
    /// [`Socket::connect`](crate::Socket::connect). After [`Reason::Shutdown`], it stays so for ever.
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
