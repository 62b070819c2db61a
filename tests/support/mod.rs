//! What the integration tests talk to: the official servers on Node.js ([`node`]), socketioxide
//! ([`oxide`]), and a server that does exactly what a test tells it to ([`scripted`], and [`raw`]
//! without HTTP). Besides: macros that run one scenario against all of them ([`every`]), a
//! subscriber that passes what it gets to the test ([`recorder`]), the lines of the log
//! ([`logged`]), and a way to a server that fails on demand ([`proxy`]) or at random ([`faults`],
//! and [`storm`] with traffic); proxies that clients ask to connect for them ([`tunnel`]), or that
//! are installed on the machine ([`installed`]); and NATS servers ([`nats`]). Ports for servers that
//! come later are [`reserved`]. Pages of an example are shown by [`browser`].

// Every integration test is a crate of its own and uses only the part of this it needs.
#![allow(dead_code, unreachable_pub)]
// A test fails by panicking, here as in its own code, and it waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

pub mod browser;
pub mod every;
pub mod example;
pub mod faults;
pub mod installed;
pub mod logged;
pub mod mutate;
pub mod nats;
pub mod nats_keys;
pub mod node;
pub mod oxide;
pub mod proxy;
pub mod raw;
pub mod recorder;
pub mod reserved;
pub mod scripted;
pub mod storm;
pub mod tls;
pub mod tunnel;
pub mod watch;

use actix_socketio::{Client, ClientBuilder, ConnectFailure, Reconnect, Transport};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for something that is due at once before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` holds, and panics naming `what` if that takes too long.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "{what}: not so after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The ports of servers of this process that support only websockets.
static WITHOUT_POLLING: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

fn without_polling() -> MutexGuard<'static, BTreeSet<u16>> {
    WITHOUT_POLLING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes [`client`] use only a websocket with the server at this port.
pub fn has_no_polling(port: u16) {
    without_polling().insert(port);
}

pub fn is_without_polling(port: u16) -> bool {
    without_polling().contains(&port)
}

/// A client with the defaults. The environment variable `TRANSPORTS` changes its transports, if
/// the server supports them: `polling` alone, or `upgrade`, from polling to a websocket.
pub fn client(url: impl Into<String>) -> ClientBuilder {
    let url = url.into();
    let rest = url.rsplit(':').next().and_then(|rest| rest.split('/').next());
    let port = rest.and_then(|port| port.parse().ok());
    let builder = Client::builder(url);
    if port.is_some_and(is_without_polling) {
        return builder.transports([Transport::WebSocket]);
    }
    match std::env::var("TRANSPORTS").as_deref() {
        Err(_) => builder,
        Ok("polling") => builder.transports([Transport::Polling]),
        Ok("upgrade") => builder.transports([Transport::Polling, Transport::WebSocket]),
        Ok(other) => panic!("TRANSPORTS={other:?} is neither polling nor upgrade"),
    }
}

/// The failure for an answer to the request to connect with this HTTP status and text, if any.
pub fn answered(status: u16, says: &str) -> ConnectFailure {
    ConnectFailure::Status { status, says: (!says.is_empty()).then(|| says.to_owned()) }
}

/// Whether the clients of [`client`] begin with polling.
pub fn begins_with_polling() -> bool {
    std::env::var_os("TRANSPORTS").is_some()
}

/// A client that does not reconnect. Most tests look at just one connection; the others
/// set a policy.
pub fn builder(url: impl Into<String>) -> ClientBuilder {
    client(url).reconnect(Reconnect::never())
}

/// How much memory the process holds now, in bytes, if the system reports it.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
