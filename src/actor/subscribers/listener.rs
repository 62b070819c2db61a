//! Who takes messages, and which of the events.

use std::fmt;

use actix::Recipient;
use bytestring::ByteString;

use crate::{
    actor::subscribers::{
        policy::SubscriptionId,
        sent::{Sent, send},
    },
    message::Event,
    runtime::guard::Kept,
};

/// Takes events. What it has of the application may panic, the listener does not.
pub(crate) trait Listener: Send {
    fn send(&self, event: Event) -> Sent;

    /// Whether somebody is still there.
    fn is_connected(&self) -> bool;

    /// What it is, for the log: the type of the application, if there is one.
    fn kind(&self) -> &'static str;

    /// Whether it answers.
    fn answers(&self) -> bool {
        false
    }

    /// So many events were discarded because it took them too slowly.
    fn note_missed(&self, _events: u64) {}
}

/// Somebody who hears some of the events.
pub(crate) struct FilteredListener {
    /// Of the call that this came from.
    pub(crate) number: SubscriptionId,
    pub(crate) filter: Filter,
    listener: Kept<Box<dyn Listener>>,
}

impl FilteredListener {
    pub(crate) fn new(
        number: SubscriptionId,
        filter: Filter,
        listener: impl Listener + 'static,
    ) -> Self {
        Self { number, filter, listener: Kept::new(Box::new(listener)) }
    }

    pub(crate) fn send(&self, event: Event) -> Sent {
        self.listener.get().map_or(Sent::Gone, |listener| listener.send(event))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.is_connected())
    }

    pub(crate) fn answers(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.answers())
    }

    pub(crate) fn note_missed(&self, events: u64) {
        if let Some(listener) = self.listener.get() {
            listener.note_missed(events);
        }
    }
}

/// What is heard, and as what.
impl fmt::Display for FilteredListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filter {
            Filter::All => f.write_str("all events")?,
            Filter::Name(name) => write!(f, "{:?}", &**name)?,
            Filter::Prefix(prefix) => write!(f, "{:?}…", &**prefix)?,
        }
        write!(f, " as {}", self.listener.get().map_or("nothing", |listener| listener.kind()))
    }
}

/// Which events, by their name.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    All,
    Name(ByteString),
    Prefix(ByteString),
}

impl Filter {
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => *wanted == *name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }
}

impl Listener for Recipient<Event> {
    fn send(&self, event: Event) -> Sent {
        send(Some(self), event)
    }

    fn is_connected(&self) -> bool {
        self.connected()
    }

    fn kind(&self) -> &'static str {
        "Event"
    }
}
