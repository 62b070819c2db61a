//! One scenario against every server: [`on_every_server`] makes one test for each server, so
//! that a failure names the server.

// A test crate uses only some of the macros.
#![allow(unused_imports, unused_macros)]

use super::node::{self, Config, Line};
use super::{PATIENCE, oxide};
use actix_socketio::{Client, ClientBuilder, Parser, Transport};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// A server to run a scenario against.
pub enum Target {
    /// The official server of a line, which other tests use at the same time.
    Shared(&'static node::Server),
    /// An official server of the test's own.
    Own(node::Server),
    /// socketioxide, always of the test's own.
    Oxide(oxide::Server),
}

/// The shared server of a line.
pub fn official(line: Line) -> Target {
    Target::Shared(node::server(line))
}

pub fn socketioxide() -> Target {
    Target::Oxide(oxide::start())
}

/// A server of the line that uses socket.io-msgpack-parser.
pub fn official_msgpack(line: Line) -> Target {
    let config = Config { parser: Parser::Msgpack, ..Config::default() };
    Target::Own(node::start(line, &config))
}

/// socketioxide with its msgpack parser.
pub fn socketioxide_msgpack() -> Target {
    Target::Oxide(oxide::start_on(0, Parser::Msgpack, |builder| builder))
}

impl Target {
    /// A new server of the same kind, for a test that counts what happens on it, or kills it.
    pub fn fresh(&self) -> Self {
        self.fresh_on(0)
    }

    /// The same, on this port; 0 for any.
    pub fn fresh_on(&self, port: u16) -> Self {
        match self.official() {
            Some(server) => {
                let config = Config { port, parser: self.parser(), ..Config::default() };
                Self::Own(node::start(server.line(), &config))
            }
            None => Self::Oxide(oxide::start_on(port, self.parser(), |builder| builder)),
        }
    }

    /// A new server of the same kind, with a slow heartbeat: how long a slow subscriber may hold up
    /// the connection before it loses events depends on that.
    pub fn patient(&self) -> Self {
        match self.official() {
            Some(server) => {
                let options = serde_json::json!({ "pingTimeout": 60_000 });
                let config = Config { options, parser: self.parser(), ..Config::default() };
                Self::Own(node::start(server.line(), &config))
            }
            None => self.fresh(),
        }
    }

    /// The official server, if it is one.
    pub fn official(&self) -> Option<&node::Server> {
        match self {
            Self::Shared(server) => Some(server),
            Self::Own(server) => Some(server),
            Self::Oxide(_) => None,
        }
    }

    /// Whether it speaks the old protocol; see [`Line::is_old`].
    pub fn is_old(&self) -> bool {
        self.official().is_some_and(|server| server.line().is_old())
    }

    pub fn parser(&self) -> Parser {
        match self {
            Self::Shared(server) => server.parser(),
            Self::Own(server) => server.parser(),
            Self::Oxide(server) => server.parser(),
        }
    }

    pub fn is_oxide(&self) -> bool {
        matches!(self, Self::Oxide(_))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Shared(server) => server.url(),
            Self::Own(server) => server.url(),
            Self::Oxide(server) => server.url(),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Shared(server) => server.port(),
            Self::Own(server) => server.port(),
            Self::Oxide(server) => server.port(),
        }
    }

    pub fn connections(&self, namespace: &str) -> u64 {
        match self {
            Self::Shared(server) => server.connections(namespace),
            Self::Own(server) => server.connections(namespace),
            Self::Oxide(server) => server.connections(namespace),
        }
    }

    pub fn disconnections(&self, namespace: &str) -> u64 {
        match self {
            Self::Shared(server) => server.disconnections(namespace),
            Self::Own(server) => server.disconnections(namespace),
            Self::Oxide(server) => server.disconnections(namespace),
        }
    }

    /// How many `count` events with this name arrived so far, from anyone.
    pub fn counted(&self, name: &str) -> u64 {
        match self {
            Self::Shared(server) => server.counted(name),
            Self::Own(server) => server.counted(name),
            Self::Oxide(server) => server.counted(name),
        }
    }

    /// From now on, `/guarded` accepts only this token.
    pub fn set_token(&self, token: &str) {
        match self {
            Self::Shared(server) => server.set_token(token),
            Self::Own(server) => server.set_token(token),
            Self::Oxide(server) => server.set_token(token),
        }
    }

