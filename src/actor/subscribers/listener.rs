//! Who hears events of a certain name: an actor by its own message, an actor that answers, a stream,
//! a function.

use std::{
    any::type_name,
    cell::RefCell,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix::{MailboxError, Message, Recipient};
use bytestring::ByteString;
use futures::{SinkExt, Stream, channel::mpsc};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::subscribers::{
        policy::SubscriptionId,
        subscriber::{Sent, send},
    },
    display::Name,
    guard::{self, Kept},
    message::{
        Event, Undecodable,
        answer::AnswerError,
        contract::{Answer, Call, Failed},
    },
    payload::error::DecodeError,
    runtime::task::{self, Task},
};

/// Takes events. What it has of the application may panic, the listener does not.
pub(crate) trait Listener: Send {
    fn send(&self, event: Event) -> Sent;

    /// Whether somebody is still there.
    fn is_connected(&self) -> bool;

    /// What it is, for the log: the type of the application, if there is one.
    fn kind(&self) -> &'static str;

    /// Whether it answers.
    fn answers(&self) -> bool {
        false
    }

    /// So many events were discarded because it took them too slowly.
    fn note_missed(&self, _events: u64) {}
}

/// Somebody who hears some of the events.
pub(crate) struct FilteredListener {
    /// Of the call that this came from.
    pub(crate) number: SubscriptionId,
    pub(crate) filter: Filter,
    listener: Kept<Box<dyn Listener>>,
}

impl FilteredListener {
    pub(crate) fn new(
        number: SubscriptionId,
        filter: Filter,
        listener: impl Listener + 'static,
    ) -> Self {
        Self { number, filter, listener: Kept::new(Box::new(listener)) }
    }

    pub(crate) fn send(&self, event: Event) -> Sent {
        self.listener.get().map_or(Sent::Gone, |listener| listener.send(event))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.is_connected())
    }

    pub(crate) fn answers(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.answers())
    }

    pub(crate) fn note_missed(&self, events: u64) {
        if let Some(listener) = self.listener.get() {
            listener.note_missed(events);
        }
    }
}

/// What is heard, and as what.
impl fmt::Display for FilteredListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filter {
            Filter::All => f.write_str("all events")?,
            Filter::Name(name) => write!(f, "{:?}", &**name)?,
            Filter::Prefix(prefix) => write!(f, "{:?}…", &**prefix)?,
        }
        write!(f, " as {}", self.listener.get().map_or("nothing", |listener| listener.kind()))
    }
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

impl Listener for Recipient<Event> {
    fn send(&self, event: Event) -> Sent {
        send(Some(self), event)
    }

    fn is_connected(&self) -> bool {
        self.connected()
    }

    fn kind(&self) -> &'static str {
        "Event"
    }
}

/// Reads an event, and has somebody take it. Both are up to the application. If it is not taken, that
/// says why.
fn read<M: DeserializeOwned, T>(
    event: Event,
    is_connected: impl FnOnce() -> bool,
    take: impl FnOnce(M) -> T,
) -> Result<(Event, T), Sent> {
    let error = match guard::run(|| event.args::<M>().map(take)) {
        Ok(Ok(taken)) => return Ok((event, taken)),
        Ok(Err(error)) => error,
        // A message for the dead is dropped, which may be what panicked.
        Err(_) if !is_connected() => return Err(Sent::Gone),
        Err(panicked) => DecodeError::panicked(&panicked),
    };
    Err(Sent::Undecodable(Undecodable { event, error, wanted: type_name::<M>() }))
}

/// An actor that gets a message of its own.
pub(crate) struct Typed<E: Message + Send>(pub(crate) Recipient<E>)
where
    E::Result: Send;

impl<E> Listener for Typed<E>
where
    E: DeserializeOwned + Message<Result = ()> + Send + 'static,
{
    fn send(&self, event: Event) -> Sent {
        let taken = read(event, || self.is_connected(), |message: E| send(Some(&self.0), message));
        taken.map_or_else(|not| not, |(_, sent)| sent)
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }

    fn kind(&self) -> &'static str {
        type_name::<E>()
    }
}

/// An actor whose handler's result is the answer.
pub(crate) struct Answering<C: Message + Send>(pub(crate) Recipient<C>)
where
    C::Result: Send;

impl<C> Listener for Answering<C>
where
    C: Call + DeserializeOwned + Message + Send + 'static,
    C::Result: Answer<C::Reply> + Send,
    C::Reply: Serialize,
{
    fn send(&self, event: Event) -> Sent {
        let taken = read(event, || self.is_connected(), |message: C| self.0.send(message));
        let (event, asked) = match taken {
            Ok(taken) => taken,
            Err(not) => return not,
        };
        Sent::Asked(Task::new(async move {
            let handled = task::catch(asked).await.unwrap_or(Err(MailboxError::Closed));
            let gone = handled.as_ref().map(drop).map_err(|_| MailboxError::Closed);
            let reply = || {
                let reply = handled.map_err(|_| GONE.to_owned()).and_then(Answer::into_reply);
                if event.wants_ack() {
                    answer(&event, reply);
                }
            };
            if let Err(panicked) = guard::run(reply) {
                let (whose, name, kind) = (event.whose(), event.name(), type_name::<C>());
                log::warn!("{whose}: the answer to {name:?} ({kind}) {panicked}");
                // Unless it was given before that.
                drop(event.ack(Failed { error: PANICKED.to_owned() }));
            }
            gone
        }))
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }

    fn kind(&self) -> &'static str {
        type_name::<C>()
    }

    fn answers(&self) -> bool {
        true
    }
}

/// What the server is told when the actor stops, or panics, before it has answered,
const GONE: &str = "whoever was to answer is gone";

/// and when what it has answered panics before it is sent.
const PANICKED: &str = "the answer could not be made";

/// Answers, if need be with an error, so that the server need not wait.
fn answer(event: &Event, reply: Result<impl Serialize, String>) {
    let outcome = match reply {
        Ok(reply) => event.ack(reply).or_else(|error| match error {
            AnswerError::Encode(_)
            | AnswerError::PayloadTooLarge { .. }
            | AnswerError::TooManyAttachments { .. } => {
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
pub(crate) struct Function<F> {
    call: RefCell<Option<F>>,
    namespace: Name,
    name: ByteString,
}

impl<F> Function<F> {
    /// One for events of this name.
    pub(crate) fn new(function: F, namespace: Name, name: ByteString) -> Self {
        Self { call: RefCell::new(Some(function)), namespace, name }
    }
}

impl<F: FnMut(Event) + Send> Listener for Function<F> {
    fn send(&self, event: Event) -> Sent {
        let mut function = self.call.borrow_mut();
        let Some(call) = function.as_mut() else { return Sent::Gone };
        let Err(panicked) = guard::run(|| call(event)) else { return Sent::Taken };
        let (namespace, name, kind) = (&self.namespace, &self.name, self.kind());
        log::warn!("{namespace}: the function for {name:?} ({kind}) {panicked}; it is forgotten");
        guard::dispose(function.take());
        Sent::Failed
    }

    fn is_connected(&self) -> bool {
        self.call.borrow().is_some()
    }

    fn kind(&self) -> &'static str {
        type_name::<F>()
    }
}

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
