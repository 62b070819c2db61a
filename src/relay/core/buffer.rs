//! The events that wait for the log: they collect while the batch before them is being stored.

use std::collections::{HashMap, VecDeque};

use crate::relay::record::{Gap, Mark, mark_line};

/// A batch has at most this many events. Batches are small unless the log is slower than the server; then they grow to catch up. With 64, a
/// cluster of NATS takes a quarter as many events a second. With more than 256 it takes still more, but a consumer has to
/// be done with all of a record within its `ack_wait`.
pub(crate) const BATCH_EVENTS: usize = 256;
/// A batch has at most this many bytes, or one event.
pub(crate) const BATCH_BYTES: usize = 512 << 10;

/// What to do with an event for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Take it. Nothing more is to be given until there is [room](Buffer::has_room).
    Hold,
    DropNewest,
    /// The newest of each key is kept.
    Latest,
}

/// An event in the form of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) offset: Option<String>,
    /// For [`WhenFull::Latest`].
    pub(crate) key: Option<String>,
}

#[derive(Debug)]
enum Item {
    Event(Line),
    /// A mark that is none of a gap, as its line.
    Mark(String),
    Gap {
        gap: Gap,
        missed: Option<u64>,
        offset: Option<String>,
    },
}

impl Item {
    fn size(&self) -> usize {
        /// About that of a mark.
        const MARK: usize = 100;
        match self {
            Self::Event(Line { text, offset, key }) => {
                let more = [offset, key].into_iter().flatten().map(String::len);
                more.fold(text.len(), usize::saturating_add)
            }
            Self::Mark(text) => text.len(),
            Self::Gap { .. } => MARK,
        }
    }
}

/// What is stored with one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) body: String,
    pub(crate) count: u32,
    /// Of its last event that has one.
    pub(crate) offset: Option<String>,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// The largest body of a record.
    pub(crate) record: usize,
}

/// Events in their order, and the marks of what is missing between them.
#[derive(Debug)]
pub(crate) struct Buffer {
    bounds: Bounds,
    when_full: WhenFull,
    /// The number of the first item.
    first: u64,
    items: VecDeque<Item>,
    /// The number of the newest event of each key; only for [`WhenFull::Latest`].
    newest: HashMap<String, u64>,
    events: usize,
    bytes: usize,
    gaps: u64,
}

