//! The fourth layer: a server that fails again and again is left alone for a while, and then asked
//! by a few. It pays with calls that fail although the server would have answered again.
//!
//! failsafe, the maintained breaker, lets everybody through at once when its time is over, closes
//! after one answer, reads a clock that no test of an async service can move, and shows its state
//! to nobody. Its rules would be the smaller part of what is needed: the machine is our own.

mod machine;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tower::{Layer, Service, ServiceExt};

use crate::Inner;
use crate::failure::{Failure, Reached, Told};
pub use machine::{Limits, State};
use machine::{Machine, Outcome};

/// A breaker; clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Breaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine>,
    state: watch::Sender<State>,
}

impl Breaker {
    pub(crate) fn new(limits: Limits) -> Self {
        let (state, _) = watch::channel(State::Closed);
        Self(Arc::new(Shared { machine: Mutex::new(Machine::new(limits)), state }))
    }

    /// What it is now. An open breaker whose time is over stays open until the next call comes.
    pub fn state(&self) -> State {
        *self.0.state.borrow()
    }

    /// What it is, and will be: each change is seen, unless the next overtakes it.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    fn enter(&self) -> Option<Pass> {
        let epoch = self.moves(|machine| machine.enter(Instant::now()))?;
        Some(Pass { breaker: self.clone(), epoch, outcome: Outcome::Unknown })
    }

    /// A step of the machine; what it changes is published in the order of the steps.
    fn moves<T>(&self, step: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.0.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let was = machine.state();
        let result = step(&mut machine);
        let is = machine.state();
        if was != is {
            tracing::warn!("breaker: {was} -> {is}");
            self.0.state.send_replace(is);
        }
        result
    }
}

/// One attempt's way through; dropped, it says what came of it.
#[derive(Debug)]
struct Pass {
    breaker: Breaker,
    epoch: u64,
    outcome: Outcome,
}

impl Pass {
    fn told(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let (epoch, outcome) = (self.epoch, self.outcome);
        self.breaker.moves(|machine| machine.leave(epoch, outcome, Instant::now()));
    }
}

/// What a code says about the server: any answer of its own says that it is there, also one that it
/// has too much to do.
fn outcome(code: Code) -> Outcome {
    match code {
        Code::Unavailable | Code::DeadlineExceeded => Outcome::Failure,
        Code::Cancelled => Outcome::Unknown,
        _ => Outcome::Success,
    }
}

/// Makes [`Guarded`].
#[derive(Clone, Debug)]
pub(crate) struct BreakerLayer(pub(crate) Breaker);

impl<S> Layer<S> for BreakerLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, breaker: self.0.clone() }
    }
}

/// Fails fast while the breaker is open.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    breaker: Breaker,
}

impl<S: Inner> Service<Request<Body>> for Guarded<S> {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<Response<Body>, Failure>;

    /// Asks nobody: a pass that is taken here might never be used.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, breaker) = (self.inner.clone(), self.breaker.clone());
        Box::pin(async move {
            let pass = breaker.enter().ok_or_else(Failure::refused)?;
            let answered = inner.oneshot(request).await;
            match answered.as_ref().map(Told::in_head) {
                Err(failure) if failure.reached == Reached::Nothing => pass.told(Outcome::Unknown),
                Err(failure) => pass.told(outcome(failure.status.code())),
                Ok(Told::Failed(failure)) => pass.told(outcome(failure.status.code())),
                Ok(Told::Ok) => pass.told(Outcome::Success),
                Ok(Told::Nothing) => {
                    return answered
                        .map(|head| head.map(|body| Body::new(Judged { body, pass: Some(pass) })));
                }
            }
            answered
        })
    }
}

/// An answer that is waited for: its first message, or its end, says whether the server works.
struct Judged {
    body: Body,
    pass: Option<Pass>,
}

impl http_body::Body for Judged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let told = match &frame {
            None => Some(Outcome::Unknown),
            Some(Err(status)) => Some(outcome(status.code())),
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref().map(Told::in_headers))
            {
                (_, Some(Told::Failed(failure))) => Some(outcome(failure.status.code())),
                // No bytes are no message.
                (Some(data), _) if data.is_empty() => None,
                _ => Some(Outcome::Success),
            },
        };
        if let Some((outcome, pass)) = told.and_then(|told| Some((told, self.pass.take()?))) {
            pass.told(outcome);
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
