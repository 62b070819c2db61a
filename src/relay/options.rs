//! What a relay is to do, and why it cannot.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::{
    bridge::Route,
    client::{builder::ClientBuilder, error::BuildError},
    display::Excerpt,
    guard::Kept,
    message::Event,
    relay::name,
};

/// Events that may wait for the log, unless it is told otherwise.
const BUFFER_EVENTS: usize = 65_536;
/// Bytes that may wait.
const BUFFER_BYTES: usize = 64 << 20;

/// What becomes of events while the log cannot keep up for so long that the
/// [buffer](Upstream::buffer) is full.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Nothing more is taken from the server; when that lasts, the connection is let go, and made again when there is room. A server that
    /// [recovers sessions](crate::guide::reconnecting) then sends what was missed, if that was not more than two minutes; otherwise the gap
    /// is marked.
    #[default]
    LetGo,
    /// New events are dropped, and a mark in the log says how many.
    DropNewest,
    /// Of the events that wait and have the same key, only the newest is kept, and a mark in the log says how many
    /// were replaced. For events that replace each other, such as prices.
    Latest(Key),
}

impl WhenFull {
    /// [`Latest`](Self::Latest), with the name of the event as its key.
    pub fn latest_by_name() -> Self {
        Self::latest_by(|event| Some(event.name().to_owned()))
    }

    /// [`Latest`](Self::Latest), with the key that the function finds. Events without a key (`None`) are kept, as with
    /// [`DropNewest`](Self::DropNewest). The function must not block; if it panics, the event has no key.
    pub fn latest_by<F>(key: F) -> Self
    where
        F: Fn(&Event) -> Option<String> + Send + Sync + 'static,
    {
        Self::Latest(Key(Arc::new(Kept::new(Box::new(key)))))
    }
}

type KeyOf = dyn Fn(&Event) -> Option<String> + Send + Sync;

/// How events of [`WhenFull::Latest`] replace each other; see [`WhenFull::latest_by`].
#[derive(Clone)]
pub struct Key(Arc<Kept<Box<KeyOf>>>);

impl Key {
    /// The key of an event, if it has one.
    pub(crate) fn of(&self, event: &Event) -> Option<String> {
        let key = crate::guard::run(|| self.0.get().and_then(|key| key(event)));
        key.unwrap_or_default()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// How a worker takes over an upstream whose holder has vanished without a word, for example with its whole machine.
///
/// The server notices that only when a ping is not answered: after its `pingInterval` and `pingTimeout` (25 and 20 seconds by default),
/// as it says them when a client connects. Until then it does not let anybody else continue the session. The relay allows for two seconds
/// more. After an orderly hand-over, or if only the process has ended, there is no difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takeover {
    /// Waits until the server has noticed, and then continues the session: complete, in order, late.
    #[default]
    Ordered,
    /// Begins a new session at once, and marks the gap. So does a holder that has lost its connection before the server knows. When
    /// the server has noticed, a second connection fetches for a moment what is missing from the old session. It stands in the log as [late](crate::relay::LogEvent::is_late) events, behind newer ones and in
    /// order among themselves, each event once. [`MarkKind::Filled`](crate::relay::MarkKind::Filled) follows if the gap is closed.
    ///
    /// It is not closed if this worker goes before that, if the server does not have the session any more, or if more is missing
    /// than the [`buffer`](Upstream::buffer) takes. With more than 262 144 new events meanwhile, what was emitted after these to the old
    /// session alone is not fetched.
    Now,
}

/// An upstream of a relay: one namespace of one server.
#[derive(Debug, Clone)]
#[must_use]
pub struct Upstream {
    pub(crate) name: String,
    pub(crate) client: ClientBuilder,
    pub(crate) namespace: Option<String>,
    pub(crate) route: Route,
    pub(crate) when_full: WhenFull,
    pub(crate) takeover: Takeover,
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Upstream {
    /// An upstream with this name, and the client that joins it. All workers use the same name for it.
    ///
    /// The name is 1 to 128 ASCII letters, digits, `-` or `_`. It is also the [name](ClientBuilder::name) of the client in the log. The
    /// relay sets the client's [overflow](ClientBuilder::overflow) and [session](ClientBuilder::resume).
    pub fn new(name: impl Into<String>, client: ClientBuilder) -> Self {
        Self {
            name: name.into(),
            client,
            namespace: None,
            route: Route::all(),
            when_full: WhenFull::default(),
            takeover: Takeover::default(),
            events: BUFFER_EVENTS,
            bytes: BUFFER_BYTES,
        }
    }

    /// The namespace, with its slash. Default: the path of the client's URL, which is `/` if there is none.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Which events go to the log. Default: all. [`rename`](Route::rename) has no effect.
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// What becomes of events while the log cannot keep up. Default: [`WhenFull::LetGo`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// How it is taken over. Default: [`Takeover::Ordered`].
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.takeover = takeover;
        self
    }

