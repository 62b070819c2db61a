//! The log: one subject for each upstream, all in one stream.

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{FENCE, Shared, get, number, set};
use crate::relay::engine::{AppendError, EngineError, Head, Record};

/// The headers of a record, beside its [fence](FENCE).
const ID: &str = "Nats-Msg-Id";
const OFFSET: &str = "Sio-Offset";
const COUNT: &str = "Sio-Count";

fn headers(record: &Record) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, ID, &record.id);
    headers.insert(FENCE, record.fence.to_string());
    headers.insert(COUNT, record.count.to_string());
    if let Some(offset) = &record.offset {
        set(&mut headers, OFFSET, offset);
    }
    headers
}

fn id(headers: &HeaderMap) -> String {
    get(headers, ID).unwrap_or_default()
}

/// The record of a message. What has no headers was written by somebody else: by no holder.
pub(super) fn record(headers: Option<&HeaderMap>, body: Bytes) -> Record {
    let none = HeaderMap::new();
    let headers = headers.unwrap_or(&none);
    Record {
        id: id(headers),
        fence: number(headers, FENCE).unwrap_or(0),
        offset: get(headers, OFFSET),
        count: number(headers, COUNT).unwrap_or(0),
        body,
    }
}

pub(super) async fn head(shared: &Shared, upstream: &str) -> Result<Option<Head>, EngineError> {
    let subject = shared.names.record(upstream);
    let last = shared.last(&shared.names.log, &subject).await?;
    Ok(last.map(|last| Head {
        sequence: last.sequence,
        id: id(&last.headers),
        fence: number(&last.headers, FENCE).unwrap_or(0),
        offset: get(&last.headers, OFFSET),
    }))
}

pub(super) async fn append(
    shared: &Shared,
    upstream: &str,
    behind: u64,
    record: Record,
) -> Result<u64, AppendError> {
    let subject = shared.names.record(upstream);
    let headers = headers(&record);
    let ack = shared.put(subject, headers, record.body, Some(behind)).await?;
    if !ack.duplicate {
        return Ok(ack.sequence);
    }
    // The server has compared the ids, and not the sequence.
    let last = head(shared, upstream).await?;
    if last.is_none_or(|last| last.sequence == behind && last.id != record.id) {
        let text = "another record has had this id before".to_owned();
        return Err(EngineError::Refused(text).into());
    }
    Err(AppendError::OutOfDate)
}
