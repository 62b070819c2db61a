//! The commands of the handles, of which a turn executes a bounded amount.

use std::time::Duration;

use super::Namespace;
use crate::{
    actor::{
        command_queue::{Answer, Command, Submission},
        messages::lend_batch,
        question::Question,
        waiters::{ReadyError, ReadySender},
    },
    backpressure::send_quota::SendPermit,
    proto::{
        deadline::deadline_after,
        emit::{Emit, Offline},
        error::EmitError,
        namespace,
        reason::Reason,
    },
    runtime::{clock, task::Teller},
};

/// The most events of the handles that are handled in one turn. Other commands count for more.
const MAX_TURN: usize = 512;

/// How much work a command was: its share of [`MAX_TURN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// The work of an event, which does not depend on how many there are.
    Small,
    /// The work of a subscription, which has more parts; it does not depend on how many there are.
    Medium,
    /// As much work as there is in the buffer: enough for one turn.
    Large,
}

impl Effort {
    fn part(self) -> usize {
        match self {
            Self::Small => 1,
            Self::Medium => 8,
            Self::Large => MAX_TURN,
        }
    }
}

impl Namespace {
    /// Executes commands of the handles, as many as fit in one turn. `true` if there are more, here or
    /// in the queue: a command that came while some were left here has used up its wake-up.
    pub(super) fn obey(&mut self) -> bool {
        if self.commands.is_empty() {
            self.reference.command_queue.take(&mut self.commands);
            if self.commands.is_empty() {
                return false;
            }
        }
        if self.core.is_joined() {
            self.core.transmit_into(lend_batch);
        }
        let mut done: usize = 0;
        while done < MAX_TURN
            && let Some(command) = self.commands.pop_front()
        {
            done = done.saturating_add(self.execute(command).part());
        }
        self.publish();
        !self.commands.is_empty() || self.reference.command_queue.has_some()
    }

    /// Executes all commands that have come so far.
    pub(super) fn obey_all(&mut self) {
        self.reference.command_queue.take(&mut self.commands);
        while let Some(command) = self.commands.pop_front() {
            self.execute(command);
        }
        self.publish();
    }

    #[inline]
    fn execute(&mut self, command: Command) -> Effort {
        match command {
            Command::Emit(submission) => self.submit(submission),
            Command::Answer(answer) => self.answer(answer),
            Command::Subscribe(subscription) => {
                self.publisher.subscribe(*subscription);
                return Effort::Medium;
            }
            Command::Cancel(number) => {
                self.publisher.cancel(number);
                return Effort::Medium;
            }
            Command::AwaitReady { waiter, timeout } => self.await_ready(waiter, timeout),
            Command::GiveTicket(waiter) => waiter.tell(self.ticket()),
            Command::TakeUnsent(waiter) => {
                self.take_unsent(waiter);
                return Effort::Large;
            }
            Command::Rejoin { intent_seq } => {
                self.rejoin(intent_seq);
                return Effort::Large;
            }
            Command::Disconnect { intent_seq } => {
                self.disconnect(intent_seq);
                return Effort::Large;
            }
        }
        Effort::Small
    }

    #[inline]
    pub(super) fn emit(
        &mut self,
        emit: Emit,
        permit: SendPermit,
        offline: Offline,
        question: Option<Box<Question>>,
    ) -> Result<(), EmitError> {
        let terms = emit.terms.as_deref();
        let lifetime = terms.and_then(|terms| terms.lifetime).or_else(|| offline.lifetime());
        let expires = lifetime.map(|lifetime| deadline_after(clock::now(), lifetime));
        let ack = question.map(|question| {
            let Question { waiter, timeout, retries, id } = *question;
            let since = clock::now();
            namespace::PendingAck { waiter, since, timeout, retries, id }
        });
        let permit = Some(permit);
        self.core.emit(namespace::Request { emit, permit, offline, expires, ack })
    }

    #[inline]
    fn submit(&mut self, submission: Submission) {
        let Submission { emit, permit, offline, question } = submission;
        let waits = question.is_some();
        if let Err(error) = self.emit(emit, permit, offline, question)
            && !waits
        {
            // The namespace ended, or lost its connection, while the event was on its way here.
            self.journal.not_sent(&error);
        }
    }

    fn take_unsent(&mut self, waiter: Teller<Vec<Emit>>) {
        waiter.tell(self.core.take_unsent(&EmitError::Discarded));
        self.publish();
    }

    fn answer(&mut self, answer: Answer) {
        let Answer { join_id, id, payload, permit } = answer;
        if !self.core.answer(join_id, id, payload, Some(permit)) {
            self.journal.late_answer();
        }
    }

    fn await_ready(&mut self, waiter: ReadySender, timeout: Duration) {
        let outcome = match (self.publisher.ready(), self.core.ended()) {
            (Some(ready), _) => Ok(ready.clone()),
            (None, Some(reason)) => Err(ReadyError::Ended(reason.clone())),
            (None, None) => {
                let deadline = deadline_after(clock::now(), timeout);
                return self.waiters.add(deadline, waiter, self.failure.in_the_way());
            }
        };
        waiter.tell(outcome);
    }

    fn rejoin(&mut self, intent_seq: u64) {
        self.intent_seq = self.intent_seq.max(intent_seq);
        if self.core.ended().is_some() {
            self.failure.forgive();
        }
        let unconnected = self.core.join(clock::now());
        self.publish();
        if unconnected {
            self.ask_to_join();
        }
    }

    fn disconnect(&mut self, intent_seq: u64) {
        self.intent_seq = self.intent_seq.max(intent_seq);
        let had_ended = self.core.ended().is_some();
        self.leave(Reason::ClientDisconnect);
        if had_ended {
            // It was joined again and left again before anything happened: tells the callers that wait for it.
            self.core.strand();
        }
    }
}
