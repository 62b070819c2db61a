//! Memory of large messages that is used again.
//!
//! Allocators give memory of this size back to the system as soon as it is free, and the system clears it
//! before it hands it out again. For an attachment of 64 KiB, that takes three times as long as to read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// The most memory that is kept for the next messages, in bytes: what the window takes by default, since
/// what fills it may be handled all at once.
const MAX_FREE: usize = 4 << 20;

/// The buffers of one connection. They come back when their message is dropped, on any thread, unless this is
/// gone.
#[derive(Debug, Default)]
pub(super) struct Recycler(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    /// The room in them.
    bytes: usize,
}

impl Recycler {
    /// An empty buffer with room for a message of this many bytes, and for at most twice as many.
    pub(super) fn buffer(&self, length: usize) -> Vec<u8> {
        let fits = length..=length.saturating_mul(2);
        let mut free = lock(&self.0);
        let place = free.buffers.iter().rposition(|buffer| fits.contains(&buffer.capacity()));
        let Some(place) = place else {
            drop(free);
            return Vec::with_capacity(length);
        };
        let buffer = free.buffers.swap_remove(place);
        free.bytes = free.bytes.saturating_sub(buffer.capacity());
        buffer
    }

    /// A message that gives its buffer back.
    pub(super) fn message(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() > MAX_FREE {
            return buffer.into_boxed_slice().into();
        }
        Bytes::from_owner(Lent { buffer, home: Arc::downgrade(&self.0) })
    }
}

fn lock(free: &Mutex<Free>) -> MutexGuard<'_, Free> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that is in use.
struct Lent {
    buffer: Vec<u8>,
    home: Weak<Mutex<Free>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut free = lock(&home);
        let bytes = free.bytes.saturating_add(buffer.capacity());
        if bytes <= MAX_FREE {
            free.bytes = bytes;
            free.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 64 << 10;

    fn free(recycler: &Recycler) -> (usize, usize) {
        let free = lock(&recycler.0);
        (free.buffers.len(), free.bytes)
    }

    fn message(recycler: &Recycler, length: usize) -> Bytes {
        let mut buffer = recycler.buffer(length);
        assert!(buffer.is_empty() && (length..=2 * length).contains(&buffer.capacity()));
        buffer.extend((0..length).map(|_| 7));
        recycler.message(buffer)
    }

    #[test]
    fn memory_is_used_again_when_all_who_have_the_message_are_done() {
        let recycler = Recycler::default();
        let data = message(&recycler, LENGTH);
        let (place, part) = (data.as_ptr(), data.slice(1..2));
        drop(data);
        assert_eq!((free(&recycler), &part[..]), ((0, 0), &[7][..]));
        std::thread::spawn(|| drop(part)).join().unwrap();
        assert_eq!(free(&recycler), (1, LENGTH));
        assert_eq!(message(&recycler, LENGTH - 1).as_ptr(), place);
    }

    #[test]
    fn a_message_gets_no_buffer_that_is_too_small_or_much_too_large() {
        let recycler = Recycler::default();
        drop(message(&recycler, LENGTH));
        for (length, is_used) in
            [(LENGTH + 1, false), (LENGTH / 2 - 1, false), (LENGTH / 2, true), (LENGTH, true)]
        {
            let data = message(&recycler, length);
            assert_eq!(free(&recycler).0, usize::from(!is_used), "{length}");
            if is_used {
                drop(data);
            } else {
                drop(Vec::<u8>::from(data));
                lock(&recycler.0).buffers.truncate(1);
                lock(&recycler.0).bytes = LENGTH;
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_ends_with_the_connection() {
        let recycler = Recycler::default();
        let most = MAX_FREE / LENGTH;
        let all: Vec<Bytes> = (0..most + 3).map(|_| message(&recycler, LENGTH)).collect();
        drop(all);
        assert_eq!(free(&recycler), (most, MAX_FREE));
        drop(message(&recycler, MAX_FREE + 1));
        assert_eq!(free(&recycler), (most, MAX_FREE));
        let data = message(&recycler, LENGTH);
        let home = Arc::downgrade(&recycler.0);
        drop(recycler);
        assert_eq!((home.strong_count(), data.len()), (0, LENGTH));
    }
}
