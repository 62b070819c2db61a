//! What a consumer drops: records of former holders, and events that it has seen elsewhere in the log. No clock, no IO.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Changes of the holder that are remembered, for each upstream.
const MAX_HOLDERS: usize = 16;
/// Upstreams that are known. Beyond that, all is forgotten.
const MAX_UPSTREAMS: usize = 65_536;
/// Offsets that are remembered, of all upstreams together,
const MAX_OFFSETS: usize = 65_536;
/// and their longest, in bytes.
const MAX_OFFSET: usize = 128;

/// Where an event stands: the sequence of its record, and its number in that.
pub(super) type Place = (u64, usize);

struct Seen {
    place: Place,
    /// The other place where it was dropped.
    dropped: Option<Place>,
    /// Of the last record that had it.
    fence: u64,
}

#[derive(Default)]
struct Upstream {
    /// Fences, rising, with the lowest sequence that was seen of each.
    holders: VecDeque<(u64, u64)>,
    offsets: HashMap<String, Seen>,
}

#[derive(Default)]
pub(super) struct Sieve {
    names: HashSet<Arc<str>>,
    upstreams: HashMap<Arc<str>, Upstream>,
    /// The oldest first.
    order: VecDeque<(Arc<str>, String)>,
}

impl Sieve {
    /// The name of an upstream, shared.
    pub(super) fn name(&mut self, upstream: &str) -> Arc<str> {
        if let Some(name) = self.names.get(upstream) {
            return Arc::clone(name);
        }
        if self.names.len() >= MAX_UPSTREAMS {
            *self = Self::default();
        }
        let name: Arc<str> = upstream.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Whether a record was written by a former holder, behind one of a later holder. An older record, which is delivered
    /// again, was not.
    pub(super) fn is_stale(&mut self, upstream: &Arc<str>, sequence: u64, fence: u64) -> bool {
        let holders = &mut self.upstreams.entry(Arc::clone(upstream)).or_default().holders;
        if holders.iter().any(|&(other, first)| other > fence && first < sequence) {
            return true;
        }
        match holders.binary_search_by_key(&fence, |&(other, _)| other) {
            Ok(at) => {
                if let Some((_, first)) = holders.get_mut(at) {
                    *first = sequence.min(*first);
                }
            }
            Err(at) => holders.insert(at, (fence, sequence)),
        }
        if holders.len() > MAX_HOLDERS {
            holders.pop_front();
        }
        false
    }

    /// Whether an event with an offset was seen at another place of the log. That can be only if two holders have written
    /// it, or if it was fetched late: within what one holder writes, an offset that comes again is an argument that
    /// looks like one.
    pub(super) fn is_repeat(
        &mut self,
        upstream: &Arc<str>,
        place: Place,
        fence: u64,
        offset: &str,
        is_late: bool,
    ) -> bool {
        if offset.len() > MAX_OFFSET {
            return false;
        }
        let offsets = &mut self.upstreams.entry(Arc::clone(upstream)).or_default().offsets;
        let Some(seen) = offsets.get_mut(offset) else {
            offsets.insert(offset.to_owned(), Seen { place, dropped: None, fence });
            self.order.push_back((Arc::clone(upstream), offset.to_owned()));
            self.forget();
            return false;
        };
        if place == seen.place {
            return false;
        }
        if seen.dropped == Some(place) || fence != seen.fence || is_late {
            seen.dropped = Some(place);
            seen.fence = fence;
            return true;
        }
        *seen = Seen { place, dropped: None, fence };
        false
    }

    fn forget(&mut self) {
        if self.order.len() > MAX_OFFSETS
            && let Some((upstream, offset)) = self.order.pop_front()
            && let Some(upstream) = self.upstreams.get_mut(&upstream)
        {
            upstream.offsets.remove(&offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_former_holder_is_stale_unless_it_is_an_older_one() {
        let mut sieve = Sieve::default();
        let [shop, other] = ["shop", "other"].map(|name| sieve.name(name));
        for (upstream, sequence, fence, stale) in [
            (&shop, 5, 1, false),
            (&shop, 6, 1, false),
            (&shop, 8, 3, false),
            (&other, 9, 2, false),
            (&shop, 10, 1, true),
            (&shop, 11, 2, true),
            (&shop, 12, 3, false),
            // Delivered again.
            (&shop, 6, 1, false),
            (&shop, 7, 2, false),
            (&shop, 8, 3, false),
            (&shop, 13, 1, true),
            (&other, 14, 2, false),
        ] {
            assert_eq!(sieve.is_stale(upstream, sequence, fence), stale, "{sequence}");
        }
        for fence in 4..1_000 {
            assert!(!sieve.is_stale(&shop, fence + 100, fence));
            assert!(sieve.is_stale(&shop, fence + 101, fence - 1));
        }
        assert!(sieve.upstreams[&shop].holders.len() <= MAX_HOLDERS);
    }

    #[test]
    fn an_event_that_two_holders_wrote_is_dropped_at_its_second_place() {
        let mut sieve = Sieve::default();
        let [shop, other] = ["shop", "other"].map(|name| sieve.name(name));
        for (upstream, place, fence, offset, is_late, repeat) in [
            (&shop, (5, 0), 1, "a", false, false),
            (&shop, (5, 1), 1, "b", false, false),
            (&other, (6, 0), 2, "a", false, false),
            // The first record of the next holder has it once more, whenever it comes.
            (&shop, (7, 0), 3, "b", false, true),
            (&shop, (7, 1), 3, "c", false, false),
            (&shop, (5, 1), 1, "b", false, false),
            (&shop, (7, 0), 3, "b", false, true),
            (&shop, (7, 1), 3, "c", false, false),
            // Fetched late by the same holder.
            (&shop, (8, 0), 3, "c", true, true),
            (&shop, (8, 1), 3, "d", true, false),
            // An argument that looks like an offset.
            (&shop, (9, 0), 3, "open", false, false),
            (&shop, (9, 1), 3, "open", false, false),
            (&shop, (10, 0), 4, "open", false, true),
            (&shop, (10, 1), 4, "open", false, false),
            (&shop, (11, 0), 4, "open", false, false),
        ] {
            let found = sieve.is_repeat(upstream, place, fence, offset, is_late);
            assert_eq!(found, repeat, "{place:?} {offset}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sieve = Sieve::default();
        let shop = sieve.name("shop");
        for number in 0..100_000 {
            assert!(!sieve.is_repeat(&shop, (number, 0), 1, &number.to_string(), false));
        }
        assert_eq!(sieve.order.len(), MAX_OFFSETS);
        assert_eq!(sieve.upstreams[&shop].offsets.len(), MAX_OFFSETS);
        assert!(!sieve.is_repeat(&shop, (1, 1), 2, &"x".repeat(1_000), false));
        assert!(!sieve.is_repeat(&shop, (1, 2), 3, &"x".repeat(1_000), false));
        for number in 0..MAX_UPSTREAMS {
            sieve.name(&format!("upstream-{number}"));
        }
        assert!(sieve.names.len() <= MAX_UPSTREAMS && sieve.order.is_empty());
    }
}
