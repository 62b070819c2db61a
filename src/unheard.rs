//! Events that nobody has heard yet.

use std::collections::VecDeque;

use crate::{
    message::Event,
    subscriber::{Ears, Subscriber},
};

/// So many events are kept.
const MAX_EVENTS: usize = 1_024;
/// And so many bytes of them.
const MAX_BYTES: usize = 1 << 20;

/// Events that came when nobody had subscribed. The first subscriber gets them, so that it does
/// not have to be there before the connection is; one that hears one message takes one of them.
#[derive(Debug)]
pub(crate) enum Unheard {
    Kept {
        events: VecDeque<Event>,
        bytes: usize,
        /// How many of them came before the last [`Ready`](crate::Ready).
        before_ready: usize,
    },
    /// Somebody has subscribed, or there were too many.
    Over,
}

impl Default for Unheard {
    fn default() -> Self {
        Self::Kept { events: VecDeque::new(), bytes: 0, before_ready: 0 }
    }
}

impl Unheard {
    /// Whether events are kept for somebody still.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// Keeps an event. When that is one too many, all of them are discarded, so many, and no more
    /// are kept.
    pub(crate) fn keep(&mut self, event: Event) -> Option<usize> {
        let Self::Kept { events, bytes, .. } = self else { return None };
        *bytes = bytes.saturating_add(event.payload.size());
        events.push_back(event);
        let lost = events.len();
        (lost > MAX_EVENTS || *bytes > MAX_BYTES).then(|| {
            *self = Self::Over;
            lost
        })
    }

    /// The namespace is joined now.
    pub(crate) fn note_ready(&mut self) {
        if let Self::Kept { events, before_ready, .. } = self {
            *before_ready = events.len();
        }
    }

    /// The first event that a subscriber to one message wants.
    pub(crate) fn pop(&mut self, subscriber: &Subscriber) -> Option<Event> {
        let Self::Kept { events, bytes, before_ready } = self else { return None };
        let place = events.iter().position(|event| subscriber.wants_event(event))?;
        let event = events.remove(place)?;
        *bytes = bytes.saturating_sub(event.payload.size());
        *before_ready = before_ready.saturating_sub(usize::from(place < *before_ready));
        Some(event)
    }

    /// What these ears hear of it: what came before the last [`Ready`](crate::Ready), and what behind
    /// it. Who hears all events leaves nothing for others.
    pub(crate) fn take(&mut self, ears: &Ears) -> (VecDeque<Event>, VecDeque<Event>) {
        let Self::Kept { events, bytes, before_ready } = self else { return Default::default() };
        let mut behind = events.split_off((*before_ready).min(events.len()));
        let mut before = std::mem::take(events);
        if ears.want_all_events() {
            *self = Self::Over;
            return (before, behind);
        }
        let taken = [&mut before, &mut behind].map(|events| {
            let (wanted, rest) =
                std::mem::take(events).into_iter().partition(|event| ears.want_event(event));
            *events = rest;
            wanted
        });
        *before_ready = before.len();
        before.append(&mut behind);
        *bytes = before.iter().fold(0, |sum, event| sum.saturating_add(event.payload.size()));
        *events = before;
        taken.into()
    }
}
