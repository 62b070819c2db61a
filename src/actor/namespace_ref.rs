//! A reference to a namespace: its address, its quota for outgoing events, its status.

use std::sync::Arc;

use actix::{Addr, Recipient};

use crate::{
    actor::{
        command_queue::{Busy, Command, CommandQueue, Refused, Submission},
        messages::FromNamespace,
        namespace::Namespace,
        question::Question,
        settings::Settings,
        status::NamespaceStatus,
    },
    backpressure::send_quota::{SendPermit, SendQuota},
    display::Name,
    logs::repeated,
    middleware::{Chain, Flow},
    payload::{AMBIGUOUS, Payload},
    proto::{
        emit::{Emit, Offline, check_name},
        engine::Protocol,
        error::EmitError,
        namespace,
        packet::Parser,
        reason::Reason,
    },
};

/// A reference to a namespace, for handles and responders on any thread.
#[derive(Debug)]
pub(crate) struct NamespaceRef {
    pub(crate) name: Arc<Name>,
    pub(crate) parser: Parser,
    pub(crate) max_attachments: usize,
    pub(crate) send_quota: Arc<SendQuota>,
    pub(crate) status: NamespaceStatus,
    pub(crate) chain: Chain,
    pub(crate) command_queue: CommandQueue,
    pub(crate) addr: Addr<Namespace>,
}

/// An event that was accepted.
pub(crate) enum Admitted {
    /// It will be sent.
    Room(Emit, SendPermit),
    /// A middleware has answered it.
    Answered(Payload),
}

/// Why the server would not accept an event or an answer.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It came from a server with another parser, and cannot be encoded for this one.
    Ambiguous,
    TooManyAttachments {
        count: usize,
        limit: usize,
    },
    /// Sizes in bytes.
    TooLarge {
        size: u64,
        limit: u64,
    },
}

impl From<Unfit> for EmitError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Ambiguous => Self::Encode(AMBIGUOUS.to_owned()),
            Unfit::TooManyAttachments { count, limit } => Self::TooManyAttachments { count, limit },
            Unfit::TooLarge { size, limit } => Self::PayloadTooLarge { size, limit },
        }
    }
}

impl NamespaceRef {
    /// The reference to the actor at this address, which has these settings.
    pub(crate) fn new(settings: &Settings, addr: Addr<Namespace>) -> Self {
        let namespace = settings.core.namespace.clone();
        let client = settings.core.config.name.clone();
        let (name, parser) = (Arc::new(Name { client, namespace }), settings.core.config.parser);
        let max_attachments = settings.core.config.limits.attachments;
        let (list, counters) = (settings.middleware.clone(), Arc::clone(&settings.counters));
        let send_quota = SendQuota::new(settings.outgoing);
        let (status, command_queue) = (NamespaceStatus::default(), CommandQueue::default());
        let chain = Chain::new(list, Arc::clone(&name), counters);
        Self { name, parser, max_attachments, send_quota, status, chain, command_queue, addr }
    }

    /// Asks the actor to do something, after everything that was asked for before.
    pub(crate) fn tell(&self, command: Command) -> Result<(), Refused> {
        self.command_queue.push(command)
    }

    /// A subscription was refused, since too many calls wait.
    pub(crate) fn warn_of_refused(&self) {
        let name = &self.name;
        repeated!(log::Level::Warn, name, "{Busy}: a subscription was refused");
    }

    /// Updates the status from the core, when the actor has reached intent number `seen`.
    pub(crate) fn update<W>(&self, core: &namespace::Namespace<W>, seen: u64) {
        if self.status.update(core, seen) {
            self.send_quota.turn_away();
        }
    }

    /// Why the namespace has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Reason> {
        self.status.reason().or_else(|| (!self.addr.connected()).then_some(Reason::Shutdown))
    }

    /// Marks the namespace as ended (or not) at once. The command that makes it so has the
    /// number of that intent.
    pub(crate) fn note_intent(&self, reason: Option<&Reason>) -> u64 {
        let intent_seq = self.status.note_intent(reason);
        if reason.is_some() {
            self.send_quota.turn_away();
        }
        intent_seq
    }

    /// Checks that the server accepts an event or an answer with this payload. `id` is that of the ack,
    /// if it is known: the actor gives each event its own.
    pub(crate) fn check(&self, id: Option<u64>, payload: &Payload) -> Result<(), Unfit> {
        if self.parser == Parser::Json && payload.is_ambiguous_as_text() {
            return Err(Unfit::Ambiguous);
        }
        // A server with msgpack accepts any number.
        let (count, limit) = (payload.attachments().len(), self.max_attachments);
        if self.parser == Parser::Json && count > limit {
            return Err(Unfit::TooManyAttachments { count, limit });
        }
        let Some(limit) = self.status.max_payload() else { return Ok(()) };
        let namespace = &self.name.namespace;
        match self.parser.exceeds(Protocol::Eio4, namespace, id, payload, limit) {
            Some(size) => Err(Unfit::TooLarge { size, limit }),
            None => Ok(()),
        }
    }

    /// Sends an event through the middleware.
    pub(crate) fn pass(&self, emit: Emit) -> Flow<Emit> {
        if self.chain.is_empty() {
            return Flow::Next(emit);
        }
        self.chain.outgoing(&self.name.namespace, emit)
    }

    /// Sends an event through the middleware, and takes room for the result.
    pub(crate) fn take(&self, emit: Emit, offline: Offline) -> Result<Admitted, EmitError> {
        if self.chain.is_empty() {
            let permit = self.admit(&emit, offline)?;
            return Ok(Admitted::Room(emit, permit));
        }
        match self.pass(emit.clone()) {
            Flow::Next(passed) => match self.admit(&passed, offline) {
                Ok(permit) => Ok(Admitted::Room(passed, permit)),
                // If it is sent again, it passes the middleware again.
                Err(EmitError::Full(_)) => Err(EmitError::Full(emit)),
                Err(error) => Err(error),
            },
            Flow::Drop(reason) => Err(EmitError::Middleware(reason.into_owned())),
            Flow::Answer(payload) => Ok(Admitted::Answered(payload)),
        }
    }

    /// Sends the actor an event that was accepted.
    pub(crate) fn post(
        &self,
        emit: Emit,
        permit: SendPermit,
        offline: Offline,
        question: Option<Question>,
    ) -> Result<(), EmitError> {
        let submission = Submission { emit, permit, offline, question: question.map(Box::new) };
        // An event has its room already.
        self.tell(Command::Emit(submission)).map_err(|_| EmitError::Closed(Reason::Shutdown))
    }

    /// Takes room for an event, or returns why there is none.
    pub(crate) fn admit(&self, emit: &Emit, offline: Offline) -> Result<SendPermit, EmitError> {
        // An event of the server may have any name, and may be turned into one to be emitted.
        check_name(emit.name())?;
        if let Some(reason) = self.ended() {
            return Err(EmitError::Closed(reason));
        }
        if offline == Offline::Fail && !self.status.has_begun() {
            return Err(EmitError::Offline);
        }
        self.check(None, &emit.payload)?;
        self.send_quota.reserve(emit.size()).ok_or_else(|| EmitError::Full(emit.clone()))
    }

    /// The address that takes events as messages.
    pub(crate) fn recipient(&self) -> Recipient<Emit> {
        self.addr.clone().recipient()
    }

    /// The message that asks the Connection to join the namespace.
    pub(crate) fn join(&self) -> FromNamespace {
        let namespace = self.name.namespace.clone();
        FromNamespace::Join { namespace, addr: self.addr.clone().recipient() }
    }
}
