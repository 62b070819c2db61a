//! A token that expires: it is kept as long as the server accepts it, and fetched anew, once, when the server
//! refuses it or ends the session.
//!
//! ```sh
//! cargo run --example token
//! ```
//!
//! The server and the issuer of tokens run in the same process. It ends by itself.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "an example shows what happens"
)]

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use actix_socketio::{Client, JoinContext, Reason, Reconnect, Retry};
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler as _,
};

#[derive(Clone, Serialize, Deserialize)]
struct Auth {
    token: u64,
}

/// The token that was fetched last.
#[derive(Default)]
struct Tokens(Mutex<Option<Auth>>);

impl Tokens {
    /// The credentials for the server now.
    async fn get(&self, join: &JoinContext) -> Result<Auth, Infallible> {
        // After any other end, such as a lost connection, the token is still good: no need to ask for one.
        let is_stale = matches!(join.reason(), Some(Reason::Refused(_) | Reason::ServerDisconnect));
        let kept = self.kept().clone();
        if let Some(auth) = kept.filter(|_| !is_stale) {
            println!("tokens: {} is at hand", auth.token);
            return Ok(auth);
        }
        let auth = fetch().await?;
        println!("tokens: fetched {}", auth.token);
        *self.kept() = Some(auth.clone());
        Ok(auth)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Auth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the issuer of tokens. In reality that is an HTTP request, with a time limit of its own.
#[expect(clippy::unused_async, reason = "it would wait")]
async fn fetch() -> Result<Auth, Infallible> {
    Ok(Auth { token: VALID.load(Ordering::SeqCst) })
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = format!("http://{}", start_server()?);
    // Kept since yesterday, and no longer valid.
    let tokens = Arc::new(Tokens(Mutex::new(Some(Auth { token: 1 }))));
    let client = Client::builder(url)
        .auth_with(move |join| {
            let tokens = Arc::clone(&tokens);
            async move { tokens.get(&join).await }
        })
        // Without this, a refusal would be the end: the client does not know that the next token differs.
        .reconnect(Reconnect::default().retry(|reason| match reason {
            Reason::Refused(_) | Reason::ServerDisconnect => Retry::WithNewAuth,
            other => Retry::default_for(other),
        }))
        .connect()
        .await?;
    let socket = client.socket();
    for _ in 0..2 {
        // The server ends the first session in the middle of this. With retries, it is asked again.
        socket.emit_with_ack::<()>("work", ()).retries(3).await?;
        println!("main: the work is done");
    }
    client.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

#[actix::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The token that the server accepts.
static VALID: AtomicU64 = AtomicU64::new(2);

/// A server that refuses clients without the valid token, and makes tokens invalid in the middle of the work.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    async fn check(TryData(auth): TryData<Auth>) -> Result<(), &'static str> {
        match auth {
            Ok(auth) if auth.token == VALID.load(Ordering::SeqCst) => Ok(()),
            Ok(_) => Err("the token has expired"),
            Err(_) => Err("a token is wanted"),
        }
    }
    async fn joined(socket: SocketRef) {
        println!("server: somebody has joined");
        socket.on("work", async |socket: SocketRef, ack: socketioxide::extract::AckSender| {
            // The first token of the day does not last.
            if VALID.compare_exchange(2, 3, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                println!("server: the token expires");
                socket.disconnect().ok();
            } else {
                ack.send(&()).ok();
            }
        });
    }
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", joined.with(check));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().layer(layer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app).await
        })
    });
    Ok(address)
}
