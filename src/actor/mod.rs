//! The actors: one for the connection, one for each namespace, and how they are reached.
//!
//! The [`connection`] owns the websocket, through its [`driver`], and routes packets. Each
//! [`namespace`] wraps one namespace of the core, and its [`publisher`] passes what happens to the
//! [`subscribers`]. The messages between the actors are in [`messages`]. Handles reach a namespace through a
//! [`namespace_ref`], and their commands wait in a [`command_queue`].

pub(crate) mod command_queue;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod driver;
pub(crate) mod failure;
pub(crate) mod held;
pub(crate) mod journal;
pub(crate) mod messages;
pub(crate) mod namespace;
pub(crate) mod namespace_ref;
pub(crate) mod publisher;
pub(crate) mod question;
pub(crate) mod responder;
pub(crate) mod settings;
pub(crate) mod shutdown;
pub(crate) mod status;
pub(crate) mod subscribers;
pub(crate) mod waiters;

use actix::{Actor, Context, dev::channel::AddressReceiver};

/// Starts an actor, whose mailbox was made before, on the current arbiter.
///
/// [`Actor::start_in_arbiter`] would pay for a task that starts only one actor, and the actor and its handles could not
/// share what has its address in it.
pub(crate) fn start<A>(mailbox: AddressReceiver<A>, actor: A)
where
    A: Actor<Context = Context<A>>,
{
    actix_rt::spawn(Context::with_receiver(mailbox).into_future(actor));
}
