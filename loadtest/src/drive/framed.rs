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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Planned;
    use common::message::{Request, Response, Work};
    use proptest::prelude::*;

    type Verdicts = Vec<(u64, Result<(), ErrorKind>, bool)>;

    struct Client {
        wire: Framed,
        templates: Templates,
        target: Target,
        out: Vec<u8>,
        verdicts: Verdicts,
    }

    impl Client {
        /// With so many requests under way.
        fn asking(count: u64) -> Self {
            let target: Target = "tcp://127.0.0.1:7001".parse().unwrap();
            let templates = Templates::new(&"echo:9".parse().unwrap(), 1, target.protocol);
            let mut out = Vec::new();
            let mut wire = Framed::open(target, &mut out);
            for index in 0..count {
                let planned = Planned { index, planned_ns: index, kind: 0, measured: true };
                wire.send(Awaited::new(planned, index), &templates, &mut out);
            }
            Self { wire, templates, target, out, verdicts: Vec::new() }
        }

        fn hear(&mut self, bytes: &[u8]) -> Result<(), Lost> {
            let terms = Terms { templates: &self.templates, target: self.target };
            let settle = |Verdict { awaited, answer, timed_out_before }| {
                self.verdicts.push((awaited.index, answer, timed_out_before));
            };
            self.wire.take(bytes, terms, &mut Vec::new(), settle)
        }

        /// The right replies to all that was asked.
        fn replies(&self) -> Vec<u8> {
            let (mut rest, mut replies) = (&self.out[..], Vec::new());
            while let Some(message) = frame::split_first(rest, usize::MAX).unwrap() {
                rest = &rest[PREFIX_BYTES + message.len()..];
                let request: Request = frame::decode(message).unwrap();
                let Some(Work::Echo(payload)) = request.work else { panic!("{request:?}") };
                frame::encode(&Response::ok(request.id, payload), &mut replies);
            }
            replies
        }
    }

    #[test]
    fn http2_is_known_by_its_first_frame() {
        assert!(is_http2(&[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3]));
        assert!(!is_http2(&[0, 0, 0, 9, 8, 1, 0, 0, 0, 0]));
        assert!(!is_http2(&[]));
    }

    #[test]
    fn a_late_reply_stands_before_the_next() {
        let mut client = Client::asking(3);
        let mut late = Vec::new();
        client.wire.expire(11, 10, &mut Vec::new(), |awaited| late.push(awaited.index));
        assert_eq!((late, client.wire.waiting(), client.wire.held()), (vec![0, 1], 1, 3));
        client.hear(&client.replies()).unwrap();
        assert_eq!(client.verdicts, [(0, Ok(()), true), (1, Ok(()), true), (2, Ok(()), false)]);
        assert_eq!((client.wire.waiting(), client.wire.held()), (0, 0));
    }

    #[test]
    fn only_what_is_awaited_is_lost() {
        let mut client = Client::asking(3);
        client.wire.expire(10, 10, &mut Vec::new(), |_| {});
        let mut lost = Vec::new();
        client.wire.bury(|awaited| lost.push(awaited.index));
        assert_eq!((lost, client.wire.waiting(), client.wire.held()), (vec![1, 2], 0, 0));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(cuts in proptest::collection::vec(1_usize..60, 0..20)) {
            let mut client = Client::asking(7);
            let replies = client.replies();
            let mut rest = &replies[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                client.hear(now).unwrap();
                rest = later;
            }
            client.hear(rest).unwrap();
            let right: Verdicts = (0..7).map(|index| (index, Ok(()), false)).collect();
            prop_assert_eq!(client.verdicts, right);
        }

        #[test]
        fn rubbish_is_survived(bytes: Vec<u8>) {
            let mut client = Client::asking(3);
            let _ = client.hear(&bytes);
            let mut lost = 0;
            client.wire.bury(|_| lost += 1);
            prop_assert_eq!(client.verdicts.len() + lost, 3);
        }
    }
}
