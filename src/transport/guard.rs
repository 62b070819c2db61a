//! awc's websocket codec, with a limit that holds.
//!
//! The codec has a limit of its own, but looks at it only when the whole frame has arrived, so a
//! frame that declares 8 GiB is buffered for as long as it comes. The guard reads the declared
//! length first.

use std::io;

use actix_codec::{Decoder, Encoder};
use awc::{
    error::WsProtocolError,
    ws::{Codec, Frame, Message},
};
use bytes::BytesMut;

#[derive(Debug)]
pub(super) struct Guard {
    codec: Codec,
    limit: usize,
}

#[derive(Debug)]
pub(super) enum GuardError {
    /// A frame declares more bytes than the limit.
    TooLarge,
    /// Not a legal frame.
    Illegal(String),
    Io(io::Error),
}

impl From<io::Error> for GuardError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WsProtocolError> for GuardError {
    fn from(error: WsProtocolError) -> Self {
        match error {
            // The codec has no variant of its own for reserved bits.
            WsProtocolError::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Io(error)
            }
            WsProtocolError::Overflow => Self::TooLarge,
            other => Self::Illegal(other.to_string()),
        }
    }
}

impl Guard {
    pub(super) fn new(codec: Codec, limit: usize) -> Self {
        Self { codec: codec.max_size(limit), limit }
    }
}

/// The payload length that a frame's header declares, once enough of it is there.
fn declared(header: &[u8]) -> Option<u64> {
    match *header {
        [_, length, ref rest @ ..] if length & 0x7F == 127 => {
            rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
        }
        [_, length, ref rest @ ..] if length & 0x7F == 126 => {
            rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes).into())
        }
        [_, length, ..] if length & 0x7F < 126 => Some((length & 0x7F).into()),
        _ => None,
    }
}

impl Decoder for Guard {
    type Item = Frame;
    type Error = GuardError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, GuardError> {
        if let Some(length) = declared(source)
            && usize::try_from(length).map_or(true, |length| length > self.limit)
        {
            return Err(GuardError::TooLarge);
        }
        Ok(self.codec.decode(source)?)
    }
}

impl Encoder<Message> for Guard {
    type Error = GuardError;

    fn encode(&mut self, message: Message, target: &mut BytesMut) -> Result<(), GuardError> {
        Ok(self.codec.encode(message, target)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_refused_by_its_header() {
        let mut guard = Guard::new(Codec::new().client_mode(), 1_000);
        let mut small = BytesMut::from(&[0x81, 2, b'h', b'i'][..]);
        assert!(matches!(guard.decode(&mut small), Ok(Some(Frame::Text(text))) if text == "hi"));

        for header in [&[0x81, 126, 0x03, 0xE9][..], &[0x81, 127, 0, 0, 0, 2, 0, 0, 0, 0]] {
            let mut source = BytesMut::from(header);
            assert!(matches!(guard.decode(&mut source), Err(GuardError::TooLarge)), "{header:?}");
        }
        for part in [&[][..], &[0x81], &[0x81, 126, 0x03], &[0x81, 127, 0, 0, 0, 2, 0, 0, 0]] {
            assert!(matches!(guard.decode(&mut BytesMut::from(part)), Ok(None)), "{part:?}");
        }
        let mut reserved = BytesMut::from(&b"HTTP/1.1 400 Bad Request"[..]);
        assert!(matches!(guard.decode(&mut reserved), Err(GuardError::Illegal(_))));
    }
}
