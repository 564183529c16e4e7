//! A client that never stops does not keep another from being answered.
//! The flood ends as soon as the others were: a fair server makes these tests short.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use common::Request;

use crate::client::{Client, block, compute, echo, framed, wait};
use crate::models::Variant;
use crate::server::eventually;

for_every_model!(echoes_without_end, |model| {
    others_are_answered_beside(model, 1, &echo(1, &[1; 100]));
});

for_every_model!(waits_of_no_time_without_end, |model| {
    others_are_answered_beside(model, 1, &wait(1, Duration::ZERO));
});

for_every_model!(blocks_of_no_time_without_end, |model| {
    others_are_answered_beside(model, 1, &block(1, Duration::ZERO));
});

for_every_model!(computes_without_end, |model| {
    others_are_answered_beside(model, 1, &compute(1, 1));
});

for_every_model!(waits_without_end_on_as_many_connections_as_workers, |model| {
    others_are_answered_beside(model, model.workers, &wait(1, Duration::from_millis(10)));
});

fn others_are_answered_beside(model: Variant, floods: usize, request: &Request) {
    /// Long for an echo, also in a queue behind a few others; short for the end of a flood.
    const FAIR: Duration = Duration::from_secs(5);
    let server = model.start_for(floods + 1, |_| ());
    let floods: Vec<_> = (0..floods).map(|_| Flood::begin(&server.connect(), request)).collect();
    eventually("the flood is on", true, || {
        let now = server.stats.snapshot();
        now.requests > 0 || now.in_progress_peak >= floods.len() as u64
    });
    let mut other = server.connect();
    other.stream().set_read_timeout(Some(FAIR)).unwrap();
    (0..10).for_each(|id| other.echoes(id, b"me too"));
    assert!(floods.iter().all(Flood::is_on), "the flood ended before its end");
}

/// Writes the same request again and again, and reads the answers, until it is dropped.
struct Flood {
    stream: TcpStream,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn begin(client: &Client, request: &Request) -> Self {
        let stream = client.stream().try_clone().unwrap();
        let requests = framed(&vec![request.clone(); 1000]);
        let (mut output, mut input) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        let writer = thread::spawn(move || while output.write_all(&requests).is_ok() {});
        let reader = thread::spawn(move || {
            let mut answers = vec![0; 1 << 16];
            while input.read(&mut answers).is_ok_and(|bytes| bytes > 0) {}
        });
        Self { stream, threads: vec![writer, reader] }
    }

    fn is_on(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
