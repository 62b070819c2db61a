//! An open connection, as its namespaces see it.

use std::{fmt, time::Duration};

use super::{engine::Protocol, peer_text::PeerText};

/// What a namespace has to know about an open connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The number of the connection, by which packets of an older one are recognised.
    pub(crate) epoch: u64,
    pub(crate) protocol: Protocol,
    /// The engine session's id, a secret.
    pub(crate) sid: PeerText,
    /// The largest message that the server accepts, in bytes, if it announces that.
    pub(crate) max_payload: Option<u64>,
    /// Whether binary messages are sent as base64, which is a third longer: with polling, in revision 4.
    pub(crate) has_base64: bool,
    /// How long a peer can be silent before it is given up, by either side.
    pub(crate) max_silence: Duration,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, protocol, sid: _, max_payload, has_base64, max_silence } = self;
        f.debug_struct("Session")
            .field("epoch", epoch)
            .field("protocol", protocol)
            .field("max_payload", max_payload)
            .field("has_base64", has_base64)
            .field("max_silence", max_silence)
            .finish_non_exhaustive()
    }
}
