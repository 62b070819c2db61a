use std::{
    sync::{Arc, Mutex},
    task::Poll,
};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc};
use serde::Deserialize;

use super::*;
use crate::{
    payload::encode_event,
    proto::packet::root,
    relay::{
        InProcessOptions,
        engine::{AppendError, Record},
        record::{Gap, Mark, event_line, mark_line},
    },
    runtime::clock,
};

/// Writes records, as the holder of an upstream.
struct Writer {
    engine: Engine,
    upstream: &'static str,
    behind: u64,
    fence: u64,
    number: u64,
}

impl Writer {
    fn new(engine: &Engine, upstream: &'static str) -> Self {
        Self { engine: engine.clone(), upstream, behind: 0, fence: 1, number: 0 }
    }

    fn try_write(&mut self, body: impl Into<Bytes>) -> Result<u64, AppendError> {
        let record = Record {
            id: format!("{}-{}", self.fence, self.number),
            fence: self.fence,
            offset: None,
            count: 1,
            body: body.into(),
        };
        let written = self.engine.0.append(self.upstream, self.behind, record);
        self.behind = written.now_or_never().unwrap()?;
        self.number += 1;
        Ok(self.behind)
    }

    fn write(&mut self, body: impl Into<Bytes>) -> u64 {
        self.try_write(body).unwrap()
    }
}

fn line(name: &str, argument: u32) -> String {
    let payload = encode_event(name, &(argument,)).unwrap();
    let event = Event { namespace: root(), payload, answer: None, is_recoverable: false };
    event_line(1_500, &event, false)
}

/// As from a server with recovery.
fn line_with_offset(argument: u32, offset: &str, is_late: bool) -> String {
    let payload = encode_event("e", &(argument, offset)).unwrap();
    let event = Event { namespace: root(), payload, answer: None, is_recoverable: true };
    event_line(0, &event, is_late)
}

fn durable(engine: &Engine) -> ReaderBuilder {
    Reader::builder(engine.clone()).durable("billing").begin(Begin::Start)
}

fn event(entry: LogEntry) -> LogEvent {
    match entry {
        LogEntry::Event(event) => event,
        LogEntry::Mark(mark) => panic!("{mark:?}"),
    }
}

fn argument(event: &LogEvent) -> u32 {
    event.event().args().unwrap()
}

/// The arguments of all events that are there at once, without acks.
fn arguments(stream: &mut LogStream) -> Vec<u32> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten())
        .map(|entry| argument(&event(entry)))
        .collect()
}

/// Tells the test what it hears.
struct Desk {
    heard: mpsc::UnboundedSender<String>,
    /// It panics at this argument.
    hates: Option<u32>,
}

impl Desk {
    fn open(hates: Option<u32>) -> (Addr<Self>, mpsc::UnboundedReceiver<String>) {
        let (teller, hears) = mpsc::unbounded();
        (Self { heard: teller, hates }.start(), hears)
    }

    fn hear(&self, what: String) {
        self.heard.unbounded_send(what).unwrap();
    }
}

impl Actor for Desk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(2);
    }
}

impl Handler<Event> for Desk {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Context<Self>) {
        let argument = event.args().unwrap_or_default();
        assert_ne!(self.hates, Some(argument), "for the test");
        self.hear(format!("{} {argument}", event.name()));
    }
}

impl Handler<LogMark> for Desk {
    type Result = ();
    fn handle(&mut self, mark: LogMark, _: &mut Context<Self>) {
        self.hear(format!("{} {:?}", mark.upstream(), mark.kind()));
    }
}

impl Handler<Undecodable> for Desk {
    type Result = ();
    fn handle(&mut self, undecodable: Undecodable, _: &mut Context<Self>) {
        self.hear(format!("no {}", undecodable.event().name()));
    }
}

impl Handler<LogEvent> for Desk {
    type Result = ();
    fn handle(&mut self, event: LogEvent, ctx: &mut Context<Self>) {
        self.hear(format!("{} {}", event.is_redelivered(), argument(&event)));
        // The first time it forgets one.
        if argument(&event) != 2 || event.is_redelivered() {
            let told = event.ack().into_actor(self);
            ctx.spawn(told.map(|told, _, _| told.unwrap()));
        }
    }
}

