//! Events as types of the application, and the ways to receive some of them.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix::{
    Actor, ActorContext, Addr, Context, Handler, Message, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use actix_socketio::{
    Call, Client, Disconnected, Event, Filter, Lagged, NamedEvent, Payload, Ready, Socket,
    Undecodable,
    middleware::{self, Flow},
};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{
    every::{Target, on_every_server, on_official_servers, within},
    logged,
    node::{self, Line},
    recorder::Recorder,
    scripted::Scripted,
};
use tokio::sync::{mpsc, oneshot};

on_every_server!(
    an_actor_hears_events_as_messages_of_its_own_in_one_order,
    what_a_handler_returns_is_the_answer,
    questions_are_answered_at_the_same_time_up_to_a_bound,
    the_same_contract_asks_the_server,
    what_cannot_be_answered_is_answered_with_an_error,
    who_is_cancelled_still_answers_what_it_was_asked,
    what_has_another_shape_comes_as_it_is,
    what_has_another_shape_is_told_to_all_who_want_to_know,
    names_prefixes_functions_and_streams_hear_their_part,
    what_was_kept_goes_to_whom_it_concerns,
    one_of_several_subscriptions_can_be_cancelled,
    a_function_that_panics_is_forgotten_and_nobody_else_minds,
);

// socketioxide does not send what does not fit in its own buffer.
on_official_servers!(
    a_stream_that_is_not_polled_holds_back_what_it_hears,
    many_hear_each_what_is_theirs_whatever_names_there_are,
    a_thread_that_is_no_arbiter_listens_and_stops_in_the_middle_of_a_burst,
);

/// Passes on all events, and the answers back.
struct Relay {
    to: Socket,
}

impl Actor for Relay {
    type Context = Context<Self>;
}

impl Handler<Event> for Relay {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Context<Self>) {
        if !event.wants_ack() {
            self.to.send(event.to_emit()).unwrap();
            return;
        }
        let answer = self.to.send_with_ack::<Payload>(event.to_emit()).send();
        actix::spawn(async move { event.ack_with(&answer.await.unwrap()).unwrap() });
    }
}

#[actix::test]
async fn what_is_passed_on_comes_as_it_was() {
    // From an old server to a new one, by way of this process.
    let (old, new) = (node::server(Line::V2_5_1), node::server(Line::V4));
    let from = support::client(old.url()).connect().await.unwrap();
    let to = support::client(new.url()).connect().await.unwrap();
    from.socket().listen("echo").actor(Relay { to: to.socket().clone() }.start());
    let mut recorder = Recorder::of(to.socket());
    recorder.next_ready().await;
    let hostile = json!([
        null,
        true,
        u64::MAX,
        i64::MIN,
        -0.0,
        5e-324,
        "",
        "\u{2028}\u{0}\"\\",
        { "_placeholder": "no", "num": 0, "": [[], {}] },
    ]);
    let bytes = Bytes::from_static(&[0, 255, 4]);
    for number in 0..20_u32 {
        let arguments = (&hostile, &bytes, number, vec![bytes.clone()]);
        from.socket().emit("say", ("echo", arguments.0, arguments.1, number, arguments.3)).unwrap();
    }
    for number in 0..20_u32 {
        let event = recorder.next_event("echo").await;
        let (json, data, passed, more) =
            event.args::<(serde_json::Value, Bytes, u32, Vec<Bytes>)>().unwrap();
        // Both servers are in JavaScript, where a number is what it is.
        let rounded = |value: &serde_json::Value| value[2].as_f64();
        assert_eq!(rounded(&json), rounded(&hostile));
        assert_eq!((&json[7], &json[8]), (&hostile[7], &hostile[8]));
        assert_eq!((data, passed, more), (bytes.clone(), number, vec![bytes.clone()]));
    }
    // A question of the one server, answered by the other.
    let mut answers = Recorder::of(from.socket());
    answers.next_ready().await;
    from.socket().emit("ask", ("echo", 7, &bytes)).unwrap();
    while answers.next_of_any_name().await.name() != "echo" {}
    let answered = answers.next_event("answered").await;
    assert_eq!(answered.args::<(u8, Bytes)>().unwrap(), (7, bytes));
}

