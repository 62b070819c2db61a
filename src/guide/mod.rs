//! Pages on topics that concern several types.

pub mod delivery;
pub mod getting_through;
