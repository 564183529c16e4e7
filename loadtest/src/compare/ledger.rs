//! What a request costs a server, by kind: system calls, hand-offs, bytes, memory.
//!
//! It is the difference of two looks at the server's own counters while a load is on, so that
//! neither start nor connects are in it. The block is one of its own: to count allocations costs
//! time, so none of the figures that are compared is from it.

use std::time::Duration;

use common::stats::Snapshot;
use serde::{Deserialize, Serialize};

use super::bench::{Bench, BenchError, Load};
use crate::process::{Contender, Launch, Server};
use crate::run::run_watched;
use crate::target::Protocol;

/// Long enough for several looks, and for a thousand requests that wait.
pub const LEDGER_BLOCK: Duration = Duration::from_millis(500);

/// What a request cost: each field but the first is per request that was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// How many were answered between the two looks.
    pub requests: u64,
    /// System calls that read from a connection.
    pub reads: f64,
    /// ... that wrote to one.
    pub writes: f64,
    /// ... that waited for events.
    pub waits: f64,
    /// ... that woke up a loop from another thread.
    pub wakes: f64,
    /// ... that said which events are to be told.
    pub registrations: f64,
    /// Times that work was put into another thread's queue.
    pub handoffs: f64,
    /// Bytes that the kernel copied to the server.
    pub bytes_read: f64,
    /// Bytes that it copied from there.
    pub bytes_written: f64,
    /// Bytes that the server copied itself, on framed connections; nobody counts those of HTTP/2.
    pub bytes_copied: Option<f64>,
    /// Times that memory was asked for, by all threads, where it was counted.
    pub allocations: Option<f64>,
    /// Bytes that were asked for.
    pub allocated_bytes: Option<f64>,
}

impl Ledger {
    /// What a request cost from `before` to `after`; nothing where none was answered.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let requests = after.requests.saturating_sub(before.requests);
        if requests == 0 {
            return None;
        }
        let each = |of: fn(&Snapshot) -> u64| {
            of(after).saturating_sub(of(before)) as f64 / requests as f64
        };
        let where_counted = |of: fn(&Snapshot) -> Option<u64>| {
            let since = of(after)?.saturating_sub(of(before)?);
            Some(since as f64 / requests as f64)
        };
        Some(Self {
            requests,
            reads: each(|now| now.reads),
            writes: each(|now| now.writes),
            waits: each(|now| now.waits),
            wakes: each(|now| now.wakes),
            registrations: each(|now| now.registrations),
            handoffs: each(|now| now.handoffs),
            bytes_read: each(|now| now.bytes_read),
            bytes_written: each(|now| now.bytes_written),
            bytes_copied: where_counted(|now| Some(now.bytes_copied).filter(|bytes| *bytes > 0)),
            allocations: where_counted(|now| now.allocations),
            allocated_bytes: where_counted(|now| now.allocated_bytes),
        })
    }

    /// System calls of all the kinds that the server counts.
    pub fn system_calls(&self) -> f64 {
        self.reads + self.writes + self.waits + self.wakes + self.registrations
    }
}

impl Bench<'_> {
    /// What a request of this load costs, by the counters of a server that counts allocations too;
    /// nothing where it has none to show.
    ///
    /// # Errors
    /// If the load does not run.
    pub fn ledger(&self, contender: Contender, load: &Load) -> Result<Option<Ledger>, BenchError> {
        if self.is_interrupted() || contender.protocol == Protocol::Raw {
            return Ok(None);
        }
        let launch = Launch { counts_allocations: true, ..self.launch().clone() };
        // One of another version may not know that flag: then there is no ledger of it.
        let Ok(server) = Server::start(contender, &launch) else { return Ok(None) };
        let load = Load { measured: LEDGER_BLOCK, ..load.clone() };
        let (mut first, mut last) = (None, None);
        run_watched(&self.config(&load, server.target, None), self.interrupt(), |standing| {
            // What is answered before the end of the warm-up does not count there.
            if standing.ok > 0 {
                last = server.stats();
                first = first.or(last);
            }
        })?;
        server.stop();
        Ok(first.zip(last).and_then(|(first, last)| Ledger::between(&first, &last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // quotients of small powers of two
    fn each_figure_is_what_was_added_by_request() {
        let before = Snapshot { requests: 10, reads: 100, bytes_read: 7, ..Snapshot::default() };
        let after = Snapshot {
            requests: 14,
            reads: 108,
            writes: 4,
            waits: 2,
            wakes: 1,
            registrations: 3,
            handoffs: 6,
            bytes_read: 47,
            bytes_written: 20,
            ..before
        };
        let ledger = Ledger::between(&before, &after).unwrap();
        let calls = [ledger.reads, ledger.writes, ledger.waits, ledger.wakes, ledger.registrations];
        assert_eq!((ledger.requests, calls), (4, [2.0, 1.0, 0.5, 0.25, 0.75]));
        assert_eq!((ledger.system_calls(), ledger.handoffs), (4.5, 1.5));
        assert_eq!((ledger.bytes_read, ledger.bytes_written), (10.0, 5.0));
        assert_eq!((ledger.bytes_copied, ledger.allocations), (None, None), "nobody counts them");
    }

    #[test]
    fn what_was_not_counted_is_not_zero() {
        let before = Snapshot { bytes_copied: 2, allocations: Some(4), ..Snapshot::default() };
        let after = Snapshot {
            requests: 2,
            bytes_copied: 6,
            allocations: Some(4),
            allocated_bytes: Some(4),
            ..Snapshot::default()
        };
        let ledger = Ledger::between(&before, &after).unwrap();
        assert_eq!((ledger.bytes_copied, ledger.allocations), (Some(2.0), Some(0.0)));
        assert_eq!(ledger.allocated_bytes, None, "only at the end");
        assert_eq!(Ledger::between(&after, &after), None, "of no request nothing can be said");
    }
}
