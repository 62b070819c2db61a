//! What stands between the wire and the application: it sees events both ways and requests to join,
//! and may change them, drop them or answer them in place.
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::{
//!     Client, Emit, Event, Join,
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
//!     fn connect(&self, join: &Join, auth: &mut Auth) -> Result<(), String> {
//!         auth.insert("namespace".to_owned(), join.namespace().into());
//!         Ok(())
//!     }
//! }
//!
//! let client = Client::builder("http://localhost:3000")
//!     .middleware(Desk)
//!     .middleware(RateLimit::outgoing(100, Duration::from_secs(1)));
//! # fn more(shop: &actix_socketio::Socket) {
//! // For one namespace, from now on:
//! shop.middleware(NameList::incoming(["price", "gossip"]));
//! # }
//! ```
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

use std::{
    any::type_name,
    borrow::Cow,
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    display::Name,
    guard::{self, Kept, Panicked},
    message::Event,
    payload::{Payload, encode_reply},
    proto::{emit::Emit, namespace},
    runtime::{clock, provider::Join},
    stats::Counters,
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
    fn connect(&self, join: &Join, auth: &mut Auth) -> Result<(), String> {
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
        Self::Drop(crate::display::brief(&error).into())
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
enum Way {
    In,
    Out,
    Both,
}

impl Way {
    fn is_in(self) -> bool {
        self != Self::Out
    }

    fn is_out(self) -> bool {
        self != Self::In
    }
}

/// Drops events whose names are not on a list.
#[derive(Debug, Clone)]
pub struct NameList {
    names: HashSet<String>,
    way: Way,
}

impl NameList {
    fn new<N: Into<String>>(way: Way, names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), way }
    }

    /// Of what comes in, only events of these names go on.
    pub fn incoming<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Way::In, names)
    }

    /// Of what goes out, only events of these names go on.
    pub fn outgoing<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Way::Out, names)
    }

    /// The same both ways.
    pub fn both<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Way::Both, names)
    }

    fn check<T>(&self, applies: bool, name: &str) -> Option<Flow<T>> {
        (applies && !self.names.contains(name))
            .then(|| Flow::dropped("its name is not on the list"))
    }
}

impl Middleware for NameList {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.check(self.way.is_in(), event.name()).unwrap_or(Flow::Next(event))
    }

    fn outgoing(&self, _: &str, emit: Emit) -> Flow<Emit> {
        self.check(self.way.is_out(), emit.name()).unwrap_or(Flow::Next(emit))
    }
}

/// Drops events beyond a rate.
///
/// After a rest, so many may come at once; from then on they must keep the distance that makes the
/// rate. All namespaces that one limit was added for share it. No events in any time let none
/// through; some in a time of 0 are no limit.
#[derive(Debug)]
pub struct RateLimit {
    way: Way,
    /// From one event to the next, at the full rate. `None` if there is to be none.
    distance: Option<Duration>,
    /// How far ahead of that events may come.
    burst: Duration,
    /// When the next one would come at the full rate, if that is not over.
    next: Mutex<Option<Instant>>,
}

/// A time that can be added to any.
const FOREVER: Duration = Duration::from_secs(1 << 32);

impl RateLimit {
    fn new(way: Way, events: u32, per: Duration) -> Self {
        let per = per.min(FOREVER);
        let distance = per.checked_div(events);
        let burst = per.saturating_sub(distance.unwrap_or(per));
        Self { way, distance, burst, next: Mutex::new(None) }
    }

    /// So many events of the server in such a time.
    pub fn incoming(events: u32, per: Duration) -> Self {
        Self::new(Way::In, events, per)
    }

    /// So many events for the server in such a time.
    pub fn outgoing(events: u32, per: Duration) -> Self {
        Self::new(Way::Out, events, per)
    }

    /// So many events in such a time, counted together, whichever way they go.
    pub fn both(events: u32, per: Duration) -> Self {
        Self::new(Way::Both, events, per)
    }

    /// Whether an event may pass now.
    fn admits(&self, now: Instant) -> bool {
        let Some(distance) = self.distance else { return false };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.map_or(now, |next| next.max(now));
        let admits = due.saturating_duration_since(now) <= self.burst;
        if admits {
            *next = due.checked_add(distance);
        }
        admits
    }

    fn check<T>(&self, applies: bool) -> Option<Flow<T>> {
        (applies && !self.admits(clock::now())).then(|| Flow::dropped("too many events"))
    }
}

impl Middleware for RateLimit {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.check(self.way.is_in()).unwrap_or(Flow::Next(event))
    }

    fn outgoing(&self, _: &str, emit: Emit) -> Flow<Emit> {
        self.check(self.way.is_out()).unwrap_or(Flow::Next(emit))
    }
}

