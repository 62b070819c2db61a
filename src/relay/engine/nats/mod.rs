//! The engine on NATS JetStream.
//!
//! The log and all other state are streams ([`streams`]). Whatever must be right when workers meet is a publication that the
//! leader of a stream takes only behind the last message of its subject ([`Shared::put`]); its outcome, if the answer got
//! lost, is that message ([`Shared::last`]). So a lease ([`leases`]) is an entry that is made where none is, and a record of the
//! [`log`] is one behind the last that its writer knows.

mod commands;
mod failure;
mod leases;
mod log;
mod options;
mod reader;
mod streams;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap, HeaderName, HeaderValue,
    jetstream::{
        Context, ContextBuilder,
        message::{PublishMessage, StreamMessage},
        publish::PublishAck,
        response::Response,
        stream::LastRawMessageErrorKind,
    },
};
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream, StreamExt},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use self::streams::Names;
use super::{
    AppendError, Backend, Delivery, DurableRequest, Engine, EngineError, Head, Lease, Presence,
    Record, Reply, Request, RequestError, Subscription,
};
use crate::runtime::clock;

pub use self::options::{NatsError, NatsOptions};

/// What the headers of a record may take of a message.
const HEADERS: usize = 2048;
/// How long to wait before another try of a stream of records or commands, or of making one.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the entry of a lease or a ticket is read again if others write it meanwhile.
const TRIES: u32 = 4;

/// The header with the fence of the holder that wrote an entry or a record.
const FENCE: &str = "Sio-Fence";

/// What must not be in a header as it is: the ends of lines, spaces that would be trimmed, and the sign of this encoding.
const NOT_IN_HEADERS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl Engine {
    /// An engine on NATS JetStream, for workers, readers and callers on many machines. It makes the streams that are
    /// missing; see [`NatsOptions`] for their names and for the permissions that they need.
    ///
    /// Demands nats-server 2.10 or later, with JetStream. With 2.9 only one replica is possible: its clusters let two writers
    /// that are at it at the same moment both be the first. The client may be shared with other code, and should reconnect for
    /// ever, as it does by default.
    ///
    /// A cluster that has too few nodes online for the [`replicas`](NatsOptions::replicas), such as while one of them starts, is
    /// asked again for 30 seconds.
    ///
    /// # Errors
    ///
    /// [`NatsError`]: an option is out of range, a stream is there with other settings, the cluster has no place for one, or NATS is
    /// away or refuses.
    pub async fn nats(client: &Client, options: NatsOptions) -> Result<Self, NatsError> {
        options.check()?;
        let names = Names::new(&options.prefix);
        streams::set_up(client, &names, &options, streams::PLACEMENT_TIME).await?;
        let context = ContextBuilder::new()
            .timeout(options.ack_timeout)
            .ack_timeout(options.ack_timeout)
            .build(client.clone());
        let client = client.clone();
        let patient = streams::patient(&client);
        let lists = leases::Lists::default();
        let shared = Shared { client, context, patient, names, options, lists };
        Ok(Self(Arc::new(Nats(Arc::new(shared)))))
    }
}

/// The engine.
struct Nats(Arc<Shared>);

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.0.names.prefix();
        f.debug_struct("Nats").field("prefix", &prefix).finish_non_exhaustive()
    }
}

/// What all futures and streams of an engine share.
struct Shared {
    client: Client,
    context: Context,
    /// For consumers, which a cluster needs an election for.
    patient: Context,
    names: Names,
    options: NatsOptions,
    /// The upstreams of workers, as they were read.
    lists: leases::Lists,
}

impl Shared {
    /// Stores a message; with `behind` only if the last one of its subject has this sequence (0: there is none).
    async fn put(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
        behind: Option<u64>,
    ) -> Result<PublishAck, AppendError> {
        let mut message = PublishMessage::build().headers(headers).payload(body);
        if let Some(sequence) = behind {
            message = message.expected_last_subject_sequence(sequence);
        }
        let stored = async {
            let sent = self.context.send_publish(subject, message).await?;
            sent.await
        };
        // It also waits for room in the queue of the connection.
        match clock::within(self.options.ack_timeout, stored).await {
            Some(stored) => stored.map_err(|error| failure::unpublished(&error)),
            None => Err(EngineError::Away("no acknowledgement in time".to_owned()).into()),
        }
    }

    /// The last message of a subject, from the stream's leader.
    async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, EngineError> {
        let read = async {
            let stream = self.context.get_stream_no_info(stream).await.map_err(|_| None)?;
            let message = stream.get_last_raw_message_by_subject(subject).await;
            message.map(Some).or_else(|error| match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(answer) => Err(Some(failure::answered(&answer))),
                LastRawMessageErrorKind::InvalidSubject | LastRawMessageErrorKind::Other => {
                    Err(Some(failure::failed(&error, "the last message")))
                }
            })
        };
        let read = clock::within(self.options.ack_timeout, read).await.unwrap_or(Err(None));
        read.map_err(|error| {
            error.unwrap_or_else(|| EngineError::Away("the last message: no answer".to_owned()))
        })
    }

    /// Text that no other call of any client has.
    fn unique(&self) -> String {
        self.client.new_inbox()
    }
}

/// Asks JetStream for something.
async fn ask<T: DeserializeOwned>(
    context: &Context,
    request: String,
    body: &impl Serialize,
    purpose: &str,
) -> Result<T, EngineError> {
    match context.request(request, body).await {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(failure::answered(&error)),
        Err(error) => Err(failure::failed(&error, purpose)),
    }
}

