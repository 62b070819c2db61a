//! What an actix application writes by hand: an actor that owns awc's websocket, and another one that
//! gets the events as messages. Like a [bare loop](super::bare), it can only do what the benchmark
//! needs; the difference to the bare loop is the price of actors.

use std::{
    collections::{HashMap, VecDeque},
    future,
    time::Instant,
};

use actix::{
    dev::SendError,
    io::{SinkWrite, WriteHandler},
    prelude::*,
};
use awc::{BoxedSocket, error::WsProtocolError, ws};
use bytes::Bytes;
use futures::{StreamExt, channel::oneshot, stream::SplitSink};
use serde::Serialize;

use super::{
    Session, awc as socket, bare,
    ours::{Blob, Desk, Msg},
};
use crate::{
    measure::{self, Latencies},
    packets::{self, Frame, Packet},
    spec::{Road, Spec, Workload},
};

type Framed = actix_codec::Framed<BoxedSocket, ws::Codec>;

/// Owns the socket.
struct Owner {
    sink: SinkWrite<ws::Message, SplitSink<Framed, ws::Message>>,
    desk: Addr<Desk>,
    /// In [`Workload::Bridge`]: where the events go, in place of the desk.
    other: Option<Addr<Self>>,
    questions: HashMap<u64, oneshot::Sender<u64>>,
    next: u64,
}

impl Actor for Owner {
    type Context = Context<Self>;
}

impl WriteHandler<WsProtocolError> for Owner {}

impl Owner {
    fn write(&mut self, frame: Frame<String>) {
        let message = match frame {
            Frame::Text(text) => ws::Message::Text(text.into()),
            Frame::Binary(data) => ws::Message::Binary(data),
        };
        assert!(self.sink.write(message).is_ok(), "it is open");
    }

    /// Sends the subscriber a message. While its mailbox is full, nothing is read.
    fn tell<M, A>(&self, subscriber: &Addr<A>, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        A: Actor<Context = Context<A>> + Handler<M>,
    {
        match subscriber.try_send(message) {
            Ok(()) => {}
            Err(SendError::Full(message)) => {
                let sent = subscriber.send(message).into_actor(self);
                ctx.wait(sent.map(|sent, _, _| sent.expect("the subscriber lives")));
            }
            Err(SendError::Closed(_)) => panic!("the subscriber lives"),
        }
    }
}

impl StreamHandler<Result<ws::Frame, WsProtocolError>> for Owner {
    fn handle(&mut self, frame: Result<ws::Frame, WsProtocolError>, ctx: &mut Context<Self>) {
        let frame = match frame.expect("a frame") {
            ws::Frame::Text(text) => Frame::Text(text),
            ws::Frame::Binary(data) => Frame::Binary(data),
            other => panic!("the stub server sends no {other:?}"),
        };
        if let Some(other) = &self.other {
            return self.tell(other, Emit(packets::pass(frame), None), ctx);
        }
        match packets::read(frame) {
            Packet::Event(message) => self.tell(&self.desk, Msg(message), ctx),
            Packet::Answer(id, number) => {
                let question = self.questions.remove(&id).expect("somebody asked");
                question.send(number).expect("somebody waits");
            }
            Packet::Blob(data) => self.tell(&self.desk, Blob(data.into()), ctx),
            Packet::Announced => {}
            Packet::Joined => panic!("it has been joined before"),
        }
    }
}

/// An event, with its attachment.
#[derive(Message)]
#[rtype(result = "()")]
struct Emit(Frame<String>, Option<Bytes>);

/// The arguments of an event that asks for an answer.
#[derive(Message)]
#[rtype(result = "()")]
struct Ask(Frame<String>, oneshot::Sender<u64>);

impl Handler<Emit> for Owner {
    type Result = ();

    fn handle(&mut self, Emit(frame, data): Emit, _: &mut Context<Self>) {
        self.write(frame);
        if let Some(data) = data {
            self.write(Frame::Binary(data));
        }
    }
}

impl Handler<Ask> for Owner {
    type Result = ();

