//! The places for requests in flight, where a thread waits for one by blocking.
//! It pays with a lock for each request that takes time; those that are answered at once need none.

use std::collections::VecDeque;
use std::sync::PoisonError;

use common::config::Overload;
use common::{Config, Stats};

use crate::sync::mpsc::{self, SyncSender};
use crate::sync::{Mutex, MutexGuard};

/// A semaphore, fair to those who wait.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<PlacesState>,
    overload: Overload,
}

#[derive(Debug)]
struct PlacesState {
    free: usize,
    /// Whoever waits for one, in the order of their coming. A place is given to the first and not
    /// put back: or else who pipelines would take it again before the other has woken up.
    line: VecDeque<SyncSender<()>>,
}

impl Places {
    pub(super) fn new(config: &Config) -> Self {
        let state = PlacesState { free: config.in_flight_max, line: VecDeque::new() };
        Self { state: Mutex::new(state), overload: config.overload }
    }

    /// A place, as soon as it is this thread's turn; nothing where none is free, and nobody is to
    /// wait for one.
    pub(super) fn take(&self, stats: &Stats) -> Option<Place<'_>> {
        let mut places = self.state();
        if places.free > 0 {
            places.free -= 1;
        } else if self.overload == Overload::Reject {
            stats.rejected();
            return None;
        } else {
            let (give, turn) = mpsc::sync_channel(1);
            places.line.push_back(give);
            drop(places);
            let _queued = stats.queue();
            turn.recv().expect("whoever stands in line is called before it is dropped");
        }
        Some(Place(self))
    }

    fn state(&self) -> MutexGuard<'_, PlacesState> {
        // It is whole between any two of its operations, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's place among those in flight, while it lives.
pub(super) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        match state.line.pop_front() {
            Some(next) => drop(next.send(())), // it has room for one, so this does not wait
            None => state.free += 1,
        }
    }
}
