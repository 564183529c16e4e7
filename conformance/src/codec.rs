//! What is examined: the codec of the servers' frames. Another one would be put in here.

use common::frame::{self, FrameError, PREFIX_BYTES};

use self::messages::TestAllTypesProto3;

#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)] // generated, and not all of it used
mod messages {
    include!(concat!(env!("OUT_DIR"), "/protobuf_test_messages.proto3.rs"));
}

/// Reads a message of the suite, and writes what was read.
pub(crate) fn read_and_write(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    let message: TestAllTypesProto3 = frame::decode(bytes)?;
    let mut framed = Vec::new();
    frame::encode(&message, &mut framed);
    Ok(framed.split_off(PREFIX_BYTES))
}
