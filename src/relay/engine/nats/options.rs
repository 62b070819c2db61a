//! How an engine on NATS is set up, and why it cannot be.

use std::{ops::RangeInclusive, time::Duration};

use thiserror::Error;

/// The lease time of an engine, unless it is told otherwise.
const LEASE_TIME: Duration = Duration::from_secs(15);
/// What a lease time may be.
const LEASE_TIMES: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);
/// How old a record may be, and a durable command.
const AGES: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(10 * 365 * 24 * 3600);
/// How many bytes a log may have.
const SIZES: RangeInclusive<u64> = (1 << 20)..=(1 << 50);
/// How many bytes of durable commands may wait, and as many of answers.
const COMMAND_BYTES: u64 = 256 << 20;
const ACK_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const REPLICAS: RangeInclusive<usize> = 1..=5;
/// The longest prefix.
const MAX_PREFIX: usize = 32;

/// Options of an engine on NATS. All programs that share an engine use the same prefix and the same options.
///
/// # What it uses
///
/// With the default prefix `sio`, [`Engine::nats`](crate::relay::Engine::nats) makes these streams, unless they are
/// there:
///
/// | stream | subjects | what it has |
/// |---|---|---|
/// | `sio_ev` | `sio.ev.<upstream>` | the log: records of all upstreams |
/// | `sio_do` | `sio.do.<upstream>.<id>` | durable commands that are not done |
/// | `sio_res` | `sio.res.<upstream>.<id>` | answers of durable commands |
/// | `KV_sio_lease` | `$KV.sio_lease.<upstream>` | leases: which worker holds an upstream |
/// | `KV_sio_worker` | `$KV.sio_worker.<worker>` | the workers that are there |
/// | `KV_sio_ticket` | `$KV.sio_ticket.<upstream>` | private ids of sessions, which are secrets |
///
/// The last three can be read as key-value buckets, for example with `nats kv`. Other commands are requests on
/// `sio.cmd.<upstream>`, which no stream keeps.
///
/// # Permissions
///
/// NATS can restrict what each program may do. With these, and nothing else, it does all that it is for:
///
/// | program | publish | subscribe |
/// |---|---|---|
/// | setup | `$JS.API.STREAM.INFO.*`, `$JS.API.STREAM.CREATE.*` | `_INBOX_setup.>` |
/// | worker | `sio.ev.*`, `sio.res.*.*`, `$KV.sio_lease.*`, `$KV.sio_worker.*.*`, `$KV.sio_ticket.*`, `$JS.API.STREAM.INFO.*`, `$JS.API.STREAM.MSG.GET.sio_ev`, `$JS.API.STREAM.MSG.GET.sio_res`, `$JS.API.STREAM.MSG.GET.KV_sio_lease`, `$JS.API.STREAM.MSG.GET.KV_sio_worker`, `$JS.API.STREAM.MSG.GET.KV_sio_ticket`, `$JS.API.STREAM.PURGE.KV_sio_worker`, `$JS.API.CONSUMER.CREATE.sio_do.>`, `$JS.API.CONSUMER.MSG.NEXT.sio_do.*`, `$JS.ACK.sio_do.>`, `_INBOX_caller.>` | `sio.cmd.*`, `_INBOX_worker.>` |
/// | reader | `$JS.API.STREAM.INFO.*`, `$JS.API.CONSUMER.CREATE.sio_ev`, `$JS.API.CONSUMER.CREATE.sio_ev.>`, `$JS.API.CONSUMER.INFO.sio_ev.*`, `$JS.API.CONSUMER.MSG.NEXT.sio_ev.*`, `$JS.ACK.sio_ev.>` | `_INBOX_reader.>` |
/// | caller | `$JS.API.STREAM.INFO.*`, `sio.cmd.*`, `sio.do.*.*`, `$JS.API.STREAM.MSG.GET.sio_res` | `sio.res.*.*`, `_INBOX_caller.>` |
///
/// *setup* is whoever calls [`Engine::nats`](crate::relay::Engine::nats) first, and makes the streams. A program of several kinds needs the rows of
/// all.
///
/// Answers come to inboxes. By default all programs have theirs under `_INBOX`, and whoever may subscribe to `_INBOX.>` reads the
/// answers to all. Those to a worker have the private ids of sessions, and whoever reads one can resume the session. So give each kind of
/// program its own (`async_nats::ConnectOptions::custom_inbox_prefix`, `nats --inbox-prefix`), as here, or an account. For the same reason,
/// only workers should be allowed anything about `KV_sio_ticket`.
///
/// A client that is not allowed something gets no answer from the server, so it is
/// [`EngineError::Away`](crate::relay::EngineError::Away); the server logs what was violated, and so does `async_nats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NatsOptions {
    pub(super) prefix: String,
    pub(super) replicas: usize,
    pub(super) lease_time: Duration,
    pub(super) max_age: Duration,
    pub(super) max_bytes: u64,
    pub(super) command_age: Duration,
    pub(super) command_bytes: u64,
    pub(super) ack_timeout: Duration,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            prefix: "sio".to_owned(),
            replicas: 1,
            lease_time: LEASE_TIME,
            max_age: Duration::from_secs(24 * 3600),
            max_bytes: 1 << 30,
            command_age: Duration::from_secs(24 * 3600),
            command_bytes: COMMAND_BYTES,
            ack_timeout: Duration::from_secs(2),
        }
    }
}

