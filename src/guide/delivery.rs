//! What arrives: what is guaranteed, by which setting, and what it costs. (A page to read; there is
//! nothing else in it.)
//!
//! # From here to the server
//!
//! | setting | the server gets an event | order | it costs |
//! |---|---|---|---|
//! | [`emit`](crate::Socket::emit) | at most once | that of the calls | nothing |
//! | [`emit_with_ack`](crate::Socket::emit_with_ack) | at most once, and the caller knows: yes, no, or not known | the same | an entry in a table until the answer is here |
//! | … with [retries](crate::AckRequest::retries) | at least once, as long as the namespace does not end | among themselves, if the server drops repeats | room in the buffer until the answer is here; one round trip each, or [less](crate::ClientBuilder::retry_window) |
//! | … and [message ids](crate::ClientBuilder::message_ids) | once, if the server [drops repeats](#at-least-once) | the same | one more argument |
//! | [`Emit::volatile`](crate::Emit::volatile) | at most once, and only if it can go at once | that of the calls | nothing |
//! | [`Emit::latest`](crate::Emit::latest) | at most once, and of those that wait under one key the last one | it takes the place of the one before | nothing while nothing waits, a look at what waits otherwise |
//!
//! An event **waits** in the buffer of its namespace until that is joined, and then for the
//! connection to take it. A connection that is lost gives back what it did not write: that goes
//! into the next session, in its place, and not into the void. What was written when the connection
//! was lost may have arrived, or not; nobody can know. Of plain events
//! [`Stats::in_doubt`](crate::Stats::in_doubt) counts those, and for the others the outcome says so:
//!
//! | outcome of an event that asks for an answer | the server |
//! |---|---|
//! | the answer | has handled it |
//! | [`AckError::TimedOut`](crate::AckError::TimedOut), [`AckError::Disconnected`](crate::AckError::Disconnected), [`AckError::Unsendable`](crate::AckError::Unsendable) | may have seen it |
//! | [`AckError::NeverSent`](crate::AckError::NeverSent) | has not seen it, and never will |
//! | [`AckError::Decode`](crate::AckError::Decode) | has handled it, and answered in another shape than asked for |
//!
//! The **buffer** has a [bound](crate::ClientBuilder::send_buffer) in events and bytes. Beyond it,
//! emits fail with [`EmitError::Full`](crate::EmitError::Full), which hands the event back. A
//! producer that is to be slowed down instead awaits what `emit` returns: it resolves when the event
//! is [written](crate::Written). How long events may wait, and whether they may, is up to
//! [`Offline`](crate::Offline) and [`Emit::lifetime`](crate::Emit::lifetime); what waits can be
//! [taken back](crate::Socket::take_unsent).
//!
//! An event that is **larger than the server takes** would end the connection. Servers since 4.5 say
//! in their handshake how large a message may be, and a larger one is refused with
//! [`EmitError::PayloadTooLarge`](crate::EmitError::PayloadTooLarge). Older ones say nothing, and cut
//! the connection. So an event of 64 KiB and more (or with more than 10 attachments) that was written,
//! and not known to be read when the connection was lost, is a suspect: when that happens twice in a
//! row it is not sent again, and who waits for it gets [`Unsendable`](crate::Unsendable), which names
//! it. Such events are sent one at a time while it is being found out.
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
//!     .retry_window(32)                      // so many at a time
//!     .message_ids(true)
//!     .start()?;
//! client.socket().emit_with_ack::<()>("order", (7, "tea")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A try whose answer does not come in time takes one of the retries. A connection that is lost
//! takes none: the events go again on the next one, however often. So what ends an event without an
//! answer is a server that is there and does not answer (or closes the connection over the event, as
//! too large: [`AckError::Unsendable`](crate::AckError::Unsendable)), its own [lifetime](crate::Emit::lifetime), or the end of the namespace (left, refused,
//! given up, shut down).
//!
//! Sent again means that the server may get it twice. With message ids, the last argument of such
//! an event is `{"messageId":"…"}`, the same each time. This drops the repeats on a server in
//! JavaScript (Socket.IO 2.x and later), answers them like the first one, and takes the argument
//! away:
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
//! It must be the last of the socket's middlewares if others are asynchronous, and a handler must
//! answer what it has begun: one that throws before it does leaves an id that is never answered. To
//! outlive a restart of the server, keep the ids where the effects are kept, and in the same
//! transaction.
//!
//! # From the server to here
//!
//! | setting | a subscriber gets an event | order |
//! |---|---|---|
//! | none | at most once | that of the server, per namespace |
//! | connection state recovery, switched on at the server | once, if the connection is back in time (two minutes, unless the server says otherwise) | the same, across connections |
//!
//! With **recovery** (servers since 4.6) what the server emitted while there was no connection comes
//! first, then [`Ready`](crate::Ready), whose [`recovered`](crate::Ready::recovered) is `true`. There
//! is nothing to set here. Where it is `false`, what was emitted meanwhile is lost: load anew
//! whatever depends on it. Volatile events, and those that ask for an ack, are never made up for. And
//! the server must have noticed that the connection is gone before the client is back; if not, there
//! is nothing to go on with, or (official servers up to 4.8.4, for a session that was recovered
//! before) the session is gone on with and gets no more broadcasts once the server notices. A session can also be gone on with
//! by [another client](crate::SessionTicket).
//!
//! A **subscriber that is slower than the server** makes the connection pause, and the server hold
//! back. When that would cost the heartbeat, it keeps what waits and misses what comes, and
//! [`Lagged`](crate::Lagged) says how much. What fits into the
//! [window](crate::ClientBuilder::receive_window) is not missed. [`Overflow`](crate::Overflow) is for subscribers that
//! prefer to miss events at once, or to leave.
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
//! | answers to the server | void: nobody waits for them any more | the same | the same |
//! | [`ready`](crate::Socket::ready) | waits, up to its timeout | the same | [`ReadyError::Ended`](crate::ReadyError::Ended) |
//! | subscribers | [`Disconnected`](crate::Disconnected) or nothing, [`Reconnecting`](crate::Reconnecting), [`Ready`](crate::Ready) | [`Disconnected`](crate::Disconnected) or [`ConnectError`](crate::ConnectError), [`Reconnecting`](crate::Reconnecting), [`Ready`](crate::Ready) | [`Disconnected`](crate::Disconnected) or [`ConnectError`](crate::ConnectError), perhaps [`GaveUp`](crate::GaveUp) |
//!
//! Which it is says the [policy](crate::Reconnect::retry) by the [`Reason`](crate::Reason).
//! [`shutdown`](crate::Client::shutdown) sends what is buffered, waits for answers until its
//! deadline, and reports what was sent, acked, dropped, and what is unknown.
//!
//! # Numbers
//!
//! [`Client::stats`](crate::Client::stats) counts all of that: what was resent, discarded, replaced,
//! missed, repeated, late, and what waits.
