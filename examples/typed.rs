//! Contracts shared by both ends: each event is a Rust type, for a server (socketioxide) and for the
//! client, and what is not in the contract does not compile.
//!
//! ```sh
//! cargo run --example typed
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, net::SocketAddr, process::ExitCode, thread};

use actix::prelude::*;
use actix_socketio::{Call, Client, NamedEvent, Ready};
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};

// The contract, which belongs into a crate of its own if the two ends are separate programs.

/// The server announces a flight: its number, and where it goes.
#[derive(Debug, Serialize, Deserialize, Message)]
#[rtype(result = "()")]
struct Flight(String, String);

impl NamedEvent for Flight {
    const NAME: &'static str = "flight";
}

/// The client books a hotel near an airport.
#[derive(Debug, Serialize, Deserialize)]
struct BookHotel {
    near: String,
    nights: u32,
}

impl NamedEvent for BookHotel {
    const NAME: &'static str = "book_hotel";
}

impl Call for BookHotel {
    type Reply = Reservation;
}

#[derive(Debug, Serialize, Deserialize)]
struct Reservation {
    hotel: String,
    price: u32,
}

/// The server asks whether the traveller takes a flight.
#[derive(Debug, Serialize, Deserialize, Message)]
#[rtype(result = "Result<bool, String>")]
struct Offer {
    number: String,
}

impl NamedEvent for Offer {
    const NAME: &'static str = "offer";
}

impl Call for Offer {
    type Reply = bool;
}

/// The client's actor.
struct Traveller {
    flights: Vec<String>,
}

impl Actor for Traveller {
    type Context = Context<Self>;
}

impl Handler<Ready> for Traveller {
    type Result = ();

    fn handle(&mut self, ready: Ready, _: &mut Self::Context) {
        println!("traveller: joined {}", ready.namespace());
    }
}

impl Handler<Flight> for Traveller {
    type Result = ();

    fn handle(&mut self, Flight(number, to): Flight, _: &mut Self::Context) {
        println!("traveller: there is a flight {number} to {to}");
        self.flights.push(number);
    }
}

impl Handler<Offer> for Traveller {
    type Result = Result<bool, String>;

    fn handle(&mut self, Offer { number }: Offer, _: &mut Self::Context) -> Self::Result {
        if self.flights.contains(&number) {
            return Ok(number.starts_with("LH"));
        }
        Err(format!("nobody told me of {number}"))
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
    let client = Client::builder(format!("http://{server}")).connect().await?;
    let socket = client.socket();

    let traveller = Traveller { flights: Vec::new() }.start();
    socket.subscribe_to::<Ready>(traveller.clone());
    socket.on::<Flight>(traveller.clone());
    socket.answer::<Offer>(traveller);

    let Reservation { hotel, price } =
        socket.call(BookHotel { near: "JFK".to_owned(), nights: 2 }).await?;
    println!("main: {hotel} for {price}");

    let answers: Vec<String> = socket.emit_with_ack("begin", ()).await?;
    println!("main: the server was told: {}", answers.join(", "));
    client.shutdown(std::time::Duration::from_secs(2)).await;
    Ok(())
}

/// The server: it announces flights, offers them, and has a hotel.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on(BookHotel::NAME, async |Data::<BookHotel>(asked), ack: AckSender| {
            let BookHotel { near, nights } = asked;
            let price = nights.saturating_mul(120);
            let reservation = Reservation { hotel: format!("the inn at {near}"), price };
            if let Err(error) = ack.send(&reservation) {
                println!("server: {error}");
            }
        });
        socket.on("begin", async |socket: SocketRef, ack: AckSender| {
            let mut answers = Vec::new();
            for (number, to) in [("LH400", "FRA"), ("BA178", "LHR")] {
                let flight = Flight(number.to_owned(), to.to_owned());
                if let Err(error) = socket.emit(Flight::NAME, &flight) {
                    println!("server: {error}");
                }
            }
            for number in ["LH400", "BA178", "AF23"] {
                // The answer may be an error, `{"error":"…"}`, so it is read as any value.
                let offer = Offer { number: number.to_owned() };
                if let Ok(answer) =
                    socket.emit_with_ack::<_, serde_json::Value>(Offer::NAME, &offer)
                    && let Ok(answer) = answer.await
                {
                    answers.push(format!("{number} {answer}"));
                }
            }
            if let Err(error) = ack.send(&answers) {
                println!("server: {error}");
            }
        });
    });

    let app = axum::Router::new().layer(layer);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let served = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, app).await
            };
            if let Err(error) = served.await {
                println!("server: {error}");
            }
        });
    });
    Ok(address)
}
