//! Ports of this machine that nobody else gets.
//!
//! Stands alone, because unit tests of the library include it, too.

// Not all that include it use all of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// A port where nothing listens, until the test has a server listen there, once or repeatedly.
///
/// A port that is only looked for and given back may go to any other test, of this process or another one, before the
/// server takes it. This holds it, by a socket that is bound and does not listen: connections are refused, the
/// system gives the port to nobody who asks for any, and whoever asks for this one by its number, with
/// `SO_REUSEADDR` as all servers do, gets it. (Elsewhere than on Linux that would be refused, and the port is given back.)
pub struct Port {
    number: u16,
    _held: Option<Socket>,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a socket that is not bound yet");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let number = address.as_socket().expect("an address with a port").port();
        Self { number, _held: cfg!(target_os = "linux").then_some(socket) }
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}
