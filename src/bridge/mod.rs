//! Joins two namespaces, of one server or two: events of each are emitted to the other.
//!
//! ```no_run
//! use actix_socketio::{Bridge, Client, Route};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let old = Client::builder("http://old.example:3000").start()?;
//! let new = Client::builder("http://new.example:3000").start()?;
//! let bridge = Bridge::between(old.socket(), new.socket())
//!     .forward(Route::all().except(["debug"]))
//!     .back(Route::names(["order", "cancel"]))
//!     .start()?;
//! # let _ = bridge;
//! # Ok(())
//! # }
//! ```
//!
//! # What is passed on
//!
//! An event goes on as it came. Its name, arguments and attachments are not decoded; only the
//! [`Route`] can change the name. The two sides may have different protocol revisions and parsers:
//! msgpack becomes JSON and JSON becomes msgpack, within the limits that [`Parser`](crate::Parser)
//! names. A server with connection state recovery adds an argument to each event (see
//! [`Ready::recovered`](crate::Ready::recovered)), which goes on with the others.
//!
//! When a server asks for an answer, the other server is asked, and its answer goes back. No answer goes
//! back if none comes [in time](BridgeBuilder::ack_timeout) or the event is not passed on: the server that
//! asked then runs into its own timeout. Each event is sent once: the
//! [retries](crate::ClientBuilder::retries) of the clients do not apply.
//!
//! Each direction keeps the order, and passes an event on at most once. Wherever events can be lost,
//! they are counted:
//!
//! | lost | counted by |
//! |---|---|
//! | on the way to this process | the server, if at all: this side cannot know |
//! | here, because the other side was too slow | [`BridgeCounts::missed`] |
//! | held back by the route, or as an echo | [`filtered`](BridgeCounts::filtered), [`echoes`](BridgeCounts::echoes) |
//! | refused by the other side: its namespace was left, the event is too large, … | [`refused`](BridgeCounts::refused) |
//! | taken by the other side, but never sent | [`discarded`](BridgeCounts::discarded) |
//! | sent right before the connection was lost | at most [`Stats::in_doubt`](crate::Stats::in_doubt) of that client; questions are [`unanswered`](BridgeCounts::unanswered) |
//!
//! # When one side is slow, or away
//!
//! Events wait in the [buffer](crate::ClientBuilder::send_buffer) of the side that they go to. When
//! that is full, the bridge stops reading the other side, and the server there has to hold back. If that
//! lasts too long, the newest events are discarded, as for any slow subscriber (see
//! [`Lagged`](crate::Lagged)); [`overflow`](BridgeBuilder::overflow) has other ways. A side that is away
//! is tried again by its own [`Reconnect`](crate::Reconnect), and then gets the events that wait. If
//! events must not wait, give the bridge a socket
//! [`with_offline`](crate::Socket::with_offline).
//!
//! # Loops
//!
//! A server that broadcasts an event sends it to the bridge as well. The bridge does not pass it back: each
//! side remembers what was sent to it, by default the last 16 384 events of the last ten seconds. An event
//! with the same name and the same arguments as one of these is an echo. Within that time, so is
//! an event that the server happens to emit itself with exactly the same content. Where the two
//! routes have no name in common there can be no echoes, and nothing is remembered.
//!
//! An echo that takes longer than ten seconds, or comes behind 16 384 other events, is not
//! recognised. Where that can happen, give [`echo_memory`](BridgeBuilder::echo_memory) more, or use routes
//! that have no name in common. An event that the server has changed is a new event. A ring of three
//! or more bridges is not recognised either: break it with routes.

mod counts;
mod direction;
mod echo;
mod route;

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

pub use counts::BridgeCounts;
pub use route::Route;

use crate::{
    actor::subscribers::policy::Overflow,
    client::{socket::Socket, subscription::Subscription},
    proto::{emit::check_name, reconnect::Range},
};
use counts::Counts;
use direction::Direction;
use echo::{Echoes, Span};

/// Two namespaces that are joined; see the [module](self).
///
/// It keeps both clients alive. Dropping it does not end it: events are passed on as long as both
/// clients live, or until [`stop`](Self::stop).
pub struct Bridge {
    sides: [Socket; 2],
    /// The subscriptions of the bridge, one in each namespace.
    subscriptions: [Subscription; 2],
    counts: [Arc<Counts>; 2],
}

/// The options of a bridge. See [`Bridge::between`].
#[derive(Debug, Clone)]
#[must_use = "nothing is passed on before it is started"]
pub struct BridgeBuilder {
    sides: [Socket; 2],
    routes: [Route; 2],
    ack_timeout: Option<Duration>,
    overflow: Overflow,
    span: Span,
}

