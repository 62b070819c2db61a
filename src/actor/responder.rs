//! The right to answer an event of the server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    actor::{
        command_queue::{Answer, Command},
        namespace_ref::{NamespaceRef, Unfit},
    },
    display::Name,
    message::answer::{AnswerError, Respond},
    payload::{AMBIGUOUS, Payload},
};

/// Goes with each event that asks for an answer.
#[derive(Debug)]
pub(crate) struct Responder {
    namespace: Arc<NamespaceRef>,
    /// The session in which the event came; see
    /// [`NamespaceStatus::join_id`](crate::actor::status::NamespaceStatus::join_id).
    join_id: u64,
    id: u64,
    used: AtomicBool,
}

impl Responder {
    pub(crate) fn new(namespace: &Arc<NamespaceRef>, join_id: u64, id: u64) -> Self {
        Self { namespace: Arc::clone(namespace), join_id, id, used: AtomicBool::new(false) }
    }
}

impl Respond for Responder {
    fn answer(&self, payload: Payload) -> Result<(), AnswerError> {
        if self.namespace.status.join_id() != Some(self.join_id) {
            return Err(AnswerError::Closed);
        }
        self.namespace.check(Some(self.id), &payload)?;
        if self.used.swap(true, Ordering::AcqRel) {
            return Err(AnswerError::AlreadyAnswered);
        }
        let Some(permit) = self.namespace.send_quota.reserve_answer(payload.size()) else {
            self.used.store(false, Ordering::Release);
            return Err(AnswerError::Full);
        };
        let answer = Answer { join_id: self.join_id, id: self.id, payload, permit };
        self.namespace.tell(Command::Answer(answer)).map_err(|_| AnswerError::Closed)
    }

    fn name(&self) -> &Name {
        &self.namespace.name
    }
}

impl From<Unfit> for AnswerError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Ambiguous => Self::Encode(AMBIGUOUS.to_owned()),
            Unfit::TooManyAttachments { count, limit } => Self::TooManyAttachments { count, limit },
            Unfit::TooLarge { size, limit } => Self::PayloadTooLarge { size, limit },
        }
    }
}
