//! The Socket.IO client for actix applications.
//!
//! A [`Client`] is one connection to a server, and a [`Socket`] is one namespace on it. Both are handles:
//! cheap to clone, and usable from any thread, in actors and in plain async code. Behind them, one actor owns
//! the connection, and one actor for each namespace sends messages to the subscribers.
//!
//! ```no_run
//! use std::{error::Error, process::ExitCode, time::Duration};
//!
//! use actix::prelude::*;
//! use actix_socketio::{Client, Disconnected, Event, Ready};
//!
//! struct Desk;
//!
//! impl Actor for Desk {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Ready> for Desk {
//!     type Result = ();
//!     fn handle(&mut self, ready: Ready, _: &mut Context<Self>) {
//!         println!("joined {}", ready.namespace());
//!     }
//! }
//!
//! impl Handler<Event> for Desk {
//!     type Result = ();
//!     fn handle(&mut self, event: Event, _: &mut Context<Self>) {
//!         if let ("price", Ok((what, price))) = (event.name(), event.args::<(String, f64)>()) {
//!             println!("{what} costs {price}");
//!         }
//!     }
//! }
//!
//! impl Handler<Disconnected> for Desk {
//!     type Result = ();
//!     fn handle(&mut self, gone: Disconnected, _: &mut Context<Self>) {
//!         println!("gone: {}", gone.reason());
//!     }
//! }
//!
//! #[actix::main]
//! async fn main() -> ExitCode {
//!     match run().await {
//!         Ok(()) => ExitCode::SUCCESS,
//!         Err(error) => {
//!             eprintln!("{error}");
//!             ExitCode::FAILURE
//!         }
//!     }
//! }
//!
//! async fn run() -> Result<(), Box<dyn Error>> {
//!     let client = Client::builder("http://localhost:3000").start()?;
//!     let shop = client.of("/shop")?;
//!     shop.subscribe(Desk.start());
//!     shop.emit("find", ("tea", 3))?;
//!     let order: u64 = shop.emit_with_ack("buy", "tea").timeout(Duration::from_secs(1)).await?;
//!     println!("order {order}");
//!     client.shutdown(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! # Where to find what
//!
//! The [guides](guide) are pages for the usual jobs. [`guide::troubleshooting`] says what an error means, and what to do.
//!
//! | to | see |
//! |---|---|
//! | connect, set options | [`Client::builder`], [`ClientBuilder`]; [`transports`](ClientBuilder::transports) for polling |
//! | have a standby server | [`ClientBuilder::fallback`], [`Client::endpoint`] |
//! | connect over TLS with certificates of your own, through a proxy, a balancer, a unix socket or a stream of your own | [`guide::getting_through`] |
//! | join a namespace with credentials, middleware or options of its own | [`Client::namespace`], [`NamespaceBuilder`] |
//! | join and leave namespaces | [`Client::of`], [`Socket::ready`], [`Socket::state`], [`Socket::disconnect`], [`Socket::connect`] |
//! | receive events | [`guide::events`], [`Socket::subscribe`], [`Socket::subscribe_to`], [`message`] |
//! | stop receiving, or hold back a fast server | [`guide::actors`], [`Subscription`], [`Overflow`], [`Socket::with_overflow`] |
//! | receive and send events as types of your own | [`message::contract`], [`Socket::on`], [`Socket::answer`], [`Socket::emit_event`], [`Socket::call`], [`Undecodable`] |
//! | receive with a function or as a stream, by name, or once | [`Socket::listen`], [`Socket::listen_to`], [`Filter`] |
//! | see, change, drop or answer what comes and goes | [`middleware`], [`Emitted`] |
//! | forward events unchanged | [`guide::bridges`], [`Bridge`], [`Event::to_emit`], [`Event::ack_with`] |
//! | read arguments | [`Event::args`], [`payload`], [`Payload`] |
//! | read and send arguments whose type is not known | [`guide::dynamic`], [`Value`], [`Args`] |
//! | emit events | [`Socket::emit`], [`Emit`], [`Socket::recipient`] |
//! | use acknowledgements, in both directions | [`guide::acknowledgements`], [`Socket::emit_with_ack`], [`Event::ack`] |
//! | say whether and how long an event may wait | [`Emit`], [`Offline`], [`Written`] |
//! | be sure that an event arrives, or know that it did not | [`guide::delivery`], [`AckRequest::retries`] |
//! | reconnect, and be notified of it | [`guide::reconnecting`], [`Reconnect`], [`Retry`], [`Reconnecting`], [`GaveUp`], [`Ready::recovered`] |
//! | continue a session in another process | [`Client::hand_over`], [`ClientBuilder::resume`], [`SessionTicket`] |
//! | send credentials, fetch and renew them | [`guide::credentials`], [`ClientBuilder::auth`], [`auth_with`](ClientBuilder::auth_with), [`headers_with`](ClientBuilder::headers_with) |
//! | read the log, count for Prometheus | [`guide::logging`], [`Client::stats`], [`Stats::prometheus`] |
//! | see what goes over the wire, record it | [`guide::wire`], [`tap`], [`ClientBuilder::tap`] |
//! | send large files | [`guide::uploads`] |
//! | share one client among the requests of an actix-web server | [`guide::actix_web`] |
//! | test your own code | [`guide::testing`] |
//! | get the errors that a server 1.x or 2.x reports | [`ServerError`] |
//! | know the limits of sizes, queues and times | [`ClientBuilder`](ClientBuilder#limits), the table "Bounds" of the README |
//! | know why a connection or a namespace has ended | [`guide::troubleshooting`], [`Reason`], [`error`] |
//! | use the client in a program on plain tokio | [`guide::plain_tokio`] |
//! | come from another client | [`guide::moving`] |
//! | keep the program running, end it | [`guide::shutdown`], [How long it runs](#how-long-it-runs), [`Client::shutdown`] |
//!
//! # Guarantees
//!
//! * **Order.** In each namespace, a subscriber gets messages in the order in which things happened.
//!   Events emitted from one thread are sent in the order of the calls.
//! * **No waiting for readiness.** Events emitted before a namespace is joined wait in a bounded
//!   buffer. Events that arrive before the first subscriber wait for it.
//! * **Nothing hangs.** Everything that can be awaited has a typed outcome and a deadline. Two waits last as
//!   long as the client keeps reconnecting, unless the event has a [lifetime](Emit::lifetime): for an event to
//!   be [written](Written), and for an answer with [retries](AckRequest::retries).
//! * **Nothing vanishes silently.** If something is lost, a caller that waits for it gets an error; the rest
//!   is counted or logged.
//! * **Nothing grows without a bound.** Most bounds are [options](ClientBuilder#limits); the table "Bounds" of the
//!   README lists all. An error has the limit that was exceeded, such as [`EmitError::PayloadTooLarge`].
//!
//! # Logging
//!
//! The client logs through the crate [`log`](https://docs.rs/log). Lost data is logged as a warning, and so
//! is the first of several failures to connect, with its reason, the server's words, and the time of the next
//! attempt. Each line begins with the [name](ClientBuilder::name) of the client (by default the `host:port`
//! of the server) and the namespace if it is about one: `localhost:3000/shop: joined`. Credentials and
//! session ids are never logged; arguments of events are logged only by a [`Recording`](tap::Recording::dump)
//! with `dump`. [`guide::logging`] has the rest.
//!
//! # Which server?
//!
//! Any Socket.IO server since 1.0. The client detects the protocol revision of the server
//! ([`Client::protocol`]); [`ClientBuilder::protocol`] insists on one. Servers 1.x and 2.x differ in a few
//! ways: they join `/` by themselves, without a request; they have no `auth` for `/`; and once `/` has been
//! left, it can be joined again only over a new connection, which [`Socket::connect`] makes.
//!
//! A server that uses `socket.io-msgpack-parser` needs the cargo feature `msgpack` and
//! [`.parser(Parser::Msgpack)`](ClientBuilder::parser). The client cannot detect the parser.
//!
//! # Where it runs
//!
//! The actors run on the arbiter on which the client is [started](ClientBuilder::start), or on
//! [another](ClientBuilder::start_in). They need an actix system (`#[actix::main]` or
//! `#[actix_web::main]`); a plain tokio runtime is not enough. `System::stop` ends them at once: if emitted
//! events matter, call [`Client::shutdown`] first.
//!
//! In other programs, such as one with `#[tokio::main]`, start a system on a thread of its own
//! ([`guide::plain_tokio`] has more):
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::Client;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (tell, told) = std::sync::mpsc::channel();
//!     std::thread::spawn(move || {
//!         let system = actix::System::new();
//!         tell.send(actix::System::current().arbiter().clone()).ok();
//!         system.run()
//!     });
//!     let client = Client::builder("http://localhost:3000").start_in(&told.recv()?)?;
//!     client.socket().listen("price").call(|event| println!("{}", event.name()));
//!     client.socket().emit("find", "tea")?;
//!     client.shutdown(Duration::from_secs(1)).await;
//!     Ok(())
//! }
//! ```
//!
//! An actor that blocks its arbiter blocks everything else that runs there, including the heartbeat of a
//! client. Give such actors, or the client, an [arbiter of their own](guide::actors#arbiters).
//!
//! A namespace that has been joined keeps an actor, even an idle one, until the client ends. A client can have 4096.
//!
//! # How long it runs
//!
//! A client runs until [`Client::shutdown`], until its last handle is dropped, or until the actix system stops.
//! So `main` has to wait for something. To run until Ctrl-C, await `actix_rt::signal::ctrl_c()`, and then call
//! `shutdown`. To run until a namespace has ended for good, await a function like this one:
//!
//! ```
//! use actix_socketio::{ConnectError, Disconnected, Reason, Socket};
//! use futures::{StreamExt, stream};
//!
//! async fn until_ended(socket: &Socket) -> Option<Reason> {
//!     let lost = socket.listen_to::<Disconnected>().stream().map(drop);
//!     let failed = socket.listen_to::<ConnectError>().stream().map(drop);
//!     let mut changes = stream::select(lost, failed);
//!     // No reason: the namespace is joined, or the client is trying again.
//!     while socket.state().reason().is_none() && changes.next().await.is_some() {}
//!     socket.state().reason().cloned()
//! }
//! ```
//!
//! By default, the client tries for ever after a lost connection. The function then returns when the server
//! disconnects or refuses the namespace, or when it is left.
//!
//! # When the connection is lost
//!
//! The client tries again by the policy of [`Reconnect`]: by default for ever, the first connection
//! included. A [`DialLimiter`] bounds the attempts of all clients of the process together. Subscribers
//! get [`Disconnected`], and [`Reconnecting`] for each attempt if they subscribe to it. Events emitted in the
//! meantime wait, and are sent in order as soon as the namespace is joined again; then [`Ready`] comes. A
//! namespace that the server itself has ended or refused is not joined again until [`Socket::connect`],
//! unless the [policy](Reconnect::retry) says otherwise. [`Socket::disconnect`] and [`Client::shutdown`]
//! take effect at any time. [`guide::delivery`] says what arrives, what may be lost, and what it costs to lose nothing.
//!
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        clippy::format_collect,
        clippy::needless_pass_by_value,
        clippy::string_slice,
        reason = "a test fails by panicking, and starts its virtual clock somewhere"
    )
)]

