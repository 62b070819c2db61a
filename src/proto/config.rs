//! The options of the application, for a connection and all its namespaces.

use std::time::Duration;

use bytestring::ByteString;

use super::{
    engine::Protocol,
    packet::{Limits, Parser},
    reconnect::Reconnect,
    transports::Allowed,
};

#[derive(Debug)]
pub(crate) struct Config {
    /// The name of the client in the log.
    pub(crate) name: ByteString,
    /// The revision that the application insists on.
    pub(crate) pin: Option<Protocol>,
    pub(crate) parser: Parser,
    pub(crate) transports: Allowed,
    /// `host:port` of the servers, in order of preference.
    pub(crate) endpoints: Vec<ByteString>,
    /// The limits of an incoming packet.
    pub(crate) limits: Limits,
    /// The largest message to send, in bytes, whatever the server says.
    pub(crate) max_payload: Option<u64>,
    /// The time from the first dial to the handshake.
    pub(crate) connect_timeout: Duration,
    /// The time for the credentials of a namespace, and again for the server's answer to the request to join.
    pub(crate) join_timeout: Duration,
    /// The time for the attachments of a packet to arrive.
    pub(crate) attachment_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    /// How many emits with retries a namespace may have unanswered at a time.
    pub(crate) retry_window: usize,
}
