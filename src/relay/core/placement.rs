//! Which worker is to hold which upstream.
//!
//! Each pair of a worker and an upstream has a weight, the same for all workers that compute it. An upstream goes to the
//! worker with the greatest weight that has not its share already, so that a worker that comes or goes moves few of
//! them. All workers of a relay are to have the same upstreams; where they have not, the outcome is worse
//! balanced, and still safe.

use std::collections::HashMap;

/// The worker's place in the row of those that may take the upstream: 0 is the first choice.
pub(crate) type Rank = usize;

/// The rank of `worker` for each upstream, in their order. `present` are the workers that are there; this one
/// counts as present in any case.
pub(crate) fn ranks(upstreams: &[String], worker: &str, present: &[String]) -> Vec<Rank> {
    let mut workers: Vec<&str> = present.iter().map(String::as_str).collect();
    workers.push(worker);
    workers.sort_unstable();
    workers.dedup();
    let choices = first_choices(upstreams, &workers);
    let rank = |upstream: &String| {
        let Some(&first) = choices.get(upstream.as_str()).filter(|first| **first != worker) else {
            return 0;
        };
        let mine = weight(upstream, worker);
        let is_before = |other: &&&str| {
            **other != worker && (weight(upstream, other), **other) > (mine, worker)
        };
        let before = workers.iter().filter(|other| **other != first).filter(is_before).count();
        before.saturating_add(1)
    };
    upstreams.iter().map(rank).collect()
}

/// The most upstreams of which one worker is the first choice: a fair share and a quarter of it.
fn share(upstreams: usize, workers: usize) -> usize {
    upstreams.saturating_mul(5).div_ceil(workers.saturating_mul(4).max(1)).max(1)
}

fn first_choices<'a>(upstreams: &'a [String], workers: &[&'a str]) -> HashMap<&'a str, &'a str> {
    let mut pairs: Vec<_> = upstreams
        .iter()
        .flat_map(|upstream| {
            workers.iter().map(move |worker| (weight(upstream, worker), &**upstream, *worker))
        })
        .collect();
    pairs.sort_unstable_by(|one, other| other.cmp(one));
    let most = share(upstreams.len(), workers.len());
    let mut held: HashMap<&str, usize> = HashMap::new();
    let mut choices = HashMap::new();
    for (_, upstream, worker) in pairs {
        let count = held.entry(worker).or_default();
        if *count < most && !choices.contains_key(upstream) {
            *count = count.saturating_add(1);
            choices.insert(upstream, worker);
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

    /// The upstreams of which each worker is the first choice.
    fn held(upstreams: &[String], workers: &[String]) -> Vec<Vec<usize>> {
        let firsts = |worker: &String| {
            let ranks = ranks(upstreams, worker, workers);
            (0..upstreams.len()).filter(|&upstream| ranks[upstream] == 0).collect()
        };
        workers.iter().map(firsts).collect()
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
        let all: Vec<_> =
            workers.iter().map(|worker| ranks(&upstreams, worker, &workers)).collect();
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
        assert_eq!(ranks(&names("u", 2), "w", &[]), [0, 0], "this worker is there in any case");
        assert_eq!(ranks(&[], "w", &names("w", 3)), Vec::<Rank>::new());
    }
}
