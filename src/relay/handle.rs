//! A worker, as the application starts it and asks about it.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::Arbiter;
use futures::{
    FutureExt as _,
    channel::{mpsc, oneshot},
    future::{Shared as Once, join, join_all},
};

use crate::{
    logs::repeated,
    relay::{
        core::{
            holder::Standing,
            placement::{self, Place},
        },
        engine::Engine,
        options::{self, RelayError, Upstream},
        stats::{RelayStats, UpstreamState},
        worker::{self, Control, Driver, Shared, View, look},
    },
    runtime::clock,
};

/// How long the hand-over to a better placed worker may take.
const HAND_OVER: Duration = Duration::from_secs(10);

/// The options of a [`Relay`]. [`start`](Self::start) checks them.
#[derive(Debug)]
#[must_use]
pub struct RelayBuilder {
    engine: Engine,
    worker: Option<String>,
    upstreams: Vec<Upstream>,
}

impl RelayBuilder {
    /// The name of this worker, another one for each: 1 to 128 ASCII letters, digits, `-` or `_`. Default: a name that
    /// no other has.
    pub fn worker(mut self, name: impl Into<String>) -> Self {
        self.worker = Some(name.into());
        self
    }

    /// Adds an upstream. The workers of an engine need not have the same ones: each upstream is shared by those that have it.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// Starts the worker on the arbiter of this thread.
    ///
    /// # Errors
    ///
    /// See [`RelayError`].
    pub fn start(self) -> Result<Relay, RelayError> {
        let Self { engine, worker, upstreams } = self;
        let random = RandomState::new();
        let worker = worker.unwrap_or_else(|| format!("worker-{:016x}", random.hash_one(0)));
        options::check(&worker, &upstreams)?;
        Arbiter::try_current().ok_or(RelayError::NoArbiter)?;
        let mut seats = Vec::new();
        for (number, upstream) in upstreams.into_iter().enumerate() {
            let (controls, controlled) = mpsc::unbounded();
            let view = Shared::new(View::new().into());
            let seed = random.hash_one(number);
            let name = upstream.name.clone();
            let driver =
                Driver::new(engine.clone(), &worker, upstream, controlled, Arc::clone(&view), seed);
            let (ends, ended) = oneshot::channel::<()>();
            worker::run(worker.clone(), async move {
                let _ends = ends;
                driver.await;
            });
            seats.push(Seat { name, controls, view, ended: ended.shared() });
        }
        let (leaves, left) = oneshot::channel::<()>();
        let (stop, stopped) = oneshot::channel::<()>();
        let (stop, withdrawn) = (Mutex::new(Some(stop)), left.shared());
        let inner = Arc::new(Inner { engine, worker, seats, stop, withdrawn });
        let present = presence(Arc::clone(&inner), stopped);
        worker::run(inner.worker.clone(), async move {
            let _leaves = leaves;
            present.await;
        });
        Ok(Relay { inner })
    }
}

struct Seat {
    name: String,
    controls: mpsc::UnboundedSender<Control>,
    view: Shared,
    ended: Once<oneshot::Receiver<()>>,
}

impl Seat {
    fn tell(&self, control: Control) {
        // One that has ended needs nothing.
        self.controls.unbounded_send(control).ok();
    }
}

struct Inner {
    engine: Engine,
    worker: String,
    seats: Vec<Seat>,
    /// Ends the presence when it is dropped.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    withdrawn: Once<oneshot::Receiver<()>>,
}

