//! How long a test waits: until something is seen, and never without a bound.
//! It pays with polling, a look a millisecond.

use std::thread;
use std::time::{Duration, Instant};

/// Far above what any step takes, also on a busy machine; a step that takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `observe` gives `expected`.
#[track_caller]
pub(crate) fn eventually<T: PartialEq + std::fmt::Debug + Copy>(
    what: &str,
    expected: T,
    mut observe: impl FnMut() -> T,
) {
    let give_up_at = Instant::now() + PATIENCE;
    let mut seen = observe();
    while seen != expected {
        assert!(Instant::now() < give_up_at, "{what}: {seen:?}, never {expected:?}");
        thread::sleep(Duration::from_millis(1));
        seen = observe();
    }
}
