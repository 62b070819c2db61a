//! Joins two servers, of whatever versions: what one emits to this client is emitted to the other,
//! with acknowledgements, and not taken back.
//!
//! ```sh
//! cargo run --example bridge_two -- http://localhost:3000 http://localhost:4000/shop
//! ```
//!
//! It prints how the two servers are doing, and every ten seconds and at the end what went over. It
//! ends with Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use actix::prelude::*;
use actix_socketio::{
    Bridge, BridgeCounts, Client, ConnectError, Disconnected, Ready, Reconnecting, Route,
};

/// Prints what becomes of the connection to one of the servers.
struct Watch {
    side: &'static str,
}

impl Watch {
    fn start(side: &'static str, client: &Client) {
        let (watch, socket) = (Actor::start(Self { side }), client.socket());
        socket.subscribe_to::<Ready>(watch.clone());
        socket.subscribe_to::<Disconnected>(watch.clone());
        socket.subscribe_to::<Reconnecting>(watch.clone());
        socket.subscribe_to::<ConnectError>(watch);
    }
}

impl Actor for Watch {
    type Context = Context<Self>;
}

impl Handler<Ready> for Watch {
    type Result = ();

    fn handle(&mut self, ready: Ready, _: &mut Self::Context) {
        println!("{}: joined {}, {}", self.side, ready.namespace(), ready.protocol());
    }
}

impl Handler<Disconnected> for Watch {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, _: &mut Self::Context) {
        println!("{}: {}", self.side, gone.reason());
    }
}

impl Handler<Reconnecting> for Watch {
    type Result = ();

    fn handle(&mut self, next: Reconnecting, _: &mut Self::Context) {
        println!("{}: {}; again in {:.1?}", self.side, next.reason(), next.delay());
    }
}

/// The server does not want us: what was to go there waits until somebody ends the program.
impl Handler<ConnectError> for Watch {
    type Result = ();

    fn handle(&mut self, error: ConnectError, _: &mut Self::Context) {
        println!("{}: {}", self.side, error.reason());
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
    let (Some(first), Some(second)) = (env::args().nth(1), env::args().nth(2)) else {
        return Err("two URLs are wanted: those of the servers".into());
    };
    // Neither has to be there yet: each is tried again until it is.
    let (first, second) = (Client::builder(first).start()?, Client::builder(second).start()?);
    Watch::start("first", &first);
    Watch::start("second", &second);
    let bridge = Bridge::between(first.socket(), second.socket())
        .forward(Route::all().except(["debug"]))
        .ack_timeout(Duration::from_secs(10))
        .start()?;
    let mut every = actix::clock::interval(Duration::from_secs(10));
    let report = async {
        loop {
            every.tick().await;
            show(&bridge);
        }
    };
    let interrupted = actix_rt::signal::ctrl_c();
    futures::pin_mut!(report, interrupted);
    futures::future::select(report, interrupted).await;
    bridge.stop();
    for client in [first, second] {
        client.shutdown(Duration::from_secs(5)).await;
    }
    show(&bridge);
    Ok(())
}

fn show(bridge: &Bridge) {
    let stats = bridge.stats();
    for (way, counts) in [("forward", stats.forward), ("back", stats.back)] {
        let BridgeCounts { heard, passed, written, answered, refused, echoes, .. } = counts;
        println!(
            "{way}: {heard} heard, {passed} passed on, {written} written, {answered} answered, \
             {refused} refused, {echoes} echoes"
        );
    }
}
