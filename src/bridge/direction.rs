//! One direction of a bridge: it receives the events of one namespace and emits them in the other.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::MailboxError;

use super::{
    counts::Counts,
    echo::{Echoes, Fingerprint},
    route::Route,
};
use crate::{
    actor::{
        namespace_ref::NamespaceRef,
        question::{Asker, Question, Settle, Waiter},
        subscribers::{listener::Listener, sent::Sent},
    },
    backpressure::send_quota::{AckPermit, Observer, WriteOutcome},
    logs::say,
    message::{Event, answer::Respond},
    middleware::Flow,
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        error::{AckError, EmitError},
        reason::Reason,
    },
    runtime::{clock, task::Task},
};

/// Remembers an event when it is written, not when it is accepted: it may wait for longer than echoes are
/// remembered.
#[derive(Debug)]
struct WhenWritten {
    fingerprint: Fingerprint,
    echoes: Arc<Echoes>,
    counts: Arc<Counts>,
}

impl Observer for WhenWritten {
    fn settle(&self, settled: WriteOutcome) {
        if settled == WriteOutcome::Written {
            self.echoes.note(clock::now(), self.fingerprint);
        }
        self.counts.settle(settled);
    }
}

/// The way from one namespace to the other.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) from: Arc<NamespaceRef>,
    pub(super) to: Arc<NamespaceRef>,
    pub(super) offline: Offline,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    pub(super) route: Route,
    pub(super) counts: Arc<Counts>,
    /// Remembers what goes this way; with the route back, since only events that it passes can be echoes.
    pub(super) sent: Option<(Arc<Echoes>, Route)>,
    /// Remembers what went the other way.
    pub(super) received: Option<Arc<Echoes>>,
}

/// An event on its way and, if it is a question, the responder to the server that asked.
#[derive(Debug)]
struct PendingEvent {
    /// The event as the middleware of the other side has left it.
    emit: Emit,
    asker: Option<Arc<dyn Respond>>,
    /// Room for the answer. It is held while the event waits: giving it back would wake others that
    /// wait for such room.
    room: Option<AckPermit>,
}

/// The outcome of an event.
enum Outcome {
    /// It was accepted, or refused for good.
    Settled,
    /// It has to wait for room.
    Full(PendingEvent),
    /// The other side has been shut down.
    Gone,
}

impl Direction {
    fn is_echo(&self, event: &Event) -> bool {
        self.received.as_ref().is_some_and(|echoes| {
            echoes.has(clock::now(), event.name(), event.payload(), self.from.status.is_stamped())
        })
    }

    /// Sends an event through the middleware of the other side, and emits what comes out.
    fn forward(&self, event: Event) -> Outcome {
        let (emit, asker) = (self.route.emit(&event), event.answer);
        match self.to.pass(emit) {
            Flow::Next(emit) => self.post(PendingEvent { emit, asker, room: None }),
            Flow::Drop(_) => {
                self.counts.refused.add(1);
                Outcome::Settled
            }
            Flow::Answer(payload) => {
                self.counts.passed.add(1);
                self.counts.written.add(1);
                if let Some(asker) = asker {
                    Box::new(self.asked(asker)).settle(Ok(payload));
                }
                Outcome::Settled
            }
        }
    }

    fn asked(&self, asker: Arc<dyn Respond>) -> Asked {
        self.counts.asked.add(1);
        Asked { asker: Some(asker), counts: Arc::clone(&self.counts) }
    }

