//! What the actors run on: the [clock], and the futures and providers of the application.

pub(crate) mod clock;
pub(crate) mod provider;
pub(crate) mod task;
