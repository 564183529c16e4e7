//! Drives framed connections from one thread with epoll: edge-triggered, registered once, many
//! requests to a write and many replies to a read.
//!
//! It pays two system calls per connection and turn, and nothing per request but a copy into the
//! outgoing bytes, a comparison and a histogram: about 0.1 us. The clock is read once per
//! connection and turn, so replies that came in one read have one time.

mod connection;

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use self::connection::{Connection, Verdict};
use crate::plan::{Planned, Schedule, nanoseconds};
use crate::recorder::{ErrorKind, Recorder};
use crate::share::{INTERRUPTED_DRAIN_MAX, Report, Share};
use crate::timer::{Timer, timespec};

/// What one read takes at the most: some thousand small replies, a quarter of the L2 cache.
const READ_BYTES: usize = 256 * 1024;
/// Events of one turn. More would let the time of the turn's first differ much from its last.
const EVENTS_MAX: usize = 256;
/// How often timeouts and the interrupt are looked for: late enough to cost nothing.
const TICK_NS_MAX: u64 = 50_000_000;
/// ... and a sixteenth of a timeout that is short, down to this.
const TICK_NS_MIN: u64 = 1_000_000;
/// What names the open loop's timer among the connections, which are named by their indexes.
const TIMER: u64 = u64::MAX;

/// One load thread's loop.
struct Loop {
    share: Share,
    epoll: OwnedFd,
    timer: Timer,
    armed_for_ns: u64,
    connections: Vec<Connection>,
    report: Report,
    buffer: Vec<u8>,
    alive: usize,
    /// Where the open loop goes on with its round.
    turn: usize,
    /// Requests that were sent and are not settled.
    outstanding: usize,
    /// The same, with those that timed out but whose answers still stand before later ones.
    held: usize,
    tick_ns: u64,
    tick_due_ns: u64,
    drain_until_ns: u64,
}

/// Sends a share of a run over `streams`, and returns when every request is settled. The streams
/// come back open, so that the server can be looked at before it sees them close.
///
/// # Errors
/// If epoll itself fails: there is no descriptor left for it, or no memory.
pub fn drive(share: Share, streams: Vec<TcpStream>) -> io::Result<(Report, Vec<TcpStream>)> {
    let mut this = Loop::new(share, streams)?;
    this.run()?;
    Ok((this.report, this.connections.into_iter().map(Connection::into_stream).collect()))
}

