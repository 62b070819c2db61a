//! Ways to the server other than plain TCP: unix domain sockets, a local address, and streams that the
//! application opens.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_socketio::{
    BuildError, Client, ClientBuilder, ConnectFailure, Dialer, Reason, Transport, tls::Tls,
};
use bytes::Bytes;
use support::{
    eventually,
    every::within,
    node::{self, Config, Line},
    oxide,
    recorder::Recorder,
    tls::Authority,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, copy_bidirectional, duplex},
    net::TcpStream,
    sync::mpsc,
};

const OFFICIAL: [Line; 3] = [Line::V2_5_1, Line::V3_1_2, Line::V4];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const POLLING: &[Transport] = &[Transport::Polling];
const UPGRADE: &[Transport] = &[Transport::Polling, Transport::WebSocket];

/// Joins, and gets an answer.
async fn talk(builder: ClientBuilder, transports: &[Transport]) -> Client {
    let builder = builder.transports(transports.iter().copied());
    let client = within(builder.connect()).await.unwrap();
    let data = Bytes::from(vec![7; 100_000]);
    let answer = within(client.socket().emit_with_ack("echo", ("this way", &data))).await;
    let answer: (String, Bytes) = answer.unwrap();
    assert_eq!(answer, ("this way".to_owned(), data));
    if transports == UPGRADE {
        eventually("an upgrade", || client.transport() == Some(Transport::WebSocket)).await;
    }
    client
}

