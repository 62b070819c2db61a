//! Which subscribers get what, and which calls they came from.

use std::collections::{BTreeSet, HashMap};

use crate::actor::subscribers::{
    filter::Filter,
    filter_index::FilterIndex,
    interests::{Interests, Kind, Part},
    policy::SubscriptionId,
};

/// The place of a subscriber. Places are in the order in which subscribers came, and are not used again.
pub(super) type Place = u64;

/// The places of the subscribers, by everything that they are searched by.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Which subscribers get which events, and from which call.
    events: FilterIndex<(Place, SubscriptionId)>,
    /// Which subscribers get which other messages.
    notices: BTreeSet<(Kind, Place)>,
    /// Which subscriber came from which call.
    calls: HashMap<SubscriptionId, Place>,
    /// The subscribers that more calls of the same actor may extend.
    owners: BTreeSet<(u64, Place)>,
}

impl Index {
    /// The subscribers to messages of this kind.
    pub(super) fn hearing(&self, kind: Kind) -> impl Iterator<Item = Place> {
        self.notices.range((kind, Place::MIN)..=(kind, Place::MAX)).map(|&(_, place)| place)
    }

    pub(super) fn hears(&self, kind: Kind, place: Place) -> bool {
        self.notices.contains(&(kind, place))
    }

    /// Shows the subscribers to events of this name, each once and in order.
    pub(super) fn hearing_event(&self, name: &str, mut show: impl FnMut(Place)) {
        let found = self.events.find(name);
        let mut next = found.after(None);
        while let Some((place, _)) = next {
            show(place);
            next = found.after(Some((place, SubscriptionId::MAX)));
        }
    }

    /// The oldest subscriber of this actor that further calls may extend.
    pub(super) fn of_owner(&self, owner: u64) -> Option<Place> {
        let mut places = self.owners.range((owner, Place::MIN)..=(owner, Place::MAX));
        places.next().map(|&(_, place)| place)
    }

    pub(super) fn note_owner(&mut self, owner: u64, place: Place) {
        self.owners.insert((owner, place));
    }

    pub(super) fn forget_owner(&mut self, owner: u64, place: Place) {
        self.owners.remove(&(owner, place));
    }

    pub(super) fn note_call(&mut self, number: SubscriptionId, place: Place) {
        self.calls.insert(number, place);
    }

    /// Forgets a cancelled call. Returns the subscriber that came from it.
    pub(super) fn forget_call(&mut self, number: SubscriptionId) -> Option<Place> {
        self.calls.remove(&number)
    }

    /// The subscriber in this place gets these messages from now on.
    pub(super) fn insert_parts(&mut self, place: Place, interests: &Interests) {
        for (number, part) in interests.parts() {
            match part {
                Part::Named(filter) => self.events.insert(&filter, (place, number)),
                Part::Kind(kind) => {
                    self.notices.insert((kind, place));
                    if kind == Kind::Event {
                        self.events.insert(&Filter::all(), (place, number));
                    }
                }
            }
        }
    }

    /// The subscriber in this place does not get these messages any more.
    pub(super) fn remove_part(&mut self, place: Place, number: SubscriptionId, part: &Part) {
        match part {
            Part::Named(filter) => self.events.remove(filter, (place, number)),
            Part::Kind(kind) => {
                self.notices.remove(&(*kind, place));
                if *kind == Kind::Event {
                    self.events.remove(&Filter::all(), (place, number));
                }
            }
        }
    }

    /// The subscriber in this place has left.
    pub(super) fn remove(&mut self, place: Place, interests: &Interests) {
        for (number, part) in interests.parts() {
            self.remove_part(place, number, &part);
            self.calls.remove(&number);
        }
        self.forget_owner(interests.owner_id(), place);
    }
}

#[cfg(test)]
impl Index {
    /// Whether the index is empty.
    pub(super) fn is_empty(&self) -> bool {
        let Self { events, notices, calls, owners } = self;
        events.is_empty() && notices.is_empty() && calls.is_empty() && owners.is_empty()
    }
}