/// Why a [`Bridge`] cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// Both sides are the same namespace of the same client.
    #[error("a bridge needs two namespaces")]
    SameNamespace,
    /// A [`Route`] gives events this name, which belongs to the protocol's own life cycle; see
    /// [`EmitError::ReservedName`](crate::EmitError::ReservedName). Choose another.
    #[error("{} is a reserved event name", crate::display::Excerpt(.0))]
    ReservedName(String),
    /// An option is out of its range.
    #[error("option {name} takes {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The values that it takes.
        expected: &'static str,
    },
}

/// What a bridge did, since it was started; see [`Bridge::stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeStats {
    /// From the first socket to the second.
    pub forward: BridgeCounts,
    /// From the second to the first.
    pub back: BridgeCounts,
}

impl Bridge {
    /// A bridge from one namespace to another, and back. By default all events are passed on, both
    /// ways.
    pub fn between(first: &Socket, second: &Socket) -> BridgeBuilder {
        BridgeBuilder {
            sides: [first.clone(), second.clone()],
            routes: [Route::all(), Route::all()],
            ack_timeout: None,
            overflow: Overflow::default(),
            span: Span { events: 16_384, time: Duration::from_secs(10) },
        }
    }

    /// Counts what was passed on, and what was not.
    pub fn stats(&self) -> BridgeStats {
        let [forward, back] = self.counts.each_ref().map(|counts| counts.snapshot());
        BridgeStats { forward, back }
    }

    /// Ends the bridge. Events that the other side has taken are still sent, and open questions may still
    /// be answered. Events that wait for room are dropped, and counted as
    /// [refused](BridgeCounts::refused).
    pub fn stop(&self) {
        self.subscriptions.iter().cloned().for_each(Subscription::cancel);
    }
}

impl BridgeBuilder {
    /// What is passed on from the first socket to the second.
    pub fn forward(mut self, route: Route) -> Self {
        let [forward, _] = &mut self.routes;
        *forward = route;
        self
    }

    /// What is passed on from the second socket to the first.
    pub fn back(mut self, route: Route) -> Self {
        let [_, back] = &mut self.routes;
        *back = route;
        self
    }

    /// How long an answer of the other server may take; more than zero. Default: the `ack_timeout` of the
    /// namespace that asks it; see [`ClientBuilder::ack_timeout`](crate::ClientBuilder::ack_timeout).
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = Some(timeout);
        self
    }

    /// What to do when events come faster than the other side takes them. Default:
    /// [`Overflow::Pause`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How many events each side remembers, and for how long, to recognise echoes; see
    /// [Loops](self#loops). An event takes about 50 bytes. Set 0 events where no server sends back what
    /// it gets. Default: 16 384 events, 10 seconds.
    pub fn echo_memory(mut self, events: usize, time: Duration) -> Self {
        self.span = Span { events, time };
        self
    }

    /// Begins to pass events on, including those that came before anybody had subscribed.
    ///
    /// # Errors
    ///
    /// Both sockets are of one namespace, a route renames to a reserved name, or an option is out of its
    /// range; see [`BridgeError`].
    pub fn start(self) -> Result<Bridge, BridgeError> {
        let Self { sides, routes, ack_timeout, overflow, span } = self;
        let [first, second] = &sides;
        if Arc::ptr_eq(first.namespace_ref(), second.namespace_ref()) {
            return Err(BridgeError::SameNamespace);
        }
        if let Some(Range { name, is_kept: false, expected }) =
            ack_timeout.map(|timeout| Range::time("ack_timeout", timeout))
        {
            return Err(BridgeError::Option { name, expected });
        }
        for name in routes.iter().flat_map(Route::new_names) {
            check_name(name).map_err(|_| BridgeError::ReservedName(name.to_owned()))?;
        }
        let counts = [Arc::<Counts>::default(), Arc::default()];
        let memory = || (span.events > 0).then(|| Arc::new(Echoes::new(span)));
        let (went, came) = (memory(), memory());
        let [forward, back] = routes;
        let direction = |from: &Socket, to: &Socket, route, counts, sent, received| Direction {
            from: Arc::clone(from.namespace_ref()),
            to: Arc::clone(to.namespace_ref()),
            offline: to.defaults().offline,
            timeout: ack_timeout.unwrap_or_else(|| to.defaults().ack_timeout),
            route,
            counts,
            sent,
            received,
        };
        let [forth_counts, back_counts] = counts.clone();
        let sent =
            |memory: &Option<_>, opposite: &Route| memory.clone().zip(Some(opposite.clone()));
        let (forth_sent, back_sent) = (sent(&went, &back), sent(&came, &forward));
        let forth = direction(first, second, forward, forth_counts, forth_sent, came);
        let home = direction(second, first, back, back_counts, back_sent, went);
        let subscriptions =
            [first.attach(Arc::new(forth), overflow), second.attach(Arc::new(home), overflow)];
        Ok(Bridge { sides, subscriptions, counts })
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sides, subscriptions: _, counts: _ } = self;
        f.debug_struct("Bridge")
            .field("sides", sides)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
