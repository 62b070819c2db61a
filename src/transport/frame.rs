//! Frames of the websocket (RFC 6455, section 5), as a client reads and writes them.
//!
//! awc has a codec for frames. It checks the declared length of a frame only when the whole frame has
//! arrived, and copies through buffers of 8 KiB in both directions. Here a frame is checked by its header,
//! and masked in the buffer that it is sent from.

use std::hash::{BuildHasher, RandomState};

use bytes::{BufMut, BytesMut};

/// The longest header, with its mask.
const HEADER: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;
/// Data is copied and masked in pieces of this size, so that it is masked while in the processor's cache.
const BLOCK: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn of(opcode: u8) -> Option<Self> {
        Some(match opcode {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn opcode(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Whether it is the last fragment of its message.
    pub(super) is_last: bool,
    /// The length of the payload, in bytes.
    pub(super) length: u64,
    /// The length of the header itself, in bytes.
    pub(super) size: usize,
}

impl Header {
    /// The header at the beginning of `bytes`: `None` while it is incomplete, an error if it is illegal.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("reserved bits are set in a frame");
        }
        if second & 0x80 != 0 {
            return Err("a frame of the server is masked");
        }
        let kind = Kind::of(first & 0x0F).ok_or("a frame of an unknown kind")?;
        let (length, size) = match second {
            127 => match rest.first_chunk() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 10),
                None => return Ok(None),
            },
            126 => match rest.first_chunk() {
                Some(bytes) => (u16::from_be_bytes(*bytes).into(), 4),
                None => return Ok(None),
            },
            length => (length.into(), 2),
        };
        let is_last = first & 0x80 != 0;
        if kind.is_control() && (!is_last || length > MAX_CONTROL) {
            return Err("a control frame is too long, or in fragments");
        }
        Ok(Some(Self { kind, is_last, length, size }))
    }
}

/// Appends a frame whose payload consists of `parts`.
pub(super) fn put(target: &mut BytesMut, kind: Kind, parts: &[&[u8]], mask: [u8; 4]) {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    target.reserve(length.saturating_add(HEADER));
    put_header(target, kind, length, mask);
    let mut plain = target.len();
    for block in parts.iter().flat_map(|part| part.chunks(BLOCK)) {
        target.extend_from_slice(block);
        let pending = target.len().saturating_sub(plain);
        if pending >= BLOCK {
            // The rest of a part that is not a whole word is masked together with the next part.
            let end = plain.saturating_add(pending & !7);
            apply(mask, target.get_mut(plain..end).unwrap_or_default());
            plain = end;
        }
    }
    apply(mask, target.get_mut(plain..).unwrap_or_default());
}

fn put_header(target: &mut BytesMut, kind: Kind, length: usize, [a, b, c, d]: [u8; 4]) {
    let first = 0x80 | kind.opcode();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => target.put_slice(&[first, 0x80 | short, a, b, c, d]),
        (_, Ok(medium)) => {
            let [high, low] = medium.to_be_bytes();
            target.put_slice(&[first, 0xFE, high, low, a, b, c, d]);
        }
        _ => {
            target.put_slice(&[first, 0xFF]);
            target.put_u64(u64::try_from(length).unwrap_or(u64::MAX));
            target.put_slice(&[a, b, c, d]);
        }
    }
}

/// Masks `data` in words of the processor.
fn apply(mask: [u8; 4], data: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= mask;
    }
}

/// Makes masks that cannot be guessed: a keyed hash of a counter.
///
/// Masking keeps an application from choosing the bytes on the wire, which a proxy might take for another
/// protocol (RFC 6455, section 10.3).
#[derive(Debug, Default)]
pub(super) struct Masks {
    keys: RandomState,
    count: u64,
    /// The second half of the last hash: one hash makes two masks.
    second: Option<[u8; 4]>,
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if let Some(mask) = self.second.take() {
            return mask;
        }
        self.count = self.count.wrapping_add(1);
        let [a, b, c, d, second @ ..] = self.keys.hash_one(self.count).to_ne_bytes();
        self.second = Some(second);
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Option<(Kind, bool, u64, usize)> {
        Header::parse(bytes)
            .unwrap()
            .map(|Header { kind, is_last, length, size }| (kind, is_last, length, size))
    }

    #[test]
    fn a_header_is_read_when_all_of_it_is_there() {
        assert_eq!(parsed(&[0x81, 2]), Some((Kind::Text, true, 2, 2)));
        assert_eq!(parsed(&[0x01, 125, b'x']), Some((Kind::Text, false, 125, 2)));
        assert_eq!(parsed(&[0x82, 126, 1, 0]), Some((Kind::Binary, true, 256, 4)));
        let giant = [0x80, 127, 0xFF, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(parsed(&giant), Some((Kind::Continuation, true, 0xFF00_0000_0000_0001, 10)));
        for part in [&[][..], &[0x81], &[0x81, 126, 0x03], &[0x81, 127, 0, 0, 0, 2, 0, 0, 0]] {
            assert_eq!(parsed(part), None, "{part:?}");
        }
    }

    #[test]
    fn illegal_headers_are_refused() {
        for header in [
            *b"HT",
            [0xC1, 1],
            [0xA1, 1],
            [0x91, 1],
            [0x83, 1],
            [0x8B, 0],
            [0x81, 0x81],
            [0x09, 1],
            [0x08, 0],
        ] {
            Header::parse(&header).unwrap_err();
        }
        Header::parse(&[0x89, 126, 0, 126]).unwrap_err();
    }

    /// The header and the payload of a frame, as a server reads it.
    fn unmasked(frame: &[u8]) -> (Header, Vec<u8>) {
        let mut plain = frame.to_vec();
        assert_eq!(plain[1] & 0x80, 0x80, "it is masked");
        plain[1] &= 0x7F;
        let header = Header::parse(&plain).unwrap().unwrap();
        let (mask, payload) = plain[header.size..].split_first_chunk::<4>().unwrap();
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        (header, payload.collect())
    }

    #[test]
    fn what_is_put_is_one_frame_however_many_parts_it_has() {
        let data: Vec<u8> = (0..u8::MAX).cycle().take(70_000).collect();
        let mut masks = Masks::default();
        for length in [0, 1, 7, 8, 9, 124, 125, 126, 127, 4_095, 4_097, 65_535, 65_536, 70_000] {
            for first in [0, 1, 2, 3, 5, 64, 4_096] {
                let whole = &data[..length];
                let (one, two) = whole.split_at(first.min(length));
                let mut target = BytesMut::from(&b"before"[..]);
                put(&mut target, Kind::Text, &[one, b"", two], masks.next());
                let (header, payload) = unmasked(&target[6..]);
                assert_eq!((header.kind, header.is_last), (Kind::Text, true));
                assert_eq!(header.length, u64::try_from(length).unwrap());
                assert_eq!(payload, whole, "{length} of which {first}");
            }
        }
    }

    #[test]
    fn masks_differ() {
        let mut masks = Masks::default();
        let all: std::collections::HashSet<_> = (0..1_000).map(|_| masks.next()).collect();
        assert!(all.len() > 990);
    }
}
