//! One call between HTTP/2 and tonic: its request is watched, its answer is counted, and what goes
//! wrong in it stays in it. It pays with one allocation a call.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{self, Sleep};
use tonic::Status;
use tonic::codegen::{BoxFuture, Service};

use super::ledger::{Begun, Ledger};
use super::routes::Routes;
use super::upload::Upload;

/// What the two directions of one call share.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ledger: Arc<Ledger>,
    /// The room that its messages take, until the answer goes out with it.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Call {
    pub(super) fn holds(&self, more: OwnedSemaphorePermit) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
    }

    pub(super) fn gives(&self) -> Option<OwnedSemaphorePermit> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The calls of one connection.
pub(super) struct Calls {
    pub(super) ledger: Arc<Ledger>,
    pub(super) routes: Routes,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Answers>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let call = Arc::new(Call { ledger: self.ledger.clone(), room: Mutex::new(None) });
        let patience = patience(&request);
        let asks = Asks::at(request.uri().path());
        let mut request = request.map(|body| Upload::new(body, call.clone(), asks));
        let begun = match asks {
            Asks::Once => Some(Begun::new(self.ledger.clone())),
            Asks::Often => None,
            Asks::InTurns => {
                request.extensions_mut().insert(self.ledger.clone());
                None
            }
        };
        let answer = self.routes.clone().call(request);
        let patience = patience.map(|patience| Box::pin(time::sleep(patience)));
        Answering { answer: Some(answer), call, patience, begun }
    }
}

/// What a peer may be silent for while a call is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// One message is all, and its headers have begun it: it is being received or carried out until
    /// its answer is whole, however long that takes.
    Once,
    /// Messages one after the other: silence between two of them is the peer's, and nothing is
    /// carried out meanwhile.
    Often,
    /// A conversation, whose handler says itself what it carries out.
    InTurns,
}

impl Asks {
    fn at(path: &str) -> Self {
        match path {
            "/quintet.v1.Quintet/Converse" | "/quintet.v1.Quintet/Exchange" => Self::InTurns,
            _ if Routes::is_client_streaming(path) => Self::Often,
            _ => Self::Once,
        }
    }
}

/// How long the client waits, where it says so: a number of at most eight digits and a unit.
fn patience<B>(request: &Request<B>) -> Option<Duration> {
    let value = request.headers().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount = digits.parse().ok().filter(|_| (1..=8).contains(&digits.len()))?;
    match unit {
        "H" => Some(Duration::from_hours(amount)),
        "M" => Some(Duration::from_mins(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// A call on its way to the head of its answer.
pub(super) struct Answering {
    /// None once it is there.
    answer: Option<BoxFuture<Response<tonic::body::Body>, Infallible>>,
    call: Arc<Call>,
    patience: Option<Pin<Box<Sleep>>>,
    begun: Option<Begun<Arc<Ledger>>>,
}

impl Future for Answering {
    type Output = Result<Response<Answers>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("it is not polled after its end");
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(task)));
        let response = match polled {
            Ok(Poll::Ready(Ok(response))) => response,
            Ok(Poll::Ready(Err(never))) => match never {},
            Ok(Poll::Pending) => {
                let Some(patience) = &mut self.patience else { return Poll::Pending };
                ready!(patience.as_mut().poll(task));
                Status::deadline_exceeded("the client's patience has ended").into_http()
            }
            Err(_) => panicked().into_http(),
        };
        self.answer = None;
        let (call, begun) = (self.call.clone(), self.begun.take());
        let response = as_the_contract_says(response);
        Poll::Ready(Ok(response.map(|body| Answers { body: Some(body), call, _begun: begun })))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.call.ledger.give_up();
        }
    }
}

fn panicked() -> Status {
    Status::internal("the call panicked; others are not affected")
}

/// tonic says "out of range" of a message above the limit; the contract, as every other gRPC, says
/// "resource exhausted". Nothing else here is out of range.
fn as_the_contract_says<B>(mut response: Response<B>) -> Response<B> {
    let failed = Status::from_header_map(response.headers()).map(super::as_the_contract_says);
    if let Some(code) = failed.map(|status| (status.code() as i32).into()) {
        response.headers_mut().insert(Status::GRPC_STATUS, code);
    }
    response
}

