//! One connection of the tester: a socket, the bytes that it has not taken, and the requests that
//! wait until the wire may carry them.
//!
//! A connection that is spent (it carried as many requests as it may, or its peer said goodbye) is
//! closed, and opened anew when the next request is given to it. Buffers outlive that.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::wire::{Awaited, Lost, QUEUED_BYTES_MAX, Terms, Verdict, Wire};
use crate::target::Target;
use crate::template::Templates;

/// Where a connection stands.
#[derive(Debug)]
enum State {
    Open(TcpStream),
    /// On its way; given up at that time.
    Connecting(TcpStream, u64),
    /// Spent; opened anew when there is a request for it.
    Closed,
    /// Broken; never opened again. Kept until the end of the run.
    Dead(Option<TcpStream>),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<W> {
    state: State,
    /// How many times it was.
    opened: u64,
    wire: W,
    /// Requests that wait for the peer's leave, or for the connection to be opened.
    pending: VecDeque<Awaited>,
    /// How many requests it carries each time that it is opened, and how many more this time.
    requests_max: u64,
    left: u64,
    out: Vec<u8>,
    out_sent: usize,
    writable: bool,
}

impl<W: Wire> Connection<W> {
    /// A connection that carries `requests_max` requests.
    pub(super) fn new(stream: TcpStream, target: Target, requests_max: u64) -> Self {
        let mut out = Vec::new();
        Self {
            state: State::Open(stream),
            opened: 1,
            wire: W::open(target, &mut out),
            pending: VecDeque::new(),
            requests_max,
            left: requests_max,
            out,
            out_sent: 0,
            writable: true,
        }
    }

