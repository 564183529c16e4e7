//! A framed server with one flaw, or none: a thread per connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::frame::{self, FRAME_BYTES_MAX_DEFAULT, FrameError, PREFIX_BYTES};
use common::{Code, Plan, Request, Response, Service, Work};
use loadtest::target::{Protocol, Target};

use crate::told::{CONNECTIONS_MAX, IDLE_TIMEOUT, TIMEOUT};

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
    IgnoresDeadlines,
    /// Goes on with a connection as long as it has something to say.
    ServesTheBusiest,
    NeverCloses,
    ClosesEarly,
    /// Takes a client that waits for one that is idle.
    CutsWaiting,
    /// Counts from the last byte of half a frame.
    EachByteExtends,
    WaitsForReaders,
    /// Serves only so many connections, and is none.
    Limited,
    ServesOneMore,
    RefusesSilently,
    NeverMakesRoom,
}

/// What the connections of a server share.
struct Flawed {
    flaw: Flaw,
    dead: AtomicBool,
    lock: Mutex<()>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// A server that lives as long as the test.
pub(crate) fn serve(flaw: Flaw) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target { protocol: Protocol::Framed, address: listener.local_addr().unwrap() };
    let (dead, lock, accepted) = (AtomicBool::new(false), Mutex::new(()), AtomicUsize::new(0));
    let flawed = Arc::new(Flawed { flaw, dead, lock, accepted, open: AtomicUsize::new(0) });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (flawed, stream) = (Arc::clone(&flawed), stream.unwrap());
            let converse = move || {
                if flawed.admit(&stream).is_err() && flawed.flaw == Flaw::DiesOfErrors {
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

    fn admit(&self, stream: &TcpStream) -> io::Result<()> {
        let max = match self.flaw {
            Flaw::Limited | Flaw::RefusesSilently | Flaw::NeverMakesRoom => CONNECTIONS_MAX,
            Flaw::ServesOneMore => CONNECTIONS_MAX + 1,
            _ => usize::MAX,
        };
        let room = |open| (open < max).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return self.refuse(stream);
        }
        let ended = self.converse(stream);
        if !self.is(Flaw::NeverMakesRoom) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        ended
    }

    fn refuse(&self, mut stream: &TcpStream) -> io::Result<()> {
        if !self.is(Flaw::RefusesSilently) {
            let mut bytes = Vec::new();
            frame::encode(&Response::error(0, Code::ResourceExhausted, "full"), &mut bytes);
            stream.write_all(&bytes)?;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    }

    /// How much longer the next bytes are waited for.
    fn patience(&self, within_frame: bool, since: Instant) -> Option<Duration> {
        let timeout = match self.flaw {
            Flaw::ClosesEarly => TIMEOUT / 4,
            Flaw::EachByteExtends if within_frame => return Some(TIMEOUT),
            Flaw::None | Flaw::CutsWaiting | Flaw::Limited if within_frame => TIMEOUT,
            Flaw::None | Flaw::CutsWaiting | Flaw::Limited => IDLE_TIMEOUT,
            _ => return None, // it has another flaw
        };
        // No time at all would be no bound.
        Some(timeout.saturating_sub(since.elapsed()).max(Duration::from_millis(1)))
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
        let (mut since, mut turn) = (Instant::now(), None);
        if self.is(Flaw::None) {
            stream.set_write_timeout(Some(TIMEOUT))?;
        }
        loop {
            stream.set_read_timeout(self.patience(!inbound.is_empty(), since))?;
            let read = match stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                read => read?,
            };
            if self.is(Flaw::ServesTheBusiest) && turn.is_none() {
                turn = Some(self.lock.lock().unwrap());
            }
            if read == 0 || self.dead.load(Ordering::Relaxed) {
                return Ok(());
            }
            if inbound.is_empty() {
                since = Instant::now();
            }
            inbound.extend_from_slice(&buffer[..read]);
            let (bytes, over) = self.answers(&mut inbound);
            if self.is(Flaw::CutsWaiting) && since.elapsed() > IDLE_TIMEOUT {
                return Ok(());
            }
            if self.is(Flaw::HangsUp) {
                stream.set_read_timeout(Some(Duration::from_millis(20)))?;
                if matches!(stream.peek(&mut buffer), Ok(0)) {
                    return Ok(());
                }
                stream.set_read_timeout(None)?;
            }
            match &later {
                Some(later) => later.send(bytes).map_err(|_| ErrorKind::BrokenPipe)?,
                None => self.write(stream, &bytes)?,
            }
            if over {
                stream.shutdown(Shutdown::Write)?;
                while stream.read(&mut buffer)? > 0 {}
                return Ok(());
            }
            if inbound.is_empty() {
                since = Instant::now();
            }
            stream.set_nonblocking(true)?;
            turn = turn.filter(|_| stream.peek(&mut buffer).is_ok_and(|more| more > 0));
            stream.set_nonblocking(false)?;
        }
    }

    /// The answers to what has come, and whether the connection is then over.
    fn answers(&self, inbound: &mut Vec<u8>) -> (Vec<u8>, bool) {
        let (mut responses, mut over, came) = (Vec::new(), false, Instant::now());
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
                Ok(request) => responses.push(self.answer(request, came)),
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

    fn answer(&self, request: Request, came: Instant) -> Response {
        if self.is(Flaw::KnowsNoLimits) {
            return Response::ok(request.id, Vec::new());
        }
        let computes = matches!(request.work, Some(Work::ComputeRounds(_)));
        let patience = Duration::from_millis(request.timeout_ms.into());
        let bounded = request.timeout_ms > 0 && !self.is(Flaw::IgnoresDeadlines);
        let mut response = match Service::new().plan(request, bounded.then(|| came + patience)) {
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
