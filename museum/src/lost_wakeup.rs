//! To look whether there is something to do, and then to sleep if there is not, are two steps; a
//! wake-up that comes between them wakes nobody, and the sleeper sleeps on beside the work that is
//! there. A condition variable closes the gap only for those who look under its lock.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether there is work, and who is told.
#[derive(Debug, Default)]
pub struct Work {
    is_there: Mutex<bool>,
    has_come: Condvar,
}

impl Work {
    /// There is.
    pub fn put(&self) {
        *self.is_there.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.has_come.notify_all();
    }
}

// ANCHOR: broken
/// Looks, lets go of the lock, and sleeps.
pub mod broken {
    use super::*;

    /// Sleeps until there is work, or for so long; whether it was told of some. `gap` is what another
    /// thread does between look and sleep.
    pub fn wait(work: &Work, at_most: Duration, gap: impl FnOnce()) -> bool {
        let is_there = *work.is_there.lock().unwrap_or_else(PoisonError::into_inner);
        gap();
        if is_there {
            return true;
        }
        let lock = work.is_there.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = work.has_come.wait_timeout(lock, at_most);
        !slept.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Looks under the lock that the sleep lets go of; and looks again, for a sleep may end for nothing.
pub mod mended {
    use super::*;

    /// The same.
    pub fn wait(work: &Work, at_most: Duration, gap: impl FnOnce()) -> bool {
        let mut is_there = work.is_there.lock().unwrap_or_else(PoisonError::into_inner);
        gap();
        while !*is_there {
            let slept = work.has_come.wait_timeout(is_there, at_most);
            let (lock, timeout) = slept.unwrap_or_else(PoisonError::into_inner);
            is_there = lock;
            if timeout.timed_out() {
                return *is_there;
            }
        }
        true
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::stage::PATIENCE;

    // ANCHOR: test
    /// However long it were: nobody comes a second time.
    const LONG: Duration = Duration::from_millis(50);

    #[test]
    fn it_sleeps_beside_the_work() {
        let work = Work::default();
        // Nothing holds the lock here: whoever has work gets in, tells nobody, and is gone.
        let was_told = broken::wait(&work, LONG, || {
            assert!(work.is_there.try_lock().is_ok());
            work.put();
        });
        assert!(!was_told && *work.is_there.lock().unwrap());
    }

    #[test]
    fn it_is_told_of_the_work() {
        let work = Work::default();
        let was_told = thread::scope(|scope| {
            mended::wait(&work, PATIENCE, || {
                // In the same place nobody gets in: who has work waits until the sleep has begun.
                assert!(work.is_there.try_lock().is_err());
                scope.spawn(|| work.put());
            })
        });
        assert!(was_told);
    }
    // ANCHOR_END: test
}