    /// The socket, if it is still there.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        match self.state {
            State::Open(stream) | State::Connecting(stream, _) => Some(stream),
            State::Dead(stream) => stream,
            State::Closed => None,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, State::Dead(_))
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting(..))
    }

    /// How many times it was opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether a connect has taken too long.
    pub(super) fn is_overdue(&self, now_ns: u64) -> bool {
        matches!(self.state, State::Connecting(_, until_ns) if until_ns <= now_ns)
    }

    /// Requests whose answers are awaited.
    pub(super) fn waiting(&self) -> usize {
        self.wire.waiting() + self.pending.len()
    }

    /// The same and those that timed out.
    pub(super) fn held(&self) -> usize {
        self.wire.held() + self.pending.len()
    }

    /// Whether another request may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.is_alive() && self.queued_bytes() < QUEUED_BYTES_MAX
    }

    /// Whether another request would be carried without waiting for the connection to be opened
    /// anew.
    pub(super) fn is_fresh(&self) -> bool {
        let pending = self.pending.len() as u64;
        match self.state {
            State::Open(_) | State::Connecting(..) => {
                pending < self.left && !self.wire.wants_to_close()
            }
            State::Closed => pending < self.requests_max,
            State::Dead(_) => false,
        }
    }

    /// Whether it can carry no more, and all that it carried is settled.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.state, State::Open(_))
            && self.wire.waiting() == 0
            && (self.left == 0 || self.wire.wants_to_close())
    }

    /// Whether there are requests for a connection that is closed.
    pub(super) fn wants_to_open(&self) -> bool {
        matches!(self.state, State::Closed) && !self.pending.is_empty()
    }

    /// Closes it, and says how many requests that timed out are held no more.
    pub(super) fn close(&mut self) -> usize {
        self.state = State::Closed;
        let held = self.wire.held();
        self.wire.bury(|_| {});
        held
    }

    /// Begins anew with a socket that is being connected, until `until_ns` at the latest.
    pub(super) fn reopen(&mut self, stream: TcpStream, until_ns: u64, target: Target) {
        self.state = State::Connecting(stream, until_ns);
        self.out.clear();
        self.out_sent = 0;
        self.wire = W::open(target, &mut self.out);
        self.left = self.requests_max;
        // On the loopback it is connected by now; elsewhere the first write says that it is not.
        self.writable = true;
    }

    /// Queues a request; [`flush`](Self::flush) sends it.
    pub(super) fn send(&mut self, awaited: Awaited, templates: &Templates) {
        if self.pending.is_empty() && self.may_send() {
            self.left -= 1;
            self.wire.send(awaited, templates, &mut self.out);
        } else {
            self.pending.push_back(awaited);
        }
    }

    fn may_send(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Connecting(..))
            && self.left > 0
            && self.wire.may_send()
    }

    /// The socket takes bytes again, and is connected.
    pub(super) fn writable(&mut self) {
        self.writable = true;
        self.connected();
    }

    fn connected(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Connecting(stream, _) => {
                self.opened += 1;
                State::Open(stream)
            }
            state => state,
        };
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self, templates: &Templates) -> io::Result<()> {
        loop {
            self.queue(templates);
            if !self.writable || self.queued_bytes() == 0 {
                return Ok(());
            }
            self.write()?;
        }
    }

    /// Queues what waited for the peer's leave, as long as there is room.
    fn queue(&mut self, templates: &Templates) {
        if self.queued_bytes() < QUEUED_BYTES_MAX {
            self.wire.resume(templates, &mut self.out);
        }
        while !self.pending.is_empty() && self.may_send() && self.has_room() {
            let Some(awaited) = self.pending.pop_front() else { return };
            self.left -= 1;
            self.wire.send(awaited, templates, &mut self.out);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.writable && self.out_sent < self.out.len() {
            let (State::Open(stream) | State::Connecting(stream, _)) = &mut self.state else {
                self.writable = false; // nobody to write to
                return Ok(());
            };
            match stream.write(&self.out[self.out_sent..]) {
                Ok(count) => {
                    self.out_sent += count;
                    if self.is_connecting() {
                        self.connected();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        if self.out_sent == self.out.len() {
            self.out.clear();
            self.out_sent = 0;
        } else if self.out_sent > QUEUED_BYTES_MAX {
            self.out.drain(..self.out_sent);
            self.out_sent = 0;
        }
        Ok(())
    }

    fn queued_bytes(&self) -> usize {
        self.out.len() - self.out_sent
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Open(stream) | State::Connecting(stream, _) => stream.read(buffer),
            State::Closed | State::Dead(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Gives `settle` a verdict on each reply that `bytes` completes.
    ///
    /// # Errors
    /// If the connection is of no more use.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        settle: impl FnMut(Verdict),
    ) -> Result<(), Lost> {
        self.wire.take(bytes, terms, &mut self.out, settle)
    }

    /// Gives `late` the requests whose time is up.
    pub(super) fn expire(&mut self, now_ns: u64, timeout_ns: u64, mut late: impl FnMut(Awaited)) {
        self.wire.expire(now_ns, timeout_ns, &mut self.out, &mut late);
        while let Some(awaited) = self.pending.front()
            && awaited.is_late(now_ns, timeout_ns)
        {
            late(*awaited);
            self.pending.pop_front();
        }
    }

    /// What the end of the connection means.
    pub(super) fn end(&self, target: Target) -> Lost {
        self.wire.end(target)
    }

    /// Shuts the connection down for good, and gives `lost` the requests that were awaited.
    pub(super) fn bury(&mut self, mut lost: impl FnMut(Awaited)) {
        let stream = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(stream) | State::Connecting(stream, _) => Some(stream),
            State::Closed | State::Dead(_) => None,
        };
        if let Some(stream) = &stream {
            // Nothing to be done where even this fails: the connection is gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.state = State::Dead(stream);
        self.wire.bury(&mut lost);
        self.pending.drain(..).for_each(lost);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::framed::Framed;
    use super::*;
    use crate::plan::Planned;

    struct Bench {
        connection: Connection<Framed>,
        listener: TcpListener,
        templates: Templates,
        target: Target,
    }

    impl Bench {
        fn new(requests_max: u64) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let target: Target =
                format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
            let templates = Templates::new(&"echo:9".parse().unwrap(), 1, target.protocol);
            let stream = TcpStream::connect(target.address).unwrap();
            let connection = Connection::new(stream, target, requests_max);
            Self { connection, listener, templates, target }
        }

        fn send(&mut self, planned_ns: u64) {
            let planned = Planned { index: planned_ns, planned_ns, kind: 0, measured: true };
            self.connection.send(Awaited::new(planned, planned_ns), &self.templates);
        }

        fn reopen(&mut self) {
            let stream = TcpStream::connect(self.target.address).unwrap();
            self.connection.reopen(stream, 99, self.target);
        }
    }

    #[test]
    fn what_is_too_much_for_this_time_is_carried_the_next() {
        let mut bench = Bench::new(2);
        for planned_ns in 0..3 {
            assert_eq!(bench.connection.is_fresh(), planned_ns < 2);
            bench.send(planned_ns);
        }
        assert_eq!((bench.connection.wire.waiting(), bench.connection.waiting()), (2, 3));
        assert!(!bench.connection.is_spent(), "two are not settled");
        let mut late = Vec::new();
        bench.connection.expire(101, 100, |awaited| late.push(awaited.index));
        assert_eq!((late, bench.connection.held()), (vec![0, 1], 3));
        assert!(bench.connection.is_spent());
        assert_eq!(bench.connection.close(), 2, "they are held no more");
        assert_eq!((bench.connection.held(), bench.connection.waiting()), (1, 1));
        assert!(bench.connection.wants_to_open() && bench.connection.is_fresh());
        bench.send(3);
        assert!(!bench.connection.is_fresh(), "as many wait as it will carry");
        assert!(bench.connection.queued_bytes() > 0, "of the time before");
        bench.reopen();
        assert_eq!(bench.connection.queued_bytes(), 0);
        assert_eq!(bench.connection.opened(), 1, "not yet");
        bench.connection.flush(&bench.templates).unwrap();
        assert_eq!((bench.connection.wire.waiting(), bench.connection.pending.len()), (2, 0));
        assert!(!bench.connection.is_connecting() && !bench.connection.is_fresh());
        assert_eq!(bench.connection.opened(), 2);
        let (mut bytes, mut expected) = ([0; 64], Vec::new());
        bench.listener.accept().unwrap(); // the first one, closed by now
        let (mut peer, _) = bench.listener.accept().unwrap();
        let template = bench.templates.of(0);
        template.write(template.id(2), &mut expected);
        let count = peer.read(&mut bytes).unwrap();
        assert!(bytes[..count].starts_with(&expected), "the oldest goes first");
    }

    #[test]
    fn all_that_is_awaited_is_lost_wherever_it_waits() {
        let mut bench = Bench::new(1);
        bench.send(0);
        bench.send(1);
        let mut lost = Vec::new();
        bench.connection.bury(|awaited| lost.push(awaited.index));
        assert_eq!((lost, bench.connection.held()), (vec![0, 1], 0));
        assert!(!bench.connection.is_alive() && !bench.connection.is_fresh());
        assert!(!bench.connection.wants_to_open() && !bench.connection.has_room());
    }
}
