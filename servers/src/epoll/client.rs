//! One connection of an event loop: all that waits between two events, and the turn it takes when
//! one comes.
//!
//! No call here blocks. A plan that takes time is begun, and completed by a later event.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::time::Instant;

use common::config::{Offload, Overload};
use common::service::overloaded;
use common::stats::{InProgress, Open, Queued};
use common::{Connection, Plan, Response};
use mio::event::Event;
use mio::net::TcpStream;

use super::ClientKey;
use super::desk::Desk;
use crate::sync::unblock;

pub(super) struct Client {
    socket: TcpStream,
    connection: Connection,
    /// Bytes may wait in the kernel: no read has come up short since the last event.
    readable: bool,
    /// The peer has sent its last byte, and only a read of nothing will say when it was reached.
    hung_up: bool,
    /// The last turn was cut short: the loop has it among those that are unfinished.
    pub(super) turn_is_coming: bool,
    /// The one request of this connection that is in progress.
    doing: Option<Doing>,
    _open: Open,
}

/// What is large is boxed: most clients have none of it.
enum Doing {
    /// It has not begun: there is no place for it among those in flight.
    InLine { plan: Box<Plan>, _queued: Queued },
    /// A timer will complete it.
    Waiting { until: Instant, response: Box<Response>, _in_progress: InProgress },
    /// Another thread will.
    Elsewhere,
}

pub(super) enum Turn {
    /// Nothing to do until an event, a timer or a completion.
    Waiting,
    /// There is more, but it is the others' turn.
    Unfinished,
    /// The connection is over.
    Finished,
}

