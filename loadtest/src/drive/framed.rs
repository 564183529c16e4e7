//! The framed wire, and the floor's: a 4-byte length and a message, answered in order.
//!
//! The oldest request is the one that the next reply must answer, so a queue is all its state.
//! Buffers keep their size: in steady state nothing is allocated.

use std::collections::VecDeque;

use common::frame::{self, PREFIX_BYTES};

use super::wire::{Awaited, Lost, REPLY_BYTES_MAX, Terms, Verdict, Wire, closed_text};
use crate::recorder::ErrorKind;
use crate::target::{Protocol, Target};
use crate::template::Templates;

/// What was sent on one connection and not answered.
#[derive(Debug, Default)]
pub(super) struct Framed {
    in_flight: VecDeque<Awaited>,
    /// How many of the oldest in flight have timed out: their replies may still come, and then
    /// stand before those to later requests.
    timed_out: usize,
    answered: bool,
    /// The beginning of a reply whose end has not come.
    partial: Vec<u8>,
}

impl Wire for Framed {
    fn open(_: Target, _: &mut Vec<u8>) -> Self {
        Self::default()
    }

    fn may_send(&self) -> bool {
        true
    }

    fn send(&mut self, awaited: Awaited, templates: &Templates, out: &mut Vec<u8>) {
        let template = templates.of(awaited.kind());
        template.write(template.id(awaited.index), out);
        self.in_flight.push_back(awaited);
    }

    fn resume(&mut self, _: &Templates, _: &mut Vec<u8>) {}

    fn take(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        _: &mut Vec<u8>,
        settle: impl FnMut(Verdict),
    ) -> Result<(), Lost> {
        if self.partial.is_empty() {
            let taken = self.take_whole(bytes, terms, settle)?;
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            let taken = self.take_whole(&partial, terms, settle)?;
            partial.drain(..taken);
            self.partial = partial;
        }
        Ok(())
    }

    fn expire(&mut self, now_ns: u64, timeout_ns: u64, _: &mut Vec<u8>, late: impl FnMut(Awaited)) {
        let waiting = self.in_flight.range(self.timed_out..);
        let expired = waiting.take_while(|awaited| awaited.is_late(now_ns, timeout_ns));
        self.timed_out += expired.copied().map(late).count();
    }

    fn waiting(&self) -> usize {
        self.in_flight.len() - self.timed_out
    }

    fn held(&self) -> usize {
        self.in_flight.len()
    }

    fn wants_to_close(&self) -> bool {
        false
    }

    fn end(&self, target: Target) -> Lost {
        let foreign = !self.answered && is_http2(&self.partial);
        let kind = if foreign { ErrorKind::Protocol } else { ErrorKind::Closed };
        let text = if self.answered {
            closed_text(target)
        } else {
            format!(
                "{target} closed the connection before it answered anything; is this its protocol \
                 (tcp:// framed, grpc:// gRPC, raw:// the floor), and has it room for more \
                 connections?"
            )
        };
        Lost { kind, text }
    }

    fn bury(&mut self, lost: impl FnMut(Awaited)) {
        self.in_flight.drain(..).skip(std::mem::take(&mut self.timed_out)).for_each(lost);
    }
}

impl Framed {
    /// Takes the whole replies at the beginning of `bytes`, and says how many bytes they are.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        mut settle: impl FnMut(Verdict),
    ) -> Result<usize, Lost> {
        if !self.answered && is_http2(bytes) {
            return Err(self.foreign(bytes, terms.target, "HTTP/2"));
        }
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let message = match frame::split_first(rest, REPLY_BYTES_MAX) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(at),
                Err(error) => return Err(self.foreign(rest, terms.target, &error.to_string())),
            };
            let Some(awaited) = self.in_flight.pop_front() else {
                return Err(self.foreign(rest, terms.target, "a reply to no request"));
            };
            let timed_out_before = self.timed_out > 0;
            self.timed_out -= usize::from(timed_out_before);
            let template = terms.templates.of(awaited.kind());
            let answer = template.check(template.id(awaited.index), message);
            self.answered = true;
            settle(Verdict { awaited, answer, timed_out_before });
            at += PREFIX_BYTES + message.len();
        }
    }

    fn foreign(&self, bytes: &[u8], target: Target, what: &str) -> Lost {
        let text = if self.answered {
            format!("{target} sent what is no reply: {what}")
        } else {
            let instead = match target.protocol {
                _ if is_http2(bytes) => "it speaks HTTP/2: try grpc://",
                _ if bytes.starts_with(b"HTTP/") => "it is an HTTP server",
                Protocol::Raw => "try tcp:// or grpc://",
                _ => "try grpc:// or another port",
            };
            format!("{target} does not speak this protocol ({what}); {instead}")
        };
        Lost { kind: ErrorKind::Protocol, text }
    }
}

/// Whether the bytes begin as every HTTP/2 server begins (RFC 9113, 3.4 and 6.5): with a SETTINGS
/// frame on stream 0, whose length is a multiple of six.
fn is_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, length, 4, 0, 0, 0, 0, 0, ..] if length % 6 == 0)
}
