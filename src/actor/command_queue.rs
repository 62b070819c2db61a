//! The commands of the handles, on their way to the actor of a namespace.
//!
//! A mailbox has no bound, and an actor empties it before anything else of its arbiter runs. A thread that
//! is fast enough could keep it full for ever. So the commands of handles wait here, in order, and
//! the actor takes a bounded number of them in each turn. A message to an actor would also cost several times
//! as much.
//!
//! The queue is bounded: [events and answers](Command::Emit) hold room in the quota, other calls have [a
//! limit of their own](MAX_CALLS), and of several calls to join and to leave in a row, at most three are
//! kept.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::Duration,
};

use thiserror::Error;

use crate::{
    actor::{
        question::Question,
        subscribers::{NewSubscription, policy::SubscriptionId},
        waiters::ReadySender,
    },
    backpressure::send_quota::SendPermit,
    payload::Payload,
    proto::{
        emit::{Emit, Offline},
        room::give_back,
        ticket::SessionTicket,
    },
    runtime::task::Teller,
};

/// The most calls that wait, apart from events and answers. While the actor is busy with as many of
/// them, as many more may wait.
pub(crate) const MAX_CALLS: usize = 16_384;

/// The capacity that is kept for the next commands: some 60 kB.
const MAX_SPARE: usize = 512;

/// Too many calls wait for the namespace: those that [subscribe](crate::Socket::subscribe), wait until
/// it is [ready](crate::Socket::ready), ask for a [ticket](crate::Socket::session_ticket) or for the
/// [unsent](crate::Socket::take_unsent) events. This call had no effect. It can be made again as soon as the
/// arbiter of the client has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{MAX_CALLS} calls wait for the namespace already")]
#[non_exhaustive]
pub struct Busy;

/// What a handle of a namespace asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send an event.
    Emit(Submission),
    /// Answer the server.
    Answer(Answer),
    /// Begin a subscription.
    Subscribe(Box<NewSubscription>),
    /// End a subscription. Comes once for each.
    Cancel(SubscriptionId),
    /// Tell the caller when the namespace is joined, or that it was not joined in time.
    AwaitReady { waiter: ReadySender, timeout: Duration },
    /// Give back what was not sent.
    TakeUnsent(Teller<Vec<Emit>>),
    /// Give a ticket to continue this session elsewhere.
    GiveTicket(Teller<Option<SessionTicket>>),
    /// Join again, unless the namespace is joined or being joined.
    Rejoin { intent_seq: u64 },
    /// Leave.
    Disconnect { intent_seq: u64 },
}

/// An event to be sent, perhaps with a caller that waits for an answer.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) emit: Emit,
    pub(crate) permit: SendPermit,
    pub(crate) offline: Offline,
    pub(crate) question: Option<Box<Question>>,
}

/// The answer to the event with this id, which came in the session with the number
/// `join_id`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) join_id: u64,
    pub(crate) id: u64,
    pub(crate) payload: Payload,
    pub(crate) permit: SendPermit,
}

/// Why a command is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many calls wait.
    Busy,
    /// The actor is gone.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct CommandQueue {
    state: Mutex<State>,
    /// Whether something waits, and the actor has been woken for it.
    is_announced: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Command>,
    /// How many of the commands are calls.
    calls: usize,
    /// Wakes the actor. `None` until the actor has run.
    waker: Option<Waker>,
    /// Whether the actor takes no more commands.
    is_over: bool,
}

impl State {
    fn admit(&mut self, command: &Command) -> Result<(), Refused> {
        if self.is_over {
            return Err(Refused::Gone);
        }
        match command {
            Command::Emit(_) | Command::Answer(_) | Command::Cancel(_) => {}
            Command::Subscribe(_)
            | Command::AwaitReady { .. }
            | Command::TakeUnsent(_)
            | Command::GiveTicket(_) => {
                if self.calls >= MAX_CALLS {
                    return Err(Refused::Busy);
                }
                self.calls = self.calls.saturating_add(1);
            }
            Command::Disconnect { .. } => self.fold(
                |last| matches!(last, Command::Disconnect { .. }),
                |last| matches!(last, Command::Rejoin { .. }),
            ),
            Command::Rejoin { .. } => self.fold(
                |last| matches!(last, Command::Rejoin { .. }),
                |last| matches!(last, Command::Disconnect { .. }),
            ),
        }
        Ok(())
    }

