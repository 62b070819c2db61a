//! Counters.
//!
//! The core counts in plain integers. The actors add these to the shared counters once each time they wake, so
//! that single events cost no atomic operation.

pub(crate) mod prometheus;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    backpressure::receive_window::Load,
    proto::{connection, namespace, reason::Reason, round_trips::RoundTrips},
};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters that the actors and the handles of a client share.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            endings: Mutex<BTreeMap<&'static str, u64>>,
            round_trips: Mutex<RoundTrips>,
        }

        /// What a client has done since it was started, and what waits now; see
        /// [`Client::stats`](crate::Client::stats).
        ///
        /// Events are those of the application: emitted by it, or by the server to it. The numbers are
        /// read one after the other, so they may differ by what happened in between.
        ///
        /// The words for events that did not get through, here, in [`ShutdownReport`](crate::ShutdownReport)
        /// and in [`BridgeCounts`](crate::BridgeCounts):
        ///
        /// | word | counts | where |
        /// |---|---|---|
        /// | discarded | emitted events that were taken, but never sent | `Stats`; `BridgeCounts`, for the events of the bridge |
        /// | dropped | the same, from the call to shut down on | `ShutdownReport` |
        /// | refused | events that the other side of a bridge did not take; when the application emits, `emit` returns an error instead | `BridgeCounts` |
        /// | filtered | events that a middleware stopped (`filtered_in`, `filtered_out`) | `Stats` |
        /// | | events that the route held back | `BridgeCounts` |
        /// | missed | events of the server that a subscriber did not get, once for each subscriber | `Stats`; `BridgeCounts`, for the bridge as a subscriber |
        /// | unknown | events that were sent, but not answered as they asked | `Stats`, `ShutdownReport` |
        /// | unanswered | events that asked for an answer and got none, whether they were sent or not | `BridgeCounts` |
        /// | in doubt | events without an acknowledgement that were written right before the connection was lost | `Stats` |
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Emitted events that were taken but never sent: [volatile](crate::Emit::volatile) events that
            /// could not be sent at once; events that [expired](crate::Emit::lifetime), were too large for
            /// the server, or were taken [out of the buffer](crate::Socket::take_unsent); and questions
            /// whose namespace ended. An event that `emit` refuses was not taken.
            pub discarded: u64,
            /// How many connections ended or could not be made, by [`Reason::kind`].
            pub endings: BTreeMap<&'static str, u64>,
            /// How long the server took to answer, from when the event was handed to the connection.
            pub round_trips: RoundTrips,
            /// Emitted events that wait until their namespace is joined, until the connection takes them
            /// or, with [retries](crate::AckRequest::retries), until they are answered.
            pub waiting_out: usize,
            /// The bytes of `waiting_out`.
            pub waiting_out_bytes: usize,
            /// Packets that were read and wait for slow subscribers.
            pub waiting_in: usize,
            /// The bytes of `waiting_in`.
            pub waiting_in_bytes: usize,
        }

        impl Counters {
            /// `out` is what waits in the namespaces to be sent, `incoming` what waits for subscribers, and
            /// `discarded` what the namespaces have discarded.
            pub(crate) fn snapshot(&self, out: Load, incoming: Load, discarded: u64) -> Stats {
                Stats {
                    $($name: self.$name.get(),)*
                    discarded,
                    endings: lock(&self.endings).clone(),
                    round_trips: lock(&self.round_trips).clone(),
                    waiting_out: out.items,
                    waiting_out_bytes: out.bytes,
                    waiting_in: incoming.items,
                    waiting_in_bytes: incoming.bytes,
                }
            }
        }
    };
}