mod actor;
mod backpressure;
pub mod bridge;
mod client;
mod display;
pub mod error;
#[cfg(test)]
mod fuzz;
mod guard;
pub mod guide;
mod logs;
pub mod message;
pub mod middleware;
pub mod payload;
mod proto;
#[cfg(feature = "relay")]
pub mod relay;
mod runtime;
mod stats;
pub mod tap;
mod transport;

pub use actor::subscribers::{
    filter::Filter,
    interests::{Listenable, Subscribable},
    policy::Overflow,
    stream::Messages,
};
pub use bridge::{Bridge, BridgeBuilder, BridgeCounts, BridgeStats, Route};
pub use client::{
    Client, ShutdownReport,
    builder::ClientBuilder,
    listen::Listen,
    namespace_builder::NamespaceBuilder,
    request::{Ack, AckRequest, ReadyRequest, Written},
    socket::Socket,
    state::SocketState,
    subscription::Subscription,
};
pub use error::{
    AckError, AnswerError, BridgeError, BuildError, Busy, ConnectFailure, DecodeError, EmitError,
    EngineRefusal, Initiator, NamespaceError, ProxyFailure, ReadyError, Reason, Refusal,
    StartError, TlsFailure, Unsendable,
};
pub use message::{
    ConnectError, Disconnected, Emitted, Event, GaveUp, Lagged, Ready, Reconnecting, ServerError,
    Undecodable, Upgraded,
    contract::{Answer, Call, NamedEvent},
};
pub use payload::{
    Payload, Reply,
    attachment::Attachment,
    value::{Args, Value},
};
pub use proto::{
    ProtocolError,
    dial_limiter::DialLimiter,
    emit::{Emit, Offline},
    engine::Protocol,
    packet::Parser,
    reconnect::{Reconnect, Retry},
    round_trips::RoundTrips,
    ticket::SessionTicket,
    transports::Transport,
};
pub use runtime::provider::{DialContext, JoinContext};
pub use stats::Stats;
#[cfg(feature = "rustls")]
pub use transport::tls;
pub use transport::{Dialer, IpFamily, Proxy};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