/// What no type of Rust takes is passed on: nobody looks at it.
#[actix::test]
async fn what_is_passed_on_is_not_decoded() {
    let (left, right) = (Scripted::start(), Scripted::start());
    let clients = [&left, &right].map(|server| support::builder(server.url()).start().unwrap());
    let (mut left, mut right) = (left.accept().await, right.accept().await);
    left.greet().await;
    right.greet().await;
    let [from, to] = clients.each_ref().map(Client::socket);
    from.listen("e").actor(Relay { to: to.clone() }.start());
    let huge = format!("[\"e\",1{}, 1e999 ,{{\"a\":0.{}}}]", "0".repeat(400), "9".repeat(400));
    left.send_text(&format!("42{huge}")).await;
    right.expect_text(&format!("42{huge}")).await;
    left.send_text(&format!("4217{huge}")).await;
    right.expect_text(&format!("420{huge}")).await;
    right.send_text(&format!("430{huge}")).await;
    left.expect_text(&format!("4317{huge}")).await;
}

#[derive(Serialize, Deserialize, Message, Debug, PartialEq)]
#[rtype(result = "()")]
struct Price(String, u32);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

#[derive(Serialize, Deserialize, Message, Debug, PartialEq)]
#[rtype(result = "()")]
struct Sold {
    what: String,
}

impl NamedEvent for Sold {
    const NAME: &'static str = "sold";
}

#[derive(Deserialize, Message, Debug)]
#[rtype(result = "()")]
struct OtherPrice {}

impl NamedEvent for OtherPrice {
    const NAME: &'static str = "price";
}

/// Asked of this side.
#[derive(Serialize, Deserialize, Message, Debug)]
#[rtype(result = "Result<u32, String>")]
struct Stock(String);

impl NamedEvent for Stock {
    const NAME: &'static str = "stock";
}

impl Call for Stock {
    type Reply = u32;
}

/// Asked of this side, and answered later.
#[derive(Deserialize, Message, Debug)]
#[rtype(result = "(u32, String)")]
struct Slow(u32);

impl NamedEvent for Slow {
    const NAME: &'static str = "slow";
}

impl Call for Slow {
    type Reply = (u32, String);
}

/// Asked of this side, with an answer that cannot be sent, or none.
#[derive(Deserialize, Message, Debug)]
#[rtype(result = "Odd")]
struct Hard(String);

impl NamedEvent for Hard {
    const NAME: &'static str = "hard";
}

impl Call for Hard {
    type Reply = Odd;
}

#[derive(Serialize)]
#[serde(untagged)]
enum Odd {
    /// JSON has no such keys.
    Map(HashMap<Vec<u8>, u8>),
    Text(String),
}

/// Asked of the server.
#[derive(Serialize)]
struct Echo(String, u32);

impl NamedEvent for Echo {
    const NAME: &'static str = "echo";
}

impl Call for Echo {
    type Reply = (String, u32);
}

/// Reports what it gets.
struct Desk {
    heard: mpsc::UnboundedSender<String>,
    /// For a slow question, the test gets a channel to answer it.
    slow: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

macro_rules! hear {
    ($($message:ty),*) => { $(
        impl Handler<$message> for Desk {
            type Result = ();
            fn handle(&mut self, message: $message, _: &mut Context<Self>) {
                self.heard.send(format!("{message:?}")).unwrap();
            }
        }
    )* };
}

hear!(Price, OtherPrice, Sold, Lagged);

impl Handler<Event> for Desk {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Context<Self>) {
        self.heard.send(format!("{}{}", event.name(), event.payload().to_json())).unwrap();
    }
}