impl NatsOptions {
    /// The same as [`default`](Self::default).
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the names of all streams, buckets and subjects. ASCII letters, digits, `-` and `_`, from 1 to 32; by default
    /// `sio`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Number of servers that keep each record, lease and command: from 1 to 5, by default 1.
    ///
    /// With 1 the relay stops while that server is away, and what it had is lost with its disk. A cluster of three servers
    /// with 3 replicas goes on when one of them is lost.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// After this time without a renewal, a lease ends, and another worker can take the upstream over. From 2 seconds to an
    /// hour, by default 15 seconds.
    ///
    /// When a cluster loses the server that leads a stream, it answers again after 5 to 7 seconds. With less than 10
    /// seconds, all leases end then.
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.lease_time = time;
        self
    }

    /// The log drops records that are older. From 10 seconds to 10 years, by default 24 hours.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The log of all upstreams has at most this many bytes on each server. From 1 MiB to 1 PiB, by default 1 GiB.
    ///
    /// A full log takes no more records until old ones have reached their [`max_age`](Self::max_age). The server reserves
    /// the space, and refuses a log that it has no room for.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// A durable command that nobody took is dropped after this time, and so is the answer of one that is done. From 10
    /// seconds to 10 years, by default 24 hours.
    ///
    /// A command whose id is used again within this time is not executed again.
    pub fn command_age(mut self, age: Duration) -> Self {
        self.command_age = age;
        self
    }

    /// Durable commands that are not done have at most this many bytes on each server, and so have their answers. From 1
    /// MiB to 1 PiB, by default 256 MiB each.
    ///
    /// No more commands are taken when there is no room for them. The oldest answers make room for later ones.
    pub fn command_bytes(mut self, bytes: u64) -> Self {
        self.command_bytes = bytes;
        self
    }

    /// How long to wait for an answer of the server to one request. From 100 milliseconds to a minute, and at most a third
    /// of the [`lease_time`](Self::lease_time); by default 2 seconds.
    ///
    /// After that the outcome is unknown, and the relay asks what is stored.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// The first option that is out of range.
    pub(super) fn check(&self) -> Result<(), NatsError> {
        let Self {
            prefix,
            replicas,
            lease_time,
            max_age,
            max_bytes,
            command_age,
            command_bytes,
            ack_timeout,
        } = self;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let wrong =
            if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(is_part) {
                "prefix: 1 to 32 ASCII letters, digits, `-` and `_`"
            } else if !REPLICAS.contains(replicas) {
                "replicas: 1 to 5"
            } else if !LEASE_TIMES.contains(lease_time) {
                "lease_time: 2 seconds to an hour"
            } else if !AGES.contains(max_age) {
                "max_age: 10 seconds to 10 years"
            } else if !SIZES.contains(max_bytes) {
                "max_bytes: 1 MiB to 1 PiB"
            } else if !AGES.contains(command_age) {
                "command_age: 10 seconds to 10 years"
            } else if !SIZES.contains(command_bytes) {
                "command_bytes: 1 MiB to 1 PiB"
            } else if !ACK_TIMEOUTS.contains(ack_timeout)
                || ack_timeout.saturating_mul(3) > *lease_time
            {
                "ack_timeout: 100 milliseconds to a minute, at most a third of lease_time"
            } else {
                return Ok(());
            };
        Err(NatsError::OutOfRange(wrong.to_owned()))
    }
}

