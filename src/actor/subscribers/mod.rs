//! The subscribers of a namespace: their interests, and how far they are behind.
//!
//! An event costs those who hear it, and a turn of the actor those for whom there is something to be
//! done, however many others there are.

pub(crate) mod early_events;
pub(crate) mod filter;
pub(crate) mod function;
pub(crate) mod interests;
pub(crate) mod listener;
pub(crate) mod policy;
pub(crate) mod sent;
pub(crate) mod stream;
pub(crate) mod subscriber;
pub(crate) mod typed;

use std::{
    collections::{HashMap, VecDeque},
    task::Context,
};

use crate::{
    actor::{
        journal::counted,
        subscribers::{
            early_events::EarlyEvents,
            interests::{Interests, Notice},
            policy::{Overflow, SubscriptionId},
            subscriber::Subscriber,
        },
    },
    backpressure::receive_window::{Backlog, Load},
    display::{Excerpt, Name},
    logs::repeated,
    message::{Event, Lagged, Ready, Undecodable},
    stats::Counters,
};

/// The places of so few are all looked at for each event.
const FEW: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// The most names in the index. The server makes names up.
const MAX_NAMES: usize = 1_024;
/// The longest name for which that is done, in bytes.
const MAX_NAME: usize = 256;
/// All names and places that are remembered, in bytes.
const MAX_REMEMBERED: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Subscribers {
    /// Of those whose call does not say.
    overflow: Overflow,
    slots: Slots,
    index: NameIndex,
    /// Somebody hears what is emitted.
    hears_emitted: bool,
}

/// The subscribers, in the order in which they came.
#[derive(Debug, Default)]
struct Slots {
    all: Vec<Slot>,
    /// The places of those for whom there is something to be done.
    busy: Vec<usize>,
    /// What had another shape than those in these places asked for, and the others do not know.
    undecodable: Vec<(usize, Undecodable)>,
    /// How many of those there were since somebody asked.
    misfits: u64,
}

#[derive(Debug)]
struct Slot {
    subscriber: Subscriber,
    /// How many events had another shape than it asked for, and nobody was told.
    misfits: u64,
    /// It is in the list.
    is_busy: bool,
}

/// The subscribers of each event name by their places, used when there are many subscribers.
#[derive(Debug, Default)]
struct NameIndex {
    known: HashMap<Box<str>, Box<[usize]>>,
    /// Of the names and the places in `known`.
    bytes: usize,
    /// The places for the last name that is not remembered.
    passing: Box<[usize]>,
}

/// Somebody wants to hear.
#[derive(Debug)]
pub(crate) struct NewSubscription {
    pub(crate) number: SubscriptionId,
    pub(crate) interests: Interests,
    /// One message, and no more.
    pub(crate) is_once: bool,
    /// What to do when events come too fast for it, if the call says so.
    pub(crate) overflow: Option<Overflow>,
}

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Told {
    Nobody(Event),
    Somebody,
    /// For one of them it is too much.
    Overrun,
}

impl Slots {
    /// Does something with the one in this place, and puts it on the list if there is something more to
    /// be done for it.
    fn with<T>(&mut self, place: usize, act: impl FnOnce(&mut Subscriber) -> T) -> Option<T> {
        let Slot { subscriber, is_busy, .. } = self.all.get_mut(place)?;
        let outcome = act(subscriber);
        if !*is_busy && subscriber.is_busy() {
            *is_busy = true;
            self.busy.push(place);
        }
        Some(outcome)
    }

    /// Whether the one in this place hears an event. With `alive`, it is made sure that it lives.
    fn hears(&mut self, place: usize, event: &Event, alive: bool) -> bool {
        let hears = self.all.get(place).is_some_and(|slot| slot.subscriber.wants_event(event));
        if !hears || !alive {
            return hears;
        }
        let is_gone = self.with(place, |subscriber| {
            subscriber.check();
            subscriber.is_gone()
        });
        is_gone == Some(false)
    }

    /// `true` if that is one too many.
    fn give(&mut self, place: usize, event: Event) -> bool {
        let outcome = self.with(place, |subscriber| {
            subscriber.take(Notice::Event(event));
            (subscriber.has_undecodable(), subscriber.is_overrun())
        });
        let Some((has_undecodable, overrun)) = outcome else { return false };
        if has_undecodable && let Some(Slot { subscriber, .. }) = self.all.get_mut(place) {
            let taken = subscriber.take_undecodable();
            self.undecodable.extend(taken.into_iter().map(|what| (place, what)));
        }
        overrun
    }

