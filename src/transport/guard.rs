//! awc's websocket codec, with limits that hold.
//!
//! The codec has a limit of its own, but looks at it only when the whole frame has arrived, so a
//! frame that declares 8 GiB is buffered for as long as it comes. The guard reads the declared
//! length first.
//!
//! What the codec hands out is a slice of the read buffer, and keeps all of it alive. So a server
//! could pin megabytes with each event of a few bytes that waits for its subscriber. The guard sees
//! to it that no payload keeps more than twice its size: it copies what is small beside its buffer,
//! and where it does not, it moves what is left of the buffer to a new one.

use std::io;

use actix_codec::{Decoder, Encoder};
use actix_http::ws::Item;
use awc::{
    error::WsProtocolError,
    ws::{Codec, Frame, Message},
};
use bytes::{Bytes, BytesMut};

/// A buffer is replaced when this much has been taken out of it, or all that is left.
const WORN: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Guard {
    codec: Codec,
    limit: usize,
    /// How much has been taken out of the read buffer. Its allocation may be larger than it looks
    /// by this much.
    taken: usize,
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
        Self { codec: codec.max_size(limit), limit, taken: 0 }
    }

    /// Makes a payload that was taken out of an allocation of `allocated` bytes at the most keep no
    /// more than it needs. `true` if it keeps that allocation.
    fn detach(payload: &mut Bytes, allocated: usize) -> bool {
        let shares = payload.len() >= allocated / 2;
        if !shares {
            *payload = Bytes::copy_from_slice(payload);
        }
        shares
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
        let before = source.len();
        let allocated = self.taken.saturating_add(source.capacity());
        let Some(mut frame) = self.codec.decode(source)? else { return Ok(None) };
        self.taken = self.taken.saturating_add(before.saturating_sub(source.len()));
        let shares = match &mut frame {
            Frame::Text(payload)
            | Frame::Binary(payload)
            | Frame::Ping(payload)
            | Frame::Pong(payload)
            | Frame::Continuation(
                Item::FirstText(payload)
                | Item::FirstBinary(payload)
                | Item::Continue(payload)
                | Item::Last(payload),
            ) => Self::detach(payload, allocated),
            Frame::Close(_) => false,
        };
        // Each byte that is moved here is paid for by one that was taken.
        if shares || self.taken >= source.len().max(WORN) {
            *source = BytesMut::from(&source[..]);
            self.taken = 0;
        }
        Ok(Some(frame))
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

    fn frame(size: u32) -> Vec<u8> {
        let mut frame = vec![0x82, 127, 0, 0, 0, 0];
        frame.extend(size.to_be_bytes());
        frame.resize(frame.len().saturating_add(usize::try_from(size).unwrap()), b'x');
        frame
    }

    #[test]
    fn no_payload_keeps_more_than_twice_its_size() {
        let mut guard = Guard::new(Codec::new().client_mode(), 1 << 20);
        let sizes = [1 << 20, 30, 2, 1 << 19, 125, 70_000, 70_000, 3, 1 << 20, 1];
        let stream: Vec<u8> = sizes.into_iter().flat_map(frame).collect();
        for step in [100, 8_192, 1_000_000, stream.len()] {
            let mut source = BytesMut::new();
            let mut payloads = Vec::new();
            for part in stream.chunks(step) {
                source.extend_from_slice(part);
                while let Some(frame) = guard.decode(&mut source).unwrap() {
                    let Frame::Binary(payload) = frame else { panic!("{frame:?}") };
                    payloads.push(payload);
                }
            }
            assert!(source.is_empty());
            assert_eq!(payloads.len(), sizes.len());
            for (payload, size) in payloads.into_iter().zip(sizes) {
                let size = usize::try_from(size).unwrap();
                assert_eq!(payload.len(), size);
                let whole = payload.try_into_mut().expect("nobody else shares it");
                assert!(whole.capacity() <= 2 * size + 16, "{} for {size}", whole.capacity());
            }
        }
    }

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
