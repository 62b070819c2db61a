//! The command line.

use std::{
    error::Error,
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use actix_socketio::{
    Client, ClientBuilder, Protocol, Proxy, Reconnect, Transport, Value, tap::Tap, tls::Tls,
};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::argument;

/// A terminal client for Socket.IO servers of any version.
///
/// The path of a URL is the namespace: `http://localhost:3000/shop` joins `/shop`.
#[derive(Parser)]
#[command(name = "sio", version)]
pub(crate) struct Sio {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Logs to standard error; twice and three times for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Prints the events of a server, until Ctrl-C.
    Listen(Listening),
    /// Emits one event.
    Emit(Emitting),
    /// Emits each line of standard input: `["name",1,2]`, or a name and its arguments.
    Pipe {
        #[command(flatten)]
        connection: Connection,
        /// Prints the events that come meanwhile.
        #[arg(long, help_heading = None)]
        events: bool,
    },
    /// Prints a script that completes the options of this program in a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Args)]
pub(crate) struct Listening {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Only events with one of these names.
    #[arg(help_heading = None)]
    pub(crate) names: Vec<String>,
    /// Ends after this many events.
    #[arg(short = 'n', long, help_heading = None)]
    pub(crate) count: Option<usize>,
    /// Answers events that ask for an answer with this: JSON, or a text.
    #[arg(long, value_name = "JSON", value_parser = argument, help_heading = None)]
    pub(crate) answer: Option<Value>,
}

#[derive(Args)]
pub(crate) struct Emitting {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The name of the event.
    #[arg(help_heading = None)]
    pub(crate) name: String,
    /// Its arguments, each one JSON, `@file` for an attachment, or else a text.
    #[arg(value_parser = argument, allow_negative_numbers = true, help_heading = None)]
    pub(crate) arguments: Vec<Value>,
    /// Asks for an answer, and prints it.
    #[arg(short, long, help_heading = None)]
    pub(crate) ack: bool,
    /// Seconds to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds, help_heading = None)]
    pub(crate) timeout: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Road {
    Websocket,
    Polling,
}

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server and the namespace: http, https, ws or wss.
    #[arg(help_heading = None)]
    url: String,
    /// One JSON a line in place of text for people.
    #[arg(long, help_heading = None)]
    pub(crate) json: bool,
    /// Credentials for the namespace: JSON, or a text.
    #[arg(long, value_name = "JSON", value_parser = argument, env = "SIO_AUTH", hide_env_values = true)]
    auth: Option<Value>,
    /// A header of the request to connect, such as `authorization: Bearer …`.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = pair::<':'>)]
    headers: Vec<(String, String)>,
    /// A parameter of the query.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair::<'='>)]
    query: Vec<(String, String)>,
    /// Where the server listens, if that is not /socket.io/.
    #[arg(long)]
    path: Option<String>,
    /// The transports that may be used, in this order.
    #[arg(long, value_delimiter = ',')]
    transports: Vec<Road>,
    /// The revision of Engine.IO: 3 for servers 1.x and 2.x. It is found out by itself.
    #[arg(long, value_parser = ["3", "4"])]
    protocol: Option<String>,
    /// `http://proxy:3128` or `socks5://user:password@proxy:1080`; `env` for `HTTPS_PROXY` and its like.
    #[arg(long, env = "SIO_PROXY", hide_env_values = true)]
    proxy: Option<String>,
    /// Certificates to trust beside those of the system (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate for the server (PEM), with --key.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of --cert (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Trusts any certificate. Anybody on the way can then read along.
    #[arg(long)]
    danger_accept_any_certificate: bool,
    /// Ends when the connection is lost or cannot be made.
    #[arg(long)]
    no_reconnect: bool,
    /// Writes each message on the wire to this file, as lines of JSON, without credentials.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seconds for connecting.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Option<f64>,
}

impl Connection {
    /// A client with these options.
    pub(crate) fn client(&self) -> Result<ClientBuilder, Box<dyn Error>> {
        let mut builder = Client::builder(self.url.as_str());
        if let Some(auth) = &self.auth {
            builder = builder.auth(auth);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        for (key, value) in &self.query {
            builder = builder.query(key, value);
        }
        if let Some(path) = &self.path {
            builder = builder.path(path);
        }
        if !self.transports.is_empty() {
            builder = builder.transports(self.transports.iter().map(|road| match road {
                Road::Websocket => Transport::WebSocket,
                Road::Polling => Transport::Polling,
            }));
        }
        if let Some(protocol) = &self.protocol {
            let is_old = protocol == "3";
            builder = builder.protocol(if is_old { Protocol::Eio3 } else { Protocol::Eio4 });
        }
        if let Some(proxy) = &self.proxy {
            let is_environment = proxy == "env";
            builder =
                builder.proxy(if is_environment { Proxy::from_env() } else { Proxy::new(proxy) });
        }
        if let Some(tls) = self.tls()? {
            builder = builder.tls(tls);
        }
        if self.no_reconnect {
            builder = builder.reconnect(Reconnect::never());
        }
        if let Some(path) = &self.record {
            let file = File::create(path)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            // Without a buffer: each line is there to be read at once, also if the program is killed.
            builder = builder.tap(Tap::lines(file).text(usize::MAX));
        }
        if let Some(seconds) = self.connect_timeout {
            builder = builder.connect_timeout(Duration::from_secs_f64(seconds));
        }
        Ok(builder)
    }

    /// `None` if the defaults are wanted.
    fn tls(&self) -> Result<Option<Tls>, Box<dyn Error>> {
        let mut tls = Tls::new();
        if let Some(ca) = &self.ca {
            tls = tls.add_ca_file(ca);
        }
        if let Some((cert, key)) = self.cert.as_ref().zip(self.key.as_ref()) {
            let read = |path: &PathBuf| {
                fs::read(path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))
            };
            tls = tls.client_certificate(read(cert)?, read(key)?);
        }
        if self.danger_accept_any_certificate {
            tls = tls.danger_accept_any_certificate();
        }
        let is_asked_for =
            self.ca.is_some() || self.cert.is_some() || self.danger_accept_any_certificate;
        Ok(is_asked_for.then_some(tls))
    }
}

/// A name and a value, which this character separates.
fn pair<const SEPARATOR: char>(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(SEPARATOR).ok_or_else(|| format!("there is no {SEPARATOR:?} in it"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(seconds),
        Ok(_) | Err(_) => Err("it is no time".to_owned()),
    }
}

/// A line of the standard input: a JSON array with the name first, or a name and its arguments.
pub(crate) fn event_of(line: &str) -> Result<(String, Vec<Value>), Box<dyn Error>> {
    if line.trim_start().starts_with('[') {
        let event: Vec<serde_json::Value> = serde_json::from_str(line)
            .map_err(|error| format!("{line}: no JSON array: {error}"))?;
        let mut event = event.into_iter();
        let Some(serde_json::Value::String(name)) = event.next() else {
            return Err(format!("{line}: the first element is the name of the event").into());
        };
        return Ok((name, event.map(Value::from).collect()));
    }
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    Ok((name, words.map(argument).collect::<Result<_, _>>()?))
}
