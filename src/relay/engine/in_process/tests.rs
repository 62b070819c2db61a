use futures::{FutureExt, future::pending};

use super::*;
use crate::relay::engine::Begin;

fn engine(options: InProcessOptions) -> Engine {
    Engine::in_process_with(options)
}

fn record(id: &str, body: &'static str) -> Record {
    Record {
        id: id.to_owned(),
        fence: 1,
        offset: Some(format!("offset-{id}")),
        count: 1,
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn from_start(durable: Option<&str>) -> Subscription {
    Subscription {
        durable: durable.map(str::to_owned),
        upstreams: Vec::new(),
        begin: Begin::Start,
        ack_wait: Duration::from_secs(30),
        window: 8,
    }
}

fn worker(name: &str) -> Presence {
    Presence { worker: name.to_owned(), upstreams: vec!["shop".to_owned()] }
}

/// What is there at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it is there at once")
}

fn next(stream: &mut BoxStream<'static, Result<Delivery, EngineError>>) -> Option<Delivery> {
    stream.next().now_or_never().map(|item| item.unwrap().unwrap())
}

#[actix::test]
async fn a_lease_is_held_by_one_until_it_is_released_or_lapses() {
    tokio::time::pause();
    let engine = engine(InProcessOptions::default().lease_time(Duration::from_secs(3)));
    let backend = &engine.0;
    let one = now(backend.acquire("shop", "one")).unwrap().unwrap();
    assert_eq!(now(backend.acquire("shop", "two")), Ok(None));
    assert_eq!(now(backend.holder("shop")), Ok(Some("one".to_owned())));
    tokio::time::advance(Duration::from_secs(2)).await;
    let renewed = now(backend.renew(&one)).unwrap().unwrap();
    assert_eq!(renewed.fence, one.fence);
    assert_eq!(now(backend.renew(&one)), Ok(None), "by its last revision only");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(now(backend.acquire("shop", "two")), Ok(None));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(now(backend.renew(&renewed)), Ok(None), "it has lapsed");
    let two = now(backend.acquire("shop", "two")).unwrap().unwrap();
    assert!(two.fence > renewed.revision);
    now(backend.release(&renewed)).unwrap();
    assert_eq!(now(backend.holder("shop")), Ok(Some("two".to_owned())));
    now(backend.release(&two)).unwrap();
    assert_eq!(now(backend.holder("shop")), Ok(None));
    assert!(now(backend.acquire("shop", "one")).unwrap().unwrap().fence > two.fence);
}

#[actix::test]
async fn workers_are_there_as_long_as_they_say_so() {
    tokio::time::pause();
    let engine = engine(InProcessOptions::default().lease_time(Duration::from_secs(3)));
    now(engine.0.announce(&worker("one"))).unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    now(engine.0.announce(&worker("two"))).unwrap();
    let mut both = now(engine.0.workers()).unwrap();
    both.sort_unstable_by(|one, other| one.worker.cmp(&other.worker));
    assert_eq!(both, ["one", "two"].map(worker));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(now(engine.0.workers()).unwrap(), [worker("two")]);
    now(engine.0.withdraw("two")).unwrap();
    assert!(now(engine.0.workers()).unwrap().is_empty());
}

#[test]
fn a_ticket_of_a_former_holder_does_not_replace_a_later_one() {
    let engine = Engine::in_process();
    for (fence, pid, kept) in [(2, "b", "b"), (1, "a", "b"), (2, "c", "c"), (3, "d", "d")] {
        now(engine.0.keep_ticket("shop", fence, pid)).unwrap();
        assert_eq!(now(engine.0.ticket("shop")).unwrap().as_deref(), Some(kept));
    }
    assert_eq!(now(engine.0.ticket("other")), Ok(None));
}

#[test]
fn a_record_is_appended_behind_the_last_one_of_its_upstream_only() {
    let engine = Engine::in_process();
    let backend = &engine.0;
    assert_eq!(now(backend.head("shop")), Ok(None));
    let first = now(backend.append("shop", 0, record("1", "a"))).unwrap();
    let other = now(backend.append("other", 0, record("1", "x"))).unwrap();
    assert_eq!(now(backend.append("shop", 0, record("2", "b"))), Err(AppendError::OutOfDate));
    assert_eq!(now(backend.append("shop", other, record("2", "b"))), Err(AppendError::OutOfDate));
    let second = now(backend.append("shop", first, record("2", "b"))).unwrap();
    assert!(second > first);
    let head = now(backend.head("shop")).unwrap().unwrap();
    assert_eq!((head.sequence, &*head.id, head.fence), (second, "2", 1));
    assert_eq!(head.offset.as_deref(), Some("offset-2"));
}

#[actix::test]
async fn a_record_that_is_not_acked_in_time_comes_again() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let first = now(engine.0.append("shop", 0, record("1", "a"))).unwrap();
    now(engine.0.append("shop", first, record("2", "b"))).unwrap();
    let mut reader = engine.0.read(from_start(Some("billing")));
    let (one, two) = (next(&mut reader).unwrap(), next(&mut reader).unwrap());
    assert_eq!((one.sequence, one.tries, &*one.record.id), (first, 1, "1"));
    assert!(next(&mut reader).is_none());
    now((two.ack)()).unwrap();
    let again = reader.next().await.unwrap().unwrap();
    assert_eq!((again.sequence, again.tries), (first, 2));
    now((again.ack)()).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(next(&mut reader).is_none());
    // The engine remembers, and what one has not acked another one gets.
    drop(reader);
    now(engine.0.append("shop", two.sequence, record("3", "c"))).unwrap();
    let mut reader = engine.0.read(from_start(Some("billing")));
    assert_eq!(&*next(&mut reader).unwrap().record.id, "3");
    drop(reader);
    let mut reader = engine.0.read(from_start(Some("billing")));
    assert!(next(&mut reader).is_none());
    let again = reader.next().await.unwrap().unwrap();
    assert_eq!((&*again.record.id, again.tries), ("3", 2));
    // One without a name begins anew.
    assert_eq!(next(&mut engine.0.read(from_start(None))).unwrap().sequence, first);
}

