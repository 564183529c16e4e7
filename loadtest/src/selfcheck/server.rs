//! The built-in server of known behaviour: it echoes over the framed protocol, after a delay that
//! is known for each request.
//!
//! One thread, one epoll set; it pays a change of the epoll set wherever a connection
//! turns from reading to writing, so it is no server to compare with. A delay begins when the one
//! before it on the same connection was due to end, and not when this program got round to it: so
//! the capacity of N connections with a delay of D is N / D, however late a busy machine wakes it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::connection::{Connection, Limits};
use common::message::{Code, Request, Response, Work};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::thread::set_current_timer_slack;
use rustix::time::Timespec;

use crate::drive::timespec;
use crate::plan::{Clock, nanoseconds};

/// What one read takes at the most.
const READ_BYTES: usize = 64 * 1024;
/// Events of one wait.
const EVENTS_MAX: usize = 256;
/// What names the listener among the connections, which are numbered from 0.
const LISTENER: u64 = u64::MAX;

/// How long requests take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// Each, once it is its turn on its connection.
    pub delay: Duration,
    /// Every so many, by arrival, another delay.
    pub slow: Option<(u64, Duration)>,
}

impl Behaviour {
    /// Of the request with this number, from 1.
    fn delay_ns(self, number: u64) -> u64 {
        match self.slow {
            Some((every, delay)) if number.is_multiple_of(every) => nanoseconds(delay),
            _ => nanoseconds(self.delay),
        }
    }
}

/// What it has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Requests that were taken.
    pub requests: u64,
    /// Connections that are closed.
    pub closed: u64,
}

/// Serves until the process ends, and tells `closed` whenever a connection was closed.
///
/// # Errors
/// If epoll or the listener fails; a connection that fails is only closed.
pub fn serve(
    listener: &TcpListener,
    behaviour: Behaviour,
    mut closed: impl FnMut(Served),
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Replies that are due at a time shall go then. Without it they are 50 us late.
    let _ = set_current_timer_slack(Some(NonZeroU64::MIN));
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server {
        behaviour,
        poll,
        clock: Clock::start(),
        peers: HashMap::new(),
        due: BinaryHeap::new(),
        served: Served::default(),
    };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut next = 0;
    loop {
        let before = server.served.closed;
        events.clear();
        match epoll::wait(&server.poll, spare_capacity(&mut events), server.patience().as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match { event.data }.u64() {
                LISTENER => {
                    if let Some(peer) = accept(listener, &server.poll, next) {
                        server.peers.insert(next, peer);
                        next += 1;
                    }
                }
                // Both sides are closed: nobody is left to reply to.
                number if { event.flags }.intersects(EventFlags::HUP | EventFlags::ERR) => {
                    server.close(number);
                }
                number => server.on_event(number, &mut buffer),
            }
        }
        server.on_time();
        if server.served.closed > before {
            closed(server.served);
        }
    }
}

/// A connection that fails before it was served is nobody's loss but its own.
fn accept(listener: &TcpListener, poll: &OwnedFd, number: u64) -> Option<Peer> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    let interest = EventFlags::IN;
    epoll::add(poll, &stream, EventData::new_u64(number), interest).ok()?;
    let protocol = Connection::new(Limits::default(), Instant::now());
    Some(Peer { stream, protocol, delayed: None, interest })
}

struct Server {
    behaviour: Behaviour,
    poll: OwnedFd,
    clock: Clock,
    peers: HashMap<u64, Peer>,
    /// When which connection's reply is due. Numbers are never used again, so one that is left of
    /// a closed connection finds nobody.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    served: Served,
}

struct Peer {
    stream: TcpStream,
    protocol: Connection,
    /// The reply that is held back: one request of a connection is carried out at a time.
    delayed: Option<Response>,
    /// What the epoll set has.
    interest: EventFlags,
}

impl Server {
    fn on_event(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        if peer.protocol.wants_read() {
            match peer.stream.read(buffer) {
                Ok(0) => peer.protocol.received_eof(),
                Ok(read) => peer.protocol.receive(&buffer[..read], Instant::now()),
                Err(error) if is_not_ready(&error) => {}
                Err(_) => self.close(number),
            }
        }
        self.turn(number, self.clock.now_ns());
    }

    /// Sends the replies that are due.
    fn on_time(&mut self) {
        let now_ns = self.clock.now_ns();
        while let Some(&Reverse((due_ns, number))) = self.due.peek()
            && due_ns <= now_ns
        {
            self.due.pop();
            let Some(peer) = self.peers.get_mut(&number) else { continue };
            if let Some(response) = peer.delayed.take() {
                peer.protocol.respond(response);
            }
            self.turn(number, due_ns);
        }
    }

    /// Takes requests, the first of which begins at `begun_ns`, and sends replies.
    fn turn(&mut self, number: u64, begun_ns: u64) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        while peer.delayed.is_none() {
            let response = match peer.protocol.next_request() {
                Ok(Some(request)) => answer(request),
                Ok(None) => break,
                Err(_) => continue, // its reply is queued already
            };
            self.served.requests += 1;
            match self.behaviour.delay_ns(self.served.requests) {
                0 => peer.protocol.respond(response),
                delay_ns => {
                    self.due.push(Reverse((begun_ns + delay_ns, number)));
                    peer.delayed = Some(response);
                }
            }
        }
        if peer.send(&self.poll, number).is_err() || peer.protocol.is_finished() {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        // Closing takes it out of the epoll set.
        self.served.closed += u64::from(self.peers.remove(&number).is_some());
    }

    /// How long until a reply is due.
    fn patience(&self) -> Option<Timespec> {
        let Reverse((due_ns, _)) = self.due.peek()?;
        Some(timespec(due_ns.saturating_sub(self.clock.now_ns())))
    }
}

impl Peer {
    /// Sends what the socket takes, and then waits for what the protocol wants.
    fn send(&mut self, poll: &OwnedFd, number: u64) -> io::Result<()> {
        while self.protocol.wants_write() {
            match self.stream.write(self.protocol.to_send()) {
                Ok(sent) => self.protocol.sent(sent, Instant::now()),
                Err(error) if is_not_ready(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, self.protocol.wants_read());
        interest.set(EventFlags::OUT, self.protocol.wants_write());
        if interest != self.interest {
            epoll::modify(poll, &self.stream, EventData::new_u64(number), interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

/// Echoes, and says no to all other work: its times would not be known.
fn answer(request: Request) -> Response {
    let id = request.id;
    match request.work {
        Some(Work::Echo(payload)) => Response::ok(id, payload),
        _ => Response::error(id, Code::InvalidArgument, "this server only echoes"),
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hundredth_is_slow() {
        let (fast, slow) = (Duration::from_millis(10), Duration::from_millis(100));
        let behaviour = Behaviour { delay: fast, slow: Some((100, slow)) };
        let count =
            (1..=1_000).filter(|number| behaviour.delay_ns(*number) == nanoseconds(slow)).count();
        assert_eq!((count, behaviour.delay_ns(1)), (10, nanoseconds(fast)));
        assert_eq!(Behaviour::default().delay_ns(100), 0);
    }
}
