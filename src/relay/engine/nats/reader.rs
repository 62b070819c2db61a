//! Consumers of the log: pull consumers of JetStream.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_nats::{
    datetime,
    jetstream::{
        consumer::{self, AckPolicy, Consumer, DeliverPolicy, pull},
        context::ConsumerInfoErrorKind,
        message::Message,
        stream::{ConsumerErrorKind, Info},
    },
};
use futures::{FutureExt, StreamExt, stream::BoxStream};

use super::{Shared, again, ask, failure, log};
use crate::relay::engine::{Begin, Delivery, EngineError, Subscription};

/// How often a server says that it is still there, while it has nothing to deliver. After two that did not come, a consumer
/// is made anew.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a request for messages waits at the server.
const EXPIRES: Duration = Duration::from_secs(20);
/// The most messages that one request asks for, each as large as a record may be.
const BATCH: usize = 32;
/// A consumer without a name is forgotten when nobody has asked it for so long.
const INACTIVE: Duration = Duration::from_secs(60);
/// A consumer without a name repeats nothing: it waits for each ack as long as the server can.
const NO_REPEAT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Messages of a consumer, as they come.
pub(super) struct Pulled {
    messages: pull::Stream,
    /// Whether a message has come.
    has_begun: bool,
}

impl Pulled {
    /// Asks a consumer for messages, up to `window` at once.
    pub(super) async fn open(
        consumer: &Consumer<pull::Config>,
        window: usize,
    ) -> Result<Self, EngineError> {
        let asked = consumer
            .stream()
            .max_messages_per_batch(window.clamp(1, BATCH))
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages();
        let messages = asked.await.map_err(|_| failure::closed())?;
        Ok(Self { messages, has_begun: false })
    }

    /// The next message. `Ok(None)` if the consumer has to be made anew; an error, if it has not even begun.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        match self.messages.next().await {
            Some(Ok(message)) => {
                self.has_begun = true;
                Ok(Some(message))
            }
            // It may have been silent for long before.
            Some(Err(error)) if error.kind() == pull::MessagesErrorKind::MissingHeartbeat => {
                Ok(None)
            }
            Some(Err(_)) | None if self.has_begun => Ok(None),
            Some(Err(error)) if error.kind() == pull::MessagesErrorKind::NoResponders => {
                Err(EngineError::Away("nobody leads the consumer".to_owned()))
            }
            Some(Err(error)) => Err(failure::failed(&error, "the consumer")),
            None => Err(EngineError::Away("the consumer has ended".to_owned())),
        }
    }
}

/// Creates a consumer, or changes one of that name.
pub(super) async fn create(
    shared: &Shared,
    stream: &str,
    config: pull::Config,
) -> Result<Consumer<pull::Config>, EngineError> {
    let made = shared.patient.create_consumer_on_stream(config, stream).await;
    made.map_err(|error| match error.kind() {
        ConsumerErrorKind::JetStream(answer) => failure::answered(&answer),
        ConsumerErrorKind::TimedOut
        | ConsumerErrorKind::Request
        | ConsumerErrorKind::InvalidConsumerType
        | ConsumerErrorKind::InvalidName
        | ConsumerErrorKind::Other => failure::failed(&error, "the consumer"),
    })
}

/// The settings of a consumer with a name; `None` if it is not there.
pub(super) async fn found(
    shared: &Shared,
    stream: &str,
    name: &str,
) -> Result<Option<consumer::Config>, EngineError> {
    let lost = |_| EngineError::Away("the consumer: no answer".to_owned());
    let stream = shared.patient.get_stream_no_info(stream).await.map_err(lost)?;
    match stream.consumer_info(name).await {
        Ok(info) => Ok(Some(info.config)),
        Err(error) => match error.kind() {
            ConsumerInfoErrorKind::NotFound => Ok(None),
            ConsumerInfoErrorKind::JetStream(answer) => Err(failure::answered(&answer)),
            _ => Err(failure::failed(&error, "the consumer")),
        },
    }
}

/// A consumer's state between two records.
struct Reading {
    shared: Arc<Shared>,
    subscription: Subscription,
    pulled: Option<Pulled>,
    /// Where a consumer without a name goes on when it is made anew.
    next: Option<u64>,
}

pub(super) fn read(
    shared: Arc<Shared>,
    subscription: Subscription,
) -> BoxStream<'static, Result<Delivery, EngineError>> {
    let reading = Reading { shared, subscription, pulled: None, next: None };
    again(reading, |reading| reading.delivery().boxed())
}

