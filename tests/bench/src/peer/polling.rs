//! HTTP long-polling by hand on awc: one request to send, one to receive.

use std::collections::VecDeque;

use awc::Client;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes};

use super::bare::Wire;
use crate::{packets::Frame, spec::Road};

/// The separator between the packets of a body.
const SEPARATOR: u8 = 0x1E;
/// How many packets go with one request: some servers accept no more, so clients keep to it.
const MAX_PACKETS: usize = 16;

pub struct Socket {
    client: Client,
    url: String,
    /// What the next request sends.
    body: Vec<u8>,
    packets: usize,
    came: VecDeque<Frame<Bytes>>,
}

impl Socket {
    async fn poll(&mut self) {
        let answer = self.client.get(&self.url).send().await;
        let body = answer.expect("the server stays").body().limit(usize::MAX).await;
        let mut body = body.expect("a body");
        while !body.is_empty() {
            let end = body.iter().position(|byte| *byte == SEPARATOR).unwrap_or(body.len());
            let mut packet = body.split_to(end);
            body.advance(usize::from(!body.is_empty()));
            self.came.push_back(if packet.first() == Some(&b'b') {
                packet.advance(1);
                Frame::Binary(STANDARD.decode(packet).expect("base64").into())
            } else {
                // Any code that wants a string has to do this check.
                str::from_utf8(&packet).expect("text");
                Frame::Text(packet)
            });
        }
    }
}

impl Wire for Socket {
    async fn dial(port: u16, _: Road) -> Self {
        let mut url = format!("http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling");
        let client = Client::builder().disable_timeout().finish();
        let answer = client.get(&url).send().await.expect("the stub server takes all");
        let open = { answer }.body().await.expect("a body");
        let handshake: serde_json::Value = serde_json::from_slice(&open[1..]).expect("JSON");
        url.push_str("&sid=");
        url.push_str(handshake["sid"].as_str().expect("a session id"));
        Self {
            client,
            url,
            body: Vec::new(),
            packets: 0,
            came: VecDeque::from([Frame::Text(open)]),
        }
    }

    async fn feed(&mut self, frame: Frame<String>) {
        if self.packets == MAX_PACKETS {
            self.flush().await;
        }
        self.packets += 1;
        if !self.body.is_empty() {
            self.body.push(SEPARATOR);
        }
        match frame {
            Frame::Text(text) => self.body.extend_from_slice(text.as_bytes()),
            Frame::Binary(data) => {
                let mut text = String::from("b");
                STANDARD.encode_string(data, &mut text);
                self.body.extend_from_slice(text.as_bytes());
            }
        }
    }

    async fn flush(&mut self) {
        self.packets = 0;
        let body = std::mem::take(&mut self.body);
        if !body.is_empty() {
            let request = self.client.post(&self.url).content_type("text/plain;charset=UTF-8");
            let answer = request.send_body(body).await;
            let answer = answer.expect("the server stays").body().await.expect("a body");
            assert_eq!(answer, "ok", "the server takes it");
        }
    }

    async fn next(&mut self) -> Frame<Bytes> {
        loop {
            if let Some(frame) = self.came.pop_front() {
                return frame;
            }
            self.poll().await;
        }
    }
}
