//! Pages on topics that concern several types.
//!
//! | page | |
//! |---|---|
//! | [`events`] | receive and send events, by name or as types of your own |
//! | [`dynamic`] | arguments whose types are known at run time only; attachments |
//! | [`acknowledgements`] | ask the server and answer it |
//! | [`getting_through`] | TLS, proxies, balancers, unix sockets |
//! | [`credentials`] | tokens, and how to renew them |
//! | [`reconnecting`] | lose a connection and get it back; standby servers |
//! | [`delivery`] | what is guaranteed to arrive, and what that costs |
//! | [`uploads`] | large files, with progress |
//! | [`actors`] | mailboxes, slow subscribers, arbiters |
//! | [`actix_web`] | share one client among the requests of a web server |
//! | [`plain_tokio`] | use it in a program that is not on actix |
//! | [`shutdown`] | ctrl-c, and the end of a program |
//! | [`logging`] | the log, and numbers for Prometheus |
//! | [`wire`] | see what goes over the wire, record it, replay it |
//! | [`bridges`] | join two servers |
//! | [`testing`] | test your own code against a server in the process |
//! | [`troubleshooting`] | what each error means, and what to do |
//! | [`moving`] | come from JavaScript, rust_socketio, Python or Go: the same code, side by side |

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
pub mod shutdown;
pub mod testing;
pub mod troubleshooting;
pub mod uploads;
pub mod wire;
