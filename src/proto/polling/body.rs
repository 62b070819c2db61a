//! The body of the response to a GET, read packet by packet while it is still coming in.
//!
//! A server puts everything that waits into one body, without a limit. So a body is never held as a whole,
//! but one packet, and one piece of the body. A packet that is kept holds nothing of the others, except for small
//! texts, which [share a little](SmallTexts).

use std::mem;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use memchr::memchr;

use super::batch::{LENGTH_END, SEPARATOR};
use crate::proto::{
    ProtocolError,
    engine::{Frame, Protocol},
    packet::Refused,
    small_texts::SmallTexts,
};

/// The most digits in the length of a packet.
const MAX_DIGITS: usize = 10;

/// The encoding of packets in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Revision 4: text with separators.
    Separated,
    /// Revision 3: `length:text`, the length in units of UTF-16.
    Counted,
    /// Revision 3, if any packet is binary: type, length in bytes, data.
    Binary,
}

impl Form {
    /// The first byte of the first body also shows the revision: a body of revision 4 begins with the type
    /// of the open packet, one of revision 3 with a length, which does not begin with a zero.
    fn of(protocol: Option<Protocol>, first: u8) -> Self {
        match (protocol, first) {
            (Some(Protocol::Eio3) | None, 0 | 1) => Self::Binary,
            (Some(Protocol::Eio3), _) | (None, b'1'..=b'9') => Self::Counted,
            (Some(Protocol::Eio4) | None, _) => Self::Separated,
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Separated => Protocol::Eio4,
            Self::Counted | Self::Binary => Protocol::Eio3,
        }
    }
}

#[derive(Debug)]
pub(super) struct Body {
    protocol: Option<Protocol>,
    form: Option<Form>,
    /// The largest packet, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// Where in `buffer` the packet at the front begins.
    at: usize,
    small: SmallTexts,
    /// How much of the packet at the front has been scanned: bytes, and units of UTF-16.
    scanned: (usize, usize),
    /// Whether another packet must follow.
    is_behind_separator: bool,
    is_complete: bool,
}

impl Body {
    /// `protocol`: the revision, if it is known.
    pub(super) fn new(protocol: Option<Protocol>, limit: usize) -> Self {
        Self {
            protocol,
            form: None,
            limit,
            buffer: Vec::new(),
            at: 0,
            small: SmallTexts::default(),
            scanned: (0, 0),
            is_behind_separator: false,
            is_complete: false,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        // Bytes that were taken out make room for the next ones.
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(chunk);
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// The body is complete.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The revision of the body, once its first byte has come.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.form.map(Form::protocol).or(self.protocol)
    }

    /// Takes out the next packet, if it is complete.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Refused> {
        let form = match (self.form, self.unread().first()) {
            (Some(form), _) => form,
            (None, Some(first)) => *self.form.insert(Form::of(self.protocol, *first)),
            (None, None) if self.is_complete => return Err(broken("it is empty")),
            (None, None) => return Ok(None),
        };
        loop {
            let packet = match form {
                Form::Separated => self.separated()?,
                Form::Counted => self.counted()?,
                Form::Binary => self.binary()?,
            };
            match packet {
                // Some servers send an empty packet when there is nothing to send.
                Some(Frame::Text(text)) if text.is_empty() && form != Form::Separated => {}
                Some(frame) => return Ok(Some(frame)),
                None if self.is_complete && !self.unread().is_empty() => {
                    return Err(broken("it ends in the middle of a packet"));
                }
                None => return Ok(None),
            }
        }
    }

    fn separated(&mut self) -> Result<Option<Frame>, Refused> {
        // Base64 is longer than the data that it encodes.
        let packets = self.unread();
        let limit = match packets.first() {
            Some(b'b') => self.limit.div_ceil(3).saturating_mul(4).saturating_add(1),
            _ => self.limit,
        };
        let (from, _) = self.scanned;
        let end = memchr(SEPARATOR, packets.get(from..).unwrap_or_default())
            .map(|at| from.saturating_add(at));
        let length = end.unwrap_or(packets.len());
        if length > limit {
            return Err(Refused::TooLarge { limit: self.limit });
        }
        if end.is_none() && self.is_complete && length == 0 && self.is_behind_separator {
            return Err(broken("it ends with a separator"));
        }
        if end.is_none() && (!self.is_complete || length == 0) {
            self.scanned.0 = length;
            return Ok(None);
        }
        let packet = self.take_text(0, length)?;
        self.at = self.at.saturating_add(usize::from(end.is_some()));
        self.is_behind_separator = end.is_some();
        Ok(Some(packet))
    }

