//! The body of one POST: as many packets as a server accepts at once.

use std::mem;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::proto::engine::{Message, Protocol};

/// The most packets in a POST. Some servers accept a POST with more, and then drop all packets.
const MAX_PACKETS: usize = 16;

/// The most bytes in a POST if the server does not announce a limit: the limit of official servers.
const DEFAULT_BYTES: u64 = 1_000_000;

/// Between two packets of revision 4.
pub(super) const SEPARATOR: u8 = 0x1E;
/// After the length of a packet of revision 3.
pub(super) const LENGTH_END: u8 = 0xFF;

/// A body to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
}

/// Packets that wait for the next POST. In revision 4, they are text with separators. For revision 3
/// this is the binary form, which all servers of that revision read in the same way.
#[derive(Debug)]
pub(super) struct Batch {
    protocol: Protocol,
    max_bytes: usize,
    body: Vec<u8>,
    packets: usize,
    /// A packet that did not fit, with which the next body begins.
    carried: Option<Vec<u8>>,
}

impl Batch {
    pub(super) fn new(protocol: Protocol, max_bytes: Option<u64>) -> Self {
        let max_bytes = usize::try_from(max_bytes.unwrap_or(DEFAULT_BYTES)).unwrap_or(usize::MAX);
        Self { protocol, max_bytes, body: Vec::new(), packets: 0, carried: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Whether a packet did not fit and waits.
    pub(super) fn has_carried(&self) -> bool {
        self.carried.is_some()
    }

    /// Whether another packet may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.carried.is_none() && self.packets < MAX_PACKETS
    }

    /// Adds a packet. The first one always fits; a later one may be carried over to the next body.
    pub(super) fn push(&mut self, message: Message<'_>) {
        let begin = self.body.len();
        if self.packets > 0 && self.protocol == Protocol::Eio4 {
            self.body.push(SEPARATOR);
        }
        let packet = self.body.len();
        self.encode(message);
        let fits = self.packets == 0 || self.body.len() <= self.max_bytes;
        if fits {
            self.packets = self.packets.saturating_add(1);
        } else {
            self.carried = Some(self.body.split_off(packet));
            self.body.truncate(begin);
        }
    }

    fn encode(&mut self, message: Message<'_>) {
        match (self.protocol, message) {
            (Protocol::Eio4, Message::Text(first, second)) => {
                self.body.extend_from_slice(first.as_bytes());
                self.body.extend_from_slice(second.as_bytes());
            }
            (Protocol::Eio4, Message::Binary(first, second)) => {
                let base64 = STANDARD.encode([first, second].concat());
                self.body.push(b'b');
                self.body.extend_from_slice(base64.as_bytes());
            }
            (Protocol::Eio3, Message::Text(first, second)) => {
                self.put(0, first.as_bytes(), second.as_bytes());
            }
            (Protocol::Eio3, Message::Binary(first, second)) => self.put(1, first, second),
            (_, Message::Barrier(_)) => {}
        }
    }

    /// A packet of revision 3: whether it is binary, its length as digits, and its two parts.
    fn put(&mut self, kind: u8, first: &[u8], second: &[u8]) {
        let length = first.len().saturating_add(second.len()).to_string();
        self.body.push(kind);
        self.body.extend(length.bytes().map(|digit| digit.wrapping_sub(b'0')));
        self.body.push(LENGTH_END);
        self.body.extend_from_slice(first);
        self.body.extend_from_slice(second);
    }

    /// Takes the body out, unless it is empty.
    pub(super) fn take(&mut self) -> Option<Post> {
        if self.is_empty() {
            return None;
        }
        let next = self.carried.take();
        self.packets = usize::from(next.is_some());
        let body = mem::replace(&mut self.body, next.unwrap_or_default());
        let content_type = match self.protocol {
            Protocol::Eio4 => "text/plain;charset=UTF-8",
            Protocol::Eio3 => "application/octet-stream",
        };
        Some(Post { body, content_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(batch: &mut Batch) -> Vec<String> {
        let take = || batch.take().map(|post| post.body.escape_ascii().to_string());
        std::iter::from_fn(take).collect()
    }

    #[test]
    fn packets_have_the_form_of_the_revision() {
        let packets = [
            Message::Text("4", "2[\"é\"]"),
            Message::binary(Protocol::Eio4, &[1, 2, 3, 4]),
            Message::Text("3", ""),
        ];
        let mut batch = Batch::new(Protocol::Eio4, None);
        for packet in packets {
            batch.push(packet);
        }
        assert_eq!(bodies(&mut batch), [r#"42[\"\xc3\xa9\"]\x1ebAQIDBA==\x1e3"#]);

        let mut batch = Batch::new(Protocol::Eio3, None);
        batch.push(Message::Text("4", "€"));
        batch.push(Message::binary(Protocol::Eio3, &[1, 2, 3, 4]));
        batch.push(Message::Text("4", "0123456789"));
        let expected =
            r"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04\x00\x01\x01\xff40123456789";
        assert_eq!(bodies(&mut batch), [expected]);
    }

    #[test]
    fn a_body_is_as_large_as_the_server_takes_but_one_packet_always_goes() {
        let mut batch = Batch::new(Protocol::Eio4, Some(9));
        batch.push(Message::Text("4", "123"));
        batch.push(Message::Text("4", "123"));
        assert!(batch.has_room() && !batch.has_carried(), "9 bytes are not more than 9");
        batch.push(Message::Text("4", ""));
        assert!(!batch.has_room() && batch.has_carried(), "one that is carried over is enough");
        assert_eq!(bodies(&mut batch), ["4123\\x1e4123", "4"]);
        batch.push(Message::Text("4", "1234567890"));
        batch.push(Message::Text("4", "1234567890"));
        assert_eq!(bodies(&mut batch), ["41234567890", "41234567890"]);
        assert!(batch.is_empty() && batch.has_room());
    }

    #[test]
    fn sixteen_packets_go_at_once() {
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            let mut batch = Batch::new(protocol, None);
            let rooms = std::iter::repeat_with(|| {
                batch.push(Message::Text("4", ""));
                batch.has_room()
            });
            assert_eq!(rooms.take_while(|has_room| *has_room).count(), 15);
        }
    }
}