/// Why there is no connection.
async fn failure(builder: ClientBuilder) -> ConnectFailure {
    let client = builder.start().unwrap();
    match Recorder::of(client.socket()).next_connect_error().await {
        Reason::Connect(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
mod unix {
    use std::{env, fs, path::PathBuf};

    use tokio::net::UnixListener;

    use super::*;

    /// A unix socket that leads to a port of this machine.
    struct Socket(PathBuf);

    impl Socket {
        fn at(name: &str) -> (Self, UnixListener) {
            // Paths of sockets must be short.
            let path = env::temp_dir().join(format!("ways-{name}-{}.sock", std::process::id()));
            fs::remove_file(&path).ok();
            let listener = UnixListener::bind(&path).unwrap();
            (Self(path), listener)
        }

        fn to(name: &str, port: u16) -> Self {
            let (socket, listener) = Self::at(name);
            actix::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    actix::spawn(async move {
                        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                        copy_bidirectional(&mut stream, &mut server).await.ok();
                    });
                }
            });
            socket
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    #[actix::test]
    async fn a_server_is_reached_by_a_unix_socket() {
        for line in OFFICIAL {
            let socket = Socket::to(line.version(), node::server(line).port());
            for transports in [WEBSOCKET, POLLING, UPGRADE] {
                // No host has this name.
                let builder = support::builder("http://server.invalid").unix_socket(&socket.0);
                let client = talk(builder, transports).await;
                let handshake = within(client.socket().emit_with_ack("handshake", ())).await;
                let handshake: serde_json::Value = handshake.unwrap();
                assert_eq!(handshake["headers"]["host"], "server.invalid");
            }
        }
        let (socket, listener) = Socket::at("oxide");
        tokio::spawn(axum::serve(listener, oxide::router()).into_future());
        talk(support::builder("http://localhost").unix_socket(&socket.0), WEBSOCKET).await;
    }

    #[actix::test]
    async fn tls_is_spoken_over_a_unix_socket_too() {
        let authority = Authority::new("test");
        let tls = authority.sign(&["server.test"]).node();
        let server = node::start(Line::V4, &Config { tls, ..Config::default() });
        let socket = Socket::to("tls", server.port());
        let tls = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
        for transports in [WEBSOCKET, POLLING] {
            let builder = support::builder("https://server.test").unix_socket(&socket.0);
            talk(builder.tls(tls.clone()), transports).await;
        }
    }

    #[actix::test]
    async fn a_unix_socket_that_nobody_listens_on_is_named() {
        let (socket, listener) = Socket::at("closed");
        drop(listener);
        let missing = PathBuf::from("/no/such/server.sock");
        for (path, words) in [(&socket.0, "refused"), (&missing, "No such file")] {
            let builder = support::builder("http://localhost").unix_socket(path);
            let failure = failure(builder).await.to_string();
            let begin = format!("the server cannot be reached: {}: ", path.display());
            assert!(failure.starts_with(&begin) && failure.contains(words), "{failure}");
        }
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        for path in [String::new(), "x".repeat(200), "a\0b".to_owned()] {
            let system = actix::System::new();
            let started = system.block_on(async {
                support::builder("http://localhost").unix_socket(&path).start()
            });
            let error = started.map(drop).unwrap_err();
            let is_named = matches!(error, BuildError::Option { name: "unix_socket", .. });
            assert!(is_named, "{path:?}: {error:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn connections_come_from_the_local_address() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    for transports in [WEBSOCKET, POLLING] {
        let builder = support::builder(&url).transports(transports.iter().copied());
        let _client = builder.local_address([127, 0, 0, 9]).start().unwrap();
        let (_, from) = within(server.accept()).await.unwrap();
        assert_eq!(from.ip().to_string(), "127.0.0.9");
    }
}

/// Opens connections to a server in this process.
struct InMemory {
    server: mpsc::UnboundedSender<DuplexStream>,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Dialer for InMemory {
    type Stream = DuplexStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        self.asked.lock().unwrap().push(format!("{host}:{port}"));
        let (here, there) = duplex(8 << 10);
        self.server.send(there).map_err(|_| io::Error::other("the server has ended"))?;
        Ok(here)
    }
}

struct Memory(mpsc::UnboundedReceiver<DuplexStream>);

impl axum::serve::Listener for Memory {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

#[actix::test]
async fn a_client_and_a_server_talk_in_memory() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let running = tokio::spawn(axum::serve(Memory(receiver), oxide::router()).into_future());
    let asked = Arc::default();
    let builder = |url: &str| {
        let (server, asked) = (sender.clone(), Arc::clone(&asked));
        support::builder(url).dialer(InMemory { server, asked })
    };
    talk(builder("http://Server.test"), WEBSOCKET).await;
    talk(builder("http://[::1]:3000"), WEBSOCKET).await;
    assert_eq!(*asked.lock().unwrap(), ["server.test:80", "[::1]:3000"]);
    running.abort();
    assert!(running.await.is_err());
    let failure = failure(builder("http://server.test")).await;
    let text = "server.test: its dialer failed: the server has ended".to_owned();
    assert_eq!(failure, ConnectFailure::Unreachable(text));
}

/// Opens connections through TCP, to any port but the one it is asked for.
struct Redirected(u16);

impl Dialer for Redirected {
    type Stream = TcpStream;

    fn dial(&self, _: &str, _: u16) -> impl Future<Output = io::Result<TcpStream>> {
        TcpStream::connect(("127.0.0.1", self.0))
    }
}

#[actix::test]
async fn each_transport_and_tls_pass_a_stream_of_the_application() {
    for line in OFFICIAL {
        for transports in [WEBSOCKET, POLLING, UPGRADE] {
            let dialer = Redirected(node::server(line).port());
            talk(support::builder("http://server.test").dialer(dialer), transports).await;
        }
    }
    let authority = Authority::new("test");
    let tls = authority.sign(&["server.test"]).node();
    let server = node::start(Line::V4, &Config { tls, ..Config::default() });
    let tls = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    for transports in [WEBSOCKET, POLLING] {
        let builder = support::builder("https://server.test").dialer(Redirected(server.port()));
        talk(builder.tls(tls.clone()), transports).await;
    }
}

/// How a hostile dialer fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    AtOnce,
    InTheFuture,
    Never,
    Reading,
    Writing,
}

/// Panics, and so does each of its streams when it is dropped.
struct Hostile(How, Arc<AtomicUsize>);

struct Bad {
    how: How,
    stream: DuplexStream,
    drops: Arc<AtomicUsize>,
    _kept: DuplexStream,
    // It cannot leave the thread.
    _here: Rc<Cell<u32>>,
}

impl Dialer for Hostile {
    type Stream = Bad;

    #[allow(clippy::manual_async_fn)]
    fn dial(&self, _: &str, _: u16) -> impl Future<Output = io::Result<Bad>> {
        let Self(how, drops) = self;
        assert_ne!(*how, How::AtOnce, "for the test");
        async move {
            assert_ne!(*how, How::InTheFuture, "for the test");
            let (stream, kept) = duplex(1 << 10);
            let bad = Bad {
                how: *how,
                stream,
                drops: Arc::clone(drops),
                _kept: kept,
                _here: Rc::default(),
            };
            if *how == How::Never {
                std::future::pending::<()>().await;
            }
            Ok(bad)
        }
    }
}

impl AsyncRead for Bad {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert_ne!(self.how, How::Reading, "for the test");
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Bad {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert_ne!(self.how, How::Writing, "for the test");
        // More than there is.
        Pin::new(&mut self.stream).poll_write(cx, data).map_ok(|written| written + 1_000)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        panic!("for the test")
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        panic!("for the test");
    }
}

#[actix::test]
async fn a_dialer_that_panics_costs_an_attempt_and_its_streams_are_dropped_once() {
    for (how, streams, words) in [
        (How::AtOnce, 0, "its dialer failed: it panicked: "),
        (How::InTheFuture, 0, "its dialer failed: it panicked: "),
        (How::Never, 1, "in time"),
        (How::Reading, 1, "the stream of the dialer panicked: "),
        (How::Writing, 1, "the stream of the dialer panicked: "),
    ] {
        for transports in [WEBSOCKET, POLLING] {
            let drops = Arc::new(AtomicUsize::new(0));
            let builder = support::builder("http://server.test")
                .transports(transports.iter().copied())
                .connect_timeout(Duration::from_millis(300))
                .dialer(Hostile(how, Arc::clone(&drops)));
            let failure = failure(builder).await.to_string();
            assert!(failure.contains(words), "{how:?}: {failure}");
            let dropped = || drops.load(Ordering::SeqCst);
            eventually("all are dropped", || dropped() == streams).await;
        }
    }
}
