//! What a holder has missed that began a new session at once: the server still had the old one, and did not let anybody else
//! go on with it. Once it has noticed that the holder before is gone, it does, and sends what came behind the last stored event.
//!
//! ```text
//!  waiting ──► fetching ──► settling ──► giving ──► given
//! ```
//!
//! A broadcast has one offset in all sessions, so what has come live in the new session is known by its offset, and is
//! left out. What is on its way there while the old session is read may come later than its copy. So a while passes between the two;
//! and should it take longer than that, the live one is left out.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    buffer::{Bounds, Line},
    question::Resume,
};
use crate::proto::{deadline::deadline_after, recovery::hash};

/// How long the server may take to give the old session.
const LIMIT: Duration = Duration::from_secs(30);
/// How long what is on its way in the new session may take.
const SETTLE: Duration = Duration::from_secs(2);
/// Offsets that are remembered, by their hashes: of 47 seconds with 5 500 events each.
const MAX_SEEN: usize = 1 << 18;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The server has noticed by then.
    Waiting {
        until: Instant,
    },
    Fetching {
        until: Instant,
    },
    /// All that was missed has come.
    Settling {
        until: Instant,
    },
    Giving,
    /// All that was missed is on its way to the log.
    Given,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Go on with the old session.
    Fetch(Resume),
    /// The old session cannot be had, and the gap stays.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Late {
    resume: Resume,
    stage: Stage,
    bounds: Bounds,
    /// Of the events that came live in the new session.
    seen: HashSet<u64>,
    /// The last of these, when they are too many. What the old session has behind it is not known to be missed.
    last_seen: Option<u64>,
    lines: VecDeque<Line>,
    bytes: usize,
    /// The old session had more than is kept.
    is_cut: bool,
    /// How many events were missed.
    count: u64,
    /// Of the old events that may still come live: those behind the last that has.
    ahead: HashSet<u64>,
}

