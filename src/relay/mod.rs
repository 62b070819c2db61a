//! Events of servers in a log, with workers that take over from each other.

pub(crate) mod caller;
pub(crate) mod command;
pub(crate) mod core;
pub(crate) mod engine;
pub(crate) mod handle;
pub(crate) mod host;
pub(crate) mod name;
pub(crate) mod options;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod stats;
pub(crate) mod worker;

pub use caller::{CallRequest, Caller, DurableCall};
pub use command::{CallError, Sent};
pub use engine::{
    Begin, Engine, EngineError, NatsError, NatsOptions, in_process::InProcessOptions,
};
pub use handle::{Relay, RelayBuilder};
pub use options::{Key, RelayError, Takeover, Upstream, WhenFull};
pub use reader::{
    LogAck, LogEntry, LogEvent, LogMark, LogStream, MarkKind, Reader, ReaderBuilder, ReaderError,
};
pub use record::{Gap, RecordError};
pub use stats::{RelayStats, UpstreamState, UpstreamStats};
