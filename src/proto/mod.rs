//! The protocol, without IO: no clock, no socket, no runtime.
//!
//! Time comes in as an argument, bytes come in and go out as values, so everything here can be
//! tested to the last state without waiting for anything. The grammar is the same throughout:
//!
//! * `handle_*` takes what happened: a frame, a failure, a deadline,
//! * plain verbs say what the application wants: `join`, `emit`, `close`,
//! * `poll_*` gives what there is to do: frames to write, packets to route, actions to take,
//! * `poll_timeout` names the one moment at which `handle_timeout` must be called.
//!
//! Input that the state does not allow is a typed error or a no-op, and changes nothing.
//!
//! Layers, outermost first:
//!
//! ```text
//! websocket message ── engine ──▶ engine packet ── packet ──▶ Socket.IO packet ── namespace ──▶ event
//!                                               or msgpack
//!                        connection: what the peer is, whether it lives, who may speak
//! ```

pub(crate) mod acks;
pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod engine;
pub(crate) mod fast_map;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
pub(crate) mod namespace;
pub(crate) mod packet;
mod proof;
pub(crate) mod recovery;
pub(crate) mod retries;
pub(crate) mod suspect;
pub(crate) mod ticket;

pub use packet::ProtocolError;

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod purity {
    /// The core must stay free of clocks, IO and runtimes, whoever edits it.
    #[test]
    fn the_core_knows_no_clock_no_io_and_no_runtime() {
        let sources = [
            ("acks", include_str!("acks.rs")),
            ("backoff", include_str!("backoff.rs")),
            ("connection", include_str!("connection.rs")),
            ("engine", include_str!("engine.rs")),
            ("json", include_str!("json.rs")),
            ("msgpack", include_str!("msgpack.rs")),
            ("packet", include_str!("packet.rs")),
            ("proof", include_str!("proof.rs")),
            ("recovery", include_str!("recovery.rs")),
            ("retries", include_str!("retries.rs")),
            ("namespace", include_str!("namespace.rs")),
            ("suspect", include_str!("suspect.rs")),
        ];
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto");
        let files = std::fs::read_dir(folder).unwrap().count();
        // All but the conformance vectors, which are a test.
        assert_eq!(files, sources.len() + 1, "a file of src/proto is not in this list");
        let banned =
            ["actix", "awc", "tokio", "futures", "std::net", "std::io", "std::thread", "async "];
        for (name, source) in sources {
            let code = source.split("#[cfg(test)]").next().unwrap();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
            for word in banned.iter().copied().chain(["Instant::now", "SystemTime"]) {
                assert!(!code.contains(word), "src/proto/{name}.rs mentions {word:?}");
            }
        }
    }
}
