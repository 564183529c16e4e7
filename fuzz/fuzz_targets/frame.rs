//! Any bytes, cut into frames: a frame is whole at its last byte and not before, and what is cut
//! off is what stands there.

#![no_main]

use common::FrameError;
use common::frame::{self, PREFIX_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (bytes_max, mut bytes) = (usize::from(input.0), input.1);
    loop {
        let split = frame::split_first(bytes, bytes_max);
        let says = bytes.first_chunk().map(|prefix| u32::from_be_bytes(*prefix) as usize);
        match (split, says) {
            (Ok(None), None) => return,
            (Ok(None), Some(says)) => {
                assert!(says <= bytes_max && bytes.len() < PREFIX_BYTES + says);
                return;
            }
            (Err(error), Some(says)) => {
                assert!(says > bytes_max);
                assert_eq!(error, FrameError::TooLarge { bytes: says, bytes_max });
                return;
            }
            (Ok(Some(message)), Some(says)) => {
                assert!(says <= bytes_max);
                assert_eq!(message, &bytes[PREFIX_BYTES..PREFIX_BYTES + says]);
                assert_eq!(
                    frame::split_first(&bytes[..PREFIX_BYTES + says], says),
                    Ok(Some(message))
                );
                bytes = &bytes[PREFIX_BYTES + says..];
            }
            (split, None) => panic!("{split:?} without a length"),
        }
    }
});
