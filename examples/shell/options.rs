//! The command line.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use crate::Failure;

/// The environment variable with the token.
pub(crate) const VARIABLE: &str = "SHELL_TOKEN";

/// A token with fewer characters can be guessed.
const SHORTEST: usize = 16;

/// A shell in a remote process, over Socket.IO.
///
/// Without a URL, it starts a server of its own. `~.` behind a newline ends it, and `~~` is one `~`.
///
/// The exit code is that of the shell, or 255 if there is none.
#[derive(Parser)]
#[command(name = "shell", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) serve: Option<Command>,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serves shells to all clients with the token, until Ctrl-C.
    Serve(Serving),
}

#[derive(Args)]
pub(crate) struct Opening {
    /// The server, as it prints it.
    pub(crate) url: Option<String>,
    /// A line for the shell, in place of what is typed.
    #[arg(last = true)]
    command: Vec<String>,
    /// A file with the token. Otherwise it is in the URL, or in `SHELL_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Serving {
    /// The address to listen on; port 0 is any free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub(crate) listen: SocketAddr,
    /// A file with the token. Otherwise it is in `SHELL_TOKEN`, or made and printed.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Seconds for which a shell waits for its client when the connection is lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    keep: u64,
    /// Listens beyond loopback, too. The connections are not encrypted: on the way, the token and all input can be read.
    #[arg(long)]
    pub(crate) i_know_what_this_is: bool,
}

impl Opening {
    pub(crate) fn command(&self) -> Option<String> {
        (!self.command.is_empty()).then(|| self.command.join(" "))
    }

    /// The URL without its token, and the token.
    pub(crate) fn server(&self, url: &str) -> Result<(String, String), Failure> {
        let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
        let token = match given(self.token_file.as_ref())? {
            Some(token) => token,
            None if fragment.is_empty() => {
                return Err(format!(
                    "the token is missing: it is what the server prints behind # in its URL; set {VARIABLE}, \
                     or use --token-file"
                )
                .into());
            }
            None => fragment.to_owned(),
        };
        Ok((url.to_owned(), token))
    }
}

impl Serving {
    /// The token that was given, if there is one.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        match given(self.token_file.as_ref())? {
            Some(token) if token.len() < SHORTEST => {
                Err(format!("the token is too short: use {SHORTEST} characters or more").into())
            }
            token => Ok(token),
        }
    }

    pub(crate) fn keep(&self) -> Duration {
        Duration::from_secs(self.keep)
    }
}

/// The token of a file, or else of the environment.
fn given(file: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    let Some(path) = file else {
        return Ok(env::var(VARIABLE).ok().filter(|token| !token.is_empty()));
    };
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{} is empty: it should have the token", path.display()).into());
    }
    Ok(Some(token.to_owned()))
}
