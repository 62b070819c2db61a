//! Buffers that are empty most of the time. They hold no memory then: the thread keeps one of each kind, and
//! lends it to whoever needs one next.
//!
//! To allocate them each time would cost more than what is done with them.

use std::{cell::Cell, thread::LocalKey};

/// The buffer of this thread, empty, or a new one if it is lent.
pub(crate) fn lend<T: Default>(spare: &'static LocalKey<Cell<T>>) -> T {
    spare.try_with(Cell::take).unwrap_or_default()
}

/// Takes an empty buffer back.
pub(crate) fn take_back<T>(spare: &'static LocalKey<Cell<T>>, buffer: T) {
    // At the end of the thread, it is just dropped.
    spare.try_with(|spare| spare.set(buffer)).ok();
}
