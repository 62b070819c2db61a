//! Pages to read, of what no single type can tell.

pub mod delivery;
