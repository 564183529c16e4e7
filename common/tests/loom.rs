//! What threads share of this crate, in every order that the memory model allows: the real types,
//! built over loom's atomics and locks. It pays a build of its own, and so runs only when asked:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --package common --test loom --target-dir target/loom
//! ```
#![cfg(loom)]

use common::{Shutdown, Stats};
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;

/// A wake-up that counts how often it ran.
fn count(runs: &Arc<AtomicU32>) -> impl FnOnce() + Send + 'static {
    let runs = Arc::clone(runs);
    move || {
        runs.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_wake_up_is_not_lost_whenever_it_is_hung_up() {
    loom::model(|| {
        let (shutdown, runs) = (Shutdown::new(), Arc::new(AtomicU32::new(0)));
        let trigger = {
            let shutdown = shutdown.clone();
            thread::spawn(move || shutdown.trigger())
        };
        shutdown.on_trigger(count(&runs));
        trigger.join().unwrap();
        assert_eq!(runs.load(Relaxed), 1);
    });
}

#[test]
fn two_triggers_run_each_wake_up_once() {
    loom::model(|| {
        let (shutdown, runs) = (Shutdown::new(), Arc::new(AtomicU32::new(0)));
        shutdown.on_trigger(count(&runs));
        let others = [0, 1].map(|_| {
            let shutdown = shutdown.clone();
            thread::spawn(move || shutdown.trigger())
        });
        shutdown.on_trigger(count(&runs));
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(runs.load(Relaxed), 2);
    });
}

#[test]
fn who_sees_the_trigger_sees_what_was_done_before_it() {
    loom::model(|| {
        let (shutdown, done) = (Shutdown::new(), Arc::new(AtomicBool::new(false)));
        let trigger = {
            let (shutdown, done) = (shutdown.clone(), Arc::clone(&done));
            thread::spawn(move || {
                done.store(true, Relaxed);
                shutdown.trigger();
            })
        };
        if shutdown.is_triggered() {
            assert!(done.load(Relaxed));
        }
        trigger.join().unwrap();
    });
}

/// A loop that is woken looks whether it is to drain, once, and then sleeps again.
#[test]
fn who_is_woken_sees_the_trigger() {
    loom::model(|| {
        let (shutdown, is_awake) = (Shutdown::new(), Arc::new(AtomicBool::new(false)));
        let wake = Arc::clone(&is_awake);
        shutdown.on_trigger(move || wake.store(true, Release));
        let trigger = {
            let shutdown = shutdown.clone();
            thread::spawn(move || shutdown.trigger())
        };
        if is_awake.load(Acquire) {
            assert!(shutdown.is_triggered());
        }
        trigger.join().unwrap();
    });
}

#[test]
fn no_more_connections_are_admitted_than_there_is_room_for() {
    const ROOM: u32 = 1;
    loom::model(|| {
        let (stats, open) = (Stats::new(), Arc::new(AtomicU32::new(0)));
        let come_and_go = |stats: Stats, open: Arc<AtomicU32>| {
            if let Some(admitted) = stats.admit(ROOM as usize) {
                assert!(open.fetch_add(1, Relaxed) < ROOM, "one too many");
                open.fetch_sub(1, Relaxed);
                drop(admitted);
            }
        };
        let other = {
            let (stats, open) = (stats.clone(), Arc::clone(&open));
            thread::spawn(move || come_and_go(stats, open))
        };
        come_and_go(stats.clone(), open);
        other.join().unwrap();
        let now = stats.snapshot();
        assert_eq!((now.accepted + now.refused, now.open), (2, 0));
        assert!(now.accepted >= 1);
    });
}
