//! The streams of an engine: their names and settings, and how they are made.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use async_nats::{
    Client,
    jetstream::{
        Context, ContextBuilder, ErrorCode,
        context::RequestErrorKind,
        response::Response,
        stream::{Config, DiscardPolicy, Info, RetentionPolicy},
    },
};
use serde::Serialize;

use super::{
    failure,
    options::{NatsError, NatsOptions},
    pause,
};
use crate::{logs::repeated, relay::engine::EngineError, runtime::clock};

/// How long a stream or a consumer may take to be made: in a cluster its servers elect a leader first.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long all streams together are tried again while the cluster has no place for one of them. To its leader, a node of
/// which it has not heard since it started is offline.
pub(super) const PLACEMENT_TIME: Duration = Duration::from_secs(30);
/// "No suitable peers for placement", or the like: too few nodes are online, or have room.
const NO_PLACE: ErrorCode = ErrorCode(10005);
/// The most of a server's version that is repeated.
const MAX_VERSION: usize = 32;
/// How long a server remembers the ids of records.
const DUPLICATES: Duration = Duration::from_secs(10 * 60);

/// The names that an engine uses at the servers.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    pub(super) log: String,
    pub(super) commands: String,
    pub(super) answers: String,
    pub(super) leases: String,
    pub(super) workers: String,
    pub(super) tickets: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            log: format!("{prefix}_ev"),
            commands: format!("{prefix}_do"),
            answers: format!("{prefix}_res"),
            leases: format!("KV_{prefix}_lease"),
            workers: format!("KV_{prefix}_worker"),
            tickets: format!("KV_{prefix}_ticket"),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The log of an upstream.
    pub(super) fn record(&self, upstream: &str) -> String {
        format!("{}.ev.{upstream}", self.prefix)
    }

    /// The upstream of such a subject.
    pub(super) fn upstream<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.prefix)?.strip_prefix(".ev.")
    }

    /// Requests to the holder of an upstream.
    pub(super) fn request(&self, upstream: &str) -> String {
        format!("{}.cmd.{upstream}", self.prefix)
    }

    /// A durable command, or with `*` those of an upstream.
    pub(super) fn command(&self, upstream: &str, id: &str) -> String {
        format!("{}.do.{upstream}.{id}", self.prefix)
    }

    /// The answer of a durable command.
    pub(super) fn answer(&self, upstream: &str, id: &str) -> String {
        format!("{}.res.{upstream}.{id}", self.prefix)
    }

    pub(super) fn lease(&self, upstream: &str) -> String {
        format!("$KV.{}_lease.{upstream}", self.prefix)
    }

    /// A worker with these upstreams.
    pub(super) fn worker(&self, worker: &str, list: &str) -> String {
        format!("$KV.{}_worker.{worker}.{list}", self.prefix)
    }

    pub(super) fn ticket(&self, upstream: &str) -> String {
        format!("$KV.{}_ticket.{upstream}", self.prefix)
    }
}

/// A size as JetStream has it.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// All streams, as the options ask for them.
fn configs(names: &Names, options: &NatsOptions) -> [Config; 6] {
    let stream = |name: &str, subject: String| Config {
        name: name.to_owned(),
        subjects: vec![subject],
        num_replicas: options.replicas,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        max_consumers: -1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    // As key-value stores have them, except for reads from any server: these may be stale.
    let bucket = |name: &str, subject: String, max_age: Duration| Config {
        max_messages_per_subject: 1,
        max_age,
        duplicate_window: match max_age {
            Duration::ZERO => Duration::from_secs(120),
            max_age => max_age.min(Duration::from_secs(120)),
        },
        allow_rollup: true,
        deny_delete: true,
        ..stream(name, subject)
    };
    [
        Config {
            max_age: options.max_age,
            max_bytes: bytes(options.max_bytes),
            duplicate_window: options.max_age.min(DUPLICATES),
            ..stream(&names.log, names.record("*"))
        },
        Config {
            retention: RetentionPolicy::WorkQueue,
            max_age: options.command_age,
            max_bytes: bytes(options.command_bytes),
            duplicate_window: options.command_age.min(DUPLICATES),
            ..stream(&names.commands, names.command("*", "*"))
        },
        Config {
            max_messages_per_subject: 1,
            max_age: options.command_age,
            max_bytes: bytes(options.command_bytes),
            // A command that is done must not wait for room.
            discard: DiscardPolicy::Old,
            duplicate_window: options.command_age.min(DUPLICATES),
            ..stream(&names.answers, names.answer("*", "*"))
        },
        bucket(&names.leases, names.lease(">"), options.lease_time),
        bucket(&names.workers, names.worker("*", "*"), options.lease_time),
        bucket(&names.tickets, names.ticket(">"), Duration::ZERO),
    ]
}

/// Whether a server compares the last sequence of a subject with what a writer expects once for all replicas. Before 2.10,
/// two writers in a cluster could both be the first behind the same message.
fn is_current(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return false };
    (major, minor) >= (2, 10)
}

