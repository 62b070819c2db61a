//! Connections that the application itself opens.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};

use super::Endpoint;
use crate::{display::brief, guard, proto::reason::ConnectFailure, runtime::provider::Provider};

/// Opens the connections of a client in place of TCP: over whatever carries bytes both ways, such as
/// the channel of an SSH session, a serial line, or memory in a test. See
/// [`ClientBuilder::dialer`](crate::ClientBuilder::dialer).
///
/// TLS, HTTP and the websocket are spoken over the stream as over TCP. With polling, a client has two
/// streams at a time, and three while it upgrades.
///
/// It is called and its streams are used on the arbiter of the client, so it must not block. If it or a
/// stream panics, that is a failed attempt or a lost connection. Text of its errors is shown and logged,
/// shortened: it must have no secrets.
///
/// ```
/// use std::io;
///
/// use actix_socketio::{Client, Dialer};
/// use tokio::net::TcpStream;
///
/// /// Connects to a port of this machine, where something leads to the server.
/// struct Forwarded(u16);
///
/// impl Dialer for Forwarded {
///     type Stream = TcpStream;
///
///     async fn dial(&self, _host: &str, _port: u16) -> io::Result<TcpStream> {
///         TcpStream::connect(("127.0.0.1", self.0)).await
///     }
/// }
///
/// let builder = Client::builder("https://realtime.example").dialer(Forwarded(8443));
/// ```
pub trait Dialer: Send + Sync + 'static {
    /// The stream of bytes to and from the server. Dropping it closes the connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Opens a connection to this host and port: those of the URL of the server, with the default port
    /// of its scheme. The host is a name in lower case, or an IP address, in brackets if it is IPv6.
    ///
    /// The future is dropped if it takes longer than
    /// [`connect_timeout`](crate::ClientBuilder::connect_timeout). It need not be `Send`.
    ///
    /// # Errors
    ///
    /// The attempt to connect fails with [`ConnectFailure::Unreachable`], and the policy for
    /// [reconnecting](crate::Reconnect) decides about another one.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// A [`Dialer`] of any type.
#[derive(Debug, Clone)]
pub(crate) struct AnyDialer(Provider<(String, u16), Custom>);

impl AnyDialer {
    pub(crate) fn new(dialer: impl Dialer) -> Self {
        let dialer = Arc::new(dialer);
        let dial = move |(host, port): (String, u16)| {
            let dialer = Arc::clone(&dialer);
            async move { dialer.dial(&host, port).await }
        };
        Self(Provider::new(dial, |stream| Ok(Custom::new(stream))))
    }

    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Custom, ConnectFailure> {
        let dialled = self.0.ask((endpoint.host.to_string(), endpoint.port())).await;
        dialled.map_err(|error| {
            let authority = endpoint.authority();
            let text = format_args!("{authority}: its dialer failed: {error}");
            ConnectFailure::Unreachable(brief(&text))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A stream of the application, used and dropped through the guard.
pub(crate) struct Custom(Option<Box<dyn Io>>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").finish_non_exhaustive()
    }
}

impl Custom {
    fn new(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Self {
        Self(Some(Box::new(stream)))
    }

    /// A stream that has panicked is not used again.
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut dyn Io>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(stream) = &mut self.0 else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        guard::run(|| poll(Pin::new(&mut **stream))).unwrap_or_else(|panicked| {
            guard::dispose(self.0.take());
            Poll::Ready(Err(io::Error::other(format!("the stream of the dialer {panicked}"))))
        })
    }
}

impl Drop for Custom {
    fn drop(&mut self) {
        guard::dispose(self.0.take());
    }
}

impl AsyncRead for Custom {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Custom {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll(|stream| stream.poll_write(cx, data));
        // A stream may report more bytes than it was given, which would make the caller panic.
        written.map_ok(|written| written.min(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(cx))
    }
}
