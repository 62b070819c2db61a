//! Callers that wait for a namespace to be joined, and how long that makes sense.

use std::{collections::BTreeMap, time::Instant};

use thiserror::Error;

use crate::{
    actor::command_queue::Busy,
    message::Ready,
    proto::{
        engine_refusal::EngineRefusal,
        proxy_failure::ProxyFailure,
        reason::{ConnectFailure, Reason},
    },
    runtime::task::{Purge, Teller},
};

/// Why waiting for a namespace ended without success.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// It was not joined in time. The client keeps trying.
    #[error("the namespace was not ready in time{}", because(last.as_ref()))]
    TimedOut {
        /// The last failure to connect, if there was one.
        last: Option<Reason>,
    },
    /// There is no connection, for this reason, and waiting makes no sense: other attempts would
    /// have the same result, or three have failed; see [`Socket::ready`](crate::Socket::ready). The
    /// client keeps trying by its policy.
    #[error("{0}")]
    Failing(Reason),
    /// The namespace has ended, for this reason. [`Socket::connect`](crate::Socket::connect) tries
    /// again.
    #[error("{0}")]
    Ended(Reason),
    /// Too many calls wait for the namespace already; see [`Busy`].
    #[error("{Busy}")]
    Busy,
}

fn because(reason: Option<&Reason>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// Callers wait until this many attempts have failed in a row.
const FEW: u32 = 3;

pub(crate) type ReadySender = Teller<Result<Ready, ReadyError>>;

#[derive(Debug)]
pub(crate) struct Waiters {
    /// By deadline, and then in the order in which they came.
    all: BTreeMap<(Instant, u64), Waiter>,
    /// The number of waiters so far.
    came: u64,
    purge: Purge,
    patience: Patience,
}

/// What the options of the client say about waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Whether callers wait until their time is up, whatever fails.
    pub(crate) is_endless: bool,
    /// Whether providers give new values for each dial, so that a server that refuses one attempt may accept
    /// the next.
    pub(crate) has_providers: bool,
    /// The number of servers: one that was not tried yet may work.
    pub(crate) servers: usize,
}

impl Patience {
    /// Whether another attempt would have the same result, unless somebody changes something.
    fn ends_with(self, reason: &Reason) -> bool {
        let Reason::Connect(failure) = reason else { return false };
        !self.is_endless
            && match failure {
                ConnectFailure::Engine(EngineRefusal::Forbidden)
                | ConnectFailure::Status { status: 401 | 403, .. }
                    if self.has_providers =>
                {
                    false
                }
                ConnectFailure::UnknownHost(_)
                | ConnectFailure::Engine(_)
                | ConnectFailure::NoWebsocket(_)
                | ConnectFailure::TooLarge { .. }
                | ConnectFailure::Tls(_) => true,
                ConnectFailure::Proxy { failure, .. } => {
                    failure.is_lasting() || matches!(failure, ProxyFailure::UnknownHost(_))
                }
                ConnectFailure::Endpoints(failures) => {
                    failures.len() == self.servers
                        && failures.iter().all(|(_, reason)| self.ends_with(reason))
                }
                // Not now.
                ConnectFailure::Status { status: 408 | 425 | 429, .. } => false,
                ConnectFailure::Status { status, .. } => (200..500).contains(status),
                _ => false,
            }
    }
}

#[derive(Debug)]
struct Waiter {
    sender: ReadySender,
    /// Attempts that have failed since the caller began to wait.
    failed: u32,
}

impl Waiter {
    fn tell(self, outcome: Result<Ready, ReadyError>) {
        self.sender.tell(outcome);
    }
}

