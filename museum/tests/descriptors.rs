//! The scene of `museum::descriptors`, in a process of its own: the limit of descriptors is the
//! process's, and no other test is to feel it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use museum::descriptors::{PAUSE, broken, mended};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

// ANCHOR: test
/// Accepts with no descriptor left, and gives one back when so many tries have failed. How long
/// those took.
fn out_of_them(
    failures_max: usize,
    accept: impl FnOnce(&TcpListener, &mut dyn FnMut(&io::Error)) -> TcpStream,
) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let (began, mut failures) = (Instant::now(), 0);
    let mut server = accept(&listener, &mut |error| {
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
        failures += 1;
        if failures == failures_max {
            hoard.pop();
        }
    });
    let took = began.elapsed();
    assert_eq!(failures, failures_max);
    // It was never lost: it has waited in the backlog.
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    took
}

#[test]
fn it_spins_or_pauses() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    // So many failures take as long as that many system calls do: not as long as ten pauses, on
    // however busy a machine.
    let took = out_of_them(200, |listener, log| broken::accept(listener, log));
    assert!(took < 10 * PAUSE, "{took:?}");
    let took = out_of_them(3, |listener, log| mended::accept(listener, log));
    assert!(took >= 3 * PAUSE, "{took:?}");
}
// ANCHOR_END: test
