//! The five servers themselves, in this process.

#![allow(dead_code)] // each test file uses its part

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use common::config::CONNECTIONS_MAX_DEFAULT;
use common::{Config, Service, Shutdown, Stats, Timeouts};
use loadtest::target::{Protocol, Target};
use loadtest::verify::Told;
use servers::Model;

/// A server that is shut down when the test is over with it.
pub(crate) struct Ours {
    pub(crate) target: Target,
    pub(crate) stats: Stats,
    shutdown: Shutdown,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

pub(crate) fn start(model: Model) -> Ours {
    start_with(model, Config::default())
}

/// The same, told what it is to be asked about.
pub(crate) fn start_told(model: Model, told: &Told) -> Ours {
    let Told { idle_timeout: idle, read_timeout: read, write_timeout: write, max_connections } =
        *told;
    let connections_max = max_connections.map_or(CONNECTIONS_MAX_DEFAULT, NonZeroUsize::get);
    let timeouts = Timeouts { idle, read, write };
    start_with(model, Config { timeouts, connections_max, ..Config::default() })
}

fn start_with(model: Model, mut config: Config) -> Ours {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let protocol = if model.name == "grpc" { Protocol::Grpc } else { Protocol::Framed };
    let target = Target { protocol, address: address(&listener) };
    config.drain_timeout = Duration::from_millis(100);
    let (shutdown, stats) = (Shutdown::new(), Stats::new());
    let thread = std::thread::spawn({
        let (shutdown, stats) = (shutdown.clone(), stats.clone());
        move || (model.serve)(listener, Service::new(), &config, &shutdown, &stats)
    });
    Ours { target, stats, shutdown, thread: Some(thread) }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
