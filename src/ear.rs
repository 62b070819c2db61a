//! Who hears events of a certain name: an actor by its own message, an actor that answers, a stream,
//! a function.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use actix::{MailboxError, Message, Recipient};
use bytestring::ByteString;
use futures::{SinkExt, Stream, channel::mpsc};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    contract::{Answer, Call, Failed},
    error::AnswerError,
    message::{Event, Undecodable},
    subscriber::{Sent, send},
    subscription::Number,
};

/// Takes events.
pub(crate) trait Ear: Send {
    fn send(&self, event: Event) -> Sent;

    /// Whether somebody is still there.
    fn is_connected(&self) -> bool;

    /// Whether it answers.
    fn answers(&self) -> bool {
        false
    }

    /// So many events were discarded because it took them too slowly.
    fn note_missed(&self, _events: u64) {}
}

/// Somebody who hears some of the events.
pub(crate) struct Named {
    /// Of the call that this came from.
    pub(crate) number: Number,
    pub(crate) filter: Filter,
    pub(crate) ear: Box<dyn Ear>,
}

/// Which events, by their name.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    All,
    Name(ByteString),
    Prefix(ByteString),
}

impl Filter {
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => *wanted == *name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }
}

impl Ear for Recipient<Event> {
    fn send(&self, event: Event) -> Sent {
        send(Some(self), event)
    }

    fn is_connected(&self) -> bool {
        self.connected()
    }
}

/// An actor that gets a message of its own.
pub(crate) struct Typed<E: Message + Send>(pub(crate) Recipient<E>)
where
    E::Result: Send;

impl<E> Ear for Typed<E>
where
    E: DeserializeOwned + Message<Result = ()> + Send + 'static,
{
    fn send(&self, event: Event) -> Sent {
        match event.args::<E>() {
            Ok(message) => send(Some(&self.0), message),
            Err(error) => Sent::Undecodable(Undecodable { event, error }),
        }
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }
}

/// An actor whose handler's result is the answer.
pub(crate) struct Answering<C: Message + Send>(pub(crate) Recipient<C>)
where
    C::Result: Send;

impl<C> Ear for Answering<C>
where
    C: Call + DeserializeOwned + Message + Send + 'static,
    C::Result: Answer<C::Reply> + Send,
    C::Reply: Serialize,
{
    fn send(&self, event: Event) -> Sent {
        let message = match event.args::<C>() {
            Ok(message) => message,
            Err(error) => return Sent::Undecodable(Undecodable { event, error }),
        };
        let asked = self.0.send(message);
        Sent::Asked(Box::pin(async move {
            let handled = asked.await;
            let gone = handled.as_ref().map(drop).map_err(|_| MailboxError::Closed);
            if event.wants_ack() {
                let reply = handled.map_err(|_| GONE.to_owned()).and_then(Answer::into_reply);
                answer(&event, reply);
            }
            gone
        }))
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }

    fn answers(&self) -> bool {
        true
    }
}

/// What the server is told when the actor stops, or panics, before it has answered.
const GONE: &str = "whoever was to answer is gone";

/// Answers, if need be with an error, so that the server need not wait.
fn answer(event: &Event, reply: Result<impl Serialize, String>) {
    let outcome = match reply {
        Ok(reply) => event.ack(reply).or_else(|error| match error {
            AnswerError::Encode(_) | AnswerError::PayloadTooLarge { .. } => {
                log::warn!("{}: an answer was replaced: {error}", event.whose());
                event.ack(Failed { error: error.to_string() })
            }
            error => Err(error),
        }),
        Err(error) => event.ack(Failed { error }),
    };
    if let Err(error) = outcome {
        log::warn!("{}: an answer was not sent: {error}", event.whose());
    }
}

/// A function. It is not called again once it has panicked.
pub(crate) struct Function<F>(pub(crate) RefCell<Option<F>>);

impl<F: FnMut(Event) + Send> Ear for Function<F> {
    fn send(&self, event: Event) -> Sent {
        let mut function = self.0.borrow_mut();
        let Some(call) = function.as_mut() else { return Sent::Gone };
        if catch_unwind(AssertUnwindSafe(|| call(event))).is_ok() {
            return Sent::Taken;
        }
        log::warn!("a function that hears events has panicked, and is forgotten");
        *function = None;
        Sent::Gone
    }

    fn is_connected(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// The way into an [`Events`].
pub(crate) struct Channel(pub(crate) RefCell<mpsc::Sender<Event>>);

impl Ear for Channel {
    fn send(&self, event: Event) -> Sent {
        let mut sender = self.0.borrow_mut();
        match sender.try_send(event) {
            Ok(()) => Sent::Taken,
            Err(full) if full.is_full() => {
                let (event, mut sender) = (full.into_inner(), sender.clone());
                Sent::Full(Box::pin(async move {
                    sender.send(event).await.map_err(|_| MailboxError::Closed)
                }))
            }
            Err(_) => Sent::Gone,
        }
    }

    fn is_connected(&self) -> bool {
        !self.0.borrow().is_closed()
    }
}

/// The events of a namespace, as a stream; see [`Socket::events`](crate::Socket::events).
///
/// It holds 16 of them; when it is not polled, more wait in the namespace, as for an actor whose
/// mailbox is full, and hold the connection up. What is discarded then is missing here without a
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
