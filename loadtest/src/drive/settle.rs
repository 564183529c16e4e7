//! The other half of the loop: what becomes of the requests that were sent. Answers, timeouts,
//! connections that break, and the interrupt.
//!
//! Whatever happens, each request is settled exactly once, here.

use std::io;

use super::Loop;
use super::wire::{Awaited, Lost, Terms, Verdict, Wire};
use crate::connect::hint;
use crate::plan::nanoseconds;
use crate::recorder::{ErrorKind, Recorder};
use crate::share::{INTERRUPTED_DRAIN_MAX, Report, Share};

impl<W: Wire> Loop<W> {
    /// Reads until a read is short: more can only come with another event. After a hang-up the
    /// end itself is read too. Says when the last read came back.
    pub(super) fn read(&mut self, at: usize, to_the_end: bool) -> u64 {
        loop {
            let result = self.connections[at].read(&mut self.buffer);
            let now_ns = self.share.clock.now_ns();
            match result {
                Ok(0) if self.connections[at].is_spent() => return now_ns,
                Ok(0) => {
                    let lost = self.connections[at].end(self.share.target);
                    self.lose(at, lost, now_ns);
                    return now_ns;
                }
                Ok(count) => {
                    if let Err(lost) = self.take(at, count, now_ns) {
                        self.lose(at, lost, now_ns);
                        return now_ns;
                    }
                    if count < self.buffer.len() && !to_the_end {
                        return now_ns;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return now_ns,
                Err(error) => {
                    self.lose(at, self.broken(at, "reading from", &error), now_ns);
                    return now_ns;
                }
            }
        }
    }

    /// Settles what the first `count` bytes of the buffer complete.
    fn take(&mut self, at: usize, count: usize, now_ns: u64) -> Result<(), Lost> {
        let Self { connections, buffer, share, report, outstanding, held, .. } = self;
        let Report { recorder, failure, .. } = report;
        let settle = |verdict: Verdict| {
            *held -= 1;
            if verdict.timed_out_before {
                return;
            }
            *outstanding -= 1;
            settle(recorder, verdict, now_ns, share);
            if let Err(kind) = verdict.answer
                && kind.is_wrong_answer()
                && failure.is_none()
            {
                *failure = Some(format!("an answer from {} was a {}", share.target, kind.name()));
            }
        };
        let terms = Terms { templates: &share.templates, target: share.target };
        connections[at].take(&buffer[..count], terms, settle)
    }

    /// A socket error in words.
    pub(super) fn broken(&self, at: usize, doing: &str, error: &io::Error) -> Lost {
        if self.connections[at].is_connecting() {
            return self.not_opened(error);
        }
        let text = format!("{doing} {}: {error}", self.share.target);
        Lost { kind: ErrorKind::Reset, text }
    }

    /// The same of a connection that was to be opened anew.
    pub(super) fn not_opened(&self, error: &io::Error) -> Lost {
        let text = format!(
            "cannot open a connection anew to {}: {error}; {}",
            self.share.target,
            hint(error)
        );
        Lost { kind: ErrorKind::Connect, text }
    }

    /// The connection broke: what is outstanding on it fails.
    pub(super) fn lose(&mut self, at: usize, lost: Lost, now_ns: u64) {
        self.report.fail(|| lost.text);
        self.bury(at, lost.kind, now_ns);
    }

    /// The connection is of no more use.
    pub(super) fn bury(&mut self, at: usize, kind: ErrorKind, now_ns: u64) {
        let Self { connections, report, outstanding, held, .. } = self;
        let connection = &mut connections[at];
        if !connection.is_alive() {
            return;
        }
        *held -= connection.held();
        connection.bury(|awaited: Awaited| {
            *outstanding -= 1;
            if let Some(moments) = awaited.moments(now_ns) {
                report.recorder.error(kind, moments.planned_ns, now_ns);
            }
        });
        self.alive -= 1;
        self.report.broken += usize::from(kind != ErrorKind::Interrupted);
    }

    /// What is done from time to time: timeouts, and the interrupt.
    pub(super) fn tick(&mut self, now_ns: u64) {
        self.tick_due_ns = now_ns + self.tick_ns;
        self.share.live.publish(&self.report.recorder);
        if self.share.interrupt.is_triggered() && self.drain_until_ns == u64::MAX {
            self.share.planner.stop();
            self.drain_until_ns = now_ns + nanoseconds(INTERRUPTED_DRAIN_MAX);
        }
        for at in 0..self.connections.len() {
            self.expire(at, now_ns);
        }
    }

    fn expire(&mut self, at: usize, now_ns: u64) {
        let Self { connections, report, share, outstanding, held, .. } = self;
        let connection = &mut connections[at];
        let (waiting, held_before) = (connection.waiting(), connection.held());
        connection.expire(now_ns, share.timeout_ns, |awaited: Awaited| {
            *outstanding -= 1;
            if let Some(moments) = awaited.moments(now_ns) {
                report.recorder.timed_out(moments, share.timeout_ns);
            } else if now_ns >= share.planner.measure_from_ns() {
                report.recorder.left_by_warmup(false, now_ns);
            }
        });
        *held -= held_before - connection.held();
        if connection.is_overdue(now_ns) {
            let error = io::ErrorKind::TimedOut.into();
            self.lose(at, self.not_opened(&error), now_ns);
        } else if connection.waiting() < waiting {
            self.tend(at, now_ns);
        }
    }
}

fn settle(recorder: &mut Recorder, verdict: Verdict, now_ns: u64, share: &Share) {
    let Verdict { awaited, answer, .. } = verdict;
    // It may have come before the next look at timeouts, but too late all the same.
    let is_late = awaited.is_late(now_ns, share.timeout_ns);
    let moments = awaited.moments(now_ns);
    let is_right = answer.is_ok() && !is_late;
    if is_right && share.planner.is_within(now_ns) {
        recorder.came_within();
    }
    if moments.is_none() && now_ns >= share.planner.measure_from_ns() {
        recorder.left_by_warmup(is_right, now_ns);
    }
    if let Some(moments) = moments {
        match answer {
            _ if is_late => recorder.timed_out(moments, share.timeout_ns),
            Ok(()) => recorder.ok(moments),
            Err(kind) => recorder.error(kind, moments.planned_ns, now_ns),
        }
    }
}
