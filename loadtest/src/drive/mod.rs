//! Drives the connections of one load thread with epoll, whatever is spoken on them:
//! edge-triggered, registered once, many requests to a write and many replies to a read.
//!
//! It pays two system calls per connection and turn, and nothing per request but what its wire
//! costs and a histogram. The clock is read once per connection and turn, so replies that came in
//! one read have one time.

mod connection;
mod framed;
mod http2;
mod settle;
mod wire;

use std::io;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::thread::set_current_timer_slack;
use rustix::time::Timespec;

use self::connection::Connection;
use self::framed::Framed;
use self::http2::Http2;
#[cfg(fuzzing)]
pub use self::http2::fuzz;
pub use self::http2::show as http2_frames;
use self::wire::{Awaited, Wire};
use crate::connect::Opener;
use crate::plan::{Planned, Schedule};
use crate::recorder::ErrorKind;
use crate::share::{Report, Share};
use crate::target::Protocol;

/// What one read takes at the most: some thousand small replies, a quarter of the L2 cache.
const READ_BYTES: usize = 256 * 1024;
/// Events of one turn. More would let the time of the turn's first differ much from its last.
const EVENTS_MAX: usize = 256;
/// How often timeouts and the interrupt are looked for: late enough to cost nothing.
const TICK_NS_MAX: u64 = 50_000_000;
/// ... and a sixteenth of a timeout that is short, down to this.
const TICK_NS_MIN: u64 = 1_000_000;
/// How late the kernel may wake the thread so that it can wake others with it: not at all. The
/// default of 50 us would be half of the send lag.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;
/// The kernel also allows itself a thousandth of a wait, whatever the slack: a wait is cut short
/// by twice that, and its rest waited for on its own.
const WAIT_CUT: u64 = 500;
/// ... where it is so long that it matters: 10 ms, whose thousandth is 10 us.
const WAIT_CUT_FROM_NS: u64 = 10_000_000;

/// What is ready, and hang-ups even where nothing is read; by edges, so that it is said once.
const INTEREST: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);
const HUNG_UP: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// Sends a share of a run over `streams`, and returns when every request is settled. The streams
/// come back open, so that the server can be looked at before it sees them close.
///
/// # Errors
/// If epoll itself fails: there is no descriptor left for it, or no memory.
pub fn drive(share: Share, streams: Vec<TcpStream>) -> io::Result<(Report, Vec<TcpStream>)> {
    match share.target.protocol {
        Protocol::Framed | Protocol::Raw => Loop::<Framed>::new(share, streams)?.run(),
        Protocol::Grpc => Loop::<Http2>::new(share, streams)?.run(),
    }
}

/// One load thread's loop.
struct Loop<W> {
    share: Share,
    epoll: OwnedFd,
    opener: Opener,
    connections: Vec<Connection<W>>,
    report: Report,
    buffer: Vec<u8>,
    alive: usize,
    /// Where the open loop goes on with its round.
    turn: usize,
    /// Connections that the open loop's last turn gave requests to.
    given: Vec<usize>,
    /// Requests that were sent and are not settled.
    outstanding: usize,
    /// The same, with those that timed out but whose answers still stand before later ones.
    held: usize,
    tick_ns: u64,
    tick_due_ns: u64,
    drain_until_ns: u64,
}

