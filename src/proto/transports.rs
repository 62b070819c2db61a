//! The transports that the application allows, and which one to dial with.

use std::fmt;

use super::{
    engine_refusal::EngineRefusal,
    reason::{ConnectFailure, Reason},
};

/// How packets get to the server and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A websocket: one connection for both directions.
    WebSocket,
    /// HTTP long-polling: packets come in the responses to GETs and go out in POSTs. It gets through where
    /// a proxy does not let websockets pass, and costs an HTTP request for each batch of packets.
    Polling,
}

impl Transport {
    /// Its name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the application allows, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    WebSocket,
    Polling,
    /// A websocket, and polling where that cannot be opened.
    WebSocketFirst,
    /// Polling, and from there an upgrade to a websocket. `remembers`: once that has worked, the next connection begins
    /// with a websocket.
    PollingFirst {
        remembers: bool,
    },
}

impl Allowed {
    /// The transports of a list, of which the first is preferred. `None` if the list is empty.
    pub(crate) fn of(
        transports: impl IntoIterator<Item = Transport>,
        remembers: bool,
    ) -> Option<Self> {
        let mut transports = transports.into_iter();
        let first = transports.next()?;
        let has_other = transports.any(|other| other != first);
        Some(match (first, has_other) {
            (Transport::WebSocket, false) => Self::WebSocket,
            (Transport::WebSocket, true) => Self::WebSocketFirst,
            (Transport::Polling, false) => Self::Polling,
            (Transport::Polling, true) => Self::PollingFirst { remembers },
        })
    }
}

/// Chooses the transport of each dial.
#[derive(Debug)]
pub(crate) struct Transports {
    allowed: Allowed,
    /// The transport that is being dialled or open.
    current: Transport,
    /// Whether the last websocket could not be opened, for a reason that does not affect polling.
    is_blocked: bool,
    /// Whether an upgrade from polling to a websocket has worked.
    has_upgraded: bool,
    /// Why no websocket could be opened before polling was tried, in this attempt.
    first: Option<Box<Reason>>,
}

impl Transports {
    pub(crate) fn new(allowed: Allowed) -> Self {
        let mut transports = Self {
            allowed,
            current: Transport::WebSocket,
            is_blocked: false,
            has_upgraded: false,
            first: None,
        };
        transports.begin();
        transports
    }

    pub(crate) fn current(&self) -> Transport {
        self.current
    }

    /// Chooses the transport of the next dial.
    pub(crate) fn begin(&mut self) {
        self.first = None;
        let has_websocket = match self.allowed {
            Allowed::WebSocket => true,
            Allowed::Polling => false,
            Allowed::WebSocketFirst => !self.is_blocked,
            // A websocket has worked, and saves the polling requests.
            Allowed::PollingFirst { remembers } => {
                remembers && self.has_upgraded && !self.is_blocked
            }
        };
        self.current = if has_websocket { Transport::WebSocket } else { Transport::Polling };
    }

    /// The current transport has failed. `true` if the other one should be tried.
    pub(crate) fn handle_failure(&mut self, reason: &Reason) -> bool {
        let is_open_to_polling = self.current == Transport::WebSocket && is_of_websockets(reason);
        let has_polling =
            matches!(self.allowed, Allowed::WebSocketFirst | Allowed::PollingFirst { .. });
        // As long as it is set, no websocket is dialled where there is polling.
        self.is_blocked = is_open_to_polling;
        let other = is_open_to_polling && has_polling;
        if other {
            self.current = Transport::Polling;
            self.first = Some(Box::new(reason.clone()));
        }
        other
    }

    /// Of the two reasons why both transports have failed, the one that says more. If polling got no
    /// answer, that is the reason for the websocket, unless it only says that there are no websockets.
    pub(crate) fn weightier(&mut self, reason: Reason) -> Reason {
        let is_silent = matches!(
            reason,
            Reason::TransportClose(_)
                | Reason::TransportError(_)
                | Reason::Connect(ConnectFailure::TimedOut | ConnectFailure::NoAnswer)
        );
        let is_told = |first: &Reason| {
            let Reason::Connect(failure) = first else { return false };
            matches!(
                failure,
                ConnectFailure::Status { .. }
                    | ConnectFailure::Engine(_)
                    | ConnectFailure::Handshake(_)
            )
        };
        let first = self.first.take().filter(|first| is_silent && is_told(first));
        first.map_or(reason, |first| *first)
    }

    /// A websocket has taken the place of polling.
    pub(crate) fn handle_upgraded(&mut self) {
        self.current = Transport::WebSocket;
        (self.is_blocked, self.has_upgraded) = (false, true);
    }
}

