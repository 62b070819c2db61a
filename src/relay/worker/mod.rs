//! What a worker does: it asks the engine, connects to upstreams and answers commands, as its [holders](super::core::holder) decide.

mod driver;
mod session;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    logs::say,
    relay::{core::holder::Standing, engine::EngineError, host, stats::UpstreamStats},
};

pub(super) use driver::{Control, Driver};

/// How an upstream fares, for handles in other threads.
#[derive(Debug)]
pub(super) struct View {
    pub(super) standing: Standing,
    pub(super) joined: bool,
    pub(super) holder: Option<String>,
    pub(super) sequence: Option<u64>,
    pub(super) last_event: Option<Instant>,
    /// Others are to hold it, if there are any.
    pub(super) is_aside: bool,
    pub(super) error: Option<EngineError>,
    pub(super) stats: UpstreamStats,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            standing: Standing::Waiting,
            joined: false,
            holder: None,
            sequence: None,
            last_event: None,
            is_aside: false,
            error: None,
            stats: UpstreamStats::default(),
        }
    }
}

pub(super) type Shared = Arc<Mutex<View>>;

pub(super) fn look(view: &Shared) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a part of the worker with this name.
pub(super) fn run(name: String, future: impl Future<Output = ()> + 'static) {
    host::run(future, move |panicked| say!(log::Level::Error, name, "the relay {panicked}"));
}
