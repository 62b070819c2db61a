//! The fixture of the Node.js servers on socketioxide, as far as possible: there is no way to close
//! the connection of a client (`kick` only leaves the namespace, `cut` does nothing), and its
//! refusals have no data.

use super::PATIENCE;
use actix_socketio::Parser;
use bytes::Bytes;
use futures::future::{Either, select};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts, Value as Payload};
use socketioxide::socket::Socket;
use socketioxide::{ParserConfig, SendError, SocketError, SocketIo, SocketIoBuilder};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

pub struct Server {
    address: SocketAddr,
    parser: Parser,
    counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counters {
    connections: Mutex<HashMap<String, u64>>,
    disconnections: Mutex<HashMap<String, u64>>,
    counts: Mutex<HashMap<String, u64>>,
    guard: Mutex<Guard>,
}

/// The token that `/guarded` accepts, and the tokens that it got.
#[derive(Default)]
struct Guard {
    token: String,
    shown: Vec<serde_json::Value>,
}

/// A server with the defaults of socketioxide; it stops when dropped.
pub fn start() -> Server {
    start_with(|builder| builder)
}

pub fn start_with(configure: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder) -> Server {
    start_on(0, Parser::Json, configure)
}

/// The same with this parser and on this port; 0 for any free one.
pub fn start_on(
    port: u16,
    parser: Parser,
    configure: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder,
) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let counters = Arc::new(Counters::default());
    let router = router_with(parser, configure, &counters);
    let (stop, stopped) = oneshot::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // The connections end with the runtime.
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let serve = axum::serve(listener, router).into_future();
            if let Either::Left((ended, _)) = select(pin!(serve), stopped).await {
                panic!("the socketioxide server ended: {ended:?}");
            }
        });
    });
    Server { address, parser, counters, stop: Some(stop), thread: Some(thread) }
}

/// The application alone, for any listener.
pub fn router() -> axum::Router {
    router_with(Parser::Json, |builder| builder, &Arc::default())
}

fn router_with(
    parser: Parser,
    configure: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder,
    counters: &Arc<Counters>,
) -> axum::Router {
    let config = match parser {
        Parser::Msgpack => ParserConfig::msgpack(),
        _ => ParserConfig::common(),
    };
    let (layer, io) = configure(SocketIo::builder().with_parser(config)).build_layer();
    register(&io, counters);
    axum::Router::new().layer(layer)
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn parser(&self) -> Parser {
        self.parser
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self, namespace: &str) -> u64 {
        count(&self.counters.connections, namespace)
    }

    pub fn disconnections(&self, namespace: &str) -> u64 {
        count(&self.counters.disconnections, namespace)
    }

    /// How many `count` events with this name arrived so far, from anyone.
    pub fn counted(&self, name: &str) -> u64 {
        count(&self.counters.counts, name)
    }

    /// From now on, `/guarded` accepts only this token.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.counters.guard.lock().expect("no panic").token);
    }

    /// The tokens with which clients asked to join `/guarded`, in order.
    pub fn tokens(&self) -> Vec<serde_json::Value> {
        self.counters.guard.lock().expect("no panic").shown.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn count(counters: &Mutex<HashMap<String, u64>>, key: &str) -> u64 {
    counters.lock().expect("no panic").get(key).copied().unwrap_or(0)
}

fn add(counters: &Mutex<HashMap<String, u64>>, key: &str) -> u64 {
    let mut counters = counters.lock().expect("no panic");
    let count = counters.entry(key.to_owned()).or_default();
    *count += 1;
    *count
}

fn register(io: &SocketIo, counters: &Arc<Counters>) {
    let counters = Arc::clone(counters);
    let guarding = Arc::clone(&counters);
    let joined = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
        serve(&socket, auth.unwrap_or_default(), &counters);
    };
    for namespace in ["/", "/foo", "/bar"] {
        io.ns(namespace, joined.clone());
    }
    io.ns("/no", joined.clone().with(async || Err::<(), _>("auth failed")));
    let guard = async move |TryData(auth): TryData<serde_json::Value>| {
        let shown = auth.unwrap_or_default()["token"].clone();
        let mut guard = guarding.guard.lock().expect("no panic");
        guard.shown.push(shown.clone());
        if shown == guard.token { Ok(()) } else { Err("wrong token") }
    };
    io.ns("/guarded", joined.clone().with(guard));
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<(), Infallible>(())
    };
    io.ns("/late", joined.with(slow));
    io.ns("/eager", async |socket: SocketRef| emit(&socket, "welcome", &(1,)).await);
}

