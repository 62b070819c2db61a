//! The last records, in memory.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Record, Tap};
use crate::logs::{self, say};

/// Keeps the last records, up to a number of them and of bytes. Clones are the same recording.
///
/// When it is full, the oldest records are dropped, and [counted](Self::dropped).
///
/// ```
/// use actix_socketio::{
///     Client,
///     tap::{Kind, Recording},
/// };
///
/// // The last 1000 records, in 256 KiB at most. The last 20 are logged when a connection is lost.
/// let recording = Recording::new(1_000, 256 << 10).dump(20);
/// let builder = Client::builder("http://localhost:3000").tap(recording.tap());
///
/// let lost = recording.records().iter().filter(|record| record.kind == Kind::Lost).count();
/// println!("lost {lost} times");
/// ```
#[derive(Clone)]
pub struct Recording {
    kept: Arc<Mutex<Kept>>,
    dump: usize,
}

struct Kept {
    records: VecDeque<Record>,
    /// Their size in memory.
    bytes: usize,
    dropped: u64,
    /// How many have been added since the last dump.
    fresh: usize,
    max_items: usize,
    max_bytes: usize,
}

impl Recording {
    /// An empty recording of at most this many `records`, which hold at most this many `bytes` of memory together. A
    /// record that is larger is dropped.
    pub fn new(records: usize, bytes: usize) -> Self {
        let kept = Kept {
            records: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            fresh: 0,
            max_items: records,
            max_bytes: bytes,
        };
        Self { kept: Arc::new(Mutex::new(kept)), dump: 0 }
    }

    /// When something goes [wrong](super::Kind::is_bad), logs the records that came since the last time: up to this
    /// number of the newest, each as a warning of 600 bytes at most. **The texts of events are in them**, unless the tap
    /// [keeps none](Tap::text). If it happens again and again, ten dumps are logged, and then one in ten seconds. It
    /// applies to taps made from this handle. Default: 0.
    #[must_use]
    pub fn dump(mut self, records: usize) -> Self {
        self.dump = records;
        self
    }

    /// A tap that fills it.
    pub fn tap(&self) -> Tap {
        let recording = self.clone();
        Tap::new(move |record| recording.add(record))
    }

    /// Adds a record, as the [tap](Self::tap) does.
    pub fn add(&self, record: &Record) {
        // A server can have this happen again and again.
        let is_wanted = self.dump > 0 && record.kind.is_bad();
        let more = is_wanted.then(|| logs::allow((file!(), line!()), "dump")).flatten();
        let mut kept = self.kept();
        kept.add(record);
        let Some(more) = more else { return };
        let dumped = kept.take_fresh(self.dump);
        drop(kept);
        if let Some((last, rest)) = dumped.split_last() {
            for record in rest {
                say!(log::Level::Warn, record.client, "before that: {record}");
            }
            say!(log::Level::Warn, last.client, "recorded: {last}{more}");
        }
    }

    /// The records that are kept, from the oldest to the newest.
    pub fn records(&self) -> Vec<Record> {
        self.kept().records.iter().cloned().collect()
    }

    /// The records from this [number](Record::number) on, to continue after the last one read. It is for the recording
    /// of one client, whose numbers grow.
    pub fn since(&self, number: u64) -> Vec<Record> {
        let kept = self.kept();
        let start = kept.records.partition_point(|record| record.number < number);
        kept.records.range(start..).cloned().collect()
    }

    /// Removes all records, and returns them.
    pub fn take(&self) -> Vec<Record> {
        let mut kept = self.kept();
        kept.bytes = 0;
        kept.fresh = 0;
        std::mem::take(&mut kept.records).into()
    }

    /// The number of records that were dropped for want of room.
    pub fn dropped(&self) -> u64 {
        self.kept().dropped
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, record: &Record) {
        if record.held() > self.max_bytes || self.max_items == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let record = record.clone();
        self.bytes = self.bytes.saturating_add(record.held());
        self.records.push_back(record);
        self.fresh = self.fresh.saturating_add(1);
        while self.records.len() > self.max_items || self.bytes > self.max_bytes {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.held());
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Up to `wanted` of the newest records that have come since the last time.
    fn take_fresh(&mut self, wanted: usize) -> Vec<Record> {
        let count = std::mem::take(&mut self.fresh).min(wanted).min(self.records.len());
        let start = self.records.len().saturating_sub(count);
        self.records.range(start..).cloned().collect()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("Recording")
            .field("records", &kept.records.len())
            .field("bytes", &kept.bytes)
            .field("dropped", &kept.dropped)
            .field("dump", &self.dump)
            .finish_non_exhaustive()
    }
}
