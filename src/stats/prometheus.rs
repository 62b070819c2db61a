//! The counters in the text format of Prometheus.

use std::fmt::{self, Write as _};

use super::Stats;

const PREFIX: &str = "actix_socketio";

/// The clients of a process by name, with their numbers.
type Clients<'a> = [(&'a str, Stats)];

impl Stats {
    /// The numbers of the clients of a process in the text format of Prometheus (version 0.0.4), for the body of
    /// an answer with `Content-Type: text/plain; version=0.0.4`.
    ///
    /// The name of each client is the label `client`: give each one another name. All metrics begin with
    /// `actix_socketio_`. Those that only grow end in `_total`: `events_in_total` and so on, and
    /// `endings_total` with the label `reason`, which has the values of [`Reason::kind`](crate::Reason::kind).
    /// `waiting_out`, `waiting_out_bytes`, `waiting_in` and `waiting_in_bytes` are gauges, and
    /// `round_trip_seconds` is a histogram.
    ///
    /// ```
    /// # use actix_socketio::Client;
    /// use actix_socketio::Stats;
    ///
    /// # fn metrics(prices: &Client, orders: &Client) -> String {
    /// Stats::prometheus([("prices", prices.stats()), ("orders", orders.stats())])
    /// # }
    /// ```
    pub fn prometheus<'a>(clients: impl IntoIterator<Item = (&'a str, Self)>) -> String {
        let clients: Vec<(&str, Self)> = clients.into_iter().collect();
        let mut text = String::new();
        // A string takes all that is written.
        write(&mut text, &clients).ok();
        text
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// A number: its name, whether it only grows, what it counts, and how many there are.
pub(crate) type Number = (&'static str, Kind, &'static str, u64);

/// All numbers but the endings and the round trips.
fn numbers(stats: &Stats) -> [Number; 24] {
    use Kind::{Counter, Gauge};
    let Stats {
        connects,
        attempts,
        bytes_in,
        bytes_out,
        events_in,
        events_out,
        answers_out,
        acked,
        unknown,
        in_doubt,
        server_errors,
        filtered_in,
        filtered_out,
        late_answers,
        resent,
        replaced,
        repeated,
        missed,
        undecodable,
        discarded,
        endings: _,
        round_trips: _,
        waiting_out,
        waiting_out_bytes,
        waiting_in,
        waiting_in_bytes,
    } = stats;
    let [out, out_bytes, incoming, incoming_bytes] =
        [waiting_out, waiting_out_bytes, waiting_in, waiting_in_bytes]
            .map(|number| u64::try_from(*number).unwrap_or(u64::MAX));
    [
        ("connects", Counter, "Connections made.", *connects),
        ("attempts", Counter, "Attempts to connect again.", *attempts),
        ("bytes_in", Counter, "Bytes of the messages received.", *bytes_in),
        ("bytes_out", Counter, "Bytes of the messages sent.", *bytes_out),
        ("events_in", Counter, "Events received.", *events_in),
        ("events_out", Counter, "Events sent.", *events_out),
        ("answers_out", Counter, "Answers sent.", *answers_out),
        ("acked", Counter, "Events answered in time.", *acked),
        ("unknown", Counter, "Events sent and not answered as they asked.", *unknown),
        (
            "in_doubt",
            Counter,
            "Plain events written right before a connection was lost.",
            *in_doubt,
        ),
        ("server_errors", Counter, "Errors reported by the server.", *server_errors),
        ("filtered_in", Counter, "Events of the server dropped by a middleware.", *filtered_in),
        ("filtered_out", Counter, "Emits refused by a middleware.", *filtered_out),
        ("late_answers", Counter, "Answers that came too late or twice.", *late_answers),
        ("resent", Counter, "Further tries to send events with retries.", *resent),
        ("replaced", Counter, "Emitted events replaced by a later one.", *replaced),
        ("repeated", Counter, "Events that the server sent twice.", *repeated),
        ("missed", Counter, "Events that a subscriber did not get.", *missed),
        ("undecodable", Counter, "Events that did not fit the type of a subscriber.", *undecodable),
        ("discarded", Counter, "Emitted events that were never sent.", *discarded),
        ("waiting_out", Gauge, "Emitted events that wait.", out),
        ("waiting_out_bytes", Gauge, "Bytes of the emitted events that wait.", out_bytes),
        ("waiting_in", Gauge, "Packets that wait for slow subscribers.", incoming),
        ("waiting_in_bytes", Gauge, "Bytes of the packets that wait.", incoming_bytes),
    ]
}

fn write(text: &mut String, clients: &Clients<'_>) -> fmt::Result {
    let labels: Vec<_> =
        clients.iter().map(|(client, _)| format!("client=\"{}\"", Label(client))).collect();
    let numbers = clients.iter().map(|(_, stats)| numbers(stats));
    families(text, PREFIX, &labels.iter().map(String::as_str).zip(numbers).collect::<Vec<_>>())?;
    if !clients.is_empty() {
        endings(text, clients)?;
        round_trips(text, clients)?;
    }
    Ok(())
}

/// The numbers of several, by their labels, a family at a time, as the format demands.
pub(crate) fn families<const N: usize>(
    text: &mut String,
    prefix: &str,
    all: &[(&str, [Number; N])],
) -> fmt::Result {
    for family in 0..N {
        for (index, (labels, numbers)) in all.iter().enumerate() {
            let Some((name, kind, help, number)) = numbers.get(family) else { continue };
            let (suffix, kind) = match kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
            };
            if index == 0 {
                head(text, prefix, &format_args!("{name}{suffix}"), kind, help)?;
            }
            writeln!(text, "{prefix}_{name}{suffix}{{{labels}}} {number}")?;
        }
    }
    Ok(())
}

