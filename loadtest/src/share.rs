//! What a load thread is given and what it gives back, whichever transport it drives.
//!
//! A transport takes requests from the [`Planner`], settles each in the [`Recorder`], and tells the
//! [`Meter`] of every turn of its loop, so that the tester's own troubles are seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::live::Live;
use crate::plan::{Clock, Planner};
use crate::recorder::Recorder;
use crate::target::Target;
use crate::template::Templates;

/// How long an interrupted run waits for the answers that are still due.
pub const INTERRUPTED_DRAIN_MAX: Duration = Duration::from_secs(1);

/// A flag that a signal handler sets; clones are handles on the same.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends the run early.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody wants the run to end.
    pub fn is_triggered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// One thread's part of a run.
#[derive(Debug)]
pub struct Share {
    /// Where the requests go.
    pub target: Target,
    /// When to send what.
    pub planner: Planner,
    /// What to send, and what to expect.
    pub templates: Arc<Templates>,
    /// The run's clock: the same for all threads.
    pub clock: Clock,
    /// How long an answer may take, from the planned time on.
    pub timeout_ns: u64,
    /// Ends the run early.
    pub interrupt: Interrupt,
    /// What came of the requests, empty.
    pub recorder: Recorder,
    /// Where the thread shows from time to time how it stands.
    pub live: Arc<Live>,
}

/// What one thread has to tell.
#[derive(Debug, Default)]
pub struct Report {
    /// What became of its requests.
    pub recorder: Recorder,
    /// What the thread itself paid.
    pub meter: Meter,
    /// Connections that broke.
    pub broken: usize,
    /// What the first of them, or the first wrong answer, was about.
    pub failure: Option<String>,
}

impl Report {
    /// Keeps the first failure: the others commonly follow from it.
    pub fn fail(&mut self, text: impl FnOnce() -> String) {
        self.failure.get_or_insert_with(text);
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: Self) {
        self.recorder.merge(other.recorder);
        self.broken += other.broken;
        self.meter.merge(&other.meter);
        if self.failure.is_none() {
            self.failure = other.failure;
        }
    }
}

/// What a load thread paid while it measured, and whether it stood still.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    began: Option<(u64, u64)>,
    ended: bool,
    turn_ns: u64,
    /// CPU time of the thread (of all, once merged) within the measured window.
    pub cpu_ns: u64,
    /// How long that window was, summed over threads once merged.
    pub wall_ns: u64,
    /// The longest that a turn took beyond what it meant to sleep.
    pub stall_ns_max: u64,
}

impl Meter {
    /// To be called once a turn, after it waited (at the most `asked_ns`). `planning` is false
    /// once nothing more will be sent: what follows is only waiting.
    pub fn turn(&mut self, now_ns: u64, asked_ns: u64, measure_from_ns: u64, planning: bool) {
        let turn_ns = now_ns.saturating_sub(std::mem::replace(&mut self.turn_ns, now_ns));
        if now_ns < measure_from_ns || self.ended {
            return;
        }
        match self.began {
            None => self.began = Some((now_ns, thread_cpu_ns())),
            Some((wall_ns, cpu_ns)) => {
                self.stall_ns_max = self.stall_ns_max.max(turn_ns.saturating_sub(asked_ns));
                if !planning {
                    self.ended = true;
                    self.wall_ns = now_ns - wall_ns;
                    self.cpu_ns = thread_cpu_ns().saturating_sub(cpu_ns);
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.cpu_ns += other.cpu_ns;
        self.wall_ns += other.wall_ns;
        self.stall_ns_max = self.stall_ns_max.max(other.stall_ns_max);
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_took_longer_than_asked_is_a_stall() {
        let mut meter = Meter::default();
        for (now_ns, asked_ns) in [(0, 0), (100, 100), (350, 200), (400, 10)] {
            meter.turn(now_ns, asked_ns, 50, true);
        }
        assert_eq!(meter.stall_ns_max, 50);
        meter.turn(1_000, 10, 50, false);
        assert_eq!((meter.wall_ns, meter.stall_ns_max), (900, 590));
        meter.turn(9_000, 10, 50, false);
        assert_eq!(meter.stall_ns_max, 590, "what follows the plan is not measured");
    }
}
