//! What is measured: the workloads, and the events that both sides know.
//!
//! The stub server and every client get the same [`Spec`], so each can check what it gets from
//! the other.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a client does against the stub server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// Events arrive.
    Recv,
    /// Events are emitted, as fast as backpressure allows.
    Emit,
    /// Events that ask for an answer are emitted, each when the one before has been answered.
    Ack,
    /// The same as [`Ack`](Self::Ack), while [`Spec::RATE`] events a second arrive.
    Busy,
    /// The same, with [`Spec::WINDOW`] of them on their way.
    Pipe,
    /// Attachments arrive.
    Bin,
    /// Attachments are emitted.
    BinOut,
    /// Blocks of [`Spec::BLOCK`] events are emitted, of which the last asks for an answer. For each event, one
    /// arrives; and with the answer, an attachment of 64 KiB.
    Mix,
    /// Events arrive on one connection, and are emitted on another one.
    Bridge,
    /// Connections that do nothing, in one process.
    Conns,
}

impl Workload {
    pub const ALL: [Self; 10] = [
        Self::Recv,
        Self::Emit,
        Self::Ack,
        Self::Busy,
        Self::Pipe,
        Self::Bin,
        Self::BinOut,
        Self::Mix,
        Self::Bridge,
        Self::Conns,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Recv => "recv",
            Self::Emit => "emit",
            Self::Ack => "ack",
            Self::Busy => "busy",
            Self::Pipe => "pipe",
            Self::Bin => "bin",
            Self::BinOut => "binout",
            Self::Mix => "mix",
            Self::Bridge => "bridge",
            Self::Conns => "conns",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// The name of one of its messages, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Recv => "receive an event",
            Self::Emit => "emit an event",
            Self::Ack => "emit and await the answer",
            Self::Busy => "the same, 100 000 events/s come in",
            Self::Pipe => "answers, 100 on their way",
            Self::Bin => "receive an attachment",
            Self::BinOut => "emit an attachment",
            Self::Mix => "some of all",
            Self::Bridge => "pass an event on",
            Self::Conns => "connect",
        }
    }

    /// Whether the payload size can be chosen; the other workloads have a fixed one.
    pub fn is_sized(self) -> bool {
        !matches!(self, Self::Bin | Self::BinOut | Self::Conns)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Road {
    WebSocket,
    /// A websocket over TLS.
    Tls,
    /// HTTP long-polling.
    Polling,
    /// A websocket, with packets in msgpack instead of JSON.
    Msgpack,
}

impl Road {
    const ALL: [Self; 4] = [Self::WebSocket, Self::Tls, Self::Polling, Self::Msgpack];

    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Tls => "tls",
            Self::Polling => "polling",
            Self::Msgpack => "msgpack",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|road| road.name() == name)
    }
}

/// One run: a workload, the number of messages, and the size of the text or the attachment in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub workload: Workload,
    /// A multiple of [`batch`](Self::batch), unless these are connections.
    pub count: u64,
    pub size: usize,
    pub road: Road,
    /// After how many emits the client waits until they are written.
    pub chunk: u64,
}

impl Spec {
    /// How many answers are awaited at a time, in [`Workload::Pipe`].
    pub const WINDOW: usize = 100;
    /// Events in a block of [`Workload::Mix`].
    pub const BLOCK: u64 = 100;
    /// Events that arrive in a second, in [`Workload::Busy`].
    pub const RATE: u64 = 100_000;
    /// How large an attachment is.
    pub const ATTACHMENT: usize = 64 * 1024;

    /// At least `count` messages, over a websocket.
    pub fn new(workload: Workload, count: u64, size: usize) -> Self {
        let chunk = Self::usual_chunk(size);
        let mut spec = Self { workload, count: count.max(1), size, road: Road::WebSocket, chunk };
        if workload != Workload::Conns {
            spec.count = spec.count.next_multiple_of(spec.batch());
        }
        spec
    }

    /// The arguments of a process that runs this; [`parse`](Self::parse) reads them.
    pub fn arguments(&self) -> [String; 5] {
        let Self { workload, count, size, road, chunk } = self;
        let road = road.name().to_owned();
        [workload.to_string(), count.to_string(), size.to_string(), road, chunk.to_string()]
    }

    /// Panics if the arguments are wrong: only this program calls itself with them. Whoever calls it
    /// by hand may leave out the last one.
    pub fn parse(arguments: &[&str]) -> Self {
        let [workload, count, size, road, chunk @ ..] = arguments else {
            panic!("a spec is four words, or five")
        };
        let size = size.parse().expect("a size");
        Self {
            workload: Workload::named(workload).expect("a workload"),
            count: count.parse().expect("a count"),
            size,
            road: Road::named(road).expect("a road"),
            chunk: chunk.first().map_or(Self::usual_chunk(size), |n| n.parse().expect("a number")),
        }
    }

    /// The number of messages that the server has prepared and sends again and again: their numbers are
    /// those of the stream modulo this number.
    pub fn batch(&self) -> u64 {
        if self.size > 1024 { 100 } else { 1000 }
    }

    /// [`chunk`](Self::chunk), unless the command line says something else.
    pub fn usual_chunk(size: usize) -> u64 {
        Self::most_in_chunk(size).min(500)
    }

    /// More of them at a time would be a test of bounds.
    pub fn most_in_chunk(size: usize) -> u64 {
        (4 * 1024 * 1024 / (size as u64 + 64)).max(1)
    }

    /// The `n`th message.
    pub fn message(&self, n: u64) -> Msg {
        Msg { n, s: "x".repeat(self.size) }
    }

    /// Panics if this is not the `n`th message of the server.
    pub fn check(&self, n: u64, message: &Msg) {
        assert_eq!(message.n, n % self.batch(), "the number of message {n}");
        assert_eq!(message.s.len(), self.size, "the length of message {n}");
    }

    /// The `n`th attachment: its number as eight digits, and zeros.
    ///
    /// Digits, since rust_socketio 0.6 splits attachments at bytes 0x1E, and could not be measured
    /// if there was one.
    pub fn attachment(&self, n: u64) -> Bytes {
        let mut data = format!("{n:08}").into_bytes();
        data.resize(self.attachment_size(), 0);
        data.into()
    }

    /// The number of an attachment, from its beginning.
    pub fn attachment_number(data: &[u8]) -> Option<u64> {
        str::from_utf8(data.get(..8)?).ok()?.parse().ok()
    }

    /// Panics if this is not the `n`th attachment of the server.
    pub fn check_attachment(&self, n: u64, data: &[u8]) {
        assert_eq!(data.len(), self.attachment_size(), "the length of attachment {n}");
        let number = Self::attachment_number(data);
        assert_eq!(number, Some(n % self.batch()), "the number of attachment {n}");
    }

    /// The blocks of [`Workload::Mix`]: the number of each, of its first event and of its last.
    pub fn blocks(self) -> impl Iterator<Item = (u64, u64, u64)> {
        (0..self.count / Self::BLOCK).map(|block| {
            let first = block * Self::BLOCK;
            (block, first, first + Self::BLOCK - 1)
        })
    }

    fn attachment_size(&self) -> usize {
        match self.workload {
            Workload::Mix => Self::ATTACHMENT,
            _ => self.size,
        }
    }
}

/// The argument of the event `msg`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Msg {
    pub n: u64,
    pub s: String,
}
