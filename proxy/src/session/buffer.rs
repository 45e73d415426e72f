//! The read buffer, one a worker: an idle session holds none.

use std::cell::RefCell;

/// Bytes read at once. More would gain nothing: a socket rarely has more ready.
pub(super) const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the worker's buffer. It holds what the last user left in it.
pub(super) fn with_buffer<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(READ_BYTES, 0);
        read(buffer)
    })
}
