//! What every engine must do: each rule of [`Backend`] is one test, which runs with all engines.
//!
//! With NATS there is a server, or for the last test a cluster, and each worker has a connection of its own.

#[path = "../../../tests/support/reserved.rs"]
mod reserved;
#[path = "../../../tests/support/nats.rs"]
pub(super) mod servers;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    channel::oneshot,
    future::{self, join_all, pending},
    stream::BoxStream,
};
use tokio::time::{sleep, timeout};

use self::servers::Nats;
use super::{
    AppendError, Backend, Begin, Delivery, DurableRequest, Engine, EngineError, Head, Lease,
    Presence, Record, RequestError, Subscription, in_process::InProcessOptions, nats::NatsOptions,
};

/// How long an engine may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what must not come.
const A_WHILE: Duration = Duration::from_millis(300);
const LEASE_TIME: Duration = Duration::from_secs(2);
const MAX_BYTES: u64 = 4 << 20;
/// Workers, each with an engine of its own.
const WORKERS: usize = 8;

/// Engines that share one system.
struct Shared {
    engines: Vec<Engine>,
    _server: Option<Nats>,
}

impl Shared {
    fn one(&self) -> &dyn Backend {
        &*self.engines[0].0
    }

    fn other(&self) -> &dyn Backend {
        &*self.engines[1].0
    }
}

fn in_process() -> Shared {
    let max_bytes = usize::try_from(MAX_BYTES).unwrap();
    let options = InProcessOptions::default().lease_time(LEASE_TIME).max_bytes(max_bytes);
    let engine = Engine::in_process_with(options);
    Shared { engines: vec![engine; WORKERS], _server: None }
}

async fn connected(server: &Nats, options: &NatsOptions) -> Vec<Engine> {
    let mut engines = Vec::new();
    for _ in 0..WORKERS {
        let client = server.client().await;
        engines.push(Engine::nats(&client, options.clone()).await.unwrap());
    }
    engines
}

fn nats_options() -> NatsOptions {
    let timeout = Duration::from_millis(500);
    NatsOptions::new()
        .lease_time(LEASE_TIME)
        .ack_timeout(timeout)
        .max_bytes(MAX_BYTES)
        .command_bytes(MAX_BYTES)
}

async fn nats() -> Option<Shared> {
    let server = Nats::one().await?;
    let engines = connected(&server, &nats_options()).await;
    Some(Shared { engines, _server: Some(server) })
}

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        mod in_process {
            $(#[actix::test]
            async fn $rule() {
                super::$rule(&super::in_process()).await;
            })*
        }

        mod nats {
            $(#[actix::test]
            async fn $rule() {
                if let Some(shared) = super::nats().await {
                    super::$rule(&shared).await;
                }
            })*

            #[actix::test]
            async fn all_rules_hold_in_a_cluster() {
                use super::{Nats, Shared, StreamExt, connected, nats_options};
                let Some(server) = Nats::cluster().await else { return };
                let server = &server;
                // Most of them wait most of the time.
                futures::stream::iter([$(stringify!($rule)),*].into_iter().enumerate())
                    .for_each_concurrent(8, async |(number, name)| {
                        let options = nats_options().prefix(format!("rule-{number}")).replicas(3);
                        let engines = connected(server, &options).await;
                        let shared = Shared { engines, _server: None };
                        eprintln!("{name}");
                        match name {
                            $(stringify!($rule) => super::$rule(&shared).await,)*
                            _ => unreachable!(),
                        }
                    })
                    .await;
            }
        }
    };
}

rules! {
    one_of_many_gets_a_lease_and_later_fences_are_higher,
    a_lease_that_is_not_renewed_ends,
    a_lease_is_given_back_by_its_holder_only,
    workers_are_there_as_long_as_they_say_so,
    a_record_is_appended_behind_the_last_only,
    one_of_many_appends_behind_the_same_record,
    a_head_has_what_the_record_had,
    a_record_may_have_the_size_that_is_told_and_no_more,
    a_full_log_refuses,
    a_ticket_is_not_replaced_by_a_former_holder,
    consumers_get_all_records_of_their_upstreams_in_order,
    a_consumer_begins_where_it_says,
    a_durable_consumer_gets_again_what_it_has_not_acked,
    no_more_records_than_the_window_wait_for_their_ack,
    a_consumer_without_a_name_gets_nothing_twice,
    readers_with_the_same_name_share_the_records,
    a_request_is_answered_by_the_holder,
    a_request_that_nobody_answers_says_so,
    a_holder_that_listens_no_more_leaves_no_caller_without_an_answer,
    a_durable_command_is_done_once_by_its_id,
    a_durable_command_goes_to_the_next_holder_until_it_is_done,
    the_first_answer_of_a_durable_command_counts,
    the_answer_of_a_durable_command_is_waited_for,
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks again until there is something.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not so in time");
        sleep(Duration::from_millis(20)).await;
    }
}

