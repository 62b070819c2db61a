//! How to test code that uses a client.
//!
//! (This module is a page to read; it has no items.)
//!
//! The most reliable test talks to a real server. [socketioxide](https://docs.rs/socketioxide) runs inside
//! the test, on a free port. As dev-dependencies: `socketioxide`, `axum` (with `http1` and `tokio`) and
//! `tokio` (with `rt` and `net`).
//!
//! ```
//! use actix_socketio::Client;
//! use socketioxide::{SocketIo, extract::{AckSender, Data, SocketRef}};
//!
//! /// The URL of a server that adds numbers.
//! fn server() -> std::io::Result<String> {
//!     let (layer, io) = SocketIo::new_layer();
//!     io.ns("/", async |socket: SocketRef| {
//!         socket.on("add", async |Data::<(i64, i64)>((a, b)), ack: AckSender| {
//!             ack.send(&(a + b)).ok();
//!         });
//!     });
//!     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//!     listener.set_nonblocking(true)?;
//!     let url = format!("http://{}", listener.local_addr()?);
//!     std::thread::spawn(move || {
//!         let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!         runtime.block_on(async {
//!             let listener = tokio::net::TcpListener::from_std(listener)?;
//!             axum::serve(listener, axum::Router::new().layer(layer)).await
//!         })
//!     });
//!     Ok(url)
//! }
//!
//! #[actix::main] // in a test: #[actix::test]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder(server()?).connect().await?;
//!     let sum: i64 = client.socket().emit_with_ack("add", (40, 2)).await?;
//!     assert_eq!(sum, 42);
//!     Ok(())
//! }
//! ```
//!
//! * **Await events, not time.** [`Socket::ready`](crate::Socket::ready) resolves when the namespace is joined, an
//!   [answer](crate::Socket::emit_with_ack) when the server has handled the event, and a
//!   [stream](crate::Listen::stream) has what came in its order. To wait until an actor has handled what came, send it a message of your own and await the result.
//! * **Fail early.** [`connect`](crate::ClientBuilder::connect) fails if the server is not there; with
//!   [`Reconnect::never()`](crate::Reconnect::never), one attempt is all. Short values of
//!   [`connect_timeout`](crate::ClientBuilder::connect_timeout) and [`ack_timeout`](crate::ClientBuilder::ack_timeout) keep a failing
//!   test short.
//! * **An actor alone** needs no server if its events are [types of your own](crate::message::contract): they are plain messages, so a test
//!   sends them with `addr.send(Price { … })`.
//! * **A server that is away.** Start the server of the test later, or stop it.
//!   [When the connection is lost](crate#when-the-connection-is-lost) lists what the application gets then.
//! * **A network of your own.** A [`Dialer`](crate::Dialer) opens the stream of bytes to the server. One that returns one end of a
//!   `tokio::io::duplex` needs no port, and can cut or delay what passes ([example](crate::guide::getting_through)).
//! * **The official server** on Node.js answers questions about details. It needs a process:
//!   `npm install socket.io`, and a script that prints its port when it listens.
