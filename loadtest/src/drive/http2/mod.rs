//! The gRPC wire: a client of HTTP/2 (RFC 9113) that makes unary calls, one stream each, and
//! nothing else.
//!
//! A call costs it a few bytes of headers from memory, a comparison of the reply, and another of
//! its header blocks. The price of having no general client below is this folder, which must be
//! right about flow control, settings and header tables by itself.

mod frame;
#[cfg(fuzzing)]
pub mod fuzz;
mod head;
mod hpack;
mod peer;
mod receive;
pub mod show;
mod stream;

use std::collections::VecDeque;

use self::frame::{flag, kind, setting};
use self::head::{ReplyHeads, RequestHead};
use self::peer::{Peer, WINDOW_BYTES_DEFAULT};
use self::receive::{Block, Trouble};
use self::stream::Streams;
use super::wire::{Awaited, Lost, QUEUED_BYTES_MAX, Terms, Verdict, Wire, closed_text};
use crate::recorder::ErrorKind;
use crate::target::Target;
use crate::template::Templates;

/// What a server may send before it is told that there is more room, on one stream and on all: as
/// much as there is, so that flow control is not what is measured.
const WINDOW_BYTES: u32 = frame::NUMBER_MAX;
/// The largest frame that a server may send: fewer and larger ones for large echoes. The
/// protocol's default is 16 KiB.
const PAYLOAD_BYTES_MAX: u32 = 1024 * 1024;
/// The longest list of header fields that is taken: four times what servers commonly take.
const LIST_BYTES_MAX: u32 = 64 * 1024;

/// How far the peer has shown that it speaks gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// Its settings came.
    Greeted,
    /// A reply came.
    Answered,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Http2 {
    peer: Peer,
    streams: Streams,
    request_head: RequestHead,
    reply_heads: ReplyHeads,
    /// What all streams together may send.
    window: i64,
    /// Streams whose message was not sent whole: the peer's windows, or the outgoing bytes, had no
    /// room.
    unsent: VecDeque<u32>,
    may_resume: bool,
    /// What came on all streams since the peer was told that there is room.
    received_bytes: u32,
    /// No stream was planned before this time.
    oldest_ns: u64,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// A header block whose end has not come.
    block: Option<Block>,
    /// Vectors for replies that come in parts.
    spare: Vec<Vec<u8>>,
    /// Acknowledgements since the outgoing bytes were empty.
    owed_bytes: usize,
    stage: Stage,
    going_away: bool,
}

