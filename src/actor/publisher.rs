//! What a namespace tells its subscribers.

use std::{collections::VecDeque, sync::Arc, task::Context, time::Duration};

use crate::{
    actor::subscribers::{
        NewSubscription, Subscribers, Told,
        early_events::EarlyEvents,
        interests::Notice,
        policy::{Overflow, Overrun, SubscriptionId},
    },
    backpressure::receive_window::{Backlog, Load},
    display::Name,
    message::{
        ConnectError, Disconnected, Emitted, Event, GaveUp, Ready, Reconnecting, ServerError,
        Upgraded,
    },
    proto::{
        outgoing::Outgoing, packet::Body, reason::Reason, refusal::Refusal, transports::Transport,
    },
    stats::Counters,
};

/// Gives messages about the namespace to the subscribers. Events that come before the first subscriber
/// are kept for it.
#[derive(Debug)]
pub(crate) struct Publisher {
    name: Arc<Name>,
    counters: Arc<Counters>,
    subscribers: Subscribers,
    early_events: EarlyEvents,
    /// The last `Ready`, while the namespace is joined.
    ready: Option<Ready>,
    /// Whether the subscribers were told of a loss after which the client tries again.
    comes_back: bool,
}

impl Publisher {
    pub(crate) fn new(name: Arc<Name>, counters: Arc<Counters>, overflow: Overflow) -> Self {
        Self {
            name,
            counters,
            subscribers: Subscribers::new(overflow),
            early_events: EarlyEvents::default(),
            ready: None,
            comes_back: false,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The message for new subscribers, while the namespace is joined.
    pub(crate) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }

    pub(crate) fn joined(&mut self, ready: Ready) {
        self.comes_back = false;
        self.early_events.note_ready();
        self.ready = Some(ready.clone());
        self.subscribers.tell(&Notice::Ready(ready));
    }

    /// It is not joined any more. `comes_back`: the client tries again.
    pub(crate) fn disconnected(&mut self, reason: Reason, comes_back: bool) {
        self.ready = None;
        self.comes_back = comes_back;
        let namespace = self.name.namespace.clone();
        self.subscribers.tell(&Notice::Disconnected(Disconnected { namespace, reason }));
    }

    /// It was not joined. `is_over`: subscribers that were only told of the loss are told of the end.
    pub(crate) fn not_joined(&mut self, reason: Reason, is_over: bool) {
        let namespace = self.name.namespace.clone();
        let gone = Disconnected { namespace: namespace.clone(), reason: reason.clone() };
        let error = Notice::ConnectError(ConnectError { namespace, reason });
        if is_over && std::mem::take(&mut self.comes_back) {
            self.subscribers.tell_or(&error, &Notice::Disconnected(gone));
        } else {
            self.subscribers.tell(&error);
        }
    }

    pub(crate) fn retrying(&mut self, attempt: u32, delay: Duration, reason: Reason) {
        let namespace = self.name.namespace.clone();
        let retrying = Reconnecting { namespace, attempt, delay, reason };
        self.subscribers.tell(&Notice::Reconnecting(retrying));
    }

    pub(crate) fn upgraded(&mut self, transport: Transport) {
        let namespace = self.name.namespace.clone();
        self.subscribers.tell(&Notice::Upgraded(Upgraded { namespace, transport }));
    }

    pub(crate) fn gave_up(&mut self, attempts: u32, reason: Reason) {
        let namespace = self.name.namespace.clone();
        self.subscribers.tell(&Notice::GaveUp(GaveUp { namespace, attempts, reason }));
    }

    pub(crate) fn server_error(&mut self, error: Refusal) {
        self.counters.server_errors.add(1);
        let namespace = self.name.namespace.clone();
        self.subscribers.tell(&Notice::ServerError(ServerError { namespace, error }));
    }

    /// Events are handed to the Connection.
    pub(crate) fn emitted(&mut self, batch: &VecDeque<Outgoing>) {
        if !self.subscribers.hears_emitted() {
            return;
        }
        for outgoing in batch {
            if let Body::Event { id, payload } = &outgoing.packet.body {
                let (payload, wants_ack) = (payload.clone(), id.is_some());
                let namespace = self.name.namespace.clone();
                self.subscribers.tell(&Notice::Emitted(Emitted { namespace, payload, wants_ack }));
            }
        }
    }

    /// An event of the server. Returns what follows if it is one too many for a subscriber.
    pub(crate) fn event(&mut self, event: Event) -> Option<Overrun> {
        let told = self.subscribers.tell_event(event, self.early_events.is_kept(), &self.name);
        match told {
            Told::Nobody(event) => {
                self.counters.missed.add(self.early_events.keep(event, &self.name));
                None
            }
            Told::Somebody => None,
            Told::Overrun(overrun) => Some(overrun),
        }
    }

    pub(crate) fn subscribe(&mut self, subscription: NewSubscription) {
        let Self { subscribers, early_events, ready, name, .. } = self;
        subscribers.subscribe(subscription, early_events, ready.as_ref(), name);
    }

    pub(crate) fn cancel(&mut self, number: SubscriptionId) {
        self.subscribers.cancel(number);
    }

    /// From now on, stuck subscribers, or `all` that are slow, do not hold up the connection. Returns what
    /// follows if that is too much for one of them.
    pub(crate) fn shed(&mut self, all: bool, share: Load, room: Load) -> Option<Overrun> {
        self.subscribers.shed(all, share, room, &self.name)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        self.subscribers.poll(cx, &self.name, &self.counters);
    }

    /// What waits for the subscribers.
    pub(crate) fn backlog(&self) -> Backlog {
        self.subscribers.backlog()
    }

    /// Whether one of them is not ready yet for the namespace to be joined again, after it was let go.
    pub(crate) fn hold_off(&self) -> bool {
        self.subscribers.hold_off()
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.subscribers.is_behind()
    }

    /// Nobody will subscribe any more.
    pub(crate) fn discard_early_events(&mut self) {
        self.counters.missed.add(self.early_events.discard());
    }
}
