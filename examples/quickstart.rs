//! The whole tour in one process: a real Socket.IO server (socketioxide), and a client whose actor
//! acts on its events.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "an example shows what happens, and counts no further than three"
)]

use std::{error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use actix::prelude::*;
use actix_socketio::{Client, Disconnected, Event, Ready};
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};

/// A flight, as the server announces it.
#[derive(Debug, Serialize, Deserialize)]
struct Flight {
    number: String,
    to: String,
}

/// The actor: a departures board that gets every flight.
struct Board {
    flights: usize,
    full: Option<futures::channel::oneshot::Sender<()>>,
}

impl Actor for Board {
    type Context = Context<Self>;
}

impl Handler<Ready> for Board {
    type Result = ();

    fn handle(&mut self, ready: Ready, _: &mut Self::Context) {
        println!("board: joined {}, the server speaks {}", ready.namespace(), ready.protocol());
    }
}

impl Handler<Event> for Board {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        match event.name() {
            "flight" => match event.args::<Flight>() {
                Ok(flight) => {
                    self.flights += 1;
                    println!("board: flight {} to {}", flight.number, flight.to);
                    if self.flights == 3 {
                        self.full.take().map(|full| full.send(()));
                    }
                }
                Err(error) => println!("board: a flight that is none: {error}"),
            },
            // The server asks, and waits for the answer.
            "how_many" => match event.ack(self.flights) {
                Ok(()) => println!("board: told the server that {} flights came", self.flights),
                Err(error) => println!("board: no answer: {error}"),
            },
            other => println!("board: event {other}"),
        }
    }
}

impl Handler<Disconnected> for Board {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, _: &mut Self::Context) {
        println!("board: {} is gone: {}", gone.namespace(), gone.reason());
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

async fn run() -> Result<(), Box<dyn Error>> {
    let server = start_server()?;
    println!("server: listening on {server}");

    // Connect, and subscribe an actor. Whatever comes first is kept for it.
    let client = Client::builder(format!("http://{server}")).connect().await?;
    let (full, board_is_full) = futures::channel::oneshot::channel();
    let board = Board { flights: 0, full: Some(full) }.start();
    client.socket().subscribe(board);

    // A second namespace over the same connection. No need to wait: the emit waits by itself.
    let desk = client.of("/desk")?;
    let seat: String =
        desk.emit_with_ack("book", ("JFK", 2)).timeout(Duration::from_secs(2)).await?;
    println!("main: booked {seat}");

    client.socket().emit("subscribe", "JFK")?;
    board_is_full.await?;
    let told: usize = client.socket().emit_with_ack("ask_board", ()).await?;
    println!("main: the server knows of {told} flights");

    let report = client.shutdown(Duration::from_secs(2)).await;
    println!("main: done, {} events were not sent", report.dropped);
    Ok(())
}

/// The server: announces three flights to each subscriber, books seats, asks the board a question.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("subscribe", async |socket: SocketRef, Data::<String>(from)| {
            println!("server: someone wants the flights from {from}");
            for (number, to) in [("LH400", "FRA"), ("BA178", "LHR"), ("AF23", "CDG")] {
                let flight = Flight { number: number.to_owned(), to: to.to_owned() };
                if let Err(error) = socket.emit("flight", &flight) {
                    println!("server: {error}");
                }
            }
        });
        socket.on("ask_board", async |socket: SocketRef, ack: AckSender| {
            // Asks the client, and passes its answer on.
            let told = match socket.emit_with_ack::<_, usize>("how_many", &()) {
                Ok(answer) => answer.await.unwrap_or(0),
                Err(_) => 0,
            };
            if let Err(error) = ack.send(&told) {
                println!("server: {error}");
            }
        });
    });
    io.ns("/desk", async |socket: SocketRef| {
        socket.on("book", async |Data::<(String, u32)>((city, seats)), ack: AckSender| {
            if let Err(error) = ack.send(&format!("{seats} seats from {city}")) {
                println!("server: {error}");
            }
        });
    });

    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().layer(layer);
    // It has a thread of its own, as a real server would have a machine of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app).await
        })
    });
    Ok(address)
}
