//! The way out of a long type: a service whose answers are in boxes, whatever is around them. It
//! pays with two allocations a call, which only those pay who asked for more than the defaults.

use std::convert::Infallible;
use std::task::{Context as Task, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};

use super::Answer;

/// A service in boxes.
#[derive(Clone)]
pub(in crate::grpc) struct Boxed<S>(Box<S>);

impl<S> Boxed<S> {
    pub(super) fn new(inner: S) -> Self {
        Self(Box::new(inner))
    }
}

impl<S, B, R> Service<Request<B>> for Boxed<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Send + 'static>,
    R: Answer + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map(|response| response.map(Body::new)) })
    }
}
