//! The layers before the services, over real sockets: who is let in, how often and for how long,
//! and what is told of it. It pays with a process a test, and with keys that openssl makes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Service;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server as otlp;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::Signal;
use serde_json::{Value, json};
use servers::GRPC as MODEL;
use servers::grpc::generated::helloworld::HelloRequest;
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::client::{compute, echo, wait};
use crate::models::GRPC;
use crate::process::{ServerProcess, command};
use crate::server::{PATIENCE, eventually};

const SECRET: &str = "a secret that is long enough, and known to this test alone";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn start(flags: &[&str]) -> ServerProcess {
    let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
    ServerProcess::start(MODEL, &flags)
}

fn run<F: Future>(test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await }).expect("in time")
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// The codes of a unary call, of a stream from the server and of one both ways.
async fn codes(channel: &Channel, metadata: &[(&'static str, &str)]) -> [Code; 3] {
    let code = |ended: Result<(), Status>| ended.map_or_else(|status| status.code(), |()| Code::Ok);
    let mut quintet = QuintetClient::new(channel.clone());
    let unary = quintet.call(with(echo(1, b"five"), metadata)).await.map(drop);
    let mut greeter = GreeterClient::new(channel.clone());
    let hello = HelloRequest { name: "Ada".to_owned() };
    let greetings = async {
        let mut greetings =
            greeter.say_hello_stream_reply(with(hello, metadata)).await?.into_inner();
        while greetings.message().await?.is_some() {}
        Ok(())
    };
    let greetings = greetings.await;
    let conversation = async {
        let asked = tokio_stream::iter([echo(1, b"five"), echo(2, b"more")]);
        let mut answers = quintet.converse(with(asked, metadata)).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    };
    [code(unary), code(greetings), code(conversation.await)]
}

fn token(algorithm: Algorithm, key: &EncodingKey, more: &Value) -> String {
    let mut claims = json!({ "sub": "ada", "exp": get_current_timestamp() + 3600 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap();
    format!("Bearer {token}")
}

fn hs256(more: &Value) -> String {
    token(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), more)
}

/// A file with the secret, and the flag that names it.
fn secret(folder: &Path) -> String {
    let path = folder.join("secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    format!("--jwt-key={}", path.display())
}

#[track_caller]
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_kind_of_call_needs_a_good_token() {
    let folder = tempfile::tempdir().unwrap();
    let key = secret(folder.path());
    let server = start(&[&key, "--jwt-audience=us", "--jwt-scope=call"]);
    run(async {
        let channel = connect(server.address).await;
        let good = json!({ "aud": "us", "scope": "call" });
        for (more, code) in [
            (good.clone(), Code::Ok),
            (json!({ "aud": "us", "scope": "call", "exp": 1 }), Code::Unauthenticated),
            (json!({ "aud": "them", "scope": "call" }), Code::PermissionDenied),
            (json!({ "aud": "us", "scope": "read" }), Code::PermissionDenied),
        ] {
            let codes = codes(&channel, &[("authorization", &hs256(&more))]).await;
            assert_eq!(codes, [code; 3], "{more}");
        }
        assert_eq!(codes(&channel, &[]).await, [Code::Unauthenticated; 3]);
        let other = EncodingKey::from_secret(b"another secret");
        let forged = token(Algorithm::HS256, &other, &good);
        let codes = codes(&channel, &[("authorization", &forged)]).await;
        assert_eq!(codes, [Code::Unauthenticated; 3]);
    });
}

#[test]
fn public_keys_check_what_private_keys_signed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, made, algorithm) in [
        ("eddsa", &["-algorithm", "ed25519"][..], Algorithm::EdDSA),
        ("rs256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], Algorithm::RS256),
    ] {
        let path = |kind| folder.path().join(format!("{name}.{kind}")).display().to_string();
        let (private, public) = (path("private"), path("public"));
        openssl(&[&["genpkey", "-out", &private], made].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
        let pem = fs::read(&private).unwrap();
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem).unwrap(),
            _ => EncodingKey::from_ed_pem(&pem).unwrap(),
        };
        let flags = [format!("--jwt-key={public}"), format!("--jwt-algorithm={name}")];
        let server = start(&[&flags[0], &flags[1]]);
        run(async {
            let channel = connect(server.address).await;
            let good = token(algorithm, &key, &json!({}));
            assert_eq!(codes(&channel, &[("authorization", &good)]).await, [Code::Ok; 3]);
            // The public key is no secret to sign with.
            let confused = EncodingKey::from_secret(&fs::read(&public).unwrap());
            let confused = token(Algorithm::HS256, &confused, &json!({}));
            let refused = codes(&channel, &[("authorization", &confused)]).await;
            assert_eq!(refused, [Code::Unauthenticated; 3], "{name}");
        });
        let mut wrong = command(MODEL, &[format!("--jwt-key={private}"), flags[1].clone()]);
        refuses(&mut wrong, "a private key");
    }
}

/// One line, and no server.
#[track_caller]
fn refuses(command: &mut Command, word: &str) {
    let output = command.arg("--listen=127.0.0.1:0").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.lines().count() == 1 && said.contains(word), "{said}");
}

#[test]
fn a_key_that_is_none_is_told_before_anybody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "password\n").unwrap();
    let flag = |path: &Path| format!("--jwt-key={}", path.display());
    refuses(&mut command(MODEL, &[flag(&folder.path().join("none"))]), "cannot be read");
    refuses(&mut command(MODEL, &[flag(&short)]), "hs256 needs 32");
    for alone in ["--jwt-audience=us", "--jwt-algorithm=eddsa"] {
        refuses(&mut command(MODEL, &[alone.to_owned()]), "--jwt-key");
    }
    refuses(&mut command(MODEL, &["--otlp-endpoint=https://a".to_owned()]), "http://");
}

