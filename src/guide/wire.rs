//! Seeing what goes over the wire.
//!
//! (This module is a page to read; it has no items.)
//!
//! The log shows the state of a connection, but not what is in the messages. A [`Tap`](crate::tap::Tap) gets
//! all of it: a [`Record`](crate::tap::Record) of each message in both directions, and of each change of the
//! connection.
//!
//! # While developing
//!
//! Print each record as a line:
//!
//! ```
//! use actix_socketio::{Client, tap::Tap};
//!
//! let builder = Client::builder("http://localhost:3000").tap(Tap::new(|record| println!("{record}")));
//! ```
//!
//! ```text
//! #0 session 0: dialling: localhost:3000, Engine.IO 4 (servers 3.x and 4.x), websocket
//! #1 session 1: < open, 118 bytes: {"maxPayload":1000000,"pingInterval":25000,"pingTimeout":20000,"upgrades":[]}
//! #2 session 1: > connect /, 2 bytes
//! #3 session 1: < connect /, 32 bytes
//! #4 session 1: > event / "order" ack 0, 18 bytes: ["order","tea"]
//! #5 session 1: < ack / "order" ack 0 after 1.36ms, 7 bytes: [17]
//! ```
//!
//! Or watch in a browser, with filters, search, latencies and a form to emit:
//! `cargo run --example inspector -- http://localhost:3000`.
//!
//! # In production
//!
//! [`Recording`](crate::tap::Recording) keeps the last records, within a bound of memory. With
//! [`dump`](crate::tap::Recording::dump), the last of them are logged when a connection is lost, a namespace is
//! refused, or a message cannot be read. They can also be read at any time, for the report of an error:
//!
//! ```
//! use actix_socketio::{Client, tap::Recording};
//!
//! let recording = Recording::new(500, 128 << 10).dump(20);
//! // Names and sizes, and no data of the application.
//! let builder = Client::builder("http://localhost:3000").tap(recording.tap().text(0));
//!
//! let report: Vec<String> = recording.records().iter().map(ToString::to_string).collect();
//! ```
//!
//! # In a file
//!
//! [`Tap::lines`](crate::tap::Tap::lines) writes records as lines of JSON, and [`read`](crate::tap::read) reads them. The example
//! `sio` does that with `--record FILE`. This prints the slowest answers:
//!
//! ```no_run
//! use std::{fs::File, io::BufReader};
//!
//! use actix_socketio::tap;
//!
//! # fn example() -> std::io::Result<()> {
//! let file = BufReader::new(File::open("wire.jsonl")?);
//! let mut answers = tap::read(file).collect::<Result<Vec<_>, _>>()?;
//! answers.retain(|record| record.latency.is_some());
//! answers.sort_by_key(|record| std::cmp::Reverse(record.latency));
//! for record in answers.iter().take(10) {
//!     println!("{record}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A record
//!
//! | field | |
//! |---|---|
//! | `client` | its [name](crate::ClientBuilder::name) |
//! | `number`, `time` | its place among the records of the client, and the time of day |
//! | `session` | counts the handshakes; the id of the session is not shown |
//! | `kind`, `direction` | [what](crate::tap::Kind) happened; from the server or to it |
//! | `namespace`, `name`, `ack` | the namespace, the event, and the id of the answer that it asks for |
//! | `answers`, `latency` | of an answer: the record of its event, and the time since |
//! | `size`, `attachments` | the bytes of the message; how many attachments it has |
//! | `text` | the data in JSON, up to 400 bytes unless [`text`](crate::tap::Tap::text) says otherwise |
//!
//! Credentials, headers, queries, and ids of sessions are in no record. The arguments of events are in the text: if these
//! are secrets, use `text(0)`.
//!
//! With polling, each packet has a record, not each request. Pings of the websocket layer have none.
//!
//! # Cost
//!
//! Without a tap, nothing. With one, each message is read a second time, and costs some microseconds. The function is called on
//! the arbiter of the client, before the client goes on. So it must not block: write to a slow file on a thread of its own.
