//! Pages to read, of what no single type can tell.

pub mod delivery;
pub mod getting_through;