impl Wire for Http2 {
    fn open(target: Target, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(frame::PREFACE);
        let settings = [
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES),
            (setting::MAX_FRAME_SIZE, PAYLOAD_BYTES_MAX),
            (setting::MAX_HEADER_LIST_SIZE, LIST_BYTES_MAX),
        ];
        frame::settings(&settings, out);
        frame::window_update(WINDOW_BYTES - WINDOW_BYTES_DEFAULT, out);
        Self {
            peer: Peer::new(),
            streams: Streams::new(),
            request_head: RequestHead::new(target),
            reply_heads: ReplyHeads::new(),
            window: WINDOW_BYTES_DEFAULT.into(),
            unsent: VecDeque::new(),
            may_resume: false,
            received_bytes: 0,
            oldest_ns: u64::MAX,
            partial: Vec::new(),
            block: None,
            spare: Vec::new(),
            owed_bytes: 0,
            stage: Stage::New,
            going_away: false,
        }
    }

    fn may_send(&self) -> bool {
        self.streams.count() < self.peer.streams_max as usize
            && self.window > 0
            && !self.wants_to_close()
    }

    fn send(&mut self, awaited: Awaited, templates: &Templates, out: &mut Vec<u8>) {
        let id = self.streams.open(awaited, self.peer.window_bytes.into());
        self.oldest_ns = self.oldest_ns.min(awaited.planned_ns);
        let at = out.len();
        frame::head(kind::HEADERS, flag::END_HEADERS, id, 0, out);
        self.request_head.write(out);
        let block_bytes = out.len() - at - frame::HEAD_BYTES;
        out[at + 2] = u8::try_from(block_bytes).expect("a request's fields are some 110 bytes");
        if !self.send_message(id, templates, out) {
            self.unsent.push_back(id);
        }
    }

    fn resume(&mut self, templates: &Templates, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.may_resume) {
            return;
        }
        for _ in 0..self.unsent.len() {
            if let Some(id) = self.unsent.pop_front()
                && !self.send_message(id, templates, out)
            {
                self.unsent.push_back(id);
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: impl FnMut(Verdict),
    ) -> Result<(), Lost> {
        if out.is_empty() {
            self.owed_bytes = 0;
        }
        let taken = if self.partial.is_empty() {
            self.take_whole(bytes, terms, out, settle)
                .map(|taken| self.partial.extend_from_slice(&bytes[taken..]))
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            self.take_whole(&partial, terms, out, settle).map(|taken| {
                partial.drain(..taken);
                self.partial = partial;
            })
        };
        taken.map_err(|trouble| self.lost(&trouble, terms.target))
    }

    fn expire(
        &mut self,
        now_ns: u64,
        timeout_ns: u64,
        out: &mut Vec<u8>,
        mut late: impl FnMut(Awaited),
    ) {
        if self.oldest_ns.saturating_add(timeout_ns) > now_ns {
            return;
        }
        let mut oldest_ns = u64::MAX;
        let is_late = |stream: &stream::Stream| {
            let is_late = stream.awaited.is_late(now_ns, timeout_ns);
            if !is_late {
                oldest_ns = oldest_ns.min(stream.awaited.planned_ns);
            }
            is_late
        };
        self.streams.remove_if(is_late, |stream| {
            // What still comes of it is counted by flow control, and else ignored.
            frame::cancel(stream.id, out);
            late(stream.awaited);
        });
        self.oldest_ns = oldest_ns;
    }

    fn waiting(&self) -> usize {
        self.streams.count()
    }

    fn held(&self) -> usize {
        self.streams.count()
    }

    fn wants_to_close(&self) -> bool {
        self.going_away || self.streams.are_used_up()
    }

    fn end(&self, target: Target) -> Lost {
        let text = if self.stage == Stage::Answered {
            closed_text(target)
        } else {
            format!(
                "{target} closed the connection before it answered anything; does it speak gRPC \
                 (else try tcp://), and has it room for more connections?"
            )
        };
        Lost { kind: ErrorKind::Closed, text }
    }

    fn bury(&mut self, mut lost: impl FnMut(Awaited)) {
        self.streams.remove_if(|_| true, |stream| lost(stream.awaited));
        self.unsent.clear();
    }
}

impl Http2 {
    /// Appends what the windows and the outgoing bytes have room for of a stream's message, and
    /// says whether that was all of it.
    fn send_message(&mut self, id: u32, templates: &Templates, out: &mut Vec<u8>) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return true };
        let template = templates.of(stream.awaited.kind());
        let request = template.id(stream.awaited.index);
        let bytes = template.request_bytes(request);
        while stream.sent_bytes < bytes {
            if out.len() >= QUEUED_BYTES_MAX {
                self.may_resume = true;
                return false;
            }
            let room = self.window.min(stream.window).min(self.peer.payload_bytes_max.into());
            let Ok(room @ 1..) = usize::try_from(room) else { return false };
            let end = bytes.min(stream.sent_bytes + room);
            let part = u32::try_from(end - stream.sent_bytes).expect("no more than a window");
            let flags = if end == bytes { flag::END_STREAM } else { 0 };
            frame::head(kind::DATA, flags, id, part, out);
            if part as usize == bytes {
                template.write(request, out);
            } else {
                template.write_part(request, stream.sent_bytes..end, out);
            }
            stream.sent_bytes = end;
            stream.window -= i64::from(part);
            self.window -= i64::from(part);
        }
        true
    }

    fn lost(&self, trouble: &Trouble, target: Target) -> Lost {
        let kind = match trouble {
            Trouble::GoAway(_) => ErrorKind::Closed,
            _ => ErrorKind::Protocol,
        };
        let text = match trouble {
            Trouble::GoAway(_) => format!("{target} gave the connection up: {trouble}"),
            _ if self.stage != Stage::New => format!("{target} broke HTTP/2: {trouble}"),
            _ => format!("{target} does not speak gRPC ({trouble}); try tcp:// or another port"),
        };
        Lost { kind, text }
    }
}

#[cfg(test)]
mod tests;
