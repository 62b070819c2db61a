//! Moving from another client: the same program, side by side.
//!
//! (This module is a page to read; it has no items.)
//!
//! The program connects with a token, prints prices, asks for the stock within a second, answers the server, and leaves.
//!
//! # Here
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::{Client, Disconnected};
//! use serde_json::json;
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder("http://localhost:3000/shop")
//!         .auth(json!({ "token": "abc" }))
//!         .connect()
//!         .await?;
//!     let shop = client.socket();
//!     shop.listen("price").call(|event| match event.args::<(String, f64)>() {
//!         Ok((what, price)) => println!("{what} costs {price}"),
//!         Err(error) => eprintln!("not a price: {error}"),
//!     });
//!     shop.listen("are_you_there").call(|event| drop(event.ack("yes")));
//!     shop.listen_to::<Disconnected>().call(|gone| println!("lost: {}", gone.reason()));
//!     let left: u32 = shop.emit_with_ack("stock", "tea").timeout(Duration::from_secs(1)).await?;
//!     println!("{left} left");
//!     client.shutdown(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! # From JavaScript (socket.io-client)
//!
//! ```js
//! const shop = io("http://localhost:3000/shop", { auth: { token: "abc" } });
//! shop.on("price", (what, price) => console.log(`${what} costs ${price}`));
//! shop.on("are_you_there", (answer) => answer("yes"));
//! shop.on("disconnect", (reason) => console.log("lost:", reason));
//! const left = await shop.timeout(1000).emitWithAck("stock", "tea");
//! console.log(left, "left");
//! shop.disconnect();
//! ```
//!
//! | there | here |
//! |---|---|
//! | `io(url, { path, auth, query, extraHeaders })` | `Client::builder(url).path(…).auth(…).query(…).header(…)` |
//! | `io(url + "/shop")`, `manager.socket("/shop")` | a path in the URL, or `client.of("/shop")` |
//! | `socket.on("connect", …)` | `Handler<Ready>`, or `socket.ready().await` |
//! | `socket.on("x", …)` | `socket.on::<X>(actor)`, or `listen("x")` with `.call(…)`, `.actor(…)`, `.stream()` |
//! | `onAny`, `onAnyOutgoing` | `subscribe` with `Handler<Event>`, or `listen(Filter::all())`; `subscribe_to::<Emitted>` |
//! | `socket.on("disconnect", …)` | `Handler<Disconnected>` |
//! | `socket.on("connect_error", …)` | `ConnectError` for a refusal and when no attempt follows, `Reconnecting` when one follows |
//! | `manager.on("reconnect_attempt")`, `"reconnect_failed"` | `Reconnecting`, `GaveUp` |
//! | `manager.engine.on("upgrade", …)` | `Upgraded` |
//! | `socket.on("error", …)` of 2.x | `ServerError` |
//! | `socket.emit("x", a, b)`, `socket.send(a)` | `socket.emit("x", (a, b))`, `socket.emit("message", a)` |
//! | `socket.timeout(1000).emitWithAck("x", a)` | `socket.emit_with_ack("x", a).timeout(…)` |
//! | `socket.volatile.emit(…)` | `socket.send(Emit::new(…)?.volatile())` |
//! | `once`, `off` | `listen("x").once()`, `subscription.cancel()` |
//! | `socket.connected`, `socket.active`, `socket.id`, `socket.recovered` | `socket.state().is_joined()`, `state().reason().is_none()`, `ready.sid()`, `ready.recovered()` |
//! | `socket.sendBuffer` | `socket.unsent()`, `socket.take_unsent().await` |
//! | `auth: (cb) => …` | `.auth_with(async \|join\| …)` |
//! | `manager.socket("/shop", { auth })` | `client.namespace("/shop").auth(…).join()` |
//! | `retries`, `ackTimeout` | `.retries(n)`, `.ack_timeout(…)` |
//! | `transports`, `rememberUpgrade`, `protocols`, `addTrailingSlash` | `.transports([…])`, `.remember_upgrade(…)`, `.subprotocols([…])` and `client.subprotocol()`, `.add_trailing_slash(…)` |
//! | `ca`, `cert`, `key`, `servername` | `.tls(Tls::new().add_ca_pem(…).client_certificate(…).server_name(…))` |
//! | `parser: require("socket.io-msgpack-parser")` | `.parser(Parser::Msgpack)`, with the feature `msgpack` |
//! | `reconnectionDelay`, `reconnectionAttempts`, … | `.reconnect(Reconnect::default().delay(…).attempts(…))` |
//! | `socket.disconnect()`, `connect()`; closing the manager | the same; `client.shutdown(deadline).await` |
//!
//! Differences: an acknowledgement always has a time limit (30 seconds), and so has joining (20 seconds); buffers are bounded, and
//! a full one is an error; a websocket is tried first, and polling where none can be opened.
//!
//! # From `rust_socketio`
//!
//! ```rust,ignore
//! let shop = ClientBuilder::new("http://localhost:3000")
//!     .namespace("/shop")
//!     .auth(json!({ "token": "abc" }))
//!     .on("price", |payload: Payload, _| async move { println!("{payload:?}") }.boxed())
//!     .on("close", |_, _| async { println!("lost") }.boxed())
//!     .connect()
//!     .await?;
//! let ack = |payload: Payload, _| async move { println!("{payload:?} left") }.boxed();
//! shop.emit_with_ack("stock", json!("tea"), Duration::from_secs(1), ack).await?;
//! shop.disconnect().await?;
//! ```
//!
//! | there | here |
//! |---|---|
//! | tokio, or threads | actix; in a program on tokio, [a thread with an actix system](crate::guide::plain_tokio) |
//! | `.namespace("/shop")`, one for each client | a path in the URL, or `client.of("/shop")`: any number on one connection |
//! | `.on("x", callback)`, before `connect` | `listen("x")` at any time |
//! | `.on("open")`, `.on("close")`, `.on("error")` | `Ready`, `Disconnected`, `ConnectError`: types, so an event of the server with such a name is an event |
//! | `Payload::Text(values)`, `Payload::Binary(bytes)` | `event.args::<T>()`, with `Bytes` anywhere; [`Args`](crate::Args) without types |
//! | `.emit("x", json!([a, b]))` | `socket.emit("x", (a, b))`; a `json!([a, b])` is one argument, an array |
//! | `emit_with_ack(…, timeout, callback)` | `emit_with_ack(…).timeout(…).await`, which returns the answer or an error |
//! | `.opening_header(…)`, `.tls_config(…)`, `.transport_type(…)` | `.header(…)`, `.tls(…)` with rustls, `.transports(…)` |
//! | `.reconnect(…)`, `.reconnect_delay(…)`, `.max_reconnect_attempts(…)` | [`Reconnect`](crate::Reconnect) |
//! | `.reconnect_on_disconnect(true)` | `Reconnect::default().retry(…)`, with `Retry::Again` for `Reason::ServerDisconnect` |
//!
//! # From Python (python-socketio)
//!
//! ```py
//! sio = socketio.AsyncClient()
//! sio.on("price", lambda what, price: print(what, "costs", price), namespace="/shop")
//! sio.on("are_you_there", lambda: "yes", namespace="/shop")
//! await sio.connect("http://localhost:3000", auth={"token": "abc"}, namespaces=["/shop"])
//! left = await sio.call("stock", "tea", namespace="/shop", timeout=1)
//! await sio.disconnect()
//! ```
//!
//! | there | here |
//! |---|---|
//! | `connect(url, namespaces=[…])` | `Client::builder(url)`, and `client.of(…)` at any time |
//! | `@sio.on("*")`, a `ClientNamespace` class | an actor that [subscribes](crate::Socket::subscribe) |
//! | the value that a handler returns is the answer | the same with [`answer`](crate::Socket::answer), or `event.ack(…)` |
//! | handlers of several events run at the same time | in the order of the events; [spawn](crate::guide::actors) what may overlap |
//! | `emit` raises while there is no connection | it waits; with [`Offline::Fail`](crate::Offline::Fail) it fails |
//! | `sio.call(…, timeout=60)` | `emit_with_ack(…).timeout(…)` |
//! | a tuple for several arguments, `bytes` | the same, and [`Bytes`](bytes::Bytes) or [`Attachment`](crate::Attachment) |
//! | `await sio.wait()` | `actix_rt::signal::ctrl_c().await`, or [until it ends](crate#how-long-it-runs) |
//!
//! # From Go (henvic/socketio)
//!
//! ```go
//! c, err := socketio.Connect(u, websocket.NewTransport())
//! shop, err := c.Of("shop")
//! select { // or events may be lost
//! case <-ctx.Done():
//!     return ctx.Err()
//! case <-shop.Ready():
//! }
//! err = shop.Emit("fleet", 100)
//! ```
//!
//! | there | here |
//! |---|---|
//! | `Connect`, `DialOnly` | `connect().await`, or `start()`, which does not wait |
//! | wait for `Ready()` before each first emit | not needed: events wait in a buffer until the namespace is joined. `ready().await` tells whether that worked |
//! | a `context` for each wait | `.timeout(…)`; every wait has a limit by default |
//! | a handler with typed arguments, by reflection | types by serde: [`events`](crate::guide::events) |
//! | servers 1.x and 2.x | these, 3.x and 4.x |
//! | `Emit` when the connection is gone | it waits, and the client connects again |
