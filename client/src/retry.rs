//! The second layer: another attempt, if the last one's failure allows it, the budget has room and
//! there is time. It pays with a copy of each request's head, and of its body to a bound.
//!
//! tower's own `Retry` decides by the head of a response; gRPC's status comes behind it, in the
//! trailers, unless there is nothing else to say. So the answer's body may try again too, until
//! its first message has come. tower's budget serves as it is.

use std::collections::HashSet;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Layer, Service, ServiceExt};

use crate::Inner;
use crate::backoff::Backoff;
use crate::deadline::Deadline;
use crate::failure::{Failure, Told, Wait};
use crate::tape::Tape;

/// How a server learns that this is not the first attempt (gRFC A6).
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// Where an answer without a message says its status at once.
const STATUS: &str = "grpc-status";

/// What is tried again, and how often.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) attempts_max: u32,
    pub(crate) request_bytes_max: usize,
    /// The paths of methods that may be carried out twice.
    pub(crate) idempotent: HashSet<String>,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Arc<TpsBudget>,
}

/// Makes [`Retry`].
#[derive(Clone, Debug)]
pub(crate) struct RetryLayer(pub(crate) Arc<Policy>);

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { inner, policy: self.0.clone() }
    }
}

/// Tries again.
#[derive(Clone, Debug)]
pub(crate) struct Retry<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S: Inner> Service<Request<Body>> for Retry<S> {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<Response<Body>, Failure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.policy.budget.deposit();
        let (head, body) = request.into_parts();
        let attempts = Attempts {
            inner: self.inner.clone(),
            tape: Tape::new(body, self.policy.request_bytes_max),
            is_idempotent: self.policy.idempotent.contains(head.uri.path()),
            policy: self.policy.clone(),
            head,
            made: 0,
        };
        attempts.go_on()
    }
}

/// A body that may be sent a second time beside the first.
#[derive(Clone)]
pub(crate) struct Repeatable(pub(crate) Tape);

/// One call, until its answer begins.
struct Attempts<S> {
    inner: S,
    policy: Arc<Policy>,
    head: http::request::Parts,
    tape: Tape,
    is_idempotent: bool,
    made: u32,
}

impl<S: Inner> Attempts<S> {
    /// To the head of an answer, or to a failure that is the last.
    fn go_on(mut self) -> BoxFuture<Response<Body>, Failure> {
        Box::pin(async move {
            loop {
                let request = self.next_request();
                let answered = self.inner.clone().oneshot(request).await;
                let failure = match answered.as_ref().map(Told::in_head) {
                    Ok(Told::Failed(failure)) => failure,
                    Err(failure) => failure.clone(),
                    Ok(Told::Nothing | Told::Ok) => {
                        let state = State::Waits(Box::new(self));
                        return answered.map(|head| head.map(|body| Answer::begin(body, state)));
                    }
                };
                let Some(pause) = self.pause_after(&failure) else { return answered };
                // What came of it goes before the wait, and its stream with it.
                drop(answered);
                sleep(pause).await;
            }
        })
    }

    fn next_request(&mut self) -> Request<Body> {
        let mut request = Request::from_parts(self.head.clone(), self.tape.play_again());
        if self.made > 0 {
            request.headers_mut().insert(PREVIOUS_ATTEMPTS, HeaderValue::from(self.made));
        }
        if self.is_idempotent {
            request.extensions_mut().insert(Repeatable(self.tape.clone()));
        }
        self.made += 1;
        request
    }

    /// How long until the next attempt, if there is one. The budget is asked last: what would not
    /// be sent is not paid for.
    fn pause_after(&self, failure: &Failure) -> Option<Duration> {
        let wait = failure.retry(self.is_idempotent)?;
        if self.made >= self.policy.attempts_max || !self.tape.is_repeatable() {
            return None;
        }
        let pause = match wait {
            Wait::BackOff => self.policy.backoff.pause(self.made - 1),
            Wait::Exactly(pause) => pause,
        };
        let deadline = self.head.extensions.get::<Deadline>();
        // The failure tells the caller more than a wait for a deadline would.
        if deadline.is_some_and(|deadline| deadline.0 <= Instant::now() + pause) {
            return None;
        }
        let (path, code) = (self.head.uri.path(), failure.status.code());
        if !self.policy.budget.withdraw() {
            tracing::debug!("{path}: {code:?}; the retry budget is spent");
            return None;
        }
        tracing::debug!("{path}: {code:?}; attempt {} in {pause:?}", self.made + 1);
        Some(pause)
    }
}

/// An answer whose first message decides that it is the answer.
struct Answer<S> {
    body: Body,
    state: State<S>,
}

enum State<S> {
    /// Nothing has been delivered.
    Waits(Box<Attempts<S>>),
    /// This one failed; the next is under way.
    TriesAgain(BoxFuture<Response<Body>, Failure>),
    Decided,
}

impl<S: Inner> Answer<S> {
    fn begin(body: Body, state: State<S>) -> Body {
        Body::new(Self { body, state })
    }

    /// Looks at what came first: true, if it is withheld, for another attempt has begun.
    fn withholds(&mut self, frame: Option<&Result<Frame<Bytes>, Status>>) -> bool {
        let failure = match frame {
            // No bytes are no message.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => return false,
            Some(Ok(frame)) => match frame.trailers_ref().map(Told::in_headers) {
                Some(Told::Failed(failure)) => Some(failure),
                _ => None,
            },
            Some(Err(status)) => Some(Failure::by_server(status.clone())),
            None => None,
        };
        let State::Waits(attempts) = mem::replace(&mut self.state, State::Decided) else {
            return false;
        };
        let Some(pause) = failure.and_then(|failure| attempts.pause_after(&failure)) else {
            attempts.tape.seal();
            return false;
        };
        self.body = Body::empty();
        self.state = State::TriesAgain(Box::pin(async move {
            sleep(pause).await;
            attempts.go_on().await
        }));
        true
    }
}

impl<S: Inner> http_body::Body for Answer<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let State::TriesAgain(answer) = &mut self.state {
                let answered = ready!(answer.as_mut().poll(cx));
                self.state = State::Decided;
                let answer = answered.map_err(|failure| failure.status)?;
                // A head has been delivered: what this one says of the end, trailers say.
                if answer.headers().contains_key(STATUS) {
                    return Poll::Ready(Some(Ok(Frame::trailers(answer.headers().clone()))));
                }
                if let Told::Failed(failure) = Told::in_head(&answer) {
                    return Poll::Ready(Some(Err(failure.status)));
                }
                self.body = answer.into_body();
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            if !self.withholds(frame.as_ref()) {
                return Poll::Ready(frame);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Decided) && self.body.is_end_stream()
    }
}
