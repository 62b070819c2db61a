//! Finds the plain parts of strings in JSON text, many bytes at a time: they are most of a text.

/// How many bytes are looked at as one, in registers that are as wide. In long strings it is four
/// times as many.
pub(crate) const BLOCK: usize = 16;

/// Where the plain part of a string ends that begins here: at a quote, a backslash, a control character, or
/// among the last seven bytes of the text.
#[expect(clippy::inline_always, reason = "most strings end in the first word")]
#[inline(always)]
pub(crate) fn plain_end(text: &[u8], begin: usize) -> usize {
    let Some((word, behind)) = text.get(begin..).and_then(<[u8]>::split_first_chunk) else {
        return begin;
    };
    // Most strings are short: names and keys.
    match plain_bytes(u64::from_le_bytes(*word)) {
        8 => text.len().saturating_sub(skip_plain(behind).len()),
        plain => begin.saturating_add(plain),
    }
}

/// Skips the plain part of a long string.
fn skip_plain(mut rest: &[u8]) -> &[u8] {
    while let Some(behind) = skip_block::<BLOCK>(rest) {
        rest = behind;
        while let Some(behind) = skip_block::<{ 4 * BLOCK }>(rest) {
            rest = behind;
        }
    }
    while let Some((word, behind)) = rest.split_first_chunk() {
        let plain = plain_bytes(u64::from_le_bytes(*word));
        if plain < 8 {
            return rest.get(plain..).unwrap_or_default();
        }
        rest = behind;
    }
    rest
}

/// The same without that many bytes, if they mean nothing.
#[inline]
fn skip_block<const N: usize>(rest: &[u8]) -> Option<&[u8]> {
    let (block, behind) = rest.split_first_chunk::<N>()?;
    is_plain(block).then_some(behind)
}

/// Whether there is no quote, no backslash and no control character in it.
fn is_plain<const N: usize>(block: &[u8; N]) -> bool {
    // Without a branch for each byte, it is a few comparisons for all of them.
    let special = |byte| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < b' ');
    block.iter().fold(0, |found, &byte| found | special(byte)) == 0
}

/// How many of eight bytes, from the lowest, come before a quote, a backslash or a control
/// character.
fn plain_bytes(word: u64) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    // The lowest byte that is less than another borrows from its own highest bit first.
    let below = |word: u64, other: u64| word.wrapping_sub(other) & !word & HIGH;
    let special =
        below(word ^ QUOTES, ONES) | below(word ^ BACKSLASHES, ONES) | below(word, SPACES);
    usize::try_from(special.trailing_zeros() / 8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_special_bytes_are_found_wherever_they_are() {
        for special in 0..=u8::MAX {
            let ends = special < b' ' || special == b'"' || special == b'\\';
            for place in 0..8 {
                for other in [b' ', b'!', b'#', b'[', b']', 0x7F, 0x80, 0xA2, 0xDC, 0xFF] {
                    let mut word = [other; 8];
                    word[place] = special;
                    let expected = if ends { place } else { 8 };
                    assert_eq!(plain_bytes(u64::from_le_bytes(word)), expected, "{word:?}");
                    for word in 0..BLOCK / 8 {
                        let mut block = [other; BLOCK];
                        block[word * 8 + place] = special;
                        assert_eq!(is_plain(&block), !ends, "{block:?}");
                    }
                }
            }
        }
    }
}
