//! A websocket as whole, bounded, checked messages.
//!
//! awc makes the connection; from then on the frames are [ours](super::frame).
//!
//! Each message has memory of its own, at most twice its size, so keeping a part of it keeps nothing else that
//! was read with it. Only small texts share memory, in blocks of 1 KiB. So the length of a message shows how
//! much memory it holds, and the [window](crate::backpressure::receive_window) can count that. The memory of
//! large messages is [used again](super::recycler).

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_codec::{AsyncRead, AsyncWrite, Framed, ReadBuf, poll_read_buf};
use awc::{BoxedSocket, ws::Codec};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::{
    frame::{self, Header, Kind, Masks},
    recycler::Recycler,
};
use crate::{
    proto::{
        ProtocolError,
        engine::{Frame, Incoming, Message},
        reason::Reason,
        small_texts::SmallTexts,
    },
    runtime::spare,
};

/// The most fragments of a message. Fragments may be empty, so a limit on bytes is not enough.
const MAX_FRAGMENTS: usize = 65_536;

/// The room for one read,
const MOST: usize = 64 << 10;
/// and for the read after a large frame: the next frame may be large, too.
const LEAST: usize = 4 << 10;

/// A frame of this size or more is read into memory of its own, unless it came with others in one read.
const LARGE: usize = MOST / 2;

/// The most memory that is reserved for a frame when only its header has come: the limit may be huge.
const AHEAD: usize = 16 << 20;

/// The size of the write buffer, beyond which messages wait in the core,
const WRITE: usize = 64 << 10;
/// and the size from which on it is not kept for the next messages.
const SPARE: usize = 2 * WRITE;

thread_local! {
    /// The buffer for reads. The bytes are then copied into a buffer of just the right size, so that an idle
    /// connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST].into());

    /// The buffer for a read of less than [`LEAST`] bytes, and for what comes before all of its frames are
    /// taken out.
    static INPUT: Cell<BytesMut> = Cell::default();

    /// The buffer for frames to be written.
    static OUTPUT: Cell<BytesMut> = Cell::default();
}

pub(crate) struct WebSocket {
    io: BoxedSocket,
    /// The place of the subprotocol that the server has chosen, among those that were offered.
    subprotocol: Option<usize>,
    input: Input,
    /// Frames still to be written.
    output: BytesMut,
    masks: Masks,
    /// The largest message in bytes, all fragments together.
    limit: usize,
    partial: Option<Partial>,
    /// The payload of the last ping, the only one that must be answered.
    pong: Option<Bytes>,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { io: _, subprotocol, input: _, output: _, masks: _, limit, partial, pong } = self;
        f.debug_struct("WebSocket")
            .field("subprotocol", subprotocol)
            .field("limit", limit)
            .field("fragments", &partial.as_ref().map(|partial| partial.fragments))
            .field("pong", &pong.is_some())
            .finish_non_exhaustive()
    }
}

/// A message whose last fragments are still missing.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    data: BytesMut,
    fragments: usize,
}

/// Bytes that were read and are not a whole frame yet.
#[derive(Debug)]
struct Input {
    buffer: BytesMut,
    /// Where in `buffer` the next frame begins.
    at: usize,
    small: SmallTexts,
    /// The size of one read.
    room: usize,
    /// A large frame that is read into memory of its own. Nothing else is read into it.
    large: Option<Large>,
    /// Memory for large frames. `None` if none has come lately: an idle connection holds no buffer.
    recycler: Option<Recycler>,
    /// Whether one has come since there was nothing left to read.
    had_large: bool,
}

#[derive(Debug)]
struct Large {
    header: Header,
    data: Vec<u8>,
    missing: usize,
}

/// Why there are no more frames.
#[derive(Debug)]
enum Broken {
    /// The header of a frame declares more bytes than the limit.
    TooLarge,
    Illegal(&'static str),
}

impl Input {
    fn new(buffer: BytesMut) -> Self {
        let small = SmallTexts::default();
        Self { buffer, at: 0, small, room: MOST, large: None, recycler: None, had_large: false }
    }

