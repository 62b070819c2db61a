//! When the client connects again. The functions are pure: the attempt and the random draw are arguments.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::dial_limiter::DialLimiter;
use crate::{
    guard::{self, Kept},
    logs::repeated,
    proto::reason::Reason,
};

/// What to do when a connection or a namespace has ended.
///
/// A function set with [`Reconnect::retry`] chooses it by the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Try again, with the delays of the policy.
    Again,
    /// Try again with new credentials. Without a provider that gives new ones, this is the same as
    /// [`Stop`](Self::Stop).
    ///
    /// After a refusal ([`Reason::Refused`]), the first attempt is made at once; the delays of the
    /// policy begin with the second.
    ///
    /// When a connection has ended, this is the same as [`Again`](Self::Again).
    WithNewAuth,
    /// Do not try again.
    Stop,
}

impl Retry {
    /// What a policy without a function of its own does: the same as the official client.
    ///
    /// The client stops
    ///
    /// * if the server has refused this client or removed it from the namespace
    ///   ([`Reason::Refused`], [`Reason::ServerDisconnect`]);
    /// * if the application ended it ([`Reason::ClientDisconnect`], [`Reason::Shutdown`],
    ///   [`Reason::Middleware`]);
    /// * if another attempt would have the same result
    ///   ([`ConnectFailure::Unsupported`](crate::ConnectFailure::Unsupported)).
    ///
    /// After every other reason, it tries again.
    pub fn default_for(reason: &Reason) -> Self {
        match reason {
            Reason::ClientDisconnect
            | Reason::ServerDisconnect
            | Reason::Refused(_)
            | Reason::Middleware(_) => Self::Stop,
            reason if reason.is_final() => Self::Stop,
            _ => Self::Again,
        }
    }
}

/// The range of an option, and whether its value is in it.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) name: &'static str,
    pub(crate) is_kept: bool,
    pub(crate) expected: &'static str,
}

impl Range {
    /// The range of a time that must not be zero.
    pub(crate) fn time(name: &'static str, time: Duration) -> Self {
        Self { name, is_kept: !time.is_zero(), expected: "more than zero" }
    }
}

/// The policy for trying again when a connection cannot be made or is lost: when and how often.
///
/// The options are checked when a client [starts](crate::ClientBuilder::start) with the policy.
///
/// The default is that of the official client. It tries for ever, the first connection included.
/// The first delay is one second, and each further one is twice as long, up to five seconds. After a
/// failure of TLS, such as a certificate that is not trusted, and if a proxy refuses the client, the
/// first delay is already the longest. A jitter of up to half in either direction keeps the clients of a
/// restarted server from coming back at once. Unlike the official client, the clients of one process
/// take turns: 100 reconnect per second; see [`DialLimiter`].
///
/// A server may refuse the connection and say when to come back (`Retry-After`, in seconds or as a
/// date). If that is longer than the delay, the client waits that long, but at most one hour.
///
/// ```
/// # use std::time::Duration;
/// use actix_socketio::{Client, Reconnect};
///
/// let patient = Client::builder("http://localhost:3000")
///     .reconnect(Reconnect::default().delay(Duration::from_secs(1), Duration::from_secs(60)));
/// let once = Client::builder("http://localhost:3000").reconnect(Reconnect::never());
/// ```
#[derive(Clone)]
pub struct Reconnect(Arc<Options>);

/// The options, which all parts of a client share.
#[derive(Clone)]
struct Options {
    attempts: Option<u32>,
    min: Duration,
    max: Duration,
    jitter: f64,
    limiter: DialLimiter,
    patient: bool,
    retry: Arc<Kept<Box<Policy>>>,
}

type Policy = dyn Fn(&Reason) -> Retry + Send + Sync;

/// Does not show the function that chooses by the reason.
impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { attempts, min, max, jitter, limiter, patient, retry: _ } = &*self.0;
        f.debug_struct("Reconnect")
            .field("attempts", attempts)
            .field("min", min)
            .field("max", max)
            .field("jitter", jitter)
            .field("limiter", limiter)
            .field("patient", patient)
            .finish_non_exhaustive()
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self(Arc::new(Options {
            attempts: None,
            min: Duration::from_secs(1),
            max: Duration::from_secs(5),
            jitter: 0.5,
            limiter: DialLimiter::shared(),
            patient: false,
            retry: Arc::new(Kept::new(Box::new(Retry::default_for))),
        }))
    }
}

impl Reconnect {
    fn options(&mut self) -> &mut Options {
        Arc::make_mut(&mut self.0)
    }

    /// Never tries again.
    pub fn never() -> Self {
        Self::default().attempts(0)
    }

