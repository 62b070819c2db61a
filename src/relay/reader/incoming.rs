//! The records of the engine as events and marks.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    stream::{BoxStream, FuturesUnordered},
};

use crate::{
    logs::repeated,
    relay::{
        engine::{Begin, Delivery, Engine, EngineError, Reply, Subscription},
        reader::{
            entry::{Ledger, LogEntry, LogEvent, LogMark, MarkKind, Receipt, time},
            sieve::Sieve,
        },
        record::{self, Content, Mark},
    },
    runtime::{clock, task},
};

/// Before the next try, after the engine has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A consumer that hears nothing for this time is made anew: it may have been forgotten by the engine without a word.
const SILENCE: Duration = Duration::from_secs(60);

/// After as many records, other tasks of the arbiter have their turn: an engine in memory always has the next one.
const TURN: u32 = 32;

/// A record, without what was dropped of it.
pub(super) struct Batch {
    pub(super) entries: Vec<LogEntry>,
    /// One part of it is for all that need not be acknowledged by hand.
    pub(super) receipt: Arc<Receipt>,
}

pub(super) struct Incoming {
    engine: Engine,
    wanted: Subscription,
    /// Its name in the log.
    name: String,
    records: Option<BoxStream<'static, Result<Delivery, EngineError>>>,
    sieve: Sieve,
    /// Whether each event is acknowledged by hand.
    by_hand: bool,
    ledger: Arc<Ledger>,
    /// Acknowledgements of records with which nobody has anything to do.
    acks: FuturesUnordered<Reply<()>>,
    /// The highest sequence so far.
    last: Option<u64>,
    heard: Instant,
    paused: Option<Instant>,
    /// The records of this turn.
    turn: u32,
    timer: clock::Timer,
}

impl Incoming {
    pub(super) fn new(engine: Engine, wanted: Subscription, by_hand: bool) -> Self {
        let name = wanted.durable.clone().unwrap_or_else(|| "not durable".to_owned());
        let mut incoming = Self {
            engine,
            wanted,
            name,
            records: None,
            sieve: Sieve::default(),
            by_hand,
            ledger: Arc::default(),
            acks: FuturesUnordered::new(),
            last: None,
            heard: clock::now(),
            paused: None,
            turn: 0,
            timer: clock::Timer::default(),
        };
        incoming.open();
        // Before the engine has seen it, records may come that are not missed any more.
        if incoming.wanted.begin == Begin::End {
            incoming.wanted.begin = Begin::Time(clock::wall());
        }
        incoming
    }

    fn open(&mut self) {
        if let (None, Some(last)) = (&self.wanted.durable, self.last) {
            self.wanted.begin = Begin::Sequence(last.saturating_add(1));
        }
        // The former one first, or both would share the records.
        self.records = None;
        self.records = Some(self.engine.0.read(self.wanted.clone()));
        self.heard = clock::now();
    }

    pub(super) fn next(&mut self) -> impl Future<Output = Batch> {
        std::future::poll_fn(|cx| self.poll(cx))
    }

