//! rust_socketio, its async client; and its fork tf-rust-socketio, which is used in the same way.

use std::{
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{
    arguments, attachment, binary,
    client::{
        Payload, TransportType,
        asynchronous::{Client, ClientBuilder},
    },
};
use crate::{
    measure::{self, Latencies},
    peer,
    spec::{Msg, Spec, Workload},
};

const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Session {
    client: Client,
    spec: Spec,
    came: Arc<Came>,
}

#[derive(Default)]
struct Came {
    messages: AtomicU64,
    blobs: AtomicU64,
    one_more: Notify,
}

impl Came {
    async fn wait(&self, messages: u64, blobs: u64) {
        while (self.messages.load(Relaxed), self.blobs.load(Relaxed)) != (messages, blobs) {
            self.one_more.notified().await;
        }
    }
}

impl peer::Session for Session {
    async fn connect(port: u16, spec: Spec) -> Self {
        let came = Arc::new(Came::default());
        let (opened, open) = oneshot::channel();
        let opened = Arc::new(Mutex::new(Some(opened)));
        let (messages, blobs) = (Arc::clone(&came), Arc::clone(&came));
        let client = ClientBuilder::new(format!("http://127.0.0.1:{port}"))
            .transport_type(TransportType::Websocket)
            .on("open", move |_, _| {
                let opened = opened.lock().expect("nobody panics").take();
                if let Some(opened) = opened {
                    opened.send(()).expect("somebody waits");
                }
                future::ready(()).boxed()
            })
            .on("msg", move |payload, _| {
                let message = arguments(payload).remove(0);
                let message: Msg = serde_json::from_value(message).expect("a message");
                spec.check(messages.messages.fetch_add(1, Relaxed), &message);
                messages.one_more.notify_one();
                future::ready(()).boxed()
            })
            .on("bin", move |payload, _| {
                spec.check_attachment(blobs.blobs.fetch_add(1, Relaxed), &attachment(payload));
                blobs.one_more.notify_one();
                future::ready(()).boxed()
            })
            .connect()
            .await
            .expect("the stub server takes all");
        open.await.expect("the namespace is joined");
        Self { client, spec, came }
    }

    async fn run(&mut self) -> Option<Latencies> {
        let Spec { workload, count, .. } = self.spec;
        match workload {
            Workload::Recv => self.stream(count, 0).await,
            Workload::Emit => self.emit().await,
            Workload::Ack => return Some(self.ack().await),
            Workload::Busy => {
                self.client.emit("start", json!(null)).await.expect("it is sent");
                return Some(self.ack().await);
            }
            Workload::Pipe => self.pipe().await,
            Workload::Bin => self.stream(0, count).await,
            Workload::BinOut => self.bin_out().await,
            Workload::Mix => self.mix().await,
            Workload::Bridge | Workload::Conns => future::pending().await,
        }
        None
    }

    fn rest(self) {
        // Dropping it leaves the connection alone: a task of its own reads it.
        drop(self);
    }
}

impl Session {
    async fn stream(&mut self, messages: u64, blobs: u64) {
        self.client.emit("start", json!(null)).await.expect("it is sent");
        self.came.wait(messages, blobs).await;
    }

    async fn emit(&mut self) {
        for n in 0..self.spec.count {
            self.client.emit("msg", json!(self.spec.message(n))).await.expect("it is sent");
        }
        self.end().await;
    }

    async fn ack(&mut self) -> Latencies {
        let mut latencies = measure::latencies();
        for n in 0..self.spec.count {
            let begin = Instant::now();
            let message = json!(self.spec.message(n));
            assert_eq!(self.ask("msg", message).await, n, "the answer to event {n}");
            measure::note(&mut latencies, begin.elapsed());
        }
        latencies
    }

    async fn pipe(&mut self) {
        let window = Arc::new(Semaphore::new(Spec::WINDOW));
        let answered = Arc::new(AtomicU64::new(0));
        for n in 0..self.spec.count {
            let room = Arc::clone(&window).acquire_owned().await.expect("it stays open");
            let room = Mutex::new(Some(room));
            let answered = Arc::clone(&answered);
            let callback = move |payload, _| {
                assert_eq!(number(payload), n, "the answer to event {n}");
                answered.fetch_add(1, Relaxed);
                drop(room.lock().expect("nobody panics").take());
                future::ready(()).boxed()
            };
            let message = json!(self.spec.message(n));
            self.client.emit_with_ack("msg", message, TIMEOUT, callback).await.expect("it is sent");
        }
        let all = u32::try_from(Spec::WINDOW).expect("it is small");
        drop(window.acquire_many(all).await.expect("it stays open"));
        assert_eq!(answered.load(Relaxed), self.spec.count, "all are answered");
    }

    async fn bin_out(&mut self) {
        for n in 0..self.spec.count {
            let data = binary(self.spec.attachment(n));
            self.client.emit("bin", data).await.expect("it is sent");
        }
        self.end().await;
    }

    async fn mix(&mut self) {
        for (block, first, last) in self.spec.blocks() {
            for n in first..last {
                self.client.emit("msg", json!(self.spec.message(n))).await.expect("it is sent");
            }
            let message = json!(self.spec.message(last));
            assert_eq!(self.ask("msg", message).await, last, "the answer to block {block}");
        }
        self.came.wait(self.spec.count, self.spec.count / Spec::BLOCK).await;
        self.end().await;
    }

    /// Asks the server how much it got.
    async fn end(&mut self) {
        assert_eq!(self.ask("end", json!(null)).await, self.spec.count, "all arrived");
    }

    async fn ask(&self, name: &str, argument: serde_json::Value) -> u64 {
        let (sender, answer) = oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let callback = move |payload, _| {
            if let Some(sender) = sender.lock().expect("nobody panics").take() {
                sender.send(number(payload)).expect("somebody waits");
            }
            future::ready(()).boxed()
        };
        self.client.emit_with_ack(name, argument, TIMEOUT, callback).await.expect("it is sent");
        answer.await.expect("an answer")
    }
}

/// The arguments of an answer come as one array.
fn number(payload: Payload) -> u64 {
    arguments(payload)[0][0].as_u64().expect("a number")
}