/// Whether polling may get through where a websocket has failed for this reason: because something on the way
/// does not pass websockets, or the server has none. It may not if the server cannot be reached at all, or
/// refuses all clients.
fn is_of_websockets(reason: &Reason) -> bool {
    match reason {
        Reason::Connect(failure) => match failure {
            ConnectFailure::NoWebsocket(_)
            | ConnectFailure::NoAnswer
            | ConnectFailure::TimedOut
            | ConnectFailure::Handshake(_) => true,
            ConnectFailure::Engine(refusal) => matches!(
                refusal,
                EngineRefusal::TransportUnknown
                    | EngineRefusal::BadHandshakeMethod
                    | EngineRefusal::BadRequest
            ),
            ConnectFailure::Status { status, .. } => {
                !matches!(status, 300..=399 | 401 | 403 | 407 | 429 | 503 | 504)
            }
            _ => false,
        },
        Reason::TransportClose(_) | Reason::TransportError(_) | Reason::Protocol(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Reason {
        Reason::Connect(ConnectFailure::NoAnswer)
    }

    #[test]
    fn the_order_is_that_of_the_list() {
        use Transport::{Polling, WebSocket};
        for (list, expected) in [
            (&[][..], None),
            (&[WebSocket], Some(Allowed::WebSocket)),
            (&[WebSocket, WebSocket], Some(Allowed::WebSocket)),
            (&[Polling], Some(Allowed::Polling)),
            (&[WebSocket, Polling], Some(Allowed::WebSocketFirst)),
            (&[Polling, Polling, WebSocket], Some(Allowed::PollingFirst { remembers: true })),
        ] {
            assert_eq!(Allowed::of(list.iter().copied(), true), expected, "{list:?}");
        }
    }

    #[test]
    fn polling_is_tried_once_where_a_websocket_cannot_be_opened() {
        let mut transports = Transports::new(Allowed::WebSocketFirst);
        assert_eq!(transports.current(), Transport::WebSocket);
        let dead = Reason::Connect(ConnectFailure::Unreachable(String::new()));
        assert!(!transports.handle_failure(&dead), "neither gets there");
        assert!(transports.handle_failure(&failed()));
        assert_eq!(transports.current(), Transport::Polling);
        // It works, so the next connection begins with it,
        transports.begin();
        assert_eq!(transports.current(), Transport::Polling);
        // until it fails, too,
        assert!(!transports.handle_failure(&failed()));
        transports.begin();
        assert_eq!(transports.current(), Transport::WebSocket);
        // or until a websocket gets through.
        assert!(transports.handle_failure(&failed()));
        transports.handle_upgraded();
        transports.begin();
        assert_eq!(transports.current(), Transport::WebSocket);
    }

    #[test]
    fn polling_is_tried_after_a_refusal_that_it_may_not_get() {
        for (refusal, expected) in [
            (EngineRefusal::TransportUnknown, true),
            (EngineRefusal::SessionUnknown, false),
            (EngineRefusal::BadHandshakeMethod, true),
            (EngineRefusal::BadRequest, true),
            (EngineRefusal::Forbidden, false),
            (EngineRefusal::UnsupportedVersion, false),
        ] {
            let mut transports = Transports::new(Allowed::WebSocketFirst);
            let reason = Reason::Connect(ConnectFailure::Engine(refusal));
            assert_eq!(transports.handle_failure(&reason), expected, "{refusal}");
        }
    }

    #[test]
    fn of_two_transports_that_have_failed_the_reason_is_told_that_says_more() {
        let connect = |failure| Reason::Connect(failure);
        let (silent, late) = (ConnectFailure::NoAnswer, ConnectFailure::TimedOut);
        let (status, broken) =
            (ConnectFailure::status(502), ConnectFailure::Handshake("what?".to_owned()));
        let none = ConnectFailure::NoWebsocket("no".to_owned());
        let dead = ConnectFailure::Unreachable("refused".to_owned());
        for (first, second, expected) in [
            (&status, &silent, &status),
            (&broken, &late, &broken),
            (&silent, &late, &late),
            (&silent, &status, &status),
            (&status, &broken, &broken),
            (&status, &dead, &dead),
            // A reader of that reason would allow polling, which has been tried already.
            (&none, &late, &late),
        ] {
            let mut transports = Transports::new(Allowed::WebSocketFirst);
            assert!(transports.handle_failure(&connect(first.clone())), "{first}");
            let told = transports.weightier(connect(second.clone()));
            assert_eq!(told, connect(expected.clone()), "{first}, then {second}");
        }
        let mut transports = Transports::new(Allowed::WebSocketFirst);
        assert!(transports.handle_failure(&connect(status)));
        transports.begin();
        assert_eq!(transports.weightier(connect(late.clone())), connect(late), "it was before");
    }

    #[test]
    fn an_upgrade_that_has_worked_is_not_needed_again() {
        let mut transports = Transports::new(Allowed::PollingFirst { remembers: true });
        assert_eq!(transports.current(), Transport::Polling);
        transports.handle_upgraded();
        transports.begin();
        assert_eq!(transports.current(), Transport::WebSocket);
        assert!(transports.handle_failure(&failed()));
        transports.begin();
        assert_eq!(transports.current(), Transport::Polling);
        // Not if the option is off.
        let mut transports = Transports::new(Allowed::PollingFirst { remembers: false });
        transports.handle_upgraded();
        transports.begin();
        assert_eq!(transports.current(), Transport::Polling);
    }

    #[test]
    fn one_transport_alone_stays() {
        for (allowed, only) in
            [(Allowed::WebSocket, Transport::WebSocket), (Allowed::Polling, Transport::Polling)]
        {
            let mut transports = Transports::new(allowed);
            for _ in 0..2 {
                assert_eq!(transports.current(), only);
                assert!(!transports.handle_failure(&failed()));
                transports.begin();
            }
        }
    }
}
