//! Pages for the usual jobs.
//!
//! | page | topic |
//! |---|---|
//! | [`events`] | receive and send events, by name or as types of your own |
//! | [`dynamic`] | arguments without a type; attachments |
//! | [`acknowledgements`] | acknowledgements in both directions |
//! | [`getting_through`] | TLS, proxies, balancers, unix sockets |
//! | [`credentials`] | tokens, and how to renew them |
//! | [`reconnecting`] | how a lost connection comes back; standby servers |
//! | [`delivery`] | what is guaranteed to arrive, and what that costs |
//! | [`uploads`] | large files, with progress |
//! | [`actors`] | mailboxes, slow subscribers, arbiters |
//! | [`actix_web`] | one client for all requests of a web server |
//! | [`plain_tokio`] | the client in a program that is not on actix |
//! | [`shutdown`] | Ctrl-C, and the end of a program |
//! | [`logging`] | the log, and numbers for Prometheus |
//! | [`wire`] | see what goes over the wire, and record it |
//! | [`bridges`] | join two servers |
//! | `relay` | past one machine: a log of events, and workers that take over; with the feature `relay` |
//! | [`testing`] | test your own code against a server in the process |
//! | [`troubleshooting`] | what each error means, and what to do |
//! | [`moving`] | moving here from JavaScript, rust_socketio, Python or Go, side by side |

pub mod acknowledgements;
pub mod actix_web;
pub mod actors;
pub mod bridges;
pub mod credentials;
pub mod delivery;
pub mod dynamic;
pub mod events;
pub mod getting_through;
pub mod logging;
pub mod moving;
pub mod plain_tokio;
pub mod reconnecting;
#[cfg(feature = "relay")]
pub mod relay;
pub mod shutdown;
pub mod testing;
pub mod troubleshooting;
pub mod uploads;
pub mod wire;
