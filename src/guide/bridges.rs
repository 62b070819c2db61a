//! Joining two servers, or two namespaces of one.
//!
//! (This module is a page to read; it has no items.)
//!
//! A [`Bridge`](crate::Bridge) emits each event of one side to the other, with acknowledgements and attachments, without decoding it:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::{Bridge, Client, Overflow, Route};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let old = Client::builder("http://old.example:3000").name("old").start()?; // 1.x to 4.x
//! let new = Client::builder("http://new.example:3000").name("new").start()?;
//! let bridge = Bridge::between(old.socket(), &new.of("/legacy")?)
//!     .forward(Route::all().except(["debug"]).rename("order", "order:old"))
//!     .back(Route::names(["order:done"]))
//!     .ack_timeout(Duration::from_secs(5))
//!     .overflow(Overflow::Pause)
//!     .start()?;
//! println!("{:?}", bridge.stats().forward);
//! # Ok(())
//! # }
//! ```
//!
//! | for | use |
//! |---|---|
//! | one direction | `.back(Route::none())` |
//! | some events | [`Route::names`](crate::Route::names), [`prefix`](crate::Route::prefix), [`except`](crate::Route::except), [`filter`](crate::Route::filter) |
//! | other names on the other side | [`Route::rename`](crate::Route::rename) |
//! | other arguments on the other side | a [middleware](crate::middleware) on the client that they go to |
//! | several namespaces | a bridge for each |
//! | single events, forwarded by hand | [`Event::to_emit`](crate::Event::to_emit), [`Event::ack_with`](crate::Event::ack_with) |
//! | no waiting while the other side is away | `socket.`[`with_offline`](crate::Socket::with_offline)`(Offline::Fail)` |
//! | a browser at the other side | an actor for each websocket (actix-web-actors) that subscribes: the example `bridge` |
//!
//! * **Both ways, without loops.** Each side remembers what was sent to it, and does not pass it back within ten seconds
//!   ([`echo_memory`](crate::BridgeBuilder::echo_memory)). A ring of three bridges is not recognised: break it with routes.
//! * **A slow side holds the fast one back.** When that would cost the heartbeat, the newest events are missed, and counted.
//! * **A side that is away** is tried again by its own policy; its events wait in its [buffer](crate::ClientBuilder::send_buffer) and are sent when it is back.
//! * **Acknowledgements** go through: the server that asked gets the other one's answer, or runs into its own timeout.
//! * **Identity.** Each server sees one client. If the sender matters, it must be in the event.
//!
//! # Counters
//!
//! [`Bridge::stats`](crate::Bridge::stats) has these for each direction:
//!
//! | number | if it grows |
//! |---|---|
//! | [`heard`](crate::BridgeCounts::heard), [`passed`](crate::BridgeCounts::passed), [`written`](crate::BridgeCounts::written) | all is well |
//! | [`filtered`](crate::BridgeCounts::filtered), [`echoes`](crate::BridgeCounts::echoes) | the route, or the memory for echoes, held events back |
//! | [`refused`](crate::BridgeCounts::refused) | the other side did not accept them: it has ended, or they are too large for it |
//! | [`discarded`](crate::BridgeCounts::discarded) | they were accepted and never sent, for instance because that client was shut down |
//! | [`missed`](crate::BridgeCounts::missed) | the other side was too slow for too long |
//! | [`unanswered`](crate::BridgeCounts::unanswered) | no answer came in time |
//!
//! A bridge ends with [`stop`](crate::Bridge::stop), or with one of its clients. Dropping it does not end it. The [module](crate::bridge) has
//! the details; the example `bridge_two` is a whole program.
