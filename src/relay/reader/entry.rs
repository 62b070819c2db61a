//! What a consumer gets: events and marks of the log.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use actix::Message;
use futures::FutureExt;

use crate::{
    message::Event,
    relay::{
        engine::{EngineError, Reply},
        record::{Gap, RecordError},
    },
};

/// An event of the log, which is acknowledged by hand.
///
/// The engine keeps track of records, which have up to 256 events each. A record is acknowledged
/// once all its events are. If one is not, a durable consumer gets all of the record again, after its
/// [`ack_wait`](crate::relay::ReaderBuilder::ack_wait).
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct LogEvent {
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Arc<str>,
    sequence: u64,
    index: usize,
    at: SystemTime,
    tries: u32,
    is_late: bool,
    event: Event,
    is_acked: AtomicBool,
    receipt: Arc<Receipt>,
}

impl LogEvent {
    pub(super) fn new(
        upstream: Arc<str>,
        (sequence, index): (u64, usize),
        at: u64,
        tries: u32,
        is_late: bool,
        event: Event,
        receipt: Arc<Receipt>,
    ) -> Self {
        let (at, is_acked) = (time(at), AtomicBool::new(false));
        let inner =
            Inner { upstream, sequence, index, at, tries, is_late, event, is_acked, receipt };
        Self { inner: Arc::new(inner) }
    }

    /// The name of the upstream.
    pub fn upstream(&self) -> &str {
        &self.inner.upstream
    }

    /// The place of its record in the log, for [`Begin::Sequence`](crate::relay::Begin::Sequence). It grows with each record of
    /// an upstream, not always by one.
    ///
    /// Together with the [`index`](Self::index), it is the same each time that the event is delivered.
    pub fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// Its number in its record, from 0. Numbers may be missing.
    pub fn index(&self) -> usize {
        self.inner.index
    }

    /// When the worker got it from the server, by the worker's clock.
    pub fn at(&self) -> SystemTime {
        self.inner.at
    }

    /// The event itself. It cannot be answered any more.
    pub fn event(&self) -> &Event {
        &self.inner.event
    }

    /// Whether a consumer of this name got it before: it was not acknowledged, or not in time.
    pub fn is_redelivered(&self) -> bool {
        self.inner.tries > 1
    }

    /// Whether it was emitted before events that stand before it in the log. It was fetched later, after a worker had
    /// been lost.
    pub fn is_late(&self) -> bool {
        self.inner.is_late
    }

    /// Says that the event is done with. Once all events of its record are, the future that this returns tells the engine, when
    /// it is awaited; until then it is ready at once. To acknowledge an event twice does nothing.
    ///
    /// All clones of an event are acknowledged together.
    pub fn ack(&self) -> LogAck {
        let is_first = !self.inner.is_acked.swap(true, Ordering::AcqRel);
        LogAck(is_first.then(|| self.inner.receipt.done()).flatten())
    }
}

/// Shows no arguments.
impl fmt::Debug for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { upstream, sequence, index, at, tries, is_late, event, is_acked, receipt: _ } =
            &*self.inner;
        f.debug_struct("LogEvent")
            .field("upstream", upstream)
            .field("sequence", sequence)
            .field("index", index)
            .field("at", at)
            .field("tries", tries)
            .field("is_late", is_late)
            .field("event", event)
            .field("is_acked", is_acked)
            .finish_non_exhaustive()
    }
}

/// Tells the engine that a record is done with; see [`LogEvent::ack`]. It may be awaited anywhere.
///
/// If it fails, or is dropped before it is ready, the record may be delivered again, to another consumer of the same
/// name.
#[must_use = "the engine is told when this is awaited"]
pub struct LogAck(Option<Reply<()>>);

impl Future for LogAck {
    type Output = Result<(), EngineError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |told| told.poll_unpin(cx))
    }
}

impl fmt::Debug for LogAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogAck").field(&self.0.is_some()).finish()
    }
}

/// Something that is worth knowing beside the events, at its place among them. It needs no acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LogMark {
    pub(super) upstream: Arc<str>,
    pub(super) sequence: u64,
    pub(super) at: SystemTime,
    pub(super) kind: MarkKind,
}

impl LogMark {
    /// The name of the upstream.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The place of its record in the log; see [`LogEvent::sequence`].
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was made, by the worker's clock. For [`MarkKind::Unreadable`], 1970.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// What it says.
    pub fn kind(&self) -> &MarkKind {
        &self.kind
    }
}

/// What a [`LogMark`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkKind {
    /// From here on, another worker holds the upstream.
    Holder {
        /// Its name.
        worker: String,
    },
    /// A worker has handed the upstream over: all that came to it is stored.
    Left {
        /// Its name.
        worker: String,
    },
    /// Here events are missing.
    Gap {
        /// Why.
        gap: Gap,
        /// How many, if that is known.
        missed: Option<u64>,
    },
    /// All that was missing at the last gap for a [new session](Gap::NewSession) has come, as [late](LogEvent::is_late)
    /// events.
    Filled {
        /// How many events they were; 0 if nothing was missing.
        events: u64,
    },
    /// Here is a record that this version cannot read. It is skipped.
    Unreadable(RecordError),
}

/// An event or a mark, in the order of the log.
#[derive(Debug, Clone)]
pub enum LogEntry {
    /// An event.
    Event(LogEvent),
    /// A mark.
    Mark(LogMark),
}

/// Milliseconds since 1970.
pub(super) fn time(at: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at)).unwrap_or(SystemTime::UNIX_EPOCH)
}

type AckRecord = Box<dyn FnOnce() -> Reply<()> + Send>;

/// Records that are remembered as done.
const MAX_DONE: usize = 4_096;

/// What has become of the records of a consumer.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Records>);

#[derive(Default)]
struct Records {
    /// How many are in the hands of the application.
    open: usize,
    /// The newest of those that are done, whether or not the engine has heard of it.
    done: BTreeSet<(u64, Arc<str>)>,
}

impl Ledger {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> usize {
        self.records().open
    }

    pub(super) fn is_done(&self, upstream: &Arc<str>, sequence: u64) -> bool {
        self.records().done.contains(&(sequence, Arc::clone(upstream)))
    }
}

/// Acknowledges a record when all that was to be done with it is done.
pub(super) struct Receipt {
    /// How much is still to be done.
    left: AtomicUsize,
    ack: Mutex<Option<AckRecord>>,
    upstream: Arc<str>,
    sequence: u64,
    ledger: Arc<Ledger>,
}

impl Receipt {
    pub(super) fn new(
        parts: usize,
        ack: AckRecord,
        upstream: Arc<str>,
        sequence: u64,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let open = &mut ledger.records().open;
        *open = open.saturating_add(1);
        let (left, ack) = (AtomicUsize::new(parts), Mutex::new(Some(ack)));
        Self { left, ack, upstream, sequence, ledger: Arc::clone(ledger) }
    }

    /// A part is done. If it was the last one, the future is to tell the engine.
    pub(super) fn done(&self) -> Option<Reply<()>> {
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        let ack = self.ack.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let told = ack();
        let done = &mut self.ledger.records().done;
        done.insert((self.sequence, Arc::clone(&self.upstream)));
        if done.len() > MAX_DONE {
            done.pop_first();
        }
        Some(told)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let open = &mut self.ledger.records().open;
        *open = open.saturating_sub(1);
    }
}
