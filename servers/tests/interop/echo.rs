//! What a handler cannot see or say: whether the first message of a call was compressed, and the
//! metadata that the interoperability tests want back. It pays with a body around each body.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

const INITIAL: HeaderName = HeaderName::from_static("x-grpc-test-echo-initial");
const TRAILING: HeaderName = HeaderName::from_static("x-grpc-test-echo-trailing-bin");

/// Whether the first message of a call was compressed: known once it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compressed(Arc<AtomicBool>);

impl Compressed {
    pub(crate) fn was(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A service with what its handlers cannot do.
#[derive(Clone, Debug)]
pub(crate) struct Echo<S> {
    service: S,
}

impl<S> Echo<S> {
    pub(crate) fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S: NamedService> NamedService for Echo<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Echo<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let initial = request.headers().get(INITIAL).cloned();
        let trailing = request.headers().get(TRAILING).cloned();
        let compressed = Compressed::default();
        let mut request = request.map(|body| {
            Body::new(Looked { body, compressed: compressed.clone(), has_begun: false })
        });
        request.extensions_mut().insert(compressed);
        let answer = self.service.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if let Some(value) = initial {
                response.headers_mut().insert(INITIAL, value);
            }
            Ok(response.map(|body| match trailing {
                Some(value) => Body::new(Trailed { body, value }),
                None => body,
            }))
        })
    }
}

/// A request whose first byte is looked at.
struct Looked {
    body: Body,
    compressed: Compressed,
    has_begun: bool,
}

impl http_body::Body for Looked {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        if let Some(first) = data.and_then(|bytes| bytes.first()).filter(|_| !self.has_begun) {
            self.compressed.0.store(*first == 1, Ordering::Relaxed);
            self.has_begun = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// A response whose trailers say one thing more.
struct Trailed {
    body: Body,
    value: HeaderValue,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        let frame = frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(self.with_value(trailers)),
                Err(data) => data,
            })
        });
        Poll::Ready(frame)
    }
}

impl Trailed {
    fn with_value(&self, mut trailers: HeaderMap) -> HeaderMap {
        trailers.insert(TRAILING, self.value.clone());
        trailers
    }
}
