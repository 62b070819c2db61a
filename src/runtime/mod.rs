//! What the actors need of the world around them: the [clock] and the application's own code.

pub(crate) mod clock;
pub(crate) mod guard;
pub(crate) mod provider;