impl Waiters {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { all: BTreeMap::new(), came: 0, purge: Purge::default(), patience }
    }

    /// A caller begins to wait, unless that makes no sense. `last` is the last failure to connect.
    pub(crate) fn add(&mut self, deadline: Instant, sender: ReadySender, last: Option<&Reason>) {
        let waiter = Waiter { sender, failed: 0 };
        if let Some(last) = last
            && self.patience.ends_with(last)
        {
            return waiter.tell(Err(ReadyError::Failing(last.clone())));
        }
        if self.purge.is_due(self.all.len()) {
            self.all.retain(|_, waiter| !waiter.sender.is_canceled());
            self.purge.done(self.all.len());
        }
        self.came = self.came.wrapping_add(1);
        self.all.insert((deadline, self.came), waiter);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.all.first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// The namespace is joined, or will not be.
    pub(crate) fn resolve(&mut self, outcome: &Result<Ready, ReadyError>) {
        for waiter in std::mem::take(&mut self.all).into_values() {
            waiter.tell(outcome.clone());
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, last: Option<&Reason>) {
        while let Some(first) = self.all.first_entry()
            && first.key().0 <= now
        {
            first.remove().tell(Err(ReadyError::TimedOut { last: last.cloned() }));
        }
    }

    /// An attempt has failed, and another one is made.
    pub(crate) fn note_failed(&mut self, reason: &Reason) {
        // A session that has ended is not a failed attempt, and what follows a refusal is up to the policy.
        if !matches!(reason, Reason::Connect(_) | Reason::Provider(_)) || self.patience.is_endless {
            return;
        }
        let is_over = self.patience.ends_with(reason);
        for (key, mut waiter) in std::mem::take(&mut self.all) {
            waiter.failed = waiter.failed.saturating_add(1);
            if is_over || waiter.failed >= FEW {
                waiter.tell(Err(ReadyError::Failing(reason.clone())));
            } else {
                self.all.insert(key, waiter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{proto::tls_failure::TlsFailure, runtime::task};

    const DEFAULT: Patience = Patience { is_endless: false, has_providers: false, servers: 2 };

    /// After how many failures like these in a row a caller stops waiting; at most ten are tried.
    fn patience(patience: Patience, reason: &Reason) -> Option<usize> {
        let mut waiters = Waiters::new(patience);
        let (sender, mut outcome) = task::channel();
        let deadline = Instant::now() + Duration::from_secs(1);
        waiters.add(deadline, sender, None);
        let failed = (1..=10).find(|_| {
            waiters.note_failed(reason);
            outcome.try_recv().unwrap().is_some_and(|outcome| {
                assert_eq!(outcome, Err(ReadyError::Failing(reason.clone())));
                true
            })
        });
        assert_eq!(waiters.poll_timeout(), failed.is_none().then_some(deadline));
        failed
    }

    #[test]
    fn what_will_not_change_by_itself_ends_the_wait_at_once_and_what_may_after_a_few_failures() {
        let status = |status| Reason::Connect(ConnectFailure::status(status));
        for code in [200, 204, 301, 308, 400, 401, 403, 404, 405, 407, 410, 426, 451, 499] {
            assert_eq!(patience(DEFAULT, &status(code)), Some(1), "{code}");
        }
        for code in [408, 425, 429, 500, 502, 503, 504, 522] {
            assert_eq!(patience(DEFAULT, &status(code)), Some(3), "{code}");
        }
        let unknown = Reason::Connect(ConnectFailure::UnknownHost("no".to_owned()));
        assert_eq!(patience(DEFAULT, &unknown), Some(1));
        let too_large = Reason::Connect(ConnectFailure::TooLarge { limit: 1 });
        assert_eq!(patience(DEFAULT, &too_large), Some(1));
        let untrusted = Reason::Connect(ConnectFailure::Tls(TlsFailure::UnknownIssuer));
        assert_eq!(patience(DEFAULT, &untrusted), Some(1));
        for (failure, failures) in [
            (ProxyFailure::CredentialsRequired, 1),
            (ProxyFailure::UnknownHost("no".to_owned()), 1),
            (ProxyFailure::Status { status: 403, says: None }, 1),
            (ProxyFailure::Status { status: 503, says: None }, 3),
            (ProxyFailure::TimedOut, 3),
        ] {
            let proxy = "proxy.test:3128".to_owned();
            let reason = Reason::Connect(ConnectFailure::Proxy { proxy, failure });
            assert_eq!(patience(DEFAULT, &reason), Some(failures), "{reason}");
        }
        for reason in [
            Reason::Connect(ConnectFailure::Unreachable("refused".to_owned())),
            Reason::Connect(ConnectFailure::TimedOut),
            Reason::Connect(ConnectFailure::Handshake("what?".to_owned())),
            Reason::Provider("no token".to_owned()),
        ] {
            assert_eq!(patience(DEFAULT, &reason), Some(3), "{reason}");
        }
        for reason in [Reason::TransportClose(None), Reason::JoinTimeout, Reason::Reconnect] {
            assert_eq!(patience(DEFAULT, &reason), None, "{reason}");
        }
        let providers = Patience { has_providers: true, ..DEFAULT };
        for (code, failures) in [(401, 3), (403, 3), (404, 1)] {
            assert_eq!(patience(providers, &status(code)), Some(failures), "{code}");
        }
        let endless = Patience { is_endless: true, ..DEFAULT };
        for reason in [status(404), unknown, Reason::Connect(ConnectFailure::TimedOut)] {
            assert_eq!(patience(endless, &reason), None, "{reason}");
        }
    }

    #[test]
    fn a_refusal_of_the_protocol_ends_the_wait_unless_a_provider_may_change_it() {
        let refusal = |refusal| Reason::Connect(ConnectFailure::Engine(refusal));
        let providers = Patience { has_providers: true, ..DEFAULT };
        for (patient, refused, failures) in [
            (DEFAULT, EngineRefusal::BadRequest, 1),
            (DEFAULT, EngineRefusal::Forbidden, 1),
            (providers, EngineRefusal::Forbidden, 3),
            (providers, EngineRefusal::TransportUnknown, 1),
        ] {
            assert_eq!(patience(patient, &refusal(refused)), Some(failures), "{refused}");
        }
    }

    #[test]
    fn of_several_servers_all_must_be_hopeless() {
        let failures = |statuses: &[u16]| {
            let failures = statuses
                .iter()
                .map(|status| ("a:1".to_owned(), Reason::Connect(ConnectFailure::status(*status))));
            Reason::Connect(ConnectFailure::Endpoints(failures.collect()))
        };
        assert_eq!(patience(DEFAULT, &failures(&[404, 404])), Some(1));
        assert_eq!(patience(DEFAULT, &failures(&[404, 503])), Some(3));
        // The other one waits for its turn.
        assert_eq!(patience(DEFAULT, &failures(&[404])), Some(3));
    }

    #[test]
    fn who_comes_later_learns_at_once_what_will_not_change_by_itself() {
        let now = Instant::now();
        let gone = Reason::Connect(ConnectFailure::status(410));
        let dead = Reason::Connect(ConnectFailure::Unreachable("refused".to_owned()));
        let mut waiters = Waiters::new(DEFAULT);
        let (sender, mut outcome) = task::channel();
        waiters.add(now, sender, Some(&gone));
        assert_eq!(outcome.try_recv(), Ok(Some(Err(ReadyError::Failing(gone)))));
        let (sender, mut outcome) = task::channel();
        waiters.add(now, sender, Some(&dead));
        assert_eq!(outcome.try_recv(), Ok(None));
        waiters.handle_timeout(now, Some(&dead));
        assert_eq!(outcome.try_recv(), Ok(Some(Err(ReadyError::TimedOut { last: Some(dead) }))));
    }

    #[test]
    fn each_is_told_at_its_deadline_and_those_who_have_gone_are_forgotten() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut waiters = Waiters::new(DEFAULT);
        let mut waiting = Vec::new();
        for number in 0..10_000 {
            let (sender, outcome) = task::channel();
            waiters.add(at(number % 7), sender, None);
            // One in a hundred waits on.
            if number % 100 == 0 {
                waiting.push((number % 7, outcome));
            }
            assert!(
                waiters.all.len() <= 2 * waiting.len() + 2 * task::SPARE,
                "{}",
                waiters.all.len()
            );
        }
        for second in 0..7 {
            waiters.handle_timeout(at(second), None);
            assert!(waiters.poll_timeout().is_none_or(|next| next > at(second)));
            for (deadline, outcome) in &mut waiting {
                if *deadline == second {
                    let timed_out = Err(ReadyError::TimedOut { last: None });
                    assert_eq!(outcome.try_recv(), Ok(Some(timed_out)));
                } else if *deadline > second {
                    assert_eq!(outcome.try_recv(), Ok(None));
                }
            }
        }
        assert_eq!((waiters.poll_timeout(), waiters.all.len()), (None, 0));
    }
}
