//! What is guaranteed to arrive, with which setting, and what that costs.
//!
//! (This module is a page to read; it has no items.)
//!
//! # From the client to the server
//!
//! | setting | the server gets an event | order | cost |
//! |---|---|---|---|
//! | [`emit`](crate::Socket::emit) | at most once | that of the calls | none |
//! | [`emit_with_ack`](crate::Socket::emit_with_ack) | at most once, and the caller learns whether it did: yes, no, or not known | the same | an entry in a table until the answer comes |
//! | … with [retries](crate::AckRequest::retries) | at least once, as long as the namespace does not end | kept among events with retries, if the server drops repeats | room in the buffer until the answer comes; one round trip for each event, or [less](crate::ClientBuilder::retry_window) |
//! | … and [message ids](crate::ClientBuilder::message_ids) | exactly once, if the server [drops repeats](#at-least-once) | the same | one more argument |
//! | [`Emit::volatile`](crate::Emit::volatile) | at most once, and only if it can be sent at once | that of the calls | none |
//! | [`Emit::latest`](crate::Emit::latest) | at most once; of the waiting events with one key, only the last one | it takes the place of the event before | room for the key while it waits |
//!
//! An event **waits** in the buffer of its namespace until the namespace is joined, and then until the
//! connection takes it. When a connection is lost, the events that it has not written go back to their places
//! in the buffer, and into the next session. Events that were written shortly before may have arrived
//! or not. [`Stats::in_doubt`](crate::Stats::in_doubt) counts the plain ones; for those that ask for an answer, the
//! outcome says it:
//!
//! | outcome of an event that asks for an answer | the server |
//! |---|---|
//! | an answer | has handled it |
//! | [`AckError::TimedOut`](crate::AckError::TimedOut), [`AckError::Disconnected`](crate::AckError::Disconnected), [`AckError::Unsendable`](crate::AckError::Unsendable) | may have seen it |
//! | [`AckError::NeverSent`](crate::AckError::NeverSent) | has not seen it, and never will |
//! | [`AckError::Decode`](crate::AckError::Decode) | has handled it; its answer does not fit the type that was asked for |
//!
//! The **buffer** is [bounded](crate::ClientBuilder::send_buffer) in events and bytes. When it is full,
//! an emit fails with [`EmitError::Full`](crate::EmitError::Full), which hands the event back. A
//! producer can slow down instead: it awaits what `emit` returns, which resolves when the event
//! is [written](crate::Written). [`Offline`](crate::Offline) and [`Emit::lifetime`](crate::Emit::lifetime)
//! set whether and for how long events may wait. Waiting events can be
//! [taken back](crate::Socket::take_unsent).
//!
//! An event that is **larger than the server accepts** ends the connection. Servers since 4.5 announce the
//! largest message in their handshake, and a larger event is refused with
//! [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). Older servers announce nothing and
//! close the connection. So an event of 64 KiB or more (or with more than 10 attachments) is suspected if the
//! connection is lost after it was written and before the server is known to have read it. Suspected events
//! are sent again one at a time. If the connection is lost right after the same event a second time in a row,
//! that event is not sent again: its caller gets [`Unsendable`](crate::Unsendable), which names it.
//!
//! ## At least once
//!
//! ```no_run
//! use std::time::Duration;
//! use actix_socketio::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://localhost:3000")
//!     .retries(10)                           // for each event that asks for an answer
//!     .ack_timeout(Duration::from_secs(5))   // for each try
//!     .retry_window(32)                      // events under way at once
//!     .message_ids(true)
//!     .start()?;
//! client.socket().emit_with_ack::<()>("order", (7, "tea")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An answer that does not come in time uses up one retry. A lost connection uses up none: the event is
//! sent again on the next connection, however often that happens. So an event ends without an answer only if
//!
//! * the server is there and does not answer, until the retries are used up;
//! * the server closes the connection because the event is too large
//!   ([`AckError::Unsendable`](crate::AckError::Unsendable));
//! * its own [lifetime](crate::Emit::lifetime) is over;
//! * the namespace ends: left, refused, given up or shut down.
//!
//! The server may get such an event more than once. With message ids, its last argument is
//! `{"messageId":"…"}`, the same each time. On a server in JavaScript (Socket.IO 2.x and later), this
//! middleware drops the repeats, answers them like the first one, and removes the argument:
//!
//! ```js
//! const answers = new Map(); // by id; bound it as it suits you
//! io.on("connection", (socket) => socket.use((packet, next) => {
//!   const ack = packet.at(-1), id = packet.at(-2)?.messageId;
//!   if (typeof ack !== "function" || !id) return next();
//!   packet.splice(-2, 1); // handlers do not see it
//!   if (answers.has(id)) return answers.get(id).then((answer) => ack(...answer));
//!   let done;
//!   answers.set(id, new Promise((resolve) => { done = resolve; }));
//!   packet[packet.length - 1] = (...answer) => { done(answer); ack(...answer); };
//!   // The handler runs in a tick of its own, unless the socket is gone by then.
//!   process.nextTick(() => socket.connected || answers.delete(id));
//!   next();
//! }));
//! ```
//!
//! If other middlewares of the socket are asynchronous, this one must be the last. Each handler must
//! answer: if one throws before it does, that id is never answered. If ids have to survive a
//! restart of the server, store them together with the effects of the event, in the same transaction.
//!
//! # From the server to the client
//!
//! | setting | a subscriber gets an event | order |
//! |---|---|---|
//! | none | at most once | that of the server, per namespace |
//! | connection state recovery, switched on at the server | exactly once, if the connection is back in time (two minutes, unless the server says otherwise) | the same, across connections |
//!
//! With **recovery** (servers since 4.6), the events that the server emitted while there was no
//! connection come first, and then [`Ready`](crate::Ready), whose [`recovered`](crate::Ready::recovered)
//! is `true`. Nothing has to be set in the client. If it is `false`, the events emitted meanwhile are
//! lost: load again whatever depends on them. Recovery has limits:
//!
//! * Volatile events, and events that ask for an ack, are never sent again.
//! * The server must notice that the connection is gone before the client is back. Otherwise the session
//!   is not recovered; or, with official servers up to 4.8.4 and a session that was recovered before, it
//!   is recovered but gets no more broadcasts once the server notices.
//!
//! [Another client](crate::SessionTicket) can take a session over.
//!
//! A **subscriber that is slower than the server** makes the connection pause, so that the server has to
//! hold back. When pausing any longer would endanger the heartbeat, the subscriber keeps the events that
//! wait for it and misses those that come; [`Lagged`](crate::Lagged) says how many. A burst that fits into the
//! [window](crate::ClientBuilder::receive_window) is not missed. Subscribers that would rather miss events
//! at once, or leave, set [`Overflow`](crate::Overflow).
//!
//! # When something ends
//!
//! | | connection lost, and tried again | namespace ended by the server, and tried again | ended for good |
//! |---|---|---|---|
//! | buffered events | wait | wait | wait for [`connect`](crate::Socket::connect); after a shutdown they are counted as [dropped](crate::ShutdownReport::dropped) |
//! | … that ask for an answer | wait, up to their timeout | the same | [`NeverSent`](crate::AckError::NeverSent) |
//! | sent, without an answer yet | [`Disconnected`](crate::AckError::Disconnected) | the same | the same |
//! | … with retries | go again | go again | [`Disconnected`](crate::AckError::Disconnected), or [`NeverSent`](crate::AckError::NeverSent) if it never went |
//! | volatile events that were not written | dropped, and counted | the same | the same |
//! | answers to the server | dropped: nobody waits for them any more | the same | the same |
//! | [`ready`](crate::Socket::ready) | waits, up to its timeout | the same | [`ReadyError::Ended`](crate::ReadyError::Ended) |
//! | subscribers | [`Disconnected`](crate::Disconnected) or nothing, [`Reconnecting`](crate::Reconnecting), [`Ready`](crate::Ready) | [`Disconnected`](crate::Disconnected) or [`ConnectError`](crate::ConnectError), [`Reconnecting`](crate::Reconnecting), [`Ready`](crate::Ready) | [`Disconnected`](crate::Disconnected) or [`ConnectError`](crate::ConnectError), perhaps [`GaveUp`](crate::GaveUp) |
//!
//! The [policy](crate::Reconnect::retry) decides by the [`Reason`](crate::Reason) which column holds.
//! [`shutdown`](crate::Client::shutdown) sends the buffered events, waits for answers until its
//! deadline, and reports how many events were sent, answered and dropped, and how many are unknown: sent, without an answer.
//!
//! # Numbers
//!
//! [`Client::stats`](crate::Client::stats) counts all of this: events that were resent, discarded, replaced,
//! missed, repeated or late, and those that wait.
