//! The clients that are measured, each in a process of its own.

mod actor;
mod awc;
mod bare;
mod hearing;
pub mod ours;
mod polling;
#[cfg(feature = "peers")]
mod rust_socketio;
mod script;
#[cfg(feature = "peers")]
mod tf_rust_socketio;
mod tungstenite;

use std::{io::Write as _, process::Command, time::Duration};

use futures::{StreamExt, stream};

use crate::{
    measure::{self, Latencies, Mark, Report},
    run,
    spec::{Road, Spec, Workload},
};

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// actix-socketio.
    Ours,
    /// The same, with a function that gets the events.
    Function,
    /// The same, with a stream of them.
    Stream,
    /// A minimal loop written by hand on awc's websocket.
    Awc,
    /// Minimal actors: one owns awc's websocket, and sends events to another one.
    Actor,
    /// A minimal loop written by hand on tokio-tungstenite.
    Tungstenite,
    RustSocketio,
    /// tf-rust-socketio, a fork of rust_socketio.
    TfRustSocketio,
    /// socket.io-client on Node.js.
    Js,
    /// python-socketio.
    Python,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Ours,
        Self::Function,
        Self::Stream,
        Self::Awc,
        Self::Actor,
        Self::Tungstenite,
        Self::RustSocketio,
        Self::TfRustSocketio,
        Self::Js,
        Self::Python,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Function => "function",
            Self::Stream => "stream",
            Self::Awc => "awc",
            Self::Actor => "actor",
            Self::Tungstenite => "tungstenite",
            Self::RustSocketio => "rust_socketio",
            Self::TfRustSocketio => "tf_rust_socketio",
            Self::Js => "js",
            Self::Python => "python",
        }
    }

    /// The client of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Its title, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "actix-socketio",
            Self::Function => "actix-socketio, a function",
            Self::Stream => "actix-socketio, a stream",
            Self::Awc => "bare awc loop",
            Self::Actor => "awc in an actor, by hand",
            Self::Tungstenite => "bare tokio-tungstenite loop",
            Self::RustSocketio => "rust_socketio",
            Self::TfRustSocketio => "tf-rust-socketio",
            Self::Js => "socket.io-client",
            Self::Python => "python-socketio",
        }
    }

    /// The divisor for the number of messages, so that a run does not take minutes.
    pub fn slowness(self, workload: Workload) -> u64 {
        let round_trip = matches!(workload, Workload::Ack | Workload::Busy);
        match self {
            _ if !self.is_slow() || workload == Workload::Conns => 1,
            Self::RustSocketio | Self::TfRustSocketio => {
                if round_trip {
                    2
                } else {
                    8
                }
            }
            Self::Js => {
                if round_trip {
                    4
                } else {
                    10
                }
            }
            _ => {
                if round_trip {
                    20
                } else {
                    60
                }
            }
        }
    }

    /// Whether it can be measured with this.
    pub fn can(self, Spec { workload, road, size, chunk, .. }: Spec) -> bool {
        let can_do = match self {
            Self::Function | Self::Stream => workload == Workload::Recv,
            // Clients in other languages are busy with the events alone.
            Self::Js | Self::Python => !matches!(workload, Workload::Busy | Workload::Bridge),
            Self::RustSocketio | Self::TfRustSocketio => workload != Workload::Bridge,
            _ => true,
        };
        let can_go = match road {
            Road::WebSocket => true,
            Road::Tls => !self.is_slow() && self != Self::Tungstenite,
            // With polling, the stub server cannot send at a pace.
            Road::Polling => {
                !self.is_slow()
                    && !matches!(self, Self::Actor | Self::Tungstenite)
                    && workload != Workload::Busy
            }
            Road::Msgpack => !self.is_slow(),
        };
        // The others know only the usual number, or await each event.
        let can_wait = !self.is_slow() || chunk == Spec::usual_chunk(size);
        can_do && can_go && can_wait
    }

    /// Whether it is another client, which runs only every other round or so, see the options.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::RustSocketio | Self::TfRustSocketio | Self::Js | Self::Python)
    }

    /// Fetches what it needs, and returns its version, or why it cannot run.
    pub fn prepare(self) -> Result<String, String> {
        match self {
            Self::RustSocketio | Self::TfRustSocketio if cfg!(not(feature = "peers")) => {
                Err("built without the feature `peers`".into())
            }
            Self::Js => script::prepare_js(),
            Self::Python => script::prepare_python(),
            _ => Ok(String::new()),
        }
    }

    /// The command that runs it, to which the port of the server and a spec must be added.
    pub fn command(self) -> Command {
        match self {
            Self::Js => script::js(),
            Self::Python => script::python(),
            _ => run::this(&["client", self.name()]),
        }
    }

    /// Runs it in this process.
    pub fn run(self, port: u16, spec: Spec) -> Report {
        match self {
            Self::Ours => on_actix(drive::<ours::Ours>(port, spec)),
            Self::Function => on_actix(drive::<hearing::Function>(port, spec)),
            Self::Stream => on_actix(drive::<hearing::Stream>(port, spec)),
            Self::Awc if spec.road == Road::Polling => {
                on_actix(drive::<bare::Bare<polling::Socket>>(port, spec))
            }
            Self::Awc => on_actix(drive::<bare::Bare<awc::Socket>>(port, spec)),
            Self::Actor => on_actix(drive::<actor::Hand>(port, spec)),
            Self::Tungstenite => on_tokio(drive::<bare::Bare<tungstenite::Socket>>(port, spec)),
            #[cfg(feature = "peers")]
            Self::RustSocketio => on_tokio(drive::<rust_socketio::Session>(port, spec)),
            #[cfg(feature = "peers")]
            Self::TfRustSocketio => on_tokio(drive::<tf_rust_socketio::Session>(port, spec)),
            _ => panic!("{} is a program of its own", self.name()),
        }
    }
}

