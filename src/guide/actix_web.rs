//! actix-web: one connection to another server, which all requests share.
//!
//! (This module is a page to read; it has no items.)
//!
//! A [`Client`](crate::Client) and a [`Socket`](crate::Socket) are handles. They are `Clone + Send + Sync`, so they go into
//! `web::Data`, and each worker and each request uses the same connection:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::Client;
//! use actix_web::{App, HttpServer, Responder, error, web};
//!
//! async fn order(
//!     what: web::Path<String>,
//!     upstream: web::Data<Client>,
//! ) -> Result<impl Responder, actix_web::Error> {
//!     let order = upstream.socket().emit_with_ack::<u64>("order", what.as_str());
//!     let number = order
//!         .timeout(Duration::from_secs(5))
//!         .await
//!         .map_err(error::ErrorServiceUnavailable)?;
//!     Ok(web::Json(number))
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder("http://localhost:3000").start()?;
//!     let upstream = web::Data::new(client.clone());
//!     let server = HttpServer::new(move || {
//!         App::new().app_data(upstream.clone()).route("/orders/{what}", web::post().to(order))
//!     });
//!     server.bind("127.0.0.1:8080")?.run().await?;
//!     client.shutdown(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! * **Start it once**, before `HttpServer::new`. The closure in there runs once for each worker: a client
//!   that is started inside is a connection for each worker.
//! * **[`start`](crate::ClientBuilder::start), not [`connect`](crate::ClientBuilder::connect)**, lets the web server come up while the
//!   other server is away. Events wait in a bounded buffer meanwhile, and an answer that does not come in time is
//!   an [`AckError`](crate::AckError). A route for load balancers can look at
//!   [`socket.state()`](crate::Socket::state).
//! * **A request should not wait long.** Give each question a [timeout](crate::AckRequest::timeout) that is shorter than the
//!   client's own 30 seconds. If the question must not be asked twice, look at the error: [`AckError::NeverSent`](crate::AckError::NeverSent) may be
//!   tried again, with other errors, the event [may have arrived](crate::guide::delivery).
//! * **Incoming values** are best kept where requests find them: a function that [listens](crate::Socket::listen_to), or an actor,
//!   writes the last one into a map. The function runs on the arbiter of the client, so it must not block.
//! * **The end.** `HttpServer` ends at Ctrl-C and SIGTERM, after the open requests. Then
//!   [`shutdown`](crate::Client::shutdown) sends what still waits.
//! * **Heavy workers.** The client runs in the arbiter of `main`, the workers in others. So a handler that
//!   blocks its worker does not delay the heartbeat. [`start_in`](crate::ClientBuilder::start_in) takes another arbiter.
//!
//! To pass events on to browsers, give each websocket an actor (actix-web-actors), and
//! [subscribe](crate::Socket::subscribe) it to the socket; it is unsubscribed when it stops. The example `bridge` does that, with an
//! overflow that keeps a slow browser from holding up the others.
//!
//! The example `web` is a whole program: it serves the last prices, passes orders on, and has routes for
//! health and [metrics](crate::Stats::prometheus).
