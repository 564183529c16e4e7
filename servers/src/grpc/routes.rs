//! From the path of a call to whom it is for. One table, made once for all connections; a call
//! costs it a comparison of names.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Status, body::Body};
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_reflection::pb::{v1, v1alpha};

use super::generated::feed_server::{self, FeedServer};
use super::generated::helloworld::greeter_server::{self, GreeterServer};
use super::generated::quintet_server::{self, QuintetServer};
use super::generated::uploads_server::{self, UploadsServer};
use super::generated::users_server::{self, UsersServer};
use super::services::{self, Feed, Greeter, Health, Uploads, Users};
use super::upload::Upload;
use super::{Conversation, Setup};
use crate::awaiting::Player;

/// What is served, also in the eyes of `grpc.health.v1`.
const SERVICES: [&str; 8] = [
    quintet_server::SERVICE_NAME,
    greeter_server::SERVICE_NAME,
    users_server::SERVICE_NAME,
    feed_server::SERVICE_NAME,
    uploads_server::SERVICE_NAME,
    health_server::SERVICE_NAME,
    v1::server_reflection_server::SERVICE_NAME,
    v1alpha::server_reflection_server::SERVICE_NAME,
];

/// All services; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Routes {
    table: Arc<[Route]>,
    /// Whom all other calls are for.
    others: Option<tonic::service::Routes>,
}

struct Route {
    service: &'static str,
    handler: Handler,
}

type Answer = BoxFuture<Response<Body>, Infallible>;
type Handler = Box<dyn Fn(Request<Upload>) -> Answer + Send + Sync>;

impl Route {
    fn to<S>(service: S) -> Self
    where
        S: Service<Request<Upload>, Future = Answer> + NamedService + Clone + Send + Sync + 'static,
    {
        let handler = Box::new(move |request| service.clone().call(request));
        Self { service: S::NAME, handler }
    }
}

impl Routes {
    pub(super) fn new(
        player: Player,
        setup: &Setup,
        draining: &CancellationToken,
        message_bytes_max: usize,
    ) -> Self {
        let health = Health::new(SERVICES.to_vec(), &setup.ready, draining.clone());
        let compression = &setup.transport.flags.compression;
        /// What all services have in common. A macro, as tonic's servers have no trait.
        macro_rules! table {
            ($($server:expr),+ $(,)?) => {
                [$({
                    let mut server = $server.max_decoding_message_size(message_bytes_max);
                    for encoding in compression.encodings() {
                        server = server.accept_compressed(encoding).send_compressed(encoding);
                    }
                    Route::to(server)
                }),+]
            };
        }
        let table = Arc::new(table![
            // The first is found first: what is measured.
            QuintetServer::new(Conversation { player: player.clone() }),
            GreeterServer::new(Greeter),
            UsersServer::new(Users { player: player.clone() }),
            FeedServer::new(Feed::new(draining.clone())),
            UploadsServer::new(Uploads { player }),
            HealthServer::new(health),
            services::v1(),
            services::v1alpha(),
        ]);
        Self { table, others: setup.others.clone() }
    }

    /// Whether a call at this path may bring many messages.
    pub(super) fn is_client_streaming(path: &str) -> bool {
        matches!(
            path,
            "/helloworld.Greeter/SayHelloBidiStream"
                | "/quintet.v1.Uploads/Upload"
                | "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
                | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
    }
}

impl Service<Request<Upload>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Upload>) -> Self::Future {
        if let Some(refusal) = refusal(request.method(), request.headers()) {
            return Box::pin(async { Ok(refusal) });
        }
        let service =
            request.uri().path().strip_prefix('/').and_then(|path| path.split('/').next());
        match (self.table.iter().find(|route| Some(route.service) == service), &self.others) {
            (Some(route), _) => (route.handler)(request),
            (None, Some(others)) => Box::pin(others.clone().call(request)),
            (None, None) => Box::pin(async {
                Ok(Status::unimplemented("no service of this name is here").into_http())
            }),
        }
    }
}

/// What is no gRPC is told so in HTTP's own words, before anybody looks at it: its client would not
/// understand others.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let refuse = |status| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    if method != Method::POST {
        let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes()));
    (!is_grpc).then(|| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// `application/grpc` or `application/grpc+proto`, and what may follow a media type: no other
/// encoding of messages is spoken here.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    const PROTO: &[u8] = b"+proto";
    let Some((kind, rest)) = content_type.split_at_checked(GRPC.len()) else { return false };
    let rest = match rest.split_at_checked(PROTO.len()) {
        Some((suffix, rest)) if suffix.eq_ignore_ascii_case(PROTO) => rest,
        _ => rest,
    };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.trim_ascii_start().first(), None | Some(b';'))
}

#[cfg(test)]
mod tests {
    use common::{Config, Service as Contract, Shutdown, Stats};

    use super::*;
    use crate::Context;
    use crate::admin::Readiness;
    use crate::grpc::Options;

    #[test]
    fn the_table_is_the_list() {
        let config = Config::default();
        let context = Context::new(Contract::new(), &config, &Shutdown::new(), &Stats::new());
        let player = Player::new(context, &config).unwrap();
        let draining = CancellationToken::new();
        let setup = Options::default().settle(&Readiness::ready()).unwrap();
        let routes = Routes::new(player, &setup, &draining, 1000);
        let named: Vec<_> = routes.table.iter().map(|route| route.service).collect();
        assert_eq!(named, SERVICES);
    }

    #[test]
    fn only_grpc_is_grpc() {
        for right in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc+proto ; v=1",
            "Application/GRPC+Proto",
        ] {
            assert!(is_grpc(right.as_bytes()), "{right}");
        }
        for wrong in [
            "",
            "application/json",
            "application/grpc+json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+protobuf",
            "application/grpcx",
            "application/grp",
        ] {
            assert!(!is_grpc(wrong.as_bytes()), "{wrong}");
        }
    }
}
