//! Middleware sees events in both directions and requests to join. It may change them, drop them, or answer
//! events itself.
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::{
//!     Client, Emit, Event, JoinContext,
//!     middleware::{Auth, Flow, Middleware, NameList, RateLimit},
//! };
//!
//! /// Answers some events, renames others, and hides gossip.
//! struct Desk;
//!
//! impl Middleware for Desk {
//!     fn incoming(&self, event: Event) -> Flow<Event> {
//!         match event.name() {
//!             "are_you_there" => Flow::answer("yes"),
//!             "gossip" => Flow::dropped("it is gossip"),
//!             _ => Flow::Next(event),
//!         }
//!     }
//!
//!     fn outgoing(&self, _namespace: &str, emit: Emit) -> Flow<Emit> {
//!         match emit.name() {
//!             "order" => emit.renamed("order_v2").map_or_else(Flow::failed, Flow::Next),
//!             _ => Flow::Next(emit),
//!         }
//!     }
//!
//!     fn join(&self, join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
//!         auth.insert("namespace".to_owned(), join.namespace().into());
//!         Ok(())
//!     }
//! }
//!
//! let client = Client::builder("http://localhost:3000")
//!     .middleware(Desk)
//!     .middleware(RateLimit::outgoing(100, Duration::from_secs(1)));
//! # fn more(client: &actix_socketio::Client) -> Result<(), actix_socketio::NamespaceError> {
//! // For one namespace, behind those of the client:
//! let names = NameList::incoming(["price", "gossip"]);
//! let shop = client.namespace("/shop").middleware(names).join()?;
//! # Ok(())
//! # }
//! ```
//!
//! The middlewares of a namespace are set before it is joined, so they miss nothing: they see the first
//! request to join, and whatever the server emits as soon as it has let the client in.
//!
//! # Where, and in which order
//!
//! An incoming event passes the middlewares of the client first and then those of the namespace, each in
//! the order in which they were added; then it reaches the subscribers. An outgoing event passes them in
//! reverse order: the last one that was added comes first. This happens on the thread that emits, and a
//! refusal is returned to the caller as [`EmitError::Middleware`](crate::EmitError::Middleware). Incoming
//! events, and [`Emit`] messages, pass them on the arbiter of the client. So a middleware is called on many
//! threads, and must not block.
//!
//! Requests to join pass them in the order of outgoing events. Servers 1.x and 2.x join `/` without a
//! request, so no middleware sees that.
//!
//! Answers do not pass, nor do the repeats of an event with [retries](crate::AckRequest::retries). Dropped
//! events are [counted](crate::Stats::filtered_in), and logged with their reason at the level `debug`. If a
//! middleware panics, the event is dropped, and the log names the middleware at the level `warn`.

mod chain;
mod name_list;
mod rate_limit;

use std::{borrow::Cow, fmt};

use serde::Serialize;

pub(crate) use chain::{Chain, List};
pub use name_list::NameList;
pub use rate_limit::RateLimit;

use crate::{
    display::brief,
    message::Event,
    payload::{Payload, encode_reply},
    proto::emit::Emit,
    runtime::provider::JoinContext,
};

/// The credentials of a request to join: the fields of the object that the server gets as
/// `socket.handshake.auth`.
pub type Auth = serde_json::Map<String, serde_json::Value>;

/// Sees events and requests to join. The default of each method passes everything on.
///
/// [`incoming`] and [`outgoing`] make one from a closure.
pub trait Middleware: Send + Sync + 'static {
    /// An event of the server, before any subscriber gets it. Runs on the arbiter of the client.
    fn incoming(&self, event: Event) -> Flow<Event> {
        Flow::Next(event)
    }

    /// An event for the server, before it takes room in the buffer. Runs where it is emitted.
    fn outgoing(&self, namespace: &str, emit: Emit) -> Flow<Emit> {
        let _ = namespace;
        Flow::Next(emit)
    }

    /// Called before each request to join a namespace, with the credentials that were
    /// [set](crate::ClientBuilder::auth) or [provided](crate::ClientBuilder::auth_with). Runs on
    /// the arbiter of the client.
    ///
    /// # Errors
    ///
    /// The request is not made. The namespace ends with
    /// [`Reason::Middleware`](crate::Reason::Middleware), which has this text. The client does not
    /// try again unless the [policy](crate::Reconnect::retry) says so.
    fn join(&self, join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
        let _ = (join, auth);
        Ok(())
    }
}

/// What a middleware decides about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the event is in it"]
pub enum Flow<T> {
    /// The event goes on, as it is now.
    Next(T),
    /// The event is dropped, for this reason. The reason is shown and logged: it must have no
    /// secrets. A server that asked gets no answer.
    Drop(Cow<'static, str>),
    /// The event goes no further, and this is the answer: to the server for an incoming event, to
    /// the caller for an outgoing one. If no answer was asked for, nothing more happens.
    Answer(Payload),
}

impl<T> Flow<T> {
    /// Drops the event for this reason.
    pub fn dropped(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Drop(reason.into())
    }

    /// Drops the event because of an error.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Drop(brief(&error).into())
    }

    /// Answers the event: with a tuple for several arguments, `()` for none, anything else for one.
    /// If the answer cannot be serialised, the event is dropped.
    pub fn answer(reply: impl Serialize) -> Self {
        encode_reply(&reply).map_or_else(Self::failed, Self::Answer)
    }
}

/// Makes a middleware from a function that sees incoming events.
///
/// ```
/// use actix_socketio::{Client, middleware::{self, Flow}};
///
/// let client = Client::builder("http://localhost:3000").middleware(middleware::incoming(|event| {
///     println!("{event:?}");
///     Flow::Next(event)
/// }));
/// ```
pub fn incoming(
    function: impl Fn(Event) -> Flow<Event> + Send + Sync + 'static,
) -> impl Middleware {
    struct Incoming<F>(F);

    impl<F: Fn(Event) -> Flow<Event> + Send + Sync + 'static> Middleware for Incoming<F> {
        fn incoming(&self, event: Event) -> Flow<Event> {
            (self.0)(event)
        }
    }

    Incoming(function)
}

/// Makes a middleware from a function that sees outgoing events, and their namespace.
pub fn outgoing(
    function: impl Fn(&str, Emit) -> Flow<Emit> + Send + Sync + 'static,
) -> impl Middleware {
    struct Outgoing<F>(F);

    impl<F: Fn(&str, Emit) -> Flow<Emit> + Send + Sync + 'static> Middleware for Outgoing<F> {
        fn outgoing(&self, namespace: &str, emit: Emit) -> Flow<Emit> {
            (self.0)(namespace, emit)
        }
    }

    Outgoing(function)
}

/// The direction of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    Both,
}

impl Direction {
    fn is_in(self) -> bool {
        self != Self::Out
    }

    fn is_out(self) -> bool {
        self != Self::In
    }
}