#[derive(Deserialize, Message)]
#[rtype(result = "()")]
struct Price(u32);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

impl Handler<Price> for Desk {
    type Result = ();
    fn handle(&mut self, Price(price): Price, _: &mut Context<Self>) {
        self.hear(format!("price {price}"));
    }
}

#[actix::test]
async fn a_record_comes_again_until_all_its_events_are_acked() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let sequence = shop.write(format!("{}{}", line("a", 1), line("b", 2)));
    let mut log = durable(&engine).stream().unwrap();
    let (one, two) = (event(log.next().await.unwrap()), event(log.next().await.unwrap()));
    assert_eq!((one.upstream(), one.sequence(), one.index()), ("shop", sequence, 0));
    assert_eq!((two.sequence(), two.index(), two.event().name()), (sequence, 1, "b"));
    assert_eq!(one.at(), std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
    assert!(!one.is_redelivered() && !one.is_late());
    one.ack().await.unwrap();
    one.clone().ack().await.unwrap();
    let again = event(log.next().await.unwrap());
    assert!(again.is_redelivered());
    assert_eq!((again.sequence(), again.index()), (sequence, 0));
    let last = event(log.next().await.unwrap());
    again.ack().await.unwrap();
    last.ack().await.unwrap();
    // Even if nobody polls it any more.
    drop(log);
    shop.write(line("c", 3));
    let mut log = durable(&engine).stream().unwrap();
    assert_eq!(arguments(&mut log), [3]);
}

#[actix::test]
async fn a_record_that_is_done_does_not_come_again_if_the_engine_has_not_heard_of_it() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(line("a", 1));
    let mut log = durable(&engine).stream().unwrap();
    drop(event(log.next().await.unwrap()).ack());
    let minute = Duration::from_secs(60);
    assert!(clock::within(minute, log.next()).await.is_none());
    // By now it has.
    drop(log);
    let mut log = durable(&engine).stream().unwrap();
    assert!(clock::within(minute, log.next()).await.is_none());
}

#[actix::test]
async fn a_consumer_reads_from_a_sequence_or_a_time() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let mut other = Writer::new(&engine, "other");
    let sequences: Vec<u64> = (0..10).map(|number| shop.write(line("a", number))).collect();
    other.write(line("b", 99));
    let read = |begin| {
        let reader = Reader::builder(engine.clone()).upstreams(["shop"]).begin(begin);
        arguments(&mut reader.stream().unwrap())
    };
    assert_eq!(read(Begin::Start).len(), 10);
    assert_eq!(read(Begin::Sequence(sequences[7])), [7, 8, 9]);
    assert_eq!(read(Begin::End), [0_u32; 0]);
    assert_eq!(read(Begin::Time(std::time::SystemTime::UNIX_EPOCH)).len(), 10);
    assert_eq!(read(Begin::Time(clock::wall() + Duration::from_secs(60))), [0_u32; 0]);
    let mut live = Reader::builder(engine.clone()).stream().unwrap();
    assert_eq!(arguments(&mut live), [0_u32; 0]);
    shop.write(line("a", 10));
    assert_eq!(arguments(&mut live), [10]);
}

#[actix::test]
async fn marks_come_at_their_place_and_need_no_ack() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let holder = mark_line(7, &Mark::Holder { worker: "one".into() });
    let gap = mark_line(8, &Mark::Gap { gap: Gap::NewSession, missed: None });
    shop.write(holder);
    shop.write(format!("{}{gap}{}", line("a", 1), line("a", 2)));
    shop.write("no record");
    shop.write(line("a", 3));
    let mut log = durable(&engine).window(1).stream().unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        match log.next().await.unwrap() {
            LogEntry::Event(event) => {
                seen.push(argument(&event).to_string());
                event.ack().await.unwrap();
            }
            LogEntry::Mark(mark) => seen.push(format!("{:?}", mark.kind())),
        }
    }
    assert_eq!(seen[0], r#"Holder { worker: "one" }"#);
    assert_eq!(seen[1..4], ["1", "Gap { gap: NewSession, missed: None }", "2"]);
    assert!(seen[4].starts_with("Unreadable"), "{}", seen[4]);
    assert_eq!(seen[5], "3");
    drop(log);
    assert!(durable(&engine).stream().unwrap().next().now_or_never().is_none());
}

