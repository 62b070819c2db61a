//! tf-rust-socketio, a fork of rust_socketio.

use tf_rust_socketio as client;

#[allow(clippy::duplicate_mod)] // The fork is used in the same way, as another crate.
#[path = "rust_socketio_session.rs"]
mod session;

use bytes::Bytes;
use client::Payload;
pub use session::Session;

fn arguments(payload: Payload) -> Vec<serde_json::Value> {
    let Payload::Text(arguments, _) = payload else { panic!("a message is text") };
    arguments
}

fn attachment(payload: Payload) -> Bytes {
    let Payload::Binary(data, _) = payload else { panic!("an attachment is binary") };
    data
}

fn binary(data: Bytes) -> Payload {
    Payload::Binary(data, None)
}
