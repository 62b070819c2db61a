//! What a relay needs of the system that its workers share: leases, a log, requests.
//!
//! The relay decides; an engine only stores, compares and delivers. So all that must be right when workers
//! meet is a comparison in the engine: a lease is created where there is none, renewed by its last revision, and a record
//! is appended behind the record that the writer has seen last.

#[cfg(test)]
mod conformance;
pub(crate) mod in_process;
mod nats;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use thiserror::Error;

pub use self::nats::{NatsError, NatsOptions};

/// What the engine has to say, or why it has not.
pub(crate) type Reply<T> = BoxFuture<'static, Result<T, EngineError>>;

/// An engine could not do what it was asked, or nobody knows whether it did.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// It was not reached, or has not answered in time: what was asked may have been done.
    #[error("the engine is away: {0}")]
    Away(String),
    /// It answered that it does not do this, such as for want of a permission or room.
    #[error("the engine refused: {0}")]
    Refused(String),
}

/// The right to hold an upstream, until it is released or has not been renewed for
/// [`lease_time`](Backend::lease_time).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) upstream: String,
    pub(crate) worker: String,
    /// Each holder's is higher than that of all before it.
    pub(crate) fence: u64,
    /// Of the entry, as it was renewed last.
    pub(crate) revision: u64,
}

/// A record of the log: a batch of events, or the mark of a new holder.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of its own: the engine may be given it twice, after an answer that got lost.
    pub(crate) id: String,
    /// Of the holder that wrote it.
    pub(crate) fence: u64,
    /// Of the last event that has one, among those in this record and all before it.
    pub(crate) offset: Option<String>,
    /// Number of events.
    pub(crate) count: u32,
    /// See the record format.
    pub(crate) body: Bytes,
}

/// Without the body, which is the application's.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, fence, offset, count, body } = self;
        f.debug_struct("Record")
            .field("id", id)
            .field("fence", fence)
            .field("offset", offset)
            .field("count", count)
            .field("size", &body.len())
            .finish()
    }
}

/// A worker that is there, and the upstreams that it can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) worker: String,
    pub(crate) upstreams: Vec<String>,
}

/// The last record of an upstream, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    pub(crate) fence: u64,
    pub(crate) offset: Option<String>,
}

/// A record was not appended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AppendError {
    /// The last record is not the expected one: somebody else writes, or this record is there already.
    #[error("the log has gone on")]
    OutOfDate,
    /// The log has reached its bound, and takes no more until consumers or its age have made room.
    #[error("the log is full")]
    Full,
    /// The engine takes no record of this size, whatever it has room for.
    #[error("the record is too large")]
    TooLarge,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A record that a consumer was given.
pub(crate) struct Delivery {
    pub(crate) upstream: String,
    /// In the log of this upstream, or of all: it grows with each record of an upstream.
    pub(crate) sequence: u64,
    /// How often it was delivered, from 1.
    pub(crate) tries: u32,
    pub(crate) record: Record,
    /// Says that it is done with. If a durable consumer does not, it is delivered again.
    pub(crate) ack: Box<dyn FnOnce() -> Reply<()> + Send>,
}

/// Where a consumer begins, if the engine does not know it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begin {
    /// At the first record that the log still has.
    Start,
    /// Behind the last record.
    End,
    /// At this sequence of the log.
    Sequence(u64),
    /// At the first record that was stored then or later.
    Time(std::time::SystemTime),
}

/// What a consumer wants.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// A durable consumer's name: the engine remembers what it has acknowledged, and shares the records among
    /// all that read with the same name.
    pub(crate) durable: Option<String>,
    /// Only these upstreams; all, if empty.
    pub(crate) upstreams: Vec<String>,
    pub(crate) begin: Begin,
    /// After this time without an ack, a record is delivered again.
    pub(crate) ack_wait: Duration,
    /// So many records may wait for their ack.
    pub(crate) window: usize,
}

/// A command that came for an upstream.
pub(crate) struct Request {
    pub(crate) body: Bytes,
    /// The caller waits no longer.
    pub(crate) deadline: Duration,
    pub(crate) reply: Box<dyn FnOnce(Bytes) -> Reply<()> + Send>,
}

