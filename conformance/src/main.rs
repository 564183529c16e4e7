//! The suite's testee: reads messages with the project's codec and writes them again, as the suite
//! asks on standard input and output. It pays a process, which the suite starts and feeds.

mod codec;

use std::io::{self, ErrorKind, Read, Write};

use prost::Message;

use self::suite::conformance_request::Payload;
use self::suite::conformance_response::Result as Outcome;
use self::suite::{ConformanceRequest, ConformanceResponse, FailureSet, WireFormat};

#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)] // generated, and not all of it used
mod suite {
    include!(concat!(env!("OUT_DIR"), "/conformance.rs"));
}

const FAILURE_SET: &str = "conformance.FailureSet";
const TEST_ALL_TYPES: &str = "protobuf_test_messages.proto3.TestAllTypesProto3";

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(request) = receive(&mut input)? {
        let request = ConformanceRequest::decode(&*request).map_err(io::Error::other)?;
        let response = ConformanceResponse { result: Some(examine(request)) }.encode_to_vec();
        let length = u32::try_from(response.len()).map_err(io::Error::other)?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&response)?;
        output.flush()?;
    }
    Ok(())
}

/// The next request, or nothing at the end of input.
fn receive(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut request = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut request)?;
    Ok(Some(request))
}

fn examine(request: ConformanceRequest) -> Outcome {
    let wants_protobuf = request.requested_output_format() == WireFormat::Protobuf;
    match (request.payload, &*request.message_type) {
        // The list of failures is given to the suite as a file.
        (_, FAILURE_SET) => Outcome::ProtobufPayload(FailureSet::default().encode_to_vec()),
        (Some(Payload::ProtobufPayload(bytes)), TEST_ALL_TYPES) if wants_protobuf => {
            match codec::read_and_write(&bytes) {
                Ok(bytes) => Outcome::ProtobufPayload(bytes),
                Err(error) => Outcome::ParseError(error.to_string()),
            }
        }
        _ => Outcome::Skipped("the contract is proto3, and only its binary format".into()),
    }
}