    /// Tells those that subscribed to this, except the one that was told already.
    fn tell_undecodable(&mut self, namespace: &Name) {
        for (knows, what) in std::mem::take(&mut self.undecodable) {
            self.misfits = self.misfits.saturating_add(1);
            let Undecodable { event, error, wanted } = what.clone();
            let notice = Notice::Undecodable(what);
            let mut told =
                self.all.get(knows).is_some_and(|slot| slot.subscriber.hears_undecodable());
            for place in (0..self.all.len()).filter(|&place| place != knows) {
                told |= self.with(place, |subscriber| subscriber.offer(&notice)) == Some(true);
            }
            if !told && let Some(slot) = self.all.get_mut(knows) {
                slot.misfits = slot.misfits.saturating_add(1);
                // More lines would say no more.
                if slot.misfits.is_power_of_two() {
                    let (name, error) = (Excerpt(event.name()), error.without_values());
                    let so_far = counted(slot.misfits, "such event");
                    repeated!(
                        log::Level::Warn,
                        namespace,
                        "{namespace}: the event {name} is no {wanted}: {error} ({so_far} so far for this subscriber)"
                    );
                }
            }
        }
    }

    /// Tells those that listen to the losses of others.
    fn tell_lagged(&mut self, lagged: Vec<Lagged>) {
        for notice in lagged.into_iter().map(Notice::Lagged) {
            for place in 0..self.all.len() {
                self.with(place, |one| one.hears_all_lagged() && one.offer(&notice));
            }
        }
    }

    fn busy(&self) -> impl Iterator<Item = &Subscriber> {
        self.busy.iter().filter_map(|&place| self.all.get(place)).map(|slot| &slot.subscriber)
    }

    fn iter(&self) -> impl Iterator<Item = &Subscriber> {
        self.all.iter().map(|slot| &slot.subscriber)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.all.iter_mut().map(|slot| &mut slot.subscriber)
    }
}

impl NameIndex {
    fn of<'a>(&'a mut self, event: &Event, slots: &Slots) -> &'a [usize] {
        if let Some(places) = FEW.get(..slots.all.len()) {
            return places;
        }
        self.places(event.name(), || {
            let places = slots.iter().enumerate().filter(|(_, one)| one.wants_event(event));
            places.map(|(place, _)| place).collect()
        })
    }

    /// The places for a name: those that are remembered, or what `find` gives.
    fn places(&mut self, name: &str, find: impl FnOnce() -> Box<[usize]>) -> &[usize] {
        if name.len() > MAX_NAME {
            self.passing = find();
            return &self.passing;
        }
        if !self.known.contains_key(name) {
            let places = find();
            let bytes = name.len().saturating_add(size_of_val(&*places));
            if bytes > MAX_REMEMBERED {
                self.passing = places;
                return &self.passing;
            }
            let sum = self.bytes.saturating_add(bytes);
            if self.known.len() >= MAX_NAMES || sum > MAX_REMEMBERED {
                self.known.clear();
                self.bytes = 0;
            }
            self.bytes = self.bytes.saturating_add(bytes);
            self.known.insert(name.into(), places);
        }
        self.known.get(name).map_or(&[], |places| places)
    }
}

impl Subscribers {
    /// Nobody yet. `overflow` is for those whose call does not say.
    pub(crate) fn new(overflow: Overflow) -> Self {
        let (slots, index) = (Slots::default(), NameIndex::default());
        Self { overflow, slots, index, hears_emitted: false }
    }

    /// Gives a life-cycle message to all subscribers that want it.
    pub(crate) fn tell(&mut self, notice: &Notice) {
        for place in 0..self.slots.all.len() {
            self.slots.with(place, |subscriber| subscriber.offer(notice));
        }
    }

    /// Gives a life-cycle message to all subscribers that want it, and another one to the others.
    pub(crate) fn tell_or(&mut self, notice: &Notice, other: &Notice) {
        for place in 0..self.slots.all.len() {
            self.slots
                .with(place, |subscriber| subscriber.offer(notice) || subscriber.offer(other));
        }
    }

