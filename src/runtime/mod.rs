//! The surroundings of the actors: the [clock], and the futures and providers of the application.

pub(crate) mod clock;
pub(crate) mod provider;
pub(crate) mod task;