#[actix::test]
async fn a_consumer_is_woken_by_a_record_and_by_room_in_its_window() {
    let engine = Engine::in_process();
    let mut reader = engine.0.read(Subscription { window: 1, ..from_start(None) });
    let (first, delivery) =
        tokio::join!(engine.0.append("shop", 0, record("1", "a")), reader.next());
    let delivery = delivery.unwrap().unwrap();
    now(engine.0.append("shop", first.unwrap(), record("2", "b"))).unwrap();
    assert!(next(&mut reader).is_none(), "the window is full");
    let (second, acked) = tokio::join!(reader.next(), (delivery.ack)());
    acked.unwrap();
    assert_eq!(&*second.unwrap().unwrap().record.id, "2");
}

#[actix::test]
async fn a_consumer_begins_where_it_says_and_gets_its_upstreams_only() {
    let engine = Engine::in_process();
    let mut behind = 0;
    for id in ["1", "2", "3"] {
        behind = now(engine.0.append("shop", behind, record(id, "a"))).unwrap();
        now(engine.0.append(&format!("other-{id}"), 0, record("x", "a"))).unwrap();
    }
    let shop = || Subscription { upstreams: vec!["shop".to_owned()], ..from_start(None) };
    let read = |begin| {
        let mut reader = engine.0.read(Subscription { begin, ..shop() });
        let mut ids = Vec::new();
        while let Some(delivery) = next(&mut reader) {
            assert_eq!(delivery.upstream, "shop");
            ids.push(delivery.record.id);
        }
        ids
    };
    assert_eq!(read(Begin::Start), ["1", "2", "3"]);
    assert_eq!(read(Begin::Sequence(behind)), ["3"]);
    assert_eq!(read(Begin::Sequence(behind + 100)), [""; 0]);
    assert_eq!(read(Begin::End), [""; 0]);
    assert_eq!(read(Begin::Time(std::time::SystemTime::UNIX_EPOCH)).len(), 3);
    let hour = Duration::from_secs(3_600);
    assert_eq!(read(Begin::Time(clock::wall() + hour)), [""; 0]);
}