#[test]
fn a_line_for_each_call_and_nothing_secret_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(&[&secret(folder.path()), "--log-calls=on", "--log=trace"]);
    let good = hs256(&json!({}));
    let forged = format!("{good}x");
    run(async {
        let channel = connect(server.address).await;
        let metadata = [("authorization", good.as_str()), ("x-request-id", "request-7")];
        let mut client = QuintetClient::new(channel.clone());
        let answer = client.call(with(echo(1, b"a payload"), &metadata)).await.unwrap();
        assert_eq!(answer.metadata().get("x-request-id").unwrap(), "request-7");
        let refused = codes(&channel, &[("authorization", &forged)]).await;
        assert_eq!(refused, [Code::Unauthenticated; 3]);
        assert_eq!(codes(&channel, &[("authorization", &good)]).await, [Code::Ok; 3]);
    });
    server.signal(Signal::TERM);
    let mut lines = Vec::new();
    while let Some(line) = server.error_line(PATIENCE) {
        lines.push(line);
    }
    assert!(server.ended().success());
    let calls: Vec<_> = lines.iter().filter(|line| line.contains("duration_us=")).collect();
    let has =
        |words: &[&str]| calls.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["quintet.v1.Quintet/Call", "\"OK\"", "127.0.0.1:", "request-7"]), "{lines:#?}");
    assert!(has(&["SayHelloStreamReply", "\"OK\""]), "{lines:#?}");
    assert!(has(&["Quintet/Converse", "\"UNAUTHENTICATED\""]), "{lines:#?}");
    assert_eq!(calls.len(), 7, "{calls:#?}");
    let (_, signature) = good.rsplit_once('.').unwrap();
    for secret in [signature, "a payload", SECRET] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret}");
    }
}

