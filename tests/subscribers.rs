//! Subscriptions: how they end, and what happens to a subscriber that is too slow.

// A test fails by panicking.
#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use actix::{
    Actor, ActorContext, Addr, Arbiter, ArbiterHandle, AsyncContext, AtomicResponse, Context,
    Handler, WrapFuture,
};
use actix_socketio::{
    ConnectError, Disconnected, EmitError, Event, GaveUp, Lagged, Overflow, Ready, Reason,
    Reconnect, Reconnecting, Socket, SocketState, Subscription,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use support::{
    PATIENCE, eventually,
    every::{self, Target, on_every_server, within},
    logged,
    node::{self, Config, Line},
    recorder::{Fact, Recorder},
    scripted::Scripted,
};
use tokio::sync::{Semaphore, mpsc};

on_every_server!(
    who_has_cancelled_hears_no_more,
    what_waits_for_who_has_cancelled_does_not_come,
    the_connection_goes_on_when_who_holds_it_up_has_cancelled,
    who_lets_the_newest_drop_holds_nobody_up_and_is_told_exactly,
    who_wants_each_event_or_none_has_the_namespace_left,
    one_message_comes_once_whatever_else_its_actor_hears,
    one_ready_comes_at_once_where_it_is_so,
    one_kept_event_is_taken_and_the_rest_is_kept_on,
    who_panics_beside_the_client_is_forgotten_and_nobody_else_minds,
    who_panics_on_another_arbiter_is_forgotten_and_nobody_else_minds,
);

/// Handles one message for each permit, and reports it to the test.
struct Gated {
    permits: Arc<Semaphore>,
    facts: mpsc::UnboundedSender<Fact>,
}

impl Actor for Gated {
    type Context = Context<Self>;
}

macro_rules! gate {
    ($($kind:ident),*) => { $(
        impl Handler<$kind> for Gated {
            type Result = AtomicResponse<Self, ()>;

            fn handle(&mut self, message: $kind, _: &mut Self::Context) -> Self::Result {
                let (permits, facts) = (Arc::clone(&self.permits), self.facts.clone());
                let work = async move {
                    permits.acquire().await.unwrap().forget();
                    facts.send(Fact::$kind(message)).ok();
                };
                AtomicResponse::new(Box::pin(work.into_actor(self)))
            }
        }
    )* };
}

gate!(Ready, Event, Disconnected, ConnectError, Lagged, Reconnecting, GaveUp);

/// The test's end of it.
struct Gate {
    addr: Addr<Gated>,
    permits: Arc<Semaphore>,
    facts: mpsc::UnboundedReceiver<Fact>,
}

impl Gate {
    /// One that is stuck with its first message.
    fn closed() -> Self {
        let (facts, received) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(0));
        let addr = Gated { permits: Arc::clone(&permits), facts }.start();
        Self { addr, permits, facts: received }
    }

    fn open(&self) {
        self.permits.add_permits(1 << 20);
    }

    /// Subscribes to all but what tells of attempts to connect.
    fn subscribe(&self, socket: &Socket) -> Subscription {
        socket.subscribe_to::<Lagged>(self.addr.clone());
        socket.subscribe_to::<ConnectError>(self.addr.clone());
        socket.subscribe(self.addr.clone())
    }

    async fn next(&mut self) -> Fact {
        within(self.facts.recv()).await.expect("the subscriber lives")
    }

    async fn next_ready(&mut self) {
        let fact = self.next().await;
        assert!(matches!(fact, Fact::Ready(_)), "{fact:?} instead of Ready");
    }

    /// The argument of the next event, which must have this name.
    async fn next_number(&mut self, name: &str) -> u64 {
        match self.next().await {
            Fact::Event(event) if event.name() == name => event.args().unwrap(),
            fact => panic!("{fact:?} instead of {name}"),
        }
    }
}

#[test]
fn the_handle_may_go_anywhere() {
    fn check<T: Clone + std::fmt::Debug + Send + Sync + 'static>() {}
    check::<Subscription>();
}