impl Loop {
    fn new(mut share: Share, streams: Vec<TcpStream>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = Timer::new()?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), edge)?;
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        for (at, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, stream, epoll::EventData::new_u64(at as u64), interest)?;
        }
        Ok(Self {
            epoll,
            timer,
            armed_for_ns: u64::MAX,
            alive: streams.len(),
            connections: streams.into_iter().map(Connection::new).collect(),
            report: Report { recorder: std::mem::take(&mut share.recorder), ..Report::default() },
            buffer: vec![0; READ_BYTES],
            turn: 0,
            outstanding: 0,
            held: 0,
            tick_ns: (share.timeout_ns / 16).clamp(TICK_NS_MIN, TICK_NS_MAX),
            tick_due_ns: 0,
            drain_until_ns: u64::MAX,
            share,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        for at in 0..self.connections.len() {
            self.fill(at);
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
                return Ok(());
            }
            asked_ns = self.sleep_ns();
            self.arm()?;
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

    /// The open loop sleeps by the timer, since the tick's timeout has only milliseconds. It is
    /// edge-triggered, so arming it anew is all it takes; a reply that comes earlier costs nothing.
    fn arm(&mut self) -> io::Result<()> {
        let due_ns = self.due_ns();
        if due_ns == u64::MAX || due_ns == self.armed_for_ns {
            return Ok(());
        }
        self.armed_for_ns = due_ns;
        self.timer.arm(due_ns.saturating_sub(self.share.clock.now_ns()))
    }

    /// When the open loop's next request is due.
    fn due_ns(&self) -> u64 {
        match self.share.planner.due_ns() {
            Some(due_ns) if !self.share.planner.is_finished(due_ns) => due_ns,
            _ => u64::MAX,
        }
    }

    /// How long nothing will be due: the open loop's next request, or the tick.
    fn sleep_ns(&self) -> u64 {
        self.due_ns().min(self.tick_due_ns).saturating_sub(self.share.clock.now_ns())
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
        let first = self.turn;
        let mut tried = 0;
        while let Some(planned) = self.share.planner.next(now_ns) {
            let at = self.next_alive();
            if self.held < self.share.planner.outstanding_max() && self.connections[at].has_room() {
                self.send(at, planned, now_ns);
            } else {
                self.give_up(planned);
            }
            tried += 1;
        }
        let count = self.connections.len();
        if tried > 0 {
            // The round went over a stretch of connections that begins at `first`.
            for step in 0..count.min(tried + count - self.alive) {
                self.flush((first + step) % count, now_ns);
            }
        }
    }

    /// The next living connection of the round; there must be one.
    fn next_alive(&mut self) -> usize {
        loop {
            let at = self.turn;
            self.turn = (self.turn + 1) % self.connections.len();
            if self.connections[at].is_alive() {
                return at;
            }
        }
    }

    /// The closed loop: sends until the connection has its depth outstanding.
    fn fill(&mut self, at: usize) {
        let Schedule::Closed { depth } = *self.share.planner.schedule() else { return };
        let now_ns = self.share.clock.now_ns();
        while self.connections[at].waiting() < depth
            && self.connections[at].has_room()
            && self.held < self.share.planner.outstanding_max()
            && let Some(planned) = self.share.planner.next(now_ns)
        {
            self.send(at, planned, now_ns);
        }
        self.flush(at, now_ns);
    }

    fn send(&mut self, at: usize, planned: Planned, now_ns: u64) {
        if planned.measured {
            self.report.recorder.plan(planned.planned_ns);
        }
        self.connections[at].send(planned, now_ns, &self.share.templates);
        self.outstanding += 1;
        self.held += 1;
    }

    fn flush(&mut self, at: usize, now_ns: u64) {
        if let Err(error) = self.connections[at].flush() {
            let text = || format!("writing to {}: {error}", self.share.target);
            self.report.fail(text);
            self.bury(at, ErrorKind::Reset, now_ns);
        }
    }

    fn on_event(&mut self, event: epoll::Event) {
        let (flags, data) = (event.flags, event.data);
        if data.u64() == TIMER {
            return; // what is due is sent at every turn
        }
        let at = usize::try_from(data.u64()).expect("the token is the index it was added with");
        if !self.connections[at].is_alive() {
            return;
        }
        let hung_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if flags.contains(epoll::EventFlags::OUT) {
            self.connections[at].writable();
        }
        if flags.intersects(hung_up | epoll::EventFlags::IN) {
            self.read(at, flags.intersects(hung_up));
        }
        self.fill(at);
    }

    /// Reads until a read is short: more can only come with another event. After a hang-up the
    /// end itself is read too.
    fn read(&mut self, at: usize, to_the_end: bool) {
        loop {
            let result = self.connections[at].read(&mut self.buffer);
            let now_ns = self.share.clock.now_ns();
            match result {
                Ok(0) => {
                    let connection = &self.connections[at];
                    let text = connection.end_text(self.share.target);
                    let kind = connection.end_kind();
                    self.report.fail(|| text);
                    return self.bury(at, kind, now_ns);
                }
                Ok(count) => {
                    if let Err(text) = self.take(at, count, now_ns) {
                        self.report.fail(|| text);
                        return self.bury(at, ErrorKind::Protocol, now_ns);
                    }
                    if count < self.buffer.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.report.fail(|| format!("reading from {}: {error}", self.share.target));
                    return self.bury(at, ErrorKind::Reset, now_ns);
                }
            }
        }
    }

    /// Settles what the first `count` bytes of the buffer complete.
    fn take(&mut self, at: usize, count: usize, now_ns: u64) -> Result<(), String> {
        let Self { connections, buffer, share, report, outstanding, held, .. } = self;
        let Report { recorder, failure, .. } = report;
        let settle = |verdict: Verdict| {
            *held -= 1;
            if verdict.timed_out_before {
                return;
            }
            *outstanding -= 1;
            settle(recorder, verdict, now_ns);
            if let Err(kind) = verdict.answer
                && kind.is_failure()
                && failure.is_none()
            {
                *failure = Some(format!("an answer from {} was a {}", share.target, kind.name()));
            }
        };
        connections[at].take(&buffer[..count], now_ns, (&share.templates, share.target), settle)
    }

    /// The connection is of no more use: what is outstanding on it fails.
    fn bury(&mut self, at: usize, kind: ErrorKind, now_ns: u64) {
        let connection = &mut self.connections[at];
        if !connection.is_alive() {
            return;
        }
        self.held -= connection.held();
        for lost in connection.bury() {
            self.outstanding -= 1;
            if let Some(moments) = lost.moments(now_ns) {
                self.report.recorder.error(kind, moments.planned_ns, now_ns);
            }
        }
        self.alive -= 1;
        self.report.broken += usize::from(kind != ErrorKind::Interrupted);
    }

    /// What is done from time to time: timeouts, and the interrupt.
    fn tick(&mut self, now_ns: u64) {
        self.tick_due_ns = now_ns + self.tick_ns;
        self.share.live.publish(&self.report.recorder);
        if self.share.interrupt.is_triggered() && self.drain_until_ns == u64::MAX {
            self.share.planner.stop();
            self.drain_until_ns = now_ns + nanoseconds(INTERRUPTED_DRAIN_MAX);
        }
        let timeout_ns = self.share.timeout_ns;
        for at in 0..self.connections.len() {
            let mut late = false;
            while let Some(expired) = self.connections[at].expire(now_ns, timeout_ns) {
                self.outstanding -= 1;
                late = true;
                if let Some(moments) = expired.moments(now_ns) {
                    self.report.recorder.timed_out(moments, timeout_ns);
                }
            }
            if late {
                self.fill(at);
            }
        }
    }
}

fn settle(recorder: &mut Recorder, verdict: Verdict, now_ns: u64) {
    if let Some(moments) = verdict.moments {
        match verdict.answer {
            Ok(()) => recorder.ok(moments),
            Err(kind) => recorder.error(kind, moments.planned_ns, now_ns),
        }
    }
}
