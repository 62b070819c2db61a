//! What the log says of a connection.
//!
//! Nobody may hear of it otherwise when there is none, as everybody just waits: so the first failure
//! of a row is a warning, and says all that is known. No line has a header, a query or credentials.

use std::{fmt, time::Duration};

use crate::{
    display::Link,
    logs::say,
    proto::{
        engine::Protocol,
        reason::{ConnectFailure, Reason},
        transports::Transport,
    },
    transport::{Target, Targets},
};

/// A number of things, in words.
pub(crate) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// As far as anybody wants to know it: to the millisecond.
fn rounded(delay: Duration) -> Duration {
    let millis = delay.saturating_add(Duration::from_micros(500)).as_millis();
    u64::try_from(millis).map_or(delay, Duration::from_millis)
}

#[derive(Debug)]
pub(crate) struct Journal {
    /// `http://host:port/path/`
    url: String,
    link: Link,
    /// There has been a handshake.
    is_up: bool,
    /// There was none in the attempt that has just ended.
    has_failed: bool,
    /// The failed attempts in a row, and why the last one failed.
    failing: Option<(u64, Reason)>,
    /// What the server said that refused in this attempt, once for each revision of the protocol that
    /// it was asked for; cut and escaped.
    said: Vec<String>,
}

impl Journal {
    pub(crate) fn new(targets: &Targets) -> Self {
        Self {
            url: targets.at(0).endpoint.url(),
            link: targets.link().clone(),
            is_up: false,
            has_failed: false,
            failing: None,
            said: Vec::new(),
        }
    }

    /// How the connection is called in logs.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The server refused, and said this.
    pub(crate) fn said(&mut self, words: Option<String>) {
        self.said.extend(words);
    }

    /// There has been a handshake.
    pub(crate) fn greeted(&mut self) {
        self.is_up = true;
        self.said.clear();
    }

    /// Namespaces may join, at the server at this place. With another server, the line still has the name of the last
    /// one in front.
    pub(crate) fn connected(&mut self, place: usize, protocol: Protocol, transport: Transport) {
        self.greeted();
        let link = self.link.to_string();
        self.link.turn_to(place);
        let server = self.link.to_string();
        let to = if server == link { String::new() } else { format!(" to {server}") };
        let by = match transport {
            Transport::WebSocket => "",
            Transport::Polling => ", by polling",
        };
        match self.failing.take() {
            Some((count, _)) => {
                let attempts = counted(count, "failed attempt");
                say!(log::Level::Info, "{link}: connected{to} after {attempts}, {protocol}{by}");
            }
            None => say!(log::Level::Info, "{link}: connected{to}, {protocol}{by}"),
        }
    }

    /// A websocket has taken the place of polling.
    pub(crate) fn upgraded(&self) {
        say!(log::Level::Info, "{}: upgraded to a websocket", self.link);
    }

    /// The connection is gone, or did not come about. What there is to say of an attempt that failed,
    /// and is made `again`, waits for [`retrying`](Self::retrying).
    pub(crate) fn lost(&mut self, reason: &Reason, again: bool) {
        self.has_failed = !std::mem::take(&mut self.is_up) && *reason != Reason::Shutdown;
        if let Reason::Connect(ConnectFailure::Parser(_)) = reason {
            say!(log::Level::Warn, "{}: {reason}", self.link);
        } else if !self.has_failed {
            say!(log::Level::Info, "{}: connection ended: {reason}", self.link);
        } else if !again {
            self.failed(reason, format_args!("no further attempt"));
        }
    }

    /// There is no connection to this server, and the next one is tried at once. How it ends with the last
    /// one, [`retrying`](Self::retrying) says.
    pub(crate) fn passed(&mut self, target: &Target, reason: &Reason) {
        let says = self.says(reason);
        let level = if self.failing.is_none() { log::Level::Warn } else { log::Level::Debug };
        let url = target.endpoint.url();
        say!(level, "{url}: {reason}{says}; the next server is tried");
    }

    /// The words of the server that has refused, if the reason does not have them all.
    fn says(&mut self, reason: &Reason) -> String {
        let (mut said, shown) = (std::mem::take(&mut self.said), reason.to_string());
        if said.iter().all(|words| shown.contains(words)) {
            said.clear();
        }
        let words = said.join("\", then \"");
        if words.is_empty() { words } else { format!(" (it says \"{words}\")") }
    }

    /// Another attempt is to be made.
    pub(crate) fn retrying(&mut self, attempt: u32, delay: Duration, reason: &Reason) {
        let delay = rounded(delay);
        if self.has_failed {
            self.failed(reason, format_args!("retry {attempt} in {delay:?}"));
        } else {
            say!(log::Level::Info, "{}: retry {attempt} in {delay:?}", self.link);
        }
    }

    fn failed(&mut self, reason: &Reason, next: fmt::Arguments<'_>) {
        let says = self.says(reason);
        let (count, level) = match &self.failing {
            None => (1, log::Level::Warn),
            Some((count, last)) => {
                let level = if last == reason { log::Level::Debug } else { log::Level::Info };
                (count.saturating_add(1), level)
            }
        };
        self.failing = Some((count, reason.clone()));
        say!(level, "{}: {reason}{says}; {next}", self.url);
    }

    /// No more attempts are made.
    pub(crate) fn gave_up(&self, attempts: u32, reason: &Reason) {
        let attempts = counted(attempts, "attempt");
        say!(log::Level::Warn, "{}: gave up after {attempts} to connect: {reason}", self.url);
    }
}
