//! What logging, metrics and tracing share: a call seen from its head to its code, wherever that
//! stands, and whether or not its client stays. It pays with a look at the head and at each frame.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::codegen::Service;
use tonic::{Code, Status};
use tower_layer::Layer;

use super::Answer;

/// Who looks at calls.
pub(in crate::grpc) trait Observer {
    /// What it knows of one of them.
    type Call: Observed;

    /// A call has come.
    fn begins<B>(&self, request: &mut Request<B>) -> Self::Call;
}

/// A call that is looked at.
pub(in crate::grpc) trait Observed: Unpin {
    /// Its answer is about to go out, under this head.
    fn answers(&mut self, _head: &mut HeaderMap) {}

    /// It is over, once: with the code that its client reads, or CANCELLED where the client left.
    fn ends(self, code: Code);
}

/// The layer of an observer.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Observe<O>(pub(super) O);

/// A service that is looked at.
#[derive(Clone)]
pub(in crate::grpc) struct Observing<O, S> {
    observer: O,
    inner: S,
}

impl<O: Clone, S> Layer<S> for Observe<O> {
    type Service = Observing<O, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observing { observer: self.0.clone(), inner }
    }
}

impl<O, S, B, R> Service<Request<B>> for Observing<O, S>
where
    O: Observer,
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    R: Answer,
{
    type Response = Response<Seen<R, O::Call>>;
    type Error = Infallible;
    type Future = Seeing<S::Future, O::Call>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = Open(Some(self.observer.begins(&mut request)));
        Seeing { answer: self.inner.call(request), call }
    }
}

/// A call that has not ended; one that is dropped was given up by its client.
struct Open<C: Observed>(Option<C>);

impl<C: Observed> Open<C> {
    fn ends(&mut self, code: Code) {
        if let Some(call) = self.0.take() {
            call.ends(code);
        }
    }
}

impl<C: Observed> Drop for Open<C> {
    fn drop(&mut self) {
        self.ends(Code::Cancelled);
    }
}

/// An answer on its way.
pub(in crate::grpc) struct Seeing<F, C: Observed> {
    answer: F,
    call: Open<C>,
}

impl<F, R, C> Future for Seeing<F, C>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: Answer,
    C: Observed,
{
    type Output = Result<Response<Seen<R, C>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answer).poll(task));
        let mut call = Open(self.call.0.take());
        if let Some(call) = &mut call.0 {
            call.answers(response.headers_mut());
        }
        // A body that is empty is not asked for anything.
        match code(response.headers()) {
            Some(code) => call.ends(code),
            None if response.body().is_end_stream() => call.ends(Code::Unknown),
            None => {}
        }
        Poll::Ready(Ok(response.map(|body| Seen { body, call })))
    }
}

/// The code in a head that is all of an answer, or in trailers.
fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The body of an answer that is looked at.
pub(in crate::grpc) struct Seen<R, C: Observed> {
    body: R,
    call: Open<C>,
}

impl<R: Default, C: Observed> Default for Seen<R, C> {
    fn default() -> Self {
        Self { body: R::default(), call: Open(None) }
    }
}

impl<R: Answer, C: Observed> Body for Seen<R, C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.ends(code(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(status)) => self.call.ends(status.code()),
            None => self.call.ends(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::stub::{Does, Stub, ended, run};
    use super::*;

    /// Writes down what it sees.
    #[derive(Clone, Default)]
    struct Witness(Arc<Mutex<Vec<Code>>>);

    impl Observer for Witness {
        type Call = Self;

        fn begins<B>(&self, _: &mut Request<B>) -> Self {
            self.clone()
        }
    }

    impl Observed for Witness {
        fn answers(&mut self, head: &mut HeaderMap) {
            head.insert("witnessed", 1.into());
        }

        fn ends(self, code: Code) {
            self.0.lock().unwrap().push(code);
        }
    }

    fn witnessed(does: Does, test: impl AsyncFnOnce(Observing<Witness, Stub>)) -> Vec<Code> {
        let witness = Witness::default();
        run(test(Observe(witness.clone()).layer(Stub::that(does))));
        witness.0.lock().unwrap().clone()
    }

    #[test]
    fn a_code_is_seen_in_trailers_and_in_a_head() {
        for (does, messages, code) in
            [(Does::Answers, 1, Code::Ok), (Does::Fails(Code::NotFound), 0, Code::NotFound)]
        {
            let seen = witnessed(does, async |mut service| {
                let Ok(response) = service.call(Request::new(())).await;
                assert!(response.headers().contains_key("witnessed"));
                assert_eq!(ended(response).await, (messages, Some(code)));
            });
            assert_eq!(seen, [code], "once");
        }
    }

    #[test]
    fn a_client_that_leaves_is_cancelled() {
        let before = witnessed(Does::NeverAnswers, async |mut service| {
            drop(service.call(Request::new(())));
        });
        assert_eq!(before, [Code::Cancelled]);
        let within = witnessed(Does::NeverGoesOn, async |mut service| {
            let Ok(response) = service.call(Request::new(())).await;
            drop(response);
        });
        assert_eq!(within, [Code::Cancelled]);
    }
}