async fn who_has_cancelled_hears_no_more(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let mut gate = Gate::closed();
    gate.open();
    // Any of the handles is good for all.
    gate.subscribe(socket);
    let first = socket.subscribe_to::<Reconnecting>(gate.addr.clone());
    gate.next_ready().await;
    socket.emit("echo", 1).unwrap();
    assert_eq!(gate.next_number("echo").await, 1);
    recorder.next_event("echo").await;

    first.clone().cancel();
    socket.emit("echo", 2).unwrap();
    recorder.next_event("echo").await;
    let second = gate.subscribe(socket);
    gate.next_ready().await;
    // It is gone, and this is another one.
    first.cancel();
    socket.emit("echo", 3).unwrap();
    assert_eq!(gate.next_number("echo").await, 3);
    recorder.next_event("echo").await;

    second.clone().cancel();
    second.cancel();
    socket.emit("echo", 4).unwrap();
    recorder.next_event("echo").await;
    gate.subscribe(socket);
    gate.next_ready().await;
}

async fn what_waits_for_who_has_cancelled_does_not_come(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let mut gate = Gate::closed();
    let subscription = gate.subscribe(client.socket());
    client.socket().emit("burst", 1_000).unwrap();
    recorder.burst(1_000).await;
    subscription.cancel();
    gate.subscribe(client.socket());
    gate.open();
    gate.next_ready().await;
    for expected in 0.. {
        match gate.next().await {
            // This is what the new subscription begins with.
            Fact::Ready(_) => break,
            Fact::Event(event) => assert_eq!(event.args::<u64>().unwrap(), expected),
            fact => panic!("{fact:?}"),
        }
        assert!(expected < 100, "no more than what was in its mailbox");
    }
    client.socket().emit("echo", 7).unwrap();
    assert_eq!(gate.next_number("echo").await, 7);
}

async fn the_connection_goes_on_when_who_holds_it_up_has_cancelled(server: &Target) {
    let server = server.patient();
    let client = server.builder().receive_window(500, 1 << 20).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let gate = Gate::closed();
    let subscription = gate.subscribe(client.socket());
    client.socket().emit("burst", 20_000).unwrap();
    recorder.next_event("n").await;
    subscription.cancel();
    for expected in 1..20_000 {
        assert_eq!(recorder.next_event("n").await.args::<u64>().unwrap(), expected);
    }
    recorder.next_event("burst_done").await;
}

#[actix::test]
async fn a_thousand_that_have_cancelled_leave_nothing_behind() {
    /// Lives as long as there is an address of it.
    struct Listener {
        _alive: Arc<()>,
    }

    impl Actor for Listener {
        type Context = Context<Self>;
    }

    impl Handler<Event> for Listener {
        type Result = ();

        fn handle(&mut self, _: Event, _: &mut Self::Context) {}
    }

    impl Handler<Lagged> for Listener {
        type Result = ();

        fn handle(&mut self, _: Lagged, _: &mut Self::Context) {}
    }

    let (client, mut recorder) = Recorder::joined(&every::official(Line::V4)).await;
    let alive = Arc::new(());
    let subscriptions: Vec<_> = (0..1_000)
        .flat_map(|_| {
            let addr = Listener { _alive: Arc::clone(&alive) }.start();
            let lagged = client.socket().subscribe_to::<Lagged>(addr.clone());
            [lagged, client.socket().subscribe_to::<Event>(addr)]
        })
        .collect();
    client.socket().emit("echo", 1).unwrap();
    recorder.next_event("echo").await;
    assert_eq!(Arc::strong_count(&alive), 1_001);
    for subscription in subscriptions {
        subscription.cancel();
    }
    eventually("they are gone", || Arc::strong_count(&alive) == 1).await;
    client.socket().emit("echo", 2).unwrap();
    recorder.next_event("echo").await;
}

