//! The subscribers of a namespace: their interests, and how far they are behind.
//!
//! The cost of an event depends only on the subscribers that get it, and the cost of a turn only on those
//! with something to do, however many others there are.

pub(crate) mod early_events;
pub(crate) mod filter;
mod filter_index;
pub(crate) mod function;
mod index;
pub(crate) mod interests;
pub(crate) mod listener;
mod listeners;
pub(crate) mod policy;
pub(crate) mod sent;
pub(crate) mod stream;
pub(crate) mod subscriber;
mod table;
pub(crate) mod typed;

use std::{collections::VecDeque, task::Context};

use crate::{
    actor::{
        journal::counted,
        subscribers::{
            early_events::EarlyEvents,
            index::{Index, Place},
            interests::{Interests, Kind, Notice},
            policy::{Overflow, Overrun, SubscriptionId},
            subscriber::Subscriber,
            table::Table,
        },
    },
    backpressure::receive_window::{Backlog, Load},
    display::{Excerpt, Name},
    logs::repeated,
    message::{Event, Lagged, Ready, Undecodable},
    stats::Counters,
};

/// How many subscribers are checked, when another one comes, to see whether they are alive.
const CHECKED: usize = 16;

#[derive(Debug)]
pub(crate) struct Subscribers {
    /// For subscribers whose calls set none.
    overflow: Overflow,
    slots: Slots,
    index: Index,
    /// The place of the next subscriber.
    next: Place,
    /// The first place to be checked.
    unchecked: Place,
}

/// The subscribers, in the order in which they came.
#[derive(Debug, Default)]
struct Slots {
    all: Table<Place, Slot>,
    /// The places of subscribers with something to do, and of some that have left.
    busy: Vec<Place>,
    /// Events that did not fit the types of the subscribers in these places. Other subscribers to
    /// `Undecodable` are not told yet.
    undecodable: Vec<(Place, Undecodable)>,
    /// How many of those there were since this was last taken.
    misfits: u64,
}

#[derive(Debug)]
struct Slot {
    subscriber: Subscriber,
    /// Whether it is in the list `busy`.
    is_busy: bool,
}

/// A new subscription.
#[derive(Debug)]
pub(crate) struct NewSubscription {
    pub(crate) number: SubscriptionId,
    pub(crate) interests: Interests,
    /// Whether it ends after one message.
    pub(crate) is_once: bool,
    /// What to do when events come too fast for it, if the call says so.
    pub(crate) overflow: Option<Overflow>,
}

/// The outcome of giving an event to the subscribers.
#[derive(Debug)]
pub(crate) enum Told {
    Nobody(Event),
    Somebody,
    /// It is one too many for a subscriber.
    Overrun(Overrun),
}

impl Slots {
    /// Does something with the one in this place, and puts it on the list if there is something more to
    /// be done for it.
    fn with<T>(&mut self, place: Place, act: impl FnOnce(&mut Subscriber) -> T) -> Option<T> {
        let Slot { subscriber, is_busy, .. } = self.all.get_mut(place)?;
        let outcome = act(subscriber);
        if !*is_busy && subscriber.is_busy() {
            *is_busy = true;
            self.busy.push(place);
        }
        Some(outcome)
    }

    /// Whether the one in this place hears an event. With `alive`, it is made sure that it lives.
    fn hears(&mut self, place: Place, event: &Event, alive: bool) -> bool {
        let Some(Slot { subscriber, .. }) = self.all.get(place) else { return false };
        if !subscriber.wants_event(event) {
            return false;
        }
        let lives = !alive || subscriber.interests().are_connected();
        if !lives {
            self.with(place, Subscriber::check);
        }
        lives
    }

    /// What follows if that is one too many.
    fn give(&mut self, place: Place, event: Event) -> Option<Overrun> {
        let outcome = self.with(place, |subscriber| {
            subscriber.take(Notice::Event(event));
            (subscriber.has_undecodable(), subscriber.overrun())
        });
        let (has_undecodable, overrun) = outcome?;
        if has_undecodable && let Some(Slot { subscriber, .. }) = self.all.get_mut(place) {
            let taken = subscriber.take_undecodable();
            self.undecodable.extend(taken.into_iter().map(|what| (place, what)));
        }
        overrun
    }

    /// Tells the subscribers to `Undecodable`, except for those that were told already.
    fn tell_undecodable(&mut self, index: &Index, namespace: &Name) {
        for (knows, what) in std::mem::take(&mut self.undecodable) {
            self.misfits = self.misfits.saturating_add(1);
            let Undecodable { event, error, wanted } = what.clone();
            let notice = Notice::Undecodable(what);
            let mut told =
                self.all.get(knows).is_some_and(|slot| slot.subscriber.hears_undecodable());
            let others = index.hearing(Kind::Undecodable).filter(|&place| place != knows);
            for place in others {
                told |= self.with(place, |subscriber| subscriber.offer(&notice)) == Some(true);
            }
            if !told {
                let (name, error) = (Excerpt(event.name()), error.without_values());
                repeated!(log::Level::Warn, namespace; wanted, "the event {name} does not fit {wanted}: {error}");
            }
        }
    }

