//! The client in a program that is not on actix: `#[tokio::main]`, axum, threads.
//!
//! (This module is a page to read; it has no items.)
//!
//! The client needs an actix system, which is a single-threaded tokio runtime with arbiters. A program with a runtime of its own
//! starts one on a thread, once. All handles are `Send + Sync` and work from every thread and every runtime. (`server()` starts a
//! server in the process, as on the page about [testing](crate::guide::testing).)
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_socketio::Client;
//! use futures::StreamExt;
//!
//! /// Starts an actix system on a thread of its own, which runs until the process ends.
//! fn actix_thread() -> Result<actix::ArbiterHandle, std::sync::mpsc::RecvError> {
//!     let (tell, told) = std::sync::mpsc::channel();
//!     std::thread::spawn(move || {
//!         let system = actix::System::new();
//!         tell.send(actix::System::current().arbiter().clone()).ok();
//!         system.run()
//!     });
//!     told.recv()
//! }
//!
//! # fn server() -> std::io::Result<String> {
//! #     use socketioxide::{SocketIo, extract::{AckSender, Data, SocketRef}};
//! #     let (layer, io) = SocketIo::new_layer();
//! #     io.ns("/", async |socket: SocketRef| {
//! #         socket.on("watch", async |socket: SocketRef| { socket.emit("price", &("tea", 3.5)).ok(); });
//! #         socket.on("add", async |Data::<(i64, i64)>((a, b)), ack: AckSender| { ack.send(&(a + b)).ok(); });
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
//! #[tokio::main(flavor = "current_thread")] // or the one with many threads
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder(server()?).start_in(&actix_thread()?)?;
//!     let socket = client.socket();
//!     let mut prices = socket.listen("price").stream(); // polled here, on this runtime
//!     socket.emit("watch", ())?;
//!     let price = prices.next().await.ok_or("the client has ended")?;
//!     assert_eq!(price.args::<(String, f64)>()?, ("tea".to_owned(), 3.5));
//!     let sum: i64 = socket.emit_with_ack("add", (40, 2)).await?;
//!     assert_eq!(sum, 42);
//!     client.shutdown(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! | | on which thread |
//! |---|---|
//! | `emit`, `emit_with_ack`, `ready`, `shutdown` and all other calls | any |
//! | futures and [streams](crate::Listen::stream) | wherever they are polled |
//! | functions of [`call`](crate::Listen::call), middleware, policies, providers | the actix thread: they must not block it |
//! | actors that subscribe | their arbiter: [`start_in_arbiter`](actix::Actor::start_in_arbiter) with the handle from above |
//!
//! * **In axum**, keep the [`Client`](crate::Client) in the state: it is `Clone`. A handler asks with
//!   `client.socket().emit_with_ack(…).timeout(…)`.
//! * **Without any runtime**, `futures::executor::block_on` waits for an answer: timers run on the actix thread.
//! * **`start` without a system** on the thread fails with [`BuildError::NoArbiter`](crate::BuildError::NoArbiter), whose text shows the remedy.
//! * **At the end**, call [`shutdown`](crate::Client::shutdown) before the process exits. The actix thread need not be stopped.
