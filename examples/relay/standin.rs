//! In place of what the library does not have yet.
#![allow(dead_code, clippy::unused_async)]
use actix_socketio::{
    ClientBuilder, Route,
    relay::{Engine, NatsError},
};
use std::time::Duration;

pub(crate) enum WhenFull {
    LetGo,
    DropNewest,
    Latest,
}
pub(crate) enum Takeover {
    Ordered,
    Now,
}
pub(crate) struct Upstream;
impl Upstream {
    pub(crate) fn new(_: impl Into<String>, _: ClientBuilder) -> Self {
        Self
    }
    pub(crate) fn namespace(self, _: impl Into<String>) -> Self {
        self
    }
    pub(crate) fn route(self, _: Route) -> Self {
        self
    }
    pub(crate) fn when_full(self, _: WhenFull) -> Self {
        self
    }
    pub(crate) fn takeover(self, _: Takeover) -> Self {
        self
    }
}
pub(crate) struct RelayBuilder;
impl RelayBuilder {
    pub(crate) fn worker(self, _: impl Into<String>) -> Self {
        self
    }
    pub(crate) fn upstream(self, _: Upstream) -> Self {
        self
    }
    pub(crate) fn start(self) -> Result<Relay, NatsError> {
        Ok(Relay)
    }
}
#[derive(Clone)]
pub(crate) struct Relay;
#[derive(Debug)]
pub(crate) struct UpstreamState {
    pub(crate) holder: Option<String>,
    pub(crate) held_here: bool,
    pub(crate) joined: bool,
    pub(crate) sequence: Option<u64>,
    pub(crate) last_event: Option<Duration>,
    pub(crate) error: Option<String>,
}
pub(crate) struct RelayStats;
impl RelayStats {
    pub(crate) fn prometheus(&self) -> String {
        String::new()
    }
}
impl Relay {
    pub(crate) fn builder(_: Engine) -> RelayBuilder {
        RelayBuilder
    }
    pub(crate) fn worker(&self) -> &str {
        "worker"
    }
    pub(crate) fn state(&self, _: &str) -> Option<UpstreamState> {
        Some(UpstreamState {
            holder: None,
            held_here: false,
            joined: false,
            sequence: None,
            last_event: None,
            error: None,
        })
    }
    pub(crate) fn stats(&self) -> RelayStats {
        RelayStats
    }
    pub(crate) async fn shutdown(&self, _: Duration) {}
}
