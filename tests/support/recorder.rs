//! A subscriber that hands everything it gets to the test, in order.

use super::every::{Target, within};
use actix::{Actor, Addr, ArbiterHandle, Context, Handler, Message};
use actix_socketio::{
    Client, ConnectError, Disconnected, Event, GaveUp, Lagged, Ready, Reason, Reconnecting,
    ServerError, Socket,
};
use std::panic::Location;
use tokio::sync::mpsc;

/// The messages that a subscriber can get.
#[derive(Clone, Debug)]
pub enum Fact {
    Ready(Ready),
    Event(Event),
    Disconnected(Disconnected),
    ConnectError(ConnectError),
    Lagged(Lagged),
    Reconnecting(Reconnecting),
    GaveUp(GaveUp),
    ServerError(ServerError),
}

/// The test's end. The subscriber lives at least as long.
pub struct Recorder {
    facts: mpsc::UnboundedReceiver<Fact>,
    addr: Addr<Recording>,
}

/// The subscriber, with a mailbox of the default size.
pub struct Recording {
    facts: mpsc::UnboundedSender<Fact>,
}

impl Recorder {
    /// Subscribes to everything.
    pub fn of(socket: &Socket) -> Self {
        let (sender, facts) = mpsc::unbounded_channel();
        Self::new(socket, facts, Recording { facts: sender }.start())
    }

    /// The same, with the subscriber on another arbiter.
    pub fn on(arbiter: &ArbiterHandle, socket: &Socket) -> Self {
        let (sender, facts) = mpsc::unbounded_channel();
        let recording = Recording { facts: sender };
        Self::new(socket, facts, Recording::start_in_arbiter(arbiter, |_| recording))
    }

    fn new(socket: &Socket, facts: mpsc::UnboundedReceiver<Fact>, addr: Addr<Recording>) -> Self {
        socket.subscribe(addr.clone());
        socket.subscribe_to::<ConnectError>(addr.clone());
        socket.subscribe_to::<Lagged>(addr.clone());
        socket.subscribe_to::<Reconnecting>(addr.clone());
        socket.subscribe_to::<GaveUp>(addr.clone());
        socket.subscribe_to::<ServerError>(addr.clone());
        Self { facts, addr }
    }

    pub async fn next(&mut self) -> Fact {
        within(self.facts.recv()).await.expect("the subscriber lives")
    }

    /// A client of this server, joined, with a recorder.
    pub async fn joined(server: &Target) -> (Client, Self) {
        let client = server.client();
        let mut recorder = Self::of(client.socket());
        recorder.next_ready().await;
        (client, recorder)
    }

    /// Expects this many events `n` with the numbers from 0, and then `burst_done`.
    pub async fn burst(&mut self, size: u64) {
        for expected in 0..size {
            assert_eq!(self.next_event("n").await.args::<u64>().unwrap(), expected);
        }
        assert_eq!(self.next_event("burst_done").await.args::<u64>().unwrap(), size);
    }

    #[track_caller]
    pub fn next_ready(&mut self) -> impl Future<Output = Ready> {
        self.expect("Ready", |fact| match fact {
            Fact::Ready(ready) => Some(ready.clone()),
            _ => None,
        })
    }

    /// The next thing that happens must be this event.
    #[track_caller]
    pub fn next_event(&mut self, name: &'static str) -> impl Future<Output = Event> {
        self.expect(name, move |fact| match fact {
            Fact::Event(event) => (event.name() == name).then(|| event.clone()),
            _ => None,
        })
    }

    /// The next thing that happens must be an event.
    #[track_caller]
    pub fn next_of_any_name(&mut self) -> impl Future<Output = Event> {
        self.expect("an event", |fact| match fact {
            Fact::Event(event) => Some(event.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn next_disconnected(&mut self) -> impl Future<Output = Reason> {
        self.expect("Disconnected", |fact| match fact {
            Fact::Disconnected(disconnected) => Some(disconnected.reason().clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn next_connect_error(&mut self) -> impl Future<Output = Reason> {
        self.expect("ConnectError", |fact| match fact {
            Fact::ConnectError(error) => Some(error.reason().clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn next_reconnecting(&mut self) -> impl Future<Output = Reconnecting> {
        self.expect("Reconnecting", |fact| match fact {
            Fact::Reconnecting(reconnecting) => Some(reconnecting.clone()),
            _ => None,
        })
    }

    /// Skips attempts to connect, however many there are, and returns the Ready after them.
    pub async fn ready_after_attempts(&mut self) -> Ready {
        loop {
            match self.next().await {
                Fact::Reconnecting(_) => {}
                Fact::Ready(ready) => return ready,
                other => panic!("{other:?} instead of Ready"),
            }
        }
    }

    #[track_caller]
    fn expect<T>(
        &mut self,
        what: &str,
        pick: impl FnOnce(&Fact) -> Option<T>,
    ) -> impl Future<Output = T> {
        let caller = Location::caller();
        let next = within(self.facts.recv());
        async move {
            let fact = next.await.expect("the subscriber lives");
            pick(&fact).unwrap_or_else(|| panic!("{caller}: {fact:?} instead of {what}"))
        }
    }

    /// What has come and was not taken yet.
    pub fn rest(&mut self) -> Vec<Fact> {
        std::iter::from_fn(|| self.facts.try_recv().ok()).collect()
    }

    /// Stops the subscriber, and waits until it has.
    pub async fn stop(mut self) {
        self.addr.do_send(Stop);
        self.over().await;
    }

    /// Waits until the subscriber is gone.
    pub async fn over(&mut self) {
        within(async { while self.facts.recv().await.is_some() {} }).await;
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Actor for Recording {
    type Context = Context<Self>;
}

impl Handler<Stop> for Recording {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

macro_rules! record {
    ($($kind:ident),*) => { $(
        impl Handler<$kind> for Recording {
            type Result = ();

            fn handle(&mut self, message: $kind, _: &mut Self::Context) {
                // The test may have ended.
                self.facts.send(Fact::$kind(message)).ok();
            }
        }
    )* };
}

record!(Ready, Event, Disconnected, ConnectError, Lagged, Reconnecting, GaveUp, ServerError);
