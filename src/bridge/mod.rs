//! Joins two namespaces, also of different servers: what one server emits is emitted to the other.
//!
//! ```no_run
//! use actix_socketio::{Bridge, Client, Route};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let old = Client::builder("http://old.example:3000").start()?;
//! let new = Client::builder("http://new.example:3000").start()?;
//! let bridge = Bridge::between(&old.socket(), &new.socket())
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
//! An event goes on as it came: name, arguments and attachments are not decoded, and only the
//! [`Route`] can change the name. Protocol revisions and parsers may differ on the two sides: what
//! comes in msgpack is JSON from then on, and the other way round, with what
//! [`Parser`](crate::Parser) says of that. What a server with connection state recovery adds
//! to the arguments (see [`Ready::recovered`](crate::Ready::recovered)) goes on with them.
//!
//! If the server asks for an answer, the other server is asked, and its answer goes back. If none
//! comes [in time](BridgeBuilder::ack_timeout), or if the event is not passed on, none goes back, and
//! the server that asked finds out by its own timeout. An event is sent once: the
//! [retries](crate::ClientBuilder::retries) of the clients do not apply.
//!
//! Each direction keeps the order. An event goes on at most once. Where events may be lost, something
//! counts them:
//!
//! | where | counted by |
//! |---|---|
//! | on the way to this process | the server, if anything: nothing is known of it here |
//! | discarded here, since the other side took too long | [`BridgeCounts::missed`] |
//! | kept back by the route, or as an echo | [`filtered`](BridgeCounts::filtered), [`echoes`](BridgeCounts::echoes) |
//! | not taken by the other side: its namespace was left, it is too large, … | [`refused`](BridgeCounts::refused) |
//! | taken and never sent | [`discarded`](BridgeCounts::discarded) |
//! | sent right before the connection was lost | at most [`Stats::in_doubt`](crate::Stats::in_doubt) of that client; those that ask for an answer are [`unanswered`](BridgeCounts::unanswered) |
//!
//! # When one side is slow, or away
//!
//! Events wait in the [buffer](crate::ClientBuilder::send_buffer) of the side that they go to. When
//! it is full, the side that they come from is not read any more, and its server has to hold back;
//! when that goes on for too long, the newest events are discarded, as for any slow subscriber (see
//! [`Lagged`](crate::Lagged)), or what [`overflow`](BridgeBuilder::overflow) says is done. A side
//! that is away is tried again by its own [`Reconnect`](crate::Reconnect), and gets what waits when
//! it is back. A socket that is not to have events wait is one
//! [`with_offline`](crate::Socket::with_offline).
//!
//! # Loops
//!
//! A server that hands what it gets on to all its clients hands it to the bridge as well. What has
//! gone one way is not taken back the other way: each side remembers what it was sent lately, by
//! default the last 16 384 events of the last ten seconds, and an event that comes back among them,
//! with the same name and the same arguments, is an echo. So is, for that time, one that the server
//! happens to emit itself and that says exactly the same. Where the two routes have no name in
//! common there are no echoes, and nothing is remembered.
//!
//! That takes memory for so many events and no more, so an echo that takes longer than ten seconds, or
//! comes behind 16 384 others, is not recognised: where that may be, give
//! [`echo_memory`](BridgeBuilder::echo_memory) more, or routes that have no name in common. An event
//! that the server has changed is another event. And a ring of three or more bridges is not recognised
//! either: it needs routes that break it.

mod echo;
mod passage;
mod route;

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

pub use passage::BridgeCounts;
pub use route::Route;

use crate::{
    actor::subscribers::policy::Overflow,
    client::{socket::Socket, subscription::Subscription},
    proto::emit::check_name,
};
use echo::{Echoes, Span};
use passage::{Counts, Direction};

/// Two namespaces that are joined; see the [module](self).
///
/// It keeps both clients alive. Dropping it changes nothing else: events are passed on as long as
/// both clients live, or until [`stop`](Self::stop).
pub struct Bridge {
    sides: [Socket; 2],
    /// What comes from each of them.
    subscriptions: [Subscription; 2],
    counts: [Arc<Counts>; 2],
}

/// How a bridge is to be. See [`Bridge::between`].
#[derive(Debug, Clone)]
#[must_use = "nothing is passed on before it is started"]
pub struct BridgeBuilder {
    sides: [Socket; 2],
    routes: [Route; 2],
    ack_timeout: Option<Duration>,
    overflow: Overflow,
    span: Span,
}

/// A [`Bridge`] that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// Both sides are the same namespace of the same client.
    #[error("a bridge needs two namespaces")]
    SameNamespace,
    /// A [`Route`] gives events this name, which belongs to the protocol's own life cycle; see
    /// [`EmitError::ReservedName`](crate::EmitError::ReservedName). Choose another.
    #[error("{0:?} is a reserved event name")]
    ReservedName(String),
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

    /// What was passed on, and what was not.
    pub fn stats(&self) -> BridgeStats {
        let [forward, back] = self.counts.each_ref().map(|counts| counts.snapshot());
        BridgeStats { forward, back }
    }

    /// Passes nothing on any more. What the other side has taken is sent, and what was asked may be
    /// answered; what waits for room there is dropped, and counted as
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

    /// How long the other server has for an answer. Default: the
    /// [`ack_timeout`](crate::ClientBuilder::ack_timeout) of the client that asks it.
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

    /// How many events each side remembers, and for how long, so that they do not go back; see
    /// [Loops](self#loops). An event takes about 50 bytes. 0 events where no server sends back what
    /// it gets. Default: 16 384 events, 10 seconds.
    pub fn echo_memory(mut self, events: usize, time: Duration) -> Self {
        self.span = Span { events, time };
        self
    }

    /// Begins to pass events on, also those that came before anybody had subscribed.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub fn start(self) -> Result<Bridge, BridgeError> {
        let Self { sides, routes, ack_timeout, overflow, span } = self;
        let [first, second] = &sides;
        if Arc::ptr_eq(first.port(), second.port()) {
            return Err(BridgeError::SameNamespace);
        }
        for name in routes.iter().flat_map(Route::new_names) {
            check_name(name).map_err(|_| BridgeError::ReservedName(name.to_owned()))?;
        }
        let counts = [Arc::<Counts>::default(), Arc::default()];
        let memory = || (span.events > 0).then(|| Arc::new(Echoes::new(span)));
        let (went, came) = (memory(), memory());
        let [forward, back] = routes;
        let passage = |from: &Socket, to: &Socket, route, counts, sent, received| Direction {
            from: Arc::clone(from.port()),
            to: Arc::clone(to.port()),
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
        let forth = passage(first, second, forward, forth_counts, forth_sent, came);
        let home = passage(second, first, back, back_counts, back_sent, went);
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
