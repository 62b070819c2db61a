//! An actor that records what a namespace tells its subscribers, for a test to read.

// The results have the message that came, or the one that came instead.
#![allow(clippy::result_large_err, clippy::wildcard_enum_match_arm)]

use super::PATIENCE;
use actix::{Actor, Context, Handler};
use actix_socketio::{ConnectError, Disconnected, Event, Lagged, Ready, Reason, Socket};
use std::panic::Location;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Clone, Debug)]
pub enum Heard {
    Ready(Ready),
    Event(Event),
    Disconnected(Reason),
    ConnectError(Reason),
    Lagged(u64),
}

/// The messages of one namespace, in order.
pub struct Watch {
    heard: mpsc::UnboundedReceiver<Heard>,
}

struct Watcher {
    heard: mpsc::UnboundedSender<Heard>,
}

impl Watch {
    pub fn on(socket: &Socket) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let watcher = Watcher { heard: sender }.start();
        socket.subscribe(watcher.clone());
        socket.subscribe_to::<ConnectError>(watcher.clone());
        socket.subscribe_to::<Lagged>(watcher);
        Self { heard }
    }

    /// The next message, or `None` if none comes in this time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Heard> {
        tokio::time::timeout(time, self.heard.recv()).await.ok().flatten()
    }

    /// A message that has come and was not taken yet, if there is one.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    #[track_caller]
    pub fn ready(&mut self) -> impl Future<Output = Ready> {
        self.expect("Ready", |heard| match heard {
            Heard::Ready(ready) => Ok(ready),
            other => Err(other),
        })
    }

    #[track_caller]
    pub fn event(&mut self) -> impl Future<Output = Event> {
        self.expect("Event", |heard| match heard {
            Heard::Event(event) => Ok(event),
            other => Err(other),
        })
    }

    #[track_caller]
    pub fn disconnected(&mut self) -> impl Future<Output = Reason> {
        self.expect("Disconnected", |heard| match heard {
            Heard::Disconnected(reason) => Ok(reason),
            other => Err(other),
        })
    }

    #[track_caller]
    pub fn connect_error(&mut self) -> impl Future<Output = Reason> {
        self.expect("ConnectError", |heard| match heard {
            Heard::ConnectError(reason) => Ok(reason),
            other => Err(other),
        })
    }

    /// Panics, naming the caller's line, unless `pick` accepts the next message.
    #[track_caller]
    fn expect<T>(
        &mut self,
        what: &str,
        pick: impl FnOnce(Heard) -> Result<T, Heard>,
    ) -> impl Future<Output = T> {
        // Taken here, since an async function does not know its caller.
        let caller = Location::caller();
        async move {
            let heard = self.next_within(PATIENCE).await;
            let heard = heard.unwrap_or_else(|| panic!("{caller}: no {what} in {PATIENCE:?}"));
            pick(heard).unwrap_or_else(|other| panic!("{caller}: {other:?} instead of {what}"))
        }
    }
}

impl Watcher {
    fn note(&self, heard: Heard) {
        // The test may have ended.
        self.heard.send(heard).ok();
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<Ready> for Watcher {
    type Result = ();

    fn handle(&mut self, ready: Ready, _: &mut Self::Context) {
        self.note(Heard::Ready(ready));
    }
}

impl Handler<Event> for Watcher {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        self.note(Heard::Event(event));
    }
}

impl Handler<Disconnected> for Watcher {
    type Result = ();

    fn handle(&mut self, disconnected: Disconnected, _: &mut Self::Context) {
        self.note(Heard::Disconnected(disconnected.reason().clone()));
    }
}

impl Handler<ConnectError> for Watcher {
    type Result = ();

    fn handle(&mut self, error: ConnectError, _: &mut Self::Context) {
        self.note(Heard::ConnectError(error.reason().clone()));
    }
}

impl Handler<Lagged> for Watcher {
    type Result = ();

    fn handle(&mut self, lagged: Lagged, _: &mut Self::Context) {
        self.note(Heard::Lagged(lagged.missed()));
    }
}
