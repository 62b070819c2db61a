//! The servers of the service: which one is dialled next, and when.
//!
//! Most clients have one server. With several, each has its own back-off. After a failure to connect, the
//! next is the first one, in the order of the application, that is not in back-off and was not tried in this
//! round. When there is none, the client waits for the first back-off to end, and a new round begins. After a
//! connection was lost, the client goes back to the same server first: no other can continue the session.

use std::{
    iter,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    attempts::Attempts,
    deadline::deadline_after,
    reconnect::{Reconnect, Retry},
};
use crate::proto::reason::{ConnectFailure, Reason};

#[derive(Debug)]
pub(crate) struct Endpoints {
    policy: Reconnect,
    /// In order of preference.
    all: Vec<Endpoint>,
    /// The server that is being dialled or open, or else the next one.
    current: usize,
}

#[derive(Debug)]
struct Endpoint {
    health: Health,
    attempts: Attempts,
    /// Why it failed in this round.
    failure: Option<Box<Reason>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Health {
    #[default]
    Good,
    /// Not dialled before this time.
    BackOff(Instant),
    /// All allowed attempts were made.
    GivenUp,
}

impl Endpoint {
    fn is_due(&self, now: Instant) -> bool {
        match self.health {
            Health::Good => true,
            Health::BackOff(until) => until <= now,
            Health::GivenUp => false,
        }
    }
}

/// What to do after a failure, with the server [`Endpoints::current`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another server is dialled at once.
    Dial,
    /// Attempt number `attempt` is made after `delay`.
    Wait { attempt: u32, delay: Duration },
    /// All allowed attempts were made.
    GiveUp { attempts: u32 },
}

impl Endpoints {
    /// `count`: the number of servers, at least one. `seed` is for the jitter.
    pub(crate) fn new(policy: Reconnect, seed: u64, count: usize) -> Self {
        // Each server has its own jitter.
        let seeds = iter::successors(Some(seed), |seed| Some(seed.wrapping_add(1)));
        let endpoints = seeds.take(count.max(1)).map(|seed| Endpoint {
            health: Health::Good,
            attempts: Attempts::new(policy.clone(), seed),
            failure: None,
        });
        // The iterator does not know how many they are, and there would be room for four.
        let mut all = Vec::with_capacity(count.max(1));
        all.extend(endpoints);
        Self { all, policy, current: 0 }
    }

    /// The server that is being dialled or open, or else the next one, by its place in the order.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// The number of the attempt that is under way, or is next; 0 if there is none.
    pub(crate) fn attempt(&self) -> u32 {
        self.all.get(self.current).map_or(0, |current| current.attempts.made())
    }

    /// What to do after an end with this reason.
    pub(crate) fn choose(&self, reason: &Reason, client: &str) -> Retry {
        self.policy.choose(reason, client)
    }

    /// A session that began at `since` has ended. If it lasted, the counts begin anew.
    pub(crate) fn note_session(&mut self, since: Instant, now: Instant) {
        for endpoint in &mut self.all {
            endpoint.attempts.note_session(since, now);
            if endpoint.attempts.made() == 0 && endpoint.health == Health::GivenUp {
                endpoint.health = Health::Good;
            }
        }
    }

    /// Forgets all failures.
    pub(crate) fn reset(&mut self) {
        for endpoint in &mut self.all {
            endpoint.attempts.reset();
            (endpoint.health, endpoint.failure) = (Health::Good, None);
        }
    }

    /// Begins with the first server.
    pub(crate) fn begin(&mut self) {
        self.current = 0;
    }

    /// Begins a round, in which all servers may be tried again.
    pub(crate) fn begin_round(&mut self) {
        self.all.iter_mut().for_each(|endpoint| endpoint.failure = None);
    }

    /// The current server could not be connected to, or (`was_open`) the connection was lost. It is not
    /// dialled again for at least `pause`.
    pub(crate) fn handle_failure(
        &mut self,
        now: Instant,
        reason: &Reason,
        pause: Duration,
        was_open: bool,
    ) -> Next {
        // A server that lets clients in and then drops them is as good as one that is down, and a provider of
        // the application would fail for the next server, too.
        let is_first = was_open && self.attempt() == 0;
        let stays = is_first || matches!(reason, Reason::Provider(_));
        self.note_failure(now, reason, pause);
        let is_next =
            |endpoint: &Endpoint| !stays && endpoint.failure.is_none() && endpoint.is_due(now);
        if let Some(next) = self.all.iter().position(is_next) {
            self.current = next;
            let (attempt, delay) = (self.attempt(), Duration::ZERO);
            return if was_open { Next::Wait { attempt, delay } } else { Next::Dial };
        }
        let places = self.all.iter().enumerate().filter_map(|(place, endpoint)| {
            let is_left = stays && place != self.current;
            let until = match endpoint.health {
                Health::Good => now,
                Health::BackOff(until) => until,
                Health::GivenUp => return None,
            };
            Some((is_left, until, place))
        });
        let Some((_, until, place)) = places.min() else {
            let attempts = self.all.iter().map(|endpoint| endpoint.attempts.made()).max();
            return Next::GiveUp { attempts: attempts.unwrap_or_default() };
        };
        self.current = place;
        let delay = until.saturating_duration_since(now);
        Next::Wait { attempt: self.attempt(), delay }
    }

