//! The ways to receive what comes to a namespace without an actor for everything: functions, streams,
//! filters, single messages, and how much may wait from the first event on.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix::{Actor, Context, Handler, Message};
use actix_socketio::{
    Client, ConnectError, Disconnected, Emitted, Event, Filter, GaveUp, Lagged, Listenable,
    Messages, NamedEvent, Overflow, Ready, Reason, Reconnect, Reconnecting, ServerError, Socket,
    Undecodable,
};
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use std::{fmt::Debug, time::Duration};
use support::{
    every::{Target, on_every_server, within},
    recorder::Recorder,
};
use tokio::sync::mpsc;

on_every_server!(
    each_kind_of_message_comes_to_functions_and_as_streams,
    attempts_and_their_end_come_to_functions_and_as_streams,
    one_message_comes_in_each_way_and_no_more,
    a_filter_picks_events_by_their_names,
    an_overflow_holds_from_the_very_first_event,
    the_last_call_that_sets_an_overflow_counts,
    what_streams_miss_is_told_to_others_that_listen_for_it,
    of_messages_of_its_life_a_stream_keeps_the_newest,
    functions_and_streams_end_with_the_client,
    what_is_cancelled_is_heard_no_more_and_the_rest_is,
    a_function_that_panics_is_called_no_more,
);

#[derive(Debug, Clone, PartialEq, Deserialize, Message)]
#[rtype(result = "()")]
struct Price(String, f64);

impl NamedEvent for Price {
    const NAME: &'static str = "price";
}

/// One kind of message, received by a function and as a stream.
struct Both<M> {
    called: mpsc::UnboundedReceiver<M>,
    stream: Messages<M>,
}

fn both<M: Listenable>(socket: &Socket) -> Both<M> {
    let (tell, called) = mpsc::unbounded_channel();
    socket.listen_to::<M>().call(move |message| drop(tell.send(message)));
    Both { called, stream: socket.listen_to::<M>().stream() }
}

impl<M: Debug> Both<M> {
    /// The next message, which has to be the same in both ways.
    async fn next(&mut self) -> M {
        let called = within(self.called.recv()).await.unwrap();
        let streamed = within(self.stream.next()).await.unwrap();
        assert_eq!(format!("{called:?}"), format!("{streamed:?}"));
        streamed
    }

    fn is_empty(&mut self) -> bool {
        self.called.try_recv().is_err() && self.stream.next().now_or_never().is_none()
    }
}

/// Waits until the namespace has got to all that the server has said and the test has asked for.
async fn settled(socket: &Socket) {
    let (): () = within(socket.emit_with_ack("none", ())).await.unwrap();
}

async fn each_kind_of_message_comes_to_functions_and_as_streams(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let mut ready = both::<Ready>(socket);
    let mut events = both::<Event>(socket);
    let mut prices = both::<Price>(socket);
    let mut misfits = both::<Undecodable>(socket);
    let mut emitted = both::<Emitted>(socket);
    let mut gone = both::<Disconnected>(socket);
    let mut errors = both::<ServerError>(socket);

    assert_eq!(ready.next().await.namespace(), "/");
    socket.emit("say", ("price", "tea", 3.5)).unwrap();
    assert_eq!(prices.next().await, Price("tea".into(), 3.5));
    assert_eq!(events.next().await.args::<Price>().unwrap(), Price("tea".into(), 3.5));
    assert_eq!(emitted.next().await.name(), "say");

    socket.emit("say", ("price", "none")).unwrap();
    assert_eq!(events.next().await.args::<String>().unwrap(), "none");
    // Once for the function, and once for the stream.
    for _ in 0..2 {
        assert!(misfits.next().await.wanted().ends_with("Price"));
    }

    if server.is_old() {
        socket.emit("unwanted", ("no", 7)).unwrap();
        assert_eq!(errors.next().await.error().decode::<u32>().unwrap(), 7);
    }
    socket.emit("leave", ()).unwrap();
    assert_eq!(*gone.next().await.reason(), Reason::ServerDisconnect);
    assert!(ready.is_empty() && events.is_empty() && prices.is_empty() && misfits.is_empty());

    let refused = client.of("/no").unwrap();
    let mut errors = both::<ConnectError>(&refused);
    assert!(matches!(errors.next().await.reason(), Reason::Refused(_)));
}

