//! Acknowledgements, in both directions: questions and answers.
//!
//! (This module is a page to read; it has no items.)
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | acknowledgement, ack, answer | the same thing: the arguments with which the receiver of an event calls the callback that came with it. Names that socket.io-client has as well say `ack`: [`emit_with_ack`](crate::Socket::emit_with_ack), [`Event::ack`](crate::Event::ack), [`AckError`](crate::AckError) |
//! | question | an event that asks for an answer |
//! | reply | the Rust type of an answer: [`Reply`](crate::Reply), [`Call::Reply`](crate::Call::Reply) |
//!
//! [`AckError`](crate::AckError) is about answers of the server, [`AnswerError`](crate::AnswerError) about
//! answers to it.
//!
//! # Asking the server
//!
//! `server()` starts a server in the process, as on the page about [testing](crate::guide::testing).
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::{AckError, Client};
//!
//! # fn server() -> std::io::Result<String> {
//! #     use socketioxide::{SocketIo, extract::{AckSender, Data, SocketRef}};
//! #     let (layer, io) = SocketIo::new_layer();
//! #     io.ns("/", async |socket: SocketRef| {
//! #         socket.on("add", async |Data::<(i64, i64)>((a, b)), ack: AckSender| {
//! #             ack.send(&(a + b)).ok();
//! #         });
//! #         socket.on("silent", async || {});
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
//!     let socket = client.socket();
//!     // The type says how the answer is read.
//!     let sum: i64 = socket.emit_with_ack("add", (40, 2)).await?;
//!     assert_eq!(sum, 42);
//!     // It is sent now, and awaited later.
//!     let later = socket.emit_with_ack::<i64>("add", (1, 1)).send();
//!     assert_eq!(later.await?, 2);
//!     // Each question has a time limit.
//!     let silent = socket.emit_with_ack::<()>("silent", ()).timeout(Duration::from_millis(20));
//!     assert_eq!(silent.await, Err(AckError::TimedOut));
//!     Ok(())
//! }
//! ```
//!
//! | the server calls | read it as |
//! |---|---|
//! | `callback()` | `()` |
//! | `callback(7)` | `u32` |
//! | `callback("a", 7)` | `(String, u32)` |
//! | `callback([1, 2])` | `Vec<u32>` |
//! | `callback(null, result)`, the error first | [`(Option<Failure>, Option<T>)`](crate::Socket::emit_with_ack) |
//! | anything | [`Args`](crate::Args), or [`Payload`](crate::Payload) as it came |
//!
//! An [`AckError`](crate::AckError) says whether the server may have seen the event, which decides whether it is safe to ask again:
//!
//! | error | the server | again? |
//! |---|---|---|
//! | [`NeverSent`](crate::AckError::NeverSent) | has not seen it, and will not | yes |
//! | [`TimedOut`](crate::AckError::TimedOut), [`Disconnected`](crate::AckError::Disconnected) | may have seen it | if asking twice does no harm; or let [`retries`](crate::AckRequest::retries) and [message ids](crate::guide::delivery#at-least-once) do it |
//! | [`Unsendable`](crate::AckError::Unsendable) | closes the connection over it | no: it is too large |
//! | [`Decode`](crate::AckError::Decode) | has answered | no: another type |
//!
//! A question waits in the buffer while there is no connection; its time counts from the call. Many may be open at once
//! ([`pending_acks`](crate::ClientBuilder::pending_acks)), and be answered in any order.
//!
//! # Answering the server
//!
//! The server asks with `socket.emit("ready?", (answer) => …)` or `emitWithAck`. An event that asks has
//! [`wants_ack`](crate::Event::wants_ack), and is answered once, now or later, from any thread:
//!
//! ```
//! use actix_socketio::{Event, Socket};
//!
//! fn open(socket: &Socket) {
//!     socket.listen("ready?").call(|event: Event| {
//!         if let Err(error) = event.ack(("yes", 7)) {
//!             eprintln!("no answer: {error}");
//!         }
//!     });
//! }
//! ```
//!
//! An actor answers by what its handler returns: see [`Socket::answer`](crate::Socket::answer). It may return a future; up to 64
//! questions are open at a time. An `Err`, a panic, or the end of the actor sends `{"error":"…"}`.
//!
//! Do not await an answer of the server in the handler of an actor that gets events: spawn it. While the handler waits, events
//! pile up for the actor; once the connection stops reading because of them, the answer cannot come either.
