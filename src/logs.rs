//! How this crate logs: each line through [`say`] or [`repeated`], cut to [a few hundred bytes](MAX_LINE), and
//! without line breaks.
//!
//! Lines that a server, or code of the application, can cause again and again go through [`repeated`]: of one
//! kind, and about one namespace, [`BURST`] lines are written at once and then one in each [`PAUSE`], with
//! the number of those that were left out. Each thread counts separately, as all actors of a client are on
//! one.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::display::Cut;

/// The longest line, in bytes.
const MAX_LINE: usize = 600;

/// The lines of one kind that are written at once,
const BURST: u32 = 10;
/// and the time after which there may be one more.
const PAUSE: Duration = Duration::from_secs(10);

/// The most kinds that are counted separately. A server can have many namespaces.
const MAX_KINDS: usize = 256;

/// Writes a line: its level, what it is about (a [`Name`](crate::display::Name), or the name of a client),
/// and the arguments of `format!`.
macro_rules! say {
    ($level:expr, $name:expr, $($line:tt)+) => {
        ::log::log!($level, "{}", $crate::logs::Line(&$name, ::std::format_args!($($line)+)))
    };
}
pub(crate) use say;

/// Writes a line that may come again and again: its level, what it is about, and the arguments of `format!`.
/// Lines of one place in the code about the same name are counted together; with a value after a semicolon,
/// only those with the same value.
macro_rules! repeated {
    ($level:expr, $name:expr, $($line:tt)+) => {
        $crate::logs::repeated!($level, $name; (), $($line)+)
    };
    ($level:expr, $name:expr; $about:expr, $($line:tt)+) => {
        if ::log::log_enabled!($level)
            && let name = &$name
            && let Some(more) = $crate::logs::allow((::std::file!(), ::std::line!()), (name, $about))
        {
            let line = $crate::logs::Line(name, ::std::format_args!($($line)+));
            ::log::log!($level, "{line}{more}");
        }
    };
}
pub(crate) use repeated;

/// The name for code of the application that does not belong to one client: wakers and values, which are woken
/// and dropped anywhere.
pub(crate) const NO_CLIENT: &str = "any client";

/// A line of the log: what it is about, and the text. All lines have this form.
pub(crate) struct Line<'a, N>(pub(crate) &'a N, pub(crate) fmt::Arguments<'a>);

impl<N: fmt::Display> fmt::Display for Line<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, text) = self;
        Cut::to(MAX_LINE, f).write(&format_args!("{name}: {text}"))
    }
}

/// How many lines were left out before one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct More(u64);

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (and {more} more like it)"),
        }
    }
}

/// Lines of one kind.
#[derive(Debug)]
struct Repeated {
    /// How many lines could be written at the time `since`.
    left: u32,
    since: Instant,
    more: u64,
}

impl Repeated {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, more: 0 }
    }

    /// Whether a line may be written, and how many were left out since the last one.
    fn allow(&mut self, now: Instant) -> Option<More> {
        let quiet = now.saturating_duration_since(self.since);
        let pauses = quiet.as_secs().checked_div(PAUSE.as_secs()).unwrap_or_default();
        if pauses > 0 {
            let earned = u32::try_from(pauses).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = now;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.more = self.more.saturating_add(1);
            return None;
        };
        self.left = left;
        Some(More(std::mem::take(&mut self.more)))
    }
}

/// The clock, which is in a module above this one. Until it is set, there is no client.
static CLOCK: OnceLock<fn() -> Instant> = OnceLock::new();

thread_local! {
    static KINDS: RefCell<HashMap<u64, Repeated>> = RefCell::default();
}

/// Sets the clock.
pub(crate) fn set_clock(clock: fn() -> Instant) {
    CLOCK.get_or_init(|| clock);
}

/// Whether a line of this place in the code, about this, may be written.
pub(crate) fn allow(place: (&'static str, u32), about: impl Hash) -> Option<More> {
    let Some(clock) = CLOCK.get() else { return Some(More(0)) };
    let now = clock();
    let kind = BuildHasherDefault::<DefaultHasher>::default().hash_one((place, about));
    KINDS.with_borrow_mut(|kinds| {
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            // Kinds that have been quiet are removed first.
            kinds.retain(|_, one| now.saturating_duration_since(one.since) < PAUSE);
            if kinds.len() >= MAX_KINDS {
                kinds.clear();
            }
        }
        kinds.entry(kind).or_insert_with(|| Repeated::new(now)).allow(now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_a_few_are_written_and_the_others_counted() {
        let start = Instant::now();
        let mut lines = Repeated::new(start);
        let written = |lines: &mut Repeated, now| {
            (0..1_000).filter_map(|_| lines.allow(now)).map(|More(more)| more).collect::<Vec<_>>()
        };
        assert_eq!(written(&mut lines, start), [0; 10]);
        assert_eq!(written(&mut lines, start + PAUSE / 2), [0; 0]);
        assert_eq!(written(&mut lines, start + PAUSE), [1_990]);
        let later = start + 100 * PAUSE;
        assert_eq!(written(&mut lines, later), [999, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            (More(0).to_string(), More(7).to_string().as_str()),
            (String::new(), " (and 7 more like it)")
        );
    }

    #[test]
    fn kinds_are_told_apart_and_bounded() {
        set_clock(Instant::now);
        for about in 0..10_000 {
            assert_eq!(allow(("here", 1), about), Some(More(0)));
            assert!(KINDS.with_borrow(HashMap::len) <= MAX_KINDS);
        }
    }

    #[test]
    fn a_line_is_one_line_and_not_long() {
        let line = |text: &str| Line(&"me", format_args!("{text}")).to_string();
        assert_eq!(line("as it is"), "me: as it is");
        assert_eq!(line("two\nlines\u{1b}"), "me: two\\nlines\\u{1b}");
        for text in ["x", "ä", "\n", "\u{1}", "\u{1F600}"] {
            let long = line(&text.repeat(100_000));
            assert!(long.len() < MAX_LINE + 4 && long.ends_with('…'), "{long}");
        }
    }
}
