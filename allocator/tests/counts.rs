//! It counts all threads, and only once it was asked to. One test: what is counted is the process's.

use std::alloc::System;
use std::hint::black_box;
use std::thread;

use allocator::{Counted, Counting, count, counted};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// More than there are counters, so that some are shared.
const THREADS: u64 = 100;
const ALLOCATIONS: u64 = 50;
const BYTES: usize = 10_000;

fn since(before: Counted) -> Counted {
    let now = counted().unwrap();
    Counted { allocations: now.allocations - before.allocations, bytes: now.bytes - before.bytes }
}

#[test]
fn all_threads_are_counted_once_it_was_asked_for() {
    drop(black_box(vec![0_u8; BYTES]));
    assert_eq!(counted(), None, "nobody asked");
    count();

    let before = counted().unwrap();
    let mut grown: Vec<u8> = black_box(Vec::with_capacity(1_000));
    grown.reserve_exact(3_000);
    grown.shrink_to(10);
    drop(grown);
    let once = since(before);
    // The test harness's own threads may be at something meanwhile.
    assert!(once.allocations >= 2 && (3_000..8_000).contains(&once.bytes), "{once:?}");

    let before = counted().unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ALLOCATIONS {
                    drop(black_box(vec![0_u8; BYTES]));
                }
            });
        }
    });
    let all = since(before);
    let asked_for = THREADS * ALLOCATIONS;
    // Threads have a name, a stack's bookkeeping and a packet for their result.
    assert!((asked_for..asked_for + 20 * THREADS).contains(&all.allocations), "{all:?}");
    assert!(all.bytes >= asked_for * BYTES as u64, "{all:?}");
}
