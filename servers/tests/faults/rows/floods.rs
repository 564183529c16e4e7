//! HTTP/2 floods: frames that cost their sender nothing, each a known attack on servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::echo;
use crate::gauge::{self, Growth};
use crate::http2::{self, End, Frame};
use crate::matrix::{Ground, Record};

/// How a flood may end.
#[derive(PartialEq)]
enum Bound {
    /// The server has to end it.
    GoAway,
    /// It may go on, and costs nothing that grows.
    Flat,
}

/// Frames of a flood that are sent at once, and how often.
const BATCH: u32 = 1000;
const BATCHES: u32 = 100;

pub(super) fn rapid_reset(ground: &Ground, record: &mut Record) {
    let pair = |index| {
        let stream = 2 * index + 3;
        [http2::call(stream, "Call"), http2::reset_stream(stream)].concat()
    };
    flood(ground, record, &Bound::GoAway, b"", pair);
}

pub(super) fn made_you_reset(ground: &Ground, record: &mut Record) {
    let pair = |index| {
        let stream = 2 * index + 3;
        [http2::call(stream, "Call"), http2::window_update(stream, (1 << 31) - 1)].concat()
    };
    flood(ground, record, &Bound::GoAway, b"", pair);
}

pub(super) fn continuation_flood(ground: &Ground, record: &mut Record) {
    let more = http2::field("x-more", &"y".repeat(100)).repeat(10);
    let begin = http2::call_without_end(3, "Call");
    flood(ground, record, &Bound::Flat, &begin, |_| http2::continuation(3, &more));
}

pub(super) fn empty_data_flood(ground: &Ground, record: &mut Record) {
    flood(ground, record, &Bound::Flat, b"", |_| http2::frame(0, 0, 1, &[]));
}

pub(super) fn ping_flood(ground: &Ground, record: &mut Record) {
    flood(ground, record, &Bound::Flat, b"", |_| http2::ping(false, [7; 8]));
}

pub(super) fn settings_flood(ground: &Ground, record: &mut Record) {
    const MAX_FRAME_SIZE: u16 = 5;
    flood(ground, record, &Bound::Flat, b"", |_| http2::settings(MAX_FRAME_SIZE, 1 << 14));
}

/// Sends what `frames` makes of each number, behind an open `Converse` stream that was answered.
fn flood(
    ground: &Ground,
    record: &mut Record,
    bound: &Bound,
    begin: &[u8],
    frames: impl Fn(u32) -> Vec<u8>,
) {
    const MEMORY_MIB: f64 = 8.0;
    /// A server that is busy with a flood takes its time, also to end it.
    const FLOOD: Duration = Duration::from_secs(10);
    let server = ground.serve(&[]);
    let bystander = ground.bystander(&server);
    let mut peer = ground.connect(&server);
    peer.send(&[echo(1, b"so far in order")]);
    peer.receive_ok(1);
    let (growth, cpu, start) = (Growth::of(&server), gauge::cpu_time(&server), Instant::now());
    let mut output = peer.stream().try_clone().unwrap();
    output.set_write_timeout(Some(FLOOD)).unwrap();
    let input = peer.stream().try_clone().unwrap();
    let ended = thread::spawn(move || how_it_ends(input));
    let mut taken = 0;
    let mut alive = output.write_all(begin).is_ok();
    while alive && taken < BATCHES * BATCH && start.elapsed() < FLOOD {
        let batch: Vec<_> = (taken..taken + BATCH).flat_map(&frames).collect();
        alive = output.write_all(&batch).is_ok();
        taken += BATCH;
    }
    // The server has seen all of it once it answers what comes last.
    let _ = output.write_all(&http2::ping(false, LAST));
    let ended = ended.join().expect("the reader reports");
    record.figure("frames sent", f64::from(taken), "");
    match ended {
        Some(End::GoAway(code)) => record.figure("ended by GOAWAY, code", code.into(), ""),
        Some(_) => record.figure("closed", 1.0, ""),
        None => record.holds(*bound == Bound::Flat, || "it was never ended".to_owned()),
    }
    let cpu = gauge::cpu_time(&server).saturating_sub(cpu);
    record.figure("CPU", cpu.as_secs_f64(), "s");
    record.at_most("growth", growth.peak_mib(), "MiB", MEMORY_MIB, MEMORY_MIB);
    record.bystander(bystander.leave());
}

/// What the last PING says.
const LAST: [u8; 8] = *b"the last";

/// Reads all that the server says, until it ends the connection or has seen the last PING.
fn how_it_ends(mut input: TcpStream) -> Option<End> {
    let (mut bytes, mut chunk, mut end) = (Vec::new(), vec![0; 1 << 16], None);
    loop {
        match input.read(&mut chunk) {
            Ok(more) if more > 0 => bytes.extend_from_slice(&chunk[..more]),
            // What was unread when the server closed may have cost the GOAWAY its way.
            _ => return end.or(Some(End::Closed)),
        }
        while let Some(frame) = Frame::split_first(&mut bytes) {
            match frame {
                Frame::End(goaway @ End::GoAway(_)) => end = Some(goaway),
                Frame::Ping { is_ack: true, opaque: LAST } => return end,
                _ => {}
            }
        }
    }
}
