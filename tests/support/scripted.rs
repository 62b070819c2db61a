//! A WebSocket server that does exactly what a test tells it to, legal or not.
//!
//! It runs on a thread of its own; the test accepts its connections as [`Peer`]s and drives them
//! from whatever runtime it is in.

use super::PATIENCE;
use actix_codec::{Decoder, Encoder};
use actix_http::body::BodyStream;
use actix_http::ws;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The session id in the open packet of [`Peer::open`].
pub const SESSION: &str = "scripted-session";
/// The largest frame a client may send.
const LARGEST_FRAME: usize = 64 << 20;
/// How many messages of a client are kept for a test that does not ask for them; with more, the
/// server stops reading.
const INPUT_CAPACITY: usize = 16;

pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<Peer>>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    refusals: Mutex<VecDeque<Refusal>>,
    requests: AtomicUsize,
    accepted: mpsc::UnboundedSender<Peer>,
}

struct Refusal {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: String,
}

impl Scripted {
    pub fn start() -> Self {
        let (sender, accepted) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            refusals: Mutex::default(),
            requests: AtomicUsize::new(0),
            accepted: sender,
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        super::has_no_polling(address.port());
        let state = web::Data::from(Arc::clone(&shared));
        let (started, handle) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(state.clone()).default_service(web::to(serve))
                })
                .workers(1)
                .disable_signals()
                .listen(listener)
                .expect("a bound listener can be listened on")
                .run();
                started.send(server.handle()).expect("the test waits for this");
                server.await.expect("the scripted server runs");
            });
        });
        let handle = handle.recv().expect("the scripted server starts");
        let accepted = tokio::sync::Mutex::new(accepted);
        Self { address, shared, accepted, handle, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next WebSocket a client opens (or has opened).
    pub async fn accept(&self) -> Peer {
        self.accept_within(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("no client connected within {PATIENCE:?}"))
    }

    /// The next WebSocket, or `None` if no client opens one in this time.
    pub async fn accept_within(&self, time: Duration) -> Option<Peer> {
        let mut accepted = self.accepted.lock().await;
        tokio::time::timeout(time, accepted.recv()).await.ok().flatten()
    }

    /// Answers the next request with this HTTP status and body instead of a WebSocket; further calls apply to
    /// the requests after it.
    pub fn refuse_next(&self, status: u16, body: &str) {
        self.refuse_next_with(status, &[], body);
    }

    /// The same, with these headers.
    pub fn refuse_next_with(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let refusal = Refusal { status, headers, body: body.to_owned() };
        self.shared.refusals.lock().expect("no panic").push_back(refusal);
    }

    /// How many requests came so far, whatever their outcome.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // The call sends the command; its completion cannot be awaited here.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A server that accepts TCP connections and never sends a byte.
pub struct Stall {
    listener: TcpListener,
}

/// The operating system completes the connections by itself, so nobody has to accept them.
pub fn stall() -> Stall {
    Stall { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port") }
}

impl Stall {
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("a bound listener has an address"))
    }
}

/// What a client sent; messages in fragments arrive in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<u16>),
    /// A frame that no client may send; the server reads no further.
    Illegal(String),
    /// The connection has ended.
    Gone,
}

/// The server's end of one accepted WebSocket. Dropping it ends the TCP connection cleanly, but
/// without a close frame.
///
/// Nothing is answered automatically, neither a ping nor a close frame.
pub struct Peer {
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    output: mpsc::Sender<Output>,
    input: mpsc::Receiver<Received>,
    closing: Arc<AtomicBool>,
}

enum Output {
    Data(Bytes),
    Cut,
}

impl Peer {
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn query(&self) -> &str {
        &self.query
    }

    /// The undecoded value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs =
            self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sends a text message. This and the other sending functions wait until there is room for it,
    /// so that a test can stream without end to a client that does not read. They return whether
    /// the connection still accepted the message.
    pub async fn send_text(&self, text: impl AsRef<str>) -> bool {
        self.send(ws::Message::Text(text.as_ref().into())).await
    }

