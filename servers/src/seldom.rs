//! A bound on what a repeated error writes to the log: one line a second, which says how many
//! were left out. It pays with a line that may be missed; the counters miss none.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Often enough to see that something goes on, seldom enough to read.
const INTERVAL: Duration = Duration::from_secs(1);

/// One kind of error: `static REFUSED: Seldom = Seldom::new();`
#[derive(Debug)]
pub(crate) struct Seldom {
    /// In milliseconds since the first use of any.
    quiet_until_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self { quiet_until_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether to say it this time, and how many times it was left out since the last.
    pub(crate) fn say(&self) -> Option<u64> {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.say_at(BEGAN.elapsed())
    }

    fn say_at(&self, now: Duration) -> Option<u64> {
        let in_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let quiet_until = self.quiet_until_ms.load(Relaxed);
        let next = in_ms(now + INTERVAL);
        let is_due = in_ms(now) >= quiet_until;
        // Of several threads that see that it is due, one says it.
        if is_due
            && self.quiet_until_ms.compare_exchange(quiet_until, next, Relaxed, Relaxed).is_ok()
        {
            Some(self.left_out.swap(0, Relaxed))
        } else {
            self.left_out.fetch_add(1, Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_said_and_the_rest_counted() {
        let seldom = Seldom::new();
        let said = |ms| seldom.say_at(Duration::from_millis(ms));
        assert_eq!(said(500), Some(0), "the first");
        assert_eq!([said(501), said(1000), said(1499)], [None; 3]);
        assert_eq!(said(1500), Some(3));
        assert_eq!(said(1501), None);
        assert_eq!(said(60_000), Some(1));
    }

    #[test]
    fn of_many_threads_one_says_it() {
        let seldom = Seldom::new();
        let said: usize = std::thread::scope(|scope| {
            let say = || (0..1000).filter(|_| seldom.say_at(Duration::ZERO).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(say)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((said, seldom.say_at(INTERVAL)), (1, Some(3999)));
    }
}
