//! What a server's frames do to a connection of the client, kind by kind.
//!
//! Whatever breaks the protocol loses the connection, with a word on what it was; nothing that a
//! server sends can make the tester panic, or hold more than a bound.

use super::frame::{self, Head, flag, kind};
use super::hpack::BlockError;
use super::{Http2, LIST_BYTES_MAX, PAYLOAD_BYTES_MAX, Stage, WINDOW_BYTES};
use crate::drive::wire::{Terms, Verdict};
use crate::recorder::ErrorKind;

/// Acknowledgements that wait for the peer to read them.
const OWED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that say how a stream depends on others; nobody acts on it any more.
const PRIORITY_BYTES: usize = 5;

/// Why a connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("GOAWAY with error code {0} (RFC 9113, 7)")]
    GoAway(u32),
}

use Trouble::Malformed;

/// A header block whose end has not come.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    is_last: bool,
    bytes: Vec<u8>,
}

impl Http2 {
    /// Takes the whole frames at the beginning of `bytes`, and says how many bytes they are.
    pub(super) fn take_whole(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        mut settle: impl FnMut(Verdict),
    ) -> Result<usize, Trouble> {
        if self.stage == Stage::New && bytes.starts_with(b"HTTP/") {
            return Err(Malformed("it is a server of HTTP/1"));
        }
        let mut at = 0;
        while let Some(head) = Head::of(&bytes[at..]) {
            let is_greeting = head.kind == kind::SETTINGS && !head.has(flag::ACK);
            if self.stage == Stage::New && !is_greeting {
                return Err(Malformed("its first bytes are not of HTTP/2"));
            }
            if head.length > PAYLOAD_BYTES_MAX as usize {
                return Err(Malformed("a frame that is larger than it may be"));
            }
            let begin = at + frame::HEAD_BYTES;
            let Some(payload) = bytes.get(begin..begin + head.length) else { break };
            self.on_frame(head, payload, terms, out, &mut settle)?;
            at = begin + head.length;
        }
        Ok(at)
    }