    fn counted(&mut self) -> Result<Option<Frame>, Refused> {
        let Some((length, begin)) =
            self.length(0, b':', |byte| byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0')))?
        else {
            return Ok(None);
        };
        if length > self.limit {
            return Err(Refused::TooLarge { limit: self.limit });
        }
        let (mut bytes, mut units) = self.scanned;
        while units < length {
            let Some(first) = self.unread().get(begin.saturating_add(bytes)) else { break };
            let (width, wide) = match first {
                0..0x80 => (1, 1),
                0x80..0xC0 => return Err(ProtocolError::Utf8.into()),
                0xC0..0xE0 => (2, 1),
                0xE0..0xF0 => (3, 1),
                0xF0.. => (4, 2),
            };
            let after = bytes.saturating_add(width);
            if begin.saturating_add(after) > self.unread().len() {
                break;
            }
            (bytes, units) = (after, units.saturating_add(wide));
        }
        if units > length {
            return Err(broken("the length of a packet ends in the middle of a character"));
        }
        if bytes > self.limit {
            return Err(Refused::TooLarge { limit: self.limit });
        }
        if units < length {
            self.scanned = (bytes, units);
            return Ok(None);
        }
        self.take_text(begin, bytes).map(Some)
    }

    fn binary(&mut self) -> Result<Option<Frame>, Refused> {
        let is_binary = match self.unread().first() {
            None => return Ok(None),
            Some(0) => false,
            Some(1) => true,
            Some(_) => return Err(broken("a packet is neither text nor binary")),
        };
        let digit = |byte: u8| (byte < 10).then_some(byte);
        let Some((length, begin)) = self.length(1, LENGTH_END, digit)? else { return Ok(None) };
        if length > self.limit {
            return Err(Refused::TooLarge { limit: self.limit });
        }
        if self.unread().len().saturating_sub(begin) < length {
            return Ok(None);
        }
        if is_binary {
            let packet = self.take(begin, length, |_, data, _| Bytes::copy_from_slice(data));
            Ok(Some(Frame::Binary(packet)))
        } else {
            self.take_text(begin, length).map(Some)
        }
    }

    /// The length of the packet at the front, and where the packet begins.
    fn length(
        &self,
        from: usize,
        end: u8,
        digit: impl Fn(u8) -> Option<u8>,
    ) -> Result<Option<(usize, usize)>, Refused> {
        let mut length = 0_usize;
        let mut digits = 0_usize;
        for &byte in self.unread().iter().skip(from) {
            digits = digits.saturating_add(1);
            if byte == end && digits > 1 {
                return Ok(Some((length, from.saturating_add(digits))));
            }
            match digit(byte) {
                Some(digit) if digits <= MAX_DIGITS => {
                    length = length.saturating_mul(10).saturating_add(digit.into());
                }
                _ => return Err(broken("the length of a packet is not a number")),
            }
        }
        Ok(None)
    }

    fn take_text(&mut self, begin: usize, length: usize) -> Result<Frame, Refused> {
        let packet = self.take(begin, length, SmallTexts::copy);
        ByteString::try_from(packet).map(Frame::Text).map_err(|_| ProtocolError::Utf8.into())
    }

    /// Takes this packet out, and the length before it.
    fn take(
        &mut self,
        begin: usize,
        length: usize,
        copy: impl FnOnce(&mut SmallTexts, &[u8], usize) -> Bytes,
    ) -> Bytes {
        self.scanned = (0, 0);
        let begin = self.at.saturating_add(begin);
        let end = begin.saturating_add(length);
        let packet = self.buffer.get(begin..end).unwrap_or_default();
        let rest = self.buffer.get(end..).unwrap_or_default();
        if length < self.buffer.capacity() / 2 {
            self.at = end;
            return copy(&mut self.small, packet, rest.len());
        }
        // It is most of the memory, and keeps it. So a large packet is not there twice.
        let rest = rest.to_vec();
        let mut buffer = mem::replace(&mut self.buffer, rest);
        self.at = 0;
        buffer.truncate(end);
        let mut packet = Bytes::from(buffer);
        packet.advance(begin);
        packet
    }
}

fn broken(error: &'static str) -> Refused {
    ProtocolError::Polling(error).into()
}

#[cfg(test)]
mod tests {
    use proptest::{
        arbitrary::any,
        collection::vec,
        prop_assert_eq, prop_oneof, proptest,
        strategy::{Just, Strategy},
    };