/// Says that this worker is there, and which upstreams it is to hold.
async fn presence(inner: Arc<Inner>, mut stopped: oneshot::Receiver<()>) {
    let Inner { engine, worker, seats, .. } = &*inner;
    let mut present = Vec::new();
    let pause = engine.0.lease_time().mul_f64(0.2);
    loop {
        let is_aside = |seat: &Seat| look(&seat.view).is_aside;
        let upstreams = seats.iter().map(|seat| (seat.name.clone(), is_aside(seat)));
        let own = placement::offer(worker, upstreams, &present);
        let asked = async {
            engine.0.announce(&own).await?;
            engine.0.workers().await
        };
        match clock::within(pause, asked).await {
            Some(Ok(workers)) => {
                place(seats, &placement::places(&own, &workers));
                present = workers;
            }
            Some(Err(error)) => repeated!(log::Level::Warn, worker, "presence: {error}"),
            None => repeated!(log::Level::Warn, worker, "presence: the engine does not answer"),
        }
        let wait = clock::within(pause, &mut stopped);
        if wait.await.is_some() {
            break;
        }
    }
    if let Some(Err(error)) = clock::within(pause, engine.0.withdraw(worker)).await {
        repeated!(log::Level::Warn, worker, "presence: {error}");
    }
}

/// Tells the holders their places. One at a time is handed over to a worker that is to have it.
fn place(seats: &[Seat], places: &HashMap<&str, Place>) {
    let place = |seat: &Seat| places.get(seat.name.as_str()).copied();
    let standing = |seat: &Seat| look(&seat.view).standing;
    let is_moving = seats.iter().any(|seat| standing(seat) == Standing::Leaving);
    for seat in seats {
        seat.tell(Control::Place(place(seat)));
    }
    let is_displaced = |seat: &&Seat| {
        place(seat).is_some_and(|place| place.rank > 0) && standing(seat) == Standing::Open
    };
    if !is_moving && let Some(seat) = seats.iter().find(is_displaced) {
        seat.tell(Control::HandOver(HAND_OVER));
    }
}

/// A worker: it holds upstreams, together with the other workers of the engine, and writes their events to the log.
///
/// It is a handle, which may be cloned and used from any thread. Dropping it does not end the worker:
/// [`shutdown`](Self::shutdown) does, and the end of its actix system.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

impl Relay {
    /// A worker of this engine.
    pub fn builder(engine: Engine) -> RelayBuilder {
        RelayBuilder { engine, worker: None, upstreams: Vec::new() }
    }

    /// The name of the worker.
    pub fn worker(&self) -> &str {
        &self.inner.worker
    }

    /// How an upstream fares; `None` if this relay has none of this name.
    pub fn state(&self, upstream: &str) -> Option<UpstreamState> {
        let seat = self.inner.seats.iter().find(|seat| seat.name == upstream)?;
        let view = look(&seat.view);
        let last = view.last_event.map(|at| clock::now().saturating_duration_since(at));
        Some(UpstreamState {
            holder: view.holder.clone(),
            held_here: view.stats.held_here,
            joined: view.joined,
            sequence: view.sequence,
            last_event: last,
            error: view.error.clone(),
        })
    }

    /// What this worker has done so far, and what waits.
    pub fn stats(&self) -> RelayStats {
        let seats = self.inner.seats.iter();
        let upstreams = seats.map(|seat| (seat.name.clone(), look(&seat.view).stats.clone()));
        RelayStats { worker: self.inner.worker.clone(), upstreams: upstreams.collect() }
    }

    /// Hands all upstreams over, in order: what has come is stored, the sessions are left for the next holders, and the
    /// leases are given back. Then the worker has ended.
    ///
    /// What is not done after `within` is left: its lease lapses, and the next holder continues behind the last event that is
    /// stored. It may be called again, and by several handles.
    pub async fn shutdown(&self, within: Duration) {
        let Inner { engine, worker, seats, stop, withdrawn } = &*self.inner;
        // The others are to know first: so that they take over at once.
        drop(stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        for seat in seats {
            seat.tell(Control::Stop(within));
        }
        let ended = join_all(seats.iter().map(|seat| seat.ended.clone()));
        let ended = join(ended, withdrawn.clone());
        // The holders keep the time; this is for an engine that does not answer.
        let late = within.saturating_add(engine.0.lease_time().mul_f64(0.2));
        if clock::within(late, ended).await.is_none() {
            repeated!(log::Level::Warn, worker, "the hand-over was not done in time");
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.inner.seats.iter().map(|seat| &*seat.name).collect();
        f.debug_struct("Relay")
            .field("worker", &self.inner.worker)
            .field("upstreams", &names)
            .finish_non_exhaustive()
    }
}
