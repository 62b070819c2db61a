//! Events as types of the application: their name once, their arguments by serde.
//!
//! ```
//! use actix::prelude::*;
//! use actix_socketio::{Call, NamedEvent, Socket};
//! use serde::{Deserialize, Serialize};
//!
//! /// The server says: `socket.emit("price", "tea", 3.5)`.
//! #[derive(Deserialize, Message)]
//! #[rtype(result = "()")]
//! struct Price(String, f64);
//!
//! impl NamedEvent for Price {
//!     const NAME: &'static str = "price";
//! }
//!
//! /// It acks: `socket.emit("stock", "tea", (left) => …)`.
//! #[derive(Serialize, Deserialize, Message)]
//! #[rtype(result = "Result<u32, String>")]
//! struct Stock(String);
//!
//! impl NamedEvent for Stock {
//!     const NAME: &'static str = "stock";
//! }
//!
//! impl Call for Stock {
//!     type Reply = u32;
//! }
//!
//! struct Desk;
//!
//! impl Actor for Desk {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Price> for Desk {
//!     type Result = ();
//!     fn handle(&mut self, Price(what, price): Price, _: &mut Context<Self>) {
//!         println!("{what} costs {price}");
//!     }
//! }
//!
//! impl Handler<Stock> for Desk {
//!     type Result = Result<u32, String>;
//!     fn handle(&mut self, Stock(what): Stock, _: &mut Context<Self>) -> Self::Result {
//!         if what == "tea" { Ok(7) } else { Err(format!("no {what} here")) }
//!     }
//! }
//!
//! async fn open(shop: &Socket) -> Result<(), actix_socketio::AckError> {
//!     let desk = Desk.start();
//!     shop.on::<Price>(desk.clone());
//!     shop.answer::<Stock>(desk);
//!     // And the other way round: the same contract, asked by this side.
//!     let left: u32 = shop.call(Stock("coffee".into())).await?;
//!     println!("{left} left");
//!     Ok(())
//! }
//! ```
//!
//! A handler for another message, or with another reply, does not compile:
//!
//! ```compile_fail,E0277
//! # use actix::prelude::*;
//! # use actix_socketio::{NamedEvent, Socket};
//! # #[derive(serde::Deserialize, Message)]
//! # #[rtype(result = "()")]
//! # struct Price(String, f64);
//! # impl NamedEvent for Price { const NAME: &'static str = "price"; }
//! struct Deaf;
//!
//! impl Actor for Deaf {
//!     type Context = Context<Self>;
//! }
//!
//! fn open(shop: &Socket) {
//!     shop.on::<Price>(Deaf.start()); // it has no Handler<Price>
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use actix_socketio::{Call, NamedEvent, Socket};
//! # #[derive(serde::Serialize)]
//! # struct Stock(String);
//! # impl NamedEvent for Stock { const NAME: &'static str = "stock"; }
//! # impl Call for Stock { type Reply = u32; }
//! async fn ask(shop: &Socket) -> Result<(), actix_socketio::AckError> {
//!     let left: String = shop.call(Stock("tea".into())).await?; // the reply is a number
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use actix::prelude::*;
//! # use actix_socketio::{Call, NamedEvent, Socket};
//! #[derive(serde::Deserialize, Message)]
//! #[rtype(result = "String")]
//! struct Stock(String);
//! # impl NamedEvent for Stock { const NAME: &'static str = "stock"; }
//!
//! impl Call for Stock {
//!     type Reply = u32;
//! }
//!
//! fn open(shop: &Socket, desk: Recipient<Stock>) {
//!     shop.answer::<Stock>(desk); // its handlers return a text, and the reply is a number
//! }
//! ```

use std::fmt;

use serde::Serialize;

/// An event with this name and with the fields of the type as arguments: a tuple struct has one
/// argument for each field; a newtype, or a struct with named fields, is one argument. See the
/// mapping at [`payload`](crate::payload).
///
/// To be emitted, the type implements [`Serialize`]. To be received, it implements
/// [`Deserialize`](serde::Deserialize) and [`Message`](actix::Message), with the result `()` for
/// [`Socket::on`](crate::Socket::on), or with the answer for
/// [`Socket::answer`](crate::Socket::answer). A type with all of these serves both ends of a
/// connection.
pub trait NamedEvent {
    /// The event's name.
    const NAME: &'static str;
}

/// An event that asks for an answer of the type [`Reply`](Self::Reply).
pub trait Call: NamedEvent {
    /// The answer: a tuple for several arguments, `()` for none, anything else for one.
    type Reply;
}

/// What a handler may return for a [`Call`] with the reply `R`: the reply itself, or a [`Result`]
/// with it.
///
/// An error is an answer as well, so that the server does not wait for its timeout: an object
/// `{"error":"…"}` with the text of the error. The server gets such an object, too, if the answer
/// cannot be sent or the actor is gone; see [`Socket::answer`](crate::Socket::answer).
pub trait Answer<R> {
    /// The reply, or the text of the error.
    ///
    /// # Errors
    ///
    /// The handler has returned just that.
    fn into_reply(self) -> Result<R, String>;
}

impl<R: Serialize> Answer<R> for R {
    fn into_reply(self) -> Result<R, String> {
        Ok(self)
    }
}

impl<R, E: fmt::Display> Answer<R> for Result<R, E> {
    fn into_reply(self) -> Result<R, String> {
        self.map_err(|error| error.to_string())
    }
}

/// The answer that is sent in place of an error.
#[derive(Serialize)]
pub(crate) struct Failed {
    pub(crate) error: String,
}
