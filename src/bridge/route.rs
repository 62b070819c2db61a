//! Which events a bridge passes on, and under which names.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use crate::{
    display::{Excerpt, Name},
    guard::{self, Kept},
    logs::repeated,
    message::Event,
    proto::emit::Emit,
};

/// Which events a [`Bridge`](super::Bridge) passes on in one direction, and under which names.
///
/// ```
/// use actix_socketio::Route;
///
/// // Everything except what only concerns this side.
/// let all_but = Route::all().except(["admin", "debug"]);
/// // Orders of more than ten, under another name.
/// let orders = Route::names(["order"])
///     .filter(|event| event.args::<(String, u32)>().is_ok_and(|(_, count)| count > 10))
///     .rename("order", "bulk order");
/// # let _ = (all_but, orders);
/// ```
#[derive(Clone)]
pub struct Route {
    names: Names,
    except: HashSet<String>,
    renamed: HashMap<String, String>,
    filter: Option<Arc<Kept<Box<Filter>>>>,
}

type Filter = dyn Fn(&Event) -> bool + Send + Sync;

#[derive(Debug, Clone)]
enum Names {
    All,
    These(HashSet<String>),
    Prefix(String),
}

impl Route {
    fn new(names: Names) -> Self {
        Self { names, except: HashSet::new(), renamed: HashMap::new(), filter: None }
    }

    /// All events.
    #[must_use]
    pub fn all() -> Self {
        Self::new(Names::All)
    }

    /// No events: the bridge works in the other direction only.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Names::These(HashSet::new()))
    }

    /// Events of these names.
    #[must_use]
    pub fn names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Names::These(names.into_iter().map(Into::into).collect()))
    }

    /// Events whose names begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::new(Names::Prefix(prefix.into()))
    }

    /// Leaves out events of these names.
    #[must_use]
    pub fn except<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.except.extend(names.into_iter().map(Into::into));
        self
    }

    /// Events named `from` are emitted as `to`. The other rules of the route look at the name with which an event came,
    /// and a new name is not renamed again. [`start`](super::BridgeBuilder::start) fails for a
    /// [reserved](crate::EmitError::ReservedName) name.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.renamed.insert(from.into(), to.into());
        self
    }

    /// Only events for which the function returns `true`, of those whose names fit. It is called on the
    /// arbiter of the client that the event comes from, and must not block. If it panics, the event is
    /// not passed on.
    #[must_use]
    pub fn filter<F>(mut self, filter: F) -> Self
    where
        F: Fn(&Event) -> bool + Send + Sync + 'static,
    {
        let filter: Box<Filter> = match self.filter.take() {
            None => Box::new(filter),
            Some(first) => Box::new(move |event| {
                first.get().is_some_and(|first| first(event)) && filter(event)
            }),
        };
        self.filter = Some(Arc::new(Kept::new(filter)));
        self
    }

    /// The names that events are renamed to.
    pub(super) fn new_names(&self) -> impl Iterator<Item = &str> {
        self.renamed.values().map(String::as_str)
    }

    /// Whether events of this name may go this way.
    pub(super) fn fits(&self, name: &str) -> bool {
        let fits = match &self.names {
            Names::All => true,
            Names::These(names) => names.contains(name),
            Names::Prefix(prefix) => name.starts_with(prefix),
        };
        fits && !self.except.contains(name)
    }

    /// The event as it is emitted on the other side.
    pub(super) fn emit(&self, event: &Event) -> Emit {
        let emit = event.to_emit();
        match self.renamed.get(event.name()) {
            None => emit,
            Some(name) => emit.with_name(name),
        }
    }

    /// Whether this event goes this way.
    pub(crate) fn takes(&self, event: &Event, from: &Name) -> bool {
        if !self.fits(event.name()) {
            return false;
        }
        let Some(filter) = &self.filter else { return true };
        let takes = guard::run(|| filter.get().is_some_and(|filter| filter(event)));
        takes.unwrap_or_else(|panicked| {
            let name = Excerpt(event.name());
            repeated!(log::Level::Warn, from, "the filter of a bridge {panicked} (event {name})");
            false
        })
    }
}

impl Default for Route {
    fn default() -> Self {
        Self::all()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, except, renamed, filter } = self;
        f.debug_struct("Route")
            .field("names", names)
            .field("except", except)
            .field("renamed", renamed)
            .field("filter", &filter.is_some())
            .finish()
    }
}
