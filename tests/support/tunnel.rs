//! Proxies that work: HTTP with `CONNECT`, and SOCKS 5. (Those that fail are [`raw`](super::raw).)
//!
//! They resolve each host name that ends in `.test`, which nobody else does, to this machine.

use futures::future::select;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    Socks,
}

/// The user and the password that a proxy may ask for,
pub const LOGIN: (&str, &str) = ("me", "s3cret: @\u{e9}");
/// and the same in a URL.
pub const LOGIN_IN_URL: &str = "me:s3cret%3A%20%40%C3%A9@";

pub struct Tunnel {
    kind: Kind,
    asks: bool,
    port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// A proxy of this kind, which may ask for [`LOGIN`].
    pub fn start(kind: Kind, asks: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        listener.set_nonblocking(true).expect("a listener for tokio");
        let targets = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&targets);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // The connections end with the runtime.
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let serve = async {
                    while let Ok((mut client, _)) = listener.accept().await {
                        let noted = Arc::clone(&noted);
                        tokio::spawn(async move {
                            let asked = match kind {
                                Kind::Http => http(&mut client, asks).await,
                                Kind::Socks => socks(&mut client, asks).await,
                            };
                            // The client may hang up at any time.
                            let Ok((host, port)) = asked else { return };
                            noted.lock().expect("nobody panics").push(format!("{host}:{port}"));
                            pass_on(kind, client, &host, port).await.ok();
                        });
                    }
                };
                select(pin!(serve), stopped).await;
            });
        });
        Self { kind, asks, port, targets, stop: Some(stop), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL, with the login that it asks for.
    pub fn url(&self) -> String {
        let login = if self.asks { LOGIN_IN_URL } else { "" };
        format!("{}://{login}{}", self.scheme(), self.authority())
    }

    pub fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::Http => "http",
            Kind::Socks => "socks5",
        }
    }

    /// The targets that it was asked to connect to, as `host:port`, in order.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().expect("nobody panics").clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The target of a request that is allowed.
async fn http(client: &mut TcpStream, asks: bool) -> io::Result<(String, u16)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let (user, password) = LOGIN;
    let token = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{user}:{password}"),
    );
    if asks && !head.contains(&format!("\r\nProxy-Authorization: Basic {token}\r\n")) {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                      Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
        client.write_all(answer.as_bytes()).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(" HTTP/1.1\r\n"));
    let (target, rest) = target.ok_or(io::ErrorKind::InvalidData)?;
    assert!(rest.starts_with(&format!("Host: {target}\r\n")), "{head}");
    let (host, port) = target.rsplit_once(':').ok_or(io::ErrorKind::InvalidData)?;
    Ok((host.to_owned(), port.parse().map_err(io::Error::other)?))
}

async fn socks(client: &mut TcpStream, asks: bool) -> io::Result<(String, u16)> {
    let text = async |client: &mut TcpStream| {
        let mut text = vec![0; client.read_u8().await?.into()];
        client.read_exact(&mut text).await?;
        String::from_utf8(text).map_err(io::Error::other)
    };
    assert_eq!(client.read_u8().await?, 5);
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    let method = if asks { 2 } else { 0 };
    if !methods.contains(&method) {
        client.write_all(&[5, 0xff]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[5, method]).await?;
    if asks {
        assert_eq!(client.read_u8().await?, 1);
        let login = (text(client).await?, text(client).await?);
        let is_right = (login.0.as_str(), login.1.as_str()) == LOGIN;
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => text(client).await?,
        other => panic!("an address of kind {other}"),
    };
    Ok((host, client.read_u16().await?))
}

async fn pass_on(kind: Kind, mut client: TcpStream, host: &str, port: u16) -> io::Result<()> {
    let is_of_tests = host.rsplit_once('.').is_some_and(|(_, last)| last == "test");
    let known = if is_of_tests { "127.0.0.1" } else { host };
    let server = TcpStream::connect((known, port)).await;
    let answer: &[u8] = match (kind, &server) {
        (Kind::Http, Ok(_)) => {
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nVia: test\r\n\r\n"
        }
        (Kind::Http, Err(_)) => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        (Kind::Socks, Ok(_)) => &[5, 0, 0, 1, 127, 0, 0, 1, 0, 9],
        (Kind::Socks, Err(_)) => &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0],
    };
    client.write_all(answer).await?;
    copy_bidirectional(&mut client, &mut server?).await?;
    Ok(())
}
