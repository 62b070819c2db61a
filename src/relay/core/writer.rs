//! Appends records to the log of one upstream, one at a time, and finds out what became of each.
//!
//! ```text
//!            ┌─────────────── read ◄────────────┐ no answer, or somebody has written
//!            ▼                  ▲               │
//!          idle ──── submit ────┼────────► appending ──► stored
//!                               └─ pause ◄─ full, away
//! ```
//!
//! A record whose answer did not come may be stored or not, and it may still be stored later. So the end of the log is
//! read: if this record is there, it is stored; if another one of a later holder is there, this one has lost its right; or else it is
//! sent again behind the same record, so that the engine takes it once at most.

use std::time::{Duration, Instant};

use crate::{
    proto::deadline::deadline_after,
    relay::engine::{AppendError, EngineError, Head, Record},
};

/// What the engine is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Head,
    Append { behind: u64, record: Record },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    Nothing,
    /// The record that was submitted is in the log.
    Stored,
    /// No record of this size is taken.
    TooLarge,
    /// Somebody with a higher fence writes, or the log is not as this holder has left it.
    Out,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// To be read when the time has come.
    Read(Instant),
    Reading,
    Idle,
    /// A record is to be appended when the time has come.
    Append(Instant),
    Appending,
}

/// The end of the log as the writer knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) sequence: u64,
    pub(crate) offset: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    fence: u64,
    pause: Duration,
    step: Step,
    record: Option<Record>,
    end: End,
    /// The record that was the last one before this holder's first.
    predecessor: Option<Head>,
    /// This holder has a record in the log.
    has_written: bool,
    /// How often the log was found shorter than it had been.
    shorter: u32,
}