fn serve(socket: &SocketRef, auth: serde_json::Value, counters: &Arc<Counters>) {
    add(&counters.connections, socket.ns());
    let disconnected = Arc::clone(counters);
    socket.on_disconnect(async move |socket: SocketRef| {
        add(&disconnected.disconnections, socket.ns());
    });
    on_talk(socket);
    on_acknowledged(socket);
    on_binary(socket);

    socket.on("lifecycle", async |socket: SocketRef| {
        let names = [
            "close",
            "error",
            "open",
            "message",
            "connect",
            "connect_error",
            "disconnect",
            "disconnecting",
            "newListener",
            "removeListener",
        ];
        for name in names {
            emit(&socket, name, &("x",)).await;
        }
        emit(&socket, "lifecycle_done", &(names,)).await;
    });
    socket.on("burst", async |socket: SocketRef, Data((n,)): Data<(u64,)>| {
        for i in 0..n {
            emit(&socket, "n", &(i,)).await;
        }
        emit(&socket, "burst_done", &(n,)).await;
    });
    for event in ["leave", "kick"] {
        socket
            .on(event, async |socket: SocketRef| socket.disconnect().expect("a connected socket"));
    }
    socket.on("id", async |socket: SocketRef, ack: AckSender| answer(ack, &(socket.id,)));
    socket.on("handshake", async move |socket: SocketRef, ack: AckSender| {
        let request = socket.req_parts();
        let headers: BTreeMap<_, _> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let pairs = request.uri.query().unwrap_or_default().split('&');
        let query: BTreeMap<_, _> =
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        answer(ack, &(serde_json::json!({ "auth": auth, "query": query, "headers": headers }),));
    });
    let counts = Arc::clone(counters);
    socket.on("count", async move |Data((key,)): Data<(String,)>, ack: AckSender| {
        answer(ack, &(add(&counts.counts, &key),));
    });
    let counts = Arc::clone(counters);
    socket.on("counted", async move |Data((key,)): Data<(String,)>, ack: AckSender| {
        answer(ack, &(count(&counts.counts, &key),));
    });
}

fn on_talk(socket: &SocketRef) {
    socket.on(
        "echo",
        async |socket: SocketRef, Data(args): Data<Args>, wanted: AckWanted, ack: AckSender| {
            if wanted.0 {
                answer(ack, &args);
            } else {
                emit(&socket, "echo", &args).await;
            }
        },
    );
    socket.on("say", async |socket: SocketRef, Data(args): Data<Args>| {
        let (event, args) = args.split_event();
        emit(&socket, &event, &args).await;
    });
    socket.on("ask", async |socket: SocketRef, Data(args): Data<Args>| {
        let (event, args) = args.split_event();
        let answered = socket.timeout(PATIENCE).emit_with_ack::<_, Args>(event, &args);
        if let Ok(answer) = answered.expect("a connected socket").await {
            emit(&socket, "answered", &answer).await;
        }
    });
}

fn on_acknowledged(socket: &SocketRef) {
    socket.on("silent", async || {});
    socket.on("number", async |ack: AckSender| answer(ack, &(7,)));
    socket.on("several", async |ack: AckSender| answer(ack, &(1, "two", [3])));
    socket.on("none", async |ack: AckSender| answer(ack, &Args(Vec::new())));
    socket.on("later", async |Data((delay, value)): Data<(u64, Arg)>, ack: AckSender| {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        // The client may have left in the meantime.
        ack.send(&(value,)).ok();
    });
}