#[actix::test]
async fn a_full_log_keeps_what_a_consumer_awaits_and_lets_the_rest_go() {
    tokio::time::pause();
    // Three records and a bit.
    let bounds = InProcessOptions::default().max_bytes(1_000).max_age(Duration::from_secs(60));
    let engine = engine(bounds);
    let mut behind = 0;
    for id in ["1", "2", "3", "4", "5"] {
        behind = now(engine.0.append("shop", behind, record(id, "a"))).unwrap();
    }
    let mut reader = engine.0.read(from_start(Some("billing")));
    let oldest = next(&mut reader).unwrap();
    assert_eq!(&*oldest.record.id, "3");
    let full = now(engine.0.append("shop", behind, record("6", "a")));
    assert_eq!(full, Err(AppendError::Full));
    now((oldest.ack)()).unwrap();
    behind = now(engine.0.append("shop", behind, record("6", "a"))).unwrap();
    let full = now(engine.0.append("shop", behind, record("7", "a")));
    assert_eq!(full, Err(AppendError::Full));
    let left: Vec<String> =
        std::iter::from_fn(|| next(&mut reader)).map(|delivery| delivery.record.id).collect();
    assert_eq!(left, ["4", "5", "6"]);
    tokio::time::advance(Duration::from_secs(61)).await;
    behind = now(engine.0.append("shop", behind, record("7", "a"))).unwrap();
    assert_eq!(&*next(&mut reader).unwrap().record.id, "7");
    assert!(next(&mut reader).is_none(), "what is too old does not come again");
    let body = Bytes::from(vec![b'x'; 1_001]);
    let large = Record { body, ..record("8", "") };
    assert_eq!(now(engine.0.append("shop", behind, large)), Err(AppendError::TooLarge));
}

fn lease(fence: u64) -> Lease {
    Lease { upstream: "shop".to_owned(), worker: "one".to_owned(), fence, revision: fence }
}

#[actix::test]
async fn a_request_is_answered_by_the_holder_that_came_last() {
    let engine = Engine::in_process();
    let (second, body) = (Duration::from_secs(1), Bytes::from_static(b"buy"));
    let ask = || engine.0.request("shop", body.clone(), second);
    assert_eq!(ask().await, Err(RequestError::Nobody));
    let mut former = engine.0.serve(&lease(1), pending().boxed());
    let mut holder = engine.0.serve(&lease(2), pending().boxed());
    let late = engine.0.serve(&lease(1), pending().boxed());
    let serve = async {
        let request = holder.next().await.unwrap().unwrap();
        assert!(request.deadline <= second);
        (request.reply)(request.body).await.unwrap();
    };
    assert_eq!(tokio::join!(ask(), serve).0, Ok(body.clone()));
    assert!(former.next().now_or_never().is_none());
    drop((former, late));
    // Taken, and not answered.
    let (asked, ()) = tokio::join!(ask(), async { drop(holder.next().await) });
    assert_eq!(asked, Err(RequestError::NoAnswer));
    // Not taken.
    let (asked, ()) = tokio::join!(ask(), async { drop(holder) });
    assert_eq!(asked, Err(RequestError::Nobody));
    assert_eq!(ask().await, Err(RequestError::Nobody));
}

#[actix::test]
async fn a_request_that_is_not_taken_in_time_is_not_taken_at_all() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut holder = engine.0.serve(&lease(1), pending().boxed());
    let asked = engine.0.request("shop", Bytes::new(), Duration::from_secs(1)).await;
    assert_eq!(asked, Err(RequestError::NoAnswer));
    assert!(holder.next().now_or_never().is_none());
}

