//! The share of a namespace in the window.

use std::sync::Arc;

use crate::backpressure::receive_window::{Backlog, Load, ReceiveWindow};

/// The room that a namespace, or a message for it, holds in the window. It is given back on drop, so a
/// message to a dead actor holds none.
#[derive(Debug)]
pub(crate) struct Held {
    window: Arc<ReceiveWindow>,
    backlog: Backlog,
}

impl Held {
    /// Holds nothing yet.
    pub(crate) fn new(window: Arc<ReceiveWindow>) -> Self {
        Self { window, backlog: Backlog::default() }
    }

    /// How much more may be kept beside the window.
    pub(crate) fn room_beside(&self) -> Load {
        self.window.room_beside()
    }

    /// The load that was added to the window.
    pub(crate) fn added(window: &Arc<ReceiveWindow>, load: Load) -> Self {
        let backlog = Backlog { holding: load, ..Backlog::default() };
        Self { window: Arc::clone(window), backlog }
    }

    pub(crate) fn take(&mut self, mut other: Self) {
        self.backlog = self.backlog.plus(std::mem::take(&mut other.backlog));
    }

    /// Holds `now` instead. `true` if the Connection must be told that there is room.
    pub(crate) fn turn_into(&mut self, now: Backlog) -> bool {
        let before = std::mem::replace(&mut self.backlog, now);
        before != now && self.window.replace(before, now)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.turn_into(Backlog::default());
    }
}
