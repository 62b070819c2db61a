//! Pages on topics that concern several types.

pub mod actix_web;
pub mod credentials;
pub mod delivery;
pub mod getting_through;
pub mod testing;
pub mod uploads;
pub mod wire;