/// An answer that refuses something, where being behind, full or too large has no meaning of its own.
fn refused(error: AppendError) -> EngineError {
    match error {
        AppendError::Engine(error) => error,
        error => EngineError::Refused(error.to_string()),
    }
}

/// Sets a header. What it cannot have is percent-encoded.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = utf8_percent_encode(value, NOT_IN_HEADERS).to_string();
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        headers.insert(name, value);
    }
}

/// What a header says.
fn get(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_str();
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The number that a header has.
fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.as_str().parse().ok()
}

/// Waits before another try.
async fn pause() {
    // Nothing else ends it.
    clock::within(PAUSE, future::pending::<()>()).await;
}

/// Items of a source that is made anew when it fails, with a pause if it fails right away.
fn again<S, T, F>(source: S, next: F) -> BoxStream<'static, Result<T, EngineError>>
where
    S: Send + 'static,
    T: Send + 'static,
    F: Fn(&mut S) -> BoxFuture<'_, Result<T, EngineError>> + Send + Sync + 'static,
{
    struct State<S, F> {
        source: S,
        next: F,
        failed: bool,
    }
    let state = State { source, next, failed: false };
    stream::unfold(state, async |mut state| {
        if state.failed {
            pause().await;
        }
        let item = (state.next)(&mut state.source).await;
        state.failed = item.is_err();
        Some((item, state))
    })
    .boxed()
}

impl Backend for Nats {
    fn lease_time(&self) -> Duration {
        self.0.options.lease_time
    }

    fn max_record(&self) -> usize {
        self.0.client.max_payload().saturating_sub(HEADERS)
    }

    fn acquire(&self, upstream: &str, worker: &str) -> Reply<Option<Lease>> {
        let (shared, upstream, worker) =
            (Arc::clone(&self.0), upstream.to_owned(), worker.to_owned());
        async move { leases::acquire(&shared, upstream, worker).await }.boxed()
    }

    fn renew(&self, lease: &Lease) -> Reply<Option<Lease>> {
        let (shared, lease) = (Arc::clone(&self.0), lease.clone());
        async move { leases::renew(&shared, lease).await }.boxed()
    }

    fn release(&self, lease: &Lease) -> Reply<()> {
        let (shared, lease) = (Arc::clone(&self.0), lease.clone());
        async move { leases::release(&shared, lease).await }.boxed()
    }

    fn holder(&self, upstream: &str) -> Reply<Option<String>> {
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        async move { leases::holder(&shared, &upstream).await }.boxed()
    }

    fn announce(&self, presence: &Presence) -> Reply<()> {
        let (shared, presence) = (Arc::clone(&self.0), presence.clone());
        async move { leases::announce(&shared, &presence).await }.boxed()
    }

    fn withdraw(&self, worker: &str) -> Reply<()> {
        let (shared, worker) = (Arc::clone(&self.0), worker.to_owned());
        async move { leases::withdraw(&shared, &worker).await }.boxed()
    }

    fn workers(&self) -> Reply<Vec<Presence>> {
        let shared = Arc::clone(&self.0);
        async move { leases::workers(&shared).await }.boxed()
    }

    fn head(&self, upstream: &str) -> Reply<Option<Head>> {
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        async move { log::head(&shared, &upstream).await }.boxed()
    }

    fn append(
        &self,
        upstream: &str,
        behind: u64,
        record: Record,
    ) -> BoxFuture<'static, Result<u64, AppendError>> {
        if record.body.len() > self.max_record() {
            return future::ready(Err(AppendError::TooLarge)).boxed();
        }
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        async move { log::append(&shared, &upstream, behind, record).await }.boxed()
    }

    fn keep_ticket(&self, upstream: &str, fence: u64, pid: &str) -> Reply<()> {
        let (shared, upstream, pid) = (Arc::clone(&self.0), upstream.to_owned(), pid.to_owned());
        async move { leases::keep_ticket(&shared, &upstream, fence, pid).await }.boxed()
    }

    fn ticket(&self, upstream: &str) -> Reply<Option<String>> {
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        async move { leases::ticket(&shared, &upstream).await }.boxed()
    }

    fn read(
        &self,
        subscription: Subscription,
    ) -> BoxStream<'static, Result<Delivery, EngineError>> {
        reader::read(Arc::clone(&self.0), subscription)
    }

    fn serve(
        &self,
        lease: &Lease,
        until: BoxFuture<'static, ()>,
    ) -> BoxStream<'static, Result<Request, EngineError>> {
        commands::serve(Arc::clone(&self.0), &lease.upstream, until)
    }

    fn request(
        &self,
        upstream: &str,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        async move { commands::request(&shared, &upstream, body, deadline).await }.boxed()
    }

    fn take_durable(
        &self,
        lease: &Lease,
        window: usize,
    ) -> BoxStream<'static, Result<DurableRequest, EngineError>> {
        commands::take_durable(Arc::clone(&self.0), lease.upstream.clone(), window)
    }

    fn enqueue(&self, upstream: &str, id: &str, body: Bytes) -> Reply<()> {
        let (shared, upstream, id) = (Arc::clone(&self.0), upstream.to_owned(), id.to_owned());
        async move { commands::enqueue(&shared, &upstream, &id, body).await }.boxed()
    }

    fn result(&self, upstream: &str, id: &str, wait: Duration) -> Reply<Option<Bytes>> {
        let (shared, upstream, id) = (Arc::clone(&self.0), upstream.to_owned(), id.to_owned());
        async move { commands::result(&shared, &upstream, &id, wait).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
