//! What a call of a handle costs while the number of earlier calls grows: it should stay the same.

use std::time::Duration;

use actix_rt::System;
use actix_socketio::{Ack, Client, Emit, Socket};
use futures::FutureExt;

use crate::{
    measure::{Mark, Report},
    options::Options,
    run,
    spec::{Spec, Workload},
    table::{figure, median},
};

const NUMBERS: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// The number of calls after which the client catches up, since the queue is bounded.
const STEP: usize = 10_000;

#[derive(Clone, Copy)]
enum Call {
    /// Each with a key: first a new one, and then that of an event that waits.
    Keys,
    /// Each is made, and cancelled later.
    Subscriptions,
    /// Each for a namespace that is not joined, and given up later.
    Waiters,
    /// Each with a lifetime, to a namespace that is not joined.
    Retries,
}

impl Call {
    const ALL: [Self; 4] = [Self::Keys, Self::Subscriptions, Self::Waiters, Self::Retries];

    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Subscriptions => "subscriptions",
            Self::Waiters => "waiters",
            Self::Retries => "retries",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Keys => "emit the latest of a key",
            Self::Subscriptions => "subscribe, and cancel",
            Self::Waiters => "wait for a namespace",
            Self::Retries => "emit with retries",
        }
    }

    /// Makes this many calls. Returns how many there were in total.
    async fn make(self, number: u64, never: &Socket) -> u64 {
        match self {
            Self::Keys => {
                for n in (0..number).chain(0..number) {
                    let emit = Emit::new("waits", n).expect("a good name");
                    drop(never.send(emit.latest(n.to_string())).expect("there is room"));
                }
                assert_eq!(unsent(never).await, number);
                2 * number
            }
            Self::Subscriptions => {
                let mut subscriptions = Vec::new();
                for n in 0..number {
                    subscriptions.push(never.listen(n.to_string()).call(|_| ()));
                    if subscriptions.len() % STEP == 0 {
                        catch_up(never).await;
                    }
                }
                catch_up(never).await;
                for (n, subscription) in subscriptions.into_iter().enumerate() {
                    subscription.cancel();
                    if n % STEP == 0 {
                        catch_up(never).await;
                    }
                }
                catch_up(never).await;
                2 * number
            }
            Self::Waiters => {
                let mut waiting = Vec::new();
                for _ in 0..number {
                    let mut ready = never.ready().timeout(Duration::from_secs(3_600)).boxed_local();
                    assert!((&mut ready).now_or_never().is_none(), "it is never joined");
                    waiting.push(ready);
                    if waiting.len() % STEP == 0 {
                        catch_up(never).await;
                    }
                }
                catch_up(never).await;
                number
            }
            Self::Retries => {
                let ask = |n| {
                    let emit = Emit::new("waits", n).expect("a good name");
                    let emit = emit.lifetime(Duration::from_secs(3_600 + n % 7));
                    never.send_with_ack(emit).timeout(Duration::MAX / 4).retries(3).send()
                };
                let pending: Vec<Ack<u64>> = (0..number).map(ask).collect();
                assert_eq!(unsent(never).await, number);
                drop(pending);
                number
            }
        }
    }
}

/// Waits until all calls have been handled.
async fn catch_up(socket: &Socket) {
    socket.session_ticket().await.expect("few calls wait");
}

/// The same, and returns how many events wait.
async fn unsent(socket: &Socket) -> u64 {
    socket.take_unsent().await.expect("few calls wait").len() as u64
}

/// The child process that [`run()`] starts.
pub fn child(call: &str, number: &str, port: u16) -> Report {
    let call = Call::ALL.into_iter().find(|other| other.name() == call).expect("a call");
    let number = number.parse().expect("a number");
    System::new().block_on(async {
        let client = Client::builder(format!("http://127.0.0.1:{port}"))
            .send_buffer(1_000_000, 1 << 30)
            .pending_acks(1_000_000);
        let client = client.connect().await.expect("the stub server takes all");
        let never = client.of("/never").expect("a good name");
        let mark = Mark::start();
        let calls = call.make(number, &never).await;
        let report = mark.stop(calls, None);
        std::mem::forget((client, never));
        report
    })
}

pub fn run(options: &Options) -> Result<(), String> {
    println!("| CPU µs per call, of so many | 100 | 1000 | 10 000 | 100 000 | 100 000 ÷ 1000 |");
    println!("|---|--:|--:|--:|--:|--:|");
    for call in Call::ALL {
        let mut runs = NUMBERS.map(|_| Vec::new());
        for _ in 0..options.rounds {
            for (number, runs) in NUMBERS.iter().zip(&mut runs) {
                let command = run::this(&["calls", call.name(), &number.to_string()]);
                runs.push(run::run(command, Spec::new(Workload::Recv, 1, 64)));
            }
        }
        let mut costs = Vec::new();
        for runs in runs {
            costs.push(median(runs)?.cpu());
        }
        let ratio = figure(costs[3] / costs[1]);
        let costs: Vec<String> = costs.into_iter().map(figure).collect();
        println!("| {} | {} | {ratio} |", call.title(), costs.join(" | "));
    }
    Ok(())
}
