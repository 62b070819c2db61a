//! The transport of packets: a websocket, or polling that may become one.

use std::task::{Context, Poll, ready};

use futures::future::LocalBoxFuture;

use super::{
    WebSocket,
    polling::{Polled, Polling},
};
use crate::proto::{
    engine::{Incoming, Message},
    reason::Reason,
};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all connections are websockets")]
pub(crate) enum Link {
    WebSocket(WebSocket),
    Polling(Box<Polling>),
}

impl Link {
    /// The place of the subprotocol that the server has chosen, among those that were offered.
    pub(crate) fn subprotocol(&self) -> Option<usize> {
        match self {
            Self::WebSocket(websocket) => websocket.subprotocol(),
            Self::Polling(_) => None,
        }
    }

    /// The next packet or message, or why there are no more.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Reason>> {
        let polling = match self {
            Self::WebSocket(websocket) => return websocket.poll_next(cx),
            Self::Polling(polling) => polling,
        };
        match ready!(polling.poll_next(cx))? {
            Polled::Incoming(incoming) => Poll::Ready(Ok(incoming)),
            Polled::Upgraded(websocket) => {
                *self = Self::WebSocket(*websocket);
                Poll::Ready(Ok(Incoming::Upgraded))
            }
        }
    }

    /// Ready when there is room for [`start_send`](Self::start_send).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        match self {
            Self::WebSocket(websocket) => websocket.poll_ready(cx),
            Self::Polling(polling) => polling.poll_ready(cx),
        }
    }

    pub(crate) fn start_send(&mut self, message: Message<'_>) {
        match self {
            Self::WebSocket(websocket) => websocket.start_send(message),
            Self::Polling(polling) => polling.start_send(message),
        }
    }

    /// Closes, after everything that was sent. Nothing may follow.
    pub(crate) fn start_close(&mut self) {
        match self {
            Self::WebSocket(websocket) => websocket.start_close(),
            Self::Polling(polling) => polling.start_close(),
        }
    }

    /// Gives the connection up: closes it as far as that is possible without waiting. The result is what must
    /// still be sent to the server, as a future; the next connection waits for it.
    pub(crate) fn hang_up(self, cx: &mut Context<'_>) -> Option<LocalBoxFuture<'static, ()>> {
        match self {
            Self::WebSocket(mut websocket) => {
                websocket.start_close();
                // The socket is dropped, whether this works or not.
                drop(websocket.poll_flush(cx));
                None
            }
            Self::Polling(polling) => polling.hang_up(),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        match self {
            Self::WebSocket(websocket) => websocket.poll_flush(cx),
            Self::Polling(polling) => polling.poll_flush(cx),
        }
    }
}
