//! How a run stands while it is under way: what the load threads publish from time to time, for
//! whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::recorder::Recorder;

/// One thread's counters. It costs the thread three stores a tick and nothing per request.
#[derive(Debug, Default)]
pub struct Live {
    planned: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Live {
    /// Shows what the recorder holds now.
    pub fn publish(&self, recorder: &Recorder) {
        let failed = recorder.errors().values().sum::<u64>() + recorder.late();
        self.planned.store(recorder.planned(), Ordering::Relaxed);
        self.ok.store(recorder.right(), Ordering::Relaxed);
        self.failed.store(failed + recorder.never_sent(), Ordering::Relaxed);
    }
}

/// The sum over the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Requests planned so far.
    pub planned: u64,
    /// Right answers so far.
    pub ok: u64,
    /// All that failed, came too late, or could not be sent.
    pub failed: u64,
}

impl Standing {
    /// Of all threads of a run. The three are not of one moment, but nearly.
    pub fn of<'a>(threads: impl IntoIterator<Item = &'a Live>) -> Self {
        let mut sum = Self::default();
        for live in threads {
            sum.planned += live.planned.load(Ordering::Relaxed);
            sum.ok += live.ok.load(Ordering::Relaxed);
            sum.failed += live.failed.load(Ordering::Relaxed);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{ErrorKind, Moments};

    #[test]
    fn threads_add_up() {
        let mut recorder = Recorder::default();
        for _ in 0..4 {
            recorder.plan(0);
        }
        recorder.ok(Moments { planned_ns: 0, sent_ns: 0, settled_ns: 1 });
        recorder.error(ErrorKind::Closed, 0, 1);
        recorder.unsent(0);
        let threads = [Live::default(), Live::default(), Live::default()];
        threads[..2].iter().for_each(|live| live.publish(&recorder));
        assert_eq!(Standing::of(&threads), Standing { planned: 8, ok: 2, failed: 4 });
    }
}
