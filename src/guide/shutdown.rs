//! Ctrl-C and the end of a program.
//!
//! (This module is a page to read; it has no items.)
//!
//! A client lives as long as its actix system and one handle to it: a [`Client`](crate::Client), a [`Socket`](crate::Socket), or
//! an answer that is awaited. So `main` has to wait for something, and then end the client:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::Client;
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder("http://localhost:3000").start()?;
//!     client.socket().listen("price").call(|event| println!("{}", event.name()));
//!     actix_rt::signal::ctrl_c().await?;
//!     let report = client.shutdown(Duration::from_secs(5)).await;
//!     eprintln!("sent {}, unanswered {}, dropped {}", report.sent, report.unknown, report.dropped);
//!     Ok(())
//! }
//! ```
//!
//! | end | waiting events | the server sees |
//! |---|---|---|
//! | [`shutdown(deadline)`](crate::Client::shutdown) | they are sent, and their answers awaited, up to the deadline; the [report](crate::ShutdownReport) counts the rest | `client namespace disconnect` |
//! | [`hand_over(deadline)`](crate::Client::hand_over) | the same | a lost connection: the session can be [resumed](crate::ClientBuilder::resume) elsewhere |
//! | the last handle is dropped | the same, with 5 seconds, as long as the system runs | `client namespace disconnect` |
//! | `System::current().stop()`, or `main` returns | lost | `transport close` |
//! | the process is killed | lost | `transport close`, or `ping timeout` |
//!
//! * After `shutdown` was called, nothing can be emitted: [`EmitError::Closed`](crate::EmitError::Closed).
//! * It may be called again, and by several handles: all get the same report.
//! * `Duration::ZERO` ends the client at once.
//! * [`Socket::disconnect`](crate::Socket::disconnect) leaves one namespace; the client stays.
//!
//! # SIGTERM, as from systemd or Kubernetes
//!
//! ```no_run
//! # #[cfg(unix)]
//! async fn ended() -> std::io::Result<()> {
//!     use actix_rt::signal::unix::{SignalKind, signal};
//!     let mut term = signal(SignalKind::terminate())?;
//!     let term = std::pin::pin!(term.recv());
//!     let ctrl_c = std::pin::pin!(actix_rt::signal::ctrl_c());
//!     futures::future::select(term, ctrl_c).await;
//!     Ok(())
//! }
//! ```
//!
//! In an actix-web server, [`HttpServer::run`](crate::guide::actix_web) returns after either signal: shut the client down after it.
//!
//! # Until the server ends it
//!
//! A tool that ends with its server awaits [`Disconnected`](crate::Disconnected) or [`ConnectError`](crate::ConnectError):
//! [How long it runs](crate#how-long-it-runs) has the function. With [`Reconnect::never`](crate::Reconnect::never), the first loss is the end.
