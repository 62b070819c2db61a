//! Filters that select events by name.

use std::fmt;

use bytestring::ByteString;

use crate::display::Excerpt;

/// Selects events by name, for [`Socket::listen`](crate::Socket::listen): one name, a prefix, or
/// all. A string converts to the filter for that name.
///
/// ```
/// use actix_socketio::{Filter, Socket};
///
/// fn watch(socket: &Socket) {
///     socket.listen("price").call(|event| println!("{}", event.name()));
///     socket.listen(Filter::prefix("order:")).call(|event| println!("{}", event.name()));
///     socket.listen(Filter::all()).call(|event| println!("{}", event.name()));
/// }
/// ```
///
/// A filter has one name or one prefix. For several names, an actor listens once for each; it gets the
/// events in one order:
///
/// ```
/// # fn watch(socket: &actix_socketio::Socket, desk: actix::Recipient<actix_socketio::Event>) {
/// for name in ["price", "gate"] {
///     socket.listen(name).actor(desk.clone());
/// }
/// # }
/// ```
///
/// A function or a stream takes [`Filter::all`] and matches on [`Event::name`](crate::Event::name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    All,
    Name(ByteString),
    Prefix(ByteString),
}

impl Filter {
    /// All events.
    pub fn all() -> Self {
        Self(Kind::All)
    }

    /// Events of this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self(Kind::Name(name.into().into()))
    }

    /// Events whose names begin with this text, or are equal to it.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self(Kind::Prefix(prefix.into().into()))
    }

    /// Whether an event of this name passes.
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Name(wanted) => *wanted == *name,
            Kind::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }

    pub(super) fn is_all(&self) -> bool {
        self.0 == Kind::All
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl From<&str> for Filter {
    fn from(name: &str) -> Self {
        Self::name(name)
    }
}

impl From<String> for Filter {
    fn from(name: String) -> Self {
        Self::name(name)
    }
}

impl From<&String> for Filter {
    fn from(name: &String) -> Self {
        Self::name(name)
    }
}

/// For logs.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::All => f.write_str("all events"),
            Kind::Name(name) => Excerpt(name).fmt(f),
            Kind::Prefix(prefix) => write!(f, "{}…", Excerpt(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_passes_what_it_says() {
        for (filter, passing, others) in [
            (Filter::from("a"), vec!["a"], vec!["", "b", "ab", "A"]),
            (Filter::from(String::new()), vec![""], vec!["a"]),
            (Filter::prefix("a:"), vec!["a:", "a:b"], vec!["", "a", "b:a:"]),
            (Filter::prefix(""), vec!["", "a"], vec![]),
            (Filter::all(), vec!["", "a"], vec![]),
        ] {
            assert!(passing.iter().all(|name| filter.matches(name)), "{filter}");
            assert!(!others.iter().any(|name| filter.matches(name)), "{filter}");
        }
    }
}
