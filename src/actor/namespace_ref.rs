//! The way to a namespace from outside: its address, its room for outgoing events, its status.
//!
//! The status is what handles can know without asking. Two write it: the actor, what is; and the
//! handles, in advance, what they have just asked for, so that the next call sees it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actix::{Addr, Context, Handler, Message, dev::ToEnvelope};
use bytestring::ByteString;

use crate::{
    actor::{
        connection::{self, Connection},
        emit_queue::{EmitQueue, Submission},
        namespace::{Namespace, Question, Submitted},
    },
    backpressure::send_quota::{SendPermit, SendQuota},
    error::{EmitError, Reason},
    middleware::{Chain, Flow},
    payload::{AMBIGUOUS, Payload},
    proto::{
        emit::{Emit, Offline, check_name},
        engine::Protocol,
        namespace,
        packet::Parser,
    },
};

/// What a namespace is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// `host:port` of its connection.
    pub(crate) link: ByteString,
    pub(crate) namespace: ByteString,
}

/// For logs: a process may have many connections, and each a `/`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, namespace } = self;
        write!(f, "{link}{namespace}")
    }
}

/// The way to a namespace for handles and responders, on any thread.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceRef {
    pub(crate) name: Name,
    pub(crate) parser: Parser,
    pub(crate) max_attachments: usize,
    pub(crate) send_quota: Arc<SendQuota>,
    pub(crate) status: Arc<Status>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) posts: Arc<EmitQueue>,
    pub(crate) addr: Addr<Namespace>,
}

/// An event that is taken.
pub(crate) enum Admitted {
    /// To be sent.
    Room(Emit, SendPermit),
    /// A middleware knows the answer.
    Answered(Payload),
}

/// What the handles can know without asking the actor.
#[derive(Debug, Default)]
pub(crate) struct Status {
    has_ended: AtomicBool,
    told: Mutex<Told>,
    /// Counts the times that the namespace was joined, or tried to be; 0 while it is not.
    join_id: AtomicU64,
    is_joined: AtomicBool,
    /// The server has let this client in: it is joined, or the server's first events came before its
    /// answer.
    has_begun: AtomicBool,
    /// The server adds an argument of its own to events.
    is_stamped: AtomicBool,
    /// The largest message that the server takes, in bytes; 0 as long as that is not known.
    max_payload: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    reason: Option<Reason>,
    /// Counts what handles have noted in advance, by [`NamespaceRef::note_intent`]. The actor leaves the
    /// reason alone until it has come to the message behind the last one.
    intent_seq: u64,
}

impl Status {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> Option<Reason> {
        if !self.has_ended.load(Ordering::Acquire) {
            return None;
        }
        self.told().reason.clone()
    }

    /// What a handle notes, before the actor gets to its message. Nothing follows a shutdown.
    fn note_intent(&self, reason: Option<&Reason>) -> u64 {
        let mut told = self.told();
        told.intent_seq = told.intent_seq.wrapping_add(1);
        if told.reason != Some(Reason::Shutdown) {
            told.reason = reason.cloned();
            self.has_ended.store(reason.is_some(), Ordering::Release);
        }
        told.intent_seq
    }

    /// Whether that changed it.
    fn update(&self, reason: Option<&Reason>, seen: u64) -> bool {
        if reason.is_none() && !self.has_ended.load(Ordering::Acquire) {
            return false;
        }
        let mut told = self.told();
        let changes = told.intent_seq == seen
            && told.reason != Some(Reason::Shutdown)
            && told.reason.as_ref() != reason;
        if changes {
            told.reason = reason.cloned();
            self.has_ended.store(reason.is_some(), Ordering::Release);
        }
        changes
    }
}

impl NamespaceRef {
    /// Sends a message to the actor. `false` if it is gone.
    pub(crate) fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Namespace: Handler<M>,
        Context<Namespace>: ToEnvelope<Namespace, M>,
    {
        let alive = self.addr.connected();
        if alive {
            self.posts.seal();
            self.addr.do_send(message);
        }
        alive
    }

    /// What the actor knows, when it has come to intent number `seen`.
    pub(crate) fn update<W>(&self, core: &namespace::Namespace<W>, seen: u64) {
        self.status.join_id.store(core.join_id().unwrap_or(0), Ordering::Release);
        self.status.is_joined.store(core.is_joined(), Ordering::Release);
        self.status.has_begun.store(core.has_begun(), Ordering::Release);
        self.status.max_payload.store(core.max_payload().unwrap_or(0), Ordering::Release);
        self.status.is_stamped.store(core.recovery().is_some(), Ordering::Release);
        if self.status.update(core.ended(), seen) {
            self.send_quota.turn_away();
        }
    }

    /// Whether the server adds an argument of its own to events.
    pub(crate) fn is_stamped(&self) -> bool {
        self.status.is_stamped.load(Ordering::Acquire)
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.status.is_joined.load(Ordering::Acquire)
    }

