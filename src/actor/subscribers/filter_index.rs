//! Finds the entries whose filters an event name passes, without looking at the others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use bytestring::ByteString;

use crate::actor::subscribers::filter::{Filter, Kind};

/// Entries, each with a filter. The index has only the names of the filters, so it does not grow with the
/// names that the server makes up.
#[derive(Debug)]
pub(super) struct FilterIndex<T> {
    all: BTreeSet<T>,
    names: ByText<T>,
    /// By the lengths of the prefixes, in bytes.
    prefixes: BTreeMap<usize, ByText<T>>,
}

/// Applications may take the texts from the network, so this needs the standard hash.
type ByText<T> = HashMap<ByteString, BTreeSet<T>>;

impl<T> Default for FilterIndex<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), names: HashMap::new(), prefixes: BTreeMap::new() }
    }
}

impl<T: Ord + Copy> FilterIndex<T> {
    pub(super) fn insert(&mut self, filter: &Filter, entry: T) {
        match filter.kind() {
            Kind::All => self.all.insert(entry),
            Kind::Name(name) => self.names.entry(name.clone()).or_default().insert(entry),
            Kind::Prefix(prefix) => {
                let same_length = self.prefixes.entry(prefix.len()).or_default();
                same_length.entry(prefix.clone()).or_default().insert(entry)
            }
        };
    }

    pub(super) fn remove(&mut self, filter: &Filter, entry: T) {
        match filter.kind() {
            Kind::All => {
                self.all.remove(&entry);
            }
            Kind::Name(name) => remove(&mut self.names, name, &entry),
            Kind::Prefix(prefix) => {
                if let Some(same_length) = self.prefixes.get_mut(&prefix.len()) {
                    remove(same_length, prefix, &entry);
                    if same_length.is_empty() {
                        self.prefixes.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// The entries whose filters this name passes.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> Found<'a, T> {
        Found { all: &self.all, named: self.names.get(name), prefixes: &self.prefixes, name }
    }
}

fn remove<T: Ord>(texts: &mut ByText<T>, text: &ByteString, entry: &T) {
    if let Some(entries) = texts.get_mut(text) {
        entries.remove(entry);
        if entries.is_empty() {
            texts.remove(text);
        }
    }
}

/// Entries of a [`FilterIndex`].
pub(super) struct Found<'a, T> {
    all: &'a BTreeSet<T>,
    named: Option<&'a BTreeSet<T>>,
    prefixes: &'a BTreeMap<usize, ByText<T>>,
    name: &'a str,
}

impl<T: Ord + Copy> Found<'_, T> {
    /// The first entry, or the first after this one.
    pub(super) fn after(&self, entry: Option<T>) -> Option<T> {
        let first = |entries: &BTreeSet<T>| match entry {
            None => entries.first().copied(),
            Some(entry) => entries.range((Excluded(entry), Unbounded)).next().copied(),
        };
        let lengths = self.prefixes.range(..=self.name.len());
        let prefixed = lengths
            .filter_map(|(&length, texts)| texts.get(self.name.get(..length)?).and_then(first));
        first(self.all).into_iter().chain(self.named.and_then(first)).chain(prefixed).min()
    }
}

#[cfg(test)]
impl<T> FilterIndex<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.names.is_empty() && self.prefixes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    /// Short texts, many with the same beginning.
    fn text() -> impl Strategy<Value = String> {
        collection::vec(prop_oneof![Just('a'), Just('b'), Just('ä')], 0..4)
            .prop_map(String::from_iter)
    }

    fn filter() -> impl Strategy<Value = Filter> {
        prop_oneof![
            Just(Filter::all()),
            text().prop_map(Filter::name),
            text().prop_map(Filter::prefix),
        ]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_search_finds(
            entries in collection::vec(filter(), 1..40),
            removed in collection::vec(any::<bool>(), 40),
            names in collection::vec(text(), 10),
        ) {
            let mut index = FilterIndex::default();
            let entries: Vec<(usize, Filter)> = entries.into_iter().enumerate().collect();
            for (entry, filter) in &entries {
                index.insert(filter, *entry);
            }
            let (gone, left): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|(entry, _)| removed[*entry]);
            for (entry, filter) in &gone {
                index.remove(filter, *entry);
            }
            for name in names {
                let found = index.find(&name);
                let found = std::iter::successors(found.after(None), |last| found.after(Some(*last)));
                let searched = left.iter().filter(|(_, filter)| filter.matches(&name));
                prop_assert!(found.eq(searched.map(|(entry, _)| *entry)));
            }
            for (entry, filter) in &left {
                index.remove(filter, *entry);
            }
            prop_assert!(index.is_empty(), "nothing is left behind");
        }
    }
}