async fn who_lets_the_newest_drop_holds_nobody_up_and_is_told_exactly(server: &Target) {
    let server = server.patient();
    let client = server.builder().receive_window(500, 1 << 20).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let mut gate = Gate::closed();
    gate.subscribe(&client.socket().with_overflow(Overflow::DropNewest { waiting: 50 }));
    client.socket().emit("burst", 20_000).unwrap();
    recorder.burst(20_000).await;
    gate.open();
    gate.next_ready().await;
    let mut received = 0;
    let lagged = loop {
        match gate.next().await {
            Fact::Event(event) => assert_eq!(event.args::<u64>().unwrap(), received),
            Fact::Lagged(lagged) => break lagged,
            fact => panic!("{fact:?}"),
        }
        received += 1;
    };
    assert!((50..100).contains(&received), "{received} are what waits and what is in a mailbox");
    assert_eq!(lagged.missed() + received, 20_001, "`burst_done` is one of them");
    assert_eq!(lagged.missed_states(), 0);
    client.socket().emit("echo", 7).unwrap();
    assert_eq!(gate.next_number("echo").await, 7);
}

async fn who_wants_each_event_or_none_has_the_namespace_left(server: &Target) {
    let server = server.patient();
    let client = server.builder().reconnect(Reconnect::default()).start().unwrap();
    let socket = client.socket();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    let mut gate = Gate::closed();
    gate.subscribe(&socket.with_overflow(Overflow::Disconnect { waiting: 100 }));
    let key = every::unique("before");
    socket.emit("burst", 200).unwrap();
    for _ in 0..2_000 {
        socket.emit("count", &key).unwrap();
    }
    let (mut heard, mut all) = (0, false);
    loop {
        match recorder.next().await {
            Fact::Event(event) if event.name() == "n" => heard += 1,
            Fact::Event(event) => {
                assert_eq!(event.name(), "burst_done");
                all = true;
            }
            Fact::Disconnected(gone) => break assert_eq!(*gone.reason(), Reason::SlowSubscriber),
            fact => panic!("{fact:?}"),
        }
    }
    assert!((100..=200).contains(&heard), "{heard}");
    assert_eq!(socket.state(), SocketState::Ended(Reason::SlowSubscriber));
    assert_eq!(socket.emit("echo", 1).map(drop), Err(EmitError::Closed(Reason::SlowSubscriber)));
    eventually("the server has all of it", || server.counted(&key) == 2_000).await;
    eventually("the server knows", || server.disconnections("/") == 1).await;

    gate.open();
    gate.next_ready().await;
    for expected in 0..heard {
        assert_eq!(gate.next_number("n").await, expected);
    }
    let next = gate.next().await;
    let next = if all { gate.next().await } else { next };
    let Fact::Disconnected(gone) = next else { panic!("{next:?}") };
    assert_eq!(*gone.reason(), Reason::SlowSubscriber);

    // Nobody tries again but the application.
    socket.connect();
    gate.next_ready().await;
    recorder.next_ready().await;
    socket.emit("echo", 3).unwrap();
    assert_eq!(gate.next_number("echo").await, 3);
}

/// Where the window is smaller than what may wait.
#[actix::test]
async fn who_wants_each_event_or_none_does_not_lose_some_to_the_heartbeat() {
    // It lets nobody hold up the connection for long.
    let options = json!({ "pingInterval": 500, "pingTimeout": 3_000 });
    let config = Config { options, ..Config::default() };
    let server = Target::Own(node::start(Line::V4, &config));
    let client = server.builder().receive_window(500, 1 << 20).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    let gate = Gate::closed();
    gate.subscribe(&client.socket().with_overflow(Overflow::Disconnect { waiting: 1 << 20 }));
    client.socket().emit("burst", 20_000).unwrap();
    let mut heard = 0;
    loop {
        match recorder.next().await {
            Fact::Event(event) => assert_eq!(event.args::<u64>().unwrap(), heard),
            Fact::Disconnected(gone) => break assert_eq!(*gone.reason(), Reason::SlowSubscriber),
            fact => panic!("{fact:?}"),
        }
        heard += 1;
    }
    assert!((500..20_000).contains(&heard), "{heard}");
}

