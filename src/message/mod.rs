//! What a namespace tells the application's actors.
//!
//! Whoever subscribed gets what it asked for, in the order in which it came about. The way back is
//! [`Emit`].

pub(crate) mod answer;
pub mod contract;

use std::{fmt, sync::Arc, time::Duration};

use actix::Message;
use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    display::Name,
    message::answer::{AnswerError, Respond},
    payload::{Payload, encode_event, encode_reply, error::DecodeError},
    proto::{emit::Emit, engine::Protocol, error::EmitError, reason::Reason, refusal::Refusal},
};

impl Message for Emit {
    type Result = Result<(), EmitError>;
}

/// The namespace is joined: what is emitted now goes straight to the server.
///
/// A subscriber that comes when the namespace is joined already gets it at once.
///
/// Events may come before it. Some servers let their connect handler emit before they answer the
/// request to join (python-socketio does by default), and a session that is
/// [recovered](Self::recovered) begins with what was missed. Such an event can be handled and answered
/// like any other, and what is emitted in its handler is sent when the namespace is joined.
#[derive(Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Ready {
    pub(crate) namespace: ByteString,
    pub(crate) sid: ByteString,
    pub(crate) protocol: Protocol,
    pub(crate) recovered: bool,
}

impl Ready {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The id that the server knows this client by in this namespace: its `socket.id`. It changes
    /// with each connection, unless the session was [recovered](Self::recovered).
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// What the server speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the server goes on with the session before: it knows this client by the same id, and
    /// what it emitted while there was no connection has come, in order, before this message.
    ///
    /// For servers since 4.6 that have connection state recovery switched on. Where it is `false`,
    /// what was emitted meanwhile is lost.
    ///
    /// The server adds a string to the arguments of each event then, behind those of the
    /// application. It is what the client goes on from. The server leaves it out of volatile
    /// events; one of those that ends in a short string of its own (without spaces) right before
    /// the connection is lost is mistaken for it, and the session cannot be gone on with.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

/// Without the id: on old servers it is the key to the session.
impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, sid: _, protocol, recovered } = self;
        f.debug_struct("Ready")
            .field("namespace", namespace)
            .field("protocol", protocol)
            .field("recovered", recovered)
            .finish_non_exhaustive()
    }
}

/// The server emitted something.
///
/// It may have any name. Servers keep [some](crate::EmitError::ReservedName) to themselves, and where
/// one comes nevertheless, as `disconnect` for instance, it is an event like any other: it ends
/// nothing.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Event {
    pub(crate) namespace: ByteString,
    pub(crate) payload: Payload,
    /// If the server asked.
    pub(crate) answer: Option<Arc<dyn Respond>>,
}

impl Event {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The namespace, for logs, and its connection as far as the event knows that.
    pub(crate) fn whose(&self) -> Name {
        self.answer.as_ref().map_or_else(
            || Name { link: ByteString::new(), namespace: self.namespace.clone() },
            |asker| asker.name().clone(),
        )
    }

    /// The same event under another name, for a [middleware](crate::middleware).
    #[must_use]
    pub fn renamed(self, name: &str) -> Self {
        Self { payload: self.payload.renamed(name), ..self }
    }

    /// The same event with other arguments, mapped as those of [`Emit::new`]; for a
    /// [middleware](crate::middleware). It can be answered as before.
    ///
    /// # Errors
    ///
    /// They cannot be serialised.
    pub fn with_args(self, arguments: impl Serialize) -> Result<Self, DecodeError> {
        let payload = encode_event(self.name(), &arguments).map_err(DecodeError::from_serde)?;
        Ok(Self { payload, ..self })
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.payload.name()
    }