    /// The largest message that the server takes, in bytes, while that is known.
    pub(crate) fn max_payload(&self) -> Option<u64> {
        Some(self.status.max_payload.load(Ordering::Acquire)).filter(|&limit| limit != 0)
    }

    /// Counts the times that the namespace was joined, while it is. The server numbers its questions anew
    /// with each of them.
    pub(crate) fn join_id(&self) -> Option<u64> {
        Some(self.status.join_id.load(Ordering::Acquire)).filter(|&join_id| join_id != 0)
    }

    /// Why the namespace is neither joined nor to be joined, if so.
    pub(crate) fn ended(&self) -> Option<Reason> {
        self.status.reason().or_else(|| (!self.addr.connected()).then_some(Reason::Shutdown))
    }

    /// Marks the namespace as ended (or not) at once. The message that makes it so carries the
    /// number of that intent.
    pub(crate) fn note_intent(&self, reason: Option<&Reason>) -> u64 {
        let intent_seq = self.status.note_intent(reason);
        if reason.is_some() {
            self.send_quota.turn_away();
        }
        intent_seq
    }

    /// The size of an event or an answer and the server's limit, if the one is known to exceed the
    /// other. The actor knows the number of a question as well.
    pub(crate) fn exceeded(&self, id: Option<u64>, payload: &Payload) -> Option<(u64, u64)> {
        let limit = self.max_payload()?;
        let size = self.parser.exceeds(Protocol::Eio4, &self.name.namespace, id, payload, limit)?;
        Some((size, limit))
    }

    /// How many attachments there are, if these are more than the server takes. One with msgpack takes
    /// any number.
    pub(crate) fn too_many_attachments(&self, payload: &Payload) -> Option<usize> {
        let count = payload.attachments().len();
        (self.parser == Parser::Json && count > self.max_attachments).then_some(count)
    }

    /// Whether it came from a server with another parser, and cannot be said in this one.
    pub(crate) fn is_ambiguous(&self, payload: &Payload) -> bool {
        self.parser == Parser::Json && payload.is_ambiguous_as_text()
    }

    /// Has an event pass the middleware.
    pub(crate) fn pass(&self, emit: Emit) -> Flow<Emit> {
        if self.chain.is_empty() {
            return Flow::Next(emit);
        }
        self.chain.outgoing(&self.name.namespace, emit)
    }

    /// Has an event pass the middleware, and takes room for what comes out.
    pub(crate) fn take(&self, emit: Emit, offline: Offline) -> Result<Admitted, EmitError> {
        if self.chain.is_empty() {
            let permit = self.admit(&emit, offline)?;
            return Ok(Admitted::Room(emit, permit));
        }
        match self.pass(emit.clone()) {
            Flow::Next(passed) => match self.admit(&passed, offline) {
                Ok(permit) => Ok(Admitted::Room(passed, permit)),
                // Who sends it again has it pass again.
                Err(EmitError::Full(_)) => Err(EmitError::Full(emit)),
                Err(error) => Err(error),
            },
            Flow::Drop(reason) => Err(EmitError::Middleware(reason.into_owned())),
            Flow::Answer(payload) => Ok(Admitted::Answered(payload)),
        }
    }

    /// Sends the actor an event that was taken.
    pub(crate) fn post(
        &self,
        emit: Emit,
        permit: SendPermit,
        offline: Offline,
        question: Option<Question>,
    ) -> Result<(), EmitError> {
        let post = Submission { emit, permit, offline, question: question.map(Box::new) };
        let taken = self.posts.push(post, || self.addr.do_send(Submitted {}));
        taken.then_some(()).ok_or(EmitError::Closed(Reason::Shutdown))
    }

    /// Room for an event, or why it is not taken.
    pub(crate) fn admit(&self, emit: &Emit, offline: Offline) -> Result<SendPermit, EmitError> {
        // An event of the server may have any name, and come back as one to be emitted.
        check_name(emit.name())?;
        if let Some(reason) = self.ended() {
            return Err(EmitError::Closed(reason));
        }
        if offline == Offline::Fail && !self.status.has_begun.load(Ordering::Acquire) {
            return Err(EmitError::Offline);
        }
        if self.is_ambiguous(&emit.payload) {
            return Err(EmitError::Encode(AMBIGUOUS.to_owned()));
        }
        if let Some(count) = self.too_many_attachments(&emit.payload) {
            return Err(EmitError::TooManyAttachments { count, limit: self.max_attachments });
        }
        if let Some((size, limit)) = self.exceeded(None, &emit.payload) {
            return Err(EmitError::PayloadTooLarge { size, limit });
        }
        self.send_quota.reserve(emit.payload.size()).ok_or_else(|| EmitError::Full(emit.clone()))
    }

    pub(crate) fn address(&self) -> Addr<Namespace> {
        self.addr.clone()
    }

    /// Asks the Connection to have the namespace joined.
    pub(crate) fn join(&self, connection: &Addr<Connection>) {
        let namespace = self.name.namespace.clone();
        connection.do_send(connection::Join { namespace, addr: self.address() });
    }
}
