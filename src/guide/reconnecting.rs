//! Losing a connection and getting it back.
//!
//! (This module is a page to read; it has no items.)
//!
//! By default, a client tries for ever, the first connection included, and events that are emitted meanwhile wait in a bounded
//! buffer. This page is about the settings.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::{Client, ConnectFailure, Reason, Reconnect, Retry};
//!
//! # fn example() -> Result<(), actix_socketio::BuildError> {
//! let policy = Reconnect::default()
//!     .delay(Duration::from_millis(500), Duration::from_secs(60)) // doubles from the first to the second
//!     .attempts(20) // in a row; then GaveUp
//!     .retry(|reason| match reason {
//!         // The server restarts for a deployment: it comes back.
//!         Reason::ServerDisconnect => Retry::Again,
//!         // The token is stale: ask the provider for another one.
//!         Reason::Refused(_) => Retry::WithNewAuth,
//!         // It has moved for good.
//!         Reason::Connect(ConnectFailure::Status { status: 410, .. }) => Retry::Stop,
//!         other => Retry::default_for(other),
//!     });
//! let client = Client::builder("https://a.example")
//!     .fallback("https://b.example") // tried at once when the first is down
//!     .reconnect(policy)
//!     .start()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens by default
//!
//! | event | reaction |
//! |---|---|
//! | the network or the server is gone | tried again, with delays of 1 s, 2 s, 4 s, 5 s, each ± 50 % |
//! | the server calls `socket.disconnect()`, or refuses | not tried again, as in the official client; the policy can say otherwise |
//! | the server answers with `Retry-After` | the client waits that long, an hour at most |
//! | a TLS failure, a proxy that refuses | tried again, each time after the longest delay |
//! | many clients of one process lose the same server | at most 100 attempts a second together ([`DialLimiter`](crate::DialLimiter)) |
//! | the machine wakes up after it was suspended | noticed within seconds, or with the next emit, and connected anew |
//!
//! # Watching it
//!
//! ```
//! use actix_socketio::{Disconnected, GaveUp, Ready, Reconnecting, Socket};
//!
//! fn watch(socket: &Socket) {
//!     socket.listen_to::<Disconnected>().call(|gone| println!("lost: {}", gone.reason()));
//!     socket.listen_to::<Reconnecting>().call(|next| {
//!         println!("attempt {} in {:?}: {}", next.attempt(), next.delay(), next.reason());
//!     });
//!     socket.listen_to::<GaveUp>().call(|over| println!("gave up: {}", over.reason()));
//!     socket.listen_to::<Ready>().call(|ready| match ready.recovered() {
//!         true => println!("back, and the missed events have come"),
//!         false => println!("joined: load the state anew"),
//!     });
//! }
//! ```
//!
//! [`Socket::state`](crate::Socket::state) tells the same without a subscription, for a health check.
//!
//! # What is lost
//!
//! | what | default | to lose nothing |
//! |---|---|---|
//! | events to the server that wait | kept, in order | – |
//! | events to the server that were just written | perhaps lost: [`Stats::in_doubt`](crate::Stats::in_doubt) | [`retries`](crate::ClientBuilder::retries) with [message ids](crate::ClientBuilder::message_ids) |
//! | events of the server meanwhile | lost | connection state recovery, switched on at the server (4.6 and later); nothing to set in the client |
//! | the session, when this process restarts | lost | [`hand_over`](crate::Client::hand_over) and [`resume`](crate::ClientBuilder::resume) |
//!
//! The page on [delivery](crate::guide::delivery) has the guarantees, and what each one costs. `Ready` comes after each connection: do
//! there what has to be done for each session, such as joining rooms by an event. Subscriptions need not be made again.
//!
//! # Waiting for the first connection, or not
//!
//! | call | |
//! |---|---|
//! | [`start`](crate::ClientBuilder::start) | returns at once; for services that come up while the server is away |
//! | [`connect`](crate::ClientBuilder::connect) | waits until it is joined; ends early when the failure will not go away, or after three attempts |
//! | `connect` with [`patient`](crate::Reconnect::patient) | waits up to its time, whatever fails: the server may start later |
//! | [`Reconnect::never`](crate::Reconnect::never) | one attempt: for tools and tests |
