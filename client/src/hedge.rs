//! The third layer, off unless asked for: a second attempt beside one that takes long, and the
//! first answer wins. It pays with work done twice, as much of it as the retry budget allows.
//!
//! tower's own `Hedge` waits for a percentile of what it has measured, and takes whatever ends
//! first, failures too; here the delay is the caller's, and a failure is no winner.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{Request, Response};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Layer, Service, ServiceExt};

use crate::Inner;
use crate::failure::{Failure, Told};
use crate::retry::Repeatable;

/// Makes [`Hedge`].
#[derive(Clone, Debug)]
pub(crate) struct HedgeLayer {
    pub(crate) after: Option<Duration>,
    pub(crate) budget: Arc<TpsBudget>,
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge { inner, settings: self.clone() }
    }
}

/// Sends a second attempt when the first takes long.
#[derive(Clone, Debug)]
pub(crate) struct Hedge<S> {
    inner: S,
    settings: HedgeLayer,
}

impl<S: Inner> Service<Request<Body>> for Hedge<S> {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<Response<Body>, Failure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        let repeatable = request.extensions_mut().remove::<Repeatable>();
        let (Some(after), Some(Repeatable(tape))) = (self.settings.after, repeatable) else {
            return Box::pin(inner.oneshot(request));
        };
        let budget = self.settings.budget.clone();
        let (head, body) = request.into_parts();
        Box::pin(async move {
            let first = Request::from_parts(head.clone(), body);
            let mut first = Box::pin(inner.clone().oneshot(first));
            if let Ok(answered) = timeout(after, &mut first).await {
                return answered;
            }
            if !tape.is_repeatable() || !budget.withdraw() {
                return first.await;
            }
            tracing::debug!("{}: no answer after {after:?}; a second attempt", head.uri.path());
            let second = Box::pin(inner.oneshot(Request::from_parts(head, tape.play())));
            // The loser is dropped, and its stream is reset.
            match select(first, second).await {
                Either::Left((answered, other)) | Either::Right((answered, other)) => {
                    if is_answer(&answered) { answered } else { other.await }
                }
            }
        })
    }
}

/// Whether the other attempt could not do better.
fn is_answer(answered: &Result<Response<Body>, Failure>) -> bool {
    let is_final = |failure: &Failure| failure.retry(true).is_none();
    match answered.as_ref().map(Told::in_head) {
        Ok(Told::Nothing | Told::Ok) => true,
        Ok(Told::Failed(failure)) => is_final(&failure),
        // What was not sent is no answer.
        Err(failure) => failure.reached != crate::failure::Reached::Nothing && is_final(failure),
    }
}