    /// Tells the subscribers that get the losses of others.
    fn tell_lagged(&mut self, lagged: Vec<Lagged>, index: &Index) {
        for notice in lagged.into_iter().map(Notice::Lagged) {
            for place in index.hearing(Kind::Lagged) {
                self.with(place, |one| one.hears_all_lagged() && one.offer(&notice));
            }
        }
    }

    fn busy(&self) -> impl Iterator<Item = &Subscriber> {
        self.busy.iter().filter_map(|&place| self.all.get(place)).map(|slot| &slot.subscriber)
    }
}

impl Subscribers {
    /// No subscribers yet. `overflow` is for those whose calls set none.
    pub(crate) fn new(overflow: Overflow) -> Self {
        let (slots, index) = (Slots::default(), Index::default());
        Self { overflow, slots, index, next: 0, unchecked: 0 }
    }

    /// Gives a life-cycle message to all subscribers that want it.
    pub(crate) fn tell(&mut self, notice: &Notice) {
        for place in self.index.hearing(notice.kind()) {
            self.slots.with(place, |subscriber| subscriber.offer(notice));
        }
    }

    /// Gives a life-cycle message to all subscribers that want it, and another one to the others.
    pub(crate) fn tell_or(&mut self, notice: &Notice, other: &Notice) {
        self.tell(notice);
        for place in self.index.hearing(other.kind()) {
            if !self.index.hears(notice.kind(), place) {
                self.slots.with(place, |subscriber| subscriber.offer(other));
            }
        }
    }

    /// Gives an event to all its subscribers, and to the last of them without a copy. With `alive`, it
    /// checks that they are alive.
    pub(crate) fn tell_event(&mut self, event: Event, alive: bool, namespace: &Name) -> Told {
        let Self { slots, index, .. } = self;
        let (mut overrun, mut last) = (None, None);
        let mut visit = |slots: &mut Slots, place| {
            if slots.hears(place, &event, alive)
                && let Some(before) = last.replace(place)
            {
                overrun = overrun.max(slots.give(before, event.clone()));
            }
        };
        if slots.all.few().is_some() {
            // If there are only a few, all are looked at.
            let mut number: usize = 0;
            while let Some(&(place, _)) = slots.all.few().and_then(|few| few.get(number)) {
                visit(slots, place);
                number = number.saturating_add(1);
            }
        } else {
            index.hearing_event(event.name(), |place| visit(slots, place));
        }
        let Some(last) = last else { return Told::Nobody(event) };
        let overrun = overrun.max(slots.give(last, event));
        if !slots.undecodable.is_empty() {
            slots.tell_undecodable(index, namespace);
        }
        overrun.map_or(Told::Somebody, Told::Overrun)
    }

    /// Whether anyone subscribes to `Emitted`.
    pub(crate) fn hears_emitted(&self) -> bool {
        self.index.hearing(Kind::Emitted).next().is_some()
    }

    /// Checks whether the next few subscribers are alive. When little else happens, a new subscription is the
    /// occasion for that.
    fn check(&mut self) {
        let Self { slots, unchecked, .. } = self;
        let next = slots.all.keys_from(*unchecked, CHECKED);
        for &place in &next {
            slots.with(place, Subscriber::check);
        }
        *unchecked = next.last().map_or(0, |last| last.saturating_add(1));
    }

