//! Connects over TLS, and says why where it cannot.
//!
//! ```sh
//! cargo run --example tls -- https://realtime.example.com
//! cargo run --example tls -- https://localhost:3000 ca.pem              # an authority of your own
//! cargo run --example tls -- https://localhost:3000 ca.pem me.pem me.key   # and a client certificate
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, fs, process::ExitCode, time::Duration};

use actix_socketio::{
    Client, ConnectFailure, ReadyError, Reason, StartError, TlsFailure, tls::Tls,
};

/// The options that the arguments ask for.
fn options(arguments: &[String]) -> Result<Tls, std::io::Error> {
    Ok(match arguments {
        [] => Tls::new(),
        [ca] => Tls::new().add_ca_file(ca),
        [ca, chain, key, ..] => {
            Tls::new().add_ca_file(ca).client_certificate(fs::read(chain)?, fs::read(key)?)
        }
        [_, _] => return Err(std::io::Error::other("a client certificate needs its key")),
    })
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (url, files) = arguments.split_first().ok_or("the URL of a server is missing")?;
    match Client::builder(url.as_str()).tls(options(files)?).connect().await {
        Ok(client) => {
            println!("joined {}", client.socket().namespace());
            client.shutdown(Duration::from_secs(5)).await;
            Ok(())
        }
        Err(StartError::Ready {
            error: ReadyError::Failing(Reason::Connect(ConnectFailure::Tls(failure))),
            ..
        }) => Err(match failure {
            TlsFailure::UnknownIssuer => "who signed that certificate? Give me its CA".into(),
            // The text says what can be done.
            failure => failure.to_string().into(),
        }),
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
