//! What a message costs on its way in and out, by payload: by hand, by prost, and a copy of the same
//! bytes.

use std::hint::black_box;

use benches::{echo, echo_frames};
use common::{Request, Response, Work, codec, frame, spare};
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
                // Its payload goes where a connection would put it.
                if let Some(Ok(Request { id, work: Some(Work::Echo(payload)), .. })) =
                    message.ok().flatten().map(codec::decode)
                {
                    spare::give(black_box(payload));
                    black_box(id);
                }
            });
        });
        group.bench_with_input(
            BenchmarkId::new("prost decode", bytes),
            &framed,
            |bencher, framed| {
                bencher.iter(|| {
                    let message = frame::split_first(black_box(framed), framed.len());
                    message.ok().flatten().map(frame::decode::<Request>)
                });
            },
        );
        let response = Response::ok(1, vec![7; bytes]);
        let mut out = Vec::new();
        let mut encode = |name, encode: fn(&Response, &mut Vec<u8>)| {
            let id = BenchmarkId::new(name, bytes);
            group.bench_with_input(id, &response, |bencher, response| {
                bencher.iter(|| {
                    out.clear();
                    encode(black_box(response), &mut out);
                    out.len()
                });
            });
        };
        encode("encode", frame::encode::<Response>);
        let request = echo(bytes);
        group.bench_with_input(BenchmarkId::new("copy", bytes), &request, |bencher, request| {
            bencher.iter(|| black_box(request).clone());
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = benches::criterion(); targets = codec);
criterion_main!(benches);