    use super::*;
    use crate::proto::{
        engine::{self, EnginePacket, Message},
        polling::batch::Batch,
    };

    const LIMIT: usize = 100;

    /// Reads a body that comes in pieces of this size.
    fn read(
        protocol: Option<Protocol>,
        body: &[u8],
        piece: usize,
    ) -> (Vec<Frame>, Result<Option<Protocol>, Refused>) {
        let mut reader = Body::new(protocol, LIMIT);
        let mut frames = Vec::new();
        let mut pieces = body.chunks(piece);
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Err(refused) => return (frames, Err(refused)),
                Ok(None) => match pieces.next() {
                    Some(piece) => reader.push(piece),
                    None if reader.is_complete => return (frames, Ok(reader.protocol())),
                    None => reader.complete(),
                },
            }
        }
    }

    fn frames(texts: &[&'static str]) -> Vec<Frame> {
        texts.iter().map(|text| Frame::Text(ByteString::from_static(text))).collect()
    }

    #[test]
    fn the_first_body_tells_the_revision() {
        for piece in [1, 2, 3, 100] {
            for (body, protocol, expected) in [
                (&b"0{}"[..], Protocol::Eio4, &["0{}"][..]),
                (b"0{}\x1e40", Protocol::Eio4, &["0{}", "40"]),
                (b"3:0{}2:40", Protocol::Eio3, &["0{}", "40"]),
                ("3:4😀2:4€".as_bytes(), Protocol::Eio3, &["4😀", "4€"]),
                (b"\x00\x03\xff0{}\x00\x02\xff40", Protocol::Eio3, &["0{}", "40"]),
            ] {
                assert_eq!(read(None, body, piece), (frames(expected), Ok(Some(protocol))));
            }
        }
    }

    #[test]
    fn a_body_that_is_none_is_refused_behind_its_good_packets() {
        let (eio3, eio4) = (Some(Protocol::Eio3), Some(Protocol::Eio4));
        for piece in [1, 2, 100] {
            for (protocol, body, good) in [
                (None, &b""[..], 0),
                (eio4, b"", 0),
                (eio4, b"2\x1e", 1),
                (eio4, b"2\x1e\xff", 1),
                (eio3, b"1:2x", 1),
                (eio3, b"1:2:", 1),
                (eio3, b"1:25:4", 1),
                (eio3, b"1:212345678901:4", 1),
                (eio3, "1:21:😀".as_bytes(), 1),
                (eio3, b"1:21:\x80", 1),
                (eio3, b"\x00\x01\xff2\x02\x01\xff4", 1),
                (eio3, b"\x00\x01\xff2\x00\x0a\xff4", 1),
                (eio3, b"\x00\x01\xff2\x00\x0a\xff4123456789", 1),
                (eio3, b"\x00\x01\xff2\x00\xff4", 1),
                (eio3, b"\x00\x01\xff2\x00\x05\xff4", 1),
            ] {
                let (frames, outcome) = read(protocol, body, piece);
                assert_eq!(frames.len(), good, "{}", body.escape_ascii());
                let is_refused = matches!(outcome, Err(Refused::Protocol(_)));
                assert!(is_refused, "{}: {outcome:?}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn an_old_server_may_send_empty_packets_which_say_nothing() {
        for piece in [1, 2, 100] {
            for body in [&b"0:2:400:"[..], b"\x00\x00\xff\x00\x02\xff40\x00\x00\xff"] {
                let eio3 = Some(Protocol::Eio3);
                assert_eq!(read(eio3, body, piece), (frames(&["40"]), Ok(eio3)));
            }
            let eio4 = Some(Protocol::Eio4);
            assert_eq!(read(eio4, b"\x1e2", piece), (frames(&["", "2"]), Ok(eio4)));
        }
    }

    #[test]
    fn a_packet_has_a_limit_but_a_body_has_none() {
        let packet = |size: usize| "4".repeat(size);
        let too_large = || Err(Refused::TooLarge { limit: LIMIT });
        for (protocol, good, bad) in [
            (Protocol::Eio4, packet(100), packet(101)),
            (Protocol::Eio3, format!("100:{}", packet(100)), format!("101:{}", packet(101))),
        ] {
            let (frames, outcome) = read(Some(protocol), good.as_bytes(), 7);
            assert_eq!((frames.len(), outcome), (1, Ok(Some(protocol))));
            // A packet is too large by its length, before it has come.
            let (frames, outcome) = read(Some(protocol), bad.as_bytes(), 7);
            assert_eq!((frames.len(), outcome), (0, too_large()));
        }
        let good = [&b"\x00\x01\x00\x00\xff"[..], packet(100).as_bytes()].concat();
        assert_eq!(read(Some(Protocol::Eio3), &good, 7).0.len(), 1);
        let declared = b"\x01\x01\x00\x01\xff";
        assert_eq!(read(Some(Protocol::Eio3), declared, 9), (Vec::new(), too_large()));
        // A hundred bytes in base64.
        let data = format!("b{}", "A".repeat(136));
        assert_eq!(read(Some(Protocol::Eio4), data.as_bytes(), 9).0.len(), 1);
        let data = format!("b{}", "A".repeat(137));
        assert_eq!(read(Some(Protocol::Eio4), data.as_bytes(), 9), (Vec::new(), too_large()));
        let many = "2\x1e".repeat(1_000) + "2";
        assert_eq!(read(Some(Protocol::Eio4), many.as_bytes(), 100).0.len(), 1_001);
    }

    /// Frames that are kept, from a body that came in pieces of this size, and the memory that they hold.
    fn kept(body: &[u8], piece: usize, keep: impl Fn(&Frame) -> bool) -> (Vec<Frame>, i64) {
        let mut kept = Vec::with_capacity(1_000);
        let used = allocation_counter::measure(|| {
            let mut reader = Body::new(Some(Protocol::Eio4), 1 << 20);
            for piece in body.chunks(piece) {
                reader.push(piece);
                kept.extend(std::iter::from_fn(|| reader.next().unwrap()).filter(&keep));
            }
            reader.complete();
            kept.extend(std::iter::from_fn(|| reader.next().unwrap()).filter(&keep));
        });
        (kept, used.bytes_current)
    }

    #[test]
    fn a_packet_that_is_kept_holds_nothing_of_large_ones_and_little_of_small_ones() {
        let large = "4".repeat(500_000);
        let body = format!("{large}\x1esmall\x1e{}", "4[1]\x1e".repeat(1_000) + &large);
        for piece in [1 << 10, 64 << 10, 4 << 20] {
            let length = |frame: &Frame| match frame {
                Frame::Text(text) => text.len(),
                Frame::Binary(data) => data.len(),
            };
            let (small, bytes) = kept(body.as_bytes(), piece, |frame| length(frame) == 5);
            assert_eq!(small.len(), 1);
            assert!(bytes < 2_000, "{bytes} bytes in pieces of {piece}");
            let (large, bytes) = kept(body.as_bytes(), piece, |frame| length(frame) > 5);
            assert_eq!(large.len(), 2);
            assert!(bytes < 2_200_000, "{bytes} bytes in pieces of {piece}");
        }
    }

    fn packets() -> impl Strategy<Value = Vec<Result<String, Vec<u8>>>> {
        let text = "[a-z€😀\"]{0,20}".prop_map(Ok);
        let data = vec(any::<u8>(), 0..20).prop_map(Err);
        vec(prop_oneof![text, data], 1..10)
    }

    proptest! {
        /// Whatever is batched can be read again, in whatever pieces it comes.
        #[test]
        fn a_body_is_read_as_it_was_written(
            packets in packets(),
            protocol in prop_oneof![Just(Protocol::Eio3), Just(Protocol::Eio4)],
            piece in 1_usize..40,
        ) {
            let mut batch = Batch::new(protocol, None);
            for packet in &packets {
                let message = match packet {
                    Ok(text) => Message::Text("4", text),
                    Err(data) => Message::binary(protocol, data),
                };
                batch.push(message);
            }
            let body = batch.take().map(|post| post.body).unwrap_or_default();
            let (frames, outcome) = read(Some(protocol), &body, piece);
            prop_assert_eq!(outcome, Ok(Some(protocol)));
            let read = frames.into_iter().map(|frame| {
                match engine::decode(protocol, frame) {
                    Ok(EnginePacket::Message(text)) => Ok(text.to_string()),
                    Ok(EnginePacket::Binary(data)) => Err(data.to_vec()),
                    other => panic!("{other:?}"),
                }
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), packets);
        }

        #[test]
        fn no_body_makes_it_panic(body in vec(any::<u8>(), 0..60), piece in 1_usize..9, known in 0_usize..3) {
            let protocol = [None, Some(Protocol::Eio3), Some(Protocol::Eio4)][known];
            let whole = read(protocol, &body, 60);
            prop_assert_eq!(read(protocol, &body, piece), whole, "the same in pieces");
        }
    }
}
