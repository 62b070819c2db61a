//! A Socket.IO server that costs next to nothing: 4.x, on one transport, in a process of its own.
//!
//! What it sends is prepared before a client connects, and goes out in large writes. Of what comes in,
//! it reads the beginning of each frame, and answers everything of one read with one write. It
//! checks that it counts what it should, and ends with an error if not.

mod msgpack;
mod polling;

use std::{
    io::{self, Write as _},
    pin::pin,
    process,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    FutureExt,
    future::{self, Either},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime,
    task::LocalSet,
    time,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    packets::{self, Frame},
    spec::{Road, Spec, Workload},
    tls,
};

/// No heartbeat: the runs are shorter than the interval.
const OPEN: &str = r#"0{"sid":"x","upgrades":[],"pingInterval":300000,"pingTimeout":300000,"maxPayload":100000000}"#;
/// How much of a frame is looked at.
const HEAD: usize = 96;
/// How often events are sent in [`Workload::Busy`], and how many.
const TICK: Duration = Duration::from_millis(1);
const EACH_TICK: usize = Spec::RATE as usize / 1_000;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// Prints its port, and its certificate if it has one, and serves until it is killed.
pub fn run(spec: Spec) -> ! {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let acceptor = (spec.road == Road::Tls).then(tls::server);
        println!("{port} {}", acceptor.as_ref().map_or("", |(_, certificate)| certificate));
        io::stdout().flush().expect("somebody reads it");
        let session =
            Session { spec, prepared: Prepared::new(spec), events: 0, blobs: 0, end: None };
        let sessions = polling::Sessions::new(session.clone());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let served = match (&acceptor, spec.road) {
                (Some((acceptor, _)), _) => {
                    let (handshake, session) = (acceptor.accept(stream), session.clone());
                    async move { session.serve(handshake.await?).await }.boxed_local()
                }
                (None, Road::Polling) => sessions.clone().serve(stream).boxed_local(),
                (None, _) => session.clone().serve(stream).boxed_local(),
            };
            tokio::task::spawn_local(served.map(|ended| match ended {
                Ok(()) => (),
                // A client that is done may disconnect in any way.
                Err(error) if error.kind() != io::ErrorKind::InvalidData => (),
                Err(error) => {
                    eprintln!("the stub server: {error}");
                    process::exit(1)
                }
            }));
        }
    })
}

/// Frames that are ready to be written; clones share them.
#[derive(Clone)]
struct Prepared {
    /// The `Spec::batch` messages of the workload, by number.
    frames: Vec<Bytes>,
    /// The same in pieces for a [`TICK`] each.
    pieces: Vec<Bytes>,
    /// The same in one piece.
    batch: Bytes,
}

impl Prepared {
    fn new(spec: Spec) -> Self {
        let mut batch = Output { bytes: BytesMut::new(), road: spec.road };
        let mut ends = vec![0];
        for n in 0..spec.batch() {
            if matches!(spec.workload, Workload::Bin) {
                batch.attachment(&spec, n);
            } else {
                batch.put(packets::event(spec.road, None, "msg", spec.message(n)));
            }
            ends.push(batch.bytes.len());
        }
        let batch = batch.bytes.freeze();
        let frames = ends.windows(2).map(|ends| batch.slice(ends[0]..ends[1])).collect();
        let ends: Vec<usize> = ends.into_iter().step_by(EACH_TICK).collect();
        let pieces = ends.windows(2).map(|ends| batch.slice(ends[0]..ends[1])).collect();
        Self { frames, pieces, batch }
    }
}

/// One connection, or one session of many requests.
#[derive(Clone)]
struct Session {
    spec: Spec,
    prepared: Prepared,
    /// How many events of the workload have come, and how many attachments.
    events: u64,
    blobs: u64,
    /// The id of the question that is answered when all events of the workload have come.
    end: Option<u64>,
}

