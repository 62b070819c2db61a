//! The only way into code of the application.
//!
//! Everything that comes from the application may panic when it is used: its functions and futures, its
//! `Deserialize`, `Serialize` and `Display`, the wakers of its tasks, and each of its values when it is
//! dropped. Such a panic must not end an actor of this crate, nor lose the events of others. So all of that is
//! run and dropped here, with a value or [`Panicked`] as the result. Futures and wakers of
//! the application come here through [`runtime::task`](crate::runtime::task).

use std::{
    any::{Any, type_name},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    display::brief,
    logs::{self, repeated},
};

/// Code of the application panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// The text of the panic, cut and escaped; empty if its value was not a text.
    text: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return f.write_str("panicked");
        }
        write!(f, "panicked: {}", self.text)
    }
}

impl Panicked {
    #[cold]
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(brief);
        let text = text.or_else(|| payload.downcast_ref::<String>().map(brief));
        // The payload may be any value, so it may panic when it is dropped, and so may the payload of that panic.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        Self { text: text.unwrap_or_default() }
    }
}

/// Runs code of the application. If that panics, everything that it has changed must still be usable.
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(Panicked::new)
}

/// Drops a value of the application.
pub(crate) fn dispose<T>(value: T) {
    if let Err(panicked) = run(|| drop(value)) {
        repeated!(
            log::Level::Warn,
            logs::NO_CLIENT; type_name::<T>(),
            "a value of the application {panicked} (when it was dropped: {})",
            name::<T>()
        );
    }
}

fn name<T>() -> String {
    brief(&type_name::<T>())
}

/// A value of the application that is kept, and dropped through the guard.
pub(crate) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The option is `None` only while it is dropped.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            dispose(value);
        }
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// Panics when it is dropped, with another bomb as the payload as long as there are some left.
    pub(crate) struct Bomb(pub(crate) Rc<Cell<u32>>, pub(crate) u32);

    struct Payload(u32);

    impl Drop for Payload {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::panic_any(Payload(self.1));
        }
    }

    #[test]
    fn what_is_said_is_told_cut_and_escaped() {
        let said = |code: fn()| run(code).unwrap_err().to_string();
        assert_eq!(run(|| 7), Ok(7));
        assert_eq!(said(|| panic!("so\n{}", 7)), "panicked: so\\n7");
        assert_eq!(said(|| panic!("plain")), "panicked: plain");
        assert_eq!(said(|| std::panic::panic_any(7)), "panicked");
        assert!(said(|| panic!("{}", "x".repeat(100_000))).len() < 1_000);
    }

    #[test]
    fn what_panics_when_it_is_dropped_is_dropped_once_and_no_more() {
        for depth in 0..4 {
            let drops = Rc::default();
            let bomb = || Bomb(Rc::clone(&drops), depth);
            drop(Kept::new(bomb()));
            assert_eq!(drops.get(), 1);
            assert!(run(|| std::panic::panic_any(Payload(depth))).is_err());
        }
    }
}
