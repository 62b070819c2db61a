//! The window: how much was read and not yet taken by the subscribers, and the limit for that.
//!
//! The Connection adds what it routes, and the Namespaces report what was taken. Only a Connection that
//! has stopped reading for want of room is woken for that, and only when half of the room is free: it then
//! reads many messages in a turn, instead of the few that an actor's mailbox takes.
//!
//! What a stuck subscriber [keeps](crate::actor::subscribers::subscriber::Subscriber::shed) does not hold up
//! the connection. For that, there is as much room again beside the window, for all subscribers together.

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

    fn minus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_sub(other.items),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// One of this many equal shares.
    pub(crate) fn divided_by(self, count: usize) -> Self {
        let part = |amount: usize| amount.checked_div(count).unwrap_or(amount);
        Self { items: part(self.items), bytes: part(self.bytes) }
    }

    /// Whether both numbers are less.
    pub(crate) fn is_below(self, limit: Self) -> bool {
        self.items < limit.items && self.bytes < limit.bytes
    }

    fn is_half_of(self, limit: Self) -> bool {
        self.items <= limit.items / 2 && self.bytes <= limit.bytes / 2
    }
}

/// What waits for subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// What counts for the window, and so can hold the connection up.
    pub(crate) holding: Load,
    /// What is kept beside the window.
    pub(crate) kept: Load,
}

impl Backlog {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { holding: self.holding.plus(other.holding), kept: self.kept.plus(other.kept) }
    }

    /// The part of `room` that is still free for what is kept beside the window.
    pub(crate) fn rest_of(self, room: Load) -> Load {
        room.minus(self.kept)
    }
}

/// A load that several threads may change.
#[derive(Debug, Default)]
struct Amount {
    items: AtomicUsize,
    bytes: AtomicUsize,
}

impl Amount {
    fn load(&self) -> Load {
        Load { items: self.items.load(SeqCst), bytes: self.bytes.load(SeqCst) }
    }

    fn replace(&self, before: Load, now: Load) {
        // If the amount grows, the difference wraps around zero, and the sum is right.
        self.items.fetch_sub(before.items.wrapping_sub(now.items), SeqCst);
        self.bytes.fetch_sub(before.bytes.wrapping_sub(now.bytes), SeqCst);
    }
}

pub(crate) struct ReceiveWindow {
    limit: Load,
    holding: Amount,
    kept: Amount,
    /// Whether the Connection must be told when there is room.
    is_awaited: AtomicBool,
}

impl ReceiveWindow {
    pub(crate) fn new(limit: Load) -> Self {
        Self {
            limit,
            holding: Amount::default(),
            kept: Amount::default(),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// What waits in the window and beside it.
    pub(crate) fn waiting(&self) -> Load {
        self.holding.load().plus(self.kept.load())
    }

    /// What waits in the window.
    pub(crate) fn holding(&self) -> Load {
        self.holding.load()
    }

    /// How much more may be kept beside the window.
    pub(crate) fn room_beside(&self) -> Load {
        self.limit.minus(self.kept.load())
    }

    pub(crate) fn add(&self, load: Load) {
        self.holding.replace(Load::default(), load);
    }

    /// Replaces what was added `before` with `now`. `true` if the Connection must be told that
    /// there is room again.
    #[must_use]
    pub(crate) fn replace(&self, before: Backlog, now: Backlog) -> bool {
        self.kept.replace(before.kept, now.kept);
        self.holding.replace(before.holding, now.holding);
        self.holding.load().is_half_of(self.limit) && self.is_awaited.swap(false, SeqCst)
    }

    /// Whether there is room beside `read`, which has not been added yet. If not, the caller of
    /// [`replace`](Self::replace) that frees half of the room is told that the Connection waits.
    pub(crate) fn has_room(&self, read: Load) -> bool {
        let has_room = || self.holding.load().plus(read).is_below(self.limit);
        if has_room() {
            return true;
        }
        self.is_awaited.store(true, SeqCst);
        // The room may have been made just before.
        has_room()
    }
}

impl fmt::Debug for ReceiveWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, holding, kept, is_awaited } = self;
        f.debug_struct("ReceiveWindow")
            .field("limit", limit)
            .field("holding", &holding.load())
            .field("kept", &kept.load())
            .field("is_awaited", is_awaited)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(window: &ReceiveWindow, before: Load, now: Load) -> bool {
        let holding = |holding| Backlog { holding, kept: Load::default() };
        window.replace(holding(before), holding(now))
    }

    #[test]
    fn who_makes_half_of_the_room_learns_once_that_it_is_waited_for() {
        let load = |items, bytes| Load { items, bytes };
        let window = ReceiveWindow::new(load(4, 100));
        assert!(window.has_room(load(3, 99)));
        assert!(!window.has_room(load(4, 0)) && !window.has_room(load(0, 100)));
        window.add(load(4, 0));
        assert!(!window.has_room(Load::default()));
        assert!(!replace(&window, load(2, 0), load(1, 0)), "less than half of it is free");
        assert!(window.has_room(Load::default()), "and yet there is room, for who asks");
        assert!(!replace(&window, load(0, 0), load(5, 51)), "of one, several may wait");
        assert_eq!(window.holding.load(), load(8, 51));
        assert!(!replace(&window, load(6, 0), load(0, 0)), "it is too many bytes");
        assert!(replace(&window, load(0, 51), load(0, 50)));
        assert!(!replace(&window, load(1, 0), load(0, 0)), "it has been told");
        assert!(window.has_room(load(1, 0)));
        assert!(!replace(&window, load(1, 50), load(0, 0)), "nobody waits");
        assert_eq!(window.holding.load(), Load::default());
    }

    #[test]
    fn half_of_one_is_none() {
        let one = Load { items: 1, bytes: 1 };
        let window = ReceiveWindow::new(one);
        window.add(one);
        assert!(!window.has_room(Load::default()));
        assert!(replace(&window, one, Load::default()));
    }

    #[test]
    fn what_is_kept_beside_it_takes_no_room_in_it_and_has_a_bound_too() {
        let one = Load { items: 1, bytes: 10 };
        let two = one.plus(one);
        let window = ReceiveWindow::new(two);
        window.add(two);
        assert!(!window.has_room(Load::default()));
        let (before, now) = (
            Backlog { holding: two, kept: Load::default() },
            Backlog { holding: Load::default(), kept: one },
        );
        assert!(window.replace(before, now));
        assert!(window.has_room(one));
        assert_eq!((window.waiting(), window.room_beside()), (one, one));
        assert_eq!(now.rest_of(window.room_beside()), Load::default());
        window.add(one);
        assert_eq!((window.waiting(), window.holding()), (two, one));
        assert_eq!(Backlog::default().rest_of(window.room_beside()), one);
        let both = Backlog { holding: one, kept: two };
        assert_eq!(before.plus(both), Backlog { holding: two.plus(one), kept: two });
    }

    #[test]
    fn a_share_of_a_load_is_rounded_down() {
        let load = Load { items: 7, bytes: 100 };
        assert_eq!(load.divided_by(3), Load { items: 2, bytes: 33 });
        assert_eq!(load.divided_by(0), load, "for nobody in particular");
    }
}