counters!(
    /// Connections that were made, including the server's handshake.
    connects,
    /// Attempts to connect again that were made or are scheduled.
    attempts,
    /// Bytes of the websocket messages received, without framing.
    bytes_in,
    /// Bytes of the websocket messages sent, without framing.
    bytes_out,
    /// Events received.
    events_in,
    /// Events that were handed to the connection.
    events_out,
    /// Answers to the server that were handed to the connection.
    answers_out,
    /// Emits that the server answered in time.
    acked,
    /// Emits that were sent but not answered: it is not known whether the server saw them.
    unknown,
    /// Emits without an acknowledgement that were written to a connection, but not known to be read by the
    /// server when that connection was lost: an upper bound of the events lost. While events are emitted, the
    /// server is pinged about once a second, and its pongs tell how far it has read.
    in_doubt,
    /// Errors that a server reported in namespaces that were joined; see
    /// [`ServerError`](crate::ServerError).
    server_errors,
    /// Events of the server that a [middleware](crate::middleware) has dropped.
    filtered_in,
    /// Emits that a middleware has refused.
    filtered_out,
    /// Answers that came too late, or a second time.
    late_answers,
    /// Repeated tries to send events with [retries](crate::AckRequest::retries). A try that is made while the
    /// one before still waits to be written takes its place, so the server may get fewer repeats than this.
    resent,
    /// Emitted events that a [later one](crate::Emit::latest) has replaced.
    replaced,
    /// Events that the server sent a second time when it [recovered](crate::Ready::recovered) a session.
    /// Subscribers do not get them again.
    repeated,
    /// Events that a subscriber did not get because it was too slow (see [`Lagged`](crate::Lagged)) or
    /// had stopped, and events without any subscriber. An event counts once for each subscriber that
    /// missed it, or once if there was none. Events in the mailbox of an actor that stops are not counted.
    missed,
    /// Events whose arguments did not fit the type of a subscriber (see
    /// [`Undecodable`](crate::Undecodable)), once for each such type.
    undecodable,
);

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        if amount > 0 {
            self.0.fetch_add(amount, Relaxed);
        }
    }

    /// Adds what was counted elsewhere.
    fn take(&self, amount: &mut u64) {
        self.add(std::mem::take(amount));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Counters {
    pub(crate) fn ended(&self, reason: &Reason) {
        let mut endings = lock(&self.endings);
        let count = endings.entry(reason.kind()).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn add_connection(&self, tally: &mut connection::Tally) {
        let connection::Tally { events, answers, bytes_in, bytes_out, replaced, in_doubt } = tally;
        self.events_out.take(events);
        self.answers_out.take(answers);
        self.bytes_in.take(bytes_in);
        self.bytes_out.take(bytes_out);
        self.replaced.take(replaced);
        self.in_doubt.take(in_doubt);
    }

    pub(crate) fn add_namespace(&self, tally: &mut namespace::Tally) {
        let namespace::Tally {
            received,
            repeated,
            late,
            replaced,
            resent,
            unanswered,
            acked,
            round_trips,
        } = tally;
        self.events_in.take(received);
        self.repeated.take(repeated);
        self.late_answers.take(late);
        self.replaced.take(replaced);
        self.resent.take(resent);
        self.unknown.take(unanswered);
        if *acked > 0 {
            self.acked.take(acked);
            lock(&self.round_trips).take(round_trips);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_told_to_the_next_power_of_two() {
        let counters = Counters::default();
        let micros = [0, 1, 3, 100, 100, 100, 100, 100, 1_000, 60_000_000];
        for part in micros.chunks(3) {
            let acked = u64::try_from(part.len()).unwrap();
            let mut tally = namespace::Tally { acked, ..namespace::Tally::default() };
            for &micros in part {
                tally.round_trips.note(Duration::from_micros(micros));
            }
            counters.add_namespace(&mut tally);
        }
        let stats = counters.snapshot(Load::default(), Load::default(), 0);
        assert_eq!((stats.acked, stats.round_trips.count()), (10, 10));
        let quantile = |part| stats.round_trips.quantile(part).unwrap().as_micros();
        assert_eq!(quantile(0.0), 1);
        assert_eq!(quantile(0.1), 1);
        assert_eq!(quantile(0.2), 2);
        assert_eq!(quantile(0.3), 4);
        assert_eq!(quantile(0.5), 128);
        assert_eq!(quantile(0.9), 1_024);
        assert_eq!(quantile(1.0), 1 << 26);
        let mut others = RoundTrips::default();
        assert_eq!(others.quantile(0.5), None);
        others.note(Duration::MAX);
        assert_eq!(others.count(), 1);
    }
}
