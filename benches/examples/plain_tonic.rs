//! A plain tonic server of the public Greeter, as tonic's own introduction writes one: what the
//! `grpc` server is measured against (`loadtest/peers/grpc_server.py`).

use std::error::Error;
use std::net::SocketAddr;

use clap::Parser;
use servers::grpc::generated::helloworld::greeter_server::{Greeter, GreeterServer};
use servers::grpc::generated::helloworld::{HelloReply, HelloRequest};
use tonic::codegen::tokio_stream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// A plain tonic server of helloworld.Greeter
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,

    /// Threads of its runtime
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
}

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello {}", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }

    type SayHelloStreamReplyStream = Nothing;

    async fn say_hello_stream_reply(
        &self,
        _: Request<HelloRequest>,
    ) -> Result<Response<Nothing>, Status> {
        Err(Status::unimplemented("only SayHello is measured"))
    }

    type SayHelloBidiStreamStream = Nothing;

    async fn say_hello_bidi_stream(
        &self,
        _: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Nothing>, Status> {
        Err(Status::unimplemented("only SayHello is measured"))
    }
}

type Nothing = tokio_stream::Empty<Result<HelloReply, Status>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.workers)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        Server::builder().add_service(GreeterServer::new(Hello)).serve(args.listen).await
    })?;
    Ok(())
}
