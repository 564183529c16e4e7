//! On which cores this program and its servers run.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first and the last core that this thread may use; the same where it has only one.
pub(crate) fn ends() -> (usize, usize) {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let is_allowed = |core: &usize| allowed.is_set(*core);
    let first = (0..CpuSet::MAX_CPU).find(is_allowed).unwrap_or_default();
    (first, (first..CpuSet::MAX_CPU).rfind(is_allowed).unwrap_or(first))
}

/// While it lives, this thread and all that it starts, servers too, run on one core.
pub(crate) struct OnCore {
    before: Option<CpuSet>,
}

impl OnCore {
    /// Where the kernel does not let it, all stays as it was.
    pub(crate) fn begin(core: usize) -> Self {
        let before = sched_getaffinity(None).ok();
        let mut one = CpuSet::new();
        one.set(core);
        let _ = sched_setaffinity(None, &one);
        Self { before }
    }
}

impl Drop for OnCore {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(None, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_core_is_kept_to_and_given_back() {
        let before = ends();
        for core in [before.0, before.1] {
            let on_core = OnCore::begin(core);
            assert_eq!(ends(), (core, core));
            assert_eq!(thread::spawn(ends).join().unwrap(), (core, core), "inherited");
            drop(on_core);
            assert_eq!(ends(), before);
        }
    }
}
