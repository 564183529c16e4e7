//! What the peer allows: its settings, and the windows of flow control.
//!
//! Settings may come at any time and change what streams that are open may send, down to less than
//! nothing: a window that is negative must be widened by so much before anything is sent.

use super::frame::{self, Head, NUMBER_MAX, flag, setting};
use super::receive::Trouble::{self, Malformed};
use super::{Http2, Stage};

/// Every window before anything was said of it (RFC 9113, 6.9.2).
pub(super) const WINDOW_BYTES_DEFAULT: u32 = 65_535;
/// Streams before the peer's settings came: one, for it may allow no more.
const STREAMS_MAX_FIRST: u32 = 1;

/// What the peer allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) streams_max: u32,
    /// What a new stream may send.
    pub(super) window_bytes: u32,
    pub(super) payload_bytes_max: u32,
}

impl Peer {
    /// Before it said anything.
    pub(super) fn new() -> Self {
        Self {
            streams_max: STREAMS_MAX_FIRST,
            window_bytes: WINDOW_BYTES_DEFAULT,
            payload_bytes_max: frame::PAYLOAD_BYTES_MAX_DEFAULT,
        }
    }
}

impl Http2 {
    pub(super) fn on_settings(
        &mut self,
        head: Head,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        let (settings, rest) = payload.as_chunks::<6>();
        if head.stream != 0 || !rest.is_empty() {
            return Err(Malformed("settings of a wrong length, or on a stream"));
        }
        if head.has(flag::ACK) {
            return Ok(());
        }
        if self.stage == Stage::New {
            self.stage = Stage::Greeted;
            self.peer.streams_max = u32::MAX; // unless they say less
        }
        for [a, b, value @ ..] in settings {
            self.on_setting(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        frame::settings_ack(out);
        self.owe(frame::HEAD_BYTES)
    }

    fn on_setting(&mut self, number: u16, value: u32) -> Result<(), Trouble> {
        match number {
            setting::HEADER_TABLE_SIZE => self.request_head.limit(value),
            setting::MAX_CONCURRENT_STREAMS => self.peer.streams_max = value,
            setting::INITIAL_WINDOW_SIZE => {
                if value > NUMBER_MAX {
                    return Err(Malformed("a window that is too large"));
                }
                // Of streams that are open too, whose windows may become negative.
                let more = i64::from(value) - i64::from(self.peer.window_bytes);
                self.peer.window_bytes = value;
                self.may_resume = true;
                for stream in self.streams.iter_mut() {
                    widen(&mut stream.window, more)?;
                }
            }
            setting::MAX_FRAME_SIZE => {
                let allowed = frame::PAYLOAD_BYTES_MAX_DEFAULT..=frame::PAYLOAD_BYTES_MAX_MOST;
                if !allowed.contains(&value) {
                    return Err(Malformed("a limit of frames that is out of bounds"));
                }
                self.peer.payload_bytes_max = value;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn on_window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Trouble> {
        let bytes = payload.try_into().map(frame::number);
        let more = bytes.ok().filter(|more| *more > 0).ok_or(Malformed("a window of nothing"))?;
        self.may_resume = true;
        if head.stream == 0 {
            return widen(&mut self.window, more.into());
        }
        self.check_stream(head)?;
        match self.streams.get_mut(head.stream) {
            Some(stream) => widen(&mut stream.window, more.into()),
            None => Ok(()),
        }
    }
}

/// Makes a window larger, or smaller.
fn widen(window: &mut i64, more: i64) -> Result<(), Trouble> {
    *window += more;
    if *window > i64::from(NUMBER_MAX) {
        return Err(Malformed("a window that is too large"));
    }
    Ok(())
}
