//! Receivers of messages: code of the application that may panic, kept where a panic does no harm.

use std::{any::type_name, fmt};

use actix::{
    Message, Recipient,
    dev::{RecipientRequest, SendError},
};

use crate::{
    actor::subscribers::{filter::Filter, policy::SubscriptionId, sent::Sent},
    guard::Kept,
    message::Event,
    runtime::task::Task,
};

/// Takes messages of one kind. Code of the application in it may panic, but the listener does not.
pub(crate) trait Listener<M = Event>: Send {
    fn send(&self, message: M) -> Sent;

    /// The same for a message that fills the mailbox: the listener takes no more until that is handled. A
    /// listener that handles messages at once is never full.
    fn send_last(&self, message: M) -> Sent {
        self.send(message)
    }

    /// Whether the receiver is still there.
    fn is_connected(&self) -> bool;

    /// A description for the log: the type of the application, if there is one.
    fn kind(&self) -> &'static str;

    /// Whether it answers.
    fn answers(&self) -> bool {
        false
    }

    /// This many events were discarded because it took them too slowly.
    fn note_missed(&self, _events: u64) {}
}

impl<M> Listener<M> for Recipient<M>
where
    M: Message<Result = ()> + Send + 'static,
{
    fn send(&self, message: M) -> Sent {
        match self.try_send(message) {
            Ok(()) => Sent::Taken,
            Err(SendError::Closed(_)) => Sent::Gone,
            Err(SendError::Full(message)) => self.send_last(message),
        }
    }

    fn send_last(&self, message: M) -> Sent {
        let request: RecipientRequest<M> = Self::send(self, message);
        Sent::Full(Task::new(request))
    }

    fn is_connected(&self) -> bool {
        self.connected()
    }

    fn kind(&self) -> &'static str {
        let name = type_name::<M>();
        name.rsplit("::").next().unwrap_or(name)
    }
}

/// A listener, and the call that it came from.
pub(crate) struct Outlet<M> {
    number: SubscriptionId,
    /// Whether it can be cancelled alone, whatever else its owner gets.
    is_part: bool,
    listener: Kept<Box<dyn Listener<M>>>,
}

impl<M> Outlet<M> {
    /// An outlet that ends with everything else that its owner gets.
    pub(super) fn whole(number: SubscriptionId, listener: impl Listener<M> + 'static) -> Self {
        Self { number, is_part: false, listener: Kept::new(Box::new(listener)) }
    }

    /// An outlet that can end alone.
    pub(super) fn part(number: SubscriptionId, listener: impl Listener<M> + 'static) -> Self {
        Self { is_part: true, ..Self::whole(number, listener) }
    }

    /// With `is_last`, it fills the mailbox.
    pub(super) fn send(&self, message: M, is_last: bool) -> Sent {
        let Some(listener) = self.listener.get() else { return Sent::Gone };
        if is_last { listener.send_last(message) } else { listener.send(message) }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.is_connected())
    }

    pub(super) fn kind(&self) -> &'static str {
        self.listener.get().map_or("nothing", |listener| listener.kind())
    }

    pub(super) fn number(&self) -> SubscriptionId {
        self.number
    }

    /// Whether it ends when the call with this number is cancelled, and the rest goes on.
    pub(super) fn is_part(&self, number: SubscriptionId) -> bool {
        self.is_part && self.number == number
    }
}

/// A listener to some of the events.
pub(crate) struct FilteredListener {
    pub(super) filter: Filter,
    pub(super) outlet: Outlet<Event>,
}

impl FilteredListener {
    pub(crate) fn new(
        number: SubscriptionId,
        filter: Filter,
        listener: impl Listener + 'static,
    ) -> Self {
        Self { filter, outlet: Outlet::part(number, listener) }
    }

    pub(super) fn send(&self, event: Event, is_last: bool) -> Sent {
        self.outlet.send(event, is_last)
    }

    pub(super) fn answers(&self) -> bool {
        self.outlet.listener.get().is_some_and(|listener| listener.answers())
    }

    pub(super) fn note_missed(&self, events: u64) {
        if let Some(listener) = self.outlet.listener.get() {
            listener.note_missed(events);
        }
    }
}

/// The events, and the type in which they are received.
impl fmt::Display for FilteredListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.filter, self.outlet.kind())
    }
}