    /// Another call to join or to leave has come. Two of the same in a row count as one; and of calls that
    /// undo each other, three in a row are kept, so that a request to join that is withdrawn is still
    /// reported.
    fn fold(&mut self, is_same: impl Fn(&Command) -> bool, is_opposite: impl Fn(&Command) -> bool) {
        if self.waiting.back().is_some_and(&is_same) {
            self.waiting.pop_back();
        }
        let mut last = self.waiting.iter().rev();
        let undoes = last.next().is_some_and(&is_opposite)
            && last.next().is_some_and(&is_same)
            && last.next().is_some_and(&is_opposite);
        if undoes {
            self.waiting.pop_back();
            self.waiting.pop_back();
        }
    }
}

impl CommandQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command at the end, and wakes the actor.
    pub(crate) fn push(&self, command: Command) -> Result<(), Refused> {
        let mut state = self.state();
        state.admit(&command)?;
        state.waiting.push_back(command);
        if self.is_announced.load(Relaxed) {
            return Ok(());
        }
        self.is_announced.store(true, Release);
        let waker = state.waker.clone();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Sets the waker that wakes the actor from now on.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let old = self.state().waker.replace(waker.clone());
        drop(old);
    }

    /// Whether something waits, and the actor has been woken for it.
    pub(crate) fn has_some(&self) -> bool {
        self.is_announced.load(Acquire)
    }

    /// Appends all waiting commands to `into`. If that is empty, its capacity is used for the next ones.
    pub(crate) fn take(&self, into: &mut VecDeque<Command>) {
        if !self.has_some() {
            return;
        }
        if into.is_empty() && into.capacity() > MAX_SPARE {
            *into = VecDeque::new();
        }
        let mut state = self.state();
        self.is_announced.store(false, Relaxed);
        state.calls = 0;
        if into.is_empty() {
            std::mem::swap(into, &mut state.waiting);
        } else {
            into.append(&mut state.waiting);
        }
    }

    /// Gives the room for commands back, if none waits.
    pub(crate) fn rest(&self) {
        give_back(&mut self.state().waiting);
    }

    /// The actor takes no more. What waits is dropped, and callers that wait for it are told.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_over = true;
        let (waiting, waker) = (std::mem::take(&mut state.waiting), state.waker.take());
        drop(state);
        // Dropping them wakes tasks, which may use this queue.
        drop((waiting, waker));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
    };

    use super::*;
    use crate::{
        backpressure::send_quota::{Limits, SendQuota},
        runtime::task,
    };

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn submission(send_quota: &Arc<SendQuota>, name: &str) -> Command {
        let permit = send_quota.reserve(1).unwrap();
        let emit = Emit::new(name, ()).unwrap();
        Command::Emit(Submission { emit, permit, offline: Offline::Buffer, question: None })
    }

    fn ticket() -> Command {
        Command::GiveTicket(task::channel().0)
    }

    fn taken(queue: &CommandQueue) -> Vec<String> {
        let mut commands = VecDeque::new();
        queue.take(&mut commands);
        let name = |command: &Command| match command {
            Command::Emit(submission) => submission.emit.name().to_owned(),
            Command::Cancel(number) => format!("cancel {}", number.0),
            Command::GiveTicket(_) => "ticket".to_owned(),
            Command::Rejoin { intent_seq } => format!("join {intent_seq}"),
            Command::Disconnect { intent_seq } => format!("leave {intent_seq}"),
            other => panic!("{other:?}"),
        };
        commands.iter().map(name).collect()
    }

    #[test]
    fn the_actor_is_woken_once_for_all_that_waits_and_gets_it_in_order() {
        let send_quota = SendQuota::new(Limits { items: 10, bytes: 100, acks: 1 });
        let (queue, woken) = (CommandQueue::default(), Arc::<Woken>::default());
        let count = || woken.0.load(Relaxed);
        let emit = |name| queue.push(submission(&send_quota, name));
        emit("a").unwrap();
        queue.set_waker(&Arc::clone(&woken).into());
        queue.push(Command::Cancel(SubscriptionId(7))).unwrap();
        emit("b").unwrap();
        assert_eq!(count(), 0, "it looks when it says how it is woken");
        assert_eq!(taken(&queue), ["a", "cancel 7", "b"]);
        assert!(taken(&queue).is_empty());
        emit("c").unwrap();
        emit("d").unwrap();
        assert_eq!(count(), 1);
        assert_eq!(taken(&queue), ["c", "d"]);
        emit("e").unwrap();
        assert_eq!(count(), 2);
        queue.close();
        assert_eq!((send_quota.waiting(), send_quota.discarded()), (0, 5));
        assert_eq!(emit("f"), Err(Refused::Gone));
        assert_eq!((count(), send_quota.waiting()), (2, 0));
    }

    #[test]
    fn room_for_commands_is_given_back_if_none_waits() {
        let (queue, mut commands) = (CommandQueue::default(), VecDeque::new());
        let room = || queue.state().waiting.capacity();
        queue.push(ticket()).unwrap();
        queue.rest();
        assert!(room() > 0, "one waits");
        queue.take(&mut commands);
        commands.clear();
        queue.push(ticket()).unwrap();
        queue.take(&mut commands);
        assert!(room() > 0);
        queue.rest();
        assert_eq!(room(), 0);
    }

    #[test]
    fn what_comes_later_is_behind_what_was_taken_before() {
        let (queue, mut commands) = (CommandQueue::default(), VecDeque::new());
        for number in 0..3 {
            queue.push(Command::Cancel(SubscriptionId(number))).unwrap();
            queue.take(&mut commands);
        }
        let numbers = commands.iter().map(|command| match command {
            Command::Cancel(SubscriptionId(number)) => *number,
            other => panic!("{other:?}"),
        });
        assert!(numbers.eq(0..3));
    }

    #[test]
    fn calls_are_bounded_and_events_have_a_bound_of_their_own() {
        let send_quota = SendQuota::new(Limits { items: 10, bytes: 100, acks: 1 });
        let queue = CommandQueue::default();
        for _ in 0..MAX_CALLS {
            queue.push(ticket()).unwrap();
        }
        assert_eq!(queue.push(ticket()), Err(Refused::Busy));
        queue.push(submission(&send_quota, "a")).unwrap();
        assert_eq!(queue.push(ticket()), Err(Refused::Busy));
        assert_eq!(taken(&queue).len(), MAX_CALLS + 1);
        queue.push(ticket()).unwrap();
    }

    #[test]
    fn of_calls_to_join_and_to_leave_in_a_row_a_few_count() {
        let queue = CommandQueue::default();
        let leave = |intent_seq| queue.push(Command::Disconnect { intent_seq }).unwrap();
        let join = |intent_seq| queue.push(Command::Rejoin { intent_seq }).unwrap();
        for intent_seq in 0..1_000 {
            leave(2 * intent_seq);
            join(2 * intent_seq + 1);
        }
        assert_eq!(taken(&queue), ["leave 0", "join 1999"]);
        join(1);
        join(2);
        assert_eq!(taken(&queue), ["join 2"]);
        join(1);
        leave(2);
        leave(3);
        assert_eq!(taken(&queue), ["join 1", "leave 3"]);
        leave(1);
        join(2);
        leave(3);
        assert_eq!(taken(&queue), ["leave 1", "join 2", "leave 3"]);
        leave(1);
        queue.push(ticket()).unwrap();
        leave(2);
        assert_eq!(taken(&queue), ["leave 1", "ticket", "leave 2"]);
    }
}
