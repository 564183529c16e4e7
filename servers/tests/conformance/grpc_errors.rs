//! How a call fails: with a status and its details where a client of gRPC reads it, with HTTP's own
//! words where it is none; and with nothing of the server's insides.

use bytes::Bytes;
use common::message::{Chunk, Event, Subscription, UserRequest, Work};
use common::{Request, Service};
use h2::client::SendRequest;
use http::{Method, StatusCode};
use servers::grpc::generated::feed_client::FeedClient;
use servers::grpc::generated::helloworld::HelloRequest;
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use servers::grpc::generated::uploads_client::UploadsClient;
use servers::grpc::generated::users_client::UsersClient;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::client::{block, compute, echo, get_user, request, wait};
use crate::grpc::{channel, connect, with, with_server};
use crate::http2::CALL;
use crate::models::GRPC;
use crate::server::Server;

/// HTTP/2 without gRPC.
async fn http2(server: &Server) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The head of the answer to a request of no bytes.
async fn head(
    client: &mut SendRequest<Bytes>,
    method: Method,
    path: &str,
    content_type: Option<&str>,
) -> http::response::Parts {
    let mut request = http::Request::builder().method(method).uri(format!("http://test{path}"));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let mut ready = client.clone().ready().await.unwrap();
    let (response, _) = ready.send_request(request.body(()).unwrap(), true).unwrap();
    response.await.unwrap().into_parts().0
}

#[test]
fn what_is_no_grpc_is_told_so_in_the_words_of_http() {
    with_server(
        |_| (),
        async |server| {
            let mut client = http2(server).await;
            for content_type in [
                None,
                Some("application/json"),
                Some("application/grpc+json"),
                Some("application/grpc-web"),
                Some("text/html"),
            ] {
                for path in [CALL, "/quintet.v1.Uploads/Upload", "/nobody/Knows"] {
                    let head = head(&mut client, Method::POST, path, content_type).await;
                    assert_eq!(head.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
                    assert!(!head.headers.contains_key("grpc-status"));
                }
            }
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
                let head = head(&mut client, method.clone(), CALL, Some("application/grpc")).await;
                assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
                assert_eq!(head.headers["allow"], "POST");
            }
            for content_type in
                ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
            {
                // A handler looks at it, and misses the message.
                let head = head(&mut client, Method::POST, CALL, Some(content_type)).await;
                assert_eq!(head.status, StatusCode::OK, "{content_type}");
            }
            assert_eq!(server.stats.snapshot().requests, 0);
        },
    );
}

#[test]
fn what_nobody_serves_is_unimplemented() {
    with_server(
        |_| (),
        async |server| {
            let mut client = http2(server).await;
            for path in [
                "/",
                "/nobody/Knows",
                "/quintet.v1.Quintet",
                "/quintet.v1.Quintet/",
                "/quintet.v1.Quintet/call",
                "/quintet.v1.Quintett/Call",
                "/quintet.v1.Users/Delete",
                "/quintet.v1.Feed/Call",
                "/quintet.v1.Uploads/Download",
                "/helloworld.Greeter/SayGoodbye",
                "/grpc.health.v1.Health/List",
                "/grpc.reflection.v1.ServerReflection/Everything",
            ] {
                let head = head(&mut client, Method::POST, path, Some("application/grpc")).await;
                assert_eq!(head.status, StatusCode::OK);
                let status = Status::from_header_map(&head.headers).expect("a status");
                assert_eq!(status.code(), Code::Unimplemented, "{path}");
            }
        },
    );
}

/// Its reason, and the fields that are wrong.
fn details(status: &Status) -> (String, Vec<String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("a reason");
    assert_eq!(info.domain, "quintet");
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    let fields = violations.unwrap_or_default().into_iter().map(|violation| violation.field);
    (info.reason.clone(), fields.collect())
}