fn record(id: &str, fence: u64, body: impl Into<Bytes>) -> Record {
    Record { id: id.to_owned(), fence, offset: None, count: 1, body: body.into() }
}

async fn acquired(engine: &dyn Backend, upstream: &str, worker: &str) -> Lease {
    eventually("a free lease", async || engine.acquire(upstream, worker).await.unwrap()).await
}

/// Appends records behind each other, with these ids, and says their sequences.
async fn filled(engine: &dyn Backend, upstream: &str, ids: impl Iterator<Item = u32>) -> Vec<u64> {
    let head = engine.head(upstream).await.unwrap();
    let mut last = head.map_or(0, |head| head.sequence);
    let mut sequences = Vec::new();
    for id in ids {
        let record = record(&format!("{upstream}/{id}"), 1, format!("body {id}"));
        last = engine.append(upstream, last, record).await.unwrap();
        sequences.push(last);
    }
    sequences
}

fn subscription(durable: Option<&str>, upstreams: &[&str], begin: Begin) -> Subscription {
    Subscription {
        durable: durable.map(str::to_owned),
        upstreams: upstreams.iter().map(|&name| name.to_owned()).collect(),
        begin,
        ack_wait: PATIENCE,
        window: 100,
    }
}

type Records = BoxStream<'static, Result<Delivery, EngineError>>;

/// The next item of a stream that goes on after an error: a cluster may have to elect somebody first.
async fn item<T>(items: &mut BoxStream<'static, Result<T, EngineError>>) -> T {
    within(async {
        loop {
            match items.next().await.expect("it never ends") {
                Ok(item) => break item,
                Err(error) => assert!(matches!(error, EngineError::Away(_)), "{error}"),
            }
        }
    })
    .await
}

async fn next(records: &mut Records) -> Delivery {
    item(records).await
}

/// The ids of the next records, acked.
async fn ids(records: &mut Records, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let delivery = next(records).await;
        ids.push(delivery.record.id);
        (delivery.ack)().await.unwrap();
    }
    ids
}

fn named(upstream: &str, ids: impl Iterator<Item = u32>) -> Vec<String> {
    ids.map(|id| format!("{upstream}/{id}")).collect()
}

async fn one_of_many_gets_a_lease_and_later_fences_are_higher(shared: &Shared) {
    let mut last = 0;
    for _ in 0..20 {
        let asked = shared.engines.iter().enumerate();
        let asked =
            asked.map(|(number, engine)| engine.0.acquire("shop", &format!("worker-{number}")));
        let leases = join_all(asked).await.into_iter().map(Result::unwrap);
        let won: Vec<Lease> = leases.flatten().collect();
        let [lease] = &won[..] else { panic!("not one winner: {won:?}") };
        assert!(lease.fence > last, "{lease:?} after {last}");
        last = lease.fence;
        assert_eq!(lease.upstream, "shop");
        assert_eq!(shared.one().holder("shop").await.unwrap().as_ref(), Some(&lease.worker));
        shared.other().release(lease).await.unwrap();
    }
}