    /// The arguments in a type of the application: a tuple for several, `()` for none, anything
    /// else for one. Without a type, [`Args`](crate::Args) is all of them, as [`Value`](crate::Value)s.
    /// See [`Payload::decode`], and the [table](crate::payload).
    ///
    /// ```
    /// # use actix_socketio::Event;
    /// # use serde::Deserialize;
    /// #[derive(Deserialize)]
    /// struct Flight {
    ///     number: String,
    /// }
    ///
    /// fn on_event(event: &Event) -> Result<(), actix_socketio::DecodeError> {
    ///     match event.name() {
    ///         "flight" => println!("flight {}", event.args::<Flight>()?.number),
    ///         "gate" => {
    ///             let (number, gate): (String, u32) = event.args()?;
    ///             println!("flight {number} at gate {gate}");
    ///         }
    ///         _ => {}
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The arguments have another shape.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload.decode()
    }

    /// The arguments as they came.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether the server waits for an answer. It does if it emitted with an acknowledgement.
    ///
    /// It is `false` also for an id of 2^64 - 1 or more, which no server reaches.
    pub fn wants_ack(&self) -> bool {
        self.answer.is_some()
    }

    /// Answers: the server's acknowledgement callback is called with these arguments, mapped as
    /// those of an event. It may be done at any time while the session lasts, from any thread, by
    /// one subscriber, once.
    ///
    /// # Errors
    ///
    /// The answer was not taken; see [`AnswerError`].
    pub fn ack(&self, arguments: impl Serialize) -> Result<(), AnswerError> {
        let responder = self.answer.as_ref().ok_or(AnswerError::NotAsked)?;
        let payload =
            encode_reply(&arguments).map_err(|error| AnswerError::Encode(error.to_string()))?;
        responder.answer(payload)
    }

    /// Answers with arguments that came from elsewhere, as they are: the answer to the same question
    /// on another connection, for instance. See [`to_emit`](Self::to_emit).
    ///
    /// # Errors
    ///
    /// The answer was not taken; see [`AnswerError`].
    pub fn ack_with(&self, payload: &Payload) -> Result<(), AnswerError> {
        let responder = self.answer.as_ref().ok_or(AnswerError::NotAsked)?;
        responder.answer(payload.to_reply())
    }

    /// The same event, to be emitted elsewhere: its name, its JSON and its attachments as they came,
    /// without a copy and without being decoded. So it may have what no Rust type takes, such as
    /// numbers of any length. With [msgpack](crate::Parser), they came as the JSON that was
    /// made of them.
    ///
    /// This hands questions on to another connection, and their answers back:
    ///
    /// ```
    /// use actix_socketio::{Event, Payload, Socket};
    ///
    /// async fn pass_on(event: Event, to: Socket) {
    ///     if !event.wants_ack() {
    ///         if let Err(error) = to.send(event.to_emit()) {
    ///             eprintln!("not passed on: {error}");
    ///         }
    ///         return;
    ///     }
    ///     match to.send_with_ack::<Payload>(event.to_emit()).await {
    ///         Ok(answer) => drop(event.ack_with(&answer)),
    ///         Err(error) => eprintln!("no answer: {error}"),
    ///     }
    /// }
    /// ```
    ///
    /// From a server with [another parser](crate::Parser) to one with the default parser, an object
    /// that looks like the place of an attachment is refused where there are attachments beside it
    /// ([`EmitError::Encode`]); see [`payload`](crate::payload). An event
    /// with a name that is reserved is refused as well
    /// ([`EmitError::ReservedName`]).
    ///
    /// A server with connection state recovery adds an argument of its own to each event, which
    /// is passed on as well; see [`Ready::recovered`].
    pub fn to_emit(&self) -> Emit {
        Emit { payload: self.payload.clone(), terms: None }
    }
}

/// Shows no arguments.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, payload, answer } = self;
        f.debug_struct("Event")
            .field("namespace", namespace)
            .field("name", &self.name())
            .field("payload", payload)
            .field("wants_ack", &answer.is_some())
            .finish()
    }
}

/// This client emitted something: the event was handed to the connection.
///
/// It comes for each event of the namespace, whoever emitted it, in the order in which they are
/// sent; and again for one that is sent again, because the connection was lost before it was
/// written, or by [retries](crate::AckRequest::retries). Where slow subscribers are concerned it
/// counts as an event. But it never holds anything back: of these, no more than 1024 wait for a
/// subscriber, and [`Lagged`] counts the others.
///
/// ```
/// use actix::prelude::*;
/// use actix_socketio::{Emitted, Socket};
///
/// struct Audit;
///
/// impl Actor for Audit {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Emitted> for Audit {
///     type Result = ();
///
///     fn handle(&mut self, emitted: Emitted, _: &mut Context<Self>) {
///         println!("{} to {}", emitted.name(), emitted.namespace());
///     }
/// }
///
/// fn watch(socket: &Socket) {
///     socket.subscribe_to::<Emitted>(Audit.start());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Emitted {
    pub(crate) namespace: ByteString,
    pub(crate) payload: Payload,
    pub(crate) wants_ack: bool,
}

impl Emitted {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.payload.name()
    }

    /// The arguments, as for [`Event::args`].
    ///
    /// # Errors
    ///
    /// The arguments have another shape.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload.decode()
    }

    /// The arguments as they are sent.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether it asks for an answer.
    pub fn wants_ack(&self) -> bool {
        self.wants_ack
    }
}

/// The namespace was joined, and is not any more.
///
/// Where that is tried again and the server refuses then, or the attempts are used up, the end is told
/// by [`ConnectError`]. A subscriber that does not hear that one gets this message a second time, with
/// the reason for which it stays so.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Disconnected {
    pub(crate) namespace: ByteString,
    pub(crate) reason: Reason,
}

impl Disconnected {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// The namespace was not joined: the server refused it or did not answer, or there is no
/// connection and none is tried any more.
///
/// The official client's `connect_error` is this and [`Reconnecting`] together:
///
/// | what failed | what comes |
/// |---|---|
/// | an attempt to connect, and another one follows | [`Reconnecting`], with the reason |
/// | an attempt to connect, and none follows | `ConnectError` |
/// | the request to join, and another one follows | `ConnectError`, and then [`Reconnecting`] |
/// | the request to join, and none follows | `ConnectError` |
///
/// Where none follows because a limit on attempts is reached, [`GaveUp`] comes behind it.
///
/// So who wants to hear of each failure subscribes to both, and who wants to know when it is over
/// looks at [`Socket::state`](crate::Socket::state) when this comes.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ConnectError {
    pub(crate) namespace: ByteString,
    pub(crate) reason: Reason,
}