    fn note_failure(&mut self, now: Instant, reason: &Reason, pause: Duration) {
        let Some(endpoint) = self.all.get_mut(self.current) else { return };
        endpoint.failure = Some(Box::new(reason.clone()));
        let attempts = &mut endpoint.attempts;
        endpoint.health = match attempts.next() {
            Err(_) => Health::GivenUp,
            Ok(attempt) => {
                let delay = if reason.is_slow() {
                    attempts.longest_delay()
                } else {
                    attempts.delay(attempt)
                };
                Health::BackOff(deadline_after(now, delay.max(pause)))
            }
        };
    }

    /// The reason to report when the server at this place could not be connected to. If there are several,
    /// with these `names`, the reason lists all that have failed in this round.
    pub(crate) fn told(&self, names: &[ByteString], failed: usize, reason: Reason) -> Reason {
        if self.all.len() < 2 || matches!(reason, Reason::Provider(_)) {
            return reason;
        }
        let tried = self.all.iter().zip(names).enumerate();
        let failures = tried.filter_map(|(place, (endpoint, name))| {
            let failure = if place == failed { Some(&reason) } else { endpoint.failure.as_deref() };
            Some((name.to_string(), failure?.clone()))
        });
        Reason::Connect(ConnectFailure::Endpoints(failures.collect()))
    }

    /// The time at which the limiter lets a client dial whose delay is over.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        self.policy.reserve(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::TestCaseResult};

    use super::*;
    use crate::proto::tls_failure::TlsFailure;

    const SECOND: Duration = Duration::from_secs(1);

    fn dead() -> Reason {
        Reason::Connect(ConnectFailure::TimedOut)
    }

    fn wait(attempt: u32, seconds: u64) -> Next {
        Next::Wait { attempt, delay: Duration::from_secs(seconds) }
    }

    struct Bench {
        endpoints: Endpoints,
        now: Instant,
    }

    impl Bench {
        fn new(policy: Reconnect, count: usize) -> Self {
            Self { endpoints: Endpoints::new(policy.jitter(0.0), 7, count), now: Instant::now() }
        }

        /// A failure to connect: what is done then, and with which server.
        fn fail(&mut self, reason: &Reason) -> (Next, usize) {
            self.end(reason, Duration::ZERO, false)
        }

        /// The loss of a connection that lasted for this time.
        fn lose(&mut self, lasted: Duration) -> (Next, usize) {
            let since = self.now;
            self.endpoints.begin_round();
            self.now += lasted;
            self.endpoints.note_session(since, self.now);
            self.end(&Reason::PingTimeout, Duration::ZERO, true)
        }

        fn end(&mut self, reason: &Reason, pause: Duration, was_open: bool) -> (Next, usize) {
            let next = self.endpoints.handle_failure(self.now, reason, pause, was_open);
            if let Next::Wait { delay, .. } = next {
                self.now += delay;
                self.endpoints.begin_round();
            }
            (next, self.endpoints.current())
        }
    }

