//! The service of the public gRPC examples, so that their clients and benchmarks drive this server
//! unchanged. It waits for nothing.

use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::Answers;
use crate::grpc::errors::as_the_contract_says;
use crate::grpc::generated::helloworld::greeter_server;
use crate::grpc::generated::helloworld::{HelloReply, HelloRequest};

/// How often one stream of greetings says hello.
const GREETINGS: usize = 3;

/// Greets.
pub(in crate::grpc) struct Greeter;

impl HelloReply {
    fn to(request: &HelloRequest) -> Self {
        Self { message: format!("Hello {}", request.name) }
    }
}

#[tonic::async_trait]
impl greeter_server::Greeter for Greeter {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply::to(&request.into_inner())))
    }

    type SayHelloStreamReplyStream = Answers<HelloReply>;

    async fn say_hello_stream_reply(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Self::SayHelloStreamReplyStream>, Status> {
        let reply = HelloReply::to(&request.into_inner());
        Ok(Response::new(Box::pin(stream::iter((0..GREETINGS).map(move |_| Ok(reply.clone()))))))
    }

    type SayHelloBidiStreamStream = Answers<HelloReply>;

    async fn say_hello_bidi_stream(
        &self,
        requests: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::SayHelloBidiStreamStream>, Status> {
        let greet = |request: Result<_, _>| match request {
            Ok(request) => Ok(HelloReply::to(&request)),
            Err(status) => Err(as_the_contract_says(status)),
        };
        Ok(Response::new(Box::pin(requests.into_inner().map(greet))))
    }
}
