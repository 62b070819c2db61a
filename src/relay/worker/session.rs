//! The connection to an upstream, while this worker holds it.

use actix::{Actor, AtomicResponse, Context, Handler, WrapFuture as _};
use futures::{SinkExt as _, channel::mpsc};

use crate::{
    Client, ConnectError, Disconnected, Event, Lagged, Ready, Socket,
    actor::subscribers::policy::Overflow,
    client::error::BuildError,
    proto::ticket::SessionTicket,
    relay::{
        core::question::Resume,
        options::{Upstream, WhenFull},
    },
};

/// Events that may wait on their way to the buffer of the holder, apart from those in the mailbox.
const QUEUE: usize = 64;
/// Events that may wait in the mailbox before the connection is let go.
const WAITING: usize = 1_024;

/// What came from the client, in its order.
pub(super) enum Incoming {
    Ready(Ready),
    Event(Event),
    Lagged(u64),
    /// The namespace is not joined now.
    Gone,
}

/// Passes on what the client says, and holds it back while the holder has no room.
struct Ear {
    queue: mpsc::Sender<Incoming>,
}

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Ear {
    fn pass(&mut self, incoming: Incoming) -> AtomicResponse<Self, ()> {
        let mut queue = self.queue.clone();
        let first = self.queue.try_send(incoming);
        let passed = async move {
            if let Err(full) = first
                && full.is_full()
            {
                // If the holder is gone, nobody wants it.
                queue.send(full.into_inner()).await.ok();
            }
        };
        AtomicResponse::new(Box::pin(passed.into_actor(self)))
    }
}

impl Handler<Ready> for Ear {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, ready: Ready, _: &mut Self::Context) -> Self::Result {
        self.pass(Incoming::Ready(ready))
    }
}

impl Handler<Event> for Ear {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, event: Event, _: &mut Self::Context) -> Self::Result {
        self.pass(Incoming::Event(event))
    }
}

impl Handler<Lagged> for Ear {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, lagged: Lagged, _: &mut Self::Context) -> Self::Result {
        self.pass(Incoming::Lagged(lagged.missed()))
    }
}

impl Handler<Disconnected> for Ear {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Disconnected, _: &mut Self::Context) -> Self::Result {
        self.pass(Incoming::Gone)
    }
}

impl Handler<ConnectError> for Ear {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: ConnectError, _: &mut Self::Context) -> Self::Result {
        self.pass(Incoming::Gone)
    }
}

/// A client of the upstream, and what it says. The queue ends some time after the client.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) socket: Socket,
    pub(super) incoming: mpsc::Receiver<Incoming>,
}

impl Session {
    pub(super) fn dial(upstream: &Upstream, resume: Option<Resume>) -> Result<Self, BuildError> {
        let overflow = match upstream.when_full {
            WhenFull::LetGo => Overflow::LetGo { waiting: WAITING },
            WhenFull::DropNewest | WhenFull::Latest(_) => Overflow::Pause,
        };
        let mut builder = upstream.client().overflow(overflow);
        if let Some(Resume { pid, offset }) = resume {
            let namespace = &*builder.default_namespace()?;
            let ticket = SessionTicket::from_parts(namespace, pid.0, offset);
            builder = builder.resume(ticket);
        }
        let client = builder.start()?;
        let socket = client.socket().clone();
        let (queue, incoming) = mpsc::channel(QUEUE);
        let ear = Ear::create(|ctx| {
            ctx.set_mailbox_capacity(QUEUE);
            Ear { queue }
        });
        socket.subscribe(ear.clone());
        socket.subscribe_to::<Lagged>(ear.clone());
        socket.subscribe_to::<ConnectError>(ear);
        Ok(Self { client, socket, incoming })
    }
}
