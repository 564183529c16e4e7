//! What a framed server answers, also to requests that are wrong.

use std::io;

use common::job::digest;
use common::{Code, Response, Work};

use super::scene::{
    Fault, MALFORMED, Scene, echo, expect, request, with_unknown_fields, works_beyond_limits,
};
use crate::client::framed::{Framed, framed};

/// A payload far above every buffer of a server, and well below the limit that is promised.
const LARGE_BYTES: usize = 1 << 20;

const OK: u32 = Code::Ok as u32;
const INVALID_ARGUMENT: u32 = Code::InvalidArgument as u32;
const RESOURCE_EXHAUSTED: u32 = Code::ResourceExhausted as u32;

/// Slow before quick, twice the same id, and the ids at both ends of their range.
pub(super) fn order(scene: &Scene<'_>) -> Result<(), Fault> {
    let requests = [
        request(u64::MAX, Work::WaitUs(50_000)),
        echo(0, b"first"),
        request(3, Work::BlockUs(20_000)),
        request(2, Work::ComputeRounds(1_000)),
        echo(1, b"one"),
        echo(1, b"one again"),
        request(9, Work::WaitUs(0)),
        request(8, Work::ComputeRounds(1)),
    ];
    let mut client = scene.connect()?;
    client.send(&requests)?;
    for request in &requests {
        let payload = match &request.work {
            Some(Work::Echo(payload)) => payload.clone(),
            Some(Work::ComputeRounds(rounds)) => digest(request.id, *rounds).to_vec(),
            _ => Vec::new(),
        };
        expect(&client.receive()?, request.id, OK, &payload)?;
    }
    Ok(())
}

/// One message that comes and goes in many pieces.
pub(super) fn large_echo(scene: &Scene<'_>) -> Result<(), Fault> {
    let payload: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(LARGE_BYTES).collect();
    let mut client = scene.connect()?;
    client.set_patience(scene.patience);
    match client.send(&[echo(5, &payload)]).and_then(|()| client.receive()) {
        // A limit may be lower than the usual one.
        Ok(answer) if (answer.id, answer.code) == (0, RESOURCE_EXHAUSTED) => Ok(()),
        answer => expect(&answer?, 5, OK, &payload),
    }
}

/// A request without any work in it.
pub(super) fn no_work(scene: &Scene<'_>) -> Result<(), Fault> {
    let mut client = scene.connect()?;
    client.send(&[request(7, None), echo(8, b"next")])?;
    expect(&client.receive()?, 7, INVALID_ARGUMENT, b"")?;
    expect(&client.receive()?, 8, OK, b"next").map_err(|fault| fault.at("the next request"))
}

/// To protobuf, no bytes are the message whose fields are all zero.
pub(super) fn zero_length(scene: &Scene<'_>) -> Result<(), Fault> {
    let mut client = scene.connect()?;
    client.send_bytes(&[[0; 4].as_slice(), &framed(&[echo(8, b"next")])].concat())?;
    expect(&client.receive()?, 0, INVALID_ARGUMENT, b"")?;
    expect(&client.receive()?, 8, OK, b"next").map_err(|fault| fault.at("the next request"))
}

/// Each kind of work, a little and far above its limit.
pub(super) fn above_limits(scene: &Scene<'_>) -> Result<(), Fault> {
    let mut client = scene.connect()?;
    for (id, work) in (10..).zip(works_beyond_limits()) {
        let named = format!("{work:?}");
        client.send(&[request(id, work)])?;
        let answer = client.receive().map_err(|error| Fault::from(error).at(&named))?;
        expect(&answer, id, INVALID_ARGUMENT, b"").map_err(|fault| fault.at(&named))?;
    }
    client.send(&[echo(1, b"next")])?;
    expect(&client.receive()?, 1, OK, b"next").map_err(|fault| fault.at("the next request"))
}

/// A client of a later contract.
pub(super) fn unknown_fields(scene: &Scene<'_>) -> Result<(), Fault> {
    let mut client = scene.connect()?;
    client.send_bytes(&frame(&with_unknown_fields(&echo(7, b"known"))))?;
    expect(&client.receive()?, 7, OK, b"known")
}

/// A length that no server takes.
pub(super) fn frame_too_long(scene: &Scene<'_>) -> Result<(), Fault> {
    ends_with_error(scene, &[0xff; 64], RESOURCE_EXHAUSTED)
}

/// Several kinds of bytes that are no message.
pub(super) fn malformed(scene: &Scene<'_>) -> Result<(), Fault> {
    for bytes in MALFORMED {
        ends_with_error(scene, &frame(bytes), INVALID_ARGUMENT)
            .map_err(|fault| fault.at(&format!("{bytes:02x?}")))?;
    }
    Ok(())
}

/// Requests before the error are answered before it; nothing is after it.
fn ends_with_error(scene: &Scene<'_>, bytes: &[u8], code: u32) -> Result<(), Fault> {
    let mut client = scene.connect()?;
    let before = framed(&[request(1, Work::WaitUs(1_000)), echo(2, b"before")]);
    let after = framed(&[echo(3, b"after")]);
    client.send_bytes(&[&before, bytes, &after].concat())?;
    expect(&client.receive()?, 1, OK, b"").map_err(|fault| fault.at("the request before"))?;
    expect(&client.receive()?, 2, OK, b"before").map_err(|fault| fault.at("the request before"))?;
    expect(&received(&mut client)?, 0, code, b"")?;
    Ok(client.receive_end()?)
}

fn received(client: &mut Framed) -> io::Result<Response> {
    client.receive().map_err(|error| io::Error::new(error.kind(), format!("no error: {error}")))
}

/// Any bytes as one frame.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}
