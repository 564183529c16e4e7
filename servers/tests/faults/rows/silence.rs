//! Peers that let a server wait: for a request, for the rest of one, for their ear.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::echo;
use crate::gauge::Growth;
use crate::http2;
use crate::matrix::{Ground, Record};
use crate::patience::{PATIENCE, eventually};
use crate::peer::Peer;
use crate::process::ServerProcess;

/// Short enough to wait for, long enough for a bystander on a busy machine to come back in time.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A server may look at its connections from time to time, which adds an eighth, and a machine
/// has other things to do.
const SOON_AFTER: Duration = Duration::from_millis(750);
/// A peer that is still there then stays for good.
const BUSY: Duration = Duration::from_secs(10);

pub(super) fn silent_peer(ground: &Ground, record: &mut Record) {
    const SILENT: usize = 300;
    let server = ground.serve(&["--idle-timeout=500ms"]);
    let bystander = ground.bystander(&server);
    let silent: Vec<_> = (0..SILENT)
        .map(|index| {
            if index % 2 == 0 {
                return (Instant::now(), ground.mute(&server));
            }
            let mut peer = ground.connect(&server);
            peer.send(&[echo(1, b"once")]);
            peer.receive_ok(1);
            (Instant::now(), peer)
        })
        .collect();
    let (mut closed, mut latest) = (0, Duration::ZERO);
    for (silent_since, mut peer) in silent {
        let is_closed = peer.closed_within((silent_since + BUSY) - Instant::now()).is_ok();
        closed += usize::from(is_closed);
        latest = silent_since.elapsed();
    }
    record.figure("of 300 closed", closed as f64, "");
    record.holds(closed == SILENT, || format!("{closed} of {SILENT} were closed"));
    // Over HTTP/2 a peer is told to go, and has a second to do so.
    let to_leave = Duration::from_secs(u64::from(!ground.is_framed()));
    record.within("the last one after", latest, SOON_AFTER + to_leave, BUSY);
    record.holds(latest >= TIMEOUT, || format!("closed too early, after {latest:?}"));
    eventually("counted as timeouts", SILENT as u64, || {
        let now = server.stats();
        now.idle_timeouts + now.read_timeouts
    });
    record.bystander(bystander.leave());
}

pub(super) fn stall_in_mid_frame(ground: &Ground, record: &mut Record) {
    let server = ground.serve(&["--read-timeout=500ms"]);
    let bystander = ground.bystander(&server);
    let request = ground.wire.requests(&[echo(1, &[7; 1000])]);
    let greeting = ground.wire.greeting();
    // What comes whole before, and what never does.
    let mut parts = vec![("a frame's payload", greeting.clone(), request.clone(), 500)];
    if ground.is_framed() {
        parts.push(("a frame's length", vec![], request, 2));
    } else {
        parts.push(("a frame's head", greeting.clone(), request, 5));
        parts.push(("the preface", vec![], greeting, 10));
    }
    let mut longest = [Duration::ZERO; 2];
    for (part, whole, frame, cut) in parts {
        for (pace, longest) in ["stalls", "a byte at a time"].into_iter().zip(&mut longest) {
            let mut peer = ground.mute(&server);
            peer.send_bytes(&whole);
            let began = Instant::now();
            peer.send_bytes(&frame[..cut]);
            let closed = if pace == "stalls" {
                peer.closed_within(BUSY).is_ok()
            } else {
                trickle(&mut peer, &frame[cut..], began + BUSY)
            };
            *longest = began.elapsed().max(*longest);
            record.holds(closed, || format!("{part}, {pace}: open after {BUSY:?}"));
        }
    }
    record.within("stalled, closed after", longest[0], SOON_AFTER, BUSY);
    record.within("a byte at a time, after", longest[1], SOON_AFTER, BUSY);
    record.bystander(bystander.leave());
}

