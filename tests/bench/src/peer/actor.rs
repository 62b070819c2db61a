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
use serde::{Serialize, de::IgnoredAny};

use super::{
    Session, awc as socket, bare,
    ours::{Blob, Desk, Msg},
};
use crate::{
    measure::{self, Latencies},
    spec::{Spec, Workload},
};

type Framed = actix_codec::Framed<BoxedSocket, ws::Codec>;

/// Owns the socket.
struct Owner {
    sink: SinkWrite<ws::Message, SplitSink<Framed, ws::Message>>,
    desk: Addr<Desk>,
    questions: HashMap<u64, oneshot::Sender<u64>>,
    next: u64,
    /// Whether the attachment of an event is still to come.
    waits: bool,
}

impl Actor for Owner {
    type Context = Context<Self>;
}

impl WriteHandler<WsProtocolError> for Owner {}

impl Owner {
    fn write(&mut self, text: String) {
        assert!(self.sink.write(ws::Message::Text(text.into())).is_ok(), "it is open");
    }

    /// Sends the subscriber a message. While its mailbox is full, nothing is read.
    fn tell<M>(&self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Desk: Handler<M>,
    {
        match self.desk.try_send(message) {
            Ok(()) => {}
            Err(SendError::Full(message)) => {
                let sent = self.desk.send(message).into_actor(self);
                ctx.wait(sent.map(|sent, _, _| sent.expect("the subscriber lives")));
            }
            Err(SendError::Closed(_)) => panic!("the subscriber lives"),
        }
    }
}

impl StreamHandler<Result<ws::Frame, WsProtocolError>> for Owner {
    fn handle(&mut self, frame: Result<ws::Frame, WsProtocolError>, ctx: &mut Context<Self>) {
        match frame.expect("a frame") {
            ws::Frame::Text(text) if text.starts_with(b"42") => {
                self.tell(Msg(bare::event(&text)), ctx);
            }
            ws::Frame::Text(text) if text.starts_with(b"43") => {
                let (id, number) = bare::answer(&text);
                let question = self.questions.remove(&id).expect("somebody asked");
                question.send(number).expect("somebody waits");
            }
            ws::Frame::Text(text) => {
                let event = text.strip_prefix(b"451-").expect("an event with an attachment");
                let (name, _): (&str, IgnoredAny) = serde_json::from_slice(event).expect("JSON");
                assert_eq!(name, "bin", "the event");
                self.waits = true;
            }
            ws::Frame::Binary(data) => {
                assert!(std::mem::take(&mut self.waits), "an event came before");
                self.tell(Blob(data.into()), ctx);
            }
            other => panic!("the stub server sends no {other:?}"),
        }
    }
}

/// An event, with its attachment.
#[derive(Message)]
#[rtype(result = "()")]
struct Emit(String, Option<Bytes>);

/// An event that asks for an answer: the text after its id.
#[derive(Message)]
#[rtype(result = "()")]
struct Ask(String, oneshot::Sender<u64>);

impl Handler<Emit> for Owner {
    type Result = ();

    fn handle(&mut self, Emit(text, data): Emit, _: &mut Context<Self>) {
        self.write(text);
        if let Some(data) = data {
            assert!(self.sink.write(ws::Message::Binary(data)).is_ok(), "it is open");
        }
    }
}

impl Handler<Ask> for Owner {
    type Result = ();

    fn handle(&mut self, Ask(event, waiter): Ask, _: &mut Context<Self>) {
        let id = self.next;
        self.next += 1;
        self.questions.insert(id, waiter);
        self.write(format!("42{id}{event}"));
    }
}

pub struct Hand {
    owner: Addr<Owner>,
    all: Option<oneshot::Receiver<()>>,
    spec: Spec,
}

impl Session for Hand {
    async fn connect(port: u16, spec: Spec) -> Self {
        let framed = bare::joined::<socket::Socket>(port, spec.road).await.into_framed();
        let (desk, all) = Desk::start(spec);
        let (sink, stream) = framed.split();
        let owner = Owner::create(|ctx| {
            ctx.add_stream(stream);
            let sink = SinkWrite::new(sink, ctx);
            Owner { sink, desk, questions: HashMap::new(), next: 0, waits: false }
        });
        Self { owner, all: Some(all), spec }
    }

    async fn run(&mut self) -> Option<Latencies> {
        match self.spec.workload {
            Workload::Recv | Workload::Bin => {
                self.emit(r#"42["start"]"#.into());
                self.all().await;
            }
            Workload::Emit => {
                self.emit_all(|spec, n| Emit(bare::emitted("42", &spec.message(n)), None)).await;
            }
            Workload::BinOut => {
                let text = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
                self.emit_all(|spec, n| Emit(text.into(), Some(spec.attachment(n)))).await;
            }
            Workload::Ack => return Some(self.ack().await),
            Workload::Busy => {
                self.emit(r#"42["start"]"#.into());
                return Some(self.ack().await);
            }
            Workload::Pipe => self.pipe().await,
            Workload::Mix => self.mix().await,
            Workload::Conns => future::pending().await,
        }
        None
    }

    fn rest(self) {
        std::mem::forget(self);
    }
}

impl Hand {
    fn emit(&self, text: String) {
        self.owner.do_send(Emit(text, None));
    }

    fn ask(&self, name: &str, arguments: impl Serialize) -> oneshot::Receiver<u64> {
        let (waiter, answer) = oneshot::channel();
        let event = serde_json::to_string(&(name, arguments)).expect("plain data");
        self.owner.do_send(Ask(event, waiter));
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
                self.emit(bare::emitted("42", &self.spec.message(n)));
            }
            let answer = self.ask("msg", self.spec.message(last)).await;
            assert_eq!(answer, Ok(last), "the answer to block {block}");
        }
        self.all().await;
        self.end().await;
    }

    /// Asks the server how much it got.
    async fn end(&self) {
        let (waiter, answer) = oneshot::channel();
        self.owner.do_send(Ask(r#"["end"]"#.into(), waiter));
        assert_eq!(answer.await, Ok(self.spec.count), "all arrived");
    }
}
