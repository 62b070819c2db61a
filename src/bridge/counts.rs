//! What each direction of a bridge counts.

use crate::{
    backpressure::send_quota::{Observer, WriteOutcome},
    stats::Counter,
};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: Counter,)*
        }

        /// What one direction of a [`Bridge`](super::Bridge) did with the events that came to it.
        ///
        /// * `heard` = `filtered` + `echoes` + `refused` + `passed`, and at most one event that waits for
        ///   room at the moment.
        /// * `passed` = `written` + `discarded`, and the events that still wait to be written.
        /// * `asked` = `answered` + `unanswered`, and the questions that are still open.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct BridgeCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            pub(super) fn snapshot(&self) -> BridgeCounts {
                BridgeCounts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counts!(
    /// Events that came to the bridge.
    heard,
    /// Events that the [`Route`](crate::Route) held back.
    filtered,
    /// Events that had already crossed the bridge the other way, and were not passed back.
    echoes,
    /// Events that the other side did not accept. An event is refused when
    ///
    /// * the namespace there has ended, or is not joined and has
    ///   [`Offline::Fail`](crate::Offline::Fail);
    /// * it is too large for that server;
    /// * a middleware drops it;
    /// * its name is [reserved](crate::EmitError::ReservedName);
    /// * its arguments [cannot be told](crate::EmitError::Encode) from attachments;
    /// * it was waiting for room when the bridge was stopped.
    ///
    /// A question that is refused gets no answer.
    refused,
    /// Events that the other side accepted.
    passed,
    /// Events of `passed` that were written to the connection, or answered by a middleware.
    written,
    /// Events of `passed` that were never sent; see [`Stats::discarded`](crate::Stats::discarded).
    discarded,
    /// Events of `passed` that ask for an answer.
    asked,
    /// Answers that were passed back to the server that asked.
    answered,
    /// Questions without an answer: it did not come in time; a connection was lost meanwhile; the
    /// event was discarded; or the side that asked had no room for the answer, or could not encode it.
    unanswered,
    /// Events that never reached the bridge because it was too slow.
    missed,
);

impl Observer for Counts {
    fn settle(&self, settled: WriteOutcome) {
        match settled {
            WriteOutcome::Written => self.written.add(1),
            WriteOutcome::Discarded => self.discarded.add(1),
            // The outcome is still open: the namespace may be joined again.
            WriteOutcome::Stranded => {}
        }
    }
}
