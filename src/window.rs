//! The window: how much has been read and not yet been taken by the subscribers, and how much may be.
//!
//! The Connection adds what it routes, the Namespaces say how far they are. Nobody is woken for that
//! but a Connection that does not read for want of room, and that one when half of it is free: it then
//! reads many messages in a turn, where it would have read as few as an actor's mailbox takes.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// A number of things, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

impl Load {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn is_below(self, limit: Self) -> bool {
        self.items < limit.items && self.bytes < limit.bytes
    }

    fn is_half_of(self, limit: Self) -> bool {
        self.items <= limit.items / 2 && self.bytes <= limit.bytes / 2
    }
}

pub(crate) struct Window {
    limit: Load,
    items: AtomicUsize,
    bytes: AtomicUsize,
    /// The Connection is to be told when there is room.
    is_awaited: AtomicBool,
}

impl Window {
    pub(crate) fn new(limit: Load) -> Self {
        Self {
            limit,
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// What is in it.
    pub(crate) fn load(&self) -> Load {
        Load { items: self.items.load(SeqCst), bytes: self.bytes.load(SeqCst) }
    }

    pub(crate) fn add(&self, load: Load) {
        self.items.fetch_add(load.items, SeqCst);
        self.bytes.fetch_add(load.bytes, SeqCst);
    }

    /// Puts `now` in the place of what was added `before`. `true` if the Connection is to be told that
    /// there is room enough.
    #[must_use]
    pub(crate) fn replace(&self, before: Load, now: Load) -> bool {
        // Around zero, if it becomes more: the sum is right.
        self.items.fetch_sub(before.items.wrapping_sub(now.items), SeqCst);
        self.bytes.fetch_sub(before.bytes.wrapping_sub(now.bytes), SeqCst);
        self.load().is_half_of(self.limit) && self.is_awaited.swap(false, SeqCst)
    }

    /// Whether there is room beside what has been read and not been added yet. If not, who makes half
    /// of it free learns that it is waited for.
    pub(crate) fn has_room(&self, read: Load) -> bool {
        let has_room = || self.load().plus(read).is_below(self.limit);
        if has_room() {
            return true;
        }
        self.is_awaited.store(true, SeqCst);
        // It may have been made just before.
        has_room()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, items: _, bytes: _, is_awaited } = self;
        f.debug_struct("Window")
            .field("load", &self.load())
            .field("limit", limit)
            .field("is_awaited", is_awaited)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_half_of_the_room_learns_once_that_it_is_waited_for() {
        let load = |items, bytes| Load { items, bytes };
        let window = Window::new(load(4, 100));
        assert!(window.has_room(load(3, 99)));
        assert!(!window.has_room(load(4, 0)) && !window.has_room(load(0, 100)));
        window.add(load(4, 0));
        assert!(!window.has_room(Load::default()));
        assert!(!window.replace(load(2, 0), load(1, 0)), "less than half of it is free");
        assert!(window.has_room(Load::default()), "and yet there is room, for who asks");
        assert!(!window.replace(load(0, 0), load(5, 51)), "of one, several may wait");
        assert_eq!(window.load(), load(8, 51));
        assert!(!window.replace(load(6, 0), load(0, 0)), "it is too many bytes");
        assert!(window.replace(load(0, 51), load(0, 50)));
        assert!(!window.replace(load(1, 0), load(0, 0)), "it has been told");
        assert!(window.has_room(load(1, 0)));
        assert!(!window.replace(load(1, 50), load(0, 0)), "nobody waits");
        assert_eq!(window.load(), Load::default());
    }

    #[test]
    fn half_of_one_is_none() {
        let one = Load { items: 1, bytes: 1 };
        let window = Window::new(one);
        window.add(one);
        assert!(!window.has_room(Load::default()));
        assert!(window.replace(one, Load::default()));
    }
}
