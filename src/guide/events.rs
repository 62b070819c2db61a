//! Receiving and sending events, by name or as types of your own.
//!
//! (This module is a page to read; it has no items.)
//!
//! | for | use |
//! |---|---|
//! | an actor that gets everything in a namespace | [`Socket::subscribe`](crate::Socket::subscribe): `Handler<Ready>`, `Handler<Event>`, `Handler<Disconnected>` |
//! | events of one name as a Rust type, in an actor | [`Socket::on`](crate::Socket::on) |
//! | answers to the server, from an actor | [`Socket::answer`](crate::Socket::answer) |
//! | a closure | [`listen`](crate::Socket::listen)`("price").call(…)`, or for a type [`listen_to`](crate::Socket::listen_to)`::<Price>().call(…)` |
//! | a stream | the same with `.stream()` |
//! | just the next event | the same with `.once()` |
//! | several names, a prefix, all names | [`Filter`](crate::Filter) |
//! | what this process emits | `subscribe_to::<`[`Emitted`](crate::Emitted)`>` |
//!
//! # Types
//!
//! A type has a name and, by serde, arguments. A tuple struct has one argument for each field; a struct with
//! named fields is one argument, an object. `server()` starts a server in the process, as on the page about
//! [testing](crate::guide::testing).
//!
//! ```
//! use actix_socketio::{Call, Client, NamedEvent};
//! use futures::StreamExt;
//! use serde::{Deserialize, Serialize};
//!
//! /// In JavaScript: `socket.emit("price", "tea", 3.5)`.
//! #[derive(Debug, PartialEq, Serialize, Deserialize, actix::Message)]
//! #[rtype(result = "()")]
//! struct Price(String, f64);
//!
//! impl NamedEvent for Price {
//!     const NAME: &'static str = "price";
//! }
//!
//! /// In JavaScript: `socket.emit("stock", { of: "tea" }, (left) => …)`.
//! #[derive(Serialize)]
//! struct Stock {
//!     of: String,
//! }
//!
//! impl NamedEvent for Stock {
//!     const NAME: &'static str = "stock";
//! }
//!
//! impl Call for Stock {
//!     type Reply = u32;
//! }
//!
//! # fn server() -> std::io::Result<String> {
//! #     use socketioxide::{SocketIo, extract::{AckSender, Data, SocketRef}};
//! #     let (layer, io) = SocketIo::new_layer();
//! #     io.ns("/", async |socket: SocketRef| {
//! #         socket.on("watch", async |socket: SocketRef| {
//! #             socket.emit("price", &("tea", 3.5)).ok();
//! #         });
//! #         socket.on("stock", async |ack: AckSender| { ack.send(&7).ok(); });
//! #         let _ = |_: Data<u8>| ();
//! #     });
//! #     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! #     listener.set_nonblocking(true)?;
//! #     let url = format!("http://{}", listener.local_addr()?);
//! #     std::thread::spawn(move || {
//! #         let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! #         runtime.block_on(async {
//! #             let listener = tokio::net::TcpListener::from_std(listener)?;
//! #             axum::serve(listener, axum::Router::new().layer(layer)).await
//! #         })
//! #     });
//! #     Ok(url)
//! # }
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder(server()?).connect().await?;
//!     let shop = client.socket();
//!     let mut prices = shop.listen_to::<Price>().stream();
//!     shop.emit("watch", ())?;
//!     assert_eq!(prices.next().await, Some(Price("tea".into(), 3.5)));
//!     assert_eq!(shop.call(Stock { of: "tea".into() }).await?, 7);
//!     shop.emit_event(&Price("coffee".into(), 4.0))?;
//!     Ok(())
//! }
//! ```
//!
//! [`contract`](crate::message::contract) has the same with actors. A crate with such types can be shared with a server in
//! Rust: socketioxide reads them with `Data<Price>`.
//!
//! # Rules
//!
//! * **Order.** A subscriber gets all messages of a namespace in the order in which they happened, whatever it has
//!   subscribed to. Two subscribers are independent of each other.
//! * **Before you subscribe.** Events that come before the first subscriber of a namespace are kept for it (1024 events, 1
//!   MiB). So [`connect`](crate::ClientBuilder::connect) first and subscribe then is safe. Afterwards, an event without
//!   a subscriber is dropped and counted.
//! * **Subscribe once.** Subscriptions survive the loss of a connection. Do not subscribe again in `Handler<Ready>`.
//! * **An event that does not fit** its type goes to the subscribers of [`Undecodable`](crate::Undecodable), or else to the
//!   log, without its values.
//! * **Names.** `connect`, `connect_error`, `disconnect`, `disconnecting`, `newListener` and `removeListener` cannot be
//!   emitted ([`EmitError::ReservedName`](crate::EmitError::ReservedName)). Events that a server calls `error`, `open` or
//!   `close` are events like any other: what happens to the connection comes as [messages](crate::message) of other types.
//! * **No arguments** are `()`; several are a tuple; the [table](crate::payload) has the rest.
