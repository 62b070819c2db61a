//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::{
    peer::Peer,
    spec::{Road, Workload},
};

pub const HELP: &str = "\
What actix-socketio costs, beside bare websocket loops and the other clients.

usage: actix-socketio-bench [MODE] [OPTION]...

modes:
  table      each workload with each peer (the default)
  flat       one event, while more and more of something else is there; and
             one call, while more and more of the same are
  arbiters   one client, and two that have an arbiter each
  counts     the instructions for a message, and whether they are as many as
             is written down (needs valgrind; takes no options)

options:
  --workloads W,...   of recv,emit,ack,busy,pipe,bin,binout,mix,bridge,conns
                      (all; the other clients have no `bridge`; in the other
                      modes recv,emit,pipe)
  --roads R,...       of websocket,tls,polling,msgpack (websocket; only in `table`,
                      where peers that cannot go there are left out)
  --peers P,...       of ours,function,stream,awc,actor,tungstenite,rust_socketio,
                      tf_rust_socketio,js,python (all; function and stream are
                      ours, with another listener than an actor, in `recv` only)
  --chunks N,...      events between two turns of the arbiter, in `emit` (500; only
                      in `table`, where other clients know only that number)
  --sizes N,...       bytes of text in an event (64)
  --rounds N          runs of each, of which the median counts (5)
  --slow-rounds N     the same for peers that are no websocket loop (3)
  --count N           messages in a run, instead of about a second's worth
  --conns N           connections in `conns` (1000)
  --svg FILE          writes a chart, too
  --markdown FILE     writes the table to a file, too
  --json FILE         writes each run, a line each, in the order in which they were
  --help
";

pub struct Options {
    pub mode: Mode,
    /// `None`: the default of the mode.
    pub workloads: Option<Vec<Workload>>,
    pub roads: Vec<Road>,
    pub peers: Vec<Peer>,
    /// `None`: the usual one.
    pub chunks: Option<Vec<u64>>,
    pub sizes: Vec<usize>,
    pub rounds: usize,
    pub slow_rounds: usize,
    pub count: Option<u64>,
    pub conns: u64,
    pub svg: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Table,
    Flat,
    Arbiters,
    Counts,
    #[cfg(feature = "relay")]
    Relay,
    Help,
}

impl Options {
    pub fn parse(arguments: Vec<String>) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            mode: Mode::Table,
            workloads: None,
            roads: vec![Road::WebSocket],
            peers: Peer::ALL.into(),
            chunks: None,
            sizes: vec![64],
            rounds: 5,
            slow_rounds: 3,
            count: None,
            conns: 1000,
            svg: None,
            markdown: None,
            json: None,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("workloads") => options.workloads = Some(list(&mut parser, Workload::named)?),
                Long("roads") => options.roads = list(&mut parser, Road::named)?,
                Long("peers") => options.peers = list(&mut parser, Peer::named)?,
                Long("chunks") => options.chunks = Some(list(&mut parser, positive)?),
                Long("sizes") => options.sizes = list(&mut parser, |size| size.parse().ok())?,
                Long("rounds") => options.rounds = at_least_one(&mut parser)?,
                Long("slow-rounds") => options.slow_rounds = at_least_one(&mut parser)?,
                Long("count") => options.count = Some(parser.value()?.parse()?),
                Long("conns") => options.conns = parser.value()?.parse()?,
                Long("svg") => options.svg = Some(parser.value()?.into()),
                Long("markdown") => options.markdown = Some(parser.value()?.into()),
                Long("json") => options.json = Some(parser.value()?.into()),
                Long("help") | Short('h') => options.mode = Mode::Help,
                Value(mode) if mode == "table" => options.mode = Mode::Table,
                Value(mode) if mode == "flat" => options.mode = Mode::Flat,
                Value(mode) if mode == "arbiters" => options.mode = Mode::Arbiters,
                Value(mode) if mode == "counts" => options.mode = Mode::Counts,
                #[cfg(feature = "relay")]
                Value(mode) if mode == "relay" => options.mode = Mode::Relay,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

fn at_least_one(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    Ok(parser.value()?.parse::<usize>()?.max(1))
}

fn positive(number: &str) -> Option<u64> {
    number.parse().ok().filter(|&number| number > 0)
}

fn list<T>(
    parser: &mut lexopt::Parser,
    named: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, lexopt::Error> {
    let value = parser.value()?.string()?;
    let one = |name: &str| named(name).ok_or_else(|| format!("there is no {name:?}").into());
    value.split(',').map(one).collect()
}