#[actix::test]
async fn what_two_holders_wrote_comes_once_and_what_a_former_one_wrote_late_not_at_all() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(format!("{}{}", line_with_offset(1, "A", false), line_with_offset(2, "B", false)));
    shop.fence = 5;
    shop.write(format!("{}{}", line_with_offset(2, "B", false), line_with_offset(3, "C", false)));
    shop.fence = 2;
    shop.write(line_with_offset(100, "X", false));
    shop.fence = 5;
    // Nothing is left of this one.
    shop.write(line_with_offset(3, "C", true));
    shop.write(format!("{}{}", line_with_offset(4, "D", true), line("a", 5)));
    let mut log = durable(&engine).stream().unwrap();
    let mut events = Vec::new();
    while let Some(Some(entry)) = log.next().now_or_never() {
        let event = event(entry);
        event.ack().await.unwrap();
        events.push((event.event().args::<(u32,)>().unwrap().0, event.is_late()));
    }
    assert_eq!(events, [(1, false), (2, false), (3, false), (4, true), (5, false)]);
    // All is acked, what was dropped as well.
    drop(log);
    shop.write(line("a", 6));
    assert_eq!(arguments(&mut durable(&engine).stream().unwrap()), [6]);
}

#[actix::test]
async fn a_record_that_comes_again_is_no_repeat() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(line_with_offset(1, "A", false));
    shop.fence = 2;
    shop.write(line_with_offset(2, "B", false));
    let mut log = durable(&engine).stream().unwrap();
    let first = event(log.next().await.unwrap());
    event(log.next().await.unwrap()).ack().await.unwrap();
    let again = event(log.next().await.unwrap());
    assert_eq!(again.sequence(), first.sequence());
    assert!(again.is_redelivered());
}

#[actix::test]
async fn an_actor_gets_events_as_they_are_and_as_types_and_the_marks_between() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let (all, mut hears_all) = Desk::open(None);
    let (typed, mut hears_typed) = Desk::open(None);
    let reader = durable(&engine)
        .events(all.clone())
        .on::<Price>(typed.clone())
        .undecodable(typed.clone())
        .marks(all)
        .start()
        .unwrap();
    let bad = line("price", 1).replace("[\"price\",1]", "[\"price\",\"x\"]");
    let lines: String = (10..20).map(|number| line("price", number)).collect();
    shop.write(format!("{bad}{}{lines}", line("other", 1)));
    shop.write(mark_line(7, &Mark::Holder { worker: "two".into() }));
    let mut expected = vec!["price 0".to_owned(), "other 1".to_owned()];
    expected.extend((10..20).map(|number| format!("price {number}")));
    expected.push(r#"shop Holder { worker: "two" }"#.to_owned());
    let heard: Vec<String> = hears_all.by_ref().take(expected.len()).collect().await;
    assert_eq!(heard, expected);
    let mut expected = vec!["no price".to_owned()];
    expected.extend((10..20).map(|number| format!("price {number}")));
    let heard: Vec<String> = hears_typed.by_ref().take(expected.len()).collect().await;
    assert_eq!(heard, expected);
    // Handled is acked.
    shop.write(line("other", 2));
    assert_eq!(hears_all.next().await.unwrap(), "other 2");
    drop(reader);
}

#[actix::test]
async fn an_actor_gets_all_kinds_of_messages_in_the_order_of_the_log() {
    #[derive(Deserialize, Message)]
    #[rtype(result = "()")]
    struct Stock(u32);

    impl NamedEvent for Stock {
        const NAME: &'static str = "stock";
    }

    impl Handler<Stock> for Desk {
        type Result = ();
        fn handle(&mut self, Stock(stock): Stock, _: &mut Context<Self>) {
            self.hear(format!("stock {stock}"));
        }
    }

    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let mut body = String::new();
    let mut expected = Vec::new();
    for number in 0..20 {
        body += &line("stock", number);
        body += &line("price", number);
        body += &mark_line(0, &Mark::Gap { gap: Gap::Lagged, missed: Some(number.into()) });
        body += &line("price", number).replace(&format!(",{number}]"), ",\"x\"]");
        expected.push(format!("stock {number}"));
        expected.push(format!("price {number}"));
        expected.push(format!("shop Gap {{ gap: Lagged, missed: Some({number}) }}"));
        expected.push("no price".to_owned());
    }
    shop.write(body);
    let (desk, hears) = Desk::open(None);
    let reader = durable(&engine).on::<Price>(desk.clone()).marks(desk.clone());
    let _reader = reader.on::<Stock>(desk.clone()).undecodable(desk).start().unwrap();
    assert_eq!(hears.take(expected.len()).collect::<Vec<_>>().await, expected);
}

