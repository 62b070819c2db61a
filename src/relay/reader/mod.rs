//! Consumers of the log.
//!
//! `incoming` reads records, drops with the `sieve` what is there twice, and makes `entries` of the rest. A [`LogStream`] hands
//! them out one by one; a [`Reader`] sends them to actors, each in a `lane`.

mod entry;
mod incoming;
mod lane;
mod sieve;

use std::{fmt, future::Future, time::Duration};

use actix::{Message, Recipient};
use actix_rt::Arbiter;
use futures::{
    FutureExt,
    channel::oneshot,
    future::{AbortHandle, Aborted, Shared, abortable},
};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{
    guard::Kept,
    logs::say,
    message::{Event, Undecodable, contract::NamedEvent},
    relay::{
        engine::{Begin, Engine, Subscription},
        host, name,
        reader::{
            incoming::{Batch, Incoming},
            lane::{Events, Failed, Lane, LogEvents, Marks, Typed, deliver},
        },
    },
};

pub use entry::{LogAck, LogEntry, LogEvent, LogMark, MarkKind};
pub use incoming::LogStream;

/// Records that may wait for their acknowledgement.
const WINDOW: usize = 32;
const MAX_WINDOW: usize = 10_000;
const ACK_WAIT: Duration = Duration::from_secs(60);
const ACK_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(86_400)];

/// Why a consumer does not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// The name of a durable consumer, or of an upstream, is not 1 to 128 ASCII letters, digits, `-` or
    /// `_`.
    #[error("not 1 to 128 ASCII letters, digits, - or _: {}", crate::display::Excerpt(.0))]
    Name(String),
    /// An option is out of its range.
    #[error("option {option} has to be {range}")]
    OutOfRange {
        /// The name of the option.
        option: &'static str,
        /// What it has to be.
        range: &'static str,
    },
    /// There is no actor to read for.
    #[error("no actor was given")]
    NoActor,
    /// It was not started on an arbiter, such as in `#[actix::main]`.
    #[error("no arbiter runs on this thread")]
    NoArbiter,
}

/// How a consumer reads the log; see [`Reader`].
#[must_use = "nothing is read before `start` or `stream`"]
pub struct ReaderBuilder {
    engine: Engine,
    durable: Option<String>,
    upstreams: Vec<String>,
    begin: Begin,
    ack_wait: Duration,
    window: usize,
    by_hand: bool,
    lanes: Vec<Box<dyn Lane>>,
    failed: Failed,
}

impl ReaderBuilder {
    /// Has the engine remember, under this name, what the consumer has acknowledged. The next consumer with the name goes
    /// on there. Several at a time share the records, and none of them has all, nor in order.
    ///
    /// The name is 1 to 128 ASCII letters, digits, `-` or `_`. Default: none. Such a consumer is forgotten when it
    /// ends, and gets nothing twice.
    pub fn durable(mut self, name: impl Into<String>) -> Self {
        self.durable = Some(name.into());
        self
    }

    /// Reads these upstreams only. Default: all.
    pub fn upstreams(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.upstreams = names.into_iter().map(Into::into).collect();
        self
    }

    /// Where it begins. A durable consumer that the engine knows already goes on where it was. Default:
    /// [`Begin::End`].
    pub fn begin(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    /// A durable consumer gets a record again that is not acknowledged for this time: 100 milliseconds to one day. Default: 60
    /// seconds.
    ///
    /// It runs from the delivery of a record. By then, handlers must have finished this record and those of the [`window`](Self::window)
    /// before it, or they get it again while they work.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.ack_wait = time;
        self
    }

    /// How many records may wait for their acknowledgement, of all consumers with this name, or of this one if it has none: 1 to 10 000.
    /// Then no more come, and the log waits. A record has up to 256 events, and usually at most 1 MiB. Default: 32. Many upstreams with few
    /// events each want more.
    ///
    /// With 1, the order is strict: a record that comes again comes before those behind it. With more, it may
    /// come after them.
    pub fn window(mut self, records: usize) -> Self {
        self.window = records;
        self
    }

