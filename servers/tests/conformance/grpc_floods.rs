//! Peers that send frames without end: each flood ends with its connection, or costs the server
//! next to nothing. Against the binary, since it is the memory of its process that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::{echo, wait};
use crate::http2::{self, ACK, CALL, CONTINUATION, CONVERSE, DATA, END_HEADERS, HEADERS, Peer};
use crate::http2::{PING, PRIORITY, frame, streams, window_update};
use crate::models::GRPC;
use crate::process::{ServerProcess, command};
use crate::server::eventually;

/// What a flood may cost.
const GROWTH_MAX_KIB: u64 = 8 * 1024;
const MANY: usize = 100_000;
/// Longer than any call of this file takes.
const LONG: Duration = Duration::from_mins(1);

/// A server, and what its process held before anybody came.
struct Flooded {
    server: ServerProcess,
    before_kib: u64,
    peak_kib: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Flooded {
    fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut command = command(GRPC.model, &arguments);
        // What was freed goes back to the kernel at once: what the process has is what it holds.
        command.env("MIMALLOC_PURGE_DELAY", "0");
        let server = ServerProcess::start_command(command);
        // The first call brings in what the process needs anyway.
        served(&server);
        let before_kib = anonymous_kib(server.id());
        let (peak_kib, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        thread::spawn({
            let (id, peak_kib, is_over) = (server.id(), peak_kib.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    peak_kib.fetch_max(anonymous_kib(id), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Self { server, before_kib, peak_kib, is_over }
    }

    /// The flood is over: what did it cost, and is everybody else served?
    #[track_caller]
    fn cost(self, name: &str, growth_max_kib: u64) {
        served(&self.server);
        let after_kib = anonymous_kib(self.server.id());
        self.is_over.store(true, Ordering::Relaxed);
        let peak_kib = self.peak_kib.load(Ordering::Relaxed).max(after_kib);
        let before_kib = self.before_kib;
        eprintln!("{name}: RssAnon {before_kib} KiB before, {peak_kib} at most, {after_kib} after");
        let growth_kib = peak_kib.saturating_sub(before_kib);
        assert!(growth_kib <= growth_max_kib, "{name}: {growth_kib} KiB");
    }
}

#[track_caller]
fn served(server: &ServerProcess) {
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::call(1, &echo(7, b"served")));
    assert_eq!(peer.answer(1).payload, b"served");
}

/// What the process holds that is not in a file; 0 once it has ended.
fn anonymous_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Sends until the server ends it or all is said; in pieces, so that both sides have work.
fn pour(peer: &Peer, frames: impl Iterator<Item = Vec<u8>>) {
    let mut piece = Vec::new();
    for frame in frames {
        piece.extend(frame);
        if piece.len() > http2::FRAME_BYTES_MAX {
            if peer.try_send(&piece).is_err() {
                return;
            }
            piece.clear();
        }
    }
    let _ = peer.try_send(&piece);
}

/// A flood that the server has to end itself.
#[track_caller]
fn ends(name: &str, frames: impl Iterator<Item = Vec<u8>>) {
    let flooded = Flooded::start(&[]);
    let peer = Peer::open(flooded.server.address, &[]);
    let farewell = peer.listen();
    pour(&peer, frames);
    let farewell = farewell.join().expect("the server ends it");
    eprintln!("{name}: {farewell:?}");
    flooded.cost(name, GROWTH_MAX_KIB);
}

/// A flood that the server may bear, from a peer that takes the answers and from one that does not.
#[track_caller]
fn stays_flat(name: &str, frames: impl Fn() -> Vec<u8>) {
    let flooded = Flooded::start(&[]);
    let peer = Peer::open(flooded.server.address, &[]);
    let farewell = peer.listen();
    pour(&peer, (0..MANY).map(|_| frames()));
    peer.leave();
    farewell.join().unwrap();
    flooded.cost(&format!("{name}, answers taken"), GROWTH_MAX_KIB);

    let flooded = Flooded::start(&["--write-timeout=300ms"]);
    let peer = Peer::open(flooded.server.address, &[]);
    peer.stream().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    pour(&peer, (0..MANY).map(|_| frames()));
    flooded.cost(&format!("{name}, answers not taken"), GROWTH_MAX_KIB);
}

#[test]
fn rapid_reset() {
    ends(
        "rapid reset",
        streams().take(MANY).map(|stream| {
            let mut frames = http2::call(stream, &wait(1, LONG));
            frames.extend(http2::reset_stream(stream));
            frames
        }),
    );
}

/// Each reset comes when its call is in progress, as those of impatient clients do: but these are
/// more than any client has.
#[test]
fn rapid_reset_at_a_measured_pace() {
    let flooded = Flooded::start(&[]);
    let mut peer = Peer::open(flooded.server.address, &[]);
    let mut resets = 0;
    for stream in streams().take(MANY) {
        // The server has seen the call when it answers what came behind it.
        let frames = [http2::call(stream, &wait(1, LONG)), frame(PING, 0, 0, &[0; 8])].concat();
        let sent = peer.try_send(&frames);
        let seen = sent.and_then(|()| {
            while peer.next()?.kind != PING {}
            Ok(())
        });
        if seen.and_then(|()| peer.try_send(&http2::reset_stream(stream))).is_err() {
            break;
        }
        resets += 1;
    }
    assert!((1000..MANY).contains(&resets), "ended after {resets}");
    eprintln!("rapid reset at a measured pace: ended after {resets}");
    flooded.cost("rapid reset at a measured pace", GROWTH_MAX_KIB);
}

/// `MadeYouReset`: the peer errs on each stream, and it is the server that has to reset it.
#[test]
fn resets_made_by_the_server() {
    ends(
        "made you reset, window overflow",
        streams().take(MANY).map(|stream| {
            let mut frames = http2::call(stream, &wait(1, LONG));
            frames.extend(window_update(stream, 0x7fff_ffff));
            frames
        }),
    );
    ends(
        "made you reset, data after the end",
        streams().take(MANY).map(|stream| {
            let mut frames = http2::call(stream, &wait(1, LONG));
            frames.extend(frame(DATA, 0, stream, b"more"));
            frames
        }),
    );
}

#[test]
fn a_window_that_grows_by_nothing() {
    ends("zero increment", std::iter::once(window_update(0, 0)));
    let call = http2::call(1, &wait(1, LONG));
    ends("zero increment of a stream", [call, window_update(1, 0)].into_iter());
}

#[test]
fn headers_that_never_end() {
    let first = frame(HEADERS, 0, 1, &http2::head(CALL));
    // Each field is never to be indexed, and has a name and a value of one byte.
    let more = b"\x10\x01x\x01y".repeat(1000);
    let more = frame(CONTINUATION, 0, 1, &more);
    ends("CONTINUATION", std::iter::once(first).chain((0..MANY).map(|_| more.clone())));
    let first = frame(HEADERS, 0, 1, &http2::head(CALL));
    let nothing = frame(CONTINUATION, 0, 1, b"");
    ends("empty CONTINUATION", std::iter::once(first).chain((0..MANY).map(|_| nothing.clone())));
}

#[test]
fn data_of_no_bytes() {
    let nothing = frame(DATA, 0, 1, b"");
    let open = http2::headers(1, CONVERSE);
    ends("empty DATA", std::iter::once(open).chain((0..MANY).map(|_| nothing.clone())));
}

#[test]
fn streams_beyond_the_limit() {
    let calls = streams().take(MANY).map(|stream| http2::call(stream, &wait(1, LONG)));
    ends("too many streams", calls);
}

#[test]
fn pings() {
    stays_flat("PING", || frame(PING, 0, 0, &[0; 8]));
}

#[test]
fn settings() {
    stays_flat("SETTINGS", || http2::settings(&[(http2::SETTINGS_INITIAL_WINDOW_SIZE, 1 << 16)]));
}

#[test]
fn pings_that_answer_nothing() {
    stays_flat("PING with ACK", || frame(PING, ACK, 0, &[0; 8]));
}

#[test]
fn priorities() {
    stays_flat("PRIORITY", || frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"));
}

#[test]
fn window_updates() {
    stays_flat("WINDOW_UPDATE", || window_update(0, 1));
}

#[test]
fn frames_of_no_known_kind() {
    stays_flat("unknown frames", || frame(0xbe, 0, 0, &[0; 100]));
}

/// As many calls as may be, each with as large a head as may be.
#[test]
fn large_heads() {
    let flooded = Flooded::start(&[]);
    let peer = Peer::open(flooded.server.address, &[]);
    let farewell = peer.listen();
    let mut head = http2::head(CALL);
    for _ in 0..50 {
        head.extend(b"\0\x01x\x7e");
        head.extend([b'y'; 126]);
    }
    pour(&peer, streams().take(100).map(|stream| frame(HEADERS, END_HEADERS, stream, &head)));
    thread::sleep(Duration::from_millis(300));
    peer.leave();
    farewell.join().unwrap();
    flooded.cost("large heads", GROWTH_MAX_KIB);
}

/// 64 KiB each: the half of them hears why, the other half is silent.
#[test]
fn foreign_bytes() {
    const PEERS: u64 = 200;
    let flooded = Flooded::start(&[]);
    let foreign: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"PRI * HT", b""];
    let peers: Vec<_> = (0..PEERS)
        .zip(foreign.iter().cycle())
        .map(|(_, bytes)| {
            let peer = Peer::mute(flooded.server.address);
            peer.send(bytes);
            peer
        })
        .collect();
    // Those that may yet become HTTP/2 stay.
    eventually("open", PEERS / 2, || flooded.server.stats().open);
    drop(peers);
    flooded.cost("foreign bytes", PEERS * 64);
}

/// A message exists twice while it is decoded, and twice while it is encoded: two frame limits. What
/// waits for room behind it is bounded by the windows: with what the allocator adds, not two more.
/// tonic keeps the buffer of an open stream's largest message: one more.
#[test]
fn answers_that_nobody_takes() {
    const FRAME_LIMIT_KIB: u64 = 4 * 1024;
    const PROCESS_KIB: u64 = 1024;
    let large = http2::message(&echo(1, &vec![7; 4 * 1024 * 1024 - 100]));
    for (name, path, streams_max, frame_limits) in [
        // Its peak: a buffer that has to grow exists twice for a moment.
        ("one call", CALL, 1, 3),
        ("a hundred calls", CALL, 100, 4),
        ("a hundred streams", CONVERSE, 100, 5),
    ] {
        let flooded = Flooded::start(&[]);
        let none = [(http2::SETTINGS_INITIAL_WINDOW_SIZE, 0)];
        let mut peer = Peer::open(flooded.server.address, &none);
        let streams: Vec<_> = streams().take(streams_max).collect();
        for stream in &streams {
            peer.send(&http2::headers(*stream, path));
        }
        let sent = peer.upload(&streams, &large, Duration::from_millis(500));
        let sent_kib = sent.iter().sum::<usize>() / 1024;
        eprintln!("{name}: {sent_kib} KiB were taken, {:?}", &sent[..sent.len().min(3)]);
        let whole = sent.iter().filter(|sent| **sent == large.len()).count();
        assert_eq!(whole, 1, "one message finds room");
        flooded.cost(name, frame_limits * FRAME_LIMIT_KIB + PROCESS_KIB);
    }
}

/// A CONNECT with a body, as no proxy would get it: HTTP/2 gives the connection up over it, at once
/// and with the calls that have just come. Nothing of them may stay.
#[test]
fn connections_that_end_over_their_calls() {
    const CONNECTIONS: usize = 300;
    let flooded = Flooded::start(&[]);
    let mut burst = Vec::new();
    let mut streams = streams();
    for stream in streams.by_ref().take(99) {
        burst.extend(http2::call(stream, &echo(1, &[7; 500])));
    }
    // :method CONNECT, :authority a:1, content-length 5: literals, with names of the static table.
    let connect = [b"\x02\x07CONNECT", &b"\x01\x03a:1"[..], b"\x0f\x0d\x015"].concat();
    burst.extend(frame(HEADERS, END_HEADERS, streams.next().unwrap(), &connect));
    for _ in 0..CONNECTIONS {
        let peer = Peer::open(flooded.server.address, &[]);
        let farewell = peer.listen();
        peer.send(&burst);
        farewell.join().expect("the server ends it");
    }
    flooded.cost("connections that end over their calls", GROWTH_MAX_KIB);
}