#[actix::test]
async fn an_actor_can_ack_by_hand() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(format!("{}{}", line("a", 1), line("a", 2)));
    shop.write(line("a", 3));
    let (desk, hears) = Desk::open(None);
    let _reader = durable(&engine).log_events(desk).start().unwrap();
    let heard: Vec<String> = hears.take(5).collect().await;
    assert_eq!(heard, ["false 1", "false 2", "false 3", "true 1", "true 2"]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(arguments(&mut durable(&engine).stream().unwrap()), [0_u32; 0]);
}

#[actix::test]
async fn an_actor_that_panics_ends_its_consumer_and_the_next_one_gets_the_record() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(line("a", 1));
    shop.write(format!("{}{}{}", line("a", 2), line("a", 3), line("a", 4)));
    let (other, mut hears_other) = Desk::open(None);
    let _beside =
        Reader::builder(engine.clone()).begin(Begin::Start).events(other).start().unwrap();
    let (desk, hears) = Desk::open(Some(3));
    let reader = durable(&engine).events(desk).start().unwrap();
    reader.ended().await;
    assert_eq!(hears.collect::<Vec<_>>().await, ["a 1", "a 2"]);
    let (desk, mut hears) = Desk::open(None);
    let _reader = durable(&engine).events(desk).start().unwrap();
    for expected in ["a 2", "a 3", "a 4"] {
        assert_eq!(hears.next().await.unwrap(), expected);
    }
    // Nobody else is harmed.
    shop.write(line("a", 5));
    for expected in ["a 1", "a 2", "a 3", "a 4", "a 5"] {
        assert_eq!(hears_other.next().await.unwrap(), expected);
    }
}

#[actix::test]
async fn a_type_that_panics_when_it_is_read_is_undecodable() {
    struct Bad;

    impl<'de> Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("for the test")
        }
    }

    impl Message for Bad {
        type Result = ();
    }

    impl NamedEvent for Bad {
        const NAME: &'static str = "bad";
    }

    impl Handler<Bad> for Desk {
        type Result = ();
        fn handle(&mut self, _: Bad, _: &mut Context<Self>) {}
    }

    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(line("bad", 1));
    shop.write(line("price", 2));
    let (desk, mut hears) = Desk::open(None);
    let reader = durable(&engine).on::<Bad>(desk.clone()).on::<Price>(desk.clone());
    let _reader = reader.undecodable(desk).start().unwrap();
    assert_eq!(hears.next().await.unwrap(), "no bad");
    assert_eq!(hears.next().await.unwrap(), "price 2");
}

#[actix::test]
async fn a_consumer_ends_when_it_is_dropped_and_when_its_actor_stops() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    let (desk, mut hears) = Desk::open(None);
    let reader = durable(&engine).events(desk.clone()).start().unwrap();
    shop.write(line("a", 1));
    assert_eq!(hears.next().await.unwrap(), "a 1");
    let ended = reader.ended();
    drop(reader);
    ended.await;
    shop.write(line("a", 2));
    let reader = durable(&engine).events(desk).start().unwrap();
    assert_eq!(hears.next().await.unwrap(), "a 2");
    drop(hears);
    // Its handler panics now, since nobody listens to it.
    shop.write(line("a", 3));
    reader.ended().await;
}

