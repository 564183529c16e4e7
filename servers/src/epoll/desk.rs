//! What the clients of one loop share: its clock, its buffer, its timers, its places for requests in
//! flight. Only one client has its turn at a time, so that nothing here needs a lock.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use common::Response;
use common::config::{Offload, Overload};
use common::stats::{InProgress, Tally};
use mio::Waker;

use super::ClientKey;
use crate::Context;
use crate::sync::channel::Sender;

/// What a client needs of its loop while it has its turn.
pub(super) struct Desk {
    pub(super) context: Context,
    /// When the loop last woke up: precise enough for whatever counts from a read or a write, and
    /// cheaper than to ask for each.
    pub(super) now: Instant,
    /// One read buffer for all clients: only one of them has its turn at a time.
    pub(super) chunk: Box<[u8]>,
    /// One entry for each client that waits for time to pass.
    pub(super) timers: BTreeSet<(Instant, ClientKey)>,
    /// Jobs on other threads, also those whose client has left: a peer that resets and comes again
    /// does not get more of them queued.
    pub(super) jobs_elsewhere: usize,
    /// This loop's share of the places for requests in flight.
    pub(super) in_flight_max: usize,
    /// Clients whose request waits for a place, each once.
    pub(super) line: VecDeque<ClientKey>,
    pub(super) overload: Overload,
    pub(super) offload: Offload,
    pub(super) cores: Arc<rayon::ThreadPool>,
    /// The way back to the loop for work that was done on another thread: no longer than there are
    /// places in flight.
    pub(super) completed: Sender<(ClientKey, Response)>,
    pub(super) waker: Arc<Waker>,
    pub(super) tally: Tally,
}

impl Desk {
    pub(super) fn has_place(&self) -> bool {
        self.timers.len() + self.jobs_elsewhere < self.in_flight_max
    }

    /// Counts a job as elsewhere; what the thread that does it calls in the end.
    pub(super) fn send_elsewhere(
        &mut self,
        key: ClientKey,
        in_progress: InProgress,
    ) -> impl FnOnce(Response) + Send + 'static {
        self.jobs_elsewhere += 1;
        self.tally.handoffs += 1;
        let (completed, waker) = (self.completed.clone(), Arc::clone(&self.waker));
        let stats = self.context.stats.clone();
        move |response| {
            drop(in_progress);
            // Where the loop has ended, nobody waits for this.
            if completed.send((key, response)).is_ok() {
                stats.add(&mut Tally { wakes: 1, ..Tally::default() });
                let _ = waker.wake();
            }
        }
    }
}
