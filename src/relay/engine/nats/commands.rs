//! Commands: requests to the holder, and durable ones in a work queue with their answers in a stream.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    HeaderMap, Message, Request as Asked, Subscriber,
    client::RequestErrorKind,
    jetstream::{
        AckKind,
        consumer::{AckPolicy, pull},
    },
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture, Either},
    stream::BoxStream,
};

use super::{
    Shared, again, failure, get, number,
    reader::{self, Pulled},
    refused, set,
};
use crate::{
    relay::{
        engine::{AppendError, DurableRequest, EngineError, Request, RequestError},
        name::is_name,
    },
    runtime::clock,
};

/// How long a caller waits, in milliseconds.
const TIMEOUT: &str = "Sio-Timeout";
/// That of a caller that does not say so.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The id of a durable command.
const ID: &str = "Sio-Id";
/// The longest id of a durable command, in bytes.
const MAX_ID: usize = 128;

/// A holder that listens for requests.
struct Serving {
    shared: Arc<Shared>,
    subject: String,
    requests: Option<Subscriber>,
    /// Ready when nothing more is wanted; `None` when it was.
    until: Option<BoxFuture<'static, ()>>,
}

pub(super) fn serve(
    shared: Arc<Shared>,
    upstream: &str,
    until: BoxFuture<'static, ()>,
) -> BoxStream<'static, Result<Request, EngineError>> {
    let subject = shared.names.request(upstream);
    let serving = Serving { shared, subject, requests: None, until: Some(until) };
    let requests = again(serving, |serving| serving.request().boxed());
    let last = |request: &Result<Option<Request>, _>| future::ready(!matches!(request, Ok(None)));
    requests.take_while(last).filter_map(|request| future::ready(request.transpose())).boxed()
}

impl Serving {
    /// The next request; `None` behind the last.
    async fn request(&mut self) -> Result<Option<Request>, EngineError> {
        let Some(message) = self.message().await? else { return Ok(None) };
        Ok(Some(self.asked(message)))
    }

    async fn message(&mut self) -> Result<Option<Message>, EngineError> {
        let requests = if let Some(requests) = &mut self.requests {
            requests
        } else {
            // Not in a queue group: a former holder that does not know yet would take every other request.
            let subscribed = self.shared.client.subscribe(self.subject.clone()).await;
            self.requests.insert(subscribed.map_err(|_| failure::closed())?)
        };
        let message = match &mut self.until {
            None => requests.next().await,
            Some(until) => match future::select(requests.next(), until).await {
                Either::Left((message, _)) => message,
                Either::Right(_) => {
                    self.until = None;
                    // What the server has sent by then still comes.
                    requests.drain().await.map_err(|_| failure::closed())?;
                    requests.next().await
                }
            },
        };
        if message.is_none() {
            self.requests = None;
            if self.until.is_some() {
                return Err(failure::closed());
            }
        }
        Ok(message)
    }

    fn asked(&self, message: Message) -> Request {
        let Message { headers, payload: body, reply, .. } = message;
        let millis = headers.as_ref().and_then(|headers| number(headers, TIMEOUT));
        let client = self.shared.client.clone();
        let reply = move |body| {
            async move {
                match reply {
                    Some(reply) => client
                        .publish(reply, body)
                        .await
                        .map_err(|error| failure::unsent(error.kind())),
                    // The caller wants no answer.
                    None => Ok(()),
                }
            }
            .boxed()
        };
        let deadline = millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        Request { body, deadline, reply: Box::new(reply) }
    }
}

pub(super) async fn request(
    shared: &Shared,
    upstream: &str,
    body: Bytes,
    deadline: Duration,
) -> Result<Bytes, RequestError> {
    let mut headers = HeaderMap::new();
    headers.insert(TIMEOUT, deadline.as_millis().to_string());
    let asked = Asked::new().payload(body).headers(headers).timeout(None);
    let asked = shared.client.send_request(shared.names.request(upstream), asked);
    match clock::within(deadline, asked).await {
        Some(Ok(answer)) => Ok(answer.payload),
        None => Err(RequestError::NoAnswer),
        Some(Err(error)) => Err(match error.kind() {
            RequestErrorKind::NoResponders => RequestError::Nobody,
            RequestErrorKind::TimedOut => RequestError::NoAnswer,
            kind => failure::unasked(kind).into(),
        }),
    }
}

/// An id as part of a subject: as it is, if it can be, or after `=` in base64.
fn token(id: &str) -> Result<String, EngineError> {
    if id.is_empty() || id.len() > MAX_ID {
        let text = format!("the id of a command has 1 to {MAX_ID} bytes");
        return Err(EngineError::Refused(text));
    }
    if is_name(id) {
        Ok(id.to_owned())
    } else {
        Ok(format!("={}", BASE64_URL_SAFE_NO_PAD.encode(id)))
    }
}

