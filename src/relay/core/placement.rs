//! Which worker is to hold which upstream.
//!
//! Each pair of a worker and an upstream has a weight, the same for all workers that compute it. An upstream goes to the
//! worker with the greatest weight that has it, and has not its share already, so that a worker that comes or goes moves few of
//! them. The workers need not have the same upstreams: each says which it has, and all compute the same of what all say.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::relay::engine::Presence;

/// A worker's place among those that may take an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// In their row: 0 is the first choice.
    pub(crate) rank: usize,
    /// There are others.
    pub(crate) is_shared: bool,
}

/// What a worker says that it has: all its upstreams, except those that it has set aside and another worker has.
pub(crate) fn offer(
    worker: &str,
    upstreams: impl Iterator<Item = (String, bool)>,
    present: &[Presence],
) -> Presence {
    let others = present.iter().filter(|other| other.worker != worker);
    let others: HashSet<&String> = others.flat_map(|other| &other.upstreams).collect();
    let offered = upstreams.filter(|(name, is_aside)| !is_aside || !others.contains(name));
    Presence { worker: worker.to_owned(), upstreams: offered.map(|(name, _)| name).collect() }
}

/// The place of `own` for each of its upstreams. `present` are the workers that are there; this one counts as it is
/// in any case.
pub(crate) fn places<'a>(own: &'a Presence, present: &[Presence]) -> HashMap<&'a str, Place> {
    let others = present.iter().filter(|other| other.worker != own.worker);
    // Who can take each upstream, the greatest weight first.
    let mut rows: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for Presence { worker, upstreams } in others.chain([own]) {
        for upstream in upstreams {
            rows.entry(upstream).or_default().push((weight(upstream, worker), worker));
        }
    }
    for row in rows.values_mut() {
        row.sort_unstable_by(|one, other| other.cmp(one));
        // One that was started again may be there twice.
        row.dedup();
    }
    let choices = first_choices(&rows);
    let place = |upstream: &'a String| {
        let first = choices.get(upstream.as_str());
        let row = || rows.get(upstream.as_str()).into_iter().flatten();
        let is_shared = row().any(|(_, worker)| *worker != own.worker);
        let rank = if first == Some(&&*own.worker) {
            0
        } else {
            let others = row().take_while(|(_, worker)| *worker != own.worker);
            let before = others.filter(|(_, worker)| Some(worker) != first).count();
            before.saturating_add(1)
        };
        (upstream.as_str(), Place { rank, is_shared })
    };
    own.upstreams.iter().map(place).collect()
}

/// The most upstreams of which one worker is the first choice: a fair share and a quarter of it.
fn share(upstreams: usize, workers: usize) -> usize {
    upstreams.saturating_mul(5).div_ceil(workers.saturating_mul(4).max(1)).max(1)
}

fn first_choices<'a>(rows: &BTreeMap<&'a str, Vec<(u64, &'a str)>>) -> HashMap<&'a str, &'a str> {
    let mut pairs: Vec<(u64, &str, &str)> = Vec::new();
    for (upstream, row) in rows {
        pairs.extend(row.iter().map(|(weight, worker)| (*weight, *upstream, *worker)));
    }
    pairs.sort_unstable_by(|one, other| other.cmp(one));
    let mut held: HashMap<&str, usize> = pairs.iter().map(|(_, _, worker)| (*worker, 0)).collect();
    let most = share(rows.len(), held.len());
    let mut choices = HashMap::new();
    for (_, upstream, worker) in pairs {
        let count = held.entry(worker).or_default();
        if *count < most && !choices.contains_key(upstream) {
            *count = count.saturating_add(1);
            choices.insert(upstream, worker);
        }
    }
    // Those that only workers have that have their share: to the one of them that has the fewest.
    for (upstream, row) in rows {
        let fewest = row.iter().map(|(_, worker)| *worker).min_by_key(|worker| held.get(worker));
        if let Some(worker) = fewest.filter(|_| !choices.contains_key(upstream)) {
            let count = held.entry(worker).or_default();
            *count = count.saturating_add(1);
            choices.insert(*upstream, worker);
        }
    }
    choices
}

