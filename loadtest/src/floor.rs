//! The floor: what a socket costs when nothing is done with the bytes but to send them back.
//!
//! No codec, no handler, no limit: whatever a server adds to it is the price of its model. One
//! variant is a bare epoll loop on one thread, the other a blocking thread per connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

/// What one read takes at the most.
const READ_BYTES: usize = 64 * 1024;
/// Events of one wait.
const EVENTS_MAX: usize = 1024;
/// Small, since the floor's threads hold one buffer and call nothing deep.
const STACK_BYTES: usize = 128 * 1024;
/// What names the listener among the connections, which are named by their numbers from 0.
const LISTENER: u64 = u64::MAX;

/// A connection, and what its socket has not taken yet. While there is any, nothing is read.
struct Peer {
    stream: TcpStream,
    unsent: Vec<u8>,
}

/// Echoes on one thread, until the process ends.
///
/// # Errors
/// If epoll or the listener fails; a connection that fails is only closed.
pub fn serve_epoll(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let mut next = 0;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = { event.data }.u64();
            if number == LISTENER {
                if let Some(peer) = accept(listener, &poll, next) {
                    peers.insert(next, peer);
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&number)
                && !peer.turn(&poll, number, &mut buffer).unwrap_or(false)
            {
                peers.remove(&number); // closing it takes it out of the epoll set
            }
        }
    }
}

/// A connection that fails before it was served is nobody's loss but its own.
fn accept(listener: &TcpListener, poll: &OwnedFd, number: u64) -> Option<Peer> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    epoll::add(poll, &stream, EventData::new_u64(number), EventFlags::IN).ok()?;
    Some(Peer { stream, unsent: Vec::new() })
}

impl Peer {
    /// One read and one write; false at the end of the connection.
    fn turn(&mut self, poll: &OwnedFd, number: u64, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let sent = ready(self.stream.write(&self.unsent))?.unwrap_or(0);
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                epoll::modify(poll, &self.stream, EventData::new_u64(number), EventFlags::IN)?;
            }
            return Ok(true);
        }
        let read = match ready(self.stream.read(buffer))? {
            Some(0) => return Ok(false),
            Some(read) => read,
            None => return Ok(true),
        };
        let sent = ready(self.stream.write(&buffer[..read]))?.unwrap_or(0);
        if sent < read {
            self.unsent.extend_from_slice(&buffer[sent..read]);
            epoll::modify(poll, &self.stream, EventData::new_u64(number), EventFlags::OUT)?;
        }
        Ok(true)
    }
}

/// Nothing, where the socket is not ready after all: the next event will tell.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Echoes on a thread per connection, until the process ends.
///
/// # Errors
/// If the listener fails; a connection that fails, or for which there is no thread, is only
/// closed.
pub fn serve_threads(listener: &TcpListener) -> io::Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        stream.set_nodelay(true)?;
        let echo = move || echo(stream);
        let _ = std::thread::Builder::new()
            .name("floor-echo".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(echo);
    }
}

/// Until the peer closes, or fails: no matter to anybody else.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; READ_BYTES / 4];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}