impl Handler<Ready> for Desk {
    type Result = ();
    fn handle(&mut self, _: Ready, _: &mut Context<Self>) {
        self.heard.send("ready".to_owned()).unwrap();
    }
}

impl Handler<Disconnected> for Desk {
    type Result = ();
    fn handle(&mut self, _: Disconnected, _: &mut Context<Self>) {
        self.heard.send("gone".to_owned()).unwrap();
    }
}

impl Handler<Undecodable> for Desk {
    type Result = ();
    fn handle(&mut self, what: Undecodable, _: &mut Context<Self>) {
        assert!(!what.error().to_string().is_empty());
        assert!(what.wanted().starts_with("contracts::"));
        self.heard.send(format!("not {}", what.event().name())).unwrap();
        if what.event().wants_ack() {
            what.event().ack("never mind").unwrap();
        }
    }
}

impl Handler<Stock> for Desk {
    type Result = Result<u32, String>;
    fn handle(&mut self, Stock(what): Stock, _: &mut Context<Self>) -> Self::Result {
        if what == "tea" { Ok(7) } else { Err(format!("no {what}")) }
    }
}

impl Handler<Hard> for Desk {
    type Result = ResponseActFuture<Self, Odd>;
    fn handle(&mut self, Hard(how): Hard, ctx: &mut Context<Self>) -> Self::Result {
        let odd = match &*how {
            "map" => Odd::Map(HashMap::from([(vec![1], 2)])),
            "text" => Odd::Text("x".repeat(1_000)),
            "stop" => {
                ctx.terminate();
                return Box::pin(std::future::pending().into_actor(self));
            }
            _ => panic!("on purpose"),
        };
        Box::pin(async { odd }.into_actor(self))
    }
}

impl Handler<Slow> for Desk {
    type Result = ResponseFuture<(u32, String)>;
    fn handle(&mut self, Slow(number): Slow, _: &mut Context<Self>) -> Self::Result {
        let (go, may_go) = oneshot::channel();
        self.slow.send(go).unwrap();
        Box::pin(async move {
            may_go.await.unwrap();
            (number, "done".to_owned())
        })
    }
}

struct Shop {
    client: Client,
    desk: Addr<Desk>,
    heard: mpsc::UnboundedReceiver<String>,
    slow: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    recorder: Recorder,
}

impl Shop {
    /// A client, joined, and an actor that has not subscribed to anything.
    async fn open(server: &Target) -> Self {
        Self::of(server.client()).await
    }

    async fn of(client: Client) -> Self {
        let (heard_by, heard) = mpsc::unbounded_channel();
        let (slow_by, slow) = mpsc::unbounded_channel();
        let desk = Desk { heard: heard_by, slow: slow_by }.start();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        Self { client, desk, heard, slow, recorder }
    }

    /// Has the server emit an event with one argument.
    fn say(&self, name: &str, argument: impl Serialize) {
        self.client.socket().emit("say", (name, argument)).unwrap();
    }

    async fn hears(&mut self, expected: &str) {
        assert_eq!(within(self.heard.recv()).await.unwrap(), expected);
    }

    /// What the server got as the answer to a question with one argument.
    async fn answer_to(&mut self, name: &str, argument: impl Serialize) -> String {
        self.client.socket().emit("ask", (name, argument)).unwrap();
        loop {
            let event = self.recorder.next_of_any_name().await;
            if event.name() == "answered" {
                return event.payload().to_json();
            }
        }
    }
}

async fn an_actor_hears_events_as_messages_of_its_own_in_one_order(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.on::<Price>(shop.desk.clone());
    socket.on::<Sold>(shop.desk.clone());
    socket.listen("other").actor(shop.desk.clone());
    socket.subscribe_to::<Disconnected>(shop.desk.clone());
    for number in 0..50_u32 {
        socket.emit("say", ("price", "tea", number)).unwrap();
        shop.say("sold", Sold { what: number.to_string() });
        shop.say("other", number);
        shop.say("else", number);
    }
    for number in 0..50_u32 {
        shop.hears(&format!("Price(\"tea\", {number})")).await;
        shop.hears(&format!("Sold {{ what: \"{number}\" }}")).await;
        shop.hears(&format!("other[{number}]")).await;
    }
    socket.disconnect();
    shop.hears("gone").await;
}

