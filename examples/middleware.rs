//! Middleware: sees what comes, what goes and each request to join, and may change it, drop it, or
//! answer in its place.
//!
//! ```sh
//! cargo run --example middleware                                          # with a server of its own
//! TOKEN=sesame cargo run --example middleware -- http://localhost:3000    # with yours
//! ```
//!
//! The server emits a few events, and echoes others. This is the same on Node.js:
//!
//! ```js
//! const io = new (require("socket.io").Server)(3000);
//! io.use(({ handshake: { auth } }, next) => next(auth.token ? undefined : new Error("no token")));
//! io.on("connection", (socket) => {
//!   socket.on("echo", (...args) => args.pop()(...args));
//!   socket.emit("price", "tea", 3);
//!   socket.emit("price", "tea", -3);
//!   socket.emit("gossip", "it is about the tea");
//!   socket.emit("are_you_there", console.log);
//! });
//! ```
//!
//! It ends with Ctrl-C. `RUST_LOG=debug` shows why an event was dropped.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use actix_socketio::{
    Client, Emit, Event, JoinContext, Socket,
    middleware::{self, Auth, Flow, Middleware, NameList, RateLimit},
};
use serde::Deserialize;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
    handler::ConnectHandler as _,
};

/// How many dollars a euro is worth.
const DOLLARS: f64 = 1.25;

/// Prints what passes, and changes nothing.
struct Wire;

impl Middleware for Wire {
    fn incoming(&self, event: Event) -> Flow<Event> {
        println!("< {} {}", event.name(), event.payload().to_json());
        Flow::Next(event)
    }

    fn outgoing(&self, _namespace: &str, emit: Emit) -> Flow<Emit> {
        println!("> {} {}", emit.name(), emit.payload().to_json());
        Flow::Next(emit)
    }

    fn join(&self, join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
        // Only the names: the values are secret.
        let fields: Vec<_> = auth.keys().map(String::as_str).collect();
        println!("> CONNECT {} with {}", join.namespace(), fields.join(", "));
        Ok(())
    }
}

/// Gives the token to the server, answers what it can, and numbers what goes to the echo.
struct Desk {
    token: Option<String>,
    /// A middleware is called on many threads, with `&self`.
    numbers: AtomicU64,
}

impl Middleware for Desk {
    /// Before each request to join, including those after a lost connection.
    fn join(&self, _join: &JoinContext, auth: &mut Auth) -> Result<(), String> {
        // Without a token, there is no need to ask the server.
        let Some(token) = &self.token else { return Err("there is no TOKEN".to_owned()) };
        // The server has it as `socket.handshake.auth.token`.
        auth.insert("token".to_owned(), token.as_str().into());
        Ok(())
    }

    fn incoming(&self, event: Event) -> Flow<Event> {
        match event.name() {
            // The server gets this answer, and no subscriber gets the event.
            "are_you_there" => Flow::answer("yes"),
            "price" => match event.args::<(String, f64)>() {
                Ok((_, price)) if price < 0.0 => Flow::dropped("a price below zero"),
                // `in_dollars` drops events that are not prices.
                _ => Flow::Next(event),
            },
            _ => Flow::Next(event),
        }
    }

    fn outgoing(&self, _namespace: &str, emit: Emit) -> Flow<Emit> {
        match emit.name() {
            // The caller gets this answer, and the server does not get the event.
            "dollars" => Flow::answer(DOLLARS),
            // The caller gets this reason.
            "debug" => Flow::dropped("it is for nobody else"),
            "echo" => match emit.payload().decode::<(String,)>() {
                Ok((text,)) => {
                    let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                    emit.with_args((text, number)).map_or_else(Flow::failed, Flow::Next)
                }
                Err(error) => Flow::failed(error),
            },
            _ => Flow::Next(emit),
        }
    }
}

/// A function can be a middleware, too.
fn in_dollars(event: Event) -> Flow<Event> {
    if event.name() != "price" {
        return Flow::Next(event);
    }
    match event.args::<(String, f64)>() {
        Ok((what, price)) => {
            event.with_args((what, price * DOLLARS)).map_or_else(Flow::failed, Flow::Next)
        }
        Err(error) => Flow::failed(error),
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
    let token = env::var("TOKEN").ok();
    let (url, token) = match env::args().nth(1) {
        Some(url) => (url, token),
        None => (format!("http://{}", start_server()?), Some("sesame".to_owned())),
    };
    let desk = Desk { token, numbers: AtomicU64::new(1) };

    // The first one is next to the server. Incoming events pass them from top to bottom; outgoing events, and
    // requests to join, from bottom to top.
    let client = Client::builder(url)
        .middleware(Wire)
        .middleware(NameList::incoming(["price", "notice", "are_you_there"]))
        .middleware(RateLimit::outgoing(3, Duration::from_secs(60)))
        // This one comes before the rate limit, so events that it answers or drops do not count.
        .middleware(desk)
        .middleware(middleware::incoming(in_dollars))
        .start()?;
    let socket = client.socket();

    socket.listen("price").call(|event| match event.args::<(String, f64)>() {
        Ok((what, price)) => println!("{what} costs {price} dollars"),
        Err(error) => println!("not a price: {error}"),
    });
    socket.listen("notice").call(|event| println!("notice: {}", event.payload().to_json()));
    let talking = async {
        let outcome = talk(socket).await;
        if outcome.is_ok() {
            // The server may have more to say.
            std::future::pending::<()>().await;
        }
        outcome
    };
    tokio::select! {
        outcome = talking => outcome?,
        outcome = told_to_end() => outcome?,
    }
    client.shutdown(Duration::from_secs(5)).await;
    let stats = client.stats();
    println!("dropped: {} that came, {} that were to go", stats.filtered_in, stats.filtered_out);
    Ok(())
}

/// Returns at Ctrl-C, or when the process is to terminate.
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

/// Asks the server, or the middleware that answers in its place.
async fn talk(socket: &Socket) -> Result<(), Box<dyn Error>> {
    socket.ready().await?;

    let dollars: f64 = socket.emit_with_ack("dollars", ()).await?;
    println!("a euro is worth {dollars} dollars");
    if let Err(error) = socket.emit("debug", "nothing to see") {
        println!("debug: {error}");
    }
    // The fourth is one too many.
    for text in ["one", "two", "three", "four"] {
        match socket.emit_with_ack::<(String, u64)>("echo", text).await {
            Ok((text, number)) => println!("the server has got {text:?}, with the number {number}"),
            Err(error) => println!("{text}: {error}"),
        }
    }
    Ok(())
}

/// The credentials that the server wants.
#[derive(Deserialize)]
struct Shown {
    token: String,
}

/// A server that emits a few events, and echoes others.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    async fn check(TryData(shown): TryData<Shown>) -> Result<(), &'static str> {
        match shown {
            Ok(Shown { token }) if token == "sesame" => Ok(()),
            _ => Err("no token"),
        }
    }
    async fn joined(socket: SocketRef) {
        socket.on("echo", async |Data::<(String, u64)>(said), ack: AckSender| {
            ack.send(&said).ok();
        });
        // The client may have left already.
        socket.emit("price", &("tea", 3)).ok();
        socket.emit("price", &("tea", -3)).ok();
        socket.emit("gossip", "it is about the tea").ok();
        if let Ok(answer) = socket.emit_with_ack::<_, String>("are_you_there", &()) {
            println!("server: are you there? {}", answer.await.unwrap_or_default());
        }
    }
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", joined.with(check));
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
