//! A middleware that lets events of certain names pass.

use std::collections::HashSet;

use super::{Direction, Flow, Middleware};
use crate::{message::Event, proto::emit::Emit};

/// Drops events whose names are not on a list.
#[derive(Debug, Clone)]
pub struct NameList {
    names: HashSet<String>,
    direction: Direction,
}

impl NameList {
    fn new<N: Into<String>>(direction: Direction, names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), direction }
    }

    /// Drops incoming events whose names are not on the list. Outgoing events pass.
    pub fn incoming<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Direction::In, names)
    }

    /// Drops outgoing events whose names are not on the list. Incoming events pass.
    pub fn outgoing<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Direction::Out, names)
    }

    /// Drops events whose names are not on the list, in both directions.
    pub fn both<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Direction::Both, names)
    }

    fn check<T>(&self, applies: bool, name: &str) -> Option<Flow<T>> {
        (applies && !self.names.contains(name))
            .then(|| Flow::dropped("its name is not on the list"))
    }
}

impl Middleware for NameList {
    fn incoming(&self, event: Event) -> Flow<Event> {
        self.check(self.direction.is_in(), event.name()).unwrap_or(Flow::Next(event))
    }

    fn outgoing(&self, _: &str, emit: Emit) -> Flow<Emit> {
        self.check(self.direction.is_out(), emit.name()).unwrap_or(Flow::Next(emit))
    }
}
