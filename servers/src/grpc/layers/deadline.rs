//! A client's patience (`grpc-timeout`): a call is not begun once it has ended, and abandoned when
//! it ends, before its answer or within its stream. It pays with a timer where a client sets one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{self, Sleep};
use tonic::Status;
use tonic::codegen::Service;
use tower_layer::Layer;

use super::Answer;
use super::panics::trailers;

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The layer.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct Deadline;

/// A service whose calls are abandoned in time.
#[derive(Clone)]
pub(in crate::grpc) struct Timely<S> {
    inner: S,
}

impl<S> Layer<S> for Deadline {
    type Service = Timely<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timely { inner }
    }
}

impl<S, B, R> Service<Request<B>> for Timely<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    R: Answer,
{
    type Response = Response<Timed<R>>;
    type Error = Infallible;
    type Future = Timing<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    // ANCHOR: deadline
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let patience = patience(request.headers());
        if patience == Some(Duration::ZERO) {
            return Timing { answer: None, patience: None };
        }
        let patience = patience.map(|patience| Box::pin(time::sleep(patience)));
        Timing { answer: Some(self.inner.call(request)), patience }
    }
    // ANCHOR_END: deadline
}

/// How long the client waits, where it says so: a number of at most eight digits and a unit.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    let amount = digits.parse().ok().filter(|_| is_number && digits.len() <= 8)?;
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

fn too_late() -> Status {
    Status::deadline_exceeded("the client's patience has ended")
}

/// An answer on its way; none where it is too late.
pub(in crate::grpc) struct Timing<F> {
    answer: Option<F>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<F, R> Future for Timing<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: Answer,
{
    type Output = Result<Response<Timed<R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let Self { answer: Some(answer), patience } = &mut *self else {
            return Poll::Ready(Ok(too_late().into_http()));
        };
        if let Poll::Ready(Ok(response)) = Pin::new(answer).poll(task) {
            let patience = patience.take();
            return Poll::Ready(Ok(response.map(|body| Timed { body: Some(body), patience })));
        }
        let Some(patience) = patience else { return Poll::Pending };
        ready!(patience.as_mut().poll(task));
        self.answer = None;
        Poll::Ready(Ok(too_late().into_http()))
    }
}

/// The body of an answer; none where it is too late.
pub(in crate::grpc) struct Timed<R> {
    body: Option<R>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<R> Default for Timed<R> {
    fn default() -> Self {
        Self { body: None, patience: None }
    }
}

impl<R: Answer> Body for Timed<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body: Some(body), patience } = &mut *self else { return Poll::Ready(None) };
        let Some(patience) = patience else { return Pin::new(body).poll_frame(task) };
        // First the time, by the clock: a stream that always has more to say leaves no turn to
        // timers, and ends too.
        let is_over = patience.deadline() <= time::Instant::now();
        if !is_over && let Poll::Ready(frame) = Pin::new(body).poll_frame(task) {
            return Poll::Ready(frame);
        }
        if !is_over {
            ready!(patience.as_mut().poll(task));
        }
        self.body = None;
        Poll::Ready(Some(trailers(&too_late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::super::stub::{Does, Stub, ended, run};
    use super::*;

    fn timed(does: Does, patience: &str) -> ((usize, Option<Code>), usize) {
        let stub = Stub::that(does);
        let request = Request::builder().header("grpc-timeout", patience).body(()).unwrap();
        let ended = run(async {
            let Ok(response) = Deadline.layer(stub.clone()).call(request).await;
            ended(response).await
        });
        (ended, stub.calls())
    }

    #[test]
    fn a_call_that_takes_too_long_is_abandoned() {
        assert_eq!(timed(Does::NeverAnswers, "1m"), ((0, Some(Code::DeadlineExceeded)), 1));
        assert_eq!(timed(Does::NeverGoesOn, "50m"), ((1, Some(Code::DeadlineExceeded)), 1));
    }

    #[test]
    fn a_stream_that_always_has_more_to_say_ends_too() {
        let ((messages, code), _) = timed(Does::GoesOn, "50m");
        assert_eq!(code, Some(Code::DeadlineExceeded));
        assert!(messages > 0);
    }

    #[test]
    fn work_that_is_too_late_is_not_begun() {
        assert_eq!(timed(Does::Answers, "0m"), ((0, Some(Code::DeadlineExceeded)), 0));
    }

    #[test]
    fn a_call_in_time_is_as_it_was() {
        assert_eq!(timed(Does::Answers, "1H"), ((1, Some(Code::Ok)), 1));
        assert_eq!(timed(Does::Answers, "nonsense"), ((1, Some(Code::Ok)), 1));
    }

    #[test]
    fn a_clients_patience_is_what_grpc_writes() {
        let patience = |value: &str| {
            let request = Request::builder().header("grpc-timeout", value).body(()).unwrap();
            super::patience(request.headers())
        };
        assert_eq!(patience("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(patience("5m"), Some(Duration::from_millis(5)));
        assert_eq!(patience("5M"), Some(Duration::from_mins(5)));
        for wrong in ["", "5", "m", "-5m", "+5m", "123456789m", "5s", "5 m", "\u{e9}"] {
            assert_eq!(patience(wrong), None, "{wrong}");
        }
    }
}