impl Reading {
    async fn delivery(&mut self) -> Result<Delivery, EngineError> {
        loop {
            let pulled = if let Some(pulled) = &mut self.pulled {
                pulled
            } else {
                let consumer = self.consumer().await?;
                let opened = Pulled::open(&consumer, self.subscription.window).await?;
                self.pulled.insert(opened)
            };
            match pulled.next().await {
                Ok(Some(message)) => {
                    if let Some(delivery) = self.delivered(message).await {
                        return Ok(delivery);
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

    /// A message as a record; `None` if it is none of those that are wanted, which a server before 2.10 sends, too.
    async fn delivered(&mut self, message: Message) -> Option<Delivery> {
        let info = message.info().ok()?;
        let (sequence, tries) = (info.stream_sequence, info.delivered);
        let upstream = self.shared.names.upstream(&message.subject).map(str::to_owned);
        let (message, acker) = message.split();
        if self.subscription.durable.is_none() {
            self.next = Some(sequence.saturating_add(1));
        }
        let wanted = &self.subscription.upstreams;
        let upstream = upstream.filter(|name| wanted.is_empty() || wanted.contains(name));
        let Some(upstream) = upstream else {
            // If this does not arrive, it comes again.
            acker.ack().await.ok();
            return None;
        };
        let record = log::record(message.headers.as_ref(), message.payload);
        let ack = move || async move { acker.ack().await.map_err(|_| failure::closed()) }.boxed();
        let tries = u32::try_from(tries).unwrap_or(1);
        Some(Delivery { upstream, sequence, tries, record, ack: Box::new(ack) })
    }

    async fn consumer(&mut self) -> Result<Consumer<pull::Config>, EngineError> {
        let Subscription { durable, upstreams, begin, ack_wait, window } = &self.subscription;
        let names = &self.shared.names;
        let unique: BTreeSet<&String> = upstreams.iter().collect();
        let mut filters: Vec<String> = unique.into_iter().map(|name| names.record(name)).collect();
        // Servers before 2.10 know one filter only.
        let filter = if filters.len() == 1 { filters.pop() } else { None };
        let config = pull::Config {
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: i64::try_from(*window).unwrap_or(i64::MAX).max(1),
            filter_subject: filter.unwrap_or_default(),
            filter_subjects: filters,
            ..pull::Config::default()
        };
        let config = match durable {
            Some(name) => {
                let begin = match found(&self.shared, &names.log, name).await? {
                    Some(found) => found.deliver_policy,
                    None => policy(*begin)?,
                };
                pull::Config {
                    durable_name: Some(name.clone()),
                    ack_wait: *ack_wait,
                    deliver_policy: begin,
                    ..config
                }
            }
            None => pull::Config {
                deliver_policy: self.begin().await?,
                ack_wait: NO_REPEAT,
                inactive_threshold: INACTIVE,
                num_replicas: 1,
                memory_storage: true,
                ..config
            },
        };
        create(&self.shared, &self.shared.names.log, config).await
    }

    /// Where a consumer without a name begins or goes on.
    async fn begin(&mut self) -> Result<DeliverPolicy, EngineError> {
        if self.next.is_none() && self.subscription.begin == Begin::End {
            // Fixed once, or records would be left out if it is made anew before the first one.
            let request = format!("STREAM.INFO.{}", self.shared.names.log);
            let info: Info = ask(&self.shared.patient, request, &(), "the end of the log").await?;
            self.next = Some(info.state.last_sequence.saturating_add(1));
        }
        match self.next {
            Some(start_sequence) => Ok(DeliverPolicy::ByStartSequence { start_sequence }),
            None => policy(self.subscription.begin),
        }
    }
}

fn policy(begin: Begin) -> Result<DeliverPolicy, EngineError> {
    Ok(match begin {
        Begin::Start => DeliverPolicy::All,
        Begin::End => DeliverPolicy::New,
        Begin::Sequence(sequence) => {
            DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) }
        }
        Begin::Time(time) => {
            let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let time =
                i128::try_from(nanos).ok().and_then(|nanos| datetime::from_nanos(nanos).ok());
            let refused = || EngineError::Refused("the time is out of range".to_owned());
            DeliverPolicy::ByStartTime { start_time: time.ok_or_else(refused)? }
        }
    })
}
