//! What the contract says where tonic says something else: a message above the limit is RESOURCE
//! EXHAUSTED, as every other gRPC has it. It pays with a look at the head of an answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use http::{Request, Response};
use tonic::codegen::Service;
use tonic::{Code, Status};

use crate::grpc;

/// A service whose codes are the contract's.
#[derive(Clone)]
pub(in crate::grpc) struct Contract<S> {
    inner: S,
}

impl<S> Contract<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B, R> Service<Request<B>> for Contract<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Agreeing<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Agreeing(self.inner.call(request))
    }
}

/// An answer on its way.
pub(in crate::grpc) struct Agreeing<F>(F);

impl<F, R> Future for Agreeing<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.0).poll(task));
        if let Some(code) = response.headers().get(Status::GRPC_STATUS) {
            let said = Code::from_bytes(code.as_bytes());
            let meant = grpc::as_the_contract_says(Status::new(said, "")).code();
            if said != meant {
                response.headers_mut().insert(Status::GRPC_STATUS, (meant as i32).into());
            }
        }
        Poll::Ready(Ok(response))
    }
}