    pub async fn send_binary(&self, data: impl Into<Bytes>) -> bool {
        self.send(ws::Message::Binary(data.into())).await
    }

    pub async fn ping(&self, data: &'static str) -> bool {
        self.send(ws::Message::Ping(data.into())).await
    }

    pub async fn pong(&self, data: impl Into<Bytes>) -> bool {
        self.send(ws::Message::Pong(data.into())).await
    }

    /// Sends a close frame. The connection ends when the client answers it or the peer is dropped.
    pub async fn close(&self, code: Option<u16>) -> bool {
        self.closing.store(true, Ordering::SeqCst);
        self.send(ws::Message::Close(code.map(|code| ws::CloseCode::from(code).into()))).await
    }

    /// Sends these bytes as they are, for frames that no server may send.
    pub async fn send_raw(&self, data: impl Into<Bytes>) -> bool {
        self.output.send(Output::Data(data.into())).await.is_ok()
    }

    /// Drops the TCP connection with no close frame, after what has been sent before.
    pub async fn cut(&self) {
        // The connection may be gone already.
        self.output.send(Output::Cut).await.ok();
    }

    /// Sends an open packet like a current server, with a heartbeat so slow that no test sees a ping.
    pub async fn open(&self) -> bool {
        self.open_with(Duration::from_secs(25), Duration::from_secs(20)).await
    }

    pub async fn open_with(&self, ping_interval: Duration, ping_timeout: Duration) -> bool {
        let (interval, timeout) = (ping_interval.as_millis(), ping_timeout.as_millis());
        self.send_text(format!(
            r#"0{{"sid":"{SESSION}","upgrades":[],"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":1000000}}"#
        ))
        .await
    }

    /// Opens the session and lets the client join "/".
    pub async fn greet(&mut self) {
        self.open().await;
        self.expect_text("40").await;
        self.send_text(r#"40{"sid":"scripted-socket"}"#).await;
    }

    /// What the client sends next.
    pub async fn next(&mut self) -> Received {
        self.next_within(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("the client sent nothing within {PATIENCE:?}"))
    }

    /// What the client sends next, or `None` if it sends nothing in this time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Received> {
        let received = tokio::time::timeout(time, self.input.recv()).await.ok()?;
        Some(received.unwrap_or(Received::Gone))
    }

    #[track_caller]
    pub fn expect_text(&mut self, expected: &str) -> impl Future<Output = ()> {
        self.expect(Received::Text(expected.to_owned()))
    }

    #[track_caller]
    pub fn expect_binary(&mut self, expected: &[u8]) -> impl Future<Output = ()> {
        self.expect(Received::Binary(Bytes::copy_from_slice(expected)))
    }

    /// Panics, naming the caller's line, unless this is what the client sends next.
    #[track_caller]
    pub fn expect(&mut self, expected: Received) -> impl Future<Output = ()> {
        // Taken here, since an async function does not know its caller.
        let caller = std::panic::Location::caller();
        async move {
            match self.next_within(PATIENCE).await {
                Some(received) if received == expected => {}
                Some(received) => {
                    panic!("{caller}: the client sent {received:?} instead of {expected:?}")
                }
                None => panic!("{caller}: no {expected:?} from the client within {PATIENCE:?}"),
            }
        }
    }

    async fn send(&self, message: ws::Message) -> bool {
        let mut frame = BytesMut::new();
        ws::Codec::new().encode(message, &mut frame).expect("a whole message can be encoded");
        self.send_raw(frame).await
    }
}

