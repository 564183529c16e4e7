//! What a message costs on its way in and out, by payload: the frame, prost, and nothing else.

use std::hint::black_box;

use benches::{echo, echo_frames};
use common::{Request, Response, frame};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOADS_BYTES: [usize; 4] = [0, 64, 1024, 64 * 1024];

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for bytes in PAYLOADS_BYTES {
        group.throughput(Throughput::Bytes(bytes as u64));
        let (framed, _) = echo_frames(bytes, 1);
        group.bench_with_input(BenchmarkId::new("decode", bytes), &framed, |bencher, framed| {
            bencher.iter(|| {
                let message = frame::split_first(black_box(framed), framed.len());
                message.ok().flatten().map(frame::decode::<Request>)
            });
        });
        let response = Response::ok(1, vec![7; bytes]);
        let mut out = Vec::new();
        group.bench_with_input(
            BenchmarkId::new("encode", bytes),
            &response,
            |bencher, response| {
                bencher.iter(|| {
                    out.clear();
                    frame::encode(black_box(response), &mut out);
                    out.len()
                });
            },
        );
        let request = echo(bytes);
        group.bench_with_input(BenchmarkId::new("copy", bytes), &request, |bencher, request| {
            bencher.iter(|| black_box(request).clone());
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
