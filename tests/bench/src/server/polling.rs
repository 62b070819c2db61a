//! The same with HTTP long-polling: sessions of many requests, over connections that are kept open.

use std::{cell::RefCell, collections::HashMap, io, rc::Rc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use super::{Came, HEAD, OPEN, Output, Session, head, wrong};

/// The separator between the packets of a body.
const SEPARATOR: u8 = 0x1E;

/// Each packet has a separator before it; a body begins after the first separator.
pub(super) fn put(output: &mut BytesMut, is_binary: bool, payload: &[u8]) {
    output.put_u8(SEPARATOR);
    if is_binary {
        output.put_u8(b'b');
        output.put_slice(STANDARD.encode(payload).as_bytes());
    } else {
        output.put_slice(payload);
    }
}

#[derive(Clone)]
pub(super) struct Sessions {
    /// The state in which each session begins.
    new: Session,
    open: Rc<RefCell<HashMap<String, Rc<Polled>>>>,
}

struct Polled {
    state: RefCell<State>,
    /// Wakes the waiting poll when there is something for it.
    wake: Notify,
}

struct State {
    session: Session,
    output: Output,
    /// Batches of the stream of the workload that are still to be sent.
    batches: u64,
}

impl Sessions {
    pub(super) fn new(new: Session) -> Self {
        Self { new, open: Rc::default() }
    }

    /// All requests of one connection.
    pub(super) async fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        let mut input = BytesMut::with_capacity(1024);
        loop {
            let head = head(&mut stream, &mut input).await?;
            let head = str::from_utf8(&head).map_err(|_| wrong("a request that is no text"))?;
            let body = self.respond(head, &mut stream, &mut input).await?;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            if body.len() > 4096 {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            } else {
                stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            }
        }
    }

    /// The body of the answer.
    async fn respond(
        &self,
        head: &str,
        stream: &mut TcpStream,
        input: &mut BytesMut,
    ) -> io::Result<Bytes> {
        let (line, fields) = head.split_once("\r\n").unwrap_or_default();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let Some(sid) = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("sid=")) else {
            let sid = format!("x{}", self.open.borrow().len());
            let open = OPEN.replace(r#""sid":"x""#, &format!(r#""sid":"{sid}""#));
            self.open.borrow_mut().insert(sid, Rc::new(Polled::new(self.new.clone())));
            return Ok(open.into());
        };
        let polled = self.open.borrow().get(sid).cloned();
        let polled = polled.ok_or_else(|| wrong("a session that is not there"))?;
        if line.starts_with("GET ") {
            return Ok(polled.poll().await);
        }
        let length = fields.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let length: usize = length.ok_or_else(|| wrong("a body without a length"))?;
        input.reserve(length.saturating_sub(input.len()));
        while input.len() < length {
            if stream.read_buf(input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        polled.take(&input.split_to(length))?;
        Ok(Bytes::from_static(b"ok"))
    }
}

impl Polled {
    fn new(session: Session) -> Self {
        let output = Output { bytes: BytesMut::new(), road: session.spec.road };
        let state = RefCell::new(State { session, output, batches: 0 });
        Self { state, wake: Notify::new() }
    }

    /// What waits to be sent, as soon as there is something.
    async fn poll(&self) -> Bytes {
        loop {
            if let Some(body) = self.state.borrow_mut().next() {
                return body;
            }
            self.wake.notified().await;
        }
    }

    /// Handles the body of a POST.
    fn take(&self, body: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        for packet in body.split(|byte| *byte == SEPARATOR) {
            if state.session.handle(&came(packet)?, &mut state.output)? {
                state.batches = state.session.spec.count / state.session.spec.batch();
            }
        }
        if state.batches > 0 || !state.output.bytes.is_empty() {
            self.wake.notify_one();
        }
        Ok(())
    }
}

impl State {
    fn next(&mut self) -> Option<Bytes> {
        if !self.output.bytes.is_empty() {
            return Some(self.output.bytes.split().freeze().slice(1..));
        }
        self.batches = self.batches.checked_sub(1)?;
        Some(self.session.prepared.batch.slice(1..))
    }
}

fn came(packet: &[u8]) -> io::Result<Came> {
    let mut came = Came { opcode: 1, length: packet.len(), head: [0; HEAD] };
    let mut plain = packet;
    let decoded;
    if let Some(text) = packet.strip_prefix(b"b") {
        // Four digits are three bytes.
        let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
        decoded = STANDARD
            .decode(&text[..text.len().min(HEAD / 3 * 4)])
            .map_err(|_| wrong("a binary packet that is no base64"))?;
        (came.opcode, came.length, plain) = (2, text.len() / 4 * 3 - padding, &decoded);
    }
    for (head, byte) in came.head.iter_mut().zip(plain) {
        *head = *byte;
    }
    Ok(came)
}
