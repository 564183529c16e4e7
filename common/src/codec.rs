//! The request that an echo is, read by hand: a server does nothing else so often, and prost makes a
//! new buffer for each payload. It pays with a second way to say the same, which is held equal to
//! prost's by its tests. Replies are written by prost: by hand it took no less.
//!
//! Only what has the common shape is done here: fields that are known, each of the kind that it is
//! declared as, and one kind of work. All else, wrong or merely rare, is left to prost: what it means
//! is decided in one place.

use crate::frame::{self, FrameError};
use crate::message::{Request, Work};
use crate::spare;

/// What stands before a field: its number and how it is written (a varint, or a length and bytes).
const fn key(number: u8, wire_type: u8) -> u8 {
    number << 3 | wire_type
}
const VARINT: u8 = 0;
const BYTES: u8 = 2;

const REQUEST_ID: u8 = key(1, VARINT);
const REQUEST_TIMEOUT_MS: u8 = key(2, VARINT);
const REQUEST_ECHO: u8 = key(10, BYTES);

/// A varint of 64 bits, seven to a byte.
const VARINT_BYTES_MAX: usize = 10;

/// The request in the bytes of one frame.
///
/// # Errors
/// [`FrameError::Malformed`] where the bytes are no such message.
pub fn decode(message: &[u8]) -> Result<Request, FrameError> {
    match decode_echo(message) {
        Some(request) => Ok(request),
        None => frame::decode(message),
    }
}

fn decode_echo(message: &[u8]) -> Option<Request> {
    let mut left = message;
    let (mut id, mut timeout_ms, mut echo) = (0, 0, None);
    while let Some((&key, rest)) = left.split_first() {
        left = rest;
        match key {
            REQUEST_ID => id = varint(&mut left)?,
            // As prost has it: what is above 32 bits is cut off.
            REQUEST_TIMEOUT_MS => timeout_ms = (varint(&mut left)? & 0xffff_ffff) as u32,
            REQUEST_ECHO if echo.is_none() => {
                let bytes = usize::try_from(varint(&mut left)?).ok()?;
                let (payload, rest) = left.split_at_checked(bytes)?;
                (echo, left) = (Some(payload), rest);
            }
            _ => return None,
        }
    }
    let payload = spare::copy_of(echo?);
    Some(Request { id, timeout_ms, work: Some(Work::Echo(payload)) })
}

/// A number of up to 63 bits, from the front of `left`.
fn varint(left: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..VARINT_BYTES_MAX - 1 {
        let byte = *left.get(at)?;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *left = &left[at + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message;
    use prost::encoding::encode_varint;

    use super::*;

    /// A field as somebody may write it, be it in its place or not.
    fn any_field() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![1_u64..4, 9_u64..16, Just(2047)];
        let value = prop_oneof![0_u64..300, any::<u64>()];
        (number, 0_u64..8, value, vec(any::<u8>(), 0..20)).prop_map(
            |(number, kind, value, bytes)| {
                let mut field = Vec::new();
                encode_varint(number << 3 | kind, &mut field);
                match kind {
                    // In more bytes than it needs, which may be more than there can be.
                    0 if value % 3 == 0 => {
                        field.push(0x80 | (value & 0x7f) as u8);
                        field.extend(bytes.iter().map(|_| 0x80));
                        field.push(0);
                    }
                    0 => encode_varint(value, &mut field),
                    1 => field.extend(value.to_le_bytes()),
                    2 => {
                        encode_varint(bytes.len() as u64, &mut field);
                        field.extend(bytes);
                    }
                    _ => {}
                }
                field
            },
        )
    }

    /// The fields of an echo, in any order and number, among others.
    fn any_fields() -> impl Strategy<Value = Vec<u8>> {
        let echo = (any::<u64>(), any::<u32>(), vec(any::<u8>(), 0..200));
        let echo = echo.prop_map(|(id, timeout_ms, bytes)| {
            Request { id, timeout_ms, work: Some(Work::Echo(bytes)) }.encode_to_vec()
        });
        vec(prop_oneof![echo, any_field()], 0..4).prop_map(|fields| fields.concat())
    }

    proptest! {
        #[test]
        fn what_prost_reads_is_read(
            message in prop_oneof![any_fields(), vec(any::<u8>(), 0..40)],
            cut in any::<prop::sample::Index>(),
        ) {
            for message in [&message[..], &message[..cut.index(message.len() + 1)]] {
                prop_assert_eq!(decode(message), frame::decode(message));
            }
        }
    }

    /// Else the test above would say nothing.
    #[test]
    fn an_echo_is_read_by_hand_and_what_is_rare_is_not() {
        let echo = Request { id: 300, timeout_ms: 5, work: Some(Work::Echo(vec![7; 200])) };
        let message = echo.encode_to_vec();
        assert_eq!(decode_echo(&message), Some(echo));
        assert_eq!(decode_echo(&[&message[..], &message].concat()), None, "two kinds of work");
        assert_eq!(decode_echo(&[&message[..], &[0x78, 1]].concat()), None, "a field of another");
        assert_eq!(decode_echo(&message[..message.len() - 1]), None, "half of it");
    }
}