impl Client {
    pub(super) fn new(socket: TcpStream, open: Open, desk: &Desk) -> Self {
        Self {
            socket,
            connection: Connection::new(desk.context.limits, desk.now),
            readable: false,
            hung_up: false,
            turn_is_coming: false,
            doing: None,
            _open: open,
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// What is ready is remembered until a call says otherwise: no event says it twice.
    pub(super) fn notice(&mut self, event: &Event) {
        self.readable |= event.is_readable();
        self.hung_up |= event.is_read_closed();
    }

    /// Takes back what it has left at the desk. A job that is elsewhere will still come back, and
    /// finds nobody.
    pub(super) fn leave(self, key: ClientKey, desk: &mut Desk) {
        match self.doing {
            Some(Doing::InLine { .. }) => desk.line.retain(|other| *other != key),
            Some(Doing::Waiting { until, .. }) => drop(desk.timers.remove(&(until, key))),
            Some(Doing::Elsewhere) | None => {}
        }
    }

    /// The reply that was put off, and from now on nothing is in progress.
    pub(super) fn end_wait(&mut self) -> Option<Response> {
        match self.doing.take() {
            Some(Doing::Waiting { response, .. }) => Some(*response),
            _ => None,
        }
    }

    pub(super) fn complete(&mut self, response: Response, desk: &mut Desk) {
        self.doing = None;
        self.respond(response, desk);
    }

    pub(super) fn has_timed_out(&self, desk: &Desk) -> bool {
        desk.context.has_timed_out(&self.connection, desk.now)
    }

    pub(super) fn drain(&mut self) {
        self.connection.drain();
    }

    /// Answers what is there, writes all replies at once, reads on.
    pub(super) fn take_turn(&mut self, key: ClientKey, desk: &mut Desk) -> io::Result<Turn> {
        let mut has_read = false;
        loop {
            self.answer(key, desk);
            self.flush(desk)?;
            if self.connection.output_ended() {
                self.socket.shutdown(net::Shutdown::Write)?;
            }
            if self.connection.is_finished() {
                return Ok(Turn::Finished);
            }
            if self.readable && self.connection.wants_read() {
                if has_read {
                    return Ok(Turn::Unfinished); // the read was not short: there may be more
                }
                has_read = true;
                self.read(desk)?;
            } else if !self.can_answer() {
                return Ok(Turn::Waiting);
            }
        }
    }

    /// Whether the last flush made room for replies to requests that are already here.
    fn can_answer(&self) -> bool {
        self.doing.is_none() && !self.connection.wants_write() && self.connection.has_request()
    }

    fn answer(&mut self, key: ClientKey, desk: &mut Desk) {
        while self.doing.is_none() {
            match self.connection.next_request() {
                Ok(None) => return,
                Ok(Some(request)) => match desk.context.plan(&self.connection, request) {
                    Plan::Reply(response) => self.respond(response, desk),
                    plan => self.begin_or_wait(plan, key, desk),
                },
                Err(error) => {
                    tracing::debug!("{error}");
                    desk.tally.failed += 1;
                }
            }
        }
    }

    /// Begins a plan that takes time, or has it wait for a place among those in flight: behind
    /// those that wait already, or else who pipelines would never let them in.
    fn begin_or_wait(&mut self, plan: Plan, key: ClientKey, desk: &mut Desk) {
        if desk.has_place() && desk.line.is_empty() {
            return self.begin(plan, key, desk);
        }
        match desk.overload {
            Overload::Wait => {
                desk.line.push_back(key);
                let queued = desk.context.stats.queue();
                self.doing = Some(Doing::InLine { plan: plan.into(), _queued: queued });
            }
            Overload::Reject => {
                desk.context.stats.rejected();
                self.respond(overloaded(plan.id()), desk);
            }
        }
    }

    /// It was the first in line, and there is a place.
    pub(super) fn begin_from_line(&mut self, key: ClientKey, desk: &mut Desk) {
        if let Some(Doing::InLine { plan, .. }) = self.doing.take() {
            self.begin(plan.begun_at(desk.now), key, desk);
        }
    }

    /// Carries a plan out in the way of a loop: what takes time is only begun.
    fn begin(&mut self, plan: Plan, key: ClientKey, desk: &mut Desk) {
        let in_progress = desk.context.stats.begin();
        match (plan, desk.offload) {
            (Plan::Reply(response), _) => self.respond(response, desk),
            (Plan::Wait { duration, response, .. }, _) => {
                let until = Instant::now() + duration;
                desk.timers.insert((until, key));
                let response = Box::new(response);
                self.doing = Some(Doing::Waiting { until, response, _in_progress: in_progress });
            }
            (Plan::Compute(job), Offload::On) => {
                let complete = desk.send_elsewhere(key, in_progress);
                desk.cores.spawn(move || complete(job.run()));
                self.doing = Some(Doing::Elsewhere);
            }
            (Plan::Block(job), Offload::On) => {
                let complete = desk.send_elsewhere(key, in_progress);
                unblock(move || complete(job.run())).detach();
                self.doing = Some(Doing::Elsewhere);
            }
            (Plan::Compute(job), Offload::Off) => self.respond(job.run(), desk),
            (Plan::Block(job), Offload::Off) => self.respond(job.run(), desk),
        }
    }

    fn respond(&mut self, response: Response, desk: &mut Desk) {
        desk.tally.answered(&response);
        self.connection.respond(response);
    }

    fn flush(&mut self, desk: &mut Desk) -> io::Result<()> {
        while self.connection.wants_write() {
            desk.tally.writes += 1;
            match self.socket.write(self.connection.to_send()) {
                Ok(bytes) => self.connection.sent(bytes, desk.now),
                // The rest goes when an event says that there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.connection.stalled(desk.now);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        desk.tally.delivered(&mut self.connection);
        Ok(())
    }

    fn read(&mut self, desk: &mut Desk) -> io::Result<()> {
        desk.tally.reads += 1;
        match self.socket.read(&mut desk.chunk) {
            Ok(0) => {
                self.readable = false;
                self.connection.received_eof();
            }
            Ok(bytes) => {
                self.connection.receive(&desk.chunk[..bytes], desk.now);
                // A short read has emptied the socket: another would only say WouldBlock. Unless
                // the end of input stands behind these bytes: no further event will tell.
                self.readable = bytes == desk.chunk.len() || self.hung_up;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