async fn attempts_and_their_end_come_to_functions_and_as_streams(server: &Target) {
    let server = server.fresh();
    let reconnect = Reconnect::default().delay(Duration::ZERO, Duration::ZERO).attempts(2);
    let client = server.builder().reconnect(reconnect).start().unwrap();
    let mut attempts = both::<Reconnecting>(client.socket());
    let mut given_up = both::<GaveUp>(client.socket());
    within(client.socket().ready()).await.unwrap();
    drop(server);
    assert_eq!(attempts.next().await.attempt(), 1);
    assert_eq!(attempts.next().await.attempt(), 2);
    assert_eq!(given_up.next().await.attempts(), 2);
}

/// Hands what it gets to the test.
struct Desk<M>(mpsc::UnboundedSender<M>);

impl<M: Unpin + 'static> Actor for Desk<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Desk<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        self.0.send(message).ok();
    }
}

/// An actor for one kind of message, and what it gets.
fn desk<M: Message<Result = ()> + Unpin + 'static>()
-> (actix::Addr<Desk<M>>, mpsc::UnboundedReceiver<M>) {
    let (sender, received) = mpsc::unbounded_channel();
    (Desk(sender).start(), received)
}

async fn one_message_comes_in_each_way_and_no_more(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let (addr, mut acted) = desk::<Ready>();
    let (tell, mut called) = mpsc::unbounded_channel();
    socket.listen_to::<Ready>().once().actor(addr);
    socket.listen_to::<Ready>().once().call(move |ready| drop(tell.send(ready)));
    let mut stream = socket.listen_to::<Ready>().once().stream();
    assert_eq!(within(acted.recv()).await.unwrap().namespace(), "/");
    assert_eq!(within(called.recv()).await.unwrap().namespace(), "/");
    assert_eq!(within(stream.next()).await.unwrap().namespace(), "/");

    let (addr, mut acted_event) = desk::<Event>();
    let (price, mut acted_price) = desk::<Price>();
    let (tell, mut called_event) = mpsc::unbounded_channel();
    socket.listen("price").once().actor(addr.clone());
    socket.listen("price").once().actor(addr.clone()).cancel();
    socket.listen_to::<Price>().once().actor(price);
    socket.listen(Filter::prefix("pri")).once().call(move |event| drop(tell.send(event)));
    let mut events = socket.listen(Filter::all()).once().stream();
    let mut prices = socket.listen_to::<Price>().once().stream();
    for price in [1.5, 2.5] {
        socket.emit("say", ("price", "tea", price)).unwrap();
    }
    let first = Price("tea".into(), 1.5);
    for event in [
        within(acted_event.recv()).await,
        within(called_event.recv()).await,
        within(events.next()).await,
    ] {
        assert_eq!(event.unwrap().args::<Price>().unwrap(), first);
    }
    assert_eq!(within(acted_price.recv()).await, Some(first.clone()));
    assert_eq!(within(prices.next()).await, Some(first));

    // Streams end, functions are dropped, and an actor hears of no second one.
    assert!(within(stream.next()).await.is_none());
    assert!(within(events.next()).await.is_none());
    assert!(within(prices.next()).await.is_none());
    assert!(within(called.recv()).await.is_none());
    assert!(within(called_event.recv()).await.is_none());
    socket.disconnect();
    socket.connect();
    within(socket.ready()).await.unwrap();
    settled(socket).await;
    assert!(acted.try_recv().is_err() && acted_event.try_recv().is_err());
}

async fn a_filter_picks_events_by_their_names(server: &Target) {
    async fn heard(stream: &mut Messages, count: usize) -> Vec<String> {
        let events: Vec<Event> = within(stream.by_ref().take(count).collect()).await;
        events.iter().map(|event| event.name().to_owned()).collect()
    }

    let client = server.connected().await;
    let socket = client.socket();
    let mut one = socket.listen("order").stream();
    let mut some = socket.listen(Filter::prefix("order:")).stream();
    let mut all = socket.listen(Filter::all()).stream();
    let mut none = socket.listen(String::from("orders")).stream();
    let names = ["order", "order:new", "price", "order:"];
    for name in names {
        socket.emit("say", (name, 1)).unwrap();
    }
    assert_eq!(heard(&mut all, 4).await, names);
    assert_eq!(heard(&mut one, 1).await, ["order"]);
    assert_eq!(heard(&mut some, 2).await, ["order:new", "order:"]);
    for stream in [&mut one, &mut some, &mut all, &mut none] {
        assert!(stream.next().now_or_never().is_none());
    }
}

/// How many messages a stream takes when it is not polled: 16, and one more for each of its two
/// senders.
const STREAM: u64 = 18;