/// In a task, like nearly everything in an application: code in the main future of a system pays
/// for one more look at the sockets each time that another task wakes it.
fn on_actix<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
    let task = async { actix_rt::spawn(future).await.expect("it does not panic") };
    actix_rt::System::new().block_on(task)
}

/// One thread, as an actix system has.
fn on_tokio<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let task = async { tokio::task::spawn_local(future).await.expect("it does not panic") };
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), task)
}

/// A client that is joined.
pub trait Session: Sized + 'static {
    async fn connect(port: u16, spec: Spec) -> Self;

    /// Runs a [`Workload`] other than [`Workload::Conns`], and checks it. Round trips are
    /// recorded where they are awaited one at a time.
    async fn run(&mut self) -> Option<Latencies>;

    /// Keeps the connection alive, with nothing to do.
    fn rest(self);
}

async fn drive<S: Session>(port: u16, spec: Spec) -> Report {
    if spec.workload == Workload::Conns {
        return connections::<S>(port, spec).await;
    }
    let mut session = S::connect(port, spec).await;
    let mark = Mark::start();
    let latencies = session.run().await;
    let report = mark.stop(spec.count, latencies.as_ref());
    // The process ends by itself, and the cleanup is not measured.
    std::mem::forget(session);
    report
}

async fn connections<S: Session>(port: u16, spec: Spec) -> Report {
    measure::allow_many_files();
    // The first connection pays for what all share.
    S::connect(port, spec).await.rest();
    let mark = Mark::start();
    let dials = stream::iter(0..spec.count).map(|_| S::connect(port, spec));
    dials.buffer_unordered(50).for_each(async |session| session.rest()).await;
    let mut report = mark.stop(spec.count, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    report.rss_kib = measure::rss_kib();
    report
}

/// Prints the report of a client, and ends the process at once.
pub fn finish(report: &Report) -> ! {
    println!("{}", serde_json::to_string(report).expect("plain data"));
    std::io::stdout().flush().expect("somebody reads it");
    std::process::exit(0)
}
