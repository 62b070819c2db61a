//! A minimal loop written by hand on a websocket crate: no namespaces, no subscribers, no reconnection, and
//! the code that awaits an answer reads the socket itself. It is the floor with which clients are compared.

use std::{future, time::Instant};

use bytes::Bytes;

use super::Session;
use crate::{
    measure::{self, Latencies},
    packets::{self, Frame, Packet},
    spec::{Road, Spec, Workload},
};

/// What a websocket crate must provide.
pub trait Wire: Sized + 'static {
    async fn dial(port: u16, road: Road) -> Self;
    /// Puts a frame into the buffer, which is written when it is full.
    async fn feed(&mut self, frame: Frame<String>);
    async fn flush(&mut self);
    async fn next(&mut self) -> Frame<Bytes>;
}

pub struct Bare<W> {
    wire: W,
    /// In [`Workload::Bridge`]: where the events go.
    other: Option<W>,
    spec: Spec,
}

impl<W: Wire> Session for Bare<W> {
    async fn connect(port: u16, spec: Spec) -> Self {
        let other = match spec.workload {
            Workload::Bridge => Some(joined(port, spec.road).await),
            _ => None,
        };
        Self { wire: joined(port, spec.road).await, other, spec }
    }

    async fn run(&mut self) -> Option<Latencies> {
        match self.spec.workload {
            Workload::Recv => self.recv().await,
            Workload::Emit => self.emit().await,
            Workload::Ack | Workload::Busy => return Some(self.ack().await),
            Workload::Pipe => self.pipe().await,
            Workload::Bin => self.bin().await,
            Workload::BinOut => self.bin_out().await,
            Workload::Mix => self.mix().await,
            Workload::Bridge => self.bridge().await,
            Workload::Conns => future::pending().await,
        }
        None
    }

    fn rest(mut self) {
        tokio::task::spawn_local(async move {
            loop {
                self.wire.next().await;
            }
        });
    }
}

impl<W: Wire> Bare<W> {
    async fn recv(&mut self) {
        self.start().await;
        for n in 0..self.spec.count {
            let packet = self.next().await;
            self.check(n, packet);
        }
    }

    async fn emit(&mut self) {
        for n in 0..self.spec.count {
            self.feed(None, n).await;
            if n % self.spec.chunk == 0 {
                self.wire.flush().await;
            }
        }
        self.end().await;
    }

    async fn ack(&mut self) -> Latencies {
        if self.spec.workload == Workload::Busy {
            self.start().await;
        }
        let (mut latencies, mut came) = (measure::latencies(), 0);
        for n in 0..self.spec.count {
            let begin = Instant::now();
            self.feed(Some(n), n).await;
            self.wire.flush().await;
            let answer = loop {
                match self.next().await {
                    Packet::Answer(id, number) => break (id, number),
                    event => self.check(came, event),
                }
                came += 1;
            };
            assert_eq!(answer, (n, n), "the answer to event {n}");
            measure::note(&mut latencies, begin.elapsed());
        }
        latencies
    }

    async fn pipe(&mut self) {
        let mut sent = 0;
        for n in 0..self.spec.count {
            let wanted = (n + Spec::WINDOW as u64).min(self.spec.count);
            // Half of the window at a time, so that several events are written together.
            if sent < wanted && (sent - n < Spec::WINDOW as u64 / 2 || sent == 0) {
                for sent in sent..wanted {
                    self.feed(Some(sent), sent).await;
                }
                self.wire.flush().await;
                sent = wanted;
            }
            self.answer(n, n).await;
        }
    }

    async fn bin(&mut self) {
        self.start().await;
        for n in 0..self.spec.count {
            self.attachment(n).await;
        }
    }

    async fn bin_out(&mut self) {
        for n in 0..self.spec.count {
            let (event, data) = packets::blob(self.spec.road, self.spec.attachment(n));
            self.wire.feed(event).await;
            if let Some(data) = data {
                self.wire.feed(Frame::Binary(data)).await;
            }
            if n % self.spec.chunk == 0 {
                self.wire.flush().await;
            }
        }
        self.end().await;
    }

    async fn mix(&mut self) {
        for (block, first, last) in self.spec.blocks() {
            for n in first..last {
                self.feed(None, n).await;
            }
            self.feed(Some(block), last).await;
            self.wire.flush().await;
            for n in first..=last {
                let packet = self.next().await;
                self.check(n, packet);
            }
            self.attachment(block).await;
            self.answer(block, last).await;
        }
        self.end().await;
    }

    async fn bridge(&mut self) {
        let wire = self.other.take().expect("it is connected");
        let mut other = Self { wire, other: None, spec: self.spec };
        other.wire.feed(packets::event(self.spec.road, Some(0), "end", ())).await;
        other.wire.flush().await;
        self.start().await;
        for n in 1..=self.spec.count {
            other.wire.feed(packets::pass(self.wire.next().await)).await;
            if n % self.spec.chunk == 0 {
                other.wire.flush().await;
            }
        }
        other.wire.flush().await;
        other.answer(0, self.spec.count).await;
    }

    async fn start(&mut self) {
        self.wire.feed(packets::event(self.spec.road, None, "start", ())).await;
        self.wire.flush().await;
    }

    /// Asks the server how much it got.
    async fn end(&mut self) {
        self.wire.feed(packets::event(self.spec.road, Some(0), "end", ())).await;
        self.wire.flush().await;
        self.answer(0, self.spec.count).await;
    }

    /// The `n`th event, which asks for an answer if it has an id.
    async fn feed(&mut self, id: Option<u64>, n: u64) {
        let message = self.spec.message(n);
        self.wire.feed(packets::event(self.spec.road, id, "msg", message)).await;
    }

    async fn next(&mut self) -> Packet {
        packets::read(self.wire.next().await)
    }

    fn check(&self, n: u64, packet: Packet) {
        let Packet::Event(message) = packet else { panic!("{packet:?} in place of event {n}") };
        self.spec.check(n, &message);
    }

    async fn answer(&mut self, id: u64, number: u64) {
        let packet = self.next().await;
        let Packet::Answer(came, with) = packet else { panic!("{packet:?} answers {id}") };
        assert_eq!((came, with), (id, number), "the answer to event {number}");
    }

    /// An event with an attachment.
    async fn attachment(&mut self, n: u64) {
        let mut packet = self.next().await;
        if let Packet::Announced = packet {
            packet = self.next().await;
        }
        let Packet::Blob(data) = packet else { panic!("{packet:?} in place of attachment {n}") };
        self.spec.check_attachment(n, &data);
    }
}

/// A connection whose namespace is joined.
pub async fn joined<W: Wire>(port: u16, road: Road) -> W {
    let mut wire = W::dial(port, road).await;
    let open = matches!(wire.next().await, Frame::Text(text) if text.starts_with(b"0{"));
    assert!(open, "the open packet");
    wire.feed(packets::join(road)).await;
    wire.flush().await;
    assert!(matches!(packets::read(wire.next().await), Packet::Joined), "the namespace is joined");
    wire
}
