//! Connects through a proxy; if that fails, says why.
//!
//! ```sh
//! cargo run --example proxy                     # with a server and a proxy of its own
//! cargo run --example proxy -- https://realtime.example.com                # HTTPS_PROXY, NO_PROXY …
//! cargo run --example proxy -- https://realtime.example.com http://proxy.example.com:3128
//! cargo run --example proxy -- https://realtime.example.com socks5://user:password@localhost:1080
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use actix_socketio::{Client, ConnectFailure, Proxy, ProxyFailure, ReadyError, Reason, StartError};
use socketioxide::{SocketIo, extract::SocketRef};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (url, proxy) = if let Some(url) = arguments.next() {
        (url, arguments.next().map_or_else(Proxy::from_env, Proxy::new))
    } else {
        let (server, proxy) = start()?;
        (format!("http://{server}"), Proxy::new(format!("http://{proxy}")))
    };
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

/// Starts a server and a proxy, and returns their addresses.
fn start() -> Result<(SocketAddr, SocketAddr), Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |_: SocketRef| println!("server: somebody has joined"));
    let app = axum::Router::new().layer(layer);
    let listen = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true).map(|()| listener)
    };
    let (server, proxy) = (listen()?, listen()?);
    let addresses = (server.local_addr()?, proxy.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let (server, proxy) = (TcpListener::from_std(server)?, TcpListener::from_std(proxy)?);
            let tunnels = async {
                // This proxy serves one client at a time.
                while let Ok((client, _)) = proxy.accept().await {
                    if let Err(error) = tunnel(client).await {
                        println!("proxy: {error}");
                    }
                }
            };
            futures::future::join(axum::serve(server, app).into_future(), tunnels).await.0
        })
    });
    Ok(addresses)
}

/// All that a proxy does for `CONNECT host:port`.
async fn tunnel(client: TcpStream) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    client.read_line(&mut request).await?;
    println!("proxy: {}", request.trim());
    let mut header = String::new();
    while client.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let address = request.split(' ').nth(1).unwrap_or_default();
    let mut server = TcpStream::connect(address).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
