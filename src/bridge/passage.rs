//! One direction of a bridge: hears the events of one namespace, and emits them in the other.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::MailboxError;

use super::{
    echo::{Echoes, Fingerprint},
    route::Route,
};
use crate::{
    actor::{
        namespace::{Asker, Question, Settle, Waiter},
        namespace_ref::NamespaceRef,
        subscribers::{listener::Listener, sent::Sent},
    },
    backpressure::send_quota::{AckPermit, Observer, WriteOutcome},
    error::{AckError, EmitError, Reason},
    message::{Event, Responder},
    middleware::Flow,
    payload::Payload,
    proto::emit::{Emit, Offline},
    runtime::{clock, guard::Task},
    stats::Counter,
};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $($name: Counter,)*
        }

        /// What one direction of a [`Bridge`](super::Bridge) did with the events that it heard.
        ///
        /// Each one heard is filtered, an echo, refused, or passed; but for one that may be waiting
        /// for room at the moment. Each one passed is written, discarded, or waits. Each one asked
        /// is answered, unanswered, or waits.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct BridgeCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            pub(super) fn snapshot(&self) -> BridgeCounts {
                BridgeCounts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counts!(
    /// Events that came to the bridge.
    heard,
    /// Events that the [`Route`] kept back.
    filtered,
    /// Events that had come over the bridge, and were not taken back.
    echoes,
    /// Events that the other side did not take: its namespace had ended, it was
    /// [`Offline::Fail`] and not joined, the event was too large for the
    /// server, a middleware dropped it, its name is
    /// [reserved](crate::EmitError::ReservedName), its arguments
    /// [cannot be told](crate::EmitError::Encode) from attachments, or it waited for room when the
    /// bridge was stopped. Nobody answers those that ask for an answer.
    refused,
    /// Events that the other side has taken.
    passed,
    /// Of those, the ones that were written to its connection, or answered by a middleware.
    written,
    /// Of those, the ones that were never sent; see [`Stats::discarded`](crate::Stats::discarded).
    discarded,
    /// Of those passed, the ones for which the server waits for an answer.
    asked,
    /// Answers that were taken back.
    answered,
    /// Questions without an answer: it did not come in time, a connection was lost meanwhile, the
    /// event was discarded, or the side that asked did not take the answer, because it had no room for
    /// it or could not say it.
    unanswered,
    /// Events that never came to the bridge because it was too slow.
    missed,
);

impl Observer for Counts {
    fn settle(&self, settled: WriteOutcome) {
        match settled {
            WriteOutcome::Written => self.written.add(1),
            WriteOutcome::Discarded => self.discarded.add(1),
            // There is more to come.
            WriteOutcome::Stranded => {}
        }
    }
}

/// Notes that an event went this way. It may have waited for longer than an echo is remembered.
#[derive(Debug)]
struct Marked {
    mark: Fingerprint,
    echoes: Arc<Echoes>,
    counts: Arc<Counts>,
}

impl Observer for Marked {
    fn settle(&self, settled: WriteOutcome) {
        if settled == WriteOutcome::Written {
            self.echoes.note(clock::now(), self.mark);
        }
        self.counts.settle(settled);
    }
}

/// From one namespace to the other.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) from: Arc<NamespaceRef>,
    pub(super) to: Arc<NamespaceRef>,
    pub(super) offline: Offline,
    /// For answers.
    pub(super) timeout: Duration,
    pub(super) route: Route,
    pub(super) counts: Arc<Counts>,
    /// Where to note what goes this way, and which of that could be taken back.
    pub(super) sent: Option<(Arc<Echoes>, Route)>,
    /// What went the other way.
    pub(super) received: Option<Arc<Echoes>>,
}

/// An event on its way, and who is to get the answer.
#[derive(Debug)]
struct PendingEvent {
    /// As the middleware of the other side has let it through.
    emit: Emit,
    asker: Option<Arc<Responder>>,
    /// For the question. It is kept while the event waits: giving it back would wake who waits.
    room: Option<AckPermit>,
}

/// What became of it.
enum Submitted {
    /// It was taken, or never will be.
    ShutdownLatch,
    /// It has to wait for room.
    Full(PendingEvent),
    /// There is nobody on the other side any more.
    Gone,
}

impl Direction {
    fn is_echo(&self, event: &Event) -> bool {
        self.received.as_ref().is_some_and(|echoes| {
            echoes.has(clock::now(), event.name(), event.payload(), self.from.is_stamped())
        })
    }

