//! Events that came before the first subscriber.

use std::collections::VecDeque;

use crate::{
    actor::{
        journal::counted,
        subscribers::{interests::Interests, subscriber::Subscriber},
    },
    display::{Excerpt, Name},
    logs::repeated,
    message::Event,
};

/// The most events that are kept,
const MAX_EVENTS: usize = 1_024;
/// and the most bytes.
const MAX_BYTES: usize = 1 << 20;

/// Events that came when there was no subscriber. The first subscriber gets them, so that it does
/// not have to be there before the connection; a subscriber to one message takes one of them.
#[derive(Debug)]
pub(crate) enum EarlyEvents {
    Kept {
        events: VecDeque<Event>,
        bytes: usize,
        /// How many of them came before the last [`Ready`](crate::Ready).
        before_ready: usize,
        /// Whether the first one was logged.
        is_logged: bool,
    },
    /// There was a subscriber, or there were too many events.
    Over,
}

impl Default for EarlyEvents {
    fn default() -> Self {
        Self::Kept { events: VecDeque::new(), bytes: 0, before_ready: 0, is_logged: false }
    }
}

impl EarlyEvents {
    /// Whether events are still kept.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// Keeps an event. If that is one too many, all of them are discarded, and no more are kept.
    /// Returns how many were discarded now.
    pub(crate) fn keep(&mut self, event: Event, namespace: &Name) -> u64 {
        match self {
            Self::Kept { events, bytes, is_logged, .. } => {
                let name = Excerpt(event.name()).to_string();
                if !std::mem::replace(is_logged, true) {
                    repeated!(
                        log::Level::Info,
                        namespace,
                        "no subscriber wants {name} yet; it is kept for one"
                    );
                }
                *bytes = bytes.saturating_add(event.payload.held());
                events.push_back(event);
                if events.len() <= MAX_EVENTS && *bytes <= MAX_BYTES {
                    return 0;
                }
                let lost = self.discard();
                let events = counted(lost, "event");
                repeated!(
                    log::Level::Warn,
                    namespace,
                    "{events} discarded that no subscriber wanted, the last one is {name}"
                );
                lost
            }
            Self::Over => {
                let name = Excerpt(event.name());
                repeated!(
                    log::Level::Warn,
                    namespace,
                    "no subscriber wants {name}; the event is discarded"
                );
                1
            }
        }
    }

    /// Discards the kept events, and keeps no more. Returns how many there were.
    pub(crate) fn discard(&mut self) -> u64 {
        let Self::Kept { events, .. } = self else { return 0 };
        let lost = u64::try_from(events.len()).unwrap_or(u64::MAX);
        *self = Self::Over;
        lost
    }

    /// The namespace is joined now.
    pub(crate) fn note_ready(&mut self) {
        if let Self::Kept { events, before_ready, .. } = self {
            *before_ready = events.len();
        }
    }

    /// The first event that a subscriber to one message wants.
    pub(crate) fn pop(&mut self, subscriber: &Subscriber) -> Option<Event> {
        let Self::Kept { events, bytes, before_ready, .. } = self else { return None };
        let place = events.iter().position(|event| subscriber.wants_event(event))?;
        let event = events.remove(place)?;
        *bytes = bytes.saturating_sub(event.payload.held());
        *before_ready = before_ready.saturating_sub(usize::from(place < *before_ready));
        Some(event)
    }

    /// The kept events that are wanted: those before the last [`Ready`](crate::Ready), and those after
    /// it. A subscriber to all events leaves nothing for others.
    pub(crate) fn take(&mut self, interests: &Interests) -> (VecDeque<Event>, VecDeque<Event>) {
        let Self::Kept { events, bytes, before_ready, .. } = self else {
            if interests.want_all_events() {
                *self = Self::Over;
            }
            return Default::default();
        };
        let mut behind = events.split_off((*before_ready).min(events.len()));
        let mut before = std::mem::take(events);
        if interests.want_all_events() {
            *self = Self::Over;
            return (before, behind);
        }
        let taken = [&mut before, &mut behind].map(|events| {
            let (wanted, rest) =
                std::mem::take(events).into_iter().partition(|event| interests.want_event(event));
            *events = rest;
            wanted
        });
        *before_ready = before.len();
        before.append(&mut behind);
        *bytes = before.iter().fold(0, |sum, event| sum.saturating_add(event.payload.held()));
        *events = before;
        taken.into()
    }
}
