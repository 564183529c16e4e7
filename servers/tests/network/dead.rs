//! The path to a client goes dead in the middle of something: no end, no reset, nothing. The server
//! lets go of it by its timeouts, and has then what it had before.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use servers::grpc::generated::quintet_client::QuintetClient;
use servers::{GRPC, Model};
use tonic::transport::Endpoint;

use crate::client::{Client, echo, framed, wait};
use crate::conversation::{connect, runtime};
use crate::path::{Impairment, Network};
use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};
use crate::stays_undisturbed;

/// Long enough for a packet that comes late on a busy machine, short enough to wait for. Over HTTP/2
/// a server may also call a peer idle that takes nothing: the shorter says which it was.
const TIMEOUTS: [&str; 3] = ["--idle-timeout=3s", "--read-timeout=2s", "--write-timeout=2s"];
/// So slow that the answer below takes seconds.
const LINE_BITS_PER_SECOND: u32 = 8_000_000;
/// More than a socket takes on such a line, below the frame limit.
const LARGE_BYTES: usize = 3 * 1024 * 1024;
/// Flow control that lets all of that through.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// When so much of it stands in the server's socket, the server waits for room.
const ON_ITS_WAY_BYTES: usize = 4 * 1024;
/// Beyond the moment at which the path goes dead, within the bystander's patience.
const LONG: Duration = Duration::from_secs(1);

/// Speaks to a server, says that it does, and stays until there is nobody left to tell.
type Peer = fn(SocketAddr, &mut dyn FnMut());

const FRAMED_PEERS: [Peer; 4] = [falls_silent, within_a_frame, within_an_answer, while_it_waits];
const GRPC_PEERS: [Peer; 5] = [
    within_the_preface,
    within_a_head,
    calls_and_falls_silent,
    within_an_answer_to_a_call,
    while_a_call_waits,
];

pub(crate) fn is_let_go(model: Model, network: &Network) {
    let flags = [&TIMEOUTS[..], &["--listen=0.0.0.0:0"]].concat();
    let flags: Vec<_> = flags.into_iter().map(str::to_owned).collect();
    let server = ServerProcess::start(model, &flags);
    let port = server.address.port();
    network.impair(Impairment::NONE);
    network.limit_answers(LINE_BITS_PER_SECOND);
    let peers = if model.name == GRPC.name { &GRPC_PEERS[..] } else { &FRAMED_PEERS[..] };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Whatever fails, the bystander and the peers end.
        let _end = Ends(&over);
        scope.spawn(|| stays_undisturbed(model, network.enter_near(port), &over));
        eventually("only the bystander", 1, || server.stats().open);
        let before = server.descriptors();

        let (speaks, spoken) = mpsc::channel();
        for peer in peers {
            let (speaks, over) = (speaks.clone(), &over);
            scope.spawn(move || {
                peer(network.enter_far(port), &mut || {
                    let _ = speaks.send(());
                    stay_until(over);
                });
            });
        }
        all_speak(&spoken, peers.len());
        assert_eq!(server.stats().open, 1 + peers.len() as u64, "all of them are served");
        eventually("an answer on its way", true, || unsent_bytes() >= ON_ITS_WAY_BYTES);
        network.go_dead();
        eventually("only the bystander", 1, || server.stats().open);
        let now = server.stats();
        let by_timeout = now.idle_timeouts + now.read_timeouts + now.write_timeouts;
        assert_eq!(by_timeout, peers.len() as u64, "closed by its timeouts: {now:?}");
        assert!(
            now.idle_timeouts > 0 && now.read_timeouts > 0 && now.write_timeouts > 0,
            "{now:?}"
        );
        eventually("no more descriptors", true, || server.descriptors() <= before);
    });
}

/// The most that stands in a socket here, sent and not acknowledged or still to be sent: the queues
/// in the fifth column of proc(5)'s net/tcp.
fn unsent_bytes() -> usize {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queues = sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4));
    let unsent =
        queues.filter_map(|queues| usize::from_str_radix(queues.split_once(':')?.0, 16).ok());
    unsent.max().unwrap_or_default()
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn stay_until(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
}

fn all_speak(spoken: &Receiver<()>, peers: usize) {
    for _ in 0..peers {
        spoken.recv_timeout(PATIENCE).expect("each peer comes through while the path is good");
    }
}

fn falls_silent(server: SocketAddr, stay: &mut dyn FnMut()) {
    let mut client = Client::connect(server);
    client.echoes(1, b"the last words");
    stay();
}

fn within_a_frame(server: SocketAddr, stay: &mut dyn FnMut()) {
    let mut client = Client::connect(server);
    client.echoes(1, b"whole");
    client.send_bytes(&framed(&[echo(2, b"never whole")])[..9]);
    stay();
}

/// Takes what comes, to the end.
fn within_an_answer(server: SocketAddr, stay: &mut dyn FnMut()) {
    let client = Client::connect(server);
    client.send(&[echo(1, &vec![7; LARGE_BYTES])]);
    let mut reader = client.stream().try_clone().unwrap();
    thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    stay();
}

fn while_it_waits(server: SocketAddr, stay: &mut dyn FnMut()) {
    let client = Client::connect(server);
    client.send(&[wait(1, LONG), echo(2, b"behind it")]);
    stay();
}

/// What a client says first (RFC 9113, 3.4), with empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn says(server: SocketAddr, bytes: &[u8], stay: &mut dyn FnMut()) {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.write_all(bytes).unwrap();
    stay();
}

fn within_the_preface(server: SocketAddr, stay: &mut dyn FnMut()) {
    says(server, &HELLO[..10], stay);
}

fn within_a_head(server: SocketAddr, stay: &mut dyn FnMut()) {
    says(server, &[HELLO, b"\0\0\x20\x01"].concat(), stay);
}

fn calls_and_falls_silent(server: SocketAddr, stay: &mut dyn FnMut()) {
    let runtime = runtime();
    let mut client = runtime.block_on(connect(server));
    runtime.block_on(client.call(echo(1, b"the last words"))).unwrap();
    stay();
}

fn within_an_answer_to_a_call(server: SocketAddr, stay: &mut dyn FnMut()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    let endpoint = endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let mut client = QuintetClient::new(runtime.block_on(endpoint.connect()).unwrap());
    runtime.spawn(async move { client.call(echo(1, &vec![7; LARGE_BYTES])).await.map(drop) });
    stay();
    runtime.shutdown_background();
}

fn while_a_call_waits(server: SocketAddr, stay: &mut dyn FnMut()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(connect(server));
    runtime.spawn(async move { client.call(wait(1, LONG)).await.map(drop) });
    stay();
    runtime.shutdown_background();
}
