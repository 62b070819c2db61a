//! What the log says about a connection.
//!
//! When there is no connection, the log may be the only sign of that, as everybody just waits. So the first
//! failure in a row is a warning, with all that is known. No line has a header, a query or credentials.

use std::{fmt, time::Duration};

use bytestring::ByteString;

use crate::{
    logs::say,
    proto::{
        engine::Protocol,
        reason::{ConnectFailure, Reason},
        transports::Transport,
    },
    transport::Target,
};

/// A number of things, in words.
pub(crate) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Rounded to the millisecond, for people to read.
fn rounded(delay: Duration) -> Duration {
    let millis = delay.saturating_add(Duration::from_micros(500)).as_millis();
    u64::try_from(millis).map_or(delay, Duration::from_millis)
}

/// How many characters of two texts are compared, to see whether they are the same.
const BEGINNING: usize = 60;

#[derive(Debug)]
pub(crate) struct Journal {
    /// The name of the client in the log.
    client: ByteString,
    /// `http://host:port/path/`
    url: ByteString,
    /// There has been a handshake.
    is_up: bool,
    /// Whether the attempt that has just ended got no handshake.
    has_failed: bool,
    /// The failed attempts in a row, and why the last one failed.
    failing: Option<Box<(u64, Reason)>>,
    /// The texts with which the server refused in this attempt, one for each revision of the protocol that
    /// it was asked for; cut and escaped.
    said: Vec<String>,
}

impl Journal {
    pub(crate) fn new(client: ByteString, target: &Target) -> Self {
        Self {
            client,
            url: target.endpoint.url().clone(),
            is_up: false,
            has_failed: false,
            failing: None,
            said: Vec::new(),
        }
    }

    /// The name of the client in the log.
    pub(crate) fn client(&self) -> &ByteString {
        &self.client
    }

    /// The server refused with this text.
    pub(crate) fn said(&mut self, words: Option<String>) {
        self.said.extend(words);
    }

    /// There has been a handshake.
    pub(crate) fn greeted(&mut self) {
        self.is_up = true;
        self.said.clear();
    }

    /// Namespaces may join.
    pub(crate) fn connected(&mut self, target: &Target, protocol: Protocol, transport: Transport) {
        self.greeted();
        let server = target.endpoint.authority();
        // A name that is the `host:port` of the server says that already.
        let is_said = *server == self.client;
        let to = if is_said { String::new() } else { format!(" to {server}") };
        let by = match transport {
            Transport::WebSocket => "",
            Transport::Polling => ", by polling",
        };
        match self.failing.take() {
            Some(failing) => {
                let attempts = counted(failing.0, "failed attempt");
                say!(
                    log::Level::Info,
                    self.client,
                    "connected{to} after {attempts}, {protocol}{by}"
                );
            }
            None => say!(log::Level::Info, self.client, "connected{to}, {protocol}{by}"),
        }
    }

    /// A websocket has taken the place of polling.
    pub(crate) fn upgraded(&self) {
        say!(log::Level::Info, self.client, "upgraded to a websocket");
    }

    /// The connection was lost, or could not be made. What there is to say about an attempt that failed,
    /// and is made `again`, waits for [`retrying`](Self::retrying).
    pub(crate) fn lost(&mut self, reason: &Reason, again: bool) {
        self.has_failed = !std::mem::take(&mut self.is_up) && *reason != Reason::Shutdown;
        if let Reason::Connect(ConnectFailure::Parser(_)) = reason {
            say!(log::Level::Warn, self.client, "{reason}");
        } else if !self.has_failed {
            say!(level_of_end(reason), self.client, "connection ended: {reason}");
        } else if !again {
            self.failed(reason, format_args!("no further attempt"));
        }
    }

    /// There is no connection to this server, and the next one is tried at once. The outcome for the last
    /// one is logged by [`retrying`](Self::retrying).
    pub(crate) fn passed(&mut self, target: &Target, reason: &Reason) {
        let says = self.says(reason);
        let level = if self.failing.is_none() { log::Level::Warn } else { log::Level::Debug };
        let what = no_connection(target.endpoint.url(), reason);
        say!(level, self.client, "{what}{says}; the next server is tried");
    }

    /// The text of the server that has refused, unless the reason has all of it.
    fn says(&mut self, reason: &Reason) -> String {
        let (mut said, shown) = (std::mem::take(&mut self.said), reason.to_string());
        // The reason may cut it in another place.
        let beginning = |words: &String| words.chars().take(BEGINNING).collect::<String>();
        if said.iter().all(|words| shown.contains(&beginning(words))) {
            said.clear();
        }
        in_words(said)
    }

    /// Another attempt will be made.
    pub(crate) fn retrying(&mut self, attempt: u32, delay: Duration, reason: &Reason) {
        let delay = rounded(delay);
        if self.has_failed {
            self.failed(reason, format_args!("retry {attempt} in {delay:?}"));
        } else {
            say!(log::Level::Info, self.client, "retry {attempt} in {delay:?}");
        }
    }

    fn failed(&mut self, reason: &Reason, next: fmt::Arguments<'_>) {
        let says = self.says(reason);
        let (count, level) = match self.failing.as_deref() {
            None => (1, log::Level::Warn),
            Some((count, last)) => {
                let level = if last == reason { log::Level::Debug } else { log::Level::Info };
                (count.saturating_add(1), level)
            }
        };
        self.failing = Some(Box::new((count, reason.clone())));
        say!(level, self.client, "{}{says}; {next}", no_connection(&self.url, reason));
    }

    /// No more attempts are made.
    pub(crate) fn gave_up(&self, attempts: u32, reason: &Reason) {
        let attempts = counted(attempts, "attempt");
        let what = no_connection(&self.url, reason);
        say!(log::Level::Warn, self.client, "gave up after {attempts}: {what}");
    }
}

/// Ends that lose a message, and happen again with the next one like it, are worse than the usual ends.
fn level_of_end(reason: &Reason) -> log::Level {
    match reason {
        Reason::TooLarge { .. } | Reason::TooLargeForServer | Reason::Protocol(_) => {
            log::Level::Warn
        }
        _ => log::Level::Info,
    }
}

/// The text that there is no connection to this server, and why.
fn no_connection(url: &str, reason: &Reason) -> String {
    match reason {
        Reason::Connect(failure) => format!("no connection to {url}: {failure}"),
        reason => format!("no connection to {url}: {reason}"),
    }
}

/// The texts of a server. It is asked several times, once for each revision and each transport: repeated
/// texts are logged once.
fn in_words(mut said: Vec<String>) -> String {
    said.dedup();
    let words = said.join("\", then \"");
    if words.is_empty() { words } else { format!(" (it says \"{words}\")") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_is_told_once() {
        let told = |said: &[&str]| in_words(said.iter().map(ToString::to_string).collect());
        assert_eq!(told(&[]), "");
        assert_eq!(told(&["no origin"; 3]), r#" (it says "no origin")"#);
        assert_eq!(told(&["busy", "busy", "gone"]), r#" (it says "busy", then "gone")"#);
    }
}