    /// Gives an event to all who hear it, and to the last of them without a copy. With `alive`, it is
    /// made sure that they live.
    pub(crate) fn tell_event(&mut self, event: Event, alive: bool, namespace: &Name) -> Told {
        let Self { slots, index, .. } = self;
        let mut overrun = false;
        let mut last = None;
        for &place in index.of(&event, slots) {
            if slots.hears(place, &event, alive)
                && let Some(before) = last.replace(place)
            {
                overrun |= slots.give(before, event.clone());
            }
        }
        let Some(last) = last else { return Told::Nobody(event) };
        overrun |= slots.give(last, event);
        if !slots.undecodable.is_empty() {
            slots.tell_undecodable(namespace);
        }
        if overrun { Told::Overrun } else { Told::Somebody }
    }

    pub(crate) fn hears_emitted(&self) -> bool {
        self.hears_emitted
    }

    /// Removes dead subscribers. Where little happens, a new subscriber is the occasion.
    pub(crate) fn check(&mut self) {
        for place in 0..self.slots.all.len() {
            self.slots.with(place, Subscriber::check);
        }
    }

    /// Takes up a subscriber, or more that a known one hears. It gets what is kept for it, and
    /// [`Ready`] where that holds.
    pub(crate) fn subscribe(
        &mut self,
        subscription: NewSubscription,
        kept: &mut EarlyEvents,
        ready: Option<&Ready>,
        namespace: &Name,
    ) {
        let NewSubscription { number, interests, is_once, overflow } = subscription;
        self.check();
        if !interests.are_connected() {
            // Kept events are for a live subscriber.
            return repeated!(
                log::Level::Info,
                namespace,
                "{namespace}: {interests} has subscribed, and is gone already"
            );
        }
        // What it gets now is what it has just subscribed to, and nothing twice.
        let ready = ready.filter(|_| interests.want_ready());
        let ready = ready.map(|ready| Notice::Ready(ready.clone()));
        let (mut subscriber, before, behind) = if is_once {
            let subscriber = Subscriber::once(number, interests);
            let before = kept.pop(&subscriber).into_iter().collect();
            (subscriber, before, VecDeque::new())
        } else {
            let (before, behind) = kept.take(&interests);
            (self.adopt(number, interests), before, behind)
        };
        if let Some(overflow) = overflow {
            subscriber.set_overflow(overflow);
        }
        let events = |events: VecDeque<Event>| events.into_iter().map(Notice::Event);
        for notice in events(before).chain(ready).chain(events(behind)) {
            subscriber.offer(&notice);
        }
        self.add(subscriber);
    }

    /// Takes out one of the same actor, for more to be added to it.
    fn adopt(&mut self, number: SubscriptionId, interests: Interests) -> Subscriber {
        let Some(known) = self.slots.iter().position(|one| one.can_adopt(&interests)) else {
            let mut subscriber = Subscriber::new(number, interests);
            subscriber.set_overflow(self.overflow);
            return subscriber;
        };
        let mut subscriber = self.slots.all.remove(known).subscriber;
        subscriber.adopt(number, interests);
        self.rearrange();
        subscriber
    }

    fn add(&mut self, subscriber: Subscriber) {
        let place = self.slots.all.len();
        self.hears_emitted |= subscriber.hears_emitted();
        self.slots.all.push(Slot { subscriber, misfits: 0, is_busy: false });
        self.slots.with(place, |_| ());
        self.index = NameIndex::default();
    }

    pub(crate) fn cancel(&mut self, number: SubscriptionId) {
        for subscriber in self.slots.iter_mut() {
            subscriber.cancel(number);
            if subscriber.goes_by(number) {
                subscriber.end();
            }
        }
        self.rearrange();
    }

    /// Has those who are stuck hold up the connection no more, or `all` who do so with more than their
    /// share of what waits: they keep it, as far as there is `room` for that, and what comes is
    /// discarded until they get something done. `true` if one of them is overrun now.
    /// `share` is that of this namespace in what waits.
    pub(crate) fn shed(
        &mut self,
        all: bool,
        share: Load,
        mut room: Load,
        namespace: &Name,
    ) -> bool {
        let holding = self.slots.busy().filter(|one| one.backlog().holding != Load::default());
        let share = share.divided_by(holding.count());
        let mut overrun = false;
        for place in 0..self.slots.all.len() {
            self.slots.with(place, |subscriber| {
                // A subscriber with less is on its way through.
                let all = all && !subscriber.backlog().holding.is_below(share);
                if subscriber.shed(all, room) {
                    let backlog = subscriber.backlog();
                    room = backlog.rest_of(room);
                    let kept = backlog.kept.items;
                    repeated!(log::Level::Warn, namespace, "{namespace}: {} is too slow: those that come now are discarded, and {} kept for it",
                        subscriber.interests(),
                        counted(kept, "event")
                    );
                }
                overrun |= subscriber.is_overrun();
            });
        }
        overrun
    }

