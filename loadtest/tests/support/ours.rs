//! The five servers themselves, in this process.

#![allow(dead_code)] // each test file uses its part

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Config, Service, Shutdown, Stats};
use loadtest::target::{Protocol, Target};
use servers::Model;

/// A server that is shut down when the test is over with it.
pub(crate) struct Ours {
    pub(crate) target: Target,
    pub(crate) stats: Stats,
    shutdown: Shutdown,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

pub(crate) fn start(model: Model) -> Ours {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let protocol = if model.name == "grpc" { Protocol::Grpc } else { Protocol::Framed };
    let target = Target { protocol, address: address(&listener) };
    let config = Config { drain_timeout: Duration::from_millis(100), ..Config::default() };
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