    fn is_empty(&self) -> bool {
        self.unread().is_empty() && self.large.is_none()
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Nothing is left in the buffer.
    fn release(&mut self) {
        self.at = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() <= LEAST {
            buffer.clear();
            spare::take_back(&INPUT, buffer);
        }
    }

    /// Takes out the next frame of at most `limit` bytes, once it is complete.
    fn take(&mut self, limit: usize) -> Result<Option<(Header, Bytes)>, Broken> {
        if let Some(Large { header, data, .. }) = self.large.take_if(|large| large.missing == 0) {
            let recycler = self.recycler.get_or_insert_default();
            return Ok(Some((header, recycler.message(data))));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let unread = self.buffer.get(self.at..).unwrap_or_default();
        let header = Header::parse(unread).map_err(Broken::Illegal)?;
        let Some(header) = header else { return Ok(None) };
        let length = usize::try_from(header.length).ok().filter(|&length| length <= limit);
        let length = length.ok_or(Broken::TooLarge)?;
        let behind = unread.get(header.size..).unwrap_or_default();
        if let Some((data, rest)) = behind.split_at_checked(length) {
            let begin = self.at.saturating_add(header.size);
            if length < self.buffer.capacity() / 2 {
                let data = if header.kind == Kind::Text {
                    self.small.copy(data, rest.len())
                } else {
                    Bytes::copy_from_slice(data)
                };
                self.at = begin.saturating_add(length);
                if rest.is_empty() {
                    self.small = SmallTexts::default();
                    self.release();
                }
                return Ok(Some((header, data)));
            }
            let rest = BytesMut::from(rest);
            let mut data = std::mem::replace(&mut self.buffer, rest);
            self.at = 0;
            data.truncate(begin.saturating_add(length));
            data.advance(begin);
            return Ok(Some((header, data.freeze())));
        }
        if length >= LARGE {
            let mut data = self.recycler.get_or_insert_default().buffer(length.min(AHEAD));
            data.extend_from_slice(behind);
            let missing = length.saturating_sub(data.len());
            self.large = Some(Large { header, data, missing });
            // So that less of the next large frame is read into this buffer, and copied.
            self.release();
            (self.room, self.had_large) = (LEAST, true);
        }
        Ok(None)
    }

    /// Reads as much as there is room for. Zero is the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>, io: &mut BoxedSocket) -> Poll<io::Result<usize>> {
        if let Some(Large { data, missing, .. }) = &mut self.large {
            let read = poll_read_buf(Pin::new(io), cx, &mut data.limit(*missing));
            if let Poll::Ready(Ok(count)) = &read {
                *missing = missing.saturating_sub(*count);
            }
            return read;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch.get_mut(..self.room).unwrap_or_default());
            let Poll::Ready(outcome) = Pin::new(io).poll_read(cx, &mut read) else {
                if !std::mem::take(&mut self.had_large) {
                    self.recycler = None;
                }
                return Poll::Pending;
            };
            outcome?;
            if read.remaining() == 0 {
                self.room = MOST;
            }
            let read = read.filled();
            if self.at > 0 {
                // Bytes that were taken out make room for the next ones.
                let mut buffer =
                    BytesMut::with_capacity(self.unread().len().saturating_add(read.len()));
                buffer.extend_from_slice(self.unread());
                (self.buffer, self.at) = (buffer, 0);
            }
            if self.buffer.is_empty() && read.len() >= LEAST {
                self.buffer = BytesMut::from(read);
            } else {
                if self.buffer.is_empty() {
                    self.buffer = spare::lend(&INPUT);
                    self.buffer.reserve(LEAST);
                }
                self.buffer.extend_from_slice(read);
            }
            Poll::Ready(Ok(read.len()))
        })
    }
}

impl WebSocket {
    pub(super) fn new(
        framed: Framed<BoxedSocket, Codec>,
        limit: usize,
        subprotocol: Option<usize>,
    ) -> Self {
        // The server may have sent something right after its handshake.
        let parts = framed.into_parts();
        let (io, input) = (parts.io, Input::new(parts.read_buf));
        let (output, masks) = (BytesMut::new(), Masks::default());
        Self { io, subprotocol, input, output, masks, limit, partial: None, pong: None }
    }

    /// The place of the subprotocol that the server has chosen, among those that were offered.
    pub(super) fn subprotocol(&self) -> Option<usize> {
        self.subprotocol
    }

