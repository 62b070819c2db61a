//! Room that queues have taken.

use std::collections::VecDeque;

/// Gives the room of an empty queue back: a queue keeps as much as its longest burst has needed, and many
/// connections are idle most of the time. Not for each turn, since the next item takes the room again.
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}