async fn a_lease_that_is_not_renewed_ends(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    assert_eq!(one.lease_time(), LEASE_TIME);
    let lease = acquired(one, "shop", "first").await;
    assert_eq!(other.acquire("shop", "second").await, Ok(None));
    let renewed = one.renew(&lease).await.unwrap().unwrap();
    assert_eq!((renewed.fence, &*renewed.worker), (lease.fence, "first"));
    assert!(renewed.revision > lease.revision);
    assert_eq!(other.acquire("shop", "second").await, Ok(None));
    let taken = acquired(other, "shop", "second").await;
    assert!(taken.fence > renewed.fence);
    // The former holder is told, and can neither renew the lease nor give it back.
    assert_eq!(one.renew(&renewed).await, Ok(None));
    one.release(&renewed).await.unwrap();
    assert_eq!(one.holder("shop").await, Ok(Some("second".to_owned())));
    assert_eq!(other.renew(&taken).await.unwrap().unwrap().fence, taken.fence);
    eventually("no holder", async || one.holder("shop").await.unwrap().is_none().then_some(()))
        .await;
    assert_eq!(other.renew(&taken).await, Ok(None));
}

async fn a_lease_is_given_back_by_its_holder_only(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let first = acquired(one, "shop", "first").await;
    one.release(&first).await.unwrap();
    assert_eq!(other.holder("shop").await, Ok(None));
    assert_eq!(one.renew(&first).await, Ok(None));
    let second = other.acquire("shop", "second").await.unwrap().unwrap();
    assert!(second.fence > first.fence);
    one.release(&first).await.unwrap();
    assert_eq!(one.holder("shop").await, Ok(Some("second".to_owned())));
    // Leases of others are others.
    let third = one.acquire("bank", "first").await.unwrap().unwrap();
    other.release(&second).await.unwrap();
    assert_eq!(other.holder("bank").await, Ok(Some("first".to_owned())));
    one.release(&third).await.unwrap();
    one.release(&third).await.unwrap();
}

async fn workers_are_there_as_long_as_they_say_so(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let there = async |engine: &dyn Backend| {
        let mut workers = engine.workers().await.unwrap();
        workers.sort_unstable_by(|one, other| one.worker.cmp(&other.worker));
        workers
    };
    let long = (0..3_000).map(|number| format!("{number:0>128}")).collect();
    let first = Presence { worker: "worker-1".to_owned(), upstreams: long };
    let second =
        Presence { worker: "worker_2".to_owned(), upstreams: vec!["shop".into(), "a-B_9".into()] };
    let third = Presence { worker: "worker_3".to_owned(), upstreams: Vec::new() };
    assert_eq!(there(one).await, []);
    one.announce(&first).await.unwrap();
    one.announce(&first).await.unwrap();
    other.announce(&second).await.unwrap();
    other.announce(&third).await.unwrap();
    assert_eq!(there(other).await, [first.clone(), second.clone(), third.clone()]);
    other.withdraw("worker_2").await.unwrap();
    other.withdraw("worker_4").await.unwrap();
    assert_eq!(there(one).await, [first.clone(), third]);
    eventually("nobody", async || there(one).await.is_empty().then_some(())).await;
    // The same worker with other upstreams.
    let again = Presence { upstreams: second.upstreams, ..first };
    one.announce(&again).await.unwrap();
    assert_eq!(there(other).await, [again]);
}

async fn a_record_is_appended_behind_the_last_only(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    assert_eq!(one.head("shop").await, Ok(None));
    let refused = one.append("shop", 7, record("a", 1, "a")).await;
    assert_eq!(refused, Err(AppendError::OutOfDate));
    let first = one.append("shop", 0, record("a", 1, "a")).await.unwrap();
    // The same record again, because the answer got lost.
    assert_eq!(one.append("shop", 0, record("a", 1, "a")).await, Err(AppendError::OutOfDate));
    assert_eq!(other.append("shop", 0, record("b", 2, "b")).await, Err(AppendError::OutOfDate));
    let second = other.append("shop", first, record("b", 2, "b")).await.unwrap();
    assert!(second > first);
    assert_eq!(one.append("shop", first, record("c", 1, "c")).await, Err(AppendError::OutOfDate));
    assert_eq!(one.head("shop").await.unwrap().unwrap().id, "b");
    // The records of other upstreams are no matter.
    let third = one.append("bank", 0, record("d", 3, "d")).await.unwrap();
    assert!(third > second);
    assert!(one.append("shop", second, record("c", 2, "c")).await.unwrap() > third);
}

