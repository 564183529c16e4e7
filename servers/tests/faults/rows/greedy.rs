//! A peer that asks without end, and what a bystander's echo takes meanwhile.
//!
//! The load itself takes cores, whichever server it is put on. So the run without it is one with
//! the same load on another process of the same server: what differs is whose queues it stands in.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::runtime::{self, Runtime};
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;

use crate::bystander::{Bystander, Echoes};
use crate::client::echo;
use crate::matrix::{Ground, Record, ms};
use crate::peer::Wire;
use crate::process::ServerProcess;

/// A thousand echoes a second, so that one in a hundred is often enough to be counted.
const PACE: Duration = Duration::from_millis(1);

/// A runtime shares by task, and a hundred streams on one connection are a hundred tasks: over
/// HTTP/2 a bystander has to wait for a message or more of each.
const GREEDY_STREAMS_RATIO: f64 = 10.0;

pub(super) fn greedy_peer(ground: &Ground, record: &mut Record) {
    let (blocks, block) = if ground.is_measured {
        (7, Duration::from_millis(1500))
    } else {
        (1, Duration::from_millis(300))
    };
    // One worker: whoever is greedy and whoever stands by must share it.
    let [server, another] = [(); 2].map(|()| ground.serve(&["--workers=1"]));
    let (mut without, mut with, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..blocks {
        let apart = echoes_beside_greed_for(ground, &another, &server, block);
        let together = echoes_beside_greed_for(ground, &server, &server, block);
        without.push(ms(apart.p99()));
        with.push(ms(together.p99()));
        ratios.push(together.p99().as_secs_f64() / apart.p99().as_secs_f64());
        record.bystander(apart);
        record.bystander(together);
    }
    // Medians of blocks: one of them may fall into a moment in which the machine does other things.
    record.figure("p99 without it", median(without), "ms");
    record.figure("p99 with it", median(with), "ms");
    // Of a machine that is busy all the time, a ratio says nothing.
    let most = if ground.is_framed() { 2.0 } else { GREEDY_STREAMS_RATIO };
    record.at_most("ratio", median(ratios), "", most, f64::INFINITY);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn echoes_beside_greed_for(
    ground: &Ground,
    besieged: &ServerProcess,
    server: &ServerProcess,
    time: Duration,
) -> Echoes {
    let greed = Greed::begin(ground.wire, besieged);
    let bystander = Bystander::beside(ground.wire, server.address, PACE);
    thread::sleep(time);
    let echoes = bystander.leave();
    assert!(greed.is_on(), "the greedy peer was closed");
    echoes
}

/// Asks again and again and takes the answers, until it is dropped.
enum Greed {
    Framed { stream: TcpStream, threads: [JoinHandle<()>; 2] },
    Grpc { _runtime: Runtime, streams: Vec<tokio::task::JoinHandle<()>> },
}

impl Greed {
    fn begin(wire: Wire, server: &ServerProcess) -> Self {
        match wire {
            Wire::Framed => Self::framed(wire, server),
            Wire::Grpc => Self::grpc(server),
        }
    }

    fn framed(wire: Wire, server: &ServerProcess) -> Self {
        let stream = TcpStream::connect(server.address).unwrap();
        let requests = wire.requests(&vec![echo(1, &[1; 100]); 1000]);
        let (mut output, mut input) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        let writer = thread::spawn(move || while output.write_all(&requests).is_ok() {});
        let reader = thread::spawn(move || {
            let mut answers = vec![0; 1 << 16];
            while input.read(&mut answers).is_ok_and(|bytes| bytes > 0) {}
        });
        Self::Framed { stream, threads: [writer, reader] }
    }

    /// On one connection, as many streams as a server commonly allows, each without end.
    fn grpc(server: &ServerProcess) -> Self {
        const STREAMS: usize = 100;
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        let channel = runtime.block_on(endpoint.connect()).expect("the server listens");
        let streams = (0..STREAMS).map(|_| {
            let mut client = QuintetClient::new(channel.clone());
            runtime.spawn(async move {
                let requests = tokio_stream::iter(std::iter::repeat_with(|| echo(1, &[1; 100])));
                let Ok(answers) = client.converse(requests).await else { return };
                let mut answers = answers.into_inner();
                while let Some(Ok(_)) = answers.next().await {}
            })
        });
        let streams = streams.collect();
        Self::Grpc { _runtime: runtime, streams }
    }

    fn is_on(&self) -> bool {
        match self {
            Self::Framed { threads, .. } => threads.iter().all(|thread| !thread.is_finished()),
            Self::Grpc { streams, .. } => streams.iter().all(|stream| !stream.is_finished()),
        }
    }
}

impl Drop for Greed {
    fn drop(&mut self) {
        if let Self::Framed { stream, .. } = self {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