    fn on_frame(
        &mut self,
        head: Head,
        payload: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Malformed("a header block that another frame interrupts"));
        }
        match head.kind {
            kind::DATA => self.on_data(head, payload, terms, out, settle),
            kind::HEADERS => self.on_headers(head, payload, terms, out, settle),
            kind::CONTINUATION => self.on_continuation(head, payload, terms, out, settle),
            kind::RST_STREAM => self.on_reset(head, payload, settle),
            kind::SETTINGS => self.on_settings(head, payload, out),
            kind::PING => self.on_ping(head, payload, out),
            kind::GOAWAY => self.on_goaway(head, payload, settle),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload),
            kind::PUSH_PROMISE => Err(Malformed("a push, which it was told not to send")),
            _ => Ok(()), // to be ignored (RFC 9113, 4.1), as PRIORITY is
        }
    }

    fn on_data(
        &mut self,
        head: Head,
        payload: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        self.check_stream(head)?;
        // The whole frame counts, and also on a stream that is gone.
        self.received_bytes += u32::try_from(head.length).expect("a length has 24 bits");
        if self.received_bytes > WINDOW_BYTES / 2 {
            frame::window_update(self.received_bytes, out);
            self.received_bytes = 0;
        }
        let part = frame::unpadded(head, payload).ok_or(Malformed("padding without end"))?;
        let Some(stream) = self.streams.get_mut(head.stream) else { return Ok(()) };
        let template = terms.templates.of(stream.awaited.kind());
        if stream.receive(part, template, &mut self.spare).is_none() {
            return Err(Malformed("a message before its head, or one that is too large"));
        }
        if head.has(flag::END_STREAM) {
            self.finish(head.stream, terms, out, settle);
        }
        Ok(())
    }

    fn on_headers(
        &mut self,
        head: Head,
        payload: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        self.check_stream(head)?;
        let mut part = frame::unpadded(head, payload).ok_or(Malformed("padding without end"))?;
        if head.has(flag::PRIORITY) {
            part = part.get(PRIORITY_BYTES..).ok_or(Malformed("a priority that is cut short"))?;
        }
        let is_last = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.on_block((head.stream, is_last), part, terms, out, settle);
        }
        self.block = Some(Block { stream: head.stream, is_last, bytes: Vec::new() });
        self.collect(part)
    }

    fn on_continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        self.collect(payload)?;
        if head.has(flag::END_HEADERS)
            && let Some(block) = self.block.take()
        {
            self.on_block((block.stream, block.is_last), &block.bytes, terms, out, settle)?;
        }
        Ok(())
    }

    /// Adds to the header block that is under way.
    fn collect(&mut self, part: &[u8]) -> Result<(), Trouble> {
        let block = self.block.as_mut().ok_or(Malformed("a continuation of nothing"))?;
        if block.bytes.len() + part.len() > LIST_BYTES_MAX as usize {
            return Err(Malformed("a header block that is too long"));
        }
        block.bytes.extend_from_slice(part);
        Ok(())
    }

    fn on_block(
        &mut self,
        (id, is_last): (u32, bool),
        block: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        // Also of a stream that is gone: later blocks build on it.
        let said = self.reply_heads.read(block, is_last)?;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if stream.hear(said, is_last).is_none() {
            return Err(Malformed("trailers that are not the end"));
        }
        if is_last {
            self.finish(id, terms, out, settle);
        }
        Ok(())
    }

    /// The reply is whole.
    fn finish(
        &mut self,
        id: u32,
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: &mut impl FnMut(Verdict),
    ) {
        let Some(stream) = self.streams.remove(id) else { return };
        let (awaited, template) = (stream.awaited, terms.templates.of(stream.awaited.kind()));
        if stream.sent_bytes < template.request_bytes(template.id(awaited.index)) {
            frame::cancel(id, out); // nobody wants the rest
        }
        self.stage = Stage::Answered;
        let answer = stream.answer(template, &mut self.spare);
        settle(Verdict { awaited, answer, timed_out_before: false });
    }

    fn on_reset(
        &mut self,
        head: Head,
        payload: &[u8],
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        self.check_stream(head)?;
        if payload.len() != 4 {
            return Err(Malformed("a reset of a wrong length"));
        }
        if let Some(stream) = self.streams.remove(head.stream) {
            let answer = Err(ErrorKind::StreamReset);
            settle(Verdict { awaited: stream.awaited, answer, timed_out_before: false });
        }
        Ok(())
    }

    /// A frame of a stream names one that was opened.
    pub(super) fn check_stream(&self, head: Head) -> Result<(), Trouble> {
        if self.streams.is_idle(head.stream) {
            return Err(Malformed("a frame on a stream that nobody opened"));
        }
        Ok(())
    }

    fn on_ping(&mut self, head: Head, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Trouble> {
        let payload = payload.try_into().map_err(|_| Malformed("a ping of a wrong length"))?;
        if head.has(flag::ACK) {
            return Ok(());
        }
        frame::ping_ack(payload, out);
        self.owe(frame::HEAD_BYTES + payload.len())
    }

    /// Keeps a peer that asks and does not read from filling the memory.
    pub(super) fn owe(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.owed_bytes += bytes;
        if self.owed_bytes > OWED_BYTES_MAX {
            return Err(Malformed("pings or settings whose answers it does not read"));
        }
        Ok(())
    }

    fn on_goaway(
        &mut self,
        head: Head,
        payload: &[u8],
        settle: &mut impl FnMut(Verdict),
    ) -> Result<(), Trouble> {
        let ([last, code, ..], _) = payload.as_chunks::<4>() else {
            return Err(Malformed("a farewell that is cut short"));
        };
        if head.stream != 0 {
            return Err(Malformed("a farewell on a stream"));
        }
        let (last, code) = (frame::number(*last), u32::from_be_bytes(*code));
        if code != 0 {
            return Err(Trouble::GoAway(code));
        }
        self.going_away = true;
        // The others are still answered. These were not looked at; to send them again would hide
        // that they failed.
        let refused = |stream: &super::stream::Stream| stream.id > last;
        self.streams.remove_if(refused, |stream| {
            let answer = Err(ErrorKind::Closed);
            settle(Verdict { awaited: stream.awaited, answer, timed_out_before: false });
        });
        Ok(())
    }
}