pub(super) async fn enqueue(
    shared: &Shared,
    upstream: &str,
    id: &str,
    body: Bytes,
) -> Result<(), EngineError> {
    let subject = shared.names.command(upstream, &token(id)?);
    let mut headers = HeaderMap::new();
    set(&mut headers, ID, id);
    match shared.put(subject, headers, body, Some(0)).await {
        // One with this id waits already. That one was done before is seen when it is taken.
        Ok(_) | Err(AppendError::OutOfDate) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// The answer that is stored now.
async fn stored(
    shared: &Shared,
    upstream: &str,
    token: &str,
) -> Result<Option<Bytes>, EngineError> {
    let subject = shared.names.answer(upstream, token);
    let last = shared.last(&shared.names.answers, &subject).await?;
    Ok(last.map(|last| last.payload))
}

pub(super) async fn result(
    shared: &Shared,
    upstream: &str,
    id: &str,
    wait: Duration,
) -> Result<Option<Bytes>, EngineError> {
    let token = token(id)?;
    // Before the first reading, so that none is missed between the two.
    let subscribed = shared.client.subscribe(shared.names.answer(upstream, &token)).await;
    let mut answers = subscribed.map_err(|_| failure::closed())?;
    if let Some(answer) = stored(shared, upstream, &token).await? {
        return Ok(Some(answer));
    }
    if let Some(Some(answer)) = clock::within(wait, answers.next()).await {
        return Ok(Some(answer.payload));
    }
    // One that came while the connection was away.
    stored(shared, upstream, &token).await
}

/// The commands of a holder that are not done, by their sequences.
type Open = Arc<Mutex<HashSet<u64>>>;

/// Removes a command from those that are open, when it is done or dropped.
struct Taken {
    open: Open,
    sequence: u64,
}

impl Taken {
    /// `None` if it is open.
    fn new(open: &Open, sequence: u64) -> Option<Self> {
        let is_new = open.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence);
        is_new.then(|| Self { open: Arc::clone(open), sequence })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sequence);
    }
}

/// A holder that takes durable commands.
struct Taking {
    shared: Arc<Shared>,
    upstream: String,
    window: usize,
    pulled: Option<Pulled>,
    open: Open,
}

pub(super) fn take_durable(
    shared: Arc<Shared>,
    upstream: String,
    window: usize,
) -> BoxStream<'static, Result<DurableRequest, EngineError>> {
    let taking = Taking { shared, upstream, window, pulled: None, open: Open::default() };
    again(taking, |taking| taking.command().boxed())
}

impl Taking {
    async fn command(&mut self) -> Result<DurableRequest, EngineError> {
        loop {
            let pulled = if let Some(pulled) = &mut self.pulled {
                pulled
            } else {
                let opened = self.pull().await?;
                self.pulled.insert(opened)
            };
            match pulled.next().await {
                Ok(Some(message)) => {
                    if let Some(command) = self.taken(message).await? {
                        return Ok(command);
                    }
                }
                Ok(None) => self.pulled = None,
                Err(error) => {
                    self.pulled = None;
                    return Err(error);
                }
            }
        }
    }

    /// All holders, one after the other, use the same consumer: it knows what is not done.
    async fn pull(&self) -> Result<Pulled, EngineError> {
        let config = pull::Config {
            durable_name: Some(self.upstream.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.shared.options.lease_time,
            max_ack_pending: i64::try_from(self.window).unwrap_or(i64::MAX).max(1),
            filter_subject: self.shared.names.command(&self.upstream, "*"),
            ..pull::Config::default()
        };
        let consumer = reader::create(&self.shared, &self.shared.names.commands, config).await?;
        Pulled::open(&consumer, self.window).await
    }

    /// A command; `None` if it needs no doing.
    async fn taken(
        &self,
        message: async_nats::jetstream::Message,
    ) -> Result<Option<DurableRequest>, EngineError> {
        let Ok(info) = message.info() else { return Ok(None) };
        let (sequence, tries) = (info.stream_sequence, u32::try_from(info.delivered).unwrap_or(1));
        let (message, acker) = message.split();
        let id = message.headers.as_ref().and_then(|headers| get(headers, ID));
        let token = id.as_deref().map(token);
        let (Some(id), Some(Ok(token))) = (id, token) else {
            // Nobody could ask for its answer.
            acker.ack_with(AckKind::Term).await.map_err(|_| failure::closed())?;
            return Ok(None);
        };
        let Some(hold) = Taken::new(&self.open, sequence) else {
            // Its first delivery is still being worked on.
            acker.ack_with(AckKind::Progress).await.map_err(|_| failure::closed())?;
            return Ok(None);
        };
        if stored(&self.shared, &self.upstream, &token).await?.is_some() {
            acker.ack().await.map_err(|_| failure::closed())?;
            return Ok(None);
        }
        let (shared, upstream) = (Arc::clone(&self.shared), self.upstream.clone());
        let done = move |answer| {
            async move {
                let hold = hold;
                let subject = shared.names.answer(&upstream, &token);
                match shared.put(subject, HeaderMap::new(), answer, Some(0)).await {
                    // Another holder was first, or this answer is stored already.
                    Ok(_) | Err(AppendError::OutOfDate) => {}
                    Err(error) => return Err(refused(error)),
                }
                acker.ack().await.map_err(|_| failure::closed())?;
                drop(hold);
                Ok(())
            }
            .boxed()
        };
        Ok(Some(DurableRequest { id, body: message.payload, tries, done: Box::new(done) }))
    }
}