async fn an_overflow_holds_from_the_very_first_event(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    // They are kept for the first subscriber.
    socket.emit("burst", 100).unwrap();
    settled(socket).await;
    assert_eq!(client.stats().missed, 0);
    let few = Overflow::DropNewest { waiting: 3 };
    let mut numbers = socket.listen("n").overflow(few).stream();
    settled(socket).await;
    assert_eq!(client.stats().missed, 100 - STREAM - 3);
    for number in 0..STREAM + 3 {
        assert_eq!(within(numbers.next()).await.unwrap().args::<u64>().unwrap(), number);
    }
    assert!(numbers.next().now_or_never().is_none());

    let other = socket.with_overflow(few);
    let mut second = other.listen("n").stream();
    let mut third = other.listen("n").overflow(Overflow::DropNewest { waiting: 5 }).stream();
    drop(numbers);
    let missed = client.stats().missed;
    socket.emit("burst", 100).unwrap();
    settled(socket).await;
    settled(socket).await;
    assert_eq!(client.stats().missed - missed, 2 * (100 - STREAM) - 3 - 5);
    for (stream, count) in [(&mut second, STREAM + 3), (&mut third, STREAM + 5)] {
        for number in 0..count {
            assert_eq!(within(stream.next()).await.unwrap().args::<u64>().unwrap(), number);
        }
        assert!(stream.next().now_or_never().is_none());
    }
}

/// Is busy with its first event, and has room for one more, until the test lets it go on.
struct Slow {
    go_on: Option<futures::channel::oneshot::Receiver<()>>,
    heard: mpsc::UnboundedSender<Result<u64, u64>>,
}

impl Actor for Slow {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1);
    }
}

impl Handler<Event> for Slow {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, event: Event, ctx: &mut Context<Self>) -> Self::Result {
        use actix::{ActorFutureExt, AsyncContext, WrapFuture};

        self.heard.send(Ok(event.args().unwrap())).ok();
        if let Some(go_on) = self.go_on.take() {
            ctx.wait(go_on.into_actor(self).map(|_, _, _| ()));
        }
        Box::pin(std::future::ready(()))
    }
}

impl Handler<Lagged> for Slow {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, _: &mut Context<Self>) {
        self.heard.send(Err(lagged.missed())).ok();
    }
}

async fn the_last_call_that_sets_an_overflow_counts(server: &Target) {
    let client = server.connected().await;
    let socket = client.socket();
    let (go, go_on) = futures::channel::oneshot::channel();
    let (heard, mut told) = mpsc::unbounded_channel();
    let slow = Slow { go_on: Some(go_on), heard }.start();
    // One subscription, whatever is in it.
    socket.with_overflow(Overflow::DropNewest { waiting: 50 }).subscribe_to::<Lagged>(slow.clone());
    let few = Overflow::DropNewest { waiting: 4 };
    socket.with_overflow(few).listen("n").actor(slow.clone());
    // It leaves what was set.
    socket.listen("other").actor(slow.clone());
    let mut done = socket.listen("burst_done").stream();
    socket.emit("burst", 100).unwrap();
    within(done.next()).await.unwrap();
    go.send(()).unwrap();
    socket.emit("say", ("n", 1000)).unwrap();
    let mut numbers = Vec::new();
    let missed = loop {
        match within(told.recv()).await.unwrap() {
            Ok(number) => numbers.push(number),
            Err(missed) => break missed,
        }
    };
    // What the mailbox took, and four more.
    let taken = u64::try_from(numbers.len()).unwrap();
    assert!((5..10).contains(&taken), "{numbers:?}");
    assert_eq!(numbers, (0..taken).collect::<Vec<_>>());
    assert_eq!((missed, within(told.recv()).await), (100 - taken, Some(Ok(1000))));
}

async fn what_streams_miss_is_told_to_others_that_listen_for_it(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let mut lagged = both::<Lagged>(socket);
    let mut numbers = socket.listen("n").overflow(Overflow::DropNewest { waiting: 3 }).stream();
    socket.emit("burst", 100).unwrap();
    recorder.burst(100).await;
    for number in 0..STREAM + 3 {
        assert_eq!(within(numbers.next()).await.unwrap().args::<u64>().unwrap(), number);
    }
    let told = lagged.next().await;
    assert_eq!((told.missed(), told.missed_states()), (100 - STREAM - 3, 0));
    // An actor hears of its own.
    settled(socket).await;
    assert!(lagged.is_empty() && recorder.rest().is_empty());
}