    /// The next record with something in it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Batch> {
        loop {
            self.poll_acks(cx);
            if self.paused.is_some() {
                if self.timer.poll(cx, self.paused).is_pending() {
                    return Poll::Pending;
                }
                self.paused = None;
            }
            if self.turn >= TURN {
                self.turn = 0;
                task::poll_again(cx);
                return Poll::Pending;
            }
            let Some(records) = &mut self.records else {
                self.open();
                continue;
            };
            match records.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(delivery))) => {
                    self.heard = clock::now();
                    self.turn = self.turn.saturating_add(1);
                    if let Some(batch) = self.sift(delivery) {
                        return Poll::Ready(batch);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.tell(&format_args!("cannot read: {error}"));
                    self.pause();
                }
                Poll::Ready(None) => {
                    self.records = None;
                    self.pause();
                }
                Poll::Pending => {
                    self.turn = 0;
                    if self.poll_silence(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.open();
                }
            }
        }
    }

    fn pause(&mut self) {
        self.paused = clock::now().checked_add(PAUSE);
    }

    /// Tells the engine what is done with. It may need this to deliver more.
    fn poll_acks(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(told)) = self.acks.poll_next_unpin(cx) {
            if let Err(error) = told {
                self.tell(&format_args!("a record is not acknowledged: {error}"));
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let silence = SILENCE.max(self.wanted.ack_wait.saturating_mul(2));
        loop {
            let Some(at) = self.heard.checked_add(silence) else { return Poll::Pending };
            let Poll::Ready(now) = self.timer.poll(cx, Some(at)) else { return Poll::Pending };
            if self.ledger.open() < self.wanted.window {
                return Poll::Ready(());
            }
            // The silence is our own.
            self.heard = now;
        }
    }

    fn tell(&self, what: &dyn std::fmt::Display) {
        repeated!(log::Level::Warn, self.name, "consumer of the log: {what}");
    }

    /// All of the record that is for the consumer. What is left of it is acknowledged.
    fn sift(&mut self, delivery: Delivery) -> Option<Batch> {
        let Delivery { upstream, sequence, tries, record, ack } = delivery;
        self.last = self.last.max(Some(sequence));
        let upstream = self.sieve.name(&upstream);
        if self.sieve.is_stale(&upstream, sequence, record.fence) {
            self.tell(&format_args!("a record of a former holder of {upstream} is dropped"));
            self.acks.push(ack());
            return None;
        }
        // It was late, or the engine has not heard that it is done.
        if tries > 1 && self.ledger.is_done(&upstream, sequence) {
            self.acks.push(ack());
            return None;
        }
        let mark = |at, kind| {
            LogEntry::Mark(LogMark { upstream: Arc::clone(&upstream), sequence, at, kind })
        };
        let ledger = Arc::clone(&self.ledger);
        let receipt =
            |parts, ack| Receipt::new(parts, ack, Arc::clone(&upstream), sequence, &ledger);
        let lines = match record::read(&record.body) {
            Ok(lines) => lines,
            Err(error) => {
                self.tell(&format_args!("record {sequence} of {upstream} is skipped: {error}"));
                let entries = vec![mark(time(0), MarkKind::Unreadable(error))];
                let receipt = Arc::new(receipt(1, ack));
                return Some(Batch { entries, receipt });
            }
        };
        let sieve = &mut self.sieve;
        let mut lines: Vec<_> = lines.into_iter().enumerate().collect();
        lines.retain(|(index, line)| match &line.content {
            Content::Event(event) => event.offset.as_deref().is_none_or(|offset| {
                let place = (sequence, *index);
                !sieve.is_repeat(&upstream, place, record.fence, offset, event.is_late)
            }),
            Content::Mark(_) => true,
        });
        let is_event = |line: &&(usize, record::Entry)| matches!(line.1.content, Content::Event(_));
        let events = if self.by_hand { lines.iter().filter(is_event).count() } else { 0 };
        let receipt = Arc::new(receipt(events.saturating_add(1), ack));
        let entry = |(index, line): (usize, record::Entry)| match line.content {
            Content::Event(event) => LogEntry::Event(LogEvent::new(
                Arc::clone(&upstream),
                (sequence, index),
                line.at,
                tries,
                event.is_late,
                event.into_event(),
                Arc::clone(&receipt),
            )),
            Content::Mark(Mark::Holder { worker }) => {
                mark(time(line.at), MarkKind::Holder { worker })
            }
            Content::Mark(Mark::Left { worker }) => mark(time(line.at), MarkKind::Left { worker }),
            Content::Mark(Mark::Filled { events }) => {
                mark(time(line.at), MarkKind::Filled { events })
            }
            Content::Mark(Mark::Gap { gap, missed }) => {
                mark(time(line.at), MarkKind::Gap { gap, missed })
            }
        };
        let entries: Vec<_> = lines.into_iter().map(entry).collect();
        if entries.is_empty() {
            self.release(&receipt);
            return None;
        }
        Some(Batch { entries, receipt })
    }

    /// All is done that need not be acknowledged by hand.
    pub(super) fn release(&self, receipt: &Receipt) {
        if let Some(told) = receipt.done() {
            self.acks.push(told);
        }
    }
}

/// The entries of the log that a consumer reads. It never ends, and can be polled anywhere.
///
/// While the engine cannot be reached, it waits, and the log of the program has a warning. Dropping it ends the consumer; the engine remembers a
/// durable one, and delivers what was not acknowledged to the next one with its name, after the
/// [`ack_wait`](crate::relay::ReaderBuilder::ack_wait).
#[must_use = "streams do nothing unless polled"]
pub struct LogStream {
    incoming: Incoming,
    entries: std::vec::IntoIter<LogEntry>,
    receipt: Option<Arc<Receipt>>,
}

impl LogStream {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming, entries: Vec::new().into_iter(), receipt: None }
    }
}

impl futures::Stream for LogStream {
    type Item = LogEntry;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LogEntry>> {
        let Self { incoming, entries, receipt } = &mut *self;
        loop {
            if let Some(entry) = entries.next() {
                // Behind the last event, all that is left is to be acknowledged by hand.
                let is_event = |entry: &LogEntry| matches!(entry, LogEntry::Event(_));
                if is_event(&entry)
                    && !entries.as_slice().iter().any(is_event)
                    && let Some(receipt) = receipt.take()
                {
                    incoming.release(&receipt);
                }
                return Poll::Ready(Some(entry));
            }
            // There were only marks, which have been looked at.
            if let Some(receipt) = receipt.take() {
                incoming.release(&receipt);
            }
            let batch = std::task::ready!(incoming.poll(cx));
            *entries = batch.entries.into_iter();
            *receipt = Some(batch.receipt);
        }
    }
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream").field("wanted", &self.incoming.wanted).finish_non_exhaustive()
    }
}
