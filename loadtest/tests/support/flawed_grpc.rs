//! A gRPC server with one flaw, or none, over the `h2` crate.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::frame::FRAME_BYTES_MAX_DEFAULT;
use common::{Code, Plan, Request, Response, Service, Work};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue};
use loadtest::client::grpc::{CALL, CONVERSE};
use loadtest::target::{Protocol, Target};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::told::{CONNECTIONS_MAX, IDLE_TIMEOUT, TIMEOUT};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    LosesCalls,
    WrongDigests,
    SwapsAnswers,
    /// Ends the stream where a response has a code.
    EndsStreams,
    CutsLong,
    DoesNothingGladly,
    KnowsNoLimits,
    RefusesUnknownFields,
    TakesAnyPath,
    /// Waits for the rest of a message that is too long.
    WaitsForTooLong,
    /// Closes the connection over a bad call.
    ClosesOnErrors,
    TakesAnyBytes,
    /// Leaves a connection open that is no HTTP/2.
    KeepsStrangers,
    /// One stream's reset ends its connection.
    StreamsTakeConnectionAlong,
    /// One connection's error ends them all.
    DiesOfErrors,
    /// Reads on while nobody takes the answers.
    StoresAll,
    /// Begins HTTP/2 with one client after the other.
    GreetsOneByOne,
    StopsAccepting,
    /// Takes the first read for all of the preface.
    WantsAllAtOnce,
    IgnoresDeadlines,
    /// Goes on with a connection as long as it has calls.
    ServesTheBusiest,
    NeverCloses,
    ClosesEarly,
    /// Takes a client that waits for one that is idle.
    CutsWaiting,
    /// Serves only so many connections, and is none.
    Limited,
    ServesOneMore,
    NeverMakesRoom,
}

const UNIMPLEMENTED: u32 = 12;

struct Flawed {
    flaw: Flaw,
    dead: AtomicBool,
    calls: AtomicUsize,
    open: AtomicUsize,
    /// Whose calls are carried out, and when the last one began.
    turn: Mutex<(usize, Instant)>,
}

/// A server that lives as long as the test.
pub(crate) fn serve(flaw: Flaw) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = Target { protocol: Protocol::Grpc, address: listener.local_addr().unwrap() };
    let flawed = Flawed {
        flaw,
        dead: AtomicBool::new(false),
        calls: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        turn: Mutex::new((0, Instant::now())),
    };
    let flawed = Arc::new(flawed);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                if flaw == Flaw::StopsAccepting && number > 300 {
                    std::future::pending::<()>().await;
                }
                stream.set_nodelay(true).unwrap();
                let max = match flaw {
                    Flaw::Limited | Flaw::NeverMakesRoom => CONNECTIONS_MAX,
                    Flaw::ServesOneMore => CONNECTIONS_MAX + 1,
                    _ => usize::MAX,
                };
                let room = |open| (open < max).then_some(open + 1);
                if flawed.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
                    continue;
                }
                let flawed = Arc::clone(&flawed);
                let watch = Arc::new(Watch::new(number));
                if flaw == Flaw::GreetsOneByOne {
                    let greeted = h2::server::handshake(Watched(stream, watch.clone())).await;
                    tokio::spawn(converse(greeted, flawed, watch));
                } else {
                    tokio::spawn(async move {
                        let patience = flaw.patience();
                        tokio::select! {
                            () = greet(stream, &flawed, &watch) => {}
                            () = watch.ends(patience, flaw == Flaw::CutsWaiting) => {}
                        }
                        if flaw != Flaw::NeverMakesRoom {
                            flawed.open.fetch_sub(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        });
    });
    target
}

async fn greet(stream: tokio::net::TcpStream, flawed: &Arc<Flawed>, watch: &Arc<Watch>) {
    if flawed.flaw == Flaw::WantsAllAtOnce {
        let mut first = [0; 24];
        let _ = stream.readable().await;
        if stream.peek(&mut first).await.is_ok_and(|came| came < first.len()) {
            return;
        }
    }
    if flawed.flaw == Flaw::KeepsStrangers {
        let mut first = [0; 3];
        let _ = stream.readable().await;
        if stream.peek(&mut first).await.is_ok() && first != *b"PRI" {
            std::future::pending::<()>().await;
        }
    }
    let greeted = h2::server::handshake(Watched(stream, watch.clone())).await;
    converse(greeted, flawed.clone(), watch.clone()).await;
}

type Greeted = Result<h2::server::Connection<Watched, Bytes>, h2::Error>;

