//! Large uploads in pieces, with progress.
//!
//! (This module is a page to read; it has no items.)
//!
//! A server takes messages up to a limit: 1 MB by default with the official server; socketioxide announces 100 kB
//! (see [`max_payload`](crate::ClientBuilder::max_payload)). A larger one fails with
//! [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge) or, if the server announces no limit, ends the connection. And while a large message is on its way, no other one gets through,
//! not even a heartbeat. So a file goes in pieces, each of which asks for an answer:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::{AckError, Attachment, Client, Socket};
//! use bytes::Bytes;
//! use futures::{StreamExt, TryStreamExt, stream};
//!
//! const PIECE: usize = 64 * 1024;
//! /// Pieces under way at once: enough to keep the line busy while answers come back.
//! const WINDOW: usize = 4;
//!
//! /// Sends a file, and reports after each piece how many bytes the server has.
//! async fn upload(
//!     socket: &Socket,
//!     name: &str,
//!     data: Bytes,
//!     mut progress: impl FnMut(usize),
//! ) -> Result<(), AckError> {
//!     let pieces = stream::iter((0..data.len()).step_by(PIECE)).map(|begin| {
//!         let end = data.len().min(begin + PIECE);
//!         // No copy: the piece shares the memory of the file.
//!         let piece = Attachment(data.slice(begin..end));
//!         let sent = socket.emit_with_ack::<()>("piece", (name, begin, piece));
//!         async move { sent.timeout(Duration::from_secs(30)).await.map(|()| end) }
//!     });
//!     pieces
//!         .buffered(WINDOW)
//!         .try_for_each(|end| {
//!             progress(end);
//!             async { Ok(()) }
//!         })
//!         .await?;
//!     socket.emit_with_ack::<()>("complete", (name, data.len())).await
//! }
//! # async fn example(client: Client, data: Bytes) -> Result<(), AckError> {
//! let all = data.len();
//! upload(client.socket(), "cat.jpeg", data, |sent| eprint!("\r{} %", sent * 100 / all)).await
//! # }
//! ```
//!
//! * **Progress** counts what the server has, not what is in a buffer of the system.
//! * **The window holds a slow line back**: no more than four pieces wait. Other events go between them.
//! * **If the connection is lost**, the pieces under way fail with
//!   [`AckError::Disconnected`](crate::AckError::Disconnected), and the application can ask the server where to go on. Or they are sent
//!   [again](crate::AckRequest::retries): then each may arrive twice. A piece has its offset, so a server that writes it
//!   there needs nothing more; with retries in order, [`retry_window`](crate::ClientBuilder::retry_window) sets how many are under way.
//! * **By polling**, an attachment is a third larger (base64); keep pieces small.
