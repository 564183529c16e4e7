//! What a server process paid, from `/proc`: CPU time, memory, threads and context switches.
//!
//! A sample reads two files per thread, which is some 30 ms at 1,000 threads: it is taken at the
//! edges of the measured window only.

use std::collections::BTreeMap;

use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// A process's counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// User and system time of all threads there ever were, in ticks.
    ticks: u64,
    /// Time on a CPU by living thread, in nanoseconds.
    on_cpu_ns: BTreeMap<i32, u64>,
    switches: u64,
    threads: u64,
    rss_anon_bytes: u64,
    pss_bytes: u64,
}

/// What the server paid for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// CPU time (user and system, all threads) in microseconds per request.
    pub cpu_us_per_request: f64,
    /// Anonymous memory at the end of the run, with its connections open.
    pub rss_anon_bytes: u64,
    /// Proportional set size then: shared pages are divided among those who share them.
    pub pss_bytes: u64,
    /// Threads then.
    pub threads: u64,
    /// Voluntary and involuntary context switches per request.
    pub context_switches_per_request: f64,
    /// CPU time in seconds.
    pub cpu_s: f64,
}

/// Why a process could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read /proc/{pid}: {error}; is the process alive, and is it yours?")]
pub struct CostError {
    /// Which process.
    pub pid: i32,
    /// What the system said.
    #[source]
    pub error: procfs::ProcError,
}

impl Sample {
    /// Reads the counters of `pid`.
    ///
    /// # Errors
    /// If there is no such process, or it belongs to another user.
    pub fn of(pid: i32) -> Result<Self, CostError> {
        Self::read(pid).map_err(|error| CostError { pid, error })
    }

    fn read(pid: i32) -> procfs::ProcResult<Self> {
        let process = Process::new(pid)?;
        let stat = process.stat()?;
        let status = process.status()?;
        let pss = process.smaps_rollup().ok().and_then(|rollup| {
            let map = rollup.memory_map_rollup.into_iter().next()?;
            map.extension.map.get("Pss").copied()
        });
        let mut sample = Self {
            ticks: stat.utime + stat.stime,
            threads: status.threads,
            rss_anon_bytes: status.rssanon.unwrap_or(0) * 1024,
            pss_bytes: pss.unwrap_or(0),
            ..Self::default()
        };
        for task in process.tasks()? {
            // A thread may end between the listing and the reading.
            let Ok(task) = task else { continue };
            if let (Ok(time), Ok(status)) = (task.schedstat(), task.status()) {
                sample.on_cpu_ns.insert(task.tid, time.sum_exec_runtime);
                sample.switches += status.voluntary_ctxt_switches.unwrap_or(0)
                    + status.nonvoluntary_ctxt_switches.unwrap_or(0);
            }
        }
        Ok(sample)
    }

    /// Anonymous memory at that moment.
    pub fn rss_anon_bytes(&self) -> u64 {
        self.rss_anon_bytes
    }

    /// CPU seconds since `earlier`. Threads give nanoseconds, but take them along when they end;
    /// ticks of 10 ms are coarse, but stay. The larger of both is nearer to the truth.
    pub fn cpu_s_since(&self, earlier: &Self) -> f64 {
        let threads: u64 = self
            .on_cpu_ns
            .iter()
            .map(|(tid, ns)| ns.saturating_sub(earlier.on_cpu_ns.get(tid).copied().unwrap_or(0)))
            .sum();
        let ticks = self.ticks.saturating_sub(earlier.ticks).saturating_sub(1);
        (threads as f64 / 1e9).max(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// What `requests` requests cost between `earlier` and this sample.
    pub fn cost_since(&self, earlier: &Self, requests: u64) -> ServerCost {
        let each = |total: f64| if requests == 0 { 0.0 } else { total / requests as f64 };
        let cpu_s = self.cpu_s_since(earlier);
        ServerCost {
            cpu_us_per_request: each(cpu_s * 1e6),
            rss_anon_bytes: self.rss_anon_bytes,
            pss_bytes: self.pss_bytes,
            threads: self.threads,
            context_switches_per_request: each(
                self.switches.saturating_sub(earlier.switches) as f64
            ),
            cpu_s,
        }
    }
}

/// Seconds that all cores together were busy since the machine started.
///
/// # Errors
/// If `/proc/stat` cannot be read.
pub fn machine_busy_s() -> procfs::ProcResult<f64> {
    use procfs::CurrentSI;
    let total = procfs::KernelStats::current()?.total;
    let busy = total.user
        + total.nice
        + total.system
        + total.irq.unwrap_or(0)
        + total.softirq.unwrap_or(0);
    Ok(busy as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_pays_for_what_it_does() {
        let pid = std::process::id().try_into().unwrap();
        let before = Sample::of(pid).unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 50 {
            std::hint::black_box(common::job::digest(1, 100));
        }
        let cost = Sample::of(pid).unwrap().cost_since(&before, 10);
        assert!(cost.cpu_s > 0.01 && cost.cpu_us_per_request > 1_000.0, "{cost:?}");
        assert!(cost.rss_anon_bytes > 0 && cost.pss_bytes > 0 && cost.threads > 0, "{cost:?}");
    }

    #[test]
    fn no_process_is_said() {
        let error = Sample::of(i32::MAX).unwrap_err().to_string();
        assert!(error.contains("cannot read /proc/2147483647"), "{error}");
    }
}
