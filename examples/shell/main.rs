//! A shell in a remote process, over Socket.IO: the terminal is yours, the shell is the server's.
//!
//! ```sh
//! cargo run --example shell                                  # a server of its own, and a shell there
//! cargo run --example shell -- serve --listen 127.0.0.1:4022 # a server alone: it prints its URL, with the token
//! cargo run --example shell -- 'http://127.0.0.1:4022/#token'
//! cargo run --example shell -- 'http://127.0.0.1:4022/#token' -- make test
//! ```
//!
//! **The token opens a shell, with all rights of the user that runs the server.** The server listens on loopback only,
//! unless `--i-know-what-this-is` is given.
//! The token is in the URL that the server prints, or in `SHELL_TOKEN`, or in a file (`--token-file`). Others on the
//! machine can see the arguments of a program; they can see neither of the latter two.
//!
//! `server.js` is the same server on Node.js, with the official library:
//!
//! ```sh
//! (cd examples/shell && npm ci && SHELL_TOKEN=0123456789abcdef node server.js) &
//! ```
//!
//! Here is how to
//!
//! * hold a server back: it waits until the terminal has shown the output, so `yes` takes no memory anywhere;
//! * lose nothing when the connection is lost, and have nothing twice: bytes are numbered, see `wire.rs`;
//! * show credentials that are made at each request to join;
//! * send the latest value only (the size of the terminal).
//!
//! When the connection is lost, the server keeps the shell for 60 seconds (`--keep`). It runs on until 1 MiB of its output
//! waits for the client. `~.` behind a newline ends it, as with ssh. The exit code is that of the shell, or 255 if there
//! is none.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example counts bytes, and its server waits by the clock of tokio"
)]

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod options;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod session;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod wire;

use std::{error::Error, process::ExitCode};

type Failure = Box<dyn Error + Send + Sync>;

/// The exit code if there is none of a shell.
const NO_SHELL: u8 = 255;

#[cfg(unix)]
#[actix::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::notice(&error);
            ExitCode::from(NO_SHELL)
        }
    }
}

#[cfg(unix)]
async fn run() -> Result<u8, Failure> {
    use std::{net::Ipv4Addr, time::Duration};

    use clap::Parser as _;
    use options::{Command, Options};
    use server::Server;

    let Options { serve, opening } = Options::parse();
    env_logger::init();
    if let Some(Command::Serve(serving)) = serve {
        return serve_until_told(&serving).await.map(|()| 0);
    }
    let command = opening.command();
    let Some(url) = &opening.url else {
        let token = client::random_name()?;
        let server =
            Server::start((Ipv4Addr::LOCALHOST, 0).into(), token.clone(), Duration::from_secs(60))?;
        let url = format!("http://{}", server.address);
        return client::run(&url, token, command).await;
    };
    let (url, token) = opening.server(url)?;
    client::run(&url, token, command).await
}

/// Serves shells until Ctrl-C or SIGTERM.
#[cfg(unix)]
async fn serve_until_told(serving: &options::Serving) -> Result<(), Failure> {
    use actix_rt::signal::unix::{SignalKind, signal};

    let address = serving.listen;
    if !address.ip().is_loopback() && !serving.i_know_what_this_is {
        return Err(format!(
            "{address} is not on loopback: others could open a shell here, and read along. \
             If you know what this is, add --i-know-what-this-is"
        )
        .into());
    }
    let given = serving.token()?;
    let token = given.clone().map_or_else(client::random_name, Ok)?;
    let server = server::Server::start(address, token.clone(), serving.keep())?;
    let reach = if address.ip().is_loopback() { "on loopback only" } else { "beyond loopback" };
    eprintln!("A shell for whoever has the token, {reach}.");
    // The user knows a token that was given.
    let fragment = if given.is_some() { String::new() } else { format!("#{token}") };
    println!("http://{}/{fragment}", server.address);
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
    server.stop().await;
    Ok(())
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("this example needs terminals as Unix has them");
    ExitCode::from(NO_SHELL)
}