async fn what_a_handler_returns_is_the_answer(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.answer::<Stock>(shop.desk.clone());
    socket.answer::<Slow>(shop.desk.clone());
    assert_eq!(shop.answer_to("stock", "tea").await, "[7]");
    assert_eq!(shop.answer_to("stock", "milk").await, r#"[{"error":"no milk"}]"#);
    socket.emit("ask", ("slow", 5)).unwrap();
    let go = within(shop.slow.recv()).await.unwrap();
    // A slow answer holds up nothing else.
    assert_eq!(shop.answer_to("stock", "tea").await, "[7]");
    go.send(()).unwrap();
    let answered = shop.recorder.next_of_any_name().await;
    assert_eq!(answered.payload().to_json(), r#"[5,"done"]"#);
    // Nobody asked: it is handled all the same.
    shop.say("slow", 6);
    within(shop.slow.recv()).await.unwrap().send(()).unwrap();
    assert_eq!(shop.answer_to("stock", "tea").await, "[7]");
}

async fn what_cannot_be_answered_is_answered_with_an_error(server: &Target) {
    for (how, error) in [
        ("map", "the answer cannot be serialised: "),
        ("text", "a message of 10"),
        ("stop", "the actor that should answer is gone"),
        ("panic", "the actor that should answer is gone"),
    ] {
        let mut shop = Shop::of(server.builder().max_payload(1_000).start().unwrap()).await;
        shop.client.socket().answer::<Hard>(shop.desk.clone());
        let answer = shop.answer_to("hard", how).await;
        assert!(answer.starts_with(&format!(r#"[{{"error":"{error}"#)), "{how}: {answer}");
    }
}

async fn who_is_cancelled_still_answers_what_it_was_asked(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    let subscription = socket.answer::<Slow>(shop.desk.clone());
    socket.emit("ask", ("slow", 5)).unwrap();
    let go = within(shop.slow.recv()).await.unwrap();
    while shop.recorder.next_of_any_name().await.name() != "slow" {}
    subscription.cancel();
    // The namespace has got to that, and this comes to others only.
    shop.say("slow", 6);
    while shop.recorder.next_of_any_name().await.name() != "slow" {}
    go.send(()).unwrap();
    let answered = shop.recorder.next_event("answered").await;
    assert_eq!(answered.payload().to_json(), r#"[5,"done"]"#);
    assert!(shop.slow.try_recv().is_err());
}

async fn questions_are_answered_at_the_same_time_up_to_a_bound(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.answer::<Slow>(shop.desk.clone());
    socket.on::<Price>(shop.desk.clone());
    for number in 0..65 {
        socket.emit("ask", ("slow", number)).unwrap();
    }
    socket.emit("say", ("price", "tea", 1)).unwrap();
    let mut open = Vec::new();
    while open.len() < 64 {
        open.push(within(shop.slow.recv()).await.unwrap());
    }
    // All has come, and yet the last question and what is behind it wait.
    while shop.recorder.next_of_any_name().await.name() != "price" {}
    assert!(shop.slow.try_recv().is_err() && shop.heard.try_recv().is_err());
    open.remove(0).send(()).unwrap();
    open.push(within(shop.slow.recv()).await.unwrap());
    shop.hears("Price(\"tea\", 1)").await;
    for go in open {
        go.send(()).unwrap();
    }
    for _ in 0..65 {
        while shop.recorder.next_of_any_name().await.name() != "answered" {}
    }
}

async fn the_same_contract_asks_the_server(server: &Target) {
    let shop = Shop::open(server).await;
    let socket = shop.client.socket();
    let echoed = within(socket.call(Echo("tea".into(), 3))).await;
    assert_eq!(echoed, Ok(("tea".to_owned(), 3)));
}

async fn what_has_another_shape_comes_as_it_is(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.on::<Price>(shop.desk.clone());
    socket.answer::<Stock>(shop.desk.clone());
    socket.subscribe_to::<Undecodable>(shop.desk.clone());
    shop.say("price", 7);
    shop.hears("not price").await;
    assert_eq!(shop.answer_to("stock", 7).await, r#"["never mind"]"#);
    shop.hears("not stock").await;
    socket.emit_event(&Price("tea".into(), 1)).unwrap();
    socket.emit("say", ("price", "tea", 2)).unwrap();
    shop.hears("Price(\"tea\", 2)").await;
}

/// The one whose type it does not fit, and who cares; and one that has never heard of the type.
async fn what_has_another_shape_is_told_to_all_who_want_to_know(server: &Target) {
    logged::start();
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.on::<Price>(shop.desk.clone());
    // Nobody subscribes to it.
    shop.say("price", 1);
    while shop.recorder.next_of_any_name().await.name() != "price" {}
    // What was wanted, where, and what serde said.
    let warning = "/: the event \"price\" does not fit contracts::Price: invalid type: integer";
    let warnings = || logged::lines().iter().filter(|line| line.contains(warning)).count();
    assert_eq!(warnings(), 1);
    assert_eq!(shop.client.stats().undecodable, 1);
    let (told, mut hears) = mpsc::unbounded_channel();
    let (slow, _) = mpsc::unbounded_channel();
    let other = Desk { heard: told, slow }.start();
    socket.subscribe_to::<Undecodable>(other.clone());
    socket.subscribe_to::<Undecodable>(shop.desk.clone());
    // Another type that it does not fit, once.
    socket.listen_to::<OtherPrice>().once().actor(other);
    shop.say("price", 2);
    socket.emit("say", ("price", "tea", 3)).unwrap();
    shop.hears("not price").await;
    shop.hears("not price").await;
    shop.hears("Price(\"tea\", 3)").await;
    for _ in 0..2 {
        assert_eq!(within(hears.recv()).await.unwrap(), "not price");
    }
    shop.say("price", 4);
    assert_eq!(within(hears.recv()).await.unwrap(), "not price");
    assert_eq!(warnings(), 1);
    assert_eq!(shop.client.stats().undecodable, 4);
}

/// Each in its place, also where many come at a time, and where the mailbox is full.
#[actix::test]
async fn what_has_another_shape_comes_in_its_place() {
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let mut peer = server.accept().await;
    peer.greet().await;
    let mut shop = Shop::of(client).await;
    shop.client.socket().on::<Price>(shop.desk.clone());
    shop.client.socket().subscribe_to::<Undecodable>(shop.desk.clone());
    // Websocket frames, in one write.
    let frames = (0..100).flat_map(|number| {
        [format!("42[\"price\",{number}]"), format!("42[\"price\",\"tea\",{number}]")]
    });
    let frames = frames.flat_map(|text| {
        let head = [0x81, u8::try_from(text.len()).unwrap()];
        [&head[..], text.as_bytes()].concat()
    });
    peer.send_raw(frames.collect::<Vec<u8>>()).await;
    for number in 0..100 {
        shop.hears("not price").await;
        shop.hears(&format!("Price(\"tea\", {number})")).await;
    }
}

async fn names_prefixes_functions_and_streams_hear_their_part(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    socket.listen(Filter::prefix("price")).actor(shop.desk.clone());
    let (told, mut called) = mpsc::unbounded_channel();
    socket.listen("price.tea").call(move |event| {
        told.send(event.args::<u32>().unwrap()).unwrap();
    });
    let mut events = socket.listen(Filter::all()).stream();
    for (number, name) in ["price.tea", "pric", "price", "other", "price.tea"].iter().enumerate() {
        shop.say(name, number);
    }
    shop.hears("price.tea[0]").await;
    shop.hears("price[2]").await;
    shop.hears("price.tea[4]").await;
    assert_eq!(within(called.recv()).await, Some(0));
    assert_eq!(within(called.recv()).await, Some(4));
    for number in 0..5_u32 {
        assert_eq!(within(events.next()).await.unwrap().args::<u32>(), Ok(number));
    }
    drop(events);
    shop.say("price", 5);
    shop.hears("price[5]").await;
    within(shop.client.shutdown(support::PATIENCE)).await;
}

/// The namespace remembers who hears which name, where there are many subscribers; but not for more
/// than 1 024 names.
async fn many_hear_each_what_is_theirs_whatever_names_there_are(server: &Target) {
    const NAMES: usize = 1_100;
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    let (told, mut called) = mpsc::unbounded_channel();
    for own in 0..10 {
        let told = told.clone();
        socket.listen(format!("n{own}")).call(move |event| {
            told.send((own, event.name().to_owned(), event.args::<usize>().unwrap())).unwrap();
        });
    }
    socket.listen(Filter::prefix("n1")).actor(shop.desk.clone());
    for number in (0..NAMES).chain(0..10) {
        shop.say(&format!("n{number}"), number);
    }
    let begin_so = |number: &usize| number.to_string().starts_with('1');
    for number in (0..NAMES).chain(0..10).filter(begin_so) {
        shop.hears(&format!("n{number}[{number}]")).await;
    }
    for number in (0..10).chain(0..10) {
        assert_eq!(within(called.recv()).await, Some((number, format!("n{number}"), number)));
    }
    // One more, and one less, for a name that is known.
    let (told_late, mut called_late) = mpsc::unbounded_channel();
    let late = socket.listen("n7").call(move |event| {
        told_late.send(event.args::<usize>().unwrap()).unwrap();
    });
    shop.say("n7", 70);
    assert_eq!(within(called_late.recv()).await, Some(70));
    late.cancel();
    shop.say("n7", 71);
    assert_eq!(within(called_late.recv()).await, None);
    for number in [70, 71] {
        assert_eq!(within(called.recv()).await, Some((7, "n7".to_owned(), number)));
    }
}

async fn a_thread_that_is_no_arbiter_listens_and_stops_in_the_middle_of_a_burst(server: &Target) {
    const COUNT: u32 = 2_000;
    let switch = Arc::<AtomicBool>::default();
    let is_on = Arc::clone(&switch);
    let client = server.builder().middleware(middleware::incoming(move |event| {
        if !is_on.load(Ordering::SeqCst) {
            return Flow::Next(event);
        }
        let number = event.args::<u32>().unwrap_or_default();
        Flow::Next(event.with_args(number + COUNT).unwrap())
    }));
    let shop = Shop::of(client.start().unwrap()).await;
    let socket = shop.client.socket().clone();
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let collect = || {
            let (told, numbers) = std::sync::mpsc::channel();
            let subscription = socket.listen("n").call(move |event| {
                told.send(event.args::<u32>().unwrap()).unwrap();
            });
            (subscription, numbers)
        };
        let ((_, all), (short, some)) = (collect(), collect());
        let mut events = socket.listen(Filter::all()).stream();
        let mut streamed = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for bursts in 1..=2 {
                socket.emit("burst", COUNT).unwrap();
                while let Some(event) = events.next().await
                    && event.name() == "n"
                {
                    streamed.push(event.args::<u32>().unwrap());
                    if bursts == 1 && streamed.len() == 500 {
                        short.clone().cancel();
                        // A change for all that comes next.
                        switch.store(true, Ordering::SeqCst);
                    }
                }
            }
        });
        let numbers = [streamed, all.try_iter().collect(), some.try_iter().collect()];
        done.send(numbers).unwrap();
    });
    let [streamed, all, some] = within(outcome).await.unwrap();
    thread.join().unwrap();
    // The server's numbers, from some place on with what the middleware makes of them.
    let changed = streamed.iter().position(|&number| number >= COUNT).unwrap();
    assert!((500..=2_000).contains(&changed), "{changed}");
    let sent = (0..COUNT)
        .chain(0..COUNT)
        .zip(0..)
        .map(|(number, place)| number + if place < changed { 0 } else { COUNT });
    assert_eq!(streamed, sent.collect::<Vec<_>>());
    assert_eq!(all, streamed);
    assert!(some.len() >= 500 && some.len() <= 2_000, "{}", some.len());
    assert!(all.starts_with(&some));
}

async fn what_was_kept_goes_to_whom_it_concerns(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    for number in 0..3_u32 {
        socket.emit("say", ("price", "tea", number)).unwrap();
        socket.emit("say", ("other", number)).unwrap();
    }
    // The answer comes behind all of them.
    let answer = within(socket.emit_with_ack::<String>("id", ())).await;
    assert!(answer.is_ok());
    let (heard_by, mut heard) = mpsc::unbounded_channel();
    let (slow, _) = mpsc::unbounded_channel();
    let desk = Desk { heard: heard_by, slow }.start();
    socket.on::<Price>(desk.clone());
    for number in 0..3_u32 {
        let expected = format!("Price(\"tea\", {number})");
        assert_eq!(within(heard.recv()).await.unwrap(), expected);
    }
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    for number in 0..3_u32 {
        assert_eq!(recorder.next_of_any_name().await.args::<u32>(), Ok(number));
    }
}

async fn one_of_several_subscriptions_can_be_cancelled(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    let prices = socket.on::<Price>(shop.desk.clone());
    let other = socket.listen("other").actor(shop.desk.clone());
    prices.cancel();
    socket.emit("say", ("price", "tea", 1)).unwrap();
    shop.say("other", 1);
    shop.hears("other[1]").await;
    socket.on::<Price>(shop.desk.clone());
    other.cancel();
    shop.say("other", 2);
    socket.emit("say", ("price", "tea", 2)).unwrap();
    shop.hears("Price(\"tea\", 2)").await;
}

async fn a_function_that_panics_is_forgotten_and_nobody_else_minds(server: &Target) {
    let mut shop = Shop::open(server).await;
    let socket = shop.client.socket().clone();
    let (told, mut called) = mpsc::unbounded_channel();
    socket.listen("other").call(move |event| {
        let number = event.args::<u32>().unwrap();
        told.send(number).unwrap();
        assert_ne!(number, 1, "on purpose");
    });
    socket.listen("other").actor(shop.desk.clone());
    for number in 0..3_u32 {
        shop.say("other", number);
    }
    for number in 0..3_u32 {
        shop.hears(&format!("other[{number}]")).await;
    }
    assert_eq!(within(called.recv()).await, Some(0));
    assert_eq!(within(called.recv()).await, Some(1));
    // It is dropped, with its end of the channel.
    assert_eq!(within(called.recv()).await, None);
}

async fn a_stream_that_is_not_polled_holds_back_what_it_hears(server: &Target) {
    let shop = Shop::open(server).await;
    let socket = shop.client.socket();
    let mut events = socket.listen(Filter::all()).stream();
    shop.recorder.stop().await;
    socket.emit("burst", 200).unwrap();
    // Behind all of it.
    assert!(within(socket.emit_with_ack::<String>("id", ())).await.is_ok());
    support::eventually("most of it waits", || shop.client.stats().waiting_in > 150).await;
    for number in 0..200_u32 {
        assert_eq!(within(events.next()).await.unwrap().args::<u32>(), Ok(number));
    }
    assert_eq!(within(events.next()).await.unwrap().name(), "burst_done");
    drop(events);
}
