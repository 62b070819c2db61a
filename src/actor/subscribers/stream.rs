//! Messages as a stream.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix::MailboxError;
use futures::{
    SinkExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
};

use crate::{
    actor::subscribers::{listener::Listener, sent::Sent},
    guard,
    logs::{self, repeated},
    message::Event,
    runtime::task::Task,
};

/// A message in a stream, and the receipt that is given when it is taken out.
struct Item<M> {
    message: M,
    receipt: Option<oneshot::Sender<()>>,
}

/// The sending side of [`Messages`].
pub(crate) struct Channel<M>(RefCell<mpsc::Sender<Item<M>>>);

impl<M: Send + 'static> Listener<M> for Channel<M> {
    fn send(&self, message: M) -> Sent {
        self.put(Item { message, receipt: None }, None)
    }

    fn send_last(&self, message: M) -> Sent {
        let (receipt, taken) = oneshot::channel();
        self.put(Item { message, receipt: Some(receipt) }, Some(taken))
    }

    fn is_connected(&self) -> bool {
        !self.0.borrow().is_closed()
    }

    fn kind(&self) -> &'static str {
        "a stream"
    }
}

impl<M: Send + 'static> Channel<M> {
    fn put(&self, item: Item<M>, taken: Option<oneshot::Receiver<()>>) -> Sent {
        let mut sender = self.0.borrow_mut();
        // The task that polls the stream is woken; a message that nobody takes is dropped.
        let sent = guard::run(|| match sender.try_send(item) {
            Ok(()) => Ok(()),
            Err(full) if full.is_full() => Err(Some(full.into_inner())),
            Err(_) => Err(None),
        });
        let closed = |_| MailboxError::Closed;
        match (sent, taken) {
            (Ok(Ok(())), None) => Sent::Taken,
            (Ok(Ok(())), Some(taken)) => {
                Sent::Full(Task::new(async move { taken.await.map_err(closed) }))
            }
            (Ok(Err(Some(mut item))), _) => {
                let (receipt, taken) = oneshot::channel();
                item.receipt = Some(receipt);
                let mut sender = sender.clone();
                Sent::Full(Task::new(async move {
                    sender.send(item).await.map_err(|_| MailboxError::Closed)?;
                    taken.await.map_err(closed)
                }))
            }
            (Ok(Err(None)), _) => Sent::Gone,
            (Err(_), _) if sender.is_closed() => Sent::Gone,
            (Err(panicked), _) => {
                repeated!(
                    log::Level::Warn,
                    logs::NO_CLIENT,
                    "a task that polls a stream of events {panicked} (its waker)"
                );
                Sent::Failed
            }
        }
    }
}

/// Messages of a namespace, as a stream; see [`Listen::stream`](crate::Listen::stream).
///
/// It holds 16 of them, or one that makes them larger than 256 KiB together. When it is not polled, more wait
/// in the namespace, as for an actor whose mailbox is full: events hold the connection up, unless
/// [`Overflow`](crate::Overflow) says otherwise; of life-cycle messages, the newest 64 wait. Missed messages
/// leave no mark in the stream: [`Stats::missed`](crate::Stats::missed) counts events, and
/// [`listen_to::<Lagged>()`](crate::Socket::listen_to) reports them.
///
/// It ends with the client, or after its one message ([`Listen::once`](crate::Listen::once)).
/// Dropping it ends the subscription.
#[must_use = "streams do nothing unless polled"]
pub struct Messages<M = Event> {
    messages: mpsc::Receiver<Item<M>>,
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
        let item = ready!(self.messages.poll_next_unpin(cx));
        Poll::Ready(item.map(|Item { message, receipt }| {
            if let Some(receipt) = receipt {
                // Nobody may wait for it any more.
                receipt.send(()).ok();
            }
            message
        }))
    }
}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
