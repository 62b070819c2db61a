//! A small Socket.IO server for the demo, with connection state recovery: who comes back with the id of a session
//! and the offset of its last event gets what was missed. (socketioxide, which serves in the other examples, has
//! no recovery. On Node.js it is the option `connectionStateRecovery`.)
//!
//! It speaks websocket alone, on the namespace `/`. Its orders are numbered, and begin when somebody joins.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use actix::prelude::*;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use serde::Deserialize;
use serde_json::{Value, json};

/// Time between two orders.
const EVERY: Duration = Duration::from_millis(5);

/// How often it pings.
const PING: Duration = Duration::from_millis(500);

/// What the sessions share.
struct Shop {
    /// Number of the last order.
    last: AtomicU64,
    /// There are no more than these.
    orders: u64,
    /// The private ids that it has given.
    sessions: Mutex<Vec<String>>,
}

impl Shop {
    /// A new session, and its number.
    fn open(&self) -> (String, u64) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let id = format!("session-{}", sessions.len());
        sessions.push(id.clone());
        (id, self.last.load(Ordering::Relaxed))
    }

    fn knows(&self, id: &str) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|known| known == id)
    }
}

/// A request to join: with a session that is to go on, or without.
#[derive(Deserialize, Default)]
struct Join {
    pid: Option<String>,
    offset: Option<String>,
}

/// One connection.
struct Session {
    shop: Arc<Shop>,
    /// Number of the last order that it has sent; none before it has joined.
    sent: Option<u64>,
}

impl Session {
    fn join(&mut self, join: Join, ctx: &mut ws::WebsocketContext<Self>) {
        let known = join.pid.filter(|pid| self.shop.knows(pid));
        let offset = join.offset.and_then(|offset| offset.parse().ok());
        let (pid, sent) = known.zip(offset).unwrap_or_else(|| self.shop.open());
        ctx.text(format!("40{}", json!({ "sid": format!("public-{pid}"), "pid": pid })));
        self.sent = Some(sent);
    }

    /// An event that asks for an answer: `42<id>["price","tea"]`.
    fn answer(packet: &str, ctx: &mut ws::WebsocketContext<Self>) {
        let start = packet.find('[').unwrap_or(packet.len());
        let (id, event) = packet.split_at(start);
        if let Ok(event) = serde_json::from_str::<Vec<Value>>(event)
            && let [Value::String(name), what] = event.as_slice()
            && name == "price"
        {
            ctx.text(format!("43{id}{}", json!([{ "what": what, "cents": 250 }])));
        }
    }

    /// Sends the orders that are new. The last argument of an event is its offset.
    fn send(&mut self, ctx: &mut ws::WebsocketContext<Self>) {
        let Some(sent) = self.sent else { return };
        let last = self.shop.last.load(Ordering::Relaxed);
        for number in sent.saturating_add(1)..=last {
            ctx.text(format!("42{}", json!(["order", number, number.to_string()])));
        }
        self.sent = Some(last);
    }
}

impl Actor for Session {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let open = json!({
            "sid": "connection",
            "upgrades": [],
            "pingInterval": PING.as_millis(),
            "pingTimeout": 2_000,
            "maxPayload": 1_000_000,
        });
        ctx.text(format!("0{open}"));
        ctx.run_interval(EVERY, Self::send);
        ctx.run_interval(PING, |_, ctx| ctx.text("2"));
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => {
                if let Some(join) = text.strip_prefix("40") {
                    self.join(serde_json::from_str(join).unwrap_or_default(), ctx);
                } else if let Some(packet) = text.strip_prefix("42") {
                    Self::answer(packet, ctx);
                } else if text.starts_with("41") {
                    ctx.stop();
                }
            }
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            Ok(ws::Message::Close(_)) | Err(_) => ctx.stop(),
            Ok(_) => {}
        }
    }
}

async fn connect(
    request: HttpRequest,
    stream: web::Payload,
    shop: web::Data<Shop>,
) -> actix_web::Result<HttpResponse> {
    ws::start(Session { shop: shop.into_inner(), sent: None }, &request, stream)
}

/// Starts it on a thread of its own, with this number of orders, and gives its URL.
pub(crate) fn start(orders: u64) -> io::Result<String> {
    let shop = Shop { last: AtomicU64::new(0), orders, sessions: Mutex::default() };
    let shop = web::Data::new(shop);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || -> io::Result<()> {
        System::new().block_on(async {
            actix_rt::spawn(take_orders(shop.clone()));
            let app = move || {
                App::new().app_data(shop.clone()).route("/socket.io/", web::get().to(connect))
            };
            HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run().await
        })
    });
    Ok(url)
}

/// Takes an order now and then, as soon as there is a session.
async fn take_orders(shop: web::Data<Shop>) {
    let mut every = actix::clock::interval(EVERY);
    while shop.last.load(Ordering::Relaxed) < shop.orders {
        every.tick().await;
        let is_open = !shop.sessions.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_open {
            shop.last.fetch_add(1, Ordering::Relaxed);
        }
    }
}
