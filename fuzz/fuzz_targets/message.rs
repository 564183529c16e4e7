//! Any bytes as a message of the contract: what is taken for one is still the same after it was
//! written and read again, and its length is as long as it says.

#![no_main]

use std::fmt::Debug;

use common::frame::{self, PREFIX_BYTES};
use common::{Request, Response};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    read_and_write::<Request>(bytes);
    read_and_write::<Response>(bytes);
});

fn read_and_write<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = frame::decode::<M>(bytes) else { return };
    let mut framed = Vec::new();
    frame::encode(&message, &mut framed);
    let (prefix, written) = framed.split_at(PREFIX_BYTES);
    assert_eq!(prefix, u32::try_from(written.len()).expect("short").to_be_bytes());
    let again = frame::decode::<M>(written).expect("what was written can be read");
    assert_eq!(again, message);
    // Unknown fields are dropped and no number is written in more bytes than it needs.
    assert!(written.len() <= bytes.len());
}