#[test]
fn a_call_that_fails_says_in_detail_why() {
    with_server(
        |_| (),
        async |server| {
            let mut client = connect(server).await;
            for (work, field) in [
                (Some(Work::WaitUs(u64::MAX)), "wait_us"),
                (Some(Work::BlockUs(u64::MAX)), "block_us"),
                (Some(Work::ComputeRounds(0)), "compute_rounds"),
                (Some(Work::GetUser("007".to_owned())), "get_user"),
                (None, "work"),
            ] {
                let status = client.call(Request { id: 1, timeout_ms: 0, work }).await.unwrap_err();
                assert_eq!(status.code(), Code::InvalidArgument);
                let expected = ("INVALID_ARGUMENT".to_owned(), vec![field.to_owned()]);
                assert_eq!(details(&status), expected);
            }
            let status = client.call(get_user(1, "0")).await.unwrap_err();
            assert_eq!((status.code(), details(&status).0.as_str()), (Code::NotFound, "NOT_FOUND"));
            assert!(status.get_details_retry_info().is_none());
        },
    );
}

#[test]
fn what_panicked_is_the_servers_own() {
    let cursed = Service::with_fault(|id| assert_ne!(id, 0, "a test's secret"));
    with(GRPC.start_with(cursed, 64, |_| ()), async |server| {
        let moment = std::time::Duration::from_millis(1);
        let works =
            [echo(0, b""), wait(0, moment), compute(0, 1), block(0, moment), get_user(0, "1")];
        let mut client = connect(server).await;
        let mut told = Vec::new();
        for work in works.clone() {
            told.push(client.call(work).await.unwrap_err());
        }
        let mut users = UsersClient::new(channel(server.address).await);
        told.push(users.get_user(UserRequest { user_id: "1".to_owned() }).await.unwrap_err());
        for status in told {
            assert_eq!(status.code(), Code::Internal);
            let details = String::from_utf8_lossy(status.details());
            for text in [status.message(), &details] {
                assert!(!text.contains("secret") && !text.contains("assert"), "{status:?}");
            }
        }
        for stream in [
            client.converse(tokio_stream::iter(works.clone())).await,
            client.exchange(tokio_stream::iter(works)).await,
        ] {
            let mut answers = stream.unwrap().into_inner();
            while let Some(answer) = answers.next().await {
                let answer = answer.expect("errors stay in their message");
                assert_eq!(answer.code, Code::Internal as u32);
                assert!(!answer.message.contains("secret"), "{answer:?}");
            }
        }
        assert!(client.call(echo(1, b"and the next")).await.is_ok());
    });
}

#[test]
fn a_message_above_the_limit_exhausts_it_whoever_it_is_for() {
    with_server(
        |config| config.frame_bytes_max = 1000,
        async |server| {
            let channel = channel(server.address).await;
            let (long, bytes) = ("x".repeat(1001), vec![7; 1001]);
            let mut quintet = connect(server).await;
            let mut feed = FeedClient::new(channel.clone());
            let mut uploads = UploadsClient::new(channel.clone());
            let mut users = UsersClient::new(channel.clone());
            let mut greeter = GreeterClient::new(channel);
            let large = || tokio_stream::iter([request(1, Work::Echo(vec![7; 1001]))]);
            let hello = || HelloRequest { name: "x".repeat(1001) };
            let event = Event { topic: "t".to_owned(), number: 0, payload: bytes.clone() };
            let failed = [
                quintet.call(request(1, Work::Echo(bytes.clone()))).await.unwrap_err(),
                end(quintet.converse(large()).await).await,
                end(quintet.exchange(large()).await).await,
                users.get_user(UserRequest { user_id: long.clone() }).await.unwrap_err(),
                feed.publish(event).await.unwrap_err(),
                end(feed.subscribe(Subscription { topic: long }).await).await,
                uploads.upload(tokio_stream::iter([Chunk { data: bytes }])).await.unwrap_err(),
                greeter.say_hello(hello()).await.unwrap_err(),
                end(greeter.say_hello_stream_reply(hello()).await).await,
                end(greeter.say_hello_bidi_stream(tokio_stream::iter([hello()])).await).await,
            ];
            for (number, status) in failed.iter().enumerate() {
                assert_eq!(status.code(), Code::ResourceExhausted, "{number}: {status}");
                assert!(status.message().contains("1000"), "{status}");
            }
        },
    );
}

/// What a stream fails with, at its beginning or later.
async fn end<T>(answers: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Status {
    let mut answers = match answers {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    loop {
        match answers.next().await.expect("it fails") {
            Ok(_) => {}
            Err(status) => return status,
        }
    }
}
