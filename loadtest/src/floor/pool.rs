//! One thread that waits for all connections, and a few that serve them.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::ValueEnum;
use crossbeam_channel::{Receiver, Sender};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::{EVENTS_MAX, LISTENER, READ_BYTES, poll_of, ready};

/// Connections that wait for a worker at the most: each waits once, and more are not accepted.
const QUEUE: usize = 16 * 1024;
/// What one read takes at the most: it stands on a stack.
const CHUNK_BYTES: usize = READ_BYTES / 4;

/// What the front passes to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Handoff {
    /// The front reads; a worker writes.
    Bytes,
    /// The front only waits; a worker reads, writes, and arms the connection again.
    Ready,
}

/// Echoes until the process ends.
///
/// # Errors
/// If epoll or the listener fails, or there is no thread; a connection that fails is only closed.
pub fn serve(listener: &TcpListener, workers: usize, handoff: Handoff) -> io::Result<()> {
    let poll = Arc::new(poll_of(listener)?);
    let (jobs, queue) = crossbeam_channel::bounded::<Arc<Peer>>(QUEUE);
    for _ in 0..workers {
        let (queue, poll) = (queue.clone(), Arc::clone(&poll));
        let work = move || match handoff {
            Handoff::Bytes => queue.iter().for_each(|peer| peer.write_back()),
            Handoff::Ready => queue.iter().for_each(|peer| peer.echo(&poll)),
        };
        thread::Builder::new().name("floor-worker".to_owned()).spawn(work)?;
    }
    Front { poll, jobs, handoff, peers: HashMap::new() }.run(listener, &queue)
}

struct Front {
    poll: Arc<OwnedFd>,
    jobs: Sender<Arc<Peer>>,
    handoff: Handoff,
    peers: HashMap<u64, Arc<Peer>>,
}

impl Front {
    fn run(mut self, listener: &TcpListener, queue: &Receiver<Arc<Peer>>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut next = 0;
        loop {
            events.clear();
            match epoll::wait(&self.poll, spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let number = { event.data }.u64();
                if number == LISTENER {
                    let has_room = self.peers.len() + queue.len() < QUEUE;
                    if let Some(peer) = self.accept(listener, next).filter(|_| has_room) {
                        self.peers.insert(next, Arc::new(peer));
                        next += 1;
                    }
                } else if !self.hand_over(number) {
                    self.peers.remove(&number);
                }
            }
        }
    }

    fn accept(&self, listener: &TcpListener, number: u64) -> Option<Peer> {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        stream.set_nodelay(true).ok()?;
        let mode = match self.handoff {
            Handoff::Bytes => EventFlags::ET,
            Handoff::Ready => EventFlags::ONESHOT,
        };
        epoll::add(&*self.poll, &stream, EventData::new_u64(number), EventFlags::IN | mode).ok()?;
        Some(Peer { number, stream, state: Mutex::default() })
    }

    /// False at the end of the connection.
    fn hand_over(&self, number: u64) -> bool {
        let Some(peer) = self.peers.get(&number) else { return true };
        if self.handoff == Handoff::Bytes {
            match peer.read_ahead() {
                Ok(true) => {}
                Ok(false) => return true, // a worker has it, and will look again
                Err(_) => return false,
            }
        } else if peer.state().is_over {
            return false;
        }
        self.jobs.send(Arc::clone(peer)).is_ok()
    }
}

/// A connection.
struct Peer {
    number: u64,
    stream: TcpStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Read, and not yet written.
    bytes: Vec<u8>,
    /// A worker has it.
    is_busy: bool,
    /// An event came meanwhile.
    is_readable: bool,
    /// The peer is gone.
    is_over: bool,
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for the worker who will write; whether there is anything for one.
    fn read_ahead(&self) -> io::Result<bool> {
        let mut state = self.state();
        if state.is_busy {
            state.is_readable = true;
            return Ok(false);
        }
        state.is_busy = self.read_into(&mut state.bytes)?;
        Ok(state.is_busy)
    }

    /// Whether anything came.
    fn read_into(&self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match ready((&self.stream).read(&mut chunk))? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(read) => {
                    bytes.extend_from_slice(&chunk[..read]);
                    if read < chunk.len() {
                        return Ok(true);
                    }
                }
                None => return Ok(!bytes.is_empty()),
            }
        }
    }

    /// A worker's part where the front has read; it reads on where an event came meanwhile.
    fn write_back(&self) {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            std::mem::swap(&mut bytes, &mut self.state().bytes);
            if self.write_all(&bytes).is_err() {
                return;
            }
            let mut state = self.state();
            let is_readable = std::mem::take(&mut state.is_readable);
            if !is_readable || !self.read_into(&mut state.bytes).unwrap_or(false) {
                state.is_busy = false;
                return;
            }
        }
    }

    /// A worker's part where the front has only waited.
    fn echo(&self, poll: &OwnedFd) {
        let mut chunk = [0; CHUNK_BYTES];
        let echoed = match ready((&self.stream).read(&mut chunk)) {
            Ok(Some(0)) | Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Some(read)) => self.write_all(&chunk[..read]),
            Ok(None) => Ok(()),
        };
        self.state().is_over = echoed.is_err();
        let events = EventFlags::IN | EventFlags::ONESHOT;
        let _ = epoll::modify(poll, &self.stream, EventData::new_u64(self.number), events);
    }

    /// The socket does not block, and a peer that takes nothing is not waited for.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }
}
