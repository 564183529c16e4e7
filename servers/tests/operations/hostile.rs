//! Clients of the admin port that mean no good: they cost a little for a few seconds, and keep no
//! probe out.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use servers::THREADS;

use crate::client::Client;
use crate::server::eventually;
use crate::support::{Administered, answer, connect};

/// Far below what a probe's own timeout commonly is, far above what a busy machine needs.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// Clients at a time, and what is on its way to be one.
const DESCRIPTORS_MAX: usize = 24;

/// A server that has all the descriptors and threads that it will have for one client.
fn settled() -> (Administered, Client) {
    let server = Administered::start(THREADS, &[]);
    let mut witness = Client::connect(server.address);
    witness.echoes(1, b"served");
    is_probed(&server);
    (server, witness)
}

#[track_caller]
fn is_probed(server: &Administered) {
    let began = Instant::now();
    assert_eq!(server.get("/healthz").0, 200);
    assert!(began.elapsed() < PROBE_PATIENCE, "{:?}", began.elapsed());
}

fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn those_who_stay_silent_keep_no_probe_out() {
    let (server, _witness) = settled();
    let (threads, descriptors) = (server.threads().len(), server.descriptors());
    let beginnings = ["", "G", "GET /metrics HTTP/1.1\r\nX: ", "POST /metrics HTTP/1.1\r\n"];
    let silent: Vec<_> = (0..100)
        .zip(beginnings.iter().cycle())
        .map(|(_, beginning)| {
            let mut stream = connect(server.admin);
            let _ = stream.write_all(beginning.as_bytes());
            stream
        })
        .collect();
    is_probed(&server);
    assert_eq!(server.threads().len(), threads, "one thread, whoever comes");
    // The probe came last, so all of them were accepted: most have lost their place already.
    assert!(server.descriptors() <= descriptors + DESCRIPTORS_MAX, "{}", server.descriptors());
    eventually("all are closed", true, || silent.iter().all(is_closed));
    is_probed(&server);
    eventually("descriptors", true, || server.descriptors() <= descriptors);
}

#[test]
fn a_byte_now_and_then_buys_no_time() {
    let server = Administered::start(THREADS, &[]);
    let mut slow = connect(server.admin);
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    while slow.write_all(b"G").is_ok() && !is_closed(&slow) {
        assert!(began.elapsed() < Duration::from_secs(15), "it lives on a byte now and then");
    }
    is_probed(&server);
}

#[test]
fn a_head_without_end_is_refused() {
    let (server, _witness) = settled();
    let before = server.descriptors();
    for line in ["X-Padding: 0123456789\r\n", "0123456789"] {
        let mut stream = connect(server.admin);
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        // Until the server has had enough: then it is reset, or the answer is there.
        let mut sent = 0;
        while sent < 1 << 20 && stream.write_all(line.as_bytes()).is_ok() {
            sent += line.len();
        }
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    eventually("descriptors", true, || server.descriptors() <= before);
    is_probed(&server);
}

#[test]
fn a_body_that_nobody_asked_for_does_not_hide_the_answer() {
    let server = Administered::start(THREADS, &[]);
    for body in [0, 1, 60_000] {
        let mut stream = connect(server.admin);
        let mut request =
            format!("POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n");
        request.extend(std::iter::repeat_n('x', body));
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(answer(stream).status, 405, "with {body} bytes");
    }
    // Who is still sending when the answer comes is not cut off at once, and can read it then.
    let mut stream = connect(server.admin);
    stream.write_all(b"PUT /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n").unwrap();
    eventually("answered", true, || stream.peek(&mut [0; 1]).unwrap() > 0);
    for _ in 0..60 {
        stream.write_all(&[b'x'; 1000]).expect("it is still read");
    }
    assert_eq!(answer(stream).status, 405);
    // It promises a body that never comes.
    let mut stream = connect(server.admin);
    stream.write_all(b"PUT /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").unwrap();
    let began = Instant::now();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 405");
    assert!(began.elapsed() < PROBE_PATIENCE);
}

#[test]
fn who_takes_no_answer_or_speaks_no_http_costs_nobody_else() {
    let (server, _witness) = settled();
    let before = server.descriptors();
    let deaf: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect(server.admin);
            let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
            let _ = stream.write_all(requests.as_bytes());
            stream
        })
        .collect();
    is_probed(&server);
    for junk in [&b"\0\0\0\x02\xff\xff"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 4096]] {
        let mut stream = connect(server.admin);
        stream.write_all(junk).unwrap();
        eventually("closed", true, || is_closed(&stream));
    }
    is_probed(&server);
    drop(deaf);
    eventually("descriptors", true, || server.descriptors() <= before);
}