impl Writer {
    /// Begins with the mark of the new holder, whose offset will be that of the record before it. `pause` is the time before a
    /// new try where the engine is away or full.
    pub(crate) fn new(now: Instant, mark: Record, pause: Duration) -> Self {
        Self {
            fence: mark.fence,
            pause,
            step: Step::Read(now),
            record: Some(mark),
            end: End::default(),
            predecessor: None,
            has_written: false,
            shorter: 0,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    /// What is stored.
    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    /// The record of the holder before, without its body.
    pub(crate) fn predecessor(&self) -> Option<&Head> {
        self.predecessor.as_ref()
    }

    /// Has the record appended. Only to be called while it is [idle](Self::is_idle).
    pub(crate) fn submit(&mut self, now: Instant, mut record: Record) {
        if self.is_idle() {
            record.offset = record.offset.or_else(|| self.end.offset.clone());
            self.record = Some(record);
            self.step = Step::Append(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Read(at) | Step::Append(at) => Some(at),
            Step::Reading | Step::Appending | Step::Idle => None,
        }
    }

    /// What to ask the engine now. One question is open at a time.
    pub(crate) fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        match (&self.step, &self.record) {
            (Step::Read(at), _) if *at <= now => {
                self.step = Step::Reading;
                Some(Ask::Head)
            }
            (Step::Append(at), Some(record)) if *at <= now => {
                let ask = Ask::Append { behind: self.end.sequence, record: record.clone() };
                self.step = Step::Appending;
                Some(ask)
            }
            _ => None,
        }
    }

    pub(crate) fn handle_head(
        &mut self,
        now: Instant,
        head: Result<Option<Head>, EngineError>,
    ) -> Progress {
        if self.step != Step::Reading {
            return Progress::Nothing;
        }
        let Ok(head) = head else {
            self.step = Step::Read(deadline_after(now, self.pause));
            return Progress::Nothing;
        };
        if head.as_ref().is_some_and(|head| head.fence > self.fence) {
            return Progress::Out;
        }
        let stored = head
            .as_ref()
            .filter(|head| self.record.as_ref().is_some_and(|record| record.id == head.id));
        if let Some(head) = stored {
            return self.stored(head.sequence);
        }
        // A log of which everything has grown too old is empty, and begins anew.
        let sequence = head.as_ref().map_or(0, |head| head.sequence);
        if self.has_written && head.is_some() && sequence != self.end.sequence {
            return self.not_as_left(now);
        }
        self.end.sequence = sequence;
        if !self.has_written {
            let offset = head.as_ref().and_then(|head| head.offset.clone());
            if let Some(mark) = &mut self.record {
                mark.offset.clone_from(&offset);
            }
            self.end.offset = offset;
            self.predecessor = head;
        }
        self.step = if self.record.is_some() { Step::Append(now) } else { Step::Idle };
        Progress::Nothing
    }

    /// The engine has lost what it had stored, or a copy was read that is behind. Only the latter gets better.
    fn not_as_left(&mut self, now: Instant) -> Progress {
        const LOOKS: u32 = 3;

        self.shorter = self.shorter.saturating_add(1);
        if self.shorter >= LOOKS {
            return Progress::Out;
        }
        self.step = Step::Read(deadline_after(now, self.pause));
        Progress::Nothing
    }

    #[expect(clippy::needless_pass_by_value, reason = "an answer is used up")]
    pub(crate) fn handle_append(
        &mut self,
        now: Instant,
        answer: Result<u64, AppendError>,
    ) -> Progress {
        if self.step != Step::Appending {
            return Progress::Nothing;
        }
        match answer {
            Ok(sequence) => return self.stored(sequence),
            // It may have been stored.
            Err(AppendError::OutOfDate | AppendError::Engine(EngineError::Away(_))) => {
                self.step = Step::Read(now);
            }
            Err(AppendError::Full | AppendError::Engine(EngineError::Refused(_))) => {
                self.step = Step::Append(deadline_after(now, self.pause));
            }
            Err(AppendError::TooLarge) => {
                self.record = None;
                self.step = Step::Idle;
                return Progress::TooLarge;
            }
        }
        Progress::Nothing
    }

    fn stored(&mut self, sequence: u64) -> Progress {
        self.end.sequence = sequence;
        self.has_written = true;
        self.shorter = 0;
        if let Some(record) = self.record.take() {
            self.end.offset = record.offset;
        }
        self.step = Step::Idle;
        Progress::Stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn record(id: &str, fence: u64, offset: Option<&str>) -> Record {
        let offset = offset.map(Into::into);
        Record { id: id.into(), fence, offset, count: 1, body: b"\n".as_slice().into() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the engine answers")]
    fn head(sequence: u64, id: &str, fence: u64, offset: Option<&str>) -> Option<Head> {
        Some(Head { sequence, id: id.into(), fence, offset: offset.map(Into::into) })
    }

    fn away() -> EngineError {
        EngineError::Away("test".into())
    }

    /// A writer that has put its mark behind record 5.
    fn begun(now: Instant) -> Writer {
        let mut writer = Writer::new(now, record("mark", 2, None), PAUSE);
        assert_eq!(writer.poll_ask(now), Some(Ask::Head));
        assert_eq!(writer.handle_head(now, Ok(head(5, "x", 1, Some("O")))), Progress::Nothing);
        let mark = record("mark", 2, Some("O"));
        assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 5, record: mark }));
        assert_eq!(writer.poll_ask(now), None, "one at a time");
        assert_eq!(writer.handle_append(now, Ok(6)), Progress::Stored);
        assert_eq!(writer.end(), &End { sequence: 6, offset: Some("O".into()) });
        assert_eq!(writer.predecessor().map(|head| &*head.id), Some("x"));
        writer
    }

    fn submitted(now: Instant) -> Writer {
        let mut writer = begun(now);
        writer.submit(now, record("a", 2, Some("P")));
        let record = record("a", 2, Some("P"));
        assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 6, record }));
        writer
    }

    #[test]
    fn a_record_without_an_offset_has_the_one_before() {
        let now = Instant::now();
        let mut writer = begun(now);
        writer.submit(now, record("a", 2, None));
        let record = record("a", 2, Some("O"));
        assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 6, record }));
    }

    #[test]
    fn an_answer_that_did_not_come_is_looked_up() {
        let now = Instant::now();
        for lost in [AppendError::OutOfDate, AppendError::Engine(away())] {
            let mut writer = submitted(now);
            assert_eq!(writer.handle_append(now, Err(lost.clone())), Progress::Nothing);
            assert_eq!(writer.poll_ask(now), Some(Ask::Head));
            // It is there.
            assert_eq!(writer.handle_head(now, Ok(head(7, "a", 2, Some("P")))), Progress::Stored);
            assert_eq!(writer.end(), &End { sequence: 7, offset: Some("P".into()) });

            let mut writer = submitted(now);
            assert_eq!(writer.handle_append(now, Err(lost.clone())), Progress::Nothing);
            assert_eq!(writer.poll_ask(now), Some(Ask::Head));
            // It is not: once more, in the same place.
            let mark = head(6, "mark", 2, Some("O"));
            assert_eq!(writer.handle_head(now, Ok(mark)), Progress::Nothing);
            let record = record("a", 2, Some("P"));
            assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 6, record }));

            let mut writer = submitted(now);
            assert_eq!(writer.handle_append(now, Err(lost)), Progress::Nothing);
            assert_eq!(writer.poll_ask(now), Some(Ask::Head));
            assert_eq!(writer.handle_head(now, Ok(head(7, "b", 3, None))), Progress::Out);
        }
    }

    #[test]
    fn the_mark_goes_behind_whatever_the_holder_before_still_wrote() {
        let now = Instant::now();
        let mut writer = Writer::new(now, record("mark", 2, None), PAUSE);
        assert_eq!(writer.poll_ask(now), Some(Ask::Head));
        assert_eq!(writer.handle_head(now, Ok(None)), Progress::Nothing);
        let mark = record("mark", 2, None);
        assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 0, record: mark }));
        assert_eq!(writer.handle_append(now, Err(AppendError::OutOfDate)), Progress::Nothing);
        assert_eq!(writer.poll_ask(now), Some(Ask::Head));
        assert_eq!(writer.handle_head(now, Ok(head(1, "x", 1, Some("O")))), Progress::Nothing);
        let mark = record("mark", 2, Some("O"));
        assert_eq!(writer.poll_ask(now), Some(Ask::Append { behind: 1, record: mark }));
        assert_eq!(writer.handle_append(now, Ok(2)), Progress::Stored);
        assert_eq!(writer.end().offset.as_deref(), Some("O"));
    }

    #[test]
    fn an_engine_that_is_full_or_away_is_tried_again_later() {
        let now = Instant::now();
        let mut writer = submitted(now);
        assert_eq!(writer.handle_append(now, Err(AppendError::Full)), Progress::Nothing);
        assert_eq!((writer.poll_ask(now), writer.poll_timeout()), (None, Some(now + PAUSE)));
        assert!(matches!(writer.poll_ask(now + PAUSE), Some(Ask::Append { behind: 6, .. })));
        let lost = Err(AppendError::Engine(away()));
        assert_eq!(writer.handle_append(now, lost), Progress::Nothing);
        assert_eq!(writer.poll_ask(now), Some(Ask::Head));
        assert_eq!(writer.handle_head(now, Err(away())), Progress::Nothing);
        assert_eq!((writer.poll_ask(now), writer.poll_timeout()), (None, Some(now + PAUSE)));
        assert_eq!(writer.poll_ask(now + PAUSE), Some(Ask::Head));
    }

    #[test]
    fn a_record_that_is_too_large_is_put_away() {
        let now = Instant::now();
        let mut writer = submitted(now);
        assert_eq!(writer.handle_append(now, Err(AppendError::TooLarge)), Progress::TooLarge);
        assert!(writer.is_idle());
    }

    #[test]
    fn an_engine_that_forgets_ends_the_term_and_an_aged_log_does_not() {
        let now = Instant::now();
        let mut writer = submitted(now);
        assert_eq!(writer.handle_append(now, Err(AppendError::OutOfDate)), Progress::Nothing);
        for progress in [Progress::Nothing, Progress::Nothing, Progress::Out] {
            assert_eq!(writer.poll_ask(writer.poll_timeout().unwrap()), Some(Ask::Head));
            assert_eq!(writer.handle_head(now, Ok(head(5, "x", 1, Some("O")))), progress);
        }
        let mut writer = submitted(now);
        assert_eq!(writer.handle_append(now, Err(AppendError::OutOfDate)), Progress::Nothing);
        assert_eq!(writer.poll_ask(now), Some(Ask::Head));
        assert_eq!(writer.handle_head(now, Ok(None)), Progress::Nothing);
        assert!(matches!(writer.poll_ask(now), Some(Ask::Append { behind: 0, .. })));
    }
}