    /// Does what there is to be done.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, namespace: &Name, counters: &Counters) {
        loop {
            let Slots { all, busy, undecodable, .. } = &mut self.slots;
            let (mut is_done, mut lagged) = (false, Vec::new());
            busy.retain(|&place| {
                let Some(Slot { subscriber, is_busy, .. }) = all.get_mut(place) else {
                    return false;
                };
                subscriber.poll(cx, namespace);
                counters.missed.add(subscriber.take_missed());
                let taken = subscriber.take_undecodable();
                undecodable.extend(taken.into_iter().map(|what| (place, what)));
                lagged.append(&mut subscriber.take_lagged());
                is_done |= subscriber.is_done();
                *is_busy = subscriber.is_busy();
                *is_busy
            });
            let has_told = !undecodable.is_empty() || !lagged.is_empty();
            self.slots.tell_undecodable(namespace);
            self.slots.tell_lagged(lagged);
            counters.undecodable.add(std::mem::take(&mut self.slots.misfits));
            if is_done {
                self.slots.all.retain_mut(|Slot { subscriber, .. }| {
                    if subscriber.is_gone() {
                        counters.missed.add(subscriber.bury(namespace));
                    }
                    !subscriber.is_done()
                });
                self.rearrange();
            }
            // One of those that were told may have a full mailbox.
            if !has_told {
                return;
            }
        }
    }

    /// What waits for subscribers that are behind.
    pub(crate) fn backlog(&self) -> Backlog {
        let behind = self.slots.busy().map(Subscriber::backlog);
        behind.fold(Backlog::default(), Backlog::plus)
    }

    /// Whether something waits for somebody.
    pub(crate) fn is_behind(&self) -> bool {
        self.slots.busy().any(Subscriber::is_behind)
    }

    /// Somebody has left, and those behind have moved up.
    fn rearrange(&mut self) {
        self.index = NameIndex::default();
        self.slots.busy.clear();
        for (place, slot) in self.slots.all.iter_mut().enumerate() {
            slot.is_busy = slot.subscriber.is_busy();
            if slot.is_busy {
                self.slots.busy.push(place);
            }
        }
        self.hears_emitted = self.slots.iter().any(Subscriber::hears_emitted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that are really held.
    fn held(index: &NameIndex) -> usize {
        let known = index.known.iter();
        known.map(|(name, places)| name.len() + size_of_val(&**places)).sum()
    }

    #[test]
    fn names_that_are_remembered_are_bounded_in_number_and_in_bytes() {
        let mut index = NameIndex::default();
        for number in 0..3 * MAX_NAMES {
            let name = format!("{number:0>MAX_NAME$}");
            assert_eq!(index.places(&name, || [number].into()), [number]);
            assert_eq!(index.places(&name, || panic!("it is remembered")), [number]);
            assert!(index.known.len() <= MAX_NAMES && index.bytes == held(&index));
        }
        // Names that many hear.
        let many: Box<[usize]> = (0..MAX_REMEMBERED / size_of::<usize>() / 4).collect();
        for number in 0..20 {
            assert_eq!(index.places(&format!("many {number}"), || many.clone()), &*many);
            assert!(index.bytes <= MAX_REMEMBERED && index.bytes == held(&index));
        }
    }

    #[test]
    fn a_name_that_is_long_or_that_very_many_hear_is_not_remembered() {
        let mut index = NameIndex::default();
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(index.places(&long, || [1].into()), [1]);
        assert_eq!(index.places(&long, || [2].into()), [2], "it is looked for each time");
        let many: Box<[usize]> = (0..MAX_REMEMBERED).collect();
        assert_eq!(index.places("many", || many.clone()), &*many);
        assert_eq!((index.known.len(), index.bytes), (0, 0));
    }
}
