//! One bare epoll loop on one thread, or several that share a port.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;
use socket2::SockRef;

use super::{EVENTS_MAX, LISTENER, READ_BYTES, listen, poll_of, ready};

/// A wait of no time: the loop that never sleeps.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How a loop asks, reads and writes.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a knob of its own
pub struct Knobs {
    /// Loops, each on a thread with a listener of its own (`SO_REUSEPORT`).
    pub loops: usize,
    /// Edge-triggered: an event says that something changed, and is not repeated.
    pub edge: bool,
    /// Reads on until the socket says that it has nothing; else a short read says so.
    pub until_would_block: bool,
    /// Events of one wait at the most.
    pub events: usize,
    /// Asks again at once where nothing has happened.
    pub spin: bool,
    /// What one read takes at the most.
    pub read_bytes: usize,
    /// What one write gives at the most; all of what was read where there is no bound.
    pub write_bytes: usize,
    /// Leaves Nagle's algorithm on.
    pub nagle: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            loops: 1,
            edge: false,
            until_would_block: false,
            events: EVENTS_MAX,
            spin: false,
            read_bytes: READ_BYTES,
            write_bytes: usize::MAX,
            nagle: false,
        }
    }
}

/// Echoes until the process ends.
///
/// # Errors
/// If epoll or a listener fails; a connection that fails is only closed.
pub fn serve(listener: &TcpListener, knobs: &Knobs) -> io::Result<()> {
    let mut listeners = Vec::new();
    if knobs.loops > 1 {
        SockRef::from(listener).set_reuse_port(true)?;
    }
    while listeners.len() + 1 < knobs.loops {
        listeners.push(listen(listener.local_addr()?, true)?);
    }
    for other in listeners {
        let knobs = *knobs;
        thread::Builder::new()
            .name("floor-loop".to_owned())
            .spawn(move || turn_around(&other, &knobs))?;
    }
    turn_around(listener, knobs)
}

fn turn_around(listener: &TcpListener, knobs: &Knobs) -> io::Result<()> {
    let poll = poll_of(listener)?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let mut next = 0;
    let mut events = Vec::with_capacity(knobs.events);
    let mut buffer = vec![0; knobs.read_bytes];
    let patience = knobs.spin.then_some(&AT_ONCE);
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), patience) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = { event.data }.u64();
            if number == LISTENER {
                if let Some(peer) = accept(listener, &poll, next, knobs) {
                    peers.insert(next, peer);
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&number)
                && !peer.turn(&poll, number, &mut buffer, knobs).unwrap_or(false)
            {
                peers.remove(&number); // closing it takes it out of the epoll set
            }
        }
    }
}

/// A connection that fails before it was served is nobody's loss but its own.
fn accept(listener: &TcpListener, poll: &OwnedFd, number: u64, knobs: &Knobs) -> Option<Peer> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(!knobs.nagle).ok()?;
    epoll::add(poll, &stream, EventData::new_u64(number), knobs.wants(EventFlags::IN)).ok()?;
    Some(Peer { stream, unsent: Vec::new() })
}

impl Knobs {
    fn wants(&self, events: EventFlags) -> EventFlags {
        if self.edge { events | EventFlags::ET } else { events }
    }
}

/// A connection, and what its socket has not taken yet. While there is any, nothing is read.
struct Peer {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Peer {
    /// What an event is worth; false at the end of the connection.
    fn turn(
        &mut self,
        poll: &OwnedFd,
        number: u64,
        buffer: &mut [u8],
        knobs: &Knobs,
    ) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let sent = ready(self.stream.write(&self.unsent))?.unwrap_or(0);
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                let events = knobs.wants(EventFlags::IN);
                epoll::modify(poll, &self.stream, EventData::new_u64(number), events)?;
            }
            return Ok(true);
        }
        loop {
            let read = match ready(self.stream.read(buffer))? {
                Some(0) => return Ok(false),
                Some(read) => read,
                None => return Ok(true),
            };
            if !self.write(&buffer[..read], knobs)? {
                let events = knobs.wants(EventFlags::OUT);
                epoll::modify(poll, &self.stream, EventData::new_u64(number), events)?;
                return Ok(true);
            }
            // A level-triggered loop hears of the rest again; the edge tells of it only once.
            let is_rest_told = !knobs.edge || read < buffer.len();
            if !knobs.until_would_block && is_rest_told {
                return Ok(true);
            }
        }
    }

    /// Whether all of it went out.
    fn write(&mut self, mut bytes: &[u8], knobs: &Knobs) -> io::Result<bool> {
        while !bytes.is_empty() {
            let some = &bytes[..bytes.len().min(knobs.write_bytes)];
            let Some(sent) = ready(self.stream.write(some))? else {
                self.unsent.extend_from_slice(bytes);
                return Ok(false);
            };
            bytes = &bytes[sent..];
        }
        Ok(true)
    }
}