    /// The next message, or why there are no more.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Reason>> {
        loop {
            match self.input.take(self.limit) {
                Ok(Some((header, data))) => match self.handle(header, data) {
                    Ok(None) => {}
                    Ok(Some(incoming)) => return Poll::Ready(Ok(incoming)),
                    Err(reason) => return Poll::Ready(Err(reason)),
                },
                Ok(None) => match ready!(self.input.poll_fill(cx, &mut self.io)) {
                    Ok(read) if read > 0 => {}
                    Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Err(lost(error)));
                    }
                    _ => return Poll::Ready(Err(self.end())),
                },
                Err(Broken::TooLarge) => {
                    return Poll::Ready(Err(Reason::TooLarge { limit: self.limit }));
                }
                Err(Broken::Illegal(error)) => return Poll::Ready(Err(illegal(error))),
            }
        }
    }

    /// The message that a frame completes: `None` for a frame that completes nothing, such as a first
    /// fragment or a ping.
    fn handle(&mut self, header: Header, data: Bytes) -> Result<Option<Incoming>, Reason> {
        let complete = match header.kind {
            Kind::Text | Kind::Binary => {
                if self.partial.is_some() {
                    return Err(illegal("a message begins in the middle of another"));
                }
                let is_text = header.kind == Kind::Text;
                if header.is_last {
                    message(is_text, data).map(Some)
                } else {
                    self.partial = Some(Partial { is_text, data: BytesMut::new(), fragments: 0 });
                    self.fragment(&data, false)
                }
            }
            Kind::Continuation => self.fragment(&data, header.is_last),
            Kind::Ping => {
                self.pong = Some(data);
                Ok(None)
            }
            Kind::Pong => {
                // A pong of another length does not answer a ping of ours.
                let number = <[u8; 8]>::try_from(&data[..]).ok();
                return Ok(number.map(|number| Incoming::Confirmed(u64::from_be_bytes(number))));
            }
            Kind::Close => Err(closed(&data)),
        };
        Ok(complete?.map(Incoming::Frame))
    }

    fn fragment(&mut self, data: &[u8], is_last: bool) -> Result<Option<Frame>, Reason> {
        let Some(partial) = &mut self.partial else {
            return Err(illegal("a continuation frame outside of a message"));
        };
        partial.fragments = partial.fragments.saturating_add(1);
        if partial.data.len().saturating_add(data.len()) > self.limit {
            return Err(Reason::TooLarge { limit: self.limit });
        }
        if partial.fragments > MAX_FRAGMENTS {
            return Err(illegal(&format!("a message of more than {MAX_FRAGMENTS} fragments")));
        }
        partial.data.extend_from_slice(data);
        match self.partial.take_if(|_| is_last) {
            Some(partial) => message(partial.is_text, exact(partial.data)).map(Some),
            None => Ok(None),
        }
    }

    /// The reason for the end of the stream.
    fn end(&self) -> Reason {
        if self.input.is_empty() && self.partial.is_none() {
            return Reason::TransportClose(None);
        }
        Reason::TransportError("the connection ended in the middle of a message".to_owned())
    }

    /// Ready when there is room for [`start_send`](Self::start_send).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        if self.output.len() < WRITE { Poll::Ready(Ok(())) } else { self.poll_write(cx) }
    }

    /// Appends a message to the write buffer.
    pub(crate) fn start_send(&mut self, message: Message<'_>) {
        match message {
            Message::Text(first, second) => {
                self.put(Kind::Text, &[first.as_bytes(), second.as_bytes()]);
            }
            Message::Binary(first, second) => self.put(Kind::Binary, &[first, second]),
            Message::Barrier(number) => self.put(Kind::Ping, &[&number.to_be_bytes()]),
        }
    }

    /// Appends a close frame to the write buffer. Nothing may follow it.
    pub(crate) fn start_close(&mut self) {
        const NORMAL: u16 = 1000;
        self.put(Kind::Close, &[&NORMAL.to_be_bytes()]);
    }

    fn put(&mut self, kind: Kind, parts: &[&[u8]]) {
        if self.output.is_empty() {
            self.output = spare::lend(&OUTPUT);
        }
        frame::put(&mut self.output, kind, parts, self.masks.next());
    }

    /// Writes the buffer, with the answer to a ping if one is due.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        if self.pong.is_some()
            && self.poll_ready(cx)?.is_ready()
            && let Some(payload) = self.pong.take()
        {
            self.put(Kind::Pong, &[&payload]);
        }
        self.poll_write(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.output)).map_err(lost)? {
                0 => return Poll::Ready(Err(lost(io::ErrorKind::WriteZero.into()))),
                count if count < self.output.len() => self.output.advance(count),
                _ => {
                    // An idle connection holds no buffer.
                    let mut output = std::mem::take(&mut self.output);
                    output.clear();
                    // Its capacity does not count what was taken from the front.
                    if !output.try_reclaim(SPARE) {
                        spare::take_back(&OUTPUT, output);
                    }
                }
            }
        }
        Pin::new(&mut self.io).poll_flush(cx).map_err(lost)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn lost(error: io::Error) -> Reason {
    Reason::TransportError(error.to_string())
}

fn illegal(error: &str) -> Reason {
    Reason::Protocol(ProtocolError::WebSocket(error.to_owned()))
}

/// The data without the spare capacity after it.
fn exact(data: BytesMut) -> Bytes {
    Vec::from(data).into_boxed_slice().into()
}

fn message(is_text: bool, data: Bytes) -> Result<Frame, Reason> {
    if is_text {
        let text = ByteString::try_from(data).map_err(|_| Reason::Protocol(ProtocolError::Utf8))?;
        Ok(Frame::Text(text))
    } else {
        Ok(Frame::Binary(data))
    }
}