async fn converse(greeted: Greeted, flawed: Arc<Flawed>, watch: Arc<Watch>) {
    let Ok(mut connection) = greeted else { return };
    let over = Arc::new(AtomicBool::new(false));
    while let Some(accepted) = connection.accept().await {
        match accepted {
            _ if over.load(Ordering::Relaxed) || flawed.dead.load(Ordering::Relaxed) => return,
            Ok((request, back)) => {
                let (flawed, over) = (Arc::clone(&flawed), Arc::clone(&over));
                let (came, watch) = (Instant::now(), watch.clone());
                let path = request.uri().path().to_owned();
                tokio::spawn(async move {
                    let _call = watch.begin();
                    flawed.turn(watch.number).await;
                    let body = request.into_body();
                    let broke = flawed.call(&path, came, body, back).await.is_none();
                    let takes_along = flawed.flaw == Flaw::StreamsTakeConnectionAlong;
                    over.fetch_or(broke && takes_along, Ordering::Relaxed);
                    flawed.failed(broke);
                });
            }
            Err(_) => flawed.failed(true),
        }
    }
}

impl Flaw {
    fn patience(self) -> Duration {
        match self {
            Self::None | Self::CutsWaiting | Self::Limited => TIMEOUT,
            Self::ClosesEarly => TIMEOUT / 4,
            _ => Duration::from_hours(1), // it has another flaw
        }
    }
}

/// When a connection last did what.
struct Watch {
    number: usize,
    calls: AtomicUsize,
    active: Mutex<Instant>,
    /// Since when the preface is not whole, or nothing is taken.
    stuck: Mutex<Option<Instant>>,
    preface_left: AtomicUsize,
}

struct CallUnderWay(Arc<Watch>);

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        *self.0.active.lock().unwrap() = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch {
    fn new(number: usize) -> Self {
        Self {
            number,
            calls: AtomicUsize::new(0),
            active: Mutex::new(Instant::now()),
            stuck: Mutex::new(Some(Instant::now())),
            preface_left: AtomicUsize::new(24),
        }
    }

    fn begin(self: &Arc<Self>) -> CallUnderWay {
        self.calls.fetch_add(1, Ordering::Relaxed);
        CallUnderWay(self.clone())
    }

    /// Waits until nothing happened for so long.
    async fn ends(&self, patience: Duration, cuts_waiting: bool) {
        let idle_patience = if patience == TIMEOUT { IDLE_TIMEOUT } else { patience };
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let idle = self.calls.load(Ordering::Relaxed) == 0 || cuts_waiting;
            let idle = idle && self.active.lock().unwrap().elapsed() >= idle_patience;
            if idle || self.stuck.lock().unwrap().is_some_and(|at| at.elapsed() >= patience) {
                return;
            }
        }
    }
}

/// A socket under a watch.
struct Watched(tokio::net::TcpStream, Arc<Watch>);

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.0).poll_read(task, buffer);
        let came = buffer.filled().len() - before;
        let left = self.1.preface_left.load(Ordering::Relaxed);
        if came > 0 && left > 0 {
            self.1.preface_left.store(left.saturating_sub(came), Ordering::Relaxed);
            if came >= left {
                *self.1.stuck.lock().unwrap() = None;
            }
        }
        if came > 0 {
            *self.1.active.lock().unwrap() = Instant::now();
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_write(task, bytes);
        let mut stuck = self.1.stuck.lock().unwrap();
        if poll.is_pending() {
            stuck.get_or_insert_with(Instant::now);
        } else {
            if self.1.preface_left.load(Ordering::Relaxed) == 0 {
                *stuck = None;
            }
            *self.1.active.lock().unwrap() = Instant::now();
        }
        drop(stuck);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(task)
    }
}

