//! Buffers that nobody needs at the moment, a few for each thread: a connection owns none while it
//! is idle, and yet no request costs an allocation. It pays with a look into the thread's own
//! storage; and with a lock, where one thread reads what another has done with.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// A thread's own: what one connection uses at a time, bytes in, a payload and bytes out.
const KEPT: usize = 3;
/// What threads have that they have no room for: for those that take more than they give.
const KEPT_TOGETHER: usize = 64;
/// Larger ones go back to the allocator: it could be a few bytes that one holds the next time, and a
/// thread per connection keeps its own while it is idle. Fifty small echoes are no more.
const KEPT_BYTES_MAX: usize = 4 * 1024;

thread_local! {
    static OWN: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}
static SHARED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer to fill, empty; with room, where one was spared.
pub fn take() -> Vec<u8> {
    OWN.with_borrow_mut(Vec::pop).or_else(|| shared()?.pop()).unwrap_or_default()
}

/// Takes back a buffer whose bytes nobody needs any more.
pub fn give(mut buffer: Vec<u8>) {
    if is_kept(buffer.capacity()) {
        buffer.clear();
        if let Some(too_many) = OWN.with_borrow_mut(|own| keep(own, KEPT, buffer))
            && let Some(mut shared) = shared()
        {
            keep(&mut shared, KEPT_TOGETHER, too_many);
        }
    }
}

/// The same bytes in a buffer of their own, if there are any.
pub(crate) fn copy_of(bytes: &[u8]) -> Vec<u8> {
    let mut copy = if is_kept(bytes.len()) { take() } else { Vec::new() };
    copy.extend_from_slice(bytes);
    copy
}

/// Gives all that this thread has of its own back to the allocator: for tests that count.
pub fn clear() {
    drop(OWN.take());
}

fn is_kept(capacity: usize) -> bool {
    (1..=KEPT_BYTES_MAX).contains(&capacity)
}

/// The buffer itself, where there is no room for it.
fn keep(spare: &mut Vec<Vec<u8>>, most: usize, buffer: Vec<u8>) -> Option<Vec<u8>> {
    if spare.len() < most {
        spare.push(buffer);
        return None;
    }
    Some(buffer)
}

/// Not where another has it now: the allocator does as well.
fn shared() -> Option<MutexGuard<'static, Vec<Vec<u8>>>> {
    match SHARED.try_lock() {
        Ok(shared) => Some(shared),
        Err(TryLockError::Poisoned(shared)) => Some(shared.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again() {
        let buffer = copy_of(&[7; 100]);
        let (room, at) = (buffer.capacity(), buffer.as_ptr());
        give(buffer);
        let again = take();
        assert_eq!((again.len(), again.capacity(), again.as_ptr()), (0, room, at));
    }

    #[test]
    fn nothing_is_kept_for_its_own_sake() {
        assert!(is_kept(1) && is_kept(KEPT_BYTES_MAX));
        assert!(!is_kept(0) && !is_kept(KEPT_BYTES_MAX + 1));
        let mut spare = Vec::new();
        assert_eq!(keep(&mut spare, 1, vec![1]), None);
        assert_eq!(keep(&mut spare, 1, vec![2]), Some(vec![2]));
        assert_eq!(spare, [[1]]);
    }
}
