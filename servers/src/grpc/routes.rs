//! From the path of a call to whom it is for. One table, made once for all connections; a call
//! costs it a comparison of names.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Status, body::Body};

use super::Conversation;
use super::generated::helloworld::greeter_server::{self, GreeterServer};
use super::generated::quintet_server::{self, QuintetServer};
use super::services::Greeter;
use super::upload::Upload;
use crate::awaiting::Player;

/// All services; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Routes(Arc<Services>);

struct Services {
    quintet: QuintetServer<Conversation>,
    greeter: GreeterServer<Greeter>,
    /// Whom all other calls are for.
    others: Option<tonic::service::Routes>,
}

impl Routes {
    pub(super) fn new(
        player: Player,
        message_bytes_max: usize,
        others: Option<tonic::service::Routes>,
    ) -> Self {
        let quintet = QuintetServer::new(Conversation { player })
            .max_decoding_message_size(message_bytes_max);
        let greeter = GreeterServer::new(Greeter).max_decoding_message_size(message_bytes_max);
        Self(Arc::new(Services { quintet, greeter, others }))
    }

    /// Whether a call at this path may bring many messages.
    pub(super) fn is_client_streaming(path: &str) -> bool {
        path == "/helloworld.Greeter/SayHelloBidiStream"
    }
}

impl Service<Request<Upload>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Upload>) -> Self::Future {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next());
        match service {
            Some(quintet_server::SERVICE_NAME) => self.0.quintet.clone().call(request),
            Some(greeter_server::SERVICE_NAME) => self.0.greeter.clone().call(request),
            _ => {
                if let Some(others) = &self.0.others {
                    return Box::pin(others.clone().call(request));
                }
                let status = Status::unimplemented(format!("no service here answers {path}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}
