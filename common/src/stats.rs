//! A server's own counters: what it did, and what that cost in system calls.
//!
//! All are relaxed atomics: each is exact, but two of them read while the server works may be
//! of slightly different moments.

use std::time::Instant;

use crate::connection::{Connection, Moved, Timeout};
use crate::latency::{Distribution, Histogram, Latencies};
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
    answered_ok: AtomicU64,
    answered_error: [AtomicU64; ERRORS.len()],
    protocol_errors: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    waits: AtomicU64,
    wakes: AtomicU64,
    registrations: AtomicU64,
    handoffs: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    bytes_copied: AtomicU64,
    in_progress: AtomicU64,
    in_progress_peak: AtomicU64,
    queued: AtomicU64,
    queued_peak: AtomicU64,
    rejected: AtomicU64,
    idle_timeouts: AtomicU64,
    read_timeouts: AtomicU64,
    write_timeouts: AtomicU64,
    /// None where nobody asked for it: then no clock is read for it either.
    latency: Option<Histogram>,
}

/// What a request that fails is answered with; whatever else came is counted as the last.
pub const ERRORS: [Code; 5] = [
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::ResourceExhausted,
    Code::Internal,
];

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Requests that wait for somebody to begin with them.
    #[serde(default)]
    pub queued: u64,
    /// The most of them at any time.
    #[serde(default)]
    pub queued_peak: u64,
    /// Requests that were told to come back later, because too many were there.
    #[serde(default)]
    pub rejected: u64,
    /// Requests that were answered with this code.
    #[serde(default)]
    pub invalid_argument: u64,
    /// ... with this one.
    #[serde(default)]
    pub deadline_exceeded: u64,
    /// ... with this one.
    #[serde(default)]
    pub not_found: u64,
    /// ... with this one.
    #[serde(default)]
    pub resource_exhausted: u64,
    /// ... with this one.
    #[serde(default)]
    pub internal: u64,
    /// What came and was no request.
    #[serde(default)]
    pub protocol_errors: u64,
    /// System calls that woke up a loop from another thread: writes to its eventfd. A runtime's
    /// own are not among them.
    #[serde(default)]
    pub wakes: u64,
    /// System calls that said which events of a socket are to be told (`epoll_ctl`). A runtime's
    /// own are not among them.
    #[serde(default)]
    pub registrations: u64,
    /// Work that was put into another thread's queue. Where that thread sleeps, this costs a futex
    /// call, which the queue makes and nobody counts.
    #[serde(default)]
    pub handoffs: u64,
    /// Bytes that those reads brought: the kernel copied each.
    #[serde(default)]
    pub bytes_read: u64,
    /// Bytes that those writes took: the kernel copied each.
    #[serde(default)]
    pub bytes_written: u64,
    /// Bytes that framed connections copied: see [`Moved::copied`]. Nobody counts those of HTTP/2.
    #[serde(default)]
    pub bytes_copied: u64,
    /// Times that memory was asked for, by all threads; none where that is not counted.
    #[serde(default)]
    pub allocations: Option<u64>,
    /// Bytes that were asked for.
    #[serde(default)]
    pub allocated_bytes: Option<u64>,
}

/// What one turn of a server did: plain numbers, added to [`Stats`] once a turn, so that cores
/// do not fight over a counter for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// See [`Snapshot::requests`].
    pub requests: u32,
    /// See [`Snapshot::failed`].
    pub failed: u32,
    /// See [`Snapshot::reads`].
    pub reads: u32,
    /// See [`Snapshot::writes`].
    pub writes: u32,
    /// See [`Snapshot::waits`].
    pub waits: u32,
    /// See [`Snapshot::wakes`].
    pub wakes: u32,
    /// See [`Snapshot::registrations`].
    pub registrations: u32,
    /// See [`Snapshot::handoffs`].
    pub handoffs: u32,
    /// See [`Snapshot::bytes_read`] and those after it.
    pub moved: Moved,
    /// How many of those that failed were answered with which of [`ERRORS`].
    pub errors: [u32; ERRORS.len()],
    /// How long they took, where [`Stats::tally`] knows of somebody who asks.
    pub latencies: Option<Box<Latencies>>,
}

impl Tally {
    /// Counts a request that was answered by `response`.
    pub fn answered(&mut self, response: &Response) {
        self.requests += 1;
        if response.code != Code::Ok as u32 {
            self.failed += 1;
            let named = ERRORS.iter().position(|code| *code as u32 == response.code);
            self.errors[named.unwrap_or(ERRORS.len() - 1)] += 1;
        }
    }

    /// Takes down which bytes a connection moved, and how long the replies took that the kernel now
    /// has, if anybody wants to know.
    pub fn delivered(&mut self, connection: &mut Connection) {
        self.moved += connection.take_moved();
        if let Some(latencies) = &mut self.latencies
            && let Some((replies, since)) = connection.take_delivered()
        {
            latencies.record(replies, since);
        }
    }

