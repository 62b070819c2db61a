//! TCP: from the name of a host to an open connection.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use actix_rt::{
    net::{TcpSocket, TcpStream},
    task::spawn_blocking,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use socket2::{SockRef, TcpKeepalive};
use url::Host;

use crate::{display::brief, logs::say, proto::reason::ConnectFailure, runtime::clock::within};

/// TCP keepalive: after this idle time the system probes the other end, and from then on at this interval.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// How long an address is tried before the next one is, too (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Which addresses of a host are used; see [`ClientBuilder::ip_family`](crate::ClientBuilder::ip_family).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IpFamily {
    /// All addresses.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl IpFamily {
    pub(crate) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// The options of TCP connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tcp {
    pub(crate) family: IpFamily,
    /// The address that connections come from.
    pub(crate) local: Option<IpAddr>,
}

/// Why there is no connection, without the name of the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TcpFailure {
    UnknownHost(String),
    Unreachable(String),
}

impl TcpFailure {
    /// The failure of a connection to the server itself.
    pub(super) fn of_server(self, server: &str) -> ConnectFailure {
        match self {
            Self::UnknownHost(error) => ConnectFailure::UnknownHost(format!("{server}: {error}")),
            Self::Unreachable(error) => ConnectFailure::Unreachable(format!("{server}: {error}")),
        }
    }
}

impl Tcp {
    /// Connects to the address of the host that answers first.
    pub(super) async fn connect(
        self,
        host: &Host,
        port: u16,
        client: &str,
    ) -> Result<TcpStream, TcpFailure> {
        let found = addresses(host, port).await;
        let mut found = found.map_err(|error| TcpFailure::UnknownHost(brief(&error)))?;
        if found.is_empty() {
            return Err(TcpFailure::UnknownHost("it has no address".to_owned()));
        }
        found.retain(|address| self.takes(address.ip()));
        if found.is_empty() {
            let error = "it has no address that the options ip_family and local_address allow";
            return Err(TcpFailure::UnknownHost(error.to_owned()));
        }
        let stream = race(in_turns(found), |address| self.open(address)).await;
        let stream = stream.map_err(|error| TcpFailure::Unreachable(brief(&error)))?;
        tune(&stream, client);
        Ok(stream)
    }

    fn takes(self, address: IpAddr) -> bool {
        let Self { family, local } = self;
        family.has(address) && local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    }

    async fn open(self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(local) = self.local {
            let refused = |error| io::Error::other(format!("option local_address: {error}"));
            socket.bind((local, 0).into()).map_err(refused)?;
        }
        socket.connect(address).await
    }
}

/// The addresses of a host, in the order that the system prefers.
async fn addresses(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Ipv4(address) => Ok(vec![(*address, port).into()]),
        Host::Ipv6(address) => Ok(vec![(*address, port).into()]),
        Host::Domain(name) => {
            let name = name.clone();
            // The system has no asynchronous function for this.
            let resolve = move || Ok((name.as_str(), port).to_socket_addrs()?.collect());
            spawn_blocking(resolve).await.map_err(io::Error::other)?
        }
    }
}

