//! An allocator around another one that counts what is asked of it, once [`count`] was called.
//! It pays with a look at a flag for each allocation; while it counts, with two additions to
//! counters that few threads share.
//!
//! ```
//! use std::alloc::System;
//!
//! #[global_allocator]
//! static ALLOCATOR: allocator::Counting<System> = allocator::Counting::new(System);
//!
//! assert_eq!(allocator::counted(), None);
//! allocator::count();
//! drop(std::hint::black_box(vec![0_u8; 1_000]));
//! assert!(allocator::counted().unwrap().bytes >= 1_000);
//! ```

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Threads take turns at these; more than cores, so that those that run seldom share one.
const SHARDS: usize = 64;
/// No thread has this one.
const NONE_YET: usize = usize::MAX;

static IS_ON: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static COUNTERS: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];

thread_local! {
    // Made without an allocation, and without anything to drop: it is there as long as its thread.
    static SHARD: Cell<usize> = const { Cell::new(NONE_YET) };
}

/// What some of the threads asked for; two cache lines of its own, for they are fetched in pairs.
#[repr(align(128))]
struct Shard {
    allocations: AtomicU64,
    bytes: AtomicU64,
}

impl Shard {
    const fn new() -> Self {
        Self { allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }
}

/// What all threads together asked for since [`count`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often they asked for memory, or for more of it.
    pub allocations: u64,
    /// How many bytes; where it was for more, how many more.
    pub bytes: u64,
}

/// From now on, count.
pub fn count() {
    IS_ON.store(true, Relaxed);
}

/// What was counted; nothing where nobody asked for it.
pub fn counted() -> Option<Counted> {
    let add = |sum: Counted, shard: &Shard| Counted {
        allocations: sum.allocations + shard.allocations.load(Relaxed),
        bytes: sum.bytes + shard.bytes.load(Relaxed),
    };
    IS_ON.load(Relaxed).then(|| COUNTERS.iter().fold(Counted::default(), add))
}

/// Counts what `A` is asked for.
#[derive(Debug)]
pub struct Counting<A>(A);

impl<A> Counting<A> {
    /// Around `inner`, which does the work.
    pub const fn new(inner: A) -> Self {
        Self(inner)
    }
}

#[inline]
fn asked(bytes: usize) {
    if IS_ON.load(Relaxed) {
        add(bytes);
    }
}

#[cold]
fn add(bytes: usize) {
    let shard = SHARD.with(|own| {
        if own.get() == NONE_YET {
            own.set(NEXT.fetch_add(1, Relaxed) % SHARDS);
        }
        own.get()
    });
    COUNTERS[shard].allocations.fetch_add(1, Relaxed);
    COUNTERS[shard].bytes.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: each call is passed on as it came, and what it gives is given back as it is, so that `A`
// keeps the contract if its caller does. To count allocates nothing and cannot unwind.
#[allow(unsafe_code)]
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size > layout.size() {
            asked(new_size - layout.size());
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(memory, layout) }
    }
}
