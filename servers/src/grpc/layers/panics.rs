//! A panic of one call becomes the INTERNAL of that call, in its answer or within its stream. It
//! pays with a landing pad around each poll, which costs nothing until somebody lands on it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::Service;
use tower_layer::Layer;

use super::Answer;

/// The layer.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct CatchPanics;

/// A service whose panics are its calls' own.
#[derive(Clone)]
pub(in crate::grpc) struct Catching<S> {
    inner: S,
}

impl<S> Layer<S> for CatchPanics {
    type Service = Catching<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Catching { inner }
    }
}

impl<S, B, R> Service<Request<B>> for Catching<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    R: Answer,
{
    type Response = Response<Caught<R>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Answering(catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok())
    }
}

/// Carries no detail of what went wrong: that is in the server's log.
fn panicked() -> Status {
    Status::internal("the call panicked; others are not affected")
}

/// An answer on its way; none where there was a panic.
pub(in crate::grpc) struct Answering<F>(Option<F>);

impl<F, R> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: Answer,
{
    type Output = Result<Response<Caught<R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        if let Some(answer) = &mut self.0
            && let Ok(polled) = catch_unwind(AssertUnwindSafe(|| Pin::new(answer).poll(task)))
        {
            let Ok(response) = ready!(polled);
            return Poll::Ready(Ok(response.map(|body| Caught(Some(body)))));
        }
        self.0 = None;
        Poll::Ready(Ok(panicked().into_http()))
    }
}

/// The body of an answer; none after a panic.
pub(in crate::grpc) struct Caught<R>(Option<R>);

impl<R> Default for Caught<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: Answer> Body for Caught<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(task)));
        polled.unwrap_or_else(|_| {
            self.0 = None;
            Poll::Ready(Some(trailers(&panicked())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The end of a stream that cannot go on.
pub(super) fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::super::stub::{Does, Stub, ended, run};
    use super::*;

    fn caught(does: Does) -> (usize, Option<Code>) {
        run(async {
            let Ok(response) = CatchPanics.layer(Stub::that(does)).call(Request::new(())).await;
            ended(response).await
        })
    }

    #[test]
    fn a_panic_is_its_calls_own_wherever_it_is() {
        assert_eq!(caught(Does::PanicsAtOnce), (0, Some(Code::Internal)));
        assert_eq!(caught(Does::Panics), (0, Some(Code::Internal)));
        assert_eq!(caught(Does::PanicsWithin), (1, Some(Code::Internal)));
    }

    #[test]
    fn other_calls_are_as_they_were() {
        assert_eq!(caught(Does::Answers), (1, Some(Code::Ok)));
        assert_eq!(caught(Does::Fails(Code::NotFound)), (0, Some(Code::NotFound)));
    }
}
