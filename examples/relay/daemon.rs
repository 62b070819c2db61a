//! The relay as a service: it waits for the engine, tells how it is doing, and hands over at its end.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_socketio::relay::{Engine, NatsOptions, Relay, Takeover, Upstream, WhenFull};
use async_nats::ConnectOptions;
use futures::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};
use log::{info, warn};

use crate::{
    config::{Config, EngineConfig, FullConfig, Login, NatsConfig, TakeoverConfig, UpstreamConfig},
    pages::{self, Health, Source, UpstreamHealth},
};

/// Time between two tries to reach the engine.
const AGAIN: Duration = Duration::from_secs(2);

/// How long to wait for an answer of NATS, unless that is too long for the lease.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// How the daemon is doing.
struct Status {
    worker: String,
    upstreams: Vec<String>,
    state: Mutex<State>,
}

enum State {
    /// The engine is not there yet, and why not.
    Waiting(String),
    Running(Relay),
}

impl Status {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The relay, if it runs, or else why not.
    fn relay(&self) -> Result<Relay, String> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Waiting(reason) => Err(reason.clone()),
            State::Running(relay) => Ok(relay.clone()),
        }
    }
}

impl Source for Status {
    fn health(&self) -> Health {
        let relay = self.relay();
        let upstreams = self.upstreams.iter().map(|name| {
            let state = relay.as_ref().ok().and_then(|relay| relay.state(name));
            UpstreamHealth {
                name: name.clone(),
                held_here: state.as_ref().is_some_and(|state| state.held_here),
                joined: state.as_ref().is_some_and(|state| state.joined),
                stored: state.as_ref().and_then(|state| state.sequence),
                last_event: state
                    .as_ref()
                    .and_then(|state| state.last_event)
                    .map(|age| age.as_secs_f64()),
                error: state
                    .as_ref()
                    .and_then(|state| state.error.as_ref().map(ToString::to_string)),
                holder: state.and_then(|state| state.holder),
            }
        });
        let upstreams = upstreams.collect();
        Health { worker: self.worker.clone(), engine: relay.err(), upstreams }
    }

    fn metrics(&self) -> String {
        self.relay().map(|relay| relay.stats().prometheus()).unwrap_or_default()
    }
}

/// Runs until it is told to end. An error is one of the configuration, or of the hand-over.
pub(crate) async fn run(config: Config, worker: String) -> Result<(), Box<dyn Error>> {
    let status = Arc::new(Status {
        worker,
        upstreams: config.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
        state: Mutex::new(State::Waiting("not asked yet".to_owned())),
    });
    let mut ended = Signals::new()?;
    let pages = pages::serve(Arc::clone(&status), config.http)?;
    let handle = pages.handle();
    actix_rt::spawn(pages);
    let outcome = relay(&config, &status, &mut ended).await;
    handle.stop(false).await;
    outcome
}

async fn relay(
    config: &Config,
    status: &Status,
    ended: &mut Signals,
) -> Result<(), Box<dyn Error>> {
    let engine = {
        let (engine, ended) = (engine(&config.engine, status), ended.next());
        pin_mut!(engine, ended);
        match select(engine, ended).await {
            Either::Left((engine, _)) => engine?,
            // There is nothing to hand over.
            Either::Right(_) => return Ok(()),
        }
    };
    let builder = Relay::builder(engine).worker(&status.worker);
    let builder = config
        .upstreams
        .iter()
        .map(upstream)
        .fold(builder, actix_socketio::relay::RelayBuilder::upstream);
    let relay = builder.start().map_err(|error| error.to_string())?;
    status.set(State::Running(relay.clone()));
    info!("started with {} upstreams", config.upstreams.len());
    ended.next().await;
    info!("handing over, within {:?}", config.hand_over);
    let before = relay.stats();
    let (shutdown, again) = (relay.shutdown(config.hand_over), ended.next());
    pin_mut!(shutdown, again);
    match select(shutdown, again).await {
        Either::Left(((), _)) => {
            let pairs = before.upstreams.iter().zip(relay.stats().upstreams);
            let left = pairs
                .filter(|((_, before), (_, after))| {
                    before.held_here && after.handed_over == before.handed_over
                })
                .map(|((name, _), _)| name.as_str())
                .collect::<Vec<_>>();
            if left.is_empty() {
                info!("handed over");
            } else {
                warn!(
                    "not handed over: {}; another worker takes over when the lease lapses",
                    left.join(", ")
                );
            }
            Ok(())
        }
        Either::Right(_) => Err("ended at once, without handing over".into()),
    }
}

