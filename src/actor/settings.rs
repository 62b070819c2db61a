//! What a namespace is made of.

use std::sync::Arc;

use bytestring::ByteString;

use crate::{
    actor::{credentials::AuthProvider, subscribers::policy::Overflow, waiters::Patience},
    backpressure::{receive_window::ReceiveWindow, send_quota::Limits},
    middleware::List,
    proto::{emit::Offline, namespace, ticket::SessionTicket},
    stats::Counters,
};

/// What a namespace is made of.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) core: namespace::Setup,
    /// The provider of the credentials, if they are not in `core`.
    pub(crate) provider: Option<AuthProvider>,
    pub(crate) middleware: List,
    pub(crate) outgoing: Limits,
    /// For events that come as messages.
    pub(crate) offline: Offline,
    /// The default for subscribers.
    pub(crate) overflow: Overflow,
    pub(crate) patience: Patience,
    pub(crate) counters: Arc<Counters>,
    pub(crate) window: Arc<ReceiveWindow>,
}

impl Settings {
    /// The settings for another namespace, which may continue a session.
    pub(crate) fn of(&self, namespace: &ByteString, ticket: Option<&SessionTicket>) -> Self {
        let recovery = ticket.and_then(SessionTicket::recovery).map(Box::new);
        let core = namespace::Setup { namespace: namespace.clone(), recovery, ..self.core.clone() };
        Self { core, ..self.clone() }
    }
}
