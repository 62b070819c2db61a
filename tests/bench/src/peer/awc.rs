//! awc's websocket.

use awc::{BoxedSocket, Client, Connector, ws};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};

use super::bare::{Frame, Wire};

thread_local! {
    /// One for all connections, or each would pay for a connector of its own; without the limit on
    /// how many there are at a time.
    static CLIENT: Client = Client::builder().connector(Connector::new().limit(0)).finish();
}

pub struct Socket(actix_codec::Framed<BoxedSocket, ws::Codec>);

impl Socket {
    pub fn into_framed(self) -> actix_codec::Framed<BoxedSocket, ws::Codec> {
        self.0
    }
}

impl Wire for Socket {
    async fn dial(port: u16) -> Self {
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