fn head(
    text: &mut String,
    prefix: &str,
    name: &dyn fmt::Display,
    kind: &str,
    help: &str,
) -> fmt::Result {
    writeln!(text, "# HELP {prefix}_{name} {help}\n# TYPE {prefix}_{name} {kind}")
}

fn endings(text: &mut String, clients: &Clients<'_>) -> fmt::Result {
    head(
        text,
        PREFIX,
        &"endings_total",
        "counter",
        "Connections that ended or could not be made.",
    )?;
    for (client, stats) in clients {
        for (reason, count) in &stats.endings {
            let (client, reason) = (Label(client), Label(reason));
            writeln!(
                text,
                "{PREFIX}_endings_total{{client=\"{client}\",reason=\"{reason}\"}} {count}"
            )?;
        }
    }
    Ok(())
}

fn round_trips(text: &mut String, clients: &Clients<'_>) -> fmt::Result {
    let name = "round_trip_seconds";
    head(text, PREFIX, &name, "histogram", "How long the server took to answer.")?;
    for (client, stats) in clients {
        let (client, trips) = (Label(client), &stats.round_trips);
        let bucket = format!("{PREFIX}_{name}_bucket{{client=\"{client}\",le=");
        for (bound, count) in trips.cumulated() {
            writeln!(text, "{bucket}\"{}\"}} {count}", bound.as_secs_f64())?;
        }
        let (count, sum) = (trips.count(), trips.total().as_secs_f64());
        writeln!(text, "{bucket}\"+Inf\"}} {count}")?;
        writeln!(text, "{PREFIX}_{name}_sum{{client=\"{client}\"}} {sum}")?;
        writeln!(text, "{PREFIX}_{name}_count{{client=\"{client}\"}} {count}")?;
    }
    Ok(())
}

/// A value between quotation marks.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::{
        backpressure::receive_window::Load,
        proto::{namespace::Tally, reason::Reason},
        stats::Counters,
    };

    fn stats(micros: &[u64]) -> Stats {
        let counters = Counters::default();
        counters.events_out.add(7);
        counters.ended(&Reason::PingTimeout);
        let mut tally = Tally { acked: 1, ..Tally::default() };
        for micros in micros {
            tally.round_trips.note(Duration::from_micros(*micros));
        }
        counters.add_namespace(&mut tally);
        counters.snapshot(Load { items: 3, bytes: 300 }, Load::default(), 2)
    }

    #[test]
    fn each_metric_has_a_head_once_and_a_line_for_each_client() {
        let text = Stats::prometheus([("a", stats(&[0, 3, 1_500_000])), ("b\"\\\n", stats(&[]))]);
        let mut heads = HashSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# ") {
                let mut words = head.split(' ');
                let (what, name) = (words.next().unwrap(), words.next().unwrap());
                assert!(heads.insert((what, name)), "{line}");
                assert!(words.next().is_some(), "{line}");
                family = name;
            } else {
                assert!(line.starts_with(family), "{line} in {family}");
            }
        }
        for line in [
            r#"actix_socketio_events_out_total{client="a"} 7"#,
            r#"actix_socketio_events_out_total{client="b\"\\\n"} 7"#,
            r#"actix_socketio_waiting_out_bytes{client="a"} 300"#,
            r#"actix_socketio_discarded_total{client="a"} 2"#,
            r#"actix_socketio_endings_total{client="a",reason="ping_timeout"} 1"#,
            r#"actix_socketio_round_trip_seconds_bucket{client="a",le="0.000001"} 1"#,
            r#"actix_socketio_round_trip_seconds_bucket{client="a",le="0.000004"} 2"#,
            r#"actix_socketio_round_trip_seconds_bucket{client="a",le="2.097152"} 3"#,
            r#"actix_socketio_round_trip_seconds_bucket{client="a",le="+Inf"} 3"#,
            r#"actix_socketio_round_trip_seconds_sum{client="a"} 1.500003"#,
            r#"actix_socketio_round_trip_seconds_count{client="b\"\\\n"} 0"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert_eq!(Stats::prometheus([]), "");
    }

    #[test]
    fn every_number_is_another_one() {
        let numbers = numbers(&stats(&[]));
        let names: HashSet<&str> = numbers.iter().map(|(name, ..)| *name).collect();
        let texts: HashSet<&str> = numbers.iter().map(|(_, _, help, _)| *help).collect();
        assert_eq!((names.len(), texts.len()), (numbers.len(), numbers.len()));
    }
}
