//! Random inputs for the parts that read messages of a server. CONTRIBUTING.md says how to run it for longer.

mod arguments;
mod decoders;
mod differential;

#[path = "../../tests/support/mutate.rs"]
#[allow(unreachable_pub, clippy::as_conversions, reason = "shared with the integration tests")]
pub(crate) mod mutate;

use bytes::Bytes;

use self::mutate::Message;
use crate::proto::{
    engine::{self, EnginePacket, Frame, Protocol},
    packet::{Decoder, Limits, Packet, Parser, Refused},
};

const LIMITS: Limits = Limits { attachments: 10, bytes: 1 << 20 };

impl Message {
    fn frame(&self) -> Frame {
        match self {
            Self::Text(text) => Frame::Text(text.as_str().into()),
            Self::Binary(data) => Frame::Binary(Bytes::copy_from_slice(data)),
        }
    }
}

/// Reads one message.
fn read(
    protocol: Protocol,
    decoder: &mut Decoder,
    message: &Message,
) -> Result<Option<Packet>, Refused> {
    match engine::decode(protocol, message.frame())? {
        EnginePacket::Message(text) => decoder.text(text),
        EnginePacket::Binary(data) => decoder.binary(data),
        EnginePacket::Open(_)
        | EnginePacket::Close
        | EnginePacket::Ping
        | EnginePacket::Pong
        | EnginePacket::Idle => Ok(None),
    }
}

/// The packets of these messages, up to the first message that is refused, and why it is refused.
fn read_all(
    protocol: Protocol,
    parser: Parser,
    messages: &[Message],
) -> (Vec<Packet>, Option<(usize, Refused)>) {
    let mut decoder = Decoder::new(parser, LIMITS);
    let mut packets = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        match read(protocol, &mut decoder, message) {
            Ok(packet) => packets.extend(packet),
            Err(refused) => return (packets, Some((n, refused))),
        }
    }
    (packets, None)
}