    /// The tokens with which clients asked to join `/guarded`, in order.
    pub fn tokens(&self) -> Vec<serde_json::Value> {
        match self {
            Self::Shared(server) => server.tokens(),
            Self::Own(server) => server.tokens(),
            Self::Oxide(server) => server.tokens(),
        }
    }

    pub fn builder(&self) -> ClientBuilder {
        let builder = super::builder(self.url()).parser(self.parser());
        // With polling, socketioxide joins the packets of one event without a separator, which is a bug of it.
        if self.is_oxide() { builder.transports([Transport::WebSocket]) } else { builder }
    }

    /// A client with the defaults, just started.
    pub fn client(&self) -> Client {
        self.builder().start().unwrap()
    }

    /// A client with the defaults, joined to "/".
    pub async fn connected(&self) -> Client {
        within(self.builder().connect()).await.unwrap()
    }
}

/// A name for `count` which no other test uses.
pub fn unique(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The output of the future; panics, naming the caller's line, if that takes too long.
#[track_caller]
pub fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future.into_future()).await;
        outcome.unwrap_or_else(|_| panic!("{caller}: not done after {PATIENCE:?}"))
    }
}

/// Makes tests of scenarios, functions `async fn name(server: &Target)` at the root of the crate, each
/// against 2.5.1, 3.1.2, the current release and socketioxide.
macro_rules! on_every_server {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            crate::support::every::on_each!($name, official, socketioxide);
        }
    )* };
}
pub(crate) use on_every_server;

/// The same with msgpack, each against a server of its own.
macro_rules! on_every_server_in_msgpack {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            crate::support::every::on_each!($name, official_msgpack, socketioxide_msgpack);
        }
    )* };
}
pub(crate) use on_every_server_in_msgpack;

/// Both of these.
macro_rules! on_every_server_in_both_parsers {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            mod in_json {
                crate::support::every::on_each!($name, official, socketioxide);
            }
            mod in_msgpack {
                crate::support::every::on_each!($name, official_msgpack, socketioxide_msgpack);
            }
        }
    )* };
}
pub(crate) use on_every_server_in_both_parsers;

/// The tests of one scenario, with the functions that make the servers.
macro_rules! on_each {
    ($name:ident, $official:ident, $socketioxide:ident) => {
        crate::support::every::on_each!($name, $official);

        #[actix::test]
        async fn on_socketioxide() {
            crate::$name(&every::$socketioxide()).await;
        }
    };
    ($name:ident, $official:ident) => {
        use crate::support::{every, node::Line};

        #[actix::test]
        async fn on_2_5_1() {
            crate::$name(&every::$official(Line::V2_5_1)).await;
        }

        #[actix::test]
        async fn on_3_1_2() {
            crate::$name(&every::$official(Line::V3_1_2)).await;
        }

        #[actix::test]
        async fn on_4_x() {
            crate::$name(&every::$official(Line::V4)).await;
        }
    };
}
pub(crate) use on_each;

/// The servers of [`on_every_server`] without socketioxide.
macro_rules! on_official_servers {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            crate::support::every::on_each!($name, official);
        }
    )* };
}
pub(crate) use on_official_servers;

/// The same in both parsers.
macro_rules! on_official_servers_in_both_parsers {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            mod in_json {
                crate::support::every::on_each!($name, official);
            }
            mod in_msgpack {
                crate::support::every::on_each!($name, official_msgpack);
            }
        }
    )* };
}
pub(crate) use on_official_servers_in_both_parsers;

/// The servers that a bridge leads from and to, and both parsers.
macro_rules! between_servers {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            use crate::support::{
                every::{official, official_msgpack, socketioxide},
                node::Line,
            };

            #[actix::test]
            async fn from_2_5_1_to_4_x() {
                crate::$name(&official(Line::V2_5_1), &official(Line::V4)).await;
            }

            #[actix::test]
            async fn from_4_x_to_2_5_1() {
                crate::$name(&official(Line::V4), &official(Line::V2_5_1)).await;
            }

            #[actix::test]
            async fn from_3_1_2_to_socketioxide() {
                crate::$name(&official(Line::V3_1_2), &socketioxide()).await;
            }

            #[actix::test]
            async fn from_socketioxide_to_msgpack_4_x() {
                crate::$name(&socketioxide(), &official_msgpack(Line::V4)).await;
            }

            #[actix::test]
            async fn from_msgpack_4_x_to_2_5_1() {
                crate::$name(&official_msgpack(Line::V4), &official(Line::V2_5_1)).await;
            }
        }
    )* };
}
pub(crate) use between_servers;