fn on_binary(socket: &SocketRef) {
    socket.on("noargs", async |socket: SocketRef| {
        emit(&socket, "noargs", &Args(Vec::new())).await;
    });
    socket.on("buffer", async |ack: AckSender| {
        let again = Arg::List(vec![Arg::Bytes(Bytes::from_static(&[7]))]);
        let data = Arg::Bytes(Bytes::from_static(&[0, 255, 0]));
        answer(ack, &(Arg::Map(vec![("data".to_owned(), data), ("again".to_owned(), again)]),));
    });
    socket.on("nested", async |socket: SocketRef| {
        let body = Arg::Bytes(Bytes::from_static(&[1, 2, 3]));
        let nested = Arg::Map(vec![
            ("id".to_owned(), Arg::Number(42.into())),
            ("body".to_owned(), body),
            ("tail".to_owned(), Arg::Text("text".to_owned())),
        ]);
        emit(&socket, "nested", &(nested,)).await;
    });
    socket.on("bintext", async |socket: SocketRef| {
        emit(&socket, "bintext", &("extra", Bytes::from_static(&[4, 5]), "after")).await;
    });
    socket.on("twobufs", async |socket: SocketRef| {
        emit(&socket, "twobufs", &(Bytes::from_static(&[1]), Bytes::from_static(&[2, 3]))).await;
    });
}

fn answer(ack: AckSender, args: &impl Serialize) {
    ack.send(args).expect("an answer can be sent");
}

/// The queue of a socket is bounded, and fills up when a burst is faster than the client.
async fn emit(socket: &SocketRef, event: &str, args: &impl Serialize) {
    loop {
        match socket.emit(event, args) {
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // The client may have left.
            Ok(()) | Err(SendError::Socket(SocketError::Closed)) => return,
            Err(error) => panic!("{event} cannot be sent: {error}"),
        }
    }
}

/// Whether the client asked for an acknowledgement.
struct AckWanted(bool);

impl<A: Adapter> FromMessageParts<A> for AckWanted {
    type Error = Infallible;

    fn from_message_parts(
        _: &Arc<Socket<A>>,
        _: &mut Payload,
        ack: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self(ack.is_some()))
    }
}

/// The arguments of an event, however many: for more than one, socketioxide takes only
/// what serializes as a tuple.
struct Args(Vec<Arg>);

/// Any argument. `serde_json::Value` would turn binary into lists of numbers.
enum Arg {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Bytes(Bytes),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Args {
    fn split_event(self) -> (String, Self) {
        let mut args = self.0.into_iter();
        match args.next() {
            Some(Arg::Text(event)) => (event, Self(args.collect())),
            _ => panic!("the first argument is the name of an event"),
        }
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for arg in &self.0 {
            tuple.serialize_element(arg)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // With JSON, the length does not matter.
        let args = deserializer.deserialize_tuple(0, ArgVisitor)?;
        let Arg::List(args) = args else {
            return Err(serde::de::Error::custom("not a list of arguments"));
        };
        Ok(Self(args))
    }
}

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgVisitor)
    }
}

struct ArgVisitor;

impl<'de> Visitor<'de> for ArgVisitor {
    type Value = Arg;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any argument")
    }

    fn visit_unit<E>(self) -> Result<Arg, E> {
        Ok(Arg::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Arg, E> {
        Ok(Arg::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Arg, E> {
        Ok(Arg::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Arg, E> {
        Ok(Arg::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Arg, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Arg::Null, Arg::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Arg, E> {
        Ok(Arg::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Arg, E> {
        Ok(Arg::Bytes(Bytes::copy_from_slice(value)))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Arg, E> {
        Ok(Arg::Bytes(value.into()))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Arg, S::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Arg::List(list))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<Arg, M::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Arg::Map(map))
    }
}