impl Session {
    async fn serve(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        // Small, since there may be ten thousand idle connections.
        let mut input = BytesMut::with_capacity(1024);
        let mut output = Output { bytes: BytesMut::new(), road: self.spec.road };
        upgrade(&mut stream, &mut input, &mut output.bytes).await?;
        output.frame(TEXT, OPEN.as_bytes());
        // In `Workload::Busy`: when the next piece is due, and which one it is.
        let mut pace = None;
        loop {
            let mut wants_stream = false;
            while let Some(came) = Came::take(&mut input) {
                wants_stream |= self.handle(&came, &mut output)?;
            }
            if !output.bytes.is_empty() {
                stream.write_all(&output.bytes).await?;
                stream.flush().await?;
                output.bytes.clear();
            }
            if wants_stream && self.spec.workload == Workload::Busy {
                pace = Some((time::interval(TICK), 0));
            } else if wants_stream {
                for _ in 0..self.spec.count / self.spec.batch() {
                    stream.write_all(&self.prepared.batch).await?;
                }
                stream.flush().await?;
            }
            // A client that sends much gets a larger buffer, once.
            if self.events > 0 && input.capacity() - input.len() < 64 * 1024 {
                input.reserve(1024 * 1024);
            }
            let read = match &mut pace {
                None => stream.read_buf(&mut input).await?,
                Some((interval, piece)) => loop {
                    let next = (pin!(stream.read_buf(&mut input)), pin!(interval.tick()));
                    if let Either::Left((read, _)) = future::select(next.0, next.1).await {
                        break read?;
                    }
                    stream.write_all(&self.prepared.pieces[*piece]).await?;
                    stream.flush().await?;
                    *piece = (*piece + 1) % self.prepared.pieces.len();
                },
            };
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Handles a frame. `true` if the stream of the workload must begin.
    fn handle(&mut self, came: &Came, output: &mut Output) -> io::Result<bool> {
        let head = came.head();
        let packet = match came.opcode {
            1 => Packet::parse(head),
            2 if self.spec.road == Road::Msgpack => msgpack::parse(head),
            2 => {
                self.take_attachment(head, came.length)?;
                None
            }
            8 => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => None,
        };
        let event = match packet {
            Some(Packet::Event(event)) => event,
            Some(Packet::Join(namespace)) => {
                join(namespace, output);
                return Ok(false);
            }
            None => return Ok(false),
        };
        match event.name {
            b"start" => return Ok(true),
            b"msg" | b"bin" => {
                let n = self.events;
                self.events += 1;
                if event.name == b"msg" {
                    let number = event.number.ok_or_else(|| wrong("a message without a number"))?;
                    // They are another connection's, sent again and again.
                    let passed_on = self.spec.workload == Workload::Bridge;
                    let expected = if passed_on { n % self.spec.batch() } else { n };
                    expect(number, expected, "the number of a message")?;
                    if came.length < self.spec.size {
                        return Err(wrong("a message is too short"));
                    }
                }
                if let Some((data, length)) = event.attachment {
                    self.take_attachment(data, length)?;
                }
                if self.spec.workload == Workload::Mix {
                    let index = (n % self.spec.batch()) as usize;
                    output.bytes.put_slice(&self.prepared.frames[index]);
                    if event.id.is_some() {
                        output.attachment(&self.spec, n / Spec::BLOCK % self.spec.batch());
                    }
                }
                if let Some(id) = event.id {
                    output.put(packets::answer(self.spec.road, id, n));
                }
                if self.events == self.spec.count
                    && let Some(id) = self.end.take()
                {
                    output.put(packets::answer(self.spec.road, id, self.events));
                }
            }
            // Whoever passes events on does not know when it has got all of them.
            b"end" if self.spec.workload == Workload::Bridge => self.end = event.id,
            b"end" => {
                let id = event.id.ok_or_else(|| wrong("an end that asks for no answer"))?;
                if self.spec.workload == Workload::BinOut {
                    expect(self.blobs, self.events, "the number of attachments")?;
                }
                output.put(packets::answer(self.spec.road, id, self.events));
            }
            // Such as `hold`: an event that asks for an answer and gets none.
            _ => {}
        }
        Ok(false)
    }

    fn take_attachment(&mut self, head: &[u8], length: usize) -> io::Result<()> {
        let number = Spec::attachment_number(head);
        let number = number.ok_or_else(|| wrong("an attachment without a number"))?;
        expect(number, self.blobs, "the number of an attachment")?;
        if length != self.spec.size {
            return Err(wrong("an attachment of another size"));
        }
        self.blobs += 1;
        Ok(())
    }
}

fn expect(is: u64, should: u64, what: &str) -> io::Result<()> {
    if is == should { Ok(()) } else { Err(wrong(format!("{what} is {is}, not {should}"))) }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Joins the client to the namespace, unless that is `/never`.
fn join(namespace: &[u8], output: &mut Output) {
    if namespace == b"/never" {
        return;
    }
    if output.road == Road::Msgpack {
        return output.frame(BINARY, msgpack::JOINED);
    }
    let mut text = b"40".to_vec();
    if namespace != b"/" {
        text.extend_from_slice(namespace);
        text.push(b',');
    }
    text.extend_from_slice(br#"{"sid":"x"}"#);
    output.frame(TEXT, &text);
}

/// What is to be written.
struct Output {
    bytes: BytesMut,
    road: Road,
}

impl Output {
    /// An event with an attachment.
    fn attachment(&mut self, spec: &Spec, n: u64) {
        let (event, data) = packets::blob(self.road, spec.attachment(n));
        self.put(event);
        if let Some(data) = data {
            self.frame(BINARY, &data);
        }
    }

    fn put(&mut self, frame: Frame<String>) {
        match frame {
            Frame::Text(text) => self.frame(TEXT, text.as_bytes()),
            Frame::Binary(data) => self.frame(BINARY, &data),
        }
    }

    /// A frame without a mask, as servers send them; with polling, a packet.
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let output = &mut self.bytes;
        if self.road == Road::Polling {
            return polling::put(output, opcode == BINARY, payload);
        }
        output.put_u8(opcode);
        match payload.len() {
            length @ 0..=125 => output.put_u8(length as u8),
            length @ 126..=0xFFFF => {
                output.put_u8(126);
                output.put_u16(length as u16);
            }
            length => {
                output.put_u8(127);
                output.put_u64(length as u64);
            }
        }
        output.put_slice(payload);
    }
}

/// A frame of the client, as far as it is looked at.
struct Came {
    opcode: u8,
    length: usize,
    head: [u8; HEAD],
}

impl Came {
    /// The next whole frame.
    fn take(input: &mut BytesMut) -> Option<Self> {
        let (&first, &second) = (input.first()?, input.get(1)?);
        let (length, header) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*input.get(2..)?.first_chunk()?) as usize, 10),
            length => (usize::from(length), 2),
        };
        let mask: [u8; 4] = *input.get(header..)?.first_chunk()?;
        let payload = input.get(header + 4..header + 4 + length)?;
        let mut head = [0; HEAD];
        for ((plain, masked), key) in head.iter_mut().zip(payload).zip(mask.iter().cycle()) {
            *plain = masked ^ key;
        }
        bytes::Buf::advance(input, header + 4 + length);
        Some(Self { opcode: first & 0x0F, length, head })
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.length.min(HEAD)]
    }
}