impl<W: Wire> Loop<W> {
    fn new(mut share: Share, streams: Vec<TcpStream>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, stream, EventData::new_u64(at as u64), INTEREST)?;
        }
        let (target, requests_max) = (share.target, share.requests_max());
        let connect = |stream| Connection::new(stream, target, requests_max);
        Ok(Self {
            epoll,
            opener: Opener::new(target.address),
            alive: streams.len(),
            report: Report { recorder: std::mem::take(&mut share.recorder), ..Report::default() },
            connections: streams.into_iter().map(connect).collect(),
            buffer: vec![0; READ_BYTES],
            turn: 0,
            given: Vec::new(),
            outstanding: 0,
            held: 0,
            tick_ns: (share.timeout_ns / 16).clamp(TICK_NS_MIN, TICK_NS_MAX),
            tick_due_ns: 0,
            drain_until_ns: u64::MAX,
            share,
        })
    }

    fn run(mut self) -> io::Result<(Report, Vec<TcpStream>)> {
        // Without it the run is only less punctual, and its send lag says so.
        let _ = set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let now_ns = self.share.clock.now_ns();
        for at in 0..self.connections.len() {
            self.tend(at, now_ns);
        }
        let mut asked_ns = 0;
        loop {
            let now_ns = self.share.clock.now_ns();
            let planning = !self.share.planner.is_finished(now_ns);
            let measure_from_ns = self.share.planner.measure_from_ns();
            self.report.meter.turn(now_ns, asked_ns, measure_from_ns, planning);
            self.send_due(now_ns);
            if now_ns >= self.tick_due_ns {
                self.tick(now_ns);
            }
            if self.is_over(now_ns) {
                debug_assert_eq!(
                    self.held,
                    self.connections.iter().map(Connection::held).sum::<usize>()
                );
                self.report.opened = self.connections.iter().map(Connection::opened).sum();
                let streams = self.connections.into_iter().filter_map(Connection::into_stream);
                return Ok((self.report, streams.collect()));
            }
            asked_ns = self.sleep_ns();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(asked_ns))) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.on_event(*event);
            }
        }
    }

    /// How long nothing will be due: the open loop's next request, or the tick.
    fn sleep_ns(&self) -> u64 {
        let due_ns = match self.share.planner.due_ns() {
            Some(due_ns) if !self.share.planner.is_finished(due_ns) => due_ns,
            _ => u64::MAX,
        };
        let sleep_ns = due_ns.min(self.tick_due_ns).saturating_sub(self.share.clock.now_ns());
        let cut = due_ns < self.tick_due_ns && sleep_ns >= WAIT_CUT_FROM_NS;
        if cut { sleep_ns - sleep_ns / WAIT_CUT } else { sleep_ns }
    }

    fn is_over(&mut self, now_ns: u64) -> bool {
        if self.alive == 0 || self.is_stuck() {
            // What the plan still holds has no way to be sent.
            while let Some(planned) = self.share.planner.next_left(now_ns) {
                self.give_up(planned);
            }
        }
        if now_ns >= self.drain_until_ns {
            for at in 0..self.connections.len() {
                self.bury(at, ErrorKind::Interrupted, now_ns);
            }
        }
        self.outstanding == 0 && self.share.planner.is_finished(now_ns)
    }

    /// The closed loop waits for answers, but has given up on all that it may hold.
    fn is_stuck(&self) -> bool {
        self.outstanding == 0 && self.held >= self.share.planner.outstanding_max()
    }

    fn give_up(&mut self, planned: Planned) {
        if planned.measured {
            self.report.recorder.plan(planned.planned_ns);
            self.report.recorder.unsent(planned.planned_ns);
        }
    }

    /// The open loop: sends what is due, and writes once per connection.
    fn send_due(&mut self, now_ns: u64) {
        if !matches!(self.share.planner.schedule(), Schedule::Open(_)) || self.alive == 0 {
            return;
        }
        while let Some(planned) = self.share.planner.next(now_ns) {
            let at = self.next_of_round();
            if self.held < self.share.planner.outstanding_max() && self.connections[at].has_room() {
                self.send(at, planned, now_ns);
                if self.given.last() != Some(&at) {
                    self.given.push(at);
                }
            } else {
                self.give_up(planned);
            }
        }
        for number in 0..self.given.len() {
            self.tend(self.given[number], now_ns);
        }
        self.given.clear();
    }

    /// The next connection of the round that takes requests, or else the next that will once it
    /// was opened anew. One must be alive.
    fn next_of_round(&mut self) -> usize {
        let count = self.connections.len();
        let round = (self.turn..count).chain(0..self.turn);
        let fresh = round.clone().find(|at| self.connections[*at].is_fresh());
        let alive = || round.clone().find(|at| self.connections[*at].is_alive());
        let at = fresh.or_else(alive).expect("the caller knows that one is alive");
        self.turn = if at + 1 == count { 0 } else { at + 1 };
        at
    }

    /// Brings a connection up to date with whatever happened to it: closes it if it is spent, gives
    /// it what the closed loop owes it, opens it if that needs it, and writes.
    fn tend(&mut self, at: usize, now_ns: u64) {
        if !self.connections[at].is_alive() {
            return;
        }
        if self.connections[at].is_spent() {
            self.held -= self.connections[at].close();
        }
        self.fill(at, now_ns);
        if self.connections[at].wants_to_open()
            && let Err(error) = self.open(at, now_ns)
        {
            return self.lose(at, self.not_opened(&error), now_ns);
        }
        if let Err(error) = self.connections[at].flush(&self.share.templates) {
            self.lose(at, self.broken(at, "writing to", &error), now_ns);
        }
    }

    /// The closed loop: sends until the connection has its depth outstanding, or is to be opened
    /// anew.
    fn fill(&mut self, at: usize, now_ns: u64) {
        let Schedule::Closed { depth } = *self.share.planner.schedule() else { return };
        while self.connections[at].waiting() < depth
            && self.connections[at].is_fresh()
            && self.connections[at].has_room()
            && self.held < self.share.planner.outstanding_max()
            && let Some(planned) = self.share.planner.next(now_ns)
        {
            self.send(at, planned, now_ns);
        }
    }

    fn send(&mut self, at: usize, planned: Planned, now_ns: u64) {
        if planned.measured {
            self.report.recorder.plan(planned.planned_ns);
        }
        self.connections[at].send(Awaited::new(planned, now_ns), &self.share.templates);
        self.outstanding += 1;
        self.held += 1;
    }

    /// Begins to open a connection anew. Its index names it again: the old socket left the epoll
    /// set when it was closed, and an index has one event in a turn, so none can be mistaken.
    fn open(&mut self, at: usize, now_ns: u64) -> io::Result<()> {
        let stream = self.opener.start()?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(at as u64), INTEREST)?;
        let until_ns = now_ns.saturating_add(self.share.timeout_ns);
        self.connections[at].reopen(stream, until_ns, self.share.target);
        Ok(())
    }

    fn on_event(&mut self, event: epoll::Event) {
        let (flags, data) = (event.flags, event.data);
        let at = usize::try_from(data.u64()).expect("the token is the index it was added with");
        if !self.connections[at].is_alive() {
            return;
        }
        let hung_up = flags.intersects(HUNG_UP);
        if flags.contains(EventFlags::OUT) && !hung_up {
            self.connections[at].writable();
        }
        let now_ns = if hung_up || flags.contains(EventFlags::IN) {
            self.read(at, hung_up)
        } else {
            self.share.clock.now_ns()
        };
        self.tend(at, now_ns);
    }
}

/// Nanoseconds as the kernel takes them.
pub(crate) fn timespec(ns: u64) -> Timespec {
    const SECOND: u64 = 1_000_000_000;
    Timespec {
        tv_sec: i64::try_from(ns / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
