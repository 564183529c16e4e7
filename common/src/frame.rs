//! A frame is a 4-byte big-endian length and one protobuf message of that length.
//!
//! Both directions of a framed connection are frames, one after the other, and nothing else.

use prost::Message;

/// The length that stands before each message.
pub const PREFIX_BYTES: usize = 4;

/// The largest message that a server takes by default: gRPC's own default.
pub const FRAME_BYTES_MAX_DEFAULT: usize = 4 * 1024 * 1024;

/// Why bytes are not a frame of this contract. The peer is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length says more than the receiver is ready to hold. Nothing of it was stored.
    #[error("frame of {bytes} bytes is above the limit of {bytes_max}")]
    TooLarge {
        /// What the length prefix says.
        bytes: usize,
        /// The receiver's limit.
        bytes_max: usize,
    },
    /// The frame is whole, but it is no message of the contract.
    #[error("frame is not a valid message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The message (without its prefix) of the whole frame that `bytes` begins with, or `None` where
/// more bytes are needed.
///
/// # Errors
/// [`FrameError::TooLarge`] as soon as the prefix is there: a hostile length costs no memory.
pub fn split_first(bytes: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > bytes_max {
        return Err(FrameError::TooLarge { bytes: length, bytes_max });
    }
    Ok(rest.get(..length))
}

/// Appends `message` to `out` as one frame.
///
/// # Panics
/// If the message is 4 GiB or more: no limit of this project lets one come so far.
pub fn encode<M: Message>(message: &M, out: &mut Vec<u8>) {
    let length = message.encoded_len();
    let prefix = u32::try_from(length).expect("a message is below the frame limit");
    out.reserve(PREFIX_BYTES + length);
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode_raw(out);
}

/// The message in the bytes of one frame, as [`split_first`] gives them.
///
/// # Errors
/// [`FrameError::Malformed`] where the bytes are no such message.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, FrameError> {
    Ok(M::decode(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Request, Response, Work};
    use proptest::prelude::*;

    fn any_work() -> impl Strategy<Value = Option<Work>> {
        prop_oneof![
            Just(None),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(|b| Some(Work::Echo(b))),
            any::<u64>().prop_map(|us| Some(Work::WaitUs(us))),
            any::<u32>().prop_map(|rounds| Some(Work::ComputeRounds(rounds))),
            any::<u64>().prop_map(|us| Some(Work::BlockUs(us))),
            any::<String>().prop_map(|id| Some(Work::GetUser(id))),
        ]
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(id: u64, timeout_ms: u32, work in any_work()) {
            let request = Request { id, timeout_ms, work };
            let mut bytes = Vec::new();
            encode(&request, &mut bytes);
            let message = split_first(&bytes, bytes.len()).unwrap().unwrap();
            prop_assert_eq!(message.len(), bytes.len() - PREFIX_BYTES);
            prop_assert_eq!(decode::<Request>(message).unwrap(), request);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, bytes_max in 0_usize..1000) {
            if let Ok(Some(message)) = split_first(&bytes, bytes_max) {
                prop_assert!(message.len() <= bytes_max);
                let _ = decode::<Request>(message);
                let _ = decode::<Response>(message);
            }
        }

        #[test]
        fn a_frame_is_whole_only_at_its_last_byte(payload: Vec<u8>) {
            let mut bytes = Vec::new();
            encode(&Response::ok(7, payload), &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(split_first(&bytes[..cut], bytes.len()), Ok(None));
            }
            prop_assert!(split_first(&bytes, bytes.len()).unwrap().is_some());
        }
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let frame = [[0, 0, 0, 3].as_slice(), &[1, 2, 3]].concat();
        assert_eq!(split_first(&frame, 3), Ok(Some([1, 2, 3].as_slice())));
        let refused = FrameError::TooLarge { bytes: 3, bytes_max: 2 };
        assert_eq!(split_first(&frame[..4], 2), Err(refused), "refused before the body arrives");
    }

    #[test]
    fn foreign_protocols_read_as_frames_far_above_the_limit() {
        for bytes in
            [b"GET / HTTP/1.1\r\n".as_slice(), b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01\x02\x00"]
        {
            let split = split_first(bytes, FRAME_BYTES_MAX_DEFAULT);
            assert!(matches!(split, Err(FrameError::TooLarge { .. })), "{bytes:?}: {split:?}");
        }
    }
}
