//! One call between HTTP/2 and tonic: its request is watched, its answer is counted, and what goes
//! wrong in it stays in it. It pays with one allocation a call.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{self, Sleep};
use tonic::Status;
use tonic::codegen::{BoxFuture, Service};

use super::ledger::{Answer, Ledger};
use super::upload::Upload;
use super::{Conversation, generated::quintet_server::QuintetServer};

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

    fn answers_with(&self) -> Option<OwnedSemaphorePermit> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The calls of one connection.
pub(super) struct Calls {
    pub(super) ledger: Arc<Ledger>,
    pub(super) server: QuintetServer<Conversation>,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Answers>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let call = Arc::new(Call { ledger: self.ledger.clone(), room: Mutex::new(None) });
        let patience = patience(&request);
        let is_unary = !request.uri().path().ends_with("/Converse");
        let request = request.map(|body| Upload::new(body, call.clone(), is_unary));
        let answer = self.server.clone().call(request);
        let patience = patience.map(|patience| Box::pin(time::sleep(patience)));
        Answering { answer: Some(answer), call, patience }
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
        let call = self.call.clone();
        let response = as_the_contract_says(response);
        Poll::Ready(Ok(response.map(|body| Answers { body: Some(body), call })))
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
        poll.map_ok(|frame| {
            frame.map_data(|bytes| self.call.ledger.answer(bytes, self.call.answers_with()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
