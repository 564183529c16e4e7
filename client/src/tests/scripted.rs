//! A server in the place of a channel: each request that comes takes the next line of a script.
//! It pays with answers that are made by hand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError};
use tonic::{Code, ConnectError, Status};
use tower::Service;

use crate::Resilient;

pub(super) const METHOD: &str = "/a.Service/Idempotent";
pub(super) const OTHER: &str = "/a.Service/Other";
const QUESTION: &str = "question";

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// A status at once, with no message.
    Says(Code),
    /// The same, with when to come again.
    Pushback(Code, &'static str),
    /// A head, and then a status.
    Trailers(Code),
    Message,
    MessageAfter(u64),
    MessageThen(Code),
    Hangs,
    HangsAfterHead,
    HangsAfterMessage,
    /// There is no connection.
    Unreachable,
}

#[derive(Clone)]
pub(super) struct Server(Arc<State>);

struct State {
    start: Instant,
    script: Mutex<VecDeque<Act>>,
    otherwise: Mutex<Act>,
    seen: Mutex<Vec<Seen>>,
    given_up: AtomicUsize,
}

/// A request that arrived.
struct Seen {
    at: Duration,
    headers: HeaderMap,
    body: String,
}

/// Counts what is dropped before it has ended.
struct Open(Option<Server>);

impl Open {
    fn ends(&mut self) {
        self.0 = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(server) = &self.0 {
            server.0.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Server {
    pub(super) fn new<const N: usize>(script: [Act; N]) -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            script: Mutex::new(script.into()),
            otherwise: Mutex::new(Act::Message),
            seen: Mutex::default(),
            given_up: AtomicUsize::new(0),
        }))
    }

    pub(super) fn then<const N: usize>(&self, script: [Act; N]) {
        self.0.script.lock().unwrap().extend(script);
    }

    /// What it does when the script is over.
    pub(super) fn otherwise(&self, act: Act) {
        *self.0.otherwise.lock().unwrap() = act;
    }

    /// When requests arrived.
    pub(super) fn times_ms(&self) -> Vec<u128> {
        self.0.seen.lock().unwrap().iter().map(|seen| seen.at.as_millis()).collect()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.0.seen.lock().unwrap().iter().map(|seen| seen.body.clone()).collect()
    }

    pub(super) fn timeouts(&self) -> Vec<String> {
        self.header("grpc-timeout")
    }

    pub(super) fn previous_attempts(&self) -> Vec<String> {
        self.header("grpc-previous-rpc-attempts")
    }

    fn header(&self, name: &str) -> Vec<String> {
        let seen = self.0.seen.lock().unwrap();
        let value =
            |seen: &Seen| seen.headers.get(name).map(|value| value.to_str().unwrap().into());
        seen.iter().map(|seen| value(seen).unwrap_or_default()).collect()
    }

    /// Answers that were given up before their end.
    pub(super) fn given_up(&self) -> usize {
        self.0.given_up.load(Ordering::Relaxed)
    }

    /// Messages of an answer that ended well.
    pub(super) async fn call(
        &self,
        client: &mut Resilient<Self>,
        path: &str,
    ) -> Result<usize, Code> {
        self.call_within(client, path, None).await
    }

    pub(super) async fn call_within(
        &self,
        client: &mut Resilient<Self>,
        path: &str,
        timeout: Option<&str>,
    ) -> Result<usize, Code> {
        let mut request = Request::builder().uri(path);
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let question = stream::iter([Ok(Frame::data(Bytes::from(QUESTION)))]).boxed();
        let request = request.body(Body::new(Frames(question))).unwrap();
        let answer = client.call(request).await.map_err(|status| status.code())?;
        ended(answer.headers())?;
        let (mut messages, mut body) = (0, answer.into_body());
        while let Some(frame) = next(&mut body).await {
            let frame = frame.map_err(|status| status.code())?;
            messages += usize::from(frame.is_data());
            frame.trailers_ref().map_or(Ok(()), ended)?;
        }
        Ok(messages)
    }

    async fn acts(&self, act: Act) -> Result<Response<Body>, StdError> {
        let message = || Ok(Frame::data(Bytes::from("answer")));
        let mut open = Open(Some(self.clone()));
        let frames = match act {
            Act::Says(code) => return Ok(says(code, &mut open).body(Body::empty())?),
            Act::Pushback(code, when) => {
                let head = says(code, &mut open).header("grpc-retry-pushback-ms", when);
                return Ok(head.body(Body::empty())?);
            }
            Act::Unreachable => {
                open.ends();
                return Err(ConnectError("nobody listens".into()).into());
            }
            Act::Hangs => return std::future::pending().await,
            Act::HangsAfterHead => stream::pending().boxed(),
            Act::HangsAfterMessage => stream::iter([message()]).chain(stream::pending()).boxed(),
            Act::MessageAfter(ms) => {
                sleep(Duration::from_millis(ms)).await;
                stream::iter([message(), trailers(Code::Ok)]).boxed()
            }
            Act::Message => stream::iter([message(), trailers(Code::Ok)]).boxed(),
            Act::MessageThen(code) => stream::iter([message(), trailers(code)]).boxed(),
            Act::Trailers(code) => stream::iter([trailers(code)]).boxed(),
        };
        let frames = frames.map(move |frame| {
            if frame.as_ref().is_ok_and(Frame::is_trailers) {
                open.ends();
            }
            frame
        });
        Ok(Response::new(Body::new(Frames(frames.boxed()))))
    }
}

fn says(code: Code, open: &mut Open) -> http::response::Builder {
    open.ends();
    Response::builder().header("grpc-status", code as i32)
}

/// As a frame of a body that may fail.
#[allow(clippy::unnecessary_wraps)]
fn trailers(code: Code) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", (code as i32).into());
    Ok(Frame::trailers(trailers))
}

fn ended(headers: &HeaderMap) -> Result<(), Code> {
    match Status::from_header_map(headers).map(|status| status.code()) {
        Some(code) if code != Code::Ok => Err(code),
        _ => Ok(()),
    }
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Response<Body>, StdError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            let mut text = String::new();
            while let Some(frame) = next(&mut body).await {
                text += std::str::from_utf8(&frame?.into_data().expect("data")).unwrap();
            }
            let at = server.0.start.elapsed();
            server.0.seen.lock().unwrap().push(Seen { at, headers: head.headers, body: text });
            let next = server.0.script.lock().unwrap().pop_front();
            let act = next.unwrap_or(*server.0.otherwise.lock().unwrap());
            server.acts(act).await
        })
    }
}

/// Frames as a body.
struct Frames(BoxStream<'static, Result<Frame<Bytes>, Status>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_next_unpin(cx)
    }
}