#[actix::test]
async fn a_slow_consumer_holds_the_log_back_and_loses_nothing() {
    let engine = Engine::in_process_with(InProcessOptions::default().max_bytes(4_000));
    let mut shop = Writer::new(&engine, "shop");
    let mut log = durable(&engine).window(4).stream().unwrap();
    assert!(log.next().now_or_never().is_none());
    let (mut written, mut read) = (0, 0);
    let mut was_full = 0;
    while read < 200 {
        if written < 200 {
            match shop.try_write(line("a", written)) {
                Ok(_) => {
                    written += 1;
                    continue;
                }
                Err(AppendError::Full) => was_full += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let event = event(log.next().await.unwrap());
        assert_eq!(argument(&event), read);
        event.ack().await.unwrap();
        read += 1;
    }
    assert!(was_full > 10);
}

#[actix::test]
async fn a_window_bounds_what_is_not_acked() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    for number in 0..10 {
        shop.write(line("a", number));
    }
    let mut log = Reader::builder(engine).begin(Begin::Start).window(3).stream().unwrap();
    let mut held: Vec<LogEvent> = Vec::new();
    for _ in 0..3 {
        held.push(event(log.next().await.unwrap()));
    }
    assert!(log.next().now_or_never().is_none());
    // Its own silence makes no new consumer.
    tokio::time::advance(Duration::from_secs(1_000)).await;
    assert!(log.next().now_or_never().is_none());
    held.remove(1).ack().await.unwrap();
    assert_eq!(argument(&event(log.next().await.unwrap())), 3);
    assert!(log.next().now_or_never().is_none());
}

/// An engine whose streams end, fail, or fall silent after a record.
#[derive(Debug)]
struct Faulty {
    engine: Engine,
    fault: Fault,
    reads: Arc<Mutex<Vec<Begin>>>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Ends,
    Fails,
    Silent,
}

mod faulty {
    use futures::{future::BoxFuture, stream::BoxStream};

    use super::*;
    use crate::relay::engine::{
        Backend, Delivery, DurableRequest, EngineError, Head, Lease, Presence, Reply, Request,
        RequestError,
    };

    impl Backend for Faulty {
        fn read(&self, wanted: Subscription) -> BoxStream<'static, Result<Delivery, EngineError>> {
            self.reads.lock().unwrap().push(wanted.begin);
            let one = self.engine.0.read(wanted).take(1);
            match self.fault {
                Fault::Ends => one.boxed(),
                Fault::Fails => {
                    let away = || Some(Err(EngineError::Away("for the test".into())));
                    one.chain(futures::stream::poll_fn(move |_| Poll::Ready(away()))).boxed()
                }
                Fault::Silent => one.chain(futures::stream::pending()).boxed(),
            }
        }

        fn lease_time(&self) -> Duration {
            self.engine.0.lease_time()
        }

        fn max_record(&self) -> usize {
            self.engine.0.max_record()
        }

        fn acquire(&self, upstream: &str, worker: &str) -> Reply<Option<Lease>> {
            self.engine.0.acquire(upstream, worker)
        }

        fn renew(&self, lease: &Lease) -> Reply<Option<Lease>> {
            self.engine.0.renew(lease)
        }

        fn release(&self, lease: &Lease) -> Reply<()> {
            self.engine.0.release(lease)
        }

        fn holder(&self, upstream: &str) -> Reply<Option<String>> {
            self.engine.0.holder(upstream)
        }

        fn announce(&self, presence: &Presence) -> Reply<()> {
            self.engine.0.announce(presence)
        }

        fn withdraw(&self, worker: &str) -> Reply<()> {
            self.engine.0.withdraw(worker)
        }

        fn workers(&self) -> Reply<Vec<Presence>> {
            self.engine.0.workers()
        }

        fn head(&self, upstream: &str) -> Reply<Option<Head>> {
            self.engine.0.head(upstream)
        }

        fn append(
            &self,
            upstream: &str,
            behind: u64,
            record: Record,
        ) -> BoxFuture<'static, Result<u64, AppendError>> {
            self.engine.0.append(upstream, behind, record)
        }

        fn keep_ticket(&self, upstream: &str, fence: u64, pid: &str) -> Reply<()> {
            self.engine.0.keep_ticket(upstream, fence, pid)
        }

        fn ticket(&self, upstream: &str) -> Reply<Option<String>> {
            self.engine.0.ticket(upstream)
        }

        fn serve(
            &self,
            lease: &Lease,
            until: BoxFuture<'static, ()>,
        ) -> BoxStream<'static, Result<Request, EngineError>> {
            self.engine.0.serve(lease, until)
        }

        fn request(
            &self,
            upstream: &str,
            body: Bytes,
            deadline: Duration,
        ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
            self.engine.0.request(upstream, body, deadline)
        }

        fn take_durable(
            &self,
            lease: &Lease,
            window: usize,
        ) -> BoxStream<'static, Result<DurableRequest, EngineError>> {
            self.engine.0.take_durable(lease, window)
        }

        fn enqueue(&self, upstream: &str, id: &str, body: Bytes) -> Reply<()> {
            self.engine.0.enqueue(upstream, id, body)
        }

        fn result(&self, upstream: &str, id: &str, wait: Duration) -> Reply<Option<Bytes>> {
            self.engine.0.result(upstream, id, wait)
        }
    }
}

