//! Entries of the log as messages for an actor.

use std::{
    any::type_name, cell::RefCell, collections::VecDeque, future::Future, marker::PhantomData,
    pin::Pin,
};

use actix::{Message, Recipient, dev::SendError};
use serde::de::DeserializeOwned;

use crate::{
    guard::{self, Kept},
    logs::{NO_CLIENT, repeated},
    message::{Event, Undecodable, contract::NamedEvent},
    payload::error::DecodeError,
    relay::reader::entry::{LogEntry, LogEvent, LogMark},
};

/// An actor is gone, or has panicked.
pub(super) struct Gone;

pub(super) type Handled<'a> = Pin<Box<dyn Future<Output = Result<(), Gone>> + 'a>>;

/// The messages of one kind, to one actor.
pub(super) trait Lane {
    /// Makes a message of an entry, to be sent later. `None` if it is not for the actor.
    fn load(&self, entry: &LogEntry) -> Option<Loaded>;

    /// Sends the next message that was loaded. If it returns a future, the actor has handled all of its messages when that
    /// is ready. It does so if the mailbox is full, and for the last message.
    fn send<'a>(&'a self, is_last: bool, failed: &'a Failed) -> Result<Option<Handled<'a>>, Gone>;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loaded {
    Message,
    /// Somebody else is to hear of it.
    Undecodable,
}

/// Has the actors handle a record. Each actor gets its messages in the order of the log, whatever their kinds.
///
/// An actor handles its messages in order. So they are handed over as fast as there is room, and of each kind only the handling of
/// the last one is awaited.
pub(super) async fn deliver(
    lanes: &[Box<dyn Lane>],
    entries: &[LogEntry],
    failed: &Failed,
) -> Result<(), Gone> {
    let mut order = Vec::new();
    for entry in entries {
        for (number, lane) in lanes.iter().enumerate() {
            order.extend(lane.load(entry).map(|loaded| (number, lane, loaded)));
        }
    }
    let mut last = vec![None; lanes.len()];
    for (place, (number, _, loaded)) in order.iter().enumerate() {
        if *loaded == Loaded::Message
            && let Some(last) = last.get_mut(*number)
        {
            *last = Some(place);
        }
    }
    for (place, (number, lane, _)) in order.into_iter().enumerate() {
        let is_last = last.get(number) == Some(&Some(place));
        if let Some(handled) = lane.send(is_last, failed)? {
            handled.await?;
        }
    }
    Ok(())
}

/// What of an entry is for an actor.
pub(super) trait Pick {
    type Message: Message<Result = ()> + Send + 'static;

    fn pick(entry: &LogEntry) -> Option<Result<Self::Message, Undecodable>>;
}

pub(super) struct Events;

impl Pick for Events {
    type Message = Event;

    fn pick(entry: &LogEntry) -> Option<Result<Event, Undecodable>> {
        match entry {
            LogEntry::Event(event) => Some(Ok(event.event().clone())),
            LogEntry::Mark(_) => None,
        }
    }
}

pub(super) struct LogEvents;

impl Pick for LogEvents {
    type Message = LogEvent;

    fn pick(entry: &LogEntry) -> Option<Result<LogEvent, Undecodable>> {
        match entry {
            LogEntry::Event(event) => Some(Ok(event.clone())),
            LogEntry::Mark(_) => None,
        }
    }
}

pub(super) struct Marks;

impl Pick for Marks {
    type Message = LogMark;

    fn pick(entry: &LogEntry) -> Option<Result<LogMark, Undecodable>> {
        match entry {
            LogEntry::Mark(mark) => Some(Ok(mark.clone())),
            LogEntry::Event(_) => None,
        }
    }
}

pub(super) struct Typed<E>(PhantomData<fn() -> E>);

impl<E> Pick for Typed<E>
where
    E: NamedEvent + DeserializeOwned + Message<Result = ()> + Send + 'static,
{
    type Message = E;

    fn pick(entry: &LogEntry) -> Option<Result<E, Undecodable>> {
        let LogEntry::Event(event) = entry else { return None };
        let event = event.event();
        if event.name() != E::NAME {
            return None;
        }
        let error = match guard::run(|| event.args::<E>()) {
            Ok(Ok(message)) => return Some(Ok(message)),
            Ok(Err(error)) => error,
            Err(panicked) => DecodeError::panicked(&panicked),
        };
        Some(Err(Undecodable { event: event.clone(), error, wanted: type_name::<E>() }))
    }
}

pub(super) struct Actor<P: Pick> {
    recipient: Kept<Recipient<P::Message>>,
    loaded: RefCell<VecDeque<Result<P::Message, Undecodable>>>,
}

impl<P: Pick> Actor<P> {
    pub(super) fn new(recipient: Recipient<P::Message>) -> Self {
        Self { recipient: Kept::new(recipient), loaded: RefCell::default() }
    }
}

impl<P: Pick> Lane for Actor<P> {
    fn load(&self, entry: &LogEntry) -> Option<Loaded> {
        let picked = P::pick(entry)?;
        let loaded = if picked.is_ok() { Loaded::Message } else { Loaded::Undecodable };
        self.loaded.borrow_mut().push_back(picked);
        Some(loaded)
    }

    fn send<'a>(&'a self, is_last: bool, failed: &'a Failed) -> Result<Option<Handled<'a>>, Gone> {
        let next = self.loaded.borrow_mut().pop_front();
        let Some(next) = next else { return Ok(None) };
        let message = match next {
            Ok(message) => message,
            Err(undecodable) => return Ok(Some(Box::pin(failed.tell(undecodable)))),
        };
        let recipient = self.recipient.get().ok_or(Gone)?;
        let message = if is_last {
            message
        } else {
            match recipient.try_send(message) {
                Ok(()) => return Ok(None),
                Err(SendError::Full(message)) => message,
                Err(SendError::Closed(message)) => {
                    guard::dispose(message);
                    return Err(Gone);
                }
            }
        };
        let handled = recipient.send(message);
        Ok(Some(Box::pin(async move { handled.await.map_err(|_| Gone) })))
    }
}

/// Who hears of events that do not fit the type that was asked for.
#[derive(Default)]
pub(super) struct Failed(pub(super) Option<Kept<Recipient<Undecodable>>>);

impl Failed {
    async fn tell(&self, undecodable: Undecodable) -> Result<(), Gone> {
        if let Some(recipient) = self.0.as_ref().and_then(Kept::get) {
            return recipient.send(undecodable).await.map_err(|_| Gone);
        }
        let Undecodable { event, error, wanted } = undecodable;
        let (name, error) = (event.name(), error.without_values());
        repeated!(
            log::Level::Warn,
            NO_CLIENT; wanted,
            "the event {} of the log does not fit {wanted}: {error}",
            crate::display::Excerpt(name)
        );
        Ok(())
    }
}
