//! A gRPC server with one flaw, or none, over the `h2` crate.

use std::future::poll_fn;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use common::frame::FRAME_BYTES_MAX_DEFAULT;
use common::{Code, Plan, Request, Response, Service, Work};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue};
use loadtest::client::grpc::{CALL, CONVERSE};
use loadtest::target::{Protocol, Target};
use prost::Message;

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
}

const UNIMPLEMENTED: u32 = 12;

struct Flawed {
    flaw: Flaw,
    dead: AtomicBool,
    calls: AtomicUsize,
}

/// A server that lives as long as the test.
pub(crate) fn serve(flaw: Flaw) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = Target { protocol: Protocol::Grpc, address: listener.local_addr().unwrap() };
    let flawed = Flawed { flaw, dead: AtomicBool::new(false), calls: AtomicUsize::new(0) };
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
                if flaw == Flaw::GreetsOneByOne {
                    let greeted = h2::server::handshake(stream).await;
                    tokio::spawn(converse(greeted, Arc::clone(&flawed)));
                } else {
                    let flawed = Arc::clone(&flawed);
                    tokio::spawn(async move { greet(stream, flawed).await });
                }
            }
        });
    });
    target
}

async fn greet(stream: tokio::net::TcpStream, flawed: Arc<Flawed>) {
    if flawed.flaw == Flaw::KeepsStrangers {
        let mut first = [0; 3];
        let _ = stream.readable().await;
        if stream.peek(&mut first).await.is_ok() && first != *b"PRI" {
            std::future::pending::<()>().await;
        }
    }
    converse(h2::server::handshake(stream).await, flawed).await;
}

type Greeted = Result<h2::server::Connection<tokio::net::TcpStream, Bytes>, h2::Error>;

async fn converse(greeted: Greeted, flawed: Arc<Flawed>) {
    let Ok(mut connection) = greeted else { return };
    let over = Arc::new(AtomicBool::new(false));
    while let Some(accepted) = connection.accept().await {
        match accepted {
            _ if over.load(Ordering::Relaxed) || flawed.dead.load(Ordering::Relaxed) => return,
            Ok((request, back)) => {
                let (flawed, over) = (Arc::clone(&flawed), Arc::clone(&over));
                let path = request.uri().path().to_owned();
                tokio::spawn(async move {
                    let broke = flawed.call(&path, request.into_body(), back).await.is_none();
                    let takes_along = flawed.flaw == Flaw::StreamsTakeConnectionAlong;
                    over.fetch_or(broke && takes_along, Ordering::Relaxed);
                    flawed.failed(broke);
                });
            }
            Err(_) => flawed.failed(true),
        }
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

    fn failed(&self, broke: bool) {
        self.dead.fetch_or(broke && self.is(Flaw::DiesOfErrors), Ordering::Relaxed);
    }

    /// None, where the stream broke off.
    async fn call(
        &self,
        path: &str,
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
            self.answer_all(&mut stream, path == CONVERSE).await?
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
    async fn answer_all(&self, stream: &mut Stream, streams: bool) -> Option<u32> {
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
                self.answer(request).await
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

    async fn answer(&self, request: Request) -> Response {
        let id = request.id;
        let computes = matches!(request.work, Some(Work::ComputeRounds(_)));
        let mut response = match Service::new().plan(request, None) {
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