/// The same in each version and on each machine: FNV-1a, and its bits mixed.
fn weight(upstream: &str, worker: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = upstream.bytes().chain([b'/']).chain(worker.bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{prefix}{number}")).collect()
    }

    fn ranks(own: &Presence, present: &[Presence]) -> Vec<usize> {
        let places = places(own, present);
        own.upstreams.iter().map(|upstream| places[upstream.as_str()].rank).collect()
    }

    /// Workers with the same upstreams.
    fn equal(upstreams: &[String], workers: &[String]) -> Vec<Presence> {
        let presence =
            |worker: &String| Presence { worker: worker.clone(), upstreams: upstreams.to_vec() };
        workers.iter().map(presence).collect()
    }

    /// The upstreams of which each worker is the first choice.
    fn firsts(present: &[Presence]) -> Vec<Vec<String>> {
        let firsts = |own: &Presence| {
            let all = own.upstreams.iter().zip(ranks(own, present));
            all.filter(|(_, rank)| *rank == 0).map(|(upstream, _)| upstream.clone()).collect()
        };
        present.iter().map(firsts).collect()
    }

    fn held(upstreams: &[String], workers: &[String]) -> Vec<Vec<String>> {
        firsts(&equal(upstreams, workers))
    }

    #[test]
    fn three_equal_workers_share_sixty_upstreams() {
        for prefix in ["worker-", "w", "a-long-name-of-a-machine-", "x_"] {
            for upstream in ["shop-", "u", "", "price-feed_"] {
                let held = held(&names(upstream, 60), &names(prefix, 3));
                assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 60);
                assert!(held.iter().all(|held| held.len() <= 26), "{prefix} {upstream}");
            }
        }
    }

    #[test]
    fn each_upstream_has_each_worker_once_in_its_row() {
        let (upstreams, workers) = (names("u", 40), names("w", 5));
        let present = equal(&upstreams, &workers);
        let all: Vec<_> = present.iter().map(|own| ranks(own, &present)).collect();
        for upstream in 0..upstreams.len() {
            let mut row: Vec<_> = all.iter().map(|ranks| ranks[upstream]).collect();
            row.sort_unstable();
            assert_eq!(row, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_worker_that_goes_moves_little_beside_its_own() {
        let (upstreams, workers) = (names("u", 60), names("w", 4));
        let before = held(&upstreams, &workers);
        let after = held(&upstreams, &workers[..3]);
        let moved: usize = (0..3)
            .map(|worker| before[worker].iter().filter(|one| !after[worker].contains(one)).count())
            .sum();
        assert!(moved <= 6, "{moved}");
    }

    #[test]
    fn the_weights_are_the_same_everywhere() {
        assert_eq!(weight("shop", "worker-1"), weight("shop", "worker-1"));
        assert_ne!(weight("shop", "worker-1"), weight("shopw", "orker-1"));
        let presence = |upstreams: &[String]| equal(upstreams, &names("w", 1)).remove(0);
        let own = presence(&names("u", 2));
        assert_eq!(ranks(&own, &[]), [0, 0], "this worker is there in any case");
        assert_eq!(ranks(&own, &[presence(&[]), presence(&names("u", 1))]), [0, 0]);
        assert_eq!(ranks(&presence(&[]), &[own]), Vec::<usize>::new());
    }

    #[test]
    fn an_upstream_has_a_first_choice_among_those_that_have_it() {
        let presence = |worker: &str, lists: &[(&str, usize)]| Presence {
            worker: worker.to_owned(),
            upstreams: lists.iter().flat_map(|(prefix, count)| names(prefix, *count)).collect(),
        };
        let present = [
            presence("one", &[("a", 20), ("c", 10)]),
            presence("two", &[("b", 3), ("c", 10)]),
            presence("three", &[]),
            presence("four", &[("d", 1), ("a", 2)]),
        ];
        let firsts = firsts(&present);
        let mut all: Vec<_> = firsts.iter().flatten().cloned().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), firsts.iter().map(Vec::len).sum::<usize>(), "one each");
        assert_eq!(all.len(), 34, "and none without");
        // One has more than its share in any case, so that it need not have any that others can take.
        assert!(firsts[1].iter().filter(|name| name.starts_with('c')).count() >= 5, "{firsts:?}");
        // And the ranks of those that share one are all there.
        let [one, two] = [0, 1].map(|at| ranks(&present[at], &present));
        for number in 0..10 {
            let (one, two) = (one[20 + number], two[3 + number]);
            assert_eq!(one + two, 1, "c{number}");
        }
    }

    #[test]
    fn what_is_set_aside_is_left_to_those_that_have_it() {
        let other = presence_of("other", &["b", "c"]);
        let all = || ["a", "b", "c"].map(|name| (name.to_owned(), name != "c")).into_iter();
        let offered = offer("own", all(), std::slice::from_ref(&other));
        assert_eq!(offered, presence_of("own", &["a", "c"]), "nobody else has a");
        let before = presence_of("own", &["a", "b", "c"]);
        assert_eq!(
            offer("own", all(), std::slice::from_ref(&before)),
            before,
            "it is not another one"
        );
        let places = places(&offered, &[other, before]);
        let shared = ["a", "c"].map(|name| places[name].is_shared);
        assert_eq!((shared, places.len()), ([false, true], 2));
    }

    fn presence_of(worker: &str, upstreams: &[&str]) -> Presence {
        let upstreams = upstreams.iter().map(|&name| name.to_owned()).collect();
        Presence { worker: worker.to_owned(), upstreams }
    }
}
