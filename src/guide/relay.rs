//! Past one machine: a log of events, and workers that take over from each other. (Feature `relay`.)
//!
//! (This module is a page to read; it has no items.)
//!
//! A [relay](crate::relay) joins Socket.IO servers, its *upstreams*, and writes their events to a log. Any number of programs read
//! the log, on other machines and in other languages. Several *workers* share the upstreams: each upstream has one
//! holder at a time, and when the holder goes, another worker takes over at the event where it stopped. Commands go the other way,
//! from any program to the holder, and its server's answer comes back.
//!
//! # When to use it
//!
//! | situation | use |
//! |---|---|
//! | one program that needs the events itself | a [`Client`](crate::Client) |
//! | two servers that are to hear each other | a [`Bridge`](crate::Bridge) |
//! | browsers that watch a server | an actor for each websocket: [`guide::bridges`](crate::guide::bridges) |
//! | a restart must not lose events, and one process is enough | [`hand_over`](crate::Client::hand_over) and [`resume`](crate::ClientBuilder::resume) |
//! | the machine may fail, or be replaced, and nobody wants to be woken up | a relay, with two workers or more |
//! | readers that come later, read again, or are slow for minutes | a relay |
//! | hundreds of upstreams, more than one process can hold | a relay, with as many workers as it takes |
//!
//! A relay has a price: a cluster to run, some milliseconds for each event, and at-least-once delivery to readers. Do not take it
//! for a single connection that a [`Client`](crate::Client) holds well.
//!
//! # How to run it
//!
//! The workers meet in an [`Engine`](crate::relay::Engine). The one in the process needs nothing, and ends with the process: it is for tests, and
//! for one machine. The other is NATS with JetStream:
//!
//! * **2.10 or later.** With older servers the relay runs, but versions 2.9.15 to 2.9.20 do not compare sequences reliably
//!   in a cluster, and that comparison is what keeps a former holder out of the log.
//! * **Three nodes, three replicas,** for anything that matters. One node is for development.
//! * **`sync_interval: always`,** or three power domains. By default a node writes to its disk every two minutes: what
//!   it has acknowledged survives the loss of a process, but not a power cut of all nodes.
//!
//! ```text
//! # nats.conf of the first of three nodes
//! server_name: nats-1
//! listen: 0.0.0.0:4222
//! http: 127.0.0.1:8222
//! jetstream { store_dir: /var/lib/nats, max_file_store: 20GB, max_memory_store: 256MB, sync_interval: always }
//! cluster { name: relay, listen: 0.0.0.0:6222, routes: [ nats://nats-2:6222, nats://nats-3:6222 ] }
//! ```
//!
//! The example `relay` is a daemon with a configuration file, pages for health and metrics, and an orderly end. To see it all on one
//! machine, with nothing installed:
//!
//! ```sh
//! cargo run --example relay -- --demo
//! cargo run --example relay -- --config relay.toml --check    # says all that is wrong in the file
//! cargo run --example relay -- --config relay.toml
//! ```
//!
//! Run the same configuration on several machines, each with a `worker` of its own, or without one. They share the upstreams evenly,
//! and move them when a worker comes or goes, one at a time.