/// The body of an answer.
pub(super) struct Answers {
    /// None after a panic.
    body: Option<tonic::body::Body>,
    call: Arc<Call>,
    _begun: Option<Begun<Arc<Ledger>>>,
}

impl Body for Answers {
    type Data = Answer;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Answer>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(task)));
        let Ok(poll) = polled else {
            self.body = None;
            let mut trailers = http::HeaderMap::new();
            let said = panicked().add_header(&mut trailers);
            return Poll::Ready(Some(said.map(|()| Frame::trailers(trailers))));
        };
        poll.map_ok(|frame| frame.map_data(|bytes| Answer::new(bytes, self.call.clone())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// Bytes of an answer, from when they are ready until they are sent or their stream has ended. h2
/// holds them for as long as the peer opens no window: they alone can say that they are there, and
/// keep the room that they take.
pub(super) struct Answer {
    bytes: Bytes,
    call: Arc<Call>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Answer {
    fn new(bytes: Bytes, call: Arc<Call>) -> Self {
        call.ledger.answers();
        let room = call.gives();
        Self { bytes, call, _room: room }
    }
}

impl Buf for Answer {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.call.ledger.takes();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.call.ledger.answered();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use common::{Config, Service, Shutdown, Stats};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Context;

    fn call() -> Arc<Call> {
        let config = Config::default();
        let context = Context::new(Service::new(), &config, &Shutdown::new(), &Stats::new());
        let ledger = Ledger::new(context, CancellationToken::new(), config.frame_bytes_max);
        Arc::new(Call { ledger: Arc::new(ledger), room: Mutex::new(None) })
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn status(headers: &http::HeaderMap) -> tonic::Code {
        Status::from_header_map(headers).expect("a status").code()
    }

    #[test]
    fn a_panic_before_the_answer_is_the_calls_own() {
        let answer: BoxFuture<_, _> = Box::pin(async { panic!("a test's panic, on purpose") });
        let answering =
            Answering { answer: Some(answer), call: call(), patience: None, begun: None };
        let Ok(response) = run(answering);
        assert_eq!(status(response.headers()), tonic::Code::Internal);
    }

    #[test]
    fn a_panic_within_a_stream_is_its_own() {
        struct Cursed;
        impl Body for Cursed {
            type Data = Bytes;
            type Error = Status;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Task<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                panic!("a test's panic, on purpose")
            }
        }
        let body = Some(tonic::body::Body::new(Cursed));
        let mut answers = Answers { body, call: call(), _begun: None };
        let mut next = || run(poll_fn(|task| Pin::new(&mut answers).poll_frame(task)));
        let trailers = next().unwrap().unwrap().into_trailers().ok().expect("trailers");
        assert_eq!(status(&trailers), tonic::Code::Internal);
        assert!(next().is_none());
    }

    #[test]
    fn a_clients_patience_is_what_grpc_writes() {
        let patience = |value: &str| {
            super::patience(&Request::builder().header("grpc-timeout", value).body(()).unwrap())
        };
        assert_eq!(patience("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(patience("5m"), Some(Duration::from_millis(5)));
        assert_eq!(patience("5M"), Some(Duration::from_mins(5)));
        for wrong in ["", "5", "m", "-5m", "123456789m", "5s", "5 m", "\u{e9}"] {
            assert_eq!(patience(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_there_until_it_is_gone() {
        let call = call();
        assert!(!call.ledger.seen().has_answers());
        let mut answer = Answer::new(Bytes::from_static(b"five!"), call.clone());
        let before = call.ledger.seen();
        assert!(before.has_answers() && before.idle_after().is_none());
        answer.advance(1);
        assert_ne!(call.ledger.seen().taken, before.taken);
        drop(answer);
        assert!(!call.ledger.seen().has_answers() && call.ledger.seen().idle_after().is_some());
    }
}