/// Those of one namespace, in the order in which what comes in passes them.
#[derive(Clone, Default)]
pub(crate) struct List(Arc<[Arc<One>]>);

struct One {
    middleware: Kept<Box<dyn Middleware>>,
    /// The name of its type.
    name: &'static str,
}

impl List {
    pub(crate) fn push<M: Middleware>(&mut self, middleware: M) {
        let middleware: Box<dyn Middleware> = Box::new(middleware);
        let last = Arc::new(One { middleware: Kept::new(middleware), name: type_name::<M>() });
        self.0 = self.0.iter().cloned().chain([last]).collect();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("len", &self.len()).finish()
    }
}

/// What the events of a namespace pass. Where there is nothing, that costs one look.
#[derive(Debug)]
pub(crate) struct Chain {
    any: AtomicBool,
    list: RwLock<List>,
    /// Of the namespace.
    name: Name,
    counters: Arc<Counters>,
}

impl Chain {
    /// Begins with those of the client.
    pub(crate) fn new(list: List, name: Name, counters: Arc<Counters>) -> Self {
        Self { any: AtomicBool::new(list.len() > 0), list: RwLock::new(list), name, counters }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    pub(crate) fn push(&self, middleware: impl Middleware) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).push(middleware);
        self.any.store(true, Ordering::Release);
    }

    /// A copy, so that a middleware may add another one.
    fn list(&self) -> List {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes on what came in. `None` if it goes no further.
    pub(crate) fn incoming(&self, event: Event) -> Option<Event> {
        let (payload, asked) = (event.payload.clone(), event.answer.clone());
        let about = (&self.name, payload.name());
        let flow = pass(self.list().0.iter(), about, event, Middleware::incoming);
        match flow {
            Flow::Next(event) => return Some(event),
            Flow::Drop(reason) => {
                let (namespace, name) = (&self.name, payload.name());
                log::debug!("{namespace}: the event {name:?} is dropped: {reason}");
                self.counters.filtered_in.add(1);
            }
            Flow::Answer(payload) => {
                if let Some(Err(error)) = asked.map(|asked| asked.answer(payload.to_reply())) {
                    log::warn!("{}: an answer was not sent: {error}", self.name);
                }
            }
        }
        None
    }

    /// Passes on what is to go out.
    pub(crate) fn outgoing(&self, namespace: &str, emit: Emit) -> Flow<Emit> {
        let payload = emit.payload.clone();
        let list = self.list();
        let about = (&self.name, payload.name());
        let ask = |one: &dyn Middleware, emit| one.outgoing(namespace, emit);
        let flow = pass(list.0.iter().rev(), about, emit, ask);
        if let Flow::Drop(reason) = &flow {
            let (namespace, name) = (&self.name, payload.name());
            log::debug!("{namespace}: the event {name:?} is not emitted: {reason}");
            self.counters.filtered_out.add(1);
        }
        flow
    }

    /// Passes on a request to join.
    pub(crate) fn connect(
        &self,
        join: &Join,
        auth: Option<&namespace::Auth>,
    ) -> Result<Option<namespace::Auth>, String> {
        let fields = auth.and_then(|auth| serde_json::from_str(&auth.0).ok());
        let mut fields: Auth = fields.unwrap_or_default();
        for one in self.list().0.iter().rev() {
            let Some(middleware) = one.middleware.get() else { continue };
            guard::run(|| middleware.connect(join, &mut fields)).unwrap_or_else(|panicked| {
                log::warn!("{}: the middleware {} {panicked} (connect)", self.name, one.name);
                Err(said(&panicked))
            })?;
        }
        if auth.is_none() && fields.is_empty() {
            return Ok(None);
        }
        Ok(Some(namespace::Auth(serde_json::Value::Object(fields).to_string().into())))
    }
}

fn said(panicked: &Panicked) -> String {
    format!("a middleware {panicked}")
}

/// From one to the next. `about` is the namespace and the event's name.
fn pass<'a, T>(
    mut list: impl Iterator<Item = &'a Arc<One>>,
    about: (&Name, &str),
    event: T,
    ask: impl Fn(&dyn Middleware, T) -> Flow<T>,
) -> Flow<T> {
    let passed = list.try_fold(event, |event, one| {
        let Some(middleware) = one.middleware.get() else { return Ok(event) };
        let flow = guard::run(|| ask(&**middleware, event)).unwrap_or_else(|panicked| {
            let (namespace, name) = about;
            log::warn!("{namespace}: the middleware {} {panicked} (event {name:?})", one.name);
            Flow::Drop(said(&panicked).into())
        });
        match flow {
            Flow::Next(event) => Ok(event),
            flow => Err(flow),
        }
    });
    passed.map_or_else(|flow| flow, Flow::Next)
}

#[cfg(test)]
mod tests;
