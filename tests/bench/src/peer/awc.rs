//! awc's websocket.

use awc::{BoxedSocket, Client, Connector, ws};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bare::Wire;
use crate::{packets::Frame, spec::Road, tls};

thread_local! {
    /// One for all connections, since otherwise each would pay for a connector of its own; without the limit on
    /// simultaneous connections.
    static CLIENT: Client = Client::builder().connector(Connector::new().limit(0)).finish();
}

pub struct Socket(actix_codec::Framed<BoxedSocket, ws::Codec>);

impl Socket {
    pub fn into_framed(self) -> actix_codec::Framed<BoxedSocket, ws::Codec> {
        self.0
    }
}

impl Wire for Socket {
    async fn dial(port: u16, road: Road) -> Self {
        if road == Road::Tls {
            return Self(over_tls(port).await);
        }
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
        let request = CLIENT.with(|client| client.ws(url)).max_frame_size(1024 * 1024);
        let (_, framed) = request.connect().await.expect("the stub server takes all");
        Self(framed)
    }

    async fn feed(&mut self, frame: Frame<String>) {
        let message = match frame {
            Frame::Text(text) => ws::Message::Text(text.into()),
            Frame::Binary(data) => ws::Message::Binary(data),
        };
        self.0.feed(message).await.expect("the server reads");
    }

    async fn flush(&mut self) {
        SinkExt::<ws::Message>::flush(&mut self.0).await.expect("the server reads");
    }

    async fn next(&mut self) -> Frame<Bytes> {
        match self.0.next().await.expect("the server stays").expect("a frame") {
            ws::Frame::Text(text) => Frame::Text(text),
            ws::Frame::Binary(data) => Frame::Binary(data),
            other => panic!("the stub server sends no {other:?}"),
        }
    }
}

/// awc's connector has no TLS here, so the request is written by hand; the rest is awc's own.
async fn over_tls(port: u16) -> actix_codec::Framed<BoxedSocket, ws::Codec> {
    let mut stream = tls::connect(port).await;
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost:{port}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    // Not a byte more, since frames follow.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the stub server takes all"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "the stub server takes all");
    let codec = ws::Codec::new().max_size(1024 * 1024).client_mode();
    actix_codec::Framed::new(Box::new(stream), codec)
}
