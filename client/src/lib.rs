//! A gRPC client that outlives its servers' bad moments: tower layers around a channel of tonic's.
//! It pays with a few allocations and a timer for each call, and a bounded copy of its request.
//!
//! ```text
//!          GreeterClient::new(resilient)
//!   call ───────────────┐          ▲
//!                       ▼          │ answer, or a status
//!   deadline   one for the whole call, from its own grpc-timeout or the default
//!   retry      back-off with jitter, within the budget; before the first message alone
//!   hedge      (off by default) a second attempt beside a slow one, within the same budget
//!   breaker    a server that fails is left alone: UNAVAILABLE at once
//!   attempt    what time is left goes along as grpc-timeout, and ends it here too
//!                       │          ▲
//!                       ▼          │
//!                tonic::transport::Channel
//! ```
//!
//! The order says what counts as what. The deadline is outside of the retries: they share it. The
//! breaker is inside of them: it sees every attempt, and its refusal is no attempt, and is not
//! tried again. A hedge is inside of a retry: both of its attempts pass the breaker, and they are
//! one to the retries. The attempt is innermost: time that runs out counts against the server.
//!
//! What is tried again: UNAVAILABLE, and `RESOURCE_EXHAUSTED` if the server says when
//! (`RetryInfo`, or `grpc-retry-pushback-ms`). A method that is not marked as
//! [idempotent](Builder::idempotent) is tried again only if the request provably was not looked at
//! (no connection, GOAWAY, `REFUSED_STREAM`). Nothing is, once a message of the answer was
//! delivered.
//!
//! Time is tokio's clock throughout, and the random source is [the caller's](Builder::random):
//! tests move the one and fix the other.

mod attempt;
mod backoff;
mod breaker;
mod deadline;
mod failure;
mod hedge;
mod retry;
mod settings;
mod tape;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError};
use tonic::transport::Channel;
use tower::{Service, ServiceBuilder};

pub use breaker::{Breaker, Limits, State};
pub use settings::{
    ATTEMPTS_MAX, BACKOFF_FIRST, BACKOFF_MAX, BREAKER, Builder, REQUEST_BYTES_MAX,
    RETRIES_PER_SECOND, RETRY_ONE_IN, TIMEOUT,
};
/// What [`Builder::random`] takes.
pub use tower::util::rng::Rng;

/// A channel that is asked again; clones are handles on the same budget and breaker.
#[derive(Clone, Debug)]
pub struct Resilient<S = Channel> {
    stack: Stack<S>,
    breaker: Breaker,
}

/// The order of the layers.
type Stack<S> =
    deadline::Deadlines<retry::Retry<hedge::Hedge<breaker::Guarded<attempt::Attempt<S>>>>>;

impl Resilient {
    /// Every default, to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<S> Resilient<S> {
    /// The breaker of this client: its state, for whoever wants to look.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    fn new(channel: S, settings: settings::Layers) -> Self {
        let breaker = settings.breaker.0.clone();
        let stack = ServiceBuilder::new()
            .layer(settings.deadline)
            .layer(settings.retry)
            .layer(settings.hedge)
            .layer(settings.breaker)
            .layer(attempt::AttemptLayer)
            .service(channel);
        Self { stack, breaker }
    }
}

impl<S, B> Service<Request<Body>> for Resilient<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<StdError>, Future: Send>,
    S: Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Response<Body>, Status>;

    /// Always ready: to wait for the channel is part of a call, and of its time.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.stack.call(request)
    }
}

/// What each layer but the last is over.
trait Inner:
    Service<Request<Body>, Response = Response<Body>, Error = failure::Failure, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<T> Inner for T
where
    T: Service<Request<Body>, Response = Response<Body>, Error = failure::Failure, Future: Send>,
    T: Clone + Send + 'static,
{
}
