//! Shows what a Socket.IO server emits to browsers: each page has a websocket of its own here, whose
//! actor subscribes to the events of the server and passes them on.
//!
//! ```sh
//! cargo run --example bridge -- http://localhost:3000
//! ```
//!
//! Then open <http://127.0.0.1:8080>. A browser that is too slow misses events, and is told how many;
//! it holds up neither the server nor the others. `PORT` is another port to listen on, 0 any free one.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use actix::prelude::*;
use actix_socketio::{Client, ConnectError, Disconnected, Event, Lagged, Overflow, Ready, Socket};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use serde_json::json;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>bridge</title>
<h1 id="state">…</h1>
<ul id="events"></ul>
<script>
  const state = document.getElementById("state"), events = document.getElementById("events");
  const show = ({ data }) => {
    const { kind, text } = JSON.parse(data);
    if (kind === "state") {
      state.textContent = text;
      return;
    }
    const line = document.createElement("li");
    line.textContent = text;
    events.prepend(line);
    while (events.children.length > 100) events.lastChild.remove();
  };
  const open = () => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.onmessage = show;
    // It may come back.
    socket.onclose = () => {
      state.textContent = "the bridge is gone";
      setTimeout(open, 1000);
    };
  };
  open();
</script>
"#;

/// One browser.
struct Viewer {
    upstream: Socket,
}

impl Viewer {
    fn show(ctx: &mut ws::WebsocketContext<Self>, kind: &str, text: &str) {
        ctx.text(json!({ "kind": kind, "text": text }).to_string());
    }
}

impl Actor for Viewer {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let state = self.upstream.state();
        let ended = state.reason().map(ToString::to_string);
        let state = ended.unwrap_or_else(|| "not connected".to_owned());
        Self::show(ctx, "state", &state);
        let upstream = self.upstream.with_overflow(Overflow::DropNewest { waiting: 1_000 });
        upstream.subscribe(ctx.address());
        upstream.subscribe_to::<ConnectError>(ctx.address());
        upstream.subscribe_to::<Lagged>(ctx.address());
    }
}

impl Handler<Ready> for Viewer {
    type Result = ();

    fn handle(&mut self, ready: Ready, ctx: &mut Self::Context) {
        Self::show(ctx, "state", &format!("connected to {}", ready.namespace()));
    }
}

impl Handler<Event> for Viewer {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        Self::show(ctx, "event", &format!("{} {}", event.name(), event.payload().to_json()));
    }
}

impl Handler<Disconnected> for Viewer {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, ctx: &mut Self::Context) {
        Self::show(ctx, "state", &gone.reason().to_string());
    }
}

impl Handler<ConnectError> for Viewer {
    type Result = ();

    fn handle(&mut self, error: ConnectError, ctx: &mut Self::Context) {
        Self::show(ctx, "state", &error.reason().to_string());
    }
}

impl Handler<Lagged> for Viewer {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, ctx: &mut Self::Context) {
        Self::show(ctx, "event", &format!("({} events were missed here)", lagged.missed()));
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Viewer {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            Ok(ws::Message::Close(_)) | Err(_) => ctx.stop(),
            Ok(_) => {}
        }
    }
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE)
}

async fn view(
    request: HttpRequest,
    stream: web::Payload,
    upstream: web::Data<Socket>,
) -> actix_web::Result<HttpResponse> {
    let viewer = Viewer { upstream: upstream.get_ref().clone() };
    ws::start(viewer, &request, stream)
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
    let Some(url) = env::args().nth(1) else { return Err("the URL of a server is wanted".into()) };
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|error| format!("PORT={port}: {error}"))?;
    let client = Client::builder(url).start()?;
    let upstream = web::Data::new(client.socket().clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(upstream.clone())
            .route("/", web::get().to(page))
            .route("/ws", web::get().to(view))
    })
    // No page leaves by itself.
    .shutdown_timeout(1)
    .bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    server.run().await?;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