    /// Gives up after this many attempts in a row; 0 makes none. Default: never gives up.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options().attempts = Some(attempts);
        self
    }

    /// Waits `min` before the first attempt, and twice as long before each further one, up to
    /// `max`, which must not be less than `min`. With zero, it does not wait. Default: 1 and 5
    /// seconds.
    #[must_use]
    pub fn delay(mut self, min: Duration, max: Duration) -> Self {
        (self.options().min, self.options().max) = (min, max);
        self
    }

    /// The jitter: how far a delay may differ in either direction, as a fraction of the delay, from 0.0 to
    /// 1.0. Default: 0.5.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.options().jitter = jitter;
        self
    }

    /// Limits how many clients reconnect per second, among all clients whose policies have this
    /// limiter or a clone of it. After its delay, a client waits for its turn. Default: one limiter
    /// for the whole process, with 100 attempts per second.
    #[must_use]
    pub fn limiter(mut self, limiter: DialLimiter) -> Self {
        self.options().limiter = limiter;
        self
    }

    /// Makes [`Socket::ready`](crate::Socket::ready) and
    /// [`ClientBuilder::connect`](crate::ClientBuilder::connect) wait until their time is up,
    /// whatever fails in the meantime: for a server that has not started yet. Default: they end
    /// early when waiting makes no sense; see [`Socket::ready`](crate::Socket::ready).
    ///
    /// It does not change when and how often the client tries again.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use actix_socketio::{Client, Reconnect, StartError};
    ///
    /// # async fn example() -> Result<(), StartError> {
    /// let client = Client::builder("http://server-that-is-being-started:3000")
    ///     .reconnect(Reconnect::default().patient())
    ///     .connect_timeout(Duration::from_secs(120))
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.options().patient = true;
        self
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.0.patient
    }

    /// Chooses what to do by the reason. Default: [`Retry::default_for`]. Call that for all reasons
    /// that your function does not handle itself.
    ///
    /// The function is called when a connection is lost or cannot be made, and may be called for
    /// each namespace as well. It runs on the arbiter of the client, and must not block. It is not
    /// called when the application itself ended the session, by
    /// [`disconnect`](crate::Socket::disconnect) or [`shutdown`](crate::Client::shutdown).
    ///
    /// ```
    /// use actix_socketio::{ConnectFailure, Reason, Reconnect, Retry};
    ///
    /// let policy = Reconnect::default().retry(|reason| match reason {
    ///     // It is not there any more.
    ///     Reason::Connect(ConnectFailure::Status { status: 404 | 410, .. }) => Retry::Stop,
    ///     other => Retry::default_for(other),
    /// });
    /// ```
    #[must_use]
    pub fn retry(mut self, retry: impl Fn(&Reason) -> Retry + Send + Sync + 'static) -> Self {
        self.options().retry = Arc::new(Kept::new(Box::new(retry)));
        self
    }

    /// The range of each option. All fields are listed, so that a new one is not forgotten.
    pub(crate) fn ranges(&self) -> [Range; 2] {
        // The others take any value.
        let Options { attempts: _, min, max, jitter, limiter: _, patient: _, retry: _ } = &*self.0;
        [
            Range {
                name: "delay",
                is_kept: min <= max,
                expected: "a min that is not above its max",
            },
            Range { name: "jitter", is_kept: (0.0..=1.0).contains(jitter), expected: "0.0 to 1.0" },
        ]
    }

    /// What to do after an end with this reason. `client` is its name in the log.
    pub(crate) fn choose(&self, reason: &Reason, client: &str) -> Retry {
        match reason {
            Reason::ClientDisconnect | Reason::Shutdown => Retry::Stop,
            // Not an end: the next connection is on its way.
            Reason::Reconnect => Retry::Again,
            reason => {
                let policy = || self.0.retry.get().map(|retry| retry(reason));
                let chosen = guard::run(policy).unwrap_or_else(|panicked| {
                    repeated!(
                        log::Level::Warn,
                        client,
                        "the policy for reconnecting {panicked}; the default decides"
                    );
                    None
                });
                chosen.unwrap_or_else(|| Retry::default_for(reason))
            }
        }
    }

    /// Whether attempt number `attempt`, counted from 1, is allowed.
    pub(crate) fn allows(&self, attempt: u32) -> bool {
        self.0.attempts.is_none_or(|attempts| attempt <= attempts)
    }

    /// The delay before attempt number `attempt`, counted from 1. `draw` is uniform in 0.0 to 1.0.
    ///
    /// Unlike in socket.io-client 4.8, the jitter is applied after the cap. There, all clients
    /// end up waiting for exactly the cap, and return at the same instant.
    pub(crate) fn wait(&self, attempt: u32, draw: f64) -> Duration {
        let Options { min, max, jitter, .. } = *self.0;
        let doubled = min.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        let swing = 1.0 + jitter * (2.0 * draw - 1.0);
        Duration::try_from_secs_f64(doubled.min(max).as_secs_f64() * swing).unwrap_or(max)
    }

    /// The time at which a client whose delay is over at `now` may dial.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        self.0.limiter.reserve(now)
    }

    /// How long a session must have lasted to count as a success, so that the next loss begins
    /// with the shortest delay again: a server that accepts and drops at once is no success.
    pub(crate) fn stable_after(&self) -> Duration {
        self.0.max
    }
}

