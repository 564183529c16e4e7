//! A server inside the test's process: on a free port, in a thread of its own.
//! It pays with sharing the process: what a test counts must be counted by the server itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use common::{Config, Service, Shutdown, Stats};
use crossbeam_channel::Receiver;

use super::client::Client;
use super::models::Variant;
pub(crate) use super::patience::{PATIENCE, eventually};

/// Dropping it drains it, and fails the test where the drain does not end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stats: Stats,
    shutdown: Shutdown,
    ended: Option<Receiver<io::Result<()>>>,
}

impl Variant {
    /// A server for a test with a connection or two.
    pub(crate) fn start(self) -> Server {
        self.start_for(2, |_| ())
    }

    /// A server for a test with that many connections at a time.
    pub(crate) fn start_for(self, connections: usize, adjust: impl FnOnce(&mut Config)) -> Server {
        self.start_with(Service::new(), connections, adjust)
    }

    /// The same with a service that may be at fault.
    pub(crate) fn start_with(
        self,
        service: Service,
        connections: usize,
        adjust: impl FnOnce(&mut Config),
    ) -> Server {
        let mut config = self.config(connections);
        // Long enough for what a test leaves behind, short enough for one that fails.
        config.drain_timeout = Duration::from_secs(2);
        adjust(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        let (end, ended) = crossbeam_channel::bounded(1);
        let (its_shutdown, its_stats) = (shutdown.clone(), stats.clone());
        thread::spawn(move || {
            let served = (self.model.serve)(listener, service, &config, &its_shutdown, &its_stats);
            let _ = end.send(served);
        });
        Server { address, stats, shutdown, ended: Some(ended) }
    }
}

impl Server {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Pulls the trigger, and does not wait.
    pub(crate) fn begin_drain(&self) {
        self.shutdown.trigger();
    }

    /// Waits until `serve` returns without an error.
    #[track_caller]
    pub(crate) fn drained(&mut self) {
        self.begin_drain();
        let ended = self.ended.take().expect("a server ends once");
        match ended.recv_timeout(PATIENCE) {
            Ok(served) => served.expect("serve returned an error"),
            Err(error) => panic!("serve did not return ({error})"),
        }
    }

    /// Waits until so many requests wait, compute or block.
    #[track_caller]
    pub(crate) fn has_in_progress(&self, count: u64) {
        eventually("requests in progress", count, || self.stats.snapshot().in_progress);
    }
}

impl Server {
    /// Waits until so many at the least do.
    #[track_caller]
    pub(crate) fn has_in_progress_at_least(&self, count: u64) {
        let enough = || self.stats.snapshot().in_progress >= count;
        eventually("enough requests in progress", true, enough);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_drain();
        if self.ended.is_some() && !thread::panicking() {
            self.drained();
        }
    }
}
