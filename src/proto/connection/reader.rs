//! Turns websocket messages into packets, once there has been a handshake.

use crate::{
    payload::text::Text,
    proto::{
        engine::{self, EnginePacket, Frame, Protocol},
        packet::{Decoder, Limits, Packet, Parser, ProtocolError, Refused},
    },
};

#[derive(Debug)]
pub(super) struct Reader {
    decoder: Decoder,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Ping,
    Pong,
    Close,
    /// The message means nothing here.
    Nothing,
    /// A packet; `None` while its attachments are still to come.
    Packet(Option<Packet>),
    /// An invalid event or answer from an old server. The clients of these servers carry on after one,
    /// so nobody has noticed what such a server sends.
    Unreadable(ProtocolError),
    /// A message that is not a packet.
    Broken(Refused),
}

impl Reader {
    pub(super) fn new(parser: Parser, limits: Limits) -> Self {
        Self { decoder: Decoder::new(parser, limits) }
    }

    /// Whether attachments are still to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.decoder.is_waiting()
    }

    #[inline]
    pub(super) fn read(&mut self, protocol: Protocol, frame: Frame) -> Result<Input, Refused> {
        Ok(match engine::decode(protocol, frame)? {
            EnginePacket::Message(text) => self.message(protocol, text),
            EnginePacket::Binary(data) => Input::Packet(self.decoder.binary(data)?),
            EnginePacket::Ping => Input::Ping,
            EnginePacket::Pong => Input::Pong,
            EnginePacket::Idle => Input::Nothing,
            EnginePacket::Close => Input::Close,
            EnginePacket::Open(_) => {
                return Err(ProtocolError::Handshake("a second one".to_owned()).into());
            }
        })
    }

    #[inline]
    fn message(&mut self, protocol: Protocol, text: Text) -> Input {
        let is_whole = text.starts_with(['2', '3']);
        match self.decoder.text(text) {
            Ok(packet) => Input::Packet(packet),
            Err(Refused::Protocol(error @ (ProtocolError::Json(_) | ProtocolError::Payload)))
                if is_whole && protocol == Protocol::Eio3 =>
            {
                Input::Unreadable(error)
            }
            Err(refused) => Input::Broken(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_may_send_events_that_cannot_be_read() {
        let mut reader = Reader::new(Parser::Json, Limits { attachments: 1, bytes: 100 });
        let broken = Input::Broken(ProtocolError::Payload.into());
        for (protocol, text, expected) in [
            (Protocol::Eio4, "2", Input::Ping),
            (Protocol::Eio3, "3", Input::Pong),
            (Protocol::Eio3, "1", Input::Close),
            (Protocol::Eio4, "6", Input::Nothing),
            (Protocol::Eio3, "42[]", Input::Unreadable(ProtocolError::Payload)),
            (Protocol::Eio4, "42[]", broken),
            (Protocol::Eio3, "40[]", Input::Broken(ProtocolError::Payload.into())),
            (Protocol::Eio4, "451-[\"e\"]", Input::Packet(None)),
        ] {
            let frame = Frame::Text(text.into());
            assert_eq!(reader.read(protocol, frame), Ok(expected), "{text}");
        }
        assert!(reader.is_waiting());
        let handshake = Frame::Text("0{}".into());
        assert!(reader.read(Protocol::Eio4, handshake).is_err(), "a second one");
    }
}
