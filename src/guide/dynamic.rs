//! Arguments without a type, and attachments.
//!
//! (This module is a page to read; it has no items.)
//!
//! [`Value`](crate::Value) is one argument: a JSON value, or an attachment. [`Args`](crate::Args) is a list of them, as many as
//! there are. Both work wherever a type works: alone, in tuples, in fields of structs.
//! `server()` starts a server in the process, as on the page about [testing](crate::guide::testing).
//!
//! ```
//! use actix_socketio::{Args, Client, Value};
//! use bytes::Bytes;
//! use serde_json::json;
//!
//! # fn server() -> std::io::Result<String> {
//! #     use socketioxide::{SocketIo, extract::{AckSender, Data, SocketRef}};
//! #     let (layer, io) = SocketIo::new_layer();
//! #     io.ns("/", async |socket: SocketRef| {
//! #         socket.on("echo", async |Data::<Vec<serde_json::Value>>(_), _: AckSender| {});
//! #         socket.on("back", async |Data::<(String, Bytes)>((name, data)), ack: AckSender| {
//! #             ack.send(&(name, data)).ok();
//! #         });
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
//!     let mut list = vec![Value::from("cat.jpeg")];
//!     list.push(Bytes::from_static(b"\xFF\xD8").into());
//!     // Two arguments: a text and an attachment. Both come back.
//!     let Args(answer): Args = client.socket().emit_with_ack("back", Args(list)).await?;
//!     match &answer[..] {
//!         [Value::String(name), Value::Bytes(data)] => assert_eq!((&**name, data.len()), ("cat.jpeg", 2)),
//!         other => panic!("{other:?}"),
//!     }
//!     // Anything that is JSON becomes a Value.
//!     assert!(matches!(Value::from(json!({ "a": [1, null] })), Value::Object(_)));
//!     Ok(())
//! }
//! ```
//!
//! # Which type for what
//!
//! | for | use |
//! |---|---|
//! | all arguments of an event, however many | `let Args(list): Args = event.args()?` |
//! | the first argument, whatever it is | `let first: Value = event.args()?` |
//! | two known ones, and one that may be anything or missing | `let (a, b, rest): (u32, String, Option<Value>) = event.args()?` |
//! | the name and the JSON text, not decoded | [`Event::payload`](crate::Event::payload), [`Payload::to_json`](crate::Payload::to_json), [`attachments`](crate::Payload::attachments) |
//! | forwarding an event as it is | [`Event::to_emit`](crate::Event::to_emit), [`Event::ack_with`](crate::Event::ack_with): nothing is decoded |
//! | `serde_json::Value`, where there are no attachments | works everywhere, too |
//!
//! # Bytes
//!
//! In Rust, a `Vec<u8>` is a list of numbers, and serde writes it as one: `[255,216]`. JavaScript then gets an array, and no
//! `Buffer`. An attachment is [`Bytes`](bytes::Bytes), which is made from a vector without a copy:
//!
//! ```
//! # use actix_socketio::{EmitError, Socket};
//! use bytes::Bytes;
//!
//! # fn send(socket: &Socket, jpeg: Vec<u8>) -> Result<(), EmitError> {
//! socket.emit("photo", ("cat", Bytes::from(jpeg)))?; // a Buffer
//! # Ok(())
//! # }
//! ```
//!
//! | | JavaScript gets |
//! |---|---|
//! | `socket.emit("photo", Bytes::from(jpeg))`, `Value::from(Bytes::from(jpeg))` | a `Buffer` or `ArrayBuffer` |
//! | `socket.emit("photo", jpeg)` with a `Vec<u8>` | an array of numbers, up to four times as long |
//! | `Value::from(jpeg)` with a `Vec<u8>` | nothing: it does not compile, as it could mean either |
//!
//! The other way round, `Bytes` reads an attachment, and also an array of numbers and the bytes of a text; a `Vec<u8>` reads an
//! array only. A `Value` shows which of them came.
//!
//! serde can only copy `Bytes`. For attachments that are large or many, there is [`Attachment`](crate::Attachment): it reads and
//! writes the same, and shares the memory. In the benchmarks, receiving 64 KiB as `Bytes` takes more than twice as long.
//!
//! # Limits
//!
//! * Attachments cannot be read inside `#[serde(flatten)]`, `#[serde(tag = …)]` and `#[serde(untagged)]`: see
//!   [`payload`](crate::payload).
//! * With msgpack, an attachment that is kept keeps its whole message in memory: [`Payload::detach`](crate::Payload::detach).
//! * `emit("x", Value::Null)` has one argument, null. For `serde_json::Value::Null` write `None::<()>`: serde cannot tell it from `()`.
