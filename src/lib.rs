//! The Socket.IO client for actix applications.
//!
//! A [`Client`] is one connection to a server, a [`Socket`] is one namespace on it. Both are handles:
//! cheap to clone, usable from any thread, in actors and in plain async code. Behind them, a
//! Connection actor owns the websocket, and each namespace is an actor that publishes what happens
//! to the addresses that subscribed.
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
//! | to | see |
//! |---|---|
//! | connect, set options | [`Client::builder`], [`ClientBuilder`] |
//! | join a namespace with credentials, middleware or options of its own | [`Client::namespace`], [`NamespaceBuilder`] |
//! | join and leave namespaces | [`Client::of`], [`Socket::ready`], [`Socket::state`], [`Socket::disconnect`], [`Socket::connect`] |
//! | hear | [`Socket::subscribe`], [`Socket::subscribe_to`], [`message`] |
//! | stop hearing, hear too much | [`Subscription`], [`Overflow`], [`Socket::with_overflow`] |
//! | hear and send events as types of your own | [`message::contract`], [`Socket::on`], [`Socket::answer`], [`Socket::emit_event`], [`Socket::call`], [`Undecodable`] |
//! | hear with a function or as a stream, by name, or once | [`Socket::listen`], [`Socket::listen_to`], [`Filter`] |
//! | see, change, drop or answer what comes and goes | [`middleware`], [`Emitted`] |
//! | pass events on, as they are | [`Bridge`], [`Event::to_emit`], [`Event::ack_with`] |
//! | read arguments, answer the server | [`Event::args`], [`Event::ack`], [`payload`], [`Payload`] |
//! | read and send arguments whose type is not known | [`Value`], [`Args`] |
//! | talk | [`Socket::emit`], [`Socket::emit_with_ack`], [`Emit`], [`Socket::recipient`] |
//! | say how an event may wait | [`Emit`], [`Offline`], [`Written`] |
//! | be sure that it arrives, or know that it did not | [`guide::delivery`], [`AckRequest::retries`] |
//! | lose a connection and get it back | [`Reconnect`], [`Retry`], [`Reconnecting`], [`GaveUp`], [`Ready::recovered`] |
//! | show credentials, fetch them | [`ClientBuilder::auth`], [`auth_with`](ClientBuilder::auth_with), [`headers_with`](ClientBuilder::headers_with) |
//! | be slow, or stop listening | [`Overflow`], [`Lagged`], [`Subscription`] |
//! | count | [`Client::stats`] |
//! | hear of errors that a server 1.x or 2.x reports | [`ServerError`] |
//! | know why it ended | [`Reason`], [`error`] |
//! | end it | [`Client::shutdown`] |
//!
//! # What holds
//!
//! * **Order.** In each namespace, a subscriber gets what happens in the order in which it
//!   happened; what is emitted from one thread is sent in the order of the calls.
//! * **No waiting for readiness.** What is emitted before a namespace is joined waits in a bounded
//!   buffer; what arrives before anybody has subscribed waits for the first who does.
//! * **Nothing hangs.** Whatever can be awaited has a deadline, and a typed outcome.
//! * **Nothing vanishes silently.** Who waits for something is told; the rest is counted or logged,
//!   by way of the [`log`] crate: lost data as warnings, sessions that begin and end as infos, and
//!   the first of several failures in a row to connect as a warning with its reason, what the server
//!   said, and when the next attempt is made. Lines begin with the `host:port` of the connection, and
//!   the namespace where it is about one. Arguments, credentials and session ids are never logged.
//! * **Nothing grows without a bound.** The bounds are options of [`ClientBuilder`].
//!
//! # Which server?
//!
//! Any since 1.0. The client finds out by itself which protocol revision the server speaks, and
//! [`Client::protocol`] tells; [`ClientBuilder::protocol`] insists on one. On a server 1.x or 2.x a
//! few things are as they are there: it joins `/` by itself, whether asked or not; there is no
//! `auth` for `/`; and a `/` that was left can be joined again only over a new connection, which
//! [`Socket::connect`] makes.
//!
//! A server that is configured with `socket.io-msgpack-parser` needs the cargo feature `msgpack`
//! and [`.parser(Parser::Msgpack)`](ClientBuilder::parser); the client cannot find that out.
//!
//! # Where it runs
//!
//! The actors run on the arbiter on which the client is [started](ClientBuilder::start), or on
//! [another](ClientBuilder::start_in). They need an actix system (`#[actix::main]`, or
//! `#[actix_web::main]`), not a tokio runtime of another kind. `System::stop` ends them without
//! ceremony; call [`Client::shutdown`] before, if what was emitted matters.
//!
//! In a program of another kind, such as one with `#[tokio::main]`, a system has a thread of its own.
//! The handles work from everywhere; actors that subscribe are started on that arbiter too, with
//! [`start_in_arbiter`](actix::Actor::start_in_arbiter).
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
//!     client.socket().listen("price").call(|event| println!("{event:?}"));
//!     client.socket().emit("find", "tea")?;
//!     client.shutdown(Duration::from_secs(1)).await;
//!     Ok(())
//! }
//! ```
//!
//! An actor that blocks its arbiter blocks whatever else runs there, and the heartbeat of a client
//! with it. Give such actors, or the client, an arbiter of their own.
//!
//! A namespace that was once joined stays known to its client, at the price of an idle actor, until
//! the client ends: join them by the hundred, not by the million.
//!
//! # When the connection is lost
//!
//! It is tried again, by the policy of [`Reconnect`]: by default for ever, the first connection
//! included, and for all clients of the process together no more often than [`DialLimiter`] lets
//! them. Subscribers get [`Disconnected`], and [`Reconnecting`] for each attempt if they asked for
//! it; what is emitted meanwhile waits, and is sent in order as soon as the namespace is joined
//! again; then [`Ready`] comes. A namespace that the server itself has ended, or refused, stays so
//! until [`Socket::connect`], unless the [policy](Reconnect::retry) says otherwise.
//! [`Socket::disconnect`] and [`Client::shutdown`] win at any time. What arrives, what may be lost
//! and what it costs to lose nothing is on a page of its own: [`guide::delivery`].
//!
//! # Not yet
//!
//! HTTP long-polling, TLS.

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
mod guard;
pub mod guide;
pub mod message;
pub mod middleware;
pub mod payload;
mod proto;
mod runtime;
mod stats;
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
    AckError, AnswerError, BridgeError, BuildError, ConnectFailure, DecodeError, EmitError,
    Initiator, NamespaceError, ReadyError, Reason, Refusal, StartError, Unsendable,
};
pub use message::{
    ConnectError, Disconnected, Emitted, Event, GaveUp, Lagged, Ready, Reconnecting, ServerError,
    Undecodable,
    contract::{Answer, Call, NamedEvent},
};
pub use payload::{
    Payload, Reply,
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
};
pub use runtime::provider::{DialContext, JoinContext};
pub use stats::Stats;

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
