//! A connection under HTTP/2, in clear or as TLS has it: it says where its peer stands still in the
//! middle of a frame. It pays with a glance at the head of each frame.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::ledger::Ledger;
use super::wire::Wire;

/// One connection, and its frames as the peer sends them.
pub(super) struct Socket {
    layer: Layer,
    ledger: Arc<Ledger>,
    frames: Frames,
    /// What the ledger was told last.
    half_a_frame: u64,
}

/// What carries the frames. An enum and not a type parameter: HTTP/2 is compiled once. In a box
/// where there is TLS, so that a connection without is no larger for it.
pub(super) enum Layer {
    Clear(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Socket {
    pub(super) fn new(layer: Layer, ledger: Arc<Ledger>) -> Self {
        Self { layer, ledger, frames: Frames::default(), half_a_frame: 0 }
    }

    fn received(&mut self, bytes: &[u8]) {
        let was_open = self.frames.are_open();
        self.frames.see(bytes);
        if self.frames.half() != self.half_a_frame {
            self.half_a_frame = self.frames.half();
            self.ledger.half_a_frame(self.half_a_frame);
        }
        if !was_open && self.frames.are_open() {
            self.ledger.is_open();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = match &mut self.layer {
            Layer::Clear(wire) => Pin::new(wire).poll_read(task, buffer),
            Layer::Tls(tls) => Pin::new(tls).poll_read(task, buffer),
        };
        if poll.is_ready() {
            self.received(&buffer.filled()[before..]);
        }
        poll
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Clear(wire) => Pin::new(wire).poll_write(task, bytes),
            Layer::Tls(tls) => Pin::new(tls).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Clear(wire) => Pin::new(wire).poll_write_vectored(task, slices),
            Layer::Tls(tls) => Pin::new(tls).poll_write_vectored(task, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Clear(wire) => wire.is_write_vectored(),
            Layer::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Clear(wire) => Pin::new(wire).poll_flush(task),
            Layer::Tls(tls) => Pin::new(tls).poll_flush(task),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Clear(wire) => Pin::new(wire).poll_shutdown(task),
            Layer::Tls(tls) => Pin::new(tls).poll_shutdown(task),
        }
    }
}

/// What a client says first (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// Length, type, flags and stream of a frame (4.1).
const HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 0x1;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;

/// Where the peer is in the stream of its frames.
#[derive(Debug, Default)]
struct Frames {
    preface: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    head_bytes: usize,
    /// Bytes of the payload that have not.
    payload_left: usize,
    /// Of the frame that came last, or is coming; a block of headers counts as one (6.10).
    number: u64,
    in_headers: bool,
    has_settings: bool,
    has_acknowledged: bool,
}

impl Frames {
    /// Whether this is a connection: the peer has sent its settings and taken ours.
    fn are_open(&self) -> bool {
        self.has_settings && self.has_acknowledged
    }

    /// The number of the frame that has begun and not ended, or 0.
    fn half(&self) -> u64 {
        let is_half = self.head_bytes > 0 || self.payload_left > 0 || self.in_headers;
        if is_half { self.number + u64::from(self.head_bytes > 0 && !self.in_headers) } else { 0 }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        let preface = bytes.len().min(PREFACE_BYTES - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let payload = bytes.len().min(self.payload_left);
            self.payload_left -= payload;
            bytes = &bytes[payload..];
            let head = bytes.len().min(HEAD_BYTES - self.head_bytes);
            self.head[self.head_bytes..][..head].copy_from_slice(&bytes[..head]);
            self.head_bytes += head;
            bytes = &bytes[head..];
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                self.begins();
            }
        }
    }

    fn begins(&mut self) {
        let [length @ .., _, _, _, _, _, _] = self.head;
        let [kind, flags] = [self.head[3], self.head[4]];
        self.payload_left = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.number += u64::from(kind != CONTINUATION);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_headers = flags & END_HEADERS == 0;
        }
        if kind == SETTINGS {
            self.has_settings |= flags & ACK == 0;
            self.has_acknowledged |= flags & ACK != 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + usize::from(length), 7);
        frame
    }

    /// What is seen of the same bytes does not depend on how they are cut.
    #[test]
    fn frames_are_followed_however_they_arrive() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let whole = [
            frame(0, SETTINGS, 0),
            frame(6, SETTINGS, 0),
            frame(0, SETTINGS, ACK),
            frame(20, HEADERS, 0),
            frame(20, CONTINUATION, END_HEADERS),
            frame(200, 0, 1),
        ];
        let mut ends = vec![(bytes.len(), false, 0)];
        for (frame, number) in whole.iter().zip([1, 2, 3, 4, 4, 5]) {
            bytes.extend_from_slice(frame);
            ends.push((bytes.len(), number >= 3, number));
        }
        for cut in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut seen = 0;
            for piece in bytes.chunks(cut) {
                frames.see(piece);
                seen += piece.len();
                let (end, is_open, number) =
                    *ends.iter().rfind(|(end, ..)| *end <= seen).unwrap_or(&(0, false, 0));
                let in_headers = number == 4 && seen < ends[5].0;
                let half = match seen {
                    _ if in_headers => 4,
                    _ if seen == end || seen < PREFACE_BYTES => 0,
                    _ => number + 1,
                };
                assert_eq!(frames.half(), half, "after {seen} in pieces of {cut}");
                // The head alone says what a frame is.
                assert!(frames.are_open() || !is_open, "after {seen} in pieces of {cut}");
            }
            assert_eq!((frames.number, frames.half(), frames.are_open()), (5, 0, true));
        }
    }
}