/// An engine on NATS could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NatsError {
    /// An option is out of range: its name, and the range.
    #[error("an option is out of range: {0}")]
    OutOfRange(String),
    /// A stream of this name is there already, with other settings than those that the options ask for. It is left as it
    /// is: change the options, or the stream (`nats stream edit`), or choose another prefix.
    #[error("the stream {stream} has other settings: {differences}")]
    Differs {
        /// Name of the stream.
        stream: String,
        /// Each setting that differs, with both values.
        differences: String,
    },
    /// More than one replica, with a server before 2.10: its version. Two workers could hold an upstream, and both write to
    /// its log.
    #[error("nats-server {0} is too old for more than one replica")]
    TooOld(String),
    /// No server answered in time. Some of the streams may be there now; another try goes on from there.
    #[error("NATS is away: {0}")]
    Away(String),
    /// For 30 seconds, the cluster has had fewer nodes that are online and have room for a stream than there are replicas. Some of
    /// the streams may be there now; another try goes on from there.
    #[error("NATS has not found {replicas} nodes for the stream {stream}: {text}")]
    NoPlace {
        /// Name of the stream.
        stream: String,
        /// How many nodes were asked for.
        replicas: usize,
        /// What NATS said: which nodes are offline, or what they lack.
        text: String,
    },
    /// The server refused to make a stream: for example for want of space, or because it is not in a cluster and there is
    /// more than one replica.
    #[error("NATS refused: {0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_at_their_bounds() {
        let second = Duration::from_secs(1);
        let millisecond = Duration::from_millis(1);
        let base = NatsOptions::new;
        let good = [
            base(),
            base().prefix("a".repeat(32)),
            base().prefix("A-b_9"),
            base().replicas(5),
            base().lease_time(second * 2).ack_timeout(millisecond * 100),
            base().lease_time(second * 3600).ack_timeout(second * 60),
            base().lease_time(second * 6),
            base().max_age(second * 10).command_age(second * 10),
            base().max_bytes(1 << 20).command_bytes(1 << 50),
        ];
        for options in good {
            assert_eq!(options.check(), Ok(()), "{options:?}");
        }
        let bad = [
            base().prefix(""),
            base().prefix("a".repeat(33)),
            base().prefix("a.b"),
            base().prefix("a*"),
            base().replicas(0),
            base().replicas(6),
            base().lease_time(millisecond * 1_999),
            base().lease_time(second * 3600 + millisecond),
            base().lease_time(millisecond * 5_999),
            base().max_age(second * 9),
            base().command_age(second * 9),
            base().max_bytes((1 << 20) - 1),
            base().command_bytes((1 << 50) + 1),
            base().ack_timeout(millisecond * 99),
            base().lease_time(second * 3600).ack_timeout(second * 61),
        ];
        for options in bad {
            assert!(matches!(options.check(), Err(NatsError::OutOfRange(_))), "{options:?}");
        }
    }
}