/// Sends a byte now and then until the server closes the connection, or until it is in vain.
fn trickle(peer: &mut Peer, bytes: &[u8], give_up_at: Instant) -> bool {
    for byte in bytes {
        let _ = peer.stream().write(&[*byte]);
        if peer.closed_within(TIMEOUT / 10).is_ok() {
            return true;
        }
        if Instant::now() >= give_up_at {
            return false;
        }
    }
    panic!("the frame was over before the patience was");
}

/// Two frame limits, in MiB.
const MEMORY_MIB: f64 = 8.0;
const FRAME_BYTES: usize = 4 * 1024 * 1024 - 64;

pub(super) fn peer_that_never_reads(ground: &Ground, record: &mut Record) {
    let large = ground.wire.requests(&[echo(1, &vec![7; FRAME_BYTES])]);
    if ground.is_framed() {
        let small: Vec<_> = (0..1000).map(|id| echo(id, &[7; 10])).collect();
        deaf_to(ground, record, "large replies", &large);
        deaf_to(ground, record, "small replies", &ground.wire.requests(&small));
    } else {
        // Without reading a peer cannot know how much more it may send: this one does not care.
        deaf_to(ground, record, "beyond its window", &large);
        deaf_to(ground, record, "answers to PINGs", &http2::ping(false, [7; 8]).repeat(1000));
        grants_no_window(ground, record);
    }
}

/// Sends the same again and again and takes nothing, until the server closes it.
fn deaf_to(ground: &Ground, record: &mut Record, what: &str, bytes: &[u8]) {
    let server = ground.serve_giving_back(&["--write-timeout=500ms"]);
    let bystander = ground.bystander(&server);
    let growth = Growth::of(&server);
    let peer = ground.connect(&server);
    fill(&peer, bytes);
    closed_for_its_deafness(record, what, &server, growth);
    record.bystander(bystander.leave());
}

/// Writes until nothing moves, or the server has closed the connection.
pub(super) fn fill(peer: &Peer, bytes: &[u8]) {
    let give_up_at = Instant::now() + PATIENCE;
    peer.stream().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    while peer.stream().write_all(bytes).is_ok() {
        assert!(Instant::now() < give_up_at, "the server takes without end what it cannot answer");
    }
}

fn closed_for_its_deafness(
    record: &mut Record,
    what: &str,
    server: &ServerProcess,
    growth: Growth,
) {
    let stuck_at = Instant::now();
    let held_mib = growth.now_mib(server);
    let mut is_open = true;
    while is_open && stuck_at.elapsed() < BUSY {
        is_open = server.stats().open > 1;
    }
    // The server has waited since before the peer found itself stuck.
    record.within(&format!("{what}: closed after"), stuck_at.elapsed(), SOON_AFTER, BUSY);
    record.holds(!is_open, || format!("{what}: open after {BUSY:?}"));
    record.at_most(&format!("{what}: holds"), held_mib, "MiB", MEMORY_MIB, MEMORY_MIB);
    record.figure(&format!("{what}: peak"), growth.peak_mib(), "MiB");
}

/// HTTP/2 has an ear of its own: a peer that reads all bytes, and gives no window for an answer.
fn grants_no_window(ground: &Ground, record: &mut Record) {
    /// Enough that a bound is seen to be one, little enough for any machine.
    const CALLS: u32 = 8;
    let server = ground.serve_giving_back(&["--write-timeout=500ms"]);
    let bystander = ground.bystander(&server);
    let growth = Growth::of(&server);
    let mut peer = ground.mute(&server);
    peer.send_bytes(&http2::hello_with_window(0));
    let request = echo(1, &vec![7; FRAME_BYTES]);
    // A server that takes no more for now has found its own way.
    peer.stream().set_read_timeout(Some(2 * TIMEOUT)).unwrap();
    for stream in (1..).step_by(2).take(CALLS as usize) {
        peer.send_bytes(&http2::call(stream, "Call"));
        if peer.try_send_large(stream, &request).is_err() {
            break;
        }
        let _ = peer.try_send_bytes(&http2::end(stream));
    }
    closed_for_its_deafness(record, "no window", &server, growth);
    record.bystander(bystander.leave());
}
