//! Connects through a proxy, and says why where it cannot.
//!
//! ```sh
//! cargo run --example proxy -- https://realtime.example.com                # HTTPS_PROXY, NO_PROXY …
//! cargo run --example proxy -- https://realtime.example.com http://proxy.example.com:3128
//! cargo run --example proxy -- https://realtime.example.com socks5://user:password@localhost:1080
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use actix_socketio::{Client, ConnectFailure, Proxy, ProxyFailure, ReadyError, Reason, StartError};

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a server is missing")?;
    let proxy = arguments.next().map_or_else(Proxy::from_env, Proxy::new);
    match Client::builder(url).proxy(proxy).connect().await {
        Ok(client) => {
            println!("joined {}", client.socket().namespace());
            client.shutdown(Duration::from_secs(5)).await;
            Ok(())
        }
        Err(StartError::Ready {
            error: ReadyError::Failing(Reason::Connect(ConnectFailure::Proxy { proxy, failure })),
            ..
        }) => Err(match failure {
            ProxyFailure::CredentialsRefused => format!("{proxy}: is the password right?"),
            // The text says what can be done.
            failure => format!("the proxy {proxy} {failure}"),
        }
        .into()),
        Err(error) => Err(error.into()),
    }
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
