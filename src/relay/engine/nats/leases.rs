//! Leases, the presence of workers, and tickets of sessions: entries of key-value buckets.
//!
//! The entry of a lease has the worker as its value. The fence of a holder is the sequence at which its entry was
//! made; when it is renewed, a header repeats it. The key of a worker has a hash of the list of its upstreams, which is the value:
//! so who reads the keys has to read only lists that it does not know.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{Mutex, PoisonError},
};

use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{FENCE, Shared, TRIES, ask, get, number, refused, set};
use crate::{
    relay::engine::{AppendError, EngineError, Lease, Presence},
    runtime::clock,
};

/// Which call wrote an entry: each has text of its own.
const CALL: &str = "Sio-Call";
/// What key-value buckets mark deleted entries with.
const OPERATION: &str = "KV-Operation";

/// The last entry of a lease.
struct Entry {
    sequence: u64,
    worker: String,
    fence: u64,
    call: Option<String>,
    is_deleted: bool,
}

impl Entry {
    fn of(message: &StreamMessage) -> Self {
        let headers = &message.headers;
        Self {
            sequence: message.sequence,
            worker: String::from_utf8_lossy(&message.payload).into_owned(),
            fence: number(headers, FENCE).unwrap_or(message.sequence),
            call: get(headers, CALL),
            is_deleted: headers.get(OPERATION).is_some(),
        }
    }

    fn is_of(&self, lease: &Lease) -> bool {
        !self.is_deleted && self.fence == lease.fence && self.worker == lease.worker
    }
}

async fn entry(shared: &Shared, upstream: &str) -> Result<Option<Entry>, EngineError> {
    let subject = shared.names.lease(upstream);
    let last = shared.last(&shared.names.leases, &subject).await?;
    Ok(last.as_ref().map(Entry::of))
}

/// After an unknown outcome: the entry, if this call has written it.
async fn written(
    shared: &Shared,
    upstream: &str,
    call: &str,
    error: AppendError,
) -> Result<u64, EngineError> {
    match entry(shared, upstream).await {
        Ok(Some(entry)) if entry.call.as_deref() == Some(call) => Ok(entry.sequence),
        _ => Err(refused(error)),
    }
}

pub(super) async fn acquire(
    shared: &Shared,
    upstream: String,
    worker: String,
) -> Result<Option<Lease>, EngineError> {
    let subject = shared.names.lease(&upstream);
    let call = shared.unique();
    let mut headers = HeaderMap::new();
    set(&mut headers, CALL, &call);
    let mut behind = 0;
    for _ in 0..TRIES {
        let body = Bytes::from(worker.clone());
        let sequence = match shared.put(subject.clone(), headers.clone(), body, Some(behind)).await
        {
            Ok(ack) => ack.sequence,
            Err(AppendError::OutOfDate) => match entry(shared, &upstream).await? {
                // It has ended meanwhile.
                None => {
                    behind = 0;
                    continue;
                }
                Some(entry) if entry.is_deleted => {
                    behind = entry.sequence;
                    continue;
                }
                Some(entry) if entry.call.as_deref() == Some(&*call) => entry.sequence,
                Some(_) => return Ok(None),
            },
            Err(error) => written(shared, &upstream, &call, error).await?,
        };
        return Ok(Some(Lease { upstream, worker, fence: sequence, revision: sequence }));
    }
    // Others took it and gave it back all the time.
    Ok(None)
}

pub(super) async fn renew(shared: &Shared, lease: Lease) -> Result<Option<Lease>, EngineError> {
    let subject = shared.names.lease(&lease.upstream);
    let call = shared.unique();
    let mut headers = HeaderMap::new();
    set(&mut headers, CALL, &call);
    headers.insert(FENCE, lease.fence.to_string());
    let mut behind = lease.revision;
    for _ in 0..TRIES {
        let body = Bytes::from(lease.worker.clone());
        let revision = match shared.put(subject.clone(), headers.clone(), body, Some(behind)).await
        {
            Ok(ack) => ack.sequence,
            Err(AppendError::OutOfDate) => match entry(shared, &lease.upstream).await? {
                Some(entry) if entry.call.as_deref() == Some(&*call) => entry.sequence,
                // An earlier renewal was stored, though its answer did not come.
                Some(entry) if entry.is_of(&lease) => {
                    behind = entry.sequence;
                    continue;
                }
                _ => return Ok(None),
            },
            Err(error) => written(shared, &lease.upstream, &call, error).await?,
        };
        return Ok(Some(Lease { revision, ..lease }));
    }
    Err(EngineError::Refused("the lease is renewed by others all the time".to_owned()))
}

