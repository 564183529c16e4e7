//! One codec in a loop, for `benches/peers/codec.py`: `codec_loop WHAT PAYLOAD_BYTES COUNT` prints the
//! nanoseconds of all the calls together, and then the frame's bytes, in hexadecimal, up to 32 of them.

use std::env;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::{echo, echo_frames};
use common::{Request, Response, Work, codec, frame, spare};

/// Before the clock starts, of the calls that are counted: for caches, and for the allocator.
const WARM_UP_SHARE: u64 = 10;
/// As many of the frame as are shown: its head, where codecs could differ.
const SHOWN_BYTES_MAX: usize = 32;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, payload_bytes, count] = arguments.as_slice() else {
        anyhow::bail!("usage: codec_loop WHAT PAYLOAD_BYTES COUNT")
    };
    let payload_bytes = payload_bytes.parse().context("PAYLOAD_BYTES")?;
    let count = count.parse().context("COUNT")?;
    let (time, shown) = match what.split_once(' ') {
        Some(("decode", codec)) => decode(codec, payload_bytes, count)?,
        Some(("encode", codec)) => encode(codec, payload_bytes, count)?,
        _ => anyhow::bail!("{what}: WHAT is 'decode CODEC' or 'encode CODEC'"),
    };
    println!("{} {}", time.as_nanos(), hexadecimal(&shown));
    Ok(())
}

/// A request of an echo, from a frame to a message of its own, which is dropped.
fn decode(codec: &str, payload_bytes: usize, count: u64) -> anyhow::Result<(Duration, Vec<u8>)> {
    let (framed, _) = echo_frames(payload_bytes, 1);
    let first = frame::split_first(&framed, framed.len()).ok().flatten().context("a frame")?;
    ensure!(codec::decode(first) == Ok(echo(payload_bytes)), "the frame is another request");
    let message = |framed| frame::split_first(black_box(framed), usize::MAX).ok().flatten();
    let time = match codec {
        "quintet" => timed(count, || {
            if let Some(Ok(Request { id, work: Some(Work::Echo(payload)), .. })) =
                message(&framed).map(codec::decode)
            {
                // Where a connection puts it when the reply has been written.
                spare::give(black_box(payload));
                black_box(id);
            }
        }),
        "prost" => timed(count, || {
            drop(black_box(message(&framed).map(frame::decode::<Request>)));
        }),
        "memcpy" => copy(&framed, count),
        _ => anyhow::bail!("{codec}: no such codec"),
    };
    Ok((time, framed))
}

/// A response to an echo, from a message that is there to a frame in a buffer that is there.
fn encode(codec: &str, payload_bytes: usize, count: u64) -> anyhow::Result<(Duration, Vec<u8>)> {
    let response = Response::ok(1, vec![7; payload_bytes]);
    let mut framed = Vec::new();
    frame::encode(&response, &mut framed);
    let mut out = Vec::new();
    let mut by = |encode: fn(&Response, &mut Vec<u8>)| {
        timed(count, || {
            out.clear();
            encode(black_box(&response), &mut out);
            black_box(&out);
        })
    };
    let time = match codec {
        "prost" => by(frame::encode::<Response>),
        "memcpy" => copy(&framed, count),
        _ => anyhow::bail!("{codec}: no such codec"),
    };
    ensure!(codec == "memcpy" || out == framed, "the frame is another response");
    Ok((time, framed))
}

/// The least that a codec can do that keeps nothing of what it was given.
fn copy(framed: &[u8], count: u64) -> Duration {
    let mut out = vec![0; framed.len()];
    timed(count, || {
        out.copy_from_slice(black_box(framed));
        black_box(&out);
    })
}

fn timed(count: u64, mut call: impl FnMut()) -> Duration {
    for _ in 0..count / WARM_UP_SHARE {
        call();
    }
    let began = Instant::now();
    for _ in 0..count {
        call();
    }
    began.elapsed()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(SHOWN_BYTES_MAX).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
