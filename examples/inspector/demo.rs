//! A server that emits something to look at, and a client that asks it for sums.

#![allow(clippy::arithmetic_side_effects, reason = "prices and sums are small")]

use std::{error::Error, io, net::TcpListener, thread, time::Duration};

use actix_socketio::Client;
use bytes::Bytes;
use serde_json::json;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::time::sleep;

const WORDS: [&str; 6] = ["tea", "coffee", "cocoa", "maté", "<b>chai</b>", "rooibos"];

/// Starts the server, and returns its URL.
pub(crate) fn start() -> Result<String, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("sum", async |Data::<Vec<i64>>(numbers), ack: AckSender| {
            // Some sums take longer.
            sleep(Duration::from_millis(numbers.iter().sum::<i64>().unsigned_abs() % 60)).await;
            ack.send(&numbers.iter().sum::<i64>()).ok();
        });
        socket.on("echo", async |Data::<serde_json::Value>(value), ack: AckSender| {
            ack.send(&value).ok();
        });
        socket.on("flood", async |socket: SocketRef, Data::<u32>(count)| {
            for number in 0..count {
                // If the queue is full, the client has to catch up first.
                while socket.emit("drop", &number).is_err() && socket.connected() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
    });
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = axum::Router::new().layer(layer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || -> io::Result<()> {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let served = axum::serve(listener, app).into_future();
            futures::future::join(live(io), served).await.1
        })
    });
    Ok(url)
}

/// Emits various events.
async fn live(io: SocketIo) {
    for (number, word) in (0_u32..).zip(WORDS.iter().cycle()) {
        let price = f64::from(250 + number * 37 % 200) / 100.0;
        io.emit("price", &(word, price)).await.ok();
        if number % 5 == 0 {
            let order = json!({
                "number": 1_000 + number,
                "items": [{ "what": word, "count": 1 + number % 4 }, { "what": "cake", "count": 1 }],
                "paid": number % 2 == 0,
                "note": null,
            });
            io.emit("order", &order).await.ok();
        }
        if number % 12 == 7 {
            let picture: Bytes = (0..=255_u8).cycle().take(600).collect();
            io.emit("picture", &(word, picture)).await.ok();
        }
        sleep(Duration::from_millis(400)).await;
    }
}

/// Asks the server for sums, so that there are answers to look at.
pub(crate) async fn ask(client: Client) {
    for number in 0_i64.. {
        let numbers = vec![number % 7, number % 11 * 3, number % 5 * 6];
        client.socket().emit_with_ack::<i64>("sum", (numbers,)).await.ok();
        sleep(Duration::from_millis(700)).await;
    }
}
