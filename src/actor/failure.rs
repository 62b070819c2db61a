//! Why a namespace is not joined.

use crate::proto::reason::Reason;

/// The last failure of a namespace that is not joined.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    last: Option<Box<Reason>>,
    /// Whether the application has asked to join again since: callers that wait from then on ignore the failure.
    is_forgiven: bool,
}

impl Failure {
    pub(crate) fn note(&mut self, reason: &Reason) {
        *self = Self { last: Some(Box::new(reason.clone())), is_forgiven: false };
    }

    /// The application has asked to join again.
    pub(crate) fn forgive(&mut self) {
        self.is_forgiven = true;
    }

    pub(crate) fn last(&self) -> Option<&Reason> {
        self.last.as_deref()
    }

    /// The failure, unless the application has asked to join again since.
    pub(crate) fn in_the_way(&self) -> Option<&Reason> {
        self.last().filter(|_| !self.is_forgiven)
    }
}
