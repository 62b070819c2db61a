//! What stands between the wire and the application: it sees events both ways and requests to join,
//! and may change them, drop them or answer them in place.
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::{
//!     Client, Emit, Event, JoinContext,
//!     middleware::{Auth, Flow, Middleware, NameList, RateLimit},
//! };
//!
//! /// Knows some answers, signs what goes out, and hides what nobody is to hear.
//! struct Desk;
//!
//! impl Middleware for Desk {
//!     fn incoming(&self, event: Event) -> Flow<Event> {
//!         match event.name() {
//!             "are_you_there" => Flow::answer("yes"),
//!             "gossip" => Flow::dropped("nobody is to hear it"),
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
//! What comes in passes those of the client first, then those of the namespace, each in the order in
//! which they were added, and then reaches the subscribers. What goes out passes them the other way
//! round: the last one that was added first. It does so where it is emitted, on the thread of the
//! caller, who gets a refusal as
//! [`EmitError::Middleware`](crate::EmitError::Middleware); [`Emit`] messages pass them on the
//! arbiter of the client, like all that comes in. So a middleware is asked on many threads, and must
//! not block.
//!
//! Requests to join pass them in the order of what goes out. On servers 1.x and 2.x, `/` is joined
//! by the server without a request, so there is nothing to pass.
//!
//! Answers do not pass them, nor does what an event with [retries](crate::AckRequest::retries) is
//! sent again as. What is dropped is [counted](crate::Stats::filtered_in), and logged at the level
//! `debug` with the reason. One that panics has dropped what it was asked about, and the log names it at
//! the level `warn`.

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

/// Sees what comes and goes. Each method passes everything on unless it is written.
///
/// A closure can be one: [`incoming`] and [`outgoing`] make it so.
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

    /// A request to join a namespace, with the credentials that were [set](crate::ClientBuilder::auth)
    /// or [given](crate::ClientBuilder::auth_with). Runs on the arbiter of the client, before each
    /// request.
    ///
    /// # Errors
    ///
    /// The request is not made, and the namespace ends with
    /// [`Reason::Middleware`](crate::Reason::Middleware), which has this text and is not tried
    /// again unless the [policy](crate::Reconnect::retry) says so.
    fn join(&self, join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
        let _ = (join, auth);
        Ok(())
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the event is in it"]
pub enum Flow<T> {
    /// It goes on, as it is now.
    Next(T),
    /// It goes no further, for this reason. A reason is shown and logged: it must have no secrets. A
    /// server that asked gets no answer.
    Drop(Cow<'static, str>),
    /// It goes no further, and whoever asked gets this answer: the server if the event came from
    /// it, the caller if it was emitted here. If nobody asked, it is done.
    Answer(Payload),
}

impl<T> Flow<T> {
    /// It goes no further.
    pub fn dropped(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Drop(reason.into())
    }

    /// It goes no further, because something failed.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Drop(brief(&error).into())
    }

    /// It goes no further, and is answered so: a tuple for several arguments, `()` for none,
    /// anything else for one. It is dropped if that cannot be serialised.
    pub fn answer(reply: impl Serialize) -> Self {
        encode_reply(&reply).map_or_else(Self::failed, Self::Answer)
    }
}

/// A middleware of a function that sees what comes in.
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

/// A middleware of a function that sees what goes out, and to which namespace.
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

/// Which way an event goes.
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
