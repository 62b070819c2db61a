//! What actix-socketio costs, compared with bare websocket loops and other clients.
//!
//! This program is every Rust process of a benchmark: the one that is started and prints the
//! table, the stub server, and each client that is measured.

mod arbiters;
mod calls;
mod chart;
mod counts;
mod flat;
mod machine;
mod measure;
mod options;
mod packets;
mod peer;
#[cfg(feature = "relay")]
mod relay;
mod run;
mod server;
mod spec;
mod table;
mod tls;

use std::{env, process::ExitCode};

use options::{HELP, Mode, Options};
use peer::Peer;
use spec::Spec;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server", spec @ ..] => {
            measure::allow_many_files();
            server::run(Spec::parse(spec))
        }
        ["client", peer, port, spec @ ..] => {
            let peer = Peer::named(peer).expect("a peer");
            peer::finish(&peer.run(number(port), Spec::parse(spec)))
        }
        ["among", crowd, many, port, spec @ ..] => {
            peer::finish(&flat::child(crowd, many, number(port), Spec::parse(spec)))
        }
        ["calls", call, many, port, ..] => peer::finish(&calls::child(call, many, number(port))),
        ["inside", arbiters, port, spec @ ..] => {
            peer::finish(&arbiters::child(arbiters, number(port), Spec::parse(spec)))
        }
        #[cfg(feature = "relay")]
        ["relay-worker", name, servers, replicas, port] => {
            relay::worker(name, servers, replicas, port)
        }
        #[cfg(feature = "relay")]
        ["relay-alone", subjects, servers, messages, size] => {
            relay::alone(subjects, servers, messages, size)
        }
        _ => {}
    }
    let done = match Options::parse(arguments) {
        Ok(options) => match options.mode {
            Mode::Table => table::run(&options),
            Mode::Flat => flat::run(&options),
            Mode::Arbiters => arbiters::run(&options),
            Mode::Counts => counts::run(),
            #[cfg(feature = "relay")]
            Mode::Relay => relay::run(&options),
            Mode::Help => {
                print!("{HELP}");
                Ok(())
            }
        },
        Err(error) => Err(format!("{error}\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(port: &str) -> u16 {
    port.parse().expect("a port")
}