#[actix::test]
async fn a_consumer_whose_engine_fails_or_falls_silent_goes_on_where_it_was() {
    tokio::time::pause();
    for fault in [Fault::Ends, Fault::Silent] {
        for is_durable in [true, false] {
            let engine = Engine::in_process();
            let mut shop = Writer::new(&engine, "shop");
            let reads = Arc::default();
            let faulty = Faulty { engine, fault, reads: Arc::clone(&reads) };
            let mut reader = Reader::builder(Engine(Arc::new(faulty))).begin(Begin::Start);
            if is_durable {
                reader = reader.durable("billing");
            }
            let mut log = reader.stream().unwrap();
            for number in 0..4 {
                shop.write(line("a", number));
            }
            for number in 0..4 {
                let event = event(log.next().await.unwrap());
                assert_eq!((argument(&event), event.is_redelivered()), (number, false));
                event.ack().await.unwrap();
            }
            let reads = reads.lock().unwrap().clone();
            let behind = |at| if is_durable { Begin::Start } else { Begin::Sequence(at) };
            assert_eq!(reads, [Begin::Start, behind(2), behind(3), behind(4)]);
        }
    }
}

#[actix::test]
async fn an_engine_that_fails_is_asked_again_after_a_pause() {
    tokio::time::pause();
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    shop.write(line("a", 1));
    let faulty = Faulty { engine, fault: Fault::Fails, reads: Arc::default() };
    let reader = Reader::builder(Engine(Arc::new(faulty))).begin(Begin::Start);
    let mut log = reader.stream().unwrap();
    assert_eq!(arguments(&mut log), [1]);
    let began = clock::now();
    assert!(clock::within(Duration::from_secs(10), log.next()).await.is_none());
    assert_eq!((clock::now() - began).as_secs(), 10);
}

#[actix::test]
async fn options_out_of_range_are_refused() {
    let engine = Engine::in_process();
    let reader = || Reader::builder(engine.clone());
    let refused = |reader: ReaderBuilder| reader.stream().unwrap_err();
    assert_eq!(refused(reader().durable("a b")), ReaderError::Name("a b".into()));
    assert_eq!(refused(reader().upstreams(["shop", ""])), ReaderError::Name(String::new()));
    for reader in [reader().window(0), reader().window(10_001)] {
        let error = refused(reader);
        assert_eq!(error.to_string(), "option window has to be 1 to 10 000");
    }
    for wait in [Duration::ZERO, Duration::from_secs(86_401)] {
        let error = refused(reader().ack_wait(wait));
        assert!(matches!(error, ReaderError::OutOfRange { option: "ack_wait", .. }), "{error}");
    }
    assert_eq!(reader().start().unwrap_err(), ReaderError::NoActor);
    let elsewhere = std::thread::spawn({
        let (desk, _) = Desk::open(None);
        let engine = engine.clone();
        move || Reader::builder(engine).events(desk).start().unwrap_err()
    });
    assert_eq!(elsewhere.join().unwrap(), ReaderError::NoArbiter);
}

#[actix::test]
async fn a_long_log_leaves_turns_to_others() {
    let engine = Engine::in_process();
    let mut shop = Writer::new(&engine, "shop");
    for number in 0..1_000 {
        shop.write(line("a", number));
    }
    let mut turns = Box::pin(async {
        let mut turns = 0;
        loop {
            actix_rt::task::yield_now().await;
            turns += 1;
            if turns == 20 {
                break;
            }
        }
    });
    let mut log = durable(&engine).stream().unwrap();
    let mut all = Box::pin(async {
        for number in 0..1_000 {
            let event = event(log.next().await.unwrap());
            assert_eq!(argument(&event), number);
            event.ack().await.unwrap();
        }
    });
    let first = futures::future::select(&mut all, &mut turns).await;
    assert!(matches!(first, futures::future::Either::Right(_)));
    all.await;
}
