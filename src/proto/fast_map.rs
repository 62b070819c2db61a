//! A hash table for keys that only the application and this crate can choose.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// The standard hash keeps strangers from choosing keys that collide, which makes it slow.
/// Strangers cannot put anything into this table: ids of acks are counted up here, names of namespaces
/// are those that the application joins, and hashes of events were made with a random key. What the peer sends is
/// only looked up.
///
/// No crate does better: with `foldhash`, neither incoming messages nor acks take fewer
/// instructions.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// Names by FNV-1a; numbers, which count up, by a multiplication that spreads them.
#[derive(Default)]
pub(crate) struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn numbers_and_names_in_a_row_are_spread() {
        let build = BuildHasherDefault::<Quick>::default();
        let numbers = (0..10_000_u64).map(|n| build.hash_one(n));
        let names = (0..10_000).map(|n| build.hash_one(format!("/room/{n}")));
        for hashes in [numbers.collect::<Vec<_>>(), names.collect()] {
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 10_000);
            let low: HashSet<_> = hashes.iter().map(|hash| hash % 16_384).collect();
            assert!(low.len() > 5_000, "{}", low.len());
            let high: HashSet<_> = hashes.iter().map(|hash| hash >> 57).collect();
            assert_eq!(high.len(), 128);
        }
    }
}
