//! What a gRPC server answers, also to calls that are wrong.

use std::time::Duration;

use bytes::Bytes;
use common::job::digest;
use common::{Code, Response, Work};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::scene::{
    Fault, MALFORMED, Scene, echo, expect, request, with_unknown_fields, works_beyond_limits,
};
use crate::client::grpc::{CALL, CONVERSE, Grpc, Outcome, message};

/// A payload far above every buffer of a server, and well below the limit that is promised.
const LARGE_BYTES: usize = 1 << 20;
/// Requests of one stream.
const STREAMED: u64 = 300;
/// One in so many of them is beyond a limit.
const WRONG_EACH: u64 = 7;

/// Bytes of a piece, and the time between two.
const SLICE_BYTES: usize = 3;
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// What waits to be cut.
const SLICED_AT_ONCE_BYTES: usize = 4096;
const SLICED: &[u8] = b"three bytes at a time";

const OK: u32 = Code::Ok as u32;
const INVALID_ARGUMENT: u32 = Code::InvalidArgument as u32;
const RESOURCE_EXHAUSTED: u32 = Code::ResourceExhausted as u32;
const INTERNAL: u32 = Code::Internal as u32;
/// Of google.rpc.Code; no message of the contract has it.
const UNIMPLEMENTED: u32 = 12;

/// Slow and quick, right and wrong on one stream.
pub(super) fn stream_order(scene: &Scene<'_>) -> Result<(), Fault> {
    let work = |id: u64| match id % WRONG_EACH {
        0 => Work::BlockUs(u64::MAX),
        1 => Work::WaitUs(1_000),
        2 => Work::ComputeRounds(10),
        _ => Work::Echo(id.to_be_bytes().to_vec()),
    };
    scene.block_on(async {
        let grpc = Grpc::connect(scene.target.address).await?;
        let all: Vec<u8> = (0..STREAMED).flat_map(|id| message(&request(id, work(id)))).collect();
        let outcome = grpc.call(CONVERSE, all.into()).await?;
        let responses = outcome.responses()?;
        if (outcome.code, responses.len() as u64) != (OK, STREAMED) {
            let text = format!("code {} after {} answers", outcome.code, responses.len());
            return Err(text.into());
        }
        for (id, response) in (0..).zip(&responses) {
            let (code, payload) = match id % WRONG_EACH {
                0 => (INVALID_ARGUMENT, Vec::new()),
                1 => (OK, Vec::new()),
                2 => (OK, digest(id, 10).to_vec()),
                _ => (OK, id.to_be_bytes().to_vec()),
            };
            expect(response, id, code, &payload)?;
        }
        Ok(())
    })
}

/// One message that comes and goes in many frames.
pub(super) fn large_echo(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let payload: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(LARGE_BYTES).collect();
        let answer = Grpc::connect(scene.target.address).await?.ask(&echo(5, &payload)).await?;
        match answer.code {
            RESOURCE_EXHAUSTED => Ok(()), // a limit may be lower than the usual one
            _ => expect(&answer, 5, OK, &payload),
        }
    })
}

/// A request without any work in it.
pub(super) fn no_work(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let grpc = Grpc::connect(scene.target.address).await?;
        expect(&grpc.ask(&request(7, None)).await?, 7, INVALID_ARGUMENT, b"")?;
        next(&grpc).await
    })
}

/// To protobuf, no bytes are the message whose fields are all zero.
pub(super) fn zero_length(scene: &Scene<'_>) -> Result<(), Fault> {
    refused(scene, CALL, Bytes::from_static(&[0; 5]), &[INVALID_ARGUMENT])
}

/// Each kind of work, a little and far above its limit.
pub(super) fn above_limits(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let grpc = Grpc::connect(scene.target.address).await?;
        for (id, work) in (10..).zip(works_beyond_limits()) {
            let named = format!("{work:?}");
            let answer = grpc.ask(&request(id, work)).await?;
            expect(&answer, id, INVALID_ARGUMENT, b"").map_err(|fault| fault.at(&named))?;
        }
        next(&grpc).await
    })
}

/// A client of a later contract.
pub(super) fn unknown_fields(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let grpc = Grpc::connect(scene.target.address).await?;
        let body = prefixed(&with_unknown_fields(&echo(7, b"known")));
        let outcome = grpc.call(CALL, body).await?;
        match outcome.responses()?.as_slice() {
            [answer] => expect(answer, 7, OK, b"known"),
            _ => Err(format!("code {} ({})", outcome.code, outcome.text).into()),
        }
    })
}

/// Whatever it is that comes, it comes in small pieces: preface, settings, heads and messages.
pub(super) fn slices(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let stream = tokio::net::TcpStream::connect(scene.target.address).await?;
        stream.set_nodelay(true)?;
        let (ours, theirs) = tokio::io::duplex(SLICED_AT_ONCE_BYTES);
        let (mut from_server, to_server) = stream.into_split();
        let (from_client, mut to_client) = tokio::io::split(theirs);
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        tokio::spawn(slice(from_client, to_server));
        let grpc = Grpc::over_io(ours, scene.target.address).await?;
        let answer = grpc.ask(&echo(1, SLICED)).await?;
        expect(&answer, 1, OK, SLICED)?;
        next(&grpc).await
    })
}

/// Sends so little at a time that nothing comes whole, with time to read each piece alone.
async fn slice(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut piece = [0; SLICE_BYTES];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..read]).await?;
        tokio::time::sleep(SLICE_PAUSE).await;
    }
}

/// A client of another contract.
pub(super) fn bad_path(scene: &Scene<'_>) -> Result<(), Fault> {
    for path in ["/quintet.v1.Quintet/Sing", "/quintet.v9.Quintet/Call", "/"] {
        refused(scene, path, message(&echo(1, b"")), &[UNIMPLEMENTED])
            .map_err(|fault| fault.at(path))?;
    }
    Ok(())
}

/// A length that no server takes; what it promises never comes.
pub(super) fn message_too_long(scene: &Scene<'_>) -> Result<(), Fault> {
    let bytes = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 8, 1]);
    refused(scene, CALL, bytes, &[RESOURCE_EXHAUSTED])
}

/// Several kinds of bytes that are no message.
pub(super) fn malformed(scene: &Scene<'_>) -> Result<(), Fault> {
    for bytes in MALFORMED {
        refused(scene, CALL, prefixed(bytes), &[INTERNAL, INVALID_ARGUMENT])
            .map_err(|fault| fault.at(&format!("{bytes:02x?}")))?;
    }
    Ok(())
}

/// The call ends with one of these codes, and the connection goes on.
fn refused(scene: &Scene<'_>, path: &str, body: Bytes, codes: &[u32]) -> Result<(), Fault> {
    scene.block_on(async {
        let grpc = Grpc::connect(scene.target.address).await?;
        let Outcome { code, text, .. } = grpc.call(path, body).await?;
        if !codes.contains(&code) {
            return Err(format!("code {code} ({text}) in place of {codes:?}").into());
        }
        next(&grpc).await
    })
}

async fn next(grpc: &Grpc) -> Result<(), Fault> {
    let answer: Response = grpc.ask(&echo(99, b"next")).await?;
    expect(&answer, 99, OK, b"next").map_err(|fault| fault.at("the next call"))
}

/// Any bytes as one message.
fn prefixed(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), bytes].concat().into()
}
