//! The listeners of one subscriber for events by name.

use std::collections::BTreeMap;

use crate::actor::subscribers::{
    filter_index::FilterIndex, listener::FilteredListener, policy::SubscriptionId,
};

/// So few are all looked at for each event.
const FEW: usize = 8;

/// Listeners, in the order of the calls that they came from.
#[derive(Default)]
pub(super) struct Listeners {
    all: BTreeMap<SubscriptionId, FilteredListener>,
    /// If there are more than a few.
    index: Option<Box<FilterIndex<SubscriptionId>>>,
}

impl Listeners {
    pub(super) fn insert(&mut self, number: SubscriptionId, listener: FilteredListener) {
        if let Some(index) = &mut self.index {
            index.insert(&listener.filter, number);
        }
        self.all.insert(number, listener);
        if self.index.is_none() && self.all.len() > FEW {
            let mut index = FilterIndex::default();
            self.all.iter().for_each(|(&number, one)| index.insert(&one.filter, number));
            self.index = Some(Box::new(index));
        }
    }

    pub(super) fn remove(&mut self, number: SubscriptionId) -> Option<FilteredListener> {
        let listener = self.all.remove(&number)?;
        if self.all.len() <= FEW {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            index.remove(&listener.filter, number);
        }
        Some(listener)
    }

    pub(super) fn append(&mut self, other: Self) {
        other.all.into_iter().for_each(|(number, listener)| self.insert(number, listener));
    }

    pub(super) fn first(&self) -> Option<&FilteredListener> {
        self.all.values().next()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SubscriptionId, &FilteredListener)> {
        self.all.iter().map(|(&number, listener)| (number, listener))
    }

    /// Shows those that hear an event of this name, in order, until `look` says that it has seen enough.
    /// Says whether it has.
    pub(super) fn any<'a>(
        &'a self,
        name: &str,
        mut look: impl FnMut(&'a FilteredListener) -> bool,
    ) -> bool {
        let Some(index) = &self.index else {
            let mut hearing = self.all.values().filter(|one| one.filter.matches(name));
            return hearing.any(look);
        };
        let found = index.find(name);
        let mut next = found.after(None);
        while let Some(number) = next {
            if self.all.get(&number).is_some_and(&mut look) {
                return true;
            }
            next = found.after(Some(number));
        }
        false
    }
}
