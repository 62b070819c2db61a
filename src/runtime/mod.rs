//! What the actors run on: the [clock], the futures and providers of the application, and [spare] buffers.

pub(crate) mod clock;
pub(crate) mod provider;
pub(crate) mod spare;
pub(crate) mod task;
