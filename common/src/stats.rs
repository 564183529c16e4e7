//! A server's own counters: what it did, and what that cost in system calls.
//!
//! All are relaxed atomics: each is exact, but two of them read while the server works may be
//! of slightly different moments.

use crate::connection::Timeout;
use crate::message::{Code, Response};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A handle on one server's counters; clones are handles on the same.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    waits: AtomicU64,
    in_progress: AtomicU64,
    in_progress_peak: AtomicU64,
    idle_timeouts: AtomicU64,
    read_timeouts: AtomicU64,
    write_timeouts: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Connections that were served.
    pub accepted: u64,
    /// Connections above the limit.
    pub refused: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Requests that were answered, whatever the answer.
    pub requests: u64,
    /// Answers with a code other than OK, and protocol errors.
    pub failed: u64,
    /// System calls that read from a connection.
    pub reads: u64,
    /// System calls that wrote to a connection.
    pub writes: u64,
    /// System calls that waited for events: 0 where the reads themselves wait.
    pub waits: u64,
    /// Requests now waiting, computing or blocked: those whose plan was not to reply at once.
    pub in_progress: u64,
    /// The most of them at any time.
    pub in_progress_peak: u64,
    /// Connections that were closed because no request came.
    #[serde(default)]
    pub idle_timeouts: u64,
    /// ... because a request did not become whole.
    #[serde(default)]
    pub read_timeouts: u64,
    /// ... because replies were not taken.
    #[serde(default)]
    pub write_timeouts: u64,
}

/// What one turn of a server did: plain numbers, added to [`Stats`] once a turn, so that cores
/// do not fight over a counter for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// See [`Snapshot::requests`].
    pub requests: u64,
    /// See [`Snapshot::failed`].
    pub failed: u64,
    /// See [`Snapshot::reads`].
    pub reads: u64,
    /// See [`Snapshot::writes`].
    pub writes: u64,
    /// See [`Snapshot::waits`].
    pub waits: u64,
}

impl Tally {
    /// Counts a request that was answered by `response`.
    pub fn answered(&mut self, response: &Response) {
        self.requests += 1;
        self.failed += u64::from(response.code != Code::Ok as u32);
    }
}

impl Stats {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a connection as accepted, and as open until the guard is dropped; or, where
    /// `connections_max` are open already, as refused.
    pub fn admit(&self, connections_max: usize) -> Option<Open> {
        let room = |open| (open < connections_max as u64).then_some(open + 1);
        if self.counters.open.fetch_update(Relaxed, Relaxed, room).is_ok() {
            self.counters.accepted.fetch_add(1, Relaxed);
            Some(Open(self.clone()))
        } else {
            self.counters.refused.fetch_add(1, Relaxed);
            None
        }
    }

    /// Adds what a turn did, and leaves `tally` at zero.
    pub fn add(&self, tally: &mut Tally) {
        let Tally { requests, failed, reads, writes, waits } = std::mem::take(tally);
        for (counter, by) in [
            (&self.counters.requests, requests),
            (&self.counters.failed, failed),
            (&self.counters.reads, reads),
            (&self.counters.writes, writes),
            (&self.counters.waits, waits),
        ] {
            if by > 0 {
                counter.fetch_add(by, Relaxed);
            }
        }
    }

    /// Counts a request as in progress until the guard is dropped.
    pub fn begin(&self) -> InProgress {
        let now = self.counters.in_progress.fetch_add(1, Relaxed) + 1;
        self.counters.in_progress_peak.fetch_max(now, Relaxed);
        InProgress(self.clone())
    }

    /// Counts a connection that is closed because its peer took too long.
    pub fn timed_out(&self, timeout: Timeout) {
        let counter = match timeout {
            Timeout::Idle => &self.counters.idle_timeouts,
            Timeout::Read => &self.counters.read_timeouts,
            Timeout::Write => &self.counters.write_timeouts,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let counters = &*self.counters;
        Snapshot {
            accepted: counters.accepted.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            open: counters.open.load(Relaxed),
            requests: counters.requests.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            reads: counters.reads.load(Relaxed),
            writes: counters.writes.load(Relaxed),
            waits: counters.waits.load(Relaxed),
            in_progress: counters.in_progress.load(Relaxed),
            in_progress_peak: counters.in_progress_peak.load(Relaxed),
            idle_timeouts: counters.idle_timeouts.load(Relaxed),
            read_timeouts: counters.read_timeouts.load(Relaxed),
            write_timeouts: counters.write_timeouts.load(Relaxed),
        }
    }
}

/// An open connection, while it lives.
#[derive(Debug)]
pub struct Open(Stats);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.open.fetch_sub(1, Relaxed);
    }
}

/// A request in progress, while it lives.
#[derive(Debug)]
pub struct InProgress(Stats);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.counters.in_progress.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_limit_is_admitted_and_room_returns() {
        let stats = Stats::new();
        let first = stats.admit(2);
        let second = stats.admit(2);
        assert!(first.is_some() && second.is_some() && stats.admit(2).is_none());
        drop(first);
        assert!(stats.admit(2).is_some());
        drop(second);
        let now = stats.snapshot();
        assert_eq!((now.accepted, now.refused, now.open), (3, 1, 0));
    }

    #[test]
    fn a_tally_is_added_once() {
        let (stats, mut tally) = (Stats::new(), Tally::default());
        tally.answered(&Response::ok(1, vec![]));
        tally.answered(&Response::error(2, Code::Internal, "no"));
        tally.reads = 5;
        stats.add(&mut tally);
        stats.add(&mut tally);
        let now = stats.snapshot();
        assert_eq!((now.requests, now.failed, now.reads, now.waits), (2, 1, 5, 0));
    }

    #[test]
    fn the_peak_outlives_the_requests() {
        let stats = Stats::new();
        let three = [stats.begin(), stats.begin(), stats.begin()];
        drop(three);
        drop(stats.begin());
        let now = stats.snapshot();
        assert_eq!((now.in_progress, now.in_progress_peak), (0, 3));
    }
}