/// The engine, as soon as it is there.
async fn engine(config: &EngineConfig, status: &Status) -> Result<Engine, Box<dyn Error>> {
    let EngineConfig::Nats(config) = config else { return Ok(Engine::in_process()) };
    let lease = config.lease.unwrap_or(Duration::from_secs(15));
    loop {
        match nats(config, lease, &status.worker).await {
            Ok(engine) => return Ok(engine),
            Err(reason) => {
                warn!("no engine: {reason}; again in {AGAIN:?}");
                status.set(State::Waiting(reason));
            }
        }
        actix::clock::sleep(AGAIN).await;
    }
}

async fn nats(config: &NatsConfig, lease: Duration, worker: &str) -> Result<Engine, String> {
    let mut options = ConnectOptions::new().name(format!("relay {worker}"));
    options = match &config.login {
        Login::None => options,
        Login::Token(token) => options.token(token.reveal().to_owned()),
        Login::Password { user, password } => {
            options.user_and_password(user.clone(), password.reveal().to_owned())
        }
        Login::Credentials(text) => {
            options.credentials(text.reveal()).map_err(|_| "unusable credentials")?
        }
        Login::Nkey(seed) => options.nkey(seed.reveal().to_owned()),
    };
    if let Some(inbox) = &config.inbox {
        options = options.custom_inbox_prefix(inbox);
    }
    if let Some((certificate, key)) = &config.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
        options = options.require_tls(true);
    }
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    let client = options
        .connect(config.servers.as_slice())
        .await
        .map_err(|error| format!("no connection to NATS: {error}"))?;
    let mut options =
        NatsOptions::new().lease_time(lease).ack_timeout(ACK_TIMEOUT.min(lease.div_f64(4.0)));
    if let Some(prefix) = &config.prefix {
        options = options.prefix(prefix);
    }
    if let Some(replicas) = config.replicas {
        options = options.replicas(replicas);
    }
    if let Some(age) = config.max_age {
        options = options.max_age(age);
    }
    if let Some(bytes) = config.max_bytes {
        options = options.max_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
    Engine::nats(&client, options).await.map_err(|error| error.to_string())
}

fn upstream(config: &UpstreamConfig) -> Upstream {
    let upstream = Upstream::new(&config.name, config.client());
    let upstream = match &config.namespace {
        Some(namespace) => upstream.namespace(namespace),
        None => upstream,
    };
    upstream
        .route(config.route())
        .when_full(match config.when_full {
            FullConfig::LetGo => WhenFull::LetGo,
            FullConfig::DropNewest => WhenFull::DropNewest,
            FullConfig::Latest => WhenFull::latest_by_name(),
        })
        .takeover(match config.takeover {
            TakeoverConfig::Ordered => Takeover::Ordered,
            TakeoverConfig::Now => Takeover::Now,
        })
}

/// Ctrl-C, and what ends a service.
struct Signals {
    #[cfg(unix)]
    terminate: actix_rt::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: actix_rt::signal::unix::Signal,
}

impl Signals {
    /// From now on none is missed, and none ends the process by itself.
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use actix_rt::signal::unix::{SignalKind, signal};
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        let (terminate, interrupt) = (self.terminate.recv(), self.interrupt.recv());
        pin_mut!(terminate, interrupt);
        select(terminate, interrupt).map(drop).await;
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        actix_rt::signal::ctrl_c().map(drop).await;
    }
}
