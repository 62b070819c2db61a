//! A web server on top of one connection to another server: it serves the last prices, passes orders on,
//! and reports the state of the connection. All requests share the client.
//!
//! ```sh
//! cargo run --example web                                # with a server of its own
//! cargo run --example web -- http://localhost:3000       # with yours, which emits "price"
//!
//! curl http://127.0.0.1:8080/prices/tea
//! curl -X POST http://127.0.0.1:8080/orders/tea
//! curl http://127.0.0.1:8080/metrics                     # for Prometheus
//! ```
//!
//! `PORT` is another port to listen on, 0 any free one. It ends with Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    collections::HashMap,
    env,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use actix::prelude::*;
use actix_socketio::{Client, NamedEvent, Stats};
use actix_web::{App, HttpResponse, HttpServer, Responder, error, web};
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};

/// What something costs now.
#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "()")]
struct Price(String, f64);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

/// The last price of each thing.
type Prices = Arc<Mutex<HashMap<String, f64>>>;

async fn price(what: web::Path<String>, prices: web::Data<Prices>) -> impl Responder {
    let price = prices.lock().unwrap_or_else(PoisonError::into_inner).get(&*what).copied();
    price.map(web::Json).ok_or_else(|| error::ErrorNotFound("nobody knows the price"))
}

/// Waits for the answer of the server.
async fn order(
    what: web::Path<String>,
    upstream: web::Data<Client>,
) -> Result<impl Responder, actix_web::Error> {
    let order = upstream.socket().emit_with_ack::<u64>("order", what.as_str());
    // The error says whether the event may have arrived.
    let number =
        order.timeout(Duration::from_secs(5)).await.map_err(error::ErrorServiceUnavailable)?;
    Ok(web::Json(number))
}

/// Whether there is a connection, for a load balancer.
async fn health(upstream: web::Data<Client>) -> impl Responder {
    if upstream.socket().state().is_joined() {
        HttpResponse::Ok().body("joined")
    } else {
        HttpResponse::ServiceUnavailable().body("not joined")
    }
}

async fn metrics(upstream: web::Data<Client>) -> impl Responder {
    let page = Stats::prometheus([(upstream.name(), upstream.stats())]);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(page)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|error| format!("PORT={port}: {error}"))?;
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => format!("http://{}", start_server()?),
    };

    // The server need not run yet: the client tries until it does.
    let client = Client::builder(url).name("prices").start()?;
    let prices = Prices::default();
    let known = Arc::clone(&prices);
    client.socket().listen_to::<Price>().call(move |Price(what, price)| {
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(what, price);
    });

    // One client for all workers, which are threads.
    let (upstream, prices) = (web::Data::new(client.clone()), web::Data::new(prices));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(upstream.clone())
            .app_data(prices.clone())
            .route("/prices/{what}", web::get().to(price))
            .route("/orders/{what}", web::post().to(order))
            .route("/health", web::get().to(health))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(2)
    .bind(("127.0.0.1", port))
    .map_err(|error| format!("it cannot listen on port {port}: {error}; PORT is another one"))?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    // This ends at Ctrl-C, when no open request needs the client any more.
    server.run().await?;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
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

/// A server that changes the price of tea twice a second, and numbers the orders.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("order", async |Data::<String>(what), ack: AckSender| {
            println!("server: an order of {what}");
            ack.send(&1).ok();
        });
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().layer(layer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || -> std::io::Result<()> {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let prices = async {
                for cents in 300_u32.. {
                    io.emit("price", &("tea", f64::from(cents) / 100.0)).await.ok();
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            futures::future::join(prices, axum::serve(listener, app).into_future()).await.1
        })
    });
    Ok(address)
}