    /// How many events may wait for the log, and how many bytes. Default: 65 536 and 64 MiB. Enough for ten
    /// seconds of the busiest time lets a cluster of NATS lose a node. What is fetched late, with [`Takeover::Now`], may take as much again.
    pub fn buffer(mut self, events: usize, bytes: usize) -> Self {
        (self.events, self.bytes) = (events, bytes);
        self
    }

    /// A client whose default namespace is the upstream.
    pub(crate) fn client(&self) -> ClientBuilder {
        let client = self.client.clone().name(self.name.chars().take(64).collect::<String>());
        match &self.namespace {
            Some(namespace) => client.with_default_namespace(namespace),
            None => client,
        }
    }

    fn check(&self) -> Result<(), RelayError> {
        name::check(&self.name).map_err(RelayError::Name)?;
        if self.events == 0 || self.bytes == 0 {
            return Err(RelayError::Option { name: "buffer", expected: "more than zero" });
        }
        if self.namespace.as_ref().is_some_and(|name| !name.starts_with('/')) {
            return Err(RelayError::Option {
                name: "namespace",
                expected: "a name such as /orders",
            });
        }
        let checked = self.client().default_namespace().map(drop);
        checked.map_err(|error| RelayError::Client { upstream: self.name.clone(), error })
    }
}

/// Why a relay cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The name of the worker, or of an upstream, is not 1 to 128 ASCII letters, digits, `-` or `_`.
    #[error("not 1 to 128 ASCII letters, digits, - or _: {}", Excerpt(.0))]
    Name(String),
    /// Two upstreams have this name.
    #[error("two upstreams have the name {0}")]
    Doubled(String),
    /// An option is out of its range.
    #[error("option {name} takes {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The values that it takes.
        expected: &'static str,
    },
    /// The client of an upstream cannot be built.
    #[error("upstream {upstream}: {error}")]
    Client {
        /// The name of the upstream.
        upstream: String,
        /// What is wrong with its client.
        error: BuildError,
    },
    /// It was not started on an arbiter, such as in `#[actix::main]`.
    #[error("no arbiter runs on this thread")]
    NoArbiter,
}

/// What is wrong with the names and the options.
pub(crate) fn check(worker: &str, upstreams: &[Upstream]) -> Result<(), RelayError> {
    name::check(worker).map_err(RelayError::Name)?;
    for (number, upstream) in upstreams.iter().enumerate() {
        upstream.check()?;
        if upstreams.iter().take(number).any(|other| other.name == upstream.name) {
            return Err(RelayError::Doubled(upstream.name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    fn upstream(name: &str) -> Upstream {
        Upstream::new(name, Client::builder("http://localhost:3000"))
    }

    #[test]
    fn names_and_options_are_checked() {
        let long = "a".repeat(129);
        for name in ["", "a.b", "a b", "é", "*", &long] {
            assert!(matches!(check(name, &[]), Err(RelayError::Name(_))), "{name}");
            assert!(matches!(check("w", &[upstream(name)]), Err(RelayError::Name(_))), "{name}");
        }
        assert_eq!(check("w-1_A", &[upstream("a"), upstream(&long[1..])]), Ok(()));
        let doubled = [upstream("a"), upstream("b"), upstream("a")];
        assert_eq!(check("w", &doubled), Err(RelayError::Doubled("a".to_owned())));
        for (events, bytes) in [(0, 1), (1, 0)] {
            let error = check("w", &[upstream("a").buffer(events, bytes)]).unwrap_err();
            assert_eq!(error.to_string(), "option buffer takes more than zero");
        }
        let error = check("w", &[upstream("a").namespace("orders")]).unwrap_err();
        assert_eq!(error.to_string(), "option namespace takes a name such as /orders");
        let error = check("w", &[Upstream::new("a", Client::builder("localhost"))]).unwrap_err();
        assert!(matches!(error, RelayError::Client { .. }), "{error}");
    }

    #[test]
    fn the_namespace_is_that_of_the_url_or_the_one_that_is_given() {
        for (url, given, expected) in [
            ("http://host", None, "/"),
            ("http://host/shop?a=b", None, "/shop"),
            ("http://host", Some("/shop"), "/shop"),
            ("http://host:81/a/b?c=/d#e", Some("/shop"), "/shop"),
            ("http://host?c=d", Some("/"), "/"),
        ] {
            let mut upstream = Upstream::new("a", Client::builder(url));
            upstream.namespace = given.map(str::to_owned);
            assert_eq!(upstream.client().default_namespace().unwrap(), expected, "{url} {given:?}");
        }
    }
}