#[actix::test]
async fn a_durable_command_is_taken_until_it_is_done_and_its_answer_is_kept() {
    tokio::time::pause();
    let engine = engine(InProcessOptions::default().max_age(Duration::from_secs(60)));
    for id in ["1", "2", "3", "1"] {
        now(engine.0.enqueue("shop", id, Bytes::from(id))).unwrap();
    }
    let mut former = engine.0.take_durable(&lease(1), 2);
    let take = |taker: &mut BoxStream<'static, Result<DurableRequest, EngineError>>| {
        taker.next().now_or_never().map(|item| item.unwrap().unwrap())
    };
    let (one, two) = (take(&mut former).unwrap(), take(&mut former).unwrap());
    assert_eq!((&*one.id, one.tries, &*two.id), ("1", 1, "2"));
    assert!(take(&mut former).is_none(), "the window is full");
    let mut holder = engine.0.take_durable(&lease(2), 8);
    // The former holder is late, and has done it all the same.
    now((two.done)(Bytes::from("done 2"))).unwrap();
    drop(former);
    let again = take(&mut holder).unwrap();
    assert_eq!((&*again.id, again.tries, &*again.body), ("1", 2, &b"1"[..]));
    assert_eq!(&*take(&mut holder).unwrap().id, "3");
    assert!(take(&mut holder).is_none());
    let second = Duration::from_secs(1);
    assert_eq!(engine.0.result("shop", "1", second).await, Ok(None));
    let (result, done) =
        tokio::join!(engine.0.result("shop", "1", second), (again.done)(Bytes::from("done 1")));
    assert_eq!((result, done), (Ok(Some(Bytes::from("done 1"))), Ok(())));
    now(engine.0.enqueue("shop", "2", Bytes::new())).unwrap();
    assert!(take(&mut holder).is_none(), "it is done");
    assert_eq!(now(engine.0.result("shop", "2", second)), Ok(Some(Bytes::from("done 2"))));
    // The same id is another command for another upstream.
    assert_eq!(engine.0.result("other", "2", second).await, Ok(None));
    now(engine.0.enqueue("other", "2", Bytes::new())).unwrap();
    let other = Lease { upstream: "other".to_owned(), ..lease(3) };
    assert_eq!(&*take(&mut engine.0.take_durable(&other, 8)).unwrap().id, "2");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(engine.0.result("shop", "2", second).await, Ok(None));
}

#[actix::test]
async fn a_consumer_that_is_not_durable_gets_nothing_again_and_is_held_by_its_window() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let first = now(engine.0.append("shop", 0, record("1", "a"))).unwrap();
    now(engine.0.append("shop", first, record("2", "b"))).unwrap();
    let mut reader = engine.0.read(Subscription { window: 1, ..from_start(None) });
    let one = next(&mut reader).unwrap();
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(next(&mut reader).is_none());
    now((one.ack)()).unwrap();
    assert_eq!(&*next(&mut reader).unwrap().record.id, "2");
}

#[actix::test]
async fn a_durable_command_that_its_holder_drops_comes_again_after_the_lease_time() {
    tokio::time::pause();
    let lease_time = Duration::from_secs(3);
    let engine = engine(InProcessOptions::default().lease_time(lease_time));
    for id in ["1", "2"] {
        now(engine.0.enqueue("shop", id, Bytes::from(id))).unwrap();
    }
    let mut holder = engine.0.take_durable(&lease(1), 1);
    let began = clock::now();
    drop(holder.next().await);
    let again = holder.next().await.unwrap().unwrap();
    assert_eq!((&*again.id, again.tries), ("1", 2));
    assert_eq!((clock::now() - began).as_secs(), 3);
    now((again.done)(Bytes::new())).unwrap();
    assert_eq!(&*holder.next().await.unwrap().unwrap().id, "2");
}

#[actix::test]
async fn threads_may_share_it() {
    const EACH: usize = 200;
    let engine = Engine::in_process();
    let mut reader = engine.0.read(Subscription { window: 4, ..from_start(Some("billing")) });
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    loop {
                        let behind = now(engine.0.head("shop")).unwrap();
                        let behind = behind.map_or(0, |head| head.sequence);
                        let record = record(&format!("{writer}-{number}"), "a");
                        if now(engine.0.append("shop", behind, record)).is_ok() {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    let mut last = 0;
    while ids.len() < 4 * EACH {
        let delivery = reader.next().await.unwrap().unwrap();
        assert!(delivery.sequence > last);
        last = delivery.sequence;
        assert!(ids.insert(delivery.record.id));
        let acked = (delivery.ack)();
        std::thread::spawn(|| now(acked).unwrap()).join().unwrap();
    }
    for writer in writers {
        writer.join().unwrap();
    }
}
