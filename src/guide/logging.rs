//! The log, and numbers for Prometheus.
//!
//! (This module is a page to read; it has no items.)
//!
//! # The log
//!
//! The library writes through the crate [`log`](https://docs.rs/log), so any logger works. With `env_logger`:
//!
//! ```no_run
//! // RUST_LOG=actix_socketio=debug shows everything.
//! env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
//! ```
//!
//! In a program with `tracing`, `tracing_subscriber::fmt().init()` takes the lines as well (its feature `tracing-log`, on by default).
//!
//! ```text
//! INFO  upstream-7: connected to 10.0.0.7:3000, Engine.IO 4 (servers 3.x and 4.x)
//! INFO  upstream-7/shop: joined
//! WARN  upstream-7/shop: the event "price" does not fit shop::Price: invalid type: string, expected f64
//! INFO  upstream-7: connection ended: no heartbeat from the server in time
//! INFO  upstream-7/shop: disconnected: no heartbeat from the server in time
//! INFO  upstream-7: retry 1 in 1.204s
//! WARN  upstream-7: no connection to http://10.0.0.7:3000/socket.io/: the server cannot be reached: 10.0.0.7:3000: Connection refused (os error 111); retry 2 in 1.7s
//! ```
//!
//! Each line begins with the [name](crate::ClientBuilder::name) of the client, by default the `host:port` of
//! its URL, and the namespace if it is about one. The text follows the first `: `. A panic in code that
//! belongs to no single client, such as a waker, is logged for `any client`.
//!
//! | level | lines |
//! |---|---|
//! | error | a [tap](crate::tap) that panicked |
//! | warn | lost events, refusals, a namespace that the server has ended for good, a message that is too large or breaks the protocol, the first of several failures to connect, code of the application that panicked |
//! | info | connections and sessions: begin, end, next attempt |
//! | debug | further failures of the same kind, single events that were dropped on purpose, each dial |
//!
//! A line has at most 600 bytes, and no line breaks. Of lines that repeat, ten are written and then one in
//! ten seconds, with the number of the others. No line has credentials, cookies, queries or session ids.
//! Arguments of events are logged only by a [`Recording`](crate::tap::Recording::dump) with `dump`. Texts of
//! the server are quoted and cut.
//!
//! # Numbers
//!
//! [`Client::stats`](crate::Client::stats) is cheap: read it whenever it is asked for. A route for Prometheus in actix-web:
//!
//! ```no_run
//! use actix_socketio::{Client, Stats};
//! use actix_web::{HttpResponse, Responder, web};
//!
//! async fn metrics(clients: web::Data<Vec<Client>>) -> impl Responder {
//!     let numbers = clients.iter().map(|client| (client.name(), client.stats()));
//!     HttpResponse::Ok()
//!         .content_type("text/plain; version=0.0.4")
//!         .body(Stats::prometheus(numbers))
//! }
//! ```
//!
//! | for an alert on | look at |
//! |---|---|
//! | a server that is down | `actix_socketio_attempts_total` grows, `actix_socketio_connects_total` does not |
//! | connections that do not last | the rate of `actix_socketio_endings_total` by `reason` ([`Reason::kind`](crate::Reason::kind)) |
//! | a slow subscriber | `actix_socketio_missed_total`, and the gauge `actix_socketio_waiting_in` |
//! | a slow or absent server | the gauge `actix_socketio_waiting_out`, the histogram `actix_socketio_round_trip_seconds` |
//! | events of another shape | `actix_socketio_undecodable_total` |
//! | events that may be lost | `actix_socketio_in_doubt_total`, `actix_socketio_discarded_total` |
//!
//! For health checks, [`Socket::state`](crate::Socket::state) says whether the namespace is joined.
