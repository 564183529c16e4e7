//! A request in pieces, Nagle's algorithm at the sender, and delayed acknowledgements at the
//! receiver.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::message::{Request, Work};
use loadtest::client::Patience;
use loadtest::client::framed::{Framed, framed};
use loadtest::process::EPOLL;

use crate::bench::{Bench, LabError};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Requests before those that count: at first the receiver acknowledges at once.
const FIRST: usize = 20;
/// ... and those that count.
const COUNTED: usize = 30;
/// All requests of one client must be answered within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// What stands before a message, and a piece of it.
const CUTS: [usize; 2] = [4, 8];

pub(super) const LAB: Lab = Lab {
    name: "nagle",
    title: "Nagle and the delayed acknowledgement",
    question: "A client on the same machine writes a request in two pieces, its length and its \
               message, and waits for the answer; then the next. It has left the socket as the \
               system gives it. A second client is the same, but gives each request to one \
               `write`. How much longer does a request of the first take?",
    choices: &[
        "About twice as long: two system calls, two packets.",
        "No longer: the system puts the pieces together.",
        "A hundred times as long, or more.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "pieces", of: "time of a request, in pieces / in one write" },
        Ratio { name: "nodelay", of: "time of a request in pieces, with TCP_NODELAY / without" },
    ],
    knob: Knob {
        what: "pieces of a request",
        settings: &[
            Setting {
                value: "2",
                shape: &[expect("pieces", 20.0..=20_000.0), expect("nodelay", 0.0..=0.1)],
            },
            Setting {
                value: "3",
                shape: &[expect("pieces", 20.0..=20_000.0), expect("nodelay", 0.0..=0.1)],
            },
        ],
        ask: "Two pieces took some 40 ms. Does a third take 80?",
    },
    rounds: 3,
    experiment,
    why: "Two rules, each right by itself, wait for each other. Nagle's algorithm, at the sender: \
          a small piece goes out only if all before it was acknowledged. The delayed \
          acknowledgement, at the receiver: wait up to 40 ms, since the answer will carry it. The \
          first piece leaves at once. The second waits for the acknowledgement of the first; the \
          server has half a request, so has no answer to carry that, and its timer runs out. Give a \
          request to one `write`, or switch Nagle's algorithm off (TCP_NODELAY, as every server \
          and client of this project does), or better both: without Nagle, pieces are packets. \
          All pieces after the first wait together, so that a third adds nothing.",
    varies: "The 40 ms are Linux's least delay; the other time is a round trip on this machine. It \
             is several times as long where client and server run on two cores, one of which has \
             to be woken, as where they share one.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let cuts = if knob == "3" { &CUTS[..] } else { &CUTS[..1] };
    let server = bench.start(EPOLL)?;
    let address = server.target.address;
    let whole = request_us(bench, address, &[], false)?;
    let pieces = request_us(bench, address, cuts, false)?;
    let nodelay = request_us(bench, address, cuts, true)?;
    let mut round = Round::default();
    round.line("one write").us("a request", whole);
    round.line("in pieces").us("a request", pieces);
    round.line("in pieces, TCP_NODELAY").us("a request", nodelay);
    round.ratio("pieces", pieces / whole);
    round.ratio("nodelay", nodelay / pieces);
    Ok(round)
}

/// The median time of a request that is cut into pieces at these places.
fn request_us(
    bench: &Bench<'_>,
    address: SocketAddr,
    cuts: &[usize],
    nodelay: bool,
) -> Result<f64, LabError> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(nodelay)?;
    let mut client = Framed::over(stream, Patience::of(PATIENCE));
    let work = Some(Work::Echo(vec![7; 64]));
    let request = framed(&[Request { id: 1, timeout_ms: 0, work }]);
    let mut times = Vec::new();
    for _ in 0..FIRST + COUNTED {
        let began = Instant::now();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([request.len()]) {
            client.send_bytes(&request[from..cut])?; // one `write`
            from = cut;
        }
        client.receive()?;
        times.push(began.elapsed());
        bench.pause(Duration::ZERO)?; // only looks whether somebody wants an end
    }
    let mut counted = times.split_off(FIRST);
    counted.sort_unstable();
    Ok(counted[COUNTED / 2].as_secs_f64() * 1e6)
}
