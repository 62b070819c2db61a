//! The listeners of one subscriber for events by name.

use crate::actor::subscribers::{
    filter_index::FilterIndex, listener::FilteredListener, policy::SubscriptionId, table::Table,
};

/// Listeners, in the order of the calls that they came from.
#[derive(Default)]
pub(super) struct Listeners {
    all: Table<SubscriptionId, FilteredListener>,
    /// Used if there are more than a few. A few are all looked at for each event.
    index: Option<Box<FilterIndex<SubscriptionId>>>,
}

impl Listeners {
    pub(super) fn insert(&mut self, number: SubscriptionId, listener: FilteredListener) {
        if let Some(index) = &mut self.index {
            index.insert(&listener.filter, number);
        }
        self.all.insert(number, listener);
        if self.index.is_none() && self.all.few().is_none() {
            let mut index = FilterIndex::default();
            self.all.iter().for_each(|(number, one)| index.insert(&one.filter, number));
            self.index = Some(Box::new(index));
        }
    }

    pub(super) fn remove(&mut self, number: SubscriptionId) -> Option<FilteredListener> {
        let listener = self.all.remove(number)?;
        if self.all.few().is_some() {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            index.remove(&listener.filter, number);
        }
        Some(listener)
    }

    pub(super) fn append(&mut self, other: Self) {
        other.all.into_entries().for_each(|(number, listener)| self.insert(number, listener));
    }

    pub(super) fn first(&self) -> Option<&FilteredListener> {
        self.all.iter().next().map(|(_, listener)| listener)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SubscriptionId, &FilteredListener)> {
        self.all.iter()
    }

    /// Shows the listeners to an event of this name, in order, until `look` has seen enough.
    /// Returns whether it has.
    #[inline]
    pub(super) fn any<'a>(
        &'a self,
        name: &str,
        mut look: impl FnMut(&'a FilteredListener) -> bool,
    ) -> bool {
        if let Some(few) = self.all.few() {
            return few.iter().any(|(_, one)| one.filter.matches(name) && look(one));
        }
        let Some(index) = &self.index else { return false };
        let found = index.find(name);
        let mut next = found.after(None);
        while let Some(number) = next {
            if self.all.get(number).is_some_and(&mut look) {
                return true;
            }
            next = found.after(Some(number));
        }
        false
    }
}
