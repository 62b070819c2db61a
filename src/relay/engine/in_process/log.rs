//! The log in memory, and the consumers that read it. No clock: the time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::relay::engine::{AppendError, Begin, EngineError, Head, Record, Subscription};

/// What a record holds beside its texts and its body, roughly, in bytes.
const OVERHEAD: usize = 256;

/// Durable consumers that are remembered.
const MAX_DURABLE: usize = 1_024;

struct Stored {
    upstream: Arc<str>,
    at: Instant,
    wall: SystemTime,
    record: Record,
}

impl Stored {
    fn size(&self) -> usize {
        size(&self.record)
    }
}

fn size(record: &Record) -> usize {
    let offset = record.offset.as_ref().map_or(0, String::len);
    [OVERHEAD, record.id.len(), offset].into_iter().fold(record.body.len(), usize::saturating_add)
}

/// A record that was given to a consumer, and is not acked yet.
struct Pending {
    /// When it is delivered again.
    due: Option<Instant>,
    tries: u32,
}

/// A consumer: of one stream, or, if it is durable, of all with its name.
struct Consumer {
    upstreams: Vec<String>,
    /// One that is not durable gets nothing again.
    ack_wait: Option<Duration>,
    window: usize,
    /// The sequence behind all that was looked at.
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// The same, by the time of the next delivery.
    due: BTreeSet<(Instant, u64)>,
}

impl Consumer {
    fn wants(&self, upstream: &str) -> bool {
        self.upstreams.is_empty() || self.upstreams.iter().any(|wanted| wanted == upstream)
    }

    /// Whether it has not acked this record.
    fn awaits(&self, upstream: &str, sequence: u64) -> bool {
        self.pending.contains_key(&sequence) || (sequence >= self.next && self.wants(upstream))
    }

    fn give(&mut self, sequence: u64, tries: u32, now: Instant) {
        let due = self.ack_wait.and_then(|wait| now.checked_add(wait));
        self.pending.insert(sequence, Pending { due, tries });
        self.due.extend(due.map(|due| (due, sequence)));
    }

    fn forget(&mut self, sequence: u64) -> Option<Pending> {
        let pending = self.pending.remove(&sequence)?;
        if let Some(due) = pending.due {
            self.due.remove(&(due, sequence));
        }
        Some(pending)
    }
}

/// What a consumer has to do.
pub(super) enum Next {
    Given {
        upstream: Arc<str>,
        sequence: u64,
        tries: u32,
        record: Record,
    },
    /// Look again when a record was appended or acked, or at this time.
    Wait(Option<Instant>),
}

/// All records, in one order, with sequences from 1.
pub(super) struct Log {
    max_bytes: usize,
    max_age: Duration,
    records: VecDeque<Stored>,
    bytes: usize,
    /// The sequence of the first record that is still there, or of the next one.
    first: u64,
    /// The last record of each upstream, which is known also when it is not there any more.
    heads: HashMap<Arc<str>, Head>,
    consumers: HashMap<u64, Consumer>,
    durable: HashMap<String, u64>,
    last_key: u64,
}