/// A command that the engine keeps until it is done.
pub(crate) struct DurableRequest {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    /// How often it was delivered, from 1: a former holder may have sent it.
    pub(crate) tries: u32,
    /// Stores the answer under the command's id, and then forgets the command. If two holders say it, the
    /// first answer counts.
    pub(crate) done: Box<dyn FnOnce(Bytes) -> Reply<()> + Send>,
}

/// A command was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    /// Nobody holds the upstream: nothing was sent.
    #[error("nobody holds the upstream")]
    Nobody,
    /// Somebody took it, and has not answered in time.
    #[error("no answer in time")]
    NoAnswer,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The shared system. Names of upstreams and workers are checked before: ASCII letters, digits, `-` and `_`,
/// at most 128.
pub(crate) trait Backend: fmt::Debug + Send + Sync + 'static {
    /// After this time without a renewal a lease or a worker's presence is forgotten.
    fn lease_time(&self) -> Duration;

    /// A record's body may have this many bytes.
    fn max_record(&self) -> usize;

    /// The lease of an upstream that nobody holds; `None` if somebody does.
    fn acquire(&self, upstream: &str, worker: &str) -> Reply<Option<Lease>>;

    /// The lease with its new revision; `None` if it is somebody else's by now, or nobody's.
    fn renew(&self, lease: &Lease) -> Reply<Option<Lease>>;

    /// Gives it back, if it is still this one.
    fn release(&self, lease: &Lease) -> Reply<()>;

    /// Who holds an upstream.
    fn holder(&self, upstream: &str) -> Reply<Option<String>>;

    /// This worker is there; to be repeated within the [`lease_time`](Self::lease_time).
    fn announce(&self, presence: &Presence) -> Reply<()>;

    /// This worker goes.
    fn withdraw(&self, worker: &str) -> Reply<()>;

    /// The workers that are there, in any order. One that was started again with other upstreams may be there with both.
    fn workers(&self) -> Reply<Vec<Presence>>;

    /// The last record of an upstream, from whoever decides what the last one is, not from a copy.
    fn head(&self, upstream: &str) -> Reply<Option<Head>>;

    /// Appends a record right behind the one with the sequence `behind` (0: the log of this upstream is empty), and
    /// says its sequence. To be "stored" it must be on as many replicas as the engine is configured for.
    fn append(
        &self,
        upstream: &str,
        behind: u64,
        record: Record,
    ) -> BoxFuture<'static, Result<u64, AppendError>>;

    /// Keeps the private id of the upstream's session, for the next holder. A former holder's does not
    /// replace that of a later one.
    fn keep_ticket(&self, upstream: &str, fence: u64, pid: &str) -> Reply<()>;

    fn ticket(&self, upstream: &str) -> Reply<Option<String>>;

    /// Records for a consumer, in the order of each upstream. Ends never; an error is followed by a new try.
    fn read(&self, subscription: Subscription)
    -> BoxStream<'static, Result<Delivery, EngineError>>;

    /// The commands for an upstream. Only its holder listens, and no longer than `until` is ready. Then the stream ends, behind what has
    /// come by then.
    fn serve(
        &self,
        lease: &Lease,
        until: BoxFuture<'static, ()>,
    ) -> BoxStream<'static, Result<Request, EngineError>>;

    fn request(
        &self,
        upstream: &str,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>>;

    /// The durable commands for an upstream, at most `window` of them not done at once.
    fn take_durable(
        &self,
        lease: &Lease,
        window: usize,
    ) -> BoxStream<'static, Result<DurableRequest, EngineError>>;

    /// Keeps a command until it is done. One with an id that is known for this upstream is not kept twice.
    fn enqueue(&self, upstream: &str, id: &str, body: Bytes) -> Reply<()>;

    /// The answer of a durable command; `None` if there is none in this time.
    fn result(&self, upstream: &str, id: &str, wait: Duration) -> Reply<Option<Bytes>>;
}

/// The system that the workers of a relay share.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<dyn Backend>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
