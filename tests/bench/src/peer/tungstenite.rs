//! tokio-tungstenite's websocket.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::bare::Wire;
use crate::{packets::Frame, spec::Road};

pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Wire for Socket {
    async fn dial(port: u16, _: Road) -> Self {
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
        Self(connect_async(url).await.expect("the stub server takes all").0)
    }

    async fn feed(&mut self, frame: Frame<String>) {
        let message = match frame {
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Binary(data) => Message::Binary(data),
        };
        self.0.feed(message).await.expect("the server reads");
    }

    async fn flush(&mut self) {
        self.0.flush().await.expect("the server reads");
    }

    async fn next(&mut self) -> Frame<Bytes> {
        match self.0.next().await.expect("the server stays").expect("a message") {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(data) => Frame::Binary(data),
            other => panic!("the stub server sends no {other:?}"),
        }
    }
}
