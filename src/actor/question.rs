//! A question to the server, and the caller that waits for the answer.

use std::{fmt, time::Duration};

use crate::{
    backpressure::send_quota::AckPermit, payload::Payload, proto::error::AckError,
    runtime::task::Teller,
};

/// How long a caller waits for an answer, and how often the event is sent again.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) waiter: Asker,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    /// The id by which the server recognises repeats, in JSON.
    pub(crate) id: Option<String>,
}

/// The caller that waits for an answer, and the room that it holds.
#[derive(Debug)]
pub(crate) struct Asker {
    waiter: Waiter,
    _room: AckPermit,
}

#[derive(Debug)]
pub(crate) enum Waiter {
    Handle(Teller<Result<Payload, AckError>>),
    Other(Box<dyn Settle>),
}

/// Another kind of waiter, such as the server on the other side of a bridge.
pub(crate) trait Settle: fmt::Debug + Send {
    fn settle(self: Box<Self>, outcome: Result<Payload, AckError>);
}

impl Asker {
    pub(crate) fn new(waiter: Waiter, room: AckPermit) -> Self {
        Self { waiter, _room: room }
    }

    pub(crate) fn settle(self, outcome: Result<Payload, AckError>) {
        match self.waiter {
            Waiter::Handle(sender) => sender.tell(outcome),
            Waiter::Other(other) => other.settle(outcome),
        }
    }
}
