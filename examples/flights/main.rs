//! A traveller who acts on the notices of an airline, with the official server on Node.js.
//!
//! ```sh
//! (cd examples/flights && npm ci && node server.js) &
//! cargo run --example flights
//! ```
//!
//! `FLIGHTS_URL` says where the server is, `http://127.0.0.1:3210` by default. The server says
//! goodbye after two minutes, or `FLIGHTS_SECONDS`, and the client leaves. `RUST_LOG=debug` shows
//! what the library does.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use actix::prelude::*;
use actix_socketio::{
    AckError, Client, ConnectError, DecodeError, Disconnected, Event, Ready, Reconnecting, Socket,
};
use futures::channel::oneshot;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
struct Flight {
    airline: String,
    number: u32,
    from: String,
    to: String,
    departs: String,
}

#[derive(Debug, Deserialize)]
struct Skip {
    airline: String,
    number: u32,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Route {
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Deserialize)]
struct Ticket {
    flight: String,
    price: u32,
}

#[derive(Debug, Deserialize)]
struct Booking {
    hotel: String,
    room: u32,
    price: u32,
}

/// The traveller: gets the notices, and books a room for each flight that departs.
struct Traveller {
    airline: Socket,
    /// Gets the reason when it is time to leave.
    leave: Option<oneshot::Sender<String>>,
}

impl Traveller {
    fn leave(&mut self, why: impl Into<String>) {
        if let Some(leave) = self.leave.take() {
            // If nobody receives it, the program is ending already.
            drop(leave.send(why.into()));
        }
    }

    fn hear(&mut self, event: &Event, ctx: &mut Context<Self>) -> Result<(), DecodeError> {
        match event.name() {
            "flight" => {
                let flight: Flight = event.args()?;
                println!(
                    "{} {} goes from {} to {} at {}",
                    flight.airline, flight.number, flight.from, flight.to, flight.departs
                );
                self.book(flight.to, ctx);
            }
            "skip" => {
                let skip: Skip = event.args()?;
                println!("{} {} does not go: {}", skip.airline, skip.number, skip.reason);
            }
            "tickets" => {
                for ticket in event.args::<Vec<Ticket>>()? {
                    println!("a ticket for {}: {} €", ticket.flight, ticket.price);
                }
            }
            "goodbye" => {
                self.leave(format!("the airline says goodbye: {}", event.args::<String>()?));
            }
            other => println!("(the airline says {other:?}, whatever that means)"),
        }
        Ok(())
    }

    /// Asks for a room. Half of the time nobody answers, and the traveller does not wait for long.
    fn book(&self, city: String, ctx: &mut Context<Self>) {
        let booking = self
            .airline
            .emit_with_ack::<Booking>("book_hotel_room", (&city, 2))
            .timeout(Duration::from_secs(1))
            .send();
        let booked = booking.into_actor(self).map(move |booking, _, _| match booking {
            Ok(Booking { hotel, room, price }) => println!("room {room} at the {hotel}, {price} €"),
            Err(AckError::TimedOut) => println!("no hotel in {city} picks up the telephone"),
            Err(error) => println!("no room in {city}: {error}"),
        });
        ctx.spawn(booked);
    }
}

impl Actor for Traveller {
    type Context = Context<Self>;
}

impl Handler<Ready> for Traveller {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {
        println!("at the airport");
        let route = Route { from: "Lisbon", to: "Osaka" };
        if let Err(error) = self.airline.emit("find_tickets", route) {
            println!("no tickets: {error}");
        }
    }
}

impl Handler<Event> for Traveller {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        if let Err(error) = self.hear(&event, ctx) {
            println!("(a {} that makes no sense: {error})", event.name());
        }
    }
}

impl Handler<Disconnected> for Traveller {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, _: &mut Self::Context) {
        println!("disconnected: {}", gone.reason());
        // The server has refused this client for good. After everything else, the connection comes back.
        if self.airline.state().reason().is_some() {
            self.leave("nothing to wait for");
        }
    }
}

impl Handler<Reconnecting> for Traveller {
    type Result = ();

    fn handle(&mut self, next: Reconnecting, _: &mut Self::Context) {
        println!("{}; attempt {} in {:?}", next.reason(), next.attempt(), next.delay());
    }
}

impl Handler<ConnectError> for Traveller {
    type Result = ();

    fn handle(&mut self, error: ConnectError, _: &mut Self::Context) {
        self.leave(error.reason().to_string());
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
    env_logger::init();
    let url = env::var("FLIGHTS_URL").unwrap_or_else(|_| "http://127.0.0.1:3210".to_owned());
    let client = Client::builder(url).start()?;
    let airline = client.socket().clone();

    let (leave, left) = oneshot::channel();
    let traveller = Traveller { airline: airline.clone(), leave: Some(leave) }.start();
    airline.subscribe(traveller.clone());
    airline.subscribe_to::<ConnectError>(traveller.clone());
    airline.subscribe_to::<Reconnecting>(traveller);

    println!("leaving: {}", left.await?);
    let report = client.shutdown(Duration::from_secs(2)).await;
    println!("left, {} requests were not sent", report.dropped);
    Ok(())
}