impl Buffer {
    pub(crate) fn new(bounds: Bounds, when_full: WhenFull) -> Self {
        Self {
            bounds,
            when_full,
            first: 0,
            items: VecDeque::new(),
            newest: HashMap::new(),
            events: 0,
            bytes: 0,
            gaps: 0,
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.events < self.bounds.events && self.bytes < self.bounds.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.events
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many gaps there were so far; those with one reason are one until an event comes.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    pub(crate) fn clear(&mut self) {
        let Self { bounds, when_full, gaps, .. } = *self;
        *self = Self { gaps, ..Self::new(bounds, when_full) };
    }

    pub(crate) fn push(&mut self, line: Line) {
        // A mark fits in any case: it is short, and names are.
        if line.text.len() > self.bounds.record {
            return self.push_gap_with(Gap::TooLarge, Some(1), line.offset);
        }
        match self.when_full {
            WhenFull::DropNewest if !self.has_room() => {
                return self.push_gap(Gap::Dropped, Some(1));
            }
            WhenFull::Latest => self.make_room(&line),
            WhenFull::Hold | WhenFull::DropNewest => {}
        }
        if let Some(key) = line.key.clone().filter(|_| self.when_full == WhenFull::Latest) {
            let number = self.first.saturating_add(count(self.items.len()));
            self.newest.insert(key, number);
        }
        self.events = self.events.saturating_add(1);
        self.add(Item::Event(line));
    }

    /// Adds a mark that is none of a gap.
    pub(crate) fn push_mark(&mut self, line: String) {
        self.add(Item::Mark(line));
    }

    /// Events are missing behind what was pushed last.
    pub(crate) fn push_gap(&mut self, gap: Gap, missed: Option<u64>) {
        self.push_gap_with(gap, missed, None);
    }

    fn push_gap_with(&mut self, gap: Gap, missed: Option<u64>, offset: Option<String>) {
        for item in self.items.iter_mut().rev() {
            match item {
                Item::Gap { gap: known, missed: before, offset: passed } if *known == gap => {
                    *before = before.zip(missed).map(|(before, more)| before.saturating_add(more));
                    if offset.is_some() {
                        *passed = offset;
                    }
                    return;
                }
                Item::Gap { .. } => {}
                Item::Event(_) | Item::Mark(_) => break,
            }
        }
        self.gaps = self.gaps.saturating_add(1);
        self.add(Item::Gap { gap, missed, offset });
    }

    fn add(&mut self, item: Item) {
        self.bytes = self.bytes.saturating_add(item.size());
        self.items.push_back(item);
    }

    /// Takes out the older event with the key of this one, or else the oldest of all.
    fn make_room(&mut self, line: &Line) {
        if self.has_room() {
            return;
        }
        let same = line.key.as_ref().and_then(|key| self.newest.remove(key));
        let same = same.and_then(|number| number.checked_sub(self.first));
        if let Some(at) = same.and_then(|at| usize::try_from(at).ok()) {
            self.replace_by_gap(at, Gap::Replaced);
        }
        while !self.has_room() {
            let is_event = |item: &Item| matches!(item, Item::Event(_));
            let Some(at) = self.items.iter().position(is_event) else { return };
            self.replace_by_gap(at, Gap::Dropped);
        }
    }

    /// The place of the item stays, so that the numbers behind it do. Gaps that come together at the front become one.
    fn replace_by_gap(&mut self, at: usize, gap: Gap) {
        let Some(item) = self.items.get_mut(at) else { return };
        let Item::Event(_) = item else { return };
        let old = std::mem::replace(item, Item::Gap { gap, missed: Some(1), offset: None });
        self.bytes = self.bytes.saturating_sub(old.size()).saturating_add(item.size());
        self.events = self.events.saturating_sub(1);
        self.gaps = self.gaps.saturating_add(1);
        self.forget(&old, count(at));
        self.merge_front();
        // Merged, there are no more gaps before an event than there are reasons.
        if self.items.len() > self.bounds.events.saturating_add(1).saturating_mul(8) {
            self.merge_all();
        }
    }

    /// The event at this place is gone.
    fn forget(&mut self, item: &Item, at: u64) {
        let Item::Event(Line { key: Some(key), .. }) = item else { return };
        if self.newest.get(key) == Some(&self.first.saturating_add(at)) {
            self.newest.remove(key);
        }
    }

    fn merge_front(&mut self) {
        while let (Some(Item::Gap { gap, missed, .. }), Some(Item::Gap { gap: next, .. })) =
            (self.items.front(), self.items.get(1))
            && gap == next
        {
            let more = *missed;
            if let Some(old) = self.items.pop_front() {
                self.bytes = self.bytes.saturating_sub(old.size());
            }
            self.first = self.first.saturating_add(1);
            if let Some(Item::Gap { missed, .. }) = self.items.front_mut() {
                *missed = missed.zip(more).map(|(one, other)| one.saturating_add(other));
            }
        }
    }

    /// Makes one gap of those with one reason before each event, and numbers the items anew. It is rare: as many items must
    /// have been replaced as there may be.
    fn merge_all(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.newest.clear();
        self.first = 0;
        self.bytes = 0;
        for item in items {
            match item {
                Item::Gap { gap, missed, offset } => {
                    let gaps = self.gaps;
                    self.push_gap_with(gap, missed, offset);
                    self.gaps = gaps;
                }
                Item::Event(line) => {
                    if let Some(key) = &line.key {
                        self.newest.insert(key.clone(), count(self.items.len()));
                    }
                    self.add(Item::Event(line));
                }
                Item::Mark(_) => self.add(item),
            }
        }
    }

    /// The offset of the newest item that has one.
    pub(crate) fn last_offset(&self) -> Option<&String> {
        self.items.iter().rev().find_map(|item| match item {
            Item::Event(line) => line.offset.as_ref(),
            Item::Gap { offset, .. } => offset.as_ref(),
            Item::Mark(_) => None,
        })
    }

    /// The next batch, if anything waits. `at` is the time of day, in milliseconds since 1970.
    pub(crate) fn take(&mut self, at: u64) -> Option<Batch> {
        self.items.front()?;
        let limit = self.bounds.record.min(BATCH_BYTES);
        let mut batch = Batch { body: String::new(), count: 0, offset: None };
        let mut entries = 0_usize;
        while let Some(item) = self.items.front() {
            let mark;
            let text = match item {
                Item::Event(line) => &line.text,
                Item::Mark(text) => text,
                Item::Gap { gap, missed, .. } => {
                    mark = mark_line(at, &Mark::Gap { gap: gap.clone(), missed: *missed });
                    &mark
                }
            };
            let size = batch.body.len().saturating_add(text.len());
            if entries > 0 && (entries == BATCH_EVENTS || size > limit) {
                break;
            }
            batch.body.push_str(text);
            entries = entries.saturating_add(1);
            let Some(item) = self.items.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(item.size());
            self.forget(&item, 0);
            self.first = self.first.saturating_add(1);
            let offset = match item {
                Item::Event(line) => {
                    self.events = self.events.saturating_sub(1);
                    batch.count = batch.count.saturating_add(1);
                    line.offset
                }
                Item::Mark(_) => None,
                Item::Gap { offset, .. } => offset,
            };
            batch.offset = offset.or(batch.offset);
        }
        Some(batch)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::record::{Content, read};

    const BOUNDS: Bounds = Bounds { events: 4, bytes: 10_000, record: 1_000 };

    fn line(name: &str, offset: Option<&str>, key: Option<&str>) -> Line {
        let text = format!("{{\"event\":[\"{name}\"]}}\n");
        Line { text, offset: offset.map(Into::into), key: key.map(Into::into) }
    }

    /// The names of the events, and the gaps as `reason:missed`.
    fn contents(batch: &Batch) -> Vec<String> {
        let entries = read(batch.body.as_bytes()).unwrap();
        let name = |entry: &crate::relay::record::Entry| match &entry.content {
            Content::Event(event) => event.clone().into_event().name().to_owned(),
            Content::Mark(Mark::Gap { gap, missed }) => {
                format!("{}:{}", gap.as_str(), missed.unwrap_or(0))
            }
            Content::Mark(Mark::Holder { worker } | Mark::Left { worker }) => worker.clone(),
            Content::Mark(Mark::Filled { events }) => format!("filled {events}"),
        };
        entries.iter().map(name).collect()
    }

    fn all(buffer: &mut Buffer) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(batch) = buffer.take(0) {
            all.extend(contents(&batch));
        }
        assert_eq!((buffer.len(), buffer.bytes(), buffer.is_empty()), (0, 0, true));
        assert!(buffer.newest.is_empty());
        all
    }

    #[test]
    fn a_batch_has_the_last_offset_and_a_bound() {
        let bounds = Bounds { events: 2_000, bytes: 1 << 20, record: 1 << 20 };
        let mut buffer = Buffer::new(bounds, WhenFull::Hold);
        assert_eq!(buffer.take(0), None);
        for number in 0..BATCH_EVENTS + 36 {
            let offset = (number % 10 != 3).then(|| number.to_string());
            buffer.push(line("e", offset.as_deref(), None));
        }
        let batch = buffer.take(0).unwrap();
        assert_eq!((batch.count, batch.offset.as_deref()), (256, Some("255")));
        let batch = buffer.take(0).unwrap();
        assert_eq!((batch.count, batch.offset.as_deref()), (36, Some("291")));
        for _ in 0..3 {
            buffer.push(line(&"x".repeat(300 << 10), None, None));
        }
        assert_eq!(buffer.take(0).unwrap().count, 1, "two are over 512 KiB");
    }

    #[test]
    fn an_event_that_no_record_takes_is_a_gap_that_has_its_offset() {
        let mut buffer = Buffer::new(BOUNDS, WhenFull::Hold);
        for offset in ["1", "2"] {
            buffer.push(line(&"x".repeat(1_000), Some(offset), None));
        }
        buffer.push(line("a", None, None));
        let batch = buffer.take(0).unwrap();
        assert_eq!((batch.count, batch.offset.as_deref()), (1, Some("2")));
        assert_eq!(contents(&batch), ["too-large:2", "a"]);
    }

    #[test]
    fn a_full_buffer_holds_or_drops_the_newest() {
        let mut buffer = Buffer::new(BOUNDS, WhenFull::Hold);
        for name in ["a", "b", "c", "d"] {
            assert!(buffer.has_room());
            buffer.push(line(name, None, None));
        }
        assert!(!buffer.has_room());
        buffer.push(line("e", None, None));
        assert_eq!(all(&mut buffer), ["a", "b", "c", "d", "e"]);

        let mut buffer = Buffer::new(BOUNDS, WhenFull::DropNewest);
        for name in ["a", "b", "c", "d", "e", "f"] {
            buffer.push(line(name, None, None));
        }
        let first = buffer.take(0).unwrap();
        assert_eq!(contents(&first), ["a", "b", "c", "d", "dropped:2"]);
        buffer.push(line("g", None, None));
        assert_eq!((all(&mut buffer), buffer.gaps()), (vec!["g".to_owned()], 1));
    }

    #[test]
    fn the_latest_of_each_key_is_kept() {
        let mut buffer = Buffer::new(BOUNDS, WhenFull::Latest);
        for (name, key) in [("a1", "a"), ("b1", "b"), ("c1", "c"), ("d1", "d"), ("b2", "b")] {
            buffer.push(line(name, None, Some(key)));
        }
        assert_eq!(buffer.len(), 4);
        buffer.push(line("e1", None, Some("e")));
        buffer.push(line("b3", None, Some("b")));
        let expected = ["dropped:1", "replaced:1", "c1", "d1", "replaced:1", "e1", "b3"];
        assert_eq!(all(&mut buffer), expected);
    }

    #[test]
    fn a_buffer_of_the_latest_has_a_bound_however_often_they_change() {
        let mut buffer = Buffer::new(BOUNDS, WhenFull::Latest);
        for number in 0..10_000 {
            let key = ["a", "b", "c", "d", "e", "f"][number % 6];
            buffer.push(line(&number.to_string(), None, Some(key)));
            assert!(buffer.items.len() <= 40 && buffer.len() <= 4, "{}", buffer.items.len());
            let bytes: usize = buffer.items.iter().map(Item::size).sum();
            assert_eq!(buffer.bytes(), bytes);
        }
        let rest = all(&mut buffer);
        let missed = rest.iter().filter_map(|text| text.split(':').nth(1)?.parse::<u64>().ok());
        assert_eq!(missed.sum::<u64>(), 9_996);
    }

    #[test]
    fn what_is_cleared_is_gone() {
        let mut buffer = Buffer::new(BOUNDS, WhenFull::Latest);
        buffer.push(line("a", None, Some("a")));
        buffer.push_gap(Gap::Lagged, None);
        buffer.push_gap(Gap::Lagged, Some(3));
        buffer.clear();
        assert_eq!((all(&mut buffer), buffer.gaps()), (Vec::<String>::new(), 1));
    }
}