    #[test]
    fn one_server_is_tried_again_and_again() {
        let mut bench = Bench::new(Reconnect::default().attempts(4), 1);
        for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (4, 5)] {
            assert_eq!(bench.fail(&dead()), (wait(attempt, seconds), 0));
        }
        assert_eq!(bench.fail(&dead()), (Next::GiveUp { attempts: 4 }, 0));
        assert_eq!(bench.lose(5 * SECOND), (wait(1, 1), 0), "it has lasted");
        let mut bench = Bench::new(Reconnect::never(), 1);
        assert_eq!(bench.fail(&dead()), (Next::GiveUp { attempts: 0 }, 0));
        // Without delays, it is still the same server.
        let mut bench = Bench::new(Reconnect::default().delay(Duration::ZERO, Duration::ZERO), 1);
        assert_eq!(bench.fail(&dead()), (wait(1, 0), 0));
    }

    #[test]
    fn a_failure_goes_on_to_the_next_server_at_once_and_only_the_last_one_waits() {
        let mut bench = Bench::new(Reconnect::default(), 3);
        assert_eq!(bench.fail(&dead()), (Next::Dial, 1));
        bench.now += SECOND / 2;
        assert_eq!(bench.fail(&dead()), (Next::Dial, 2));
        let half = SECOND / 2;
        let next = bench.fail(&dead());
        assert_eq!(next, (Next::Wait { attempt: 1, delay: half }, 0), "the first to be due");
        // The others are still in back-off, the second one for half a second.
        assert_eq!(bench.fail(&dead()), (Next::Wait { attempt: 1, delay: half }, 1));
        // The third is due now.
        assert_eq!(bench.fail(&dead()), (Next::Dial, 2));
    }

    #[test]
    fn with_no_attempts_allowed_each_server_is_tried_once() {
        let mut bench = Bench::new(Reconnect::never(), 2);
        assert_eq!(bench.fail(&dead()), (Next::Dial, 1));
        assert_eq!(bench.fail(&dead()), (Next::GiveUp { attempts: 0 }, 1));
        let mut bench = Bench::new(Reconnect::default().attempts(1), 2);
        assert_eq!(bench.fail(&dead()), (Next::Dial, 1));
        assert_eq!(bench.fail(&dead()), (wait(1, 1), 0));
        assert_eq!(bench.fail(&dead()), (Next::Dial, 1), "it is due as well");
        assert_eq!(bench.fail(&dead()), (Next::GiveUp { attempts: 1 }, 1));
    }

    #[test]
    fn a_lost_connection_goes_back_to_its_server_and_then_to_the_preferred_one() {
        let mut bench = Bench::new(Reconnect::default(), 3);
        assert_eq!(bench.fail(&dead()), (Next::Dial, 1));
        assert_eq!(bench.lose(60 * SECOND), (wait(1, 1), 1), "it may have the session");
        assert_eq!(bench.lose(60 * SECOND), (wait(1, 1), 1));
        assert_eq!(bench.fail(&dead()), (Next::Dial, 0));
        // The first one works again.
        assert_eq!(bench.lose(60 * SECOND), (wait(1, 1), 0));
    }

    #[test]
    fn a_server_that_drops_its_clients_is_left_like_one_that_is_down() {
        let mut bench = Bench::new(Reconnect::default(), 2);
        assert_eq!(bench.lose(SECOND), (wait(1, 1), 0), "that may happen once");
        assert_eq!(bench.lose(SECOND), (wait(0, 0), 1));
        // Its delay of two seconds is over.
        assert_eq!(bench.lose(SECOND), (wait(1, 1), 1));
        assert_eq!(bench.lose(SECOND), (wait(2, 0), 0));
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it_and_a_bad_certificate_the_longest_delay() {
        let mut bench = Bench::new(Reconnect::default(), 2);
        assert_eq!(bench.end(&dead(), 60 * SECOND, false), (Next::Dial, 1));
        for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
            assert_eq!(bench.fail(&dead()), (wait(attempt, seconds), 1));
        }
        bench.now += 60 * SECOND;
        assert_eq!(bench.fail(&dead()), (Next::Dial, 0));
        let untrusted = Reason::Connect(ConnectFailure::Tls(TlsFailure::UnknownIssuer));
        let mut bench = Bench::new(Reconnect::default(), 2);
        assert_eq!(bench.fail(&untrusted), (Next::Dial, 1));
        assert_eq!(bench.fail(&dead()), (wait(1, 1), 1));
    }

    #[test]
    fn a_provider_that_fails_is_not_the_fault_of_a_server() {
        let mut bench = Bench::new(Reconnect::default(), 2);
        let no_token = Reason::Provider("no token".to_owned());
        assert_eq!(bench.fail(&no_token), (wait(1, 1), 0));
        assert_eq!(bench.endpoints.told(&["a".into(), "b".into()], 0, no_token.clone()), no_token);
    }

    #[test]
    fn all_that_have_failed_are_told_by_name_in_their_order() {
        let names = ["a:1", "b:2", "c:3"].map(ByteString::from);
        let mut bench = Bench::new(Reconnect::default(), 3);
        let failures = |failures: &[(&str, Reason)]| {
            let failures =
                failures.iter().map(|(name, reason)| ((*name).to_owned(), reason.clone()));
            Reason::Connect(ConnectFailure::Endpoints(failures.collect()))
        };
        bench.fail(&dead());
        let closed = Reason::TransportClose(None);
        let told = bench.endpoints.told(&names, 1, closed.clone());
        assert_eq!(told, failures(&[("a:1", dead()), ("b:2", closed)]));
        assert_eq!(
            told.to_string(),
            "no connection: a:1: the server did not answer in time: is the path right (option path), or does a firewall drop packets?; b:2: the connection was closed"
        );
        bench.endpoints.begin_round();
        assert_eq!(bench.endpoints.told(&names, 0, dead()), failures(&[("a:1", dead())]));
        // A single server needs no name.
        let alone = Bench::new(Reconnect::default(), 1).endpoints;
        assert_eq!(alone.told(&names[..1], 0, dead()), dead());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Fail { pause: u64, is_provider: bool },
        Lose { lasted: u64 },
        Pass(u64),
        Reset,
        Begin,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (prop_oneof![9 => Just(0), 1 => 0..20_u64], prop::bool::weighted(0.1))
                .prop_map(|(pause, is_provider)| Step::Fail { pause, is_provider }),
            3 => (0..8_u64).prop_map(|lasted| Step::Lose { lasted }),
            2 => (0..8_u64).prop_map(Step::Pass),
            1 => Just(Step::Reset),
            1 => Just(Step::Begin),
        ]
    }

    /// Whatever fails: a server in back-off is not dialled, no server is dialled twice without a wait, and
    /// none is skipped without a reason.
    fn check(steps: Vec<Step>, count: usize, attempts: u32) -> TestCaseResult {
        let mut bench = Bench::new(Reconnect::default().attempts(attempts), count);
        let mut tried = Vec::new();
        for step in steps {
            let before = bench.endpoints.current();
            let (reason, pause, was_open) = match step {
                Step::Pass(seconds) => {
                    bench.now += Duration::from_secs(seconds);
                    continue;
                }
                Step::Reset => {
                    bench.endpoints.reset();
                    tried.clear();
                    continue;
                }
                Step::Begin => {
                    bench.endpoints.begin();
                    bench.endpoints.begin_round();
                    tried.clear();
                    continue;
                }
                Step::Fail { pause, is_provider: false } => (dead(), pause, false),
                Step::Fail { pause, .. } => (Reason::Provider("no".to_owned()), pause, false),
                Step::Lose { lasted } => {
                    bench.endpoints.begin_round();
                    tried.clear();
                    let since = bench.now;
                    bench.now += Duration::from_secs(lasted);
                    bench.endpoints.note_session(since, bench.now);
                    (Reason::PingTimeout, 0, true)
                }
            };
            tried.push(before);
            let is_first = was_open && bench.endpoints.attempt() == 0;
            let stays = is_first || matches!(reason, Reason::Provider(_));
            let (now, pause) = (bench.now, Duration::from_secs(pause));
            let next = bench.endpoints.handle_failure(now, &reason, pause, was_open);
            let current = bench.endpoints.current();
            let chosen = &bench.endpoints.all[current];
            let untried = |place: &usize| !tried.contains(place);
            let due: Vec<usize> = (0..count)
                .filter(untried)
                .filter(|n| bench.endpoints.all[*n].is_due(now))
                .collect();
            match next {
                Next::Dial => {
                    prop_assert!(!was_open && !stays);
                    prop_assert_eq!(Some(&current), due.first());
                }
                Next::Wait { attempt, delay } => {
                    prop_assert!(chosen.is_due(now + delay), "{:?}", chosen);
                    prop_assert_eq!(attempt, chosen.attempts.made());
                    let is_given_up = bench.endpoints.all[before].health == Health::GivenUp;
                    if stays && !is_given_up {
                        prop_assert_eq!(current, before);
                    } else if let Some(first) = due.first().filter(|_| was_open && !stays) {
                        prop_assert_eq!((current, delay), (*first, Duration::ZERO));
                    } else {
                        prop_assert!(stays || due.is_empty(), "{:?} could be dialled", due);
                    }
                    bench.now += delay;
                    bench.endpoints.begin_round();
                    tried.clear();
                }
                Next::GiveUp { attempts: made } => {
                    prop_assert!(made <= attempts);
                    let all = &bench.endpoints.all;
                    prop_assert!(all.iter().all(|one| one.health == Health::GivenUp));
                    bench.endpoints.reset();
                    tried.clear();
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_order_of_failures_breaks_the_rules(
            steps in prop::collection::vec(step(), 0..60),
            count in 1..5_usize,
            attempts in prop_oneof![0..4_u32, Just(u32::MAX)],
        ) {
            check(steps, count, attempts)?;
        }
    }
}
