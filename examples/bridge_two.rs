//! Joins two servers, of whatever versions: what one emits to this client is emitted to the other,
//! with acknowledgements, and not taken back.
//!
//! ```sh
//! cargo run --example bridge_two -- http://localhost:3000 http://localhost:4000/shop
//! ```
//!
//! It prints what went over every ten seconds, until Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, time::Duration};

use actix_socketio::{Bridge, BridgeCounts, Client, Route};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (Some(first), Some(second)) = (env::args().nth(1), env::args().nth(2)) else {
        return Err("two URLs are wanted: those of the servers".into());
    };
    // Neither has to be there yet: each is tried again until it is.
    let (first, second) = (Client::builder(first).start()?, Client::builder(second).start()?);
    let bridge = Bridge::between(first.socket(), second.socket())
        .forward(Route::all().except(["debug"]))
        .ack_timeout(Duration::from_secs(10))
        .start()?;
    let mut every = actix::clock::interval(Duration::from_secs(10));
    let report = async {
        loop {
            every.tick().await;
            let stats = bridge.stats();
            show("forward", stats.forward);
            show("back", stats.back);
        }
    };
    let interrupted = actix_rt::signal::ctrl_c();
    futures::pin_mut!(report, interrupted);
    futures::future::select(report, interrupted).await;
    bridge.stop();
    for client in [first, second] {
        println!("{:?}", client.shutdown(Duration::from_secs(5)).await);
    }
    Ok(())
}

fn show(way: &str, counts: BridgeCounts) {
    let BridgeCounts { heard, passed, written, answered, refused, echoes, .. } = counts;
    println!(
        "{way}: {heard} heard, {passed} passed on, {written} written, {answered} answered, \
         {refused} refused, {echoes} echoes"
    );
}
