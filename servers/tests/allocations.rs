//! An echo costs no allocation once a server has warmed up: counted over all threads of the process,
//! whose client allocates nothing either. (gRPC is no part of it: HTTP/2 allocates for every call.)

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use common::{Config, Request, Response, Service, Shutdown, Stats, Work, frame};
use servers::FRAMED;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Reads of the server until its buffers have their size.
const WARM_UP: usize = 2_000;
const COUNTED: usize = 5_000;
/// A spared buffer may be too small for what it is taken for next, and grows: each of them once or
/// twice in its life. That is no cost of a request.
const GROWN_MAX: u64 = 64;
/// A client, and how many requests it has in flight: what one read brings.
const DEPTHS: [usize; 2] = [1, 16];

/// One test, since what is counted is the process's.
#[test]
fn an_echo_costs_no_allocation() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for model in FRAMED {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let workers = NonZeroUsize::new(2).unwrap();
        let config = Config { workers, ..Config::default() };
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        let counted = thread::scope(|scope| {
            let server =
                scope.spawn(|| (model.serve)(listener, Service::new(), &config, &shutdown, &stats));
            let ends_it = EndsIt(&shutdown);
            let counted = DEPTHS.map(|depth| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut client = Client::new(depth);
                client.converse(&mut stream, WARM_UP);
                let before = dhat::HeapStats::get().total_blocks;
                client.converse(&mut stream, COUNTED);
                dhat::HeapStats::get().total_blocks - before
            });
            drop(ends_it);
            server.join().unwrap().unwrap();
            counted
        });
        for (blocks, depth) in counted.into_iter().zip(DEPTHS) {
            assert!(blocks <= GROWN_MAX, "{}: {blocks} at depth {depth}", model.name);
        }
    }
}

/// Ends a server though its test fails: its scope waits for it.
struct EndsIt<'a>(&'a Shutdown);

impl Drop for EndsIt<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// What is said and heard over and over, and where it is heard.
struct Client {
    requests: Vec<u8>,
    responses: Vec<u8>,
    heard: Vec<u8>,
}

impl Client {
    fn new(depth: usize) -> Self {
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        for id in 0..depth as u64 {
            let work = Some(Work::Echo(vec![7; 64]));
            frame::encode(&Request { id, timeout_ms: 0, work }, &mut requests);
            frame::encode(&Response::ok(id, vec![7; 64]), &mut responses);
        }
        let heard = vec![0; responses.len()];
        Self { requests, responses, heard }
    }

    fn converse(&mut self, stream: &mut TcpStream, turns: usize) {
        for _ in 0..turns {
            stream.write_all(&self.requests).unwrap();
            stream.read_exact(&mut self.heard).unwrap();
            assert!(self.heard == self.responses, "not what was said");
        }
    }
}