    fn handle(&mut self, Ask(arguments, waiter): Ask, _: &mut Context<Self>) {
        let id = self.next;
        self.next += 1;
        self.questions.insert(id, waiter);
        self.write(packets::numbered(id, &arguments));
    }
}

impl Owner {
    async fn dial(
        port: u16,
        road: Road,
        desk: Addr<Desk>,
        other: Option<Addr<Self>>,
    ) -> Addr<Self> {
        let framed = bare::joined::<socket::Socket>(port, road).await.into_framed();
        let (sink, stream) = framed.split();
        Self::create(|ctx| {
            ctx.add_stream(stream);
            let sink = SinkWrite::new(sink, ctx);
            Self { sink, desk, other, questions: HashMap::new(), next: 0 }
        })
    }
}

pub struct Hand {
    owner: Addr<Owner>,
    /// In [`Workload::Bridge`]: the one to which the owner passes the events on.
    other: Option<Addr<Owner>>,
    all: Option<oneshot::Receiver<()>>,
    spec: Spec,
}

impl Session for Hand {
    async fn connect(port: u16, spec: Spec) -> Self {
        let (desk, all) = Desk::start(spec);
        let other = match spec.workload {
            Workload::Bridge => Some(Owner::dial(port, spec.road, desk.clone(), None).await),
            _ => None,
        };
        let owner = Owner::dial(port, spec.road, desk, other.clone()).await;
        Self { owner, other, all: Some(all), spec }
    }

    async fn run(&mut self) -> Option<Latencies> {
        match self.spec.workload {
            Workload::Recv | Workload::Bin => {
                self.start();
                self.all().await;
            }
            Workload::Emit => self.emit_all(message).await,
            Workload::BinOut => {
                self.emit_all(|spec, n| {
                    let (event, data) = packets::blob(spec.road, spec.attachment(n));
                    Emit(event, data)
                })
                .await;
            }
            Workload::Ack => return Some(self.ack().await),
            Workload::Busy => {
                self.start();
                return Some(self.ack().await);
            }
            Workload::Pipe => self.pipe().await,
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

fn message(spec: &Spec, n: u64) -> Emit {
    Emit(packets::event(spec.road, None, "msg", spec.message(n)), None)
}

impl Hand {
    fn start(&self) {
        self.owner.do_send(Emit(packets::event(self.spec.road, None, "start", ()), None));
    }

    fn ask(&self, name: &str, argument: impl Serialize) -> oneshot::Receiver<u64> {
        self.ask_at(&self.owner, name, argument)
    }

    fn ask_at(
        &self,
        owner: &Addr<Owner>,
        name: &str,
        argument: impl Serialize,
    ) -> oneshot::Receiver<u64> {
        let (waiter, answer) = oneshot::channel();
        owner.do_send(Ask(packets::arguments(self.spec.road, name, argument), waiter));
        answer
    }

    /// Waits until the subscriber has got all events.
    async fn all(&mut self) {
        self.all.take().expect("once").await.expect("all that was to come");
    }

    /// Now and then, it waits until the owner has caught up.
    async fn emit_all(&self, event: impl Fn(&Spec, u64) -> Emit) {
        for n in 0..self.spec.count {
            let event = event(&self.spec, n);
            if n % self.spec.chunk == 0 {
                self.owner.send(event).await.expect("the owner lives");
            } else {
                self.owner.do_send(event);
            }
        }
        self.end().await;
    }

    async fn ack(&self) -> Latencies {
        let mut latencies = measure::latencies();
        for n in 0..self.spec.count {
            let begin = Instant::now();
            let answer = self.ask("msg", self.spec.message(n)).await.expect("an answer");
            assert_eq!(answer, n, "the answer to event {n}");
            measure::note(&mut latencies, begin.elapsed());
        }
        latencies
    }

    async fn pipe(&self) {
        let mut window = VecDeque::with_capacity(Spec::WINDOW);
        let mut answered = 0;
        for n in 0..self.spec.count + Spec::WINDOW as u64 {
            if window.len() == Spec::WINDOW || n >= self.spec.count {
                let answer = window.pop_front().expect("the window is full");
                assert_eq!(answer.await, Ok(answered), "the answer to event {answered}");
                answered += 1;
            }
            if n < self.spec.count {
                window.push_back(self.ask("msg", self.spec.message(n)));
            }
        }
        assert_eq!(answered, self.spec.count, "all are answered");
    }

    async fn mix(&mut self) {
        for (block, first, last) in self.spec.blocks() {
            for n in first..last {
                self.owner.do_send(message(&self.spec, n));
            }
            let answer = self.ask("msg", self.spec.message(last)).await;
            assert_eq!(answer, Ok(last), "the answer to block {block}");
        }
        self.all().await;
        self.end().await;
    }

    async fn bridge(&self) {
        let all = self.ask_at(self.other.as_ref().expect("it is connected"), "end", ());
        self.start();
        assert_eq!(all.await, Ok(self.spec.count), "all arrived");
    }

    /// Asks the server how much it got.
    async fn end(&self) {
        assert_eq!(self.ask("end", ()).await, Ok(self.spec.count), "all arrived");
    }
}
