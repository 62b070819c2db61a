//! What an event costs while the number of something else grows: it should stay the same.

use std::{any::Any, time::Duration};

use actix::prelude::*;
use actix_socketio::{Ack, Event};
use futures::{StreamExt, stream};

use crate::{
    calls, machine,
    measure::{Mark, Report},
    options::Options,
    peer::{Session, ours::Ours},
    run,
    spec::{Spec, Workload},
    table::{figure, median},
};

const NUMBERS: [u64; 4] = [1, 10, 100, 1000];

/// The things whose number grows.
#[derive(Clone, Copy)]
enum Crowd {
    /// Events that are not answered yet.
    Acks,
    /// Other namespaces of the same client.
    Namespaces,
    /// Subscribers to other events of the same namespace, each an actor.
    Subscribers,
    /// Other clients in the same arbiter.
    Connections,
    /// Events for a namespace that is not joined, of the same client.
    Buffered,
}

impl Crowd {
    const ALL: [Self; 5] =
        [Self::Acks, Self::Namespaces, Self::Subscribers, Self::Connections, Self::Buffered];

    fn name(self) -> &'static str {
        match self {
            Self::Acks => "acks",
            Self::Namespaces => "namespaces",
            Self::Subscribers => "subscribers",
            Self::Connections => "connections",
            Self::Buffered => "buffered",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Acks => "pending acks",
            Self::Namespaces => "joined namespaces",
            Self::Subscribers => "subscribers to other events",
            Self::Connections => "idle connections in the arbiter",
            Self::Buffered => "events that wait in another namespace",
        }
    }

    /// Makes this many of them. They live as long as the returned value.
    async fn gather(self, number: u64, ours: &Ours, port: u16, spec: Spec) -> Box<dyn Any> {
        let (client, socket) = (ours.client(), ours.client().socket());
        match self {
            Self::Acks => {
                let ask = |_| socket.emit_with_ack("hold", ()).timeout(Duration::MAX / 4).send();
                let pending: Vec<Ack<u64>> = (0..number).map(ask).collect();
                // When the server has answered this, it has got the events.
                let events: u64 = socket.emit_with_ack("end", ()).await.expect("an answer");
                assert_eq!(events, 0, "nothing has begun");
                Box::new(pending)
            }
            Self::Namespaces => {
                let mut joined = Vec::new();
                for n in 0..number {
                    let namespace = client.of(&format!("/{n}")).expect("a good name");
                    namespace.ready().await.expect("the stub server takes all");
                    joined.push(namespace);
                }
                Box::new(joined)
            }
            Self::Subscribers => {
                let subscribe = |n| socket.listen(format!("other {n}")).actor(Deaf.start());
                Box::new((0..number).map(subscribe).collect::<Vec<_>>())
            }
            Self::Connections => {
                let dials = stream::iter(0..number).map(|_| Ours::connect(port, spec));
                Box::new(dials.buffer_unordered(50).collect::<Vec<_>>().await)
            }
            Self::Buffered => {
                let never = client.of("/never").expect("a good name");
                for n in 0..number {
                    drop(never.emit("waits", n).expect("there is room"));
                }
                Box::new(never)
            }
        }
    }
}

/// A subscriber that gets nothing.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<Event> for Deaf {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Context<Self>) {
        panic!("the stub server emits no {:?}", event.name());
    }
}

/// The child process that [`run()`] starts.
pub fn child(crowd: &str, number: &str, port: u16, spec: Spec) -> Report {
    let crowd = Crowd::ALL.into_iter().find(|other| other.name() == crowd).expect("a crowd");
    let number = number.parse().expect("a number");
    crate::measure::allow_many_files();
    actix_rt::System::new().block_on(async {
        let mut ours = Ours::connect(port, spec).await;
        let gathered = crowd.gather(number, &ours, port, spec).await;
        let mark = Mark::start();
        let latencies = ours.run().await;
        let report = mark.stop(spec.count, latencies.as_ref());
        std::mem::forget((ours, gathered));
        report
    })
}

pub fn run(options: &Options) -> Result<(), String> {
    let usual = [Workload::Recv, Workload::Emit, Workload::Pipe];
    let workloads = options.workloads.as_deref().unwrap_or(&usual);
    let size = options.sizes.first().copied().unwrap_or(64);
    println!("| CPU µs per event, beside so many | in | 1 | 10 | 100 | 1000 | 1000 ÷ 1 |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    for crowd in Crowd::ALL {
        for &workload in workloads {
            let usual = if workload == Workload::Ack { 10_000 } else { 200_000 };
            let spec = Spec::new(workload, options.count.unwrap_or(usual), size);
            let mut runs = NUMBERS.map(|_| Vec::new());
            for _ in 0..options.rounds {
                for (number, runs) in NUMBERS.iter().zip(&mut runs) {
                    let command = run::this(&["among", crowd.name(), &number.to_string()]);
                    runs.push(run::run(command, spec));
                }
            }
            let mut costs = Vec::new();
            for runs in runs {
                costs.push(median(runs)?.cpu());
            }
            let ratio = costs[costs.len() - 1] / costs[0];
            let costs: Vec<String> = costs.into_iter().map(figure).collect();
            let (costs, ratio) = (costs.join(" | "), figure(ratio));
            println!("| {} | {workload} | {costs} | {ratio} |", crowd.title());
        }
    }
    println!();
    calls::run(options)?;
    println!("\n{}; medians of {}.", machine::describe(), options.rounds);
    Ok(())
}
