//! What a holder asks of the engine, and what it hears.

use std::{fmt, time::Instant};

use crate::relay::engine::{AppendError, EngineError, Head, Lease, Record};

/// The private id of a session: a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) String);

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid")
    }
}

/// Where a session is to be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) pid: Pid,
    pub(crate) offset: String,
}

/// What is to be asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Holder,
    Acquire,
    Renew(Lease),
    Release(Lease),
    Head,
    Append { behind: u64, record: Record },
    Ticket,
    KeepTicket { fence: u64, pid: Pid },
}

/// The engine's answer to the question of the same name.
#[derive(Debug)]
pub(crate) enum Answer {
    Holder(Result<Option<String>, EngineError>),
    Acquire(Result<Option<Lease>, EngineError>),
    Renew(Result<Option<Lease>, EngineError>),
    Release(Result<(), EngineError>),
    Head(Result<Option<Head>, EngineError>),
    Append(Result<u64, AppendError>),
    Ticket(Result<Option<Pid>, EngineError>),
    KeepTicket(Result<(), EngineError>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Holder,
    Acquire,
    Renew,
    Release,
    Head,
    Append,
    Ticket,
    KeepTicket,
}

/// An open question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) began: Instant,
}

impl Answer {
    /// To which question it is, and the failure of the engine, if it is one.
    pub(super) fn outcome(&self) -> (Kind, Option<&EngineError>) {
        match self {
            Self::Holder(answer) => (Kind::Holder, answer.as_ref().err()),
            Self::Acquire(answer) => (Kind::Acquire, answer.as_ref().err()),
            Self::Renew(answer) => (Kind::Renew, answer.as_ref().err()),
            Self::Release(answer) => (Kind::Release, answer.as_ref().err()),
            Self::Head(answer) => (Kind::Head, answer.as_ref().err()),
            Self::Append(Err(AppendError::Engine(error))) => (Kind::Append, Some(error)),
            Self::Append(_) => (Kind::Append, None),
            Self::Ticket(answer) => (Kind::Ticket, answer.as_ref().err()),
            Self::KeepTicket(answer) => (Kind::KeepTicket, answer.as_ref().err()),
        }
    }
}

impl Kind {
    /// The answer where none came in time.
    pub(super) fn unanswered(self) -> Answer {
        let away = || EngineError::Away("it has not answered in time".to_owned());
        match self {
            Self::Holder => Answer::Holder(Err(away())),
            Self::Acquire => Answer::Acquire(Err(away())),
            Self::Renew => Answer::Renew(Err(away())),
            Self::Release => Answer::Release(Err(away())),
            Self::Head => Answer::Head(Err(away())),
            Self::Append => Answer::Append(Err(away().into())),
            Self::Ticket => Answer::Ticket(Err(away())),
            Self::KeepTicket => Answer::KeepTicket(Err(away())),
        }
    }
}
