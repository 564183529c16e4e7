//! The correctness gate: a server that loses or confuses answers is not measured, since doing less
//! than the others would only make it look fast.
//!
//! It takes a fraction of a second per server, once, and every answer is checked as in a run.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use common::frame::PREFIX_BYTES;

use crate::plan::{Schedule, Stop};
use crate::run::{RunConfig, run};
use crate::share::Interrupt;
use crate::target::{Protocol, Target};
use crate::template::Templates;
use crate::work::Mix;

/// Requests that are written before the late reader reads. Their answers, 10 MB, are far more than
/// the 4 MiB to which Linux lets a send buffer grow, so a server meets short writes.
const LATE_READER_REQUESTS: u64 = 10_000;
const LATE_READER_WORK: &str = "echo:1000";
/// How late it is, where the server stops reading before.
const LATE_READER_DELAY: Duration = Duration::from_millis(200);
/// Requests before the half-close.
const HALF_CLOSE_REQUESTS: u64 = 50;
/// Requests that arrive byte by byte.
const TRICKLED_REQUESTS: u64 = 5;
/// No single step takes longer on a server that works.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of the mixed run, over all kinds of work.
const MIXED_REQUESTS: u64 = 400;
/// All kinds; small amounts.
const MIXED_WORK: &str = "echo:0,echo:1000,wait:1ms,compute:100,block:1ms";

/// Puts a server through all checks.
///
/// # Errors
/// In words: what it got wrong.
pub fn check(target: Target) -> Result<(), String> {
    if target.protocol == Protocol::Grpc {
        return many_streams(target).and_then(|()| mixed(target, 16));
    }
    let named = |name: &'static str, result: io::Result<()>| {
        result.map_err(|error| format!("{name}: {error}"))
    };
    named("late reader", late_reader(target))?;
    named("half-close", half_close(target))?;
    named("byte by byte", byte_by_byte(target))?;
    mixed(target, 16)
}

/// A client that writes thousands of requests before it reads a reply.
fn late_reader(target: Target) -> io::Result<()> {
    let requests = Requests::new(target, LATE_READER_WORK);
    let mut stream = connect(target)?;
    let mut writer = stream.try_clone()?;
    let bytes = requests.encoded(LATE_READER_REQUESTS);
    let writing = thread::spawn(move || writer.write_all(&bytes));
    thread::sleep(LATE_READER_DELAY);
    requests.read_all(&mut stream, LATE_READER_REQUESTS)?;
    writing.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
}

/// A client that sends, says that it will send no more, and still wants its answers.
fn half_close(target: Target) -> io::Result<()> {
    let requests = Requests::new(target, "echo:64");
    let mut stream = connect(target)?;
    stream.write_all(&requests.encoded(HALF_CLOSE_REQUESTS))?;
    stream.shutdown(Shutdown::Write)?;
    requests.read_all(&mut stream, HALF_CLOSE_REQUESTS)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more bytes than answers")),
    }
}

/// A client whose bytes come one at a time.
fn byte_by_byte(target: Target) -> io::Result<()> {
    let requests = Requests::new(target, "echo:8");
    let mut stream = connect(target)?;
    for byte in requests.encoded(TRICKLED_REQUESTS) {
        stream.write_all(&[byte])?;
    }
    requests.read_all(&mut stream, TRICKLED_REQUESTS)
}

/// Thousands of requests on the streams of one connection: what the late reader is to a framed
/// server.
fn many_streams(target: Target) -> Result<(), String> {
    all_right(target, "echo:1000", (1, 100), 5_000)
}

/// All kinds of work at once, on several connections; digests are verified.
fn mixed(target: Target, depth: usize) -> Result<(), String> {
    all_right(target, MIXED_WORK, (4, depth), MIXED_REQUESTS)
}