    /// Sends all events to an actor. An event counts as acknowledged when its handler has returned.
    pub fn events(self, actor: impl Into<Recipient<Event>>) -> Self {
        self.lane::<Events>(actor.into())
    }

    /// Sends the events of one name to an actor, as a type of your own; see [`contract`](crate::message::contract). An
    /// event counts as acknowledged when its handler has returned.
    ///
    /// An event that does not fit the type goes to the actors for [`undecodable`](Self::undecodable) events, or into the log
    /// of the program as a warning. Then it counts as acknowledged.
    pub fn on<E>(self, actor: impl Into<Recipient<E>>) -> Self
    where
        E: NamedEvent + DeserializeOwned + Message<Result = ()> + Send + 'static,
    {
        self.lane::<Typed<E>>(actor.into())
    }

    /// Sends all events to an actor, which [acknowledges](LogEvent::ack) each by hand. That is for handlers that have not
    /// done all when they return.
    pub fn log_events(mut self, actor: impl Into<Recipient<LogEvent>>) -> Self {
        self.by_hand = true;
        self.lane::<LogEvents>(actor.into())
    }

    /// Sends the marks of the log to an actor: new holders, and gaps.
    pub fn marks(self, actor: impl Into<Recipient<LogMark>>) -> Self {
        self.lane::<Marks>(actor.into())
    }

    /// Sends events that do not fit the type of [`on`](Self::on) to an actor. The last call counts.
    pub fn undecodable(mut self, actor: impl Into<Recipient<Undecodable>>) -> Self {
        self.failed = Failed(Some(Kept::new(actor.into())));
        self
    }

    fn lane<P: lane::Pick + 'static>(mut self, recipient: Recipient<P::Message>) -> Self {
        self.lanes.push(Box::new(lane::Actor::<P>::new(recipient)));
        self
    }

    fn subscription(&mut self) -> Result<Subscription, ReaderError> {
        for text in self.durable.iter().chain(&self.upstreams) {
            name::check(text).map_err(ReaderError::Name)?;
        }
        let out = |option, range| Err(ReaderError::OutOfRange { option, range });
        if !(1..=MAX_WINDOW).contains(&self.window) {
            return out("window", "1 to 10 000");
        }
        let [shortest, longest] = ACK_WAITS;
        if !(shortest..=longest).contains(&self.ack_wait) {
            return out("ack_wait", "100 milliseconds to one day");
        }
        Ok(Subscription {
            durable: self.durable.take(),
            upstreams: std::mem::take(&mut self.upstreams),
            begin: self.begin,
            ack_wait: self.ack_wait,
            window: self.window,
        })
    }

    /// Reads the log as a stream, whose events are [acknowledged](LogEvent::ack) by hand. Actors that were given do not
    /// count.
    ///
    /// # Errors
    ///
    /// [`ReaderError::Name`] or [`ReaderError::OutOfRange`].
    pub fn stream(mut self) -> Result<LogStream, ReaderError> {
        let wanted = self.subscription()?;
        Ok(LogStream::new(Incoming::new(self.engine, wanted, true)))
    }

    /// Reads the log for the actors that were given, on the arbiter of this thread.
    ///
    /// # Errors
    ///
    /// See [`ReaderError`].
    pub fn start(mut self) -> Result<Reader, ReaderError> {
        let wanted = self.subscription()?;
        if self.lanes.is_empty() {
            return Err(ReaderError::NoActor);
        }
        Arbiter::try_current().ok_or(ReaderError::NoArbiter)?;
        let name = wanted.durable.clone().unwrap_or_default();
        let Self { engine, by_hand, lanes, failed, .. } = self;
        let incoming = Incoming::new(engine, wanted, by_hand);
        let (pump, abort) = abortable(pump(incoming, lanes, failed));
        let (ends, ended) = oneshot::channel::<()>();
        let pump = async move {
            let _ends = ends;
            // Aborted, or done.
            let (Ok(()) | Err(Aborted)) = pump.await;
        };
        host::run(pump, move |panicked| {
            say!(log::Level::Warn, name, "consumer of the log: it {panicked}");
        });
        Ok(Reader { abort, ended: ended.shared() })
    }
}

