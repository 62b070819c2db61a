//! Whether two clients get twice as much done when each has an arbiter of its own.

use std::sync::Arc;

use actix_rt::{Arbiter, System};
use futures::{channel::oneshot, future};
use tokio::sync::Barrier;

use crate::{
    machine,
    measure::{Mark, Report},
    options::Options,
    peer::{Session, ours::Ours},
    run,
    spec::{Spec, Workload},
    table::{figure, median},
};

/// The child process that [`run()`] starts: the whole workload, once for each arbiter.
pub fn child(arbiters: &str, port: u16, spec: Spec) -> Report {
    let arbiters: usize = arbiters.parse().expect("a number");
    System::new().block_on(async {
        let start = Arc::new(Barrier::new(arbiters + 1));
        let mut ends = Vec::new();
        for _ in 0..arbiters {
            let (done, end) = oneshot::channel();
            let start = Arc::clone(&start);
            ends.push(end);
            Arbiter::new().spawn(async move {
                let mut ours = Ours::connect(port, spec).await;
                start.wait().await;
                ours.run().await;
                done.send(()).expect("somebody waits");
                ours.rest();
            });
        }
        start.wait().await;
        let mark = Mark::start();
        for end in future::join_all(ends).await {
            end.expect("the workload is done");
        }
        mark.stop(spec.count * arbiters as u64, None)
    })
}

pub fn run(options: &Options) -> Result<(), String> {
    let usual = [Workload::Recv, Workload::Emit, Workload::Pipe];
    let workloads = options.workloads.as_deref().unwrap_or(&usual);
    let size = options.sizes.first().copied().unwrap_or(64);
    println!(
        "| workload | 1 arbiter, each/s | 2 arbiters, each/s | 2 ÷ 1 | CPU µs each | CPU µs each |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for &workload in workloads {
        let usual = if workload == Workload::Ack { 20_000 } else { 400_000 };
        let spec = Spec::new(workload, options.count.unwrap_or(usual), size);
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for (runs, arbiters) in runs.iter_mut().zip(["1", "2"]) {
                runs.push(run::run(run::this(&["inside", arbiters]), spec));
            }
        }
        let [one, two] = runs.map(median);
        let (one, two) = (one?, two?);
        let ratio = figure(two.rate() / one.rate());
        let (first, second) = (figure(one.cpu()), figure(two.cpu()));
        println!(
            "| {workload} | {:.0} | {:.0} | {ratio} | {first} | {second} |",
            one.rate(),
            two.rate()
        );
    }
    println!(
        "\n{}; medians of {}. The stub server takes a part of a core, too.",
        machine::describe(),
        options.rounds
    );
    Ok(())
}
