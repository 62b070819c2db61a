//! Events on their way from the handles to a namespace.
//!
//! A message to an actor costs several times as much as adding an event to a list. So events that are
//! emitted before the actor gets to them form one batch, announced by one message. Any other message to
//! the actor [ends](EmitQueue::seal) the batch, so that everything arrives in order.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    actor::question::Question,
    backpressure::send_quota::SendPermit,
    proto::emit::{Emit, Offline},
};

/// An event to be sent, perhaps with a caller that waits for an answer.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) emit: Emit,
    pub(crate) permit: SendPermit,
    pub(crate) offline: Offline,
    pub(crate) question: Option<Box<Question>>,
}

/// The capacity that is kept for the next batch, in events: some 40 kB.
const MAX_SPARE: usize = 512;

/// Everything in the queue holds room of the quota, so there is no other bound.
#[derive(Debug, Default)]
pub(crate) struct EmitQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each of them is announced.
    batches: VecDeque<Vec<Submission>>,
    /// Empty: for the next batch.
    spare: Vec<Submission>,
    /// The last one takes more.
    is_open: bool,
    /// Nobody will take them.
    is_over: bool,
}

impl EmitQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event to the batch. `announce` is called for the first event of a batch. `false` if the
    /// actor is gone.
    pub(crate) fn push(&self, submission: Submission, announce: impl FnOnce()) -> bool {
        let mut state = self.state();
        if state.is_over {
            return false;
        }
        let is_open = std::mem::replace(&mut state.is_open, true);
        if let Some(batch) = state.batches.back_mut().filter(|_| is_open) {
            batch.push(submission);
        } else {
            let mut batch = std::mem::take(&mut state.spare);
            batch.push(submission);
            state.batches.push_back(batch);
            // Before anybody else can say something to the actor.
            announce();
        }
        true
    }

    /// Another message to the actor follows: events emitted after it form another batch.
    pub(crate) fn seal(&self) {
        self.state().is_open = false;
    }

    /// Takes the batch that was announced.
    pub(crate) fn take(&self) -> Vec<Submission> {
        let mut state = self.state();
        let batch = state.batches.pop_front().unwrap_or_default();
        state.is_open &= !state.batches.is_empty();
        batch
    }

    /// Takes back the capacity of a batch, for another one.
    pub(crate) fn give_back(&self, batch: Vec<Submission>) {
        if batch.is_empty() && batch.capacity() <= MAX_SPARE {
            self.state().spare = batch;
        }
    }

    /// The actor is gone.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_over = true;
        let batches = std::mem::take(&mut state.batches);
        drop(state);
        // The callers that wait for them are told, and may look in here.
        drop(batches);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backpressure::send_quota::{Limits, SendQuota};

    fn submission(send_quota: &Arc<SendQuota>, name: &str) -> Submission {
        let permit = send_quota.reserve(1).unwrap();
        let emit = Emit::new(name, ()).unwrap();
        Submission { emit, permit, offline: Offline::Buffer, question: None }
    }

    #[test]
    fn each_batch_is_announced_once_and_ends_with_what_else_is_said() {
        let send_quota = SendQuota::new(Limits { items: 10, bytes: 100, acks: 1 });
        let (emit_queue, announced) = (EmitQueue::default(), std::cell::Cell::new(0));
        let emit = |name| {
            emit_queue.push(submission(&send_quota, name), || announced.set(announced.get() + 1))
        };
        let taken = || -> Vec<String> {
            emit_queue.take().iter().map(|one| one.emit.name().to_owned()).collect()
        };
        assert!(emit("a") && emit("b"));
        assert_eq!(announced.get(), 1);
        emit_queue.seal();
        assert!(emit("c") && emit("d"));
        assert_eq!(announced.get(), 2);
        assert_eq!(taken(), ["a", "b"]);
        assert!(emit("e"));
        assert_eq!(announced.get(), 2, "the last batch is open still");
        assert_eq!(taken(), ["c", "d", "e"]);
        assert!(emit("f"));
        assert_eq!(announced.get(), 3);
        emit_queue.seal();
        assert_eq!(taken(), ["f"]);
        assert!(taken().is_empty());
        assert!(emit("g"));
        assert_eq!(announced.get(), 4);
        emit_queue.close();
        assert_eq!((send_quota.waiting(), send_quota.discarded()), (0, 7));
        assert!(!emit("h"));
        assert_eq!((announced.get(), send_quota.waiting()), (4, 0));
    }
}
