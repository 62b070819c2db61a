//! The client, and its records until the pages get them.

use std::{
    collections::HashSet,
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::ArbiterHandle;
use actix_socketio::{
    Args, Client, ClientBuilder, Filter, Payload, Socket, Value,
    tap::{Direction, Kind, Record, Recording, Tap},
};
use serde_json::json;

/// The most records that are kept for pages, and their bytes. Rare kinds have as many again, so that a flood
/// does not push them out.
const KEPT: usize = 2_000;
const KEPT_BYTES: usize = 8 << 20;

/// The most records that a page gets at first, and then ten times a second.
const FIRST: usize = 1_000;
const BATCH: usize = 100;

/// How long an event that is emitted by hand may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Hub {
    client: Client,
    /// The server, without credentials.
    url: String,
    /// Events and attachments, which may come by the ten thousand,
    many: Recording,
    /// and everything else.
    few: Recording,
    totals: Arc<Totals>,
    /// The namespaces with a listener: without one, events would wait.
    heard: Mutex<HashSet<String>>,
}

/// All messages, shown or not.
#[derive(Default)]
struct Totals {
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    many: AtomicU64,
}

/// The place of a page in the recordings.
#[derive(Default)]
pub(crate) struct Place {
    /// The next numbers of both recordings.
    many: u64,
    few: u64,
    /// How many records there were in `many` since the first request of the page.
    total: Option<u64>,
}

impl Hub {
    pub(crate) fn start(
        url: &str,
        builder: ClientBuilder,
        text: usize,
        arbiter: &ArbiterHandle,
    ) -> Result<Self, Box<dyn Error>> {
        let totals = Arc::<Totals>::default();
        let many = Recording::new(KEPT, KEPT_BYTES);
        let few = Recording::new(KEPT, KEPT_BYTES);
        let (count, to_many, to_few) = (Arc::clone(&totals), many.clone(), few.clone());
        let tap = Tap::new(move |record| {
            count.note(record);
            let is_rare = !matches!(record.kind, Kind::Event | Kind::Attachment | Kind::Ack);
            if is_rare { to_few.add(record) } else { to_many.add(record) }
        });
        let client = builder.tap(tap.text(text)).start_in(arbiter)?;
        let hub = Self { url: shown(url), client, many, few, totals, heard: Mutex::default() };
        hub.hear(hub.client.socket());
        Ok(hub)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The first message to a page.
    pub(crate) fn hello(&self) -> String {
        let namespace = self.client.socket().namespace();
        json!({ "hello": { "url": self.url, "namespace": namespace } }).to_string()
    }

    /// The records since the last batch of a page, and the counters.
    pub(crate) fn batch(&self, place: &mut Place) -> String {
        let limit = if place.total.is_some() { BATCH } else { FIRST };
        let total = self.totals.many.load(Ordering::Relaxed);
        let mut many = self.many.since(place.many);
        many.drain(..many.len().saturating_sub(limit));
        let shown = u64::try_from(many.len()).unwrap_or_default();
        let before = place.total.replace(total).unwrap_or_default();
        let skipped = total.saturating_sub(before).saturating_sub(shown);
        let mut records = self.few.since(place.few);
        let behind = |records: &[Record]| records.last().map(|last| last.number.saturating_add(1));
        place.few = behind(&records).unwrap_or(place.few);
        place.many = behind(&many).unwrap_or(place.many);
        records.extend(many);
        records.sort_by_key(|record| record.number);
        let stats = self.client.stats();
        json!({
            "records": records,
            "skipped": skipped,
            "totals": {
                "in": self.totals.messages_in.load(Ordering::Relaxed),
                "out": self.totals.messages_out.load(Ordering::Relaxed),
            },
            "stats": {
                "events in": stats.events_in,
                "events out": stats.events_out,
                "answers out": stats.answers_out,
                "acked": stats.acked,
                "not answered": stats.unknown,
                "bytes in": stats.bytes_in,
                "bytes out": stats.bytes_out,
                "connects": stats.connects,
                "retries": stats.attempts,
                "waiting out": stats.waiting_out,
                "discarded": stats.discarded,
                "in doubt": stats.in_doubt,
            },
        })
        .to_string()
    }

    /// Takes all events of a namespace, so that none waits for a subscriber: the tap has them already.
    fn hear(&self, socket: &Socket) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.insert(socket.namespace().to_owned()) {
            socket.listen(Filter::all()).call(drop);
        }
    }

    /// Emits an event. Gives the arguments of the answer, if one is wanted.
    pub(crate) async fn emit(
        &self,
        namespace: &str,
        event: &str,
        arguments: Vec<serde_json::Value>,
        wants_ack: bool,
    ) -> Result<Option<String>, String> {
        let socket = self.client.of(namespace).map_err(|error| error.to_string())?;
        self.hear(&socket);
        let arguments = Args(arguments.into_iter().map(Value::from).collect());
        if wants_ack {
            let answer = socket.emit_with_ack::<Payload>(event, arguments).timeout(PATIENCE).await;
            return answer.map(|answer| Some(answer.to_json())).map_err(|error| error.to_string());
        }
        let written = socket.emit(event, arguments).map_err(|error| error.to_string())?;
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(written) => written.map(|()| None).map_err(|error| error.to_string()),
            Err(_) => Err("it waits until the namespace is joined".to_owned()),
        }
    }
}

/// A URL without its user, password, path and query.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let server = rest.split('/').next().unwrap_or_default();
    let server = server.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{server}")
}

impl Totals {
    fn note(&self, record: &Record) {
        match record.direction {
            Some(Direction::In) => self.messages_in.fetch_add(1, Ordering::Relaxed),
            Some(Direction::Out) => self.messages_out.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        if matches!(record.kind, Kind::Event | Kind::Attachment | Kind::Ack) {
            self.many.fetch_add(1, Ordering::Relaxed);
        }
    }
}
