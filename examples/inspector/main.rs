//! Shows in a browser what goes over the wire between a client and a Socket.IO server, and emits by hand.
//!
//! ```sh
//! cargo run --example inspector                                  # with a server of its own
//! cargo run --example inspector -- http://localhost:3000/shop    # with yours
//! ```
//!
//! Then open the address that it prints. The address has a token in it, and works on this machine alone.
//! Requests with a foreign `Host` or `Origin` are refused, so that pages of others cannot get in. `PORT` is
//! the port to listen on, 0 any free one. It ends with Ctrl-C.

#![allow(clippy::print_stdout, reason = "it prints where its page is")]

mod demo;
mod hub;
mod viewer;

use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    process::ExitCode,
    time::Duration,
};

use actix::Arbiter;
use actix_socketio::{Client, ClientBuilder, Parser, Transport};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    guard::GuardContext,
    http::header::{HOST, ORIGIN},
    middleware::DefaultHeaders,
    web,
};
use actix_web_actors::ws;
use clap::Parser as _;
use hub::Hub;
use viewer::Viewer;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The longest message of a page, in bytes: the arguments of an event.
const LARGEST: usize = 16 << 20;

/// Everything comes from this server, no script but `page.js` runs, and no other page may embed this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows in a browser what goes over the wire, and emits by hand.
#[derive(clap::Parser)]
#[command(name = "inspector", version)]
struct Options {
    /// The server and the namespace: http, https, ws or wss. By default, a server of its own.
    url: Option<String>,
    /// Credentials for the namespace: JSON. They are not shown.
    #[arg(long, value_name = "JSON", value_parser = json, env = "INSPECTOR_AUTH", hide_env_values = true)]
    auth: Option<serde_json::Value>,
    /// A header of the request to connect, such as `authorization: Bearer …`.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Where the server listens, if that is not /socket.io/.
    #[arg(long)]
    path: Option<String>,
    /// Polling first, and from there an upgrade to a websocket.
    #[arg(long)]
    polling: bool,
    /// For a server with socket.io-msgpack-parser.
    #[arg(long)]
    msgpack: bool,
    /// How many bytes of each message are shown.
    #[arg(long, value_name = "BYTES", default_value_t = 2_000)]
    text: usize,
    /// The port of the page.
    #[arg(long, env = "PORT", default_value_t = 8765)]
    port: u16,
}

impl Options {
    fn client(&self, url: &str) -> Result<ClientBuilder, Box<dyn Error>> {
        let mut builder = Client::builder(url);
        if let Some(auth) = &self.auth {
            builder = builder.auth(auth);
        }
        for header in &self.headers {
            let (name, value) = header.split_once(':').ok_or("a header is NAME: VALUE")?;
            builder = builder.header(name.trim(), value.trim());
        }
        if let Some(path) = &self.path {
            builder = builder.path(path);
        }
        if self.polling {
            builder = builder.transports([Transport::Polling, Transport::WebSocket]);
        }
        if self.msgpack {
            builder = builder.parser(Parser::Msgpack);
        }
        Ok(builder)
    }
}

fn json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}

/// A random token: the keys of the hasher are random.
fn token() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}

/// Whether a request comes from a page of the inspector. A foreign host name can be made to resolve to this machine.
fn is_ours(context: &GuardContext<'_>, port: u16) -> bool {
    let names = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}"));
    let header = |name| context.head().headers().get(name).map(|value| value.to_str());
    let is_host = |host: &str| names.iter().any(|name| name == host);
    let is_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(is_host);
    header(HOST).is_some_and(|host| host.is_ok_and(is_host))
        && header(ORIGIN).is_none_or(|origin| origin.is_ok_and(is_origin))
}

async fn view(
    request: HttpRequest,
    stream: web::Payload,
    hub: web::Data<Hub>,
) -> actix_web::Result<HttpResponse> {
    let viewer = Viewer::new(hub.into_inner());
    ws::WsResponseBuilder::new(viewer, &request, stream).frame_size(LARGEST).start()
}

async fn refused() -> HttpResponse {
    HttpResponse::Forbidden().body("Open the address that the inspector has printed.\n")
}

/// Answers with a part of the page.
fn part(kind: &'static str, text: &'static str) -> actix_web::Route {
    web::get().to(move || async move { HttpResponse::Ok().content_type(kind).body(text) })
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => demo::start()?,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).map_err(|error| {
        format!("it cannot listen on port {}: {error}; --port is another one", options.port)
    })?;
    let port = listener.local_addr()?.port();
    // Pages must not hold the client up.
    let arbiter = Arbiter::new();
    let hub = Hub::start(&url, options.client(&url)?, options.text, &arbiter.handle())?;
    if options.url.is_none() {
        actix_rt::spawn(demo::ask(hub.client().clone()));
    }
    let (token, hub) = (token(), web::Data::new(hub));
    let (prefix, shared) = (format!("/{token}"), hub.clone());
    let server = HttpServer::new(move || {
        let headers = DefaultHeaders::new()
            .add(("content-security-policy", POLICY))
            .add(("referrer-policy", "no-referrer"))
            .add(("x-content-type-options", "nosniff"))
            .add(("cache-control", "no-store"));
        let scope = web::scope(&prefix)
            .guard(actix_web::guard::fn_guard(move |context| is_ours(context, port)))
            .route("/", part("text/html; charset=utf-8", PAGE))
            .route("/page.css", part("text/css; charset=utf-8", STYLE))
            .route("/page.js", part("text/javascript; charset=utf-8", SCRIPT))
            .route("/ws", web::get().to(view));
        App::new()
            .wrap(headers)
            .app_data(shared.clone())
            .service(scope)
            .default_service(web::to(refused))
    })
    .workers(1)
    // Pages do not disconnect by themselves.
    .shutdown_timeout(1)
    .listen(listener)?;
    println!("http://127.0.0.1:{port}/{token}/");
    // Until Ctrl-C.
    server.run().await?;
    hub.client().shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[actix_web::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
