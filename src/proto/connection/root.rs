//! The namespace `/` of a server of revision 3, to which the server joins each client by itself. Until
//! it has, no other namespace can be joined.

use crate::proto::{
    engine::Protocol,
    packet::{Body, Packet},
    reason::Reason,
    refusal::refusal,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// Revision 4: `/` is a namespace like any other.
    Free,
    /// The server has not said anything about `/`.
    Pending,
    Joined,
    /// Left or refused. It cannot be joined again on this connection.
    Gone,
}

/// What a packet has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Joined,
    /// The server refuses this client in all namespaces.
    Refused(Reason),
}

impl Root {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Eio4 => Self::Free,
            Protocol::Eio3 => Self::Pending,
        }
    }

    /// The application leaves a namespace.
    pub(super) fn handle_leave(&mut self, namespace: &str) {
        if *self != Self::Free && namespace == "/" {
            *self = Self::Gone;
        }
    }

    /// A packet came.
    #[inline]
    pub(super) fn handle_packet(&mut self, packet: &Packet) -> Option<Change> {
        if *self == Self::Free || packet.namespace != *"/" {
            return None;
        }
        let is_pending = *self == Self::Pending;
        match &packet.body {
            Body::Connect(_) if is_pending => {
                *self = Self::Joined;
                Some(Change::Joined)
            }
            Body::ConnectError(data) if is_pending => {
                *self = Self::Gone;
                Some(Change::Refused(Reason::Refused(refusal(data.as_deref()))))
            }
            Body::Disconnect => {
                *self = Self::Gone;
                is_pending.then_some(Change::Refused(Reason::ServerDisconnect))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_joins_the_root_or_refuses_it() {
        let connect = || Body::Connect(None);
        let error = || Body::ConnectError(Some("\"no\"".into()));
        let refused = || Change::Refused(Reason::Refused(refusal(Some("\"no\""))));
        let put_out = Change::Refused(Reason::ServerDisconnect);
        for (before, namespace, body, after, change) in [
            (Root::Free, "/", error(), Root::Free, None),
            (Root::Pending, "/a", connect(), Root::Pending, None),
            (Root::Pending, "/", connect(), Root::Joined, Some(Change::Joined)),
            (Root::Pending, "/", error(), Root::Gone, Some(refused())),
            (Root::Pending, "/", Body::Disconnect, Root::Gone, Some(put_out)),
            (Root::Joined, "/", error(), Root::Joined, None),
            (Root::Joined, "/", Body::Disconnect, Root::Gone, None),
            (Root::Gone, "/", connect(), Root::Gone, None),
        ] {
            let mut root = before;
            let packet = Packet::new(namespace.into(), body);
            assert_eq!(root.handle_packet(&packet), change, "{before:?} {packet:?}");
            assert_eq!(root, after, "{before:?} {packet:?}");
        }
    }

    #[test]
    fn the_root_of_an_old_server_is_left_for_good() {
        for (protocol, after) in [(Protocol::Eio3, Root::Gone), (Protocol::Eio4, Root::Free)] {
            let mut root = Root::new(protocol);
            let before = root;
            root.handle_leave("/a");
            assert_eq!(root, before);
            root.handle_leave("/");
            assert_eq!(root, after);
        }
    }
}
