//! On which core a thread runs: where the benches of waking up differ by a factor of ten.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this thread may use, by their numbers.
///
/// # Errors
/// As of `sched_getaffinity(2)`.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// This thread's core, until it is dropped: then it may use again those that it might before. (What
/// this thread starts meanwhile stays on the core.)
#[derive(Debug)]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins this thread to `core`.
    ///
    /// # Errors
    /// As of `sched_setaffinity(2)`.
    pub fn to(core: usize) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before; where it is no longer, the kernel has chosen already.
        let _ = sched_setaffinity(None, &self.before);
    }
}
