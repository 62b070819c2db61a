//! Inputs for fuzzing: real messages, changed at a few places; and the time to spend.
//!
//! `FUZZ_SECONDS` is the time for each test, `FUZZ_SEED` the seed to begin with. A failure is reduced to few
//! changes, and printed with its seed.

// The seed and the number of inputs are the result.
#![allow(clippy::print_stdout)]

use std::env;
use std::fmt;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};

/// How long each test runs by default.
const DEFAULT: Duration = Duration::from_secs(2);

/// Inputs of one seed.
const BATCH: u32 = 256;

/// The longest message, in bytes.
const LONGEST: usize = 4_096;

/// The tokens of the protocol's grammar, and numbers at the edges.
const TOKENS: [&[u8]; 54] = [
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"40",
    b"41",
    b"42",
    b"43",
    b"44",
    b"451-",
    b"461-",
    b"452-",
    b"b",
    b"b4",
    b"-",
    b",",
    b"/",
    b"/foo,",
    b"/a?b=c,",
    b"7",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9007199254740993",
    b"[]",
    b"[",
    b"]",
    b"{}",
    b"{",
    b"}",
    b"\"",
    b"\"e\"",
    b"[\"e\"]",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"0.5",
    b" ",
    b"\\ud800",
    b"\\u0000",
    b"\\",
    b"{\"_placeholder\":true,\"num\":0}",
    b"\"_placeholder\":true",
    b"\"num\":1",
    b"\"sid\":\"x\"",
    b"\"pingInterval\":0",
    b"\xff",
    b"\x00",
    b"\xc7\x00\x00",
    b"\xdd\x00\x00\x00\x02",
    b"\xe2\x82\xac",
];

/// A websocket message.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// In the syntax of Rust, to be pasted into a test.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({text:?}.into())"),
            Self::Binary(data) => write!(f, "Binary(b\"{}\".to_vec())", data.escape_ascii()),
        }
    }
}

impl Message {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(data) => data,
        }
    }

    fn with(&self, data: Vec<u8>) -> Self {
        match self {
            Self::Text(_) => Self::Text(match String::from_utf8(data) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
            Self::Binary(_) => Self::Binary(data),
        }
    }
}

/// One change, at places given as fractions of the length.
#[derive(Clone, Debug)]
enum Change {
    Flip {
        at: Index,
        bit: u8,
    },
    Token {
        token: usize,
        at: Index,
        replaces: usize,
    },
    Remove {
        at: Index,
        count: usize,
    },
    Truncate {
        at: Index,
    },
    Repeat {
        at: Index,
        count: usize,
        times: usize,
    },
    /// The end of another message.
    Splice {
        other: Index,
        at: Index,
        from: Index,
    },
    /// A message is left out, comes twice, is binary instead of text, or the other way round.
    Leave,
    Double,
    Turn,
    /// Another conversation follows.
    Append {
        other: Index,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        8 => (0..TOKENS.len(), at(), 0..3_usize)
            .prop_map(|(token, at, replaces)| Change::Token { token, at, replaces }),
        3 => (at(), 1..9_usize).prop_map(|(at, count)| Change::Remove { at, count }),
        1 => at().prop_map(|at| Change::Truncate { at }),
        2 => (at(), 1..9_usize, 1..300_usize)
            .prop_map(|(at, count, times)| Change::Repeat { at, count, times }),
        3 => (at(), at(), at()).prop_map(|(other, at, from)| Change::Splice { other, at, from }),
        1 => Just(Change::Leave),
        1 => Just(Change::Double),
        1 => Just(Change::Turn),
        2 => at().prop_map(|other| Change::Append { other }),
    ]
}