async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> HttpResponse {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let refusal = shared.refusals.lock().expect("no panic").pop_front();
    if let Some(Refusal { status, headers, body }) = refusal {
        let mut response = HttpResponse::build(status);
        for header in headers {
            response.append_header(header);
        }
        return response.body(body);
    }
    let Ok(mut response) = actix_web_actors::ws::handshake(&request) else {
        return HttpResponse::BadRequest().body("this server speaks WebSocket only");
    };
    // The smallest channel there is: only the client's reading should make room.
    let (output, outgoing) = mpsc::channel(1);
    let (sender, input) = mpsc::channel(INPUT_CAPACITY);
    let (reading, finished) = oneshot::channel();
    let closing = Arc::new(AtomicBool::new(false));
    let answered = Arc::clone(&closing);
    actix_web::rt::spawn(async move {
        read(payload, sender, &answered).await;
        drop(reading);
    });
    let headers = request.headers().iter();
    let peer = Peer {
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        headers: headers
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        output,
        input,
        closing,
    };
    // A peer that nobody accepts is dropped, which ends the connection.
    shared.accepted.send(peer).ok();
    let outgoing = BodyStream::new(Outgoing { output: outgoing, finished, cut: false });
    response.message_body(outgoing).expect("a valid answer").map_into_boxed_body()
}

/// Passes on what the client sends until the connection ends, or the peer is dropped.
async fn read(mut payload: web::Payload, input: mpsc::Sender<Received>, closing: &AtomicBool) {
    let mut codec = ws::Codec::new().max_size(LARGEST_FRAME);
    let mut buffer = BytesMut::new();
    let mut parts = BytesMut::new();
    let mut parts_are_text = false;
    loop {
        let received = match codec.decode(&mut buffer) {
            Ok(None) => match payload.next().await {
                Some(Ok(data)) => {
                    buffer.extend_from_slice(&data);
                    continue;
                }
                Some(Err(_)) | None => return,
            },
            Ok(Some(ws::Frame::Text(data))) => text(&data),
            Ok(Some(ws::Frame::Binary(data))) => Received::Binary(data),
            Ok(Some(ws::Frame::Ping(data))) => Received::Ping(data),
            Ok(Some(ws::Frame::Pong(data))) => Received::Pong(data),
            Ok(Some(ws::Frame::Close(reason))) => {
                Received::Close(reason.map(|reason| reason.code.into()))
            }
            Ok(Some(ws::Frame::Continuation(item))) => match item {
                ws::Item::FirstText(data) => {
                    parts_are_text = true;
                    parts = BytesMut::from(&data[..]);
                    continue;
                }
                ws::Item::FirstBinary(data) => {
                    parts_are_text = false;
                    parts = BytesMut::from(&data[..]);
                    continue;
                }
                ws::Item::Continue(data) => {
                    parts.extend_from_slice(&data);
                    continue;
                }
                ws::Item::Last(data) => {
                    parts.extend_from_slice(&data);
                    let whole = parts.split().freeze();
                    if parts_are_text { text(&whole) } else { Received::Binary(whole) }
                }
            },
            Err(error) => Received::Illegal(error.to_string()),
        };
        let answered = matches!(received, Received::Close(_)) && closing.load(Ordering::SeqCst);
        let last = answered || matches!(received, Received::Illegal(_));
        if input.send(received).await.is_err() || last {
            return;
        }
    }
}

fn text(data: &[u8]) -> Received {
    match std::str::from_utf8(data) {
        Ok(text) => Received::Text(text.to_owned()),
        Err(error) => Received::Illegal(format!("a text message: {error}")),
    }
}

/// The body of the response that accepts a WebSocket: all bytes that the client gets come from here, and
/// the TCP connection ends with it.
struct Outgoing {
    output: mpsc::Receiver<Output>,
    /// Resolves when nothing more can come from the client.
    finished: oneshot::Receiver<()>,
    cut: bool,
}

impl Stream for Outgoing {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.cut {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if Pin::new(&mut self.finished).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        match ready!(self.output.poll_recv(cx)) {
            Some(Output::Data(data)) => Poll::Ready(Some(Ok(data))),
            Some(Output::Cut) => {
                // What was sent before is written while this is pending. Then comes the error,
                // on which actix drops the connection.
                self.cut = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}