    /// The time, if anybody wants to know how long things take.
    pub fn clock(&self) -> Option<Instant> {
        self.latencies.is_some().then(Instant::now)
    }

    /// Takes down how long a request took that began at such a time.
    pub fn took_since(&mut self, began: Option<Instant>) {
        if let (Some(latencies), Some(began)) = (&mut self.latencies, began) {
            latencies.record(1, began);
        }
    }
}

impl Stats {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counters at zero, and a histogram of latencies: costs a clock read a turn.
    pub fn with_latency() -> Self {
        let latency = Some(Histogram::default());
        Self { counters: Arc::new(Counters { latency, ..Counters::default() }) }
    }

    /// A tally at zero that takes down what these counters want to know.
    pub fn tally(&self) -> Tally {
        let latencies = self.counters.latency.as_ref().map(|_| Box::default());
        Tally { latencies, ..Tally::default() }
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
        if tally.failed > 0 {
            self.add_errors(tally);
        }
        let moved = std::mem::take(&mut tally.moved);
        let take = |count: &mut u32| u64::from(std::mem::take(count));
        // What is left are those that went well.
        for (counter, by) in [
            (&self.counters.answered_ok, take(&mut tally.requests)),
            (&self.counters.reads, take(&mut tally.reads)),
            (&self.counters.writes, take(&mut tally.writes)),
            (&self.counters.waits, take(&mut tally.waits)),
            (&self.counters.wakes, take(&mut tally.wakes)),
            (&self.counters.registrations, take(&mut tally.registrations)),
            (&self.counters.handoffs, take(&mut tally.handoffs)),
            (&self.counters.bytes_read, moved.received),
            (&self.counters.bytes_written, moved.sent),
            (&self.counters.bytes_copied, moved.copied),
        ] {
            if by > 0 {
                counter.fetch_add(by, Relaxed);
            }
        }
        if let (Some(histogram), Some(latencies)) = (&self.counters.latency, &mut tally.latencies) {
            histogram.add(latencies);
        }
    }

    /// Takes the errors out of `tally`.
    #[cold]
    fn add_errors(&self, tally: &mut Tally) {
        let errors = std::mem::take(&mut tally.errors);
        let answered = errors.iter().sum();
        for (counter, by) in self.counters.answered_error.iter().zip(errors) {
            counter.fetch_add(by.into(), Relaxed);
        }
        let protocol_errors = std::mem::take(&mut tally.failed).saturating_sub(answered);
        self.counters.protocol_errors.fetch_add(protocol_errors.into(), Relaxed);
        tally.requests = tally.requests.saturating_sub(answered);
    }

    /// Counts a request as in progress until the guard is dropped.
    pub fn begin(&self) -> InProgress {
        let now = self.counters.in_progress.fetch_add(1, Relaxed) + 1;
        raise(&self.counters.in_progress_peak, now);
        InProgress(self.clone())
    }

    /// Counts a request as waiting for somebody to begin with it, until the guard is dropped.
    pub fn queue(&self) -> Queued {
        self.queued();
        Queued(self.clone())
    }

    /// The same until [`dequeued`](Self::dequeued): for a queue between cores, across which a
    /// guard's own count would have to go too.
    pub fn queued(&self) {
        let now = self.counters.queued.fetch_add(1, Relaxed) + 1;
        raise(&self.counters.queued_peak, now);
    }

    /// Counts a request as no longer waiting.
    pub fn dequeued(&self) {
        self.counters.queued.fetch_sub(1, Relaxed);
    }

    /// Counts a request that was told to come back later.
    pub fn rejected(&self) {
        self.counters.rejected.fetch_add(1, Relaxed);
    }

    /// How long requests took, if it was to be taken down: on a framed connection from the read
    /// that completed a request (of an event loop: from when it woke up for it) until the kernel
    /// had its reply. Replies that a peer is slow to take count as long as the first of them.
    pub fn latency(&self) -> Option<Distribution> {
        self.counters.latency.as_ref().map(Histogram::distribution)
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
        let now = |counter: &AtomicU64| counter.load(Relaxed);
        let errors = counters.answered_error.each_ref().map(now);
        let [invalid_argument, deadline_exceeded, not_found, resource_exhausted, internal] = errors;
        let answered_error: u64 = errors.iter().sum();
        let protocol_errors = now(&counters.protocol_errors);
        Snapshot {
            accepted: now(&counters.accepted),
            refused: now(&counters.refused),
            open: now(&counters.open),
            requests: now(&counters.answered_ok) + answered_error,
            failed: answered_error + protocol_errors,
            reads: now(&counters.reads),
            writes: now(&counters.writes),
            waits: now(&counters.waits),
            in_progress: now(&counters.in_progress),
            in_progress_peak: now(&counters.in_progress_peak),
            idle_timeouts: now(&counters.idle_timeouts),
            read_timeouts: now(&counters.read_timeouts),
            write_timeouts: now(&counters.write_timeouts),
            queued: now(&counters.queued),
            queued_peak: now(&counters.queued_peak),
            rejected: now(&counters.rejected),
            invalid_argument,
            deadline_exceeded,
            not_found,
            resource_exhausted,
            internal,
            protocol_errors,
            wakes: now(&counters.wakes),
            registrations: now(&counters.registrations),
            handoffs: now(&counters.handoffs),
            bytes_read: now(&counters.bytes_read),
            bytes_written: now(&counters.bytes_written),
            bytes_copied: now(&counters.bytes_copied),
            // Of the process, whose allocator knows.
            allocations: None,
            allocated_bytes: None,
        }
    }
}

