//! Joins two servers of any versions: the events of one are emitted to the other, with
//! acknowledgements, and not passed back.
//!
//! ```sh
//! cargo run --example bridge_two                       # with two servers of its own
//! cargo run --example bridge_two -- http://localhost:3000 http://localhost:4000/shop
//! ```
//!
//! It prints the state of both connections, and every ten seconds and at the end what was passed on. It
//! ends with Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use actix::prelude::*;
use actix_socketio::{
    Bridge, BridgeCounts, Client, ConnectError, Disconnected, Ready, Reconnecting, Route,
};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};

/// Prints what happens to the connection to one of the servers.
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

/// The server refuses this client: events for it wait until the program ends.
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
    let (first, second) = match (env::args().nth(1), env::args().nth(2)) {
        (Some(first), Some(second)) => (first, second),
        (None, _) => {
            let (market, kitchen) = (start_server(market)?, start_server(kitchen)?);
            (format!("http://{market}"), format!("http://{kitchen}"))
        }
        (Some(_), None) => return Err("the URL of the second server is missing".into()),
    };
    // Neither server has to run yet: the clients try again until it does.
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
    tokio::select! {
        () = report => {}
        told = told_to_end() => told?,
    }
    bridge.stop();
    for client in [first, second] {
        client.shutdown(Duration::from_secs(5)).await;
    }
    show(&bridge);
    Ok(())
}

/// Returns at Ctrl-C or SIGTERM.
async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use actix_rt::signal::unix::{SignalKind, signal};
        let mut terminations = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = actix_rt::signal::ctrl_c() => interrupted,
            _ = terminations.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    actix_rt::signal::ctrl_c().await
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

/// A server that changes the price of tea, and takes orders.
async fn market(socket: SocketRef) {
    socket.on("order", async |Data::<String>(what), ack: AckSender| {
        println!("market: an order of {what}");
        ack.send(&format!("{what} is on its way")).ok();
    });
    for cents in 300_u32.. {
        if socket.emit("price", &("tea", f64::from(cents) / 100.0)).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A server that knows the market only through the bridge: it gets prices, and orders.
async fn kitchen(socket: SocketRef) {
    socket.on("price", async |Data::<(String, f64)>((what, price))| {
        println!("kitchen: {what} costs {price:.2}");
    });
    while let Ok(answer) = socket.emit_with_ack::<_, String>("order", "tea") {
        if let Ok(answer) = answer.await {
            println!("kitchen: {answer}");
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// A server that runs `serve` for its client.
fn start_server<F, S>(serve: F) -> Result<SocketAddr, Box<dyn Error>>
where
    F: Fn(SocketRef) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", serve);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().layer(layer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app).await
        })
    });
    Ok(address)
}
