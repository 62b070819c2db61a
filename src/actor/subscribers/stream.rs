//! Messages as a stream.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix::MailboxError;
use futures::{SinkExt, Stream, channel::mpsc};

use crate::{
    actor::subscribers::{listener::Listener, sent::Sent},
    guard,
    message::Event,
    runtime::task::Task,
};

/// The way into [`Messages`].
pub(crate) struct Channel<M>(RefCell<mpsc::Sender<M>>);

impl<M: Send + 'static> Listener<M> for Channel<M> {
    fn send(&self, message: M) -> Sent {
        let mut sender = self.0.borrow_mut();
        // The task that polls the stream is woken; a message that nobody takes is dropped.
        let sent = guard::run(|| match sender.try_send(message) {
            Ok(()) => Ok(()),
            Err(full) if full.is_full() => Err(Some(full.into_inner())),
            Err(_) => Err(None),
        });
        match sent {
            Ok(Ok(())) => Sent::Taken,
            Ok(Err(Some(message))) => {
                let mut sender = sender.clone();
                Sent::Full(Task::new(async move {
                    sender.send(message).await.map_err(|_| MailboxError::Closed)
                }))
            }
            Ok(Err(None)) => Sent::Gone,
            Err(_) if sender.is_closed() => Sent::Gone,
            Err(panicked) => {
                log::warn!("a task that polls a stream of events {panicked} (its waker)");
                Sent::Failed
            }
        }
    }

    fn is_connected(&self) -> bool {
        !self.0.borrow().is_closed()
    }

    fn kind(&self) -> &'static str {
        "a stream"
    }
}

/// Messages of a namespace, as a stream; see [`Listen::stream`](crate::Listen::stream).
///
/// It holds 16 of them. When it is not polled, more wait in the namespace, as for an actor whose
/// mailbox is full: events hold the connection up, or what [`Overflow`](crate::Overflow) says; of
/// life-cycle messages, the newest 64 wait. What is missed is missing here without a word:
/// [`Stats::missed`](crate::Stats::missed) counts events, and
/// [`listen_to::<Lagged>()`](crate::Socket::listen_to) tells of them.
///
/// It ends with the client, or behind its one message ([`Listen::once`](crate::Listen::once)).
/// Drop it to hear no more.
#[must_use = "streams do nothing unless polled"]
pub struct Messages<M = Event> {
    messages: mpsc::Receiver<M>,
}

/// How many messages a stream holds.
const STREAM: usize = 16;

impl<M> Messages<M> {
    pub(crate) fn new() -> (Channel<M>, Self) {
        let (sender, messages) = mpsc::channel(STREAM);
        (Channel(RefCell::new(sender)), Self { messages })
    }
}

impl<M> Stream for Messages<M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        Pin::new(&mut self.messages).poll_next(cx)
    }
}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
