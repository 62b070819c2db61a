//! A consumer of a relay's log, and a command by way of the relay: all on one machine, with an engine in memory and a
//! real Socket.IO server (socketioxide).
//!
//! With `Engine::nats` in the place of the engine in memory, the relay and the consumer can be programs on different machines.
//!
//! ```sh
//! cargo run --example relay_consumer --features relay
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use actix::prelude::*;
use actix_socketio::{
    Call, Client, NamedEvent,
    relay::{Begin, Caller, Engine, LogMark, Reader, Relay, Upstream},
};
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};

/// The server emits one for each order.
#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "()")]
struct Ordered {
    what: String,
    number: u64,
}

impl NamedEvent for Ordered {
    const NAME: &'static str = "ordered";
}

/// A command, which the server answers with the number of the order.
#[derive(Serialize)]
struct Order(&'static str);

impl NamedEvent for Order {
    const NAME: &'static str = "order";
}

impl Call for Order {
    type Reply = u64;
}

/// The actor that reads the log.
struct Billing {
    orders: usize,
    done: Option<futures::channel::oneshot::Sender<()>>,
}

impl Actor for Billing {
    type Context = Context<Self>;
}

impl Handler<Ordered> for Billing {
    type Result = ();

    /// When this returns, the event is acknowledged. If the program dies first, the event comes again.
    fn handle(&mut self, Ordered { what, number }: Ordered, _: &mut Self::Context) {
        println!("billing: order {number} is {what}");
        self.orders = self.orders.saturating_add(1);
        if self.orders == 3 {
            self.done.take().map(|done| done.send(()));
        }
    }
}

impl Handler<LogMark> for Billing {
    type Result = ();

    fn handle(&mut self, mark: LogMark, _: &mut Self::Context) {
        println!("billing: {} has {:?}", mark.upstream(), mark.kind());
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
    let engine = Engine::in_process();

    // This order waits for a worker.
    let caller = Caller::new(engine.clone());
    caller.call("shop", &Order("tea")).durable("order-of-tea").submit().await?;

    // A worker, which would be a program of its own.
    let shop = Upstream::new("shop", Client::builder(format!("http://{server}")));
    let relay = Relay::builder(engine.clone()).worker("worker-1").upstream(shop).start()?;

    let (done, is_done) = futures::channel::oneshot::channel();
    let billing = Billing { orders: 0, done: Some(done) }.start();
    let reader = Reader::builder(engine)
        .durable("billing")
        .upstreams(["shop"])
        .begin(Begin::Start)
        .on::<Ordered>(billing.clone())
        .marks(billing)
        .start()?;

    let minute = Duration::from_secs(60);
    let tea: u64 = caller.result("shop", "order-of-tea", minute).await?;
    println!("main: tea is order {tea}");
    for what in ["milk", "sugar"] {
        let number = caller.call("shop", &Order(what)).timeout(minute).await?;
        println!("main: {what} is order {number}");
    }
    is_done.await?;
    drop(reader);
    relay.shutdown(minute).await;
    println!("main: done");
    Ok(())
}

/// The server: numbers the orders, and tells everybody of each.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    let orders = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
    io.ns("/", async move |socket: SocketRef| {
        socket.on("order", async move |socket: SocketRef, Data::<String>(what), ack: AckSender| {
            let number = orders.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if let Err(error) = socket.emit("ordered", &Ordered { what, number }) {
                println!("server: {error}");
            }
            if let Err(error) = ack.send(&number) {
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
