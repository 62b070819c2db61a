//! The messages that subscribers get.
//!
//! A subscriber gets the kinds of messages that it has subscribed to, in the order in which they came
//! about. The message in the other direction is [`Emit`].

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
    proto::{
        emit::Emit, engine::Protocol, error::EmitError, reason::Reason, recovery, refusal::Refusal,
        transports::Transport,
    },
};

impl Message for Emit {
    type Result = Result<(), EmitError>;
}

/// The namespace is joined. Events emitted now go straight to the server.
///
/// A subscriber that subscribes later gets it at once.
///
/// Events may come before it. Some servers let their connection handler emit before they answer the
/// request to join (python-socketio does by default), and a [recovered](Self::recovered) session
/// begins with the missed events. Such events can be handled and answered as usual; whatever is
/// emitted in their handlers is sent when the namespace is joined.
#[derive(Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Ready {
    pub(crate) namespace: ByteString,
    pub(crate) sid: ByteString,
    pub(crate) protocol: Protocol,
    pub(crate) recovered: bool,
    /// After this time without a word of this client, the server notices that it is gone.
    pub(crate) max_silence: Duration,
}

impl Ready {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The server's id for this client in this namespace: its `socket.id`. It changes with each
    /// connection, unless the session was [recovered](Self::recovered).
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// What the server speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the server continues the previous session. Then the client has the same id as
    /// before, and the events that the server emitted while there was no connection have come
    /// before this message, in order.
    ///
    /// Servers since 4.6 do this if connection state recovery is switched on. If this is `false`,
    /// events emitted in the meantime are lost.
    ///
    /// A server with recovery adds a string to the arguments of each event, after those of the
    /// application: the offset from which the client continues. Volatile events have no offset. If
    /// the last event before the connection is lost is volatile and ends in a short string without
    /// spaces, that string is mistaken for the offset, and the session cannot be recovered.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

/// Without the id: on old servers it is the key to the session.
impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, sid: _, protocol, recovered, max_silence: _ } = self;
        f.debug_struct("Ready")
            .field("namespace", namespace)
            .field("protocol", protocol)
            .field("recovered", recovered)
            .finish_non_exhaustive()
    }
}

/// An event of the server.
///
/// It may have any name. Servers keep [some names](crate::EmitError::ReservedName) to themselves.
/// An event that has one of these all the same, such as `disconnect`, is an event like any other:
/// it ends nothing.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Event {
    pub(crate) namespace: ByteString,
    pub(crate) payload: Payload,
    /// `None` if the server did not ask for an answer.
    pub(crate) answer: Option<Arc<dyn Respond>>,
    /// Whether it has an offset.
    pub(crate) is_recoverable: bool,
}

impl Event {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The namespace and, if known, its connection, for logs.
    pub(crate) fn whose(&self) -> Name {
        self.answer.as_ref().map_or_else(
            || Name { client: ByteString::new(), namespace: self.namespace.clone() },
            |asker| asker.name().clone(),
        )
    }

    /// The same event under another name, for a [middleware](crate::middleware).
    #[must_use]
    pub fn renamed(self, name: &str) -> Self {
        Self { payload: self.payload.renamed(name), ..self }
    }

    /// The same event with other arguments, mapped like those of [`Emit::new`], for a
    /// [middleware](crate::middleware). It can be answered like the original.
    ///
    /// # Errors
    ///
    /// The arguments cannot be serialised.
    pub fn with_args(self, arguments: impl Serialize) -> Result<Self, DecodeError> {
        let payload = encode_event(self.name(), &arguments).map_err(DecodeError::from_serde)?;
        Ok(Self { payload, is_recoverable: false, ..self })
    }

    /// Where the event stands in its session, if the server can [recover](Ready::recovered) that: the last
    /// argument, which the server itself adds. Events that ask for an answer have none, nor have volatile
    /// ones, nor one that got [other arguments](Self::with_args) from a middleware.
    ///
    /// An application that stores events should store the offset with them. A
    /// [`SessionTicket`](crate::SessionTicket) [with this offset](crate::SessionTicket::with_offset)
    /// continues the session after the last event that was stored; the ticket of
    /// [`Socket::session_ticket`](crate::Socket::session_ticket) continues after the last one that came.
    ///
    /// A volatile event of such a session whose own last argument is a string without spaces, of at most
    /// 128 bytes, cannot be told from one with an offset.
    pub fn offset(&self) -> Option<&str> {
        self.is_recoverable.then(|| recovery::offset(&self.payload)).flatten()
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.payload.name()
    }