fn all_right(
    target: Target,
    work: &str,
    (connections, depth): (usize, usize),
    requests: u64,
) -> Result<(), String> {
    let config = RunConfig {
        connections: NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN),
        schedule: Schedule::Closed { depth },
        stop: Stop::Count(requests),
        timeout: STEP_TIMEOUT,
        ..RunConfig::new(target, work.parse::<Mix>().map_err(|error| error.to_string())?)
    };
    let finished = run(&config, &Interrupt::default()).map_err(|error| error.to_string())?;
    if let Some(failure) = finished.failure {
        return Err(failure);
    }
    let result = finished.result;
    if result.ok == requests {
        return Ok(());
    }
    let (errors, late) = (result.errors, result.timed_out);
    Err(format!("{work}: {} of {requests} right, {late} timed out, {errors:?}", result.ok))
}

fn connect(target: Target) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target.address, STEP_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    Ok(stream)
}

/// Requests of one kind, and their answers in order.
struct Requests(Templates);

impl Requests {
    fn new(target: Target, work: &str) -> Self {
        let mix = work.parse().expect("the gate's works are constants that its test parses");
        Self(Templates::new(&mix, 1, target.protocol))
    }

    fn encoded(&self, count: u64) -> Vec<u8> {
        let (template, mut bytes) = (self.0.of(0), Vec::new());
        (0..count).for_each(|index| template.write(template.id(index), &mut bytes));
        bytes
    }

    fn read_all(&self, stream: &mut TcpStream, count: u64) -> io::Result<()> {
        /// A reply is at the most this much longer than its request.
        const REPLY_BYTES_MORE: usize = 64;
        let template = self.0.of(0);
        let mut reader = io::BufReader::new(stream);
        let mut message = Vec::new();
        for index in 0..count {
            let lost = |error: io::Error| {
                io::Error::new(error.kind(), format!("answer {index} of {count}: {error}"))
            };
            let mut prefix = [0; PREFIX_BYTES];
            reader.read_exact(&mut prefix).map_err(lost)?;
            let length = u32::from_be_bytes(prefix) as usize;
            if length > template.request_bytes() + REPLY_BYTES_MORE {
                return Err(lost(io::Error::other(format!("it has {length} bytes"))));
            }
            message.resize(length, 0);
            reader.read_exact(&mut message).map_err(lost)?;
            template
                .check(template.id(index), &message)
                .map_err(|kind| lost(io::Error::other(kind.name())))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn works_are_well_formed() {
        for work in [LATE_READER_WORK, "echo:64", "echo:8", MIXED_WORK] {
            assert!(work.parse::<Mix>().is_ok());
        }
    }

    fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = std::sync::Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serve = std::sync::Arc::clone(&serve);
                thread::spawn(move || serve(stream.unwrap()));
            }
        });
        Target { protocol: Protocol::Raw, address }
    }

    #[test]
    fn an_echo_passes_as_the_floor() {
        let target = raw(|mut stream| {
            let mut reader = stream.try_clone().unwrap();
            let _ = io::copy(&mut reader, &mut stream);
        });
        assert_eq!(check(target), Ok(()));
    }

    #[test]
    fn a_server_that_ignores_short_writes_does_not() {
        let target = raw(|mut stream| {
            stream.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write(&buffer[..read]);
            }
        });
        let verdict = check(target).unwrap_err();
        assert!(verdict.starts_with("late reader: answer"), "{verdict}");
    }

    #[test]
    fn a_server_that_hangs_up_on_a_half_close_does_not() {
        let target = raw(|mut stream| {
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Ok(read @ 1..) if all.len() > 10_000 => {
                        stream.write_all(&buffer[..read]).unwrap();
                    }
                    Ok(read @ 1..) => {
                        all.extend_from_slice(&buffer[..read]);
                        if all.len() > 10_000 {
                            stream.write_all(&all).unwrap();
                        }
                    }
                    _ => return,
                }
            }
        });
        let verdict = check(target).unwrap_err();
        assert!(verdict.starts_with("half-close: answer 0"), "{verdict}");
    }
}
