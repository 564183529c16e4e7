//! A greeter that does what a test tells it, counts what reaches it, and can die and come back on
//! its port. It pays with a runtime of its own: to end that is to die.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{iter, thread};

use futures_util::{Stream, StreamExt, stream};
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use servers::grpc::generated::helloworld::greeter_server::{Greeter, GreeterServer};
use servers::grpc::generated::helloworld::{HelloReply, HelloRequest};
use tokio::runtime::{self, Runtime};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

use super::PATIENCE;
use client::{Builder, Resilient};

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    Answers,
    /// Fails with this code, in place of the first message.
    Fails(Code),
    /// Fails after that message.
    FailsLater(Code),
    /// Never answers.
    Hangs,
}

/// What is told, and what is counted: it outlives the server.
#[derive(Debug)]
struct Control {
    does: Mutex<Does>,
    /// What comes before that: so many calls.
    first: Mutex<(usize, Does)>,
    reached: AtomicUsize,
    given_up: AtomicUsize,
    headers: Mutex<Vec<Headers>>,
}

/// What came with a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    pub(crate) timeout: Option<String>,
    pub(crate) previous_attempts: Option<String>,
}

pub(crate) struct Scripted {
    address: SocketAddr,
    control: Arc<Control>,
    runtime: Option<Runtime>,
}

impl Scripted {
    pub(crate) fn start(does: Does) -> Self {
        let control = Arc::new(Control {
            does: Mutex::new(does),
            first: Mutex::new((0, does)),
            reached: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            headers: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Some(serve(listener, control.clone()));
        Self { address, control, runtime }
    }

    pub(crate) fn does(&self, does: Does) {
        *self.control.does.lock().unwrap() = does;
    }

    /// Of the calls that come, so many first.
    pub(crate) fn first(&self, calls: usize, does: Does) {
        *self.control.first.lock().unwrap() = (calls, does);
    }

    /// Attempts that reached it.
    pub(crate) fn reached(&self) -> usize {
        self.control.reached.load(Ordering::SeqCst)
    }

    /// Waits until so many calls were given up by their client.
    pub(crate) async fn has_given_up(&self, calls: usize) {
        let begun = Instant::now();
        while self.control.given_up.load(Ordering::SeqCst) != calls {
            assert!(begun.elapsed() < PATIENCE, "never {calls}: {:?}", self.control.given_up);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn headers(&self) -> Vec<Headers> {
        self.control.headers.lock().unwrap().clone()
    }

    /// All its connections, and its port.
    pub(crate) fn dies(&mut self) {
        let runtime = self.runtime.take().expect("it lives");
        // Not on this thread, which is one of another runtime.
        thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join().unwrap();
    }

    pub(crate) fn comes_back(&mut self) {
        let begun = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{}: {error}", self.address),
            }
            thread::sleep(Duration::from_millis(1));
        };
        self.runtime = Some(serve(listener, self.control.clone()));
    }

    pub(crate) fn client(&self, builder: Builder) -> (GreeterClient<Resilient>, Resilient) {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let resilient: Resilient<Channel> = builder.over(endpoint.connect_lazy());
        (GreeterClient::new(resilient.clone()), resilient)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.dies();
        }
    }
}

fn serve(listener: TcpListener, control: Arc<Control>) -> Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = Server::builder().add_service(GreeterServer::new(Told(control)));
        server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    runtime
}

struct Told(Arc<Control>);

/// Counts a call that is dropped before it has ended.
struct Open(Arc<Control>, bool);

impl Drop for Open {
    fn drop(&mut self) {
        if !self.1 {
            self.0.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Told {
    fn next<T>(&self, request: &Request<T>) -> Does {
        let text = |name| Some(request.metadata().get(name)?.to_str().unwrap().to_owned());
        let timeout = text("grpc-timeout");
        let previous_attempts = text("grpc-previous-rpc-attempts");
        self.0.headers.lock().unwrap().push(Headers { timeout, previous_attempts });
        self.0.reached.fetch_add(1, Ordering::SeqCst);
        let mut first = self.0.first.lock().unwrap();
        if first.0 > 0 {
            first.0 -= 1;
            return first.1;
        }
        *self.0.does.lock().unwrap()
    }

    async fn hangs(&self) {
        let _open = Open(self.0.clone(), false);
        std::future::pending::<()>().await;
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

fn hello(name: &str) -> HelloReply {
    HelloReply { message: format!("Hello {name}") }
}

#[tonic::async_trait]
impl Greeter for Told {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        match self.next(&request) {
            Does::Answers => Ok(Response::new(hello(&request.get_ref().name))),
            Does::Fails(code) | Does::FailsLater(code) => Err(Status::new(code, "as told")),
            Does::Hangs => {
                self.hangs().await;
                unreachable!("it hangs")
            }
        }
    }

    type SayHelloStreamReplyStream = Replies;

    /// The status of a stream comes behind its head, in trailers.
    async fn say_hello_stream_reply(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Replies>, Status> {
        let reply = hello(&request.get_ref().name);
        let failed = |code| Err(Status::new(code, "as told"));
        Ok(Response::new(match self.next(&request) {
            Does::Answers => Box::pin(stream::iter(iter::repeat_n(Ok(reply), 3))),
            Does::Fails(code) => Box::pin(stream::iter([failed(code)])),
            Does::FailsLater(code) => Box::pin(stream::iter([Ok(reply), failed(code)])),
            Does::Hangs => Box::pin(stream::pending()),
        }))
    }

    type SayHelloBidiStreamStream = Replies;

    async fn say_hello_bidi_stream(
        &self,
        requests: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        self.next(&requests);
        let greet = |request: Result<HelloRequest, Status>| Ok(hello(&request?.name));
        Ok(Response::new(Box::pin(requests.into_inner().map(greet))))
    }
}
