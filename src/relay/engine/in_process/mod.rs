//! An engine in memory, for one process: for tests, and for a single machine.
//!
//! All of it is behind one lock, which is held for no longer than a comparison. Nobody is woken, and nothing of the
//! application is dropped, while it is held.

mod commands;
mod log;

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};

use crate::{
    guard,
    proto::deadline::deadline_after,
    relay::engine::{
        AppendError, Backend, Delivery, DurableRequest, Engine, EngineError, Head, Lease, Presence,
        Record, Reply, Request, RequestError, Subscription,
        in_process::{
            commands::{Durable, Requests, Taken, Waiting},
            log::{Log, Next},
        },
    },
    runtime::{clock, task},
};

/// A record's body may have this many bytes, or fewer where the log takes fewer.
const MAX_RECORD: usize = 1 << 20;

/// The bounds of an engine [in one process](Engine::in_process_with).
///
/// ```
/// use std::time::Duration;
/// use actix_socketio::relay::{Engine, InProcessOptions};
///
/// let small = InProcessOptions::default().max_bytes(1 << 20).max_age(Duration::from_secs(60));
/// let engine = Engine::in_process_with(small);
/// # drop(engine);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InProcessOptions {
    lease_time: Duration,
    max_bytes: usize,
    max_age: Duration,
}

impl Default for InProcessOptions {
    fn default() -> Self {
        Self {
            lease_time: Duration::from_secs(15),
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(3_600),
        }
    }
}

impl InProcessOptions {
    /// A worker that does not renew its lease of an upstream for this time loses it. Default: 15 seconds. A
    /// worker whose arbiter is blocked for longer loses all its leases.
    #[must_use]
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.lease_time = time;
        self
    }

    /// The log of all upstreams together has at most this many bytes, its own overhead of 256 bytes for each record
    /// included. Default: 64 MiB.
    ///
    /// To make room, the oldest records go, unless a consumer has not acknowledged them yet. Then the log is full, and
    /// takes no more: a slow consumer holds the workers back.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Records that are older are forgotten, even if a consumer has not read them; and so are the answers of durable
    /// commands. Default: one hour.
    ///
    /// So a durable consumer that never comes back fills the log for no longer than this.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }
}

impl Engine {
    /// An engine in the memory of this process, with the default [bounds](InProcessOptions): for tests, and where one
    /// machine is enough.
    ///
    /// All clones of it are the same engine. It may be used from any thread, and ends with its last clone; then its log
    /// and its durable commands are gone. At most 4 096 commands wait for the holder of an upstream. Of durable commands,
    /// 65 536 and 64 MiB are kept until they are done, and then as many answers. There are at most 1 024 durable consumers.
    pub fn in_process() -> Self {
        Self::in_process_with(InProcessOptions::default())
    }

    /// The same with other bounds.
    pub fn in_process_with(options: InProcessOptions) -> Self {
        let state = State {
            log: Log::new(options.max_bytes, options.max_age),
            requests: Requests::default(),
            durable: Durable::default(),
            leases: HashMap::new(),
            workers: HashMap::new(),
            tickets: HashMap::new(),
            last_revision: 0,
            last_key: 0,
            sleepers: HashMap::new(),
        };
        let shared = Shared { options, state: Mutex::new(state) };
        Self(Arc::new(InProcess(Arc::new(shared))))
    }
}

struct Shared {
    options: InProcessOptions,
    state: Mutex<State>,
}

struct Held {
    worker: String,
    fence: u64,
    revision: u64,
    until: Instant,
}

struct State {
    log: Log,
    requests: Requests,
    durable: Durable,
    leases: HashMap<String, Held>,
    /// Until when they are there, and with which upstreams.
    workers: HashMap<String, (Instant, Vec<String>)>,
    tickets: HashMap<String, (u64, String)>,
    last_revision: u64,
    last_key: u64,
    /// The tasks of the streams that have nothing to do, by the key of the stream.
    sleepers: HashMap<What, HashMap<u64, Waker>>,
}

/// What a stream waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Record,
    Request,
    Command,
}

impl State {
    fn revision(&mut self) -> u64 {
        self.last_revision = self.last_revision.saturating_add(1);
        self.last_revision
    }

    /// A stream has ended.
    fn forget(&mut self, what: What, key: u64) -> Option<Waker> {
        self.sleepers.get_mut(&what)?.remove(&key)
    }

    fn key(&mut self) -> u64 {
        self.last_key = self.last_key.saturating_add(1);
        self.last_key
    }

