//! actix-socketio, used as its README shows: events as types, an actor that subscribes to them, the
//! default options.

use std::{
    collections::VecDeque,
    future,
    time::{Duration, Instant},
};

use actix::prelude::*;
use actix_socketio::{
    Ack, Attachment, Bridge, Client, NamedEvent, Parser, Socket, Transport, tls::Tls,
};
use futures::channel::oneshot;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::{
    measure::{self, Latencies},
    spec::{Road, Spec, Workload},
    tls,
};

#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "()")]
#[serde(transparent)]
pub struct Msg(pub crate::spec::Msg);

impl NamedEvent for Msg {
    const NAME: &'static str = "msg";
}

#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "()")]
pub struct Blob(pub Attachment);

impl NamedEvent for Blob {
    const NAME: &'static str = "bin";
}

/// The subscriber: checks the events, and reports when all have come.
pub struct Desk {
    spec: Spec,
    messages: u64,
    blobs: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Desk {
    pub fn start(spec: Spec) -> (Addr<Self>, oneshot::Receiver<()>) {
        let (done, all) = oneshot::channel();
        (Actor::start(Self { spec, messages: 0, blobs: 0, done: Some(done) }), all)
    }

    fn count(&mut self) {
        let Spec { workload, count, .. } = self.spec;
        let (messages, blobs) = match workload {
            Workload::Bin => (0, count),
            Workload::Mix => (count, count / Spec::BLOCK),
            Workload::Busy => return,
            _ => (count, 0),
        };
        if (self.messages, self.blobs) == (messages, blobs) {
            let done = self.done.take().expect("no more comes than was to come");
            done.send(()).expect("somebody waits");
        }
    }
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Msg> for Desk {
    type Result = ();
    fn handle(&mut self, Msg(message): Msg, _: &mut Context<Self>) {
        self.spec.check(self.messages, &message);
        self.messages += 1;
        self.count();
    }
}

impl Handler<Blob> for Desk {
    type Result = ();
    fn handle(&mut self, Blob(data): Blob, _: &mut Context<Self>) {
        self.spec.check_attachment(self.blobs, &data);
        self.blobs += 1;
        self.count();
    }
}

pub struct Ours {
    /// Keeps the client alive.
    client: Client,
    socket: Socket,
    /// In [`Workload::Bridge`]: where the events go.
    other: Option<Client>,
    spec: Spec,
}

impl Session for Ours {
    async fn connect(port: u16, spec: Spec) -> Self {
        let client = client(port, spec.road).await;
        let other = match spec.workload {
            Workload::Bridge => Some(self::client(port, spec.road).await),
            _ => None,
        };
        Self { socket: client.socket().clone(), client, other, spec }
    }

    async fn run(&mut self) -> Option<Latencies> {
        match self.spec.workload {
            Workload::Recv | Workload::Bin => self.recv().await,
            Workload::Emit => self.emit(|spec, n| Msg(spec.message(n))).await,
            Workload::Ack => return Some(self.ack().await),
            Workload::Busy => {
                // The session is kept for ever.
                drop(self.start());
                return Some(self.ack().await);
            }
            Workload::Pipe => self.pipe().await,
            Workload::BinOut => self.emit(|spec, n| Blob(spec.attachment(n).into())).await,
            Workload::Mix => self.mix().await,
            Workload::Bridge => self.bridge().await,
            Workload::Conns => future::pending().await,
        }
        None
    }

    fn rest(self) {
        std::mem::forget(self);
    }
}

async fn client(port: u16, road: Road) -> Client {
    let builder = || Client::builder(format!("http://127.0.0.1:{port}"));
    let builder = match road {
        Road::WebSocket => builder(),
        Road::Tls => Client::builder(format!("https://localhost:{port}"))
            .tls(Tls::from_config(tls::client_config())),
        Road::Polling => builder().transports([Transport::Polling]),
        Road::Msgpack => builder().parser(Parser::Msgpack),
    };
    builder.connect().await.expect("the stub server takes all")
}

impl Ours {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Lets the server send all that it has.
    pub fn ask_for_all(&self) {
        self.socket.emit("start", ()).expect("there is room");
    }

    /// Subscribes. The receiver resolves when all events have come.
    fn listen(&self) -> oneshot::Receiver<()> {
        let (desk, all) = Desk::start(self.spec);
        self.socket.on::<Msg>(desk.clone());
        self.socket.on::<Blob>(desk);
        all
    }

    fn start(&self) -> oneshot::Receiver<()> {
        let all = self.listen();
        self.ask_for_all();
        all
    }

    async fn recv(&mut self) {
        self.start().await.expect("all that was to come");
    }

    /// Makes and emits all events, one after the other.
    async fn emit<E: NamedEvent + Serialize>(&mut self, event: impl Fn(&Spec, u64) -> E) {
        for n in 0..self.spec.count {
            let event = event(&self.spec, n);
            let written = self.socket.emit_event(&event).expect("there is room");
            if n % self.spec.chunk == 0 {
                written.await.expect("it is written");
            }
        }
        self.end().await;
    }

    async fn ack(&mut self) -> Latencies {
        let mut latencies = measure::latencies();
        for n in 0..self.spec.count {
            let begin = Instant::now();
            let answer: u64 =
                self.socket.emit_with_ack("msg", self.spec.message(n)).await.expect("it");
            assert_eq!(answer, n, "the answer to event {n}");
            measure::note(&mut latencies, begin.elapsed());
        }
        latencies
    }

    async fn pipe(&mut self) {
        let mut window: VecDeque<Ack<u64>> = VecDeque::with_capacity(Spec::WINDOW);
        let mut answered = 0;
        for n in 0..self.spec.count + Spec::WINDOW as u64 {
            if window.len() == Spec::WINDOW || n >= self.spec.count {
                let answer = window.pop_front().expect("the window is full").await.expect("it");
                assert_eq!(answer, answered, "the answer to event {answered}");
                answered += 1;
            }
            if n < self.spec.count {
                window.push_back(self.socket.emit_with_ack("msg", self.spec.message(n)).send());
            }
        }
        assert_eq!(answered, self.spec.count, "all are answered");
    }

    async fn mix(&mut self) {
        let all = self.listen();
        for (block, first, last) in self.spec.blocks() {
            for n in first..last {
                drop(self.socket.emit_event(&Msg(self.spec.message(n))).expect("there is room"));
            }
            let answer: u64 =
                self.socket.emit_with_ack("msg", self.spec.message(last)).await.expect("it");
            assert_eq!(answer, last, "the answer to block {block}");
        }
        all.await.expect("all that was to come");
        self.end().await;
    }

    async fn bridge(&mut self) {
        let other = self.other.as_ref().expect("it is connected").socket();
        Bridge::between(&self.socket, other).start().expect("they are two");
        let all: Ack<u64> = other.emit_with_ack("end", ()).timeout(Duration::MAX / 4).send();
        self.ask_for_all();
        assert_eq!(all.await.expect("the server counts"), self.spec.count, "all arrived");
    }

    /// Asks the server how much it got.
    async fn end(&mut self) {
        let count: u64 = self.socket.emit_with_ack("end", ()).await.expect("the server counts");
        assert_eq!(count, self.spec.count, "all arrived");
    }
}
