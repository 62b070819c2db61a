//! The guard that keeps a connection alive; all handles of a client share it.

use std::sync::atomic::{AtomicU64, Ordering};

use actix::Addr;

use crate::actor::{connection::Connection, messages::FromClient};

/// Shared by all handles. When the last one is dropped, the connection ends.
#[derive(Debug)]
pub(crate) struct Lifeline {
    pub(super) connection: Addr<Connection>,
    ids: Option<MessageIds>,
}

impl Lifeline {
    pub(super) fn new(connection: Addr<Connection>, ids: Option<MessageIds>) -> Self {
        Self { connection, ids }
    }

    /// The next message id as an argument, if message ids are switched on.
    pub(crate) fn message_id(&self) -> Option<String> {
        self.ids.as_ref().map(MessageIds::next)
    }
}

/// Different for each client: std seeds its hashers at random.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(())
}

/// Ids for messages, different for all clients.
#[derive(Debug)]
pub(super) struct MessageIds {
    client: String,
    last: AtomicU64,
}

impl MessageIds {
    pub(super) fn new() -> Self {
        Self { client: format!("{:016x}{:016x}", seed(), seed()), last: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        format!(r#"{{"messageId":"{}-{number}"}}"#, self.client)
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.connection.do_send(FromClient::Abandoned);
    }
}