    fn held(&self, upstream: &str, now: Instant) -> Option<&Held> {
        self.leases.get(upstream).filter(|held| held.until > now)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all streams that wait for this. The lock must be free.
    fn wake(&self, what: What) {
        let sleepers = self.state().sleepers.remove(&what).unwrap_or_default();
        for waker in sleepers.into_values() {
            // It may be one of the application.
            let woken = guard::run(|| waker.wake());
            drop(woken);
        }
    }

    fn sleep(&self, what: What, key: u64, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let old = self.state().sleepers.entry(what).or_default().insert(key, waker);
        guard::dispose(old);
    }
}

/// An answer that is there when it is asked for, which is at the first poll.
fn reply<T: Send + 'static>(
    shared: &Arc<Shared>,
    answer: impl FnOnce(&Shared) -> T + Send + 'static,
) -> BoxFuture<'static, T> {
    let shared = Arc::clone(shared);
    async move { answer(&shared) }.boxed()
}

struct InProcess(Arc<Shared>);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InProcess").field(&self.0.options).finish()
    }
}

impl Backend for InProcess {
    fn lease_time(&self) -> Duration {
        self.0.options.lease_time
    }

    fn max_record(&self) -> usize {
        MAX_RECORD.min(self.0.options.max_bytes)
    }

    fn acquire(&self, upstream: &str, worker: &str) -> Reply<Option<Lease>> {
        let (upstream, worker) = (upstream.to_owned(), worker.to_owned());
        reply(&self.0, move |shared| {
            let now = clock::now();
            let mut state = shared.state();
            if state.held(&upstream, now).is_some() {
                return Ok(None);
            }
            state.leases.retain(|_, held| held.until > now);
            let revision = state.revision();
            let until = deadline_after(now, shared.options.lease_time);
            let held = Held { worker: worker.clone(), fence: revision, revision, until };
            state.leases.insert(upstream.clone(), held);
            Ok(Some(Lease { upstream, worker, fence: revision, revision }))
        })
    }

    fn renew(&self, lease: &Lease) -> Reply<Option<Lease>> {
        let mut lease = lease.clone();
        reply(&self.0, move |shared| {
            let now = clock::now();
            let mut state = shared.state();
            if state.held(&lease.upstream, now).is_none_or(|held| held.revision != lease.revision) {
                return Ok(None);
            }
            lease.revision = state.revision();
            if let Some(held) = state.leases.get_mut(&lease.upstream) {
                held.revision = lease.revision;
                held.until = deadline_after(now, shared.options.lease_time);
            }
            Ok(Some(lease))
        })
    }

    fn release(&self, lease: &Lease) -> Reply<()> {
        let lease = lease.clone();
        reply(&self.0, move |shared| {
            let mut state = shared.state();
            if state.leases.get(&lease.upstream).is_some_and(|held| held.fence == lease.fence) {
                state.leases.remove(&lease.upstream);
            }
            Ok(())
        })
    }

    fn holder(&self, upstream: &str) -> Reply<Option<String>> {
        let upstream = upstream.to_owned();
        reply(&self.0, move |shared| {
            let state = shared.state();
            Ok(state.held(&upstream, clock::now()).map(|held| held.worker.clone()))
        })
    }

    fn announce(&self, presence: &Presence) -> Reply<()> {
        let Presence { worker, upstreams } = presence.clone();
        reply(&self.0, move |shared| {
            let until = deadline_after(clock::now(), shared.options.lease_time);
            shared.state().workers.insert(worker, (until, upstreams));
            Ok(())
        })
    }

    fn withdraw(&self, worker: &str) -> Reply<()> {
        let worker = worker.to_owned();
        reply(&self.0, move |shared| {
            shared.state().workers.remove(&worker);
            Ok(())
        })
    }

    fn workers(&self) -> Reply<Vec<Presence>> {
        reply(&self.0, move |shared| {
            let now = clock::now();
            let mut state = shared.state();
            state.workers.retain(|_, (until, _)| *until > now);
            let presence = |(worker, (_, upstreams)): (&String, &(Instant, Vec<String>))| {
                Presence { worker: worker.clone(), upstreams: upstreams.clone() }
            };
            Ok(state.workers.iter().map(presence).collect())
        })
    }

    fn head(&self, upstream: &str) -> Reply<Option<Head>> {
        let upstream = upstream.to_owned();
        reply(&self.0, move |shared| Ok(shared.state().log.head(&upstream).cloned()))
    }

