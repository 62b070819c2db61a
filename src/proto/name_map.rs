//! A table of the namespaces of a client.

use bytestring::ByteString;

use super::fast_map::FastMap;

/// A table by the name of the namespace.
///
/// Most clients have one namespace. That one is in the table itself: the smallest hash table has room for three,
/// and a program may have very many clients. It is also found without a hash.
#[derive(Debug)]
pub(crate) struct NameMap<V> {
    first: Option<(ByteString, V)>,
    others: FastMap<ByteString, V>,
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self { first: None, others: FastMap::default() }
    }
}

impl<V> NameMap<V> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.others.len())
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        match &self.first {
            Some((first, value)) if *first == *name => Some(value),
            _ => self.others.get(name),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        match &mut self.first {
            Some((first, value)) if *first == *name => Some(value),
            _ => self.others.get_mut(name),
        }
    }

    /// Adds a namespace, or replaces the one of this name.
    pub(crate) fn insert(&mut self, name: ByteString, value: V) {
        if let Some(old) = self.get_mut(&name) {
            *old = value;
        } else if self.first.is_none() {
            self.first = Some((name, value));
        } else {
            self.others.insert(name, value);
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&ByteString, &V) -> bool) {
        self.first.take_if(|(name, value)| !keep(name, value));
        self.others.retain(|name, value| keep(name, value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ByteString, &V)> {
        self.first.iter().map(|(name, value)| (name, value)).chain(&self.others)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    #[inline]
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.first.iter_mut().map(|(_, value)| value).chain(self.others.values_mut())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_hash_table_does(
            // What is put under which name; without a value, the name is removed.
            operations in collection::vec((0..6_u8, any::<Option<u8>>()), 1..60),
        ) {
            let (mut map, mut model) = (NameMap::default(), HashMap::new());
            for (name, value) in operations {
                let name = ByteString::from(format!("/{name}"));
                if let Some(value) = value {
                    map.insert(name.clone(), value);
                    model.insert(name.clone(), value);
                } else {
                    map.retain(|other, _| *other != name);
                    model.remove(&name);
                }
                for value in map.values_mut().chain(model.values_mut()) {
                    *value = value.wrapping_add(1);
                }
                prop_assert_eq!(map.get(&name), model.get(&name));
                prop_assert_eq!(map.get_mut(&name), model.get_mut(&name));
                prop_assert_eq!(map.len(), model.len());
                let all: HashMap<_, _> = map.iter().map(|(name, value)| (name.clone(), *value)).collect();
                prop_assert_eq!(&all, &model);
                prop_assert_eq!(map.values().count(), model.len());
            }
        }
    }
}