impl Log {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            records: VecDeque::new(),
            bytes: 0,
            first: 1,
            heads: HashMap::new(),
            consumers: HashMap::new(),
            durable: HashMap::new(),
            last_key: 0,
        }
    }

    /// The sequence behind the last record.
    fn end(&self) -> u64 {
        let count = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count)
    }

    fn at(&self, sequence: u64) -> Option<&Stored> {
        let place = sequence.checked_sub(self.first)?;
        self.records.get(usize::try_from(place).ok()?)
    }

    pub(super) fn head(&self, upstream: &str) -> Option<&Head> {
        self.heads.get(upstream)
    }

    pub(super) fn append(
        &mut self,
        upstream: &str,
        behind: u64,
        record: Record,
        (now, wall): (Instant, SystemTime),
    ) -> Result<u64, AppendError> {
        let head = self.heads.get(upstream);
        if head.map_or(0, |head| head.sequence) != behind {
            return Err(AppendError::OutOfDate);
        }
        self.expire(now);
        let size = size(&record);
        if size > self.max_bytes {
            return Err(AppendError::TooLarge);
        }
        while self.bytes.saturating_add(size) > self.max_bytes {
            if self.first_is_awaited() {
                return Err(AppendError::Full);
            }
            self.drop_first();
        }
        let sequence = self.end();
        let upstream = self
            .heads
            .get_key_value(upstream)
            .map_or_else(|| Arc::from(upstream), |(upstream, _)| Arc::clone(upstream));
        let head = Head {
            sequence,
            id: record.id.clone(),
            fence: record.fence,
            offset: record.offset.clone(),
        };
        self.heads.insert(Arc::clone(&upstream), head);
        self.bytes = self.bytes.saturating_add(size);
        self.records.push_back(Stored { upstream, at: now, wall, record });
        Ok(sequence)
    }

    fn first_is_awaited(&self) -> bool {
        self.records.front().is_some_and(|stored| {
            self.consumers.values().any(|consumer| consumer.awaits(&stored.upstream, self.first))
        })
    }

    fn drop_first(&mut self) {
        if let Some(stored) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(stored.size());
            for consumer in self.consumers.values_mut() {
                consumer.forget(self.first);
            }
            self.first = self.first.saturating_add(1);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(stored) = self.records.front()
            && now.saturating_duration_since(stored.at) > self.max_age
        {
            self.drop_first();
        }
    }

    /// The key of a consumer, which is made if it is not known.
    pub(super) fn open(&mut self, wanted: &Subscription) -> Result<u64, EngineError> {
        let name = wanted.durable.as_deref();
        if let Some(key) = name.and_then(|name| self.durable.get(name))
            && let Some(consumer) = self.consumers.get_mut(key)
        {
            consumer.upstreams.clone_from(&wanted.upstreams);
            consumer.ack_wait = Some(wanted.ack_wait);
            consumer.window = wanted.window.max(1);
            return Ok(*key);
        }
        if name.is_some() && self.durable.len() >= MAX_DURABLE {
            return Err(EngineError::Refused(format!("there are {MAX_DURABLE} durable consumers")));
        }
        let next = match wanted.begin {
            Begin::Start => self.first,
            Begin::End => self.end(),
            Begin::Sequence(sequence) => sequence,
            Begin::Time(time) => {
                // The time of day may have been set back, so the records need not be in its order.
                let later = self.records.iter().take_while(|stored| stored.wall < time).count();
                self.first.saturating_add(u64::try_from(later).unwrap_or(u64::MAX))
            }
        };
        self.last_key = self.last_key.saturating_add(1);
        let key = self.last_key;
        let consumer = Consumer {
            upstreams: wanted.upstreams.clone(),
            ack_wait: name.is_some().then_some(wanted.ack_wait),
            window: wanted.window.max(1),
            next,
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        self.consumers.insert(key, consumer);
        if let Some(name) = name {
            self.durable.insert(name.to_owned(), key);
        }
        Ok(key)
    }

    /// Forgets a consumer that is not durable.
    pub(super) fn close(&mut self, key: u64) {
        if !self.durable.values().any(|durable| *durable == key) {
            self.consumers.remove(&key);
        }
    }

    pub(super) fn ack(&mut self, key: u64, sequence: u64) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.forget(sequence);
        }
    }

    /// The next record for a consumer: first those that were not acked in time.
    pub(super) fn next(&mut self, key: u64, now: Instant) -> Next {
        self.expire(now);
        let (first, end) = (self.first, self.end());
        let Some(consumer) = self.consumers.get_mut(&key) else { return Next::Wait(None) };
        let again = consumer.due.first().copied().filter(|(due, _)| *due <= now);
        let (sequence, tries) = if let Some((_, sequence)) = again {
            let tries = consumer.forget(sequence).map_or(0, |pending| pending.tries);
            (sequence, tries.saturating_add(1))
        } else {
            if consumer.pending.len() >= consumer.window {
                return Next::Wait(consumer.due.first().map(|(due, _)| *due));
            }
            let mut sequence = consumer.next.max(first);
            while let Some(stored) = place(&self.records, first, sequence)
                && !consumer.wants(&stored.upstream)
            {
                sequence = sequence.saturating_add(1);
            }
            // A consumer may begin at a sequence that is still to come.
            consumer.next = if sequence < end { sequence.saturating_add(1) } else { sequence };
            if sequence >= end {
                return Next::Wait(consumer.due.first().map(|(due, _)| *due));
            }
            (sequence, 1)
        };
        consumer.give(sequence, tries, now);
        match self.at(sequence) {
            Some(stored) => Next::Given {
                upstream: Arc::clone(&stored.upstream),
                sequence,
                tries,
                record: stored.record.clone(),
            },
            None => Next::Wait(Some(now)),
        }
    }
}

fn place(records: &VecDeque<Stored>, first: u64, sequence: u64) -> Option<&Stored> {
    records.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
}