pub(super) async fn release(shared: &Shared, lease: Lease) -> Result<(), EngineError> {
    let subject = shared.names.lease(&lease.upstream);
    let mut headers = HeaderMap::new();
    headers.insert(OPERATION, "DEL");
    headers.insert(FENCE, lease.fence.to_string());
    let mut behind = lease.revision;
    for _ in 0..TRIES {
        match shared.put(subject.clone(), headers.clone(), Bytes::new(), Some(behind)).await {
            Ok(_) => return Ok(()),
            Err(AppendError::OutOfDate) => match entry(shared, &lease.upstream).await? {
                Some(entry) if entry.is_of(&lease) => behind = entry.sequence,
                _ => return Ok(()),
            },
            Err(error) => return Err(refused(error)),
        }
    }
    Err(EngineError::Refused("the lease is renewed by others all the time".to_owned()))
}

pub(super) async fn holder(shared: &Shared, upstream: &str) -> Result<Option<String>, EngineError> {
    let entry = entry(shared, upstream).await?;
    Ok(entry.filter(|entry| !entry.is_deleted).map(|entry| entry.worker))
}

/// Lists of upstreams by the last part of the keys that they were under.
#[derive(Default)]
pub(super) struct Lists(Mutex<HashMap<String, Vec<String>>>);

impl Lists {
    /// Lists that are remembered. Beyond that, all are forgotten.
    const MAX: usize = 1_024;

    fn get(&self, key: &str) -> Option<Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn add(&self, key: String, list: Vec<String>) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= Self::MAX {
            lists.clear();
        }
        lists.insert(key, list);
    }
}

pub(super) async fn announce(shared: &Shared, presence: &Presence) -> Result<(), EngineError> {
    let Presence { worker, upstreams } = presence;
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(upstreams);
    let subject = shared.names.worker(worker, &format!("{hash:016x}"));
    let list = Bytes::from(upstreams.join("\n"));
    let stored = shared.put(subject, HeaderMap::new(), list, None).await;
    stored.map(drop).map_err(refused)
}

pub(super) async fn withdraw(shared: &Shared, worker: &str) -> Result<(), EngineError> {
    // Without a mark, which would be one more entry to read until it has ended.
    let request = format!("STREAM.PURGE.{}", shared.names.workers);
    let filter = json!({ "filter": shared.names.worker(worker, "*") });
    let _: serde_json::Value = asked(shared, request, filter).await?;
    Ok(())
}

pub(super) async fn workers(shared: &Shared) -> Result<Vec<Presence>, EngineError> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: HashMap<String, u64>,
    }
    let request = format!("STREAM.INFO.{}", shared.names.workers);
    let info: Info = asked(shared, request, json!({ "subjects_filter": ">" })).await?;
    let mut workers = Vec::new();
    for subject in info.state.subjects.into_keys() {
        let mut parts = subject.rsplit('.');
        let (Some(key), Some(worker)) = (parts.next(), parts.next()) else { continue };
        let known = shared.lists.get(key);
        let upstreams = match known {
            Some(upstreams) => upstreams,
            None => match shared.last(&shared.names.workers, &subject).await? {
                Some(entry) => {
                    let text = String::from_utf8_lossy(&entry.payload);
                    let upstreams: Vec<_> = text.lines().map(str::to_owned).collect();
                    shared.lists.add(key.to_owned(), upstreams.clone());
                    upstreams
                }
                // It has gone meanwhile.
                None => continue,
            },
        };
        workers.push(Presence { worker: worker.to_owned(), upstreams });
    }
    Ok(workers)
}

/// Asks about the workers.
async fn asked<T: DeserializeOwned>(
    shared: &Shared,
    request: String,
    body: serde_json::Value,
) -> Result<T, EngineError> {
    let asked = ask(&shared.context, request, &body, "the workers");
    let none = || Err(EngineError::Away("the workers: no answer".to_owned()));
    clock::within(shared.options.ack_timeout, asked).await.unwrap_or_else(none)
}

pub(super) async fn keep_ticket(
    shared: &Shared,
    upstream: &str,
    fence: u64,
    pid: String,
) -> Result<(), EngineError> {
    let subject = shared.names.ticket(upstream);
    let mut headers = HeaderMap::new();
    headers.insert(FENCE, fence.to_string());
    let pid = Bytes::from(pid);
    for _ in 0..TRIES {
        let last = shared.last(&shared.names.tickets, &subject).await?;
        let behind = match &last {
            Some(last) if number::<u64>(&last.headers, FENCE) > Some(fence) => return Ok(()),
            last => last.as_ref().map_or(0, |last| last.sequence),
        };
        match shared.put(subject.clone(), headers.clone(), pid.clone(), Some(behind)).await {
            Ok(_) => return Ok(()),
            Err(AppendError::OutOfDate) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Err(EngineError::Refused("the ticket is replaced by others all the time".to_owned()))
}

pub(super) async fn ticket(shared: &Shared, upstream: &str) -> Result<Option<String>, EngineError> {
    let subject = shared.names.ticket(upstream);
    let last = shared.last(&shared.names.tickets, &subject).await?;
    let entry = last.filter(|last| last.headers.get(OPERATION).is_none());
    Ok(entry.and_then(|entry| String::from_utf8(entry.payload.to_vec()).ok()))
}