/// A call under way: what has come of its requests, and where its answers go.
struct Stream {
    requests: RecvStream,
    inbound: BytesMut,
    answers: SendStream<Bytes>,
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Waits until no other connection has had calls for a while.
    async fn turn(&self, number: usize) {
        const WHILE: Duration = Duration::from_millis(100);
        while self.is(Flaw::ServesTheBusiest) {
            {
                let (whose, at) = &mut *self.turn.lock().unwrap();
                if *whose == number || at.elapsed() > WHILE {
                    (*whose, *at) = (number, Instant::now());
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn failed(&self, broke: bool) {
        self.dead.fetch_or(broke && self.is(Flaw::DiesOfErrors), Ordering::Relaxed);
    }

    /// None, where the stream broke off.
    async fn call(
        &self,
        path: &str,
        came: Instant,
        requests: RecvStream,
        mut back: SendResponse<Bytes>,
    ) -> Option<()> {
        if self.is(Flaw::LosesCalls) && self.calls.fetch_add(1, Ordering::Relaxed) % 1_000 == 999 {
            back.send_reset(h2::Reason::INTERNAL_ERROR);
            return Some(());
        }
        let head = http::Response::builder().header("content-type", "application/grpc");
        let answers = back.send_response(head.body(()).unwrap(), false).ok()?;
        let mut stream = Stream { requests, inbound: BytesMut::new(), answers };
        let known = [CALL, CONVERSE].contains(&path) || self.is(Flaw::TakesAnyPath);
        let code = if known {
            self.answer_all(&mut stream, came, path == CONVERSE).await?
        } else {
            UNIMPLEMENTED
        };
        if ![0, UNIMPLEMENTED].contains(&code) && self.is(Flaw::ClosesOnErrors) {
            stream.answers.send_reset(h2::Reason::PROTOCOL_ERROR);
            return Some(());
        }
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(code))]);
        stream.answers.send_trailers(trailers).ok()
    }

    /// Answers request after request, and gives the status of the call.
    async fn answer_all(&self, stream: &mut Stream, came: Instant, streams: bool) -> Option<u32> {
        let mut held: Option<Response> = None;
        loop {
            let message = match stream.message(self.is(Flaw::WaitsForTooLong)).await? {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(code) => return Some(code as u32),
            };
            let request = match Request::decode(message.clone()) {
                Ok(request) => request,
                Err(_) if self.is(Flaw::TakesAnyBytes) => Request::default(),
                Err(_) => return Some(Code::Internal as u32),
            };
            let unknown = request.encode_to_vec() != message;
            let response = if unknown && self.is(Flaw::RefusesUnknownFields) {
                Response::error(request.id, Code::InvalidArgument, "what?")
            } else {
                self.answer(request, came).await
            };
            if response.code != 0 && (!streams || self.is(Flaw::EndsStreams)) {
                return Some(response.code);
            }
            if self.is(Flaw::SwapsAnswers) && streams && held.is_none() {
                held = Some(response);
                continue;
            }
            for response in [Some(response), held.take()].into_iter().flatten() {
                stream.send(&response, self.is(Flaw::StoresAll)).await?;
            }
        }
        Some(0)
    }

    async fn answer(&self, request: Request, came: Instant) -> Response {
        let id = request.id;
        let computes = matches!(request.work, Some(Work::ComputeRounds(_)));
        let patience = Duration::from_millis(request.timeout_ms.into());
        let bounded = request.timeout_ms > 0 && !self.is(Flaw::IgnoresDeadlines);
        let mut response = match Service::new().plan(request, bounded.then(|| came + patience)) {
            Plan::Reply(response) => response,
            Plan::Wait { duration, response, .. } => {
                tokio::time::sleep(duration).await;
                response
            }
            Plan::Compute(job) => job.run(),
            Plan::Block(job) => job.run(),
        };
        let nothing = response.message.starts_with("work is not set");
        if response.code != 0
            && (self.is(Flaw::KnowsNoLimits) || nothing && self.is(Flaw::DoesNothingGladly))
            || nothing && self.is(Flaw::TakesAnyBytes)
        {
            return Response::ok(id, Vec::new());
        }
        if self.is(Flaw::WrongDigests) && computes {
            response.payload.reverse();
        }
        if self.is(Flaw::CutsLong) {
            response.payload.truncate(u16::MAX.into());
        }
        response
    }
}

impl Stream {
    /// The next message; none at the end, or what is wrong with it.
    async fn message(&mut self, waits: bool) -> Option<Result<Option<Bytes>, Code>> {
        loop {
            if let Some(prefix) = self.inbound.first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if length > FRAME_BYTES_MAX_DEFAULT && !waits {
                    return Some(Err(Code::ResourceExhausted));
                }
                if self.inbound.len() >= 5 + length {
                    let _prefix = self.inbound.split_to(5);
                    return Some(Ok(Some(self.inbound.split_to(length).freeze())));
                }
            }
            let Some(chunk) = self.requests.data().await else {
                if waits && !self.inbound.is_empty() {
                    std::future::pending::<()>().await;
                }
                return Some(Ok(None));
            };
            let chunk = chunk.ok()?;
            self.requests.flow_control().release_capacity(chunk.len()).ok()?;
            self.inbound.extend_from_slice(&chunk);
        }
    }

    async fn send(&mut self, response: &Response, stores: bool) -> Option<()> {
        let mut message = vec![0];
        common::frame::encode(response, &mut message);
        let mut message = Bytes::from(message);
        while !stores && !message.is_empty() {
            self.answers.reserve_capacity(message.len());
            let room = poll_fn(|task| self.answers.poll_capacity(task)).await?.ok()?;
            let part = message.split_to(room.min(message.len()));
            self.answers.send_data(part, false).ok()?;
        }
        if stores { self.answers.send_data(message, false).ok() } else { Some(()) }
    }
}