/// The settings that differ, with both values; the name is the same.
fn differences(wanted: &Config, found: &Config) -> String {
    fn compare<T: PartialEq + Debug>(list: &mut Vec<String>, name: &str, wanted: &T, found: &T) {
        if wanted != found {
            list.push(format!("{name} is {found:?}, not {wanted:?}"));
        }
    }
    let mut list = Vec::new();
    compare(&mut list, "subjects", &wanted.subjects, &found.subjects);
    compare(&mut list, "retention", &wanted.retention, &found.retention);
    compare(&mut list, "storage", &wanted.storage, &found.storage);
    compare(&mut list, "replicas", &wanted.num_replicas, &found.num_replicas);
    compare(&mut list, "discard", &wanted.discard, &found.discard);
    compare(&mut list, "max_age", &wanted.max_age, &found.max_age);
    compare(&mut list, "max_bytes", &wanted.max_bytes, &found.max_bytes);
    compare(&mut list, "max_msgs", &wanted.max_messages, &found.max_messages);
    let (wanted_each, found_each) =
        (wanted.max_messages_per_subject, found.max_messages_per_subject);
    compare(&mut list, "max_msgs_per_subject", &wanted_each, &found_each);
    compare(&mut list, "allow_direct", &wanted.allow_direct, &found.allow_direct);
    compare(&mut list, "no_ack", &wanted.no_ack, &found.no_ack);
    compare(&mut list, "sealed", &wanted.sealed, &found.sealed);
    list.join("; ")
}

/// A context for what is made.
pub(super) fn patient(client: &Client) -> Context {
    ContextBuilder::new().timeout(SETUP_TIMEOUT).build(client.clone())
}

/// Makes the streams that are not there, and compares those that are. It waits this long for places in the cluster, and no
/// longer.
pub(super) async fn set_up(
    client: &Client,
    names: &Names,
    options: &NatsOptions,
    placement_time: Duration,
) -> Result<(), NatsError> {
    let context = patient(client);
    let placed_by = clock::now().checked_add(placement_time);
    for config in configs(names, options) {
        let found = state(&context, &config.name).await?;
        // Which is known now that it has answered.
        let version = client.server_info().version;
        if options.replicas > 1 && !is_current(&version) {
            return Err(NatsError::TooOld(version.chars().take(MAX_VERSION).collect()));
        }
        let found = match found {
            Some(found) => found,
            None => match made(&context, &config, placed_by).await? {
                Some(made) => made,
                // Somebody else was faster.
                None => state(&context, &config.name).await?.unwrap_or_else(|| config.clone()),
            },
        };
        let differences = differences(&config, &found);
        if !differences.is_empty() {
            return Err(NatsError::Differs { stream: config.name, differences });
        }
    }
    Ok(())
}

/// The settings of a stream; `None` if it is not there.
async fn state(context: &Context, name: &str) -> Result<Option<Config>, NatsError> {
    match ask(context, format!("STREAM.INFO.{name}"), &()).await? {
        Response::Ok(Info { config, .. }) => Ok(Some(config)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(failure::answered(&error).into()),
    }
}

/// The settings that the server has given a new stream; `None` if there is one of that name by now. It is tried again until
/// there is a place for it.
async fn made(
    context: &Context,
    config: &Config,
    placed_by: Option<Instant>,
) -> Result<Option<Config>, NatsError> {
    loop {
        let subject = format!("STREAM.CREATE.{}", config.name);
        let error = match ask(context, subject, config).await? {
            Response::Ok(Info { config, .. }) => return Ok(Some(config)),
            Response::Err { error } => error,
        };
        match error.error_code() {
            ErrorCode::STREAM_NAME_EXIST => return Ok(None),
            NO_PLACE if placed_by.is_some_and(|placed_by| clock::now() < placed_by) => {
                let (name, text) = (&config.name, failure::text(&error));
                repeated!(log::Level::Warn, *name, "no place in the cluster yet: {text}");
                pause().await;
            }
            NO_PLACE => {
                return Err(NatsError::NoPlace {
                    stream: config.name.clone(),
                    replicas: config.num_replicas,
                    text: failure::text(&error),
                });
            }
            _ => return Err(failure::answered(&error).into()),
        }
    }
}

async fn ask<T: Serialize + ?Sized>(
    context: &Context,
    subject: String,
    body: &T,
) -> Result<Response<Info>, NatsError> {
    context.request(subject, body).await.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => {
            NatsError::Away("no JetStream: it is switched off, or starts".to_owned())
        }
        _ => failure::failed(&error, "the state of a stream").into(),
    })
}

impl From<EngineError> for NatsError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Away(text) => Self::Away(text),
            EngineError::Refused(text) => Self::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_known_by_their_version() {
        for version in ["2.10.0", "2.15.1", "2.11.0-RC.1", "3.0.0"] {
            assert!(is_current(version), "{version}");
        }
        let huge = "99999999999999999999.1";
        for version in ["", "2", "2.9.10", "1.99.0", "x.y.z", huge] {
            assert!(!is_current(version), "{version}");
        }
    }
}
