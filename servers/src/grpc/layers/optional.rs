//! A layer that is there or not, as it was decided when the server began. It pays with a branch
//! where a call, its answer and each frame pass.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::Service;
use tower_layer::Layer;

use super::Answer;

/// One of two services, of two futures, or of two bodies.
#[derive(Clone)]
pub(in crate::grpc) enum Either<A, B> {
    On(A),
    Off(B),
}

/// `S` with the layer `L` around it, or without.
pub(super) type With<L, S> = Either<<L as Layer<S>>::Service, S>;

pub(super) fn with<L: Layer<S>, S>(layer: Option<L>, inner: S) -> With<L, S> {
    match layer {
        Some(layer) => Either::On(layer.layer(inner)),
        None => Either::Off(inner),
    }
}

impl<A, B, Q, X, Y> Service<Request<Q>> for Either<A, B>
where
    A: Service<Request<Q>, Response = Response<X>, Error = Infallible, Future: Unpin>,
    B: Service<Request<Q>, Response = Response<Y>, Error = Infallible, Future: Unpin>,
{
    type Response = Response<Either<X, Y>>;
    type Error = Infallible;
    type Future = Either<A::Future, B::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        match self {
            Self::On(service) => service.poll_ready(task),
            Self::Off(service) => service.poll_ready(task),
        }
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        match self {
            Self::On(service) => Either::On(service.call(request)),
            Self::Off(service) => Either::Off(service.call(request)),
        }
    }
}

impl<F, G, X, Y> Future for Either<F, G>
where
    F: Future<Output = Result<Response<X>, Infallible>> + Unpin,
    G: Future<Output = Result<Response<Y>, Infallible>> + Unpin,
{
    type Output = Result<Response<Either<X, Y>>, Infallible>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::On(answer) => Pin::new(answer).poll(task).map_ok(|head| head.map(Either::On)),
            Self::Off(answer) => Pin::new(answer).poll(task).map_ok(|head| head.map(Either::Off)),
        }
    }
}

impl<X, Y: Default> Default for Either<X, Y> {
    fn default() -> Self {
        Self::Off(Y::default())
    }
}

impl<X: Answer, Y: Answer> Body for Either<X, Y> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::On(body) => Pin::new(body).poll_frame(task),
            Self::Off(body) => Pin::new(body).poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::On(body) => body.is_end_stream(),
            Self::Off(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::On(body) => body.size_hint(),
            Self::Off(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::Deadline;
    use super::super::stub::{Does, Stub, ended, run};
    use super::*;

    #[test]
    fn a_layer_is_there_or_not() {
        for (layer, calls) in [(Some(Deadline), 0), (None, 1)] {
            let stub = Stub::that(Does::Answers);
            let request = Request::builder().header("grpc-timeout", "0n").body(()).unwrap();
            let (messages, _) = run(async {
                let Ok(response) = with(layer, stub.clone()).call(request).await;
                ended(response).await
            });
            assert_eq!((stub.calls(), messages), (calls, calls));
        }
    }
}
