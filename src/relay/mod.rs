//! Events of servers in a log, with workers that take over from each other.

// Until the parts that use each other are there.
#![allow(dead_code)]

pub(crate) mod core;
pub(crate) mod engine;
pub(crate) mod record;

pub use engine::{Begin, Engine, EngineError, in_process::InProcessOptions};
pub use record::{Gap, RecordError};
