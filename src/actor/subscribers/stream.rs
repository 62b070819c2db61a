//! Messages as a stream.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll},
};

use actix::MailboxError;
use futures::{SinkExt, Stream, channel::mpsc};

use crate::{
    actor::subscribers::{listener::Listener, sent::Sent},
    message::Event,
    runtime::guard::{self, Task},
};

/// The way into an [`Events`].
pub(crate) struct Channel(pub(crate) RefCell<mpsc::Sender<Event>>);

impl Listener for Channel {
    fn send(&self, event: Event) -> Sent {
        let mut sender = self.0.borrow_mut();
        // Whoever polls the stream is woken.
        match guard::run(|| sender.try_send(event)) {
            Ok(Ok(())) => Sent::Taken,
            Ok(Err(full)) if full.is_full() => {
                let (event, mut sender) = (full.into_inner(), sender.clone());
                Sent::Full(Task::new(async move {
                    sender.send(event).await.map_err(|_| MailboxError::Closed)
                }))
            }
            Ok(Err(_)) => Sent::Gone,
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

/// The events of a namespace, as a stream; see [`Socket::events`](crate::Socket::events).
///
/// It holds 16 of them; when it is not polled, more wait in the namespace, as for an actor whose
/// mailbox is full, and hold the connection up. What is missed then is missing here without a
/// word: only [`Stats::missed`](crate::Stats::missed) counts it. It ends with the client. Drop it to
/// hear no more.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

/// How many events a stream holds.
const STREAM: usize = 16;

impl Events {
    pub(crate) fn new() -> (Channel, Self) {
        let (sender, events) = mpsc::channel(STREAM);
        (Channel(RefCell::new(sender)), Self { events })
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}
