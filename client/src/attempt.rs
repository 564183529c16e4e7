//! The innermost layer: one attempt, with the time that is left on it, and an end when that is
//! over. It pays with a timer an attempt.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError};
use tower::{Layer, Service, ServiceExt};

use crate::deadline::{Deadline, TIMEOUT, left_until};
use crate::failure::Failure;

/// Makes [`Attempt`]s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptLayer;

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Attempt<S> {
        Attempt { inner }
    }
}

/// Sends a request, while there is time.
#[derive(Clone, Debug)]
pub(crate) struct Attempt<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for Attempt<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<StdError>, Future: Send>,
    S: Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<Response<Body>, Failure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let Some(at) = Deadline::of(&request) else {
                let answered = inner.oneshot(request).await.map_err(of_transport)?;
                return Ok(
                    answered.map(|body| Body::new(Timed { body: Body::new(body), end: None }))
                );
            };
            let answering = async {
                let ready = inner.ready().await.map_err(of_transport)?;
                let left = left_until(at).ok_or_else(Failure::unsent)?;
                request.headers_mut().insert(TIMEOUT, left);
                ready.call(request).await.map_err(of_transport)
            };
            // The answer is looked for first: what has come in time is not late.
            let answered = timeout_at(at, answering).await.map_err(|_| Failure::late())??;
            let end = Some(Box::pin(sleep_until(at)));
            Ok(answered.map(|body| Body::new(Timed { body: Body::new(body), end })))
        })
    }
}

fn of_transport(error: impl Into<StdError>) -> Failure {
    Failure::of_transport(error.into())
}

/// An answer that ends with the call's time.
struct Timed {
    body: Body,
    end: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| Failure::of_transport(Box::new(error)).status)
            }));
        }
        let Some(end) = &mut self.end else { return Poll::Pending };
        ready!(end.as_mut().poll(cx));
        // Dropped, it resets its stream: the server need not go on.
        self.body = Body::empty();
        self.end = None;
        Poll::Ready(Some(Err(Failure::late().status)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
