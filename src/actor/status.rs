//! What handles can read of an actor without asking it.
//!
//! The status of a namespace has two writers. The actor writes the state. The handles write in advance
//! what they have just asked for, so that their next call sees it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use crate::proto::{engine::Protocol, namespace::Namespace, reason::Reason, transports::Transport};

/// The status of a Connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionStatus {
    /// 0 until it is known.
    protocol: AtomicU8,
    /// 0 before the first connection.
    transport: AtomicU8,
    /// The place of the server in the order, counted from 1; 0 before the first connection.
    endpoint: AtomicUsize,
    /// The place of the subprotocol that the server has chosen, counted from 1; 0 if there is none.
    subprotocol: AtomicUsize,
}

impl ConnectionStatus {
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self.protocol.load(Ordering::Acquire) {
            3 => Some(Protocol::Eio3),
            4 => Some(Protocol::Eio4),
            _ => None,
        }
    }

    pub(crate) fn transport(&self) -> Option<Transport> {
        match self.transport.load(Ordering::Acquire) {
            1 => Some(Transport::WebSocket),
            2 => Some(Transport::Polling),
            _ => None,
        }
    }

    pub(crate) fn set_transport(&self, transport: Transport) {
        let number = match transport {
            Transport::WebSocket => 1,
            Transport::Polling => 2,
        };
        self.transport.store(number, Ordering::Release);
    }

    /// The place of the server in the order.
    pub(crate) fn endpoint(&self) -> Option<usize> {
        self.endpoint.load(Ordering::Acquire).checked_sub(1)
    }

    pub(crate) fn set_endpoint(&self, place: usize) {
        self.endpoint.store(place.saturating_add(1), Ordering::Release);
    }

    /// The place of the subprotocol that the server has chosen, among those that were offered.
    pub(crate) fn subprotocol(&self) -> Option<usize> {
        self.subprotocol.load(Ordering::Acquire).checked_sub(1)
    }

    pub(crate) fn set_subprotocol(&self, place: Option<usize>) {
        let number = place.map_or(0, |place| place.saturating_add(1));
        self.subprotocol.store(number, Ordering::Release);
    }

    pub(crate) fn set_protocol(&self, protocol: Option<Protocol>) {
        let number = match protocol {
            None => 0,
            Some(Protocol::Eio3) => 3,
            Some(Protocol::Eio4) => 4,
        };
        self.protocol.store(number, Ordering::Release);
    }
}

/// The status of a Namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceStatus {
    has_ended: AtomicBool,
    told: Mutex<Told>,
    /// The number of the current attempt to join, or of the session after it; 0 while the namespace is not joined.
    join_id: AtomicU64,
    is_joined: AtomicBool,
    /// Whether the server has let this client in: it is joined, or the server's first events came before its
    /// answer.
    has_begun: AtomicBool,
    /// Whether the server adds an argument of its own to events.
    is_stamped: AtomicBool,
    /// The largest message that the server accepts, in bytes; 0 until that is known.
    max_payload: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    reason: Option<Box<Reason>>,
    /// The number of the last change that a handle has noted in advance, by
    /// [`note_intent`](NamespaceStatus::note_intent). The actor leaves the state alone until it has reached
    /// the command for it.
    intent_seq: u64,
}

impl NamespaceStatus {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        if !self.has_ended.load(Ordering::Acquire) {
            return None;
        }
        self.told().reason.as_deref().cloned()
    }

    /// Notes what a handle has asked for, before the actor gets to the command. After a shutdown, nothing changes.
    pub(crate) fn note_intent(&self, reason: Option<&Reason>) -> u64 {
        let mut told = self.told();
        told.intent_seq = told.intent_seq.wrapping_add(1);
        if told.reason.as_deref() != Some(&Reason::Shutdown) {
            told.reason = reason.cloned().map(Box::new);
            self.has_ended.store(reason.is_some(), Ordering::Release);
        }
        told.intent_seq
    }

    /// Updates the state, when the actor has reached intent number `seen`. `true` if that changed
    /// whether it has ended, or why.
    pub(crate) fn update<W>(&self, core: &Namespace<W>, seen: u64) -> bool {
        self.join_id.store(core.join_id().unwrap_or(0), Ordering::Release);
        self.is_joined.store(core.is_joined(), Ordering::Release);
        self.has_begun.store(core.has_begun(), Ordering::Release);
        self.max_payload.store(core.max_payload().unwrap_or(0), Ordering::Release);
        self.is_stamped.store(core.recovery().is_some(), Ordering::Release);
        self.note_end(core.ended(), seen)
    }

    /// Sets the end. `true` if that changed it.
    fn note_end(&self, reason: Option<&Reason>, seen: u64) -> bool {
        if reason.is_none() && !self.has_ended.load(Ordering::Acquire) {
            return false;
        }
        let mut told = self.told();
        let changes = told.intent_seq == seen
            && told.reason.as_deref() != Some(&Reason::Shutdown)
            && told.reason.as_deref() != reason;
        if changes {
            told.reason = reason.cloned().map(Box::new);
            self.has_ended.store(reason.is_some(), Ordering::Release);
        }
        changes
    }

    /// Whether the server adds an argument of its own to events.
    pub(crate) fn is_stamped(&self) -> bool {
        self.is_stamped.load(Ordering::Acquire)
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.is_joined.load(Ordering::Acquire)
    }

    /// The largest message that the server accepts, in bytes, while it is known.
    pub(crate) fn max_payload(&self) -> Option<u64> {
        Some(self.max_payload.load(Ordering::Acquire)).filter(|&limit| limit != 0)
    }

    /// The number of the current session. The ack ids of the server's events are valid only in it.
    pub(crate) fn join_id(&self) -> Option<u64> {
        Some(self.join_id.load(Ordering::Acquire)).filter(|&join_id| join_id != 0)
    }

    /// Whether the server has let this client in, as far as is known.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }
}