async fn one_message_comes_once_whatever_else_its_actor_hears(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let mut gate = Gate::closed();
    gate.open();
    let event = || gate.addr.clone().recipient::<Event>();
    // Never merged, whichever was there before.
    socket.listen_to::<Disconnected>().once().actor(gate.addr.clone());
    let lasting = socket.subscribe_to::<Event>(event());
    socket.listen_to::<Event>().once().actor(event());
    socket.listen_to::<Event>().once().actor(event()).cancel();
    for number in [1, 2] {
        socket.emit("echo", number).unwrap();
        recorder.next_event("echo").await;
    }
    let last = socket.listen_to::<Event>().once().actor(event());
    lasting.cancel();
    for number in [3, 4] {
        socket.emit("echo", number).unwrap();
        recorder.next_event("echo").await;
    }
    last.cancel();
    gate.subscribe(socket);
    for number in [1, 1, 2, 3] {
        assert_eq!(gate.next_number("echo").await, number);
    }
    gate.next_ready().await;
}

async fn one_ready_comes_at_once_where_it_is_so(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let mut gate = Gate::closed();
    gate.open();
    socket.listen_to::<Ready>().once().actor(gate.addr.clone());
    gate.next_ready().await;
    socket.listen_to::<Disconnected>().once().actor(gate.addr.clone());
    socket.disconnect();
    recorder.next_disconnected().await;
    socket.listen_to::<Ready>().once().actor(gate.addr.clone());
    let next = gate.next().await;
    assert!(matches!(next, Fact::Disconnected(_)), "{next:?}");
    socket.connect();
    recorder.next_ready().await;
    gate.next_ready().await;

    socket.disconnect();
    socket.connect();
    recorder.next_disconnected().await;
    recorder.next_ready().await;
    socket.subscribe_to::<Event>(gate.addr.clone());
    socket.emit("echo", 7).unwrap();
    assert_eq!(gate.next_number("echo").await, 7);
}

async fn one_kept_event_is_taken_and_the_rest_is_kept_on(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    for number in 1..=4 {
        socket.emit("echo", number).unwrap();
    }
    // Answers come in order with events, so that these have come when this has.
    within(socket.emit_with_ack::<u8>("number", ())).await.unwrap();
    let mut gate = Gate::closed();
    gate.open();
    for number in [1, 2] {
        socket.listen_to::<Event>().once().actor(gate.addr.clone());
        assert_eq!(gate.next_number("echo").await, number);
    }
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    socket.emit("echo", 5).unwrap();
    for number in [3, 4, 5] {
        assert_eq!(recorder.next_event("echo").await.args::<u64>().unwrap(), number);
    }
    gate.subscribe(socket);
    gate.next_ready().await;
}

