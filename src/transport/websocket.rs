//! A websocket as whole, bounded, checked messages.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_codec::Framed;
use actix_http::ws::Item;
use awc::{
    BoxedSocket,
    ws::{CloseCode, CloseReason, Codec, Frame as WsFrame, Message},
};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures::{Sink, Stream};

use super::guard::{Guard, GuardError};
use crate::{
    error::Reason,
    proto::{ProtocolError, connection::Transmit, engine::Frame},
};

/// More fragments than this are no message. Each may be empty, so bytes alone do not end them.
const MAX_FRAGMENTS: usize = 65_536;

/// What comes in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Frame),
    /// The answer to ping number so-and-so.
    Pong(u64),
}

pub(crate) struct WebSocket {
    framed: Framed<BoxedSocket, Guard>,
    /// The largest message, in bytes, in however many fragments.
    limit: usize,
    partial: Option<Partial>,
    /// The payload of the last ping, which is the only one that has to be answered.
    pong: Option<Bytes>,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { framed: _, limit, partial, pong } = self;
        f.debug_struct("WebSocket")
            .field("limit", limit)
            .field("fragments", &partial.as_ref().map(|partial| partial.fragments))
            .field("pong", &pong.is_some())
            .finish_non_exhaustive()
    }
}

/// A message whose fragments are still coming.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    data: BytesMut,
    fragments: usize,
}

impl WebSocket {
    pub(super) fn new(framed: Framed<BoxedSocket, Codec>, limit: usize) -> Self {
        let framed = framed.into_map_codec(|codec| Guard::new(codec, limit));
        Self { framed, limit, partial: None, pong: None }
    }

    /// The next message, or why there are no more.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Reason>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.framed).poll_next(cx)) {
                None => return Poll::Ready(Err(Reason::TransportClose(None))),
                Some(Err(error)) => return Poll::Ready(Err(self.reason(error))),
                Some(Ok(frame)) => frame,
            };
            let complete = match frame {
                WsFrame::Text(data) => message(true, data).map(Some),
                WsFrame::Binary(data) => message(false, data).map(Some),
                WsFrame::Continuation(item) => self.fragment(item),
                WsFrame::Ping(payload) => {
                    self.pong = Some(payload);
                    Ok(None)
                }
                WsFrame::Pong(payload) => match <[u8; 8]>::try_from(&payload[..]) {
                    Ok(number) => {
                        return Poll::Ready(Ok(Incoming::Pong(u64::from_be_bytes(number))));
                    }
                    // Nobody asked for it.
                    Err(_) => Ok(None),
                },
                WsFrame::Close(reason) => Err(closed(reason)),
            };
            match complete {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Ok(Incoming::Frame(frame))),
                Err(reason) => return Poll::Ready(Err(reason)),
            }
        }
    }

    fn fragment(&mut self, item: Item) -> Result<Option<Frame>, Reason> {
        let (first, data, last) = match item {
            Item::FirstText(data) => (Some(true), data, false),
            Item::FirstBinary(data) => (Some(false), data, false),
            Item::Continue(data) => (None, data, false),
            Item::Last(data) => (None, data, true),
        };
        if let Some(is_text) = first {
            self.partial = Some(Partial { is_text, data: BytesMut::new(), fragments: 0 });
        }
        // awc's codec keeps the order of fragments; without a first one, there is nothing to add.
        let Some(partial) = &mut self.partial else { return Ok(None) };
        partial.fragments = partial.fragments.saturating_add(1);
        if partial.data.len().saturating_add(data.len()) > self.limit {
            return Err(Reason::TooLarge { limit: self.limit });
        }
        if partial.fragments > MAX_FRAGMENTS {
            let error = format!("a message of more than {MAX_FRAGMENTS} fragments");
            return Err(Reason::Protocol(ProtocolError::WebSocket(error)));
        }
        partial.data.extend_from_slice(&data);
        match self.partial.take_if(|_| last) {
            Some(partial) => message(partial.is_text, partial.data.freeze()).map(Some),
            None => Ok(None),
        }
    }

    /// Ready when there is room for [`start_send`](Self::start_send).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let ready = Pin::new(&mut self.framed).poll_ready(cx);
        ready.map_err(|error| self.reason(error))
    }

    /// Puts a message into the write buffer.
    pub(crate) fn start_send(&mut self, transmit: Transmit) -> Result<(), Reason> {
        let (message, permit) = match transmit {
            Transmit::Frame(Frame::Text(text), permit) => (Message::Text(text), permit),
            Transmit::Frame(Frame::Binary(data), permit) => (Message::Binary(data), permit),
            Transmit::Ping(number) => {
                (Message::Ping(Bytes::copy_from_slice(&number.to_be_bytes())), None)
            }
        };
        self.put(message)?;
        if let Some(permit) = permit {
            permit.written();
        }
        Ok(())
    }

    /// Puts the goodbye of the websocket layer into the write buffer. Nothing goes behind it.
    pub(crate) fn start_close(&mut self) -> Result<(), Reason> {
        self.put(Message::Close(Some(CloseReason { code: CloseCode::Normal, description: None })))
    }

    fn put(&mut self, message: Message) -> Result<(), Reason> {
        let sent = Pin::new(&mut self.framed).start_send(message);
        sent.map_err(|error| self.reason(error))
    }

    /// Writes what is in the buffer, and the answer to a ping if one is due.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        if self.pong.is_some()
            && self.poll_ready(cx)?.is_ready()
            && let Some(payload) = self.pong.take()
        {
            self.put(Message::Pong(payload))?;
        }
        let flushed = Pin::new(&mut self.framed).poll_flush(cx);
        flushed.map_err(|error| self.reason(error))
    }

    fn reason(&self, error: GuardError) -> Reason {
        match error {
            GuardError::TooLarge => Reason::TooLarge { limit: self.limit },
            GuardError::Illegal(error) => Reason::Protocol(ProtocolError::WebSocket(error)),
            GuardError::Io(error) => Reason::TransportError(error.to_string()),
        }
    }
}

fn message(is_text: bool, data: Bytes) -> Result<Frame, Reason> {
    if is_text {
        // awc does not check it.
        let text = ByteString::try_from(data).map_err(|_| Reason::Protocol(ProtocolError::Utf8))?;
        Ok(Frame::Text(text))
    } else {
        Ok(Frame::Binary(data))
    }
}

fn closed(reason: Option<CloseReason>) -> Reason {
    match reason.map(|reason| u16::from(reason.code)) {
        Some(1001 | 1012) => Reason::ServerShutdown,
        Some(1009) => Reason::TooLargeForServer,
        code => Reason::TransportClose(code),
    }
}
