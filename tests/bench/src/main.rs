//! What actix-socketio costs, beside bare websocket loops and the other clients.
//!
//! This program is all of the Rust processes of a benchmark: the one that is started and prints the
//! table, the stub server, and each client that is measured.

mod chart;
mod machine;
mod measure;
mod options;
mod peer;
mod run;
mod server;
mod spec;
mod table;

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
            let port = port.parse().expect("a port");
            peer::finish(&peer.run(port, Spec::parse(spec)))
        }
        _ => {}
    }
    let done = match Options::parse(arguments) {
        Ok(options) => match options.mode {
            Mode::Table => table::run(&options),
            Mode::Flat | Mode::Arbiters => Err("not there yet".into()),
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
