//! A framed server with one flaw, or none: a thread per connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::frame::{self, FRAME_BYTES_MAX_DEFAULT, FrameError, PREFIX_BYTES};
use common::{Code, Plan, Request, Response, Service, Work};
use loadtest::target::{Protocol, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Takes a short write for a whole one.
    ShortWrites,
    /// Takes the end of requests for the end of all.
    HangsUp,
    /// Takes each read for whole frames.
    WholeReads,
    WrongDigests,
    SwapsAnswers,
    /// Cuts long payloads.
    CutsLong,
    ClosesOnNoWork,
    IgnoresEmptyFrames,
    KnowsNoLimits,
    RefusesUnknownFields,
    KeepsOpenAfterErrors,
    WrongErrorCode,
    /// Answers what follows an error.
    GoesOnAfterErrors,
    /// Waits for the rest of a frame that is too long.
    WaitsForTooLong,
    /// One connection's error ends them all.
    DiesOfErrors,
    /// Holds what all need while it writes.
    OneLock,
    /// Reads on while nobody takes the answers.
    StoresAll,
    OneAtATime,
    StopsAccepting,
}

/// What the connections of a server share.
struct Flawed {
    flaw: Flaw,
    dead: AtomicBool,
    lock: Mutex<()>,
    accepted: AtomicUsize,
}

/// A server that lives as long as the test.
pub(crate) fn serve(flaw: Flaw) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target { protocol: Protocol::Framed, address: listener.local_addr().unwrap() };
    let (dead, lock, accepted) = (AtomicBool::new(false), Mutex::new(()), AtomicUsize::new(0));
    let flawed = Arc::new(Flawed { flaw, dead, lock, accepted });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (flawed, stream) = (Arc::clone(&flawed), stream.unwrap());
            let converse = move || {
                if flawed.converse(&stream).is_err() && flawed.flaw == Flaw::DiesOfErrors {
                    flawed.dead.store(true, Ordering::Relaxed);
                }
            };
            if flaw == Flaw::OneAtATime { converse() } else { drop(thread::spawn(converse)) }
        }
    });
    target
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn converse(&self, mut stream: &TcpStream) -> io::Result<()> {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        if self.is(Flaw::StopsAccepting) && number > 300 {
            thread::sleep(Duration::from_mins(10));
        }
        stream.set_nodelay(true)?;
        let later = self.is(Flaw::StoresAll).then(|| write_later(stream.try_clone()));
        let mut inbound = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 || self.dead.load(Ordering::Relaxed) {
                return Ok(());
            }
            inbound.extend_from_slice(&buffer[..read]);
            let (bytes, over) = self.answers(&mut inbound);
            if self.is(Flaw::HangsUp) {
                stream.set_read_timeout(Some(Duration::from_millis(20)))?;
                if matches!(stream.peek(&mut buffer), Ok(0)) {
                    return Ok(());
                }
                stream.set_read_timeout(None)?;
            }
            match &later {
                Some(later) => later.send(bytes).unwrap(),
                None => self.write(stream, &bytes)?,
            }
            if over {
                stream.shutdown(Shutdown::Write)?;
                while stream.read(&mut buffer)? > 0 {}
                return Ok(());
            }
        }
    }

    /// The answers to what has come, and whether the connection is then over.
    fn answers(&self, inbound: &mut Vec<u8>) -> (Vec<u8>, bool) {
        let (mut responses, mut over) = (Vec::new(), false);
        while !over {
            let split = frame::split_first(inbound, FRAME_BYTES_MAX_DEFAULT);
            let (length, decoded) = match split {
                Ok(None) => break,
                Err(_) if self.is(Flaw::WaitsForTooLong) => break,
                Ok(Some(message)) => (message.len(), frame::decode::<Request>(message)),
                Err(error) => (inbound.len() - PREFIX_BYTES, Err(error)),
            };
            let known =
                decoded.as_ref().is_ok_and(|request| encoded(request) == inbound[4..][..length]);
            inbound.drain(..PREFIX_BYTES + length);
            match decoded {
                Ok(_) if length == 0 && self.is(Flaw::IgnoresEmptyFrames) => {}
                Ok(Request { work: None, .. }) if self.is(Flaw::ClosesOnNoWork) => over = true,
                Ok(request) if !known && self.is(Flaw::RefusesUnknownFields) => {
                    responses.push(Response::error(request.id, Code::InvalidArgument, "what?"));
                }
                Ok(request) => responses.push(self.answer(request)),
                Err(error) => {
                    responses.push(self.error(&error));
                    over =
                        !self.is(Flaw::KeepsOpenAfterErrors) && !self.is(Flaw::GoesOnAfterErrors);
                    inbound.truncate(if self.is(Flaw::GoesOnAfterErrors) { usize::MAX } else { 0 });
                }
            }
        }
        if self.is(Flaw::WholeReads) {
            inbound.clear();
        }
        if self.is(Flaw::SwapsAnswers) && responses.len() > 1 {
            responses.swap(0, 1);
        }
        let mut bytes = Vec::new();
        for response in &responses {
            frame::encode(response, &mut bytes);
        }
        (bytes, over)
    }

    fn error(&self, error: &FrameError) -> Response {
        let code = if self.is(Flaw::WrongErrorCode) { Code::Internal } else { error.code() };
        Response::error(0, code, error.to_string())
    }

    fn answer(&self, request: Request) -> Response {
        if self.is(Flaw::KnowsNoLimits) {
            return Response::ok(request.id, Vec::new());
        }
        let computes = matches!(request.work, Some(Work::ComputeRounds(_)));
        let mut response = match Service::new().plan(request, None) {
            Plan::Reply(response) => response,
            Plan::Wait { duration, response, .. } => {
                thread::sleep(duration);
                response
            }
            Plan::Compute(job) => job.run(),
            Plan::Block(job) => job.run(),
        };
        if self.is(Flaw::WrongDigests) && computes {
            response.payload.reverse();
        }
        if self.is(Flaw::CutsLong) {
            response.payload.truncate(u16::MAX.into());
        }
        response
    }

    fn write(&self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        if self.is(Flaw::ShortWrites) {
            stream.set_nonblocking(true)?;
            let _ = stream.write(bytes);
            return stream.set_nonblocking(false);
        }
        let _held = self.is(Flaw::OneLock).then(|| self.lock.lock().unwrap());
        stream.write_all(bytes)
    }
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(request, &mut bytes);
    bytes.split_off(PREFIX_BYTES)
}

/// A writer of its own, behind a queue without a bound.
fn write_later(stream: io::Result<TcpStream>) -> mpsc::Sender<Vec<u8>> {
    let (later, queue) = mpsc::channel::<Vec<u8>>();
    let mut stream = stream.unwrap();
    thread::spawn(
        move || while queue.recv().is_ok_and(|bytes| stream.write_all(&bytes).is_ok()) {},
    );
    later
}