    /// Adds a subscriber, or extends a known one. It gets the events that were kept for it, and
    /// [`Ready`] if the namespace is joined.
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
            // Kept events are for a subscriber that is alive.
            return repeated!(
                log::Level::Info,
                namespace,
                "{interests} has subscribed, and is gone already"
            );
        }
        // It gets only what it has just subscribed to, so that nothing comes twice.
        let ready = ready.filter(|_| interests.want_ready());
        let ready = ready.map(|ready| Notice::Ready(ready.clone()));
        let (place, before, behind) = if is_once {
            let subscriber = Subscriber::once(interests);
            let before = kept.pop(&subscriber).into_iter().collect();
            (self.add(subscriber), before, VecDeque::new())
        } else {
            let (before, behind) = kept.take(&interests);
            (self.adopt(interests), before, behind)
        };
        self.index.note_call(number, place);
        let events = |events: VecDeque<Event>| events.into_iter().map(Notice::Event);
        let notices = events(before).chain(ready).chain(events(behind));
        self.slots.with(place, |subscriber| {
            if let Some(overflow) = overflow {
                subscriber.set_overflow(overflow);
            }
            for notice in notices {
                subscriber.offer(&notice);
            }
        });
    }

    /// Extends a subscriber of the same actor, or adds a new one. Returns its place.
    fn adopt(&mut self, interests: Interests) -> Place {
        let known = self.index.of_owner(interests.owner_id());
        if let Some(place) = known
            && let Some(Slot { subscriber, .. }) = self.slots.all.get_mut(place)
            && subscriber.can_adopt(&interests)
        {
            self.index.insert_parts(place, &interests);
            subscriber.adopt(interests);
            return place;
        }
        let mut subscriber = Subscriber::new(interests);
        subscriber.set_overflow(self.overflow);
        self.add(subscriber)
    }

    fn add(&mut self, subscriber: Subscriber) -> Place {
        let place = self.next;
        self.next = place.saturating_add(1);
        self.index.insert_parts(place, subscriber.interests());
        if subscriber.is_lasting() {
            self.index.note_owner(subscriber.interests().owner_id(), place);
        }
        self.slots.all.insert(place, Slot { subscriber, is_busy: false });
        place
    }

    pub(crate) fn cancel(&mut self, number: SubscriptionId) {
        let Some(place) = self.index.forget_call(number) else { return };
        let cancelled = self.slots.with(place, |subscriber| {
            let part = subscriber.cancel(number);
            (part, subscriber.is_lasting(), subscriber.interests().owner_id())
        });
        let Some((part, is_lasting, owner)) = cancelled else { return };
        if let Some(part) = part {
            self.index.remove_part(place, number, &part);
        }
        if !is_lasting {
            self.index.forget_owner(owner, place);
        }
    }

    /// From now on, stuck subscribers do not hold up the connection, nor, with `all`, those with more than
    /// their share of what waits. They keep what waits, as far as there is `room` for that, and new events
    /// are discarded until they have handled something. Returns what follows if one of them is overrun now.
    /// `share` is the share of this namespace in what waits.
    pub(crate) fn shed(
        &mut self,
        all: bool,
        share: Load,
        mut room: Load,
        namespace: &Name,
    ) -> Option<Overrun> {
        let holding = self.slots.busy().filter(|one| one.backlog().holding != Load::default());
        let share = share.divided_by(holding.count());
        let mut overrun = None;
        // The others have nothing to keep.
        let busy = std::mem::take(&mut self.slots.busy);
        for &place in &busy {
            self.slots.with(place, |subscriber| {
                // A subscriber with less than its share is catching up.
                let all = all && !subscriber.backlog().holding.is_below(share);
                if subscriber.shed(all, room) {
                    let backlog = subscriber.backlog();
                    room = backlog.rest_of(room);
                    let kept = backlog.kept.items;
                    repeated!(
                        log::Level::Warn,
                        namespace,
                        "{} is too slow: new events are discarded, and {} kept for it",
                        subscriber.interests(),
                        counted(kept, "event")
                    );
                }
                overrun = overrun.max(subscriber.overrun());
            });
        }
        self.slots.busy = busy;
        overrun
    }

    /// Does everything that must be done for the busy subscribers.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, namespace: &Name, counters: &Counters) {
        let Slots { all: _, busy, undecodable, misfits } = &self.slots;
        if busy.is_empty() && undecodable.is_empty() && *misfits == 0 {
            return;
        }
        loop {
            let Slots { all, busy, undecodable, .. } = &mut self.slots;
            let (mut done, mut lagged) = (Vec::new(), Vec::new());
            busy.retain(|&place| {
                let Some(Slot { subscriber, is_busy, .. }) = all.get_mut(place) else {
                    return false;
                };
                subscriber.poll(cx, namespace);
                counters.missed.add(subscriber.take_missed());
                let taken = subscriber.take_undecodable();
                undecodable.extend(taken.into_iter().map(|what| (place, what)));
                lagged.append(&mut subscriber.take_lagged());
                if subscriber.is_done() {
                    done.push(place);
                }
                *is_busy = subscriber.is_busy() && !subscriber.is_done();
                *is_busy
            });
            let has_told = !undecodable.is_empty() || !lagged.is_empty();
            self.slots.tell_undecodable(&self.index, namespace);
            self.slots.tell_lagged(lagged, &self.index);
            counters.undecodable.add(std::mem::take(&mut self.slots.misfits));
            for place in done {
                self.remove(place, namespace, counters);
            }
            // A subscriber that was told something may have a full mailbox now.
            if !has_told {
                return;
            }
        }
    }

    /// Removes a subscriber for which there is nothing left to do.
    fn remove(&mut self, place: Place, namespace: &Name, counters: &Counters) {
        let Some(Slot { mut subscriber, .. }) = self.slots.all.remove(place) else { return };
        if subscriber.is_gone() {
            counters.missed.add(subscriber.bury(namespace));
        }
        self.index.remove(place, subscriber.interests());
    }

    /// What waits for subscribers that are behind.
    pub(crate) fn backlog(&self) -> Backlog {
        let behind = self.slots.busy().map(Subscriber::backlog);
        behind.fold(Backlog::default(), Backlog::plus)
    }

    /// Whether one of them is not ready yet for the namespace to be joined again, after it was let go.
    pub(crate) fn hold_off(&self) -> bool {
        self.slots.busy().any(Subscriber::holds_off)
    }

    /// Whether something waits for a subscriber.
    pub(crate) fn is_behind(&self) -> bool {
        self.slots.busy().any(Subscriber::is_behind)
    }
}

#[cfg(test)]
mod tests;
