//! A handler that panics. The binaries have none, so this test's own program becomes the server,
//! with a service that is at fault, in a process whose threads can be counted.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Code, Config, Service, Shutdown, Stats};

use crate::client::{block, compute, echo, wait};
use crate::gauge;
use crate::matrix::{ALL, Ground, Record};
use crate::patience::eventually;
use crate::process::ServerProcess;

/// The first argument that makes a server of this program; the model's name follows.
pub(crate) const SERVE: &str = "serve-with-a-fault";

/// None of a bystander's, who counts from 0.
const CURSED: u64 = u64::MAX;

/// Serves until the process is killed.
pub(crate) fn serve(arguments: &[String]) -> std::io::Result<()> {
    let [name, listen] = arguments else { panic!("which server, and where?") };
    let model = ALL.iter().find(|model| model.name == name).expect("one of the servers");
    let listen: SocketAddr = listen.trim_start_matches("--listen=").parse().expect("an address");
    let listener = TcpListener::bind(listen)?;
    println!("{name} listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let config = Config { workers: 2.try_into().expect("not zero"), ..Config::default() };
    let service = Service::with_fault(|id| assert_ne!(id, CURSED, "a test's panic, on purpose"));
    (model.serve)(listener, service, &config, &Shutdown::new(), &Stats::new())
}

fn start(ground: &Ground) -> ServerProcess {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([SERVE, ground.model.name]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    ServerProcess::start_command(command)
}

pub(super) fn panic_in_a_handler(ground: &Ground, record: &mut Record) {
    /// More often than there are workers: none may be lost.
    const ROUNDS: u64 = 20;
    let server = start(ground);
    let bystander = ground.bystander(&server);
    let mut peer = ground.connect(&server);
    let moment = Duration::from_millis(1);
    // Threads that are made when they are first needed are there before they are counted.
    let works = |id| [echo(id, b""), wait(id, moment), compute(id, 1), block(id, moment)];
    peer.send(&works(1));
    (0..4).for_each(|_| drop(peer.receive_ok(1)));
    let threads = gauge::threads(&server);
    for round in 100..100 + ROUNDS {
        for request in works(CURSED) {
            peer.send(&[echo(round, b"before"), request, echo(round, b"after")]);
            assert_eq!(peer.receive_ok(round), b"before");
            peer.receive_error(CURSED, Code::Internal);
            assert_eq!(peer.receive_ok(round), b"after");
        }
    }
    record.figure("panics", (ROUNDS * works(CURSED).len() as u64) as f64, "");
    record.figure("threads, before and after", threads as f64, "");
    eventually("threads", threads, || gauge::threads(&server));
    record.bystander(bystander.leave());
}
