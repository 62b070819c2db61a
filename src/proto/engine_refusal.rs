//! The refusals that the Engine.IO protocol has codes for.

use thiserror::Error;

/// Why an Engine.IO server refuses a request, by the codes of the protocol. The official servers, socketioxide
/// and (with other words) the server in Python have them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum EngineRefusal {
    /// Code 0, `Transport unknown`: the server does not offer the transport. If that was a websocket, the
    /// failure is a [`NoWebsocket`](crate::ConnectFailure::NoWebsocket) instead. Allow the other one with
    /// [`transports`](crate::ClientBuilder::transports).
    #[error(
        "it does not offer this transport (code 0, Transport unknown): allow websockets with the option transports"
    )]
    TransportUnknown,
    /// Code 1, `Session ID unknown`: the server has no such session. If that ends a session, the reason is
    /// [`Reason::SessionUnknown`](crate::Reason::SessionUnknown) instead. Several servers behind one address
    /// need sticky sessions.
    #[error(
        "it does not know the session (code 1, Session ID unknown): several servers behind one address need sticky sessions"
    )]
    SessionUnknown,
    /// Code 2, `Bad handshake method`: the first request came with another HTTP method than GET. Something on
    /// the way has changed it.
    #[error(
        "the HTTP method is not GET (code 2, Bad handshake method): something on the way changes it"
    )]
    BadHandshakeMethod,
    /// Code 3, `Bad request`: most often, the request for a websocket came without its header `Upgrade`, which
    /// a proxy on the way has removed. With [`Transport::Polling`](crate::Transport::Polling) allowed, the
    /// client gets through. An invalid `Origin` header is another cause.
    #[error(
        "the request is not complete (code 3, Bad request): does a proxy on the way remove the header Upgrade, or is the header Origin invalid?"
    )]
    BadRequest,
    /// Code 4, `Forbidden`: the server's `allowRequest` (`origins` before 3.0) does not let this client in. It
    /// decides by the headers, such as `Origin` and `Authorization`, and by the query.
    #[error(
        "it lets nobody in with these headers and query (code 4, Forbidden): does it want a header? (options header, headers_with)"
    )]
    Forbidden,
    /// Code 5, `Unsupported protocol version`: the server speaks another revision of Engine.IO. By default, the
    /// client then asks for the other one. If it may not (option
    /// [`protocol`](crate::ClientBuilder::protocol)), the failure is an
    /// [`Unsupported`](crate::ConnectFailure::Unsupported) instead.
    #[error("it does not speak this protocol revision (code 5, Unsupported protocol version)")]
    UnsupportedVersion,
}

impl EngineRefusal {
    /// The code of the protocol, from 0 to 5.
    pub fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The refusal that a server means by this text: servers in JavaScript, Rust and Python. A text
    /// that could also come from something on the way is not recognised.
    pub(crate) fn of_text(said: &str) -> Option<Self> {
        match said {
            "Transport unknown" | "Invalid transport" => Some(Self::TransportUnknown),
            "Session ID unknown" => Some(Self::SessionUnknown),
            "Bad handshake method" => Some(Self::BadHandshakeMethod),
            "Unsupported protocol version"
            | "The client is using an unsupported version of the Socket.IO or Engine.IO protocols" => {
                Some(Self::UnsupportedVersion)
            }
            _ if said.starts_with("Invalid session") => Some(Self::SessionUnknown),
            _ => None,
        }
    }
}