#[test]
fn one_call_too_many_is_told_when_to_come_back() {
    let server = start(&["--rate-limit=1", "--rate-burst=3"]);
    run(async {
        let channel = connect(server.address).await;
        assert_eq!(codes(&channel, &[]).await, [Code::Ok; 3]);
        let mut client = QuintetClient::new(channel.clone());
        let mut refusal = client.call(echo(1, b"")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(refusal.metadata().get("retry-after").unwrap(), "1");
        assert!(refusal.metadata().contains_key("grpc-retry-pushback-ms"));
        // Who comes back when told to is let in, and has not waited long.
        while let Some(hint) = refusal.get_details_retry_info() {
            tokio::time::sleep(hint.retry_delay.unwrap()).await;
            match client.call(echo(1, b"")).await {
                Ok(_) => break,
                Err(status) => refusal = status,
            }
        }
        let refused = codes(&channel, &[]).await;
        assert!(refused.contains(&Code::ResourceExhausted), "{refused:?}");
    });
}

#[test]
fn the_page_shows_calls_by_method_and_code() {
    let server = start(&["--call-metrics=on", "--admin=127.0.0.1:0"]);
    let admin: SocketAddr = server.says("admin address=").parse().unwrap();
    let page = || {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    run(async {
        let channel = connect(server.address).await;
        assert_eq!(codes(&channel, &[]).await, [Code::Ok; 3]);
        let mut client = QuintetClient::new(channel.clone());
        // A stream: of a call, tonic's client might be the first to give up.
        let asked = tokio_stream::iter([echo(1, b"")]).chain(tokio_stream::pending());
        let patience = [("grpc-timeout", "100m")];
        let mut answers = client.converse(with(asked, &patience)).await.unwrap().into_inner();
        answers.message().await.unwrap();
        assert_eq!(answers.message().await.unwrap_err().code(), Code::DeadlineExceeded);
        for _ in 0..3 {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/no.Such/Method");
            let codec = tonic_prost::ProstCodec::<common::Request, common::Response>::default();
            let status = grpc.unary(Request::new(echo(1, b"")), path, codec).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented);
        }
    });
    let of_call = "grpc_method=\"Call\",grpc_service=\"quintet.v1.Quintet\",grpc_type=\"unary\"";
    for line in [
        format!("grpc_server_started_total{{{of_call}}} 1\n"),
        format!("grpc_server_handling_seconds_count{{{of_call}}} 1\n"),
        "grpc_code=\"DEADLINE_EXCEEDED\",grpc_method=\"Converse\"".to_owned(),
        "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"SayHelloStreamReply\"".to_owned(),
        "grpc_server_started_total{grpc_method=\"unknown\",grpc_service=\"unknown\",\
         grpc_type=\"unknown\"} 3\n"
            .to_owned(),
    ] {
        eventually(&line, true, || page().contains(&line));
    }
    assert!(!page().contains("no.Such"), "a client makes no labels");
}

#[test]
fn patience_ends_a_call_and_a_stream() {
    let server = GRPC.start();
    run(async {
        let mut client = QuintetClient::new(connect(server.address).await);
        let patience = [("grpc-timeout", "100m")];
        let late = client.call(with(wait(1, PATIENCE), &patience)).await.unwrap_err();
        // tonic's client reads its own metadata, and may be the first of the two to give up.
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late}");
        let asked = tokio_stream::iter([echo(1, b"")]).chain(tokio_stream::pending());
        let mut answers = client.converse(with(asked, &patience)).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().id, 1);
        assert_eq!(answers.message().await.unwrap_err().code(), Code::DeadlineExceeded);
        client.call(echo(2, b"and the connection goes on")).await.unwrap();
    });
    server.has_in_progress(0);
}

#[test]
fn a_panic_within_a_stream_is_its_own() {
    let cursed = Service::with_fault(|id| assert_ne!(id, 13, "a test's panic, on purpose"));
    let server = GRPC.start_with(cursed, 2, |_| ());
    run(async {
        let mut client = QuintetClient::new(connect(server.address).await);
        assert_eq!(client.call(echo(13, b"")).await.unwrap_err().code(), Code::Internal);
        let asked = tokio_stream::iter([echo(1, b""), echo(13, b"")]);
        let mut answers = client.converse(asked).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().id, 1);
        let cursed = answers.message().await.unwrap().unwrap();
        assert_eq!(cursed.code, Code::Internal as u32, "in its message, as the contract says");
        client.call(echo(2, b"and the connection goes on")).await.unwrap();
    });
}

