//! Actors that subscribe: mailboxes, slow subscribers, arbiters.
//!
//! (This module is a page to read; it has no items.)
//!
//! An actor that [subscribes](crate::Socket::subscribe) gets messages in its mailbox, as from any other actor. The client never uses
//! `do_send`: when the mailbox is full, messages wait in the namespace, in order and within bounds.
//!
//! ```
//! use actix::prelude::*;
//! use actix_socketio::{Event, Lagged, Overflow, Socket};
//!
//! struct Prices;
//!
//! impl Actor for Prices {
//!     type Context = Context<Self>;
//!
//!     fn started(&mut self, ctx: &mut Context<Self>) {
//!         ctx.set_mailbox_capacity(256); // default: 16
//!     }
//! }
//!
//! impl Handler<Event> for Prices {
//!     type Result = ();
//!     fn handle(&mut self, event: Event, _: &mut Context<Self>) {
//!         println!("{}", event.name());
//!     }
//! }
//!
//! impl Handler<Lagged> for Prices {
//!     type Result = ();
//!     fn handle(&mut self, lagged: Lagged, _: &mut Context<Self>) {
//!         println!("missed {} events here", lagged.missed());
//!     }
//! }
//!
//! fn follow(socket: &Socket) {
//!     let prices = Prices.start();
//!     let socket = socket.with_overflow(Overflow::DropNewest { waiting: 100 });
//!     socket.subscribe_to::<Event>(prices.clone());
//!     socket.subscribe_to::<Lagged>(prices);
//! }
//! ```
//!
//! # When an actor is slower than the server
//!
//! | [`Overflow`](crate::Overflow) | what happens | for |
//! |---|---|---|
//! | `Pause`, the default | the connection stops reading, and TCP holds the server back. Pings are answered nevertheless: before the heartbeat is in danger, the slow subscriber misses new events, and [`Lagged`](crate::Lagged) counts them | most |
//! | `DropNewest { waiting }` | the actor misses new events while `waiting` events wait; other subscribers are not held up | values that the next one replaces, browsers |
//! | `Disconnect { waiting }` | the namespace is left | an actor that must not miss an event |
//! | `LetGo { waiting }` | the connection is closed, and the namespace joined again when the actor has caught up | the same, if the server [recovers](crate::Ready::recovered) sessions |
//!
//! A burst that fits into the [`receive_window`](crate::ClientBuilder::receive_window) (4096 packets, 4 MiB) is never missed.
//!
//! # Long work in a handler
//!
//! * **Something to await**: return a future ([`ResponseActFuture`](actix::ResponseActFuture)), or `ctx.spawn` it. A returned future counts as busy until it is
//!   done, and holds further messages back; a spawned one does not.
//! * **Something that blocks** (files, a database without async, seconds of CPU): `actix_rt::task::spawn_blocking`, a
//!   [`SyncArbiter`](actix::SyncArbiter), or an arbiter of its own.
//! * **Waiting for an answer of the server**: spawn it, or a pause of the connection holds the answer back, too.
//!
//! # Arbiters
//!
//! The connection, and functions given to [`call`](crate::Listen::call), run on the arbiter on which the client was started. Whatever
//! blocks that arbiter blocks the heartbeat, and the log says so (`was blocked for`). Give one of them another arbiter:
//!
//! ```no_run
//! use actix::prelude::*;
//! use actix_socketio::Client;
//! # struct Slow;
//! # impl Actor for Slow { type Context = Context<Self>; }
//! # impl Handler<actix_socketio::Event> for Slow {
//! #     type Result = ();
//! #     fn handle(&mut self, _: actix_socketio::Event, _: &mut Context<Self>) {}
//! # }
//!
//! # fn example() -> Result<(), actix_socketio::BuildError> {
//! // The client gets an arbiter of its own …
//! let io = Arbiter::new();
//! let client = Client::builder("http://localhost:3000").start_in(&io.handle())?;
//! // … or the slow actor does.
//! let work = Arbiter::new();
//! let slow = Slow::start_in_arbiter(&work.handle(), |_| Slow);
//! client.socket().subscribe_to::<actix_socketio::Event>(slow);
//! # Ok(())
//! # }
//! ```
//!
//! Handles and addresses work across arbiters. One arbiter is enough for many clients: measure before you add another.
//!
//! # The end of an actor
//!
//! * A subscription keeps its actor alive, as any address does, until [`cancel`](crate::Subscription::cancel).
//! * An actor that has stopped or panicked is unsubscribed; the log names it. The connection and the others go on.
//! * A supervised actor keeps its subscription when it is restarted: its address is the same.