/// The reason in the close frame of the server.
fn closed(payload: &[u8]) -> Reason {
    let code = match payload {
        [] => None,
        [high, low, reason @ ..] if str::from_utf8(reason).is_ok() => {
            Some(u16::from_be_bytes([*high, *low]))
        }
        _ => return illegal("a close frame whose reason is not UTF-8"),
    };
    match code {
        Some(1001 | 1012) => Reason::ServerShutdown,
        Some(1009) => Reason::TooLargeForServer,
        // RFC 6455 forbids the other codes in a frame.
        None | Some(1000..=1003 | 1007..=1014 | 3000..=4999) => Reason::TransportClose(code),
        Some(_) => illegal("a close frame with a code that does not exist"),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use futures::FutureExt;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// A whole frame of a server.
    fn frame(first: u8, length: u16) -> Vec<u8> {
        let mut frame = vec![first, 126];
        frame.extend(length.to_be_bytes());
        frame.resize(4 + usize::from(length), b'x');
        frame
    }

    #[tokio::test]
    async fn memory_of_large_messages_is_kept_only_while_they_come() {
        const TEXT: u8 = 0x81;
        const BINARY: u8 = 0x82;
        let (here, mut there) = duplex(1 << 20);
        let here: BoxedSocket = Box::new(here);
        let framed = Framed::new(here, Codec::new().client_mode());
        let mut socket = WebSocket::new(framed, 1 << 20, None);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut places = Vec::new();
        for _ in 0..3 {
            there.write_all(&frame(TEXT, 200)).await.unwrap();
            there.write_all(&frame(BINARY, 65_535)).await.unwrap();
            let mut read = 0;
            while let Poll::Ready(next) = socket.poll_next(cx) {
                let Ok(Incoming::Frame(next)) = next else { panic!("{next:?}") };
                if let Frame::Binary(data) = next {
                    places.push(data.as_ptr());
                    assert!(data.len() == 65_535 && data.iter().all(|&byte| byte == b'x'));
                }
                read += 1;
            }
            assert_eq!((read, socket.input.recycler.is_some()), (2, true));
        }
        assert_eq!(places, [places[0]; 3]);
        there.write_all(&frame(TEXT, 200)).await.unwrap();
        assert!(socket.poll_next(cx).is_ready() && socket.poll_next(cx).is_pending());
        assert!(socket.input.recycler.is_none());
    }

    #[actix::test]
    async fn an_idle_connection_holds_no_buffer_and_the_thread_keeps_no_large_one() {
        let (mut theirs, ours) = duplex(1 << 20);
        let ours: BoxedSocket = Box::new(ours);
        let framed = Framed::new(ours, Codec::new());
        let mut websocket = WebSocket::new(framed, 1 << 20, None);
        let texts = ["one", "two"];
        theirs.write_all(b"\x81\x03one\x81\x03two").await.unwrap();
        for text in texts {
            let incoming = poll_fn(|cx| websocket.poll_next(cx)).await;
            assert_eq!(incoming, Ok(Incoming::Frame(Frame::Text(text.into()))));
        }
        assert!(poll_fn(|cx| websocket.poll_next(cx)).now_or_never().is_none());
        let capacities = |websocket: &WebSocket| {
            let held = websocket.input.buffer.capacity().max(websocket.output.capacity());
            (held, spare::lend(&INPUT).capacity(), spare::lend(&OUTPUT).capacity())
        };
        assert_eq!(capacities(&websocket), (0, LEAST, 0));
        websocket.start_send(Message::Text("4", "2[]"));
        poll_fn(|cx| websocket.poll_flush(cx)).await.unwrap();
        let (held, input, output) = capacities(&websocket);
        assert_eq!((held, input, 0 < output && output < SPARE), (0, 0, true));
        websocket.start_send(Message::Text("4", &"x".repeat(SPARE)));
        poll_fn(|cx| websocket.poll_flush(cx)).await.unwrap();
        assert_eq!(capacities(&websocket), (0, 0, 0), "it is too large to be kept");
    }

    #[test]
    fn a_close_frame_has_a_code_that_may_be_sent_and_text_or_nothing() {
        assert_eq!(closed(b""), Reason::TransportClose(None));
        for code in [1000_u16, 1003, 1007, 1008, 1011, 1014, 3000, 4999] {
            let payload = [&code.to_be_bytes()[..], "bye é".as_bytes()].concat();
            assert_eq!(closed(&payload), Reason::TransportClose(Some(code)));
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            let reason = closed(&code.to_be_bytes());
            assert!(matches!(reason, Reason::Protocol(_)), "{code}: {reason:?}");
        }
        for payload in [&b"\x03"[..], b"\x03\xE8\xFF"] {
            assert!(matches!(closed(payload), Reason::Protocol(_)), "{payload:?}");
        }
    }
}
