//! Memory that small texts share.
//!
//! An allocation for each of them would cost more than the text. But the length of a text has to show how much
//! memory it holds, since the [window](crate::backpressure::receive_window) counts it: so they share only a
//! little.

use bytes::{Bytes, BytesMut};

/// The size of a block that small texts share, and so the most memory that one of them holds,
const BLOCK: usize = 1 << 10;
/// and the longest such text.
const SMALL: usize = BLOCK / 2;

/// The block that the next small text goes into. Nothing is allocated until there is one.
#[derive(Debug, Default)]
pub(crate) struct SmallTexts(BytesMut);

impl SmallTexts {
    /// A copy of the text, in the block if it is small. `behind`: how many bytes have come after it.
    #[inline]
    pub(crate) fn copy(&mut self, text: &[u8], behind: usize) -> Bytes {
        let Self(block) = self;
        let is_alone = behind == 0 && block.capacity() == 0;
        if text.len() > SMALL || is_alone {
            return Bytes::copy_from_slice(text);
        }
        if block.capacity() < text.len() {
            *block = BytesMut::with_capacity(text.len().saturating_add(behind).min(BLOCK));
        }
        block.extend_from_slice(text);
        block.split().freeze()
    }
}