    /// Reads the arguments into a type: a tuple for several, `()` for none, anything else for one.
    /// To read them without a type, use [`Args`](crate::Args), which has all arguments as
    /// [`Value`](crate::Value)s. See [`Payload::decode`] and the [table](crate::payload) of types.
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
    /// The arguments do not fit the type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload.decode()
    }

    /// The arguments as they came.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether the server waits for an answer, because it emitted with an acknowledgement.
    ///
    /// It is also `false` for an id of 2^64 - 1 or more, which no server reaches.
    pub fn wants_ack(&self) -> bool {
        self.answer.is_some()
    }

    /// Answers the event: the server's acknowledgement callback is called with these arguments,
    /// mapped like those of an event. It can be done once, by any subscriber, from any thread, as
    /// long as the session lasts.
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

    /// Answers with a payload that came from elsewhere, unchanged: for instance with the answer to
    /// the same question on another connection. See [`to_emit`](Self::to_emit).
    ///
    /// # Errors
    ///
    /// The answer was not taken; see [`AnswerError`].
    pub fn ack_with(&self, payload: &Payload) -> Result<(), AnswerError> {
        let responder = self.answer.as_ref().ok_or(AnswerError::NotAsked)?;
        responder.answer(payload.to_reply())
    }

    /// The same event, to be emitted elsewhere. Its name, JSON and attachments are passed on as
    /// they came, without copying or decoding. So it may have values that no Rust type can hold, such
    /// as numbers of any length. (With [msgpack](crate::Parser), it is the JSON that was made from
    /// the message.)
    ///
    /// This example forwards questions to another connection, and returns the answers:
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
    /// Two kinds of events are refused. An event with a reserved name gives
    /// [`EmitError::ReservedName`]. An event from a server with [another parser](crate::Parser)
    /// gives [`EmitError::Encode`] if it has attachments and, beside them, an object that the
    /// default parser would take for an attachment's placeholder; see [`payload`](crate::payload).
    ///
    /// A server with connection state recovery adds an argument to each event, which is passed on
    /// as well; see [`Ready::recovered`].
    pub fn to_emit(&self) -> Emit {
        Emit { payload: self.payload.clone(), terms: None }
    }
}

/// Shows no arguments.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, payload, answer, is_recoverable: _ } = self;
        f.debug_struct("Event")
            .field("namespace", namespace)
            .field("name", &self.name())
            .field("payload", payload)
            .field("wants_ack", &answer.is_some())
            .finish()
    }
}

/// An event of this client was handed to the connection.
///
/// It comes for each emitted event of the namespace, whichever handle emitted it, in the order of
/// sending. It comes again for an event that is sent again, by
/// [retries](crate::AckRequest::retries) or because the connection was lost before it was written.
/// For slow subscribers it counts as an event, but it never holds the connection back: at most 1024
/// of these messages wait for a subscriber, and [`Lagged`] counts the others.
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

    /// Whether the event asks for an answer.
    pub fn wants_ack(&self) -> bool {
        self.wants_ack
    }
}

/// The namespace was joined and is not joined any more.
///
/// If the client then tries to join again and finally fails, [`ConnectError`] follows. A
/// subscriber that has not subscribed to `ConnectError` gets `Disconnected` a second time instead,
/// with the final reason.
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

