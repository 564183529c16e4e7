//! HTTP/2 frames (RFC 9113, 4 and 6): nine bytes that say what follows, and writers for the few
//! kinds that a client of unary calls sends.
//!
//! Frames are appended to the connection's outgoing bytes and copied nowhere else.

/// The head of every frame.
pub(super) const HEAD_BYTES: usize = 9;
/// The largest frame that every peer takes, and the smallest limit that one may set.
pub(super) const PAYLOAD_BYTES_MAX_DEFAULT: u32 = 16_384;
/// The largest limit that a peer may set.
pub(super) const PAYLOAD_BYTES_MAX_MOST: u32 = (1 << 24) - 1;
/// The largest window, and the largest stream id.
pub(super) const NUMBER_MAX: u32 = (1 << 31) - 1;

/// What a client says before its first frame (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, by their numbers.
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags; what one means depends on the kind.
pub(super) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Settings, by their numbers (RFC 9113, 6.5.2).
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream is given up (RFC 9113, 7).
const CANCEL: u32 = 8;

/// What stands before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    // ANCHOR: head
    /// Of the frame that `bytes` begin with, where its head is whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<3>()?;
        let ([kind, flags, stream @ ..], _) = rest.split_first_chunk::<6>()?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        Some(Self { length, kind: *kind, flags: *flags, stream: number(*stream) })
    }
    // ANCHOR_END: head

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends the head of a frame whose payload has `length` bytes.
pub(super) fn head(kind: u8, flags: u8, stream: u32, length: u32, out: &mut Vec<u8>) {
    let mut head = [0; HEAD_BYTES];
    head[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    (head[3], head[4]) = (kind, flags);
    head[5..].copy_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&head);
}

/// Appends the settings of this client, or what else `settings` are.
pub(super) fn settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    const SETTING_BYTES: u32 = 6;
    let count = u32::try_from(settings.len()).expect("there are six settings");
    head(kind::SETTINGS, 0, 0, count * SETTING_BYTES, out);
    for (number, value) in settings {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of the peer's settings.
pub(super) fn settings_ack(out: &mut Vec<u8>) {
    head(kind::SETTINGS, flag::ACK, 0, 0, out);
}

/// Appends the answer to a ping.
pub(super) fn ping_ack(payload: [u8; 8], out: &mut Vec<u8>) {
    head(kind::PING, flag::ACK, 0, 8, out);
    out.extend_from_slice(&payload);
}

/// Lets the peer send so many more bytes on all streams together.
pub(super) fn window_update(bytes: u32, out: &mut Vec<u8>) {
    head(kind::WINDOW_UPDATE, 0, 0, 4, out);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Gives a stream up.
pub(super) fn cancel(stream: u32, out: &mut Vec<u8>) {
    head(kind::RST_STREAM, 0, stream, 4, out);
    out.extend_from_slice(&CANCEL.to_be_bytes());
}

/// The payload without its padding, if it has any.
pub(super) fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// A number of 32 bits whose first is reserved.
pub(super) fn number(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & NUMBER_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        head(kind::DATA, flag::END_STREAM, 0x7654_3210, 0x12_3456, &mut bytes);
        let expected =
            Head { length: 0x12_3456, kind: 0, flags: flag::END_STREAM, stream: 0x7654_3210 };
        assert_eq!(Head::of(&bytes), Some(expected));
        assert_eq!(Head::of(&bytes[..8]), None);
        bytes[5] |= 0x80; // reserved, and to be ignored
        assert_eq!(Head::of(&bytes), Some(expected));
    }

    #[test]
    fn padding_is_taken_off() {
        let padded = Head { length: 0, kind: kind::DATA, flags: flag::PADDED, stream: 1 };
        assert_eq!(unpadded(padded, &[2, b'a', b'b', 0, 0]), Some(&b"ab"[..]));
        assert_eq!(unpadded(padded, &[0]), Some(&b""[..]));
        assert_eq!(unpadded(padded, &[3, 0, 0]), None);
        assert_eq!(unpadded(padded, &[]), None);
        assert_eq!(unpadded(Head { flags: 0, ..padded }, &[2, 0]), Some(&[2, 0][..]));
    }
}
