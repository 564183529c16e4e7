//! One call between HTTP/2 and the services' layers: its request is watched, and its answer is
//! counted. It pays with one allocation a call.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::codegen::Service;

use super::compression;
use super::layers::{self, Peer};
use super::ledger::Ledger;
use super::routes::Routes;
use super::upload::Upload;

/// What the two directions of one call share.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ledger: Arc<Ledger>,
    /// The room that its messages take, until the answer goes out with it.
    room: Mutex<Option<OwnedSemaphorePermit>>,
    asks: Asks,
}

impl Call {
    fn new(ledger: Arc<Ledger>, asks: Asks) -> Self {
        if asks == Asks::Once {
            ledger.begins();
        }
        Self { ledger, room: Mutex::new(None), asks }
    }

    pub(super) fn holds(&self, more: OwnedSemaphorePermit) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
    }

    pub(super) fn gives(&self) -> Option<OwnedSemaphorePermit> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One that asks once is being received or carried out until the last of its answer is gone.
impl Drop for Call {
    fn drop(&mut self) {
        if self.asks == Asks::Once {
            self.ledger.ends();
        }
    }
}

/// The calls of one connection, answered by `chain`.
pub(super) struct Calls<C> {
    pub(super) ledger: Arc<Ledger>,
    pub(super) chain: C,
    /// Where a layer asks for it.
    pub(super) peer: Option<Peer>,
    /// Whether messages may come compressed.
    pub(super) compresses: bool,
}

impl<C, R> hyper::service::Service<Request<Incoming>> for Calls<C>
where
    C: Service<Request<Upload>, Response = Response<R>, Error = Infallible, Future: Unpin> + Clone,
    R: layers::Answer,
{
    type Response = Response<Answers<R>>;
    type Error = Infallible;
    type Future = Answering<C::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let asks = Asks::at(request.uri().path());
        let call = Arc::new(Call::new(self.ledger.clone(), asks));
        let growth = if self.compresses { compression::growth(request.headers()) } else { 1 };
        let mut request = request.map(|body| Upload::new(body, call.clone(), asks, growth));
        if asks == Asks::InTurns {
            request.extensions_mut().insert(self.ledger.clone());
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let answer = self.chain.clone().call(request);
        Answering { answer: Some(answer), call }
    }
}

/// What a peer may be silent for while a call is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// One message is all, and its headers have begun it: it is being received or carried out until
    /// its answer is whole, however long that takes.
    Once,
    /// Messages one after the other: silence between two of them is the peer's, and nothing is
    /// carried out meanwhile.
    Often,
    /// A conversation, whose handler says itself what it carries out.
    InTurns,
}

impl Asks {
    fn at(path: &str) -> Self {
        match path {
            "/quintet.v1.Quintet/Converse" | "/quintet.v1.Quintet/Exchange" => Self::InTurns,
            _ if Routes::is_client_streaming(path) => Self::Often,
            _ => Self::Once,
        }
    }
}

/// A call on its way to the head of its answer.
pub(super) struct Answering<F> {
    /// None once it is there.
    answer: Option<F>,
    call: Arc<Call>,
}

impl<F, R> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: layers::Answer,
{
    type Output = Result<Response<Answers<R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("it is not polled after its end");
        let Ok(response) = ready!(Pin::new(answer).poll(task));
        self.answer = None;
        let call = self.call.clone();
        Poll::Ready(Ok(response.map(|body| Answers { body, call })))
    }
}

impl<F> Drop for Answering<F> {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.call.ledger.give_up();
        }
    }
}

/// The body of an answer.
pub(super) struct Answers<R> {
    body: R,
    call: Arc<Call>,
}

impl<R: layers::Answer> Body for Answers<R> {
    type Data = Answer;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Answer>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(task);
        frame.map_ok(|frame| frame.map_data(|bytes| Answer::new(bytes, self.call.clone())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer, from when they are ready until they are sent or their stream has ended. h2
/// holds them for as long as the peer opens no window: they alone can say that they are there, and
/// keep the room that they take.
pub(super) struct Answer {
    bytes: Bytes,
    call: Arc<Call>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Answer {
    fn new(bytes: Bytes, call: Arc<Call>) -> Self {
        call.ledger.answers();
        let room = call.gives();
        Self { bytes, call, _room: room }
    }
}

impl Buf for Answer {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.call.ledger.takes();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.call.ledger.answered();
    }
}

#[cfg(test)]
mod tests {
    use common::{Config, Service, Shutdown, Stats};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Context;

    fn call() -> Arc<Call> {
        let config = Config::default();
        let context = Context::new(Service::new(), &config, &Shutdown::new(), &Stats::new());
        let ledger = Ledger::new(context, CancellationToken::new(), config.frame_bytes_max, 100);
        Arc::new(Call::new(Arc::new(ledger), Asks::Often))
    }

    #[test]
    fn an_answer_is_there_until_it_is_gone() {
        let call = call();
        assert!(!call.ledger.seen().has_answers());
        let mut answer = Answer::new(Bytes::from_static(b"five!"), call.clone());
        let before = call.ledger.seen();
        assert!(before.has_answers() && before.idle_after().is_none());
        answer.advance(1);
        assert_ne!(call.ledger.seen().taken, before.taken);
        drop(answer);
        assert!(!call.ledger.seen().has_answers() && call.ledger.seen().idle_after().is_some());
    }
}
