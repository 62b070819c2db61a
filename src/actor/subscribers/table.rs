//! A map for a few entries, or for very many.

use std::collections::BTreeMap;

/// The most entries in a list. A tree becomes a list again at half of that.
const FEW: usize = 8;

/// A map in the order of its keys. A few entries are in a list, where they are found fastest; more are in
/// a tree.
#[derive(Debug)]
pub(super) enum Table<K, V> {
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K: Ord + Copy, V> Table<K, V> {
    #[inline]
    pub(super) fn get(&self, key: K) -> Option<&V> {
        match self {
            Self::Few(few) => few.iter().find(|(known, _)| *known == key).map(|(_, value)| value),
            Self::Many(many) => many.get(&key),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self {
            Self::Few(few) => {
                few.iter_mut().find(|(known, _)| *known == key).map(|(_, value)| value)
            }
            Self::Many(many) => many.get_mut(&key),
        }
    }

    /// The entries, if they are few.
    #[inline]
    pub(super) fn few(&self) -> Option<&[(K, V)]> {
        match self {
            Self::Few(few) => Some(few),
            Self::Many(_) => None,
        }
    }

    /// Adds an entry. There must be none with that key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self {
            Self::Few(few) => {
                let place = few.partition_point(|(known, _)| *known < key);
                few.insert(place, (key, value));
                if few.len() > FEW {
                    *self = Self::Many(std::mem::take(few).into_iter().collect());
                }
            }
            Self::Many(many) => {
                many.insert(key, value);
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::Few(few) => {
                let place = few.iter().position(|(known, _)| *known == key)?;
                Some(few.remove(place).1)
            }
            Self::Many(many) => {
                let value = many.remove(&key);
                if many.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(many).into_iter().collect());
                }
                value
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter().map(|(key, value)| (*key, value))), None),
            Self::Many(many) => (None, Some(many.iter().map(|(key, value)| (*key, value)))),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// The first keys, beginning with this one and going round, as many as that or all.
    pub(super) fn keys_from(&self, first: K, most: usize) -> Vec<K> {
        match self {
            Self::Few(few) => {
                let (before, behind) =
                    few.split_at(few.partition_point(|(known, _)| *known < first));
                behind.iter().chain(before).map(|(key, _)| *key).take(most).collect()
            }
            Self::Many(many) => {
                let round = many.range(first..).chain(many.range(..first));
                round.map(|(key, _)| *key).take(most).collect()
            }
        }
    }
}

impl<K, V> Table<K, V> {
    pub(super) fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        let (few, many) = match self {
            Self::Few(few) => (few, BTreeMap::new()),
            Self::Many(many) => (Vec::new(), many),
        };
        few.into_iter().chain(many)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(
            operations in collection::vec((any::<bool>(), 0..30_u8), 1..120),
        ) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            for (number, (inserts, key)) in operations.into_iter().enumerate() {
                if !inserts || model.contains_key(&key) {
                    prop_assert_eq!(table.remove(key), model.remove(&key));
                } else {
                    table.insert(key, number);
                    model.insert(key, number);
                }
                prop_assert!(table.iter().eq(model.iter().map(|(key, value)| (*key, value))));
                prop_assert_eq!(table.get(key), model.get(&key));
                prop_assert_eq!(table.get_mut(key), model.get_mut(&key));
                let few = table.few().map(<[_]>::len);
                prop_assert_eq!(few.is_some(), matches!(table, Table::Few(_)));
                prop_assert!(few.map_or(model.len() > FEW / 2, |few| few <= FEW));
                let round = model.range(key..).chain(model.range(..key));
                prop_assert!(table.keys_from(key, 5).iter().eq(round.map(|(key, _)| key).take(5)));
            }
            prop_assert!(table.into_entries().eq(model));
        }
    }
}
