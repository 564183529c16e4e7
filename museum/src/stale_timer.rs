//! A timer that names a slot outlives the client for which it was set; when it fires, the next client
//! in that slot is cut off. It needs somebody to leave before its timer and somebody to come in its
//! place, so that no test of one client at a time sees it.
//!
//! The same holds for whatever else comes later and names a slot, or a descriptor: an event of the
//! same batch (epoll(7) warns of it), a result from another thread.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::Instant;

// ANCHOR: broken
/// A timer names a slot.
pub mod broken {
    use super::*;

    /// Where a client is.
    pub type Key = usize;

    /// Clients, and when each has been silent for too long.
    #[derive(Debug, Default)]
    pub struct Table {
        clients: Vec<Option<TcpStream>>,
        timers: BTreeSet<(Instant, Key)>,
    }

    impl Table {
        /// Takes a client into the first slot that is free.
        pub fn insert(&mut self, client: TcpStream, until: Instant) -> Key {
            let free = self.clients.iter().position(Option::is_none);
            let key = free.unwrap_or(self.clients.len());
            self.clients.resize_with(self.clients.len().max(key + 1), || None);
            self.clients[key] = Some(client);
            self.timers.insert((until, key));
            key
        }

        /// The client is done.
        pub fn close(&mut self, key: Key) {
            self.clients[key] = None; // and its timer stays
        }

        /// Closes those whose time has come.
        pub fn fire(&mut self, now: Instant) {
            while let Some(due) = self.timers.pop_first() {
                if due.0 > now {
                    self.timers.insert(due);
                    return;
                }
                self.close(due.1);
            }
        }
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// A timer names a slot and its generation: who comes into the slot later has another name.
pub mod mended {
    use super::*;
    use slotmap::{DefaultKey, SlotMap};

    /// Where a client is, and the how-manieth it is there.
    pub type Key = DefaultKey;

    /// Clients, and when each has been silent for too long.
    #[derive(Debug, Default)]
    pub struct Table {
        clients: SlotMap<Key, TcpStream>,
        timers: BTreeSet<(Instant, Key)>,
    }

    impl Table {
        /// Takes a client into a slot that is free.
        pub fn insert(&mut self, client: TcpStream, until: Instant) -> Key {
            let key = self.clients.insert(client);
            self.timers.insert((until, key));
            key
        }

        /// The client is done.
        pub fn close(&mut self, key: Key) {
            self.clients.remove(key); // none, if it has gone
        }

        /// Closes those whose time has come.
        pub fn fire(&mut self, now: Instant) {
            while let Some(due) = self.timers.pop_first() {
                if due.0 > now {
                    self.timers.insert(due);
                    return;
                }
                self.close(due.1);
            }
        }
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;
    use crate::stage::pair;

    // ANCHOR: test
    /// The scene is the same for both tables, which share no trait.
    macro_rules! newcomer_is_cut_off {
        ($table:ty) => {{
            let (mut table, now) = (<$table>::default(), Instant::now());
            let (soon, later) = (now + Duration::from_secs(10), now + Duration::from_mins(1));
            let ((first, _), (second, mut newcomer)) = (pair(), pair());
            let slot = table.insert(first, soon);
            table.close(slot);
            table.insert(second, later);
            table.fire(soon); // the time comes when the caller says so: nothing here sleeps
            newcomer.set_nonblocking(true).unwrap();
            newcomer.read(&mut [0]).is_ok_and(|bytes| bytes == 0)
        }};
    }

    #[test]
    fn a_newcomer_is_cut_off_by_the_timer_of_another() {
        assert!(newcomer_is_cut_off!(broken::Table));
    }

    #[test]
    fn a_newcomer_has_its_own_time() {
        assert!(!newcomer_is_cut_off!(mended::Table));
    }
    // ANCHOR_END: test
}
