//! Buffers that nobody needs at the moment, a few for each thread: a connection owns none while it
//! is idle, and yet no request costs an allocation. It pays with a look into the thread's own
//! storage; and with a lock, where one thread reads what another has done with.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A thread's own: what one connection uses at a time is less.
const KEPT: usize = 4;
/// What threads have that they have no room for: for those that take more than they give.
const KEPT_TOGETHER: usize = 64;
/// Larger ones go back to the allocator: it could be a few bytes that one holds the next time. A
/// hundred small echoes are no more.
const KEPT_BYTES_MAX: usize = 8 * 1024;

thread_local! {
    static OWN: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}
static SHARED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer to fill, empty; with room, where one was spared.
pub fn take() -> Vec<u8> {
    OWN.with_borrow_mut(Vec::pop).or_else(|| shared().pop()).unwrap_or_default()
}

/// Takes back a buffer whose bytes nobody needs any more.
pub fn give(mut buffer: Vec<u8>) {
    if !(1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    OWN.with_borrow_mut(|own| {
        if own.len() < KEPT {
            return own.push(buffer);
        }
        let mut shared = shared();
        if shared.len() < KEPT_TOGETHER {
            shared.push(buffer);
        }
    });
}

fn shared() -> MutexGuard<'static, Vec<Vec<u8>>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives all that this thread has of its own back to the allocator: for tests that count.
pub fn clear() {
    drop(OWN.take());
}

/// The same bytes in a buffer of their own.
pub(crate) fn copy_of(bytes: &[u8]) -> Vec<u8> {
    let mut copy = take();
    copy.extend_from_slice(bytes);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again_within_bounds() {
        let buffer = copy_of(&[7; 100]);
        let (room, at) = (buffer.capacity(), buffer.as_ptr());
        give(buffer);
        let again = take();
        assert_eq!((again.len(), again.capacity(), again.as_ptr()), (0, room, at));
        give(Vec::new());
        give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(take().capacity(), 0, "nothing, and too much");
        for _ in 0..=KEPT + KEPT_TOGETHER {
            give(Vec::with_capacity(10));
        }
        let kept = || (0..=KEPT + KEPT_TOGETHER).filter(|_| take().capacity() > 0).count();
        let by_another = std::thread::spawn(kept).join().unwrap();
        assert_eq!((by_another, kept()), (KEPT_TOGETHER, KEPT));
    }
}
