//! rust_socketio.

use rust_socketio as client;

#[allow(clippy::duplicate_mod)] // The fork is used in the same way, as another crate.
#[path = "rust_socketio_session.rs"]
mod session;

use bytes::Bytes;
use client::Payload;
pub use session::Session;

fn arguments(payload: Payload) -> Vec<serde_json::Value> {
    let Payload::Text(arguments) = payload else { panic!("a message is text") };
    arguments
}

fn attachment(payload: Payload) -> Bytes {
    let Payload::Binary(data) = payload else { panic!("an attachment is binary") };
    data
}

fn binary(data: Bytes) -> Payload {
    Payload::Binary(data)
}
