//! What the protocol costs without a socket: bytes in, requests out, replies in, bytes out, by
//! how many requests one read brings.

use std::time::Instant;

use benches::echo_frames;
use common::{Connection, Limits, Plan, Service};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD_BYTES: usize = 64;
const DEPTHS: [usize; 3] = [1, 16, 64];

fn turn(service: &Service, connection: &mut Connection, read: &[u8], now: Instant) -> usize {
    connection.receive(read, now);
    while let Ok(Some(request)) = connection.next_request() {
        let deadline = connection.deadline(&request);
        if let Plan::Reply(response) = service.plan(request, deadline) {
            connection.respond(response);
        }
    }
    let bytes = connection.to_send().len();
    connection.sent(bytes, now);
    bytes
}

fn connection(criterion: &mut Criterion) {
    let service = Service::new();
    let mut group = criterion.benchmark_group("connection");
    for depth in DEPTHS {
        let (read, replies_bytes) = echo_frames(PAYLOAD_BYTES, depth);
        let mut connection = Connection::new(Limits::default(), Instant::now());
        assert_eq!(turn(&service, &mut connection, &read, Instant::now()), replies_bytes);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::new("echo:64", depth), |bencher| {
            bencher.iter(|| turn(&service, &mut connection, &read, Instant::now()));
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = benches::criterion(); targets = connection);
criterion_main!(benches);