impl Change {
    fn apply(self, place: Index, messages: &mut Vec<Message>, corpus: &[Vec<Message>]) {
        if let Self::Append { other } = self {
            return messages.extend(other.get(corpus).clone());
        }
        if messages.is_empty() {
            return;
        }
        let n = place.index(messages.len());
        let mut data = messages[n].bytes().to_vec();
        let spot = |at: Index| at.index(data.len() + 1);
        match self {
            Self::Flip { at, bit } if !data.is_empty() => {
                let at = at.index(data.len());
                data[at] ^= 1 << bit;
            }
            Self::Token { token, at, replaces } => {
                let at = spot(at);
                let end = data.len().min(at + replaces);
                data.splice(at..end, TOKENS[token].iter().copied());
            }
            Self::Remove { at, count } => {
                let at = spot(at);
                data.drain(at..data.len().min(at + count));
            }
            Self::Truncate { at } => data.truncate(spot(at)),
            Self::Repeat { at, count, times } => {
                let at = spot(at);
                let part = data[at..data.len().min(at + count)].repeat(times);
                data.splice(at..at, part);
            }
            Self::Splice { other, at, from } => {
                let at = spot(at);
                if let Some(other) = other.get(corpus).first() {
                    let other = other.bytes();
                    let from = from.index(other.len() + 1);
                    data.truncate(at);
                    data.extend_from_slice(&other[from..]);
                }
            }
            Self::Leave => {
                messages.remove(n);
                return;
            }
            Self::Double => return messages.insert(n, messages[n].clone()),
            Self::Turn => {
                messages[n] = match &messages[n] {
                    Message::Text(text) => Message::Binary(text.clone().into_bytes()),
                    Message::Binary(data) => {
                        Message::Text(String::from_utf8_lossy(data).into_owned())
                    }
                };
                return;
            }
            Self::Flip { .. } | Self::Append { .. } => {}
        }
        data.truncate(LONGEST);
        messages[n] = messages[n].with(data);
    }
}

/// A conversation of this corpus, changed at up to eight places.
pub fn messages(corpus: Vec<Vec<Message>>) -> impl Strategy<Value = Vec<Message>> {
    let changes = proptest::collection::vec((any::<Index>(), change()), 0..8);
    (any::<Index>(), changes).prop_map(move |(seed, changes)| {
        let mut messages = seed.get(&corpus).clone();
        for (place, change) in changes {
            change.apply(place, &mut messages, &corpus);
        }
        messages
    })
}

/// What servers send: the packets of the vectors, well-formed and not, in Engine.IO messages, and the packets
/// of Engine.IO itself.
pub fn corpus() -> Vec<Vec<Message>> {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/packets.json")).unwrap();
    let bytes = |hex: &str| {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect::<Vec<u8>>()
    };
    let text = |text: &str| Message::Text(format!("4{text}"));
    let mut corpus: Vec<Vec<Message>> = [
        r#"0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
        r#"0{"sid":"S","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#,
        r#"40{"sid":"x","pid":"p"}"#,
        "1", "2", "3", "2probe", "3probe", "5", "6", "40", "41", "bAQID", "b4AQID", "",
    ]
    .into_iter()
    .map(|text| vec![Message::Text(text.to_owned())])
    .collect();
    for packet in vectors["packets"].as_array().unwrap() {
        let mut messages = vec![text(packet["text"].as_str().unwrap())];
        for data in packet["attachments"].as_array().unwrap() {
            messages.push(Message::Binary(bytes(data.as_str().unwrap())));
        }
        corpus.push(messages);
    }
    for packet in vectors["malformed"].as_array().unwrap() {
        let frames = packet["frames"].as_array().unwrap().iter();
        let messages = frames.map(|frame| match frame.as_str() {
            Some(frame) => text(frame),
            None => Message::Binary(bytes(frame["bin"].as_str().unwrap())),
        });
        corpus.push(messages.collect());
    }
    for messages in &mut corpus {
        messages.retain(|message| message.bytes().len() <= LONGEST);
    }
    corpus
}

/// The time for each test, and whether it was set in the environment.
pub fn budget() -> Duration {
    let wanted = env::var("FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    wanted.map_or(DEFAULT, Duration::from_secs)
}

/// The seed to begin with: that of the environment, or a new one each time.
pub fn seed() -> u64 {
    let wanted = env::var("FUZZ_SEED").ok().map(|text| text.parse().unwrap());
    wanted.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() << 20
    })
}

/// The random numbers of a seed.
pub fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// Checks inputs until the time is over.
pub fn run<S: Strategy>(name: &str, strategy: S, check: impl Fn(S::Value) -> TestCaseResult) {
    let end = Instant::now() + budget();
    let mut seed = seed();
    println!("{name}: FUZZ_SEED={seed}");
    let mut inputs = 0_u64;
    while inputs == 0 || Instant::now() < end {
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, rng(seed));
        match runner.run(&strategy, &check) {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => {
                panic!("{name}: FUZZ_SEED={seed} finds: {reason}\n{input:?}");
            }
            Err(TestError::Abort(reason)) => panic!("{name}: FUZZ_SEED={seed}: {reason}"),
        }
        inputs += u64::from(BATCH);
        seed += 1;
    }
    println!("{name}: {inputs} inputs");
}