/// A packet of the client, as far as it is looked at.
enum Packet<'a> {
    /// The request to join this namespace.
    Join(&'a [u8]),
    Event(Event<'a>),
}

struct Event<'a> {
    id: Option<u64>,
    name: &'a [u8],
    number: Option<u64>,
    /// The beginning and the length of an attachment, unless that is a frame of its own.
    attachment: Option<(&'a [u8], usize)>,
}

impl<'a> Packet<'a> {
    /// `40`, and maybe `/namespace,`; or `42`, or `451-` with an attachment; an id;
    /// `["name",{"n":7,…`
    fn parse(head: &'a [u8]) -> Option<Self> {
        if let Some(rest) = head.strip_prefix(b"40") {
            let namespace = rest.split(|byte| *byte == b',').next();
            return Some(Self::Join(
                namespace.filter(|name| name.starts_with(b"/")).unwrap_or(b"/"),
            ));
        }
        let rest = head.strip_prefix(b"42").or_else(|| head.strip_prefix(b"451-"))?;
        // Some clients name the default namespace.
        let rest = rest.strip_prefix(b"/,").unwrap_or(rest);
        let (id, rest) = digits(rest);
        let rest = rest.strip_prefix(b"[\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (name, rest) = rest.split_at(end);
        let key = b"\"n\":";
        let number = rest.windows(key.len()).position(|window| window == key);
        let number = number.and_then(|at| digits(&rest[at + key.len()..]).0);
        Some(Self::Event(Event { id, name, number, attachment: None }))
    }
}

fn digits(text: &[u8]) -> (Option<u64>, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = |digits: &[u8]| {
        digits.iter().fold(0_u64, |value, digit| value.wrapping_mul(10) + u64::from(digit - b'0'))
    };
    ((end > 0).then(|| value(&text[..end])), &text[end..])
}

/// Reads up to the empty line.
async fn head(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> io::Result<BytesMut> {
    loop {
        if let Some(at) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(input.split_to(at + 4));
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads the request, answers it.
async fn upgrade(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    output: &mut BytesMut,
) -> io::Result<()> {
    let request = head(stream, input).await?;
    let request = str::from_utf8(&request).map_err(|_| wrong("a request that is no text"))?;
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let key = key.ok_or_else(|| wrong("a request that is for no websocket"))?;
    let accept = derive_accept_key(key.as_bytes());
    output.put_slice(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
    Ok(())
}
