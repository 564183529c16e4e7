//! The conversations that are going on, and the way to end them from outside: a thread that is
//! blocked in a read can only be woken through its socket. It pays with a second handle on each.

use std::collections::HashMap;
use std::net::{self, TcpStream};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::stats::Open;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The conversations that are going on.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    streams: Mutex<Streams>,
    one_ended: Condvar,
}

#[derive(Debug, Default)]
struct Streams {
    by_id: HashMap<u64, (Arc<TcpStream>, Open)>,
    next_id: u64,
}

impl Conversations {
    pub(crate) fn add(self: &Arc<Self>, stream: TcpStream, open: Open) -> Conversation {
        let stream = Arc::new(stream);
        let mut streams = self.streams();
        let id = streams.next_id;
        streams.next_id += 1;
        streams.by_id.insert(id, (Arc::clone(&stream), open));
        Conversation { id, stream, among: Arc::clone(self) }
    }

    /// Lets each conversation answer what it has read, and cuts what is left after `timeout`.
    pub(crate) fn drain(&self, timeout: Duration) {
        let mut streams = self.streams();
        for (stream, _) in streams.by_id.values() {
            // A blocked read returns with "end of input"; replies can still be written.
            let _ = stream.shutdown(net::Shutdown::Read);
        }
        streams = self
            .one_ended
            .wait_timeout_while(streams, timeout, |streams| !streams.by_id.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        for (stream, _) in streams.by_id.values() {
            let _ = stream.shutdown(net::Shutdown::Both);
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // The map is whole between any two of its operations, whoever panicked.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One conversation's socket, which its drain can reach while this lives.
#[derive(Debug)]
pub(crate) struct Conversation {
    id: u64,
    stream: Arc<TcpStream>,
    among: Arc<Conversations>,
}

impl Deref for Conversation {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.among.streams().by_id.remove(&self.id);
        self.among.one_ended.notify_one();
    }
}
