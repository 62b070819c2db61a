//! What the log says about a namespace.
//!
//! A server can cause most of these lines again and again, so they are [limited](crate::logs).

use std::{sync::Arc, time::Duration};

use crate::{
    actor::journal::counted,
    display::{Excerpt, Name},
    logs::{repeated, say},
    proto::{
        error::{EmitError, Unsendable},
        reason::Reason,
        refusal::Refusal,
    },
};

#[derive(Debug)]
pub(super) struct Journal {
    /// The name of the namespace in the log.
    name: Arc<Name>,
}

impl Journal {
    pub(super) fn new(name: Arc<Name>) -> Self {
        Self { name }
    }

    pub(super) fn joined(&self, recovered: bool) {
        let how = if recovered { ", session recovered" } else { "" };
        repeated!(log::Level::Info, self.name, "joined{how}");
    }

    /// `ended`: why no further attempt is made, if so.
    pub(super) fn not_joined(&self, reason: &Reason, ended: Option<&Reason>) {
        if matches!(reason, Reason::ClientDisconnect | Reason::Shutdown) {
            say!(log::Level::Debug, self.name, "left before it was joined");
        } else {
            let next = outlook(ended);
            repeated!(log::Level::Warn, self.name, "not joined: {reason}{next}");
        }
    }

    /// `ended`: why no further attempt is made, if so.
    pub(super) fn disconnected(&self, reason: &Reason, ended: Option<&Reason>) {
        let next = outlook(ended);
        let level = if next.is_empty() { log::Level::Info } else { log::Level::Warn };
        repeated!(level, self.name, "disconnected: {reason}{next}");
    }

    pub(super) fn retrying(&self, attempt: u32, delay: Duration) {
        repeated!(log::Level::Info, self.name, "attempt {attempt} to join in {delay:?}");
    }

    pub(super) fn gave_up(&self, attempts: u32, reason: &Reason) {
        let attempts = counted(attempts, "attempt");
        repeated!(log::Level::Warn, self.name, "gave up after {attempts}: {reason}");
    }

    /// There may be credentials, and the server takes none.
    pub(super) fn auth_unused(&self) {
        repeated!(
            log::Level::Warn,
            self.name,
            "auth is not sent: servers 1.x and 2.x take none for /; use `query` or `header` (or `query_with`, `headers_with`)"
        );
    }

    pub(super) fn joined_twice(&self) {
        repeated!(log::Level::Warn, self.name, "the server has joined it twice");
    }

    pub(super) fn server_error(&self, error: &Refusal) {
        repeated!(log::Level::Warn, self.name, "the server reports an error: {error}");
    }

    /// The connection was lost right after this event.
    pub(super) fn suspected(&self, event: &Unsendable) {
        let event = Excerpt(&event.event);
        repeated!(
            log::Level::Warn,
            self.name,
            "lost right after the event {event}, which is large: the server may not take that much (maxHttpBufferSize)"
        );
    }

    pub(super) fn unsendable(&self, event: &Unsendable) {
        repeated!(log::Level::Warn, self.name, "{event}");
    }

    /// An event or an answer of `size` bytes was not sent.
    pub(super) fn too_large(&self, size: u64, limit: u64) {
        repeated!(
            log::Level::Warn,
            self.name,
            "{size} bytes were not sent: the server takes {limit} (its maxHttpBufferSize, or option max_payload)"
        );
    }

    pub(super) fn let_go(&self) {
        repeated!(log::Level::Warn, self.name, "session let go, since a subscriber is too slow");
    }

    /// It was left because of a slow subscriber.
    pub(super) fn left(&self) {
        repeated!(log::Level::Warn, self.name, "left, since a subscriber is too slow");
    }

    /// These events were never sent, because the namespace has ended.
    pub(super) fn discarded(&self, events: usize, ended: &Reason) {
        let events = counted(events, "buffered event");
        repeated!(log::Level::Warn, self.name, "{events} never sent: {ended}");
    }

    /// The namespace ended, or lost its connection, while the event was on its way to it.
    pub(super) fn not_sent(&self, error: &EmitError) {
        say!(log::Level::Debug, self.name, "an event was not sent: {error}");
    }

    pub(super) fn late_answer(&self) {
        say!(log::Level::Debug, self.name, "an answer came too late for its session");
    }
}

/// What is added if the other side has ended the namespace for good.
fn outlook(ended: Option<&Reason>) -> &'static str {
    match ended {
        None | Some(Reason::ClientDisconnect | Reason::SlowSubscriber) => "",
        Some(reason) if reason.is_final() => "",
        Some(_) => "; no further attempt (Reconnect::retry decides, Socket::connect joins again)",
    }
}
