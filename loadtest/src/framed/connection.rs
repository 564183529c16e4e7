//! One framed connection of the tester: what was sent and not answered, and the bytes on the way.
//!
//! Replies come in the order of the requests, so the oldest request is the one that the next reply
//! must answer. Buffers keep their size: in steady state nothing is allocated.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use common::frame::{self, PREFIX_BYTES};

use crate::plan::Planned;
use crate::recorder::{ErrorKind, Moments};
use crate::target::{Protocol, Target};
use crate::template::Templates;
use crate::work::ECHO_BYTES_MAX;

/// Bytes that may be queued behind a socket that takes no more; a request above it still goes out
/// where nothing is queued. With it and the bound on requests, memory is bounded.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest reply: the largest echo and the fields around it.
#[allow(clippy::cast_possible_truncation)] // a constant that fits in 32 bits
const REPLY_BYTES_MAX: usize = ECHO_BYTES_MAX as usize + 64;

/// A request that was sent, and whose reply has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    index: u64,
    planned_ns: u64,
    sent_ns: u64,
    kind: u8,
    pub(super) measured: bool,
}

impl Awaited {
    /// Its moments, if it counts: a request of the warm-up does not.
    pub(super) fn moments(self, settled_ns: u64) -> Option<Moments> {
        let Self { planned_ns, sent_ns, .. } = self;
        self.measured.then_some(Moments { planned_ns, sent_ns, settled_ns })
    }
}

/// What a reply turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Of its request; nothing in the warm-up.
    pub(super) moments: Option<Moments>,
    /// Whether it is right.
    pub(super) answer: Result<(), ErrorKind>,
    /// Whether the request was settled as timed out before.
    pub(super) timed_out_before: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    alive: bool,
    in_flight: VecDeque<Awaited>,
    /// How many of the oldest in flight have timed out: their replies may still come, and then
    /// stand before those to later requests.
    timed_out: usize,
    answered: bool,
    /// The beginning of a reply whose end has not come.
    partial: Vec<u8>,
    out: Vec<u8>,
    out_sent: usize,
    writable: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            alive: true,
            in_flight: VecDeque::new(),
            timed_out: 0,
            answered: false,
            partial: Vec::new(),
            out: Vec::new(),
            out_sent: 0,
            writable: true,
        }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    /// Requests whose answers are awaited.
    pub(super) fn waiting(&self) -> usize {
        self.in_flight.len() - self.timed_out
    }

    /// The same and those that timed out.
    pub(super) fn held(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether another request may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.alive && self.out.len() - self.out_sent < QUEUED_BYTES_MAX
    }

    /// Queues a request; [`flush`](Self::flush) sends it.
    pub(super) fn send(&mut self, planned: Planned, now_ns: u64, templates: &Templates) {
        let Planned { index, planned_ns, kind, measured } = planned;
        let template = templates.of(kind);
        template.write(template.id(index), &mut self.out);
        let kind = u8::try_from(kind).expect("a mix has few kinds");
        self.in_flight.push_back(Awaited { index, planned_ns, sent_ns: now_ns, kind, measured });
    }

    /// The socket takes bytes again.
    pub(super) fn writable(&mut self) {
        self.writable = true;
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.alive && self.writable && self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(count) => self.out_sent += count,
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

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Gives `settle` a verdict on each reply that `bytes` completes.
    ///
    /// # Errors
    /// In words, if the bytes are no replies: the connection is of no more use.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        expected: (&Templates, Target),
        settle: impl FnMut(Verdict),
    ) -> Result<(), String> {
        if self.partial.is_empty() {
            let taken = self.take_whole(bytes, now_ns, expected, settle)?;
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            let taken = self.take_whole(&partial, now_ns, expected, settle)?;
            partial.drain(..taken);
            self.partial = partial;
        }
        Ok(())
    }

    /// Takes the whole replies at the beginning of `bytes`, and says how many bytes they are.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        (templates, target): (&Templates, Target),
        mut settle: impl FnMut(Verdict),
    ) -> Result<usize, String> {
        if !self.answered && is_http2(bytes) {
            return Err(self.foreign(bytes, target, "HTTP/2"));
        }
        let mut at = 0;
        loop {
            let message = match frame::split_first(&bytes[at..], REPLY_BYTES_MAX) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return Err(self.foreign(&bytes[at..], target, &error.to_string())),
            };
            let Some(sent) = self.in_flight.pop_front() else {
                return Err(self.foreign(&bytes[at..], target, "a reply to no request"));
            };
            let timed_out_before = self.timed_out > 0;
            self.timed_out -= usize::from(timed_out_before);
            let template = templates.of(usize::from(sent.kind));
            let answer = template.check(template.id(sent.index), message);
            settle(Verdict { moments: sent.moments(now_ns), answer, timed_out_before });
            self.answered = true;
            at += PREFIX_BYTES + message.len();
        }
        Ok(at)
    }

    /// Settles the oldest request as timed out, if its time is up; call until it gives nothing.
    pub(super) fn expire(&mut self, now_ns: u64, timeout_ns: u64) -> Option<Awaited> {
        let awaited = self.in_flight.get(self.timed_out)?;
        if awaited.planned_ns.saturating_add(timeout_ns) > now_ns {
            return None;
        }
        self.timed_out += 1;
        Some(*awaited)
    }

    /// Shuts the connection down and gives the requests that were still awaited.
    pub(super) fn bury(&mut self) -> impl Iterator<Item = Awaited> {
        self.alive = false;
        // Nothing to be done where even this fails: the connection is gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let timed_out = std::mem::take(&mut self.timed_out);
        std::mem::take(&mut self.in_flight).into_iter().skip(timed_out)
    }

    /// What the end of the connection means.
    pub(super) fn end_kind(&self) -> ErrorKind {
        if !self.answered && is_http2(&self.partial) {
            ErrorKind::Protocol
        } else {
            ErrorKind::Closed
        }
    }

    /// The same in words.
    pub(super) fn end_text(&self, target: Target) -> String {
        if self.answered {
            format!("{target} closed the connection; is the server still running?")
        } else {
            format!(
                "{target} closed the connection before it answered anything; is this its protocol \
                 (tcp:// framed, grpc:// gRPC, raw:// the floor), and has it room for more \
                 connections?"
            )
        }
    }

    fn foreign(&self, bytes: &[u8], target: Target, what: &str) -> String {
        if self.answered {
            return format!("{target} sent what is no reply: {what}");
        }
        let instead = match target.protocol {
            _ if is_http2(bytes) => "it speaks HTTP/2: try grpc://",
            _ if bytes.starts_with(b"HTTP/") => "it is an HTTP server",
            Protocol::Raw => "try tcp:// or grpc://",
            _ => "try grpc:// or another port",
        };
        format!("{target} does not speak this protocol ({what}); {instead}")
    }
}

/// Whether the bytes begin as every HTTP/2 server begins (RFC 9113, 3.4 and 6.5): with a SETTINGS
/// frame on stream 0, whose length is a multiple of six.
fn is_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, length, 4, 0, 0, 0, 0, 0, ..] if length % 6 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_known_by_its_first_frame() {
        assert!(is_http2(&[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3]));
        assert!(!is_http2(&[0, 0, 0, 9, 8, 1, 0, 0, 0, 0]));
        assert!(!is_http2(&[]));
    }
}