async fn one_of_many_appends_behind_the_same_record(shared: &Shared) {
    let mut last = 0;
    for round in 0..20 {
        let tried = shared.engines.iter().enumerate().map(|(number, engine)| {
            let record = record(&format!("{round}/{number}"), 1, format!("{number}"));
            engine.0.append("shop", last, record)
        });
        let outcomes = join_all(tried).await;
        let stored: Vec<u64> = outcomes.iter().filter_map(|o| o.as_ref().ok()).copied().collect();
        let [sequence] = stored[..] else { panic!("not one winner: {outcomes:?}") };
        let refused = outcomes.iter().filter(|o| **o == Err(AppendError::OutOfDate)).count();
        assert_eq!(refused, WORKERS - 1, "{outcomes:?}");
        assert_eq!(shared.one().head("shop").await.unwrap().unwrap().sequence, sequence);
        last = sequence;
    }
}

async fn a_head_has_what_the_record_had(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let mut records = other.read(subscription(None, &[], Begin::Start));
    let mut last = 0;
    let offsets = [None, Some("abc.1"), Some(""), Some(" a b "), Some("a\r\nb: 1%0d%ü\u{0}")];
    for (number, offset) in offsets.into_iter().enumerate() {
        let fence = u64::try_from(number).unwrap() + 7;
        let sent = Record {
            id: format!("id {number}\r\nof ü/{}", offset.unwrap_or_default()),
            fence,
            offset: offset.map(str::to_owned),
            count: 64,
            body: Bytes::from_static(b"{\"at\":1}\n\xff\x00"),
        };
        let sequence = one.append("shop", last, sent.clone()).await.unwrap();
        let head = other.head("shop").await.unwrap().unwrap();
        let Record { id, offset, .. } = sent.clone();
        assert_eq!(head, Head { sequence, id, fence, offset });
        let delivery = next(&mut records).await;
        assert!(delivery.record == sent, "record {number}");
        assert_eq!((&*delivery.upstream, delivery.tries), ("shop", 1));
        assert_eq!(delivery.sequence, sequence);
        (delivery.ack)().await.unwrap();
        last = sequence;
    }
}

async fn a_record_may_have_the_size_that_is_told_and_no_more(shared: &Shared) {
    let one = shared.one();
    let size = one.max_record();
    assert!(size >= 512 << 10, "{size}");
    let large = record("large", 1, vec![b'x'; size + 1]);
    assert_eq!(one.append("shop", 0, large).await, Err(AppendError::TooLarge));
    assert_eq!(one.head("shop").await, Ok(None));
    let sequence = one.append("shop", 0, record("fits", 1, vec![b'x'; size])).await.unwrap();
    assert_eq!(one.head("shop").await.unwrap().unwrap().sequence, sequence);
    let mut records = one.read(subscription(None, &["shop"], Begin::Start));
    assert_eq!(next(&mut records).await.record.body.len(), size);
}

