//! The bytes below HTTP and the websocket, with or without TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use actix_rt::net::UnixStream;
use actix_rt::net::{ActixStream, Ready, TcpStream};

use super::dialer::Custom;

/// The carrier of the bytes. awc puts it into a box of its own, so TCP has none here.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Custom(Custom),
    /// TLS to a proxy, which passes on the bytes in it.
    #[cfg(feature = "rustls")]
    Tls(Box<tokio_rustls::client::TlsStream<Self>>),
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(Wire),
    #[cfg(feature = "rustls")]
    Tls(Box<tokio_rustls::client::TlsStream<Wire>>),
}

/// Calls the method of the current variant.
macro_rules! of_wire {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Tcp($io) => $call,
            #[cfg(unix)]
            Wire::Unix($io) => $call,
            Wire::Custom($io) => $call,
            #[cfg(feature = "rustls")]
            Wire::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Wire {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Custom(io) => Pin::new(io).poll_read(cx, buffer),
            #[cfg(feature = "rustls")]
            Self::Tls(io) => super::tls::poll_read(io, cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_wire!(self, io => Pin::new(io).poll_write(cx, data))
    }

    /// TLS writes several records at once.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_wire!(self, io => Pin::new(io).poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(io) => io.is_write_vectored(),
            // One buffer at a time is enough.
            Self::Custom(_) => false,
            #[cfg(feature = "rustls")]
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_wire!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_wire!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    /// The end of the connection is an error, `UnexpectedEof`: otherwise awc takes it for the end of a body
    /// that is in chunks or has a length, and the missing part would be lost without an error.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            #[cfg(feature = "rustls")]
            Self::Tls(tls) => super::tls::poll_read(tls, cx, buffer),
        };
        if buffer.remaining() == before && before > 0 && matches!(read, Poll::Ready(Ok(()))) {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        read
    }
}

/// The same.
macro_rules! of_stream {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($io) => $call,
            #[cfg(feature = "rustls")]
            Self::Tls($io) => $call,
        }
    };
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_stream!(self, io => Pin::new(io).poll_write(cx, data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

/// awc's client requires this trait of the type, and calls none of its methods.
impl ActixStream for Stream {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::ALL))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::ALL))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::TcpListener};

    use super::*;

    #[actix::test]
    async fn several_records_of_tls_are_written_at_once() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::Tcp(stream);
        assert!(wire.is_write_vectored());
        let records = [IoSlice::new(b"certificate"), IoSlice::new(b"finished")];
        let written =
            poll_fn(|cx| Pin::new(&mut wire).poll_write_vectored(cx, &records)).await.unwrap();
        assert_eq!(written, 19);
    }
}
