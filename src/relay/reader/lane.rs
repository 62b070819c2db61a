//! Entries of the log as messages for an actor.

use std::{any::type_name, future::Future, marker::PhantomData, pin::Pin};

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
    /// Has the actor handle its messages of a record. When this is ready, it has.
    fn deliver<'a>(&'a self, entries: &'a [LogEntry], failed: &'a Failed) -> Handled<'a>;
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
}

impl<P: Pick> Actor<P> {
    pub(super) fn new(recipient: Recipient<P::Message>) -> Self {
        Self { recipient: Kept::new(recipient) }
    }
}

impl<P: Pick> Lane for Actor<P> {
    fn deliver<'a>(&'a self, entries: &'a [LogEntry], failed: &'a Failed) -> Handled<'a> {
        Box::pin(async move {
            let recipient = self.recipient.get().ok_or(Gone)?;
            let mut picked = entries.iter().filter_map(P::pick).peekable();
            while let Some(message) = picked.next() {
                let message = match message {
                    Ok(message) => message,
                    Err(undecodable) => {
                        failed.tell(undecodable).await?;
                        continue;
                    }
                };
                // An actor handles its messages in order. So they are handed over as fast as there is room, and only
                // the handling of the last one is awaited.
                let is_last = picked.peek().is_none_or(Result::is_err);
                let message = if is_last {
                    message
                } else {
                    match recipient.try_send(message) {
                        Ok(()) => continue,
                        Err(SendError::Full(message)) => message,
                        Err(SendError::Closed(message)) => {
                            guard::dispose(message);
                            return Err(Gone);
                        }
                    }
                };
                recipient.send(message).await.map_err(|_| Gone)?;
            }
            Ok(())
        })
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
            "the event {} of the log is no {wanted}: {error}",
            crate::display::Excerpt(name)
        );
        Ok(())
    }
}