async fn a_full_log_refuses(shared: &Shared) {
    let one = shared.one();
    // Some engines drop the oldest records, unless somebody has yet to read them.
    let mut waiting = one.read(subscription(Some("slow"), &[], Begin::Start));
    let mut last = one.append("shop", 0, record("first", 1, "x")).await.unwrap();
    let first = next(&mut waiting).await;
    let most = MAX_BYTES / (256 << 10) + 1;
    let mut stored = 0;
    let refused = loop {
        let record = record(&format!("{stored}"), 1, vec![b'x'; 256 << 10]);
        match one.append("shop", last, record).await {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
        stored += 1;
        assert!(stored < most, "the log has no bound");
    };
    assert_eq!(refused, AppendError::Full);
    assert!(stored >= most - 4, "full with {stored} records");
    assert_eq!(one.head("shop").await.unwrap().unwrap().sequence, last);
    // Small ones of another upstream have no room either, sooner or later.
    let mut behind = 0;
    let refused = loop {
        let record = record(&format!("bank-{behind}"), 1, vec![b'x'; 64 << 10]);
        match one.append("bank", behind, record).await {
            Ok(sequence) => behind = sequence,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    drop(first);
}

async fn a_ticket_is_not_replaced_by_a_former_holder(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    assert_eq!(one.ticket("shop").await, Ok(None));
    one.keep_ticket("shop", 3, "pid-3").await.unwrap();
    assert_eq!(other.ticket("shop").await, Ok(Some("pid-3".to_owned())));
    // A session of the same holder.
    one.keep_ticket("shop", 3, "pid-3-b").await.unwrap();
    assert_eq!(other.ticket("shop").await, Ok(Some("pid-3-b".to_owned())));
    other.keep_ticket("shop", 5, "pid-5").await.unwrap();
    one.keep_ticket("shop", 3, "pid-3-c").await.unwrap();
    assert_eq!(one.ticket("shop").await, Ok(Some("pid-5".to_owned())));
    assert_eq!(one.ticket("bank").await, Ok(None));
}

async fn consumers_get_all_records_of_their_upstreams_in_order(shared: &Shared) {
    let one = shared.one();
    filled(one, "shop", 1..=30).await;
    filled(one, "bank", 1..=30).await;
    filled(one, "farm", 1..=3).await;
    let mut shop = shared.other().read(subscription(None, &["shop"], Begin::Start));
    assert_eq!(ids(&mut shop, 30).await, named("shop", 1..=30));
    let wanted = subscription(Some("two"), &["bank", "shop", "bank"], Begin::Start);
    let mut two = shared.other().read(wanted);
    filled(one, "farm", 4..=4).await;
    filled(one, "shop", 31..=40).await;
    let both = ids(&mut two, 70).await;
    let of = |name: &str| -> Vec<String> {
        both.iter().filter(|id| id.starts_with(name)).cloned().collect()
    };
    assert_eq!(of("shop"), named("shop", 1..=40));
    assert_eq!(of("bank"), named("bank", 1..=30));
    assert_eq!(ids(&mut shop, 10).await, named("shop", 31..=40));
    let mut all = one.read(subscription(Some("all"), &[], Begin::Start));
    assert_eq!(ids(&mut all, 74).await.len(), 74);
}

async fn a_consumer_begins_where_it_says(shared: &Shared) {
    let one = shared.one();
    let sequences = filled(one, "shop", 1..=3).await;
    let time = SystemTime::now();
    filled(one, "shop", 4..=5).await;
    for durable in [false, true] {
        let read = |name: &str, begin: Begin| {
            one.read(subscription(durable.then_some(name), &["shop"], begin))
        };
        let mut start = read("start", Begin::Start);
        assert_eq!(ids(&mut start, 5).await, named("shop", 1..=5));
        let mut sequence = read("sequence", Begin::Sequence(sequences[1]));
        assert_eq!(ids(&mut sequence, 4).await, named("shop", 2..=5));
        let mut later = read("time", Begin::Time(time));
        assert_eq!(ids(&mut later, 2).await, named("shop", 4..=5));
        let mut epoch = read("epoch", Begin::Time(SystemTime::UNIX_EPOCH));
        assert_eq!(ids(&mut epoch, 5).await, named("shop", 1..=5));
    }
    // From the end, which is where it is when the engine hears of the consumer: so records are appended until one comes.
    for (upstream, durable) in [("bank", None), ("farm", Some("end"))] {
        filled(one, upstream, 0..=0).await;
        let mut end = one.read(subscription(durable, &[upstream], Begin::End));
        let mut first = None;
        for id in 1.. {
            let begun = timeout(Duration::from_millis(50), item(&mut end)).await;
            if let Ok(delivery) = begun {
                first = Some(delivery);
                break;
            }
            filled(one, upstream, id..=id).await;
        }
        let number = |id: &str| id.rsplit('/').next().unwrap().parse::<u32>().unwrap();
        let first = number(&first.unwrap().record.id);
        assert_ne!(first, 0);
        // It may have come late, when there were more behind it.
        let last = number(&one.head(upstream).await.unwrap().unwrap().id) + 2;
        filled(one, upstream, last - 1..=last).await;
        let count = usize::try_from(last - first).unwrap();
        assert_eq!(ids(&mut end, count).await, named(upstream, first + 1..=last));
    }
}

async fn a_durable_consumer_gets_again_what_it_has_not_acked(shared: &Shared) {
    let one = shared.one();
    filled(one, "shop", 1..=4).await;
    let wanted = Subscription {
        ack_wait: Duration::from_secs(1),
        ..subscription(Some("billing"), &["shop"], Begin::Start)
    };
    let mut records = one.read(wanted.clone());
    let mut kept = Vec::new();
    for id in 1..=4 {
        let delivery = next(&mut records).await;
        assert_eq!((delivery.record.id, delivery.tries), (format!("shop/{id}"), 1));
        match id {
            2 | 4 => kept.push(delivery.ack),
            _ => (delivery.ack)().await.unwrap(),
        }
    }
    for id in ["shop/2", "shop/4"] {
        let delivery = next(&mut records).await;
        assert_eq!((&*delivery.record.id, delivery.tries), (id, 2));
        if id == "shop/2" {
            (delivery.ack)().await.unwrap();
        }
    }
    drop((records, kept));
    // The engine remembers, also where another reader goes on and begins somewhere else.
    let mut records = shared.other().read(Subscription { begin: Begin::End, ..wanted });
    let delivery = next(&mut records).await;
    assert_eq!(delivery.record.id, "shop/4");
    assert!(delivery.tries > 2, "{}", delivery.tries);
    (delivery.ack)().await.unwrap();
    filled(one, "shop", 5..=5).await;
    assert_eq!(ids(&mut records, 1).await, ["shop/5"]);
}

async fn no_more_records_than_the_window_wait_for_their_ack(shared: &Shared) {
    let one = shared.one();
    filled(one, "shop", 1..=4).await;
    for durable in [Some("billing"), None] {
        let wanted = subscription(durable, &["shop"], Begin::Start);
        let mut records = one.read(Subscription { window: 2, ..wanted });
        let first = next(&mut records).await;
        let second = next(&mut records).await;
        assert!(timeout(A_WHILE, records.next()).await.is_err());
        (second.ack)().await.unwrap();
        let third = next(&mut records).await;
        assert_eq!(third.record.id, "shop/3");
        assert!(timeout(A_WHILE, records.next()).await.is_err());
        (first.ack)().await.unwrap();
        assert_eq!(ids(&mut records, 1).await, ["shop/4"]);
        (third.ack)().await.unwrap();
    }
}

async fn a_consumer_without_a_name_gets_nothing_twice(shared: &Shared) {
    let one = shared.one();
    filled(one, "shop", 1..=2).await;
    let wanted = Subscription {
        ack_wait: Duration::from_millis(200),
        ..subscription(None, &["shop"], Begin::Start)
    };
    let mut first = one.read(wanted.clone());
    let mut second = shared.other().read(wanted);
    let kept = [next(&mut first).await, next(&mut first).await];
    assert!(timeout(A_WHILE * 2, first.next()).await.is_err());
    filled(one, "shop", 3..=3).await;
    assert_eq!(ids(&mut first, 1).await, ["shop/3"]);
    // Each has all records for itself.
    assert_eq!(ids(&mut second, 3).await, named("shop", 1..=3));
    drop(kept);
}

async fn readers_with_the_same_name_share_the_records(shared: &Shared) {
    let one = shared.one();
    let wanted = Subscription { window: 4, ..subscription(Some("billing"), &[], Begin::Start) };
    let mut both = [one.read(wanted.clone()), shared.other().read(wanted)];
    let mut seen = Vec::new();
    filled(one, "shop", 1..=40).await;
    let [first, second] = &mut both;
    while seen.len() < 40 {
        let either = future::select(Box::pin(item(first)), Box::pin(item(second)));
        let (delivery, _) = either.await.factor_first();
        seen.push(delivery.record.id);
        (delivery.ack)().await.unwrap();
    }
    let unique: BTreeSet<String> = seen.into_iter().collect();
    assert_eq!(unique.len(), 40);
}

async fn a_request_is_answered_by_the_holder(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let lease = acquired(one, "shop", "first").await;
    let mut requests = one.serve(&lease, pending().boxed());
    let serving = actix::spawn(async move {
        while let Some(request) = requests.next().await {
            let request = request.unwrap();
            assert!(request.deadline <= PATIENCE && request.deadline > Duration::ZERO);
            let answer = [b"you said ", &request.body[..]].concat();
            (request.reply)(answer.into()).await.unwrap();
        }
    });
    let ask = async |body: &'static str| {
        other.request("shop", Bytes::from_static(body.as_bytes()), PATIENCE).await
    };
    let first = eventually("somebody there", async || match ask("hello").await {
        Err(RequestError::Nobody) => None,
        answer => Some(answer),
    });
    assert_eq!(first.await, Ok(Bytes::from_static(b"you said hello")));
    let many = join_all((0..50).map(|_| ask("again"))).await;
    assert!(many.iter().all(|answer| answer.as_ref().unwrap() == "you said again"));
    let nobody = other.request("bank", Bytes::new(), PATIENCE).await;
    assert_eq!(nobody, Err(RequestError::Nobody));
    serving.abort();
    // As soon as it listens no more, the caller is told that nothing was sent.
    eventually("nobody there", async || match other.request("shop", Bytes::new(), A_WHILE).await {
        Err(RequestError::Nobody) => Some(()),
        _ => None,
    })
    .await;
}

async fn a_request_that_nobody_answers_says_so(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let nobody = other.request("shop", Bytes::new(), PATIENCE).await;
    assert_eq!(nobody, Err(RequestError::Nobody));
    let lease = acquired(one, "shop", "first").await;
    let mut requests = one.serve(&lease, pending().boxed());
    let ask = eventually("no answer", async || {
        match other.request("shop", Bytes::from_static(b"x"), A_WHILE).await {
            Err(RequestError::Nobody) => None,
            outcome => Some(outcome),
        }
    });
    let taken = async {
        let request = within(requests.next()).await.unwrap().unwrap();
        assert_eq!(request.body, "x");
        assert!(request.deadline <= A_WHILE);
        request
    };
    let (outcome, request) = future::join(ask, taken).await;
    assert_eq!(outcome, Err(RequestError::NoAnswer));
    // Too late: nobody is there to be told.
    (request.reply)(Bytes::from_static(b"late")).await.ok();
}

async fn a_holder_that_listens_no_more_leaves_no_caller_without_an_answer(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    let lease = acquired(one, "shop", "first").await;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut requests = one.serve(&lease, stopped.map(drop).boxed());
    let ask = || other.request("shop", Bytes::from_static(b"x"), PATIENCE * 2);
    // Until it listens.
    let first = eventually("somebody there", async || match ask().await {
        Err(RequestError::Nobody) => None,
        answer => Some(answer),
    });
    let taken = async { within(requests.next()).await.unwrap().unwrap() };
    let answered = async { (taken.await.reply)(Bytes::from_static(b"first")).await.unwrap() };
    assert_eq!(future::join(first, answered).await.0, Ok(Bytes::from_static(b"first")));
    let asked = actix::spawn(join_all((0..50).map(|_| ask())));
    let next = within(requests.next()).await.unwrap().unwrap();
    (next.reply)(Bytes::from_static(b"taken")).await.unwrap();
    drop(stop);
    while let Some(request) = within(requests.next()).await {
        (request.unwrap().reply)(Bytes::from_static(b"taken")).await.unwrap();
    }
    drop(requests);
    for answer in within(asked).await.unwrap() {
        assert!(matches!(answer, Ok(_) | Err(RequestError::Nobody)), "{answer:?}");
    }
    assert_eq!(ask().await, Err(RequestError::Nobody));
}

type Commands = BoxStream<'static, Result<DurableRequest, EngineError>>;

async fn command(commands: &mut Commands) -> DurableRequest {
    item(commands).await
}

async fn a_durable_command_is_done_once_by_its_id(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    other.enqueue("shop", "order-1", Bytes::from_static(b"tea")).await.unwrap();
    other.enqueue("shop", "order-1", Bytes::from_static(b"tea")).await.unwrap();
    other.enqueue("bank", "a.b/c *>\r\n ü", Bytes::from_static(b"money")).await.unwrap();
    let lease = acquired(one, "shop", "first").await;
    let mut commands = one.take_durable(&lease, 4);
    let first = command(&mut commands).await;
    assert_eq!((&*first.id, &first.body[..], first.tries), ("order-1", &b"tea"[..], 1));
    (first.done)(Bytes::from_static(b"done")).await.unwrap();
    // Once more, after it is done.
    other.enqueue("shop", "order-1", Bytes::from_static(b"tea")).await.unwrap();
    other.enqueue("shop", "order-2", Bytes::from_static(b"milk")).await.unwrap();
    let second = command(&mut commands).await;
    assert_eq!(&*second.id, "order-2");
    (second.done)(Bytes::new()).await.unwrap();
    let answer = other.result("shop", "order-1", Duration::ZERO).await;
    assert_eq!(answer, Ok(Some(Bytes::from_static(b"done"))));
    assert_eq!(other.result("shop", "order-2", Duration::ZERO).await, Ok(Some(Bytes::new())));
    let lease = acquired(other, "bank", "second").await;
    let mut commands = other.take_durable(&lease, 1);
    let third = command(&mut commands).await;
    assert_eq!((&*third.id, &third.body[..]), ("a.b/c *>\r\n ü", &b"money"[..]));
    (third.done)(Bytes::from_static(b"paid")).await.unwrap();
    let answer = one.result("bank", "a.b/c *>\r\n ü", Duration::ZERO).await;
    assert_eq!(answer, Ok(Some(Bytes::from_static(b"paid"))));
    // The ids of other upstreams are others.
    assert_eq!(one.result("bank", "order-1", Duration::ZERO).await, Ok(None));
}

async fn a_durable_command_goes_to_the_next_holder_until_it_is_done(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    for id in ["order-1", "order-2", "order-3"] {
        one.enqueue("shop", id, Bytes::from_static(b"tea")).await.unwrap();
    }
    let lease = acquired(one, "shop", "first").await;
    let mut commands = one.take_durable(&lease, 2);
    let first = command(&mut commands).await;
    let second = command(&mut commands).await;
    assert_eq!((&*first.id, &*second.id), ("order-1", "order-2"));
    // Not more than the window; and none again while the same holder works on it, for however long.
    let none = timeout(LEASE_TIME * 2, commands.next()).await;
    assert!(none.is_err(), "{:?}", none.unwrap().unwrap().map(|command| command.id));
    (second.done)(Bytes::from_static(b"done")).await.unwrap();
    let third = command(&mut commands).await;
    assert_eq!(&*third.id, "order-3");
    drop((commands, first, third));
    one.release(&lease).await.unwrap();
    let lease = acquired(other, "shop", "second").await;
    let mut commands = other.take_durable(&lease, 2);
    let mut again = BTreeSet::new();
    for _ in 0..2 {
        let command = command(&mut commands).await;
        assert!(command.tries > 1, "{} of {}", command.tries, command.id);
        again.insert(command.id);
        (command.done)(Bytes::from_static(b"done")).await.unwrap();
    }
    assert_eq!(again, ["order-1", "order-3"].map(str::to_owned).into());
    assert!(timeout(A_WHILE, commands.next()).await.is_err());
}

async fn the_first_answer_of_a_durable_command_counts(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    one.enqueue("shop", "order-1", Bytes::from_static(b"tea")).await.unwrap();
    let lease = acquired(one, "shop", "first").await;
    let mut commands = one.take_durable(&lease, 1);
    let late = command(&mut commands).await;
    drop(commands);
    one.release(&lease).await.unwrap();
    let lease = acquired(other, "shop", "second").await;
    let again = command(&mut other.take_durable(&lease, 1)).await;
    (again.done)(Bytes::from_static(b"first")).await.unwrap();
    // The former holder did not know.
    (late.done)(Bytes::from_static(b"second")).await.unwrap();
    let answer = one.result("shop", "order-1", Duration::ZERO).await;
    assert_eq!(answer, Ok(Some(Bytes::from_static(b"first"))));
}

async fn the_answer_of_a_durable_command_is_waited_for(shared: &Shared) {
    let (one, other) = (shared.one(), shared.other());
    assert_eq!(other.result("shop", "order-1", Duration::ZERO).await, Ok(None));
    one.enqueue("shop", "order-1", Bytes::from_static(b"tea")).await.unwrap();
    assert_eq!(other.result("shop", "order-1", A_WHILE).await, Ok(None));
    let lease = acquired(one, "shop", "first").await;
    let mut commands = one.take_durable(&lease, 2);
    let done = async {
        let command = command(&mut commands).await;
        (command.done)(Bytes::from_static(b"done")).await.unwrap();
    };
    let waits = [one, other].map(|engine| engine.result("shop", "order-1", PATIENCE));
    let (answers, ()) = future::join(join_all(waits), done).await;
    for answer in answers {
        assert_eq!(answer, Ok(Some(Bytes::from_static(b"done"))));
    }
}