/// Shows no actors.
impl fmt::Debug for ReaderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, durable, upstreams, begin, ack_wait, window, by_hand, lanes, failed: _ } =
            self;
        f.debug_struct("ReaderBuilder")
            .field("engine", engine)
            .field("durable", durable)
            .field("upstreams", upstreams)
            .field("begin", begin)
            .field("ack_wait", ack_wait)
            .field("window", window)
            .field("by_hand", by_hand)
            .field("actors", &lanes.len())
            .finish_non_exhaustive()
    }
}

async fn pump(mut incoming: Incoming, lanes: Vec<Box<dyn Lane>>, failed: Failed) {
    loop {
        let Batch { entries, receipt } = incoming.next().await;
        if deliver(&lanes, &entries, &failed).await.is_err() {
            // The record stays unacknowledged, for the next consumer of this name.
            return;
        }
        incoming.release(&receipt);
    }
}

/// A consumer of the log that sends actors the events of upstreams, from any process that reaches the engine.
///
/// The events are the same messages as from a [`Socket`](crate::Socket), except that the server waits for no answer to them. For
/// each upstream, they come in the order of the log, to each actor also where they are of several types. A slow actor is waited for, and loses nothing: the
/// next record is sent when all actors have handled the one before.
///
/// Each event comes at least once to a [durable](ReaderBuilder::durable) consumer, and again if it was not acknowledged, as after a crash. What two
/// workers have both written around a takeover comes once: records of a former holder are dropped, and events whose
/// [offset](Event::offset) is known from another holder. (A volatile event that ends in a short string, which looks like an
/// offset, may be dropped with them, once for each takeover.)
///
/// ```
/// use actix::prelude::*;
/// use actix_socketio::{Event, NamedEvent, relay::{Begin, Engine, LogMark, Reader, ReaderError}};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, Message)]
/// #[rtype(result = "()")]
/// struct Price(String, f64);
///
/// impl NamedEvent for Price {
///     const NAME: &'static str = "price";
/// }
///
/// struct Billing;
///
/// impl Actor for Billing {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Price> for Billing {
///     type Result = ();
///     fn handle(&mut self, Price(what, price): Price, _: &mut Context<Self>) {
///         println!("{what} costs {price}");
///     }
/// }
///
/// impl Handler<LogMark> for Billing {
///     type Result = ();
///     fn handle(&mut self, mark: LogMark, _: &mut Context<Self>) {
///         println!("{}: {:?}", mark.upstream(), mark.kind());
///     }
/// }
///
/// fn read(engine: Engine, billing: &Addr<Billing>) -> Result<Reader, ReaderError> {
///     Reader::builder(engine)
///         .durable("billing")
///         .upstreams(["shop"])
///         .begin(Begin::Start)
///         .on::<Price>(billing.clone())
///         .marks(billing.clone())
///         .start()
/// }
/// ```
///
/// It ends when it is dropped, and when one of its actors is gone or panics. The record that was being handled then is
/// not acknowledged, so a durable consumer gets all of it again. If the engine is away, it waits, and a
/// consumer that has heard nothing for a minute is made anew.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Reader {
    abort: AbortHandle,
    ended: Shared<oneshot::Receiver<()>>,
}

impl Reader {
    /// A consumer of this engine's log.
    pub fn builder(engine: Engine) -> ReaderBuilder {
        ReaderBuilder {
            engine,
            durable: None,
            upstreams: Vec::new(),
            begin: Begin::End,
            ack_wait: ACK_WAIT,
            window: WINDOW,
            by_hand: false,
            lanes: Vec::new(),
            failed: Failed::default(),
        }
    }

    /// Resolves when nothing is sent to the actors any more, because one of them is gone.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().map(drop)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests;
