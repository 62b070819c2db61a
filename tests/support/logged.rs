//! What this crate's actors log on the thread of a test, on which the actors of its clients run.

use std::cell::{Cell, RefCell};

thread_local! {
    static LINES: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
    static FATAL: Cell<Option<&'static str>> = const { Cell::new(None) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("actix_socketio")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string();
            let is_fatal = FATAL.get().is_some_and(|fatal| line.contains(fatal));
            LINES.with_borrow_mut(|lines| lines.push((record.level(), line)));
            if is_fatal {
                FATAL.set(None);
                panic!("the logger panics, as the test wants it to");
            }
        }
    }

    fn flush(&self) {}
}

/// Notes everything from now on.
pub fn start() {
    // Another test may have set it already.
    log::set_logger(&Logger).ok();
    log::set_max_level(log::LevelFilter::Trace);
}

/// The lines of this level so far.
pub fn lines_at(wanted: log::Level) -> Vec<String> {
    LINES.with_borrow(|lines| {
        let lines = lines.iter().filter(|(level, _)| *level == wanted);
        lines.map(|(_, line)| line.clone()).collect()
    })
}

/// All lines so far.
pub fn lines() -> Vec<String> {
    LINES.with_borrow(|lines| lines.iter().map(|(_, line)| line.clone()).collect())
}

/// The warnings and errors so far.
pub fn warnings() -> Vec<String> {
    let is_bad = |level: log::Level| level <= log::Level::Warn;
    LINES.with_borrow(|lines| {
        lines.iter().filter(|(level, _)| is_bad(*level)).map(|(_, line)| line.clone()).collect()
    })
}

/// The next caller that logs a line with this text panics.
pub fn panic_at(text: &'static str) {
    FATAL.set(Some(text));
}
