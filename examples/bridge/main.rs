//! Shows in browsers what a Socket.IO server and its clients send to each other: each page has a websocket of
//! its own, whose actor subscribes to the events of the server and passes them on. A page can emit events to
//! the server, too.
//!
//! ```sh
//! cargo run --example bridge                             # with a server of its own
//! cargo run --example bridge -- http://localhost:3000    # with yours
//! ```
//!
//! Then open the page that it prints, <http://127.0.0.1:8080>. A browser that is too slow misses events, and is told how
//! many; it holds up neither the server nor the others. `PORT` is another port to listen on, 0 any free one. It ends
//! with Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use actix::prelude::*;
use actix_socketio::{
    Args, Client, ConnectError, Disconnected, Emitted, Event, Lagged, Offline, Overflow, Payload,
    Ready, Value,
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header::{CONTENT_SECURITY_POLICY, HOST, ORIGIN},
    web,
};
use actix_web_actors::ws;
use serde::Deserialize;
use serde_json::json;
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};

const PAGE: &str = include_str!("page.html");

/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    img-src data:; connect-src 'self'";

/// How much of the arguments of an event is shown, in bytes.
const SHOWN: usize = 8 << 10;

/// One browser.
struct Viewer {
    upstream: Client,
}

/// An event that a page emits.
#[derive(Deserialize)]
struct Wish {
    name: String,
    args: Vec<serde_json::Value>,
}

type Page = ws::WebsocketContext<Viewer>;

impl Viewer {
    fn show_state(&self, page: &mut Page, text: &str) {
        let joined = self.upstream.socket().state().is_joined();
        let server = self.upstream.endpoint();
        show(page, &json!({ "kind": "state", "text": text, "joined": joined, "server": server }));
    }

    /// Emits the event of a page, and tells the page if that fails.
    fn emit(&self, page: &mut Page, wish: &str) {
        let emitted = serde_json::from_str(wish).map_err(|error| error.to_string()).and_then(
            |Wish { name, args }| {
                let args = Args(args.into_iter().map(Value::from).collect());
                // Somebody is looking at the page now, so the event must not wait.
                let live = self.upstream.socket().with_offline(Offline::Fail);
                live.emit(&name, args).map_err(|error| error.to_string())
            },
        );
        if let Err(error) = emitted {
            show(page, &json!({ "kind": "refused", "text": format!("not emitted: {error}") }));
        }
    }
}

fn show(page: &mut Page, message: &serde_json::Value) {
    page.text(message.to_string());
}

fn show_event(page: &mut Page, kind: &str, name: &str, payload: &Payload) {
    let mut args = payload.to_json();
    if args.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| args.is_char_boundary(*end));
        args.truncate(end.unwrap_or_default());
        args.push('…');
    }
    show(page, &json!({ "kind": kind, "name": name, "args": args }));
}

impl Actor for Viewer {
    type Context = Page;

    fn started(&mut self, page: &mut Page) {
        let state = self.upstream.socket().state();
        let ended = state.reason().map(ToString::to_string);
        self.show_state(page, &ended.unwrap_or_else(|| "not connected".to_owned()));
        let upstream = self.upstream.socket();
        let upstream = upstream.with_overflow(Overflow::DropNewest { waiting: 1_000 });
        upstream.subscribe(page.address());
        upstream.subscribe_to::<Emitted>(page.address());
        upstream.subscribe_to::<ConnectError>(page.address());
        upstream.subscribe_to::<Lagged>(page.address());
    }
}

impl Handler<Ready> for Viewer {
    type Result = ();

    fn handle(&mut self, ready: Ready, page: &mut Page) {
        self.show_state(page, &format!("connected to {}", ready.namespace()));
    }
}

impl Handler<Event> for Viewer {
    type Result = ();

    fn handle(&mut self, event: Event, page: &mut Page) {
        show_event(page, "event", event.name(), event.payload());
    }
}

impl Handler<Emitted> for Viewer {
    type Result = ();

    fn handle(&mut self, event: Emitted, page: &mut Page) {
        show_event(page, "emitted", event.name(), event.payload());
    }
}

impl Handler<Disconnected> for Viewer {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, page: &mut Page) {
        self.show_state(page, &gone.reason().to_string());
    }
}

impl Handler<ConnectError> for Viewer {
    type Result = ();

    fn handle(&mut self, error: ConnectError, page: &mut Page) {
        self.show_state(page, &error.reason().to_string());
    }
}

impl Handler<Lagged> for Viewer {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, page: &mut Page) {
        show(page, &json!({ "kind": "missed", "count": lagged.missed() }));
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Viewer {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, page: &mut Page) {
        match message {
            Ok(ws::Message::Text(wish)) => self.emit(page, &wish),
            Ok(ws::Message::Ping(data)) => page.pong(&data),
            Ok(ws::Message::Close(_)) | Err(_) => page.stop(),
            Ok(_) => {}
        }
    }
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE)
}

async fn view(
    request: HttpRequest,
    stream: web::Payload,
    upstream: web::Data<Client>,
) -> actix_web::Result<HttpResponse> {
    if !is_ours(&request) {
        return Ok(HttpResponse::Forbidden().body("this is for the page of the bridge only"));
    }
    let viewer = Viewer { upstream: upstream.get_ref().clone() };
    ws::start(viewer, &request, stream)
}

/// Browsers let any page open a websocket, and send the origin of the page.
fn is_ours(request: &HttpRequest) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = header(ORIGIN) else { return true };
    origin.strip_prefix("http://").is_some_and(|origin| Some(origin) == header(HOST))
}

#[actix_web::main]
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
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|error| format!("PORT={port}: {error}"))?;
    let url = match env::args().nth(1) {
        Some(url) => url,
        None => format!("http://{}", start_server()?),
    };
    let client = Client::builder(url).start()?;
    let upstream = web::Data::new(client.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(upstream.clone())
            .route("/", web::get().to(page))
            .route("/ws", web::get().to(view))
    })
    // Pages do not disconnect by themselves.
    .shutdown_timeout(1)
    .bind(("127.0.0.1", port))
    .map_err(|error| format!("it cannot listen on port {port}: {error}; PORT is another one"))?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    server.run().await?;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// A server that announces flights and prices, and passes the events of each client on to all clients.
fn start_server() -> Result<SocketAddr, Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("say", async |io: SocketIo, Data::<String>(text)| {
            io.emit("said", &text).await.ok();
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
            let announcements = async {
                let flights = ["LH400", "BA178", "AF23"].iter().cycle();
                for (flight, number) in flights.zip(0_u32..) {
                    let price = f64::from(number % 50) / 100.0 + 3.0;
                    io.emit("price", &("tea", price)).await.ok();
                    if number % 4 == 0 {
                        let gate = format!("B{}", number % 20);
                        io.emit("flight", &json!({ "number": flight, "gate": gate })).await.ok();
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            futures::future::join(announcements, axum::serve(listener, app).into_future()).await.1
        })
    });
    Ok(address)
}