/// A maximum is seldom a new one: a look costs less than a write that changes nothing.
fn raise(peak: &AtomicU64, now: u64) {
    if peak.load(Relaxed) < now {
        peak.fetch_max(now, Relaxed);
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

/// A request that waits, while it lives.
#[derive(Debug)]
pub struct Queued(Stats);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dequeued();
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
    fn all_that_a_turn_did_is_in_its_place() {
        let (stats, moved) = (Stats::new(), Moved { received: 6, sent: 7, copied: 8 });
        let mut tally =
            Tally { waits: 2, wakes: 3, registrations: 4, handoffs: 5, moved, ..Tally::default() };
        stats.add(&mut tally);
        assert_eq!(tally, Tally::default());
        let now = stats.snapshot();
        assert_eq!((now.waits, now.wakes, now.registrations, now.handoffs), (2, 3, 4, 5));
        assert_eq!((now.bytes_read, now.bytes_written, now.bytes_copied), (6, 7, 8));
    }

    #[test]
    fn every_error_has_its_place() {
        let (stats, mut tally) = (Stats::new(), Tally::default());
        tally.answered(&Response::ok(1, vec![]));
        for (times, code) in (1..).zip(ERRORS) {
            (0..times).for_each(|id| tally.answered(&Response::error(id, code, "no")));
        }
        tally.failed += 5; // no requests: nobody answered them as such
        stats.add(&mut tally);
        stats.add(&mut tally);
        let now = stats.snapshot();
        assert_eq!((now.requests, now.failed, now.protocol_errors), (16, 20, 5));
        assert_eq!((now.invalid_argument, now.deadline_exceeded), (1, 2));
        assert_eq!((now.not_found, now.resource_exhausted, now.internal), (3, 4, 5));
    }

    #[test]
    fn no_clock_is_read_unless_asked_for() {
        let (off, on) = (Stats::new(), Stats::with_latency());
        assert_eq!((off.tally().clock(), off.latency()), (None, None));
        let mut tally = on.tally();
        let began = tally.clock();
        tally.took_since(began);
        on.add(&mut tally);
        let count = |stats: &Stats| stats.latency().unwrap().counts.iter().sum::<u64>();
        assert_eq!(count(&on), 1);
        on.add(&mut tally);
        assert!(tally.clock().is_some(), "also in the next turn");
        assert_eq!(count(&on), 1);
    }

    #[test]
    fn a_reply_is_delivered_when_its_last_byte_is_sent() {
        const LONG: std::time::Duration = std::time::Duration::from_millis(20);
        let stats = Stats::with_latency();
        let began = Instant::now();
        let mut connection = Connection::new(crate::Limits::default(), began);
        let mut bytes = Vec::new();
        for id in 0..3 {
            let work = Some(crate::Work::Echo(vec![]));
            crate::frame::encode(&crate::Request { id, timeout_ms: 0, work }, &mut bytes);
        }
        connection.receive(&bytes, began);
        while let Some(request) = connection.next_request().unwrap() {
            connection.respond(Response::ok(request.id, vec![]));
        }
        let mut tally = stats.tally();
        for sent in [connection.to_send().len() - 1, 1] {
            tally.delivered(&mut connection);
            tally.moved = Moved::default();
            assert_eq!(tally, stats.tally(), "not yet");
            connection.sent(sent, Instant::now());
        }
        std::thread::sleep(LONG);
        tally.delivered(&mut connection);
        tally.delivered(&mut connection);
        stats.add(&mut tally);
        let latency = stats.latency().unwrap();
        assert_eq!(latency.counts.iter().sum::<u64>(), 3, "each of them once");
        assert!(latency.sum >= 3 * LONG, "{latency:?}");
    }

    #[test]
    fn a_queue_has_a_length_and_a_peak() {
        let stats = Stats::new();
        let two = [stats.queue(), stats.queue()];
        assert_eq!(stats.snapshot().queued, 2);
        drop(two);
        drop(stats.queue());
        stats.rejected();
        let now = stats.snapshot();
        assert_eq!((now.queued, now.queued_peak, now.rejected), (0, 2, 1));
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
