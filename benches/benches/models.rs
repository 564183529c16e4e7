//! Each model over loopback from one client: a round trip, many requests in flight, and setting a
//! connection up.

use benches::{FramedClient, Running, echo, echo_frames, grpc_client};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use servers::{FRAMED, GRPC};
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 64;
/// Requests in flight on one connection.
const DEPTH: usize = 64;

fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round_trip");
    let (request, reply_bytes) = echo_frames(PAYLOAD_BYTES, 1);
    for model in FRAMED {
        let server = Running::start(model);
        let mut client = FramedClient::connect(server.address).expect("the server listens");
        group.bench_function(model.name, |bencher| {
            bencher.iter(|| client.exchange(&request, reply_bytes).expect("an echo"));
        });
    }
    let (runtime, server) = (Runtime::new().expect("a runtime"), Running::start(GRPC));
    let client = runtime.block_on(grpc_client(server.address)).expect("the server listens");
    group.bench_function(GRPC.name, |bencher| {
        bencher.iter(|| {
            let call = async { client.clone().call(echo(PAYLOAD_BYTES)).await };
            runtime.block_on(call).expect("an echo")
        });
    });
    drop((client, runtime));
    group.finish();
}

fn pipelined(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipelined");
    group.throughput(Throughput::Elements(DEPTH as u64));
    let (requests, reply_bytes) = echo_frames(PAYLOAD_BYTES, DEPTH);
    for model in FRAMED {
        let server = Running::start(model);
        let mut client = FramedClient::connect(server.address).expect("the server listens");
        group.bench_function(BenchmarkId::new(model.name, DEPTH), |bencher| {
            bencher.iter(|| client.exchange(&requests, reply_bytes).expect("echoes"));
        });
    }
    // HTTP/2 does not pipeline: as many calls at a time, each on a stream of its own.
    let (runtime, server) = (Runtime::new().expect("a runtime"), Running::start(GRPC));
    let client = runtime.block_on(grpc_client(server.address)).expect("the server listens");
    group.bench_function(BenchmarkId::new(GRPC.name, DEPTH), |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let calls = (0..DEPTH).map(|_| {
                    let mut client = client.clone();
                    tokio::spawn(async move { client.call(echo(PAYLOAD_BYTES)).await })
                });
                for call in calls.collect::<Vec<_>>() {
                    call.await.expect("a task that ends").expect("an echo");
                }
            });
        });
    });
    drop((client, runtime));
    group.finish();
}

/// Connect, one echo, close: what a client without a connection pool pays.
fn set_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set_up");
    let (request, reply_bytes) = echo_frames(PAYLOAD_BYTES, 1);
    for model in FRAMED {
        let server = Running::start(model);
        group.bench_function(model.name, |bencher| {
            bencher.iter(|| {
                let mut client = FramedClient::connect(server.address).expect("it listens");
                client.exchange(&request, reply_bytes).expect("an echo");
            });
        });
    }
    let (runtime, server) = (Runtime::new().expect("a runtime"), Running::start(GRPC));
    group.bench_function(GRPC.name, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut client = grpc_client(server.address).await.expect("it listens");
                client.call(echo(PAYLOAD_BYTES)).await.expect("an echo")
            })
        });
    });
    drop(runtime);
    group.finish();
}

criterion_group!(name = benches; config = benches::criterion(); targets = round_trip, pipelined, set_up);
criterion_main!(benches);