/// The namespace was not joined: the server refused it or did not answer, or there is no connection
/// and the client has stopped trying.
///
/// The official client's `connect_error` corresponds to this and [`Reconnecting`] together:
///
/// | what failed | what comes |
/// |---|---|
/// | an attempt to connect, and another one follows | [`Reconnecting`], with the reason |
/// | an attempt to connect, and none follows | `ConnectError` |
/// | the request to join, and another one follows | `ConnectError`, and then [`Reconnecting`] |
/// | the request to join, and none follows | `ConnectError` |
///
/// If none follows because the attempts are used up, [`GaveUp`] comes after it.
///
/// To be told of each failure, subscribe to both. Whether the client is still trying is in
/// [`Socket::state`](crate::Socket::state) when this comes.
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

    /// Why. If the server refused, its words are in [`Reason::Refused`].
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// Messages were dropped because this subscriber was too slow.
///
/// A slow subscriber first holds the connection back, and with it the server. But then the server's
/// pings wait as well, and the server does not wait for pongs for ever. So the client reads on:
/// after half of the ping timeout if the subscriber gets nothing done, and after three quarters if
/// it is slow. The subscriber keeps the events that wait for it, and misses those that come before
/// it has emptied its mailbox. This message comes in the place of the missed events. A slow
/// subscriber that empties its mailbox in time for each ping misses nothing.
///
/// A burst is missed in part if it exceeds the [window](crate::ClientBuilder::receive_window) and
/// the subscriber takes longer than that for the rest. If you expect bursts, make the window as
/// large as the largest. [`Overflow`](crate::Overflow) has other ways to handle a slow subscriber.
///
/// All this applies to events. Of other messages, the 64 newest are kept.
///
/// An actor that subscribes to this gets its own losses. A function or a stream that [listens
/// to it](crate::Socket::listen_to) gets the losses of all subscribers that do not get this message
/// themselves: streams, functions, and actors that have not subscribed to it.
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

    /// How many events this subscriber missed, between the previous event and the next one.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many messages of other kinds it missed: [`Ready`], [`Disconnected`], [`ConnectError`],
    /// [`Reconnecting`], [`GaveUp`] and [`ServerError`], as far as it has subscribed to them. Newer
    /// ones come after this.
    pub fn missed_states(&self) -> u64 {
        self.missed_states
    }
}

/// An event that does not fit the type with which a subscriber listens to it; see
/// [`Socket::on`](crate::Socket::on).
///
/// It comes once for each type that the event does not fit, to all subscribers of this message. The
/// actor that asked for the type gets it in the place of the event, if it has subscribed to this.
/// Without any subscriber, the log has a warning with the type and serde's error, without the
/// values that serde quotes. The warning comes for the first such event of a subscriber, the
/// second, the fourth, the eighth and so on. For slow subscribers this message counts as an event.
/// [`Stats::undecodable`](crate::Stats::undecodable) counts all of them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Undecodable {
    pub(crate) event: Event,
    pub(crate) error: DecodeError,
    pub(crate) wanted: &'static str,
}

impl Undecodable {
    /// The event as it came. If the server asked for an answer, it can be answered here.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The error of serde, or the message of a `Deserialize` that panicked.
    pub fn error(&self) -> &DecodeError {
        &self.error
    }

    /// The compiler's name of the type: for people to read, not for programs.
    pub fn wanted(&self) -> &'static str {
        self.wanted
    }
}

/// The client is going to try again: to connect, when the connection is lost or could not be made;
/// or to join the namespace, when the server has ended or refused it and the
/// [policy](crate::Reconnect::retry) says so. The [reason](Self::reason) tells which, and each has
/// its own count.
///
/// Events emitted until then wait, and are sent when the namespace is joined again.
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

    /// The number of the attempt, counted from 1 since the last session that lasted. With
    /// [fallbacks](crate::ClientBuilder::fallback), each server has a count of its own, and this is that of the
    /// server that is dialled next: 0 if it has not failed.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time until the attempt: the delay of the policy, or longer if the server asked for that;
    /// see [`Reconnect`](crate::Reconnect). The [`DialLimiter`](crate::DialLimiter) may delay it
    /// further.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Why there is no connection.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// A server 1.x or 2.x reported an error in a namespace that stays joined: a middleware of the
/// server (`socket.use`) rejected an event with an error, or the server could not send one.
///
/// The official client of these servers has an `error` event for it. The server does not say which
/// event it is about; a pending answer to that event times out. Newer servers do not report such
/// errors. Each is logged as a warning and counted in
/// [`Stats::server_errors`](crate::Stats::server_errors).
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

    /// The server's words: the message or the data of the error.
    pub fn error(&self) -> &Refusal {
        &self.error
    }
}

/// The connection, which began with HTTP long-polling, is a websocket now; see
/// [`ClientBuilder::transports`](crate::ClientBuilder::transports).
///
/// Nothing is lost or reordered by that. The message comes in each namespace of the client that has subscribers for it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Upgraded {
    pub(crate) namespace: ByteString,
    pub(crate) transport: Transport,
}

impl Upgraded {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The transport that is used from now on.
    pub fn transport(&self) -> Transport {
        self.transport
    }
}

/// All attempts to connect, or to join, that [`Reconnect`](crate::Reconnect) allows were made
/// without success.
///
/// It comes after the [`Disconnected`] or [`ConnectError`] that says why.
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