async fn of_messages_of_its_life_a_stream_keeps_the_newest(server: &Target) {
    let client = server.connected().await;
    let socket = client.of("/foo").unwrap();
    let lagged = socket.listen_to::<Lagged>().stream();
    let ready = socket.listen_to::<Ready>().stream();
    let mut sids = Vec::new();
    for _ in 0..100 {
        sids.push(within(socket.ready()).await.unwrap().sid().to_owned());
        socket.disconnect();
        socket.connect();
    }
    sids.push(within(socket.ready()).await.unwrap().sid().to_owned());
    client.shutdown(Duration::from_secs(5)).await;
    // What the stream took at once, and what waited for it.
    let heard: Vec<_> = within(ready.map(|ready| ready.sid().to_owned()).collect()).await;
    let taken = usize::try_from(STREAM).unwrap();
    let missed = sids.len() - taken - 64;
    assert_eq!(heard[..taken], sids[..taken]);
    assert_eq!(heard[taken..], sids[taken + missed..]);
    let told: Vec<_> = within(lagged.map(|one| one.missed_states()).collect()).await;
    assert_eq!(told, [u64::try_from(missed).unwrap()]);
}

async fn functions_and_streams_end_with_the_client(server: &Target) {
    async fn heard(client: &Client) -> (Both<Ready>, Both<Event>, Both<Price>) {
        let socket = client.socket();
        let mut ready = both::<Ready>(socket);
        ready.next().await;
        (ready, both::<Event>(socket), both::<Price>(socket))
    }
    async fn over((mut ready, mut events, mut prices): (Both<Ready>, Both<Event>, Both<Price>)) {
        // A function is dropped with what it has.
        assert!(within(ready.called.recv()).await.is_none());
        assert!(within(events.called.recv()).await.is_none());
        assert!(within(prices.called.recv()).await.is_none());
        assert!(within(ready.stream.next()).await.is_none());
        assert!(within(events.stream.next()).await.is_none());
        assert!(within(prices.stream.next()).await.is_none());
    }

    let client = server.client();
    let all = heard(&client).await;
    client.shutdown(Duration::from_secs(5)).await;
    over(all).await;
    // There is nobody left to send anything.
    let mut late = both::<Ready>(client.socket());
    assert!(within(late.stream.next()).await.is_none());
    assert!(within(late.called.recv()).await.is_none());

    // Without a word, when nobody has a handle.
    let client = server.client();
    let all = heard(&client).await;
    drop(client);
    over(all).await;
}

async fn what_is_cancelled_is_heard_no_more_and_the_rest_is(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let (tell, mut called) = mpsc::unbounded_channel();
    let function = socket.listen("echo").call(move |event| drop(tell.send(event)));
    let stream = socket.listen("echo").stream();
    let (addr, mut acted) = desk::<Event>();
    let part = socket.listen("echo").actor(addr.clone());
    socket.listen("other").actor(addr);
    let (addr, mut acted_ready) = desk::<Ready>();
    let ready = socket.listen_to::<Ready>().actor(addr.clone());
    within(acted_ready.recv()).await.unwrap();

    socket.emit("echo", 1).unwrap();
    recorder.next_event("echo").await;
    assert_eq!(within(called.recv()).await.unwrap().args::<u32>().unwrap(), 1);
    assert_eq!(within(acted.recv()).await.unwrap().args::<u32>().unwrap(), 1);
    function.cancel();
    part.cancel();
    ready.cancel();
    drop(stream);
    assert!(within(called.recv()).await.is_none(), "it is dropped");
    socket.emit("echo", 2).unwrap();
    recorder.next_event("echo").await;
    socket.emit("say", ("other", 3)).unwrap();
    recorder.next_event("other").await;
    assert_eq!(within(acted.recv()).await.unwrap().args::<u32>().unwrap(), 3);

    // It may subscribe again, and gets the current state.
    socket.listen_to::<Ready>().actor(addr);
    assert_eq!(within(acted_ready.recv()).await.unwrap().namespace(), "/");
    assert!(acted_ready.try_recv().is_err());
}

async fn a_function_that_panics_is_called_no_more(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    let (tell, mut called) = mpsc::unbounded_channel::<()>();
    socket.listen_to::<Ready>().call(move |ready| {
        tell.send(()).unwrap();
        panic!("{}", ready.namespace());
    });
    let mut ready = socket.listen_to::<Ready>().stream();
    within(ready.next()).await.unwrap();
    within(called.recv()).await.unwrap();
    assert!(within(called.recv()).await.is_none(), "it is dropped");
    socket.disconnect();
    socket.connect();
    within(ready.next()).await.unwrap();
    settled(socket).await;
}
