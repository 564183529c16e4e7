//! A service for the tests of layers: it answers as it is told, without a socket. It pays with a
//! box a call.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status};

use super::Answer;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// A message and OK.
    Answers,
    /// Messages without end.
    GoesOn,
    /// A code in the head.
    Fails(Code),
    NeverAnswers,
    NeverGoesOn,
    Panics,
    PanicsAtOnce,
    PanicsWithin,
}

/// The service; clones count together.
#[derive(Clone)]
pub(super) struct Stub {
    does: Does,
    pub(super) calls: Arc<AtomicUsize>,
}

impl Stub {
    pub(super) fn that(does: Does) -> Self {
        Self { does, calls: Arc::default() }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<B> Service<Request<B>> for Stub {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let does = self.does;
        assert_ne!(does, Does::PanicsAtOnce, "a test's panic, on purpose");
        Box::pin(async move {
            match does {
                Does::Fails(code) => return Ok(Status::new(code, "as told").into_http()),
                Does::NeverAnswers => std::future::pending().await,
                Does::Panics => panic!("a test's panic, on purpose"),
                _ => {}
            }
            Ok(Response::new(tonic::body::Body::new(Messages { does, sent: 0 })))
        })
    }
}

struct Messages {
    does: Does,
    sent: usize,
}

impl Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.sent += 1;
        match (self.sent, self.does) {
            (1, _) | (_, Does::GoesOn) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"message")))))
            }
            (_, Does::NeverGoesOn) => Poll::Pending,
            (_, Does::PanicsWithin) => panic!("a test's panic, on purpose"),
            (2, _) => Poll::Ready(Some(super::panics::trailers(&Status::ok("")))),
            _ => Poll::Ready(None),
        }
    }
}

/// Runs a test's future, with timers.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    Status::from_header_map(headers).map(|status| status.code())
}

/// The frames of an answer, and its code, wherever it stands.
pub(super) async fn ended<R: Answer>(response: Response<R>) -> (usize, Option<Code>) {
    let (head, mut body) = response.into_parts();
    let (mut messages, mut code) = (0, status(&head.headers));
    while let Some(frame) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
        match frame.unwrap().into_trailers() {
            Ok(trailers) => code = status(&trailers),
            Err(_) => messages += 1,
        }
    }
    assert!(body.is_end_stream() || code.is_some());
    (messages, code)
}