    fn append(
        &self,
        upstream: &str,
        behind: u64,
        record: Record,
    ) -> BoxFuture<'static, Result<u64, AppendError>> {
        let upstream = upstream.to_owned();
        let max_record = self.max_record();
        reply(&self.0, move |shared| {
            if record.body.len() > max_record {
                return Err(AppendError::TooLarge);
            }
            let times = (clock::now(), clock::wall());
            let sequence = shared.state().log.append(&upstream, behind, record, times)?;
            shared.wake(What::Record);
            Ok(sequence)
        })
    }

    fn keep_ticket(&self, upstream: &str, fence: u64, pid: &str) -> Reply<()> {
        let (upstream, pid) = (upstream.to_owned(), pid.to_owned());
        reply(&self.0, move |shared| {
            let mut state = shared.state();
            let known = state.tickets.get(&upstream);
            if known.is_none_or(|(known, _)| *known <= fence) {
                state.tickets.insert(upstream, (fence, pid));
            }
            Ok(())
        })
    }

    fn ticket(&self, upstream: &str) -> Reply<Option<String>> {
        let upstream = upstream.to_owned();
        reply(&self.0, move |shared| {
            Ok(shared.state().tickets.get(&upstream).map(|(_, pid)| pid.clone()))
        })
    }

    fn read(
        &self,
        subscription: Subscription,
    ) -> BoxStream<'static, Result<Delivery, EngineError>> {
        let shared = Arc::clone(&self.0);
        let (key, consumer) = {
            let mut state = shared.state();
            (state.key(), state.log.open(&subscription))
        };
        let consumer = match consumer {
            Ok(consumer) => consumer,
            Err(error) => {
                let told = futures::stream::iter([Err(error)]);
                return told.chain(futures::stream::pending()).boxed();
            }
        };
        Reading { shared, key, consumer, timer: clock::Timer::default() }.boxed()
    }

    fn serve(
        &self,
        lease: &Lease,
        until: BoxFuture<'static, ()>,
    ) -> BoxStream<'static, Result<Request, EngineError>> {
        let shared = Arc::clone(&self.0);
        let key = {
            let mut state = shared.state();
            let key = state.key();
            state.requests.open(&lease.upstream, key, lease.fence);
            key
        };
        // Those that were not taken hear that nobody listens, when it is dropped.
        Serving { shared, key, upstream: lease.upstream.clone() }.take_until(until).boxed()
    }

    fn request(
        &self,
        upstream: &str,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let (shared, upstream) = (Arc::clone(&self.0), upstream.to_owned());
        let request = async move {
            let (reply, answer) = task::channel();
            let until = deadline_after(clock::now(), deadline);
            let pushed = shared.state().requests.push(&upstream, Waiting { body, until, reply });
            pushed?;
            shared.wake(What::Request);
            match clock::within(deadline, answer).await {
                Some(Ok(answer)) => answer,
                // Out of time, or whoever took it has dropped it.
                Some(Err(_)) | None => Err(RequestError::NoAnswer),
            }
        };
        request.boxed()
    }

    fn take_durable(
        &self,
        lease: &Lease,
        window: usize,
    ) -> BoxStream<'static, Result<DurableRequest, EngineError>> {
        let shared = Arc::clone(&self.0);
        let key = {
            let mut state = shared.state();
            let key = state.key();
            state.durable.open(&lease.upstream, key, lease.fence);
            key
        };
        let (upstream, timer) = (lease.upstream.clone(), clock::Timer::default());
        Taking { shared, key, upstream, window, timer }.boxed()
    }

    fn enqueue(&self, upstream: &str, id: &str, body: Bytes) -> Reply<()> {
        let (upstream, id) = (upstream.to_owned(), id.to_owned());
        reply(&self.0, move |shared| {
            let pushed = shared.state().durable.push(&upstream, &id, body);
            shared.wake(What::Command);
            pushed
        })
    }

    fn result(&self, upstream: &str, id: &str, wait: Duration) -> Reply<Option<Bytes>> {
        let (shared, key) = (Arc::clone(&self.0), commands::key(upstream, id));
        let result = async move {
            let answer = {
                let mut state = shared.state();
                let known = state.durable.result(&key, clock::now(), shared.options.max_age);
                if known.is_some() {
                    return Ok(known);
                }
                let (teller, answer) = task::channel();
                state.durable.wait(&key, teller);
                answer
            };
            let answer = Awaiting { shared, key, answer: Some(answer) };
            Ok(answer.within(wait).await)
        };
        result.boxed()
    }
}

/// Waits for the answer of a durable command, and leaves nothing behind.
struct Awaiting {
    shared: Arc<Shared>,
    key: String,
    answer: Option<futures::channel::oneshot::Receiver<Bytes>>,
}