/// The families take turns, beginning with that of the first address.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() < 2 {
        return addresses;
    }
    let first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (these, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut these, mut others) = (these.into_iter(), others.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = [these.next(), others.next()];
        if pair == [None, None] || turns.len() >= MAX_ADDRESSES {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

/// Tries one address after the other, and keeps trying the earlier ones in the meantime. If all fail, the last
/// error is returned.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    // Most of the time there is one, and nothing to race with.
    if let [address] = *addresses {
        return connect(address).await;
    }
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    loop {
        running.extend(waiting.next().map(&connect));
        let outcome = if waiting.len() == 0 {
            running.next().await
        } else if let Some(outcome) = within(HEAD_START, running.next()).await {
            outcome
        } else {
            continue;
        };
        match outcome {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => last = error,
            None => return Err(last),
        }
    }
}

/// Sets `TCP_NODELAY`, since small events must not wait for the acknowledgement of earlier ones; and
/// keepalive, which keeps NATs and firewalls from forgetting the connection, and notices a dead one where
/// the server's heartbeat is slow. The connection works without either.
fn tune(stream: &TcpStream, client: &str) {
    let (idle, interval) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle);
    // On other systems it is fixed.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_interval(interval);
    let set = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    for outcome in [stream.set_nodelay(true), set] {
        if let Err(error) = outcome {
            say!(
                log::Level::Debug,
                client,
                "an option of the TCP connection cannot be set: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_connection_has_no_delay_and_is_kept_alive() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        tune(&stream, "client");
        assert!(SockRef::from(&stream).keepalive().unwrap());
        assert!(stream.nodelay().unwrap());
    }

    fn list(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| (address.parse::<IpAddr>().unwrap(), 80).into()).collect()
    }

    #[test]
    fn the_families_take_turns_and_the_one_that_the_system_prefers_begins() {
        for (found, expected) in [
            (&["::1", "::2", "::3", "1.1.1.1"][..], &["::1", "1.1.1.1", "::2", "::3"][..]),
            (&["1.1.1.1", "1.1.1.2", "::1"], &["1.1.1.1", "::1", "1.1.1.2"]),
            (&["::1"], &["::1"]),
            (&[], &[]),
        ] {
            assert_eq!(in_turns(list(found)), list(expected));
        }
        let many: Vec<SocketAddr> = (0..10_000).map(|n| ([10, 0, 0, 1], n).into()).collect();
        assert_eq!(in_turns(many).len(), MAX_ADDRESSES);
    }

    #[actix::test]
    async fn an_address_that_does_not_answer_does_not_hold_up_the_next() {
        // 1 never answers, 2 is closed, 3 answers.
        async fn connect(address: SocketAddr) -> io::Result<SocketAddr> {
            match address.ip().to_string().as_str() {
                "::1" => std::future::pending().await,
                "0.0.0.2" => Err(io::ErrorKind::ConnectionRefused.into()),
                "::4" => Err(io::ErrorKind::NetworkUnreachable.into()),
                _ => Ok(address),
            }
        }
        for (addresses, expected) in [
            (&["::1", "0.0.0.3"][..], Ok("0.0.0.3")),
            (&["::1", "0.0.0.2", "::3"], Ok("::3")),
            (&["0.0.0.2", "::3"], Ok("::3")),
            (&["::3", "0.0.0.3"], Ok("::3")),
            (&["::4", "0.0.0.2"], Err(io::ErrorKind::ConnectionRefused)),
            (&[], Err(io::ErrorKind::AddrNotAvailable)),
        ] {
            let outcome = race(list(addresses), connect).await;
            let outcome = outcome.map(|address| address.ip().to_string());
            assert_eq!(outcome.as_deref().map_err(io::Error::kind), expected, "{addresses:?}");
        }
    }

    #[actix::test]
    async fn only_addresses_that_the_options_allow_are_used() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = Host::parse("127.0.0.1").unwrap();
        let local = |address: &str| Some(address.parse().unwrap());
        for (family, local, expected) in [
            (IpFamily::Any, None, Ok("127.0.0.1")),
            (IpFamily::V4, local("127.0.0.1"), Ok("127.0.0.1")),
            (IpFamily::V6, None, Err("ip_family")),
            (IpFamily::Any, local("::1"), Err("local_address")),
            // An address that this machine does not have.
            (IpFamily::Any, local("192.0.2.1"), Err("option local_address: ")),
        ] {
            let outcome = Tcp { family, local }.connect(&host, port, "client").await;
            match (outcome, expected) {
                (Ok(stream), Ok(expected)) => {
                    assert_eq!(stream.local_addr().unwrap().ip().to_string(), expected);
                }
                (Err(failure), Err(words)) => {
                    let failure = failure.of_server("a:1").to_string();
                    assert!(failure.contains("a:1: ") && failure.contains(words), "{failure}");
                }
                (outcome, _) => panic!("{family:?} {local:?}: {outcome:?}"),
            }
        }
    }
}
