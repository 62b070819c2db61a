//! A TCP server that answers the head of each request with any bytes of a test, HTTP or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub enum Answer {
    /// These bytes, and the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// A reset.
    Reset,
}

pub struct Raw {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// A server that gives these answers, by the head of the request.
pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Raw {
    start_behind(b"\r\n\r\n", answer)
}

/// A server that gives this answer to anything, as soon as the first byte has come.
pub fn start_at_once(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Raw {
    start_behind(b"", move |_| answer())
}

fn start_behind(
    end: &'static [u8],
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Raw {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    super::has_no_polling(address.port());
    let (over, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(answer));
    let is_over = Arc::clone(&over);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                // The client may hang up at any time.
                serve(stream, end, &*answer).ok();
            });
        }
    });
    Raw { address, over }
}

impl Raw {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // This wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
    }
}

fn serve(
    mut stream: TcpStream,
    end: &[u8],
    answer: &impl Fn(&str) -> Answer,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while head.is_empty() || !head.ends_with(end) {
        if stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    match answer(&String::from_utf8_lossy(&head)) {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes)?;
            // Until the client goes.
            std::io::copy(&mut stream, &mut std::io::sink())?;
        }
        Answer::Last(bytes) => {
            stream.write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)?;
        }
        Answer::Reset => {
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        }
    }
    Ok(())
}

/// The head of the response that accepts a websocket.
pub fn accept(request: &str) -> String {
    let mut lines = request.lines();
    let key = lines.find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.to_owned())
    });
    let hash = actix_http::ws::hash_key(key.expect("a websocket is asked for").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        String::from_utf8_lossy(&hash)
    )
}

/// A text message of less than 126 bytes.
pub fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126, "a short text");
    [&[0x81, length], text.as_bytes()].concat()
}
