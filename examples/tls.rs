//! Connects over TLS; if that fails, says why.
//!
//! ```sh
//! cargo run --example tls                                # with a server of its own
//! cargo run --example tls -- https://realtime.example.com
//! cargo run --example tls -- https://localhost:3000 ca.pem              # an authority of your own
//! cargo run --example tls -- https://localhost:3000 ca.pem me.pem me.key   # and a client certificate
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env, error::Error, fs, net::SocketAddr, process::ExitCode, sync::Arc, thread, time::Duration,
};

use actix_socketio::{
    Client, ConnectFailure, ReadyError, Reason, StartError, TlsFailure,
    tls::{
        Tls,
        rustls::{
            ServerConfig, crypto,
            pki_types::{CertificateDer, PrivatePkcs8KeyDer},
        },
    },
};
use socketioxide::{SocketIo, extract::SocketRef};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The options that the arguments ask for.
fn options(arguments: &[String]) -> Result<Tls, Box<dyn Error>> {
    let read =
        |path: &String| fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"));
    Ok(match arguments {
        [] => Tls::new(),
        [ca] => Tls::new().add_ca_file(ca),
        [ca, chain, key, ..] => {
            Tls::new().add_ca_file(ca).client_certificate(read(chain)?, read(key)?)
        }
        [_, _] => return Err("the file with the key of the client certificate is missing".into()),
    })
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((url, files)) = arguments.split_first() {
        return connect(url, options(files)?).await;
    }
    let (address, certificate) = start_server()?;
    let url = format!("https://{address}");
    // The system does not trust the certificate of this server, which is self-signed.
    if let Err(error) = connect(&url, Tls::new()).await {
        println!("not joined: {error}");
    }
    connect(&url, Tls::new().add_ca_pem(certificate)).await
}

async fn connect(url: &str, tls: Tls) -> Result<(), Box<dyn Error>> {
    match Client::builder(url).tls(tls).connect().await {
        Ok(client) => {
            println!("joined {}", client.socket().namespace());
            client.shutdown(Duration::from_secs(5)).await;
            Ok(())
        }
        Err(StartError::Ready {
            error: ReadyError::Failing(Reason::Connect(ConnectFailure::Tls(failure))),
            ..
        }) => Err(match failure {
            TlsFailure::UnknownIssuer => {
                "the certificate is signed by an authority that is not trusted here: name its file"
                    .into()
            }
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

/// Starts a server with a self-signed certificate, and returns its address and the certificate in PEM.
fn start_server() -> Result<(SocketAddr, String), Box<dyn Error>> {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let certificate = CertificateDer::from(own.cert.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())?;

    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |_: SocketRef| println!("server: somebody has joined"));
    let app = axum::Router::new().layer(layer);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            axum::serve(TlsListener { listener, acceptor }, app).await
        })
    });
    Ok((address, own.cert.pem()))
}

/// Accepts connections over TLS.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            match self.acceptor.accept(stream).await {
                Ok(stream) => return (stream, address),
                Err(error) => println!("server: {error}"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