impl Late {
    /// The old session can be had at `until`. No more of it is kept than the bounds allow.
    pub(super) fn new(resume: Resume, until: Instant, bounds: Bounds) -> Self {
        Self {
            resume,
            stage: Stage::Waiting { until },
            bounds,
            seen: HashSet::new(),
            last_seen: None,
            lines: VecDeque::new(),
            bytes: 0,
            is_cut: false,
            count: 0,
            ahead: HashSet::new(),
        }
    }

    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.stage, Stage::Fetching { .. })
    }

    /// Nothing is left to be done.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Given && self.ahead.is_empty()
    }

    /// An event comes live. Says whether it is to be left out, since it was given already.
    pub(super) fn handle_live(&mut self, offset: &str) -> bool {
        let hash = hash(offset);
        match self.stage {
            Stage::Waiting { .. } | Stage::Fetching { .. } | Stage::Settling { .. } => {
                if self.last_seen.is_none() {
                    self.seen.insert(hash);
                    self.last_seen = (self.seen.len() >= MAX_SEEN).then_some(hash);
                }
                false
            }
            Stage::Giving | Stage::Given => {
                let is_known = self.ahead.remove(&hash);
                if !is_known {
                    // They come in the order of the server, so what was before it has come.
                    self.ahead.clear();
                }
                is_known
            }
        }
    }

    /// An event of the old session.
    pub(super) fn handle_line(&mut self, line: Line) {
        if !self.is_fetching() || line.offset.is_none() {
            return;
        }
        let bytes = self.bytes.saturating_add(line.text.len());
        self.is_cut |= self.lines.len() >= self.bounds.events || bytes > self.bounds.bytes;
        if !self.is_cut {
            self.bytes = bytes;
            self.lines.push_back(line);
        }
    }

    /// The server has let it join: behind all that was missed, if it goes on with the old session.
    pub(super) fn handle_ready(&mut self, now: Instant, recovered: bool) -> Step {
        if !self.is_fetching() {
            return Step::Nothing;
        }
        if !recovered {
            return Step::GiveUp;
        }
        self.stage = Stage::Settling { until: deadline_after(now, SETTLE) };
        Step::Nothing
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { until } | Stage::Fetching { until } | Stage::Settling { until } => {
                Some(until)
            }
            Stage::Giving | Stage::Given => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Step {
        if self.poll_timeout().is_none_or(|until| until > now) {
            return Step::Nothing;
        }
        match self.stage {
            Stage::Waiting { .. } => {
                self.stage = Stage::Fetching { until: deadline_after(now, LIMIT) };
                Step::Fetch(self.resume.clone())
            }
            Stage::Fetching { .. } => Step::GiveUp,
            Stage::Settling { .. } => {
                self.settle();
                Step::Nothing
            }
            Stage::Giving | Stage::Given => Step::Nothing,
        }
    }

    fn settle(&mut self) {
        self.stage = Stage::Giving;
        self.is_cut |= self.last_seen.is_some();
        let seen = std::mem::take(&mut self.seen);
        for line in std::mem::take(&mut self.lines) {
            let hash = line.offset.as_deref().map(hash).unwrap_or_default();
            if seen.contains(&hash) {
                self.ahead.clear();
            } else {
                self.ahead.insert(hash);
                self.lines.push_back(line);
                self.count = self.count.saturating_add(1);
            }
            if self.last_seen == Some(hash) {
                break;
            }
        }
    }

    /// The next event that was missed. It has no offset of its own: how far the log is, only the live session says.
    pub(super) fn next(&mut self) -> Option<Line> {
        let is_given = self.stage == Stage::Giving;
        let line = is_given.then(|| self.lines.pop_front())??;
        Some(Line { offset: None, ..line })
    }

    /// Says once how many events were missed, when all of them are given.
    pub(super) fn filled(&mut self) -> Option<u64> {
        if self.stage != Stage::Giving || !self.lines.is_empty() {
            return None;
        }
        self.stage = Stage::Given;
        (!self.is_cut).then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::core::question::Pid;

    const SECOND: Duration = Duration::from_secs(1);

    fn late(now: Instant, events: usize) -> Late {
        let resume = Resume { pid: Pid("P".into()), offset: "0".into() };
        Late::new(resume, now + SECOND, Bounds { events, bytes: 1_000, record: 1_000 })
    }

    fn line(offset: &str) -> Line {
        Line { text: offset.into(), offset: Some(offset.into()), key: None }
    }

    /// The old session has these; what was missed, and how many if that is all.
    fn fetched(late: &mut Late, now: Instant, offsets: &[&str]) -> (String, Option<u64>) {
        let at = now + SECOND;
        assert_eq!(late.handle_timeout(now), Step::Nothing);
        assert!(matches!(late.handle_timeout(at), Step::Fetch(_)));
        for offset in offsets {
            late.handle_line(line(offset));
        }
        assert_eq!(late.handle_ready(at, true), Step::Nothing);
        // What comes behind it is of now.
        late.handle_line(line("welcome"));
        assert_eq!(late.filled(), None);
        assert_eq!(late.handle_timeout(at + SETTLE), Step::Nothing);
        let missed = std::iter::from_fn(|| late.next()).map(|line| line.text).collect();
        (missed, late.filled())
    }

    #[test]
    fn what_came_live_is_left_out_on_either_side() {
        let now = Instant::now();
        let mut late = late(now, 100);
        for offset in ["c", "e"] {
            assert!(!late.handle_live(offset));
        }
        let missed = fetched(&mut late, now, &["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(missed, ("abdfg".to_owned(), Some(5)));
        assert_eq!(late.filled(), None, "it is said once");
        // These were on their way for too long.
        assert!(
            late.handle_live("f") && !late.is_over() && late.handle_live("g") && late.is_over()
        );
        assert!(!late.handle_live("d"), "an argument that looks like an offset");
    }

    #[test]
    fn what_may_come_live_is_forgotten_when_something_behind_it_has() {
        let now = Instant::now();
        let mut late = late(now, 100);
        assert_eq!(fetched(&mut late, now, &["a", "b"]).0, "ab");
        assert!(late.handle_live("b") && !late.handle_live("c") && !late.handle_live("a"));
    }

    #[test]
    fn a_gap_that_is_not_filled_is_not_said_to_be() {
        let now = Instant::now();
        let mut small = late(now, 2);
        assert_eq!(fetched(&mut small, now, &["a", "b", "c"]), ("ab".to_owned(), None));
        let mut many = late(now, 100);
        for number in 0..=MAX_SEEN {
            assert!(!many.handle_live(&number.to_string()));
        }
        let last = (MAX_SEEN - 1).to_string();
        assert_eq!(fetched(&mut many, now, &["a", &last, "z"]), ("a".to_owned(), None));
    }

    #[test]
    fn a_session_that_is_not_had_in_time_is_given_up() {
        let now = Instant::now();
        let mut late = late(now, 2);
        assert_eq!(late.poll_timeout(), Some(now + SECOND));
        assert!(matches!(late.handle_timeout(now + SECOND), Step::Fetch(_)));
        assert_eq!(late.handle_timeout(now + SECOND), Step::Nothing);
        assert_eq!(late.handle_timeout(now + SECOND + LIMIT), Step::GiveUp);
        assert_eq!(late.handle_ready(now + SECOND, false), Step::GiveUp);
    }
}