    fn post(&self, mut pending: PendingEvent) -> Outcome {
        if pending.asker.is_some() && pending.room.is_none() {
            pending.room = self.to.send_quota.reserve_ack();
            if pending.room.is_none() {
                return Outcome::Full(pending);
            }
        }
        let mut permit = match self.to.admit(&pending.emit, self.offline) {
            Ok(permit) => permit,
            Err(EmitError::Full(_)) => return Outcome::Full(pending),
            Err(error) => return self.refuse(&error),
        };
        let PendingEvent { emit, asker, room } = pending;
        let counts = Arc::clone(&self.counts);
        match &self.sent {
            Some((echoes, back)) if back.fits(emit.name()) => {
                let fingerprint = echoes.fingerprint(emit.name(), &emit.payload);
                let echoes = Arc::clone(echoes);
                permit.set_observer(Arc::new(WhenWritten { fingerprint, echoes, counts }));
            }
            _ => permit.set_observer(counts),
        }
        self.counts.passed.add(1);
        let question = asker.zip(room).map(|(asker, room)| Question {
            waiter: Asker::new(Waiter::Other(Box::new(self.asked(asker))), room),
            timeout: self.timeout,
            retries: 0,
            id: None,
        });
        match self.to.post(emit, permit, self.offline, question) {
            Ok(()) => Outcome::Settled,
            Err(_) => Outcome::Gone,
        }
    }

    fn refuse(&self, error: &EmitError) -> Outcome {
        say!(log::Level::Debug, self.to.name, "not taken from {}: {error}", self.from.name);
        self.counts.refused.add(1);
        match error {
            EmitError::Closed(Reason::Shutdown) => Outcome::Gone,
            _ => Outcome::Settled,
        }
    }
}

impl Listener for Arc<Direction> {
    fn send(&self, event: Event) -> Sent {
        self.counts.heard.add(1);
        if !self.route.takes(&event, &self.from.name) {
            self.counts.filtered.add(1);
            return Sent::Taken;
        }
        if self.is_echo(&event) {
            self.counts.echoes.add(1);
            return Sent::Taken;
        }
        match self.forward(event) {
            Outcome::Settled => Sent::Taken,
            Outcome::Gone => Sent::Gone,
            Outcome::Full(pending) => {
                let (direction, pending) = (Self::clone(self), Some(pending));
                Sent::Full(Task::new(WaitForRoom { direction, pending }))
            }
        }
    }

    fn is_connected(&self) -> bool {
        // A namespace that was left may be joined again.
        self.to.ended() != Some(Reason::Shutdown)
    }

    fn kind(&self) -> &'static str {
        "a bridge"
    }

    fn note_missed(&self, events: u64) {
        self.counts.missed.add(events);
    }
}

/// An event that waits for room on the other side. All events after it wait, too.
struct WaitForRoom {
    direction: Arc<Direction>,
    pending: Option<PendingEvent>,
}

impl Future for WaitForRoom {
    type Output = Result<(), MailboxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.direction.to.send_quota.await_room(cx.waker());
        let Some(pending) = self.pending.take() else { return Poll::Ready(Ok(())) };
        match self.direction.post(pending) {
            Outcome::Settled => Poll::Ready(Ok(())),
            Outcome::Gone => Poll::Ready(Err(MailboxError::Closed)),
            Outcome::Full(pending) => {
                self.pending = Some(pending);
                Poll::Pending
            }
        }
    }
}

impl Drop for WaitForRoom {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.direction.counts.refused.add(1);
        }
    }
}

/// A question of one server to the other.
#[derive(Debug)]
struct Asked {
    /// `None` once it is answered.
    asker: Option<Arc<dyn Respond>>,
    counts: Arc<Counts>,
}

impl Settle for Asked {
    /// Passes the answer back.
    fn settle(mut self: Box<Self>, outcome: Result<Payload, AckError>) {
        let (Ok(payload), Some(asker)) = (outcome, self.asker.as_ref()) else { return };
        match asker.answer(payload.to_reply()) {
            Ok(()) => {
                self.counts.answered.add(1);
                self.asker = None;
            }
            Err(error) => {
                say!(log::Level::Debug, asker.name(), "an answer was not passed back: {error}");
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.asker.is_some() {
            self.counts.unanswered.add(1);
        }
    }
}
