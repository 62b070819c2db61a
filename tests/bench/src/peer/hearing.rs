//! actix-socketio, with a function or a stream in place of the actor that gets the events.

use futures::{StreamExt, channel::oneshot};

use super::{
    Session,
    ours::{Msg, Ours},
};
use crate::{
    measure::Latencies,
    spec::{Spec, Workload},
};

pub struct Function(Ours, Spec);

impl Session for Function {
    async fn connect(port: u16, spec: Spec) -> Self {
        Self(Ours::connect(port, spec).await, spec)
    }

    async fn run(&mut self) -> Option<Latencies> {
        let Self(ours, spec) = self;
        assert_eq!(spec.workload, Workload::Recv, "it only listens");
        let (done, all) = oneshot::channel();
        let (spec, mut n, mut done) = (*spec, 0, Some(done));
        ours.client().socket().listen_to::<Msg>().call(move |Msg(message)| {
            spec.check(n, &message);
            n += 1;
            if n == spec.count {
                let done = done.take().expect("no more comes than was to come");
                done.send(()).expect("somebody waits");
            }
        });
        ours.ask_for_all();
        all.await.expect("all that was to come");
        None
    }

    fn rest(self) {
        self.0.rest();
    }
}

pub struct Stream(Ours, Spec);

impl Session for Stream {
    async fn connect(port: u16, spec: Spec) -> Self {
        Self(Ours::connect(port, spec).await, spec)
    }

    async fn run(&mut self) -> Option<Latencies> {
        let Self(ours, spec) = self;
        assert_eq!(spec.workload, Workload::Recv, "it only listens");
        let mut messages = ours.client().socket().listen_to::<Msg>().stream();
        ours.ask_for_all();
        for n in 0..spec.count {
            let Msg(message) = messages.next().await.expect("the client stays");
            spec.check(n, &message);
        }
        None
    }

    fn rest(self) {
        self.0.rest();
    }
}