/// Random numbers for the jitter, from a seed. (`SplitMix64`, by Steele, Lea and Flood.)
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in 0.0 to 1.0.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let high = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ProtocolError, engine::Protocol, reason::ConnectFailure, refusal::Refusal};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_cap() {
        let exact = Reconnect::default().jitter(0.0);
        let delays: Vec<u64> = (1..6).map(|attempt| exact.wait(attempt, 0.7).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
        assert_eq!(exact.wait(u32::MAX, 0.7), 5 * SECOND);
    }

    #[test]
    fn jitter_spreads_the_delays_at_the_cap_too() {
        let policy = Reconnect::default();
        assert_eq!(policy.wait(1, 0.0), SECOND / 2);
        assert_eq!(policy.wait(1, 0.5), SECOND);
        assert_eq!(policy.wait(1, 1.0), SECOND * 3 / 2);
        assert_eq!(policy.wait(1_000, 0.0), SECOND * 5 / 2);
        assert_eq!(policy.wait(1_000, 1.0), SECOND * 15 / 2);
    }

    #[test]
    fn zero_means_zero() {
        let now = Reconnect::default().delay(Duration::ZERO, Duration::ZERO);
        assert_eq!(now.wait(7, 1.0), Duration::ZERO);
        assert!(!Reconnect::never().allows(1));
        assert!(Reconnect::default().attempts(2).allows(2));
        assert!(!Reconnect::default().attempts(2).allows(3));
        assert!(Reconnect::default().allows(u32::MAX));
    }

    #[test]
    fn patience_changes_no_delay() {
        let (patient, default) = (Reconnect::default().patient(), Reconnect::default());
        assert!(patient.is_patient() && !default.is_patient());
        assert_eq!(patient.wait(2, 0.5), default.wait(2, 0.5));
        assert!(patient.allows(u32::MAX));
    }

    #[test]
    fn what_the_server_has_decided_and_what_cannot_change_is_not_tried_again() {
        let refusal = Refusal::new("no".to_owned(), None);
        let unsupported = ConnectFailure::Unsupported {
            asked: Protocol::Eio4,
            server: "it speaks something else".to_owned(),
        };
        for (reason, expected) in [
            (Reason::ClientDisconnect, Retry::Stop),
            (Reason::Shutdown, Retry::Stop),
            (Reason::ServerDisconnect, Retry::Stop),
            (Reason::Refused(refusal), Retry::Stop),
            (Reason::Connect(unsupported), Retry::Stop),
            (Reason::JoinTimeout, Retry::Again),
            (Reason::PingTimeout, Retry::Again),
            (Reason::TransportClose(None), Retry::Again),
            (Reason::ServerShutdown, Retry::Again),
            (Reason::TransportError("reset".to_owned()), Retry::Again),
            (Reason::TooLargeForServer, Retry::Again),
            (Reason::TooLarge { limit: 1 }, Retry::Again),
            (Reason::Protocol(ProtocolError::Utf8), Retry::Again),
            (Reason::Connect(ConnectFailure::TimedOut), Retry::Again),
            (Reason::Connect(ConnectFailure::status(503)), Retry::Again),
            (Reason::Provider("no token".to_owned()), Retry::Again),
            (Reason::Reconnect, Retry::Again),
        ] {
            assert_eq!(Reconnect::default().choose(&reason, "client"), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_function_chooses_but_for_what_the_application_wanted() {
        let policy = Reconnect::default().retry(|_| Retry::WithNewAuth);
        assert_eq!(policy.choose(&Reason::ServerDisconnect, "client"), Retry::WithNewAuth);
        assert_eq!(policy.choose(&Reason::PingTimeout, "client"), Retry::WithNewAuth);
        assert_eq!(policy.choose(&Reason::ClientDisconnect, "client"), Retry::Stop);
        assert_eq!(policy.choose(&Reason::Shutdown, "client"), Retry::Stop);
        let policy = Reconnect::default().retry(|_| Retry::Stop);
        assert_eq!(policy.choose(&Reason::PingTimeout, "client"), Retry::Stop);
        assert_eq!(policy.choose(&Reason::Reconnect, "client"), Retry::Again);
    }

    #[test]
    fn policies_share_the_limiter_of_the_process() {
        assert!(Reconnect::default().0.limiter.is_same(&Reconnect::never().0.limiter));
    }

    #[test]
    fn draws_are_those_of_the_generator() {
        let mut source = Jitter::new(1_234_567);
        for number in [
            6_457_827_717_110_365_317_u64,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ] {
            let high = u32::try_from(number >> 32).unwrap();
            let expected = f64::from(high) / f64::from(u32::MAX);
            assert!((source.next() - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn draws_are_spread() {
        let mut source = Jitter::new(7);
        let drawn: Vec<f64> = (0..1_000).map(|_| source.next()).collect();
        assert!(drawn.iter().all(|draw| (0.0..=1.0).contains(draw)));
        let low = drawn.iter().filter(|draw| **draw < 0.5).count();
        assert!((400..600).contains(&low), "{low}");
    }
}