/// Behind jobs that keep all cores: when their turn comes, their clients have left.
#[test]
fn a_job_whose_client_has_left_is_not_begun() {
    const LEFT: u64 = 13;
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let counts = Service::with_fault(|id| {
        BEGUN.fetch_add(usize::from(id == LEFT), Ordering::Relaxed);
    });
    let server = GRPC.start_with(counts, 2, |_| ());
    let cores = thread::available_parallelism().unwrap().get();
    run(async {
        let client = QuintetClient::new(connect(server.address).await);
        let mut keep = JoinSet::new();
        for _ in 0..4 * cores {
            let mut client = client.clone();
            keep.spawn(async move { client.call(compute(1, 100_000)).await });
        }
        server.has_in_progress(4 * cores as u64);
        for _ in 0..10 {
            let patience = [("grpc-timeout", "1m")];
            let late = client.clone().call(with(compute(LEFT, 1), &patience)).await.unwrap_err();
            assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late}");
        }
        while let Some(kept) = keep.join_next().await {
            kept.unwrap().unwrap();
        }
    });
    server.has_in_progress(0);
    assert_eq!(BEGUN.load(Ordering::Relaxed), 0);
}

/// A collector that passes on what it is sent.
struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl otlp::TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let _ = self.0.send(span);
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_are_their_parents_and_reach_the_collector() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("--otlp-endpoint=http://{}", listener.local_addr().unwrap());
        let (spans, mut exported) = mpsc::unbounded_channel();
        let collector = otlp::TraceServiceServer::new(Collector(spans));
        let collector = tonic::transport::Server::builder().add_service(collector);
        tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));
        let server = start(&[&endpoint]);
        let channel = connect(server.address).await;
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let mut client = QuintetClient::new(channel.clone());
        let answer = client.call(with(echo(1, b""), &[("traceparent", &parent)])).await.unwrap();
        let told = answer.metadata().get("traceparent").unwrap().to_str().unwrap();
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told != parent, "{told}");
        assert_eq!(codes(&channel, &[("traceparent", &parent)]).await, [Code::Ok; 3]);
        server.signal(Signal::TERM); // what has not been sent yet is sent by the drain
        let mut names = Vec::new();
        while names.len() < 4 {
            let span = exported.recv().await.unwrap();
            let trace = u128::from_be_bytes(span.trace_id.try_into().unwrap());
            assert_eq!(format!("{trace:032x}"), TRACE);
            assert_eq!(span.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
            names.push(span.name);
        }
        for name in ["quintet.v1.Quintet/Converse", "helloworld.Greeter/SayHelloStreamReply"] {
            assert!(names.iter().any(|span| span == name), "{names:?}");
        }
    });
}

/// It is there, and never says a word: the last spans have little time after the drain's.
#[test]
fn a_collector_that_is_silent_does_not_hold_up_a_drain() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("--otlp-endpoint=http://{}", silent.local_addr().unwrap());
    let mut server = start(&[&endpoint, "--drain-timeout=500ms"]);
    run(async { assert_eq!(codes(&connect(server.address).await, &[]).await, [Code::Ok; 3]) });
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended().success());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_collector_that_is_gone_harms_no_call() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = start(&[&format!("--otlp-endpoint=http://{gone}")]);
    run(async {
        let channel = connect(server.address).await;
        for _ in 0..100 {
            assert_eq!(codes(&channel, &[]).await, [Code::Ok; 3]);
        }
    });
    server.says("spans were lost");
    server.signal(Signal::TERM);
    assert!(server.ended().success());
    assert!(server.log_lines() < 20, "one line now and then");
}