impl ConnectError {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Why. What a server says when it refuses is in [`Reason::Refused`].
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// Messages were discarded because this subscriber was too slow.
///
/// A slow subscriber first holds up the connection, so that the server holds back. But the server's
/// pings have to wait as well, and it does not wait for their answers for ever. So the connection is
/// read on: when half of its ping timeout is over, if the subscriber gets nothing done, and when
/// three quarters are over, if it is slow. The subscriber keeps what waits for it, and misses what
/// comes until it is through with its mailbox; this message stands in the place of what is missing. A
/// subscriber that is slower than the server, but gets done in time for each ping, misses nothing.
///
/// A burst is missed in part where it is more than fits into the
/// [window](crate::ClientBuilder::receive_window) and the subscriber takes longer for the rest of it
/// than that: where bursts come, have the window take one.
/// [`Overflow`](crate::Overflow) has other ways to deal with a slow subscriber.
///
/// That is about events. Of the other messages no more than 64 wait, the newest ones.
///
/// An actor that subscribes to this hears of what it missed itself. What streams, functions and
/// actors without it missed is told to those who
/// [listen to it](crate::Socket::listen_to) and are no actors.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Lagged {
    pub(crate) namespace: ByteString,
    pub(crate) missed: u64,
    pub(crate) missed_states: u64,
}

impl Lagged {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How many events this subscriber did not get, between the last one and the next.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many messages of other kinds it did not get here: [`Ready`], [`Disconnected`],
    /// [`ConnectError`], [`Reconnecting`], [`GaveUp`] and [`ServerError`], as far as it has subscribed to them. Newer
    /// ones come behind this.
    pub fn missed_states(&self) -> u64 {
        self.missed_states
    }
}

/// An event that somebody hears as a type of its own, and that does not have its shape; see
/// [`Socket::on`](crate::Socket::on).
///
/// It comes once for each type that the event does not fit, to all who have subscribed to this
/// message; to the actor whose type it is, in the place of the event in the order. If nobody has, the
/// log says so, at the level `warn`, with the type and what serde said, without the values that it
/// quotes: for the first one of a subscriber, the second, the fourth, the eighth and so on. It counts
/// as an event where events wait for slow subscribers. [`Stats::undecodable`](crate::Stats::undecodable) counts them,
/// heard or not.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Undecodable {
    pub(crate) event: Event,
    pub(crate) error: DecodeError,
    pub(crate) wanted: &'static str,
}

impl Undecodable {
    /// The event as it came. If the server asked for an answer, it can be given here.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What serde said; or, of a `Deserialize` that panicked, what that said.
    pub fn error(&self) -> &DecodeError {
        &self.error
    }

    /// The name of the type that it was to be, as the compiler has it: for people, not for programs.
    pub fn wanted(&self) -> &'static str {
        self.wanted
    }
}

/// Another attempt is made by itself: to connect, when the connection is gone or could not be made, or
/// to join the namespace, when the server has ended or refused it and the
/// [policy](crate::Reconnect::retry) says so. Both are counted apart; the [reason](Self::reason) tells
/// which it is.
///
/// What is emitted until then waits, and is sent when the namespace is joined again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Reconnecting {
    pub(crate) namespace: ByteString,
    pub(crate) attempt: u32,
    pub(crate) delay: Duration,
    pub(crate) reason: Reason,
}

impl Reconnecting {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The number of the attempt, counted from 1 since the last session that lasted.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it is till then: the delay of the policy, or what the server has asked for if that is
    /// longer; see [`Reconnect`](crate::Reconnect). The attempt may have to wait for its turn on top of that, see
    /// [`DialLimiter`](crate::DialLimiter).
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Why there is no connection.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// A server 1.x or 2.x reported an error in a namespace that is joined, and stays joined: it did not
/// take an event, because a middleware of the server passed on an error (`socket.use`), or it could
/// not send one.
///
/// The official client of these servers has an `error` event for it. The server does not say which
/// event it is about; who waits for an answer to that one waits until its timeout. Newer servers
/// report nothing to the client. It is logged as a warning and counted in
/// [`Stats::server_errors`](crate::Stats::server_errors), whether anybody subscribes or not.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ServerError {
    pub(crate) namespace: ByteString,
    pub(crate) error: Refusal,
}

impl ServerError {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the server said: the message, or the data, of the error.
    pub fn error(&self) -> &Refusal {
        &self.error
    }
}

/// As many attempts to connect, or to join, were made as [`Reconnect`](crate::Reconnect) allows.
///
/// It follows the [`Disconnected`] or [`ConnectError`] that says why.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct GaveUp {
    pub(crate) namespace: ByteString,
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
}

impl GaveUp {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why the last one failed.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}
