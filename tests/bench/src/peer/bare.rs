//! A minimal loop written by hand on a websocket crate: no namespaces, no subscribers, no reconnection, and
//! the code that awaits an answer reads the socket itself. It is the floor with which clients are compared.

use std::{future, time::Instant};

use bytes::Bytes;
use serde::Deserialize;

use super::Session;
use crate::{
    measure::{self, Latencies},
    spec::{Msg, Road, Spec, Workload},
};

/// What a websocket crate must provide.
pub trait Wire: Sized + 'static {
    async fn dial(port: u16, road: Road) -> Self;
    /// Puts a frame into the buffer, which is written when it is full.
    async fn feed(&mut self, frame: Frame<String>);
    async fn flush(&mut self);
    async fn next(&mut self) -> Frame<Bytes>;
}

pub enum Frame<T> {
    Text(T),
    Binary(Bytes),
}

pub struct Bare<W> {
    wire: W,
    spec: Spec,
}

impl<W: Wire> Session for Bare<W> {
    async fn connect(port: u16, spec: Spec) -> Self {
        Self { wire: joined(port, spec.road).await, spec }
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
        self.send(r#"42["start"]"#.into()).await;
        for n in 0..self.spec.count {
            let text = self.text().await;
            self.spec.check(n, &event(&text));
        }
    }

    async fn emit(&mut self) {
        for n in 0..self.spec.count {
            let message = self.spec.message(n);
            self.wire.feed(Frame::Text(emitted("42", &message))).await;
            if n % self.spec.chunk == 0 {
                self.wire.flush().await;
            }
        }
        self.end().await;
    }

    async fn ack(&mut self) -> Latencies {
        if self.spec.workload == Workload::Busy {
            self.send(r#"42["start"]"#.into()).await;
        }
        let (mut latencies, mut came) = (measure::latencies(), 0);
        for n in 0..self.spec.count {
            let begin = Instant::now();
            let message = self.spec.message(n);
            self.send(emitted(&format!("42{n}"), &message)).await;
            let text = loop {
                let text = self.text().await;
                if !text.starts_with(b"42") {
                    break text;
                }
                self.spec.check(came, &event(&text));
                came += 1;
            };
            assert_eq!(answer(&text), (n, n), "the answer to event {n}");
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
                    let message = self.spec.message(sent);
                    self.wire.feed(Frame::Text(emitted(&format!("42{sent}"), &message))).await;
                }
                self.wire.flush().await;
                sent = wanted;
            }
            assert_eq!(answer(&self.text().await), (n, n), "the answer to event {n}");
        }
    }

    async fn bin(&mut self) {
        self.send(r#"42["start"]"#.into()).await;
        for n in 0..self.spec.count {
            let text = self.text().await;
            self.attachment(n, &text).await;
        }
    }

    async fn bin_out(&mut self) {
        for n in 0..self.spec.count {
            let data = self.spec.attachment(n);
            let text = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
            self.wire.feed(Frame::Text(text.into())).await;
            self.wire.feed(Frame::Binary(data)).await;
            if n % self.spec.chunk == 0 {
                self.wire.flush().await;
            }
        }
        self.end().await;
    }

    async fn mix(&mut self) {
        for (block, first, last) in self.spec.blocks() {
            for n in first..last {
                let message = self.spec.message(n);
                self.wire.feed(Frame::Text(emitted("42", &message))).await;
            }
            let message = self.spec.message(last);
            self.send(emitted(&format!("42{block}"), &message)).await;
            for n in first..=last {
                let text = self.text().await;
                self.spec.check(n, &event(&text));
            }
            let text = self.text().await;
            self.attachment(block, &text).await;
            assert_eq!(answer(&self.text().await), (block, last), "the answer to block {block}");
        }
        self.end().await;
    }

    /// Asks the server how much it got.
    async fn end(&mut self) {
        self.send(r#"420["end"]"#.into()).await;
        assert_eq!(answer(&self.text().await), (0, self.spec.count), "all arrived");
    }

    /// The rest of an event with an attachment.
    async fn attachment(&mut self, n: u64, text: &[u8]) {
        #[derive(Deserialize)]
        struct Placeholder {
            num: usize,
        }
        let event = text.strip_prefix(b"451-").expect("an event with an attachment");
        let (name, data): (&str, Placeholder) = serde_json::from_slice(event).expect("JSON");
        assert_eq!((name, data.num), ("bin", 0), "the event");
        match self.wire.next().await {
            Frame::Binary(data) => self.spec.check_attachment(n, &data),
            Frame::Text(_) => panic!("the attachment was to come"),
        }
    }

    async fn send(&mut self, text: String) {
        self.wire.feed(Frame::Text(text)).await;
        self.wire.flush().await;
    }

    async fn text(&mut self) -> Bytes {
        text(&mut self.wire).await
    }
}

/// A connection whose namespace is joined.
pub async fn joined<W: Wire>(port: u16, road: Road) -> W {
    let mut wire = W::dial(port, road).await;
    assert!(text(&mut wire).await.starts_with(b"0{"), "the open packet");
    wire.feed(Frame::Text("40".into())).await;
    wire.flush().await;
    assert!(text(&mut wire).await.starts_with(b"40{"), "the namespace is joined");
    wire
}

async fn text(wire: &mut impl Wire) -> Bytes {
    match wire.next().await {
        Frame::Text(text) => text,
        Frame::Binary(_) => panic!("an attachment came, and no event before it"),
    }
}

pub fn emitted(prefix: &str, message: &Msg) -> String {
    let mut text = prefix.as_bytes().to_vec();
    serde_json::to_writer(&mut text, &("msg", message)).expect("plain data");
    String::from_utf8(text).expect("JSON is text")
}

pub fn event(text: &[u8]) -> Msg {
    let event = text.strip_prefix(b"42").expect("an event");
    let (name, message): (&str, Msg) = serde_json::from_slice(event).expect("an event");
    assert_eq!(name, "msg", "the event");
    message
}

/// The id and the number of an answer.
pub fn answer(text: &[u8]) -> (u64, u64) {
    let rest = text.strip_prefix(b"43").expect("an answer");
    let at = rest.iter().position(|byte| *byte == b'[').expect("arguments");
    let id = str::from_utf8(&rest[..at]).expect("digits").parse().expect("a number");
    let (number,) = serde_json::from_slice(&rest[at..]).expect("a number");
    (id, number)
}