impl Awaiting {
    async fn within(mut self, wait: Duration) -> Option<Bytes> {
        let answer = self.answer.as_mut()?;
        clock::within(wait, poll_fn(|cx| answer.poll_unpin(cx))).await?.ok()
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        drop(self.answer.take());
        self.shared.state().durable.waited(&self.key);
    }
}

/// The stream of a consumer.
struct Reading {
    shared: Arc<Shared>,
    key: u64,
    consumer: u64,
    timer: clock::Timer,
}

impl Stream for Reading {
    type Item = Result<Delivery, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key, consumer, timer } = &mut *self;
        loop {
            // Before the look, so that nothing is missed between the two.
            shared.sleep(What::Record, *key, cx);
            let next = shared.state().log.next(*consumer, clock::now());
            match next {
                Next::Given { upstream, sequence, tries, record } => {
                    let (shared, consumer) = (Arc::clone(shared), *consumer);
                    let ack = move || {
                        reply(&shared, move |shared| {
                            shared.state().log.ack(consumer, sequence);
                            // There is room in the window.
                            shared.wake(What::Record);
                            Ok(())
                        })
                    };
                    let upstream = upstream.as_ref().to_owned();
                    let ack = Box::new(ack);
                    return Poll::Ready(Some(Ok(Delivery {
                        upstream,
                        sequence,
                        tries,
                        record,
                        ack,
                    })));
                }
                Next::Wait(until) => {
                    if timer.poll(cx, until).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.log.close(self.consumer);
        let waker = state.forget(What::Record, self.key);
        drop(state);
        guard::dispose(waker);
    }
}

/// The stream of requests for an upstream.
struct Serving {
    shared: Arc<Shared>,
    key: u64,
    upstream: String,
}

impl Stream for Serving {
    type Item = Result<Request, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.sleep(What::Request, self.key, cx);
        let now = clock::now();
        let (taken, late) = self.shared.state().requests.take(&self.upstream, self.key, now);
        drop(late);
        let Some(Waiting { body, until, reply: teller }) = taken else { return Poll::Pending };
        let reply = Box::new(move |answer| {
            teller.tell(Ok(answer));
            futures::future::ready(Ok(())).boxed()
        });
        let deadline = until.saturating_duration_since(now);
        Poll::Ready(Some(Ok(Request { body, deadline, reply })))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let left = state.requests.close(&self.upstream, self.key);
        let waker = state.forget(What::Request, self.key);
        drop(state);
        guard::dispose(waker);
        for waiting in left {
            waiting.reply.tell(Err(RequestError::Nobody));
        }
    }
}

/// The stream of durable commands for an upstream.
struct Taking {
    shared: Arc<Shared>,
    key: u64,
    upstream: String,
    window: usize,
    timer: clock::Timer,
}

impl Stream for Taking {
    type Item = Result<DurableRequest, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key, upstream, window, timer } = &mut *self;
        loop {
            shared.sleep(What::Command, *key, cx);
            let taken = shared.state().durable.take(upstream, *key, *window, clock::now());
            match taken {
                Ok(Taken { id, body, tries }) => {
                    let (shared, upstream) = (Arc::clone(shared), upstream.clone());
                    let undone = Undone { shared, key: *key, upstream, id: id.clone() };
                    let done = Box::new(move |answer| undone.done(answer));
                    return Poll::Ready(Some(Ok(DurableRequest { id, body, tries, done })));
                }
                Err(until) => {
                    if timer.poll(cx, until).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// A durable command in the hands of the holder. If it is dropped, it is taken again later.
struct Undone {
    shared: Arc<Shared>,
    key: u64,
    upstream: String,
    id: String,
}

impl Undone {
    fn done(self, answer: Bytes) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        reply(&shared, move |shared| {
            let times = (clock::now(), shared.options.max_age);
            let Self { upstream, id, .. } = &self;
            let waiters = shared.state().durable.done(upstream, id, answer.clone(), times);
            for waiter in waiters {
                waiter.tell(answer.clone());
            }
            shared.wake(What::Command);
            Ok(())
        })
    }
}

impl Drop for Undone {
    fn drop(&mut self) {
        let Self { shared, key, upstream, id } = self;
        // One that is done is not known any more.
        let due = deadline_after(clock::now(), shared.options.lease_time);
        shared.state().durable.abandon(upstream, *key, id, due);
        shared.wake(What::Command);
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.durable.close(&self.upstream, self.key);
        let waker = state.forget(What::Command, self.key);
        drop(state);
        guard::dispose(waker);
        self.shared.wake(What::Command);
    }
}

#[cfg(test)]
mod tests;
