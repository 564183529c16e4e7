//! What the server says of itself: whether clients should come, and what is served.
//! Readiness that is gone is told to all who watch, before and during the drain.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::{v1, v1alpha};

use crate::client::echo;
use crate::grpc::{channel, connect, with_server};
use crate::models::GRPC;
use crate::process::ServerProcess;
use crate::server::PATIENCE;

const SERVICES: [&str; 8] = [
    "quintet.v1.Quintet",
    "quintet.v1.Users",
    "quintet.v1.Feed",
    "quintet.v1.Uploads",
    "helloworld.Greeter",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn check(health: &mut HealthClient<Channel>, service: &str) -> Result<ServingStatus, Status> {
    health.check(of(service)).await.map(|response| response.get_ref().status())
}

type Statuses = tonic::Streaming<HealthCheckResponse>;

async fn watch(health: &mut HealthClient<Channel>, service: &str) -> Statuses {
    health.watch(of(service)).await.unwrap().into_inner()
}

async fn next(statuses: &mut Statuses) -> Result<ServingStatus, Status> {
    let next = tokio::time::timeout(PATIENCE, statuses.next());
    let status = next.await.expect("a status in time").expect("a status");
    status.map(|response| response.status())
}

#[test]
fn every_service_is_serving_and_no_other_is() {
    with_server(
        |_| (),
        async |server| {
            let mut health = HealthClient::new(channel(server.address).await);
            for service in [""].into_iter().chain(SERVICES) {
                assert_eq!(check(&mut health, service).await.unwrap(), Serving, "{service}");
            }
            let status = check(&mut health, "quintet.v1").await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound);
            // A watcher may wait for what does not exist yet.
            let mut statuses = watch(&mut health, "quintet.v2.Quintet").await;
            assert_eq!(next(&mut statuses).await.unwrap(), ServingStatus::ServiceUnknown);
        },
    );
}

#[test]
fn from_the_signal_on_nothing_is_serving_though_all_is_served() {
    let mut server = ServerProcess::start(GRPC.model, &["--drain-delay=10m".to_owned()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut health = HealthClient::new(channel(server.address).await);
        let mut all = watch(&mut health, "").await;
        let mut one = watch(&mut health, "quintet.v1.Users").await;
        assert_eq!(next(&mut all).await.unwrap(), Serving);
        assert_eq!(next(&mut one).await.unwrap(), Serving);
        server.signal(Signal::TERM);
        assert_eq!(next(&mut all).await.unwrap(), NotServing);
        assert_eq!(next(&mut one).await.unwrap(), NotServing);
        assert_eq!(check(&mut health, "").await.unwrap(), NotServing);
        // Who comes late is served all the same, and told.
        let late = channel(server.address).await;
        let mut late_health = HealthClient::new(late.clone());
        assert_eq!(next(&mut watch(&mut late_health, "").await).await.unwrap(), NotServing);
        let mut quintet = servers::grpc::generated::quintet_client::QuintetClient::new(late);
        assert_eq!(quintet.call(echo(1, b"late")).await.unwrap().get_ref().payload, b"late");
    });
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(128 + 15));
}

#[test]
fn a_drain_ends_what_is_watched() {
    with_server(
        |config| config.drain_timeout = Duration::from_mins(10),
        async |server| {
            let mut health = HealthClient::new(channel(server.address).await);
            let mut known = watch(&mut health, "").await;
            let mut unknown = watch(&mut health, "nobody").await;
            assert_eq!(next(&mut known).await.unwrap(), Serving);
            assert_eq!(next(&mut unknown).await.unwrap(), ServingStatus::ServiceUnknown);
            server.begin_drain();
            assert_eq!(next(&mut known).await.unwrap(), NotServing);
            for statuses in [&mut known, &mut unknown] {
                assert_eq!(next(statuses).await.unwrap_err().code(), Code::Unavailable);
            }
            server.drained();
        },
    );
}

/// The names that a reflection service lists, and the services in the file of one of them.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use $version::server_reflection_client::ServerReflectionClient;
        use $version::server_reflection_request::MessageRequest;
        use $version::server_reflection_response::MessageResponse;
        let ask = |message| $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        let requests = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("quintet.v1.Users.GetUser".to_owned())),
            ask(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned())),
        ];
        // Left open: a drain does not wait for it.
        let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
        let mut client = ServerReflectionClient::new($channel);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
        let names: BTreeSet<String> = list.service.into_iter().map(|it| it.name).collect();
        let mut files = Vec::new();
        for _ in 0..2 {
            match next().await {
                MessageResponse::FileDescriptorResponse(file) => {
                    files.extend(file.file_descriptor_proto);
                }
                other => panic!("no file: {other:?}"),
            }
        }
        (names, files, answers)
    }};
}

#[test]
fn both_reflections_tell_what_is_served() {
    with_server(
        |config| config.drain_timeout = Duration::from_mins(10),
        async |server| {
            let channel = channel(server.address).await;
            let (names, files, mut open) = reflected!(v1, channel.clone());
            let (older_names, older_files, _also_open) = reflected!(v1alpha, channel);
            let expected: BTreeSet<_> = SERVICES.into_iter().map(str::to_owned).collect();
            assert_eq!(names, expected);
            assert_eq!((older_names, &older_files), (expected, &files));
            for (file, words) in files.iter().zip(["quintet/v1/users.proto", "grpc.health.v1"]) {
                assert!(String::from_utf8_lossy(file).contains(words), "{words}");
            }
            server.begin_drain();
            while let Some(Ok(_)) = open.next().await {}
            server.drained();
        },
    );
}

#[test]
fn a_call_while_it_is_told_of_health_is_answered() {
    with_server(
        |_| (),
        async |server| {
            let mut health = HealthClient::new(channel(server.address).await);
            let _watched = watch(&mut health, "").await;
            let answer = connect(server).await.call(echo(1, b"meanwhile")).await.unwrap();
            assert_eq!(answer.get_ref().payload, b"meanwhile");
        },
    );
}