#[actix::test]
async fn what_nobody_else_hears_is_for_who_waits_for_it_and_lives() {
    struct Dying;

    impl Actor for Dying {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    impl Handler<Event> for Dying {
        type Result = ();

        fn handle(&mut self, _: Event, _: &mut Self::Context) {}
    }

    let client = every::official(Line::V4).connected().await;
    let socket = client.socket();
    let mut gate = Gate::closed();
    gate.open();
    socket.listen_to::<Event>().once().actor(gate.addr.clone());
    socket.emit("echo", 1).unwrap();
    assert_eq!(gate.next_number("echo").await, 1);

    let dying = Dying.start();
    socket.listen_to::<Event>().once().actor(dying.clone());
    eventually("it is dead", || !dying.connected()).await;
    socket.emit("echo", 2).unwrap();
    within(socket.emit_with_ack::<u8>("number", ())).await.unwrap();
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    assert_eq!(recorder.next_event("echo").await.args::<u64>().unwrap(), 2);
}

/// On some servers, the connect handler may emit before the client is let in.
#[actix::test]
async fn one_event_that_is_taken_leaves_the_others_on_their_side_of_ready() {
    let server = Scripted::start();
    let client = support::builder(server.url()).start().unwrap();
    let mut peer = server.accept().await;
    peer.open().await;
    peer.expect_text("40").await;
    for text in [r#"42["e",1]"#, r#"42["e",2]"#, r#"40{"sid":"s"}"#, r#"42["e",3]"#] {
        peer.send_text(text).await;
    }
    let answer = client.socket().emit_with_ack::<()>("q", ()).send();
    peer.expect_text(r#"420["q"]"#).await;
    peer.send_text("430[]").await;
    within(answer).await.unwrap();

    let mut gate = Gate::closed();
    gate.open();
    client.socket().listen_to::<Event>().once().actor(gate.addr.clone());
    assert_eq!(gate.next_number("e").await, 1);
    gate.subscribe(client.socket());
    assert_eq!(gate.next_number("e").await, 2);
    gate.next_ready().await;
    assert_eq!(gate.next_number("e").await, 3);
}

#[actix::test]
async fn a_thousand_that_have_heard_their_message_leave_nothing_behind() {
    let (client, mut recorder) = Recorder::joined(&every::official(Line::V4)).await;
    let gates: Vec<_> = std::iter::repeat_with(Gate::closed).take(1_000).collect();
    let addresses: Vec<_> = gates.iter().map(|gate| gate.addr.downgrade()).collect();
    for gate in gates {
        gate.open();
        client.socket().listen_to::<Event>().once().actor(gate.addr);
    }
    client.socket().emit("echo", 1).unwrap();
    recorder.next_event("echo").await;
    let gone = || addresses.iter().all(|address| address.upgrade().is_none());
    eventually("they are gone", gone).await;
}

/// Panics at its first event.
struct Faulty;

impl Actor for Faulty {
    type Context = Context<Self>;
}

impl Handler<Ready> for Faulty {
    type Result = ();

    fn handle(&mut self, _: Ready, _: &mut Self::Context) {}
}

impl Handler<Event> for Faulty {
    type Result = ();

    fn handle(&mut self, _: Event, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

impl Handler<Disconnected> for Faulty {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Self::Context) {}
}

async fn who_panics_is_forgotten(server: &Target, arbiter: &ArbiterHandle) {
    logged::start();
    let (client, mut recorder) = Recorder::joined(server).await;
    let faulty = Faulty::start_in_arbiter(arbiter, |_| Faulty);
    client
        .socket()
        .with_overflow(Overflow::Disconnect { waiting: 10_000 })
        .subscribe(faulty.clone());
    // More than its mailbox takes, so that some of it waits for who does not live to see it.
    client.socket().emit("burst", 1_000).unwrap();
    recorder.burst(1_000).await;
    eventually("it is dead", || !faulty.connected()).await;
    let forgotten = || {
        let gone = "/: subscribers::Faulty (Ready, Event, Disconnected) is gone: ";
        let is_it = |line: &&String| line.contains(gone) && line.ends_with("for it lost");
        logged::lines().iter().filter(is_it).count()
    };
    eventually("that is noticed", || forgotten() > 0).await;

    client.socket().emit("burst", 1_000).unwrap();
    recorder.burst(1_000).await;
    let answer = within(client.socket().emit_with_ack::<u8>("number", ())).await;
    assert_eq!(answer, Ok(7));
    assert!(recorder.rest().is_empty());
    assert_eq!(forgotten(), 1, "it is said when it is done");
}

async fn who_panics_beside_the_client_is_forgotten_and_nobody_else_minds(server: &Target) {
    who_panics_is_forgotten(server, &Arbiter::current()).await;
}

async fn who_panics_on_another_arbiter_is_forgotten_and_nobody_else_minds(server: &Target) {
    let arbiter = Arbiter::new();
    who_panics_is_forgotten(server, &arbiter.handle()).await;
    // Nothing else that runs there is affected either.
    let client = server.connected().await;
    let mut other = Recorder::on(&arbiter.handle(), client.socket());
    other.next_ready().await;
    arbiter.stop();
}

/// Takes its time for each event.
struct Steady {
    time: Duration,
    heard: mpsc::UnboundedSender<Fact>,
}

impl Actor for Steady {
    type Context = Context<Self>;
}

impl Handler<Event> for Steady {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        self.heard.send(Fact::Event(event)).unwrap();
        ctx.wait(tokio::time::sleep(self.time).into_actor(self));
    }
}

impl Handler<Lagged> for Steady {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, _: &mut Self::Context) {
        self.heard.send(Fact::Lagged(lagged)).unwrap();
    }
}

/// The window takes most of a burst, and what is in it is not thrown away for the heartbeat.
#[actix::test]
async fn who_is_slow_keeps_what_waits_and_misses_the_newest_of_a_burst() {
    const BURST: u64 = 3_000;
    // Not more than a busy machine can keep: after three seconds, there is one more for the rest of the burst.
    let options = json!({ "pingInterval": 500, "pingTimeout": 3_500 });
    let server = node::start(Line::V4, &Config { options, ..Config::default() });
    let client = support::builder(server.url()).receive_window(2_000, 1 << 20).start().unwrap();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let steady = Steady { time: Duration::from_millis(4), heard }.start();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    client.socket().subscribe_to::<Lagged>(steady.clone());
    client.socket().subscribe_to::<Event>(steady);
    client.socket().emit("burst", BURST).unwrap();
    let (mut events, mut next, mut missed) = (0, 0, 0);
    while events + missed <= BURST {
        match within(hears.recv()).await.unwrap() {
            Fact::Event(event) if event.name() == "n" => {
                assert_eq!(event.args::<u64>(), Ok(next), "or `Lagged` is not in its place");
                (events, next) = (events + 1, next + 1);
            }
            Fact::Event(event) => {
                assert_eq!((event.name(), next), ("burst_done", BURST));
                events += 1;
            }
            Fact::Lagged(lagged) => {
                missed += lagged.missed();
                next += lagged.missed();
            }
            fact => panic!("{fact:?}"),
        }
    }
    assert_eq!(events + missed, BURST + 1);
    assert!(events > 2_000 && missed > 0, "{events} of {BURST}");
    assert_eq!(client.stats().missed, missed);
    // Nobody else has missed anything, and the heartbeat was kept.
    recorder.burst(BURST).await;
    assert!(recorder.rest().is_empty());
    assert_eq!(client.socket().state().reason(), None);
}

#[actix::test]
async fn what_nobody_hears_is_counted_to_the_last_event() {
    logged::start();
    let server = every::official(Line::V4);
    let client = server.connected().await;
    let socket = client.socket();
    let missed = || client.stats().missed;
    let lines = || logged::lines().iter().filter(|line| line.contains("events discarded")).count();
    // Answers come in order with events, so that these have come when this has.
    let behind = async || within(socket.emit_with_ack::<u8>("number", ())).await.unwrap();
    socket.emit("burst", 1_000).unwrap();
    behind().await;
    assert_eq!((missed(), lines()), (0, 0), "they are kept for the first subscriber");
    socket.emit("burst", 5_000).unwrap();
    behind().await;
    assert_eq!(missed(), 1_001 + 5_001);
    assert!((1..10).contains(&lines()), "{}", lines());
    // And after a subscriber that comes and goes.
    let mut recorder = Recorder::of(socket);
    recorder.next_ready().await;
    socket.emit("burst", 100).unwrap();
    recorder.burst(100).await;
    assert_eq!(missed(), 1_001 + 5_001);
    recorder.stop().await;
    socket.emit("burst", 100).unwrap();
    behind().await;
    assert_eq!(missed(), 1_001 + 5_001 + 101);
    let gone = "support::recorder::Recording (Ready, Event, ";
    let gone: Vec<_> = logged::lines().into_iter().filter(|line| line.contains(gone)).collect();
    assert!(matches!(&gone[..], [line] if line.contains("is gone: ")), "{gone:?}");

    // What was kept to the end has had no hearer either.
    let other = server.connected().await;
    other.socket().emit("burst", 9).unwrap();
    within(other.socket().emit_with_ack::<u8>("number", ())).await.unwrap();
    assert_eq!(other.stats().missed, 0);
    within(other.shutdown(PATIENCE)).await;
    assert_eq!(other.stats().missed, 10);
}

#[actix::test]
async fn what_waits_for_the_only_subscriber_when_it_panics_is_counted() {
    logged::start();
    let server = every::official(Line::V4);
    let client = server.connected().await;
    client.socket().subscribe_to::<Event>(Faulty.start().recipient());
    client.socket().emit("burst", 1_000).unwrap();
    within(client.socket().emit_with_ack::<u8>("number", ())).await.unwrap();
    // Nobody knows what was in its mailbox.
    let missed = client.stats().missed;
    assert!((900..=1_000).contains(&missed), "{missed}");
    let is_it =
        |line: &String| line.contains("/: an actor (Event) is gone") && !line.contains(" 0 ");
    assert!(logged::lines().iter().any(is_it));
}
