//! What the actors need of the world around them: the [clock], and what the application gives to be
//! awaited or asked.

pub(crate) mod clock;
pub(crate) mod provider;
pub(crate) mod task;
