//! Shows what a Socket.IO server emits to browsers: each page has a websocket of its own here, whose
//! actor subscribes to the events of the server and passes them on.
//!
//! ```sh
//! cargo run --example bridge -- http://localhost:3000
//! ```
//!
//! Then open <http://127.0.0.1:8080>. A browser that is too slow misses events, and is told how many;
//! it holds up neither the server nor the others. `PORT=0` takes any port.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, error::Error, time::Duration};

use actix::prelude::*;
use actix_socketio::{Client, Disconnected, Event, Lagged, Overflow, Ready, Socket};
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
  const socket = new WebSocket(`ws://${location.host}/ws`);
  socket.onmessage = ({ data }) => {
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
  socket.onclose = () => { state.textContent = "the bridge is gone"; };
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
        Self::show(ctx, "state", "not connected");
        let subscription = self.upstream.subscribe(ctx.address());
        self.upstream.subscribe_to::<Lagged>(ctx.address().recipient());
        subscription.overflow(Overflow::DropNewest { waiting: 1_000 });
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
async fn main() -> Result<(), Box<dyn Error>> {
    let Some(url) = env::args().nth(1) else { return Err("the URL of a server is wanted".into()) };
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let client = Client::builder(url).start()?;
    let upstream = web::Data::new(client.socket().clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(upstream.clone())
            .route("/", web::get().to(page))
            .route("/ws", web::get().to(view))
    })
    .bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    server.run().await?;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