    /// Has an event pass the middleware of the other side, and posts what comes out.
    fn forward(&self, event: Event) -> Submitted {
        let (emit, asker) = (self.route.emit(&event), event.answer);
        match self.to.pass(emit) {
            Flow::Next(emit) => self.post(PendingEvent { emit, asker, room: None }),
            Flow::Drop(_) => {
                self.counts.refused.add(1);
                Submitted::ShutdownLatch
            }
            Flow::Answer(payload) => {
                self.counts.passed.add(1);
                self.counts.written.add(1);
                if let Some(asker) = asker {
                    Box::new(self.asked(asker)).settle(Ok(payload));
                }
                Submitted::ShutdownLatch
            }
        }
    }

    fn asked(&self, asker: Arc<Responder>) -> Asked {
        self.counts.asked.add(1);
        Asked { asker: Some(asker), counts: Arc::clone(&self.counts) }
    }

    fn post(&self, mut parcel: PendingEvent) -> Submitted {
        if parcel.asker.is_some() && parcel.room.is_none() {
            parcel.room = self.to.send_quota.ask();
            if parcel.room.is_none() {
                return Submitted::Full(parcel);
            }
        }
        let mut permit = match self.to.admit(&parcel.emit, self.offline) {
            Ok(permit) => permit,
            Err(EmitError::Full(_)) => return Submitted::Full(parcel),
            Err(error) => return self.refuse(&error),
        };
        let PendingEvent { emit, asker, room } = parcel;
        let counts = Arc::clone(&self.counts);
        match &self.sent {
            Some((echoes, back)) if back.fits(emit.name()) => {
                let (mark, echoes) = (echoes.mark(emit.name(), &emit.payload), Arc::clone(echoes));
                permit.set_witness(Arc::new(Marked { mark, echoes, counts }));
            }
            _ => permit.set_witness(counts),
        }
        self.counts.passed.add(1);
        let question = asker.zip(room).map(|(asker, room)| Question {
            waiter: Asker::new(Waiter::Other(Box::new(self.asked(asker))), room),
            timeout: self.timeout,
            retries: 0,
            id: None,
        });
        match self.to.post(emit, permit, self.offline, question) {
            Ok(()) => Submitted::ShutdownLatch,
            Err(_) => Submitted::Gone,
        }
    }

    fn refuse(&self, error: &EmitError) -> Submitted {
        log::debug!("{}: not taken from {}: {error}", self.to.name, self.from.name);
        self.counts.refused.add(1);
        match error {
            EmitError::Closed(Reason::Shutdown) => Submitted::Gone,
            _ => Submitted::ShutdownLatch,
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
            Submitted::ShutdownLatch => Sent::Taken,
            Submitted::Gone => Sent::Gone,
            Submitted::Full(parcel) => {
                let (passage, parcel) = (Self::clone(self), Some(parcel));
                Sent::Full(Task::new(WaitForRoom { passage, parcel }))
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

/// An event that waits for room; all behind it wait as well.
struct WaitForRoom {
    passage: Arc<Direction>,
    parcel: Option<PendingEvent>,
}

impl Future for WaitForRoom {
    type Output = Result<(), MailboxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.passage.to.send_quota.await_room(cx.waker());
        let Some(parcel) = self.parcel.take() else { return Poll::Ready(Ok(())) };
        match self.passage.post(parcel) {
            Submitted::ShutdownLatch => Poll::Ready(Ok(())),
            Submitted::Gone => Poll::Ready(Err(MailboxError::Closed)),
            Submitted::Full(parcel) => {
                self.parcel = Some(parcel);
                Poll::Pending
            }
        }
    }
}

impl Drop for WaitForRoom {
    fn drop(&mut self) {
        if self.parcel.is_some() {
            self.passage.counts.refused.add(1);
        }
    }
}

/// A question of one server to the other.
#[derive(Debug)]
struct Asked {
    /// Until there is an outcome.
    asker: Option<Arc<Responder>>,
    counts: Arc<Counts>,
}

impl Settle for Asked {
    /// Takes the answer back.
    fn settle(mut self: Box<Self>, outcome: Result<Payload, AckError>) {
        let (Ok(payload), Some(asker)) = (outcome, self.asker.as_ref()) else { return };
        match asker.answer(payload.to_reply()) {
            Ok(()) => {
                self.counts.answered.add(1);
                self.asker = None;
            }
            Err(error) => {
                log::debug!("{}: an answer was not taken back: {error}", asker.port.name);
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
